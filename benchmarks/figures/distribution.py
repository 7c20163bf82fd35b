"""How waits and delays are spread over the vehicles, and the performance profile over scenarios."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.figures.overlay_limit import few
from benchmarks.figures.selection import Choice, FigureError
from benchmarks.figures.style import QUIET, WIDTH_IN, colours, label, note, patterns
from benchmarks.results.cases import Floats, Group
from benchmarks.results.run_result import RunResult

#: The smallest share that quantiles at whole percents can show, %.
LEAST_PERCENT = 1.0


def waits(group: Group, choice: Choice | None = None) -> Figure:
    """Share of vehicles that waited, and were delayed, for longer than so many seconds; mean over the seeds.

    Raises:
        FigureError: the results are older than the distribution.
    """
    choice = choice or Choice()
    group = choice.of(group)
    if any(run.distribution is None for run in group.runs):
        raise FigureError(
            f"The results of {group.scenario} do not say how waits are spread; run them again with this greenloop."
        )
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH_IN, 2.9), sharey=True, layout="constrained")
    looks, names = colours(group.controllers), few(group)
    dashes = patterns(names)
    texts = {
        "waiting_s": "Time standing (s), of every vehicle that got in",
        "delay_s": "Delay (s), of every scheduled vehicle",
    }
    for axes, (key, text) in zip(panels, texts.items(), strict=True):
        for name in names:
            seconds, percent = exceeded(group.of(name), key)
            axes.plot(seconds, percent, color=looks[name][0], ls=dashes[name], label=label(name))
        _percent_axis(axes)
        axes.set_xlabel(text)
    panels[0].set_ylabel("Vehicles above (%)")
    panels[0].set_title(group.title)
    note(panels[1], f"{group.timings} timings; {group.seed_text()}")
    _legend(figure, panels[0], room=105)
    return figure


def exceeded(runs: Sequence[RunResult], key: str) -> tuple[Floats, Floats]:
    """Seconds and the percentage of vehicles above each, the mean over the runs."""
    quantiles = [np.array(getattr(run.distribution, key), np.float64) for run in runs]
    quantiles = [values for values in quantiles if values.size]
    longest_s = max((float(values[-2]) for values in quantiles), default=1.0)
    seconds = np.linspace(0.0, max(longest_s, 1.0), 400)
    if not quantiles:
        return seconds, np.zeros(seconds.size)
    return seconds, np.mean([_above(values, seconds) for values in quantiles], axis=0)


def _above(values: Floats, seconds: Floats) -> Floats:
    """Percentage of vehicles above each time, from their quantiles at 0, 1, ..., 100 %."""
    level, first = np.unique(values[::-1], return_index=True)  # of equal quantiles the highest
    below: Floats = np.interp(seconds, level, 100.0 - first, left=0.0, right=100.0)
    return 100.0 - below


def _percent_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    ticks = (1, 2, 5, 10, 20, 50, 100)
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(LEAST_PERCENT, 100)
    axes.set_xlim(left=0)


def profile(group: Group, choice: Choice | None = None) -> Figure:
    """Performance profile over all scenarios with its 95 % band (Dolan and Moré 2002; Agarwal et al. 2021).

    ``group`` holds the runs of every scenario.

    Raises:
        FigureError: nothing can be put together.
        CompareError: there is nothing to compare, or the baseline fits no result.
    """
    from benchmarks.compare.pipeline import compare

    choice = choice or Choice()
    found = compare(group.runs, choice.baseline, controllers=choice.controllers)
    if not found.profiles:
        reason = f" ({found.problems[0].rstrip('.')})" if found.problems else ""
        raise FigureError(f"These results give no performance profile{reason}.")
    figure, axes = plt.subplots(figsize=(WIDTH_IN * 0.75, 3.2), layout="constrained")
    names = [row.controller for row in found.overall]
    looks, dashes = colours(names), patterns(names)
    for line in found.profiles:
        colour, dash = looks[line.controller][0], dashes[line.controller]
        percent = 100 * np.array(line.share)
        axes.step(line.tau, percent, where="post", color=colour, ls=dash, label=label(line.controller))
        if line.low is not None and line.high is not None:
            low, high = 100 * np.array(line.low), 100 * np.array(line.high)
            axes.fill_between(line.tau, low, high, step="post", color=colour, alpha=0.13, lw=0)
    axes.axvline(1.0, color=QUIET, lw=0.7, zorder=0)
    axes.set_ylim(0, 102)
    tau = np.array(found.profiles[0].tau)
    starts = [tau[np.array(line.share) > 0] for line in found.profiles]
    axes.set_xlim(max(min(float(start[0]) for start in starts if start.size) - 0.1, 0.0), float(tau[-1]))
    axes.set_xlabel(f"Delay over that of {_baseline(found.baseline)} (τ; less is better)")
    axes.set_ylabel("Runs at or below τ (%)")
    inside = [case for case in found.cases if case.in_overall]
    axes.set_title("Performance profile")
    seeds = sorted({len(case.seeds) for case in inside})
    spread = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    note(axes, f"{len(inside)} scenario{'s' * (len(inside) != 1)}; {spread} seed{'s' * (seeds[-1] != 1)} each")
    _legend(figure, axes, room=80)
    return figure


def _baseline(name: str) -> str:
    return "the best classical controller" if name == "best" else label(name)


def _legend(figure: Figure, axes: Axes, room: int) -> None:
    """Below the panels, in as many columns as ``room`` characters allow."""
    handles, texts = axes.get_legend_handles_labels()
    columns = max(1, min(len(texts), room // (max(map(len, texts), default=0) + 8)))
    figure.legend(
        handles, texts, loc="outside lower center", ncols=columns, frameon=False, fontsize=7.5, handlelength=2.6
    )
