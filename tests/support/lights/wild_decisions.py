"""Wild decisions on one signal: phases, holds and whole programs mixed, possible and impossible ones.

``python -m tests.support.lights.wild_decisions 1000000`` runs so many on every odd network and prints what was found.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from sim.engine.lights import Lights
from sim.network import Network, Signal
from sim.safety.decisions import Decision, DecisionError, Program, ProgramRow, check_decisions
from sim.safety.intergreen import Intergreens
from sim.signals import Service
from sim.timings import NATIVE
from tests.support.lights import odd_networks as odd
from tests.support.lights.fake_sumo import FakeLights
from tests.support.lights.light_checker import LightChecker

ODD = {
    "two stages": ((odd.logic(odd.TWO_STAGES),), {}),
    "four stages": ((odd.logic(odd.FOUR_STAGES),), {}),
    "all-red": ((odd.logic(odd.ALL_RED),), {}),
    "staggered": ((odd.logic(odd.STAGGERED),), {}),
    "no yellow": ((odd.logic(odd.NO_YELLOW),), {}),
    "fractions": ((odd.logic(odd.FRACTIONS),), {}),
    "scramble": ((odd.logic(odd.SCRAMBLE),), {"walks": True}),
    "walk beside cars": ((odd.logic(odd.BESIDE),), {"walks": True}),
    "tram": ((odd.logic(odd.TRAM),), {"tram": True}),
}


#: Adaptive programs here make no green longer than its minimum and this.
LONGEST_EXTENSION_S = 20


@dataclass
class Wild:
    """What a run of wild decisions came to."""

    decisions: int = 0
    refused: int = 0
    seconds: int = 0
    longest_red_s: int = 0
    red_limit_s: int = 0
    repairs: Counter[str] = field(default_factory=Counter)
    audit: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)


def run_wild(net_file: Path, decisions: int, seed: int) -> Wild:
    """Make so many decisions and check every second of lights."""
    rng, network = random.Random(seed), Network.read(net_file)
    signal = network.signals[0]
    fake = FakeLights([(step.duration_s, step.state) for step in signal.program], rng)
    lights = Lights(fake.conn(), network, 0.0, NATIVE, lane_areas=False)
    lights.start()
    checker, wild = LightChecker(net_file, signal.id), Wild()
    served = sorted(frozenset().union(*(phase.links for phase in signal.phases)))
    called, red_s = [True] * signal.links, [0] * signal.links
    wild.red_limit_s = _red_limit_s(signal)
    while wild.decisions < decisions:
        if rng.random() < 0.3:
            called = [rng.random() < 0.7 for _ in range(signal.links)]
            lights.call({signal.id: called})
        try:
            lights.apply(check_decisions(network, {signal.id: _any_decision(rng, signal)}))
        except DecisionError:
            wild.refused += 1
        wild.decisions += 1
        for _ in range(rng.choice((1, 1, 2, 3, 5, 5, 5, 8, 13, 30, 200 if rng.random() < 0.1 else 5))):
            lights.before_step()
            free = not lights.is_steered(signal.id)
            fake.step()
            lights.after_step(fake.time_s)
            checker.see(fake.state, free)
            wild.seconds += 1
            if fake.time_s < 200:  # what the native program had kept red before is nobody's fault
                continue
            for link in served:
                waits = called[link] and fake.state[link] not in "Gg"
                red_s[link] = red_s[link] + 1 if waits else 0
            wild.longest_red_s = max(wild.longest_red_s, *red_s)
    counted = lights.counters()
    wild.repairs, wild.audit = Counter(counted["repairs"]), Counter(counted["audit"])
    wild.wrong, wild.first = checker.wrong, checker.first
    return wild


def _red_limit_s(signal: Signal) -> int:
    """The maximum red, or that of the longest adaptive program here, and what ending a program takes on top of that."""
    service = Service.of(signal, NATIVE)
    adaptive_s = 3 * (max(service.min_green_s) + LONGEST_EXTENSION_S) + 4 * service.intergreen_s
    return max(service.max_red_s, adaptive_s) + (len(signal.phases) + 3) * service.longest_s


def _any_decision(rng: random.Random, signal: Signal) -> Decision | int:
    kind = rng.random()
    if kind < 0.55:
        return rng.randint(0, len(signal.phases) - 1)
    if kind < 0.7:
        return Decision(phase=rng.randint(0, len(signal.phases) - 1), hold_s=rng.choice((0.5, 3, 30, 500)))
    if kind < 0.72:
        return Decision(phase=rng.choice((-1, 99)))
    if kind < 0.75:
        letters = "GgyruosO"
        states = ["".join(rng.choice(letters) for _ in range(signal.links)) for _ in range(rng.randint(1, 3))]
        return Decision(program=Program(tuple(ProgramRow(state, rng.choice((0, 1e-9, 5, 1e9))) for state in states)))
    return Decision(program=_program(rng, signal))


def _program(rng: random.Random, signal: Signal) -> Program:
    """Some phases in any order, with the clearance that the signal's own changes have."""
    order = [rng.choice(signal.phases).state for _ in range(rng.randint(1, 4))]
    order = [state for state, _ in groupby(order)]
    if len(order) > 1 and order[0] == order[-1]:
        order.pop()
    kind = rng.choice(("static", "static", "actuated"))
    rows = []
    for place, state in enumerate(order):
        least_s = max([5.0, *(phase.min_green_s for phase in signal.phases if phase.state == state)])
        green_s = least_s + rng.choice((0, 3, LONGEST_EXTENSION_S))
        if kind == "static" and rng.random() < 0.03:
            green_s = 1000.0
        rows.append(ProgramRow(state, green_s, least_s, green_s))
        after = order[(place + 1) % len(order)]
        change = Intergreens(signal.clearance, NATIVE).change(state, after).states
        rows += [ProgramRow(shown, float(len(list(same)))) for shown, same in groupby(change)]
    return Program(tuple(rows), type=kind, offset_s=float(rng.randint(0, 90)))


def main(decisions: int) -> None:
    """Run all odd networks and print a line for each."""
    total: Counter[str] = Counter()
    for place, (name, (logics, options)) in enumerate(ODD.items()):
        with TemporaryDirectory() as folder:
            wild = run_wild(odd.write_network(Path(folder), *logics, **options), decisions // len(ODD), seed=place)
        total.update(decisions=wild.decisions, refused=wild.refused, seconds=wild.seconds)
        total.update({f"wrong: {kind}": count for kind, count in wild.wrong.items()})
        print(
            f"{name}: {wild.decisions} decisions ({wild.refused} refused), {wild.seconds} s, longest red "
            f"{wild.longest_red_s} s of {wild.red_limit_s}, repairs {dict(wild.repairs)}, audit {dict(+wild.audit)}, "
            f"wrong {dict(wild.wrong)}",
            *(f"\n   {kind}: {where}" for kind, where in wild.first.items()),
            flush=True,
        )
    print(dict(total))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
