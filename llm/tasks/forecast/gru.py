"""A small recurrent network on the same facts as numbers: the neural forecaster that reads no text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from llm.engine.fit import Fit, fit
from llm.engine.heads import RowHead, row_loss, tensor
from llm.tasks.forecast.forecasters import Forecaster, ForecastError
from llm.tasks.forecast.lessons import ANSWER, rows_of
from llm.tasks.forecast.scaled_space import facts, restored
from llm.tasks.forecast.state import COUNTS_MIN, ForecastState, stacked


class GruNet(nn.Module):
    """Reads the minutes' counts one after the other (Cho et al. 2014), then the other facts; gives quantiles."""

    def __init__(self, facts: int, hidden: int) -> None:
        super().__init__()
        self.minutes = nn.GRU(1, hidden, batch_first=True)
        self.head = RowHead(ANSWER, hidden, facts, hidden=64)

    def forward(self, facts: torch.Tensor) -> torch.Tensor:
        """(A, K) facts, the counts first, to (A, horizons, targets, quantiles)."""
        _, last = self.minutes(facts[:, :COUNTS_MIN, None])
        said: torch.Tensor = self.head(last[0], facts)
        return said


class Gru(Forecaster):
    """A GRU of some tens of units with a quantile head.

    Args:
        hidden: units.
        epochs: at most; the best one on validation is kept.
    """

    def __init__(self, hidden: int = 32, epochs: int = 30) -> None:
        self.hidden, self.epochs = hidden, epochs
        self._net: GruNet | None = None

    def fit(self, train: Sequence[Any], validation: Sequence[Any]) -> None:
        """Train on the pinball loss."""
        learn, held = rows_of(train), rows_of(validation)
        torch.manual_seed(0)
        self._net = GruNet(learn.inputs[0].shape[1], self.hidden)
        fit(self._net, partial(row_loss, ANSWER), learn, held, Fit(epochs=self.epochs))

    def forecast(self, states: Sequence[ForecastState]) -> NDArray[np.float64]:
        """The network's quantiles."""
        if self._net is None:
            raise ForecastError("Forecaster 'gru' has learnt nothing yet; call fit() with records first.")
        with torch.inference_mode():
            said = self._net(tensor(facts(states)))
        return restored(said.double().numpy(), stacked(states))
