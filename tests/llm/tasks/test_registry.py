"""Every task fulfils the contract; what breaks it, or is another task's, is refused in one sentence."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.records.collect import records_of
from llm.backbone import cards
from llm.backbone.loading import BackboneError
from llm.engine.adapt import check_start
from llm.engine.training import check_training, training_of
from llm.records.shards import MANIFEST, RecordError
from llm.records.splits import SPLITS
from llm.tasks import registry
from llm.tasks.base import Binary, Choice, Example, Quantiles, Question, Settings, Task, TaskError
from llm.tasks.files import files, learnt_splits, write_shard
from llm.tasks.learners import Constant, Linear, Trees
from scenarios.common.experiment import ExperimentError, read_experiment, write_experiment
from tests.support.forecasts import make_record as make_forecast
from tests.support.records import make_record as make_decision

#: Records by hand; any other task's is recorded in twenty minutes of traffic.
RECORDS: dict[str, Any] = {"decide": make_decision(), "forecast": make_forecast()}
NAMES = tuple(registry.TASKS)


def example(task: Task[Any], number: int = 0) -> Example:
    """A record of a task that keeps plain ones."""
    question = Question("Who?\none\ntwo", np.array([[1.0, number], [np.nan, 2.0]]), ("one", "two"), "J", 60.0)
    return Example("hand", f"net{number % 5}", 5000, question, np.full(task.answer.target_shape(2), float(number % 2)))


@cache
def record_of(task: Task[Any]) -> Any:
    if task.name in RECORDS:
        return RECORDS[task.name]
    run = task.plan("train", 0, task.settings(minutes=20), ("cologne1",))
    return records_of(task, run)[0]


@pytest.fixture(params=NAMES)
def task(request: pytest.FixtureRequest) -> Task[Any]:
    return registry.made(request.param)


# --- every task


def test_every_task_fulfils_the_contract(task: Task[Any]) -> None:
    assert registry.names()[task.name] == registry.TASKS[task.name]
    registry.check_record(task, record_of(task))
    assert (type(task).__doc__ or "").strip()
    assert task.versions()["prompt_version"] == task.prompt_version
    question = task.question(record_of(task))
    assert np.isfinite(task.features(question)).all()
    assert len(task.features(question)) == len(question.rows)


def test_every_baseline_can_be_imported(task: Task[Any]) -> None:
    for name, target in registry.answerers(task).items():
        assert registry._ANSWERERS.from_module(target, name)


def test_a_number_always_gives_the_same_run(task: Task[Any]) -> None:
    for split in task.splits:
        run = task.plan(split, 3, task.settings(), ())
        assert run == task.plan(split, 3, task.settings(), ())
        assert (run.split, run.number) == (split, 3)
        assert run.driver in task.controllers(task.settings())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("minuts: 20", "there is no key 'minuts'; did you mean 'minutes'"),
        ("minutes: long", "the value 'long' of 'minutes' cannot be used"),
        ("- 1", "holds no mapping"),
        ("a: [", "is no YAML"),
    ],
)
def test_bad_settings_of_records(text: str, sentence: str, task: Task[Any], tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(text)
    with pytest.raises(ExperimentError, match=sentence) as error:
        read_experiment(task.settings, file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("epoch=1", "there is no key 'epoch'; did you mean 'epochs'"),
        ("epochs=0", "the value 0 of 'epochs' cannot be used"),
        ("layers=many", "the value 'many' of 'layers'"),
        ("head.hiden=3", "there is no key 'head.hiden'; did you mean 'hidden'"),
        ("task.nothing=3", "there is no key 'task.nothing'"),
        ("seed.inner=3", "cannot be used"),
        ("seed", r"the setting 'seed' is none; write --set key=value"),
    ],
)
def test_bad_settings_of_trainings(setting: str, sentence: str, task: Task[Any]) -> None:
    with pytest.raises(ExperimentError, match=f"(?i){sentence}"):
        read_experiment(training_of(task), None, [setting])


def test_the_whole_configuration_is_written_and_read_again(task: Task[Any], tmp_path: Path) -> None:
    training = read_experiment(training_of(task), None, ["seed=3"])
    write_experiment(training, tmp_path / "experiment.yaml")
    assert read_experiment(training_of(task), tmp_path / "experiment.yaml") == training
    check_training(task, training)
    with pytest.raises(TaskError, match=f"'{task.name}' has no method 'magic'; choose one of"):
        check_training(task, training.model_copy(update={"method": "magic"}))


def test_records_come_back_and_those_of_others_are_refused(task: Task[Any], tmp_path: Path) -> None:
    shards = files(task)
    write_shard(task, tmp_path / "train/00000-hand.jsonl.gz", "train", [record_of(task)])
    shards.write_manifest(tmp_path, {})
    assert task.row(shards.read_split(tmp_path, "train")[0]) == task.row(record_of(task))
    with pytest.raises(RecordError, match=f"no validation records; run 'greenloop collect {task.name} --split"):
        shards.read_split(tmp_path, "validation")
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    for changes, sentence in (
        ({"kind": "poems"}, f"holds poems records, not {task.name} records"),
        ({"prompt_version": 0}, "prompts of version 0"),
        ({"format": 0}, r"\(format 0\); this greenloop writes .* collect again"),
    ):
        (tmp_path / MANIFEST).write_text(json.dumps({**manifest, **changes}))
        with pytest.raises(RecordError, match=sentence):
            shards.read_split(tmp_path, "train")
    assert learnt_splits(task) == list(SPLITS)


def test_an_adapter_of_another_task_is_refused(task: Task[Any], tmp_path: Path) -> None:
    training = training_of(task)(method="lora", start=str(tmp_path))
    for name, version, sentence in (
        ("poems", task.prompt_version, f"was trained for 'poems', not for '{task.name}'"),
        (task.name, 99, "trained on prompts of version 99"),
    ):
        cards.write_card(tmp_path, cards.Card("default", None, 2, version, task=name))
        with pytest.raises(BackboneError, match=sentence):
            check_start(training, task.name, task.prompt_version)


# --- contract breaches


class Plain(Task[Example]):
    """A task as plain as can be."""

    name = "plain"
    answer = Binary()

    def watch(self, network: Any, scenario: Any) -> Any:
        return None

    def records(self, live: Any, watch: Any) -> Any:
        yield from ()


def broken(**changes: Any) -> Task[Any]:
    return type("Broken", (Plain,), changes)()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": None}, "Task 'Broken' breaks the contract: its attribute name is no name"),
        ({"name": "two words"}, "its attribute name is no name"),
        ({"answer": "yes"}, r"its attribute answer is 'yes'; give Choice\(\)"),
        ({"prompt_version": "5"}, "its attribute prompt_version is '5'; give a whole number"),
        ({"record_format": 0}, "its attribute record_format is 0"),
        ({"options": None}, "its attribute options is None"),
        ({"settings": dict}, "its attribute settings is <class 'dict'>; give a class that is derived from Settings"),
        ({"teaching": Settings()}, "its attribute teaching"),
        ({"splits": ("test",)}, "its attribute splits"),
        (
            {"watch": lambda self, network: None},
            r"its method watch\(\) takes other arguments than \(network, scenario\)",
        ),
        ({"score": 3}, r"its method score\(\) is no method"),
        ({"baselines": lambda self: ["a"]}, r"its method baselines\(\) returns no mapping"),
        ({"baselines": lambda self: {"a": "nowhere"}}, r"its method baselines\(\) gives 'nowhere' for 'a'"),
    ],
)
def test_breaches_are_named(changes: dict[str, Any], sentence: str) -> None:
    registry.check(Plain())
    with pytest.raises(TaskError, match=sentence):
        registry.check(broken(**changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"target": lambda self, record: np.zeros(3)}, r"method target\(\) gives an array of shape \(3,\); \(2,\) was"),
        ({"record": lambda self, row: example(Plain(), 7)}, r"method record\(\) does not give back what row\(\) wrote"),
    ],
)
def test_records_that_break_the_contract(changes: dict[str, Any], sentence: str) -> None:
    registry.check_record(Plain(), example(Plain()))
    with pytest.raises(TaskError, match=sentence):
        registry.check_record(broken(**changes), example(Plain()))
    with pytest.raises(TaskError, match=r"method records\(\) yields a record without a proper 'scenario'"):
        registry.check_record(Plain(), object())


def test_tasks_of_files_and_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from greenloop import Task, Binary\nclass Mine(Task):\n    name = 'mine'\n    answer = Binary()\n")
    with pytest.raises(TaskError, match=r"'Mine' in .*mine.py does not define records, watch\(\)\."):
        registry.make(f"{file}:Mine")
    point = EntryPoint("plain", f"{__name__}:Plain", registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "greenloop.tasks" else [])
    monkeypatch.setattr(registry._PLUGIN.__class__, "from_module", lambda self, target, name: Plain)
    assert registry.make("plain").name == "plain"
    with pytest.raises(TaskError, match="no task 'plane'; did you mean 'plain'"):
        registry.make("plane")
    with pytest.raises(TaskError, match="'x=1' in 'plain:x=1' means nothing"):
        registry.make("plain:x=1")


def test_questions_whose_rows_do_not_fit() -> None:
    with pytest.raises(TaskError, match=r"at 'J' has 1 rows and numbers of shape \(2, 1\)"):
        Question("a", np.zeros((2, 1)), ("a",), "J")
    with pytest.raises(TaskError, match="2 rows and 1 places in its text"):
        Question("a", np.zeros((2, 1)), ("a", "b"), "J")
    assert Question("what?\na\nbc", np.zeros((2, 1)), ("a", "b")).ends == (7, 10)
    assert Question("a b", np.zeros((2, 1)), ("a", "b"), marks=(1, 3)).ends == (1, 3)


# --- the learners that every task has


@pytest.mark.parametrize("kind", [Constant(), Linear(), Trees(trees=20)], ids=lambda kind: type(kind).__name__)
@pytest.mark.parametrize("answer", [Choice(), Binary(), Quantiles(), Quantiles(outputs=(2,))], ids=str)
def test_learners_answer_every_kind(kind: Any, answer: Any) -> None:
    """Their answers have the right shape, and those that learn are better than the constant."""
    task = broken(answer=answer)
    rng, lessons = np.random.default_rng(0), []
    from llm.tasks.base import Lesson

    for _ in range(120):
        x = rng.normal(size=3)
        target: Any = np.exp(2 * x) / np.exp(2 * x).sum() if isinstance(answer, Choice) else x
        if isinstance(answer, Binary):
            target = (x > 0).astype(float)
        if isinstance(answer, Quantiles) and answer.outputs:
            target = np.stack([x, -x], axis=1)
        lessons.append(Lesson(Question("a\nb\nc", x[:, None], ("a", "b", "c")), np.asarray(target, float)))
    kind.task = task
    kind.fit(lessons[:100], lessons[100:])
    held = lessons[100:]
    said = kind.answer([lesson.question for lesson in held])
    assert said.shape == answer.answer_shape(60)
    scores = [task.score(one.target, s) for one, s in zip(held, np.split(said, 20), strict=True)]
    name = next(iter(scores[0]))
    mean = float(np.mean([score[name] for score in scores]))
    if not isinstance(kind, Constant):
        assert mean < {"log_loss": 0.95 if isinstance(answer, Choice) else 0.5, "mae": 0.4}[name]
