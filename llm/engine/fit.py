"""One loop that trains any small network: AdamW, a cosine, the best epoch on validation is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

#: Mean loss of what a network says, from (said, target, weight).
Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class Fit(BaseModel):
    """How long and how fast.

    Attributes:
        epochs: at most.
        patience: epochs without a gain on validation before it stops.
        batch: rows in a step.
        learning_rate: highest; it falls as a cosine.
        weight_decay: of AdamW.
        seed: of initialisation and order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = 30
    patience: int = 6
    batch: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    seed: int = 0


@dataclass(frozen=True)
class Rows:
    """What a network is shown and should say of each row.

    Attributes:
        inputs: of the network, (A, ...) each.
        target: (A, ...), NaN where it is not known.
        weight: of each number of the target.
    """

    inputs: tuple[torch.Tensor, ...]
    target: torch.Tensor
    weight: torch.Tensor


def fit(net: nn.Module, loss_of: Loss, train: Rows, validation: Rows, how: Fit) -> list[float]:
    """Train ``net(*inputs)`` in place; returns the validation loss of every epoch, the first before any step."""
    torch.manual_seed(how.seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
    steps = max(1, -(-len(train.target) // how.batch))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.epochs * steps)
    losses = [measure(net, loss_of, validation)]
    best = _copy(net)
    for _ in range(how.epochs):
        net.train()
        for rows in torch.randperm(len(train.target)).split(how.batch):  # type: ignore[no-untyped-call]
            said = net(*(values[rows] for values in train.inputs))
            loss = loss_of(said, train.target[rows], train.weight[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        losses.append(measure(net, loss_of, validation))
        if losses[-1] <= min(losses):
            best = _copy(net)
        elif len(losses) - 1 - int(np.argmin(losses)) >= how.patience:
            break
    net.load_state_dict(best)
    net.eval()
    return losses


def measure(net: nn.Module, loss_of: Loss, rows: Rows) -> float:
    """Mean loss."""
    net.eval()
    with torch.inference_mode():
        return float(loss_of(net(*rows.inputs), rows.target, rows.weight))


def _copy(net: nn.Module) -> dict[str, Any]:
    return {name: value.clone() for name, value in net.state_dict().items()}
