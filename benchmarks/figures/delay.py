"""Delay per controller: mean, interval and every seed."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from benchmarks.compare import starving
from benchmarks.compare.comparable import CaseRuns
from benchmarks.compare.statistics import bootstrap_interval
from benchmarks.figures.selection import Choice
from benchmarks.figures.style import INK, WIDTH_IN, colours, count, label, note
from benchmarks.results.cases import Floats, Group
from benchmarks.results.run_result import RunResult
from scenarios.road_users import PLURAL


def delay(group: Group, choice: Choice | None = None) -> Figure:
    """Mean delay per controller with its 95 % bootstrap interval, and every seed as a dot."""
    group = (choice or Choice()).of(group)
    names = group.controllers
    looks = colours(names)
    figure, axes = plt.subplots(figsize=(WIDTH_IN, 0.75 + 0.34 * len(names)))
    for row, name in enumerate(names):
        values = group.metric(name, "delay_s")
        mean, interval, colour = float(np.mean(values)), bootstrap_interval(values), looks[name][0]
        axes.plot(values, _jitter(len(values), row), "o", color=colour, ms=3.4, alpha=0.45, mew=0, zorder=2)
        if interval is not None:
            axes.plot(interval, [row, row], color=colour, lw=2.2, zorder=3)
        axes.plot(mean, row, "o", color=colour, ms=6.5, mec="white", mew=0.9, zorder=4)
        reach = max([mean, *values, *(interval or ())])
        axes.annotate(f"{mean:.1f}", (reach, row), (7, 0), textcoords="offset points", va="center", color=INK)
    axes.set_yticks(range(len(names)), [_marked(group, name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, axes.get_xlim()[1] * 1.06)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Delay (s per scheduled vehicle)")
    axes.set_title(group.title)
    bars = "; bars: 95 % interval of the mean" if len(group.seeds) > 2 else ""
    note(axes, f"{group.timings} timings; small dots: {count(group.seeds, 'seed')}{bars}")
    return figure


def _marked(group: Group, name: str) -> str:
    """A controller's label; below it, whom it starves."""
    users = starving.users_of(CaseRuns(group.scenario, _by_seed(group)))[name]
    starved = [PLURAL[kind] for kind, served in users.items() if served.starved]
    return f"{label(name)}\nstarves {', '.join(starved)}" if starved else label(name)


def _by_seed(group: Group) -> dict[str, dict[int, RunResult]]:
    return {name: {run.seed: run for run in group.of(name)} for name in group.controllers}


def _jitter(number: int, row: int) -> Floats:
    return row + (np.linspace(-0.2, 0.2, number) if number > 1 else np.zeros(number))
