"""What every effect of an incident shares; ``conn`` is libsumo or a TraCI connection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from scenarios.incidents.incident import ScheduledIncident
from sim.incidents.barriers import LaneRules
from sim.incidents.detours import Detours
from sim.network import Road

DEFAULT_TYPE = "DEFAULT_VEHTYPE"


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
        self.end_s = incident.end_s

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


def copy_type(conn: Any, name: str, vehicle_class: str) -> None:
    """Make a vehicle type of the default's dimensions; nothing about its vehicles is random."""
    if name not in conn.vehicletype.getIDList():
        conn.vehicletype.copy(DEFAULT_TYPE, name)
        conn.vehicletype.setVehicleClass(name, vehicle_class)
        conn.vehicletype.setSpeedDeviation(name, 0)


def free_flow_route(
    conn: Any, origin: str, destination: str, vehicle_type: str, roads: dict[str, Road]
) -> tuple[tuple[str, ...], float]:
    """The fastest route at free flow and its duration from where vehicles start, s; no edges if there is none.

    ``vehicle_type`` must have no random speed: SUMO would draw it, and so change every driver who comes later.
    """
    found = conn.simulation.findRoute(origin, destination, vehicle_type)
    first = roads[origin]
    skipped_s = min(conn.vehicletype.getLength(vehicle_type), first.length_m) / first.speed_mps
    return tuple(found.edges), max(found.travelTime - skipped_s, 0.0)
