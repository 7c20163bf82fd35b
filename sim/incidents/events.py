"""Applies incidents to the running simulation, through the TraCI API that libsumo and the socket share.

Whatever is random was drawn before the run, so incidents depend on the controller through traffic alone. No handle of
the simulation is kept and all state is plain Python, so that a fork of the process carries on exactly.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from scenarios.incidents.incident import Report, ScheduledIncident
from sim.incidents.barriers import LaneRules
from sim.incidents.detours import Detours
from sim.incidents.effect_base import Effect, InsertedVehicle, World
from sim.incidents.effects import EFFECTS, EMERGENCY, PROP
from sim.network import Network

__all__ = ["SUMO_OPTIONS", "Events", "InsertedVehicle"]

#: A road that is closed breaks routes of vehicles not yet departed; without these options SUMO would end there.
SUMO_OPTIONS = ("--ignore-route-errors", "true")


class Events:
    """All incidents of one run; ``step`` is called before every simulated second and costs nothing between events."""

    def __init__(self, incidents: Sequence[ScheduledIncident], network: Network, seed: int) -> None:
        self.incidents = tuple(incidents)
        self.inserted: dict[str, InsertedVehicle] = {}
        self._detours = Detours(network.roads, seed, ignored=(PROP, EMERGENCY))
        world = World(network.roads, LaneRules(), self._detours, self.inserted)
        self._effects = [EFFECTS[incident.type](incident, world) for incident in self.incidents]
        self._waiting = sorted(self._effects, key=lambda effect: effect.incident.start_s)
        self._wake_s: dict[str, float] = {}  # incidents under way -> when they want to be called next
        self._next_s = -math.inf
        self._planned = False
        self._reports = tuple(
            sorted((r for i in self.incidents for r in i.reports), key=lambda r: (r.time_s, r.incident_id))
        )
        self._report_times_s = [report.time_s for report in self._reports]
        self._outages = [
            (i.start_s, i.end_s, _lanes_of(network, i.edge)) for i in self.incidents if i.type == "detector_outage"
        ]

    def step(self, conn: Any, time_s: float) -> None:
        """Do what is due at ``time_s``, before that second is simulated."""
        if time_s >= self._next_s:
            self._run(conn, time_s)

    @property
    def next_s(self) -> float:
        """When ``step`` has something to do again, SUMO's clock, s; before that it need not be called."""
        return self._next_s

    def finish(self, conn: Any) -> None:
        """End whatever is still under way."""
        for effect in self._effects:
            if self._wake_s.pop(effect.incident.id, None) is not None:
                effect.end(conn)
        self._waiting, self._next_s = [], math.inf

    def reports(self, time_s: float) -> tuple[Report, ...]:
        """The reports received so far, oldest first."""
        return self._reports[: bisect_right(self._report_times_s, time_s)]

    def dead_lanes(self, time_s: float) -> frozenset[str]:
        """Ids of the lanes whose detectors are out."""
        dead = [lanes for start_s, end_s, lanes in self._outages if start_s <= time_s < end_s]
        return frozenset().union(*dead)

    def truth(self) -> list[dict[str, Any]]:
        """What was planned, what happened and what was said of it, one plain dict for each incident."""
        return [_truth(effect) for effect in self._effects]

    def _run(self, conn: Any, time_s: float) -> None:
        """Plan in the first second; then end, begin and go on with what is due, and note when to look again."""
        if not self._planned:
            self._planned = True
            for effect in self._effects:
                effect.plan(conn)
        for effect in [e for e in self._effects if e.incident.id in self._wake_s and e.end_s <= time_s]:
            del self._wake_s[effect.incident.id]
            effect.end(conn)
        while self._waiting and self._waiting[0].incident.start_s <= time_s:
            effect = self._waiting.pop(0)
            self._wake_s[effect.incident.id] = effect.begin(conn, time_s)
        for effect in self._effects:
            if self._wake_s.get(effect.incident.id, math.inf) <= time_s:
                self._wake_s[effect.incident.id] = effect.tick(conn, time_s)
        if self._detours.active:
            self._detours.tick(conn)
        self._next_s = self._next(time_s)

    def _next(self, time_s: float) -> float:
        if self._detours.active:
            return time_s + 1
        ends_s = [effect.end_s for effect in self._effects if effect.incident.id in self._wake_s]
        starts_s = [effect.incident.start_s for effect in self._waiting[:1]]
        return min([*self._wake_s.values(), *ends_s, *starts_s], default=math.inf)


def _lanes_of(network: Network, edge: str) -> frozenset[str]:
    return frozenset(lane for lane, road in zip(network.lanes, network.lane_edge, strict=True) if road == edge)


def _truth(effect: Effect) -> dict[str, Any]:
    incident = effect.incident
    return {
        "id": incident.id,
        "type": incident.type,
        "edge": incident.edge,
        "lanes": list(incident.lanes),
        "start_s": incident.start_s,
        "end_s": incident.end_s,
        "reports": [asdict(report) for report in incident.reports],
        **effect.truth(),
    }
