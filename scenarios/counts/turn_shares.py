"""Whether traffic from counts is plausible: turn shares and route lengths beside the plain guess."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from scenarios.counts.candidates import Candidates
from scenarios.demand.car_streets import Street

#: SUMO's letters for the direction of a connection.
_DIRECTIONS = {"l": "left", "L": "left", "s": "straight", "r": "right", "R": "right", "t": "round"}
_ORDER = ("left", "straight", "right", "round")


@dataclass(frozen=True)
class Turn:
    """One turn of a road that has several.

    Attributes:
        road: where it comes from.
        next_road: where it leads.
        direction: left, straight, right or round.
        vehicles: that take it.
        share: of the vehicles that go on from ``road``.
        guess_share: the same in the plain guess; None where the guess has nobody on the road.
        fixed: whether the counts fix the number of vehicles.
    """

    road: str
    next_road: str
    direction: str
    vehicles: float
    share: float
    guess_share: float | None
    fixed: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        guess = None if self.guess_share is None else round(self.guess_share, 3)
        return {
            "road": self.road,
            "next_road": self.next_road,
            "direction": self.direction,
            "vehicles": self.vehicles,
            "share": round(self.share, 3),
            "guess_share": guess,
            "fixed_by_counts": self.fixed,
        }


@dataclass(frozen=True)
class Plausibility:
    """What the counts leave open, and what was made of it.

    Attributes:
        turns: of all roads with more than one turn that vehicles take.
        guess: share of each direction in the plain guess, over all junctions.
        length_m: mean length of the vehicles' routes.
        guess_length_m: the same in the plain guess.
        vehicles_fixed: whether the counts fix the number of vehicles.
    """

    turns: tuple[Turn, ...]
    guess: Mapping[str, float] = field(default_factory=dict)
    length_m: float = 0.0
    guess_length_m: float = 0.0
    vehicles_fixed: bool = False

    @property
    def shares(self) -> dict[str, float]:
        """Share of each direction, over all junctions."""
        return _shares([turn.direction for turn in self.turns], [turn.vehicles for turn in self.turns])

    @property
    def fixed(self) -> int:
        """Turns whose number of vehicles the counts fix."""
        return sum(turn.fixed for turn in self.turns)

    @property
    def sentences(self) -> tuple[str, ...]:
        """For the terminal, with a warning where the counts cannot tell."""
        said = []
        if self.turns:
            shares = ", ".join(
                f"{name} {share:.0%} ({self.guess.get(name, 0):.0%})" for name, share in self.shares.items()
            )
            said.append(f"Turn shares, and in the plain guess by lanes and quick ways: {shares}.")
        said.append(f"Routes are {self.length_m:,.0f} m long on average ({self.guess_length_m:,.0f} m in the guess).")
        open_turns = len(self.turns) - self.fixed
        if open_turns:
            also = "" if self.vehicles_fixed else ", nor the number of vehicles"
            said.append(
                f"Warning: the counts do not fix {open_turns} of {len(self.turns)} turn flows{also}; there the plain "
                "guess decides. More counted roads, or counts of the turns, would fix more."
            )
        elif not self.vehicles_fixed:
            said.append("Warning: the counts do not fix the number of vehicles; there the plain guess decides.")
        return tuple(said)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "turn_shares": {name: round(share, 3) for name, share in self.shares.items()},
            "guess_turn_shares": {name: round(share, 3) for name, share in self.guess.items()},
            "turn_flows": len(self.turns),
            "turn_flows_fixed_by_counts": self.fixed,
            "vehicles_fixed_by_counts": self.vehicles_fixed,
            "mean_route_m": round(self.length_m, 1),
            "guess_mean_route_m": round(self.guess_length_m, 1),
            "turns": [turn.as_dict() for turn in self.turns],
        }


class TurnCounter:
    """Turns of candidate routes: which exist, which route takes which."""

    def __init__(self, streets: Mapping[str, Street], candidates: Candidates) -> None:
        self.lengths_m = np.array(
            [sum(streets[road].length_m for road in route if road in streets) for route in candidates.routes]
        )
        taken: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, route in enumerate(candidates.routes):
            for pair in pairwise(route):
                taken[pair].append(number)
        onward: dict[str, int] = defaultdict(int)
        for road, _ in taken:
            onward[road] += 1
        self.pairs = sorted(pair for pair in taken if onward[pair[0]] > 1)
        self.directions = [_direction(streets, pair) for pair in self.pairs]
        rows = [row for row, pair in enumerate(self.pairs) for _ in taken[pair]]
        columns = [number for pair in self.pairs for number in taken[pair]]
        shape = (len(self.pairs), len(candidates.routes))
        #: (T, R), 1 where a route takes a turn.
        self.takes = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)

    def plausibility(
        self, vehicles: NDArray[np.float64], guess: NDArray[np.float64], fixed: NDArray[np.bool_]
    ) -> Plausibility:
        """Compare flows with a guess.

        Args:
            vehicles: (R,) on each route.
            guess: (R,) in the plain guess, in any unit.
            fixed: (T + 1,) which turn flows the counts fix, and whether they fix the number of vehicles.
        """
        flows, guessed = self.takes @ vehicles, self.takes @ guess
        on, guessed_on = (self._per_road(values) for values in (flows, guessed))
        turns = []
        for k, (road, next_road) in enumerate(self.pairs):
            if on[road]:
                guess_share = float(guessed[k] / guessed_on[road]) if guessed_on[road] else None
                share = float(flows[k] / on[road])
                turns.append(
                    Turn(road, next_road, self.directions[k], float(flows[k]), share, guess_share, bool(fixed[k]))
                )
        return Plausibility(
            tuple(turns),
            _shares(self.directions, guessed),
            float(vehicles @ self.lengths_m / max(vehicles.sum(), 1)),
            float(guess @ self.lengths_m / guess.sum()) if guess.sum() else 0.0,
            bool(fixed[-1]),
        )

    def _per_road(self, values: NDArray[np.float64]) -> dict[str, float]:
        sums: dict[str, float] = defaultdict(float)
        for (road, _), value in zip(self.pairs, values, strict=True):
            sums[road] += float(value)
        return sums


def _direction(streets: Mapping[str, Street], pair: Sequence[str]) -> str:
    street = streets.get(pair[0])
    return _DIRECTIONS.get(street.turns.get(pair[1], "s") if street else "s", "straight")


def _shares(directions: Sequence[str], vehicles: Sequence[float] | NDArray[np.float64]) -> dict[str, float]:
    """Share of each direction that occurs, left first."""
    sums: dict[str, float] = defaultdict(float)
    for direction, number in zip(directions, vehicles, strict=True):
        sums[direction] += float(number)
    total = sum(sums.values())
    return {name: sums[name] / total for name in _ORDER if total and sums[name]}
