"""Which controllers are overlaid: more lines than a handful cannot be told apart."""

from __future__ import annotations

from benchmarks.results.cases import Group

#: More lines than this on one axis cannot be told apart; the best by delay, fixed time and the model stay.
MAX_LINES = 6


def few(group: Group) -> list[str]:
    """The controllers to overlay, best first: fixed time and the model stay, the worst others go."""
    names = group.controllers
    kept = [name for name in names if name == "fixed_time" or name.startswith("language_model")][:MAX_LINES]
    others = [name for name in names if name not in kept][: MAX_LINES - len(kept)]
    return [name for name in names if name in kept or name in others]
