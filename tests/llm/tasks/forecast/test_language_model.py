"""The forecast head and the language model that it reads: markers, training, files that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from llm.backbone import cards
from llm.backbone.loading import Backbone, BackboneError, load
from llm.engine import heads
from llm.engine.fit import Fit
from llm.engine.head_training import about_base
from llm.engine.heads import RowHead, row_loss, save_head, tensor
from llm.engine.hidden import Reader
from llm.engine.train import Machine
from llm.engine.train import train as learn
from llm.engine.training import HeadTraining, training_of
from llm.tasks.base import TaskError
from llm.tasks.forecast.forecasters import ForecastError, checked, make
from llm.tasks.forecast.language_model import LanguageModelForecaster, NumbersOnly, WithoutReports
from llm.tasks.forecast.lessons import ANSWER, rows_of
from llm.tasks.forecast.prompt import Place
from llm.tasks.forecast.records import ForecastRecord, states
from llm.tasks.forecast.scaled_space import BAND, anchors, pinball
from llm.tasks.forecast.state import QUANTILES, ForecastState
from llm.tasks.registry import answerer, made
from tests.support.forecasts import make_record, make_report, make_state, write_folder
from tests.support.llm_tiny import cut, write_adapter, write_model

TASK = made("forecast")
TRAIN = [make_record(number, closed=number % 4 == 0) for number in range(80)]
VALIDATION = [make_record(number, closed=number % 4 == 0) for number in range(30)]
FACTS = rows_of(TRAIN).inputs[0]
QUICK = HeadTraining(members=2, plain=Fit(epochs=25, batch=32, learning_rate=5e-3), text=Fit(epochs=3))
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


def QuantileHead(width: int, facts: int = 0, **options: Any) -> RowHead:  # noqa: N802
    return RowHead(ANSWER, width, facts, **options)


def save(head: RowHead, folder: Path, backbone: Backbone) -> None:
    save_head(head, folder, "forecast", about_base(TASK, backbone, backbone.adapter))


def read(reader: Reader, known: list[ForecastState]) -> torch.Tensor:
    return reader.read([state.question for state in known])


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("records"), train=80, validation=30)


def train(model: Path, records: Path, out: Path, **changes: Any) -> dict[str, Any]:
    how = {"model": str(model), "layers": 2, "head": QUICK, **changes}
    return learn(TASK, training_of(TASK)(**how), [records], out, Machine(quiet=True))


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
    found = row_loss(ANSWER, tensor(said), tensor(came), weight)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    weight[0, 1, 0] = 100.0  # of a number that nobody knows
    assert float(row_loss(ANSWER, tensor(said), tensor(came), weight)) == pytest.approx(expected, rel=1e-5)


def test_lessons_weigh_errors_as_they_are_scored() -> None:
    lessons = rows_of(TRAIN)
    noise = anchors(np.concatenate([record.state.fields for record in TRAIN]))[1]
    np.testing.assert_allclose(lessons.weight.numpy() * noise.mean(axis=0), noise, rtol=1e-5)


# --- hidden states at the markers


def test_the_markers_are_the_last_tokens(backbone: Backbone) -> None:
    (text,) = Reader(backbone).marked([TRAIN[0].state.question])
    assert [backbone.tokenizer.decode([token]).strip() for token in text.tokens] == ["A", "B"]
    assert text.places == [len(text.ids) - 2, len(text.ids) - 1]


def test_reading_does_not_depend_on_the_others(backbone: Backbone) -> None:
    mixed = [make_record(k, approaches=1 + k % 4).state for k in range(9)]
    together = read(Reader(backbone), mixed)
    alone = torch.cat([read(Reader(backbone), [state]) for state in mixed])
    assert together.shape == (sum(len(state.approaches) for state in mixed), 16)
    torch.testing.assert_close(together, alone, atol=3e-2, rtol=3e-2)  # in bfloat16 where the processor has it


def test_every_marker_sees_every_fact(backbone: Backbone) -> None:
    traffic = np.ones((3, 10))
    plain = read(Reader(backbone), [make_state(traffic)])
    for row in range(3):
        changed = traffic.copy()
        changed[row, 0] = 77
        other = read(Reader(backbone), [make_state(changed)])
        assert ((other - plain).abs().amax(dim=1) > 1e-4).all()


# --- training


def test_a_trained_head_beats_the_anchor_and_is_read_again(model: Path, records: Path, tmp_path: Path) -> None:
    noted = train(model, records, tmp_path)
    untrained = _error(np.repeat(anchors(_fields(VALIDATION))[0][..., None], 3, axis=-1))
    said = checked("language_model", make(f"language_model:head={tmp_path}"), states(VALIDATION))  # the run folder
    assert _error(said) < 0.6 * untrained
    assert noted["losses"]["best"] <= noted["losses"]["plain"]
    again = answerer(TASK, f"model:adapter={tmp_path / 'adapter'}").answer([r.state.question for r in VALIDATION])
    np.testing.assert_allclose(again, said, rtol=1e-6)  # the generic answerer says the same
    about = json.loads((tmp_path / "adapter/forecast_head.json").read_text())
    assert (about["layers"], about["base"], about["prompt_version"]) == (2, str(model), TASK.prompt_version)


def test_text_alone_can_be_learnt_from(model: Path, records: Path, tmp_path: Path) -> None:
    text = Fit(epochs=40, batch=16, learning_rate=1e-2)
    how = QUICK.model_copy(update={"numbers": False, "dropout": 0.0, "text": text})
    noted = train(model, records, tmp_path, head=how)
    assert noted["losses"]["best"] < 0.9 * noted["losses"]["plain"]


def test_low_rank_adaptation_leaves_an_adapter_a_head_and_a_card(model: Path, records: Path, tmp_path: Path) -> None:
    how = {"method": "lora", "rank": 4, "epochs": 4, "batch": 8, "learning_rate": 1e-2, "eval_limit": 0, "patience": 99}
    noted = train(model, records, tmp_path, head=QUICK.model_copy(update={"numbers": False, "dropout": 0.0}), **how)
    assert noted["losses"]["best"] < 0.9 * noted["losses"]["plain"]
    forecaster = LanguageModelForecaster(str(tmp_path))
    said = checked("language_model", forecaster, states(VALIDATION))
    assert forecaster.about["adapter_sha256"]
    assert _error(said) < _error(np.repeat(anchors(_fields(VALIDATION))[0][..., None], 3, axis=-1))
    card, text = cards.read_card(tmp_path / "adapter"), (tmp_path / "adapter" / cards.TEXT).read_text()
    assert card is not None
    assert (card.layers, card.task, card.prompt_version) == (2, "forecast", TASK.prompt_version)
    assert text.startswith("# Adapter for the task 'forecast'\n")
    assert "## Forecast head" in text
    with pytest.raises(TaskError, match=r"holds a training with other method; choose another folder\.$"):
        train(model, records, tmp_path, **{**how, "method": "ia3"},
              head=QUICK.model_copy(update={"numbers": False, "dropout": 0.0}))  # fmt: skip


def test_a_head_may_lie_beside_another_tasks_adapter(model: Path, records: Path, tmp_path: Path) -> None:
    beside = write_adapter(tmp_path / "first", model, layers=2)
    base = load(str(model))
    cards.write_card(beside, cards.Card(str(model), base.model_sha256, 2, 5))
    assert train(model, records, tmp_path / "run", start=str(beside))["losses"]["best"] < 10
    forecaster = LanguageModelForecaster(str(beside))
    assert forecaster.about["adapter_sha256"] == forecaster._reader.backbone.adapter_sha256 is not None
    assert "## Forecast head" in (beside / cards.TEXT).read_text()


# --- reports


def test_without_reports_is_the_same_model(model: Path, records: Path, tmp_path: Path) -> None:
    train(model, records, tmp_path)
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
    head = QuantileHead(16, FACTS.shape[1])
    head.plain[0].direct.weight.data.normal_(0, 0.1)
    assert not head.reads_features
    save(head, tmp_path, backbone)
    forecaster = LanguageModelForecaster(str(tmp_path), backbone=backbone)
    whole = forecaster.head(read(forecaster._reader, states(TRAIN)), FACTS)
    torch.testing.assert_close(whole, forecaster.head.plainly(FACTS))
    monkeypatch.setattr(Reader, "read", None)
    quick = forecaster.forecast(states(TRAIN))
    np.testing.assert_array_equal(quick, NumbersOnly(str(tmp_path)).forecast(states(TRAIN)))
    forecaster.head.text.direct.weight.data[0, 0] = 1.0
    assert forecaster.head.reads_features


# --- files that do not fit


@pytest.fixture
def head(backbone: Backbone, tmp_path: Path) -> Path:
    save(QuantileHead(16, FACTS.shape[1]), tmp_path, backbone)
    return tmp_path


def test_a_damaged_head(head: Path) -> None:
    cut(heads.head_file(head, "forecast"))
    with pytest.raises(ForecastError, match=r"forecast head in .* is damaged"):
        LanguageModelForecaster(str(head))


@pytest.mark.parametrize("text", ["{", "{}", '{"prompt_version": 1}'])
def test_a_damaged_note(text: str, head: Path) -> None:
    (heads.about_file(head, "forecast")).write_text(text)
    with pytest.raises(ForecastError, match="is damaged"):
        LanguageModelForecaster(str(head))


def test_reports_are_read_or_not(head: Path) -> None:
    with pytest.raises(ForecastError, match="reports is 'maybe'; choose one of True, False"):
        make(f"language_model:head={head},reports=maybe")


@pytest.mark.parametrize("key", ["base", "base_sha256", "adapter_sha256", "layers"])
def test_a_note_without_what_it_was_trained_on(key: str, head: Path) -> None:
    about = json.loads((heads.about_file(head, "forecast")).read_text())
    del about[key]
    (heads.about_file(head, "forecast")).write_text(json.dumps(about))
    with pytest.raises(ForecastError, match=f"lacks {key}"):
        LanguageModelForecaster(str(head))


def test_a_head_whose_weights_are_not_finite(head: Path) -> None:
    weights = load_file(heads.head_file(head, "forecast"))
    name = min(name for name, values in weights.items() if values.is_floating_point())
    save_file({**weights, name: weights[name] * float("nan")}, heads.head_file(head, "forecast"))
    with pytest.raises(ForecastError, match="weights are not finite"):
        LanguageModelForecaster(str(head))


def _with_note(head: Path, **changes: object) -> None:
    file = heads.about_file(head, "forecast")
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_head_for_other_prompts(head: Path) -> None:
    _with_note(head, prompt_version=0)
    with pytest.raises(ForecastError, match=r"head in .* was made for prompt_version 0, facts_version"):
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
    save(QuantileHead(16, FACTS.shape[1]), head, adapted)
    LanguageModelForecaster(str(head))
    (head / "adapter_model.safetensors").unlink()
    with pytest.raises(ForecastError, match=r"holds no adapter_model\.safetensors"):
        LanguageModelForecaster(str(head))


def test_states_that_are_not_finite(
    model: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reader, "read", lambda self, questions: torch.full((1, 16), float("nan")))
    with pytest.raises(BackboneError, match="hidden states that are not finite"):
        train(model, records, tmp_path)


@pytest.mark.parametrize("place", ["llm.engine.hidden.hidden_at", "llm.engine.head_training.fit"])
@pytest.mark.parametrize("method", ["frozen", "lora"])
def test_out_of_memory_is_one_sentence(
    method: str, place: str, model: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr(place, broken)
    with pytest.raises(TaskError, match=r"ran out of memory; give a smaller batch"):
        train(model, records, tmp_path, method=method)
    assert not (tmp_path / "adapter").exists()


def _fields(records: list[ForecastRecord]) -> np.ndarray:
    return np.concatenate([record.state.fields for record in records])


def _error(said: np.ndarray) -> float:
    came = np.concatenate([record.came for record in VALIDATION])
    return float(np.abs(said[..., 0, 1] - came[..., 0]).mean())
