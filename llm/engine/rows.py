"""Phase scores: the language model's own logits of the phase letters, as log-probabilities among a signal's phases.

A model that was not trained here answers as any language model does: with the letter after the prompt's last token. An
adapter of ``greenloop train`` answers line by line: how strongly the model says a phase's letter again where the line
of its facts has just ended in it. Each score then comes from a place that has seen that phase's facts (and those above
it), no place has to compare them all, and the model learns many times sooner (docs/experiments, section 15).

One prefill over all prompts, no generation. Prompts are padded on the right: attention is causal, so no token of a
prompt ever sees its padding, and neither mask nor position ids are needed. Only the letters' rows of the output matrix
are multiplied, not the whole vocabulary, where this gives the model's own logits (checked once for each model).
In bf16, prompts whose two best phases score nearly alike are read again in fp32, so that rounding decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm.backbone.loading import Backbone, BackboneError
from llm.backbone.precision import BF16, FP32, lowered, resolve
from llm.tasks.decide.prompt import CUE, phase_letters, phase_lines

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


def line_ends(prompt: str, offsets: Sequence[tuple[int, int]], phases: int) -> list[int]:
    """The token at which each phase's line ends: its letter's.

    Args:
        prompt: the text that was made into tokens.
        offsets: first and last character of each token.
        phases: how many phases it tells of.

    Raises:
        BackboneError: the tokenizer joins the end of a line to what follows.
    """
    place_of = {end: place for place, (_, end) in enumerate(offsets)}
    breaks = np.cumsum([len(line) + 1 for line in prompt.split("\n")]) - 1
    ends = [int(breaks[number]) for number in phase_lines(prompt, phases)]
    if any(end not in place_of for end in ends):
        raise BackboneError(
            "The model's tokenizer joins a phase's letter to the line break after it; use a model whose tokenizer "
            "keeps them apart."
        )
    return [place_of[end] for end in ends]


@dataclass(frozen=True)
class _Asked:
    """A prompt as token ids, and for each of its phases the place where its letter's logit is read."""

    ids: list[int]
    places: list[int]


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
        asked = self._tokenized(prompts, phases) if prompts else []
        if self._fast is None:
            return self._read(self.backbone.model, asked)
        scores = self._read(self._fast, asked)
        close = [i for i, score in enumerate(scores) if not margin(score) >= self.close_nats]  # NaN is close, too
        self.close += len(close)
        again = self._read(self.backbone.model, [asked[i] for i in close])
        for i, score in zip(close, again, strict=True):
            scores[i] = score
        return scores

    def _tokenized(self, prompts: Sequence[str], phases: Sequence[int]) -> list[_Asked]:
        by_line = self.backbone.by_line
        found = self.backbone.tokenizer(list(prompts), return_offsets_mapping=by_line)
        ids = found["input_ids"]
        if not by_line:
            return [_Asked(row, [len(row) - 1] * count) for row, count in zip(ids, phases, strict=True)]
        places = map(line_ends, prompts, found["offset_mapping"], phases)
        # Attention is causal: what follows the last line changes nothing, so it is not read.
        return [_Asked(row[: max(ends) + 1], ends) for row, ends in zip(ids, places, strict=True)]

    def _read(self, model: Any, asked: list[_Asked]) -> list[NDArray[np.float64]]:
        """Score prompts with this copy of the model."""
        self.tokens += sum(len(each.ids) for each in asked)
        scores: list[NDArray[np.float64]] = [np.empty(0)] * len(asked)
        for batch in batches([len(each.ids) for each in asked]):
            logits = self._logits(model, [asked[i] for i in batch], self._letters, self.rows_suffice)
            for row, i in zip(logits, batch, strict=True):
                scores[i] = _log_softmax(row[: len(asked[i].places)])
        return scores

    def prepare(self, phases: int) -> None:
        """Look up the first ``phases`` letters.

        Raises:
            BackboneError: the tokenizer splits one.
        """
        if phases > len(self._letters):
            self._letters = letter_ids(self.backbone.tokenizer, phases)

    def _logits(self, model: Any, asked: list[_Asked], tokens: list[int], rows: bool) -> NDArray[np.float64]:
        """(prompts, places) logits: at each prompt's first place of the first token, at the second of the second."""
        import torch

        pad, device = self.backbone.tokenizer.pad_token_id or 0, self.backbone.device
        width, most = max(len(each.ids) for each in asked), max(len(each.places) for each in asked)
        padded = torch.tensor([each.ids + [pad] * (width - len(each.ids)) for each in asked], device=device)
        places = torch.tensor([each.places + [0] * (most - len(each.places)) for each in asked], device=device)
        with torch.inference_mode():
            read = self._some_rows if rows else self._whole_model
            logits = read(model, padded, places, torch.tensor(tokens[:most], device=device))
        result: NDArray[np.float64] = logits.double().cpu().numpy()
        return result

    def _some_rows(self, model: Any, padded: Any, places: Any, tokens: Any) -> Any:
        hidden = model.get_decoder()(input_ids=padded, use_cache=False).last_hidden_state
        there = hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))  # (prompts, places, width)
        head = self.backbone.model.get_output_embeddings()  # in fp32 always: a few rows cost nothing
        logits = (there.to(head.weight.dtype) * head.weight[tokens]).sum(-1)
        return logits if head.bias is None else logits + head.bias[tokens]

    def _whole_model(self, model: Any, padded: Any, places: Any, tokens: Any) -> Any:
        """The plain call, for models that do more than multiply."""
        import torch

        mask = (torch.arange(padded.shape[1], device=padded.device)[None, :] <= places.max(1).values[:, None]).long()
        logits = model(input_ids=padded, attention_mask=mask, use_cache=False).logits
        # an adapter with virtual tokens answers for these, too, ahead of the prompt's
        places = places + logits.shape[1] - padded.shape[1]
        return logits[torch.arange(len(places), device=logits.device)[:, None], places, tokens]

    def _check_head(self) -> bool:
        """Whether the head's rows give the whole model's own logits; soft caps, scales and prefixes do otherwise."""
        import torch

        if not isinstance(self.backbone.model.get_output_embeddings(), torch.nn.Linear):
            return False
        ids, tokens = self.backbone.tokenizer(list(_PROBES))["input_ids"], [0, 1, 2, 3]
        model, asked = self.backbone.model, [_Asked(row, [len(row) - 1] * len(tokens)) for row in ids]
        expected = self._logits(model, asked, tokens, rows=False)
        try:
            found = self._logits(model, asked, tokens, rows=True)
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
