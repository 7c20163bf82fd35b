"""Time-space diagram: trajectories along an arterial, the lights at its stop lines, and the green bands."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon, Rectangle
from numpy.typing import NDArray

from benchmarks.figures.selection import Choice, traced, window
from benchmarks.figures.style import BAND, INCIDENT, INK, QUIET, RED, WIDTH_IN, YELLOW, clock_axis, label, note, short
from benchmarks.figures.traces.arterial import Arterial, StopLine, choose, pieces
from benchmarks.results.cases import Group
from benchmarks.trace.trace_file import Trace

#: Shown of the road before the first and behind the last stop line, m.
BEFORE_M, BEHIND_M = 350.0, 200.0
#: Bands shorter than this carry nobody, s.
LEAST_BAND_S = 2
#: Minutes shown unless asked otherwise.
MINUTES = 10.0


def time_space(group: Group, choice: Choice | None = None) -> Figure:
    """The best controller over fixed time, on the same arterial.

    A green band is the set of departures at the first stop line which, driving at the speed limits, meet green at every
    further one (Morgan and Little, 1964). Trajectories are of the front bumpers, on the arterial's roads alone.

    Raises:
        FigureError: there is no trace, the road is unknown, or no signal lies on the way.
    """
    choice = choice or Choice()
    shown = traced(group, choice, most=2)
    traces = list(shown.values())
    arterial = choose(traces[0], choice.road)
    begin_s, end_s = window(traces, choice, MINUTES)
    figure, panels = plt.subplots(
        len(shown), 1, figsize=(WIDTH_IN, 0.7 + 2.7 * len(shown)), sharex=True, squeeze=False, layout="constrained"
    )
    for axes, (name, trace) in zip(panels[:, 0], shown.items(), strict=True):
        share = _draw(axes, trace, arterial, begin_s, end_s)
        axes.set_title(f"{group.title}: {label(name)}")
        band = f"a band through all {len(arterial.stops)} signals {100 * share:.0f} % of the time"
        note(axes, f"seed {trace.about.seed}; {band if len(arterial.stops) > 1 else group.timings + ' timings'}")
    panels[-1, 0].set_xlabel("Time of day (h:min)")
    _legend(figure, traces)
    return figure


def _draw(axes: Axes, trace: Trace, arterial: Arterial, begin_s: float, end_s: float) -> float:
    """One panel; returns the share of the time in which the first signal lets a band through all."""
    first_m = arterial.stops[0].distance_m
    low_m = max(first_m - BEFORE_M, 0.0)
    high_m = min(arterial.stops[-1].distance_m + BEHIND_M, arterial.begin_m[-1] + arterial.length_m[-1])
    clock_axis(axes, begin_s, end_s)
    axes.set_ylim(low_m, high_m)
    axes.grid(visible=False)
    _incidents(axes, trace, arterial)
    for vehicle, times_s, distances_m in pieces(trace, arterial, begin_s, end_s):
        special = "emergency" in trace.vehicles.types[vehicle]
        axes.plot(
            times_s, distances_m, color=RED if special else INK, lw=1.4 if special else 0.55, alpha=0.75, zorder=3
        )
    share = _bands(axes, trace, arterial, begin_s, end_s) if len(arterial.stops) > 1 else 0.0
    for stop in arterial.stops:
        _lights(axes, stop.shows(trace.signals[stop.signal], int(begin_s), int(end_s)), stop, begin_s)
    axes.set_ylabel("Distance (m)")
    step_m = 500.0 if high_m - low_m > 1500 else 200.0 if high_m - low_m > 500 else 100.0
    ticks = np.arange(0, high_m - low_m + 1, step_m)
    axes.set_yticks(low_m + ticks, [f"{tick:g}" for tick in ticks])
    _name_signals(axes, arterial.stops)
    return share


def _lights(axes: Axes, shown: NDArray[np.str_], stop: StopLine, begin_s: float) -> None:
    """Red and yellow as bars on the stop line; green is the gap that trajectories pass."""
    for letter, colour, width in (("r", RED, 3.0), ("y", YELLOW, 3.0)):
        for first, last in runs(shown == letter):
            axes.plot(
                [begin_s + first, begin_s + last], [stop.distance_m] * 2, color=colour, lw=width,
                solid_capstyle="butt", zorder=4,
            )  # fmt: skip


def _bands(axes: Axes, trace: Trace, arterial: Arterial, begin_s: float, end_s: float) -> float:
    first_m, last_m = arterial.stops[0].distance_m, arterial.stops[-1].distance_m
    whole_s = int(np.ceil(arterial.travel_s(first_m, last_m)))
    start_s, stop_s = int(begin_s) - whole_s, int(end_s)
    through = np.ones(stop_s - start_s, bool)
    for stop in arterial.stops:
        offset_s = round(arterial.travel_s(first_m, stop.distance_m))
        shown = stop.shows(trace.signals[stop.signal], start_s + offset_s, stop_s + offset_s)
        through &= shown == "G"
    inside = (np.array(arterial.begin_m) > first_m) & (np.array(arterial.begin_m) < last_m)
    places_m = np.array([first_m, *np.array(arterial.begin_m)[inside], last_m])
    after_s = np.array([arterial.travel_s(first_m, place_m) for place_m in places_m])
    for first, last in runs(through):
        if last - first < LEAST_BAND_S:
            continue
        edge = np.stack([start_s + first + after_s, places_m], 1)
        other = np.stack([start_s + last + after_s, places_m], 1)[::-1]
        axes.add_patch(Polygon(np.concatenate([edge, other]), facecolor=BAND, edgecolor="none", zorder=1))
    return float(through[whole_s:].mean())


def _incidents(axes: Axes, trace: Trace, arterial: Arterial) -> None:
    for incident in trace.about.incidents:
        if incident.get("edge") in arterial.roads and incident["type"] != "emergency_vehicle":
            k = arterial.roads.index(incident["edge"])
            corner = incident["start_s"], arterial.begin_m[k]
            size = incident["end_s"] - incident["start_s"], arterial.length_m[k]
            axes.add_patch(Rectangle(corner, *size, facecolor=INCIDENT, alpha=0.6, edgecolor="none", zorder=0))


def _name_signals(axes: Axes, stops: Sequence[StopLine]) -> None:
    for stop in stops:
        axes.annotate(
            short(stop.signal, 14), (1, stop.distance_m), (4, 0), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", va="center", fontsize=7, color=QUIET, annotation_clip=False,
        )  # fmt: skip


def _legend(figure: Figure, traces: Sequence[Trace]) -> None:
    handles = [
        Line2D([], [], color=INK, lw=0.8, label="vehicle"),
        Line2D([], [], color=RED, lw=3, solid_capstyle="butt", label="red"),
        Line2D([], [], color=YELLOW, lw=3, solid_capstyle="butt", label="yellow"),
        Patch(facecolor=BAND, label="green band at the speed limit"),
    ]
    if any("emergency" in kind for trace in traces for kind in trace.vehicles.types):
        handles.insert(1, Line2D([], [], color=RED, lw=1.4, label="emergency vehicle"))
    if any(trace.about.incidents for trace in traces):
        handles.append(Patch(facecolor=INCIDENT, alpha=0.6, label="incident"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=7.5)


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Begin and end (exclusive) of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
