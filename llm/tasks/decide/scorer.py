"""Phase scores: the rows of a decision's prompt are its phases, and their marks are the phases' letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm.backbone.loading import BackboneError
from llm.engine.marks import Marked, marked
from llm.engine.rows import RowScorer
from llm.tasks.decide.prompt import CUE, phase_letters
from llm.tasks.decide.questions import phase_marks


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


class PhaseScorer(RowScorer):
    """Scores phases with one model.

    An adapter of ``greenloop train`` is read at the phases' letters, any other model after the prompt's last token.
    """

    _letters: tuple[int, ...] = ()

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
        if not prompts:
            return []
        if self.backbone.by_line:
            ends = [phase_marks(prompt, count) for prompt, count in zip(prompts, phases, strict=True)]
            texts = [text.cut() for text in marked(self.backbone.tokenizer, prompts, ends)]
        else:
            ids = self.backbone.tokenizer(list(prompts))["input_ids"]
            texts = [
                Marked(row, [len(row) - 1] * count, list(self._letters[:count]))
                for row, count in zip(ids, phases, strict=True)
            ]
        return self.score_rows(texts)

    def prepare(self, phases: int) -> None:
        """Look up the first ``phases`` letters.

        Raises:
            BackboneError: the tokenizer splits one.
        """
        if phases > len(self._letters):
            self._letters = tuple(letter_ids(self.backbone.tokenizer, phases))
