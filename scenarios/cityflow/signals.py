"""CityFlow's light phases as rows of a SUMO program.

CityFlow's signals know no yellow: a short phase shows only what is green both before and after it, and its length is
the yellow. Right turns are free at any time. As in CityFlow, whoever goes straight goes first, then left turns, then
right turns.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from scenarios.cityflow.reader import Intersection, LightPhase, RoadLink, RoadNet
from scenarios.spec import ScenarioError

#: Yellow where the plan has no clearance phase, s.
YELLOW_S = 3.0
#: A longer phase that shows nothing of its own is a phase all the same, s.
_LONGEST_CLEARANCE_S = 10.0
_RANK = {"go_straight": 2, "turn_left": 1, "turn_right": 0}
_ARM_M = 20.0


@dataclass(frozen=True)
class Row:
    """One row of a program; a letter for each road link."""

    state: str
    duration_s: float


@dataclass(frozen=True)
class Plan:
    """A signal's program.

    Attributes:
        rows: greens and yellows in turn.
        phases: how many of the rows are phases to choose from.
        has_clearance: whether the yellow is the plan's; ``YELLOW_S`` otherwise.
    """

    rows: tuple[Row, ...]
    phases: int
    has_clearance: bool

    @property
    def choices(self) -> int:
        """Different phases to choose from."""
        return len({row.state for row in self.rows if "y" not in row.state})


def has_signal(intersection: Intersection) -> bool:
    """Whether phases govern the intersection: not where roads enter or leave the network."""
    return not intersection.virtual and intersection.light is not None and bool(intersection.links)


def plan(net: RoadNet, intersection: Intersection, chosen: tuple[int, ...] | None) -> Plan:
    """The program of one signal.

    Args:
        net: where it stands.
        intersection: one that ``has_signal``.
        chosen: which light phases, by their place in the file; None: all but clearance.

    Raises:
        ScenarioError: a chosen phase does not exist, or a phase lets nobody go.
    """
    assert intersection.light is not None
    phases = intersection.light.phases
    what = f"Road network file {net.file}: intersection '{intersection.id}': trafficLight.lightphases"
    clearance = clearances(intersection.links, phases)
    numbers = [n for n in range(len(phases)) if n not in clearance] if chosen is None else list(chosen)
    if missing := [number for number in numbers if number >= len(phases)]:
        raise ScenarioError(f"{what} has no {missing[0]}, which --phases asks for; it has 0 to {len(phases) - 1}.")
    for number in numbers:
        if not phases[number].links:
            raise ScenarioError(
                f"{what} {number}: availableRoadLinks is empty, so the phase lets nobody go; remove the phase, or "
                "leave it out with --phases."
            )
    yellows = Counter(phases[number].time_s for number in clearance if phases[number].time_s > 0)
    yellow_s = yellows.most_common(1)[0][0] if yellows else YELLOW_S
    foes = _foes(net, intersection)
    greens = [(_state(intersection.links, phases[n], foes), max(phases[n].time_s, 1.0)) for n in numbers]
    return Plan(_with_yellow(greens, yellow_s), len(numbers), bool(yellows))


def clearances(links: Sequence[RoadLink], phases: Sequence[LightPhase]) -> list[int]:
    """Places of the phases that are no phases: short ones that show nothing but what is green before and after them."""
    shown = [frozenset(n for n in phase.links if links[n].turn != "turn_right") for phase in phases]
    found = []
    for number, phase in enumerate(phases):
        mine, before, after = shown[number], shown[number - 1], shown[(number + 1) % len(phases)]
        ends_something = mine < before or mine < after
        if phase.time_s <= _LONGEST_CLEARANCE_S and mine <= before & after and ends_something:
            found.append(number)
    return found


def _state(links: Sequence[RoadLink], phase: LightPhase, foes: set[tuple[int, int]]) -> str:
    """Letters by road link: g where somebody who goes first is green as well."""
    green = {n for n, link in enumerate(links) if n in phase.links or link.turn == "turn_right"}
    yields = {second for first, second in foes if first in green and second in green}
    return "".join("r" if n not in green else "g" if n in yields else "G" for n in range(len(links)))


def _with_yellow(greens: Sequence[tuple[str, float]], yellow_s: float) -> tuple[Row, ...]:
    rows: list[Row] = []
    for (state, green_s), (following, _) in pairwise([*greens, *greens[:1]]):
        rows.append(Row(state, green_s))
        yellow = "".join(
            "y" if a in "Gg" and b not in "Gg" else "g" if a in "Gg" and "g" in (a, b) else a
            for a, b in zip(state, following, strict=True)
        )
        if "y" in yellow:
            rows.append(Row(yellow, yellow_s))
    return tuple(rows)


# --- who goes first ------------------------------------------------------------------------------------------------


def _foes(net: RoadNet, intersection: Intersection) -> set[tuple[int, int]]:
    """Pairs of road links from different roads whose paths cross or meet; the first of a pair goes first."""
    paths = [_path(net, intersection, link) for link in intersection.links]
    found = set()
    for a, link_a in enumerate(intersection.links):
        for b, link_b in enumerate(intersection.links[:a]):
            if link_a.start != link_b.start and (link_a.end == link_b.end or _cross(paths[a], paths[b])):
                found.add((a, b) if _RANK[link_a.turn] > _RANK[link_b.turn] else (b, a))
    return found


Path = tuple[complex, complex]


def _path(net: RoadNet, intersection: Intersection, link: RoadLink) -> Path:
    """A straight line over the intersection, on the right-hand side of both roads; x and y as a complex number."""
    centre = complex(intersection.point.x, intersection.point.y)
    ends = []
    for road, at_end in ((net.roads[link.start], True), (net.roads[link.end], False)):
        points = [complex(point.x, point.y) for point in road.points]
        steps = [b - a for a, b in pairwise(points) if a != b]
        along = steps[-1] if at_end else steps[0]
        along /= abs(along)
        half_m = sum(lane.width_m for lane in road.lanes) / 2
        arm_m = _ARM_M + half_m
        ends.append(centre + along * (-arm_m if at_end else arm_m) - 1j * along * half_m)
    return ends[0], ends[1]


def _cross(one: Path, other: Path) -> bool:
    def side(line: Path, point: complex) -> float:
        return math.copysign(1.0, ((line[1] - line[0]).conjugate() * (point - line[0])).imag)

    return side(one, other[0]) != side(one, other[1]) and side(other, one[0]) != side(other, one[1])
