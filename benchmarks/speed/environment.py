"""Steps a second of the Gymnasium environment, beside sumo-rl over libsumo: same network, phases, seconds and machine.

Both decide every five seconds, with random phases drawn from one seed; both get the network's own yellow and a minimum
green of five seconds. Ours pays the delay of the whole network and observes everything; sumo-rl has its own reward and
observation, once with the info that it adds by default and once without. Only steps count, not the start. Each way has
a process of its own; they take turns, and ratios are taken round by round.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from scenarios import registry
from scenarios.common.sumo_tools import sumo_home
from scenarios.spec import Scenario
from sim.env import make_env
from sim.network import Network
from sim.timings import NATIVE

NETWORKS = ("cologne8", "grid4x4", "ingolstadt21")
MINUTES = 20.0
OURS = "greenloop"
WAYS = (OURS, "sumo_rl", "sumo_rl_without_info")


def first_minutes(name: str, minutes: float = MINUTES) -> Scenario:
    """A scenario's first minutes, without a warm-up."""
    scenario = registry.load(name)
    return scenario.with_(warmup_s=0.0, end_s=min(scenario.end_s, scenario.begin_s + 60 * minutes))


def ours_per_s(scenario: Scenario) -> float:
    """Steps a second of our environment."""
    env = make_env(scenario)
    env.reset(seed=1)
    draws, phases = random.Random(1), [len(signal.phases) for signal in env.network.signals]
    chosen = [signal.index for signal in env.network.controllable]

    def step() -> bool:
        drawn = [int(draws.random() * count) for count in phases]
        action = [drawn[index] for index in chosen]
        return env.step(action if len(action) > 1 else action[0])[3]

    rate = _per_s(step)
    env.close()
    return rate


def theirs_per_s(scenario: Scenario, info: bool) -> float:
    """Steps a second of sumo-rl's environment over libsumo, which this process may not have loaded yet."""
    os.environ |= {"SUMO_HOME": str(sumo_home()), "LIBSUMO_AS_TRACI": "1"}
    import sumo_rl

    signals = Network.read(scenario.net_file).controllable
    env = sumo_rl.SumoEnvironment(
        str(scenario.net_file),
        ",".join(map(str, scenario.route_files)),
        begin_time=int(scenario.begin_s),
        num_seconds=int(scenario.end_s - scenario.begin_s),
        delta_time=NATIVE.decision_interval_s,
        yellow_time=round(statistics.median(signal.yellow_s for signal in signals)),
        min_green=NATIVE.min_green_s,
        add_system_info=info,
        add_per_agent_info=info,
        sumo_seed=1,
        sumo_warnings=False,
        additional_sumo_cmd="--no-step-log",
    )
    env.reset()
    draws, names = random.Random(1), sorted(env.ts_ids)

    def step() -> bool:
        actions = {name: int(draws.random() * env.traffic_signals[name].num_green_phases) for name in names}
        return bool(env.step(actions)[2]["__all__"])

    rate = _per_s(step)
    env.close()
    return rate


def _per_s(step: Callable[[], bool]) -> float:
    """How often a second ``step`` runs until it says that it was the last."""
    start, steps, done = time.perf_counter(), 0, False
    while not done:
        done = step()
        steps += 1
    return steps / (time.perf_counter() - start)


def steps(name: str, rounds: int, minutes: float = MINUTES) -> dict[str, Any]:
    """Steps a second of each way (medians over the rounds), and ours over theirs (medians of the rounds' ratios)."""
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS if number % 2 else reversed(WAYS):
            command = [sys.executable, "-m", "benchmarks.speed.environment", way, name, f"{minutes:g}"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rates[way].append(float(json.loads(done.stdout.splitlines()[-1])))
        print(f"{name}, steps of an environment: round {number + 1} of {rounds}", file=sys.stderr)
    ratios = {way: [a / b for a, b in zip(rates[OURS], rates[way], strict=True)] for way in WAYS if way != OURS}
    return {
        "steps_per_s": {way: round(statistics.median(values), 1) for way, values in rates.items()},
        "times": {way: round(statistics.median(values), 2) for way, values in ratios.items()},
    }


def main() -> None:
    """Measure one way once and print its steps a second."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("name")
    parser.add_argument("minutes", type=float)
    chosen = parser.parse_args()
    scenario = first_minutes(chosen.name, chosen.minutes)
    print(ours_per_s(scenario) if chosen.way == OURS else theirs_per_s(scenario, chosen.way == "sumo_rl"))


if __name__ == "__main__":
    main()
