"""Where a text's rows are read: the token at which each row's mark ends.

Attention only looks back, so a row is read where all its facts have been seen: at the end of its line, or at a marker
after all facts. What follows the last mark changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llm.backbone.loading import BackboneError


@dataclass(frozen=True)
class Marked:
    """A text as tokens.

    Attributes:
        ids: token ids.
        places: for each row the place of its mark's token.
        tokens: for each row the token whose logit is read there, where logits are read.
    """

    ids: list[int]
    places: list[int]
    tokens: list[int]

    def cut(self) -> Marked:
        """The same without what follows the last mark."""
        return Marked(self.ids[: max(self.places, default=-1) + 1], self.places, self.tokens)

    def at_the_end(self) -> Marked:
        """The same read at the last token: as a model answers that was not taught to answer line by line."""
        return Marked(self.ids, [len(self.ids) - 1] * len(self.places), self.tokens)


def marked(tokenizer: Any, texts: Sequence[str], ends: Sequence[Sequence[int]]) -> list[Marked]:
    """Texts as tokens, with the places of their rows' marks.

    Args:
        tokenizer: of the model (transformers).
        texts: to be read.
        ends: for each text and row the number of characters up to the end of its mark.

    Raises:
        BackboneError: the tokenizer joins the end of a mark to what follows.
    """
    if not texts:
        return []
    read = tokenizer(list(texts), return_offsets_mapping=True)
    found = zip(texts, ends, read["input_ids"], read["offset_mapping"], strict=True)
    return [_marked(text, rows, ids, offsets) for text, rows, ids, offsets in found]


def _marked(text: str, ends: Sequence[int], ids: list[int], offsets: Sequence[tuple[int, int]]) -> Marked:
    place_of = {end: place for place, (_, end) in enumerate(offsets)}
    if joined := next((end for end in ends if end not in place_of), None):
        word = text[:joined].split()[-1]
        raise BackboneError(
            f"The model's tokenizer joins the mark '{word}' to what follows it; use a model whose tokenizer keeps the "
            "end of a line apart."
        )
    places = [place_of[end] for end in ends]
    return Marked(ids, places, [ids[place] for place in places])
