"""The options of each slot for one bulletin: fixed ones, and those that stand in the text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from llm.tasks.read.places import Mention, mentions
from llm.tasks.read.quantities import Quantity, clocks, counts, durations
from scenarios.words.truth import ALL_LANES, KINDS, LENGTHS, TYPES, Bulletin, Truth

#: ``place`` asks of each place whether it is concerned, ``main`` which is the first.
SLOTS = (
    "kind", "type", "place", "main", "direction", "begin", "lasts", "length", "lanes", "vehicles", "certain",
)  # fmt: skip
NOT_SAID = "not said"
ANOTHER = "another"
NOW = 0.0
LANES = (0, 1, 2, 3, 4, ALL_LANES)
#: Characters of a bulletin that are read; what follows is cut off.
MOST_CHARACTERS = 1000
#: Places, and values of a slot, that are asked of at most.
MOST_PLACES, MOST_VALUES = 6, 14
DAY_MIN = 24 * 60
#: What counts as the same: minutes, and a share of the larger.
SAME_MIN, SAME_SHARE = 1.0, 0.05


@dataclass(frozen=True)
class Option:
    """One row.

    Attributes:
        slot: one of ``SLOTS``.
        value: a word, a name, a number, or None for what is not said.
        spans: characters of the text that it comes from.
        score: how much a name is alike, 0 to 100.
    """

    slot: str
    value: str | int | float | None
    spans: tuple[tuple[int, int], ...] = ()
    score: float = 100.0

    @property
    def row(self) -> str:
        """As a line."""
        return f"{self.slot}: {self._label()}"

    def _label(self) -> str:
        if self.value is None:
            return NOT_SAID
        if self.slot == "begin":
            minutes = float(self.value)
            return "now" if minutes == NOW else f"in {minutes:g} min" if minutes > 0 else f"{-minutes:g} min ago"
        if self.slot == "lasts":
            return f"{float(self.value):g} min"
        return f"{self.value:g}" if isinstance(self.value, float) else str(self.value)


@dataclass(frozen=True)
class Sheet:
    """A bulletin as it is read.

    Attributes:
        text: cleaned.
        now_min: minutes of the day.
        places: names in it, in order.
        durations: in it.
        clocks: in it, minutes from now.
        counts: other numbers in it.
        options: of all slots, in order.
    """

    text: str
    source: str
    now_min: float
    places: tuple[Mention, ...]
    durations: tuple[Quantity, ...]
    clocks: tuple[Quantity, ...]
    counts: tuple[Quantity, ...]
    options: tuple[Option, ...]


def clean(text: str) -> str:
    """A text without control characters and needless blanks, cut to what is read."""
    printable = "".join(" " if unicodedata.category(letter)[0] == "C" else letter for letter in text[:MOST_CHARACTERS])
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", printable)).strip()


def sheet(bulletin: Bulletin, names: Sequence[str]) -> Sheet:
    """Find all options of a bulletin.

    Args:
        bulletin: anything; see ``clean``.
        names: of the streets and landmarks that it may tell of.
    """
    return _sheet(clean(bulletin.text), clean(bulletin.source), bulletin.time_s // 60 % DAY_MIN, tuple(names))


@lru_cache(maxsize=4096)
def _sheet(text: str, source: str, now_min: float, names: tuple[str, ...]) -> Sheet:
    places = tuple(mentions(text, names))
    lengths = durations(text)
    times = [time for time in clocks(text, now_min) if not _inside(time, lengths)]
    numbers = [one for one in counts(text, [*lengths, *times]) if not _in_place(one, places)]
    options = (
        *(Option("kind", kind) for kind in KINDS),
        *(Option("type", kind) for kind in TYPES),
        *_of_places(places),
        *_values("begin", [(NOW, ()), *_begins(times, lengths)]),
        *_values("lasts", _lengths(times, lengths)),
        Option("length", None),
        *(Option("length", length) for length in LENGTHS),
        Option("lanes", None),
        *(Option("lanes", lanes) for lanes in LANES),
        *_values("vehicles", [(one.value, (one,)) for one in numbers]),
        Option("certain", "yes"),
        Option("certain", "no"),
    )
    return Sheet(text, source, now_min, places, tuple(lengths), tuple(times), tuple(numbers), options)


def _of_places(places: Iterable[Mention]) -> Iterable[Option]:
    best: dict[str, list[Mention]] = {}
    for place in places:
        if place.name in best or len(best) < MOST_PLACES:
            best.setdefault(place.name, []).append(place)
    for slot in ("place", "main", "direction"):
        yield Option(slot, ANOTHER) if slot == "place" else Option(slot, None)
        for name, own in best.items():
            spans = tuple((one.start, one.end) for one in own)
            yield Option(slot, name, spans, max(one.score for one in own))


Found = tuple[float, tuple[Quantity, ...]]


def _begins(times: Sequence[Quantity], lengths: Sequence[Quantity]) -> Iterable[Found]:
    yield from ((time.value, (time,)) for time in times)
    yield from ((length.value, (length,)) for length in lengths)
    yield from ((-length.value, (length,)) for length in lengths)


def _lengths(times: Sequence[Quantity], lengths: Sequence[Quantity]) -> Iterable[Found]:
    """Durations, and what lies between two times, or between now and a time."""
    yield from ((length.value, (length,)) for length in lengths)
    yield from ((b.value - a.value, (a, b)) for a in times for b in times if b.value > a.value)
    yield from ((time.value, (time,)) for time in times if time.value > 0)
    for length in lengths:
        for time in times:
            # "In 20 minutes, until 17:45"; "for 20 minutes now, until 17:45"; "since 17:05, another 20 minutes".
            yield from ((time.value + sign * length.value, (time, length)) for sign in (-1, 1) if time.value > 0)
            yield from ((length.value - time.value, (time, length)) for _ in range(time.value < 0))
        yield from ((length.value + other.value, (length, other)) for other in lengths if other.start > length.start)


def _values(slot: str, found: Iterable[Found]) -> Iterable[Option]:
    yield Option(slot, None)
    used: set[float] = set()
    for value, quantities in found:
        if value not in used and len(used) < MOST_VALUES and (value > 0 or slot == "begin"):
            used.add(value)
            yield Option(slot, float(value), tuple((one.start, one.end) for one in quantities))


def _inside(one: Quantity, others: Iterable[Quantity]) -> bool:
    return any(one.start < other.end and other.start < one.end for other in others)


def _in_place(one: Quantity, places: Iterable[Mention]) -> bool:
    return any(one.start < place.end and place.start < one.end for place in places)


# --- what is right


def is_right(option: Option, truth: Truth, places: Sequence[str]) -> bool:
    """Whether an option is what a bulletin says.

    Args:
        option: of its sheet.
        truth: what it says.
        places: names that are asked of; a place that is none of them makes ``another`` right.
    """
    value = option.value
    if option.slot == "place":
        return bool(set(truth.streets) - set(places)) if value == ANOTHER else value in truth.streets
    if option.slot == "begin":
        begun = truth.starts_in_min
        if truth.kind == "new" and begun in (None, 0):
            return value in (None, 0)
        return _same(value, begun)
    if option.slot in ("lasts", "vehicles"):
        return _same(value, truth.lasts_min if option.slot == "lasts" else truth.vehicles)
    said = {
        "kind": truth.kind,
        "type": truth.type,
        "main": truth.streets[0] if truth.streets else None,
        "direction": truth.direction,
        "length": truth.length_class,
        "lanes": truth.lanes_blocked,
        "certain": "yes" if truth.certain else "no",
    }
    return value == said[option.slot]


def _same(value: object, said: float | None) -> bool:
    if value is None or said is None:
        return value is said
    assert isinstance(value, (int, float))
    return abs(value - said) <= max(SAME_MIN, SAME_SHARE * abs(said))
