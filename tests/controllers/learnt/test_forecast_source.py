"""Forecasts in decision prompts, in real SUMO: each source says what it claims to, and costs what it costs."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.records.collect import Plan, collect, records_of
from benchmarks.run.cell import Cell, run_cell
from controllers.base import ControllerError, RunContext
from controllers.classical.greedy import Greedy
from controllers.learnt import forecast_source
from controllers.learnt.language_model import LanguageModel
from controllers.registry import make
from llm.backbone.loading import load
from llm.engine.head_training import about_base
from llm.engine.heads import RowHead, save_head
from llm.engine.lessons import Lessons
from llm.tasks.base import Schooling
from llm.tasks.decide.prompt import phase_arrivals
from llm.tasks.decide.task import DecideSettings
from llm.tasks.forecast.forecasters import Forecaster, ForecastError
from llm.tasks.forecast.language_model import LanguageModelForecaster
from llm.tasks.forecast.records import ANSWER
from llm.tasks.forecast.state import ForecastState, ForecastWatch
from llm.tasks.registry import made
from scenarios import resco
from scenarios.spec import Scenario
from sim.engine.session import Session
from sim.network import Network
from sim.observation import Observation
from sim.timings import NATIVE
from tests.support.helpers import corridor, make_observation
from tests.support.llm_tiny import write_adapter, write_model
from tests.support.records import make_record

# PEFT 0.21 asks transformers 5 by an old name where these tests make adapters
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

MINUTES = 4
Seen = tuple[Observation, dict[str, str], dict[str, int]]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def adapter(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter with a forecast head beside it."""
    import torch

    folder = write_adapter(tmp_path_factory.mktemp("adapters") / "adapter", llama)
    torch.manual_seed(0)
    head = RowHead(ANSWER, 16, 0)
    head.text.direct.weight.data.normal_(0, 0.3)
    about = about_base(made("forecast"), load(str(llama), adapter=folder), folder)
    save_head(head, folder, "forecast", about)
    return folder


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    whole = resco.load("cologne1")
    return whole.with_(end_s=whole.begin_s + 60 * MINUTES)


def controller_of(llama: Path, adapter: Path | None, forecast: str) -> LanguageModel:
    return LanguageModel(str(llama), adapter, precision="fp32", forecast=forecast)


def drive(controller: LanguageModel, scenario: Scenario) -> list[Seen]:
    """Every observation with the prompts and decisions that it led to."""
    seen: list[Seen] = []
    with Session(scenario, 1) as session:
        observation = session.start()
        controller.context = RunContext(scenario, 1, NATIVE)
        controller.reset(session.network, 1)
        while not session.done:
            decisions = dict(controller.act(observation))
            prompts = {name: str(note["prompt"]) for name, note in controller.notes().items()}
            seen.append((observation, prompts, {name: int(phase) for name, phase in decisions.items()}))  # type: ignore[call-overload]
            observation = session.step(decisions)
    return seen


def told(prompt: str) -> list[str]:
    """What each phase's line says of arrivals."""
    return re.findall(r" next(\d*\??)", prompt)


def each(seen: list[Seen], network: Network) -> Iterator[tuple[Observation, str, list[str]]]:
    for observation, prompts, _ in seen:
        for name, prompt in prompts.items():
            yield observation, name, told(prompt)
            assert len(told(prompt)) in (0, len(network.signal(name).phases))


def test_no_forecast_is_the_default(llama: Path, scenario: Scenario, cologne1_network: Network) -> None:
    assert make(f"language_model:model={llama}").parameters()["forecast"] == "none"
    assert make(f"language_model:model={llama},forecast=none").parameters()["forecast"] == "none"
    said = [numbers for _, _, numbers in each(drive(controller_of(llama, None, "none"), scenario), cologne1_network)]
    assert said
    assert not any(said)


def test_persistence_says_the_last_minute_again(llama: Path, scenario: Scenario, cologne1_network: Network) -> None:
    some = False
    for observation, name, numbers in each(
        drive(controller_of(llama, None, "persistence"), scenario), cologne1_network
    ):
        expected = phase_arrivals(cologne1_network.signal(name), observation.flow_veh_h[:, 0] / 60)
        assert numbers == expected
        some = some or any(number not in ("0", "?") for number in numbers)
    assert some


def test_reference_says_what_came_under_greedy(
    llama: Path, scenario: Scenario, cologne1_network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = drive(controller_of(llama, None, "reference"), scenario)
    with monkeypatch.context() as patch:  # the run under greedy is driven once
        patch.setattr(forecast_source, "_drive", None)
        again = drive(controller_of(llama, None, "reference"), scenario)
    assert [(prompts, phases) for _, prompts, phases in again] == [(prompts, phases) for _, prompts, phases in seen]
    counts = greedy_counts(scenario)
    for observation, name, numbers in each(seen, cologne1_network):
        minute, second = divmod(int(observation.time_s - scenario.begin_s), 60)
        if minute + 1 < MINUTES:
            share = second / 60
            veh = (1 - share) * counts[minute + 1] + share * counts[minute + 2]
            assert numbers == phase_arrivals(cologne1_network.signal(name), veh)
        elif second:  # past the run's end nobody knows
            assert set(numbers) == {"?"}


def greedy_counts(scenario: Scenario) -> dict[int, np.ndarray]:
    """By the minute's number from 1: what the loops counted in it."""
    found, greedy = {}, Greedy()
    with Session(scenario, 1) as session:
        observation = session.start()
        greedy.reset(session.network, 1)
        while True:
            if (observation.time_s - scenario.begin_s) % 60 == 0:
                found[int(observation.time_s - scenario.begin_s) // 60] = observation.flow_veh_h[:, 0] / 60
            if session.done:
                return found
            observation = session.step(greedy.act(observation))


def test_own_says_the_heads_median_from_minute_to_minute(
    llama: Path, adapter: Path, scenario: Scenario, cologne1_network: Network
) -> None:
    controller = controller_of(llama, adapter, "own")
    seen = drive(controller, scenario)
    forecaster = LanguageModelForecaster(str(adapter))
    watch, veh, different = ForecastWatch(cologne1_network, scenario.begin_s), None, set()
    for observation, prompts, _ in seen:
        if watch.see(observation):
            states = watch.states(observation)
            veh = watch.lane_arrivals(states, forecaster.forecast(states))
        assert veh is not None
        for name, prompt in prompts.items():
            assert told(prompt) == phase_arrivals(cologne1_network.signal(name), veh)
            different.add(tuple(told(prompt)))
    assert len(different) > 1
    assert controller.counters()["forecasts_failed"] == 0
    repeated = drive(controller, scenario)
    assert [phases for _, _, phases in repeated] == [phases for _, _, phases in seen]


def test_remembered_prompts_are_those_with_the_same_forecast(llama: Path) -> None:
    network = corridor()
    controller = controller_of(llama, None, "persistence")
    controller.reset(network, 0)
    few, many = (make_observation(network, flow_veh_h=np.full((5, 3), veh * 60.0)) for veh in (1, 9))
    read = []
    for observation in (few, many, few):
        controller.act(observation)
        read.append(controller.counters()["tokens"])
    assert 0 < read[0] < read[1] == read[2]


def test_a_head_that_fails_stops_no_run(
    llama: Path, adapter: Path, scenario: Scenario, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(LanguageModelForecaster, "forecast", broken)
    controller = controller_of(llama, adapter, "own")
    with caplog.at_level(logging.WARNING, "greenloop"):
        seen = drive(controller, scenario)
    assert {number for _, prompts, _ in seen for prompt in prompts.values() for number in told(prompt)} == {"?"}
    assert controller.counters()["forecasts_failed"] == MINUTES
    assert controller.counters()["fallbacks"] == 0
    assert caplog.messages == ["The forecast failed (RuntimeError: boom); prompts say that arrivals are unknown."]


def test_a_forecast_counts_as_time_of_the_decision(
    llama: Path, adapter: Path, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecast = LanguageModelForecaster.forecast

    def slow(*args: object) -> object:
        time.sleep(0.5)
        return forecast(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(LanguageModelForecaster, "forecast", slow)
    spec = f"language_model:model={llama},adapter={adapter},precision=fp32,forecast=own"
    found = run_cell(Cell(scenario.with_(end_s=scenario.begin_s + 30), spec, 1))
    assert found.metrics["decision_latency_p95_ms"] > 300


@pytest.mark.parametrize("name", ["reference", "own"])
def test_sources_that_need_the_scenario(name: str, llama: Path, adapter: Path) -> None:
    with pytest.raises(ControllerError, match=f"forecast={name} needs the run's scenario"):
        controller_of(llama, adapter, name).reset(corridor(), 0)


def test_no_such_source(llama: Path) -> None:
    with pytest.raises(ControllerError, match="forecast is 'oracle'; choose one of none, persistence, reference, own"):
        controller_of(llama, None, "oracle")


def test_own_without_a_head(llama: Path, tmp_path: Path, scenario: Scenario, cologne1_network: Network) -> None:
    without = write_adapter(tmp_path / "adapter", llama)
    for folder, sentence in ((without, r"adapter .* has none"), (None, "without an adapter has none")):
        controller = controller_of(llama, folder, "own")
        controller.context = RunContext(scenario, 1, NATIVE)
        with pytest.raises(ControllerError, match=rf"{sentence}.*run 'greenloop train forecast"):
            controller.reset(cologne1_network, 1)


def test_a_head_of_another_adapter(
    llama: Path, adapter: Path, tmp_path: Path, scenario: Scenario, cologne1_network: Network
) -> None:
    other = write_adapter(tmp_path / "adapter", llama)
    for file in adapter.glob("forecast_head.*"):
        (other / file.name).write_bytes(file.read_bytes())
    controller = controller_of(llama, other, "own")
    controller.context = RunContext(scenario, 1, NATIVE)
    with pytest.raises(ControllerError, match="trained on another model, adapter or number of layers"):
        controller.reset(cologne1_network, 1)


# --- in records


class Constant(Forecaster):
    """Six vehicles a minute on every approach."""

    def forecast(self, states: Sequence[ForecastState]) -> np.ndarray:
        return np.full((sum(len(state.approaches) for state in states), 3, 2, 3), 360.0)


def test_records_can_note_own_forecasts(cologne1_network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.tasks.decide.task.forecaster", lambda _: Constant())
    settings = DecideSettings(minutes=5, records_per_episode=4)
    run = replace(made("decide").plan("train", 0, settings, ("cologne1",)), rates=None)
    own = replace(run, notes={**run.notes, "forecast_head": "any"})
    plain, noted = (records_of(made("decide"), one) for one in (run, own))
    assert plain
    for before, record in zip(plain, noted, strict=True):
        own = record.next_veh["own"]
        assert replace(record, next_veh=before.next_veh) == before
        assert set(record.next_veh) == {"persistence", "reference", "own"}
        for phase, number in zip(cologne1_network.signal(record.signal).phases, own, strict=True):
            roads = {cologne1_network.lane_edge[lane] for lane in phase.lanes}
            assert 0 < int(number) <= 6 * len(roads)


def test_records_of_a_head_that_is_not_there(tmp_path: Path) -> None:
    settings = DecideSettings(forecast_head=tmp_path)
    with pytest.raises(ForecastError, match=r"holds no forecast_head\.safetensors"):
        collect(Plan("decide", "train", 1, settings), tmp_path / "records", 1, lambda *_: None)


def test_training_takes_the_sources_that_a_record_has(llama: Path) -> None:
    from llm.tasks.decide.curriculum import DecideCurriculum
    from llm.tasks.decide.teaching import Teaching

    task, record = made("decide"), replace(make_record(), next_veh={"own": ["7", "7", "7"]})
    tokenizer = load(str(llama)).tokenizer
    schooling = Schooling(Teaching(teacher="shipped"), [record], [record], Path("unused"), fresh=True)
    data = Lessons(task, [record] * 60, tokenizer, DecideCurriculum(schooling, task.view, task.plain).lesson)
    data.epoch = 1
    some = ["next7" in tokenizer.decode(data[k]["input_ids"]) for k in range(60)]
    assert 15 < sum(some) < 45
