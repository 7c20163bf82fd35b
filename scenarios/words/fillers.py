"""Fills the places of a template and notes what each means.

Streets and landmarks: ``{s}`` the main street, ``{s2} {s3}`` further ones, ``{p}`` a landmark, ``{dir}`` where the
traffic heads for, ``{from} {to}`` of an emergency vehicle, ``{other}`` a street that is not meant.
Times: ``{clock}`` and ``{in}`` of a start to come, ``{since}`` and ``{ago}`` of one that has been, ``{until}`` an end,
``{for}`` a duration, ``{more}`` one from now on, ``{stamp}`` and ``{wrong}`` a time and a duration that mean nothing.
Else: ``{lanes}`` and ``{Lanes}``, ``{n}`` vehicles, ``{k}`` any number, ``{thing} {town} {cause}``, and the pieces of
``wordings.shared``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from scenarios.words import phrases
from scenarios.words.gazetteer import Gazetteer
from scenarios.words.grammar import say
from scenarios.words.truth import ALL_LANES, Truth
from scenarios.words.wordings import THINGS
from scenarios.words.wordings.shared import CAUSES, LANES, PIECES, TOWNS

_T = TypeVar("_T")
_RANGES = {"short": phrases.SHORT_MIN, "medium": phrases.MEDIUM_MIN, "long": phrases.LONG_MIN}
_SAID_MIN = (*phrases.SHORT_MIN, *phrases.MEDIUM_MIN, *phrases.LONG_MIN)
_VEHICLES = (12, 20, 25, 40, 60, 80, 120, 150, 200, 250, 300, 400, 450, 500, 600, 800, 900, 1000, 1200, 1500, 2000)


@dataclass
class Filler:
    """Fills one template.

    Attributes:
        rng: draws what is said.
        places: of the network.
        now_min: minutes of the day at which the bulletin is received.
        split: whose small pieces are used.
        truth: what has been said so far.
    """

    rng: np.random.Generator
    places: Gazetteer
    now_min: int
    split: str
    truth: Truth
    _used: dict[str, str] = field(default_factory=dict)

    def write(self, template: str) -> str:
        """One way of saying the template."""
        return say(template, self.rng, self._fill, self._tag)

    def concluded(self) -> Truth:
        """What was said, with the true duration that goes with it."""
        truth = self.truth
        used = self._used
        if truth.type == "emergency_vehicle" and "from" in used:
            streets: tuple[str, ...] = (used["from"], used["to"])
        else:
            streets = tuple(used[key] for key in ("s", "s2", "s3", "p", "p2") if key in used)
        length = truth.length_class
        if truth.lasts_min is not None:
            length = phrases.length_class(truth.lasts_min)
            lasts = truth.lasts_min * float(self.rng.uniform(0.8, 1.3))
        else:
            weights = (0.3, 0.4, 0.3)
            drawn = length or str(self.rng.choice(list(_RANGES), p=weights))
            low, high = _RANGES[drawn][0], _RANGES[drawn][-1]
            lasts = float(self.rng.uniform(low, high))
        return replace(truth, streets=streets, length_class=length, true_lasts_min=round(lasts, 1))

    # --- what stands for a name

    def _fill(self, name: str) -> str:
        if name in ("s", "s2", "s3", "p", "p2", "from", "to", "other", "dir"):
            return self._place(name)
        if name in PIECES:
            return self._implied(name)
        method: Callable[[], str] = getattr(self, f"_{name.lower()}")
        said = method()
        return said[:1].upper() + said[1:] if name[0].isupper() else said

    def _place(self, name: str) -> str:
        if name not in self._used:
            self._used[name] = self._draw_place(name)
            if name == "dir":
                self._note(direction=self._used[name])
        return self._used[name]

    def _draw_place(self, name: str) -> str:
        streets = [street.name for street in self.places.streets]
        landmarks = [place.name for place in self.places.landmarks]
        if name in ("from", "to"):
            choice = landmarks if landmarks and self.rng.random() < 0.6 else streets
        elif name[0] == "p":
            choice = landmarks or streets
        elif name == "s":
            choice = streets
        else:
            crossing = list(self.places.crossing.get(self._used.get("s", ""), ()))
            choice = crossing if set(crossing) - set(self._used.values()) else streets
            if name == "dir" and landmarks and self.rng.random() < 0.25:
                choice = landmarks
        free = [place for place in choice if place not in self._used.values()]
        return self._one(free or choice)

    def _implied(self, name: str) -> str:
        choices = PIECES[name][self.split]
        length = self._one(tuple(choices))
        self._note(length_class=length)
        return self.write(choices[length])

    def _clock(self) -> str:
        return self._start_at(int(self.rng.integers(2, 25)) * 5)

    def _in(self) -> str:
        minutes = int(self._one((5, 8, 10, 12, 15, 20, 25, 30, 40, 45, 60, 90)))
        self._note(starts_in_min=float(minutes))
        return phrases.duration(minutes, self.rng)

    def _since(self) -> str:
        return self._start_at(-int(self.rng.integers(1, 30)))

    def _ago(self) -> str:
        minutes = int(self._one((3, 5, 8, 10, 12, 15, 20, 25, 30)))
        self._note(starts_in_min=-float(minutes))
        return phrases.duration(minutes, self.rng)

    def _start_at(self, minutes: int) -> str:
        # Ends of shifts, works and matches lie on full five minutes.
        clock = self.now_min + minutes
        clock = clock - clock % 5 if minutes > 0 else clock
        self._note(starts_in_min=float(clock - self.now_min))
        return phrases.clock(clock, self.rng)

    def _until(self) -> str:
        start = self.truth.starts_in_min or 0.0
        end = self.now_min + max(start, 0.0) + self._one(_SAID_MIN)
        self._note(lasts_min=end - self.now_min - start)
        return phrases.clock(int(end), self.rng)

    def _for(self) -> str:
        minutes = self._one(_SAID_MIN)
        self._note(lasts_min=float(minutes))
        return phrases.duration(minutes, self.rng)

    def _more(self) -> str:
        minutes = self._one(_SAID_MIN)
        self._note(lasts_min=minutes - min(self.truth.starts_in_min or 0.0, 0.0))
        return phrases.duration(minutes, self.rng)

    def _wrong(self) -> str:
        return phrases.duration(self._one(_SAID_MIN), self.rng)

    def _stamp(self) -> str:
        return phrases.clock(self.now_min - int(self.rng.integers(1, 40)), self.rng)

    def _lanes(self) -> str:
        return self.write(self._one(LANES))

    def _n(self) -> str:
        vehicles = self._one(_VEHICLES)
        self._note(vehicles=vehicles)
        return phrases.count(vehicles, self.rng)

    def _k(self) -> str:
        return str(int(self.rng.integers(2, 90)))

    def _thing(self) -> str:
        return self.write(THINGS[self.split][self.truth.type])

    def _town(self) -> str:
        return self._one(TOWNS[self.split])

    def _cause(self) -> str:
        return self.write(CAUSES[self.split])

    # --- what it means

    def _tag(self, key: str, value: str) -> None:
        if key == "lanes":
            self._note(lanes_blocked=ALL_LANES if value == ALL_LANES else int(value))
        elif key == "begin":
            self._note(starts_in_min=float(value))
        elif key == "length":
            self._note(length_class=value)

    def _note(self, **said: object) -> None:
        self.truth = replace(self.truth, **said)  # type: ignore[arg-type]

    def _one(self, values: Sequence[_T]) -> _T:
        return values[int(self.rng.integers(len(values)))]
