"""An OpenStreetMap extract's roads as a SUMO network: netconvert with the options that a town needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scenarios.common.sumo_tools import run_tool, strip_comments, sumo_home
from scenarios.osm.reader import Box
from scenarios.spec import ScenarioError

_JUNCTION = re.compile(r'<junction id="(-?\d+)" type="[^"]*" x="([-\d.]+)" y="([-\d.]+)"')
#: Sum of the speed limits of the lanes that lead into a junction, above which a signal is guessed: four approaches
#: of one lane at 50 km/h.
_GUESS_MPS = 55.0
_OPTIONS = [
    # roads: geometry points are no junctions; slip roads get acceleration lanes; turn lanes as the map says
    *("--geometry.remove", "--ramps.guess", "--osm.turn-lanes", "--output.street-names", "--roundabouts.guess"),
    # junctions: the carriageways of one crossing are one junction
    *("--junctions.join", "--junctions.corner-detail", "5"),
    # signals: the map marks every stop line, one signal governs the junction; none for a lone pedestrian crossing
    *("--tls.guess-signals", "--tls.discard-simple", "--tls.join", "--tls.default-type", "static"),
    # what cars use, in one piece; nobody turns round at a signal or where the map ends
    *("--keep-edges.by-vclass", "passenger", "--keep-edges.components", "1", "--remove-edges.isolated"),
    *("--no-turnarounds.fringe", "--no-turnarounds.except-deadend"),
    *("--xml-validation", "never", "--no-warnings"),
]


@dataclass(frozen=True)
class NetWish:
    """How to build a network: the side of the road, whether to guess signals, and where to cut."""

    left_hand: bool = False
    guess_signals: bool = False
    box: Box | None = None


def build(roads_file: Path, net: Path, wish: NetWish) -> int:
    """Run netconvert; return the number of signals.

    The map says where signals stand and not how they are timed: netconvert makes a plain 90 s program for each.

    Raises:
        ScenarioError: netconvert refused the map, or nothing that cars use is left of it.
    """
    kinds = sumo_home() / "data" / "typemap"
    types = [kinds / "osmNetconvert.typ.xml", kinds / "osmNetconvertUrbanDe.typ.xml"]  # the second: 50 km/h in towns
    arguments: list[object] = ["--osm-files", roads_file, "-o", net, "--type-files", types, *_OPTIONS]
    if wish.left_hand:
        arguments.append("--lefthand")
    if wish.guess_signals:
        arguments += ["--tls.guess", "--tls.guess.joining", "--tls.guess.threshold", _GUESS_MPS]
    if wish.box:
        arguments += ["--keep-edges.in-geo-boundary", ",".join(map(str, wish.box))]
    run_tool("netconvert", arguments, "Building the network of the map")
    strip_comments(net)
    text = net.read_text(encoding="utf-8")
    if not re.search(r'<edge id="[^:"]', text):
        raise ScenarioError("Nothing that cars use is left of the map in one piece; give a larger extract or --bbox.")
    return len(set(re.findall(r'<tlLogic id="([^"]*)"', text)))


def to_metres(net: Path, nodes: dict[int, tuple[float, float]]) -> NDArray[np.float64]:
    """A matrix (3, 2) that takes longitude, latitude and 1 to the network's x and y.

    Fitted to the junctions that kept the id of their OSM node; within a town that is exact to a metre or two.

    Raises:
        ScenarioError: too few junctions kept theirs.
    """
    pairs = [
        (nodes[int(node)], (float(x), float(y)))
        for node, x, y in _JUNCTION.findall(net.read_text(encoding="utf-8"))
        if int(node) in nodes
    ]
    if len(pairs) < 3:
        raise ScenarioError("The map has too few junctions for districts; ask for --demand random.")
    degrees = np.array([(*place, 1.0) for place, _ in pairs])
    metres = np.array([position for _, position in pairs])
    return np.asarray(np.linalg.lstsq(degrees, metres, rcond=None)[0], dtype=np.float64)
