"""Choosing a phase by a score: what greedy, max pressure and their variants share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from controllers.base import Controller
from sim.network import Network, Phase, Signal
from sim.observation import Observation
from sim.signals import Decision

#: Scores closer than this are a tie, so that the order of additions decides nothing.
TIE = 1e-9


class PhaseTable:
    """All phases of all controllable signals in one row, so that a whole network is scored in a few array operations.

    ``start[signal.index]`` is where a signal's phases begin.
    """

    def __init__(self, network: Network) -> None:
        self.signals = network.controllable
        self.phases: tuple[Phase, ...] = tuple(phase for signal in self.signals for phase in signal.phases)
        first = np.cumsum([0, *(len(signal.phases) for signal in self.signals)])
        self.start = {signal.index: int(start) for signal, start in zip(self.signals, first, strict=False)}

    def __len__(self) -> int:
        return len(self.phases)

    def of(self, signal: Signal) -> slice:
        """Where this signal's phases are."""
        start = self.start[signal.index]
        return slice(start, start + len(signal.phases))

    def walks(self, network: Network) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """Return a function that adds up, for each phase, the values of the crossings with green in it."""
        return self.total(lambda phase: phase.crossings) if network.crossings else lambda _: np.zeros(len(self))

    def total(self, pick: Callable[[Phase], Iterable[int]]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """Return a function that adds up, for each phase, the values at the indices that ``pick`` names."""
        picked = [list(pick(phase)) for phase in self.phases]
        owner = np.repeat(np.arange(len(self)), [len(indices) for indices in picked])
        index = np.array([i for indices in picked for i in indices], dtype=np.int64)

        def add_up(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.bincount(owner, weights=values[index], minlength=len(self)).astype(np.float64)

        return add_up


def fill_unknown(values: NDArray[np.float64], owner: NDArray[np.int64], signals: int) -> NDArray[np.float64]:
    """Replace what failed detectors do not see (NaN) by the mean of the signal's other lanes; 0 if all are out.

    The mean neither draws green to a blind lane nor keeps it away. ``owner`` is each lane's signal.
    """
    unknown = np.isnan(values)
    if not unknown.any():
        return values
    known = ~unknown
    count = np.bincount(owner[known], minlength=signals)
    mean = np.bincount(owner[known], weights=values[known], minlength=signals) / np.maximum(count, 1)
    return np.where(unknown, mean[owner], values)


def movement_filter(protected_only: bool) -> Callable[[Phase], list[tuple[int, int]]]:
    """Which movements of a phase count, as (lane, exit): all with green, or those that need not give way ("G")."""
    wanted = "G" if protected_only else "Gg"

    def pick(phase: Phase) -> list[tuple[int, int]]:
        return [(m.lane, m.exit) for m in phase.movements if phase.state[m.link] in wanted]

    return pick


class BestPhase(Controller):
    """Shows at each due signal the phase with the highest score; a tie keeps the current phase.

    A signal whose detectors have all failed goes through its phases in turn, each for its native green time.

    Attributes:
        switch_margin: how much higher another phase must score before the current one is left.
        person_weight: what a person who waits at a crossing counts, in the unit of the scores.
    """

    switch_margin: float = 0.0
    person_weight: float = 1.0

    def reset(self, network: Network, seed: int) -> None:
        """Flatten the phases of the network."""
        super().reset(network, seed)
        self.table = PhaseTable(network)
        self.blind_decisions = 0
        self._walks = self.table.walks(network)

    @abstractmethod
    def scores(self, observation: Observation) -> NDArray[np.float64]:
        """One score per phase of ``self.table``, of vehicles alone."""

    def all_scores(self, observation: Observation) -> NDArray[np.float64]:
        """One score per phase of ``self.table``: vehicles, and the people who wait to walk in it."""
        scores = self.scores(observation)
        if not self.network.crossings:
            return scores
        return scores + self.person_weight * self._walks(np.nan_to_num(observation.waiting_persons))

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Return the best phase of each due signal."""
        scores = self.all_scores(observation)
        seeing = np.bincount(self.network.lane_signal, weights=observation.lane_ok, minlength=len(observation.due)) > 0
        decisions: dict[str, Decision | int] = {}
        for signal in self.table.signals:
            if not observation.due[signal.index]:
                continue
            if seeing[signal.index]:
                current = int(observation.phase[signal.index])
                decisions[signal.id] = best_phase(scores[self.table.of(signal)], current, self.margin(signal))
            else:
                self.blind_decisions += 1
                decisions[signal.id] = next_in_turn(signal, observation)
        return decisions

    def margin(self, signal: Signal) -> float:  # noqa: ARG002 - the same everywhere unless a controller knows better
        """How much another phase must lead before this signal leaves its current one."""
        return self.switch_margin

    def counters(self) -> Mapping[str, float]:
        """How often a signal had to be timed without any detector."""
        return {"blind_decisions": self.blind_decisions}


def best_phase(scores: NDArray[np.float64], current: int, margin: float = 0.0) -> int:
    """The highest score; the current phase unless that one is beaten by more than ``margin``, the first on a tie."""
    best = int(np.argmax(scores >= scores.max() - TIE))
    return current if current >= 0 and scores[best] <= scores[current] + margin + TIE else best


def next_in_turn(signal: Signal, observation: Observation) -> int:
    """The current phase until its native green time has passed, then the one after it."""
    current = int(observation.phase[signal.index])
    if current < 0:
        return 0
    native_s = next((s.duration_s for s in signal.program if s.state == signal.phases[current].state), 0.0)
    native_s = native_s or signal.phases[current].native_s
    over = observation.phase_age_s[signal.index] >= native_s
    return (current + 1) % len(signal.phases) if over else current
