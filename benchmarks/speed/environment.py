"""Steps a second of the Gymnasium environment, beside sumo-rl over libsumo: same network, phases, seconds and machine.

Both decide every five seconds, with random phases drawn from one seed; both get the network's own yellow and a minimum
green of five seconds. Ours pays the delay of the whole network and observes everything; sumo-rl has its own reward and
observation, once with the info that it adds by default and once without. Only steps count, not the start. Each way has
a process of its own; they take turns, and ratios are taken round by round.

Most of a step is SUMO's own. So beside each ratio stands what an environment that costs nothing would reach: the time
of sumo-rl's steps over that of SUMO in them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True)
class Pace:
    """How fast an environment steps.

    Attributes:
        per_s: steps a second.
        sumo_share: of their time, that which SUMO itself took; NaN where that is not to be seen.
    """

    per_s: float
    sumo_share: float = math.nan


def ours(scenario: Scenario) -> Pace:
    """Our environment's pace."""
    env = make_env(scenario)
    env.reset(seed=1)
    draws, phases = random.Random(1), [len(signal.phases) for signal in env.network.signals]
    chosen = [signal.index for signal in env.network.controllable]

    def step() -> bool:
        drawn = [int(draws.random() * count) for count in phases]
        action = [drawn[index] for index in chosen]
        return env.step(action if len(action) > 1 else action[0])[3]

    seconds = _seconds(step)
    env.close()
    return Pace(len(seconds) / sum(seconds))


def theirs(scenario: Scenario, info: bool) -> Pace:
    """The pace of sumo-rl's environment over libsumo, which this process may not have loaded yet."""
    os.environ |= {"SUMO_HOME": str(sumo_home()), "LIBSUMO_AS_TRACI": "1"}
    import sumo_rl

    yellow_s = round(statistics.median(signal.yellow_s for signal in Network.read(scenario.net_file).controllable))
    env = sumo_rl.SumoEnvironment(
        str(scenario.net_file),
        ",".join(map(str, scenario.route_files)),
        begin_time=int(scenario.begin_s),
        num_seconds=int(scenario.end_s - scenario.begin_s),
        delta_time=NATIVE.decision_interval_s,
        yellow_time=min(yellow_s, NATIVE.decision_interval_s - 1),  # it takes no longer one
        min_green=NATIVE.min_green_s,
        add_system_info=info,
        add_per_agent_info=info,
        sumo_seed=1,
        sumo_warnings=False,
        additional_sumo_cmd="--no-step-log",
    )
    env.reset()
    simulate, in_sumo_s = env.sumo.simulationStep, [0.0]

    def timed() -> None:
        start = time.perf_counter()
        simulate()
        in_sumo_s[0] += time.perf_counter() - start

    env.sumo.simulationStep = timed
    draws, names = random.Random(1), sorted(env.ts_ids)

    def step() -> bool:
        actions = {name: int(draws.random() * env.traffic_signals[name].num_green_phases) for name in names}
        return bool(env.step(actions)[2]["__all__"])

    seconds = _seconds(step)
    env.close()
    return Pace(len(seconds) / sum(seconds), in_sumo_s[0] / sum(seconds))


def _seconds(step: Callable[[], bool]) -> list[float]:
    """What each step takes, until one says that it was the last."""
    seconds, done = [], False
    while not done:
        start = time.perf_counter()
        done = step()
        seconds.append(time.perf_counter() - start)
    return seconds


def steps(name: str, rounds: int, minutes: float = MINUTES) -> dict[str, Any]:
    """Steps a second of each way, and how many times theirs ours are; medians over the rounds."""
    paces: dict[str, list[Pace]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS if number % 2 else reversed(WAYS):
            command = [sys.executable, "-m", "benchmarks.speed.environment", way, name, f"{minutes:g}"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            paces[way].append(Pace(**json.loads(done.stdout.splitlines()[-1])))
        print(f"{name}, steps of an environment: round {number + 1} of {rounds}", file=sys.stderr)
    return compared(paces)


def compared(paces: Mapping[str, Sequence[Pace]]) -> dict[str, Any]:
    """What the rounds' paces say.

    Returns:
        ``steps_per_s`` of each way; against each of theirs ``times``, how many times as fast ours is, and
        ``times_without_any_cost``, what an environment that costs nothing beside SUMO would reach.
    """
    rivals = [way for way in WAYS if way != OURS]
    times = {
        way: [mine.per_s / other.per_s for mine, other in zip(paces[OURS], paces[way], strict=True)] for way in rivals
    }
    return {
        "steps_per_s": {way: round(statistics.median(pace.per_s for pace in paces[way]), 1) for way in WAYS},
        "times": {way: round(statistics.median(times[way]), 2) for way in rivals},
        "times_without_any_cost": {
            way: round(statistics.median(1 / pace.sumo_share for pace in paces[way]), 2) for way in rivals
        },
    }


def main() -> None:
    """Measure one way once and print its pace as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("name")
    parser.add_argument("minutes", type=float)
    chosen = parser.parse_args()
    scenario = first_minutes(chosen.name, chosen.minutes)
    print(json.dumps(asdict(ours(scenario) if chosen.way == OURS else theirs(scenario, chosen.way == "sumo_rl"))))


if __name__ == "__main__":
    main()
