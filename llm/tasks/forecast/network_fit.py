"""One loop that trains any network on forecast records: pinball loss, AdamW, the best epoch on validation is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from llm.tasks.forecast.quantile_head import pinball_loss, tensor
from llm.tasks.forecast.records import ForecastRecord, came, states
from llm.tasks.forecast.scaled_space import anchors, facts, scaled
from llm.tasks.forecast.state import stacked


@dataclass(frozen=True)
class Fit:
    """How long and how fast.

    Attributes:
        epochs: at most.
        patience: epochs without a gain on validation before it stops.
        batch: approaches in a step.
        learning_rate: highest; it falls as a cosine.
        weight_decay: of AdamW.
        seed: of initialisation and order.
    """

    epochs: int = 30
    patience: int = 6
    batch: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    seed: int = 0


@dataclass(frozen=True)
class Lessons:
    """Forecast records as tensors.

    Attributes:
        facts: (A, K) plain numbers.
        wanted: (A, horizons, targets) in the scaled space, NaN where unknown.
        weight: (A, horizons, targets) of the errors: their noise, so that errors count as in veh/h and vehicles.
    """

    facts: torch.Tensor
    wanted: torch.Tensor
    weight: torch.Tensor

    @classmethod
    def of(cls, records: Sequence[ForecastRecord]) -> Lessons:
        """All approaches of all records."""
        known = states(records)
        fields = stacked(known)
        noise = anchors(fields)[1]
        weight = noise / noise.mean(axis=0)
        return cls(tensor(facts(known)), tensor(scaled(came(records), fields)), tensor(weight))


def fit(
    net: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    train: Lessons,
    held: tuple[torch.Tensor, ...],
    validation: Lessons,
    how: Fit,
) -> list[float]:
    """Train ``net(*inputs)`` in place; returns the validation loss of every epoch, the first before any step."""
    torch.manual_seed(how.seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
    steps = max(1, -(-len(train.wanted) // how.batch))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.epochs * steps)
    losses = [measure(net, held, validation)]
    best = _copy(net)
    for _ in range(how.epochs):
        net.train()
        for rows in torch.randperm(len(train.wanted)).split(how.batch):  # type: ignore[no-untyped-call]
            said = net(*(values[rows] for values in inputs))
            loss = pinball_loss(said, train.wanted[rows], train.weight[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        losses.append(measure(net, held, validation))
        if losses[-1] <= min(losses):
            best = _copy(net)
        elif len(losses) - 1 - int(np.argmin(losses)) >= how.patience:
            break
    net.load_state_dict(best)
    net.eval()
    return losses


def measure(net: nn.Module, inputs: tuple[torch.Tensor, ...], lessons: Lessons) -> float:
    """Mean pinball loss in the scaled space."""
    net.eval()
    with torch.inference_mode():
        return float(pinball_loss(net(*inputs), lessons.wanted, lessons.weight))


def _copy(net: nn.Module) -> dict[str, Any]:
    return {name: value.clone() for name, value in net.state_dict().items()}
