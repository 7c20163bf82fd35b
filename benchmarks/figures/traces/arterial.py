"""Finds the arterial of a network: the nearly straight way over most signals that most vehicles drive."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures.selection import FigureError, hint
from benchmarks.trace.trace_file import Floats, Ints, Road, SignalStates, Trace

#: A way that turns by more than this at a junction is no longer the arterial.
STRAIGHT_RAD = math.radians(60)


@dataclass(frozen=True)
class StopLine:
    """A signal on the arterial: how far along it stands, and which letters of its state govern going straight on."""

    signal: str
    distance_m: float
    links: tuple[int, ...]

    def shows(self, states: SignalStates, begin_s: int, end_s: int) -> NDArray[np.str_]:
        """(end_s - begin_s,) what the arterial sees in each second: G (green for any of its lanes), y or r."""
        letters = {state: _letter(state, self.links) for state in states.states}
        index = np.searchsorted(states.time_s, np.arange(begin_s, end_s), side="right") - 1
        return np.array([letters[state] for state in states.states])[np.maximum(index, 0)]


@dataclass(frozen=True)
class Arterial:
    """Roads in driving order; distances are from the begin of the first.

    Attributes:
        roads: their ids.
        begin_m: (R,) where each begins.
        length_m: (R,) of each.
        speed_mps: (R,) speed limits.
        stops: the signals on the way, in order.
    """

    roads: tuple[str, ...]
    begin_m: tuple[float, ...]
    length_m: tuple[float, ...]
    speed_mps: tuple[float, ...]
    stops: tuple[StopLine, ...]

    def travel_s(self, from_m: float, to_m: float) -> float:
        """Driving time between two places at the speed limits; what lies between roads is driven as the next one."""
        total = 0.0
        ends = [*self.begin_m[1:], self.begin_m[-1] + self.length_m[-1]]
        for begin_m, end_m, speed_mps in zip(self.begin_m, ends, self.speed_mps, strict=True):
            total += max(0.0, min(end_m, to_m) - max(begin_m, from_m)) / speed_mps
        return total


class Streets:
    """The roads of a trace with the traffic that went from one to the next."""

    def __init__(self, trace: Trace) -> None:
        self.roads = trace.about.roads
        self.flow = flows(trace)
        self.before: dict[str, list[str]] = {}
        for name, road in self.roads.items():
            for successor in road.successors:
                self.before.setdefault(successor, []).append(name)
        self.signal_of: dict[tuple[str, str], tuple[str, tuple[int, ...]]] = {}
        for signal, entry in trace.about.signals.items():
            for link in entry.links:
                way = link.from_road, link.to_road
                links = self.signal_of.get(way, (signal, ()))[1]
                self.signal_of[way] = signal, (*links, link.link)

    @cached_property
    def seeds(self) -> list[str]:
        """Roads that lead to a signal, in the order of their ids."""
        return sorted({from_road for from_road, to_road in self.signal_of if {from_road, to_road} <= set(self.roads)})

    def through(self, road: str) -> list[str]:
        """The way through a road, as far forwards and backwards as it stays straight and is driven."""
        way = [road]
        while step := self._next(way, self.roads[way[-1]].successors, lambda other: (way[-1], other)):
            way.append(step)
        while step := self._next(way, self.before.get(way[0], ()), lambda other: (other, way[0])):
            way.insert(0, step)
        return way

    def _next(self, way: list[str], options: Iterable[str], pair: Callable[[str], tuple[str, str]]) -> str | None:
        fitting = [
            other
            for other in options
            if other in self.roads and other not in way and self.flow[pair(other)] and self._straight(*pair(other))
        ]
        return max(fitting, key=lambda other: (self.flow[pair(other)], other), default=None)

    def _straight(self, one: str, other: str) -> bool:
        turn = _heading(self.roads[other], 0) - _heading(self.roads[one], -2)
        return abs(math.remainder(turn, math.tau)) <= STRAIGHT_RAD

    def worth(self, way: list[str]) -> tuple[int, int]:
        """Signals on the way, and vehicles over all its junctions."""
        pairs = list(pairwise(way))
        signals = {self.signal_of[pair][0] for pair in pairs if pair in self.signal_of}
        return len(signals), sum(self.flow[pair] for pair in pairs)


def choose(trace: Trace, road: str | None = None) -> Arterial:
    """The arterial of a run, or the one through a road.

    Raises:
        FigureError: the road is unknown, or no way over a signal was driven.
    """
    streets = Streets(trace)
    if road is not None and road not in streets.roads:
        raise FigureError(f"{trace.about.scenario} has no road '{road}'; {hint(road, streets.roads)}")
    ways = [streets.through(seed) for seed in ([road] if road is not None else streets.seeds)]
    best = max(ways, key=lambda way: (*streets.worth(way), way), default=[])
    if not best or not streets.worth(best)[0]:
        where = f"through road '{road}'" if road is not None else f"in {trace.about.scenario}"
        raise FigureError(f"No vehicle drove straight over a signal {where}; give another --road or a longer run.")
    return _laid_out(best, streets)


def flows(trace: Trace) -> Counter[tuple[str, str]]:
    """How many vehicles went from one road to the next."""
    road_of, names = roads_of_lanes(trace)
    road = road_of[trace.vehicles.lane]
    kept = road >= 0
    road, vehicle = road[kept], trace.vehicles.vehicle[kept]
    moved = (road[1:] != road[:-1]) & (vehicle[1:] == vehicle[:-1])
    pairs, counts = np.unique(np.stack([road[:-1][moved], road[1:][moved]], 1), axis=0, return_counts=True)
    return Counter({(names[a], names[b]): int(n) for (a, b), n in zip(pairs.tolist(), counts, strict=True)})


def roads_of_lanes(trace: Trace) -> tuple[Ints, list[str]]:
    """For each lane of a trace the index of its road in the list returned; -1 for lanes inside junctions."""
    of_lane = [lane.rpartition("_")[0] for lane in trace.lanes]
    names = sorted({road for road in of_lane if not road.startswith(":")})
    index = {name: k for k, name in enumerate(names)}
    return np.array([index.get(road, -1) for road in of_lane], np.int64), names


def pieces(trace: Trace, arterial: Arterial, begin_s: float, end_s: float) -> list[tuple[int, Floats, Floats]]:
    """The trajectories on the arterial in a stretch of time: vehicle, times (s) and distances (m) of each piece."""
    vehicles = trace.vehicles
    road_of, names = roads_of_lanes(trace)
    place = {road: k for k, road in enumerate(arterial.roads)}
    rank_of = np.array([place.get(name, -1) for name in names] + [-2])  # the last: inside a junction
    rank = rank_of[road_of[vehicles.lane]]
    kept = (vehicles.time_s >= begin_s) & (vehicles.time_s < end_s) & (rank != -2)
    rank, vehicle = rank[kept], vehicles.vehicle[kept]
    distance_m = np.array([*arterial.begin_m, np.nan])[rank] + vehicles.position_m[kept]
    times_s = vehicles.time_s[kept].astype(np.float64)
    step = np.diff(rank)
    broken = (np.diff(vehicle) != 0) | (rank[1:] < 0) | (rank[:-1] < 0) | (step < 0) | (step > 1)
    cuts = np.flatnonzero(broken) + 1
    found = []
    for rows in np.split(np.arange(rank.size), cuts):
        if rows.size > 1 and rank[rows[0]] >= 0:
            found.append((int(vehicle[rows[0]]), times_s[rows], distance_m[rows]))
    return found


def _laid_out(way: list[str], streets: Streets) -> Arterial:
    roads = [streets.roads[name] for name in way]
    begin_m, stops = [0.0], []
    for k, (one, other) in enumerate(pairwise(roads)):
        end_m = begin_m[-1] + one.length_m
        if (way[k], way[k + 1]) in streets.signal_of:
            signal, links = streets.signal_of[way[k], way[k + 1]]
            stops.append(StopLine(signal, end_m, links))
        begin_m.append(end_m + math.dist(one.shape[-1], other.shape[0]))
    lengths, speeds = tuple(road.length_m for road in roads), tuple(road.speed_mps for road in roads)
    return Arterial(tuple(way), tuple(begin_m), lengths, speeds, tuple(stops))


def _heading(road: Road, index: int) -> float:
    (x1, y1), (x2, y2) = road.shape[index], road.shape[index + 1] if index >= 0 else road.shape[-1]
    return math.atan2(y2 - y1, x2 - x1)


def _letter(state: str, links: tuple[int, ...]) -> str:
    shown = {state[link] for link in links}
    return "G" if shown & set("Gg") else "y" if shown & set("yYu") else "r"
