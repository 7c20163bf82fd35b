"""How records become lessons in one training. A task gives its own where its lessons need more than ``Task.view``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm.tasks.questions import Floats, Lesson


@dataclass(frozen=True)
class Schooling:
    """One training, as a curriculum sees it.

    Attributes:
        how: the task's own settings, of class ``Task.teaching``.
        train: all training records.
        validation: all validation records.
        folder: of the run: for what is fitted on the way.
        fresh: False where the training goes on from an adapter.
    """

    how: Any
    train: Sequence[Any]
    validation: Sequence[Any]
    folder: Path
    fresh: bool


class Curriculum:
    """The lessons of one training.

    Attributes:
        train: the records that teach something.
        validation: the records that are measured on.
    """

    def __init__(
        self,
        schooling: Schooling,
        view: Callable[[Any, np.random.Generator, int], Lesson],
        plain: Callable[[Any], Lesson],
    ) -> None:
        self.schooling, self._view, self._plain = schooling, view, plain
        self.train: Sequence[Any] = schooling.train
        self.validation: Sequence[Any] = schooling.validation

    def begin(self) -> None:
        """Fit what is needed first; called once, when this command alone works on the folder."""

    def lesson(self, record: Any, rng: np.random.Generator, epoch: int) -> Lesson:
        """A training record as it is shown in an epoch."""
        return self._view(record, rng, epoch)

    def plain(self, record: Any) -> Lesson:
        """A validation record as it is measured on."""
        return self._plain(record)

    def metrics(self, answers: Floats, labels: Floats) -> Mapping[str, float]:  # noqa: ARG002
        """Figures of a choice's answers (records, rows) and their labels, NaN where there is no such row."""
        return {}

    def report(self, before: Mapping[str, float], after: Mapping[str, float]) -> Mapping[str, Any]:
        """What the metrics of the training shall say, from the first and the last measurement on validation."""
        return {"loss_before": before["loss"], **after}
