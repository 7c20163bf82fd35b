"""Figures from results only. Each function draws one scenario; ``draw`` writes all of them.

Loaded only to draw: it imports matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import maps
from benchmarks import results as files
from benchmarks.groups import Floats, Group, group_runs
from benchmarks.results import ResultError, RunResult
from benchmarks.stats import bootstrap_interval
from benchmarks.style import INCIDENT, INK, WIDTH_IN, clock_axis, colours, count, label, note, save, spread, style

#: More lines than this on one axis cannot be told apart; the best by delay, fixed time and the model stay.
MAX_LINES = 6
#: Curves are moving means over so many minutes; shorter where little time is shown.
SMOOTH_MIN, SHORT_SMOOTH_MIN, SHORT_S = 5, 3, 1800.0


def delay(group: Group) -> Figure:
    """Mean delay per controller with its 95 % bootstrap interval, and every seed as a dot."""
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
    axes.set_yticks(range(len(names)), [label(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, axes.get_xlim()[1] * 1.06)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Delay (s per scheduled vehicle)")
    axes.set_title(group.scenario)
    bars = "; bars: 95 % interval of the mean" if len(group.seeds) > 2 else ""
    note(axes, f"{group.timings} timings; small dots: {count(group.seeds, 'seed')}{bars}")
    return figure


def over_time(group: Group) -> Figure:
    """Queue and mean speed over time with incidents shaded, controllers overlaid.

    Seeds are averaged where they share their incidents; where incidents are drawn from the seed, the first is shown.
    """
    shown = group.with_same_incidents()
    scenario = shown.runs[0].scenario
    incidents = sorted(scenario.incidents, key=lambda incident: float(incident["start_s"]))
    strip_in = 0.17 * len(incidents)
    figure, panels = plt.subplots(
        3, 1, figsize=(WIDTH_IN, 4.3 + strip_in), sharex=True, height_ratios=[strip_in + 0.01, 2, 2]
    )
    figure.subplots_adjust(hspace=0.08, right=0.84)
    begin_s, end_s = scenario.begin_s + scenario.warmup_s, scenario.end_s
    clock_axis(panels[2], begin_s, end_s)
    _incident_strip(panels[0], incidents, begin_s, end_s)
    for axes, key, text in zip(
        panels[1:], ("halted_veh", "speed_mps"), ("Halted vehicles (veh)", "Mean speed (m/s)"), strict=True
    ):
        _lines(axes, shown, key)
        axes.set_ylabel(text)
        for incident in incidents:
            axes.axvspan(incident["start_s"], incident["end_s"], color=INCIDENT, alpha=0.3, lw=0, zorder=0)
    panels[2].set_xlabel("Time of day (h:min)")
    figure.align_ylabels(panels[1:])
    panels[0].set_title(group.scenario)
    note(panels[0], f"{group.timings} timings; {shown.seed_text()}; moving mean over {_window(shown)} min")
    return figure


#: Every figure by name, with the line that ``greenloop plot --list`` shows.
FIGURES: dict[str, tuple[Callable[[Group], Figure], str]] = {
    "delay": (delay, "delay per controller with 95 % intervals and every seed"),
    "over_time": (over_time, "queue and speed over time, incidents shaded, controllers overlaid"),
    "congestion": (maps.congestion, "the road network coloured by congestion, controllers side by side"),
}


def draw(
    folder: Path, out: Path, only: Sequence[str] = tuple(FIGURES), tell: Callable[[str], object] | None = None
) -> list[Path]:
    """Draw the figures of every scenario below ``folder`` and return the files written.

    Results that cannot be read, or of which there is a newer one, are left out; ``tell`` is called with a sentence.

    Raises:
        ResultError: there are no results, a figure is unknown, or the figures cannot be written.
    """
    found, problems = files.read_folder(folder)
    runs, note = files.newest(found)
    if tell is not None:
        for sentence in (*(f"Left out: {problem}" for problem in problems), *([note] if note else ())):
            tell(sentence)
    if not runs:
        raise ResultError(f"{folder} holds no results to draw; give the folder of 'greenloop run --out'.")
    return draw_runs(runs, folder, out, only)


def draw_runs(runs: Sequence[RunResult], folder: Path, out: Path, only: Sequence[str] = tuple(FIGURES)) -> list[Path]:
    """Draw the figures of some runs; ``folder`` holds the drawings of their networks.

    Raises:
        ResultError: a figure is unknown, or the figures cannot be written.
    """
    if unknown := [name for name in only if name not in FIGURES]:
        raise ResultError(f"There is no figure '{unknown[0]}'; choose from {', '.join(FIGURES)}.")
    written: list[Path] = []
    with style():
        for stem, group in group_runs(runs, folder).items():
            for name in only:
                if name != "congestion" or group.has_roads:
                    written += _save(FIGURES[name][0](group), out, f"{stem}_{name}")
    return written


def _save(figure: Figure, out: Path, name: str) -> list[Path]:
    try:
        return save(figure, out, name)
    except OSError as error:
        raise ResultError(f"Figures cannot be written to {out} ({error.strerror}); choose another folder.") from error


def _jitter(number: int, row: int) -> Floats:
    return row + (np.linspace(-0.2, 0.2, number) if number > 1 else np.zeros(number))


def _few(group: Group) -> list[str]:
    """The controllers to overlay, best first: fixed time and the model stay, the worst others go."""
    names = group.controllers
    kept = [name for name in names if name == "fixed_time" or name.startswith("language_model")][:MAX_LINES]
    others = [name for name in names if name not in kept][: MAX_LINES - len(kept)]
    return [name for name in names if name in kept or name in others]


def _lines(axes: Axes, group: Group, key: str) -> None:
    looks = colours(group.controllers)
    ends: dict[str, tuple[float, float]] = {}
    for name in _few(group):
        time_s, values = _mean_series(group, name, key)
        axes.plot(time_s, values, color=looks[name][0], ls=looks[name][1])
        known = np.flatnonzero(~np.isnan(values))
        if known.size:
            ends[name] = float(time_s[known[-1]]), float(values[known[-1]])
    axes.set_ylim(bottom=0)
    low, high = axes.get_ylim()
    height_pt = axes.get_position().height * axes.figure.get_size_inches()[1] * 72  # type: ignore[union-attr]
    places = spread([value for _, value in ends.values()], 10.5 * (high - low) / height_pt, low, high)
    for (name, end), place in zip(ends.items(), places, strict=True):
        axes.annotate(
            label(name), end, (1.03, place), textcoords=axes.get_yaxis_transform(), color=looks[name][0], va="center",
            fontsize=8, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": looks[name][0], "lw": 0.6, "shrinkA": 1, "relpos": (0, 0.5)},
        )  # fmt: skip


def _mean_series(group: Group, controller: str, key: str) -> tuple[Floats, Floats]:
    """Mean over the seeds, smoothed; NaN where no seed knows it."""
    runs = group.of(controller)
    length = min(len(run.series.time_s) for run in runs)
    rows = np.array([getattr(run.series, key)[:length] for run in runs], np.float64)
    known = ~np.isnan(rows)
    mean = np.where(known.any(0), np.where(known, rows, 0).sum(0) / np.maximum(known.sum(0), 1), np.nan)
    return np.array(runs[0].series.time_s[:length]), _smooth(mean, _window(group))


def _window(group: Group) -> int:
    scenario = group.runs[0].scenario
    return SMOOTH_MIN if scenario.end_s - scenario.begin_s >= SHORT_S else SHORT_SMOOTH_MIN


def _smooth(values: Floats, window: int) -> Floats:
    """Centred moving mean that ignores NaN and narrows at both ends."""
    known = ~np.isnan(values)
    kernel = np.ones(min(window, len(values)))
    weight = np.convolve(known.astype(float), kernel, "same")
    total = np.convolve(np.where(known, values, 0.0), kernel, "same")
    return np.where(weight > 0, total / np.maximum(weight, 1), np.nan)


def _incident_strip(axes: Axes, incidents: Sequence[dict[str, Any]], begin_s: float, end_s: float) -> None:
    """A row per incident above the curves: a bar from its start to its end, named on the side where there is room."""
    axes.axis("off")
    axes.set_ylim(max(len(incidents), 1) - 0.5, -0.5)
    for row, incident in enumerate(incidents):
        first_s, last_s = max(float(incident["start_s"]), begin_s), min(float(incident["end_s"]), end_s)
        axes.barh(row, last_s - first_s, left=first_s, height=0.55, color=INCIDENT)
        early = first_s < (begin_s + end_s) / 2
        axes.annotate(
            str(incident["type"]).replace("_", " "), (last_s if early else first_s, row), (4 if early else -4, 0),
            textcoords="offset points", ha="left" if early else "right", va="center", fontsize=7.5,
        )  # fmt: skip
