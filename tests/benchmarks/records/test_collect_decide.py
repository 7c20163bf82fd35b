"""Collecting records in real SUMO: labels that are the branches' costs, folders that resume, splits that hold."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from benchmarks.records import collect, recording
from benchmarks.records.behaviour import Behaviour, prepared
from benchmarks.records.collect import Job, Plan
from controllers.base import ControllerError, RunContext
from controllers.classical.holding import Holding
from llm.backbone.cards import SHIPPED
from llm.records.shards import RecordError, only_writer
from llm.tasks.base import Run
from llm.tasks.decide import phase_net
from llm.tasks.decide.facts import FACTS
from llm.tasks.decide.recombined_states import LONGER_FACTOR, MAX_AGE_S, STARVED_S, imagined
from llm.tasks.decide.recording import HORIZONS_S
from llm.tasks.decide.task import BEHAVIOURS, RATES, DecideSettings
from llm.tasks.files import files, write_shard
from llm.tasks.forecast.forecasters import ForecastError
from llm.tasks.registry import made
from scenarios import registry
from sim.engine.session import Session
from sim.timings import CLEARANCE, NATIVE
from sim.workers.local import Workers
from tests.support.helpers import crossing, make_observation
from tests.support.records import make_record

TASK = made("decide")
FILES = files(TASK)
QUICK = DecideSettings(minutes=5, records_per_episode=4)


def settings(**changes: Any) -> DecideSettings:
    return DecideSettings(**{**QUICK.model_dump(), **changes})


def drawn(split: str, runs: int, how: DecideSettings, names: tuple[str, ...] = ()) -> list[Run]:
    return Plan("decide", split, runs, how, names).drawn()


def quick(number: int = 0, how: DecideSettings = QUICK, **changes: Any) -> Run:
    return replace(drawn("train", number + 1, how, ("cologne1",))[number], **changes)


def planned(runs: int = 1, how: DecideSettings = QUICK) -> Plan:
    return Plan("decide", "train", runs, how, ("cologne1",))


def recorded(run: Run, folder: Path) -> list[Any]:
    collect.record_run(Job(run, "decide", folder))
    return FILES.read(folder / run.file_name)


# --- the plan


def test_plans_grow_without_changing() -> None:
    few, many = drawn("train", 5, DecideSettings()), drawn("train", 300, DecideSettings())
    assert many[:5] == few
    assert len({episode.seed for episode in many}) == 300
    assert all(e.seed >= 1000 and 0.6 <= e.demand_scale <= 1.4 for e in many)
    counts = {key: Counter(str(getattr(e, key)) for e in many) for key in ("timings", "driver")}
    assert set(counts["timings"]) == {"native", "clearance"}
    assert set(counts["driver"]) == set(BEHAVIOURS)
    assert 100 < sum(run.rates is not None for run in many) < 200


@pytest.mark.parametrize("split", ["train", "validation"])
def test_plans_stay_in_their_split(split: str) -> None:
    for name in {episode.scenario for episode in drawn(split, 300, DecideSettings())} - {"cologne1"}:
        _, signals, seed = name.split("-")
        assert 1 <= int(signals) <= 10
        assert int(seed) in (range(500) if split == "train" else range(500, 520))
    assert all(e.scenario != "cologne1" for e in drawn("validation", 300, DecideSettings()))


@pytest.mark.parametrize("name", ["cologne8", "ingolstadt1", "grid4x4"])
def test_held_out_scenarios_are_refused(name: str) -> None:
    for split in ("train", "validation"):
        with pytest.raises(RecordError, match=f"{name} is held out"):
            drawn(split, 1, QUICK, (name,))
    with pytest.raises(RecordError, match=f"{name} is held out"):  # a plan made by hand
        collect.record_run(Job(quick(scenario=name), "decide", Path("unused")))
    with pytest.raises(RecordError, match="not tagged 'validation'"):
        drawn("validation", 1, QUICK, ("cologne1",))
    with pytest.raises(RecordError, match="splits"):
        drawn("held_out", 1, QUICK)


# --- behaviours


def test_holding_greedy_by_hand() -> None:
    network = crossing()  # 3 s of intergreen: a factor of 1.36
    few, many = [[3, 0, 0], [0] * 3, [4, 0, 0]], [[3, 0, 0], [0] * 3, [5, 0, 0]]
    far = [[0, 3, 0], [0] * 3, [4, 0, 0]]
    holding = prepared(Holding(), network, 0, None)  # type: ignore[arg-type]
    for zones, expected in ((few, 0), (many, 2), (far, 2)):
        assert holding.act(make_observation(network, zone_veh=zones)) == {"J": expected}
    context = RunContext(None, 0, CLEARANCE)  # type: ignore[arg-type]  # 5 s: 1.6, but nothing is flowing in the third
    holding = prepared(Holding(), network, 0, context)
    assert [holding.act(make_observation(network, zone_veh=zones))["J"] for zones in (few, many, far)] == [0, 2, 2]
    assert holding.act(make_observation(network, zone_veh=[[3, 0, 0], [0] * 3, [4.5, 0, 0]])) == {"J": 0}


def test_behaviour_draws_its_share() -> None:
    network = crossing()
    observation = make_observation(network, zone_veh=[[9, 0, 0], [0] * 3, [0] * 3])
    for share, low, high in ((0.0, 0, 0), (0.5, 60, 140)):
        behaviour = prepared(Behaviour("greedy", share), network, 1, RunContext(None, 1, NATIVE))  # type: ignore[arg-type]
        others = sum(behaviour.act(observation) != {"J": 0} for _ in range(300))
        assert low <= others <= high


# --- episodes in real SUMO


def test_labels_are_the_costs_of_the_branches(tmp_path: Path) -> None:
    episode = quick(driver="greedy", random_share=0.0, rates=None, timings="native")
    records = recorded(replace(episode, notes={**episode.notes, "follow_share": 0.0}), tmp_path)
    assert records
    for record in records:
        costs = np.array(record.costs_veh_s)
        assert costs.shape == (record.phases, len(HORIZONS_S))
        assert (np.diff(costs, axis=1) >= 0).all()  # delay adds up
        assert np.array(record.facts).shape == (record.phases, len(FACTS))
        assert record.prompt.endswith("Best phase:")
        assert (record.seed, record.change_s, record.scenario) == (1000, 5, "cologne1")
        assert all(0 <= phase < record.phases for phase in record.choices.values())
    record = records[0]
    scenario = collect.scenario_of(episode)
    with Session(scenario, episode.seed) as session:  # the same run again, branched by hand
        observation = session.start()
        context = RunContext(scenario, episode.seed, NATIVE)
        driver = prepared(Behaviour("greedy", 0.0), session.network, episode.seed, context)
        base = prepared(Holding(), session.network, episode.seed, context)
        while session.time_s < record.time_s:
            observation = session.step(driver.act(observation))
        tried = [{record.signal: phase} for phase in range(record.phases)]
        found = session.branch(tried, HORIZONS_S, base).network_delay_veh_s
    np.testing.assert_allclose(found, record.costs_veh_s, atol=1e-3)


def test_records_without_branches(tmp_path: Path) -> None:
    """The same facts and texts, no costs; imagined states are told apart and carry no forecast."""
    how = settings(records_per_episode=40, branches=False, imagined_share=0.5, forecast_head=SHIPPED)
    records = recorded(quick(how=how, driver="greedy", random_share=0.0), tmp_path)
    made_up = [record for record in records if record.behaviour.endswith(",imagined")]
    seen = [record for record in records if record not in made_up]
    assert min(len(made_up), len(seen)) >= 5
    assert all(record.horizons_s == record.costs_veh_s == [] for record in records)
    assert all(set(record.next_veh) == {"persistence", "reference", "own"} for record in seen)
    assert not any(record.next_veh for record in made_up)
    for record in records:  # text and numbers tell of one state
        waits = [int(line.split(" wait")[1].split()[0]) for line in record.prompt.splitlines() if " wait" in line]
        assert waits == [min(999, int(row[FACTS.index("wait_s")] + 0.5)) for row in record.facts]
    with pytest.raises(RecordError, match="of cologne1 have no costs to measure by"):
        records[0].cost(60.0)
    with pytest.raises(ValidationError, match="set branches=false"):
        settings(imagined_share=0.5)


def test_demand_of_the_episodes() -> None:
    scales = [run.demand_scale for run in drawn("train", 50, settings(demand_scales=(1.2, 2.2)))]
    assert 1.2 <= min(scales) < 1.4
    assert 2.0 < max(scales) <= 2.2
    for wrong in ((1.5, 1.2), (0.0, 1.0), (0.001, 0.001), (1e9, 1e9), (float("nan"), 1.0), (1.0, float("inf"))):
        with pytest.raises(ValidationError, match=r"give two numbers from 0\.01 to 10, the smaller first"):
            settings(demand_scales=wrong)


def test_imagined_states_keep_a_lane_together() -> None:
    network = crossing()
    zones = [[3.0, 1.0, 0.0], [0.0, 0.0, 0.0], [9.0, 2.0, 5.0]]
    observation = make_observation(network, queue_veh=[3, 0, 8], wait_s=[20, 0, 50], zone_veh=zones)
    lanes = {(3.0, (3.0, 1.0, 0.0)): 20.0, (0.0, (0.0, 0.0, 0.0)): 0.0, (8.0, (9.0, 2.0, 5.0)): 50.0}
    longest, shown, starved = 0.0, set(), 0
    rng = np.random.default_rng(1)
    for _ in range(200):
        state = imagined(network, observation, rng)
        shown.add(tuple(state.queue_veh.tolist()))
        for queue, zone, wait in zip(state.queue_veh, state.zone_veh, state.wait_s, strict=True):
            measured = lanes[float(queue), tuple(zone.tolist())]
            stands = queue >= 1 and STARVED_S[0] <= wait <= STARVED_S[1]
            assert stands or measured <= wait <= LONGER_FACTOR * measured
            starved += stands and wait > LONGER_FACTOR * measured
            longest = max(longest, float(wait))
        assert 0 <= state.phase[0] < len(network.controllable[0].phases)
        assert 1 <= state.phase_age_s[0] <= MAX_AGE_S
        assert (state.exit_room_veh <= observation.exit_room_veh + 1e-9).all()
    assert longest > 500
    assert len(shown) > 10
    assert starved > 10


def test_same_episode_same_file(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        recorded(quick(3, rates=RATES), tmp_path / folder)
    first, second = sorted(tmp_path.rglob("*.gz"))
    assert first.read_bytes() == second.read_bytes()


def test_collecting_resumes_and_counts(tmp_path: Path) -> None:
    told: list[tuple[int, int, str | None]] = []

    def progress(done: int, total: int, name: str, records: int, problem: str | None) -> None:
        told.append((done, total, problem))

    manifest = collect.collect(planned(), tmp_path, 1, progress)
    assert told == [(1, 1, None)]
    collect.collect(planned(), tmp_path, 1, progress)
    assert len(told) == 1
    more = collect.collect(planned(2), tmp_path, 1, progress)
    assert told[1:] == [(2, 2, None)]
    assert manifest["shards"].items() <= more["shards"].items()
    assert more["counts"]["train"]["records"] == len(FILES.read_split(tmp_path, "train"))
    with pytest.raises(RecordError, match="other settings"):
        collect.collect(planned(how=DecideSettings()), tmp_path, 1, progress)


def test_no_more_workers_than_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    class Spy(Workers[Any, Any]):
        def __init__(self, function: Callable[[Any], Any], count: int, timeout_s: float | None = None) -> None:
            counts.append(count)
            super().__init__(function, 1, timeout_s)

    monkeypatch.setattr(recording, "Workers", Spy)
    manifest = collect.collect(planned(2), tmp_path, 32, lambda *_: None)
    assert (counts, manifest["failed"]) == ([1, 2], {})


def test_one_folder_has_one_collector(tmp_path: Path) -> None:
    with only_writer(tmp_path), pytest.raises(RecordError, match="Another command is writing to"):
        collect.collect(planned(), tmp_path, 1, lambda *_: None)
    assert not list(tmp_path.rglob("*.gz"))


def test_one_folder_has_one_head_and_one_of_each_policy(tmp_path: Path) -> None:
    policy = Path(shutil.copytree(phase_net.SHIPPED, tmp_path / "net"))

    def run(head: Path | None) -> None:
        how = settings(drive=(f"phase_net:folder={policy}",), forecast_head=head)
        collect.collect(planned(how=how), tmp_path / "out", 1, lambda *_: None)

    run(SHIPPED)
    with pytest.raises(RecordError, match=r"made with another forecast head than .* another folder\.$"):
        run(None)
    about = json.loads((policy / phase_net.ABOUT).read_text())
    (policy / phase_net.ABOUT).write_text(json.dumps({**about, "trained": "again"}))
    with pytest.raises(RecordError, match=r"made with another phase_net:folder=\S+ parameter folder than"):
        run(SHIPPED)


def test_what_is_refused_claims_no_folder(tmp_path: Path) -> None:
    for changes, head, words in (
        ({"drive": ("nobody",)}, None, "nobody"),
        ({"then": "nobody"}, None, "nobody"),
        ({"drive": (f"language_model:adapter={tmp_path / 'gone'}",)}, None, "adapter of .* is missing"),
        ({}, tmp_path / "none", "none"),
    ):
        how = settings(**changes, forecast_head=head)
        with pytest.raises((ControllerError, ForecastError), match=words):
            collect.collect(planned(how=how), tmp_path / "out", 1, lambda *_: None)
        assert not (tmp_path / "out").exists()


def test_a_damaged_file_is_collected_again(tmp_path: Path) -> None:
    file = tmp_path / "train/0.jsonl.gz"
    write_shard(TASK, file, "train", [make_record(0)])
    whole = file.read_bytes()
    for place in range(10, len(whole), 7):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        assert not FILES.is_done(file)


def test_a_failed_episode_stops_no_other(tmp_path: Path) -> None:
    problems: list[str | None] = []
    runs = [quick(0, scenario="city-0-0"), quick(1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plan, "drawn", lambda _: runs)
        manifest = collect.collect(planned(2), tmp_path, 1, lambda *told: problems.append(told[4]))
    assert problems.count(None) == 1
    assert list(manifest["failed"]) == [runs[0].file_name]
    assert manifest["counts"]["train"]["records"] > 0


@pytest.mark.slow
def test_killed_collecting_goes_on(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    script = (
        "import sys; from pathlib import Path\n"
        "from benchmarks.records import collect as c\n"
        "from llm.tasks.decide.task import DecideSettings as S\n"
        "plan = c.Plan('decide', 'train', 6, S(minutes=5, records_per_episode=4), ('cologne1',))\n"
        "c.collect(plan, Path(sys.argv[1]), 1, lambda *told: None)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(command, env=environment)
    while len(list(tmp_path.rglob("*.gz"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("0*.gz")}
    assert subprocess.run(command, env=environment, timeout=120).returncode == 0
    assert len(list((tmp_path / "train").glob("*.gz"))) == 6
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    assert len(FILES.read_manifest(tmp_path)["shards"]) == 6


def test_registry_has_the_training_scenarios() -> None:
    assert "train" in registry.load("cologne1").tags
