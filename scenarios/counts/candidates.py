"""Routes that traffic from counts may take, and how likely each is before the counts are looked at: the plain guess.

Trips begin and end with a chance in proportion to the lanes of a road, and more often where a road leaves the network.
Each takes a quick way, with travel times drawn anew for each trip, so that a pair of roads has more than one route.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from scenarios.common.sumo_tools import run_tool
from scenarios.demand.car_streets import Street
from scenarios.spec import ScenarioError

Route = tuple[str, ...]

#: Networks with fewer pairs of roads than this have all of them as candidates; in larger ones trips are drawn.
_ALL_PAIRS = 6000
#: Drawn trips per counted road, their least and largest number, and how often each of few pairs is routed.
_PER_COUNT, _FEWEST, _MOST, _REPEATS = 15, 3000, 8000, 3
#: A road at the network's edge begins and ends this many times as many trips as one inside.
EDGE_FACTOR = 20.0
#: Travel times of a trip are up to this factor too long, so that detours are drawn as well.
_DETOUR = 1.5
#: A counted road with fewer candidates gets this many ways through it by name.
_FEW, _VIA = 4, 12
_ROUTER = ["--xml-validation", "never", "--no-step-log", "--no-warnings", "--ignore-errors", "--unsorted-input"]
#: SUMO's letter for turning round.
_ROUND = "t"


@dataclass(frozen=True)
class Candidates:
    """Routes and the plain guess.

    Attributes:
        routes: roads in order of driving, each route once.
        weights: (R,) how likely each is, in any unit.
    """

    routes: tuple[Route, ...]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class Ends:
    """How likely trips begin and end on each road: (N,) chances in the order of ``ids``."""

    ids: tuple[str, ...]
    begin: NDArray[np.float64]
    end: NDArray[np.float64]

    @classmethod
    def of(cls, streets: Mapping[str, Street]) -> Ends:
        """By lanes; more at the network's edge, where turning round is no way in or out."""
        ids = tuple(sorted(streets))
        entered = {after for street in streets.values() for after, turn in street.turns.items() if turn != _ROUND}
        left = {name for name in ids if any(turn != _ROUND for turn in streets[name].turns.values())}
        lanes = np.array([streets[name].lanes for name in ids], float)
        begin = lanes * [1.0 if name in entered else EDGE_FACTOR for name in ids]
        end = lanes * [1.0 if name in left else EDGE_FACTOR for name in ids]
        return cls(ids, begin / begin.sum(), end / end.sum())


@dataclass(frozen=True)
class CandidateDraw:
    """Draws candidates on one network; ``folder`` takes the router's files."""

    net: Path
    streets: Mapping[str, Street]
    seed: int
    folder: Path

    def candidates(self, counted: Sequence[str]) -> Candidates:
        """Candidates for the whole network, with some through each counted road that any route can pass.

        Raises:
            ScenarioError: SUMO's router refused the network, or no trip has a way.
        """
        ends = Ends.of(self.streets)
        rng = np.random.default_rng([self.seed, 1])
        weights: dict[Route, float] = defaultdict(float)
        for route, weight in self._routed(self._trips(ends, len(counted), rng)):
            if not self._turns_round(route):
                weights[route] += weight
        passing: dict[str, int] = defaultdict(int)
        for route in weights:
            for edge in route:
                passing[edge] += 1
        if bare := [edge for edge in counted if passing[edge] < _FEW]:
            for route, weight in self._routed(self._trips_through(ends, bare)):
                weights.setdefault(route, weight)
        if not weights:
            raise ScenarioError(f"No trip has a way through {self.net}; its roads must be connected.")
        routes = tuple(sorted(weights))
        return Candidates(routes, np.array([weights[route] for route in routes]))

    def _trips(self, ends: Ends, counted: int, rng: np.random.Generator) -> Iterable[tuple[str, str, str, float]]:
        """Begin, end, road between (none here) and weight of each trip."""
        number = len(ends.ids)
        if number * number <= _ALL_PAIRS:
            chances = np.outer(ends.begin, ends.end)
            chances *= number * number
            for _ in range(_REPEATS):
                for k, start in enumerate(ends.ids):
                    for n, goal in enumerate(ends.ids):
                        yield start, goal, "", float(chances[k, n])
            return
        drawn = min(max(_PER_COUNT * counted, _FEWEST), _MOST)
        starts, goals = (rng.choice(ends.ids, size=drawn, p=chance) for chance in (ends.begin, ends.end))
        for start, goal in zip(starts, goals, strict=True):
            yield str(start), str(goal), "", 1.0

    def _trips_through(self, ends: Ends, edges: Sequence[str]) -> Iterable[tuple[str, str, str, float]]:
        """Ways over roads that few trips pass: all together as likely as one drawn trip."""
        rng = np.random.default_rng([self.seed, 2])
        for edge in edges:
            starts, goals = (rng.choice(ends.ids, size=_VIA, p=chance) for chance in (ends.begin, ends.end))
            for start, goal in zip(starts, goals, strict=True):
                yield str(start), str(goal), edge, 1.0 / _VIA

    def _routed(self, trips: Iterable[tuple[str, str, str, float]]) -> list[tuple[Route, float]]:
        """The quick way of each trip that has one, and its weight; none meets a road twice."""
        asked, routed = self.folder / "candidates.trips.xml", self.folder / "candidates.rou.xml"
        root = ElementTree.Element("routes")
        weights: list[float] = []
        for start, goal, via, weight in trips:
            if start == goal or self.streets[start].turns.get(goal) == _ROUND:
                continue
            attributes = {"id": str(len(weights)), "depart": str(len(weights)), "from": start, "to": goal}
            ElementTree.SubElement(root, "trip", attributes | ({"via": via} if via else {}))
            weights.append(weight)
        ElementTree.ElementTree(root).write(asked, encoding="utf-8")
        arguments: list[object] = ["-n", self.net, "-r", asked, "-o", routed, "--alternatives-output", "NUL"]
        arguments += ["--seed", self.seed, "--weights.random-factor", _DETOUR, *_ROUTER]
        run_tool("duarouter", arguments, f"Finding ways on {self.net}")
        found = []
        for vehicle in ElementTree.parse(routed).getroot().iter("vehicle"):
            element = vehicle.find("route")
            route = tuple((element.get("edges") or "").split()) if element is not None else ()
            if route and len(set(route)) == len(route):
                found.append((route, weights[int(vehicle.get("id", 0))]))
        for file in (asked, routed):
            file.unlink(missing_ok=True)
        return found

    def _turns_round(self, route: Route) -> bool:
        return any(
            self.streets[edge].turns.get(after) == _ROUND for edge, after in pairwise(route) if edge in self.streets
        )
