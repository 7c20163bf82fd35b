"""The states between two phases: what the lights show, second by second, while a signal changes.

SUMO steps in whole seconds, clearance times need not be whole. What one change shows too much is taken off the next
one, as SUMO itself does with the rows of a program: 2.5 s of yellow are shown as 3 s, 2 s, 3 s, ...
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations

from sim.native.clearance import GREEN, RED_AMBER, YELLOW, LinkClearance, NativeClearance, greens
from sim.timings import Timings


@dataclass(frozen=True)
class Change:
    """``states`` to show, one a second, and ``credit_s``, what they last longer than the change takes."""

    states: tuple[str, ...]
    credit_s: float


@dataclass(frozen=True)
class Intergreens:
    """Of one signal under some timings: its own clearance, or the same yellow and all-red at every change."""

    native: NativeClearance
    timings: Timings
    _changes: dict[tuple[object, ...], Change] = field(default_factory=dict, compare=False, repr=False)

    def longest_s(self) -> int:
        """Whole seconds of the longest change between two phases."""
        pairs = permutations(sorted(self.native.layout.phases), 2)
        return max((math.ceil(self._length_s(a, b, {})) for a, b in pairs), default=0)

    def of_link(self, before: str, after: str, link: int) -> LinkClearance:
        """What a link that loses its green between two states pays."""
        native, timings = self.native.of_link(before, after, link), self.timings
        if link in self.native.layout.crossings:  # people must have crossed before anybody drives there
            crossed = native.red_s > 0 or self._crosses(link, greens(after) - greens(before))
            least_s = (timings.yellow_s or 0) + timings.all_red_s if crossed and timings.yellow_s is not None else 0
            return LinkClearance(native.yellow_s, max(native.red_s, least_s - native.yellow_s))
        if timings.yellow_s is not None:
            return LinkClearance(timings.yellow_s, timings.all_red_s)
        return LinkClearance(native.yellow_s, native.red_s + timings.all_red_s)

    def change(
        self, before: str, after: str, ended_s: Mapping[int, float] | None = None, credit_s: float = 0
    ) -> Change:
        """The states from ``before`` to ``after``, without either; none where nobody has to wait.

        Args:
            before: the state shown now.
            after: the state to come.
            ended_s: of links that are red now, how long ago their green ended, s; others ended long ago.
            credit_s: what changes before this one have shown too much, s.
        """
        ended = {link: since_s for link, since_s in (ended_s or {}).items() if since_s < 60}
        key = (before, after, tuple(sorted(ended.items())), credit_s)
        if key not in self._changes:
            if len(self._changes) > 4096:
                self._changes.clear()
            self._changes[key] = self._change(before, after, ended, credit_s)
        return self._changes[key]

    def _change(self, before: str, after: str, ended_s: Mapping[int, float], credit_s: float) -> Change:
        length_s = self._length_s(before, after, ended_s)
        if length_s <= 0:
            return Change((), credit_s)
        steps = max(1, math.ceil(length_s - credit_s - 1e-9))
        letters = [self._letters(before, after, link, length_s) for link in range(len(before))]
        shown = (min(second + credit_s, length_s) for second in range(steps))
        states = tuple("".join(_at(parts, time_s) for parts in letters) for time_s in shown)
        return Change(states, steps + credit_s - length_s)

    def _length_s(self, before: str, after: str, ended_s: Mapping[int, float]) -> float:
        """Seconds until ``after`` may be shown."""
        paid = [self.of_link(before, after, link).total_s for link in self._ending(before, after)]
        starting = greens(after) - greens(before)
        for link, since_s in ended_s.items():
            if before[link] not in GREEN | YELLOW and self._crosses(link, starting):
                paid.append(self._cleared_s(before, after, link) - since_s)
        paid += [self._red_amber_s(before, after, link) for link in starting]
        return max(paid, default=0.0)

    def _ending(self, before: str, after: str) -> list[int]:
        pairs = enumerate(zip(before, after, strict=True))
        return [link for link, (a, b) in pairs if a in GREEN | YELLOW and b not in GREEN]

    def _crosses(self, link: int, starting: frozenset[int]) -> bool:
        return any(self.native.layout.are_foes(link, other) for other in starting)

    def _cleared_s(self, before: str, after: str, link: int) -> float:
        """The clearance of a link whose green ended a while ago, from there on."""
        return self.of_link(before, after, link).total_s

    def _whole_yellow_s(self, link: int) -> float:
        """The longest yellow of a link."""
        if self.timings.yellow_s is not None:
            return self.timings.yellow_s
        shown = [change.links[link].yellow_s for change in self.native.changes if link in change.links]
        return max([*shown, self.native.yellow_s])

    def _red_amber_s(self, before: str, after: str, link: int) -> float:
        """Seconds of red-amber before a green; none where yellow is still shown."""
        if self.timings.yellow_s is not None or before[link] in YELLOW:
            return 0.0
        return self.native.red_amber_s(before, after, link)

    def _letters(self, before: str, after: str, link: int, length_s: float) -> list[tuple[float, str]]:
        """What one link shows: pairs of a time at which a light ends, s, and the light."""
        a, b = before[link], after[link]
        if a in GREEN and b in GREEN:  # the weaker right of way holds until the change is over
            return [(length_s, "g" if "g" in (a, b) else "G")]
        if b not in GREEN and a in GREEN | YELLOW:
            paid = self.of_link(before, after, link)
            lit = length_s - paid.red_s
            return [(lit - paid.yellow_s if a in GREEN else 0.0, a), (lit, "y"), (length_s, b)]
        if a in YELLOW:  # it turns green again, after a whole yellow
            yellow_s = self._whole_yellow_s(link)
            return [(yellow_s, "y"), (length_s, "r")]
        ending = self._ending(before, after)
        red_s = max((self.of_link(before, after, other).red_s for other in ending), default=length_s)
        now = "r" if a == RED_AMBER else a
        red = "r" if b in GREEN else b
        announced_s = self._red_amber_s(before, after, link) if b in GREEN else 0.0
        parts = [(length_s - max(red_s, announced_s), now), (length_s - announced_s, red)]
        return [*parts, (length_s, RED_AMBER)] if announced_s else parts


def _at(parts: list[tuple[float, str]], time_s: float) -> str:
    """The light at a time."""
    return next((letter for end_s, letter in parts if time_s < end_s - 1e-9), parts[-1][1])
