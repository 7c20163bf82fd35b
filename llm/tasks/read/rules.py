"""The rule-based reader: regular expressions on the words, and the fuzzy matches of places."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
from rapidfuzz import fuzz, process

from llm.tasks.base import Answerer
from llm.tasks.questions import Floats, Question
from llm.tasks.read.cues import (
    ALL_LANES_CUE,
    BEGUN,
    FUTURE,
    HEADING,
    IDLE,
    LANE_NUMBERS,
    LANES_LEFT,
    LENGTH_CUES,
    NO_LANES,
    ORDER,
    RUMOUR,
    VEHICLES_AFTER,
)
from llm.tasks.read.event_cues import CHANGE_KINDS, CLOSED, SPELT, TYPE_CUES
from llm.tasks.read.options import NOW, Sheet
from llm.tasks.read.prompt import page_of
from llm.tasks.read.quantities import Quantity
from llm.tasks.read.reading import answer_of
from scenarios.words.phrases import length_class
from scenarios.words.truth import ALL_LANES

#: How sure the rules say they are.
SURE = 0.9
#: Characters before a number or a place that tell its part.
_BEFORE = 24
_LONG_WORD = re.compile(r"[A-Za-z]{6,}")
#: Similarity (0 to 100) from which a word counts as mistyped.
_ALIKE = 88.0
#: "Done in 20 minutes" tells of an end.
_ENDS = (
    "done",
    "gone",
    "back",
    "cleared",
    "recovery",
    "replacement",
    "fixed",
    "ready",
    "normal",
    "clear",
    "open",
    "removed",
)
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\s+(?=#{2,}|<[/\w])")


class Rules(Answerer):
    """Reads by cues; learns nothing."""

    def answer(self, questions: Sequence[Question]) -> Floats:
        """The probability of each option."""
        return np.concatenate([self._one(asked) for asked in questions])

    def _one(self, asked: Question) -> Floats:
        page = page_of(asked)
        return answer_of(asked, page.options, read(page), SURE)


def read(page: Sheet) -> Mapping[str, Sequence[object]]:
    """The values that are taken, by slot."""
    obeyed = list(_without_orders(page.text))
    text = spelt(" ".join(page.text[start:end] for start, end in obeyed))
    kind_of_event = _type(text)
    kind = _kind(text, page, kind_of_event, obeyed)
    if kind == "irrelevant":
        return _nothing()
    places = [place for place in page.places if _within(place.start, obeyed)]
    times = [time for time in page.clocks if _within(time.start, obeyed)]
    lengths = [length for length in page.durations if _within(length.start, obeyed)]
    begin, used = _begin(page.text, times, lengths, kind)
    lasts = _lasts(times, lengths, begin, used, kind)
    direction = next((p.name for p in places if HEADING.search(page.text[max(p.start - _BEFORE, 0) : p.start])), None)
    named = list(dict.fromkeys(place.name for place in places))
    if kind_of_event != "emergency_vehicle":
        named = [name for name in named if name != direction] or named
        streets = [name for name in named if name == _first_street(page, named)]
        named = [*streets, *(name for name in named if name not in streets)]
    else:
        direction = None
    length = length_class(lasts) if lasts is not None else _cue(text, LENGTH_CUES)
    return {
        "kind": (kind,),
        "type": (kind_of_event,),
        "place": tuple(named),
        "main": (named[0] if named else None,),
        "direction": (direction,),
        "begin": (begin,),
        "lasts": (lasts,),
        "length": (length,),
        "lanes": (_lanes(text, kind, kind_of_event),),
        "vehicles": (_vehicles(page, obeyed, kind_of_event),),
        "certain": ("no" if RUMOUR.search(text) else "yes",),
    }


def spelt(text: str) -> str:
    """The text with mistyped words of the reader's own put right."""
    return _LONG_WORD.sub(lambda word: _spelt(word[0].lower()) or word[0], text)


@lru_cache(maxsize=10_000)
def _spelt(word: str) -> str | None:
    found = process.extractOne(word, SPELT, scorer=fuzz.ratio, score_cutoff=_ALIKE)
    return found[0] if found else None


def _nothing() -> dict[str, Sequence[object]]:
    slots = ("main", "direction", "begin", "lasts", "length", "lanes", "vehicles")
    return {"kind": ("irrelevant",), "type": ("none",), "certain": ("yes",), **dict.fromkeys(slots, (None,))}


def _without_orders(text: str) -> Iterator[tuple[int, int]]:
    """The sentences that tell something; those that want something of the reader are left out."""
    start = 0
    for stop in (*(match.start() for match in _SENTENCE.finditer(text)), len(text)):
        if not ORDER.search(text[start:stop]):
            yield start, stop
        start = stop


def _within(place: int, spans: Sequence[tuple[int, int]]) -> bool:
    return any(start <= place < end for start, end in spans)


def _cue(text: str, cues: Mapping[str, re.Pattern[str]]) -> str | None:
    """The first of the cues that the text has."""
    return next((name for name, pattern in cues.items() if pattern.search(text)), None)


def _type(text: str) -> str:
    """The type with the earliest of the most cues."""
    found = {name: [match.start() for match in pattern.finditer(text)] for name, pattern in TYPE_CUES.items()}
    found = {name: places for name, places in found.items() if places}
    if not found and CLOSED.search(text):
        return "road_closure"
    return max(found, key=lambda name: (len(found[name]), -found[name][0])) if found else "none"


def _kind(text: str, page: Sheet, kind_of_event: str, obeyed: Sequence[tuple[int, int]]) -> str:
    if not text.strip() or IDLE.search(text) or kind_of_event == "none":
        return "irrelevant"
    if kind_of_event != "weather" and not any(_within(place.start, obeyed) for place in page.places):
        return "irrelevant"  # somewhere else
    if change := _cue(text, CHANGE_KINDS):
        return change
    if BEGUN.search(text):
        return "new"
    ahead = any(time.value > 0 and not _is_end(page.text, time) for time in page.clocks if _within(time.start, obeyed))
    soon = any(_is_ahead(page.text, length) for length in page.durations if _within(length.start, obeyed))
    return "announcement" if ahead or soon or FUTURE.search(text) else "new"


def _before(text: str, one: Quantity) -> str:
    return text[max(one.start - _BEFORE, 0) : one.start].lower()


def _is_end(text: str, one: Quantity) -> bool:
    pattern = r"(?:until|till|to|by|-|before|ends?|over|around|reopen\w*|ready)\s*(?:about |around )?$"
    return re.search(pattern, _before(text, one)) is not None


def _is_ahead(text: str, one: Quantity) -> bool:
    before = re.search(r"(?:(\w+)\W+)?\bin\s+(?:about |roughly |around )?$|\bafter\s+$", _before(text, one))
    return before is not None and (before[1] or "") not in _ENDS


def _is_past(text: str, one: Quantity) -> bool:
    after = text[one.end : one.end + 10].lower()
    before = re.search(r"since\s*$", _before(text, one))
    return before is not None or re.match(r"\s*(?:ago|already|now)\b", after) is not None


def _begin(
    text: str, times: Sequence[Quantity], lengths: Sequence[Quantity], kind: str
) -> tuple[float | None, Quantity | None]:
    """When it begins, and which number says so."""
    if kind in ("over", "retraction"):
        return None, None
    for time in times:
        if not _is_end(text, time):
            return time.value, time
    for length in lengths:
        if _is_past(text, length):
            return -length.value, length
        if kind in ("announcement", "update") and _is_ahead(text, length):
            return length.value, length
    return (NOW, None) if kind == "new" and BEGUN.search(text) else (None, None)


def _lasts(
    times: Sequence[Quantity], lengths: Sequence[Quantity], begin: float | None, used: Quantity | None, kind: str
) -> float | None:
    if kind in ("over", "retraction"):
        return None
    left = [length for length in lengths if length != used]
    if left:
        return left[0].value
    ends = [time.value for time in times if time != used and time.value > (begin or 0.0)]
    return ends[0] - (begin or 0.0) if ends else None


def _first_street(page: Sheet, named: Sequence[str]) -> str | None:
    """The first place that comes after a word such as "on", else the first."""
    for place in page.places:
        if place.name in named and re.search(r"\b(?:on|along|of|via|onto)\s+$", page.text[: place.start]):
            return place.name
    return named[0] if named else None


def _lanes(text: str, kind: str, kind_of_event: str) -> int | str | None:
    if kind in ("over", "retraction"):
        return None
    if NO_LANES.search(text):
        return 0
    if ALL_LANES_CUE.search(text) or (kind_of_event == "road_closure" and not LANES_LEFT.search(text)):
        return ALL_LANES
    if found := LANES_LEFT.search(text):
        return LANE_NUMBERS.get(found[1].lower(), 1)
    return (
        1 if re.search(r"\b(?:left|right|middle|nearside|offside|kerbside)[- ]?(?:hand)? lane\b", text, re.I) else None
    )


def _vehicles(page: Sheet, obeyed: Sequence[tuple[int, int]], kind_of_event: str) -> float | None:
    if kind_of_event != "demand_surge":
        return None
    counts = [one for one in page.counts if _within(one.start, obeyed)]
    for one in counts:
        if VEHICLES_AFTER.match(page.text[one.end : one.end + 30]):
            return one.value
    return None
