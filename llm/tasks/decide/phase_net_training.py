"""Trains the plain neural network of ``llm.tasks.decide.phase_net`` on records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from llm.tasks.decide.facts import FACTS
from llm.tasks.decide.phase_net import PhaseNet
from llm.tasks.decide.records import Record, soft_targets

MEMBERS = 3
_FAR = -1e9


class _Net(nn.Module):
    """Scores (batch, phases) from facts (batch, phases, len(FACTS)) and a mask of the phases that exist."""

    def __init__(self, hidden: int = 96) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 * len(FACTS), hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, facts: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Scores; those of phases that do not exist are far below all others."""
        held = torch.log1p(facts.clamp(min=0)) * mask[..., None]
        mean = held.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        around = torch.cat([mean, held.amax(1)], -1)[:, None].expand(-1, facts.shape[1], -1)
        scores: torch.Tensor = self.layers(torch.cat([held, around], -1)).squeeze(-1)
        return scores.masked_fill(~mask, _FAR)


def fit(
    train: Sequence[Record],
    validation: Sequence[Record],
    horizon_s: float,
    temperature_veh_s: float,
    epochs: int = 40,
    members: int = MEMBERS,
) -> tuple[PhaseNet, float]:
    """Train on soft targets, each member to the epoch with the least validation regret.

    Returns:
        The networks, and their regret on the validation records, veh-s.
    """
    seen = [np.array(record.facts) for record in validation]
    costs = [record.cost(horizon_s) for record in validation]
    nets = [_fit_one(train, seen, costs, horizon_s, temperature_veh_s, epochs, seed) for seed in range(members)]
    layers = [[part for part in net.layers if isinstance(part, nn.Linear)] for net in nets]
    stacked = tuple(
        (
            np.stack([part.weight.detach().numpy().T for part in same]),
            np.stack([part.bias.detach().numpy() for part in same]),
        )
        for same in zip(*layers, strict=True)
    )
    whole = PhaseNet(stacked)
    return whole, _regret(costs, whole.choose(seen))


def _fit_one(
    train: Sequence[Record],
    seen: list[NDArray[np.float64]],
    costs: list[NDArray[np.float64]],
    horizon_s: float,
    temperature_veh_s: float,
    epochs: int,
    seed: int,
) -> _Net:
    torch.manual_seed(seed)
    net = _Net()
    facts, mask = _padded([np.array(record.facts) for record in train])
    targets = _padded_rows([soft_targets(record.cost(horizon_s), temperature_veh_s) for record in train], mask.shape[1])
    shown = _padded(seen)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    best, least = net.state_dict(), np.inf
    for _ in range(epochs):
        for batch in torch.randperm(len(facts)).split(128):  # type: ignore[no-untyped-call]
            loss = -(targets[batch] * torch.log_softmax(net(facts[batch], mask[batch]), -1)).sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
        with torch.inference_mode():
            regret = _regret(costs, net(*shown).argmax(-1).tolist())
        if regret < least:
            best, least = {name: value.clone() for name, value in net.state_dict().items()}, regret
    net.load_state_dict(best)
    return net


def _regret(costs: list[NDArray[np.float64]], chosen: list[int]) -> float:
    return float(np.mean([c[phase] - c.min() for c, phase in zip(costs, chosen, strict=True)]))


def _padded(facts: Sequence[NDArray[np.float64]]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(rows) for rows in facts)
    values = torch.zeros(len(facts), width, len(FACTS))
    mask = torch.zeros(len(facts), width, dtype=torch.bool)
    for i, rows in enumerate(facts):
        values[i, : len(rows)] = torch.from_numpy(np.asarray(rows, dtype=np.float32))
        mask[i, : len(rows)] = True
    return values, mask


def _padded_rows(rows: Sequence[NDArray[np.float64]], width: int) -> torch.Tensor:
    values = torch.zeros(len(rows), width)
    for i, row in enumerate(rows):
        values[i, : len(row)] = torch.from_numpy(row.astype(np.float32))
    return values
