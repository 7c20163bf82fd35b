"""Measures of answers that hold for every task, by its kind of answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import numpy as np

from llm.tasks.questions import Answer, Binary, Choice, Floats, Measure, Question

#: Probabilities this close to 0 and 1 are counted as if they were this far, so that no loss is infinite.
_EDGE = 1e-6


def plain_scores(kind: Answer, target: Floats, answer: Floats) -> dict[str, Floats]:
    """Measures of one question's answer by its kind, NaN where the target is not known.

    ``Choice``: log loss, and whether the best row was chosen. ``Binary``: log loss, Brier score and errors at one half.
    ``Quantiles``: absolute error of the median, pinball loss, and whether the outer quantiles hold what came.
    """
    if isinstance(kind, Choice):
        chosen = float(target[int(np.argmax(answer))] >= np.nanmax(target) - 1e-9)
        return {"log_loss": np.array(-np.nansum(target * answer)), "hit": np.array(chosen)}
    if isinstance(kind, Binary):
        sure = np.clip(answer, _EDGE, 1 - _EDGE)
        log_loss = -(target * np.log(sure) + (1 - target) * np.log1p(-sure))
        wrong = np.where(np.isnan(target), np.nan, (answer >= 0.5) != (target == 1))
        return {"log_loss": log_loss, "brier": (answer - target) ** 2, "error": wrong}
    error = target[..., None] - answer
    levels = np.array(kind.levels)
    pinball = np.maximum(levels * error, (levels - 1) * error).mean(axis=-1)
    held = (answer[..., 0] - 1e-9 <= target) & (target <= answer[..., -1] + 1e-9)
    inside = np.where(np.isnan(target), np.nan, held)
    return {"mae": np.abs(error[..., len(levels) // 2]), "pinball": pinball, "coverage": inside}


def unscaled(task: Scaled, questions: Sequence[Question], quantiles: Floats) -> Floats:
    """Quantiles (A, *outputs, levels) of deviations as numbers of the target's own unit, in order."""
    pairs = [task.scale(question) for question in questions]
    centre, spread = (np.concatenate(parts)[..., None] for parts in zip(*pairs, strict=True))
    ordered: Floats = np.sort(np.maximum(centre + spread * quantiles, task.least), axis=-1)
    return ordered


class Scaled(Protocol):
    """What a task says of the space that quantiles are learnt in."""

    least: ClassVar[float]

    def scale(self, question: Question) -> tuple[Floats, Floats]:
        """A plain forecast and its noise."""


def mean_measures(scores: Sequence[Mapping[str, Floats]]) -> dict[str, Measure]:
    """The mean of each score over all questions, as quotients of sums."""
    names = list(dict.fromkeys(name for one in scores for name in one))
    unknown = np.array(np.nan)
    found = {}
    for name in names:
        values = [one.get(name, unknown) for one in scores]
        total = np.array([float(np.nansum(value)) for value in values])
        found[name] = Measure(total, np.array([float((~np.isnan(value)).sum()) for value in values]))
    return found
