"""Queue, speed and throughput over time with incidents shaded, controllers overlaid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.figures.overlay_limit import few
from benchmarks.figures.selection import Choice
from benchmarks.figures.style import INCIDENT, WIDTH_IN, clock_axis, colours, label, note, spread
from benchmarks.results.cases import Floats, Group

#: Curves are moving means over so many minutes; shorter where little time is shown.
SMOOTH_MIN, SHORT_SMOOTH_MIN, SHORT_S = 5, 3, 1800.0
#: A panel for each: the series of a result, its factor, and the label of its axis.
PANELS = (
    ("halted_veh", 1.0, "Halted (veh)"),
    ("speed_mps", 1.0, "Mean speed (m/s)"),
    ("arrived_veh_min", 60.0, "Arrivals (veh/h)"),
)


def over_time(group: Group, choice: Choice | None = None) -> Figure:
    """Halted vehicles, mean speed and arrivals, with incidents shaded and named above.

    Seeds are averaged where they share their incidents; where incidents are drawn from the seed, the first is shown.
    """
    shown = (choice or Choice()).of(group).with_same_incidents()
    scenario = shown.runs[0].scenario
    incidents = sorted(scenario.incidents, key=lambda incident: float(incident["start_s"]))
    strip_in = 0.17 * len(incidents)
    figure, axes = plt.subplots(
        1 + len(PANELS), 1, figsize=(WIDTH_IN, 1.1 + 1.5 * len(PANELS) + strip_in), sharex=True,
        height_ratios=[strip_in + 0.01, *[1.5] * len(PANELS)],
    )  # fmt: skip
    figure.subplots_adjust(hspace=0.15, right=0.84)
    begin_s, end_s = scenario.begin_s + scenario.warmup_s, scenario.end_s
    clock_axis(axes[-1], begin_s, end_s)
    _incident_strip(axes[0], incidents, begin_s, end_s)
    for panel, (key, factor, text) in zip(axes[1:], PANELS, strict=True):
        _lines(panel, shown, key, factor)
        panel.set_ylabel(text)
        for incident in incidents:
            panel.axvspan(incident["start_s"], incident["end_s"], color=INCIDENT, alpha=0.3, lw=0, zorder=0)
    axes[-1].set_xlabel("Time of day (h:min)")
    figure.align_ylabels(axes[1:])
    axes[0].set_title(group.title)
    note(axes[0], f"{group.timings} timings; {shown.seed_text()}; moving mean over {_window(shown)} min")
    return figure


def _lines(axes: Axes, group: Group, key: str, factor: float) -> None:
    looks = colours(group.controllers)
    ends: dict[str, tuple[float, float]] = {}
    for name in few(group):
        time_s, values = _mean_series(group, name, key)
        values = factor * values
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
