"""A plain neural network that scores phases from the same records' numbers: what a language model must be better than.

One small network scores each phase from its own facts, their mean and their maximum over the signal's phases, so any
number of phases in any order will do (Deep Sets, Zaheer et al. 2017).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from llm.backbone import BackboneError
from llm.dataset import Record, soft_targets
from llm.facts import FACTS
from llm.prompt import PROMPT_VERSION

FILE = "phase_net.pt"
_FAR = -1e9


class PhaseNet(nn.Module):
    """Scores (batch, phases) from facts (batch, phases, len(FACTS)) and a mask of the phases that exist."""

    def __init__(self, hidden: int = 96) -> None:
        super().__init__()
        self.hidden = hidden
        self.layers = nn.Sequential(
            nn.Linear(3 * len(FACTS), hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, facts: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Scores; those of phases that do not exist are far below all others."""
        scaled = torch.log1p(facts.clamp(min=0))
        held = scaled * mask[..., None]
        mean = held.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        most = held.amax(1)
        around = torch.cat([mean, most], -1)[:, None].expand(-1, facts.shape[1], -1)
        scores: torch.Tensor = self.layers(torch.cat([scaled, around], -1)).squeeze(-1)
        return scores.masked_fill(~mask, _FAR)

    def choose(self, facts: Sequence[NDArray[np.float64]]) -> list[int]:
        """The best phase of each signal from its (phases, len(FACTS)) facts."""
        with torch.inference_mode():
            scores = self(*_padded(facts))
        return [int(row.argmax()) for row in scores]

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """Write the weights, and what they were made from."""
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.state_dict(), folder / FILE)
        about = {**about, "hidden": self.hidden, "facts": list(FACTS), "prompt_version": PROMPT_VERSION}
        (folder / "phase_net.json").write_text(json.dumps(about, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> PhaseNet:
        """Read what ``save`` wrote.

        Raises:
            BackboneError: it is missing, damaged, or reads other facts.
        """
        try:
            about = json.loads((folder / "phase_net.json").read_text(encoding="utf-8"))
            net = cls(about["hidden"])
            if about["facts"] != list(FACTS):
                raise ValueError("it reads other facts than this version gives")
            net.load_state_dict(torch.load(folder / FILE, weights_only=True))
        except Exception as error:  # whatever a broken file makes torch raise
            line = " ".join(str(error).split())[:160]
            raise BackboneError(f"Folder {folder} holds no usable phase network ({line}); train it again.") from error
        return net.eval()


def fit(
    train: Sequence[Record], validation: Sequence[Record], horizon_s: float, temperature_veh_s: float, epochs: int = 60
) -> tuple[PhaseNet, list[float]]:
    """Train on soft targets, keep the epoch with the least validation regret; returns the regrets, veh-s."""
    torch.manual_seed(0)
    net = PhaseNet()
    facts, mask = _padded([np.array(record.facts) for record in train])
    targets = _padded_rows([soft_targets(record.cost(horizon_s), temperature_veh_s) for record in train], mask.shape[1])
    seen = _padded([np.array(record.facts) for record in validation])
    costs = [record.cost(horizon_s) for record in validation]
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    best, regrets = net.state_dict(), []
    for _ in range(epochs):
        for batch in torch.randperm(len(facts)).split(128):  # type: ignore[no-untyped-call]
            loss = -(targets[batch] * torch.log_softmax(net(facts[batch], mask[batch]), -1)).sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
        with torch.inference_mode():
            chosen = net(*seen).argmax(-1).tolist()
        regrets.append(float(np.mean([c[phase] - c.min() for c, phase in zip(costs, chosen, strict=True)])))
        if regrets[-1] == min(regrets):
            best = {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(best)
    return net.eval(), regrets


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
