"""The language model's forecast pass: hidden states at the markers, and the training of the head on them.

One prefill reads the prompt, no token is generated. Each approach has one marker token after all facts; its hidden
state after the last kept layer is what the head reads. With the backbone frozen, these states are computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llm.backbone import Backbone, BackboneError
from llm.forecast_data import ForecastRecord, states
from llm.forecast_fit import Fit, Lessons, fit, measure
from llm.forecast_prompt import CUE, cue
from llm.forecast_state import ForecastState
from llm.heads import QuantileHead
from llm.prompt import phase_letters
from llm.scorer import batches


@dataclass(frozen=True)
class ForecastTraining:
    """What makes one head out of one folder of records.

    Attributes:
        facts: the head reads the plain numbers beside the hidden state.
        hidden: width of the head's small network.
        dropout: of its hidden values.
        fit: how long and how fast.
    """

    facts: bool = True
    hidden: int = 64
    dropout: float = 0.1
    fit: Fit = field(default_factory=Fit)


def fast_precision(device: str) -> Any:
    """A context in which matrices are multiplied in bfloat16 where the processor has units for it, else as they are."""
    kind = device.split(":")[0]
    supported = torch.cuda.is_bf16_supported() if kind == "cuda" else kind == "cpu" and _has_amx()
    return torch.autocast(kind if supported else "cpu", torch.bfloat16, enabled=supported)


def _has_amx() -> bool:
    """Without AMX tiles, bfloat16 on a CPU is slower than single precision."""
    asks = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(asks and asks())


class Reader:
    """Reads forecast prompts with one backbone and gives the hidden state at every marker.

    Attributes:
        backbone: the model in use.
        tokens: prompt tokens read so far, padding not counted.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone, self.tokens = backbone, 0
        self._checked = 0

    @property
    def width(self) -> int:
        """Of a hidden state."""
        return int(self.backbone.model.config.hidden_size)

    def read(self, states: Sequence[ForecastState]) -> torch.Tensor:
        """(A, width) hidden states of all approaches of all states, in order; nothing is learnt."""
        ids = self.token_ids(states)
        sizes = [len(state.approaches) for state in states]
        found: list[torch.Tensor] = [torch.empty(0)] * len(states)
        with torch.inference_mode():
            for group in batches([len(row) for row in ids]):
                hidden = self.hidden([ids[i] for i in group], [sizes[i] for i in group])
                for i, rows in zip(group, torch.split(hidden.cpu(), [sizes[i] for i in group]), strict=True):
                    found[i] = rows
        return torch.cat(found) if found else torch.empty(0, self.width)

    def token_ids(self, states: Sequence[ForecastState]) -> list[list[int]]:
        """The prompts as tokens.

        Raises:
            BackboneError: the tokenizer splits a marker.
        """
        self._check(max((len(state.approaches) for state in states), default=0))
        ids: list[list[int]] = (
            self.backbone.tokenizer([state.prompt for state in states])["input_ids"] if states else []
        )
        self.tokens += sum(map(len, ids))
        return ids

    def hidden(self, ids: Sequence[list[int]], sizes: Sequence[int]) -> torch.Tensor:
        """(A, width) states at the markers, the last tokens of each prompt; differentiable where gradients are on."""
        pad, width, device = self.backbone.tokenizer.pad_token_id or 0, max(map(len, ids)), self.backbone.device
        padded = torch.tensor([row + [pad] * (width - len(row)) for row in ids], device=device)
        prompt = [k for k, size in enumerate(sizes) for _ in range(size)]
        token = [len(row) - size + k for row, size in zip(ids, sizes, strict=True) for k in range(size)]
        with fast_precision(device):
            said = self.backbone.model.get_decoder()(input_ids=padded, use_cache=False).last_hidden_state
        states: torch.Tensor = said[torch.tensor(prompt, device=device), torch.tensor(token, device=device)].float()
        return states

    def _check(self, approaches: int) -> None:
        if approaches <= self._checked:
            return
        letters = phase_letters(approaches)
        tokens = self.backbone.tokenizer([CUE, cue(letters)])["input_ids"]
        if len(tokens[1]) - len(tokens[0]) != approaches or len(set(tokens[1][-approaches:])) != approaches:
            raise BackboneError(
                f"The model's tokenizer has no token of its own for every marker in '{cue(letters)}'; use a model "
                "whose tokenizer does not split single letters."
            )
        self._checked = approaches


def train_forecast(
    backbone: Backbone,
    train: Sequence[ForecastRecord],
    validation: Sequence[ForecastRecord],
    out: Path,
    training: ForecastTraining | None = None,
    features: tuple[torch.Tensor, torch.Tensor] | None = None,
    about: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train a head on a frozen backbone, with its adapter if it has one, and write it to ``out``.

    Args:
        backbone: the model to read with.
        train: records to learn from.
        validation: records that choose the epoch.
        out: folder; with an adapter's own folder one adapter serves decisions and forecasts.
        training: how.
        features: of ``Reader.read`` on both, if they are there already.
        about: more to note beside the head, such as the records' hash.

    Returns:
        What was noted: settings, counts and losses (mean pinball in the scaled space).

    Raises:
        BackboneError: the tokenizer splits a marker, or the model's states are not finite.
    """
    training = training or ForecastTraining()
    if features is None:
        reader = Reader(backbone)
        features = reader.read(states(train)), reader.read(states(validation))
    if not all(bool(torch.isfinite(values).all()) for values in features):
        raise BackboneError("The model gives hidden states that are not finite; check its weights, or use 'default'.")
    learn, held = Lessons.of(train), Lessons.of(validation)
    torch.manual_seed(training.fit.seed)
    facts = learn.facts.shape[1] if training.facts else 0
    head = QuantileHead(features[0].shape[1], facts, training.hidden, training.dropout)
    head.scale_to(features[0])
    losses = fit(head, (features[0], learn.facts), learn, (features[1], held.facts), held, training.fit)
    noted = {
        **(about or {}),
        "base": backbone.name,
        "base_sha256": backbone.model_sha256,
        "adapter_sha256": backbone.adapter_sha256,
        "layers": backbone.layers,
        "training": asdict(training),
        "train_approaches": len(learn.wanted),
        "validation_approaches": len(held.wanted),
        "losses": [round(loss, 5) for loss in losses],
        "loss": measure(head, (features[1], held.facts), held),
    }
    head.save(out, noted)
    return noted


def thinned(records: Sequence[ForecastRecord], limit: int) -> list[ForecastRecord]:
    """At most so many records, evenly from all runs and minutes; 0 for all."""
    if not 0 < limit < len(records):
        return list(records)
    return [records[i] for i in np.linspace(0, len(records) - 1, limit).round().astype(int)]
