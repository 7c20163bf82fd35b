"""Rules with thresholds, as answerers: their parameters are chosen on training records, and on nothing else."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import product
from typing import ClassVar

import numpy as np

from llm.tasks.base import Answerer, Floats, Lesson, Question

#: A rule's parameters are those that find most positive rows while so small a share of the others is called positive.
FALSE_SHARE = 0.001


class Rule(Answerer):
    """A statistic that rises with the evidence for a yes; a logistic curve makes it a probability.

    Attributes:
        grid: the values that each parameter is chosen from.
        chosen: the parameters in use.
    """

    grid: ClassVar[Mapping[str, tuple[float, ...]]] = {}

    def __init__(self) -> None:
        self.chosen = {name: values[0] for name, values in self.grid.items()}
        self._centre, self._slope = 0.0, 1.0

    @abstractmethod
    def statistic(self, numbers: Floats) -> Floats:
        """(rows,) the evidence, from the questions' (rows, columns) numbers."""

    def fit(self, train: Sequence[Lesson], validation: Sequence[Lesson]) -> None:  # noqa: ARG002
        """Choose the parameters, and the level that few negative rows reach."""
        numbers = np.concatenate([lesson.question.numbers for lesson in train])
        positive = np.concatenate([lesson.target for lesson in train]) == 1
        best, most = self.chosen, -1.0
        for values in product(*self.grid.values()):
            self.chosen = dict(zip(self.grid, values, strict=True))
            evidence = self.statistic(numbers)
            level = float(np.quantile(evidence[~positive], 1 - FALSE_SHARE))
            if (share := float((evidence[positive] > level).mean()) if positive.any() else 0.0) > most:
                best, most = self.chosen, share
                self._centre, self._slope = level, 1 / max(float(evidence[~positive].std()), 1e-6)
        self.chosen = best

    def answer(self, questions: Sequence[Question]) -> Floats:
        """Probabilities that rise with the statistic: one half at the level chosen by ``fit``."""
        evidence = self.statistic(np.concatenate([question.numbers for question in questions]))
        return np.asarray(1 / (1 + np.exp(-np.clip(self._slope * (evidence - self._centre), -30, 30))))
