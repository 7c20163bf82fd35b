"""Ridge autoregression and gradient-boosted trees: the plain forecasters that learn, by scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm.tasks.forecast.forecasters import Forecaster, ForecastError
from llm.tasks.forecast.records import came, states
from llm.tasks.forecast.scaled_space import anchors, facts, restored, scaled
from llm.tasks.forecast.state import HORIZONS_MIN, QUANTILES, TARGETS, ForecastState, stacked

Floats = NDArray[np.float64]
_OUTPUTS = [(h, t) for h in range(len(HORIZONS_MIN)) for t in range(len(TARGETS))]


class Ridge(Forecaster):
    """Ridge regression (Hoerl & Kennard 1970) on the recent counts and the other facts, with its errors' quantiles.

    Args:
        strength: penalty on the squared coefficients.
    """

    def __init__(self, strength: float = 10.0) -> None:
        self.strength = strength
        self._models: dict[tuple[int, int], tuple[Any, Floats]] = {}

    def fit(self, train: Sequence[Any], validation: Sequence[Any]) -> None:  # noqa: ARG002
        """Fit one linear model for each horizon and target, then take the quantiles of what it misses."""
        from sklearn.linear_model import Ridge as Linear

        fields, noise = _inputs(train)
        wanted, inputs = scaled(came(train), fields), facts(states(train))
        for place in _OUTPUTS:
            known = ~np.isnan(wanted[:, *place])
            model = Linear(alpha=self.strength)
            model.fit(inputs[known], wanted[known][:, *place], sample_weight=noise[known][:, *place])
            missed = wanted[known][:, *place] - model.predict(inputs[known])
            self._models[place] = model, np.quantile(missed, QUANTILES)

    def forecast(self, states: Sequence[ForecastState]) -> Floats:
        """The linear forecast plus the quantiles of its errors."""
        _check_fitted(self._models, "ridge")
        fields = stacked(states)
        inputs, said = facts(states), np.empty((len(fields), len(HORIZONS_MIN), len(TARGETS), len(QUANTILES)))
        for place, (model, missed) in self._models.items():
            said[:, *place] = model.predict(inputs)[:, None] + missed
        return restored(said, fields)


class BoostedTrees(Forecaster):
    """Gradient-boosted trees (Friedman 2001) with the pinball loss, one model for each quantile.

    Args:
        trees: at most so many, fewer where a tenth of the training records says so.
        leaves: of each tree.
        learning_rate: of each step.
    """

    def __init__(self, trees: int = 200, leaves: int = 15, learning_rate: float = 0.06) -> None:
        self.trees, self.leaves, self.learning_rate = trees, leaves, learning_rate
        self._models: dict[tuple[int, int, int], Any] = {}

    def fit(self, train: Sequence[Any], validation: Sequence[Any]) -> None:  # noqa: ARG002
        """Fit a model for each horizon, target and quantile; unknown facts are branches of their own."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        fields, noise = _inputs(train)
        wanted, inputs = scaled(came(train), fields), _with_fields(states(train))
        for place in _OUTPUTS:
            known = ~np.isnan(wanted[:, *place])
            for number, level in enumerate(QUANTILES):
                model = HistGradientBoostingRegressor(
                    loss="quantile",
                    quantile=level,
                    max_iter=self.trees,
                    max_leaf_nodes=self.leaves,
                    learning_rate=self.learning_rate,
                    min_samples_leaf=60,
                    l2_regularization=1.0,
                    early_stopping=False,
                    random_state=0,
                )
                model.fit(inputs[known], wanted[known][:, *place], sample_weight=noise[known][:, *place])
                self._models[(*place, number)] = model

    def forecast(self, states: Sequence[ForecastState]) -> Floats:
        """The trees' quantiles."""
        _check_fitted(self._models, "boosted_trees")
        fields = stacked(states)
        inputs, said = _with_fields(states), np.empty((len(fields), len(HORIZONS_MIN), len(TARGETS), len(QUANTILES)))
        for place, model in self._models.items():
            said[:, *place] = model.predict(inputs)
        return restored(said, fields)


def _inputs(train: Sequence[Any]) -> tuple[Floats, Floats]:
    """Fields, and the noise as weights: an error on a busy road is larger in veh/h, which is what is scored."""
    fields = stacked(states(train))
    noise = anchors(fields)[1]
    return fields, noise / noise.mean(axis=0)


def _with_fields(states: Sequence[ForecastState]) -> Floats:
    """The fields as they are, with the scaled facts: trees split on either."""
    return np.concatenate([stacked(states), facts(states)], axis=1)


def _check_fitted(models: dict[Any, Any], name: str) -> None:
    if not models:
        raise ForecastError(f"Forecaster '{name}' has learnt nothing yet; call fit() with records first.")
