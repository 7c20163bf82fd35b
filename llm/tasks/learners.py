"""Answerers that every task has: the constant, linear models and boosted trees on the numbers alone (scikit-learn)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from llm.tasks.base import Answerer, Binary, Choice, Floats, Lesson, Quantiles, Question, TaskError
from llm.tasks.scores import unscaled

#: Rows with one column per number; what is learnt; weights. Gives a model with ``predict``.
Fit = Callable[[Floats, Floats, Floats], Any]


class RowLearner(Answerer):
    """Learns each output of each row on its own, from ``Task.features`` and from the numbers as they are.

    A ``Choice`` is learnt as the share of each row, and its answers are then made to add up. ``Quantiles`` are learnt
    as deviations from ``Task.scale``.
    """

    def __init__(self) -> None:
        self._models: list[list[Any]] = []

    def fit(self, train: Sequence[Lesson], validation: Sequence[Lesson]) -> None:  # noqa: ARG002
        """Fit a model for each output, and for each level of a quantile."""
        inputs = self._inputs([lesson.question for lesson in train])
        targets, weights = self._targets(train)
        self._models = []
        for target, weight in zip(targets.T, weights.T, strict=True):
            known = ~np.isnan(target)
            if not known.any():
                raise TaskError(f"No training record of '{self.task.name}' has a known answer; collect more.")
            fits = self._fits()
            self._models.append([fit(inputs[known], target[known], weight[known]) for fit in fits])

    def answer(self, questions: Sequence[Question]) -> Floats:
        """What the models say, in the shape of the task's answers."""
        if not self._models:
            raise TaskError(f"{type(self).__name__} has learnt nothing yet; call fit() with lessons first.")
        inputs = self._inputs(questions)
        said = np.stack([np.stack([_predicted(m, inputs) for m in models], axis=-1) for models in self._models], axis=1)
        kind = self.task.answer
        rows = len(inputs)
        if isinstance(kind, Quantiles):
            return unscaled(self.task, questions, said.reshape(kind.answer_shape(rows)))
        said = np.clip(said[..., 0], 1e-6, 1 - 1e-6)
        return log_shares(said[:, 0], questions) if isinstance(kind, Choice) else said.reshape(kind.answer_shape(rows))

    def one(self, level: float | None) -> Fit:
        """How one output is fitted: its mean or share when ``level`` is None, else that quantile."""
        raise NotImplementedError

    def _fits(self) -> list[Fit]:
        kind = self.task.answer
        return [self.one(level) for level in kind.levels] if isinstance(kind, Quantiles) else [self.one(None)]

    def _inputs(self, questions: Sequence[Question]) -> Floats:
        return np.concatenate([self.task.features(question) for question in questions])

    def _targets(self, lessons: Sequence[Lesson]) -> tuple[Floats, Floats]:
        """(rows, outputs) what is learnt, and weights: an error where there is much noise is larger in its own unit."""
        raw = np.concatenate([lesson.target for lesson in lessons])
        if not isinstance(self.task.answer, Quantiles):
            flat = raw.reshape(len(raw), -1)
            return flat, np.ones_like(flat)
        centre, spread = _scales(self.task, [lesson.question for lesson in lessons])
        scaled = ((raw - centre) / spread).reshape(len(raw), -1)
        weights = (spread / spread.mean(axis=0)).reshape(len(raw), -1)
        return scaled, weights


def _predicted(model: Any, inputs: Floats) -> Floats:
    if hasattr(model, "predict_proba"):
        values: Floats = model.predict_proba(inputs)[:, list(model.classes_).index(1.0)]
    else:
        values = model.predict(inputs)
    return values


def _scales(task: Any, questions: Sequence[Question]) -> tuple[Floats, Floats]:
    pairs = [task.scale(question) for question in questions]
    return np.concatenate([centre for centre, _ in pairs]), np.concatenate([spread for _, spread in pairs])


def log_shares(values: Floats, questions: Sequence[Question]) -> Floats:
    """(rows,) positive numbers as log-shares within each question."""
    return np.concatenate([np.log(part / part.sum()) for part in split(values, questions)])


def split(values: Floats, questions: Sequence[Question]) -> Iterator[Floats]:
    """What belongs to each question, of values for all rows in order."""
    start = 0
    for question in questions:
        yield values[start : start + len(question.rows)]
        start += len(question.rows)


class _Same:
    """Says one number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def predict(self, inputs: Floats) -> Floats:
        return np.full(len(inputs), self.value)


class Constant(RowLearner):
    """Says the training records' mean or quantile, whatever is asked; equal shares for a choice."""

    def one(self, level: float | None) -> Fit:
        """The mean or the quantile."""

        def fit(_: Floats, target: Floats, __: Floats) -> _Same:
            return _Same(float(target.mean() if level is None else np.quantile(target, level)))

        return fit

    def answer(self, questions: Sequence[Question]) -> Floats:
        """The same for all."""
        if isinstance(self.task.answer, Choice):
            return log_shares(np.ones(sum(len(question.rows) for question in questions)), questions)
        return super().answer(questions)


class Linear(RowLearner):
    """Logistic regression, ridge regression of shares, or linear quantiles.

    Args:
        strength: of the penalty on the coefficients.
    """

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        self.strength = strength

    def one(self, level: float | None) -> Fit:
        """A linear model; quantiles are its mean and the quantiles of what it misses."""
        from sklearn.linear_model import LogisticRegression, Ridge

        def fit(inputs: Floats, target: Floats, weight: Floats) -> Any:
            if isinstance(self.task.answer, Binary):
                if len(np.unique(target)) == 1:
                    return _Same(float(target[0]))
                return LogisticRegression(C=1 / self.strength, max_iter=1000).fit(inputs, target)
            model = Ridge(alpha=self.strength).fit(inputs, target, sample_weight=weight)
            return (
                model if level is None else _Shifted(model, float(np.quantile(target - model.predict(inputs), level)))
            )

        return fit


class _Shifted:
    def __init__(self, model: Any, by: float) -> None:
        self.model, self.by = model, by

    def predict(self, inputs: Floats) -> Floats:
        said: Floats = self.model.predict(inputs) + self.by
        return said


class Trees(RowLearner):
    """Gradient-boosted trees (Friedman 2001).

    Args:
        trees: how many.
        leaves: of each.
        learning_rate: of each step.
    """

    def __init__(self, trees: int = 200, leaves: int = 15, learning_rate: float = 0.06) -> None:
        super().__init__()
        self.trees, self.leaves, self.learning_rate = trees, leaves, learning_rate

    def one(self, level: float | None) -> Fit:
        """Trees with the log loss, the squared loss or the pinball loss."""
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        how: dict[str, Any] = {
            "max_iter": self.trees,
            "max_leaf_nodes": self.leaves,
            "learning_rate": self.learning_rate,
            "early_stopping": False,
            "random_state": 0,
        }

        def fit(inputs: Floats, target: Floats, weight: Floats) -> Any:
            if isinstance(self.task.answer, Binary):
                if len(np.unique(target)) == 1:
                    return _Same(float(target[0]))
                return HistGradientBoostingClassifier(**how).fit(inputs, target)
            loss = {"loss": "squared_error"} if level is None else {"loss": "quantile", "quantile": level}
            return HistGradientBoostingRegressor(**loss, **how).fit(inputs, target, sample_weight=weight)

        return fit

    def _inputs(self, questions: Sequence[Question]) -> Floats:
        """The features, and the numbers as they are: trees split on either, and on what is missing."""
        raw = np.concatenate([question.numbers for question in questions])
        return np.concatenate([raw, super()._inputs(questions)], axis=1)
