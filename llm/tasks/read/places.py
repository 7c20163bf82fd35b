"""Finds names of streets and landmarks in a text, mistyped and abbreviated ones too."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz import fuzz, process

#: Similarity (0 to 100) from which a few words count as a name.
LEAST_SCORE = 84.0
_FULL = {
    "st": "street", "str": "street", "rd": "road", "ave": "avenue", "av": "avenue", "blvd": "boulevard", "ln": "lane",
    "dr": "drive", "stn": "station", "hosp": "hospital", "sq": "square", "pl": "place",
}  # fmt: skip
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*", re.UNICODE)


@dataclass(frozen=True)
class Mention:
    """A name in a text.

    Attributes:
        name: as the gazetteer has it.
        start: of its characters.
        end: of them.
        score: similarity, 0 to 100.
    """

    name: str
    start: int
    end: int
    score: float


def plain(text: str) -> str:
    """Small letters, full words, one blank between them."""
    return " ".join(_FULL.get(word, word) for word in (found[0].lower() for found in _WORD.finditer(text)))


def mentions(text: str, names: Sequence[str]) -> list[Mention]:
    """Where names stand, in order; of overlapping ones the most alike, then the longest."""
    words = list(_WORD.finditer(text))
    by_size: dict[int, list[str]] = defaultdict(list)
    for name in names:
        if size := len(plain(name).split()):
            by_size[size].append(name)
    candidates = []
    for size, group in by_size.items():
        spans = [(words[k].start(), words[k + size - 1].end()) for k in range(len(words) - size + 1)]
        if not spans:
            continue
        windows = [plain(text[start:end]) for start, end in spans]
        keys = [plain(name) for name in group]
        scores = process.cdist(windows, keys, scorer=fuzz.ratio, score_cutoff=LEAST_SCORE, dtype=np.float32)
        for window, best in enumerate(scores.argmax(axis=1)):
            if scores[window, best]:
                candidates.append(Mention(group[best], *spans[window], float(scores[window, best])))
    chosen: list[Mention] = []
    for one in sorted(candidates, key=lambda m: (-m.score, m.start - m.end, m.start)):
        if all(one.end <= other.start or other.end <= one.start for other in chosen):
            chosen.append(one)
    return sorted(chosen, key=lambda m: m.start)
