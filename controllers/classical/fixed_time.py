"""Fixed time, the network's own control: whatever its signal programs do, adaptive ones included."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping

from controllers.base import Controller, ControllerError
from controllers.classical.timed_programs import network_control, runs_as_it_is
from sim.native.timetables import SignalProgram
from sim.network import Network, Signal
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
        self.timetable: list[tuple[float, str, Decision]] = []

    def plan_native(self, timings: Timings, planned: Collection[str] = ()) -> None:
        """Plan the network's own programs, as WAUTs switch them, for signals that are not ``planned`` otherwise.

        They are rewritten where the timings ask for it, or where they have no yellow at all; others need no plan.

        Raises:
            ControllerError: a program cannot be rewritten.
        """
        for signal in self.network.controllable:
            if signal.id not in planned and not runs_as_it_is(signal, timings):
                for time_s, program in _switched(signal):
                    if program.type == "NEMA":
                        raise ControllerError(
                            f"Signal '{signal.id}' runs a NEMA program, whose clearance times cannot be changed while "
                            f"SUMO runs it; use --timings native, or a controller that replaces it."
                        )
                    decision = Decision(program=network_control(signal, timings, program))
                    self.timetable.append((time_s, signal.id, decision))

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Return the planned programs once, and later those that a WAUT switches to."""
        planned, self.planned = self.planned, {}
        due = [entry for entry in self.timetable if entry[0] <= observation.time_s]
        if due:
            self.timetable = [entry for entry in self.timetable if entry[0] > observation.time_s]
            planned |= {name: decision for _, name, decision in sorted(due, key=lambda entry: entry[0])}
        return planned


def _switched(signal: Signal) -> list[tuple[float, SignalProgram]]:
    """A signal's programs with the time from which each runs."""
    named = {program.id: program for program in signal.programs}
    later = [(switch.time_s, named[switch.program]) for switch in signal.switches]
    return [(-math.inf, signal.programs[0]), *later]


class FixedTime(ProgramController):
    """Leaves every signal to the network's own control: static programs, or those adaptive ones that it has.

    Under timings other than native the programs are rewritten, so that fixed time pays the same yellow and all-red as
    every other controller: cycle and offset stay, the greens give or get the difference, adaptive programs keep their
    type. So are native programs without any yellow: every other controller shows one there.
    """

    def reset(self, network: Network, seed: int) -> None:
        """Rewrite the programs where the timings ask for it."""
        super().reset(network, seed)
        self.plan_native(self.context.timings if self.context else NATIVE)

    def provenance(self) -> Mapping[str, str | int | None]:
        """The types of the network's own control, where it is more than one static program per signal."""
        kinds: Counter[str] = Counter()
        for signal in self.network.signals:
            if signal.programs[0].steps:
                types = " then ".join(dict.fromkeys(program.type for program in signal.programs))
                kinds[f"{types}, switched by a WAUT" if signal.switches else types] += 1
        if set(kinds) <= {"static"}:
            return {}
        return {"network_control": "; ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))}
