"""Results made up for tests of what comes after a run: reading, statistics, figures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.results.run_result import (
    ControllerRecord,
    Distribution,
    GitRecord,
    NetworkShape,
    RoadSeries,
    RoadShape,
    RunResult,
    ScenarioRecord,
    Series,
    SuiteRecord,
)

CRASH = {"id": "crash-1", "type": "crash", "edge": "r1", "lanes": [0], "start_s": 26400.0, "end_s": 27300.0}
ROADWORKS = {"id": "roadworks-2", "type": "roadworks", "edge": "r2", "lanes": [0], "start_s": 27000.0, "end_s": 28200.0}


def make_result(controller: str = "greedy", seed: int = 1, delay_s: float = 20.0, **changes: Any) -> RunResult:
    """A plausible hour of a city with two incidents; ``metrics`` are updated, other fields replaced."""
    metrics = {
        "delay_s": delay_s + 0.8 * math.sin(seed), "completion": 0.98, "standing_queue_s": 0.0,
        "queue_veh": delay_s / 2, "decision_latency_p50_ms": 0.2, "decision_latency_p95_ms": 0.5,
        "emergency_delay_s": math.nan, "travel_time_finished_s": 90.0 + delay_s, "arrived_veh": 1980,
        "scheduled_veh": 2015,
    } | changes.pop("metrics", {})  # fmt: skip
    base: dict[str, Any] = {
        "suite": SuiteRecord(name="demo", version=1),
        "scenario": make_scenario(changes.pop("scenario_name", "cologne1")),
        "controller": ControllerRecord(name=controller, params={}, deterministic=True, observes=True, loaded={}),
        "seed": seed,
        "timings": {"name": "native", "yellow_s": None, "all_red_s": 0, "min_green_s": 5, "max_red_s": 120},
        "backend": "libsumo",
        "versions": {"greenloop": "0.1.0", "sumo": "1.28.0", "python": "3.11.7"},
        "git": GitRecord(commit="0" * 40, dirty=False),
        "machine": {"cpu": "a processor", "cores": 2, "platform": "Linux"},
        "created_utc": "2026-01-01T00:00:00+00:00",
        "metrics": metrics,
        "series": make_series(delay_s, seed),
        "roads": make_roads(delay_s, seed),
        "distribution": Distribution(
            delay_s=tuple(delay_s * k / 50 for k in range(101)), waiting_s=tuple(delay_s * k / 80 for k in range(101))
        ),
        "wall": {"wall_setup_s": 1.0, "wall_decisions_s": 0.1, "wall_simulation_s": 2.0, "real_time_factor": 1200.0},
    }
    return RunResult(**(base | changes))


def make_scenario(name: str) -> ScenarioRecord:
    return ScenarioRecord(
        name=name,
        sha256="a" * 64,
        network_sha256="b" * 64,
        tags=("train",),
        begin_s=25200.0,
        end_s=28800.0,
        warmup_s=0.0,
        demand_scale=1.0,
        departure_jitter_s=0.0,
        files=("x.net.xml",),
        spec={},
        incidents=(CRASH, ROADWORKS),
    )


def make_series(delay_s: float, seed: int) -> Series:
    rng = np.random.default_rng(seed)
    time_s = np.arange(25200.0, 28800.0, 60.0)
    bump = 1.0 + 1.5 * np.exp(-(((time_s - 27100.0) / 500.0) ** 2))
    halted = delay_s * 0.6 * bump + rng.normal(0, 1.2, time_s.size)
    speed = np.clip(11.0 - 0.12 * delay_s * bump + rng.normal(0, 0.3, time_s.size), 0.1, None)
    speed[0] = math.nan
    flow = np.full(time_s.size, 33.0)
    columns = (time_s, halted + 25, halted, halted * 0.1, speed, flow, flow)
    return Series(**dict(zip(Series.model_fields, (tuple(c.tolist()) for c in columns), strict=True)))


def make_roads(delay_s: float, seed: int) -> RoadSeries:
    rng = np.random.default_rng(seed)
    ids = tuple(sorted(make_network().roads))
    rows = np.clip(1.0 - delay_s / 80.0 + rng.normal(0, 0.2, (12, len(ids))), 0.02, 1.1)
    rows[:, 0] = math.nan
    begins = tuple(25200.0 + 300.0 * k for k in range(12))
    return RoadSeries(interval_s=300.0, begin_s=begins, ids=ids, speed_relative=tuple(map(tuple, rows.tolist())))


def make_network() -> NetworkShape:
    """A crooked grid."""
    rng = np.random.default_rng(3)
    spots = [(i, j) for i in range(6) for j in range(5)]
    at = {(i, j): (220.0 * i + float(rng.normal(0, 25)), 180.0 * j + float(rng.normal(0, 25))) for i, j in spots}
    pairs = [(a, b) for a in spots for b in ((a[0] + 1, a[1]), (a[0], a[1] + 1)) if b in at]
    both = pairs + [(b, a) for a, b in pairs]
    lanes = [2 if a[1] == b[1] == 2 else 1 for a, b in both]
    roads = {f"r{k}": RoadShape(shape=(at[a], at[b]), lanes=lanes[k]) for k, (a, b) in enumerate(both)}
    return NetworkShape(roads=roads, signals={f"s{i}{j}": at[i, j] for i in range(1, 5) for j in range(1, 4)})
