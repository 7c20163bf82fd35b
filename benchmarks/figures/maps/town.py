"""A picture of an imported town: its streets by their traffic, its signals, its scale, and who made the map."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from benchmarks.figures.maps.congestion import UNUSED, Box, right_of, scale_bar
from benchmarks.figures.style import INK, MODEL_COLOUR, QUIET, count, save, style
from benchmarks.results.run_result import NetworkShape
from benchmarks.run.cell import network_shape
from scenarios.spec import Scenario
from sim.network import Network

#: From little traffic (pale) to much (dark), monotone in lightness.
FLOW = LinearSegmentedColormap.from_list("flow", ["#C9DDEA", "#6BA6CC", "#1F6FA8", "#08306B"])


def draw(scenario: Scenario, network: Network, credit: str, folder: Path) -> list[Path]:
    """Draw a town as PDF, SVG and PNG in ``folder``; ``credit`` names whose map it is.

    Raises:
        OSError: the folder cannot be written.
    """
    with style():
        return save(figure(scenario, network, credit), folder, f"{scenario.name}_map")


def figure(scenario: Scenario, network: Network, credit: str) -> Figure:
    """The streets coloured by the vehicles an hour whose routes use them, and the signals that can be controlled."""
    shape, flows = network_shape(network), _veh_per_h(scenario)
    box = Box(shape)
    width_in = 6.2
    drawn, axes = plt.subplots(figsize=(width_in, _height_in(box, width_in)), layout="constrained")
    top = max(float(np.percentile(list(flows.values()), 99)) if flows else 1.0, 1.0)
    _streets(axes, shape, box, flows, Normalize(0, top))
    _signals(axes, network)
    scale_bar(axes, box)
    mapped = ScalarMappable(Normalize(0, top), FLOW)
    bar = drawn.colorbar(mapped, ax=axes, orientation="vertical", fraction=0.03, pad=0.02, shrink=0.5)
    bar.set_label("Vehicles an hour (grey: none)")
    bar.outline.set_linewidth(0)
    title = f"{scenario.name}: {count(network.signals, 'signal')}, {count(tuple(network.roads), 'road')}"
    axes.set_title(title, fontsize=9.5, pad=8)
    axes.annotate(
        credit, (1, 0), (0, -8), xycoords="axes fraction", textcoords="offset points", ha="right", va="top",
        fontsize=7, color=QUIET,
    )  # fmt: skip
    axes.legend(loc="upper left", fontsize=7.5, frameon=True, framealpha=0.9, edgecolor="none")
    return drawn


def _height_in(box: Box, width_in: float) -> float:
    return float(np.clip(0.9 * width_in * box.height / box.width, 2.0, 8.0)) + 0.7


def _streets(axes: Axes, shape: NetworkShape, box: Box, flows: dict[str, float], norm: Normalize) -> None:
    """Busy roads last, so that they lie on top; each direction on its own side."""
    order = sorted(shape.roads, key=lambda road: flows.get(road, -1.0))
    lines = [right_of(np.array(shape.roads[road].shape), 0.003 * box.size) for road in order]
    shade = [FLOW(norm(flows[road])) if road in flows else UNUSED for road in order]
    width = [0.6 + 0.6 * min(shape.roads[road].lanes, 4) for road in order]
    axes.add_collection(LineCollection(lines, colors=shade, linewidths=width, capstyle="round", joinstyle="round"))
    margin = 0.03 * box.size
    axes.set_xlim(box.low[0] - margin, box.high[0] + margin)
    axes.set_ylim(box.low[1] - margin, box.high[1] + margin)
    axes.set_aspect("equal")
    axes.axis("off")


def _signals(axes: Axes, network: Network) -> None:
    kinds = (
        ("signal", [s for s in network.signals if s.problem is None], MODEL_COLOUR),
        ("signal that keeps its own program", [s for s in network.signals if s.problem], "white"),
    )
    for text, signals, colour in kinds:
        if signals:
            x, y = np.array([signal.position_m for signal in signals]).T
            axes.scatter(x, y, s=22, color=colour, edgecolor=INK, linewidth=0.5, zorder=5, label=text)


def _veh_per_h(scenario: Scenario) -> dict[str, float]:
    passed: Counter[str] = Counter()
    for file in scenario.route_files:
        for route in ElementTree.parse(file).getroot().iter("route"):
            passed.update(route.get("edges", "").split())
    hours = (scenario.end_s - scenario.begin_s) / 3600
    return {edge: vehicles / hours for edge, vehicles in passed.items()}
