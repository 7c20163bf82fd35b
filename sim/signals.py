"""The signal state machine: whatever is asked, the lights stay safe. Pure; it never talks to a simulator.

Guarantees, for every sequence of requests (property-tested):

* a phase shows at least ``min_green_s`` seconds before it ends, and a stage for people on foot its native length;
* a link that loses green shows its yellow and then its red clearance before another starts: under native timings
  those of the network's own programs at that change, or the nearest one that they make (``sim/native/clearance.py``);
* links that are green before and after a change stay green through it;
* two foe links are green together only if one row of the network's own programs shows exactly that pair;
* a link with a standing call is red for at most ``max_red_s`` (or what serving every phase once takes, if longer).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sim.native.clearance import GREEN, YELLOW, greens
from sim.network import Signal
from sim.safety.audit import Auditor
from sim.safety.decisions import (
    LETTERS,
    PROGRAM_TYPES,
    Decision,
    DecisionError,
    Program,
    ProgramRow,
    check_decisions,
    check_needs_no_areas,
)
from sim.safety.intergreen import Intergreens
from sim.safety.rights import green_foes, native_pairs
from sim.timings import Timings

__all__ = [
    "LETTERS",
    "PROGRAM_TYPES",
    "Auditor",
    "Decision",
    "DecisionError",
    "Past",
    "Program",
    "ProgramRow",
    "Service",
    "SignalMachine",
    "check_decisions",
    "check_needs_no_areas",
    "green_foes",
    "intergreen",
    "least_green_s",
    "native_pairs",
]


def intergreen(before: str, after: str, yellow_s: int, all_red_s: int) -> list[str]:
    """The states, one a second, between two phases with the same clearance for all links.

    Empty where no link loses green. For writing programs by hand; signals pay what ``sim/safety/intergreen.py`` says.
    """
    pairs = list(zip(before, after, strict=True))
    ending = [a in GREEN | YELLOW and b not in GREEN for a, b in pairs]
    if not any(ending):
        return []

    def kept(a: str, b: str) -> str:
        return "g" if "g" in (a, b) else "G"

    yellow, red = "", ""
    for (a, b), ends in zip(pairs, ending, strict=True):
        if a in GREEN and b in GREEN:
            yellow, red = yellow + kept(a, b), red + kept(a, b)
        elif ends:
            yellow, red = yellow + "y", red + b
        else:
            yellow, red = yellow + (a if a not in YELLOW else "y"), red + ("r" if b in GREEN else b)
    return [yellow] * yellow_s + [red] * all_red_s


@dataclass(frozen=True)
class Service:
    """What serving the phases of a signal takes: the longest intergreen, and the minimum green of each phase, s."""

    intergreen_s: int
    min_green_s: tuple[int, ...]
    max_red_s: int  # the longest red of a link with a standing call

    @classmethod
    def of(cls, signal: Signal, timings: Timings) -> Service:
        """Work it out; where serving every phase once takes longer than the maximum red, that is longer as well."""
        intergreen_s = Intergreens(signal.clearance, timings).longest_s()
        greens_s = tuple(max(timings.min_green_s, math.ceil(phase.min_green_s)) for phase in signal.phases)
        longest_s = intergreen_s + max(greens_s, default=timings.min_green_s)
        once_s = sum(intergreen_s + green_s for green_s in greens_s)
        return cls(intergreen_s, greens_s, max(timings.max_red_s, once_s + 2 * longest_s))

    @property
    def longest_s(self) -> int:
        """An intergreen and the longest minimum green."""
        return self.intergreen_s + max(self.min_green_s, default=0)


def least_green_s(signal: Signal, timings: Timings, state: str) -> int:
    """The minimum green of a state, a phase or not: crossings that are green in it need their walks."""
    own_s = next((phase.min_green_s for phase in signal.phases if phase.state == state), None)
    if own_s is None:
        walks = [link for link in signal.crossing_links if state[link] in GREEN]
        shown_s = [[p.min_green_s for p in signal.phases if link in p.crossing_links] for link in walks]
        own_s = max((min(seconds, default=0.0) for seconds in shown_s), default=0.0)
    return max(timings.min_green_s, math.ceil(own_s))


@dataclass(frozen=True)
class Past:
    """What a signal showed before a machine takes over.

    Attributes:
        age_s: how long it has shown its present state, s.
        green_age_s: how long the youngest green of that state has been so, s; matters where the state is no phase.
        red_s: how long each link with a standing call has been red, s; empty: no time.
        ended_s: of links that are not green, how long ago their green ended, s; others: long ago.
    """

    age_s: int
    green_age_s: float = math.inf
    red_s: Sequence[int] = ()
    ended_s: Mapping[int, float] = field(default_factory=dict)


class SignalMachine:
    """Shows one signal's phases second by second.

    ``repairs`` counts what had to be changed: ``min_green`` (a change was asked for too early and not made),
    ``max_red`` (a phase was forced because a link had waited too long).
    """

    def __init__(self, signal: Signal, timings: Timings, state: str, past: int | Past) -> None:
        past = Past(past) if isinstance(past, int) else past
        self.signal, self.timings = signal, timings
        self.intergreens = Intergreens(signal.clearance, timings)
        service = Service.of(signal, timings)
        self.intergreen_s, self._min_green_s = service.intergreen_s, service.min_green_s
        self.service_s, self.max_red_s = service.longest_s, service.max_red_s
        self.state = state
        self.phase = next((phase.index for phase in signal.phases if phase.state == state), -1)
        self._first_green_s = least_green_s(signal, timings, state)
        self.age_s = past.age_s if self.phase >= 0 else int(min(past.green_age_s, self._first_green_s))
        self.hold_s = 0
        self.red_s = list(past.red_s) or [0] * signal.links
        self.called = [True] * signal.links
        self._waiting: list[int] = []  # links with a standing call that are red, in the state _waiting_in
        self._waiting_in = ""
        self.repairs: Counter[str] = Counter()
        self.switches = 0
        self._rescued: int | None = None
        self._change: list[str] = []
        self._credit_s = 0.0
        self._time_s = 0  # of this machine's own clock: the second that comes next
        self._green_links = greens(state)
        self._green_end_s = [-past.ended_s.get(link, math.inf) for link in range(len(state))]
        self._clears_s = _longest_clearance_s(self.intergreens)
        self._green = [phase.links for phase in signal.phases]
        self._served = sorted(frozenset().union(*self._green))

    @property
    def min_green_s(self) -> int:
        """The minimum green of the phase shown."""
        return self._min_green_s[self.phase] if self.phase >= 0 else self._first_green_s

    @property
    def due(self) -> bool:
        """Whether a decision can take effect now."""
        return not self._change and self.hold_s <= 0 and self.age_s >= self.min_green_s

    def call(self, links: Iterable[int]) -> None:
        """Say which links have demand now; only these have a maximum red."""
        wanted = set(links)
        self.called = [link in wanted for link in range(self.signal.links)]
        self._waiting_in = ""

    def request(self, phase: int, hold_s: float | None = None) -> None:
        """Ask for a phase from now on; an impossible wish is repaired and counted."""
        if not 0 <= phase < len(self.signal.phases):
            self.repairs["unknown_phase"] += 1
        elif self._change or self.age_s < self.min_green_s:
            self.repairs["min_green"] += phase != self.phase
        elif not self._force_overdue(wanted=phase):
            self._switch(phase)
            self.hold_s = math.ceil(hold_s) if hold_s else 0

    def tick(self) -> str:
        """Advance one second and return the state to show during it."""
        if not self._change and self.age_s >= self.min_green_s:
            self._force_overdue(wanted=self.phase)
        if self._change:
            self.state = self._change.pop(0)
        else:
            self.state = self.signal.phases[self.phase].state if self.phase >= 0 else self.state
            self.age_s += 1
            self.hold_s -= 1
        self._time_s += 1
        if self.state != self._waiting_in:
            self._note_waiting()
        for link in self._waiting:
            self.red_s[link] += 1
        return self.state

    def _note_waiting(self) -> None:
        """Which links wait in this state; the others have waited for no time. And which links' greens have ended."""
        self._waiting_in = self.state
        self._waiting = [link for link in self._served if self.called[link] and self.state[link] not in GREEN]
        before_s, self.red_s = self.red_s, [0] * self.signal.links
        for link in self._waiting:
            self.red_s[link] = before_s[link]
        now = greens(self.state)
        for link in self._green_links - now:
            self._green_end_s[link] = self._time_s - 1
        self._green_links = now

    def rescue(self, link: int) -> None:
        """Serve a link as soon as minimum greens allow: an installed program has kept it red for too long."""
        self._rescued = link

    @property
    def is_overdue(self) -> bool:
        """Whether a phase has to be forced now, or is being served because it was."""
        return bool(self._change) or self.age_s < self.min_green_s or self._overdue() is not None

    def _switch(self, phase: int) -> None:
        if phase == self.phase:
            return
        ended_s = {
            link: self._time_s - end_s
            for link, end_s in enumerate(self._green_end_s)
            if link not in self._green_links and self._time_s - end_s < self._clears_s[link]
        }
        change = self.intergreens.change(self.state, self.signal.phases[phase].state, ended_s, self._credit_s)
        self._change, self._credit_s = list(change.states), change.credit_s
        self.phase, self.age_s = phase, 0
        self.switches += 1

    def _force_overdue(self, wanted: int) -> bool:
        forced = self._overdue()
        if forced is None:
            return False
        self.repairs["max_red"] += forced != wanted
        self._rescued = None
        self._switch(forced)
        self.hold_s = 0
        return True

    def _overdue(self) -> int | None:
        """The phase to force now, if waiting any longer could break a maximum red; earliest deadline first.

        If the phases that waiting links need were served one after the other, each for its minimum, the k-th would
        start after k intergreens and k - 1 minimum greens. One more service is left for a free choice before that.
        """
        if self._rescued is not None:
            return max(
                (p for p, green in enumerate(self._green) if self._rescued in green),
                key=lambda p: sum(self.red_s[link] for link in self._green[p]),
            )
        links = len(self.red_s) - self.red_s.count(0)
        if not links or max(self.red_s) < self.max_red_s - (links + 1) * self.service_s - 1:
            return None
        waiting = [link for link in self._served if self.red_s[link] > 0]
        waiting.sort(key=lambda link: -self.red_s[link])
        first: int | None = None
        covered: set[int] = set()
        start_s = self.service_s
        for link in waiting:
            if link in covered:
                continue
            phase = max(
                (p for p, green in enumerate(self._green) if link in green),
                key=lambda p: [other in self._green[p] for other in waiting],
            )
            first = phase if first is None else first
            covered |= self._green[phase]
            start_s += self.intergreen_s
            if self.red_s[link] + start_s + 1 >= self.max_red_s:
                return first
            start_s += self._min_green_s[phase]
        return None


def _longest_clearance_s(intergreens: Intergreens) -> list[float]:
    """Of each link the longest time from the end of its green to the start of a foe."""
    native, timings = intergreens.native, intergreens.timings
    links = max((len(phase) for phase in native.layout.phases), default=0)
    longest = [float(native.yellow_s if timings.yellow_s is None else timings.yellow_s) + timings.all_red_s] * links
    for change in native.changes:
        for link, paid in change.links.items():
            walks = link in native.layout.crossings
            if timings.yellow_s is None or walks:
                longest[link] = max(longest[link], paid.total_s + timings.all_red_s)
    return longest
