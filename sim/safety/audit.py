"""Watches the lights that a signal really shows, and counts what breaks the rules."""

from __future__ import annotations

import math
from collections import Counter

from sim.native.clearance import GREEN, YELLOW
from sim.network import Signal
from sim.safety.rights import NativeRights
from sim.timings import Timings

#: SUMO's letters for a light that blinks or is dark: vehicles give way, as at a junction without lights.
OFF = frozenset("oO")


class Auditor:
    """Follows one signal's lights, whoever runs them.

    ``violations``: ``no_yellow`` (green to red at once or after too short a yellow), ``min_green`` (a link's green was
    too short), ``foes`` (a foe pair that the native programs never show), ``give_way`` (one that they show only with
    one link giving way). Those under the signal state machine stand apart, in ``machine_violations``: there should be
    none. Lights for people on foot have no yellow. A light that is switched off (``o``, ``O``) stops nobody, so a green
    may change to it at once.
    """

    def __init__(self, signal: Signal, timings: Timings) -> None:
        self.signal = signal
        self.yellow_s = _least_yellow_s(signal, timings)
        self.min_green_s = timings.min_green_s
        self.rights = NativeRights.of(signal)
        self.violations: Counter[str] = Counter()
        self.machine_violations: Counter[str] = Counter()
        self.state = ""
        self.since_s = 0.0  # when the present state was first seen
        self.switches = 0
        self._walks = frozenset(signal.crossing_links)
        self._link_since_s: list[float] = []  # when each link's present kind of light began
        self._green_end_s: list[float] = []  # when each link was last green
        # Programs repeat, so each change of state is worked out once (the links that change), and so are the foe pairs.
        self._changes: dict[tuple[str, str], list[tuple[int, str, str]]] = {}
        self._unsafe: dict[str, tuple[int, int]] = {}

    def see(self, state: str, time_s: float, by_machine: bool = False) -> None:
        """Record the state shown from ``time_s`` on; the same state again is no news."""
        if state == self.state:
            return
        if self.state:
            self._changed(state, time_s, by_machine)
        else:
            self._link_since_s = [-math.inf] * len(state)
            self._green_end_s = [-math.inf] * len(state)
            self._check_rights(state, self.violations)
        self.state, self.since_s = state, time_s

    def forget(self) -> None:
        """Begin anew: nobody has seen the lights so far. What was counted stays."""
        self.state, self.since_s = "", 0.0

    def ended_s(self, time_s: float) -> dict[int, float]:
        """For every link that is not green: how long ago its green ended, s (infinite: it had none)."""
        return {link: time_s - self._green_end_s[link] for link, letter in enumerate(self.state) if letter not in GREEN}

    def green_age_s(self, time_s: float) -> float:
        """How long the youngest of the links that are green now has been so, s; infinite where none is."""
        greens = (link for link, letter in enumerate(self.state) if letter in GREEN)
        return min((time_s - self._link_since_s[link] for link in greens), default=math.inf)

    def _check_rights(self, state: str, violations: Counter[str]) -> None:
        if state not in self._unsafe:
            self._unsafe[state] = len(self.rights.strangers(state)), len(self.rights.promoted(state))
        strangers, promoted = self._unsafe[state]
        violations["foes"] += strangers
        if promoted:
            violations["give_way"] += promoted

    def _changed(self, state: str, time_s: float, by_machine: bool) -> None:
        if (self.state, state) not in self._changes:
            kinds = [(link, _kind(a), _kind(b)) for link, (a, b) in enumerate(zip(self.state, state, strict=True))]
            self._changes[self.state, state] = [change for change in kinds if change[1] != change[2]]
        changes = self._changes[self.state, state]
        violations = self.machine_violations if by_machine else self.violations
        self._check_rights(state, violations)
        self.switches += not by_machine and any(old == "green" for _, old, _ in changes)
        for link, old, new in changes:
            shown_s = time_s - self._link_since_s[link]
            self._link_since_s[link] = time_s
            if old == "green":
                self._green_end_s[link] = time_s
                violations["no_yellow"] += new == "red" and link not in self._walks
                violations["min_green"] += shown_s < self.min_green_s
            elif old == "yellow" and new == "red":
                violations["no_yellow"] += shown_s < self.yellow_s[link]


def _least_yellow_s(signal: Signal, timings: Timings) -> list[int]:
    """The whole seconds of yellow that each link shows at least, natively or by the timings, whichever is less."""
    shown: dict[int, float] = {}
    for change in signal.clearance.changes:
        for link, paid in change.links.items():
            if paid.yellow_s > 0:
                shown[link] = min(paid.yellow_s, shown.get(link, math.inf))
    usual_s = min(signal.yellow_s, timings.yellow_s or signal.yellow_s)
    walks = set(signal.crossing_links)
    return [0 if link in walks else math.floor(min(shown.get(link, usual_s), usual_s)) for link in range(signal.links)]


def _kind(letter: str) -> str:
    if letter in OFF:
        return "off"
    return "green" if letter in GREEN else "yellow" if letter in YELLOW else "red"
