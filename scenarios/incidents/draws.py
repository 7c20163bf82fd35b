"""Incidents drawn from the seed: Poisson numbers of each type, sensible durations, on roads where they can happen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from scenarios.common.randomness import generator
from scenarios.incidents.road_graph import Road, TripEnds, destinations_from, drivable, reached
from scenarios.spec import (
    Crash,
    DemandSurge,
    DetectorOutage,
    EmergencyVehicle,
    Incident,
    RoadClosure,
    Roadworks,
    Scenario,
    ScenarioError,
)

#: Shortest and longest duration, s.
DURATIONS_S = {
    "crash": (600, 1500),
    "roadworks": (1200, 2400),
    "road_closure": (600, 1200),
    "demand_surge": (300, 900),
    "detector_outage": (600, 1800),
    "emergency_vehicle": (300, 600),
}
#: Shortest road that an incident of a type happens on, m.
MIN_LENGTH_M = {"crash": 60.0, "roadworks": 60.0, "road_closure": 30.0}
#: These happen on roads that lead to a signal, where controllers can do something about them.
AT_SIGNALS = ("crash", "roadworks", "detector_outage")
#: Where along the road a crash happens, as a share of its length: near the signal, where lanes are needed.
CRASH_SHARE = (0.6, 0.95)
REROUTE_SHARE = (0.3, 0.7)
#: A surge brings this share of an hour's trips, within these numbers of vehicles.
SURGE_SHARE, SURGE_VEHICLES = (0.05, 0.10), (60, 200)
#: Random roads that are tried before one that is taken already will do, and again before giving up.
TRIES = 200
#: Random pairs of roads among which an emergency vehicle takes the two that are farthest apart.
PAIRS = 8

Busy = Callable[[str, float, float], bool]


class Draws:
    """Draws for one run. ``ends`` is called only where the ends of trips matter."""

    def __init__(
        self,
        scenario: Scenario,
        roads: Mapping[str, Road],
        seed: int,
        signalled: frozenset[str] | None,
        ends: Callable[[], TripEnds],
    ) -> None:
        self.scenario, self.roads, self.seed, self.signalled, self.ends = scenario, roads, seed, signalled, ends
        self.drivable = drivable(roads)

    def draw(self, kind: str, busy: Busy) -> Iterator[Incident]:
        """Draw the incidents of one type in order of their start; ``busy`` is asked again before each.

        Raises:
            ScenarioError: the network has no place for one.
        """
        rate = getattr(self.scenario.incident_rates, f"{kind}_per_h")
        rng = generator(self.seed, f"{self.scenario.name}/draw/{kind}")
        number = int(rng.poisson(rate * self.scenario.horizon_s / 3600))
        for offset_s in np.sort(rng.uniform(0, self.scenario.horizon_s, size=number)):
            start_s = float(math.floor(self.scenario.warmup_s + offset_s))
            yield self._one(kind, start_s, float(rng.integers(*DURATIONS_S[kind], endpoint=True)), busy, rng)

    def _one(self, kind: str, start_s: float, duration_s: float, busy: Busy, rng: np.random.Generator) -> Incident:
        if kind == "emergency_vehicle":
            origin, destination = self._far_apart(rng)
            return EmergencyVehicle(start_s=start_s, duration_s=duration_s, from_edge=origin, to_edge=destination)
        road = self._road(kind, lambda edge: busy(edge, start_s, start_s + duration_s), rng)
        edge = road.id
        if kind == "crash":
            lanes, position_m = _some_lanes(road, rng), round(float(rng.uniform(*CRASH_SHARE)) * road.length_m, 1)
            return Crash(start_s=start_s, duration_s=duration_s, edge=edge, lanes=lanes, position_m=position_m)
        if kind == "roadworks":
            return Roadworks(start_s=start_s, duration_s=duration_s, edge=edge, lanes=_some_lanes(road, rng))
        if kind == "road_closure":
            share = round(float(rng.uniform(*REROUTE_SHARE)), 2)
            return RoadClosure(start_s=start_s, duration_s=duration_s, edge=edge, reroute_share=share)
        if kind == "demand_surge":
            return DemandSurge(start_s=start_s, duration_s=duration_s, edge=edge, vehicles=self._surge_size(rng))
        return DetectorOutage(start_s=start_s, duration_s=duration_s, edge=edge)

    def _surge_size(self, rng: np.random.Generator) -> int:
        hours = (self.scenario.end_s - self.scenario.begin_s) / 3600
        per_hour = self.ends().trips * self.scenario.demand.scale / hours
        return int(np.clip(rng.uniform(*SURGE_SHARE) * per_hour, *SURGE_VEHICLES))

    def _road(self, kind: str, busy: Callable[[str], bool], rng: np.random.Generator) -> Road:
        """A random road that fits; roads with more lane metres carry more traffic and are hit more often."""
        fitting = [edge for edge in self.drivable if self._fits(kind, self.roads[edge])]
        if kind == "crash":  # a crash on the only lane stops everything, so only where there is no other road
            fitting = [edge for edge in fitting if len(self.roads[edge].car_lanes) > 1] or fitting
        weights = np.array([self.roads[edge].length_m * len(self.roads[edge].car_lanes) for edge in fitting])
        for attempt in range(2 * TRIES if fitting else 0):
            edge = fitting[int(rng.choice(len(fitting), p=weights / weights.sum()))]
            free = attempt >= TRIES or not busy(edge)  # where all roads are taken, two incidents share one
            if free and self._is_possible(kind, edge):
                return self.roads[edge]
        what = kind.replace("_", " ")
        raise ScenarioError(
            f"Scenario {self.scenario.name}: no road of the network is fit for a {what}{_needs(kind)}; "
            f"set incident_rates.{kind}_per_h to 0 or list the incident."
        )

    def _fits(self, kind: str, road: Road) -> bool:
        if kind in AT_SIGNALS and self.signalled is not None and road.id not in self.signalled:
            return False
        if kind == "roadworks" and len(road.car_lanes) < 2:
            return False
        if kind == "road_closure" and (road.id in self.ends().origins or road.id in self.ends().destinations):
            return False
        return road.length_m >= MIN_LENGTH_M.get(kind, 0.0)

    def _is_possible(self, kind: str, edge: str) -> bool:
        if kind == "demand_surge":
            return bool(destinations_from(edge, self.roads, self.ends()))
        return kind != "road_closure" or self._has_detours(edge)

    def _has_detours(self, edge: str) -> bool:
        """Whether every way through the road has an alternative, so that a closure cuts nobody off."""
        road = self.roads[edge]
        if not road.predecessors or not road.successors:
            return False
        return all(set(road.successors) <= reached(self.roads, before, without=edge) for before in road.predecessors)

    def _far_apart(self, rng: np.random.Generator) -> tuple[str, str]:
        pairs: list[tuple[float, str, str]] = []
        for _ in range(TRIES):
            origin, destination = (self.drivable[int(rng.integers(len(self.drivable)))] for _ in range(2))
            if origin != destination and destination in reached(self.roads, origin):
                gap_m = math.dist(self.roads[origin].shape[0], self.roads[destination].shape[-1])
                pairs.append((gap_m, origin, destination))
            if len(pairs) == PAIRS:
                break
        if not pairs:
            raise ScenarioError(
                f"Scenario {self.scenario.name}: no two roads of the network are connected, so no emergency vehicle "
                "can cross it; set incident_rates.emergency_vehicle_per_h to 0."
            )
        return max(pairs)[1:]


def _some_lanes(road: Road, rng: np.random.Generator) -> tuple[int, ...]:
    """One car lane mostly, more sometimes; where there are two, one stays open."""
    most = max(len(road.car_lanes) - 1, 1)
    count = most if rng.random() < 0.2 else 1
    first = int(rng.integers(len(road.car_lanes) - count + 1))
    return road.car_lanes[first : first + count]


def _needs(kind: str) -> str:
    """What the network lacks, for the sentence."""
    if kind == "roadworks":
        return " (it takes two car lanes)"
    return " (it takes a way around it and no trips that begin or end there)" if kind == "road_closure" else ""
