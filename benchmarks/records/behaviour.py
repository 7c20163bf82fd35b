"""Who drives while records are collected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from controllers import registry
from controllers.base import Controller, RunContext
from sim.network import Network
from sim.observation import Observation
from sim.signals import Decision


class Behaviour(Controller):
    """A controller that sometimes does something else, so that records show more than its own road.

    Args:
        spec: the controller.
        random_share: share of the decisions that are drawn at random.
    """

    def __init__(self, spec: str, random_share: float) -> None:
        self.spec, self.random_share = spec, random_share
        self.inner: Controller = registry.make(spec)

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
