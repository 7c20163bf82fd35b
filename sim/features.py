"""An Observation as one vector of numbers near 0 to 1, for learning; the layout depends on the network alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.network import Network
from sim.observation import Observation

#: What each count or time is divided by, so that typical values lie between 0 and 1; all are clipped at CLIP.
QUEUE_VEH, ZONE_VEH, WAIT_S, FLOW_VEH_H, AGE_S, ROOM_VEH = 20.0, 10.0, 120.0, 1800.0, 60.0, 20.0
PERSONS = 10.0
CLIP = 5.0
UNSEEN = -1.0
LANE_FEATURES = 10
EXIT_FEATURES = 2


class Features:
    """Turns an Observation into a vector over some signals.

    For each incoming lane ten numbers: queue, wait, three zones, speed (relative to the limit), three flows, and 1
    where the detector works (its other nine are -1 where it does not); for each outgoing lane two: vehicles and room;
    for each signal one per phase (1 for the active one), then its age and whether it is due; for each crossing with a
    signal the people who wait there.
    """

    def __init__(self, network: Network, signals: tuple[int, ...]) -> None:
        self.network, self.signals = network, signals
        chosen = [network.signals[index] for index in signals]
        self.lanes = np.array(sorted({lane for signal in chosen for lane in signal.lanes}), np.int64)
        self.exits = np.array(sorted({exit_ for signal in chosen for exit_ in signal.exits}), np.int64)
        self.phases = [len(signal.phases) for signal in chosen]
        self.crossings = np.array(sorted({crossing for signal in chosen for crossing in signal.crossings}), np.int64)
        self.size = (
            LANE_FEATURES * len(self.lanes)
            + EXIT_FEATURES * len(self.exits)
            + sum(self.phases)
            + 2 * len(signals)
            + len(self.crossings)
        )
        self._source, self._divisor = self._layout()
        ends = len(self._source) + np.cumsum([phases + 2 for phases in self.phases])
        self._signals = np.array(signals, np.int64)
        self._first = ends - np.array(self.phases, np.int64) - 2  # where each signal's phases begin in the vector
        self._age = ends - 2

    def vector(self, observation: Observation) -> NDArray[np.float32]:
        """Return the (size,) float32 vector; every entry lies in [-1, 5]."""
        vector = np.zeros(self.size)
        vector[: len(self._source)] = np.concatenate([part.ravel() for part in _parts(observation)])[self._source]
        vector[: len(self._source)] /= self._divisor
        phase = observation.phase[self._signals]
        vector[(self._first + phase)[phase >= 0]] = 1.0
        vector[self._age] = observation.phase_age_s[self._signals] / AGE_S
        vector[self._age + 1] = observation.due[self._signals]
        if len(self.crossings):
            vector[-len(self.crossings) :] = observation.waiting_persons[self.crossings] / PERSONS
        vector[np.isnan(vector)] = UNSEEN
        bounded: NDArray[np.float32] = np.clip(vector, UNSEEN, CLIP).astype(np.float32)
        return bounded

    def _layout(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """For each number of the lane and exit parts its place in ``_parts``, end to end, and what divides it."""
        lanes, exits = len(self.network.lanes), len(self.network.exits)
        sizes = [lanes, lanes, 3 * lanes, lanes, 3 * lanes, lanes, exits, exits]
        queue, wait, zone, speed, flow, works, vehicles, room = np.cumsum([0, *sizes[:-1]])
        place, divisor = [], []
        for lane in self.lanes:
            place += [queue + lane, wait + lane, *(zone + 3 * lane + np.arange(3)), speed + lane]
            place += [*(flow + 3 * lane + np.arange(3)), works + lane]
            limit_mps = self.network.lane_speed_mps[lane]
            divisor += [QUEUE_VEH, WAIT_S, *[ZONE_VEH] * 3, limit_mps, *[FLOW_VEH_H] * 3, 1.0]
        for exit_ in self.exits:
            place += [vehicles + exit_, room + exit_]
            divisor += [ROOM_VEH, ROOM_VEH]
        return np.array(place, np.int64), np.array(divisor, np.float64)


def _parts(observation: Observation) -> tuple[NDArray[np.float64] | NDArray[np.bool_], ...]:
    return (
        observation.queue_veh,
        observation.wait_s,
        observation.zone_veh,
        observation.speed_mps,
        observation.flow_veh_h,
        observation.lane_ok,
        observation.exit_veh,
        observation.exit_room_veh,
    )
