"""What a run was worth to persons, cyclists and public transport: pure functions from SUMO's outputs to numbers.

Each kind has the same four metrics, and only where a run has such road users:

* ``<kind>_scheduled``: how many were scheduled in the measured time.
* ``<kind>_delay_s``: mean delay of all of them, served or not. Of a vehicle as in ``benchmarks.results.metrics``. Of a
  person, over each walk that was begun: (its end, or end of the horizon) - its begin - its length at the person's own
  walking speed. So a person who never gets over a crossing has the whole wait as delay. Rides count with the vehicle.
* ``<kind>_completion``: share of them that arrived within the measured time.
* ``<kind>_worst_wait_s``: longest time that one of them stood at a stretch, or waited outside the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.results.metrics import Floats, Horizon, Metrics, Plan, match
from benchmarks.results.sumo_outputs import PersonTrip, Trips, WalkDone
from scenarios.road_users import EMERGENCY, KINDS, PERSON
from sim.engine.road_users import RoadUsers, Walk

#: Metres of a walk that SUMO planned; it knows the network.
WalkLength = Callable[[Walk], float]


@dataclass(frozen=True)
class Served:
    """Everyone of one kind who was scheduled: (N,) delay in s, and whether each arrived; the longest wait, s."""

    delay_s: Floats
    arrived: Floats
    worst_wait_s: float


def kinds_of(trips: Trips, seen: RoadUsers) -> dict[str, str]:
    """The kind of every vehicle that is no car, by its id."""
    if not seen.kinds:
        return {}
    types = zip(trips.ids, trips.types, strict=True)
    return {name: seen.kinds[kind] for name, kind in types if kind in seen.kinds}


def with_emergency(plans: Mapping[str, Plan], kinds: Mapping[str, str]) -> dict[str, Plan]:
    """The plans, in which emergency vehicles of the route files stand apart like those of incidents."""
    named = {name for name, kind in kinds.items() if kind == EMERGENCY}
    return {name: plan.with_kind("emergency") if name in named else plan for name, plan in plans.items()}


def vehicles_served(
    trips: Trips, plans: Mapping[str, Plan], horizon: Horizon, kinds: Mapping[str, str], seen: RoadUsers
) -> dict[str, Served]:
    """Cyclists and public transport that were scheduled, by kind; kinds that nobody belongs to are left out."""
    found = {}
    for kind in sorted(set(kinds.values()) & set(KINDS)):
        own = {name: plan for name, plan in plans.items() if kinds.get(name) == kind}
        vehicles = match(trips, own, horizon, ("vehicle", "surge"))
        if not len(vehicles.depart_s):
            continue
        outside_s = np.where(vehicles.inserted, vehicles.depart_delay_s, horizon.end_s - vehicles.depart_s)
        worst_s = max(seen.worst_wait_s.get(kind, 0.0), float(np.nanmax(outside_s)))
        found[kind] = Served(vehicles.delay_s, vehicles.arrived.astype(np.float64), worst_s)
    return found


def persons_served(
    persons: Sequence[PersonTrip], horizon: Horizon, seen: RoadUsers, length_m: WalkLength
) -> Served | None:
    """Persons that were scheduled in the horizon; None where there is nobody."""
    scheduled = [person for person in persons if horizon.begin_s <= person.depart_s < horizon.end_s]
    if not scheduled:
        return None
    delays_s = [_delay_s(person, horizon, seen.walks.get(person.id, {}), length_m) for person in scheduled]
    arrived = [person.arrival_s <= horizon.end_s for person in scheduled]  # NaN is not
    return Served(np.array(delays_s), np.array(arrived, np.float64), seen.worst_wait_s.get(PERSON, 0.0))


def _delay_s(person: PersonTrip, horizon: Horizon, walks: Mapping[int, Walk], length_m: WalkLength) -> float:
    return sum(_walk_delay_s(done, horizon, walks.get(done.stages_left), length_m) for done in person.walks)


def _walk_delay_s(done: WalkDone, horizon: Horizon, planned: Walk | None, length_m: WalkLength) -> float:
    """Seconds lost on one walk; one too short to be seen under way has the length that SUMO measured."""
    metres = done.length_m if planned is None else length_m(planned)
    end_s = min(done.arrival_s, horizon.end_s) if np.isfinite(done.arrival_s) else horizon.end_s
    free_s = metres / done.speed_mps if np.isfinite(metres) and done.speed_mps > 0 else 0.0
    return max(end_s - done.depart_s, 0.0) - min(free_s, max(horizon.end_s - done.depart_s, 0.0))


def user_metrics(served: Mapping[str, Served]) -> Metrics:
    """Four metrics for each kind that there is."""
    found: Metrics = {}
    for kind in KINDS:
        if kind in served:
            group = served[kind]
            found[f"{kind}_scheduled"] = len(group.delay_s)
            found[f"{kind}_delay_s"] = float(group.delay_s.mean())
            found[f"{kind}_completion"] = float(group.arrived.mean())
            found[f"{kind}_worst_wait_s"] = group.worst_wait_s
    return found


def user_distribution(served: Mapping[str, Served]) -> dict[str, Floats]:
    """(101,) quantiles of the delay of each kind at 0, 1, ..., 100 %, s."""
    shares = np.linspace(0.0, 1.0, 101)
    return {kind: np.quantile(served[kind].delay_s, shares) for kind in KINDS if kind in served}
