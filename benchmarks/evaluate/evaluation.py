"""What ``greenloop evaluate TASK`` does: fit answerers, ask them, and compare their answers with intervals.

No task is known by name here: measures, slices and answerers come from the task.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evaluate.answers import AnswerCache, asked
from benchmarks.evaluate.block_bootstrap import Figure, figures, numbered_blocks
from benchmarks.results import provenance
from llm.records.shards import MANIFEST, RecordError, file_sha256, thinned, write_bytes
from llm.records.splits import HELD_OUT
from llm.tasks import registry
from llm.tasks.base import Answerer, Floats, Lesson, Task, TaskError
from llm.tasks.files import files, learnt_splits

OVERALL = "overall"
JSON_FILE, CSV_FILE = "evaluation.json", "evaluation.csv"


@dataclass(frozen=True)
class Request:
    """What was asked for.

    Attributes:
        task: its spec.
        records: folder of ``greenloop collect``.
        on: the split that is scored.
        answerers: specs; empty for all that can be made by their names alone.
        baseline: the answerer that differences are to; the trees when None.
        head: folder of what ``greenloop train TASK`` made, for those answerers that read one and name none.
        limit: score so many records, evenly; 0 for all.
        out: folder of the results.
    """

    task: str
    records: Path
    on: str = HELD_OUT
    answerers: tuple[str, ...] = ()
    baseline: str | None = None
    head: Path | None = None
    limit: int = 0
    out: Path = Path("results/evaluation")


@dataclass(frozen=True)
class Evaluation:
    """What came out: ``about`` and ``figures`` are what the JSON holds, ``said`` the answers by answerer."""

    task: Task[Any]
    about: dict[str, Any]
    figures: list[Figure]
    records: list[Any]
    said: dict[str, Floats]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**self.about, "figures": [figure.as_dict() for figure in self.figures]}


def evaluate(request: Request, tell: Callable[[str], object] = print) -> Evaluation:
    """Fit and score all answerers, and write JSON and CSV.

    Raises:
        RecordError: the records are missing, damaged, of another task, version or split, or the folder cannot be
            written.
        TaskError: an answerer cannot be made or fails; those that need no fit are told before the first one.
    """
    task = registry.made(request.task)
    scorable = [split for split in task.splits if split != "train"]
    if request.on not in scorable:
        raise RecordError(f"Task '{task.name}' is scored on {' or '.join(scorable)} records, not on '{request.on}'.")
    made = _make_answerers(task, request, tell)
    baseline = _baseline(request, tuple(made))
    shards = files(task)
    data = {
        split: shards.read_split(request.records, split) for split in dict.fromkeys(("train", "validation", request.on))
    }
    scored = thinned(data[request.on], request.limit)
    scored_sha256 = rows_sha256(task.row(record) for record in scored)
    versions = (task.name, task.prompt_version, task.record_format)
    cache = AnswerCache(request.out, (*versions, scored_sha256, shards.sha256(request.records, learnt_splits(task))))
    cache.check_writable()
    said = _answers(task, made, data, scored, cache, tell)
    about = {
        "task": task.name,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "on": request.on,
        "baseline": baseline,
        "records": len(scored),
        "scored_sha256": scored_sha256,
        "manifest_sha256": file_sha256(request.records / MANIFEST),
        "prompt_version": task.prompt_version,
        "versions": provenance.versions(),
        "git": git.model_dump() if (git := provenance.git()) else None,
        "machine": provenance.machine(),
        "details": {spec: dict(task.details(scored, by_question(task, scored, own))) for spec, own in said.items()},
    }
    found = Evaluation(task, about, compared(task, scored, said, baseline), scored, said)
    for name, text in task.tables(scored, said).items():
        write_bytes(request.out / name, text.encode())
    write_bytes(request.out / JSON_FILE, json.dumps(found.as_dict(), indent=1).encode())
    write_bytes(request.out / CSV_FILE, _csv(found.figures).encode())
    return found


def _answers(
    task: Task[Any],
    made: Mapping[str, Answerer],
    data: dict[str, list[Any]],
    scored: Sequence[Any],
    cache: AnswerCache,
    tell: Callable[[str], object],
) -> dict[str, Floats]:
    """What each answerer says of the scored records; those that are asked learn first."""
    questions = [task.question(record) for record in scored]
    shape = task.answer.answer_shape(sum(len(question.rows) for question in questions))
    said: dict[str, Floats] = {}
    lessons: dict[str, list[Lesson]] = {}
    for spec, answerer in made.items():
        answers = cache.read(spec, answerer, shape)
        tell(f"{spec} ..." if answers is None else f"{spec}: answers of an earlier run")
        if answers is None:
            if type(answerer).fit is not Answerer.fit:
                lessons = lessons or {
                    split: [task.plain(record) for record in data[split]] for split in ("train", "validation")
                }
                answerer.fit(lessons["train"], lessons["validation"])
            answers = cache.write(spec, answerer, asked(task, spec, answerer, questions))
        said[spec] = answers
    return said


def by_question(task: Task[Any], records: Sequence[Any], said: Floats) -> list[Floats]:
    """The answers to each record's question."""
    sizes = [len(task.question(record).rows) for record in records]
    return np.split(said, np.cumsum(sizes)[:-1])


def compared(task: Task[Any], records: Sequence[Any], said: dict[str, Floats], baseline: str) -> list[Figure]:
    """Every measure of every answerer, overall and in each slice."""
    measures = {spec: task.measures(records, by_question(task, records, own)) for spec, own in said.items()}
    slices = [task.slices(record) for record in records]
    blocks = numbered_blocks((record.network_sha256, record.seed) for record in records)
    found = figures(OVERALL, measures, np.ones(len(records), bool), blocks, baseline)
    for name in sorted(frozenset().union(*slices)):
        found += figures(name, measures, np.array([name in own for own in slices]), blocks, baseline)
    return found


def rows_sha256(rows: Iterable[dict[str, Any]]) -> str:
    """Hash of records as rows: what was asked and what was right."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def _make_answerers(task: Task[Any], request: Request, tell: Callable[[str], object]) -> dict[str, Answerer]:
    """The answerers asked for, or all that can be made; what is read is put into the specs that name none."""
    asked_for = request.answerers or tuple(registry.answerers(task))
    made: dict[str, Answerer] = {}
    for name in asked_for:
        spec = name if request.head is None else registry.with_folder(task, name, request.head)
        try:
            made[spec] = registry.answerer(task, spec)
        except TaskError as error:
            if request.answerers:
                raise
            tell(f"{name} is left out: {error}")
    return made


def _baseline(request: Request, specs: Sequence[str]) -> str:
    baseline = request.baseline or next((name for name in ("boosted_trees", "trees") if name in specs), specs[0])
    if baseline not in specs:
        raise TaskError(f"The baseline '{baseline}' is not among the answerers; choose one of {', '.join(specs)}.")
    return baseline


def _csv(rows: Sequence[Figure]) -> str:
    """A row for each figure; intervals in two columns."""
    flat = [_flat(row.as_dict()) for row in rows]
    text = io.StringIO()
    table = csv.DictWriter(text, list(flat[0]) if flat else [], lineterminator="\n")
    table.writeheader()
    table.writerows(flat)
    return text.getvalue()


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if name.endswith("interval"):
            low, high = value or ("", "")
            flat |= {name.replace("interval", "low"): _short(low), name.replace("interval", "high"): _short(high)}
        else:
            flat[name] = _short(value)
    return flat


def _short(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
