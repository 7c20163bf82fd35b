"""Bulletins from files: a user's own (CSV or JSON lines), and labelled ones to measure readers with."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scenarios.common.errors import ScenarioError
from scenarios.common.input_files import read_raw
from scenarios.common.randomness import generator
from scenarios.words.gazetteer import Gazetteer
from scenarios.words.truth import ALL_LANES, KINDS, LENGTHS, TYPES, Bulletin, Labelled, Truth

WHAT = "Bulletin file"
MOST_BYTES = 20_000_000
_PLACE = re.compile(r"\{([sp])([1-9])\}")
_TIME = re.compile(r"\{t([+-]\d+)\}")
_LEFT = re.compile(r"\{[^{}]*\}")
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
#: When labelled bulletins are received, min of the day.
_FROM_MIN, _TO_MIN = 9 * 60, 17 * 60


class WordsError(ScenarioError):
    """A file of bulletins that cannot be used; the message is one sentence that names file and line."""


@dataclass(frozen=True)
class OwnBulletins:
    """What a user's file holds.

    Attributes:
        bulletins: those that can be read, in the file's order.
        problems: a sentence for each row that is left out.
    """

    bulletins: tuple[Bulletin, ...]
    problems: tuple[str, ...]


def read_bulletins(file: Path) -> OwnBulletins:
    """Read a user's bulletins: columns or keys ``time`` (seconds, or HH:MM), ``source`` and ``text``.

    A row that cannot be used is left out with a sentence; the others are read.

    Raises:
        WordsError: the file is missing, too large, of another kind, or has no column ``text``.
    """
    bulletins, problems = [], []
    for place, row in _rows(file):
        if isinstance(row, str):
            problems.append(f"{place}: {row}.")
            continue
        try:
            bulletins.append(_bulletin(row))
        except ValueError as error:
            problems.append(f"{place}: {error}.")
    return OwnBulletins(tuple(bulletins), tuple(problems))


def labelled(file: Path, places: Gazetteer) -> list[Labelled]:
    """Read labelled bulletins; ``{s1}``, ``{p1}`` and ``{t+15}`` are filled from the gazetteer and a drawn time.

    Raises:
        WordsError: the file cannot be read, a row's labels are no labels, or the network has too few places.
    """
    found = []
    for number, (place, row) in enumerate(_rows(file)):
        if isinstance(row, str):
            raise WordsError(f"{place}: {row}; mend or delete the line.")
        try:
            found.append(_labelled(row, _Filled(places, number)))
        except ValueError as error:
            raise WordsError(f"{place}: {error}.") from None
    if not found:
        raise WordsError(f"{WHAT} {file} holds no bulletins; give one JSON object a line.")
    return found


# --- rows


def _rows(file: Path) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    """The rows with where they stand; a sentence's part in place of a row that cannot be read."""
    readers: dict[str, Callable[[Path, str], Iterator[tuple[str, Mapping[str, Any] | str]]]] = {
        ".csv": _csv_rows,
        ".jsonl": _json_rows,
        ".ndjson": _json_rows,
    }
    if file.suffix.lower() not in readers:
        raise WordsError(f"{WHAT} {file} is neither .csv nor .jsonl; give one of these.")
    try:
        text = read_raw(file, WHAT, MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise WordsError(f"{WHAT} {file} is not in UTF-8; save it as UTF-8.") from None
    yield from readers[file.suffix.lower()](file, text)


def _json_rows(file: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = f"{file}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            yield place, "this is no JSON object"
            continue
        yield place, row if isinstance(row, dict) else "this is no JSON object"


def _csv_rows(file: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    table = csv.DictReader(io.StringIO(text.replace("\0", " "), newline=""))
    try:
        if "text" not in (table.fieldnames or ()):
            raise WordsError(
                f"{WHAT} {file} has no column 'text' in its first line; name the columns time,source,text."
            )
        for row in table:
            yield f"{file}, line {table.line_num}", row
    except csv.Error as error:
        raise WordsError(f"{WHAT} {file} is no CSV at line {table.line_num} ({error}); mend the line.") from None


def _bulletin(row: Mapping[str, Any]) -> Bulletin:
    """Raises ValueError with the part of a sentence."""
    text, source = row.get("text"), row.get("source")
    if not isinstance(text, str):
        raise ValueError("there is no text; give one in 'text'")
    if source is not None and not isinstance(source, str):
        raise ValueError(f"the source {source!r} is no word; write one such as police")
    return Bulletin(_seconds(row.get("time")), (source or "").strip() or "unknown", text)


def _seconds(value: Any) -> float:
    if isinstance(value, str) and (found := _CLOCK.fullmatch(value.strip())):
        return 3600.0 * int(found[1]) + 60.0 * int(found[2]) + float(found[3] or 0)
    try:
        seconds = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise ValueError(f"the time {value!r} is none; give seconds from 0 on, or HH:MM")
    return seconds


# --- labelled ones


class _Filled:
    """Fills the placeholders of one row."""

    def __init__(self, places: Gazetteer, number: int) -> None:
        self.places = places
        self.rng: np.random.Generator = generator(number, "labelled bulletin")
        self.now_min = int(self.rng.integers(_FROM_MIN, _TO_MIN))
        self._names: dict[str, str] = {}
        self._order = {
            "s": [str(name) for name in self.rng.permutation([street.name for street in places.streets])],
            "p": [str(name) for name in self.rng.permutation([place.name for place in places.landmarks])],
        }
        if streets := self._order["s"]:
            meeting = self.places.crossing.get(streets[0], ())
            self._order["s"] = [streets[0], *sorted(streets[1:], key=lambda name: name not in meeting)]

    def text(self, text: str) -> str:
        """Raises ValueError with the part of a sentence."""
        filled = _TIME.sub(lambda found: self._clock(int(found[1])), _PLACE.sub(self._name, text))
        if left := _LEFT.search(filled):
            raise ValueError(f"the placeholder {left[0]!r} is unknown; use {{s1}}, {{p1}} or {{t+15}}")
        return filled

    def _name(self, found: re.Match[str]) -> str:
        names, number = self._order[found[1]], int(found[2])
        if number > len(names):
            kind = "streets" if found[1] == "s" else "landmarks"
            raise ValueError(
                f"{found[0]} needs {number} {kind}, and the network has {len(names)}; take a larger network"
            )
        return names[number - 1]

    def _clock(self, minutes: int) -> str:
        hour, minute = divmod((self.now_min + minutes) % (24 * 60), 60)
        return f"{hour:02d}:{minute:02d}"


def _labelled(row: Mapping[str, Any], filled: _Filled) -> Labelled:
    """Raises ValueError with the part of a sentence."""
    text, source = row.get("text"), row.get("source", "unknown")
    if not isinstance(text, str) or not isinstance(source, str):
        raise ValueError("text and source must be words")
    lanes = row.get("lanes_blocked")
    streets = row.get("streets", [])
    if not isinstance(streets, list) or not all(isinstance(name, str) for name in streets):
        raise ValueError(f"'streets' is {streets!r}; give a list of names")
    direction = row.get("direction")
    if direction is not None and not isinstance(direction, str):
        raise ValueError(f"'direction' is {direction!r}; give a name or null")
    truth = Truth(
        kind=_word(row, "kind", KINDS) or "",
        type=_word(row, "type", TYPES) or "",
        streets=tuple(filled.text(name) for name in streets),
        direction=None if direction is None else filled.text(direction),
        starts_in_min=_number(row, "starts_in_min"),
        lasts_min=_number(row, "lasts_min"),
        length_class=_word(row, "length_class", LENGTHS) if row.get("length_class") is not None else None,
        lanes_blocked=ALL_LANES if lanes == ALL_LANES else _whole(row, "lanes_blocked"),
        vehicles=_whole(row, "vehicles"),
        certain=bool(row.get("certain", True)),
    )
    return Labelled(Bulletin(filled.now_min * 60.0, source, filled.text(text)), truth)


def _word(row: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str:
    if row.get(key) not in choices:
        raise ValueError(f"'{key}' is {row.get(key)!r}; give one of {', '.join(choices)}")
    return str(row[key])


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9):
        raise ValueError(f"'{key}' is {value!r}; give a number or null")
    return None if value is None else float(value)


def _whole(row: Mapping[str, Any], key: str) -> int | None:
    value = _number(row, key)
    return None if value is None else round(value)
