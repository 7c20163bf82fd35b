"""The road network coloured by congestion, controllers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from benchmarks.figures.selection import Choice, FigureError
from benchmarks.figures.style import INK, QUIET, WIDTH_IN, clock, label
from benchmarks.results.cases import Floats, Group
from benchmarks.results.run_result import NetworkShape, RunResult

#: More maps than this side by side are too small.
MAX_MAPS = 3
#: Controllers and parts of the time in the map over time.
MAX_ROWS, MAX_SPANS = 2, 6
#: From standing (dark) to free (pale), monotone in lightness, so that it reads in grey and for colour-blind eyes.
COLOURS = LinearSegmentedColormap.from_list(
    "congestion", ["#2B0A3D", "#7A1F5C", "#C63B3F", "#EE8A35", "#F0C75E", "#BFDCCB"]
)
UNUSED = "#DDDDDD"


def congestion(group: Group, choice: Choice | None = None) -> Figure:
    """Mean speed over speed limit on each road, in the interval where the last controller shown is slowest.

    Shown are the best, the language model if there is one, and fixed time (or the worst).

    Raises:
        FigureError: the results hold no roads.
    """
    shown, network = _with_roads(group, choice)
    names = _chosen(shown, MAX_MAPS)
    begin_s, end_s = _worst_interval(shown.of(names[-1]))
    box = Box(network)
    width_in = min(WIDTH_IN / len(names), 5.0)
    height_in = min(max(width_in * (box.height / box.width + 0.06), 0.6), 4.5)
    figure, panels = plt.subplots(
        1, len(names), figsize=(WIDTH_IN, height_in + 0.95), squeeze=False, layout="constrained"
    )
    for axes, name in zip(panels[0], names, strict=True):
        _draw(axes, network, box, _speeds(shown.of(name), begin_s, end_s))
        _mark_incidents(axes, network, shown.runs[0].scenario.incidents, begin_s, end_s)
        axes.set_title(label(name), fontsize=8.5, fontweight="normal", loc="center", pad=4)
    scale_bar(panels[0][0], box)
    _colour_bar(figure, panels[0].tolist())
    _headline(figure, shown, f", {clock(begin_s)} to {clock(end_s)}")
    return figure


def congestion_over_time(group: Group, choice: Choice | None = None) -> Figure:
    """Mean speed over speed limit on each road: a row for the best controller, one for fixed time.

    Neighbouring intervals of the road output are put together until at most six remain.

    Raises:
        FigureError: the results hold no roads.
    """
    shown, network = _with_roads(group, choice)
    names, spans, box = _chosen(shown, MAX_ROWS), _spans(shown.runs[0]), Box(network)
    width_in = WIDTH_IN / len(spans)
    height_in = min(max(width_in * box.height / box.width, 0.7), 2.4)
    figure, panels = plt.subplots(
        len(names), len(spans), figsize=(WIDTH_IN, height_in * len(names) + 1.15), squeeze=False, layout="constrained"
    )
    for row, name in zip(panels, names, strict=True):
        for axes, (begin_s, end_s) in zip(row, spans, strict=True):
            _draw(axes, network, box, _speeds(shown.of(name), begin_s, end_s), thin=0.6)
            _mark_incidents(axes, network, shown.runs[0].scenario.incidents, begin_s, end_s, named=False)
        row[0].annotate(
            label(name), (0, 0.5), (-4, 0), xycoords="axes fraction", textcoords="offset points", rotation=90,
            ha="right", va="center", fontsize=8.5,
        )  # fmt: skip
    for axes, (begin_s, end_s) in zip(panels[0], spans, strict=True):
        axes.set_title(f"{clock(begin_s)} to {clock(end_s)}", fontsize=7.5, fontweight="normal", loc="center", pad=3)
    scale_bar(panels[-1][0], box)
    _colour_bar(figure, panels.ravel().tolist())
    _headline(figure, shown)
    return figure


def _with_roads(group: Group, choice: Choice | None) -> tuple[Group, NetworkShape]:
    shown = (choice or Choice()).of(group).with_same_incidents()
    if shown.network is None or not shown.has_roads:
        raise FigureError(f"The results of {group.scenario} hold no roads; run it again to draw its congestion map.")
    return shown, shown.network


def _headline(figure: Figure, group: Group, when: str = "") -> None:
    figure.suptitle(f"{group.title}{when}", x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    text = f"{group.timings} timings; {group.seed_text()}"
    figure.text(0.99, 0.985, text, ha="right", va="top", fontsize=7.5, color=QUIET)


def _spans(run: RunResult) -> list[tuple[float, float]]:
    """The measured time in at most ``MAX_SPANS`` equal parts of whole intervals."""
    assert run.roads is not None
    first_s = run.scenario.begin_s + run.scenario.warmup_s
    begins = [begin_s for begin_s in run.roads.begin_s if begin_s + run.roads.interval_s > first_s]
    each = -(-len(begins) // MAX_SPANS)
    starts = begins[::each]
    return [(start_s, min(start_s + each * run.roads.interval_s, run.scenario.end_s)) for start_s in starts]


class Box:
    """The extent of a network, m."""

    def __init__(self, network: NetworkShape) -> None:
        points = np.array([point for road in network.roads.values() for point in road.shape])
        self.low, self.high = points.min(0), points.max(0)
        self.width, self.height = (max(float(side), 1.0) for side in self.high - self.low)

    @property
    def size(self) -> float:
        """The longer side, m."""
        return max(self.width, self.height)


def _chosen(group: Group, most: int) -> list[str]:
    names = group.controllers
    last = "fixed_time" if "fixed_time" in names else names[-1]
    others = [name for name in names if name != last]
    models = [name for name in others if name.startswith("language_model")][:1]
    best = [name for name in others if name not in models][: most - 1 - len(models)]
    return [*sorted(best + models, key=names.index), last]


def _worst_interval(runs: Sequence[RunResult]) -> tuple[float, float]:
    """The measured interval with the lowest mean relative speed over roads and seeds."""
    scenario = runs[0].scenario
    found: dict[float, list[float]] = {}
    for run in runs:
        assert run.roads is not None
        for begin_s, row in zip(run.roads.begin_s, run.roads.speed_relative, strict=True):
            found.setdefault(begin_s, []).extend(value for value in row if not np.isnan(value))
    measured = {b: v for b, v in found.items() if v and b >= scenario.begin_s + scenario.warmup_s} or {
        scenario.begin_s: [1.0]
    }
    worst_s = min(measured, key=lambda begin_s: float(np.mean(measured[begin_s])))
    assert runs[0].roads is not None
    return worst_s, min(worst_s + runs[0].roads.interval_s, scenario.end_s)


def _speeds(runs: Sequence[RunResult], begin_s: float, end_s: float) -> dict[str, float]:
    """Mean relative speed of each road with traffic, over the seeds and the intervals that begin in a span."""
    found: dict[str, list[float]] = {}
    for run in runs:
        assert run.roads is not None
        rows = zip(run.roads.begin_s, run.roads.speed_relative, strict=True)
        for row in (values for start_s, values in rows if begin_s <= start_s < end_s):
            for road, value in zip(run.roads.ids, row, strict=True):
                if not np.isnan(value):
                    found.setdefault(road, []).append(value)
    return {road: float(np.mean(values)) for road, values in found.items()}


def _draw(axes: Axes, network: NetworkShape, box: Box, speeds: dict[str, float], thin: float = 1.0) -> None:
    """Slow roads last, so that they lie on top; each direction on its own side."""
    order = sorted(network.roads, key=lambda road: -speeds.get(road, 2.0))
    lines = [right_of(np.array(network.roads[road].shape), 0.0045 * box.size) for road in order]
    shade = [COLOURS(min(speeds[road], 1.0)) if road in speeds else UNUSED for road in order]
    width = [thin * (0.5 + 0.55 * min(network.roads[road].lanes, 4)) if road in speeds else 0.5 for road in order]
    axes.add_collection(LineCollection(lines, colors=shade, linewidths=width, capstyle="round", joinstyle="round"))
    margin = 0.03 * box.size
    axes.set_xlim(box.low[0] - margin, box.high[0] + margin)
    axes.set_ylim(box.low[1] - margin, box.high[1] + margin)
    axes.set_aspect("equal")
    axes.axis("off")


def right_of(shape: Floats, distance_m: float) -> Floats:
    """The line moved to its right, so that the two directions of a street do not hide each other."""
    along = np.gradient(shape, axis=0)
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, np.newaxis]
    return shape + distance_m * np.stack([along[:, 1], -along[:, 0]], 1) / length


def _mark_incidents(
    axes: Axes,
    network: NetworkShape,
    incidents: Sequence[dict[str, Any]],
    begin_s: float,
    end_s: float,
    named: bool = True,
) -> None:
    halo = patheffects.withStroke(linewidth=2, foreground="white")
    for incident in incidents:
        road = network.roads.get(str(incident.get("edge")))
        moves = incident["type"] == "emergency_vehicle"  # its road is only where it starts
        if road is None or moves or incident["start_s"] >= end_s or incident["end_s"] <= begin_s:
            continue
        x, y = np.array(road.shape).mean(0)
        axes.plot(x, y, marker="^", ms=8 if named else 4.5, mfc="white", mec=INK, mew=1.0, zorder=5)
        if not named:
            continue
        axes.annotate(
            "!", (x, y), (0, -0.6), textcoords="offset points", ha="center", va="center", fontsize=6, zorder=6
        )
        side = 1 if x < sum(axes.get_xlim()) / 2 else -1  # where there is room
        axes.annotate(
            str(incident["type"]).replace("_", " "), (x, y), (7 * side, 0), textcoords="offset points",
            ha="left" if side > 0 else "right", va="center", fontsize=7, zorder=6, path_effects=[halo],
        )  # fmt: skip


def scale_bar(axes: Axes, box: Box) -> None:
    """A bar of a round length, about a quarter of the map's width."""
    target = box.width / 4
    unit = 10.0 ** np.floor(np.log10(target))
    length = float(unit * max(k for k in (1, 2, 5) if k * unit <= target))
    x, y = box.low[0], box.low[1] - 0.02 * box.size
    axes.plot([x, x + length], [y, y], color=QUIET, lw=1.4, solid_capstyle="butt", clip_on=False)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axes.annotate(
        text, (x + length / 2, y), (0, -3), textcoords="offset points", ha="center", va="top", fontsize=7, color=QUIET,
        annotation_clip=False,
    )  # fmt: skip


def _colour_bar(figure: Figure, panels: list[Axes]) -> None:
    mapped = ScalarMappable(Normalize(0, 1), COLOURS)
    bar = figure.colorbar(mapped, ax=panels, orientation="horizontal", fraction=0.06, pad=0.04, aspect=40, shrink=0.55)
    bar.set_label("Mean speed / speed limit (grey roads: no traffic)")
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "0.25", "0.5", "0.75", "1"])
    bar.outline.set_linewidth(0)
