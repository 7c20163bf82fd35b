"""Road users beside cars while a simulation runs: how long they stand, and where persons mean to walk.

SUMO's trip output adds up all waiting of a trip; the longest single wait has to be looked for while it lasts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scenarios.road_users import KIND_OF_CLASS, PERSON

#: Every so often the waits are read, s; the longest wait is at most this much longer than what is reported.
LOOK_S = 5
#: SUMO's number for a stage on foot.
_WALKING = 2


@dataclass(frozen=True)
class Walk:
    """One walk as SUMO planned it: roads in their order, and positions on the first and last road, m."""

    edges: tuple[str, ...]
    depart_m: float
    arrival_m: float


@dataclass(frozen=True)
class RoadUsers:
    """What was seen of road users that are no cars.

    Attributes:
        worst_wait_s: by kind, the longest time that one of them stood at a stretch in the measured time (speed below
            0.1 m/s; planned stops, rides and waiting for one do not count), s.
        walks: by person, in order, the walks that were begun, but for those shorter than ``LOOK_S``; each with the
            number of stages that were left, itself included.
        kinds: by vehicle type; types of cars are not named.
    """

    worst_wait_s: dict[str, float] = field(default_factory=dict)
    walks: dict[str, dict[int, Walk]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)


class RoadUserWatch:
    """Looks at all road users that are no cars; ``conn`` is libsumo or a TraCI connection."""

    def __init__(self, conn: Any) -> None:
        self.conn = conn
        self.seen = RoadUsers()
        self._kind: dict[str, str | None] = {}  # by vehicle; None for cars

    def see(self) -> None:
        """Read the waits that last now, and the walks that began."""
        vehicle = self.conn.vehicle
        for name in vehicle.getIDList():
            if name not in self._kind:
                self._kind[name] = KIND_OF_CLASS.get(vehicle.getVehicleClass(name))
            kind = self._kind[name]
            if kind is not None:
                self._wait(kind, vehicle.getWaitingTime(name))
        if self.conn.person.getIDCount():
            self._see_persons()

    def _see_persons(self) -> None:
        person = self.conn.person
        for name in person.getIDList():
            left, known = person.getRemainingStages(name), self.seen.walks.setdefault(name, {})
            if left not in known:
                stage = person.getStage(name)
                if stage.type != _WALKING:
                    continue
                known[left] = Walk(tuple(stage.edges), stage.departPos, stage.arrivalPos)
            self._wait(PERSON, person.getWaitingTime(name))

    def _wait(self, kind: str, wait_s: float) -> None:
        self.seen.worst_wait_s[kind] = max(self.seen.worst_wait_s.get(kind, 0.0), wait_s)

    def finish(self) -> RoadUsers:
        """What was seen, with the kind of every vehicle type; while SUMO still runs."""
        types = self.conn.vehicletype
        for name in types.getIDList():
            kind = KIND_OF_CLASS.get(types.getVehicleClass(name))
            if kind is not None:
                self.seen.kinds[name] = kind
        return self.seen
