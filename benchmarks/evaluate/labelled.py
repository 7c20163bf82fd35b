"""Scores answerers on a file that people have labelled by hand, such as ``greenloop evaluate read --words``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evaluate.answers import asked
from benchmarks.evaluate.evaluation import by_question
from llm.tasks import registry
from llm.tasks.base import Answerer, TaskError
from llm.tasks.read.doubts import doubts
from llm.tasks.read.prompt import question as ask
from llm.tasks.read.reading import reading
from scenarios import registry as scenarios
from scenarios.words.files import read_bulletins
from scenarios.words.gazetteer import gazetteer
from sim.network import Network

#: Answers that say nothing on such files: they read no text.
TEXTLESS = ("constant", "linear", "trees", "model")


@dataclass(frozen=True)
class LabelledRequest:
    """What was asked for.

    Attributes:
        task: its spec.
        file: the labelled file.
        scenario: whose network has the places.
        answerers: specs; the task's own rivals when empty.
        head: folder of what was trained, for the answerer ``model``.
    """

    task: str
    file: Path
    scenario: str
    answerers: tuple[str, ...] = ()
    head: Path | None = None


def score(request: LabelledRequest, tell: Callable[[str], object] = print) -> dict[str, Any]:
    """Plain values, for JSON: the figures of the first answerer, and those of all by spec.

    Raises:
        ScenarioError: there is no such scenario, or the file cannot be used.
        TaskError: the task scores no files, or an answerer cannot be made or fails.
    """
    task = registry.made(request.task)
    records = task.labelled(request.file, Network.read(scenarios.load(request.scenario).net_file))
    specs = _specs(request)
    questions = [task.question(record) for record in records]
    figures: dict[str, Any] = {}
    for spec in specs:
        tell(f"{spec} ...")
        answerer = registry.answerer(task, spec)
        if type(answerer).fit is not Answerer.fit:
            lessons = task.practice()
            if not lessons:
                raise TaskError(f"'{spec}' has to learn first; score it with --records instead of --words.")
            answerer.fit(lessons, lessons)
        said = np.asarray(asked(task, spec, answerer, questions))
        figures[spec] = dict(task.details(records, by_question(task, records, said)))
    first = specs[0]
    about = {"task": task.name, "file": str(request.file), "scenario": request.scenario, "records": len(records)}
    return {**about, "answerer": first, **figures[first], "answerers": figures}


def _specs(request: LabelledRequest) -> Sequence[str]:
    task = registry.made(request.task)
    if request.answerers:
        return [registry.with_folder(task, spec, request.head) if request.head else spec for spec in request.answerers]
    own = [name for name in registry.answerers(task) if name not in TEXTLESS]
    return [registry.with_folder(task, "model", request.head), *own] if request.head else own


def read_file_of_bulletins(file: Path, scenario: str, spec: str, tell: Callable[[str], object]) -> list[dict[str, Any]]:
    """What a user's own bulletins are read as, one by one; what is hard to read is told in a sentence each.

    Raises:
        ScenarioError: there is no such scenario, or the file cannot be read at all.
        TaskError: the answerer cannot be made or fails.
    """
    task = registry.made("read")
    places = gazetteer(Network.read(scenarios.load(scenario).net_file).roads)
    own = read_bulletins(file)
    for problem in own.problems:
        tell(problem)
    answerer = registry.answerer(task, spec)
    if type(answerer).fit is not Answerer.fit:
        lessons = task.practice()
        answerer.fit(lessons, lessons)
    rows = []
    for number, bulletin in enumerate(own.bulletins, 1):
        notes = doubts(bulletin, places.names)
        for note in notes:
            tell(f"{file}, bulletin {number}: {note}")
        question = ask(bulletin, places.names)
        found = reading(question, answerer.answer([question]))
        rows.append(
            {
                "time_s": bulletin.time_s,
                "source": bulletin.source,
                "text": bulletin.text,
                **found.truth.as_dict(),
                "probabilities": {slot: round(value, 4) for slot, value in found.probabilities.items()},
                "notes": notes,
            }
        )
    return rows
