"""What a simulated hour costs beside the plain ``sumo`` program, and a step beside sumo-rl: ``make bench``.

Each round runs every way once, so that a machine that is busy for a while is busy for all; ratios are taken round by
round and their median is reported. The start of the session's Python process, measured in the same round, is left out:
the plain program has none. Both sides write the same outputs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.results import provenance
from benchmarks.speed.environment import NETWORKS, first_minutes, steps
from controllers import registry as controllers
from controllers.base import RunContext
from scenarios import registry
from scenarios.common.sumo_tools import sumo_home
from scenarios.spec import Scenario
from sim.engine.command import OutputFiles, SessionOptions, sumo_arguments
from sim.engine.moments import moments
from sim.engine.session import Session
from sim.network import Network
from sim.timings import NATIVE

UNOBSERVED = SessionOptions(observing=False)
OBSERVED = SessionOptions()
SOCKET = SessionOptions(observing=False, backend="traci")


def plain_s(scenario: Scenario) -> float:
    """Seconds that the plain program takes, process start included."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = sumo_arguments(
            Network.of(scenario),
            scenario.route_files,
            (),
            scenario.begin_s,
            scenario.end_s,
            1,
            NATIVE,
            UNOBSERVED,
            OutputFiles(Path(folder)),
        )
        start = time.perf_counter()
        subprocess.run([str(sumo_home() / "bin" / "sumo"), *arguments], check=True, capture_output=True)
        return time.perf_counter() - start


def python_start_s() -> float:
    """Seconds until a fresh session process could start SUMO."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import sim.engine.server, libsumo"], check=True, capture_output=True)
    return time.perf_counter() - start


def stepped_s(scenario: Scenario) -> float:
    """Seconds of a whole session under fixed time that a controller asks for step by step, observing each time."""
    start = time.perf_counter()
    with Session(scenario, seed=1) as session:
        for _ in moments(session, session.start(), lambda _: {}):
            pass
        session.finish()
        return time.perf_counter() - start


def session_s(scenario: Scenario, options: SessionOptions) -> float:
    """Seconds of a whole session under fixed time, from its creation to its files."""
    start = time.perf_counter()
    with Session(scenario, seed=1, options=options) as session:
        session.start()
        if options.observing:
            session.watch(scenario.end_s - scenario.begin_s)
        else:
            session.advance(seconds=scenario.end_s - scenario.begin_s)
        session.finish()
        return time.perf_counter() - start


def hour(name: str, rounds: int) -> dict[str, float]:
    """Ratios to the plain program for one scenario, medians over the rounds."""
    scenario = registry.load(name)
    ways: dict[str, Callable[[], float]] = {
        "unobserved": lambda: session_s(scenario, UNOBSERVED),
        "observed": lambda: session_s(scenario, OBSERVED),
        "observed_step_by_step": lambda: stepped_s(scenario),
        "socket": lambda: session_s(scenario, SOCKET),
    }
    session_s(scenario, UNOBSERVED)  # so that caches are as warm for us as the files are for sumo
    plain, ratios = [], {way: [] for way in ways}  # type: tuple[list[float], dict[str, list[float]]]
    for number in range(rounds):
        python, before = python_start_s(), plain_s(scenario)
        seconds = {way: run() for way, run in ways.items()}
        both = (before + plain_s(scenario)) / 2
        plain.append(both)
        for way, taken in seconds.items():
            ratios[way].append((taken - python) / both)
        print(f"{name}: round {number + 1} of {rounds}", file=sys.stderr)
    return {"plain_s": statistics.median(plain), **{way: statistics.median(values) for way, values in ratios.items()}}


def sweep_speedup(rounds: int) -> float:
    """How many times faster two workers finish the quick suite than one."""
    gains = []
    for _ in range(rounds):
        seconds = {}
        for workers in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-m", "benchmarks.cli.main", "run", "--suite", "quick", "--no-figures"]
                start = time.perf_counter()
                subprocess.run([*command, "--workers", str(workers), "--out", folder], check=True, capture_output=True)
                seconds[workers] = time.perf_counter() - start
        gains.append(seconds[1] / seconds[2])
    return statistics.median(gains)


def decision_ms(spec: str = "phase_net", name: str = "grid4x4", minutes: float = 10.0) -> float:
    """Milliseconds that a controller takes for one due signal, all due signals together; the median decision."""
    scenario = first_minutes(name, minutes)
    each_ms: list[float] = []
    with Session(scenario, seed=1) as session:
        controller = controllers.make(spec)
        controller.context = RunContext(scenario, 1, NATIVE)
        observation = session.start()
        controller.reset(session.network, 1)
        while not session.done:
            start = time.perf_counter()
            decisions = controller.act(observation)
            each_ms += [1e3 * (time.perf_counter() - start) / len(decisions)] if decisions else []
            observation = session.step(decisions)
    return statistics.median(each_ms)


def large_city(name: str = "city-300-902") -> dict[str, float]:
    """The large generated city under max pressure: real-time factor and the peak memory of SUMO's process."""
    scenario = registry.load(name)
    with Session(scenario, seed=1) as session:
        controller = controllers.make("max_pressure")
        controller.context = RunContext(scenario, 1, NATIVE, session)
        observation = session.start()
        controller.reset(session.network, 1)
        start, peak_mib = time.perf_counter(), 0.0
        for _ in moments(session, observation, controller.act):
            if session.time_s % 300 == 0:
                peak_mib = max(peak_mib, session.memory_mib())
                print(f"{name}: second {session.time_s - scenario.begin_s:.0f}", file=sys.stderr)
        seconds = time.perf_counter() - start
        vehicles = len(session.demand.ids)
    return {
        "signals": len(session.network.signals),
        "vehicles_per_h": vehicles * 3600 / scenario.horizon_s,
        "times_real_time": scenario.horizon_s / seconds,
        "session_process_mib": peak_mib,
    }


def main() -> None:
    """Run all measurements and print (or write) them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    report: dict[str, object] = {
        "what": "ratios to the plain sumo program writing the same outputs, medians over rounds",
        "rounds": chosen.rounds,
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "cologne8": hour("cologne8", chosen.rounds),
        "grid4x4": hour("grid4x4", chosen.rounds),
        "environment": {name: steps(name, chosen.rounds) for name in NETWORKS},
        "phase_net_ms_a_signal_of_16": decision_ms(),
        "two_workers_speedup": sweep_speedup(1),
        "large_city_max_pressure": large_city(),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if chosen.out is not None:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
