"""Holding: greedy that finishes what it serves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from controllers.classical.greedy import Greedy
from controllers.classical.phase_choice import TIE
from controllers.classical.timed_programs import intergreen_s
from controllers.parameters import check_number
from sim.network import Network
from sim.observation import Observation
from sim.signals import Decision
from sim.timings import NATIVE


class Holding(Greedy):
    """Serves the phase with the most vehicles; the current one's count more while its queue flows.

    The factor is ``1 + hold_per_s * intergreen``, and 1 once nobody is left within 50 m of the stop line. Plain greedy
    changes so often that with 5 s of intergreen half the time is yellow; a fixed margin in vehicles starves the side
    roads of quiet junctions; a factor does neither (docs/experiments, section 1, has the figures).

    Args:
        detection_m: 50, 100 or 200, the bounds of the observation's zones.
        hold_per_s: what the vehicles of a flowing phase count more for each second that a change costs; tuned on
            cologne1 and generated training cities.
    """

    def __init__(self, detection_m: float = 100, hold_per_s: float = 0.12) -> None:
        super().__init__(detection_m, switch_margin_veh=0.0)
        self.hold_per_s = check_number("holding", "hold_per_s", hold_per_s)

    def reset(self, network: Network, seed: int) -> None:
        """Note what a change costs at each signal."""
        super().reset(network, seed)
        timings = self.context.timings if self.context else NATIVE
        self._factor = {s.index: 1 + self.hold_per_s * sum(intergreen_s(s, timings)) for s in network.controllable}

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Return the best phase of each due signal, or the current one while its queue flows."""
        decisions = dict(super().act(observation))
        scores = self.all_scores(observation)
        near = self._per_phase(np.nan_to_num(observation.zone_veh[:, 0]))
        for signal in self.table.signals:
            current = int(observation.phase[signal.index])
            if signal.id in decisions and current >= 0 and near[self.table.of(signal)][current] > 0:
                mine: NDArray[np.float64] = scores[self.table.of(signal)]
                if mine.max() <= mine[current] * self._factor[signal.index] + TIE:
                    decisions[signal.id] = current
        return decisions
