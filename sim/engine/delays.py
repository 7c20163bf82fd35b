"""Vehicle-seconds of delay in an interval: in the whole network, and on each signal's incoming lanes.

Two ways to count the same thing. ``DelayBySecond`` looks at every vehicle in every second; branches of the simulation
count so. ``DelayByInterval`` looks once an interval, which costs a tenth; rewards count so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.vehicles import Vehicles, sums, values
from sim.network import Network

#: Below this a lane's allowed speed counts as this much, m/s.
_LEAST_ALLOWED_MPS = 0.1


class Delay(ABC):
    """Counts one interval after the other: ``begin``, ``second`` after each simulated second, ``end``.

    Attributes:
        network_veh_s: delay of all vehicles in the network, and of those that wait outside it.
        signal_veh_s: (S,) delay on each signal's incoming lanes.
    """

    def __init__(self, network: Network, conn: Any, vehicles: Vehicles) -> None:
        self.network, self.conn, self.vehicles = network, conn, vehicles
        self.begin()

    def begin(self) -> None:
        """Start a new interval."""
        self.network_veh_s = 0.0
        self.signal_veh_s: NDArray[np.float64] = np.zeros(len(self.network.signals))

    @abstractmethod
    def second(self) -> None:
        """Note the second that has just been simulated."""

    def end(self) -> None:  # noqa: B027 - not every way looks then
        """Note the end of the interval."""

    def _outside_veh(self) -> int:
        """Vehicles that should have departed and find no room."""
        return len(self.conn.simulation.getPendingVehicles())


class DelayBySecond(Delay):
    """In each second each vehicle loses 1 - speed / allowed speed, at least 0; one that waits outside all of it."""

    def second(self) -> None:
        """Look at every vehicle and every incoming lane."""
        vehicle, lane = self.conn.vehicle, self.conn.lane
        ids = self.vehicles.ids
        speed_mps = values(vehicle.getSpeed, ids)
        allowed_mps = np.maximum(values(vehicle.getAllowedSpeed, ids), _LEAST_ALLOWED_MPS)
        # Summed in order: numpy's sum would differ in the last bits.
        self.network_veh_s += sum(np.maximum(1.0 - speed_mps / allowed_mps, 0.0).tolist()) + self._outside_veh()
        vehicles = np.fromiter(
            map(lane.getLastStepVehicleNumber, self.network.lanes), np.int64, len(self.network.lanes)
        )
        busy = np.flatnonzero(vehicles)
        mean_mps = values(lane.getLastStepMeanSpeed, [self.network.lanes[index] for index in busy])
        lost = vehicles[busy] * np.maximum(1.0 - mean_mps / self.network.lane_speed_mps[busy], 0.0)
        np.add.at(self.signal_veh_s, self.network.lane_signal[busy], lost)


class DelayByInterval(Delay):
    """What SUMO's time loss of every vehicle has grown by; a vehicle that waits outside loses each second.

    It differs from ``DelayBySecond`` in three ways: the last interval of a vehicle that arrives in it does not count,
    one that stops on purpose (a bus at its stop, a wreck) loses nothing, and one faster than allowed gains. On RESCO's
    networks it is 0.3 to 2.4 % less, the more the freer the traffic. A signal is given the loss of the vehicles that
    were on its incoming lanes when the interval began, and of those that came on them from elsewhere; so the way over
    the junction counts as well, and a signal's delay is 1 to 17 % more.
    """

    def __init__(self, network: Network, conn: Any, vehicles: Vehicles) -> None:
        super().__init__(network, conn, vehicles)
        signals = len(network.signals)
        self._signal_of = {lane: int(signal) for lane, signal in zip(network.lanes, network.lane_signal, strict=True)}
        self._elsewhere = signals
        # Of the vehicles at the end of the last interval: place in the arrays, time loss, and the signal that they were
        # before (or _elsewhere). The arrays' last entry stands for vehicles that were not there.
        self._place: dict[str, int] = {}
        self._lost_s = np.zeros(1)
        self._at = np.full(1, self._elsewhere)

    def second(self) -> None:
        """Count those outside."""
        self.network_veh_s += self._outside_veh()

    def end(self) -> None:
        """Look at every vehicle."""
        ids, vehicles = self.vehicles.ids, len(self.vehicles.ids)
        before = np.fromiter(map(self._place.get, ids, repeat(len(self._place))), np.int64, vehicles)
        at = map(self._signal_of.get, self.vehicles.lanes, repeat(self._elsewhere))
        is_at, was_at = np.fromiter(at, np.int64, vehicles), self._at[before]
        lost_s = values(self.conn.vehicle.getTimeLoss, ids)
        grown_s = lost_s - self._lost_s[before]
        self.network_veh_s += float(grown_s.sum())
        at_signal = np.where(was_at == self._elsewhere, is_at, was_at)
        self.signal_veh_s = sums(at_signal, grown_s, self._elsewhere + 1)[: self._elsewhere]
        self._place = dict(zip(ids, range(vehicles), strict=True))
        self._lost_s, self._at = np.append(lost_s, 0.0), np.append(is_at, self._elsewhere)
