"""Fine-tuning on tiny models: it learns, it resumes after a kill, and its adapters say what they were made for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from safetensors.torch import load_file, save_file

from benchmarks.figures import learning_curve
from controllers.base import ControllerError
from controllers.learnt.language_model import LanguageModel
from controllers.learnt.phase_net import PhaseNetController
from controllers.registry import make
from llm.backbone import cards
from llm.backbone.loading import BackboneError, load
from llm.backbone.precision import resolve
from llm.engine import run_folder
from llm.engine import train as training_module
from llm.engine.lessons import Lessons, LikeLengths
from llm.engine.row_trainer import RowTrainer
from llm.engine.train import Machine
from llm.engine.train import train as learn
from llm.engine.training import Training, training_of
from llm.records import shards
from llm.records.shards import RecordError
from llm.tasks.base import Schooling, TaskError
from llm.tasks.decide import phase_net
from llm.tasks.decide import phase_net_training as phase_net_fit
from llm.tasks.decide import records as dataset
from llm.tasks.decide.curriculum import UNKNOWN, DecideCurriculum
from llm.tasks.decide.phase_net import PhaseNet, PhaseNetError
from llm.tasks.decide.prompt import PROMPT_VERSION
from llm.tasks.decide.scorer import PhaseScorer
from llm.tasks.decide.teaching import Teaching
from llm.tasks.files import files, write_shard
from llm.tasks.registry import made
from sim.engine.session import Session
from tests.support.helpers import crossing, make_observation
from tests.support.llm_tiny import cut, write_adapter, write_model
from tests.support.records import make_record

# PEFT and transformers warn about names and versions of their own
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "llama", width=32)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    write(folder / "train/0.jsonl.gz", [make_record(i) for i in range(240)])
    write(folder / "validation/0.jsonl.gz", [make_record(i) for i in range(1000, 1060)])
    FILES.write_manifest(folder, {})
    return folder


TASK = made("decide")
FILES = files(TASK)


def write(path: Path, records: list[Any]) -> None:
    write_shard(TASK, path, "train", records)


def tiny(llama: Path, **changes: Any) -> Training:
    values: dict[str, Any] = {"layers": 2, "rank": 4, "temperature_veh_s": 2.0, "batch": 16, "eval_limit": 0}
    values |= {"epochs": 1.0, "evals_per_epoch": 2, **changes}
    own = {name: values.pop(name) for name in Teaching.model_fields if name in values}
    return training_of(TASK)(model=str(llama), task=Teaching(**own), **values)


def train(training: Training, records: list[Path], out: Path, quiet: bool = True) -> dict[str, Any]:
    return learn(TASK, training, records, out, Machine(quiet=quiet))


def schooled(records: list[Any], fresh: bool = True, **how: Any) -> DecideCurriculum:
    schooling = Schooling(Teaching(**{"teacher": "shipped", **how}), records, records, Path("unused"), fresh)
    return DecideCurriculum(schooling, TASK.view, TASK.plain)


def shown(llama: Path, records: list[Any]) -> Lessons:
    curriculum = schooled(records, distil=0.0)
    return Lessons(TASK, records, load(str(llama)).tokenizer, curriculum.lesson)


@pytest.fixture(scope="module")
def trained(llama: Path, records: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("runs") / "first"
    return out, train(tiny(llama, epochs=12.0, learning_rate=3e-2, patience=24), [records], out, quiet=True)


def test_it_learns_and_compares(trained: tuple[Path, dict[str, Any]]) -> None:
    _, metrics = trained
    rivals = metrics["rivals_regret_veh_s"]
    losses = [row["eval_loss"] for row in metrics["history"] if "eval_loss" in row]
    assert losses[-1] == pytest.approx(min(losses[:-1]), rel=1e-3)  # the kept step's, by the same measure
    assert metrics["regret_veh_s"] < 0.8 * metrics["untuned_regret_veh_s"]
    assert rivals["greedy"] == 0  # in these records it is the best by construction
    assert rivals["phase_net"] < 0.1 * rivals["random"]
    assert (metrics["train_records"], metrics["validation_records"]) == (240, 60)
    assert phase_net.PhaseNet.load(trained[0] / "phase_net").choose([np.array(make_record(5).facts)]) == [
        make_record(5).choices["greedy"]
    ]


def test_the_adapter_alone_is_enough(trained: tuple[Path, dict[str, Any]], llama: Path, records: Path) -> None:
    out, metrics = trained
    backbone = load(str(llama), adapter=out / "adapter")
    assert backbone.layers == 2
    validation = FILES.read_split(records, "validation")
    scorer = PhaseScorer(backbone, precision=resolve("auto", "cpu"))  # as it was measured; phases are near ties here
    scores = scorer.score([r.prompt for r in validation], [r.phases for r in validation])
    chosen = [int(score.argmax()) for score in scores]
    found = dataset.regret_veh_s(validation, chosen, 60.0)
    assert found == pytest.approx(metrics["regret_veh_s"], abs=0.3)  # merged weights round differently
    text = (out / "adapter" / cards.TEXT).read_text()
    for said in ("phase_net", "untuned", "'temperature_veh_s': 2.0", backbone.model_sha256, "240"):
        assert said in text


def test_phases_in_another_order_are_another_record(llama: Path) -> None:
    data = shown(llama, [make_record(3)])
    seen = set()
    for epoch in range(20):
        data.epoch = epoch
        item = data[0]
        text = data.tokenizer.decode(item["input_ids"])
        queues = [int(part.split()[0]) for part in text.split("queue")[1:]]
        np.testing.assert_array_equal(item["label"].argsort(), np.argsort(queues)[::-1])
        seen.add(tuple(queues))
        assert data[0]["input_ids"] == item["input_ids"]
    assert len(seen) > 3


def test_batches_of_like_lengths_in_no_order(llama: Path) -> None:
    many = [make_record(i, 2 + i % 5) for i in range(333)]
    data = shown(llama, many)
    orders = []
    for epoch in (1, 2, 1, 0):
        data.epoch = epoch
        orders.append(list(LikeLengths(data, 16, fresh=True)))
    assert sorted(orders[0]) == list(range(333))
    assert orders[0] == orders[2] != orders[1]
    halves = [np.mean([len(many[i].prompt) for i in half]) for half in (orders[3][:160], orders[3][-160:])]
    assert halves[0] < 0.8 * halves[1]  # the first epoch begins with the short ones
    lengths = [[len(many[i].prompt) for i in orders[0][start : start + 16]] for start in range(0, 320, 16)]
    assert np.mean([np.ptp(batch) for batch in lengths]) < 0.3 * np.ptp([len(record.prompt) for record in many])
    means = np.array([np.mean(batch) for batch in lengths])
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.6


def test_a_teacher_stands_in_for_costs(
    trained: tuple[Path, dict[str, Any]], llama: Path, records: Path, tmp_path: Path
) -> None:
    """Records without costs teach what the named plain network would do; what it learnt from is then left alone."""
    cheap = [replace(make_record(i), horizons_s=[], costs_veh_s=[]) for i in range(240)]
    write(tmp_path / "cheap/train/0.jsonl.gz", cheap)
    write(tmp_path / "cheap/validation/0.jsonl.gz", cheap[:20])
    FILES.write_manifest(tmp_path / "cheap", {})
    write(tmp_path / "seen/validation/0.jsonl.gz", [make_record(i) for i in range(1000, 1060)])
    FILES.write_manifest(tmp_path / "seen", {})
    folders = [tmp_path / "cheap", tmp_path / "seen"]
    training = tiny(llama, epochs=12.0, learning_rate=3e-2, patience=24, teacher=str(trained[0] / "phase_net"))
    metrics = train(training, folders, tmp_path / "out", quiet=True)
    assert metrics["regret_veh_s"] < 0.8 * metrics["untuned_regret_veh_s"]
    assert metrics["rivals_regret_veh_s"]["phase_net"] == trained[1]["rivals_regret_veh_s"]["phase_net"]
    assert (metrics["validation_records"], metrics["priced_validation_records"]) == (80, 60)
    assert not (tmp_path / "out/phase_net").exists()
    for changes, words in (
        ({"teacher": None}, "name one as task.teacher"),
        ({"teacher": str(tmp_path / "none")}, "no usable phase network"),
        ({"distil": 0.0}, "no costs and can only be learnt with task.distil"),
    ):
        how = training.model_copy(update={"task": training.task.model_copy(update=changes)})
        with pytest.raises(TaskError, match=words):
            train(how, folders, tmp_path / words, quiet=True)
    with pytest.raises(TaskError, match="No validation record has costs"):
        train(training, folders[:1], tmp_path / "unpriced", quiet=True)


def test_regret_is_that_of_the_records_with_costs() -> None:
    costs = np.array([[0.0, 4.0], [2.0, 0.0], [UNKNOWN, UNKNOWN]], dtype=np.float32)
    said = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    curriculum = schooled([make_record(1)])
    assert curriculum.metrics(said, costs) == {"regret_veh_s": 2.0, "cheapest_share": 0.5}
    assert curriculum.metrics(said[2:], costs[2:]) == {}


@pytest.mark.parametrize("method", ["adalora", "ia3", "head", "full"])
def test_other_methods(method: str, llama: Path, records: Path, tmp_path: Path) -> None:
    metrics = train(tiny(llama, method=method, train_limit=64), [records], tmp_path, quiet=True)
    assert np.isfinite(metrics["regret_veh_s"])
    folder = tmp_path / "adapter"
    loaded = load(str(folder)) if method == "full" else load(str(llama), adapter=folder)
    assert loaded.layers == 2


def test_going_on_from_an_adapter(
    trained: tuple[Path, dict[str, Any]], llama: Path, records: Path, tmp_path: Path
) -> None:
    """With as many layers, or with its first ones alone; never with more."""
    start = trained[0] / "adapter"
    changes = {"start": str(start), "train_limit": 64, "learning_rate": 1e-9}
    for layers in (2, 1):
        train(tiny(llama, layers=layers, **changes), [records], tmp_path / str(layers), quiet=True)
        new_one = load(str(llama), adapter=tmp_path / str(layers) / "adapter")
        assert new_one.layers == layers
        old = load(str(llama), adapter=start).model.state_dict()
        assert all(torch.allclose(new, old[name], atol=1e-5) for name, new in new_one.model.state_dict().items())
    with pytest.raises(TaskError, match="was trained with rank 4, not 8"):
        train(tiny(llama, rank=8, **changes), [records], tmp_path / "wider", quiet=True)
    assert not (tmp_path / "wider").exists()  # free for the command put right
    with pytest.raises(TaskError, match="give the model's folder as model, and no start"):
        train(tiny(llama, method="full", **changes), [records], tmp_path / "full", quiet=True)
    changes["start"] = str(tmp_path / "1" / "adapter")
    with pytest.raises(TaskError, match=r"no adapter of greenloop for 2 layers .* or more\.$"):
        train(tiny(llama, layers=2, **changes), [records], tmp_path / "deeper", quiet=True)


def test_half_an_adapter_is_nothing_to_go_on_from(
    trained: tuple[Path, dict[str, Any]], llama: Path, records: Path, tmp_path: Path
) -> None:
    half = Path(shutil.copytree(trained[0] / "adapter", tmp_path / "half"))
    weights = load_file(half / "adapter_model.safetensors")
    save_file(dict(list(weights.items())[::2]), half / "adapter_model.safetensors")
    with pytest.raises(TaskError, match=r"half cannot be gone on from .* weights that the model takes are missing"):
        train(tiny(llama, start=str(half)), [records], tmp_path / "out", quiet=True)


def test_a_folder_older_than_a_setting_goes_on(tmp_path: Path) -> None:
    """What it does not name was the default then; another value is another training."""
    defaults = {"patience": 4}
    run_folder.claim(tmp_path, {"seed": 1}, defaults)
    run_folder.claim(tmp_path, {"seed": 1, "patience": 4}, defaults)
    with pytest.raises(TaskError, match="a training with other patience; choose another folder"):
        run_folder.claim(tmp_path, {"seed": 1, "patience": 5}, defaults)


@pytest.mark.parametrize("text", ["{", "[]", "3", "null"])
def test_damaged_notes_of_a_training(text: str, tmp_path: Path) -> None:
    for file in (run_folder.SETTINGS_FILE, run_folder.METRICS_FILE, run_folder.BEFORE_FILE):
        (tmp_path / file).write_text(text)
    assert run_folder.ended(tmp_path) == run_folder.before(tmp_path) == {}  # measured and trained again
    if text != "[]":  # as if it named no setting
        with pytest.raises(TaskError, match=r"training\.json are damaged; choose another folder"):
            run_folder.claim(tmp_path, {"seed": 1}, {})


def test_copied_and_damaged_checkpoints_are_none(tmp_path: Path) -> None:
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-11", "checkpoint-12-old", "checkpoint-copy"):
        folder = tmp_path / "checkpoints" / name
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").write_text('{"global_step": 1}')
        save_file({"a": torch.zeros(9)}, folder / "adapter_model.safetensors")
    cut(tmp_path / "checkpoints/checkpoint-11/adapter_model.safetensors")
    assert run_folder.checkpoint(tmp_path) == str(tmp_path / "checkpoints/checkpoint-10")


def test_a_loss_that_is_not_finite_is_not_trained_on(
    llama: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RowTrainer, "evaluate", lambda *_: {"eval_loss": float("nan")})
    monkeypatch.setattr(RowTrainer, "train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(TaskError, match="before the first step is not finite"):
        train(tiny(llama, train_limit=32, teacher="shipped"), [records], tmp_path, quiet=True)


def test_only_the_head_learns(llama: Path, records: Path, tmp_path: Path) -> None:
    """The letters' rows of the output head change, and neither the layers nor the embeddings, also when loaded."""
    train(tiny(llama, method="head", learning_rate=1e-2), [records], tmp_path, quiet=True)
    before, after = load(str(llama), layers=2).model, load(str(llama), adapter=tmp_path / "adapter").model
    changed = {
        name
        for (name, old), new in zip(before.state_dict().items(), after.state_dict().values(), strict=True)
        if not torch.equal(old, new)
    }
    assert changed == {"lm_head.weight"}


def test_bf16_reaches_the_layers(llama: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Trainer's own autocast does not: it wraps a forward that the loss does not call."""
    kinds: set[tuple[bool, torch.dtype]] = set()
    silu = torch.nn.functional.silu
    monkeypatch.setattr(
        torch.nn.functional, "silu", lambda x, *rest: (kinds.add((x.requires_grad, x.dtype)), silu(x, *rest))[1]
    )
    train(tiny(llama, precision="bf16", train_limit=32), [records], tmp_path, quiet=True)
    assert {kind for learns, kind in kinds if learns} == {torch.bfloat16}


def test_other_settings_in_the_same_folder(trained: tuple[Path, dict[str, Any]], llama: Path, records: Path) -> None:
    with pytest.raises(TaskError, match="a training with other epochs, seed; choose another folder"):
        train(tiny(llama, seed=5, epochs=2.0, learning_rate=3e-2, patience=24), [records], trained[0], quiet=True)


def test_a_training_that_ended_is_not_done_again(
    trained: tuple[Path, dict[str, Any]], llama: Path, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, metrics = trained
    monkeypatch.setattr(RowTrainer, "train", lambda *_, **__: pytest.fail("trained again"))
    again = train(tiny(llama, epochs=12.0, learning_rate=3e-2, patience=24), [records], out, quiet=True)
    assert again == json.loads(json.dumps(metrics))


def test_two_trainings_in_one_folder(llama: Path, records: Path, tmp_path: Path) -> None:
    with shards.only_writer(tmp_path), pytest.raises(TaskError, match="Another command is writing to"):
        train(tiny(llama), [records], tmp_path, quiet=True)


def test_early_stopping_counts_on_after_a_stop(
    llama: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter is the same to the last bit as that of a run that nobody stopped."""
    training = tiny(llama, epochs=12.0, learning_rate=3e-2, patience=2, teacher="shipped", evals_per_epoch=4)
    whole = train(training, [records], tmp_path / "whole", quiet=True)
    steps = max(row["step"] for row in whole["history"])
    assert steps < 12 * 15  # it stopped early
    save, saved = RowTrainer._save_checkpoint, []

    def save_and_stop(trainer: Any, *arguments: Any) -> None:
        save(trainer, *arguments)
        saved.append(trainer.state.global_step)
        if trainer.state.global_step == steps - 3:  # the measurement before the last: one without a gain is counted
            raise KeyboardInterrupt

    monkeypatch.setattr(RowTrainer, "_save_checkpoint", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(training, [records], tmp_path / "stopped", quiet=True)
    after = train(training, [records], tmp_path / "stopped", quiet=True)
    assert max(row["step"] for row in after["history"]) == steps == saved[-1]
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "stopped/adapter" / name).read_bytes() == (tmp_path / "whole/adapter" / name).read_bytes()


def test_an_adapter_file_is_the_same_whatever_the_order_of_its_names(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """PEFT keeps them as a set; an adapter's hash, which forecast heads are bound to, counts their order."""
    found = json.loads((trained[0] / "adapter/adapter_config.json").read_text())["target_modules"]
    assert found == sorted(found)


def test_what_is_refused_claims_no_folder(
    trained: tuple[Path, dict[str, Any]], llama: Path, records: Path, tmp_path: Path
) -> None:
    short = Path(shutil.copytree(trained[0] / "adapter", tmp_path / "short"))
    cut(short / "adapter_model.safetensors")
    bad: list[tuple[dict[str, Any], str]] = [
        ({"layers": 99}, "99"),
        ({"teacher": str(tmp_path)}, "no usable phase network"),
        ({"start": str(trained[0])}, "no adapter of greenloop for 2 layers"),
        ({"start": str(tmp_path / "none")}, "no adapter of greenloop for 2 layers"),
        ({"horizon_s": 45.0}, "45"),
        ({"start": str(trained[0] / "adapter"), "method": "adalora"}, "adalora cannot go on"),
        ({"start": str(short)}, f"{short.name} is damaged"),
    ]
    for changes, words in bad:
        with pytest.raises((TaskError, BackboneError, RecordError), match=words):
            train(tiny(llama, **changes), [records], tmp_path / "out", quiet=True)
        assert not (tmp_path / "out").exists()


def test_an_adapter_for_forecasts_decides_nothing(llama: Path, records: Path, tmp_path: Path) -> None:
    folder = carded(tmp_path / "forecasts", llama, task="forecast")
    with pytest.raises(BackboneError, match="was trained for 'forecast', not for 'decide'"):
        train(tiny(llama, start=str(folder)), [records], tmp_path / "out", quiet=True)
    controller = LanguageModel(model=str(llama), adapter=str(folder))
    with pytest.raises(ControllerError, match="was trained for 'forecast', not for 'decide'"):
        controller.reset(crossing(), 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "magic"}, "no method 'magic'; choose one of lora"),
        ({"method": "frozen"}, "no method 'frozen'"),
        ({"precision": "fp8"}, "no precision 'fp8'"),
        ({"min_spread_veh_s": 1e9}, "collect more"),
    ],
)
def test_settings_that_make_no_sense(
    changes: dict[str, Any], words: str, llama: Path, records: Path, tmp_path: Path
) -> None:
    with pytest.raises(TaskError, match=words):
        train(tiny(llama, **changes), [records], tmp_path, quiet=True)


def test_records_of_another_prompt(llama: Path, records: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(records, tmp_path / "old"))
    manifest = json.loads((old / shards.MANIFEST).read_text())
    (old / shards.MANIFEST).write_text(json.dumps({**manifest, "prompt_version": 1}))
    with pytest.raises(RecordError, match=r"prompts of version 1 .*collect again\.$"):
        train(tiny(llama), [old], tmp_path / "out", quiet=True)


STEPS = ("evaluate", "train", "evaluate")  # of the Trainer, in this order
FULL = (
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
)


@pytest.mark.parametrize("broken", range(len(STEPS)))
@pytest.mark.parametrize("error", [*FULL, RuntimeError("shapes do not fit")], ids=lambda error: type(error).__name__)
def test_out_of_memory_is_one_sentence(
    error: Exception, broken: int, llama: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it happens; any other error stays what it is."""
    done: list[str] = []

    def step(name: str) -> Callable[..., dict[str, float]]:
        def call(*_: Any, **__: Any) -> dict[str, float]:
            done.append(name)
            if len(done) == broken + 1:
                raise error
            return {"eval_loss": 0.0}

        return call

    for name in set(STEPS):
        monkeypatch.setattr(RowTrainer, name, step(name))
    expected = TaskError if error in FULL else RuntimeError
    with pytest.raises(expected, match="smaller batch than 16" if error in FULL else "shapes do not fit") as told:
        train(tiny(llama, train_limit=32, teacher="shipped"), [records], tmp_path, quiet=True)
    assert done == list(STEPS[: broken + 1])
    assert type(told.value) is expected


def test_the_learning_curve_shows_what_was_measured(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *rest, **more: (figures.append(self), save(self, *rest, **more))
    )
    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "none")  # words stay words
    metrics, file = trained[1], tmp_path / "curve.svg"
    learning_curve.draw(metrics, file)
    left, right = ({line.get_label(): line.get_xydata() for line in part.lines} for part in figures[0].axes)

    def measured(key: str) -> list[list[float]]:
        return [[row["epoch"], row[key]] for row in metrics["history"] if key in row]

    assert len(measured("loss")) > len(measured("eval_loss")) > 6  # an epoch has several
    np.testing.assert_allclose(left["training"], measured("loss"))
    np.testing.assert_allclose(left["validation"], measured("eval_loss"))
    np.testing.assert_allclose(right.pop("language model, some records"), measured("eval_regret_veh_s"))
    ends = right.pop("before and after, all records")
    np.testing.assert_allclose(ends[:, 1], [metrics["untuned_regret_veh_s"], metrics["regret_veh_s"]])
    rivals = {name: value for name, value in metrics["rivals_regret_veh_s"].items() if name != "random"}
    assert {name: set(line[:, 1]) for name, line in right.items()} == {name: {rivals[name]} for name in rivals}
    drawn = file.read_text()
    for said in ("Validation regret", "regret (veh-s)", "Loss", "epoch", "before and after, all records", *rivals):
        assert f">{said}<" in drawn
    assert not pyplot.fignum_exists(figures[0].number)  # closed


def test_curves_go_to_tensorboard_where_it_is_installed(
    llama: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as if it were not
    assert training_module._reporters(tmp_path) == []
    monkeypatch.delitem(sys.modules, "tensorboard")
    (tmp_path / "packages/tensorboard").mkdir(parents=True)
    (tmp_path / "packages/tensorboard/__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    seen: dict[str, list[int]] = {}
    folders: list[str | None] = []

    class Writer:
        """What the Trainer asks of tensorboard's."""

        def __init__(self, log_dir: str | None) -> None:
            folders.append(log_dir)

        def add_scalar(self, name: str, _: float, step: int) -> None:
            seen.setdefault(name, []).append(step)

        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *_, **__: None

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    train(tiny(llama, train_limit=64, teacher="shipped"), [records], tmp_path / "out", quiet=True)
    assert set(folders) == {str(tmp_path / "out/tensorboard")}
    assert seen["train/loss"] == [1, 2, 3, 4]
    assert seen["eval/loss"] == seen["eval/regret_veh_s"] == [0, 2, 4, 4]  # the last: of the kept step


@pytest.mark.slow
def test_killed_training_goes_on(llama: Path, records: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from llm.engine.train import Machine, train; from llm.engine.training import training_of\n"
        "from llm.tasks.registry import made\n"
        "k = dict(model=sys.argv[1], layers=2, rank=4, batch=4, epochs=3, evals_per_epoch=6, patience=99)\n"
        "task = made('decide'); t = training_of(task)(**k)\n"
        "m = train(task, t, [Path(sys.argv[2])], Path(sys.argv[3]), Machine(quiet=True))\n"
        "print('steps', max(row['step'] for row in m['history']))"
    )
    command = [sys.executable, "-c", script, str(llama), str(records), str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not list((tmp_path / "run").glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    broken = tmp_path / "run/checkpoints/checkpoint-9999"  # what a kill in the middle of writing leaves
    broken.mkdir()
    before = (tmp_path / "run/before.json").stat().st_mtime_ns  # measured once
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "steps 180" in done.stdout
    assert (tmp_path / "run/adapter/adapter_model.safetensors").is_file()
    assert (tmp_path / "run/before.json").stat().st_mtime_ns == before


# --- loading adapters


def carded(folder: Path, llama: Path, **changes: Any) -> Path:
    write_adapter(folder, llama, layers=2)
    card = cards.Card(
        base=str(llama), base_sha256=load(str(llama)).model_sha256, layers=2, prompt_version=PROMPT_VERSION
    )
    cards.write_card(folder, replace(card, **changes))
    return folder


def test_card_gives_the_layers(llama: Path, tmp_path: Path) -> None:
    adapter = carded(tmp_path / "a", llama)
    assert load(str(llama), adapter=adapter).layers == load(str(llama), adapter=adapter, layers=2).layers == 2
    with pytest.raises(BackboneError, match=r"first 2 layers, not 1; leave the option 'layers' out\.$"):
        load(str(llama), adapter=adapter, layers=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt_version": 1}, r"prompts of version 1, .* train it again"),
        ({"base_sha256": "0" * 64}, r"with other weights than those of"),
        ({"task": "poems"}, r"was trained for 'poems', not for 'decide'"),
    ],
)
def test_foreign_adapters_are_one_sentence(changes: dict[str, Any], words: str, llama: Path, tmp_path: Path) -> None:
    adapter = carded(tmp_path / "a", llama, **changes)
    with pytest.raises(BackboneError, match=words) as error:
        load(str(llama), adapter=adapter, made_for=("decide", PROMPT_VERSION))
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")
    controller = LanguageModel(model=str(llama), adapter=adapter)
    with pytest.raises(ControllerError, match=words):
        controller.reset(crossing(), 0)


GOOD_CARD = {"base": "a", "base_sha256": None, "layers": 2, "prompt_version": 5}
BAD_ENTRIES: tuple[dict[str, object], ...] = (
    {"layers": "x"},
    {"layers": True},
    {"layers": 0},
    {"prompt_version": 5.0},
    {"base": 3},
    {"base_sha256": 3},
    {"commands": [1]},
    {"results": 5},
    {"training": []},
    {"metrics": "good"},
)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"layers": 2}', *(json.dumps(GOOD_CARD | bad) for bad in BAD_ENTRIES)]
)
def test_damaged_card(text: str, llama: Path, tmp_path: Path) -> None:
    adapter = carded(tmp_path / "a", llama)
    (adapter / cards.FILE).write_text(text)
    with pytest.raises(BackboneError, match=r"card .* is damaged .* again\.$"):
        load(str(llama), adapter=adapter)


def test_the_shipped_adapter_is_the_default(tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "SHIPPED", tmp_path / "default")
    with pytest.raises(ControllerError, match=r"default has no greenloop\.json.*adapter=none"):
        make("language_model")
    carded(tmp_path / "default", llama)
    assert make("language_model").adapter == tmp_path / "default"
    assert make("language_model:adapter=none").adapter is None
    assert make("language_model:layers=3").adapter is None
    assert make("language_model:model=other").adapter is None
    assert make("language_model_untuned").adapter is None


# --- the plain network


def test_phase_net_learns_saves_and_drives(tmp_path: Path) -> None:
    train, validation = [make_record(i) for i in range(240)], [make_record(i, 4) for i in range(1000, 1060)]
    net, regret_veh_s = phase_net_fit.fit(train, validation, 30.0, 2.0, epochs=30)
    assert regret_veh_s < 0.2
    net.save(tmp_path, {})
    facts = [np.array(record.facts) for record in validation]
    assert phase_net.PhaseNet.load(tmp_path).choose(facts) == net.choose(facts)
    controller = PhaseNetController(str(tmp_path))
    network = crossing()
    controller.reset(network, 0)
    assert controller.act(make_observation(network, queue_veh=[0, 0, 12])) == {"J": 2}
    assert controller.act(make_observation(network, due=[False])) == {}


def test_phase_net_that_cannot_be_loaded(tmp_path: Path) -> None:
    controller = PhaseNetController(str(tmp_path))
    with pytest.raises(ControllerError, match="no usable phase network"):
        controller.reset(crossing(), 0)
    with pytest.raises(ControllerError, match="no usable phase network"):
        controller.depends_on()  # what is asked before a run starts


def test_phase_net_with_weights_that_are_not_finite(tmp_path: Path) -> None:
    shutil.copytree(phase_net.SHIPPED, tmp_path, dirs_exist_ok=True)
    with np.load(tmp_path / phase_net.FILE) as file:
        arrays = dict(file)
    arrays["b0"] = np.full_like(arrays["b0"], np.nan)
    np.savez(tmp_path / phase_net.FILE, **arrays)
    with pytest.raises(PhaseNetError, match="not finite"):
        PhaseNet.load(tmp_path)


def test_an_adapter_in_real_sumo(trained: tuple[Path, dict[str, Any]], llama: Path) -> None:
    from scenarios import resco

    scenario = resco.load("cologne1")
    scenario = scenario.with_(end_s=scenario.begin_s + 60)
    controller = LanguageModel(model=str(llama), adapter=trained[0] / "adapter")
    with Session(scenario, 1) as session:
        observation = session.start()
        controller.reset(session.network, 1)
        while not session.done:
            observation = session.step(controller.act(observation))
    assert controller.counters()["decisions"] > 0
    assert controller.counters()["fallbacks"] == 0
    assert controller.provenance()["layers"] == 2
