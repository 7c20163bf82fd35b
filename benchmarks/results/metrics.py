"""What a run was worth: pure functions from SUMO's outputs to a flat mapping of numbers, units in the names.

**Delay** of one vehicle = (arrival, or end of the horizon) - scheduled departure - free-flow time of its original
route in the incident-free network, over every vehicle scheduled in the measured horizon. Running, never inserted and
rerouted vehicles all count, so a controller cannot look good by letting nobody finish. SUMO's own ``timeLoss`` forgets
detours, closed lanes and vehicles outside; the definitions built on it stand beside ours under their own names:

* ``delay_finished_s``, ``travel_time_finished_s``: means over vehicles that arrived, of timeLoss + departDelay and of
  the time on the road. They reward gridlock.
* ``delay_resco_s``: what RESCO's repository computes (``utils/readXML.py``; Ault and Sharon, NeurIPS Datasets and
  Benchmarks 2021): timeLoss + departDelay of every inserted vehicle, finished or not; a vehicle that never got in
  counts (end - scheduled departure) only if its route file writes it as ``<vehicle>`` and it is scheduled after the
  last inserted one, and is dropped otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.results.sumo_outputs import Roads, Statistics, Summary, Trips

Floats = NDArray[np.float64]
Metrics = dict[str, float]

#: Density of petrol, to turn SUMO's milligrams of fuel into litres (HBEFA, as in SUMO's emission models).
PETROL_MG_PER_L = 742_000.0
#: Approaches with fewer scheduled vehicles than this say nothing about fairness.
MIN_APPROACH_VEH = 5
#: A road stands in an interval when this many vehicles halt on it on average and none leaves it.
STANDING_VEH = 0.5


@dataclass(frozen=True)
class GridlockRule:
    """When a run counts as gridlocked.

    Attributes:
        completion_share: completion below this share of the best controller's on the same scenario and seed.
        standing_s: or a queue that stood for this long, s.
    """

    completion_share: float = 0.8
    standing_s: float = 900.0


#: What counts as gridlock unless a suite says otherwise.
GRIDLOCK = GridlockRule()


@dataclass(frozen=True)
class Plan:
    """One vehicle that should have driven.

    Attributes:
        depart_s: scheduled departure on SUMO's clock.
        free_flow_s: free-flow time of its original route at speed factor 1.
        from_edge: road on which it starts, for fairness over approaches.
        kind: ``vehicle``, ``surge`` or ``emergency``.
    """

    depart_s: float
    free_flow_s: float
    from_edge: str = ""
    kind: str = "vehicle"

    def with_kind(self, kind: str) -> Plan:
        """The same plan of a vehicle of another kind."""
        return replace(self, kind=kind)


@dataclass(frozen=True)
class Horizon:
    """The measured time on SUMO's clock, s."""

    begin_s: float
    end_s: float

    @property
    def hours(self) -> float:
        """Length in hours."""
        return (self.end_s - self.begin_s) / 3600.0


@dataclass(frozen=True)
class Vehicles:
    """Every vehicle scheduled in the horizon with what became of it; arrays of one length, NaN where it never was."""

    from_edge: tuple[str, ...]
    depart_s: Floats
    end_s: Floats  # arrival, or end of the horizon
    free_flow_s: Floats
    depart_delay_s: Floats
    arrival_s: Floats
    duration_s: Floats
    time_loss_s: Floats
    waiting_s: Floats
    stops: Floats
    co2_mg: Floats
    fuel_mg: Floats
    entered_s: Floats

    @property
    def delay_s(self) -> Floats:
        """Delay of each vehicle, s."""
        return self.end_s - self.depart_s - self.free_flow_s

    @property
    def inserted(self) -> NDArray[np.bool_]:
        """Which entered the network."""
        return ~np.isnan(self.entered_s)

    @property
    def arrived(self) -> NDArray[np.bool_]:
        """Which reached their destination within the horizon."""
        return ~np.isnan(self.arrival_s)


def match(trips: Trips, plans: Mapping[str, Plan], horizon: Horizon, kinds: Collection[str]) -> Vehicles:
    """Bring together what was planned and what happened, for the vehicles of some kinds scheduled in the horizon.

    A vehicle that does not appear in the trip output at all counts as never inserted. The free-flow time is divided by
    the vehicle's own speed factor, and capped at the time that was left before the horizon's end: no controller could
    have brought a later vehicle home, and none may gain from it.
    """
    wanted = [
        (name, plan)
        for name, plan in plans.items()
        if plan.kind in kinds and horizon.begin_s <= plan.depart_s < horizon.end_s
    ]
    row_of = {name: row for row, name in enumerate(trips.ids)}
    rows = np.array([row_of.get(name, -1) for name, _ in wanted], np.int64)

    origins = (*trips.from_edge, "")  # row -1 is nowhere

    def taken(values: Floats) -> Floats:
        return np.append(values, np.nan)[rows]  # row -1 is the NaN

    depart_s = np.array([plan.depart_s for _, plan in wanted], np.float64)
    arrival_s = taken(trips.arrival_s)
    arrival_s[arrival_s > horizon.end_s] = np.nan
    speed_factor = np.nan_to_num(taken(trips.speed_factor), nan=1.0)
    free_flow_s = np.array([plan.free_flow_s for _, plan in wanted], np.float64) / speed_factor
    return Vehicles(
        from_edge=tuple(plan.from_edge or origins[row] for (_, plan), row in zip(wanted, rows, strict=True)),
        depart_s=depart_s,
        end_s=np.where(np.isnan(arrival_s), horizon.end_s, arrival_s),
        free_flow_s=np.minimum(free_flow_s, horizon.end_s - depart_s),
        depart_delay_s=taken(trips.depart_delay_s),
        arrival_s=arrival_s,
        duration_s=taken(trips.duration_s),
        time_loss_s=taken(trips.time_loss_s),
        waiting_s=taken(trips.waiting_s),
        stops=taken(trips.stops),
        co2_mg=taken(trips.co2_mg),
        fuel_mg=taken(trips.fuel_mg),
        entered_s=taken(trips.depart_s),
    )


def trip_metrics(trips: Trips, plans: Mapping[str, Plan], horizon: Horizon) -> Metrics:
    """Everything that follows from the trips of ordinary and surge vehicles, and the emergency vehicles apart."""
    all_of = match(trips, plans, horizon, ("vehicle", "surge"))
    emergency = match(trips, plans, horizon, ("emergency",))
    inserted, arrived = all_of.inserted, all_of.arrived
    travel_s = all_of.end_s - all_of.depart_s
    finished_s = (all_of.time_loss_s + all_of.depart_delay_s)[arrived]
    return {
        "delay_s": _mean(all_of.delay_s),
        "delay_median_s": _quantile(all_of.delay_s, 0.5),
        "delay_p95_s": _quantile(all_of.delay_s, 0.95),
        "delay_finished_s": _mean(finished_s),
        "emergency_delay_s": _mean(emergency.delay_s),
        "emergency_veh": len(emergency.delay_s),
        "scheduled_veh": len(travel_s),
        "inserted_veh": int(inserted.sum()),
        "arrived_veh": int(arrived.sum()),
        "completion": _mean(arrived.astype(np.float64)),
        "throughput_veh_h": float(arrived.sum()) / horizon.hours,
        "travel_time_s": _mean(travel_s),
        "travel_time_p95_s": _quantile(travel_s, 0.95),
        "travel_time_finished_s": _mean(all_of.duration_s[arrived]),
        "stops_per_veh": _mean(all_of.stops[inserted]),
        "waiting_s": _mean(all_of.waiting_s[inserted]),
        "waiting_max_s": _quantile(all_of.waiting_s[inserted], 1.0),
        "co2_kg": float(np.sum(all_of.co2_mg[inserted])) / 1e6,
        "fuel_l": float(np.sum(all_of.fuel_mg[inserted])) / PETROL_MG_PER_L,
        **fairness(all_of),
    }


def distribution(trips: Trips, plans: Mapping[str, Plan], horizon: Horizon) -> dict[str, Floats]:
    """Quantiles at 0, 1, ..., 100 % of the delay of every scheduled and the waiting of every inserted vehicle, s.

    (101,) each, ordinary and surge vehicles; empty where there is no vehicle.
    """
    vehicles = match(trips, plans, horizon, ("vehicle", "surge"))
    shares = np.linspace(0.0, 1.0, 101)
    kinds = {"delay_s": vehicles.delay_s, "waiting_s": vehicles.waiting_s[vehicles.inserted]}
    return {name: np.quantile(values, shares) if values.size else values for name, values in kinds.items()}


def fairness(vehicles: Vehicles) -> Metrics:
    """How evenly delay falls on the roads where vehicles start (approaches with at least five vehicles).

    ``fairness_jain`` is Jain's index (Jain, Chiu and Hawe 1984) of the mean delays: 1 when all are equal, 1/n when one
    approach of n bears all. ``worst_approach_ratio`` is the worst mean delay over the mean of the approaches.
    """
    names = np.array(vehicles.from_edge)
    groups = [vehicles.delay_s[names == name] for name in np.unique(names)]
    means = np.array([max(float(g.mean()), 0.0) for g in groups if len(g) >= MIN_APPROACH_VEH], np.float64)
    if not means.size or not means.any():
        return {"fairness_jain": math.nan, "worst_approach_delay_s": math.nan, "worst_approach_ratio": math.nan}
    return {
        "fairness_jain": float(means.sum() ** 2 / (means.size * (means**2).sum())),
        "worst_approach_delay_s": float(means.max()),
        "worst_approach_ratio": float(means.max() / means.mean()),
    }


def resco_delay(trips: Trips, plans: Mapping[str, Plan], horizon: Horizon, vehicle_elements: Collection[str]) -> float:
    """RESCO's published delay in s; ``vehicle_elements`` are the ids that the route files give as ``<vehicle>``.

    Vehicles that incidents add (surge, emergency) do not count: RESCO has none.
    """
    counted = [
        (name, row)
        for row, name in enumerate(trips.ids)
        if name in plans and plans[name].kind == "vehicle" and horizon.begin_s <= plans[name].depart_s < horizon.end_s
    ]
    inside = [row for _, row in counted if trips.inserted[row]]
    if not inside:
        return math.nan
    last = trips.ids[max(inside, key=lambda row: trips.depart_s[row])]
    outside_s = [
        horizon.end_s - plans[name].depart_s
        for name, row in counted
        if not trips.inserted[row] and name in vehicle_elements and plans[name].depart_s > plans[last].depart_s
    ]
    total_s = float((trips.time_loss_s + trips.depart_delay_s)[inside].sum()) + sum(outside_s)
    return total_s / (len(inside) + len(outside_s))


def network_metrics(summary: Summary, horizon: Horizon) -> Metrics:
    """Means over the minutes of the measured horizon: vehicles halted, outside, and the speed of those driving."""
    rows = (summary.time_s >= horizon.begin_s) & (summary.time_s <= horizon.end_s)
    return {
        "queue_veh": _mean(summary.halted_veh[rows]),
        "queue_max_veh": _quantile(summary.halted_veh[rows], 1.0),
        "outside_max_veh": _quantile(summary.outside_veh[rows], 1.0),
        "speed_mps": _mean(summary.speed_mps[rows & ~np.isnan(summary.speed_mps)]),
    }


def safety_metrics(statistics: Statistics) -> Metrics:
    """What SUMO counted over the whole run."""
    return {
        "teleports": statistics.teleports,
        "collisions": statistics.collisions,
        "hard_brakings": statistics.hard_brakings,
        "emergency_stops": statistics.emergency_stops,
    }


def standing_road_s(roads: Roads, blocked: Collection[str] = ()) -> float:
    """Longest time (s) that a road stood: vehicles halted on it and none left, in whole intervals.

    Works without detectors, so every controller is measured alike. ``blocked`` are roads that an incident closes; they
    stand under any controller and are left out.
    """
    stands = (roads.waiting_veh >= STANDING_VEH) & (roads.left_veh == 0)
    stands &= ~np.isin(np.array(roads.ids, dtype=object), list(blocked))[np.newaxis, :]
    run = longest = np.zeros(len(roads.ids))
    for row in stands:
        run = np.where(row, run + 1, 0)
        longest = np.maximum(longest, run)
    return float(longest.max(initial=0.0)) * roads.interval_s


def latency_metrics(seconds: list[float]) -> Metrics:
    """How long one ``act`` took, s in and ms out; one value for all signals that decide together."""
    times_ms = np.array(seconds, np.float64) * 1000.0
    return {
        "decisions": len(seconds),
        "decision_latency_p50_ms": _quantile(times_ms, 0.5),
        "decision_latency_p95_ms": _quantile(times_ms, 0.95),
    }


def charge_metrics(seconds: list[float]) -> Metrics:
    """What ``--charge-latency`` charged, in simulated s: in all, and for one ``act`` that decided something."""
    return {"charged_s": math.fsum(seconds), "charged_per_decision_s": _mean(np.array(seconds, np.float64))}


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else math.nan


def _quantile(values: Floats, share: float) -> float:
    return float(np.quantile(values, share)) if values.size else math.nan
