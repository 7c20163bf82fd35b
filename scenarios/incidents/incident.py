"""One incident of a run, and the reports that tell of it: plain values."""

from __future__ import annotations

from dataclasses import dataclass

from scenarios.spec import Crash, DemandSurge, EmergencyVehicle, Incident, Roadworks

#: Types that take lanes or whole roads away.
BLOCKING = ("crash", "roadworks", "road_closure")


@dataclass(frozen=True)
class Report:
    """An incident as the control room hears of it: late, worded freely, sometimes wrong about a detail.

    ``text`` is what a language model reads; the other fields are the same facts, as reported and not as they are, for
    models that read no text.

    Attributes:
        time_s: when it is received, SUMO's clock, s.
        incident_id: the same in the report that the incident is over.
        text: one sentence.
        type: one of ``scenarios.spec.INCIDENT_TYPES``.
        edge: the road; where an emergency vehicle starts.
        blocked_lanes: car lanes said to be blocked; 0 where none are or the report does not say.
        total_lanes: car lanes of the road.
        cleared: True in the report that it is over.
        clock_s: when it began (or ended), as reported, SUMO's clock, s.
        vehicles: cars said to leave an event.
        to_edge: where an emergency vehicle drives to.
    """

    time_s: float
    incident_id: str
    text: str
    type: str
    edge: str
    blocked_lanes: int
    total_lanes: int
    cleared: bool = False
    clock_s: float = 0.0
    vehicles: int = 0
    to_edge: str = ""


@dataclass(frozen=True)
class ScheduledIncident:
    """One incident of one run.

    Attributes:
        id: type and number, as in ``crash-1``.
        spec: as listed or drawn.
        start_s: SUMO's clock, s.
        end_s: SUMO's clock, s; may lie after the horizon.
        reports: that it began, and that it is over.
        departures_s: of a surge's vehicles, SUMO's clock, s.
        destinations: of a surge's vehicles.
        vehicle_type: of a surge's vehicles; empty for SUMO's default type.
    """

    id: str
    spec: Incident
    start_s: float
    end_s: float
    reports: tuple[Report, ...] = ()
    departures_s: tuple[float, ...] = ()
    destinations: tuple[str, ...] = ()
    vehicle_type: str = ""

    @property
    def type(self) -> str:
        """One of ``scenarios.spec.INCIDENT_TYPES``."""
        return self.spec.type

    @property
    def edge(self) -> str:
        """The road; where an emergency vehicle starts."""
        return self.spec.from_edge if isinstance(self.spec, EmergencyVehicle) else self.spec.edge

    @property
    def to_edge(self) -> str:
        """Where an emergency vehicle drives to; empty for the other types."""
        return self.spec.to_edge if isinstance(self.spec, EmergencyVehicle) else ""

    @property
    def lanes(self) -> tuple[int, ...]:
        """The lanes that a crash or roadworks block; empty for the other types."""
        return tuple(sorted(set(self.spec.lanes))) if isinstance(self.spec, Crash | Roadworks) else ()

    @property
    def vehicles(self) -> int:
        """How many cars a surge brings; 0 for the other types."""
        return self.spec.vehicles if isinstance(self.spec, DemandSurge) else 0
