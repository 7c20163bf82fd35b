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

    def vector(self, observation: Observation) -> NDArray[np.float32]:
        """Return the (size,) float32 vector; every entry lies in [-1, 5]."""
        lanes, exits = self.lanes, self.exits
        lane_part = np.column_stack(
            [
                observation.queue_veh[lanes] / QUEUE_VEH,
                observation.wait_s[lanes] / WAIT_S,
                observation.zone_veh[lanes] / ZONE_VEH,
                observation.speed_mps[lanes] / self.network.lane_speed_mps[lanes],
                observation.flow_veh_h[lanes] / FLOW_VEH_H,
                observation.lane_ok[lanes],
            ]
        )
        exit_part = np.column_stack([observation.exit_veh[exits], observation.exit_room_veh[exits]]) / ROOM_VEH
        parts = [lane_part.ravel(), exit_part.ravel(), *self._signal_parts(observation)]
        if len(self.crossings):
            parts.append(observation.waiting_persons[self.crossings] / PERSONS)
        vector = np.concatenate(parts)
        bounded: NDArray[np.float32] = np.clip(np.nan_to_num(vector, nan=UNSEEN), UNSEEN, CLIP).astype(np.float32)
        return bounded

    def _signal_parts(self, observation: Observation) -> list[NDArray[np.float64]]:
        parts = []
        for index, phases in zip(self.signals, self.phases, strict=True):
            active = np.arange(phases) == observation.phase[index]
            parts.append(np.array([*active, observation.phase_age_s[index] / AGE_S, observation.due[index]], float))
        return parts
