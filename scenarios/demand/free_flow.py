"""How long vehicles drive unhindered: routes from duarouter over the lengths and speed limits of a network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

from scenarios.common.errors import ScenarioError, shorten
from scenarios.common.input_files import top_elements
from scenarios.common.net_values import WHAT, check_network
from scenarios.demand.route_files import read_elements, time_s

#: SUMO's defaults per vehicle class: maximum speed (m/s) and length (m); anything else is a passenger car.
_CLASS_DEFAULTS = {
    "bus": (85 / 3.6, 12.0),
    "coach": (100 / 3.6, 14.0),
    "truck": (130 / 3.6, 7.1),
    "trailer": (130 / 3.6, 16.5),
    "delivery": (200 / 3.6, 6.5),
    "emergency": (200 / 3.6, 6.5),
    "motorcycle": (200 / 3.6, 2.2),
    "moped": (60 / 3.6, 2.1),
    "bicycle": (50 / 3.6, 1.6),
}
_CAR = (200 / 3.6, 5.0)
_MOST_PARTS = 10  # of a way over a junction; a broken network can hold a circle


@dataclass(frozen=True)
class Drives:
    """Vehicles with a route, in order of departure: ids, departures (s; infinite if triggered), free-flow times (s)."""

    ids: list[str]
    depart_s: list[float]
    free_flow_s: list[float]


def free_flow(net_file: Path, routed: Path) -> Drives:
    """Free-flow times of the vehicles in duarouter's output.

    Raises:
        ScenarioError: the network or a vehicle type holds a value that makes no sense.
    """
    roads = _Roads(net_file)
    types: dict[str, tuple[float, float]] = {}
    rows: list[tuple[float, str, float]] = []
    for element in read_elements([routed], "Routed file"):
        if element.tag == "vType":
            types[element.get("id", "")] = _limits(element)
        elif element.tag == "vehicle":
            limits = types.get(element.get("type", ""), _CAR)
            edges = _edges(element)
            if edges:
                roads.check_ends(element, edges, limits[0])
                rows.append((time_s(element), element.get("id", ""), roads.drive_s(element, edges, *limits)))
    rows.sort()
    return Drives([row[1] for row in rows], [row[0] for row in rows], [row[2] for row in rows])


def _limits(kind: ElementTree.Element) -> tuple[float, float]:
    """Maximum speed (m/s) and length (m) of a vehicle type."""
    defaults = _CLASS_DEFAULTS.get(kind.get("vClass", ""), _CAR)
    values = []
    for key, default in zip(("maxSpeed", "length"), defaults, strict=True):
        value = float(kind.get(key, default))
        if not (0 < value < math.inf):
            name = shorten(kind.get("id", ""), 60)
            raise ScenarioError(f"Vehicle type '{name}': {key} is {value:g}; it has to be a number above 0.")
        values.append(value)
    return values[0], values[1]


def _edges(vehicle: ElementTree.Element) -> list[str]:
    route = vehicle.find("route")
    return route.get("edges", "").split() if route is not None else []


class _Roads:
    """Lengths and speed limits of a network's roads and of the ways over its junctions."""

    def __init__(self, net_file: Path) -> None:
        self.lanes: dict[str, tuple[float, float]] = {}  # lane id -> length (m), limit (m/s)
        self.roads: dict[str, tuple[float, float]] = {}  # road id -> length (m), limit of its fastest lane (m/s)
        self.ways: dict[tuple[str, str], list[str]] = {}  # from, to -> first internal lane of each connection
        self.onward: dict[str, str] = {}  # internal lane -> internal lane, for ways with a waiting position
        self.counts: dict[str, int] = {}  # road id -> lanes
        check_network(net_file)
        try:
            for element in top_elements(net_file, WHAT):
                if element.tag == "edge":
                    self._road(element)
                elif element.tag == "connection":
                    self._connection(element)
        except (ValueError, TypeError) as error:
            if isinstance(error, ScenarioError):
                raise
            raise ScenarioError(f"{WHAT} {net_file} is not a complete SUMO network: {error}.") from error

    def _road(self, edge: ElementTree.Element) -> None:
        lanes = [(float(lane.get("length", 0)), float(lane.get("speed", 1))) for lane in edge.iter("lane")]
        self.lanes.update(zip((lane.get("id", "") for lane in edge.iter("lane")), lanes, strict=True))
        if lanes:
            self.roads[edge.get("id", "")] = (lanes[0][0], max(limit for _, limit in lanes))
            self.counts[edge.get("id", "")] = len(lanes)

    def _connection(self, link: ElementTree.Element) -> None:
        source, via = link.get("from", ""), link.get("via")
        if via and source.startswith(":"):
            self.onward[f"{source}_{link.get('fromLane')}"] = via
        elif via:
            self.ways.setdefault((source, link.get("to", "")), []).append(via)

    def check_ends(self, vehicle: ElementTree.Element, edges: list[str], top_mps: float) -> None:
        """Refuse what SUMO finds only when the vehicle departs, and then stops at."""
        name = shorten(vehicle.get("id", ""), 60)
        lane, edge = vehicle.get("departLane", ""), edges[0]
        if lane.isdecimal() and int(lane) >= self.counts.get(edge, 0):
            lanes = self.counts.get(edge, 0)
            raise ScenarioError(
                f"Vehicle '{name}': departLane is {shorten(lane, 20)}, but road '{edge}' has {lanes} lanes, from 0."
            )
        try:
            depart_mps = float(vehicle.get("departSpeed", ""))
        except ValueError:  # "max" and other words
            return
        if depart_mps > top_mps + 0.001:
            raise ScenarioError(
                f"Vehicle '{name}': departSpeed is {depart_mps:g}, but its type drives {top_mps:g} m/s."
            )

    def drive_s(self, vehicle: ElementTree.Element, edges: list[str], top_mps: float, length_m: float) -> float:
        """Seconds from the place of departure to the place of arrival, never hindered."""
        first_m, last_m = self.roads[edges[0]][0], self.roads[edges[-1]][0]
        skipped = _position(vehicle.get("departPos", "base"), first_m, base=min(length_m, first_m))
        unused = last_m - _position(vehicle.get("arrivalPos", "max"), last_m, base=last_m)
        seconds = sum(self._edge_s(edge, top_mps) for edge in edges)
        seconds += sum(self._crossing_s(pair, top_mps) for pair in pairwise(edges))
        seconds -= skipped / min(top_mps, self.roads[edges[0]][1])
        seconds -= unused / min(top_mps, self.roads[edges[-1]][1])
        return max(seconds, 0.0)

    def _edge_s(self, edge: str, top_mps: float) -> float:
        length_m, limit_mps = self.roads[edge]
        return length_m / min(limit_mps, top_mps)

    def _crossing_s(self, pair: tuple[str, str], top_mps: float) -> float:
        return min((self._way_s(lane, top_mps) for lane in self.ways.get(pair, ())), default=0.0)

    def _way_s(self, lane: str | None, top_mps: float) -> float:
        seconds = 0.0
        for _ in range(_MOST_PARTS):
            if not lane:
                break
            length_m, limit_mps = self.lanes.get(lane, (0.0, 1.0))
            seconds += length_m / min(limit_mps, top_mps)
            lane = self.onward.get(lane)
        return seconds


def _position(text: str, length_m: float, base: float) -> float:
    """A departPos or arrivalPos in metres; the middle where SUMO draws it, ``base`` where it finds room itself."""
    try:
        position = float(text)
    except ValueError:
        return length_m / 2 if text.startswith("random") or text == "center" else base
    return min(max(position if position >= 0 else length_m + position, 0.0), length_m)
