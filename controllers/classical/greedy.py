"""Greedy: serve the phase that most vehicles wait for or approach. The strong baseline."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from controllers.classical.phase_choice import BestPhase, fill_unknown, movement_filter
from controllers.classical.timed_programs import intergreen_s
from controllers.parameters import check_choice, check_flag, check_number
from sim.network import Network, Phase, Signal
from sim.observation import ZONES_M, Observation
from sim.timings import NATIVE

MARGIN_VEH_PER_S, FREE_INTERGREEN_S = 1.5, 3.0


class _LaneGreedy(BestPhase):
    """Scores a phase by the sum of one number per lane, each lane counted once."""

    def __init__(self, switch_margin_veh: float = 0.0, protected_only: bool = False) -> None:
        self.switch_margin_veh = check_number("greedy", "switch_margin_veh", switch_margin_veh)
        self.protected_only = check_flag("greedy", "protected_only", protected_only)
        self.switch_margin = self.switch_margin_veh

    def reset(self, network: Network, seed: int) -> None:
        """Note the lanes of every phase."""
        super().reset(network, seed)
        movements = movement_filter(self.protected_only)

        def lanes(phase: Phase) -> list[int]:
            return sorted({lane for lane, _ in movements(phase)})

        self._per_phase = self.table.total(lanes)

    @abstractmethod
    def lane_veh(self, observation: Observation) -> NDArray[np.float64]:
        """The number (L,) that counts for each lane."""

    def scores(self, observation: Observation) -> NDArray[np.float64]:
        """Vehicles that each phase would serve."""
        lanes = fill_unknown(self.lane_veh(observation), self.network.lane_signal, len(self.network.signals))
        return self._per_phase(lanes)


class Greedy(_LaneGreedy):
    """Serves the phase with the most vehicles within a detection distance of the stop line.

    Standing and moving vehicles count alike ("max wave" in RESCO, Ault & Sharon 2021).

    Args:
        detection_m: 50, 100 or 200, the bounds of the observation's zones.
        switch_margin_veh: vehicles by which another phase must lead before the current one ends; by default 1.5 for
            each second that the intergreen exceeds 3 s.
        protected_only: count only movements that need not give way, as RESCO's phase pairs do.

    The defaults were tuned on training networks only (cologne1 and generated cities, with 3, 4 and 5 s of yellow):
    100 m is as good as 50 m or better, and the best margin grows with the intergreen, about 0, 1 and 3 vehicles.
    """

    def __init__(
        self, detection_m: float = 100, switch_margin_veh: float | None = None, protected_only: bool = False
    ) -> None:
        super().__init__(switch_margin_veh or 0.0, protected_only)
        self.switch_margin_veh = switch_margin_veh
        self.detection_m = check_choice("greedy", "detection_m", detection_m, ZONES_M[1:])
        self._zones = ZONES_M.index(float(detection_m))

    def margin(self, signal: Signal) -> float:
        """The margin asked for, or the one that fits this signal's intergreen."""
        if self.switch_margin_veh is not None:
            return self.switch_margin
        lost_s = sum(intergreen_s(signal, self.context.timings if self.context else NATIVE))
        return MARGIN_VEH_PER_S * max(0.0, lost_s - FREE_INTERGREEN_S)

    def lane_veh(self, observation: Observation) -> NDArray[np.float64]:
        """Vehicles within the detection distance."""
        near: NDArray[np.float64] = observation.zone_veh[:, : self._zones].sum(axis=1)
        return near


class LongestQueue(_LaneGreedy):
    """Serves the phase with the most halted vehicles (queue greedy)."""

    def lane_veh(self, observation: Observation) -> NDArray[np.float64]:
        """Halted vehicles."""
        return observation.queue_veh
