"""Who drives while records are collected, and the policy that goes on after the phase that a branch tries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers import registry
from controllers.base import Controller, RunContext
from controllers.greedy import Greedy
from controllers.phase_choice import TIE
from llm.prompt import intergreen_s
from sim.network import Network
from sim.observation import Observation
from sim.signals import Decision
from sim.timings import NATIVE

#: What the vehicles of a flowing phase count more than those of another one, for each second that a change costs.
HOLD_PER_S = 0.12


class HoldingGreedy(Greedy):
    """Greedy that finishes what it serves: another phase must have more vehicles by a factor while the queue flows.

    The factor is ``1 + HOLD_PER_S * intergreen``, and 1 once nobody is left within 50 m of the stop line. Plain greedy
    changes so often that with 5 s of intergreen half the time is yellow; a fixed margin in vehicles starves the side
    roads of quiet junctions; a factor does neither.
    """

    def __init__(self) -> None:
        super().__init__(switch_margin_veh=0.0)

    def reset(self, network: Network, seed: int) -> None:
        """Note what a change costs at each signal."""
        super().reset(network, seed)
        timings = self.context.timings if self.context else NATIVE
        self._factor = {s.index: 1 + HOLD_PER_S * intergreen_s(s, timings) for s in network.controllable}

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Return the best phase of each due signal, or the current one while its queue flows."""
        decisions = dict(super().act(observation))
        scores = self.scores(observation)
        near = self._per_phase(np.nan_to_num(observation.zone_veh[:, 0]))
        for signal in self.table.signals:
            current = int(observation.phase[signal.index])
            if signal.id in decisions and current >= 0 and near[self.table.of(signal)][current] > 0:
                mine: NDArray[np.float64] = scores[self.table.of(signal)]
                if mine.max() <= mine[current] * self._factor[signal.index] + TIE:
                    decisions[signal.id] = current
        return decisions


class Behaviour(Controller):
    """A classical controller that sometimes does something else, so that records show more than its own road.

    Args:
        spec: the controller, or ``holding`` for ``HoldingGreedy``.
        random_share: share of the decisions that are drawn at random.
    """

    def __init__(self, spec: str, random_share: float) -> None:
        self.spec, self.random_share = spec, random_share
        self.inner: Controller = HoldingGreedy() if spec == "holding" else registry.make(spec)

    def reset(self, network: Network, seed: int) -> None:
        """Start the draws again."""
        super().reset(network, seed)
        self.inner.context = self.context
        self.inner.reset(network, seed)
        self._rng = np.random.default_rng(seed)

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Return the controller's decisions, some replaced."""
        decisions = dict(self.inner.act(observation))
        for signal in self.network.controllable:
            if observation.due[signal.index] and self._rng.random() < self.random_share:
                decisions[signal.id] = int(self._rng.integers(len(signal.phases)))
        return decisions


def prepared(controller: Any, network: Network, seed: int, context: RunContext) -> Any:
    """The controller, reset for a run."""
    controller.context = context
    controller.reset(network, seed)
    return controller
