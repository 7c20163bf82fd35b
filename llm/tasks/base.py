"""The contract of everything that the language model learns.

A task says which runs are recorded, what is asked and what the right answer was. Collecting, training, evaluating,
caching, tables, cards and the command line know no task by name: they go through ``Task``. What drives a run is given
to a task and never imported by it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from llm.records.splits import HELD_OUT, SPLITS
from llm.tasks.curriculum import Curriculum, Schooling
from llm.tasks.example_rows import from_row, to_row
from llm.tasks.mixture import drawn_run
from llm.tasks.questions import Answer, Binary, Choice, Floats, Lesson, Measure, Quantiles, Question, TaskError
from llm.tasks.runs import Example, LiveRun, Policy, Recorded, Run, Settings
from llm.tasks.scores import mean_measures, plain_scores
from scenarios.spec import Scenario
from sim.engine.session import SessionOptions
from sim.network import Network
from sim.observation import Observation

__all__ = [
    "Answer",
    "Answerer",
    "Binary",
    "Choice",
    "Curriculum",
    "Example",
    "Floats",
    "Lesson",
    "LiveRun",
    "Measure",
    "Policy",
    "Quantiles",
    "Question",
    "Recorded",
    "Run",
    "Schooling",
    "Settings",
    "Task",
    "TaskError",
    "Watch",
]


class NoTeaching(BaseModel):
    """No settings of a task's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


RecordT = TypeVar("RecordT", bound=Recorded)


class Watch(Protocol):
    """Follows a run and makes questions of its observations; the recorder and the live loop share it."""

    def see(self, observation: Observation) -> bool:
        """Note an observation; True when there is something to ask now."""

    def questions(self) -> list[Question]:
        """What is to be asked now."""


# --- who answers


class Answerer(ABC):
    """Answers a task's questions: the language model, trees, a rule, an endpoint, a user's file.

    A subclass needs ``answer`` only; one that learns defines ``fit`` as well.

    Attributes:
        task: what is answered; set before ``fit``.
    """

    task: Task[Any]

    def fit(self, train: Sequence[Lesson], validation: Sequence[Lesson]) -> None:  # noqa: B027 - rules learn nothing
        """Learn; called once, before any answer. ``validation`` is for stopping and thresholds only."""

    @abstractmethod
    def answer(self, questions: Sequence[Question]) -> Floats:
        """Answer some questions, at least one.

        Returns:
            The answers for all rows of all questions in order; the shape follows from the task's kind of answer.
        """

    def reads(self) -> Sequence[Path]:
        """Files and folders that it answers by, such as an adapter; others make other answers."""
        return ()


# --- the task


class Task(ABC, Generic[RecordT]):
    """One thing to learn.

    A subclass needs the class attributes ``name`` and ``answer``, and the methods ``watch`` and ``records``; everything
    else has a default that works for records of class ``Example``. Nothing is kept between calls.

    Attributes:
        name: as in ``greenloop collect NAME``.
        answer: picks read-out, loss and head.
        prompt_version: raise with every change of what questions say, so that records and adapters know theirs.
        record_format: raise with every change of a record's fields.
        options: of the session: what SUMO has to measure beside the detectors.
        settings: what ``greenloop collect`` reads; a subclass of ``Settings``.
        teaching: what ``greenloop train`` reads for this task alone, below ``task:``.
        training: defaults of ``greenloop train`` that are other ones here, such as ``{"method": "frozen"}``.
        least: quantiles below it are raised to it, such as 0 for what is counted.
        limits: what its adapters do badly, a paragraph each, for their cards.
        splits: those of its records.
    """

    name: ClassVar[str]
    answer: ClassVar[Answer]
    prompt_version: ClassVar[int] = 1
    record_format: ClassVar[int] = 1
    options: ClassVar[SessionOptions] = SessionOptions()
    settings: ClassVar[type[Settings]] = Settings
    teaching: ClassVar[type[BaseModel]] = NoTeaching
    training: ClassVar[Mapping[str, Any]] = {}
    limits: ClassVar[tuple[str, ...]] = ()
    least: ClassVar[float] = -math.inf
    splits: ClassVar[tuple[str, ...]] = (*SPLITS, HELD_OUT)

    # collecting

    def plan(self, split: str, number: int, settings: Any, names: Sequence[str] = ()) -> Run:
        """Draw one run of a split; a number always gives the same run.

        Args:
            split: one of ``splits``.
            number: from 0.
            settings: of the folder, of class ``settings``.
            names: only these scenarios, instead of the split's own mixture.
        """
        return drawn_run(split, number, settings, tuple(names))

    def controllers(self, settings: Any) -> Sequence[str]:  # noqa: ARG002
        """Specs of all controllers that runs of these settings may use; a manifest notes what they decide by."""
        return ("greedy",)

    def reads(self, settings: Any) -> Mapping[str, Path | None]:  # noqa: ARG002
        """Files and folders that decide what records say, by a name for messages; None for one that is not used.

        A manifest notes their hashes, and a folder takes no records that were made with others.
        """
        return {}

    @abstractmethod
    def watch(self, network: Network, scenario: Scenario) -> Watch:
        """Something that follows a run and asks."""

    @abstractmethod
    def records(self, live: LiveRun, watch: Any) -> Iterator[RecordT]:
        """Follow a run with ``live.moments()`` and yield its records."""

    # records

    def question(self, record: Any) -> Question:
        """What an answerer may see of a record."""
        question: Question = record.question
        return question

    def target(self, record: Any) -> Floats:
        """What was right, NaN where it is not known."""
        target: Floats = record.target
        return target

    def slices(self, record: Any) -> frozenset[str]:
        """Groups that a record is counted in besides ``overall``."""
        return frozenset(record.slices)

    def row(self, record: Any) -> dict[str, Any]:
        """A record as JSON."""
        return to_row(record)

    def record(self, row: dict[str, Any]) -> RecordT:
        """The same back.

        Raises:
            KeyError, TypeError, ValueError: the row is another record's.
        """
        return from_row(row)  # type: ignore[return-value]

    def about(self) -> Mapping[str, Any]:
        """What else a manifest shall say of such records."""
        return {}

    def counts(self, records: Sequence[Any]) -> Mapping[str, int]:
        """What a manifest shall count in a run's records besides their number."""
        questions = [self.question(record) for record in records]
        return {
            "rows": sum(len(question.rows) for question in questions),
            "reported": sum("\nReport " in question.text for question in questions),
        }

    # training

    def view(self, record: Any, rng: np.random.Generator, epoch: int) -> Lesson:  # noqa: ARG002
        """A record as it is shown in an epoch of a training; augmentation goes here."""
        return Lesson(self.question(record), self.target(record))

    def curriculum(self, schooling: Schooling) -> Curriculum:
        """How records become lessons in one training.

        Raises:
            TaskError: the task's own settings make no sense, or the records teach nothing.
        """
        return Curriculum(schooling, self.view, self.plain)

    def plain(self, record: Any) -> Lesson:
        """A record as it is shown to measure on."""
        return Lesson(self.question(record), self.target(record))

    def features(self, question: Question) -> Floats:
        """(rows, K) numbers around zero, none missing: what heads and networks read beside the text."""
        values = question.numbers
        short = np.sign(values) * np.log1p(np.abs(values))
        return np.concatenate([np.nan_to_num(short), np.isnan(values).astype(float)], axis=1)

    def versions(self) -> dict[str, int]:
        """What a head must have been trained on: the versions of the texts, and of the features if they have one."""
        return {"prompt_version": self.prompt_version}

    def scale(self, question: Question) -> tuple[Floats, Floats]:
        """For quantiles: a plain forecast and its noise, both of the target's shape; learners learn the deviation."""
        shape = self.answer.target_shape(len(question.rows))
        return np.zeros(shape), np.ones(shape)

    def told(self, metrics: Mapping[str, Any]) -> list[str]:
        """What a training says at its end, line by line."""
        losses = metrics["losses"]
        return [
            f"Loss on {metrics['validation_records']:,} validation records: {losses['plain']:.4f} before, "
            f"{losses['best']:.4f} now"
        ]

    # evaluating

    def labelled(self, file: Path, network: Network) -> list[RecordT]:  # noqa: ARG002
        """Records of a file that people have labelled by hand, about a network.

        Raises:
            TaskError: the task has no such files.
        """
        raise TaskError(f"Task '{self.name}' has no files of its own; leave --words out and give --records.")

    def practice(self) -> list[Lesson]:
        """Lessons for learners that are scored on such a file, made without a simulation."""
        return []

    def baselines(self) -> Mapping[str, str]:
        """Answerers to compare with: name -> "module:Class". The generic ones are there anyway."""
        return {}

    def score(self, target: Floats, answer: Floats) -> Mapping[str, Floats]:
        """Measures of one question's answer, arrays of any shape; their means are compared, NaN does not count."""
        return plain_scores(self.answer, target, answer)

    def measures(self, records: Sequence[Any], answers: Sequence[Floats]) -> Mapping[str, Measure]:
        """The figures of a comparison, from all records and their answers in order; ``score`` is enough for means."""
        return mean_measures([self.score(self.target(r), a) for r, a in zip(records, answers, strict=True)])

    def tables(self, records: Sequence[Any], answers: Mapping[str, Floats]) -> Mapping[str, str]:  # noqa: ARG002
        """Further files of a comparison, text by name, from all records and each answerer's answers to all rows."""
        return {}

    def details(self, records: Sequence[Any], answers: Sequence[Floats]) -> Mapping[str, Any]:  # noqa: ARG002
        """What else a comparison's JSON shall hold of an answerer, such as a curve."""
        return {}
