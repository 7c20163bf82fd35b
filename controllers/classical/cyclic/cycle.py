"""A fixed order of phases whose shares of the cycle follow the traffic: what cyclic max pressure and SCATS share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controllers.base import Controller
from controllers.classical.timed_programs import green_rows, intergreen_s, whole_shares
from sim.network import Network, Signal
from sim.observation import Observation
from sim.signals import Decision
from sim.timings import NATIVE


@dataclass(frozen=True)
class Cycle:
    """One cycle of a signal on the clock: ``slots[k]`` decision intervals for phase k, its intergreen included."""

    start_s: float
    slots: tuple[int, ...]
    interval_s: float

    @property
    def end_s(self) -> float:
        """When the next cycle begins."""
        return self.start_s + self.interval_s * sum(self.slots)

    def phase(self, time_s: float) -> int:
        """The phase whose turn it is; the last one after the end."""
        left_s = time_s - self.start_s
        for phase, slots in enumerate(self.slots):
            left_s -= slots * self.interval_s
            if left_s < 0:
                return phase
        return len(self.slots) - 1


class CyclicController(Controller):
    """Shows each signal's phases in the order of its program, each for a whole number of decision intervals.

    The plan stands on the clock, so that cycles keep their length and signals stay coordinated. Yellow, all-red,
    minimum green and maximum red are the signals' own business, as with every other controller. A subclass says how
    the slots of the next cycle are shared out.
    """

    def reset(self, network: Network, seed: int) -> None:
        """Forget all cycles; note what each phase needs at least."""
        super().reset(network, seed)
        timings = self.context.timings if self.context else NATIVE
        self.interval_s = float(timings.decision_interval_s)
        self.running: dict[str, Cycle] = {}
        self.intergreen_s = {s.id: float(sum(intergreen_s(s, timings))) for s in network.controllable}
        self.least = {
            s.id: max(1, math.ceil((self.intergreen_s[s.id] + timings.min_green_s) / self.interval_s))
            for s in network.controllable
        }

    @abstractmethod
    def measure(self, observation: Observation) -> None:
        """Take note of the traffic; called once at every decision time, before any cycle begins."""

    @abstractmethod
    def next_slots(self, signal: Signal, observation: Observation) -> Sequence[int]:
        """The slots of the cycle that begins now, one number of at least ``least[signal.id]`` for each phase."""

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Begin cycles that are due, and return the phase whose turn it is at each due signal."""
        self.measure(observation)
        decisions: dict[str, Decision | int] = {}
        for signal in self.network.controllable:
            running = self.running.get(signal.id)
            if running is None or observation.time_s >= running.end_s:
                slots = tuple(self.next_slots(signal, observation))
                running = self.running[signal.id] = Cycle(observation.time_s, slots, self.interval_s)
            if observation.due[signal.index]:
                decisions[signal.id] = running.phase(observation.time_s)
        return decisions

    def shared(self, signal: Signal, cycle_s: float, weights: Sequence[float]) -> list[int]:
        """Slots of a cycle: each phase its least, the rest in proportion to the weights (equally if all are 0).

        The cycle grows where the least of all phases together is longer.
        """
        least = self.least[signal.id]
        spare = max(0, round(cycle_s / self.interval_s) - least * len(signal.phases))
        return [least + int(share) for share in whole_shares(spare, weights)]

    def native_slots(self, signal: Signal, cycle_s: float) -> list[int]:
        """A cycle shared out as the network's own program does."""
        greens_s = {signal.program[row].state: signal.program[row].duration_s for row in green_rows(signal)}
        return self.shared(signal, cycle_s, [greens_s.get(phase.state, phase.native_s) for phase in signal.phases])
