"""The road graph as incidents need it, and where the demand's trips begin and end on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol
from xml.etree import ElementTree

from scenarios.common.input_files import Stamp, stamp
from scenarios.demand.route_files import WHAT, read_elements


class Road(Protocol):
    """What a schedule needs to know of a road; ``sim.network.Road`` is one."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def lanes(self) -> int: ...  # noqa: D102
    @property
    def length_m(self) -> float: ...  # noqa: D102
    @property
    def successors(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def predecessors(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def shape(self) -> tuple[tuple[float, float], ...]: ...  # noqa: D102
    @property
    def car_lanes(self) -> tuple[int, ...]: ...  # noqa: D102


@dataclass(frozen=True)
class TripEnds:
    """Where the demand's trips begin and end: how many per road; and the vehicle type that most of them use."""

    origins: Mapping[str, int] = field(default_factory=dict)
    destinations: Mapping[str, int] = field(default_factory=dict)
    vehicle_type: str = ""
    trips: int = 0


def reached(roads: Mapping[str, Road], start: str, without: str = "") -> set[str]:
    """Every road that can be driven to from ``start``, itself included, without using one of them."""
    reached, todo = {start}, [start]
    while todo:
        for edge in roads[todo.pop()].successors:
            if edge not in reached and edge != without:
                reached.add(edge)
                todo.append(edge)
    return reached


def drivable(roads: Mapping[str, Road]) -> tuple[str, ...]:
    """The roads that cars may use, in order of their id."""
    return tuple(sorted(edge for edge, road in roads.items() if road.car_lanes))


def destinations_from(edge: str, roads: Mapping[str, Road], ends: TripEnds) -> list[str]:
    """Where drivers who start on ``edge`` can go: the demand's destinations, else the ends of the network."""
    reachable = reached(roads, edge) - {edge}
    choices = [other for other in drivable(roads) if other in reachable]
    known = [other for other in choices if other in ends.destinations]
    return known or [other for other in choices if not roads[other].successors] or choices


def trip_ends(route_files: Sequence[Path]) -> TripEnds:
    """Read where the trips of route files begin and end.

    Raises:
        ScenarioError: a file is missing or broken.
    """
    return _trip_ends(tuple((file, stamp(file, WHAT)) for file in route_files))


@lru_cache(maxsize=8)
def _trip_ends(files: tuple[tuple[Path, Stamp], ...]) -> TripEnds:
    origins: Counter[str] = Counter()
    destinations: Counter[str] = Counter()
    types: Counter[str] = Counter()
    routes: dict[str, list[str]] = {}
    for element in (inner for top in read_elements([file for file, _ in files]) for inner in top.iter()):
        if element.tag == "route" and element.get("id"):
            routes[element.get("id", "")] = element.get("edges", "").split()
        elif element.tag in ("vehicle", "trip", "flow"):
            first, last = _ends(element, routes)
            origins[first] += 1
            destinations[last] += 1
            types[element.get("type", "")] += 1
    trips = sum(types.values())
    origins.pop("", None)
    destinations.pop("", None)
    return TripEnds(origins, destinations, max(sorted(types), key=types.__getitem__, default=""), trips)


def _ends(element: ElementTree.Element, routes: Mapping[str, list[str]]) -> tuple[str, str]:
    inner = element.find("route")
    edges = inner.get("edges", "").split() if inner is not None else routes.get(element.get("route", ""), [])
    if edges:
        return edges[0], edges[-1]
    return element.get("from", ""), element.get("to", "")
