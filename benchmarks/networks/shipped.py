"""SUMO's and sumo-rl's networks (not RESCO's), ten minutes each, with all classical controllers."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from sysconfig import get_path

from benchmarks.cli.validate import examine
from benchmarks.results import run_result as results
from benchmarks.run import matrix
from benchmarks.run.cell import Cell
from benchmarks.run.progress import SweepProgress
from controllers import registry as controllers
from scenarios.common.input_files import read_input
from scenarios.common.sumo_tools import run_tool, sumo_home
from scenarios.registry import count_signals, from_files
from scenarios.spec import Scenario, ScenarioError
from sim.network import Network, NetworkError

PATH = re.compile(r"(?<!\w)/\S*/")
HEADS = "network signals traffic controller status reason delay_s_per_veh audit_violations completion"
#: Which files beside a network are its traffic, by folder; "none" where SUMO cannot run them alone.
ROUTES = {"2way-single-intersection": "*-vhvh.rou.xml", "4x4-Lucas": "4x4c1c2c1c2.rou.xml", "Nguyen": "*esteod.rou.xml"}
ROUTES |= {"fokr_bs_demo": "*.trips.xml*", "DRT": "none", "hiking": "none", "A10KW": "osm.*.rou.xml"}


def shipped() -> Iterator[tuple[str, Path]]:
    """Every different network with 1 to 60 signals, by a short name; the smallest first."""
    nets = *sumo_home().rglob("*.net.xml*"), *Path(get_path("purelib"), "sumo_rl").rglob("*.net.xml*")
    texts = ((re.sub(rb"<!--.*?-->", b"", read_input(net, "network"), flags=re.DOTALL), net) for net in sorted(nets))
    few = (net for net in dict(texts).values() if "RESCO" not in net.parts and 0 < count_signals(net) <= 60)
    for net in sorted(few, key=lambda net: (count_signals(net), net)):
        yield f"{net.parent.name}/{net.name.partition('.')[0]}", net


def scenario_of(name: str, net: Path, folder: Path) -> Scenario:
    """Ten minutes of its traffic under the signal plan that lies beside it."""
    routes = sorted(net.parent.glob(ROUTES.get(net.parent.name, "*.rou.xml")))
    drawn = folder.absolute() / f"{name.replace('/', '-')}.rou.xml"
    own = f"{net.name.partition('.')[0]}_tls.add.xml"
    plans = own if net.with_name(own).exists() else "tls.add.xml", "signalPlan.add.xml", "vtypes_default.add.xml"
    added = [file for file in map(net.with_name, (*plans, "stops.add.xml")) if file.exists()]
    if not routes and not drawn.exists():
        arguments: list[object] = ["-n", net, "-o", drawn, "-e", 600, "-p", 2, "--seed", 1, "--validate"]
        arguments += ["--fringe-factor", 5, "-r", folder / "routes.rou.xml"]
        run_tool("randomTrips.py", arguments, "Drawing random trips")
    scenario = from_files(net, routes or [drawn], name=name.replace("/", "-"), additional=added)
    return scenario.with_(end_s=scenario.begin_s + 600)


def rows(name: str, net: Path, folder: Path) -> Iterator[tuple[object, ...]]:
    """One row a controller, or one for the network where it is refused."""
    signals = count_signals(net)
    try:
        scenario = scenario_of(name, net, folder)
        if problems := examine(network := Network.of(scenario), scenario).problems:
            raise NetworkError(" ".join([*problems, *(s.problem for s in network.signals if s.problem)]))
    except (ScenarioError, NetworkError) as error:
        yield name, signals, "", "all", "refused", PATH.sub("", str(error)), "", "", ""
        return
    about = name, signals, "random" if folder.absolute() in scenario.route_files[0].parents else "shipped"
    named = [n for n, e in controllers.entries().items() if ".classical." in e.target and not e.looks_ahead]
    cells = [Cell(scenario, controller, seed=1) for controller in named]
    sweep = matrix.run(cells, folder, workers=1, progress=SweepProgress(), timeout_s=300.0)
    for m, of in ((run.metrics, run.controller.name) for run in map(results.read, sweep.paths)):
        audit = sum(int(count) for key, count in m.items() if key.startswith("audit_"))
        yield *about, of, "ran", "", f"{m['delay_s']:.1f}", audit, f"{m['completion']:.2f}"
    for cell, problem in sweep.failed:
        status = "refused" if problem.startswith(f"{cell.controller}: ") else "failed"
        yield *about, cell.controller, status, PATH.sub("", problem), "", "", ""


if __name__ == "__main__":
    (out := Path("results/shipped")).mkdir(parents=True, exist_ok=True)
    lines = [row for place in shipped() for row in rows(*place, out)]
    with (out / "shipped_networks.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADS.split(), *lines])
