"""The plain record (``llm.tasks.base.Example``) as JSON and back."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from llm.tasks.questions import Floats, Question
from llm.tasks.runs import Example

_QUESTION = tuple(field.name for field in fields(Question))
_KEYS = {"scenario", "network_sha256", "seed", "target", "slices", *_QUESTION}


def to_row(record: Example) -> dict[str, Any]:
    """A record as JSON knows it: numbers to four decimals, None for NaN."""
    question = record.question
    return {
        "scenario": record.scenario,
        "network_sha256": record.network_sha256,
        "seed": record.seed,
        "place": question.place,
        "time_s": question.time_s,
        "text": question.text,
        "numbers": plain_list(question.numbers, 4),
        "rows": list(question.rows),
        "marks": list(question.marks),
        "target": plain_list(record.target, 4),
        "slices": list(record.slices),
    }


def from_row(row: dict[str, Any]) -> Example:
    """The same back.

    Raises:
        KeyError, TypeError, ValueError: the row is another record's.
    """
    if set(row) != _KEYS:
        raise ValueError("other keys")
    rows = tuple(row["rows"])
    numbers = np.array(row["numbers"], np.float64).reshape(len(rows), -1)
    question = Question(row["text"], numbers, rows, row["place"], row["time_s"], tuple(row["marks"]))
    about = (row["scenario"], row["network_sha256"], row["seed"])
    return Example(*about, question, np.array(row["target"], np.float64), tuple(row["slices"]))


def plain_list(values: Floats, decimals: int) -> Any:
    """Nested lists of rounded numbers, None for NaN, which JSON does not know."""
    return np.where(np.isnan(values), None, np.round(values, decimals)).tolist()  # type: ignore[call-overload]
