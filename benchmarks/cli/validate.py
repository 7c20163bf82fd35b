"""What ``greenloop validate`` finds in a network or a scenario, and what is wrong with it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from benchmarks.cli.tables import listing, stdout
from benchmarks.networks.signal_facts import SignalFacts, clearance_words, protected_foes, signal_facts
from benchmarks.networks.signal_facts import notes as signal_notes
from benchmarks.run.drawn_run import check_scenario
from scenarios import registry
from scenarios.demand.sumo_routes import Sources, check_load
from scenarios.spec import Scenario, ScenarioError
from sim.network import Network

__all__ = ["Findings", "SignalFacts", "examine", "execute", "protected_foes"]

#: More signals than this are not listed one by one on a terminal.
MAX_LISTED = 60
#: Of so many signals the clearance of every change is shown.
MAX_CHANGES_LISTED = 12
MAX_ID = 28


@dataclass(frozen=True)
class Findings:
    """What was found, and what is wrong: ``problems`` make it unusable, ``notes`` are worth knowing."""

    net_file: str
    signals: tuple[SignalFacts, ...]
    incoming_lanes: int
    roads: int
    vehicles: int | None
    horizon_s: float | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def examine(network: Network, scenario: Scenario | None) -> Findings:
    """Look at a network and, where there is one, at the traffic on it.

    Raises:
        NetworkError, ScenarioError: a run would stop at it: SUMO refuses the network, the traffic cannot be read, or an
            incident does not fit the network.
    """
    signals = tuple(signal_facts(network, signal) for signal in network.signals)
    problems = [] if network.controllable else ["No signal can be controlled."]
    notes = signal_notes(network, signals)
    vehicles = None
    if scenario is not None:
        checked = check_scenario(scenario, seed=1)
        vehicles = len(checked.demand.ids)
        notes += checked.notes
    else:
        check_load(Sources(network.net_file, (), (), network.net_file.name), begin_s=0.0)
    return Findings(
        net_file=str(network.net_file),
        signals=signals,
        incoming_lanes=len(network.lanes),
        roads=len(network.roads),
        vehicles=vehicles,
        horizon_s=scenario.horizon_s if scenario else None,
        problems=tuple(problems),
        notes=tuple(notes),
    )


# --- the command ---------------------------------------------------------------------------------------------------


def execute(target: str | None, net: Path | None, routes: tuple[Path, ...], as_json: bool) -> int:
    """Print the findings; return the exit code: 1 if the network or scenario cannot be used.

    Raises:
        NetworkError, ScenarioError: it cannot even be read.
    """
    net_file, scenario = _target(target, net, routes)
    network = Network.read(net_file) if scenario is None else Network.of(scenario)
    findings = examine(network, scenario)
    if as_json:
        typer.echo(json.dumps(asdict(findings), indent=1))
    else:
        _show(findings)
    return 1 if findings.problems else 0


def _target(target: str | None, net: Path | None, routes: tuple[Path, ...]) -> tuple[Path, Scenario | None]:
    if target is not None and target.endswith((".xml", ".xml.gz")):
        net, target = Path(target), None
    if target is not None:
        scenario = registry.load(target)
        return scenario.net_file, scenario
    if net is None:
        raise ScenarioError("Say what to validate: a .net.xml file, a scenario's name, or --net with --routes.")
    return net, registry.from_files(net, routes) if routes else None


def _show(findings: Findings) -> None:
    console = stdout()
    console.print(_headline(findings), markup=False, highlight=False, soft_wrap=True)
    heads = (
        *("signal", "program", "phases", "movements", "crossings", "lanes", "foe pairs", "protected", "yellow s"),
        *("change s", "cycle s", "neighbours"),
    )
    rows = [
        (
            _short(signal.id),
            _short(f"{signal.program} {signal.type}"),
            *map(str, (signal.phases, signal.movements, signal.crossings, signal.lanes, signal.foe_pairs)),
            str(len(signal.protected_foes)),
            f"{signal.yellow_s:g}",
            f"{signal.yellow_s + signal.red_s:g}",
            f"{signal.cycle_s:g}",
            ", ".join(map(_short, signal.neighbours)),
        )
        for signal in findings.signals[:MAX_LISTED]
    ]
    console.print(listing(heads, rows, numbers=heads[2:-1]))
    if len(findings.signals) > MAX_LISTED:
        console.print(f"... and {len(findings.signals) - MAX_LISTED} more; --json lists all.")
    for signal in findings.signals[:MAX_CHANGES_LISTED]:
        if signal.clearance:
            words = f"Changes of {_short(signal.id)} (phases, yellow+red): {clearance_words(signal)}"
            console.print(words, markup=False, highlight=False, soft_wrap=True)
    for note in findings.notes[:MAX_LISTED]:
        console.print(f"Note: {note}", markup=False, highlight=False, soft_wrap=True)
    for problem in findings.problems:
        console.print(f"Problem: {problem}", markup=False, highlight=False, soft_wrap=True)
    console.print("Not usable." if findings.problems else "Usable.")


def _short(signal_id: str) -> str:
    """Ids of joined junctions can be hundreds of letters long."""
    return signal_id if len(signal_id) <= MAX_ID else f"{signal_id[: MAX_ID - 3]}..."


def _headline(findings: Findings) -> str:
    usable = sum(signal.problem is None for signal in findings.signals)
    parts = [
        f"{findings.net_file}: {len(findings.signals)} signals ({usable} controllable)",
        f"{sum(signal.phases for signal in findings.signals)} green phases",
        f"{sum(signal.movements for signal in findings.signals)} movements",
        f"{findings.incoming_lanes} incoming lanes",
        f"{findings.roads} roads",
    ]
    if findings.vehicles is not None and findings.horizon_s:
        parts.append(f"{findings.vehicles} vehicles in {findings.horizon_s / 60:g} min")
    return ", ".join(parts)
