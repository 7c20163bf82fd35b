"""Templates with choices: what one says is drawn, and what it means comes with it.

``[a|b|]`` is one of its parts, which may nest; ``{name}`` is filled by a function; ``<key=value>`` is told to a
function and not shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

_TOKEN = re.compile(r"[\[\]|]|\{\w+\}|<\w+=[\w,]+>|[^\[\]|{}<>]+|.", re.DOTALL)


@dataclass(frozen=True)
class Choice:
    """One of several parts is said."""

    parts: tuple[tuple[Piece, ...], ...]


Piece = str | Choice


class GrammarError(ValueError):
    """A template that cannot be read; the message shows it."""


@cache
def parse(template: str) -> tuple[Piece, ...]:
    """A template as pieces.

    Raises:
        GrammarError: brackets do not match.
    """
    tokens = iter(_TOKEN.findall(template))
    parts, closed = _parts(tokens)
    if closed or len(parts) != 1:
        raise GrammarError(f"The brackets of the template {template!r} do not match.")
    return parts[0]


def _parts(tokens: Iterator[str]) -> tuple[tuple[tuple[Piece, ...], ...], bool]:
    """The parts up to a closing bracket or the end, and whether it was a bracket."""
    parts: list[list[Piece]] = [[]]
    for token in tokens:
        if token == "]":
            return tuple(map(tuple, parts)), True
        if token == "[":
            inner, closed = _parts(tokens)
            if not closed:
                raise GrammarError("A bracket of a template is not closed.")
            parts[-1].append(Choice(inner))
        elif token == "|":
            parts.append([])
        else:
            parts[-1].append(token)
    return tuple(map(tuple, parts)), False


def say(template: str, rng: np.random.Generator, fill: Callable[[str], str], tag: Callable[[str, str], None]) -> str:
    """Draw one way of saying a template, from left to right.

    Args:
        template: in the notation above.
        rng: draws the choices.
        fill: what stands for a name.
        tag: is told each key and value that is passed.
    """
    return _say(parse(template), rng, fill, tag)


def _say(
    pieces: tuple[Piece, ...],
    rng: np.random.Generator,
    fill: Callable[[str], str],
    tag: Callable[[str, str], None],
) -> str:
    said = []
    for piece in pieces:
        if isinstance(piece, Choice):
            said.append(_say(piece.parts[int(rng.integers(len(piece.parts)))], rng, fill, tag))
        elif piece[0] == "{" and len(piece) > 1:
            said.append(fill(piece[1:-1]))
        elif piece[0] == "<" and len(piece) > 1:
            tag(*piece[1:-1].split("="))
        else:
            said.append(piece)
    return "".join(said)


def tags(template: str, key: str) -> tuple[str, ...]:
    """The values of a key that a template names anywhere, split at commas."""
    found = re.findall(rf"<{key}=([\w,]+)>", template)
    return tuple(value for values in found for value in values.split(","))


def ways(template: str) -> int:
    """In how many ways the choices of a template can fall."""

    def count(pieces: tuple[Piece, ...]) -> int:
        total = 1
        for piece in pieces:
            if isinstance(piece, Choice):
                total *= sum(count(part) for part in piece.parts)
        return total

    return count(parse(template))
