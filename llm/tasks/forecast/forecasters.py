"""Forecasters: one contract for the language model, the plain ones, and a user's own.

Specs are those of ``scenarios.common.plugin``: ``ridge``, ``language_model:head=runs/first``,
``my_file.py:MyForecaster``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm.tasks.base import Answerer, Question, TaskError
from llm.tasks.forecast.records import came, states
from llm.tasks.forecast.scaled_space import BAND, anchors, restored, scaled
from llm.tasks.forecast.state import (
    COUNTS_MIN,
    HORIZONS_MIN,
    QUANTILES,
    TARGETS,
    ForecastState,
    column,
    stacked,
    state_of,
)
from scenarios.common.plugin import Plugin

Floats = NDArray[np.float64]


class ForecastError(TaskError):
    """A forecaster that cannot do its work; the message is one sentence that says why and what to do."""


class Forecaster(Answerer):
    """Says the flow and the queue of every approach one, five and fifteen minutes ahead.

    A subclass needs ``forecast`` only; one that learns defines ``fit`` as well.
    """

    def fit(self, train: Sequence[Any], validation: Sequence[Any]) -> None:
        """Learn; called once, before any forecast. ``validation`` is for early stopping only.

        Args:
            train: what to learn from: each has a ``state``, what was known, and ``came`` (approaches, horizons,
                targets), what came, NaN where it is not known.
            validation: the same.
        """

    def answer(self, questions: Sequence[Question]) -> Floats:
        """Forecast what is asked."""
        return self.forecast([state_of(question) for question in questions])

    @abstractmethod
    def forecast(self, states: Sequence[ForecastState]) -> Floats:
        """Forecast some signals.

        Args:
            states: what is known of each signal, at least one; ``llm.tasks.forecast.state.stacked(states)`` gives the
                fields of all their approaches at once, (A, len(FIELDS)).

        Returns:
            (A, horizons, targets, quantiles) for all approaches of all states in order: ``HORIZONS_MIN`` 1, 5 and 15
            min, ``TARGETS`` mean flow until then (veh/h) and halted vehicles then, ``QUANTILES`` 10, 50 and 90 %.
        """


def checked(name: str, forecaster: Forecaster, states: Sequence[ForecastState]) -> Floats:
    """Ask for a forecast and make sure that it is one.

    Raises:
        ForecastError: it failed, has another shape, holds what is not a number, or its quantiles cross.
    """
    approaches = sum(len(state.approaches) for state in states)
    shape = (approaches, len(HORIZONS_MIN), len(TARGETS), len(QUANTILES))
    if not approaches:
        return np.empty(shape)
    try:
        found = np.asarray(forecaster.forecast(states), np.float64)
    except ForecastError:
        raise
    except Exception as error:  # whatever a user's own forecaster raises
        what = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":.")
        raise ForecastError(f"Forecaster '{name}' failed in forecast() with {what}.") from error
    if found.shape != shape:
        raise ForecastError(
            f"Forecaster '{name}' gave an array of shape {found.shape}; {shape} was expected: approaches, horizons, "
            "targets, quantiles."
        )
    if not np.isfinite(found).all():
        raise ForecastError(f"Forecaster '{name}' gave numbers that are not finite; say 0 where nothing is known.")
    if (np.diff(found, axis=-1) < -1e-6).any():
        raise ForecastError(f"Forecaster '{name}' gave quantiles that cross; sort them along the last axis.")
    return found


# --- the plainest


class PointForecaster(Forecaster):
    """A rule that gives one number; the band comes from its errors on the training records, in the scaled space."""

    def __init__(self) -> None:
        shape = (len(HORIZONS_MIN), len(TARGETS), 1)
        self._band = np.tile(np.array([-BAND, 0.0, BAND]), shape)

    @abstractmethod
    def point(self, fields: Floats) -> Floats:
        """The forecast (A, horizons, targets), veh/h and vehicles."""

    def fit(self, train: Sequence[Any], validation: Sequence[Any]) -> None:  # noqa: ARG002
        """Take the 10 and 90 % quantiles of the errors; the rule's own number stays the median."""
        fields = stacked(states(train))
        errors = scaled(came(train), fields) - scaled(self.point(fields), fields)
        low, _, high = np.nanquantile(errors, QUANTILES, axis=0)
        self._band = np.stack([np.minimum(low, 0), np.zeros_like(low), np.maximum(high, 0)], axis=-1)

    def forecast(self, states: Sequence[ForecastState]) -> Floats:
        """The rule's number and its band."""
        fields = stacked(states)
        return restored(scaled(self.point(fields), fields)[..., None] + self._band, fields)


class Persistence(PointForecaster):
    """What was measured goes on: over h minutes the flow of the last h minutes, and the queue of now."""

    def point(self, fields: Floats) -> Floats:
        """The last window of the same length; the anchor where the detectors are out."""
        counts = np.stack([column(fields, f"count_{k}_veh") for k in range(COUNTS_MIN, 0, -1)], axis=1)
        known = ~np.isnan(counts)
        five = 60 * np.where(known, counts, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        five[~known.any(axis=1)] = np.nan
        flows = np.stack([60 * counts[:, -1], five, column(fields, "flow_15_veh_h")], axis=1)
        queue = np.repeat(column(fields, "queue_veh")[:, None], len(HORIZONS_MIN), axis=1)
        return _filled(np.stack([flows, queue], axis=-1), fields)


class PastMean(PointForecaster):
    """The run's own mean so far, for every horizon."""

    def point(self, fields: Floats) -> Floats:
        """Mean flow and mean queue since the run began."""
        means = np.stack([column(fields, "flow_run_veh_h"), column(fields, "queue_run_veh")], axis=-1)
        return _filled(np.repeat(means[:, None, :], len(HORIZONS_MIN), axis=1), fields)


def _filled(values: Floats, fields: Floats) -> Floats:
    return np.where(np.isnan(values), anchors(fields)[0], values)


# --- by name

_PLUGIN = Plugin("forecaster", Forecaster, ForecastError)  # type: ignore[type-abstract]
#: Forecasters by name, "module:Class".
PLACES = {
    "persistence": "llm.tasks.forecast.forecasters:Persistence",
    "past_mean": "llm.tasks.forecast.forecasters:PastMean",
    "ridge": "llm.tasks.forecast.plain_learners:Ridge",
    "boosted_trees": "llm.tasks.forecast.plain_learners:BoostedTrees",
    "gru": "llm.tasks.forecast.gru:Gru",
    "language_model": "llm.tasks.forecast.language_model:LanguageModelForecaster",
    "language_model_without_reports": "llm.tasks.forecast.language_model:WithoutReports",
    "language_model_numbers_only": "llm.tasks.forecast.language_model:NumbersOnly",
}


def names() -> tuple[str, ...]:
    """The forecasters that ``make`` knows by name."""
    return tuple(PLACES)


def make(spec: str) -> Forecaster:
    """Make a forecaster from a spec.

    Raises:
        ForecastError: there is no such forecaster, or it cannot be imported or made.
    """
    head, class_name, _ = _PLUGIN.split(spec)
    if head.endswith(".py"):
        kind = _PLUGIN.from_file(Path(head), class_name)
    elif head in PLACES:
        kind = _PLUGIN.from_module(PLACES[head], head)
    else:
        raise _PLUGIN.unknown(head, PLACES)
    return _PLUGIN.construct(kind, spec)
