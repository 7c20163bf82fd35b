"""Names that are nearly right: what "did you mean" offers."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def close_names(name: str, names: Iterable[str], most: int = 1, least_likeness: float = 0.6) -> list[str]:
    """The names most like a misspelt one, best first; none that is less alike than ``least_likeness`` (0 to 1)."""
    return difflib.get_close_matches(name, list(names), n=most, cutoff=least_likeness)
