"""The plain neural network as a controller: the language model's teacher and rival."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from controllers.base import Controller, ControllerError
from llm.tasks.decide.facts import PhaseFacts
from llm.tasks.decide.phase_net import FILE, SHIPPED, PhaseNet, PhaseNetError
from sim.network import Network
from sim.observation import Observation
from sim.signals import Decision
from sim.timings import NATIVE

#: The network that ships.
AUTO = "auto"


class PhaseNetController(Controller):
    """Shows the phase that a small network finds best from the facts of ``llm.tasks.decide.facts``, which are about
    those of the language model's prompt.

    Args:
        folder: where ``greenloop train`` wrote it; ``auto`` is the one that ships, the shipped adapter's teacher.
    """

    def __init__(self, folder: str = AUTO) -> None:
        self.folder = str(folder)
        self.path = SHIPPED if folder == AUTO else Path(self.folder).expanduser().absolute()

    def depends_on(self) -> Mapping[str, str | Path]:
        """The folder of the network that ships, where none is named: a parameter's is known.

        Raises:
            ControllerError: it holds no usable network.
        """
        self._load()
        return {"folder": self.path} if self.folder == AUTO else {}

    def reset(self, network: Network, seed: int) -> None:
        """Load the network.

        Raises:
            ControllerError: it cannot be loaded.
        """
        super().reset(network, seed)
        self._net = self._load()
        self._facts: PhaseFacts | None = None
        self._timings = NATIVE

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Return the best phase of each due signal."""
        timings = self.context.timings if self.context else NATIVE
        if self._facts is None or timings != self._timings:
            self._facts, self._timings = PhaseFacts(self.network, self.network.controllable, timings), timings
        facts = np.split(self._facts.of(observation), self._facts.starts[1:])
        due = [place for place, signal in enumerate(self._facts.signals) if observation.due[signal.index]]
        chosen = self._net.choose([facts[place] for place in due])
        return {self._facts.signals[place].id: phase for place, phase in zip(due, chosen, strict=True)}

    def _load(self) -> PhaseNet:
        try:
            return PhaseNet.load(self.path)
        except PhaseNetError as error:
            raise ControllerError(str(error)) from error

    def provenance(self) -> Mapping[str, str | int | None]:
        """Hash of the weights."""
        return {"phase_net_sha256": hashlib.sha256((self.path / FILE).read_bytes()).hexdigest()}
