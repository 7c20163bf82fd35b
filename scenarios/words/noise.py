"""Typing errors and abbreviations, which change no number and no meaning."""

from __future__ import annotations

import re

import numpy as np

_SHORT = {
    "Street": "St", "Road": "Rd", "Avenue": "Ave", "Boulevard": "Blvd", "Drive": "Dr", "Station": "Stn",
    "minutes": "min", "hours": "hrs", "between": "btw", "towards": "twds", "vehicles": "veh", "about": "abt",
    "near": "nr", "approximately": "approx.", "traffic": "trfc", "direction": "dir.", "please": "pls", "and": "&",
}  # fmt: skip
#: Words whose spelling carries a number, a time or a denial.
_KEEP = re.compile(
    r"\d|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|teen|twenty|thirty|forty|fifty|sixty|half|"
    r"quarter|hour|minute|not|never|nothing|tomorrow",
    re.IGNORECASE,
)
#: Sources, and how often a bulletin of theirs has abbreviations and a typing error.
HABITS = {"police": (0.3, 0.05), "fire_dispatch": (0.3, 0.05), "technician": (0.3, 0.1), "public_post": (0.2, 0.35)}
OTHERS = (0.08, 0.04)


def roughen(text: str, source: str, rng: np.random.Generator) -> str:
    """The text as somebody in a hurry types it."""
    abbreviates, mistypes = HABITS.get(source, OTHERS)
    if rng.random() < abbreviates:
        # "half an hour" and the like have no plural, and "minutes" is as clear as "min".
        text = re.sub(r"[A-Za-z]+", lambda word: _SHORT.get(word[0], word[0]), text)
    if rng.random() < mistypes:
        spots = [word for word in re.finditer(r"[A-Za-z]{6,}", text) if not _KEEP.search(word[0])]
        if spots:
            word = spots[int(rng.integers(len(spots)))]
            text = text[: word.start()] + _mistyped(word[0], rng) + text[word.end() :]
    if source == "public_post" and rng.random() < 0.4:
        text = text.lower().rstrip(".")
    return text


def _mistyped(word: str, rng: np.random.Generator) -> str:
    place = int(rng.integers(1, len(word) - 1))
    kind = int(rng.integers(3))
    if kind == 0:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]  # two letters swapped
    if kind == 1:
        return word[:place] + word[place + 1 :]  # one forgotten
    return word[:place] + word[place] + word[place:]  # one twice
