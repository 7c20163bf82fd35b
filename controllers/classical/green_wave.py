"""Green waves: offsets by SUMO's tlsCoordinator.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from controllers.base import ControllerError
from controllers.classical.fixed_time import ProgramController
from controllers.classical.planning import Planner, read_programs
from controllers.classical.timed_programs import retimed
from controllers.parameters import check_number
from scenarios.common.sumo_tools import run_tool
from sim.network import Network
from sim.signals import Decision, Program


class GreenWave(ProgramController):
    """Fixed time with offsets so that vehicles meet green after green, busiest pairs of signals first.

    Greens and cycles stay the network's own (rewritten where the timings ask for it); only offsets change. A wave
    holds between signals of equal cycle; others drift apart.

    Args:
        speed_factor: driving speed as a share of the speed limit.
    """

    def __init__(self, speed_factor: float = 0.8) -> None:
        self.speed_factor = check_number("green_wave", "speed_factor", speed_factor, above=True)

    def reset(self, network: Network, seed: int) -> None:
        """Plan all offsets.

        Raises:
            ControllerError: SUMO's tool failed, or no two signals follow one another on a route.
        """
        super().reset(network, seed)
        planner = Planner("green_wave", self.context, network)
        programs = {signal.id: retimed(signal, planner.context.timings) for signal in network.controllable}
        offsets_s = planner.plan(
            (self.speed_factor,), lambda routed, folder: self._coordinate(planner, routed, folder, programs)
        )
        if not offsets_s:
            raise ControllerError(
                f"green_wave: SUMO's tool wrote no offsets for {network.net_file}; it needs two signals in a row on "
                f"some vehicle's route, and the network has {len(programs)} that can be timed."
            )
        self.plan_native(planner.context.timings, planned=offsets_s)
        for name, program in programs.items():
            if name in offsets_s:
                self.planned[name] = Decision(program=replace(program, offset_s=offsets_s[name][0]))

    def _coordinate(
        self, planner: Planner, routed: Path, folder: Path, programs: dict[str, Program]
    ) -> dict[str, list[float]]:
        own, output = folder / "programs.add.xml", folder / "offsets.add.xml"
        _write_programs(own, {signal.id: signal.program_id for signal in self.network.controllable}, programs)
        arguments = ["-n", planner.plain_net(folder), "-r", routed, "-a", own, "-o", output]
        run_tool("tlsCoordinator.py", [*arguments, "--speed-factor", self.speed_factor], "Coordinating the signals")
        # whole seconds: SUMO's clock here has no finer step
        return {name: [float(round(float(e.get("offset", "0"))))] for name, e in read_programs(output).items()}


def _write_programs(file: Path, ids: dict[str, str], programs: dict[str, Program]) -> None:
    """Write the programs that will run, so that offsets are computed from these and not from the native ones."""
    root = ElementTree.Element("additional")
    for name, program in programs.items():
        logic = ElementTree.SubElement(root, "tlLogic", id=name, programID=ids[name], type="static", offset="0")
        for row in program.rows:
            ElementTree.SubElement(logic, "phase", duration=f"{row.duration_s:g}", state=row.state)
    ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
