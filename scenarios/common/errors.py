"""The error of everything that brings a scenario, and how long a message may be."""

from __future__ import annotations

#: A longer message keeps its beginning and its end: a broken file can hold an id of megabytes.
MOST_LETTERS = 500
_END_LETTERS = 150


def shorten(text: str, most: int = MOST_LETTERS) -> str:
    """One line of at most ``most`` letters; a longer one loses its middle."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    end = min(_END_LETTERS, most // 3)
    return f"{line[: most - end - 5]} ... {line[-end:]}"


class ScenarioError(ValueError):
    """A scenario that cannot be run; the message is one sentence that names the file and the key."""

    def __init__(self, message: str) -> None:
        super().__init__(shorten(message))
