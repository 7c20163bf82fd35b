"""Fixed time: what the network's own signal programs do."""

from __future__ import annotations

from collections.abc import Mapping

from controllers.base import Controller
from controllers.classical.timed_programs import is_native, retimed
from sim.network import Network
from sim.observation import Observation
from sim.signals import Decision
from sim.timings import NATIVE, Timings


class ProgramController(Controller):
    """Installs one whole program per signal at the first decision and then leaves the signals to SUMO.

    A subclass plans in ``reset`` and puts the result into ``self.planned``; signals without one keep their own program.
    """

    observes = False

    def reset(self, network: Network, seed: int) -> None:
        """Forget the earlier plan."""
        super().reset(network, seed)
        self.planned: dict[str, Decision] = {}

    def plan_native(self, timings: Timings) -> None:
        """Plan the network's own programs, rewritten where the timings ask for it; native ones need no plan."""
        if not is_native(timings):
            self.planned = {s.id: Decision(program=retimed(s, timings)) for s in self.network.controllable}

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:  # noqa: ARG002 - nothing is read
        """Return the planned programs once, then nothing."""
        planned, self.planned = self.planned, {}
        return planned


class FixedTime(ProgramController):
    """Leaves every signal on the network's own program.

    Under timings other than native the programs are rewritten, so that fixed time pays the same yellow and all-red as
    every other controller: cycle and offset stay, the greens give or get the difference.
    """

    def reset(self, network: Network, seed: int) -> None:
        """Rewrite the programs where the timings ask for it."""
        super().reset(network, seed)
        self.plan_native(self.context.timings if self.context else NATIVE)
