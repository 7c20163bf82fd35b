"""The maximum red of installed programs: SUMO runs them, so somebody else has to look at the clock."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sim.native.clearance import GREEN
from sim.network import Signal
from sim.safety.decisions import Program

#: No adaptive program may keep a called link red for longer, whatever its rows allow, s.
LONGEST_ADAPTIVE_RED_S = 600.0


class ProgramGuard:
    """Counts how long each link with a standing call has been red under one installed program.

    The limit is the maximum red of the signal state machine, or the cycle of the network's own program if that is
    longer. For links that an adaptive program serves it is what its rows may take at most, each counted as one
    maximum red and all together as ``LONGEST_ADAPTIVE_RED_S`` at most. Links that the program never serves wait all at
    once, so that there must be time to serve them one after the other.

    Args:
        signal: the signal.
        program: what was installed.
        max_red_s: the maximum red of the signal's state machine, s.
        service_s: what it takes to serve one phase, s.
        red_s: how long each link has been red so far, s.
    """

    def __init__(
        self, signal: Signal, program: Program, max_red_s: int, service_s: int, red_s: Sequence[float]
    ) -> None:
        self.signal, self.program = signal, program
        self.red_s = list(red_s)
        self._served = sorted(frozenset().union(*(phase.links for phase in signal.phases)))
        cycles_s = [sum(step.duration_s for step in own.steps) for own in signal.programs]
        usual_s = max([float(max_red_s), *(min(cycle_s, LONGEST_ADAPTIVE_RED_S) for cycle_s in cycles_s)])
        self._limit_s = {
            link: max(usual_s, _adaptive_red_s(program, link, max_red_s) if program.type != "static" else 0.0)
            for link in self._served
        }
        unserved = [link for link in self._served if not any(row.state[link] in GREEN for row in program.rows)]
        needed = sum(any(link in unserved for link in phase.links) for phase in signal.phases)
        for link in unserved:
            self._limit_s[link] = max(float(service_s), max_red_s - needed * service_s)

    def pass_time(self, state: str, called: Sequence[bool], seconds: float) -> None:
        """Add time in which ``state`` was shown; links without a call, or green, begin anew."""
        for link in self._served:
            waits = called[link] and state[link] not in GREEN
            self.red_s[link] = self.red_s[link] + seconds if waits else 0.0

    def most_overdue(self, state: str, called: Sequence[bool]) -> int:
        """The link that is nearest to its limit, or farthest beyond it."""
        waiting = [link for link in self._served if called[link] and state[link] not in GREEN]
        return min(waiting or self._served, key=lambda link: self._limit_s[link] - self.red_s[link])

    def left_s(self, state: str, called: Sequence[bool]) -> float:
        """Seconds until a link reaches its limit if nothing changes; infinite where none waits."""
        waiting = (link for link in self._served if called[link] and state[link] not in GREEN)
        return min((self._limit_s[link] - self.red_s[link] for link in waiting), default=math.inf)


def _adaptive_red_s(program: Program, link: int, max_red_s: int) -> float:
    """The longest red of a link between two greens of an adaptive program; 0 if it never gets green."""
    rows = program.rows
    green = [row.state[link] in GREEN for row in rows]
    if not any(green):
        return 0.0
    start = green.index(True)
    longest_s = red_s = 0.0
    for place in range(start, start + len(rows)):
        row = rows[place % len(rows)]
        red_s = 0.0 if green[place % len(rows)] else red_s + min(row.bounds_s[1], max_red_s)
        longest_s = max(longest_s, red_s)
    return min(longest_s, LONGEST_ADAPTIVE_RED_S)
