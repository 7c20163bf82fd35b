"""Numbers, clock times and durations as people write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_ONES = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SPECIAL = {
    15: ("a quarter of an hour", "quarter of an hour"),
    30: ("half an hour", "half an hour"),
    45: ("three quarters of an hour", "45 min"),
    60: ("an hour", "one hour", "1 h", "1 hour"),
    90: ("an hour and a half", "one and a half hours", "1.5 hours", "90 minutes"),
    120: ("two hours", "2 h", "2 hours", "120 min"),
}
#: Durations that people say, min, by length class.
SHORT_MIN, MEDIUM_MIN, LONG_MIN = (5, 8, 10, 12, 15), (20, 25, 30, 35, 40, 45, 50, 60), (75, 90, 120, 150, 180, 240)
DAY_MIN = 24 * 60


def words(number: int) -> str:
    """A whole number from 0 to 99 in words."""
    if number < len(_ONES):
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")


def duration(minutes: int, rng: np.random.Generator) -> str:
    """A duration in words or digits; now and then as a range around it."""
    chance = rng.random()
    if minutes in _SPECIAL and chance < 0.5:
        return _one(_SPECIAL[minutes], rng)
    if minutes > 60 and minutes % 60 == 0:
        hours = minutes // 60
        return _one((f"{hours} hours", f"{words(hours)} hours", f"{hours} h"), rng)
    if chance > 0.9 and minutes % 5 == 0 and minutes >= 10:
        return f"{minutes - 5} {_one(('to', '-'), rng)} {minutes + 5} {_one(('minutes', 'min'), rng)}"
    if minutes <= 60 and chance > 0.65:
        return f"{words(minutes)} minutes"
    return f"{minutes} {_one(('minutes', 'minutes', 'min', 'mins'), rng)}"


def clock(minute: int, rng: np.random.Generator) -> str:
    """A time of day, in minutes from midnight, in one of many notations."""
    hour, rest = divmod(minute % DAY_MIN, 60)
    half_day = f"{(hour - 1) % 12 + 1}"
    chance = rng.random()
    if chance < 0.08 and rest in (15, 30, 45):
        spoken = {15: "quarter past", 30: "half past", 45: "quarter to"}[rest]
        return f"{spoken} {words((hour + (rest == 45) - 1) % 12 + 1)}"
    if chance < 0.2:
        return f"{half_day}:{rest:02d} {_one(('am', 'a.m.') if hour < 12 else ('pm', 'p.m.'), rng)}"
    if chance < 0.3:
        return f"{hour}.{rest:02d}"
    if chance < 0.36:
        return f"{hour:02d}{rest:02d} hours"
    return f"{hour:02d}:{rest:02d}"


def count(number: int, rng: np.random.Generator) -> str:
    """A number of vehicles."""
    if number < 100 and rng.random() < 0.25:
        return words(number)
    return f"{number:,}" if rng.random() < 0.5 else str(number)


def _one(values: Sequence[str], rng: np.random.Generator) -> str:
    return values[int(rng.integers(len(values)))]


def length_class(minutes: float) -> str:
    """``short`` below 20 min, ``medium`` to 60 min, else ``long``."""
    return "short" if minutes < 20 else "medium" if minutes <= 60 else "long"
