"""A run's incidents: those that the scenario lists and those drawn from the seed, each with its two reports.

Pure data: ``sim/incidents/events.py`` makes them happen. The same seed gives the same schedule in every process.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from scenarios.common.names import close_names
from scenarios.common.randomness import generator
from scenarios.incidents.draws import Draws
from scenarios.incidents.incident import ScheduledIncident
from scenarios.incidents.reports import write_reports
from scenarios.incidents.road_graph import Road, TripEnds, destinations_from, reached, trip_ends
from scenarios.spec import (
    INCIDENT_TYPES,
    Crash,
    DemandSurge,
    DetectorOutage,
    EmergencyVehicle,
    Incident,
    Roadworks,
    Scenario,
    ScenarioError,
)


def schedule(
    scenario: Scenario,
    roads: Mapping[str, Road],
    seed: int,
    *,
    signalled: Collection[str] | None = None,
    ends: TripEnds | None = None,
) -> tuple[ScheduledIncident, ...]:
    """Return the run's incidents in order of their start.

    Args:
        scenario: lists incidents, and gives the rates at which others are drawn over the measured time.
        roads: of the network, by id.
        seed: of the run.
        signalled: roads that lead to a signal; drawn crashes, roadworks and detector outages happen there, and a
            listed outage must. None: anywhere.
        ends: where trips begin and end; read from the scenario's route files when missing.

    Raises:
        ScenarioError: a listed incident does not fit the network or the horizon, or none of a type can be drawn.
    """
    if not scenario.has_incidents:
        return ()
    where = None if signalled is None else frozenset(signalled)
    return _Planner(scenario, roads, seed, where, ends).plan()


class _Planner:
    def __init__(
        self,
        scenario: Scenario,
        roads: Mapping[str, Road],
        seed: int,
        signalled: frozenset[str] | None,
        ends: TripEnds | None,
    ) -> None:
        self.scenario, self.roads, self.seed, self.signalled = scenario, roads, seed, signalled
        self._given_ends = ends
        self.planned: list[ScheduledIncident] = []
        self._numbers: Counter[str] = Counter()

    @cached_property
    def ends(self) -> TripEnds:
        """Read only when a surge or a drawn closure needs it."""
        return trip_ends(self.scenario.route_files) if self._given_ends is None else self._given_ends

    def plan(self) -> tuple[ScheduledIncident, ...]:
        for position, spec in enumerate(self.scenario.incidents):
            _Check(self, f"incidents.{position} ({spec.type})").check(spec)
            self._add(spec)
        draws = Draws(self.scenario, self.roads, self.seed, self.signalled, lambda: self.ends)
        for kind in INCIDENT_TYPES:
            for spec in draws.draw(kind, self.busy):
                self._add(spec)
        return tuple(sorted(self.planned, key=lambda incident: (incident.start_s, incident.id)))

    def busy(self, edge: str, start_s: float, end_s: float) -> bool:
        """Whether something planned happens on the road between two times after ``begin_s``."""
        return any(
            edge == other.edge and other.spec.start_s < end_s and start_s < other.spec.end_s for other in self.planned
        )

    def _add(self, spec: Incident) -> None:
        self._numbers[spec.type] += 1
        name = f"{spec.type}-{self._numbers[spec.type]}"
        start_s = self.scenario.begin_s + spec.start_s
        incident = ScheduledIncident(name, spec, start_s, start_s + spec.duration_s)
        if isinstance(spec, DemandSurge):
            incident = self._with_departures(incident, spec)
        split = "held_out" if "held_out" in self.scenario.tags else "train"
        reports = write_reports(incident, self.roads, self._rng(incident, "report"), split)
        self.planned.append(replace(incident, reports=reports))

    def _rng(self, incident: ScheduledIncident, purpose: str) -> np.random.Generator:
        return generator(self.seed, f"{self.scenario.name}/{incident.id}/{purpose}")

    def _with_departures(self, incident: ScheduledIncident, spec: DemandSurge) -> ScheduledIncident:
        rng = self._rng(incident, "trips")
        choices = destinations_from(spec.edge, self.roads, self.ends)
        weights = np.array([self.ends.destinations.get(edge, 1) for edge in choices], float)
        picks = rng.choice(len(choices), size=spec.vehicles, p=weights / weights.sum())
        offsets_s = np.sort(rng.integers(0, max(math.floor(spec.duration_s), 1), size=spec.vehicles))
        return replace(
            incident,
            departures_s=tuple(math.ceil(incident.start_s) + float(offset) for offset in offsets_s),
            destinations=tuple(choices[pick] for pick in picks),
            vehicle_type=self.ends.vehicle_type,
        )


@dataclass(frozen=True)
class _Check:
    """Checks one listed incident against the network and the horizon."""

    planner: _Planner
    key: str

    def check(self, spec: Incident) -> None:
        scenario, signalled = self.planner.scenario, self.planner.signalled
        length_s = scenario.end_s - scenario.begin_s
        if spec.start_s >= length_s:
            raise self._error(f"start_s is {spec.start_s:g}, but the scenario ends {length_s:g} s after begin_s.")
        for edge in (spec.from_edge, spec.to_edge) if isinstance(spec, EmergencyVehicle) else (spec.edge,):
            self._check_edge(edge)
        if isinstance(spec, Crash | Roadworks):
            self._check_lanes(spec)
        elif isinstance(spec, EmergencyVehicle):
            self._check_way(spec)
        elif isinstance(spec, DemandSurge) and not destinations_from(spec.edge, self.planner.roads, self.planner.ends):
            raise self._error(f"no destination can be reached from edge '{spec.edge}'; choose another edge.")
        elif isinstance(spec, DetectorOutage) and signalled is not None and spec.edge not in signalled:
            near = _nearest(spec.edge, signalled)
            raise self._error(f"edge '{spec.edge}' leads to no signal and has no detectors; did you mean '{near}'?")

    def _check_edge(self, edge: str) -> None:
        roads = self.planner.roads
        if edge not in roads:
            raise self._error(f"edge '{edge}' is not in the network; did you mean '{_nearest(edge, roads)}'?")
        if not roads[edge].car_lanes:
            raise self._error(f"edge '{edge}' has no lane for cars; choose another edge.")

    def _check_lanes(self, spec: Crash | Roadworks) -> None:
        road = self.planner.roads[spec.edge]
        for lane in spec.lanes:
            if lane not in road.car_lanes:
                known = ", ".join(map(str, road.car_lanes))
                raise self._error(f"edge '{road.id}' has no car lane {lane}; its car lanes are {known}.")
        if isinstance(spec, Roadworks) and set(spec.lanes) >= set(road.car_lanes):
            raise self._error(f"no lane of edge '{road.id}' stays open; leave one out or list a road_closure.")
        if isinstance(spec, Crash) and spec.position_m is not None and spec.position_m > road.length_m:
            raise self._error(f"position_m is {spec.position_m:g}, but edge '{road.id}' is {road.length_m:g} m long.")

    def _check_way(self, spec: EmergencyVehicle) -> None:
        if spec.from_edge == spec.to_edge or spec.to_edge not in reached(self.planner.roads, spec.from_edge):
            raise self._error(f"edge '{spec.to_edge}' cannot be reached from edge '{spec.from_edge}'; choose another.")

    def _error(self, sentence: str) -> ScenarioError:
        return ScenarioError(f"Scenario {self.planner.scenario.name}: {self.key}: {sentence}")


def _nearest(edge: str, known: Collection[str]) -> str:
    return close_names(edge, sorted(known), least_likeness=0.0)[0]
