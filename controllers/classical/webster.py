"""Webster's fixed-time plan, by SUMO's tlsCycleAdaptation.py."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

from controllers.base import ControllerError
from controllers.classical.fixed_time import ProgramController
from controllers.classical.planning import Planner, read_programs
from controllers.classical.timed_programs import green_rows, intergreen_s, with_greens
from controllers.parameters import check_number
from scenarios.common.clock import format_seconds
from scenarios.common.input_files import top_elements
from scenarios.common.net_values import WHAT
from scenarios.common.sumo_tools import run_tool
from sim.network import Network, Signal
from sim.signals import Decision


class Webster(ProgramController):
    """Fixed time with cycle and greens by Webster's formula, from the scenario's incident-free demand of one hour.

    Source: F. V. Webster, "Traffic signal settings", Road Research Technical Paper 39 (1958), as SUMO's
    tlsCycleAdaptation.py has it. The lost time per phase is its yellow plus all-red (Highway Capacity Manual: 2 s to
    start up plus the clearance, less 2 s of it that are driven). Signals without traffic, and those whose links the
    tool cannot tell apart (several connections on one link, or none), keep their own program and are counted.

    Args:
        max_cycle_s: longest cycle, also taken where demand exceeds capacity.
        min_cycle_s: shortest cycle; the formula knows no lanes shared by several movements and cuts it too short.
        saturation_headway_s: seconds between vehicles of a discharging queue, per lane.
        keep_below_s: phases with a shorter native green keep it, and the rest is planned without them. These are
            mostly protected left turns after a permissive phase (6 s by netconvert), for which the tool would count
            all left turns.
    """

    def __init__(
        self,
        max_cycle_s: float = 120,
        min_cycle_s: float = 60,
        saturation_headway_s: float = 2.0,
        keep_below_s: float = 7,
    ) -> None:
        self.min_cycle_s = check_number("webster", "min_cycle_s", min_cycle_s, above=True)
        self.max_cycle_s = check_number("webster", "max_cycle_s", max_cycle_s, minimum=min_cycle_s)
        self.saturation_headway_s = check_number("webster", "saturation_headway_s", saturation_headway_s, above=True)
        self.keep_below_s = check_number("webster", "keep_below_s", keep_below_s)

    def reset(self, network: Network, seed: int) -> None:
        """Plan all signals.

        Raises:
            ControllerError: SUMO's tool failed or wrote no program at all.
        """
        super().reset(network, seed)
        planner = Planner("webster", self.context, network)
        options = (self.max_cycle_s, self.min_cycle_s, self.saturation_headway_s, self.keep_below_s)
        self._timings = planner.context.timings
        greens_s = planner.plan(options, lambda routed, folder: self._optimise(planner, routed, folder))
        signals = {signal.id: signal for signal in network.controllable}
        if not greens_s:
            names = ", ".join(f"'{name}'" for name in list(signals)[:3]) or "none that can be controlled"
            matched = _one_connection_per_link(network.net_file)
            if signals and not any(matched.get(name) == signal.links for name, signal in signals.items()):
                raise ControllerError(
                    f"webster: SUMO's tool cannot time any signal of {network.net_file} (signals {names}): it needs "
                    "exactly one connection for each link of a signal; use another controller there."
                )
            raise ControllerError(
                f"webster: SUMO's tool wrote no program for {network.net_file} (signals {names}); "
                "check that routes pass the signals within the hour."
            )
        self.kept_native = len(signals) - len(greens_s)
        self.plan_native(self._timings, planned=greens_s)
        for name, green_s in greens_s.items():
            self.planned[name] = Decision(program=with_greens(signals[name], green_s, self._timings))

    def counters(self) -> dict[str, float]:
        """How many signals keep their own program."""
        return {"signals_kept_native": self.kept_native}

    def _optimise(self, planner: Planner, routed: Path, folder: Path) -> dict[str, list[float]]:
        """Run the tool once per set of clearance times, of which it takes only one at a time."""
        groups: dict[tuple[int, int], list[Signal]] = defaultdict(list)
        self._net_file = planner.plain_net(folder)
        matched = _one_connection_per_link(self.network.net_file)
        for signal in self.network.controllable:
            if matched.get(signal.id) == signal.links:
                yellow_s, all_red_s = map(math.ceil, intergreen_s(signal, self._timings))
                groups[yellow_s, all_red_s * len(green_rows(signal))].append(signal)
        found: dict[str, list[float]] = {}
        for (yellow_s, all_red_s), signals in sorted(groups.items()):
            programs = self._run(planner, routed, folder / "webster.add.xml", yellow_s, all_red_s, signals)
            for signal in signals:
                if signal.id in programs:
                    rows = programs[signal.id].findall("phase")
                    found[signal.id] = [float(rows[row].get("duration", "0")) for row in green_rows(signal)]
        return found

    def _run(
        self, planner: Planner, routed: Path, output: Path, yellow_s: int, all_red_s: int, signals: list[Signal]
    ) -> dict[str, ElementTree.Element]:
        wanted = {signal.id for signal in signals}
        skipped = [signal.id for signal in self.network.signals if signal.id not in wanted]
        arguments: list[object] = ["-n", self._net_file, "-r", routed, "-o", output]
        arguments += ["-b", format_seconds(planner.context.scenario.begin_s + planner.context.scenario.warmup_s)]
        arguments += ["-y", yellow_s, "-l", yellow_s, "-a", all_red_s, "-g", self._timings.min_green_s]
        arguments += ["--min-cycle", round(self.min_cycle_s), "--max-cycle", round(self.max_cycle_s)]
        arguments += ["--green-filter-time", round(self.keep_below_s)]
        arguments += ["-H", self.saturation_headway_s, f"--skip={','.join(skipped)}"]
        run_tool("tlsCycleAdaptation.py", arguments, "Webster's method")
        return read_programs(output)


def _one_connection_per_link(net_file: Path) -> dict[str, int]:
    """Number of links of each signal whose links 0, 1, 2, ... belong to exactly one connection each."""
    links: dict[str, list[int]] = defaultdict(list)
    for element in top_elements(net_file, WHAT):
        if element.tag == "connection" and element.get("tl"):
            links[element.get("tl", "")].append(int(element.get("linkIndex", "-1")))
    return {name: len(found) for name, found in links.items() if sorted(found) == list(range(len(found)))}
