"""Random phases: the floor that every controller must clear."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from controllers.base import Controller
from sim.network import Network
from sim.observation import Observation
from sim.signals import Decision


class RandomPhase(Controller):
    """Draws a phase at random whenever a signal is due; the run's seed fixes the draws."""

    def reset(self, network: Network, seed: int) -> None:
        """Start the draws again."""
        super().reset(network, seed)
        self._rng = np.random.default_rng(seed)

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Return one draw per due signal."""
        return {
            signal.id: int(self._rng.integers(len(signal.phases)))
            for signal in self.network.controllable
            if observation.due[signal.index]
        }
