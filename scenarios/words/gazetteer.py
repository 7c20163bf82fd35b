"""Names for the places of any network: streets (chains of roads), junctions and landmarks.

Real names are used where the network file has them. All others are drawn from a seed that follows from the roads' ids,
so every run of a network uses the same.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from scenarios.common.randomness import generator
from scenarios.incidents.road_graph import Road, drivable
from scenarios.words.names import LANDMARK_KINDS, landmark_names, street_names

#: A road goes on in the next one if the way bends by less than this, degrees.
STRAIGHT_DEG = 35.0
#: Two roads whose ends lie this close together, crosswise, are the two directions of one street, m.
SAME_PLACE_M = 25.0


@dataclass(frozen=True)
class Street:
    """A chain of roads under one name, both directions together.

    Attributes:
        name: as people say it.
        roads: ids, sorted.
        real: the name is the network file's.
    """

    name: str
    roads: tuple[str, ...]
    real: bool = False


@dataclass(frozen=True)
class Junction:
    """Where streets meet.

    Attributes:
        streets: names of two or more, sorted.
        position_m: x and y.
    """

    streets: tuple[str, ...]
    position_m: tuple[float, float]

    @property
    def name(self) -> str:
        """Both names, such as ``Mill Street / Oak Road``."""
        return " / ".join(self.streets[:2])


@dataclass(frozen=True)
class Landmark:
    """A building that everybody knows.

    Attributes:
        name: as people say it.
        kind: one of ``LANDMARK_KINDS``.
        road: id of the road that it lies at; empty where there are no roads.
        position_m: x and y.
    """

    name: str
    kind: str
    road: str = ""
    position_m: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Gazetteer:
    """All places of a network, each in a documented order: streets and junctions by name, landmarks by kind."""

    streets: tuple[Street, ...]
    junctions: tuple[Junction, ...] = ()
    landmarks: tuple[Landmark, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all streets, then of all landmarks."""
        return (*(street.name for street in self.streets), *(landmark.name for landmark in self.landmarks))

    @cached_property
    def crossing(self) -> Mapping[str, tuple[str, ...]]:
        """For each street the streets that it meets, sorted."""
        meet: dict[str, set[str]] = defaultdict(set)
        for junction in self.junctions:
            for name in junction.streets:
                meet[name] |= set(junction.streets) - {name}
        return {street.name: tuple(sorted(meet[street.name])) for street in self.streets}

    def street_of(self, road: str) -> str | None:
        """Name of the street that a road belongs to; None for a road without cars."""
        return self._by_road.get(road)

    def near(self, position_m: tuple[float, float], radius_m: float) -> tuple[str, ...]:
        """Names of the streets with a junction, and of the landmarks, within ``radius_m``; sorted."""
        junctions = [j for j in self.junctions if math.dist(j.position_m, position_m) <= radius_m]
        landmarks = [place.name for place in self.landmarks if math.dist(place.position_m, position_m) <= radius_m]
        return tuple(sorted({name for junction in junctions for name in junction.streets} | set(landmarks)))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "streets": [{"name": s.name, "roads": list(s.roads), "real": s.real} for s in self.streets],
            "junctions": [{"streets": list(j.streets), "position_m": list(j.position_m)} for j in self.junctions],
            "landmarks": [
                {"name": p.name, "kind": p.kind, "road": p.road, "position_m": list(p.position_m)}
                for p in self.landmarks
            ],
        }

    @cached_property
    def _by_road(self) -> dict[str, str]:
        return {road: street.name for street in self.streets for road in street.roads}


def gazetteer(roads: Mapping[str, Road], landmarks_each: int = 2) -> Gazetteer:
    """Name the places of a network.

    Args:
        roads: by id, as ``sim.network.Network.roads`` has them.
        landmarks_each: how many of each kind.
    """
    edges = drivable(roads)
    # The ids of the roads alone decide, so that another demand, seed or timing changes no name.
    digest = hashlib.blake2b("\n".join(edges).encode(), digest_size=16).hexdigest()
    rng = generator(0, f"gazetteer/{digest}")
    named: dict[str, list[str]] = defaultdict(list)
    for edge in edges:
        name = " ".join(roads[edge].name.split())
        if name and name != edge:
            named[name].append(edge)
    streets = [Street(name, tuple(sorted(own)), real=True) for name, own in named.items()]
    unnamed = [edge for edge in edges if not roads[edge].name.strip() or roads[edge].name == edge]
    fresh = street_names(rng, set(named))
    streets += [Street(next(fresh), chain) for chain in _chains(roads, unnamed)]
    ordered = tuple(sorted(streets, key=lambda street: street.name))
    by_road = {road: street.name for street in ordered for road in street.roads}
    junctions = _junctions(roads, by_road)
    return Gazetteer(ordered, junctions, _landmarks(roads, edges, rng, landmarks_each))


def invented(seed: int, streets: int = 12, landmarks_each: int = 1) -> Gazetteer:
    """Places of no network: names alone, each street meeting the next three, to draw wordings without a simulation."""
    rng = generator(seed, "invented gazetteer")
    fresh = street_names(rng, set())
    names = [next(fresh) for _ in range(streets)]
    meet = {tuple(sorted((names[k], names[(k + step) % streets]))) for k in range(streets) for step in (1, 2, 3)}
    junctions = tuple(Junction(pair, (0.0, 0.0)) for pair in sorted(meet) if len(set(pair)) > 1)
    landmarks = _landmarks({}, (), rng, landmarks_each)
    return Gazetteer(tuple(Street(name, ()) for name in sorted(names)), junctions, landmarks)


def _chains(roads: Mapping[str, Road], edges: Iterable[str]) -> list[tuple[str, ...]]:
    """Roads without a name as chains that run straight on, with their opposite directions; in order of the first id."""
    group = {edge: edge for edge in edges}

    def root(edge: str) -> str:
        while group[edge] != edge:
            edge = group[edge]
        return edge

    def join(one: str, other: str) -> None:
        low, high = sorted((root(one), root(other)))
        group[high] = low

    before: dict[str, list[tuple[float, str]]] = defaultdict(list)
    ahead: dict[str, str] = {}
    for edge in group:
        bends = sorted((_bend_deg(roads[edge], roads[o]), o) for o in roads[edge].successors if o in group)
        if bends and bends[0][0] < STRAIGHT_DEG:
            ahead[edge] = bends[0][1]
            before[bends[0][1]].append((bends[0][0], edge))
    for edge, other in ahead.items():
        if min(before[other])[1] == edge:  # of two roads that run into one, the straighter is the same street
            join(edge, other)
    starts: dict[tuple[int, int], list[str]] = defaultdict(list)
    for edge in group:
        starts[_cell(roads[edge].shape[0])].append(edge)
    for edge in group:
        for other in _around(starts, roads[edge].shape[-1]):
            if edge < other and _opposite(roads[edge], roads[other]):
                join(edge, other)
    chains: dict[str, list[str]] = defaultdict(list)
    for edge in group:
        chains[root(edge)].append(edge)
    return [tuple(sorted(chain)) for _, chain in sorted(chains.items())]


def _bend_deg(road: Road, other: Road) -> float:
    """By how much the way bends from one road into the next, degrees."""
    (ax, ay), (bx, by) = road.shape[-2:]
    (cx, cy), (dx, dy) = other.shape[:2]
    turn = math.atan2(dy - cy, dx - cx) - math.atan2(by - ay, bx - ax)
    return abs(math.degrees(math.remainder(turn, math.tau)))


def _opposite(road: Road, other: Road) -> bool:
    return (
        math.dist(road.shape[0], other.shape[-1]) < SAME_PLACE_M
        and math.dist(road.shape[-1], other.shape[0]) < SAME_PLACE_M
    )


def _cell(point: tuple[float, float]) -> tuple[int, int]:
    return math.floor(point[0] / SAME_PLACE_M), math.floor(point[1] / SAME_PLACE_M)


def _around(cells: Mapping[tuple[int, int], list[str]], point: tuple[float, float]) -> list[str]:
    x, y = _cell(point)
    return [edge for dx in (-1, 0, 1) for dy in (-1, 0, 1) for edge in cells.get((x + dx, y + dy), ())]


def _junctions(roads: Mapping[str, Road], by_road: Mapping[str, str]) -> tuple[Junction, ...]:
    """Where a road leads into another street: one junction for each set of streets and place."""
    meeting: dict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
    for edge, name in by_road.items():
        around = {by_road[other] for other in roads[edge].successors if other in by_road} | {name}
        if len(around) > 1:
            meeting[tuple(sorted(around))].append(roads[edge].shape[-1])
    found = []
    for streets, points in sorted(meeting.items()):
        x, y = np.mean(points, axis=0).tolist()
        found.append(Junction(streets, (round(x, 1), round(y, 1))))
    return tuple(found)


def _landmarks(
    roads: Mapping[str, Road], edges: tuple[str, ...], rng: np.random.Generator, each: int
) -> tuple[Landmark, ...]:
    """Landmarks at drawn roads, none at the same road while there are enough."""
    places = rng.permutation(list(edges)).tolist()
    found: list[Landmark] = []
    for kind in LANDMARK_KINDS:
        for name, _ in zip(landmark_names(kind, rng), range(each), strict=False):
            road = places[len(found) % len(places)] if places else ""
            found.append(Landmark(name, kind, road, _middle(roads[road]) if road else (0.0, 0.0)))
    return tuple(found)


def _middle(road: Road) -> tuple[float, float]:
    """The point half way along a road."""
    half = sum(math.dist(a, b) for a, b in pairwise(road.shape)) / 2
    for a, b in pairwise(road.shape):
        step = math.dist(a, b)
        if step >= half and step > 0:
            return (round(a[0] + (b[0] - a[0]) * half / step, 1), round(a[1] + (b[1] - a[1]) * half / step, 1))
        half -= step
    return road.shape[-1]
