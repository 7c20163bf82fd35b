"""Heads on hidden states: quantiles or probabilities for each row, and the losses that they learn by."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from llm.backbone.loading import BackboneError
from llm.tasks.questions import Answer, Choice, Quantiles
from scenarios.common.files import read_json

Kind = Answer


class RowHead(nn.Module):
    """(A, width) features to answers of each row, in the space that is learnt in; quantiles never cross.

    Small networks add up: some read the plain numbers, and their mean counts (an ensemble, trained one by one from
    different starts, is better than each); another reads the features (a language model's hidden states, a GRU's). All
    end in zeros, so an untrained head says the plain forecast with a normal band, or even odds, and one whose numbers
    have been learnt says what the numbers say until the features have something to add.

    Args:
        kind: of the answers, quantiles or binary.
        width: of the features.
        numbers: how many plain numbers are read, 0 for none.
        hidden: width of all networks.
        dropout: of their hidden values.
        members: how many networks read the plain numbers.
    """

    def __init__(
        self, kind: Kind, width: int, numbers: int = 0, hidden: int = 64, dropout: float = 0.1, members: int = 1
    ) -> None:
        super().__init__()
        if isinstance(kind, Choice):
            raise TypeError("a choice is read from logits and has no head")
        self.kind, self.width, self.numbers, self.hidden = kind, width, numbers, hidden
        self.members = members if numbers else 0
        outputs = _raw_outputs(kind)
        self.mean: torch.Tensor
        self.spread: torch.Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.text = _Tower(width, hidden, outputs, dropout)
        self.plain = nn.ModuleList(_Tower(numbers, hidden, outputs, dropout, deep=True) for _ in range(self.members))
        self.bias: torch.Tensor
        self.register_buffer("bias", _start(kind))

    def scale_to(self, features: torch.Tensor) -> None:
        """Bring the features to mean 0 and spread 1, as seen on the training records."""
        self.mean.copy_(features.mean(0))
        self.spread.copy_(features.std(0).clamp(min=1e-3))

    @property
    def reads_features(self) -> bool:
        """False where training found nothing in the features that improves on the numbers: these need no reading."""
        last: list[torch.Tensor] = [*self.text.mix[-1].parameters(), *self.text.direct.parameters()]
        return any(bool(values.any()) for values in last)

    def forward(self, features: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """What is said of each row; ``numbers`` (A, numbers) is not read by a head without them."""
        raw = self.text((features.float() - self.mean) / self.spread) + self.bias
        return said(self.kind, raw + self._mean_of(numbers) if self.members else raw)

    def plainly(self, numbers: torch.Tensor) -> torch.Tensor:
        """What the plain numbers alone say: what a text has to improve on."""
        return said(
            self.kind, self.bias + self._mean_of(numbers) if self.members else self.bias.expand(len(numbers), -1)
        )

    def member(self, number: int) -> nn.Module:
        """One of the networks that read the numbers, on its own, for its training."""
        return _Member(self, number)

    def _mean_of(self, numbers: torch.Tensor) -> torch.Tensor:
        return torch.stack([tower(numbers) for tower in self.plain]).mean(0)

    # --- files

    def shape(self) -> dict[str, int]:
        """What ``load_head`` needs to make it again."""
        return {"width": self.width, "facts": self.numbers, "hidden": self.hidden, "members": self.members}


def _raw_outputs(kind: Kind) -> int:
    return math.prod(kind.answer_shape(1))


def _start(kind: Kind) -> torch.Tensor:
    """The bias of an untrained head: a standard normal's quantiles, or even odds."""
    if not isinstance(kind, Quantiles):
        return torch.zeros(_raw_outputs(kind))
    points = [round(NormalDist().inv_cdf(level), 2) for level in kind.levels]
    middle = len(points) // 2
    down = [points[k + 1] - points[k] for k in range(middle - 1, -1, -1)]
    up = [points[k] - points[k - 1] for k in range(middle + 1, len(points))]
    gaps = [math.log(math.expm1(gap)) for gap in (*down, *up)]  # softplus of it is the gap
    return torch.tensor([0.0, *gaps]).repeat(math.prod(kind.outputs))


def said(kind: Kind, raw: torch.Tensor) -> torch.Tensor:
    """What a network gives, (A, all), as quantiles in order (A, *outputs, levels), or logits (A, *outputs)."""
    if not isinstance(kind, Quantiles):
        return raw.view(kind.answer_shape(len(raw)))
    middle = len(kind.levels) // 2
    median, *gaps = raw.view(kind.answer_shape(len(raw))).unbind(-1)
    softplus = nn.functional.softplus
    below, above = [median], [median]
    for gap in gaps[:middle]:
        below.insert(0, below[0] - softplus(gap))
    for gap in gaps[middle:]:
        above.append(above[-1] + softplus(gap))
    return torch.stack([*below, *above[1:]], -1)


def row_loss(kind: Kind, answers: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean loss over what is known: the pinball loss of quantiles, the log loss of logits.

    Args:
        kind: of the answers.
        answers: as ``said`` gives them.
        target: (A, *outputs), NaN where it is not known.
        weight: (A, *outputs) of each number.
    """
    known = ~torch.isnan(target)
    came = torch.nan_to_num(target)
    if isinstance(kind, Quantiles):
        error = came[..., None] - answers
        levels = torch.tensor(kind.levels, device=answers.device)
        loss = torch.maximum(levels * error, (levels - 1) * error).mean(-1)
    else:
        loss = nn.functional.binary_cross_entropy_with_logits(answers, came, reduction="none")
    return (loss * weight * known).sum() / (weight * known).sum().clamp(min=1e-6)


class _Tower(nn.Module):
    """A linear read-out beside a small network of one hidden layer or two, both starting at zero."""

    def __init__(self, width: int, hidden: int, outputs: int, dropout: float, deep: bool = False) -> None:
        super().__init__()
        more = [nn.Linear(hidden, hidden), nn.GELU(), nn.Dropout(dropout)] if deep else []
        first = [nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout)]
        self.mix = nn.Sequential(*first, *more, nn.Linear(hidden, outputs))
        self.direct = nn.Linear(width, outputs, bias=False)
        for layer in (self.mix[-1], self.direct):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        raw: torch.Tensor = self.mix(values) + self.direct(values)
        return raw


class _Member(nn.Module):
    def __init__(self, head: RowHead, number: int) -> None:
        super().__init__()
        self.tower, self.bias, self.kind = head.plain[number], head.bias, head.kind

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        return said(self.kind, self.tower(numbers) + self.bias)


# --- files: a head lies beside an adapter, or in a folder of its own; one folder may hold heads of several tasks


def head_file(folder: Path, task: str) -> Path:
    """Where the weights of a task's head lie."""
    return folder / f"{task}_head.safetensors"


def head_folder(folder: Path, task: str) -> Path:
    """The folder itself, or the adapter's in it where a run folder was named."""
    inner = folder / "adapter"
    return inner if not head_file(folder, task).is_file() and head_file(inner, task).is_file() else folder


def about_file(folder: Path, task: str) -> Path:
    """Where it is said what a task's head was made from."""
    return folder / f"{task}_head.json"


def save_head(head: RowHead, folder: Path, task: str, about: dict[str, Any]) -> None:
    """Write the weights and what they were made from, beside an adapter if the folder holds one."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}
    save_file(weights, head_file(folder, task))
    about_file(folder, task).write_text(json.dumps({**about, **head.shape()}, indent=1), encoding="utf-8")


def load_head(folder: Path, task: str, kind: Kind, versions: dict[str, int]) -> tuple[RowHead, dict[str, Any]]:
    """Read what ``save_head`` wrote: the head, ready to use, and what it was made from.

    Args:
        folder: of the head.
        task: its task's name.
        kind: of its answers.
        versions: of the prompts and facts that are made here, by their names in the file.

    Raises:
        BackboneError: it is missing, damaged, or made for other prompts.
    """
    from safetensors.torch import load_file

    if not head_file(folder, task).is_file():
        raise BackboneError(
            f"Folder {folder} holds no {head_file(folder, task).name}; run 'greenloop train {task}' to make one."
        )
    try:
        about = read_json(about_file(folder, task), allow_nan=True)
        noted = {name: about[name] for name in versions}
        if missing := {"base", "base_sha256", "adapter_sha256", "layers"} - set(about):
            raise ValueError(f"{about_file(folder, task).name} lacks {', '.join(sorted(missing))}")
        head = RowHead(kind, about["width"], about["facts"], about["hidden"], members=about["members"])
        head.load_state_dict(load_file(head_file(folder, task)))
        if not all(bool(values.isfinite().all()) for values in head.state_dict().values()):
            raise ValueError("its weights are not finite")
    except Exception as error:  # whatever a broken file makes torch raise
        line = " ".join(str(error).split())[:160]
        raise BackboneError(f"The {task} head in {folder} is damaged ({line}); train it again.") from error
    if noted != versions:
        theirs, ours = (", ".join(f"{name} {value}" for name, value in some.items()) for some in (noted, versions))
        raise BackboneError(
            f"The {task} head in {folder} was made for {theirs}, and this greenloop has {ours}: train it again."
        )
    return head.eval(), about


def tensor(values: NDArray[np.float64]) -> torch.Tensor:
    """Numbers as torch's single precision."""
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
