"""``--charge-latency``, the decision log and what makes another cell, on real SUMO."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.run import cell as cells
from benchmarks.run.benchmark import Request, plan
from benchmarks.run.cell import Cell, run_cell, stem
from benchmarks.run.latency_charge import late_step
from benchmarks.run.matrix import Job
from controllers.base import ControllerError
from controllers.learnt import language_model
from llm.backbone import precision
from scenarios import registry
from scenarios.spec import Scenario
from sim.engine.session import Session
from sim.timings import NATIVE

SLOW = """
import time
from greenloop import Controller

class Slow(Controller):
    def __init__(self, seconds=0.0):
        self.seconds = seconds
    def act(self, observation):
        time.sleep(self.seconds)
        return {s.id: (int(observation.phase[s.index]) + 1) % len(s.phases)
                for s in self.network.controllable if observation.due[s.index]}
    def notes(self):
        return {s.id: {"mood": "fine"} for s in self.network.controllable}
"""


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("user") / "slow.py"
    file.write_text(SLOW)
    return f"{file}:Slow"


@pytest.fixture(scope="module")
def minute() -> Scenario:
    scenario = registry.load("cologne1")
    return scenario.with_(end_s=scenario.begin_s + 62.0)


@pytest.mark.parametrize(
    ("took_s", "applied_s", "next_s"), [(0.2, 1, 5), (3.4, 4, 5), (5.0, 5, 5), (5.1, 6, 10), (900.0, 42, 42)]
)
def test_lights_stay_until_the_decision_is_made(
    took_s: float, applied_s: float, next_s: float, minute: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Session(minute, 1, NATIVE) as session:
        session.start()
        session.advance(seconds=20)  # so that its green is old enough to end
        begin_s, apply = session.time_s, session.apply
        applied: list[float] = []
        monkeypatch.setattr(session, "apply", lambda d: (applied.append(session.time_s - begin_s), apply(d)))
        observation, charged_s = late_step(session, {session.network.controllable[0].id: 1}, took_s)
        assert applied == [applied_s]
        assert charged_s == applied_s
        assert observation.time_s == begin_s + next_s
        assert observation.phase[session.network.controllable[0].index] == 1  # it is on its way


def test_nothing_decided_costs_nothing(minute: Scenario) -> None:
    with Session(minute, 1, NATIVE) as session:
        session.start()
        observation, charged_s = late_step(session, {}, 3.0)
    assert (charged_s, observation.time_s) == (0.0, minute.begin_s + 5)


def test_charged_and_uncharged_runs(slow: str, minute: Scenario, tmp_path: Path) -> None:
    plain = Cell(minute, f"{slow}:seconds=0.01", 1)
    charged, late = replace(plain, charge_latency=True), Cell(minute, f"{slow}:seconds=1.2", 1, charge_latency=True)
    results = [run_cell(cell) for cell in (plain, charged, late)]
    assert "charged_s" not in results[0].metrics
    assert results[1].metrics["charged_per_decision_s"] < 1.5
    assert results[2].metrics["charged_per_decision_s"] > 1.9  # the last one is cut by the horizon's end
    assert results[2].metrics["charged_s"] >= 10
    assert [result.controller.deterministic for result in results] == [True, False, False]
    assert results[1].timings["name"] == "native, latency charged"
    assert results[0].metrics["delay_s"] != results[2].metrics["delay_s"]
    assert stem(plain, "a") != stem(charged, "a")
    assert "latency-charged" in stem(charged, "a")


def test_the_options_arrive(minute: Scenario, tmp_path: Path) -> None:
    request = Request(scenarios=(minute,), controllers=("fixed_time",), seeds=(1,), out=tmp_path, charge_latency=True)
    assert plan(request).cells[0].charge_latency
    assert not plan(request).cells[0].decision_log
    assert plan(replace(request, decision_log=True)).cells[0].decision_log


def test_every_decision_is_logged(slow: str, minute: Scenario, tmp_path: Path) -> None:
    job = Job(Cell(minute, slow, 3, decision_log=True), tmp_path / "x.result.json")
    assert job.log_path == tmp_path / "x.decisions.jsonl"
    for _ in range(2):  # a repeated run starts its log anew
        run_cell(job.cell, log_file=job.log_path)
    lines = [json.loads(line) for line in job.log_path.read_text().splitlines()]
    times = [line["time_s"] for line in lines]
    assert times == sorted(times)
    assert len(set(times)) == len(times) > 3  # one signal
    assert times[0] == minute.begin_s
    assert {(line["scenario"], line["seed"], line["mood"]) for line in lines} == {(minute.name, 3, "fine")}
    assert {type(line["chosen"]) for line in lines} == {int}


def test_a_log_that_cannot_be_written(slow: str, minute: Scenario, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        run_cell(Cell(minute, slow, 3), log_file=tmp_path / "file" / "log.jsonl")


# --- what decides without being named


def test_another_shipped_adapter_is_another_cell(
    minute: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "default"
    cell = Cell(minute, "language_model", 1)
    monkeypatch.setattr(language_model.cards, "SHIPPED", shipped)
    with pytest.raises(ControllerError, match="adapter that ships is missing"):
        stem(cell, "a")
    shipped.mkdir()
    (shipped / "greenloop.json").write_text("{}")
    stems = []
    for weights in ("old", "newer", "old"):
        (shipped / "adapter_model.safetensors").write_text(weights)
        stems.append(stem(cell, "a"))
    assert stems[0] == stems[2] != stems[1]
    untuned = Cell(minute, "language_model_untuned", 1)
    before = stem(untuned, "a")
    shutil.rmtree(shipped)
    assert stem(untuned, "a") == before


def test_another_precision_is_another_cell(minute: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for units in (True, False):
        monkeypatch.setattr(precision, "has_bf16_units", lambda units=units: units)
        found[units] = [
            stem(Cell(minute, spec, 1), "a") for spec in ("language_model", "language_model:precision=fp32", "greedy")
        ]
    assert found[True][0] != found[False][0]
    assert found[True][1:] == found[False][1:]
    with pytest.raises(ControllerError, match="no precision 'int4'"):
        stem(Cell(minute, "language_model:precision=int4", 1), "a")


def test_a_log_is_no_part_of_a_cell(minute: Scenario, tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    cell = Cell(minute, f"language_model:log={log}", 1)
    before = stem(cell, "a")
    log.write_text("{}\n")
    assert stem(cell, "a") == before


def test_only_the_language_model_is_made_for_its_name(minute: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells.registry, "make", None)
    stem(Cell(minute, "greedy", 1), "a")
