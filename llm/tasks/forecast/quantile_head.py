"""The forecast head: quantiles of flow and queue from a vector for each approach, and the loss that it learns by."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from llm.backbone.loading import BackboneError
from llm.tasks.forecast.prompt import FORECAST_PROMPT_VERSION
from llm.tasks.forecast.scaled_space import BAND, FACTS_VERSION
from llm.tasks.forecast.state import HORIZONS_MIN, QUANTILES, TARGETS

FILE, ABOUT = "forecast_head.safetensors", "forecast_head.json"
_SHAPE = (len(HORIZONS_MIN), len(TARGETS))
_OUTPUTS = 3 * math.prod(_SHAPE)


class QuantileHead(nn.Module):
    """(A, width) features to (A, horizons, targets, quantiles) in the scaled space; quantiles never cross.

    Small networks add up: some read the plain numbers ``facts``, and their mean counts (an ensemble, trained one by one
    from different starts, is better than each); another reads the features (a language model's hidden states, a
    GRU's). All end in zeros, so an untrained head says the anchor with the band of a Poisson count, and one whose facts
    have been learnt says the plain forecast until the features have something to add. The outer quantiles lie below and
    above the median by a softplus.

    Args:
        width: of the features.
        facts: how many plain numbers are read, 0 for none.
        hidden: width of all networks.
        dropout: of their hidden values.
        members: how many networks read the plain numbers.
    """

    def __init__(self, width: int, facts: int = 0, hidden: int = 64, dropout: float = 0.1, members: int = 1) -> None:
        super().__init__()
        self.width, self.facts, self.hidden = width, facts, hidden
        self.members = members if facts else 0
        self.mean: torch.Tensor
        self.spread: torch.Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.text = _Tower(width, hidden, dropout)
        self.plain = nn.ModuleList(_Tower(facts, hidden, dropout, deep=True) for _ in range(self.members))
        gap = math.log(math.expm1(BAND))  # softplus of it is the band
        self.bias: torch.Tensor
        self.register_buffer("bias", torch.tensor([0.0, gap, gap]).repeat(_OUTPUTS // 3))

    def scale_to(self, features: torch.Tensor) -> None:
        """Bring the features to mean 0 and spread 1, as seen on the training records."""
        self.mean.copy_(features.mean(0))
        self.spread.copy_(features.std(0).clamp(min=1e-3))

    @property
    def reads_features(self) -> bool:
        """False where training found nothing in the features that improves on the facts: they then need no reading."""
        last: list[torch.Tensor] = [*self.text.mix[-1].parameters(), *self.text.direct.parameters()]
        return any(bool(values.any()) for values in last)

    def forward(self, features: torch.Tensor, facts: torch.Tensor) -> torch.Tensor:
        """Quantiles of each approach; ``facts`` (A, facts) is not read by a head without facts."""
        raw = self.text((features.float() - self.mean) / self.spread) + self.bias
        return quantiles(raw + self._mean_of(facts) if self.members else raw)

    def plainly(self, facts: torch.Tensor) -> torch.Tensor:
        """Quantiles from the plain numbers alone: what a text has to improve on."""
        return quantiles(self.bias + self._mean_of(facts) if self.members else self.bias.expand(len(facts), -1))

    def _mean_of(self, facts: torch.Tensor) -> torch.Tensor:
        return torch.stack([tower(facts) for tower in self.plain]).mean(0)

    # --- files

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """Write the weights and what they were made from, beside an adapter if the folder holds one."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, folder / FILE)
        shape = {"width": self.width, "facts": self.facts, "hidden": self.hidden, "members": self.members}
        made_for = {"prompt_version": FORECAST_PROMPT_VERSION, "facts_version": FACTS_VERSION}
        said = {**about, **shape, "horizons_min": HORIZONS_MIN, **made_for}
        (folder / ABOUT).write_text(json.dumps(said, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> tuple[QuantileHead, dict[str, Any]]:
        """Read what ``save`` wrote: the head, ready to use, and what it was made from.

        Raises:
            BackboneError: it is missing, damaged, or made for other prompts.
        """
        from safetensors.torch import load_file

        if not (folder / FILE).is_file():
            raise BackboneError(f"Folder {folder} holds no {FILE}; run 'greenloop train-forecast' to make one.")
        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            versions = about["prompt_version"], about["facts_version"]
            if missing := {"base", "base_sha256", "adapter_sha256", "layers"} - set(about):
                raise ValueError(f"{ABOUT} lacks {', '.join(sorted(missing))}")
            head = cls(about["width"], about["facts"], about["hidden"], members=about["members"])
            head.load_state_dict(load_file(folder / FILE))
            if not all(bool(values.isfinite().all()) for values in head.state_dict().values()):
                raise ValueError("its weights are not finite")
        except Exception as error:  # whatever a broken file makes torch raise
            line = " ".join(str(error).split())[:160]
            raise BackboneError(f"The forecast head in {folder} is damaged ({line}); train it again.") from error
        if versions != (FORECAST_PROMPT_VERSION, FACTS_VERSION):
            raise BackboneError(
                f"The forecast head in {folder} was made for forecast prompts of version {versions[0]} and facts of "
                f"version {versions[1]}, and this greenloop has versions {FORECAST_PROMPT_VERSION} and "
                f"{FACTS_VERSION}: train it again."
            )
        return head.eval(), about


class _Tower(nn.Module):
    """A linear read-out beside a small network of one hidden layer or two, both starting at zero."""

    def __init__(self, width: int, hidden: int, dropout: float, deep: bool = False) -> None:
        super().__init__()
        more = [nn.Linear(hidden, hidden), nn.GELU(), nn.Dropout(dropout)] if deep else []
        first = [nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout)]
        self.mix = nn.Sequential(*first, *more, nn.Linear(hidden, _OUTPUTS))
        self.direct = nn.Linear(width, _OUTPUTS, bias=False)
        for layer in (self.mix[-1], self.direct):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        said: torch.Tensor = self.mix(values) + self.direct(values)
        return said


def quantiles(raw: torch.Tensor) -> torch.Tensor:
    """What a network gives, (A, all), as quantiles (A, horizons, targets, quantiles) in order."""
    median, below, above = raw.view(-1, *_SHAPE, 3).unbind(-1)
    softplus = nn.functional.softplus
    return torch.stack([median - softplus(below), median, median + softplus(above)], -1)


def pinball_loss(said: torch.Tensor, came: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean pinball loss over what is known.

    Args:
        said: (A, horizons, targets, quantiles).
        came: (A, horizons, targets), NaN where it is not known.
        weight: (A, horizons, targets) of each number.
    """
    known = ~torch.isnan(came)
    error = torch.nan_to_num(came)[..., None] - said
    levels = torch.tensor(QUANTILES, device=said.device)
    loss = torch.maximum(levels * error, (levels - 1) * error).mean(-1)
    return (loss * weight * known).sum() / (weight * known).sum().clamp(min=1e-6)


def tensor(values: NDArray[np.float64]) -> torch.Tensor:
    """Numbers as torch's single precision."""
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
