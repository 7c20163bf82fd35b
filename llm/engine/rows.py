"""Scores of rows: the language model's own logits of the rows' marks, as log-probabilities among a question's rows.

A model that was not trained here answers as any language model does: with the token after the text's last one. An
adapter of ``greenloop train`` answers line by line: how strongly the model says a row's mark again where the line of
its facts has just ended in it. Each score then comes from a place that has seen that row's facts (and those above it),
no place has to compare them all, and the model learns many times sooner (docs/experiments, section 15).

One prefill over all texts, no generation. Texts are padded on the right: attention is causal, so no token of a text
ever sees its padding, and neither mask nor position ids are needed. Only the marks' rows of the output matrix are
multiplied, not the whole vocabulary, where this gives the model's own logits (checked once for each model). In bf16,
texts whose two best rows score nearly alike are read again in fp32, so that rounding decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm.backbone.loading import Backbone
from llm.backbone.precision import BF16, FP32, lowered, resolve
from llm.engine.marks import Marked

#: Texts are read together while the batch has no more tokens of padding than another call costs (its weights travel to
#: the processor once more), and in all no more than stay in its caches.
CALL_TOKENS = 64
MAX_BATCH_TOKENS = 1280
#: Log-probability between the best two rows below which bf16's choice is read again in fp32. In bf16 it moved by 0.05
#: at most, and of 480 decisions of the untuned model 14 changed, all but one of them closer than this.
CLOSE_NATS = 0.03
_PROBES = ("change3\nBest phase:", "Best phase:")


class RowScorer:
    """Scores the rows of texts with one model.

    Args:
        backbone: the model.
        precision: ``fp32``, ``bf16`` (close decisions are then read again in fp32), or ``auto``, which takes bf16 where
            the processor has units for it.
        close_nats: what counts as close.

    Attributes:
        backbone: the model in use.
        precision: ``fp32`` or ``bf16``.
        tokens: tokens read so far, padding not counted.
        close: texts that were read again in fp32 so far.

    Raises:
        BackboneError: no such precision, or no memory for a copy in bf16.
    """

    def __init__(self, backbone: Backbone, precision: str = FP32, close_nats: float = CLOSE_NATS) -> None:
        self.backbone, self.close_nats = backbone, close_nats
        self.precision = resolve(precision, backbone.device)
        self.tokens = self.close = 0
        self.rows_suffice = rows_suffice(backbone)
        self._fast = lowered(backbone.model) if self.precision == BF16 else None

    def score_rows(self, texts: Sequence[Marked]) -> list[NDArray[np.float64]]:
        """Score all texts, each read at its places.

        Returns:
            For each text, in the order given, a (rows,) array of log-probabilities among its rows; NaN where the model
            gave a number that is not finite.
        """
        if self._fast is None:
            return self._read(self.backbone.model, texts)
        scores = self._read(self._fast, texts)
        close = [i for i, score in enumerate(scores) if not margin(score) >= self.close_nats]  # NaN is close, too
        self.close += len(close)
        again = self._read(self.backbone.model, [texts[i] for i in close])
        for i, score in zip(close, again, strict=True):
            scores[i] = score
        return scores

    def _read(self, model: Any, texts: Sequence[Marked]) -> list[NDArray[np.float64]]:
        """Score texts with this copy of the model."""
        self.tokens += sum(len(text.ids) for text in texts)
        scores: list[NDArray[np.float64]] = [np.empty(0)] * len(texts)
        for batch in batches([len(text.ids) for text in texts]):
            logits = _logits(self.backbone, model, [texts[i] for i in batch], self.rows_suffice)
            for row, i in zip(logits, batch, strict=True):
                scores[i] = log_softmax(row[: len(texts[i].places)])
        return scores


def rows_suffice(backbone: Backbone) -> bool:
    """Whether the output matrix's rows give the model's own logits: not with soft caps, scales or virtual tokens."""
    import torch

    if not isinstance(backbone.model.get_output_embeddings(), torch.nn.Linear):
        return False
    ids, tokens = backbone.tokenizer(list(_PROBES))["input_ids"], [0, 1, 2, 3]
    texts = [Marked(row, [len(row) - 1] * len(tokens), tokens) for row in ids]
    expected = _logits(backbone, backbone.model, texts, rows=False)
    try:
        found = _logits(backbone, backbone.model, texts, rows=True)
    except (AttributeError, TypeError):  # a decoder with an interface of its own
        return False
    return bool(np.allclose(found, expected, atol=1e-3, equal_nan=True))


def _logits(backbone: Backbone, model: Any, texts: Sequence[Marked], rows: bool) -> NDArray[np.float64]:
    """(texts, places) logits: at each text's first place of its first token, at the second of the second."""
    import torch

    pad, device = backbone.tokenizer.pad_token_id or 0, backbone.device
    width, most = max(len(text.ids) for text in texts), max(len(text.places) for text in texts)
    padded = torch.tensor([text.ids + [pad] * (width - len(text.ids)) for text in texts], device=device)
    places = torch.tensor([text.places + [0] * (most - len(text.places)) for text in texts], device=device)
    tokens = torch.tensor([text.tokens + [0] * (most - len(text.tokens)) for text in texts], device=device)
    with torch.inference_mode():
        if rows:
            logits = _some_rows(backbone, model, padded, places, tokens)
        else:
            logits = _whole_model(model, padded, places, tokens)
    result: NDArray[np.float64] = logits.double().cpu().numpy()
    return result


def _some_rows(backbone: Backbone, model: Any, padded: Any, places: Any, tokens: Any) -> Any:
    hidden = model.get_decoder()(input_ids=padded, use_cache=False).last_hidden_state
    there = hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))  # (texts, places, width)
    head = backbone.model.get_output_embeddings()  # in fp32 always: a few rows cost nothing
    logits = (there.to(head.weight.dtype) * head.weight[tokens]).sum(-1)
    return logits if head.bias is None else logits + head.bias[tokens]


def _whole_model(model: Any, padded: Any, places: Any, tokens: Any) -> Any:
    """The plain call, for models that do more than multiply."""
    import torch

    mask = (torch.arange(padded.shape[1], device=padded.device)[None, :] <= places.max(1).values[:, None]).long()
    logits = model(input_ids=padded, attention_mask=mask, use_cache=False).logits
    # an adapter with virtual tokens answers for these, too, ahead of the text's
    places = places + logits.shape[1] - padded.shape[1]
    return logits[torch.arange(len(places), device=logits.device)[:, None], places, tokens]


def margin(scores: NDArray[np.float64]) -> float:
    """Log-probability of the best row above the next best; NaN where a score is, infinite for a single row."""
    if np.isnan(scores).any():
        return float("nan")
    ranked = np.sort(scores)
    return float(ranked[-1] - ranked[-2]) if len(ranked) > 1 else float("inf")


def batches(lengths: Sequence[int]) -> list[list[int]]:
    """Group texts of like length, shortest first, so that little padding is computed in few calls."""
    groups: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if groups and _fits([*(lengths[j] for j in groups[-1]), lengths[i]]):
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _fits(lengths: list[int]) -> bool:
    padded = max(lengths) * len(lengths)
    return padded <= MAX_BATCH_TOKENS and padded - sum(lengths) <= CALL_TOKENS


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-probabilities (rows,) of logits; NaN where one is not finite."""
    if not np.isfinite(logits).all():
        return np.full(logits.shape, np.nan)
    shifted = logits - logits.max()
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result
