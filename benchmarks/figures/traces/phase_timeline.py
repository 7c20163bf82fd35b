"""Phase timeline: what one signal showed to each approach, second by second, controllers below each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmarks.figures.selection import Choice, FigureError, hint, traced, window
from benchmarks.figures.style import GREEN, INCIDENT, INK, QUIET, RED, WIDTH_IN, YELLOW, clock_axis, label, note, short
from benchmarks.figures.traces.time_space import runs
from benchmarks.results.cases import Group
from benchmarks.trace.trace_file import Link, Road, Signal, Trace

MINUTES = 5.0
ARROWS = {"s": "↑", "l": "←", "r": "→", "t": "↶", "L": "↖", "R": "↗"}
COMPASS = ("E", "NE", "N", "NW", "W", "SW", "S", "SE")
#: Heights of the bars: in grey print they tell the lights apart.
HEIGHTS = (("Gg", GREEN, 0.78), ("yYu", YELLOW, 0.78), ("r", RED, 0.14))


def phases(group: Group, choice: Choice | None = None) -> Figure:
    """One row for the links that always show the same, named by where they come from and where they turn.

    Raises:
        FigureError: there is no trace, or the signal is unknown.
    """
    choice = choice or Choice()
    shown = traced(group, choice, most=2)
    traces = list(shown.values())
    name = _signal(traces[0], choice.signal)
    rows = _rows(traces, name)
    begin_s, end_s = window(traces, choice, MINUTES)
    panel_in = 0.4 + 0.2 * (len(rows) + 1)
    figure, panels = plt.subplots(
        len(shown), 1, figsize=(WIDTH_IN, 0.7 + panel_in * len(shown)), sharex=True, squeeze=False, layout="constrained"
    )
    for axes, (controller, trace) in zip(panels[:, 0], shown.items(), strict=True):
        clock_axis(axes, begin_s, end_s)
        _draw(axes, trace, name, rows, begin_s, end_s)
        axes.set_title(f"{group.title}, signal {short(name, 24)}: {label(controller)}")
        note(axes, f"seed {trace.about.seed}; {group.timings} timings")
    panels[-1, 0].set_xlabel("Time of day (h:min)")
    handles = [Patch(facecolor=colour, label=text) for colour, text in ((GREEN, "green"), (YELLOW, "yellow"))]
    handles.append(Patch(facecolor=RED, label="red (thin)"))
    handles.append(Patch(facecolor="white", edgecolor=QUIET, lw=0.6, label="number of the green phase"))
    if any(i["start_s"] < end_s and i["end_s"] > begin_s for i in traces[0].about.incidents):
        handles.append(Patch(facecolor=INCIDENT, alpha=0.3, label="incident"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=7.5)
    return figure


def _signal(trace: Trace, asked: str | None) -> str:
    """The signal asked for, else the one that most vehicles pass."""
    known = trace.about.signals
    if asked is not None and asked not in known:
        raise FigureError(f"{trace.about.scenario} has no signal '{asked}'; {hint(asked, known)}")
    if asked is not None:
        return asked
    lanes, counts = np.unique(trace.vehicles.lane, return_counts=True)
    time_on = {trace.lanes[lane]: int(count) for lane, count in zip(lanes, counts, strict=True)}
    choosable = [name for name, signal in known.items() if len(signal.phases) > 1] or list(known)
    return max(choosable, key=lambda name: sum(time_on.get(lane, 0) for lane in _incoming(known[name])))


def _incoming(signal: Signal) -> set[str]:
    return {link.from_lane for link in signal.links}


def _rows(traces: Sequence[Trace], name: str) -> dict[str, int]:
    """A link for each row, by the row's name; links that never differ, in phases or in any run, share a row."""
    signal = traces[0].about.signals[name]
    states = [*signal.phases, *(state for trace in traces for state in trace.signals[name].states)]
    alike: dict[tuple[str, ...], list[Link]] = {}
    for link in signal.links:
        letters = tuple(state[link.link].replace("g", "G") for state in states)
        alike.setdefault(letters, []).append(link)
    found: dict[str, int] = {}
    for links in alike.values():
        text = _named(links, traces[0].about.roads)
        while text in found:
            text += "'"
        found[text] = links[0].link
    return dict(sorted(found.items(), key=lambda row: row[1]))


def _named(links: Sequence[Link], roads: dict[str, Road]) -> str:
    """``from N ↑→, S ↑``: the side that each comes from, and its turns."""
    turns: dict[str, dict[str, None]] = {}
    for link in links:
        road = roads.get(link.from_road)
        turns.setdefault("?" if road is None else _side(road), {})[ARROWS.get(link.direction, "")] = None
    return "from " + ", ".join(f"{side} {''.join(sorted(arrows))}" for side, arrows in turns.items())


def _side(road: Road) -> str:
    """The side of the junction on which a road arrives."""
    (x1, y1), (x2, y2) = road.shape[-2], road.shape[-1]
    return COMPASS[round(math.atan2(y1 - y2, x1 - x2) / (math.pi / 4)) % 8]


def _draw(axes: Axes, trace: Trace, name: str, rows: dict[str, int], begin_s: float, end_s: float) -> None:
    states = trace.signals[name]
    seconds = np.array([states.at(second) for second in range(int(begin_s), int(end_s))])
    for row, link in enumerate(rows.values()):
        letters = np.array([state[link] for state in seconds])
        for kinds, colour, height in HEIGHTS:
            spans = [(begin_s + a, b - a) for a, b in runs(np.isin(letters, list(kinds)))]
            axes.broken_barh(spans, (row - height / 2, height), facecolors=colour, edgecolors="none")
    _phase_numbers(axes, trace.about.signals[name].phases, seconds, len(rows), begin_s, end_s)
    for incident in trace.about.incidents:
        axes.axvspan(incident["start_s"], incident["end_s"], color=INCIDENT, alpha=0.3, lw=0, zorder=0)
    axes.set_yticks([*range(len(rows)), len(rows)], [*rows, "phase"])
    axes.set_ylim(len(rows) + 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _phase_numbers(
    axes: Axes, known: Sequence[str], seconds: np.ndarray, row: int, begin_s: float, end_s: float
) -> None:
    """A box for each green phase with its number where there is room; intergreens stay empty."""
    for number, state in enumerate(known):
        for first, last in runs(seconds == state):
            axes.broken_barh(
                [(begin_s + first, last - first)], (row - 0.36, 0.72), facecolors="white", edgecolors=QUIET, lw=0.6
            )
            if last - first >= 0.015 * (end_s - begin_s):
                middle_s = begin_s + (first + last) / 2
                axes.text(middle_s, row, str(number), ha="center", va="center_baseline", fontsize=6.5, color=INK)
