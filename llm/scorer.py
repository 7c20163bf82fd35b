"""Phase scores: the language model's own log-probabilities of the phase letters after the prompt's last token.

One prefill over all prompts, no generation. Prompts are padded on the right: attention is causal, so a prompt's last
token never sees its padding, and neither mask nor position ids are needed. Only the letters' rows of the output matrix
are multiplied, not the whole vocabulary, where this gives the model's own logits (checked once for each model).
In bf16, prompts whose two best phases score nearly alike are read again in fp32, so that rounding decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm.backbone import Backbone, BackboneError
from llm.precision import BF16, FP32, lowered, resolve
from llm.prompt import CUE, phase_letters

#: Prompts are read together while the batch has no more tokens of padding than another call costs (its weights travel
#: to the processor once more), and in all no more than stay in its caches.
CALL_TOKENS = 64
MAX_BATCH_TOKENS = 1280
#: Log-probability between the best two phases below which bf16's choice is read again in fp32. In bf16 it moved by 0.05
#: at most, and of 480 decisions of the untuned model 14 changed, all but one of them closer than this.
CLOSE_NATS = 0.03
_PROBES = (f"change3\n{CUE}", CUE)


def letter_ids(tokenizer: Any, phases: int) -> list[int]:
    """The token that follows the cue for each of the first ``phases`` letters.

    Raises:
        BackboneError: the tokenizer makes more than one token of a letter, or the same one of two.
        PromptError: more than 26 phases.
    """
    start = tokenizer(CUE)["input_ids"]
    ids: list[int] = []
    for letter in phase_letters(phases):
        tokens = tokenizer(f"{CUE} {letter}")["input_ids"]
        if tokens[:-1] != start or tokens[-1] in ids:
            raise BackboneError(
                f"The model's tokenizer has no token of its own for the phase letter '{letter}' after '{CUE}'; "
                "use a model whose tokenizer does not split single letters."
            )
        ids.append(tokens[-1])
    return ids


class PhaseScorer:
    """Scores phases with one model.

    Args:
        backbone: the model.
        precision: ``fp32``, ``bf16`` (close decisions are then read again in fp32), or ``auto``, which takes bf16 where
            the processor has units for it.
        close_nats: what counts as close.

    Attributes:
        backbone: the model in use.
        precision: ``fp32`` or ``bf16``.
        tokens: prompt tokens read so far, padding not counted.
        close: prompts that were read again in fp32 so far.

    Raises:
        BackboneError: no such precision, or no memory for a copy in bf16.
    """

    def __init__(self, backbone: Backbone, precision: str = FP32, close_nats: float = CLOSE_NATS) -> None:
        self.backbone, self.close_nats = backbone, close_nats
        self.precision = resolve(precision, backbone.device)
        self.tokens = self.close = 0
        self._letters: list[int] = []
        self.rows_suffice = self._check_head()
        self._fast = lowered(backbone.model) if self.precision == BF16 else None

    def score(self, prompts: Sequence[str], phases: Sequence[int]) -> list[NDArray[np.float64]]:
        """Score all prompts.

        Args:
            prompts: texts that end in the cue.
            phases: number of phases of each prompt's signal.

        Returns:
            For each prompt, in the order given, a (phases,) array of log-probabilities among its letters; NaN where the
            model gave a number that is not finite.

        Raises:
            BackboneError: the tokenizer splits a letter.
        """
        self.prepare(max(phases, default=0))
        ids = self.backbone.tokenizer(list(prompts))["input_ids"] if prompts else []
        if self._fast is None:
            return self._read(self.backbone.model, ids, phases)
        scores = self._read(self._fast, ids, phases)
        close = [i for i, score in enumerate(scores) if not margin(score) >= self.close_nats]  # NaN is close, too
        self.close += len(close)
        again = self._read(self.backbone.model, [ids[i] for i in close], [phases[i] for i in close])
        for i, score in zip(close, again, strict=True):
            scores[i] = score
        return scores

    def _read(self, model: Any, ids: list[list[int]], phases: Sequence[int]) -> list[NDArray[np.float64]]:
        """Score prompts, given as token ids, with this copy of the model."""
        self.tokens += sum(map(len, ids))
        scores: list[NDArray[np.float64]] = [np.empty(0)] * len(ids)
        for batch in batches([len(row) for row in ids]):
            logits = self._logits(model, [ids[i] for i in batch], self._letters, self.rows_suffice)
            for row, i in zip(logits, batch, strict=True):
                scores[i] = _log_softmax(row[: phases[i]])
        return scores

    def prepare(self, phases: int) -> None:
        """Look up the first ``phases`` letters.

        Raises:
            BackboneError: the tokenizer splits one.
        """
        if phases > len(self._letters):
            self._letters = letter_ids(self.backbone.tokenizer, phases)

    def _logits(self, model: Any, ids: list[list[int]], tokens: list[int], rows: bool) -> NDArray[np.float64]:
        """(prompts, tokens) logits of some tokens after each prompt."""
        import torch

        pad, width, device = self.backbone.tokenizer.pad_token_id or 0, max(map(len, ids)), self.backbone.device
        padded = torch.tensor([row + [pad] * (width - len(row)) for row in ids], device=device)
        ends = torch.tensor([len(row) - 1 for row in ids], device=device)
        with torch.inference_mode():
            logits = (self._some_rows if rows else self._whole_model)(model, padded, ends, tokens)
        result: NDArray[np.float64] = logits.double().cpu().numpy()
        return result

    def _some_rows(self, model: Any, padded: Any, ends: Any, tokens: list[int]) -> Any:
        import torch

        hidden = model.get_decoder()(input_ids=padded, use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(ends), device=hidden.device), ends]  # (prompts, width)
        head = self.backbone.model.get_output_embeddings()  # in fp32 always: a few rows cost nothing
        bias = None if head.bias is None else head.bias[tokens]
        return torch.nn.functional.linear(last.to(head.weight.dtype), head.weight[tokens], bias)

    def _whole_model(self, model: Any, padded: Any, ends: Any, tokens: list[int]) -> Any:
        """The plain call, for models that do more than multiply."""
        import torch

        mask = (torch.arange(padded.shape[1], device=padded.device)[None, :] <= ends[:, None]).long()
        logits = model(input_ids=padded, attention_mask=mask, use_cache=False).logits
        # an adapter with virtual tokens answers for these, too, ahead of the prompt's
        ends = ends + logits.shape[1] - padded.shape[1]
        return logits[torch.arange(len(ends), device=logits.device), ends][:, tokens]

    def _check_head(self) -> bool:
        """Whether the head's rows give the whole model's own logits; soft caps, scales and prefixes do otherwise."""
        import torch

        if not isinstance(self.backbone.model.get_output_embeddings(), torch.nn.Linear):
            return False
        ids, tokens = self.backbone.tokenizer(list(_PROBES))["input_ids"], [0, 1, 2, 3]
        model = self.backbone.model
        expected = self._logits(model, ids, tokens, rows=False)
        try:
            found = self._logits(model, ids, tokens, rows=True)
        except (AttributeError, TypeError):  # a decoder with an interface of its own
            return False
        return bool(np.allclose(found, expected, atol=1e-3, equal_nan=True))


def margin(scores: NDArray[np.float64]) -> float:
    """Log-probability of the best phase above the next best; NaN where a score is, infinite for a single phase."""
    if np.isnan(scores).any():
        return float("nan")
    ranked = np.sort(scores)
    return float(ranked[-1] - ranked[-2]) if len(ranked) > 1 else float("inf")


def batches(lengths: Sequence[int]) -> list[list[int]]:
    """Group prompts of like length, shortest first, so that little padding is computed in few calls."""
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


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(logits).all():
        return np.full(logits.shape, np.nan)
    shifted = logits - logits.max()
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result
