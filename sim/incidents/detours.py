"""The drivers who have to find another way around closed roads and lanes.

``conn`` is libsumo or a TraCI connection; nothing of it is kept, so that a fork of the process carries on.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from typing import Any

from sim.incidents.barriers import ACCESS, Barrier
from sim.network import Road

HALT_MPS = 0.1


class Detours:
    """Sends drivers around barriers.

    A driver with an impossible turn ahead looks for another way at once (a share of them, drawn by vehicle id) or where
    the sign stands. Who finds none passes roadworks as a resident, and ends the trip before a closed road.

    Attributes:
        rerouted: incident -> vehicles that took another way.
        ended_early: incident -> vehicles whose destination it cut off, and whose trip ends before it.
        admitted: vehicles let through roadworks -> their own vehicle class.
    """

    def __init__(self, roads: Mapping[str, Road], seed: int, ignored: tuple[str, ...] = ()) -> None:
        self.roads, self.seed, self.ignored = roads, seed, ignored
        self.barriers: dict[str, Barrier] = {}
        self.rerouted: dict[str, set[str]] = {}
        self.ended_early: dict[str, set[str]] = {}
        self.admitted: dict[str, str] = {}
        self._settled: set[str] = set()  # vehicles that have passed a sign and have nothing to change
        self._again: dict[str, bool] = {}  # vehicles to look at in a second -> whether they know
        self._outside: set[str] = set()  # when the last barrier fell, these waited to depart, perhaps without a route

    @property
    def active(self) -> bool:
        """Whether ``tick`` has anything to do."""
        return bool(self.barriers or self._again or self._outside)

    def open(self, conn: Any, barrier: Barrier) -> None:
        """Raise a barrier, and let the drivers who hear of it at once look for another way."""
        self.barriers[barrier.incident] = barrier
        self._settled.clear()
        if barrier.accessible:
            self._let_out(conn, barrier)
        for vehicle in conn.vehicle.getIDList():
            self._look(conn, vehicle, knows=False)

    def close(self, conn: Any, incident: str) -> None:
        """Take a barrier away."""
        del self.barriers[incident]
        self._settled.clear()
        self._again.update(dict.fromkeys(conn.simulation.getDepartedIDList(), False))
        self._outside.update(conn.simulation.getPendingVehicles())
        if not any(barrier.accessible for barrier in self.barriers.values()):
            self._dismiss(conn)

    def _dismiss(self, conn: Any) -> None:
        """Give the drivers who were let through roadworks their own class back."""
        driving = set(conn.vehicle.getIDList())
        for vehicle, kind in self.admitted.items():
            if vehicle in driving and conn.vehicle.getVehicleClass(vehicle) == ACCESS:
                conn.vehicle.setVehicleClass(vehicle, kind)

    def tick(self, conn: Any) -> None:
        """Look at the drivers who have started or reached a sign since the last second."""
        again, self._again = self._again, {}
        driving = set(conn.vehicle.getIDList()) if again else set()
        for vehicle, knows in again.items():
            if vehicle in driving:
                self._look(conn, vehicle, knows)
        for vehicle in conn.simulation.getDepartedIDList():
            if self.barriers or vehicle in self._outside:
                self._look(conn, vehicle, knows=False)
        if self._outside:
            self._outside.intersection_update(conn.simulation.getPendingVehicles())
        for barrier in self.barriers.values():
            for edge in barrier.warned:
                for vehicle in conn.edge.getLastStepVehicleIDs(edge):
                    if vehicle not in self._settled:
                        self._look(conn, vehicle, knows=True)

    def _let_out(self, conn: Any, barrier: Barrier) -> None:
        """Drivers who are beside the works already may still make their turn."""
        for vehicle in conn.edge.getLastStepVehicleIDs(barrier.edge):
            if self._ahead(conn, vehicle)[:2] in barrier.turns:
                self._admit(conn, vehicle)

    def _look(self, conn: Any, vehicle: str, knows: bool) -> None:
        """Check one driver's way, and change it if it is impossible and the driver knows."""
        if vehicle.startswith(self.ignored):
            return
        ahead = self._ahead(conn, vehicle)
        blocked = self._first_blocked(vehicle, ahead)
        if blocked is None:
            if knows:
                self._settled.add(vehicle)
        elif conn.vehicle.getRoadID(vehicle).startswith(":"):
            self._again[vehicle] = knows  # on a junction nobody can decide
        elif knows or not self._is_turn(ahead[blocked : blocked + 2]) or self._hears(vehicle, ahead):
            self._divert(conn, vehicle, ahead)

    def _ahead(self, conn: Any, vehicle: str) -> tuple[str, ...]:
        route: tuple[str, ...] = tuple(conn.vehicle.getRoute(vehicle))
        return route[max(conn.vehicle.getRouteIndex(vehicle), 0) :]

    def _is_turn(self, pair: tuple[str, ...]) -> bool:
        """False for a trip that SUMO found no route for: its start and its destination stand side by side."""
        return pair[1] in self.roads[pair[0]].successors

    def _first_blocked(self, vehicle: str, ahead: tuple[str, ...]) -> int | None:
        for position, turn in enumerate(pairwise(ahead)):
            if not self._is_turn(turn) or any(turn in barrier.turns for barrier in self._in_force(vehicle)):
                return position
        return None

    def _in_force(self, vehicle: str) -> list[Barrier]:
        admitted = vehicle in self.admitted
        return [barrier for barrier in self.barriers.values() if not (barrier.accessible and admitted)]

    def _hears(self, vehicle: str, ahead: tuple[str, ...]) -> bool:
        turns = set(pairwise(ahead))
        return any(
            chance(f"{self.seed}/{barrier.incident}/{vehicle}") < barrier.share
            for barrier in self.barriers.values()
            if turns & barrier.turns
        )

    def _divert(self, conn: Any, vehicle: str, ahead: tuple[str, ...]) -> None:
        """Let SUMO find the fastest way at free flow; it changes nothing where there is none."""
        conn.vehicle.rerouteTraveltime(vehicle, False)
        blocked = self._first_blocked(vehicle, self._ahead(conn, vehicle))
        if blocked is None:
            self._settled.add(vehicle)
            self._note(self.rerouted, vehicle, ahead)
        elif self._admit(conn, vehicle):
            self._settled.add(vehicle)
        elif blocked == 0 and conn.vehicle.getSpeed(vehicle) > HALT_MPS:
            self._again[vehicle] = True  # perhaps too close to the junction to turn elsewhere: once more when standing
        else:
            self._end_early(conn, vehicle)

    def _admit(self, conn: Any, vehicle: str) -> bool:
        """Let a driver through roadworks; False if there are none or even that gives no way."""
        kind = conn.vehicle.getVehicleClass(vehicle)
        if kind == ACCESS or not any(barrier.accessible for barrier in self.barriers.values()):
            return False
        conn.vehicle.setVehicleClass(vehicle, ACCESS)
        conn.vehicle.rerouteTraveltime(vehicle, False)
        self.admitted[vehicle] = kind
        if self._first_blocked(vehicle, self._ahead(conn, vehicle)) is None:
            return True
        del self.admitted[vehicle]
        conn.vehicle.setVehicleClass(vehicle, kind)
        return False

    def _end_early(self, conn: Any, vehicle: str) -> None:
        """The destination is cut off: end the trip on the last road before the barrier."""
        ahead = self._ahead(conn, vehicle)
        blocked = self._first_blocked(vehicle, ahead) or 0
        self._note(self.ended_early, vehicle, ahead)
        self._settled.add(vehicle)
        if self._is_turn(ahead[blocked : blocked + 2]) or not self._retarget(conn, vehicle):
            conn.vehicle.setRoute(vehicle, ahead[: blocked + 1])

    def _note(self, kept: dict[str, set[str]], vehicle: str, ahead: tuple[str, ...]) -> None:
        """Note a vehicle under the incidents that were in its way; for a trip without a route these are all."""
        for incident, barrier in self.barriers.items():
            if not barrier.turns.isdisjoint(pairwise(ahead)) or not all(map(self._is_turn, pairwise(ahead))):
                kept.setdefault(incident, set()).add(vehicle)

    def _retarget(self, conn: Any, vehicle: str) -> bool:
        """A trip that never had a route drives to the nearest road before a barrier; False if it can reach none."""
        best: tuple[float, str] | None = None
        for before in sorted({turn[0] for barrier in self.barriers.values() for turn in barrier.turns}):
            with suppress(*_refusals()):
                conn.vehicle.changeTarget(vehicle, before)
            ahead = self._ahead(conn, vehicle)
            if ahead[-1] == before and self._first_blocked(vehicle, ahead) is None:
                found = sum(self.roads[edge].length_m for edge in ahead), before
                best = min(best or found, found)
        if best is not None:
            conn.vehicle.changeTarget(vehicle, best[1])
        return best is not None


def _refusals() -> tuple[type[Exception], ...]:
    """What the loaded backends raise when SUMO refuses a command; each has a class of its own."""
    modules = [sys.modules[name] for name in ("libsumo", "traci") if name in sys.modules]
    return tuple(module.TraCIException for module in modules if hasattr(module, "TraCIException"))


def chance(key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") / 2**64
