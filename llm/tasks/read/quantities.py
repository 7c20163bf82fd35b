"""Numbers, clock times and durations in a text, with the words around them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from scenarios.words.phrases import words

DAY_MIN = 24 * 60
#: A clock time is taken as the nearest one that lies at most so long ago, min.
PAST_MIN = 6 * 60
#: Numbers above it are no vehicles, durations or lanes that a town has.
MOST = 100_000

_SMALL = {words(value): value for value in range(20)}
_TENS = {words(value): value for value in range(20, 100, 10)}
_ONE_WORD = "|".join(sorted((*_SMALL, *_TENS), key=len, reverse=True))
_WORD = rf"(?:(?:{'|'.join(_TENS)})[- ](?:one|two|three|four|five|six|seven|eight|nine)|{_ONE_WORD})"
_HUNDREDS = rf"(?:(?:a|{_WORD})\s+(?:hundred|thousand)(?:\s+and\s+{_WORD})?|{_WORD}|dozens?)"
_DIGITS = r"\d{1,3}(?:[,']\d{3})+|\d+(?:\.\d+)?"
_NUMBER = rf"(?:{_DIGITS}|{_HUNDREDS})"
_MINUTES = r"(?:minutes?|mins?|min\.|minuts?|m)\b"
_HOURS = r"(?:hours?|hrs?|hr\.|h)\b"
_TO = r"(?:\s+(?:to|or|till|-|–)\s+|(?<=\d)[-–](?=\d))"

_DURATIONS = (
    (r"three[- ]quarters? of an hour|three[- ]quarter hour", 45.0),
    (r"(?:(?:a|one)\s+)?quarter[- ](?:of an )?hour", 15.0),
    (r"(?:an?|one) hour (?:and|&) a half|one (?:and|&) a half (?:hours?|hrs?)", 90.0),
    (r"half an hour|half[- ](?:an? )?hour", 30.0),
    (r"(?:an|one|1) ?(?:full )?hour\b", 60.0),
    (r"a (?:couple of|few) minutes", 5.0),
    (r"a couple of hours", 120.0),
)
_DURATION = re.compile(
    "|".join(rf"(?P<fixed{k}>\b(?:{pattern}))" for k, (pattern, _) in enumerate(_DURATIONS))
    + rf"|(?P<low>\b{_NUMBER}){_TO}(?P<high>{_NUMBER})[\s-]*(?:more |full )?(?P<range_unit>{_MINUTES}|{_HOURS})"
    + rf"|(?P<hours>\b{_NUMBER})\s+(?:and|&) a half\s+{_HOURS}"
    + rf"|(?P<count>\b{_NUMBER})[\s-]*(?:more |full |good )?(?P<unit>{_MINUTES}|{_HOURS})",
    re.IGNORECASE,
)
_HALF_DAY = r"(?:\s?(?P<half{0}>[ap]\.?m\b\.?))"
_CLOCK = re.compile(
    rf"(?<![\d.,])(?P<hour>[01]?\d|2[0-4])[:.](?P<minute>[0-5]\d)(?!\d|\s*(?:hours?\b(?!\s)|km))(?:{_HALF_DAY.format(1)})?"
    rf"|(?<![\d.,:])(?P<only>1[0-2]|[1-9])\s?(?P<half2>[ap]\.?m\b\.?)"
    r"|(?<![\d.,:])(?P<military>(?:[01]\d|2[0-3])[0-5]\d)\s?(?:hours|hrs|h)\b"
    rf"|\b(?P<part>(?:a )?quarter past|half past|(?:a )?quarter to|{_WORD} (?:past|to))\s+(?P<spoken>{_ONE_WORD})\b"
    r"|\b(?P<noon>noon|midday|midnight)\b",
    re.IGNORECASE,
)
_COUNT = re.compile(rf"(?<![\w.,:])(?:{_NUMBER})(?![\w:]|[.,]\d)", re.IGNORECASE)


@dataclass(frozen=True)
class Quantity:
    """A number in a text.

    Attributes:
        value: minutes of a duration, minutes from now of a clock time, or the number.
        start: of its characters.
        end: of them.
    """

    value: float
    start: int
    end: int


def number(text: str) -> float:
    """A number in digits or words.

    Raises:
        ValueError: it is none.
    """
    plain = text.lower().replace(",", "").replace("'", "")
    if plain[:1].isdigit():
        return float(plain)
    if plain.startswith("dozen"):
        return 12.0
    total, part = 0.0, 0.0
    for word in re.split(r"[\s-]+", plain):
        if word in _SMALL or word in _TENS:
            part += _SMALL.get(word, _TENS.get(word, 0))
        elif word == "a":
            part = 1.0
        elif word in ("hundred", "thousand"):
            total, part = total + (part or 1.0) * (100 if word == "hundred" else 1000), 0.0
        elif word != "and":
            raise ValueError(text)
    return total + part


def durations(text: str) -> list[Quantity]:
    """All durations, in minutes; ranges as their middle."""
    found = []
    for match in _DURATION.finditer(text):
        if re.match(r"[012]\d[0-5]\d\s?h", match[0], re.IGNORECASE):
            continue  # 1745 hours is a time of day
        value = _duration(match)
        if 0 < value <= MOST:
            found.append(Quantity(value, match.start(), match.end()))
    return found


def _duration(match: re.Match[str]) -> float:
    parts = match.groupdict()
    for k, (_, minutes) in enumerate(_DURATIONS):
        if parts[f"fixed{k}"]:
            return minutes
    if parts["low"]:
        unit = 60.0 if parts["range_unit"].lower().startswith("h") else 1.0
        return (number(parts["low"]) + number(parts["high"])) / 2 * unit
    if parts["hours"]:
        return (number(parts["hours"]) + 0.5) * 60
    return number(parts["count"]) * (60.0 if parts["unit"].lower().startswith("h") else 1.0)


def clocks(text: str, now_min: float) -> list[Quantity]:
    """All times of day, in minutes from ``now_min`` (minutes from midnight); times that do not exist are left out."""
    found = []
    for match in _CLOCK.finditer(text):
        at = _minutes(match)
        if at is None:
            continue
        minutes, half_day = at
        period = DAY_MIN // 2 if half_day else DAY_MIN
        ahead = (minutes - now_min + PAST_MIN) % period - PAST_MIN if not half_day else _nearest(minutes - now_min)
        found.append(Quantity(ahead, match.start(), match.end()))
    return found


def _nearest(ahead: float) -> float:
    """A time without am and pm: the next one, or the last if that is within the hour."""
    ahead %= DAY_MIN // 2
    return ahead - DAY_MIN // 2 if ahead > DAY_MIN // 2 - 60 else ahead


def _minutes(match: re.Match[str]) -> tuple[int, bool] | None:
    """Minutes from midnight, and whether it may be twelve hours later; None for a time that there is not."""
    parts = match.groupdict()
    if parts["noon"]:
        return (0 if parts["noon"].lower() == "midnight" else 12 * 60), False
    if parts["military"]:
        return int(parts["military"][:2]) * 60 + int(parts["military"][2:]), False
    if parts["spoken"]:
        hour, part = int(number(parts["spoken"])), parts["part"].lower()
        if not 1 <= hour <= 12:
            return None
        amount = 15 if "quarter" in part else 30 if "half" in part else int(number(part.rsplit(" ", 1)[0]))
        return (hour * 60 + (-amount if part.endswith("to") else amount)) % DAY_MIN, True
    half = (parts["half1"] or parts["half2"] or "").lower()[:1]
    hour = int(parts["only"] or parts["hour"])
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    if hour > 23:
        return None
    return hour * 60 + int(parts["minute"] or 0), False


def counts(text: str, taken: list[Quantity]) -> list[Quantity]:
    """All other numbers: those that are no part of what is taken, such as clock times and durations."""
    found = []
    for match in _COUNT.finditer(text):
        if any(match.start() < other.end and other.start < match.end() for other in taken):
            continue
        value = number(match[0])
        if 0 < value <= MOST:
            found.append(Quantity(value, match.start(), match.end()))
    return found
