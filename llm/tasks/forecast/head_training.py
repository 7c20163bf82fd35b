"""The language model's forecast pass: hidden states at the markers, and the training of the head on them.

One prefill reads the prompt, no token is generated. Each approach has one marker token after all facts; its hidden
state after the last kept layer is what the head reads. With the backbone frozen, these states are computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from llm.backbone.loading import Backbone, BackboneError
from llm.backbone.precision import has_bf16_units, told_out_of_memory
from llm.engine.rows import batches
from llm.records.shards import thinned
from llm.tasks.decide.prompt import phase_letters
from llm.tasks.forecast.network_fit import Fit, Lessons, fit
from llm.tasks.forecast.prompt import CUE, cue
from llm.tasks.forecast.quantile_head import QuantileHead, quantiles
from llm.tasks.forecast.records import ForecastRecord, states
from llm.tasks.forecast.state import ForecastState

NO_MEMORY = (
    "Training the forecast head ran out of memory; read fewer prompts (train_limit, validation_limit), or take fewer "
    "layers or another device."
)


@dataclass(frozen=True)
class ForecastTraining:
    """What makes one head out of one folder of records.

    Attributes:
        facts: the head reads the plain numbers beside the hidden state, and learns from them first.
        hidden: width of the head's small networks.
        dropout: of their hidden values.
        members: networks that read the numbers, each from another start.
        plain: how each of these is trained.
        text: how the part that reads the hidden states is trained after it.
    """

    facts: bool = True
    hidden: int = 128
    dropout: float = 0.1
    members: int = 3
    plain: Fit = field(default_factory=lambda: Fit(epochs=10, patience=3))
    text: Fit = field(default_factory=lambda: Fit(epochs=20, learning_rate=3e-4, weight_decay=0.1))


def fast_precision(device: str) -> Any:
    """A context in which matrices are multiplied in bfloat16 where the processor has units for it, else as they are."""
    kind = device.split(":")[0]
    supported = torch.cuda.is_bf16_supported() if kind == "cuda" else kind == "cpu" and has_bf16_units()
    return torch.autocast(kind if supported else "cpu", torch.bfloat16, enabled=supported)


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


def check_finite(*features: torch.Tensor) -> None:
    """Make sure that hidden states are numbers.

    Raises:
        BackboneError: they are not.
    """
    if not all(bool(torch.isfinite(values).all()) for values in features):
        raise BackboneError("The model gives hidden states that are not finite; check its weights, or use 'default'.")


def train_forecast(
    backbone: Backbone,
    train: Sequence[ForecastRecord],
    validation: Sequence[ForecastRecord],
    out: Path,
    training: ForecastTraining | None = None,
    limits: tuple[int, int] = (0, 0),
    about: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train a head on a frozen backbone, with its adapter if it has one, and write it to ``out``.

    First the part that reads the plain numbers learns from all records, which costs little; then the part that reads
    the hidden states learns what these add, from as many prompts as are worth reading.

    Args:
        backbone: the model to read with.
        train: records to learn from.
        validation: records that choose the epochs.
        out: folder; with an adapter's own folder one adapter serves decisions and forecasts.
        training: how.
        limits: read at most so many training and validation prompts; 0 for all.
        about: more to note beside the head, such as the records' hash.

    Returns:
        What was noted: settings, counts and losses (mean pinball in the scaled space, on the validation prompts).

    Raises:
        BackboneError: the tokenizer splits a marker, the model's states are not finite, or the memory is out.
    """
    training, reader = training or ForecastTraining(), Reader(backbone)
    shown, held = thinned(train, limits[0]), thinned(validation, limits[1])
    with told_out_of_memory(BackboneError(NO_MEMORY)):
        head = plain_head(reader.width, train, validation, training)
        features, held_features = reader.read(states(shown)), reader.read(states(held))
        check_finite(features, held_features)
        head.scale_to(features)
        head.plain.requires_grad_(False)
        learn, know = Lessons.of(shown), Lessons.of(held)
        losses = fit(head, (features, learn.facts), learn, (held_features, know.facts), know, training.text)
    noted = {
        **(about or {}),
        **noted_base(backbone),
        "training": asdict(training),
        "train_prompts": len(shown),
        "validation_prompts": len(held),
        "reads_text": head.reads_features,
        "losses": {"plain": round(losses[0], 5), "best": round(min(losses), 5), "epochs": len(losses) - 1},
    }
    head.save(out, noted)
    return noted


def plain_head(
    width: int, train: Sequence[ForecastRecord], validation: Sequence[ForecastRecord], training: ForecastTraining
) -> QuantileHead:
    """A head that forecasts from the plain numbers, and from nothing where it reads none; no text is read yet."""
    learn, held = Lessons.of(train), Lessons.of(validation)
    torch.manual_seed(training.plain.seed)
    facts = learn.facts.shape[1] if training.facts else 0
    head = QuantileHead(width, facts, training.hidden, training.dropout, training.members)
    for member in range(head.members):
        how = replace(training.plain, seed=training.plain.seed + member)
        fit(_Member(head, member), (learn.facts,), learn, (held.facts,), held, how)
    return head


class _Member(torch.nn.Module):
    """One network of a head that reads the numbers, on its own."""

    def __init__(self, head: QuantileHead, member: int) -> None:
        super().__init__()
        self.tower, self.bias = head.plain[member], head.bias

    def forward(self, facts: torch.Tensor) -> torch.Tensor:
        return quantiles(self.tower(facts) + self.bias)


def noted_base(backbone: Backbone) -> dict[str, Any]:
    """The model that a head was trained on, for the file beside it."""
    return {
        "base": backbone.name,
        "base_sha256": backbone.model_sha256,
        "adapter_sha256": backbone.adapter_sha256,
        "layers": backbone.layers,
    }
