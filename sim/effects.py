"""What each type of incident does to the running simulation; ``conn`` is libsumo or a TraCI connection.

A new type is one class and one line in ``EFFECTS``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from scenarios.incidents import ScheduledIncident
from scenarios.spec import Crash, RoadClosure, Roadworks, ScenarioError
from sim.barriers import ACCESS, RESCUE, LaneRules, road_barrier, works_barrier
from sim.detours import Detours
from sim.network import Road

PROP, SURGE, EMERGENCY = "greenloop.prop", "greenloop.surge", "greenloop.emergency"
_DEFAULT_TYPE = "DEFAULT_VEHTYPE"
_PLAIN = "greenloop.plain"  # a default car without random speed, for free-flow routes
CAR_M = 5.0
CLOSED_TRAVEL_S, FOR_EVER_S = 1e6, 1e9
BRAKING_MPS2 = 4.5


@dataclass(frozen=True)
class InsertedVehicle:
    """A vehicle that an incident brought.

    Attributes:
        kind: ``prop`` (a wreck, no traffic), ``surge`` or ``emergency``.
        depart_s: scheduled departure, SUMO's clock, s.
        free_flow_s: of its route at the speed limits without incidents (speed factor 1), s; 0 for a prop.
        edges: its route when it was planned.
        incident: the id of its incident.
    """

    kind: str
    depart_s: float
    free_flow_s: float
    edges: tuple[str, ...]
    incident: str


@dataclass
class World:
    """What all effects share."""

    roads: dict[str, Road]
    rules: LaneRules
    detours: Detours
    inserted: dict[str, InsertedVehicle]


class Effect:
    """What one incident does; each method returns when it wants to be called next, SUMO's clock, s."""

    def __init__(self, incident: ScheduledIncident, world: World) -> None:
        self.incident, self.world = incident, world

    def plan(self, conn: Any) -> None:
        """Before the first second: what must be known of the undisturbed network."""

    def begin(self, conn: Any, time_s: float) -> float:  # noqa: ARG002
        """Start."""
        return math.inf

    def tick(self, conn: Any, time_s: float) -> float:  # noqa: ARG002
        """Go on."""
        return math.inf

    def end(self, conn: Any) -> None:
        """Undo."""

    def truth(self) -> dict[str, Any]:
        """What happened, beyond the plan."""
        return {}


class CrashEffect(Effect):
    """Wrecks stand on the blocked lanes, each at the free spot nearest to where the crash is said to be."""

    #: A wreck may stand this far from the planned position where that is occupied, m.
    SLACK_M = 40
    _wrecks: dict[int, str]
    _standing_s: dict[int, float]

    def plan(self, conn: Any) -> None:  # noqa: D102
        self._wrecks, self._standing_s, self._tries = {}, {}, 0
        _copy_type(conn, PROP, "ignoring")  # the class that may stand on any lane
        conn.route.add(f"{PROP}.{self.incident.id}", [self.incident.edge])

    def begin(self, conn: Any, time_s: float) -> float:  # noqa: D102
        return self.tick(conn, time_s)

    def tick(self, conn: Any, time_s: float) -> float:
        """Try to place each missing wreck; the traffic may leave no room for a while."""
        for lane in self.incident.lanes:
            wreck = self._wrecks.get(lane)
            if wreck is not None and lane not in self._standing_s:
                if conn.vehicle.getRoadID(wreck):
                    self._standing_s[lane] = time_s - 1
                else:  # SUMO found it unsafe, and a vehicle that waits would keep others from departing
                    conn.vehicle.remove(wreck)
                    wreck = None
            if wreck is None:
                self._place(conn, lane, time_s)
        return math.inf if len(self._standing_s) == len(self.incident.lanes) else time_s + 1

    def _place(self, conn: Any, lane: int, time_s: float) -> None:
        self._wrecks.pop(lane, None)
        edge = self.incident.edge
        spot_m = self._free_spot_m(conn, f"{edge}_{lane}")
        if spot_m is None:
            return
        self._tries += 1
        wreck = f"{PROP}.{self.incident.id}.{lane}.{self._tries}"
        conn.vehicle.add(
            wreck, f"{PROP}.{self.incident.id}", PROP, departLane=str(lane), departPos=f"{spot_m:.2f}", departSpeed="0"
        )
        conn.vehicle.setStop(wreck, edge, spot_m, lane, self.incident.end_s - time_s + 1)
        self._wrecks[lane] = wreck
        self.world.inserted[wreck] = InsertedVehicle("prop", time_s, 0.0, (edge,), self.incident.id)

    def _free_spot_m(self, conn: Any, lane: str) -> float | None:
        spec, length_m = self.incident.spec, conn.lane.getLength(lane)
        wish_m = spec.position_m if isinstance(spec, Crash) and spec.position_m is not None else length_m / 2
        taken = [
            (conn.vehicle.getLanePosition(other), conn.vehicle.getSpeed(other), conn.vehicle.getLength(other))
            for other in conn.lane.getLastStepVehicleIDs(lane)
        ]
        for offset_m in sorted(range(-self.SLACK_M, self.SLACK_M + 1, 4), key=lambda offset: (abs(offset), offset)):
            spot_m = min(max(wish_m + offset_m, min(CAR_M + 1, length_m)), length_m - 0.5)
            if all(_apart(spot_m, *other) for other in taken):
                return float(spot_m)
        return None

    def end(self, conn: Any) -> None:  # noqa: D102
        present = set(conn.vehicle.getIDList())
        for lane, wreck in self._wrecks.items():
            if wreck in present or lane not in self._standing_s:  # SUMO takes vehicles away that collided
                conn.vehicle.remove(wreck)
        self._wrecks = {}

    def truth(self) -> dict[str, Any]:  # noqa: D102
        return {"blocked_from_s": {str(lane): time_s for lane, time_s in sorted(self._standing_s.items())}}


class RoadworksEffect(Effect):
    """Lanes are closed and the others slow; drivers whose turn is lost take another way or are let through."""

    def begin(self, conn: Any, time_s: float) -> float:  # noqa: ARG002, D102
        world, incident, spec = self.world, self.incident, self.incident.spec
        edge = incident.edge
        closed = [f"{edge}_{lane}" for lane in incident.lanes]
        barrier = works_barrier(conn, world.roads, incident.id, edge, closed)
        for index in world.roads[edge].car_lanes:
            lane = f"{edge}_{index}"
            if lane in closed:
                world.rules.close(conn, incident.id, lane, (RESCUE, ACCESS))
            if isinstance(spec, Roadworks):
                world.rules.limit(conn, incident.id, lane, spec.speed_limit_mps)
        world.detours.open(conn, barrier)
        return math.inf

    def end(self, conn: Any) -> None:  # noqa: D102
        self.world.rules.release(conn, self.incident.id)
        self.world.detours.close(conn, self.incident.id)

    def truth(self) -> dict[str, Any]:  # noqa: D102
        detours, incident = self.world.detours, self.incident.id
        return {
            "rerouted": sorted(detours.rerouted.get(incident, ())),
            "ended_early": sorted(detours.ended_early.get(incident, ())),
        }


class RoadClosureEffect(RoadworksEffect):
    """The road's gates are closed; some drivers turn away at once, the others at the last junction before it."""

    def begin(self, conn: Any, time_s: float) -> float:  # noqa: D102
        world, incident, spec = self.world, self.incident, self.incident.spec
        share = spec.reroute_share if isinstance(spec, RoadClosure) else 1.0
        barrier, gates = road_barrier(conn, world.roads, incident.id, incident.edge, share)
        for gate in gates:
            world.rules.close(conn, incident.id, gate, (RESCUE,))
        # In a network without any restricted lane SUMO's router does not look at gates, but at travel times.
        conn.edge.adaptTraveltime(incident.edge, CLOSED_TRAVEL_S, time_s, FOR_EVER_S)
        world.detours.open(conn, barrier)
        return math.inf

    def end(self, conn: Any) -> None:  # noqa: D102
        super().end(conn)
        road = self.world.roads[self.incident.edge]
        conn.edge.adaptTraveltime(road.id, road.length_m / road.speed_mps, self.incident.end_s, FOR_EVER_S)


class DemandSurgeEffect(Effect):
    """Cars leave from one road, each on the fastest free-flow route to its destination."""

    def plan(self, conn: Any) -> None:  # noqa: D102
        self._next = 0
        self._routes: dict[str, tuple[tuple[str, ...], float]] = {}
        _copy_type(conn, _PLAIN, "passenger")
        for destination in sorted(set(self.incident.destinations)):
            edges, free_flow_s = _route(conn, self.incident.edge, destination, _PLAIN, self.world.roads)
            if edges:
                self._routes[destination] = edges, free_flow_s
                conn.route.add(f"{SURGE}.{self.incident.id}.{destination}", edges)
        if not self._routes:
            raise ScenarioError(f"Incident {self.incident.id}: no car can leave from edge '{self.incident.edge}'.")
        kind = self.incident.vehicle_type
        known = kind in conn.vehicletype.getIDList() and conn.vehicletype.getVehicleClass(kind) == "passenger"
        self._type = kind if known else _DEFAULT_TYPE

    def begin(self, conn: Any, time_s: float) -> float:  # noqa: D102
        return self.tick(conn, time_s)

    def tick(self, conn: Any, time_s: float) -> float:  # noqa: D102
        times = self.incident.departures_s
        while self._next < len(times) and times[self._next] <= time_s:
            self._add(conn, self._next, time_s)
            self._next += 1
        return times[self._next] if self._next < len(times) else math.inf

    def _add(self, conn: Any, number: int, time_s: float) -> None:
        destination = self.incident.destinations[number]
        if destination not in self._routes:  # reachable on the map, but not for cars
            destination = sorted(self._routes)[number % len(self._routes)]
        edges, free_flow_s = self._routes[destination]
        vehicle = f"{SURGE}.{self.incident.id}.{number}"
        conn.vehicle.add(vehicle, f"{SURGE}.{self.incident.id}.{destination}", self._type, departLane="best")
        self.world.inserted[vehicle] = InsertedVehicle("surge", time_s, free_flow_s, edges, self.incident.id)

    def truth(self) -> dict[str, Any]:  # noqa: D102
        return {"vehicles": self.incident.vehicles, "released_veh": self._next}


class EmergencyVehicleEffect(Effect):
    """A vehicle with SUMO's blue light device drives the fastest free-flow route; closed roads are open to it."""

    def plan(self, conn: Any) -> None:  # noqa: D102
        _copy_type(conn, EMERGENCY, RESCUE)
        conn.vehicletype.setParameter(EMERGENCY, "has.bluelight.device", "true")
        self._way = _route(conn, self.incident.edge, self.incident.to_edge, EMERGENCY, self.world.roads)
        if not self._way[0]:
            raise ScenarioError(
                f"Incident {self.incident.id}: no route leads from '{self.incident.edge}' to '{self.incident.to_edge}'."
            )
        conn.route.add(self.vehicle, self._way[0])

    @property
    def vehicle(self) -> str:
        """Its id."""
        return f"{EMERGENCY}.{self.incident.id}"

    def begin(self, conn: Any, time_s: float) -> float:  # noqa: D102
        conn.vehicle.add(self.vehicle, self.vehicle, EMERGENCY, departLane="best", departSpeed="max")
        edges, free_flow_s = self._way
        self.world.inserted[self.vehicle] = InsertedVehicle("emergency", time_s, free_flow_s, edges, self.incident.id)
        return math.inf

    def truth(self) -> dict[str, Any]:  # noqa: D102
        return {"vehicle": self.vehicle, "to_edge": self.incident.to_edge, "free_flow_s": self._way[1]}


EFFECTS: dict[str, type[Effect]] = {
    "crash": CrashEffect,
    "roadworks": RoadworksEffect,
    "road_closure": RoadClosureEffect,
    "demand_surge": DemandSurgeEffect,
    "detector_outage": Effect,  # the detectors' reader asks ``dead_lanes``
    "emergency_vehicle": EmergencyVehicleEffect,
}


def _copy_type(conn: Any, name: str, vehicle_class: str) -> None:
    """Make a vehicle type of the default's dimensions; nothing about its vehicles is random."""
    if name not in conn.vehicletype.getIDList():
        conn.vehicletype.copy(_DEFAULT_TYPE, name)
        conn.vehicletype.setVehicleClass(name, vehicle_class)
        conn.vehicletype.setSpeedDeviation(name, 0)


def _route(
    conn: Any, origin: str, destination: str, vehicle_type: str, roads: dict[str, Road]
) -> tuple[tuple[str, ...], float]:
    """The fastest route at free flow and its duration from where vehicles start, s; no edges if there is none.

    ``vehicle_type`` must have no random speed: SUMO would draw it, and so change every driver who comes later.
    """
    found = conn.simulation.findRoute(origin, destination, vehicle_type)
    first = roads[origin]
    skipped_s = min(conn.vehicletype.getLength(vehicle_type), first.length_m) / first.speed_mps
    return tuple(found.edges), max(found.travelTime - skipped_s, 0.0)


def _apart(spot_m: float, front_m: float, speed_mps: float, length_m: float) -> bool:
    """Whether a vehicle is clear of a wreck whose front is at ``spot_m``: beyond it, or able to stop before it."""
    stopping_m = speed_mps + speed_mps**2 / (2 * BRAKING_MPS2)
    return front_m - length_m > spot_m + 1 or front_m + stopping_m < spot_m - CAR_M - 2.5
