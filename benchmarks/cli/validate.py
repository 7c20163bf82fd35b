"""What ``greenloop validate`` finds in a network or a scenario, and what is wrong with it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import typer

from benchmarks.cli.tables import listing, stdout
from benchmarks.run.drawn_run import check_scenario
from scenarios import registry
from scenarios.demand.sumo_routes import Sources, check_load
from scenarios.spec import Scenario, ScenarioError
from sim.network import Network, Signal

#: More signals than this are not listed one by one on a terminal.
MAX_LISTED = 60
MAX_ID = 28


@dataclass(frozen=True)
class SignalFacts:
    """One signal as found in the network. ``protected_foes`` are pairs of links that a row shows green to at once,
    without giving way, although their paths cross."""

    id: str
    phases: int
    movements: int
    lanes: int
    foe_pairs: int
    protected_foes: tuple[tuple[int, int], ...]
    neighbours: tuple[str, ...]
    yellow_s: int
    cycle_s: float
    problem: str | None


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
    signals = tuple(_facts(network, signal) for signal in network.signals)
    problems = [] if network.controllable else ["No signal can be controlled."]
    notes = [signal.problem for signal in network.signals if signal.problem]
    notes += [_protected_note(facts) for facts in signals if facts.protected_foes]
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


def _facts(network: Network, signal: Signal) -> SignalFacts:
    return SignalFacts(
        id=signal.id,
        phases=len(signal.phases),
        movements=len(signal.movements),
        lanes=len(signal.lanes),
        foe_pairs=len(signal.foes),
        protected_foes=protected_foes(signal),
        neighbours=tuple(network.signals[other].id for other in signal.neighbours),
        yellow_s=signal.yellow_s,
        cycle_s=sum(row.duration_s for row in signal.program),
        problem=signal.problem,
    )


def protected_foes(signal: Signal) -> tuple[tuple[int, int], ...]:
    """Pairs of crossing links that one row of the native program shows ``G``, which gives way to nobody."""
    found = {
        pair
        for row in signal.program
        for pair in combinations([link for link, letter in enumerate(row.state) if letter == "G"], 2)
        if pair in signal.foes
    }
    return tuple(sorted(found))


def _protected_note(facts: SignalFacts) -> str:
    pairs = ", ".join(f"{a}-{b}" for a, b in facts.protected_foes[:4])
    more = f" and {len(facts.protected_foes) - 4} more" if len(facts.protected_foes) > 4 else ""
    return (
        f"Signal '{facts.id}' shows protected green to crossing links at once in its own program ({pairs}{more}); "
        "greenloop keeps these pairs as they are, but a planner should look at them."
    )


# --- the command ---------------------------------------------------------------------------------------------------


def execute(target: str | None, net: Path | None, routes: tuple[Path, ...], as_json: bool) -> int:
    """Print the findings; return the exit code: 1 if the network or scenario cannot be used.

    Raises:
        NetworkError, ScenarioError: it cannot even be read.
    """
    net_file, scenario = _target(target, net, routes)
    findings = examine(Network.read(net_file), scenario)
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
    heads = ("signal", "phases", "movements", "lanes", "foe pairs", "protected", "yellow s", "cycle s", "neighbours")
    rows = [
        (
            _short(signal.id),
            *map(str, (signal.phases, signal.movements, signal.lanes, signal.foe_pairs, len(signal.protected_foes))),
            str(signal.yellow_s),
            f"{signal.cycle_s:g}",
            ", ".join(map(_short, signal.neighbours)),
        )
        for signal in findings.signals[:MAX_LISTED]
    ]
    console.print(listing(heads, rows, numbers=heads[1:-1]))
    if len(findings.signals) > MAX_LISTED:
        console.print(f"... and {len(findings.signals) - MAX_LISTED} more; --json lists all.")
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
