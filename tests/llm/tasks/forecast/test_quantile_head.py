"""The forecast head and the language model that it reads: markers, training, files that do not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.cli import forecast as forecast_cli
from llm.backbone import cards
from llm.backbone.loading import Backbone, BackboneError, load
from llm.records import shards
from llm.records.shards import RecordError
from llm.tasks.forecast import adapter_training as forecast_tuning
from llm.tasks.forecast import head_training as forecast_training
from llm.tasks.forecast import quantile_head as heads
from llm.tasks.forecast.adapter_training import Tuning, tune_forecast
from llm.tasks.forecast.forecasters import ForecastError, checked, make
from llm.tasks.forecast.head_training import ForecastTraining, Reader, train_forecast
from llm.tasks.forecast.language_model import LanguageModelForecaster, NumbersOnly, WithoutReports
from llm.tasks.forecast.network_fit import Fit, Lessons
from llm.tasks.forecast.prompt import Place
from llm.tasks.forecast.quantile_head import QuantileHead
from llm.tasks.forecast.records import ForecastRecord, states
from llm.tasks.forecast.scaled_space import BAND, anchors, pinball
from llm.tasks.forecast.state import QUANTILES
from tests.support.forecasts import make_record, make_report, make_state, write_folder
from tests.support.llm_tiny import cut, write_adapter, write_model

TRAIN = [make_record(number, closed=number % 4 == 0) for number in range(80)]
VALIDATION = [make_record(number, closed=number % 4 == 0) for number in range(100, 120)]
QUICK = ForecastTraining(members=2, plain=Fit(epochs=25, batch=32, learning_rate=5e-3), text=Fit(epochs=3))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("tiny"), layers=2)


@pytest.fixture(scope="module")
def backbone(model: Path) -> Backbone:
    return load(str(model))


# --- the head


def test_an_untrained_head_says_the_anchor() -> None:
    head = QuantileHead(8, 5).eval()
    said = head(torch.randn(4, 8), torch.randn(4, 5))
    torch.testing.assert_close(said, torch.tensor([-BAND, 0.0, BAND]).expand(4, 3, 2, 3))


def test_quantiles_never_cross() -> None:
    torch.manual_seed(0)
    head = QuantileHead(8, 5).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(0, 3)
    said = head(torch.randn(500, 8), torch.randn(500, 5))
    assert (said.diff(dim=-1) >= 0).all()
    assert said.std() > 1


def test_a_head_without_facts_reads_none() -> None:
    torch.manual_seed(0)
    head = QuantileHead(8, 0).eval()
    with torch.no_grad():
        head.text.direct.weight.normal_()
    features = torch.randn(3, 8)
    torch.testing.assert_close(head(features, torch.zeros(3, 5)), head(features, torch.ones(3, 5)))
    assert not torch.allclose(head(features, torch.zeros(3, 5)), head(-features, torch.zeros(3, 5)))


def test_the_members_mean_counts() -> None:
    torch.manual_seed(0)
    head = QuantileHead(8, 5, members=3).eval()
    for tower in head.plain:
        tower.direct.weight.data.normal_()
    facts = torch.randn(4, 5)
    each = [QuantileHead(8, 5) for _ in range(3)]
    for one, tower in zip(each, head.plain, strict=True):
        one.plain[0].load_state_dict(tower.state_dict())
    medians = torch.stack([one.eval().plainly(facts)[..., 1] for one in each])
    torch.testing.assert_close(head.plainly(facts)[..., 1], medians.mean(0))
    assert medians.std(0).min() > 0.01
    torch.testing.assert_close(head(torch.randn(4, 8), facts), head.plainly(facts))  # no text read yet


def test_the_loss_is_the_pinball_loss_of_what_is_known() -> None:
    rng = np.random.default_rng(0)
    said, came = np.sort(rng.normal(size=(6, 3, 2, 3)), axis=-1), rng.normal(size=(6, 3, 2))
    came[0, 1, 0] = np.nan
    weight = torch.ones(6, 3, 2)
    expected = np.nanmean(pinball(came, said, QUANTILES))
    found = heads.pinball_loss(heads.tensor(said), heads.tensor(came), weight)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    weight[0, 1, 0] = 100.0  # of a number that nobody knows
    assert float(heads.pinball_loss(heads.tensor(said), heads.tensor(came), weight)) == pytest.approx(
        expected, rel=1e-5
    )


def test_lessons_weigh_errors_as_they_are_scored() -> None:
    lessons = Lessons.of(TRAIN)
    noise = anchors(np.concatenate([record.state.fields for record in TRAIN]))[1]
    np.testing.assert_allclose(lessons.weight.numpy() * noise.mean(axis=0), noise, rtol=1e-5)


# --- hidden states at the markers


def test_the_markers_are_the_last_tokens(backbone: Backbone) -> None:
    reader = Reader(backbone)
    (ids,) = reader.token_ids([TRAIN[0].state])
    words = [backbone.tokenizer.decode([token]).strip() for token in ids[-2:]]
    assert words == ["A", "B"]
    assert reader.tokens == len(ids)


def test_reading_does_not_depend_on_the_others(backbone: Backbone) -> None:
    mixed = [make_record(k, approaches=1 + k % 4).state for k in range(9)]
    together = Reader(backbone).read(mixed)
    alone = torch.cat([Reader(backbone).read([state]) for state in mixed])
    assert together.shape == (sum(len(state.approaches) for state in mixed), 16)
    torch.testing.assert_close(together, alone, atol=3e-2, rtol=3e-2)  # in bfloat16 where the processor has it


def test_every_marker_sees_every_fact(backbone: Backbone) -> None:
    traffic = np.ones((3, 10))
    plain = Reader(backbone).read([make_state(traffic)])
    for row in range(3):
        changed = traffic.copy()
        changed[row, 0] = 77
        other = Reader(backbone).read([make_state(changed)])
        assert ((other - plain).abs().amax(dim=1) > 1e-4).all()


def test_a_tokenizer_that_splits_markers(tmp_path: Path) -> None:
    splitting = load(str(write_model(tmp_path / "split", layers=1, splits_letters=True)))
    with pytest.raises(BackboneError, match="no token of its own for every marker in 'Next A B'"):
        Reader(splitting).read([TRAIN[0].state])


# --- training


def test_a_trained_head_beats_the_anchor_and_is_read_again(backbone: Backbone, model: Path, tmp_path: Path) -> None:
    noted = train_forecast(backbone, TRAIN, VALIDATION, tmp_path, QUICK)
    untrained = _error(np.repeat(anchors(_fields(VALIDATION))[0][..., None], 3, axis=-1))
    forecaster = make(f"language_model:head={tmp_path}")
    said = checked("language_model", forecaster, states(VALIDATION))
    assert _error(said) < 0.6 * untrained
    assert noted["losses"]["best"] <= noted["losses"]["plain"]
    assert (noted["layers"], noted["base"], noted["train_prompts"]) == (2, str(model), 80)


def test_text_alone_can_be_learnt_from(backbone: Backbone, tmp_path: Path) -> None:
    only = replace(QUICK, facts=False, dropout=0.0, text=Fit(epochs=40, batch=16, learning_rate=1e-2))
    noted = train_forecast(backbone, TRAIN, VALIDATION, tmp_path, only)
    assert noted["losses"]["best"] < 0.9 * noted["losses"]["plain"]


def test_limits_read_fewer_prompts(backbone: Backbone, tmp_path: Path) -> None:
    noted = train_forecast(backbone, TRAIN, VALIDATION, tmp_path, QUICK, limits=(10, 5))
    assert (noted["train_prompts"], noted["validation_prompts"]) == (10, 5)
    assert [record.state.time_s for record in shards.thinned(TRAIN, 3)] == [TRAIN[k].state.time_s for k in (0, 40, 79)]


def test_low_rank_adaptation_leaves_an_adapter_and_a_head(model: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    tuning = Tuning(rank=4, epochs=4, batch=8, learning_rate=1e-2, head=replace(QUICK, facts=False, dropout=0.0))
    noted = tune_forecast(load(str(model)), TRAIN, VALIDATION, tmp_path, tuning, (0, 0), {"seen": 1}, lines.append)
    assert noted["losses"]["best"] < 0.9 * noted["losses"]["plain"]
    assert len(lines) == len(noted["losses"]["on_the_way"]) > 3
    assert noted["seen"] == 1
    forecaster = LanguageModelForecaster(str(tmp_path))
    said = checked("language_model", forecaster, states(VALIDATION))
    assert forecaster.about["adapter_sha256"]
    assert forecast_tuning.forecast_loss(forecaster._reader, forecaster.head, VALIDATION).item() == pytest.approx(
        noted["losses"]["best"], rel=0.05
    )
    assert _error(said) < _error(np.repeat(anchors(_fields(VALIDATION))[0][..., None], 3, axis=-1))
    card = cards.read_card(tmp_path)
    assert card is not None
    assert card.layers == 2


def test_the_command_trains_an_adapter_with_the_head(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = write_folder(tmp_path / "records", train=24, validation=8), tmp_path / "tuned"
    with pytest.raises(ForecastError, match=r"gets an adapter of its own: leave --adapter or --tune out\.$"):
        forecast_cli.train_forecast(folder, adapter=out, tune=True)
    forecast_cli.train_forecast(folder, out, str(model), layers=2, tune=True, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert said["losses"]["best"] <= said["losses"]["plain"]
    about = LanguageModelForecaster(str(out)).about
    assert about["adapter_sha256"]
    assert about["records_sha256"] == said["records_sha256"]
    card, text = cards.read_card(out), (out / cards.TEXT).read_text()
    assert card is not None
    assert (card.task, card.records_sha256) == (cards.FORECASTS, said["records_sha256"])
    assert text.startswith("# Adapter for forecasts\n")
    assert "Forecast head" in text
    assert "Regret" not in text
    assert not load(str(model), adapter=out).by_line  # it has not learnt to answer where a phase's line ends
    cards.write_card(out, replace(card, task=cards.DECISIONS))
    with pytest.raises(ForecastError, match=r"holds an adapter that is not for forecasts; choose another --out"):
        forecast_cli.train_forecast(folder, out, str(model), layers=2, tune=True)
    assert cards.read_card(out) == replace(card, task=cards.DECISIONS)
    with pytest.raises(ForecastError, match=r"holds an adapter: give it as --adapter"):
        forecast_cli.train_forecast(folder, out, str(model), layers=2)
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot be written"):  # before the training, not after it
        forecast_cli.train_forecast(folder, tmp_path / "file/head", "no model")


def test_gradients_reach_the_adapter(model: Path) -> None:
    adapted = forecast_tuning._adapted(load(str(model)), Tuning(rank=2))
    head = QuantileHead(16, Lessons.of(TRAIN).facts.shape[1])
    with torch.no_grad():
        head.text.direct.weight.normal_()
    forecast_tuning.forecast_loss(Reader(adapted), head, TRAIN[:4]).backward()
    moved = [name for name, p in adapted.model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert moved
    assert all("lora_B" in name for name in moved)


# --- reports


def test_without_reports_is_the_same_model(backbone: Backbone, tmp_path: Path) -> None:
    train_forecast(backbone, TRAIN, VALIDATION, tmp_path, QUICK)
    told, silent = LanguageModelForecaster(str(tmp_path)), WithoutReports(str(tmp_path))
    quiet = [make_record(1).state, make_record(2).state]
    np.testing.assert_array_equal(told.forecast(quiet), silent.forecast(quiet))
    loud = make_state(TRAIN[1].state.fields[:, :10], places=[Place(make_report(), "on", (0,))])
    loud.fields[0, -12] = 1.0
    assert not np.array_equal(told.forecast([loud]), silent.forecast([loud]))
    np.testing.assert_array_equal(silent.forecast([loud]), told.forecast([loud.without_reports()]))


def test_nothing_is_read_where_the_text_adds_nothing(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    head = QuantileHead(16, Lessons.of(TRAIN).facts.shape[1])
    head.plain[0].direct.weight.data.normal_(0, 0.1)
    assert not head.reads_features
    head.save(tmp_path, forecast_training.noted_base(backbone))
    forecaster = LanguageModelForecaster(str(tmp_path), backbone=backbone)
    read = forecaster.head(forecaster._reader.read(states(TRAIN)), Lessons.of(TRAIN).facts)
    torch.testing.assert_close(read, forecaster.head.plainly(Lessons.of(TRAIN).facts))
    monkeypatch.setattr(Reader, "read", None)
    quick = forecaster.forecast(states(TRAIN))
    np.testing.assert_array_equal(quick, NumbersOnly(str(tmp_path)).forecast(states(TRAIN)))
    forecaster.head.text.direct.weight.data[0, 0] = 1.0
    assert forecaster.head.reads_features


# --- files that do not fit


@pytest.fixture
def head(backbone: Backbone, tmp_path: Path) -> Path:
    QuantileHead(16, Lessons.of(TRAIN).facts.shape[1]).save(tmp_path, forecast_training.noted_base(backbone))
    return tmp_path


def test_a_damaged_head(head: Path) -> None:
    cut(head / heads.FILE)
    with pytest.raises(ForecastError, match=r"forecast head in .* is damaged"):
        LanguageModelForecaster(str(head))


@pytest.mark.parametrize("text", ["{", "{}", '{"prompt_version": 1}'])
def test_a_damaged_note(text: str, head: Path) -> None:
    (head / heads.ABOUT).write_text(text)
    with pytest.raises(ForecastError, match="is damaged"):
        LanguageModelForecaster(str(head))


def test_reports_are_read_or_not(head: Path) -> None:
    with pytest.raises(ForecastError, match="reports is 'maybe'; choose one of True, False"):
        make(f"language_model:head={head},reports=maybe")


@pytest.mark.parametrize("key", ["base", "base_sha256", "adapter_sha256", "layers"])
def test_a_note_without_what_it_was_trained_on(key: str, head: Path) -> None:
    about = json.loads((head / heads.ABOUT).read_text())
    del about[key]
    (head / heads.ABOUT).write_text(json.dumps(about))
    with pytest.raises(ForecastError, match=f"lacks {key}"):
        LanguageModelForecaster(str(head))


def test_a_head_whose_weights_are_not_finite(head: Path) -> None:
    weights = load_file(head / heads.FILE)
    name = min(name for name, values in weights.items() if values.is_floating_point())
    save_file({**weights, name: weights[name] * float("nan")}, head / heads.FILE)
    with pytest.raises(ForecastError, match="weights are not finite"):
        LanguageModelForecaster(str(head))


def _with_note(head: Path, **changes: object) -> None:
    file = head / heads.ABOUT
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_head_for_other_prompts(head: Path) -> None:
    _with_note(head, prompt_version=0)
    with pytest.raises(ForecastError, match="made for forecast prompts of version 0"):
        LanguageModelForecaster(str(head))


def test_a_head_for_another_model(head: Path, model: Path) -> None:
    sentence = "trained on another model, adapter or number of layers"
    with pytest.raises(ForecastError, match=sentence):
        LanguageModelForecaster(str(head), backbone=load(str(model), layers=1))
    _with_note(head, base_sha256="0")
    with pytest.raises(ForecastError, match=sentence):
        LanguageModelForecaster(str(head))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_a_head_for_an_adapter_that_is_gone(head: Path, model: Path) -> None:
    write_adapter(head, model)
    adapted = load(str(model), adapter=head)
    QuantileHead(16, Lessons.of(TRAIN).facts.shape[1]).save(head, forecast_training.noted_base(adapted))
    LanguageModelForecaster(str(head))
    (head / "adapter_model.safetensors").unlink()
    with pytest.raises(ForecastError, match=r"holds no adapter_model\.safetensors"):
        LanguageModelForecaster(str(head))


def test_states_that_are_not_finite(backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reader, "read", lambda self, states: torch.full((1, 16), float("nan")))
    with pytest.raises(BackboneError, match="hidden states that are not finite"):
        train_forecast(backbone, TRAIN, VALIDATION, tmp_path, QUICK)


@pytest.mark.parametrize(
    "place", ["llm.tasks.forecast.head_training.Reader.hidden", "llm.tasks.forecast.head_training.fit"]
)
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), MemoryError()]
)
def test_out_of_memory_is_one_sentence(
    error: Exception, place: str, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(place, broken)
    with pytest.raises(BackboneError, match=r"ran out of memory; read fewer prompts .* another device\.$"):
        train_forecast(backbone, TRAIN, VALIDATION, tmp_path, QUICK)
    assert not list(tmp_path.iterdir())


def test_out_of_memory_while_an_adapter_is_tuned(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr(forecast_tuning, "forecast_loss", broken)
    with pytest.raises(BackboneError, match=r"ran out of memory; read fewer prompts .* another device\.$"):
        tune_forecast(load(str(model)), TRAIN, VALIDATION, tmp_path, Tuning(rank=2, head=QUICK))
    assert not list(tmp_path.iterdir())


def _fields(records: list[ForecastRecord]) -> np.ndarray:
    return np.concatenate([record.state.fields for record in records])


def _error(said: np.ndarray) -> float:
    came = np.concatenate([record.came for record in VALIDATION])
    return float(np.abs(said[..., 0, 1] - came[..., 0]).mean())
