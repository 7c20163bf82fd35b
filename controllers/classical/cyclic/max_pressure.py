"""Cyclic max pressure: a fixed cycle and a fixed order of phases, the greens shared out by pressure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from controllers.classical.cyclic.cycle import CyclicController
from controllers.classical.max_pressure import MaxPressure
from controllers.parameters import check_number
from sim.network import Network, Signal
from sim.observation import Observation


class CyclicMaxPressure(CyclicController):
    """Shares out each cycle in proportion to the phases' mean pressure over the cycle before it.

    What drivers know from fixed time stays: every phase comes once a cycle, in the program's order. A negative pressure
    counts as none; without any pressure, and in the first cycle, all phases get the same. Source: A. Kouvelas,
    J. Lioris, S. A. Fayazi & P. Varaiya, "Maximum pressure controller for stabilizing queues in signalized arterial
    networks", Transportation Research Record 2421 (2014); greens are whole decision intervals here.

    Args:
        measure: ``vehicles`` or ``queue``, as in ``max_pressure``.
        cycle_s: length of the cycle, s; longer where the shortest greens of all phases need it.
    """

    def __init__(self, measure: str = "vehicles", cycle_s: float = 90.0) -> None:
        self._pressure = MaxPressure(measure)
        self.cycle_s = check_number("cyclic_max_pressure", "cycle_s", cycle_s, above=True)

    def parameters(self) -> dict[str, object]:
        """The constructor's parameters with their values."""
        return {"measure": self._pressure.measure, "cycle_s": self.cycle_s}

    def reset(self, network: Network, seed: int) -> None:
        """Forget all pressures."""
        super().reset(network, seed)
        self._pressure.reset(network, seed)
        self.table = self._pressure.table
        self._sum = np.zeros(len(self.table))

    def measure(self, observation: Observation) -> None:
        """Add up the pressures of this decision time."""
        self._sum += self._pressure.scores(observation)

    def next_slots(self, signal: Signal, observation: Observation) -> Sequence[int]:  # noqa: ARG002 - already summed
        """Share out the next cycle by the sums of the last one."""
        place = self.table.of(signal)
        weights = np.maximum(self._sum[place], 0.0) if signal.id in self.running else np.zeros(len(signal.phases))
        self._sum[place] = 0.0
        return self.shared(signal, self.cycle_s, weights.tolist())
