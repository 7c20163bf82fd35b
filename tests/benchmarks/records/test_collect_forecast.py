"""Recording forecasts in real SUMO: what came is what the loops counted, splits hold, folders resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.records import collect
from benchmarks.records.behaviour import prepared
from benchmarks.records.collect import Job, Plan, records_of, scenario_of
from controllers.base import RunContext
from controllers.classical.greedy import Greedy
from llm.records.shards import RecordError
from llm.tasks.base import Run
from llm.tasks.files import files, write_shard
from llm.tasks.forecast.state import HORIZONS_MIN, column
from llm.tasks.forecast.task import RATES, ForecastSettings
from llm.tasks.mixture import scored_names
from llm.tasks.registry import made
from scenarios.city.generator import SPLITS as CITY_SEEDS
from sim.engine.session import Session
from sim.network import Network
from sim.timings import NATIVE

TASK = made("forecast")
FILES = files(TASK)
QUICK = ForecastSettings(minutes=20)
SCORED = scored_names()


def plan(split: str, runs: int, settings: ForecastSettings, names: tuple[str, ...] = ()) -> list[Run]:
    return Plan("forecast", split, runs, settings, names).drawn()


def quick(split: str = "train", number: int = 0, name: str = "cologne1", **changes: Any) -> Run:
    run = plan(split, number + 1, QUICK, (name,))[number]
    return replace(run, **{"timings": "native", "demand_scale": 1.0, "rates": None, **changes})


# --- the plan


def test_plans_grow_without_changing() -> None:
    few, many = plan("train", 5, ForecastSettings()), plan("train", 200, ForecastSettings())
    assert many[:5] == few
    assert len({run.seed for run in many}) == 200
    assert 100 < sum(run.rates is not None for run in many) < 140
    assert sum(run.scenario == "cologne1" for run in many) == 40


def test_half_of_what_is_learnt_from_has_waves() -> None:
    runs = plan("train", 200, ForecastSettings())
    assert 80 < sum(run.waves > 0 for run in runs) < 120
    assert max(run.waves for run in runs) <= 1.0
    waved = next(run for run in runs if run.waves > 0)
    assert scenario_of(waved).demand.waves == waved.waves
    assert not any(run.waves for run in plan("train", 20, ForecastSettings(waves=0.0)))


@pytest.mark.parametrize("split", ["train", "validation"])
def test_plans_stay_in_their_split(split: str) -> None:
    runs = plan(split, 120, ForecastSettings())
    seeds = {int(run.scenario.split("-")[2]) for run in runs if run.scenario != "cologne1"}
    assert seeds <= set(CITY_SEEDS[split])
    assert min(run.seed for run in runs) >= 1000
    for run in plan("held_out", 2 * len(SCORED) + 1, ForecastSettings()):
        assert (run.demand_scale, run.waves) == (1.0, 0.0)
    assert {"cologne3", "cologne8", "ingolstadt21", "grid4x4"} <= set(SCORED)


def test_every_network_is_scored_without_and_with_incidents() -> None:
    runs = plan("held_out", 4 * len(SCORED), ForecastSettings())
    cells = {(run.scenario, run.seed, run.rates is not None) for run in runs}
    assert cells == {(name, seed, incidents) for name in SCORED for seed in (1, 2) for incidents in (False, True)}


def test_held_out_scenarios_are_refused() -> None:
    for split in ("train", "validation"):
        with pytest.raises(RecordError, match="cologne8 is held out"):
            plan(split, 1, QUICK, ("cologne8",))
    with pytest.raises(RecordError, match="cologne8 is held out"):  # a run made by hand
        records_of(TASK, quick(scenario="cologne8"))
    with pytest.raises(RecordError, match="Seed 3 is kept for results"):
        records_of(TASK, quick(seed=3))
    with pytest.raises(RecordError, match="cologne1 is not held out"):
        plan("held_out", 1, QUICK, ("cologne1",))
    with pytest.raises(RecordError, match="splits train, validation, held_out, not 'test'"):
        plan("test", 1, QUICK)


# --- runs in real SUMO


def test_what_came_is_what_the_loops_counted() -> None:
    run = quick()
    records = records_of(TASK, run)
    scenario = scenario_of(run)
    counts, queues = [], []
    with Session(scenario, run.seed) as session:  # the same run again, counted by hand
        network = session.network
        greedy = prepared(Greedy(), network, run.seed, RunContext(scenario, run.seed, NATIVE))
        observation = session.start()
        while True:
            if (observation.time_s - scenario.begin_s) % 60 == 0:
                counts.append(observation.flow_veh_h[:, 0] / 60)
                queues.append(observation.queue_veh)
            if session.done:
                break
            observation = session.step(greedy.act(observation))
    assert [record.state.time_s - scenario.begin_s for record in records] == [60.0 * k for k in range(20)]
    edges = records[0].state.approaches
    lanes = [[k for k, edge in enumerate(network.lane_edge) if edge == road] for road in edges]
    for minute, record in enumerate(records):
        for h, horizon in enumerate(HORIZONS_MIN):
            for row, own in enumerate(lanes):
                flow, queue = record.came[row, h]
                if minute + horizon > 20:
                    assert np.isnan(flow)
                    assert np.isnan(queue)
                else:
                    passed = sum(counts[minute + k][own].sum() for k in range(1, horizon + 1))
                    assert flow == pytest.approx(60 * passed / horizon)
                    assert queue == pytest.approx(queues[minute + horizon][own].sum())
        if minute:
            said = column(record.state.fields, "count_1_veh")
            np.testing.assert_allclose(said, [counts[minute][own].sum() for own in lanes])


def test_incidents_are_near_from_their_start_to_a_while_after_their_end(cologne1_network: Network) -> None:
    run, edge = quick(rates=RATES, number=2), cologne1_network.lane_edge[0]
    scenario = scenario_of(run).with_(
        incident_rates={}, incidents=[{"type": "road_closure", "edge": edge, "start_s": 180.0, "duration_s": 300.0}]
    )
    records = _recorded(run, scenario)
    near = [record.state.time_s - scenario.begin_s for record in records if record.incidents]
    assert near == [60.0 * k for k in range(3, 20)]  # 180 s to 480 s, and 15 min more
    assert {record.incidents for record in records if record.incidents} == {("road_closure",)}
    told = [record.state.time_s - scenario.begin_s for record in records if "Report on" in record.state.prompt]
    assert 240 <= min(told) <= 420  # late, as reports are


def _recorded(run: Run, scenario: object) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collect, "scenario_of", lambda _: scenario)
        return records_of(TASK, run)


def test_incidents_only_where_there_is_a_place() -> None:
    rates = scenario_of(quick(rates=RATES)).incident_rates
    assert rates.crash_per_h == RATES.crash_per_h
    assert scenario_of(quick()).incident_rates.crash_per_h == 0


def test_scoring_runs_hear_held_out_wordings(tmp_path: Path) -> None:
    for number in range(1, 12, 2):
        run = quick("held_out", number, "cologne3", rates=RATES)
        records = records_of(TASK, run)
        if any("Report" in record.state.prompt for record in records):
            break
    collect.record_run(Job(run, "forecast", tmp_path))
    assert FILES.read(tmp_path / run.file_name)
    with pytest.raises(RecordError, match="held-out wording"):
        write_shard(TASK, tmp_path / "train" / "a.jsonl.gz", "train", records)


@pytest.mark.slow
def test_collecting_resumes_and_is_repeatable(tmp_path: Path) -> None:
    told: list[tuple[int, int, str | None]] = []

    def progress(done: int, total: int, name: str, records: int, problem: str | None) -> None:
        told.append((done, total, problem))

    runs = plan("train", 2, QUICK, ("cologne1",))
    manifest = collect.collect(Plan("forecast", "train", 1, QUICK, ("cologne1",)), tmp_path / "a", 1, progress)
    more = collect.collect(Plan("forecast", "train", 2, QUICK, ("cologne1",)), tmp_path / "a", 1, progress)
    assert told == [(1, 1, None), (2, 2, None)]
    assert manifest["shards"].items() <= more["shards"].items()
    assert more["counts"]["train"]["records"] == len(FILES.read_split(tmp_path / "a", "train"))
    collect.record_run(Job(runs[1], "forecast", tmp_path / "b"))
    assert (tmp_path / "b" / runs[1].file_name).read_bytes() == (tmp_path / "a" / runs[1].file_name).read_bytes()
    with pytest.raises(RecordError, match="records of other settings"):
        collect.collect(Plan("forecast", "train", 1, ForecastSettings(), ("cologne1",)), tmp_path / "a", 1, progress)
