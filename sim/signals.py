"""The signal state machine: whatever is asked, the lights stay safe. Pure; it never talks to a simulator.

Guarantees, for every sequence of requests (property-tested):

* a phase shows at least ``min_green_s`` seconds before it ends;
* a link that loses green shows ``yellow_s`` seconds of yellow and then ``all_red_s`` of red before another starts;
* links that are green before and after a change stay green through it;
* two foe links are green together only if one row of the network's own program shows exactly that pair;
* a link with a standing call is red for at most ``max_red_s`` (or what serving every phase once takes, if longer).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from numbers import Integral, Real

from sim.network import GREEN, YELLOW, Network, Signal
from sim.timings import Timings

PROGRAM_TYPES = ("static", "actuated", "delay_based")
LETTERS = frozenset("GgyYurRsoO")  # the lights that SUMO knows


class DecisionError(ValueError):
    """A decision that makes no sense; the message names the signal and what was asked."""


@dataclass(frozen=True)
class ProgramRow:
    """One row of an installed program; ``min_s`` and ``max_s`` matter to actuated programs only."""

    state: str
    duration_s: float
    min_s: float | None = None
    max_s: float | None = None


@dataclass(frozen=True)
class Program:
    """A whole SUMO program for one signal, run by SUMO itself."""

    rows: tuple[ProgramRow, ...]
    type: str = "static"  # one of PROGRAM_TYPES
    offset_s: float = 0.0
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What a controller asks of one signal: a phase, optionally held for a time, or a whole program."""

    phase: int | None = None
    hold_s: float | None = None
    program: Program | None = None


def check_decisions(network: Network, decisions: object) -> dict[str, Decision]:
    """Turn what a controller returned into decisions by signal id.

    Raises:
        DecisionError: it is no mapping, or names an unknown or uncontrollable signal, an unknown phase, a hold that
            is no positive number, or an unsafe program.
    """
    if not isinstance(decisions, Mapping):
        raise DecisionError(
            f"The controller returned {type(decisions).__name__}; it must return a mapping of signal id to phase."
        )
    signals = {signal.id: signal for signal in network.signals}
    return {str(name): _check_one(signals.get(name), name, asked) for name, asked in decisions.items()}


def check_needs_no_areas(decisions: Mapping[str, Decision]) -> None:
    """Refuse what makes SUMO crash: a delay_based program that adds its detectors under vehicles that drive there.

    Raises:
        DecisionError: there is one.
    """
    for name, decision in decisions.items():
        if decision.program is not None and decision.program.type == "delay_based":
            raise DecisionError(
                f"The program for signal '{name}' is of SUMO's type delay_based, whose detectors must be there before "
                "the first vehicle; give the controller lane_areas_m, their length in metres."
            )


def _check_one(signal: Signal | None, name: object, asked: object) -> Decision:
    if signal is None:
        raise DecisionError(f"The controller decided for signal {name!r}, which is not in the network.")
    if isinstance(asked, Integral) and not isinstance(asked, bool):
        asked = Decision(phase=int(asked))
    if not isinstance(asked, Decision):
        raise DecisionError(
            f"For signal '{signal.id}' the controller returned {asked!r}; return a phase index or a Decision."
        )
    if asked.program is not None:
        _check_program(signal, asked.program)
        return asked
    if signal.problem is not None:
        raise DecisionError(f"The controller decided for a signal that cannot be controlled: {signal.problem}")
    if not isinstance(asked.phase, Integral) or not 0 <= asked.phase < len(signal.phases):
        raise DecisionError(
            f"For signal '{signal.id}' the controller asked for phase {asked.phase!r}; "
            f"it has phases 0 to {len(signal.phases) - 1}."
        )
    if asked.hold_s is not None and not (
        isinstance(asked.hold_s, Real) and math.isfinite(asked.hold_s) and asked.hold_s > 0
    ):
        raise DecisionError(
            f"For signal '{signal.id}' the controller asked to hold for {asked.hold_s!r}; give seconds above 0."
        )
    return asked


def _check_program(signal: Signal, program: Program) -> None:
    what = f"The program for signal '{signal.id}'"
    if not program.rows:
        raise DecisionError(f"{what} has no rows.")
    if program.type not in PROGRAM_TYPES:
        raise DecisionError(f"{what} is of type {program.type!r}; choose {', '.join(PROGRAM_TYPES)}.")
    if not _is_finite(program.offset_s):
        raise DecisionError(f"{what} has an offset of {program.offset_s} s; give finite seconds.")
    allowed = native_pairs(signal)
    for row in program.rows:
        _check_row(what, signal, row)
        if unsafe := green_foes(signal, row.state) - allowed:
            raise DecisionError(
                f"{what} shows green to crossing links {sorted(unsafe)[0]}, "
                "which no row of the network's own program does."
            )
    # Native programs may drop a link at once (a bus light, say): what they do stays allowed.
    native = _dropped([row.state for row in signal.program])
    if dropped := _dropped([row.state for row in program.rows]) - native:
        raise DecisionError(
            f"{what} takes green from link {min(dropped)} without yellow, which the network's own program never does; "
            "add a yellow row."
        )


def _check_row(what: str, signal: Signal, row: ProgramRow) -> None:
    if len(row.state) != signal.links:
        raise DecisionError(f"{what} has a row of {len(row.state)} links; the signal has {signal.links}.")
    if unknown := set(row.state) - LETTERS:
        raise DecisionError(f"{what} shows {min(unknown)!r}; SUMO knows the lights {''.join(sorted(LETTERS))}.")
    if not (_is_finite(row.duration_s) and row.duration_s > 0):
        raise DecisionError(f"{what} has a row of {row.duration_s} s; give seconds above 0.")
    for bound in (row.min_s, row.max_s):
        if bound is not None and not _is_finite(bound):
            raise DecisionError(f"{what} has a row bounded by {bound} s; give finite seconds.")


def _is_finite(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _dropped(states: list[str]) -> set[int]:
    """The links that somewhere in the cycle go from green to another light than yellow."""
    return {
        link
        for before, after in pairwise([*states, *states[:1]])
        for link, (a, b) in enumerate(zip(before, after, strict=True))
        if a in GREEN and b not in GREEN and b not in "yY"
    }


@lru_cache(maxsize=4096)
def _greens(state: str) -> frozenset[int]:
    return frozenset(link for link, letter in enumerate(state) if letter in GREEN)


def green_foes(signal: Signal, state: str) -> set[tuple[int, int]]:
    """The foe pairs that are green together in ``state``."""
    green = _greens(state)
    return {pair for pair in signal.foes if pair[0] in green and pair[1] in green}


def native_pairs(signal: Signal) -> set[tuple[int, int]]:
    """The foe pairs that the network's own program shows green together."""
    return set().union(*(green_foes(signal, row.state) for row in signal.program))


def intergreen(before: str, after: str, yellow_s: int, all_red_s: int) -> list[str]:
    """The states, one a second, between two phases; empty where no link loses green."""
    return list(_intergreen(before, after, yellow_s, all_red_s))


@lru_cache(maxsize=4096)  # a signal makes few different changes, again and again
def _intergreen(before: str, after: str, yellow_s: int, all_red_s: int) -> tuple[str, ...]:
    pairs = list(zip(before, after, strict=True))
    ending = [a in GREEN | YELLOW and b not in GREEN for a, b in pairs]
    if not any(ending):
        return ()

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
    return (yellow,) * yellow_s + (red,) * all_red_s


class SignalMachine:
    """Shows one signal's phases second by second.

    ``repairs`` counts what had to be changed: ``min_green`` (a change was asked for too early and not made),
    ``max_red`` (a phase was forced because a link had waited too long).
    """

    def __init__(self, signal: Signal, timings: Timings, state: str, age_s: int) -> None:
        self.signal, self.timings = signal, timings
        self.yellow_s = signal.yellow_s if timings.yellow_s is None else timings.yellow_s
        self.intergreen_s = self.yellow_s + timings.all_red_s
        self.service_s = self.intergreen_s + timings.min_green_s
        self.max_red_s = max(timings.max_red_s, (len(signal.phases) + 2) * self.service_s)
        self.state = state
        self.phase = next((phase.index for phase in signal.phases if phase.state == state), -1)
        self.age_s = age_s if self.phase >= 0 else timings.min_green_s
        self.hold_s = 0
        self.red_s = [0] * signal.links
        self.called = [True] * signal.links
        self._waiting: list[int] = []  # links with a standing call that are red, in the state _waiting_in
        self._waiting_in = ""
        self.repairs: Counter[str] = Counter()
        self.switches = 0
        self._change: list[str] = []
        self._green = [frozenset(m.link for m in phase.movements) for phase in signal.phases]
        self._served = sorted(frozenset().union(*self._green))

    @property
    def due(self) -> bool:
        """Whether a decision can take effect now."""
        return not self._change and self.hold_s <= 0 and self.age_s >= self.timings.min_green_s

    def call(self, links: Iterable[int]) -> None:
        """Say which links have demand now; only these have a maximum red."""
        wanted = set(links)
        self.called = [link in wanted for link in range(self.signal.links)]
        self._waiting_in = ""

    def request(self, phase: int, hold_s: float | None = None) -> None:
        """Ask for a phase from now on; an impossible wish is repaired and counted."""
        if not 0 <= phase < len(self.signal.phases):
            self.repairs["unknown_phase"] += 1
        elif self._change or self.age_s < self.timings.min_green_s:
            self.repairs["min_green"] += phase != self.phase
        elif not self._force_overdue(wanted=phase):
            self._switch(phase)
            self.hold_s = math.ceil(hold_s) if hold_s else 0

    def tick(self) -> str:
        """Advance one second and return the state to show during it."""
        if not self._change and self.age_s >= self.timings.min_green_s:
            self._force_overdue(wanted=self.phase)
        if self._change:
            self.state = self._change.pop(0)
        else:
            self.state = self.signal.phases[self.phase].state if self.phase >= 0 else self.state
            self.age_s += 1
            self.hold_s -= 1
        if self.state != self._waiting_in:
            self._note_waiting()
        for link in self._waiting:
            self.red_s[link] += 1
        return self.state

    def _note_waiting(self) -> None:
        """Which links wait in this state; the others have waited for no time."""
        self._waiting_in = self.state
        self._waiting = [link for link in self._served if self.called[link] and self.state[link] not in GREEN]
        before_s, self.red_s = self.red_s, [0] * self.signal.links
        for link in self._waiting:
            self.red_s[link] = before_s[link]

    def _switch(self, phase: int) -> None:
        if phase == self.phase:
            return
        self._change = intergreen(self.state, self.signal.phases[phase].state, self.yellow_s, self.timings.all_red_s)
        self.phase, self.age_s = phase, 0
        self.switches += 1

    def _force_overdue(self, wanted: int) -> bool:
        forced = self._overdue()
        if forced is None:
            return False
        self.repairs["max_red"] += forced != wanted
        self._switch(forced)
        self.hold_s = 0
        return True

    def _overdue(self) -> int | None:
        """The phase to force now, if waiting any longer could break a maximum red; earliest deadline first.

        If the phases that waiting links need were served one after the other, each for its minimum, the k-th would
        start after k intergreens and k - 1 minimum greens. One more service is left for a free choice before that.
        """
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
            start_s += self.timings.min_green_s
        return None


class Auditor:
    """Watches the lights that a signal really shows and counts what breaks the rules.

    ``violations``: ``no_yellow`` (green to red at once or after too short a yellow), ``min_green`` (a link's green was
    too short), ``foes`` (a foe pair that the native program never shows). Used on installed programs.
    """

    def __init__(self, signal: Signal, timings: Timings) -> None:
        self.signal = signal
        self.yellow_s = min(signal.yellow_s, timings.yellow_s or signal.yellow_s)
        self.min_green_s = timings.min_green_s
        self.allowed = native_pairs(signal)
        self.violations: Counter[str] = Counter()
        self.state = ""
        self.since_s = 0.0  # when the present state was first seen
        self.switches = 0
        self._link_since_s: list[float] = []  # when each link's present kind of light began
        # Programs repeat, so each change of state is worked out once: the links that change, and the new foe pairs.
        self._changes: dict[tuple[str, str], tuple[list[tuple[int, str, str]], int]] = {}

    def see(self, state: str, time_s: float) -> None:
        """Record the state shown from ``time_s`` on; the same state again is no news."""
        if state == self.state:
            return
        if self.state:
            self._changed(state, time_s)
        else:
            self._link_since_s = [-math.inf] * len(state)
            self.violations["foes"] += len(green_foes(self.signal, state) - self.allowed)
        self.state, self.since_s = state, time_s

    def _changed(self, state: str, time_s: float) -> None:
        if (self.state, state) not in self._changes:
            kinds = [(link, _kind(a), _kind(b)) for link, (a, b) in enumerate(zip(self.state, state, strict=True))]
            unsafe = len(green_foes(self.signal, state) - self.allowed)
            self._changes[self.state, state] = [change for change in kinds if change[1] != change[2]], unsafe
        changes, unsafe = self._changes[self.state, state]
        self.violations["foes"] += unsafe
        self.switches += any(old == "green" for _, old, _ in changes)
        for link, old, new in changes:
            shown_s = time_s - self._link_since_s[link]
            self._link_since_s[link] = time_s
            if old == "green":
                self.violations["no_yellow"] += new == "red"
                self.violations["min_green"] += shown_s < self.min_green_s
            elif old == "yellow" and new == "red":
                self.violations["no_yellow"] += shown_s < self.yellow_s


def _kind(letter: str) -> str:
    return "green" if letter in GREEN else "yellow" if letter in YELLOW else "red"
