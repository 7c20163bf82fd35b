"""The hidden states at the marks of texts: what heads read. One prefill, no token is generated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from llm.backbone.loading import Backbone, BackboneError
from llm.backbone.precision import has_bf16_units
from llm.engine.marks import Marked, marked
from llm.engine.rows import batches
from llm.tasks.questions import Question


def fast_precision(device: str) -> Any:
    """A context in which matrices are multiplied in bfloat16 where the processor has units for it, else as they are."""
    kind = device.split(":")[0]
    supported = torch.cuda.is_bf16_supported() if kind == "cuda" else kind == "cpu" and has_bf16_units()
    return torch.autocast(kind if supported else "cpu", torch.bfloat16, enabled=supported)


class Reader:
    """Reads texts with one backbone and gives the hidden state at every mark.

    Attributes:
        backbone: the model in use.
        tokens: tokens read so far, padding not counted.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone, self.tokens = backbone, 0

    @property
    def width(self) -> int:
        """Of a hidden state."""
        return int(self.backbone.model.config.hidden_size)

    def read(self, questions: Sequence[Question]) -> torch.Tensor:
        """(A, width) hidden states of all rows of all questions, in order; nothing is learnt.

        Raises:
            BackboneError: the tokenizer joins a mark to what follows.
        """
        texts = self.marked(questions)
        self.tokens += sum(len(text.ids) for text in texts)
        found: list[torch.Tensor] = [torch.empty(0)] * len(texts)
        with torch.inference_mode():
            for group in batches([len(text.ids) for text in texts]):
                some = [texts[i] for i in group]
                hidden = hidden_at(self.backbone, some).cpu()
                for i, rows in zip(group, torch.split(hidden, [len(text.places) for text in some]), strict=True):
                    found[i] = rows
        return torch.cat(found) if found else torch.empty(0, self.width)

    def marked(self, questions: Sequence[Question]) -> list[Marked]:
        """The questions as tokens."""
        texts, ends = [q.text for q in questions], [q.ends for q in questions]
        return [text.cut() for text in marked(self.backbone.tokenizer, texts, ends)]


def hidden_at(backbone: Backbone, texts: Sequence[Marked]) -> torch.Tensor:
    """(A, width) states at the marks of some texts; differentiable where gradients are on."""
    pad, width, device = backbone.tokenizer.pad_token_id or 0, max(len(text.ids) for text in texts), backbone.device
    padded = torch.tensor([text.ids + [pad] * (width - len(text.ids)) for text in texts], device=device)
    text_of = torch.tensor([k for k, text in enumerate(texts) for _ in text.places], device=device)
    place = torch.tensor([place for text in texts for place in text.places], device=device)
    with fast_precision(device):
        states = backbone.model.get_decoder()(input_ids=padded, use_cache=False).last_hidden_state
    found: torch.Tensor = states[text_of, place].float()
    return found


def check_finite(*features: torch.Tensor) -> None:
    """Make sure that hidden states are numbers.

    Raises:
        BackboneError: they are not.
    """
    if not all(bool(torch.isfinite(values).all()) for values in features):
        raise BackboneError("The model gives hidden states that are not finite; check its weights, or use 'default'.")
