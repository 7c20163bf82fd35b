"""A scenario of any CityFlow set: ``roadnet.json`` and ``flow.json`` become a network, its signals and its traffic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scenarios.cityflow import demand, network, reader, signals
from scenarios.cityflow.demand import Traffic
from scenarios.cityflow.reader import RoadNet
from scenarios.cityflow.signals import Plan
from scenarios.spec import Scenario, ScenarioError

LICENCE = "that of the CityFlow data set it was made of"


@dataclass(frozen=True)
class Wish:
    """How to make a scenario of a CityFlow set.

    Attributes:
        name: of the scenario and its files.
        phases: places of the light phases to choose from, the same at every signal; all but clearance when None.
        minutes: the longest measured time.
    """

    name: str
    phases: tuple[int, ...] | None = None
    minutes: float = 60.0


@dataclass(frozen=True)
class Imported:
    """A scenario that was made, its file, and what was noticed on the way, in sentences."""

    scenario: Scenario
    yaml_file: Path
    sentences: tuple[str, ...]


def name_of(flow_file: Path) -> str:
    """A scenario's name after its traffic: ``anon_4_4_hangzhou_real.json.gz`` gives ``anon_4_4_hangzhou_real``."""
    return flow_file.name.removesuffix(".gz").removesuffix(".json") or "cityflow"


def import_set(roadnet_file: Path, flow_file: Path, folder: Path, wish: Wish) -> Imported:
    """Make a scenario; write its YAML, network and routes into ``folder``.

    Args:
        roadnet_file: CityFlow's road network, ``.json`` or ``.json.gz``.
        flow_file: CityFlow's traffic, likewise.
        folder: is made if it is not there.
        wish: how.

    Raises:
        ScenarioError: a file or the wish cannot be used; one sentence names the file and the key.
    """
    if not 1 <= wish.minutes <= 24 * 60:
        raise ScenarioError(f"--minutes is {wish.minutes:g}; give 1 to 1440.")
    net, flows = reader.read_roadnet(roadnet_file), reader.read_flows(flow_file)
    plans = network.plan_all(net, wish.phases)
    if not plans:
        raise ScenarioError(
            f"Road network file {roadnet_file} has no intersection with roadLinks and a trafficLight of two or more "
            "phases, so there is nothing to control."
        )
    folder.mkdir(parents=True, exist_ok=True)
    net_file, routes = folder / f"{wish.name}.net.xml", folder / f"{wish.name}.rou.xml"
    traffic = demand.write(net, flow_file, flows, 60.0 * wish.minutes, routes)
    network.build(net, plans, net_file)
    scenario = Scenario(
        name=wish.name,
        net_file=net_file.resolve(),
        route_files=(routes.resolve(),),
        end_s=traffic.end_s,
        tags=("cityflow",),
        licence=LICENCE,
        description=f"CityFlow's {roadnet_file.name} and {flow_file.name}",
    )
    yaml_file = folder / f"{wish.name}.yaml"
    scenario.to_yaml(yaml_file)
    return Imported(scenario, yaml_file, _sentences(net, plans, traffic))


def _sentences(net: RoadNet, plans: dict[str, Plan], traffic: Traffic) -> tuple[str, ...]:
    counts = ", ".join(f"{count} with {phases}" for phases, count in sorted(network.phase_counts(plans).items()))
    yellows_s = sorted({row.duration_s for plan in plans.values() for row in plan.rows if "y" in row.state})
    yellow = " or ".join(f"{round(yellow_s)} s" for yellow_s in yellows_s) or "none"
    told = [f"Signals by number of phases: {counts}; yellow {yellow}; right turns are free at any time."]
    if dark := sum(signals.has_signal(one) for one in net.intersections.values()) - len(plans):
        told.append(f"{dark} intersections have one phase only, so they have no signal.")
    if assumed := sum(not plan.has_clearance for plan in plans.values()):
        told.append(f"{assumed} signals have no clearance phase; {signals.YELLOW_S:g} s of yellow were assumed.")
    if closed := _links_without_green(net, plans):
        told.append(
            f"{len(closed)} road links never get green, the first at {closed[0]}; vehicles that need them stand."
        )
    if traffic.completed:
        told.append(f"{traffic.completed} routes name only some of their roads; the shortest way was filled in.")
    if traffic.late:
        told.append(f"{traffic.late} vehicles depart after {traffic.end_s:g} s and were left out; see --minutes.")
    return tuple(told)


def _links_without_green(net: RoadNet, plans: dict[str, Plan]) -> list[str]:
    return [
        f"intersection '{name}', roadLinks {number}"
        for name, plan in plans.items()
        for number in range(len(net.intersections[name].links))
        if not any(row.state[number] in "Gg" for row in plan.rows)
    ]
