"""What each type of incident does to the running simulation.

A new type is one class and one line in ``EFFECTS``. ``conn`` is libsumo or a TraCI connection.
"""

from __future__ import annotations

import math
from typing import Any

from scenarios.incidents.incident import ScheduledIncident
from scenarios.spec import Crash, RoadClosure, Roadworks, ScenarioError
from sim.incidents.barriers import ACCESS, RESCUE, road_barrier, works_barrier
from sim.incidents.detours import chance
from sim.incidents.effect_base import DEFAULT_TYPE, Effect, InsertedVehicle, World, copy_type, free_flow_route
from sim.network import Road

PROP, SURGE, EMERGENCY = "greenloop.prop", "greenloop.surge", "greenloop.emergency"

_PLAIN = "greenloop.plain"  # a default car without random speed, for free-flow routes
_CAR_M = 5.0
_BRAKING_MPS2 = 4.5
_SLACK_M = 40  # how far from the planned place a wreck may stand
_RED_MPS = 5.56
_ASIDE_S = 10.0
_CLOSED_TRAVEL_S, _FOR_EVER_S = 1e6, 1e9


class CrashEffect(Effect):
    """Wrecks stand on the blocked lanes, each at the free spot nearest to where the crash is said to be."""

    def __init__(self, incident: ScheduledIncident, world: World) -> None:
        super().__init__(incident, world)
        self._wrecks: dict[int, str] = {}  # lane -> vehicle
        self._standing_s: dict[int, float] = {}  # lane -> when its wreck began to stand, SUMO's clock
        self._tries = 0

    def plan(self, conn: Any) -> None:  # noqa: D102
        copy_type(conn, PROP, "ignoring")  # the class that may stand on any lane
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
        # The longer the planned place stays occupied, the farther away another will do.
        slack_m = min(4 + 2 * (int(time_s - self.incident.start_s) // 12), _SLACK_M)
        spot_m = self._free_spot_m(conn, f"{edge}_{lane}", slack_m)
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

    def _free_spot_m(self, conn: Any, lane: str, slack_m: int) -> float | None:
        spec, length_m = self.incident.spec, conn.lane.getLength(lane)
        wish_m = spec.position_m if isinstance(spec, Crash) and spec.position_m is not None else length_m / 2
        taken = [
            (conn.vehicle.getLanePosition(other), conn.vehicle.getSpeed(other), conn.vehicle.getLength(other))
            for other in conn.lane.getLastStepVehicleIDs(lane)
        ]
        for offset_m in sorted(range(-slack_m, slack_m + 1, 2), key=lambda offset: (abs(offset), offset)):
            spot_m = min(max(wish_m + offset_m, min(_CAR_M + 1, length_m)), length_m - 0.5)
            if all(_apart(spot_m, *other) for other in taken):
                return round(float(spot_m), 2)  # as departPos is written: a stop must not lie before it
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
        conn.edge.adaptTraveltime(incident.edge, _CLOSED_TRAVEL_S, time_s, _FOR_EVER_S)
        world.detours.open(conn, barrier)
        return math.inf

    def end(self, conn: Any) -> None:  # noqa: D102
        super().end(conn)
        road = self.world.roads[self.incident.edge]
        conn.edge.adaptTraveltime(road.id, road.length_m / road.speed_mps, self.incident.end_s, _FOR_EVER_S)


class DemandSurgeEffect(Effect):
    """Cars leave from one road, each on the fastest free-flow route to its destination."""

    def __init__(self, incident: ScheduledIncident, world: World) -> None:
        super().__init__(incident, world)
        self._next = 0
        self._routes: dict[str, tuple[tuple[str, ...], float]] = {}
        self._type = DEFAULT_TYPE

    def plan(self, conn: Any) -> None:  # noqa: D102
        copy_type(conn, _PLAIN, "passenger")
        for destination in sorted(set(self.incident.destinations)):
            edges, free_flow_s = free_flow_route(conn, self.incident.edge, destination, _PLAIN, self.world.roads)
            if edges:
                self._routes[destination] = edges, free_flow_s
                conn.route.add(f"{SURGE}.{self.incident.id}.{destination}", edges)
        if not self._routes:
            raise ScenarioError(f"Incident {self.incident.id}: no car can leave from edge '{self.incident.edge}'.")
        kind = self.incident.vehicle_type
        known = kind in conn.vehicletype.getIDList() and conn.vehicletype.getVehicleClass(kind) == "passenger"
        self._type = kind if known else DEFAULT_TYPE

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
    """An emergency vehicle drives the fastest free-flow route: past red lights and closed roads, and others make way.

    SUMO's own blue light device does the same, but ends SUMO (1.28) with a memory fault on networks with very short
    roads, such as ingolstadt21. As there, a driver within 25 m ahead reacts with a probability of 0.189 in each second,
    and of 0.577 within 12.5 m.
    """

    def __init__(self, incident: ScheduledIncident, world: World) -> None:
        super().__init__(incident, world)
        self.end_s = math.inf  # the drive takes as long as it takes
        self._way: tuple[tuple[str, ...], float] = ((), 0.0)
        self._departed = False
        self._yielded: set[str] = set()

    @property
    def vehicle(self) -> str:
        """Its id."""
        return f"{EMERGENCY}.{self.incident.id}"

    def plan(self, conn: Any) -> None:  # noqa: D102
        copy_type(conn, EMERGENCY, RESCUE)
        # It may pass a red light at any time, slowly, and gives way to those who have green.
        conn.vehicletype.setParameter(EMERGENCY, "junctionModel.jmDriveAfterRedTime", "1000000")
        conn.vehicletype.setParameter(EMERGENCY, "junctionModel.jmDriveRedSpeed", f"{_RED_MPS}")
        self._way = free_flow_route(conn, self.incident.edge, self.incident.to_edge, EMERGENCY, self.world.roads)
        if not self._way[0]:
            raise ScenarioError(
                f"Incident {self.incident.id}: no route leads from '{self.incident.edge}' to '{self.incident.to_edge}'."
            )
        conn.route.add(self.vehicle, self._way[0])

    def begin(self, conn: Any, time_s: float) -> float:  # noqa: D102
        conn.vehicle.add(self.vehicle, self.vehicle, EMERGENCY, departLane="best", departSpeed="max")
        edges, free_flow_s = self._way
        self.world.inserted[self.vehicle] = InsertedVehicle("emergency", time_s, free_flow_s, edges, self.incident.id)
        return time_s + 1

    def tick(self, conn: Any, time_s: float) -> float:
        """Make the drivers ahead on the same lane give way."""
        if self.vehicle in conn.vehicle.getIDList():
            self._departed = True
            road = self.world.roads.get(conn.vehicle.getRoadID(self.vehicle))
            if road is not None and len(road.car_lanes) > 1:
                self._part(conn, road, time_s)
        elif self._departed:
            return math.inf
        return time_s + 1

    def _part(self, conn: Any, road: Road, time_s: float) -> None:
        lane, here_m = conn.vehicle.getLaneIndex(self.vehicle), conn.vehicle.getLanePosition(self.vehicle)
        aside = next((index for index in (lane - 1, lane + 1) if index in road.car_lanes), None)
        if aside is None:
            return
        for other in conn.lane.getLastStepVehicleIDs(f"{road.id}_{lane}"):
            ahead_m = conn.vehicle.getLanePosition(other) - here_m
            probability = 0.577 if ahead_m < 12.5 else 0.189 if ahead_m < 25 else 0.0
            if ahead_m > 0 and other not in self._yielded and chance(f"{self.vehicle}/{other}/{time_s}") < probability:
                self._yielded.add(other)
                if not other.startswith((PROP, EMERGENCY)):
                    conn.vehicle.changeLane(other, aside, _ASIDE_S)

    def truth(self) -> dict[str, Any]:  # noqa: D102
        return {
            "vehicle": self.vehicle,
            "to_edge": self.incident.to_edge,
            "free_flow_s": self._way[1],
            "yielded": sorted(self._yielded),
        }


EFFECTS: dict[str, type[Effect]] = {
    "crash": CrashEffect,
    "roadworks": RoadworksEffect,
    "road_closure": RoadClosureEffect,
    "demand_surge": DemandSurgeEffect,
    "detector_outage": Effect,  # the detectors' reader asks ``dead_lanes``
    "emergency_vehicle": EmergencyVehicleEffect,
}


def _apart(spot_m: float, front_m: float, speed_mps: float, length_m: float) -> bool:
    """Whether a vehicle is clear of a wreck whose front is at ``spot_m``: beyond it, or able to stop before it."""
    stopping_m = speed_mps + speed_mps**2 / (2 * _BRAKING_MPS2)
    return front_m - length_m > spot_m + 1 or front_m + stopping_m < spot_m - _CAR_M - 2.5
