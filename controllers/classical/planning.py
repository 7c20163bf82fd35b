"""What the plans made by SUMO's own tools share: demand with routes, and a cache by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from controllers.base import ControllerError, RunContext
from scenarios.common.input_files import open_input
from scenarios.common.net_values import WHAT
from scenarios.common.sumo_tools import cache_root, cached, run_tool
from scenarios.demand.scheduled_trips import schedule
from scenarios.spec import ScenarioError
from sim.network import Network

#: The demand is drawn with this seed, whatever the run's: the engineer counted on another day.
PLANNING_SEED = 0
#: Numbers per signal id.
Plan = dict[str, list[float]]
_PLAN_VERSION = 1  # raise when the same input would give another plan


class Planner:
    """Runs a tool on the scenario's incident-free demand; equal input is planned once and kept in the user's cache."""

    def __init__(self, name: str, context: RunContext | None, network: Network) -> None:
        if context is None:
            raise ControllerError(f"{name} plans from the scenario's demand; run it through greenloop run or make_env.")
        self.name, self.context, self.network = name, context, network
        try:
            planned = schedule(context.scenario, PLANNING_SEED)
        except ScenarioError as error:
            raise ControllerError(f"{name} cannot plan: {error}") from error
        self.route_files, self.additional_files = planned.route_files, planned.additional_files

    def plan(self, options: Sequence[object], make: Callable[[Path, Path], Plan]) -> Plan:
        """Return numbers per signal id: from the cache, or from ``make(routed file, empty folder)``.

        ``options`` is everything beyond network, demand and timings that changes the result.

        Raises:
            ControllerError: a tool failed, or the cache cannot be written.
        """
        folder = cache_root() / "plans" / f"{self.name}-{self._key(options)}"
        try:
            cached(folder, lambda draft: self._write(draft, make))
            found: Plan = json.loads((folder / "plan.json").read_text())
        except (ScenarioError, OSError, json.JSONDecodeError) as error:
            raise ControllerError(f"{self.name} cannot plan for {self.network.net_file}: {error}") from error
        return found

    def plain_net(self, folder: Path) -> Path:
        """The network itself, or a copy in ``folder`` in which each signal has just its first program, as a static one.

        SUMO's tools read static programs of the network file alone.
        """
        if not self._odd_programs():
            return self.network.net_file
        with open_input(self.network.net_file, WHAT) as stream:
            tree = ElementTree.parse(stream)
        root = tree.getroot()
        for logic in root.findall("tlLogic"):
            root.remove(logic)
        place = next((i for i, element in enumerate(root) if element.tag == "junction"), len(root))
        for signal in self.network.signals:
            logic = ElementTree.Element("tlLogic", id=signal.id, type="static", programID=signal.program_id)
            logic.set("offset", f"{signal.offset_s:g}")
            for step in signal.program:
                ElementTree.SubElement(logic, "phase", duration=f"{step.duration_s:g}", state=step.state)
            if signal.program:
                root.insert(place, logic)
        path = folder / "plain.net.xml"
        tree.write(path, encoding="utf-8", xml_declaration=True)
        return path

    def _odd_programs(self) -> list[tuple[str, str, str]]:
        """Signals that have more than one static program in the network file."""
        return [
            (signal.id, signal.type, signal.program_id)
            for signal in self.network.signals
            if signal.type != "static" or len(signal.programs) + len(signal.unused) > 1
        ]

    def _write(self, draft: Path, make: Callable[[Path, Path], Plan]) -> None:
        with TemporaryDirectory() as scratch:
            routed = Path(scratch) / "routed.rou.xml"
            self._route(routed)
            (draft / "plan.json").write_text(json.dumps(make(routed, Path(scratch))))

    def _route(self, output: Path) -> None:
        """Give every vehicle a route: the tools read no trips."""
        options: list[object] = ["--ignore-errors", "--skip-new-routes", "--unsorted-input", "--no-step-log"]
        options += ["--no-warnings", "--xml-validation", "never", "--alternatives-output", "NUL"]
        if self.additional_files:
            options += ["--additional-files", self.additional_files]
        scenario = self.context.scenario
        arguments = ["-n", scenario.net_file, "-r", self.route_files, "-o", output, *options]
        run_tool("duarouter", arguments, f"routing {scenario.name}")

    def _key(self, options: Sequence[object]) -> str:
        scenario = self.context.scenario
        digest = hashlib.sha256()
        for file in (scenario.net_file, *self.route_files, *self.additional_files):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        times = (scenario.begin_s, scenario.warmup_s, scenario.end_s)
        timings = sorted(self.context.timings.as_dict().items())
        facts: tuple[object, ...] = (_PLAN_VERSION, version("eclipse-sumo"), times, timings, *options)
        if odd := self._odd_programs():
            facts = (*facts, "programs", *odd)
        digest.update(repr(facts).encode())
        return digest.hexdigest()[:32]


def read_programs(file: Path) -> dict[str, ElementTree.Element]:
    """The ``tlLogic`` elements that a tool wrote, by signal id."""
    return {element.get("id", ""): element for element in ElementTree.parse(file).getroot().iter("tlLogic")}
