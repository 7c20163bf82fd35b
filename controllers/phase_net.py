"""The plain neural network as a controller: the language model's rival on the same records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from controllers.base import Controller, ControllerError
from sim.network import Network
from sim.observation import Observation
from sim.signals import Decision
from sim.timings import NATIVE


class PhaseNetController(Controller):
    """Shows the phase that a small network finds best from the facts that the prompt says.

    Args:
        folder: where ``greenloop train`` wrote it.
    """

    def __init__(self, folder: str) -> None:
        self.folder = str(folder)

    def reset(self, network: Network, seed: int) -> None:
        """Load the network.

        Raises:
            ControllerError: it cannot be loaded.
        """
        from llm.backbone import BackboneError
        from llm.phase_net import PhaseNet

        super().reset(network, seed)
        try:
            self._net = PhaseNet.load(Path(self.folder).expanduser())
        except BackboneError as error:
            raise ControllerError(str(error)) from error

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Return the best phase of each due signal."""
        from llm.facts import phase_facts

        due = [signal for signal in self.network.controllable if observation.due[signal.index]]
        if not due:
            return {}
        timings = self.context.timings if self.context else NATIVE
        chosen = self._net.choose([phase_facts(self.network, signal, observation, timings) for signal in due])
        return {signal.id: phase for signal, phase in zip(due, chosen, strict=True)}
