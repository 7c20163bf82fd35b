"""Ends a simulation that hangs inside SUMO, and tells the other end of the pipe that a long one is alive.

A hang is a loop in SUMO's own code, which no Python runs beside; so the kernel keeps the time: a timer of processor
time, which the load of the machine does not shorten, and which ends the process unless each simulated step renews it.
Forks of the process get one of their own with their first step.
"""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import Connection

#: Status of a message that only says that the simulation goes on.
ALIVE = "alive"
#: Loading a network may take so many times as long as a simulated step.
LOADING_FACTOR = 10
#: Wall time between two signs of life, s.
_EVERY_S = 5.0


class Pulse:
    """The time limit of one session's process.

    Args:
        pipe: to the session.
        limit_s: processor time between two beats, s; 0 for no limit.
    """

    def __init__(self, pipe: Connection, limit_s: float) -> None:
        self.pipe, self.limit_s = pipe, limit_s
        self.number = 0  # of the request that is being answered
        self._owner = os.getpid()
        self._told_s = time.monotonic()
        signal.signal(signal.SIGPROF, signal.SIG_DFL)

    def begin(self, number: int, factor: float = 1.0) -> None:
        """A request begins; its first step may take ``factor`` times the limit."""
        self.number, self._told_s = number, time.monotonic()
        signal.setitimer(signal.ITIMER_PROF, factor * self.limit_s)

    def beat(self) -> None:
        """The simulation gets on."""
        signal.setitimer(signal.ITIMER_PROF, self.limit_s)
        now_s = time.monotonic()
        if now_s - self._told_s > _EVERY_S:
            self._told_s = now_s
            if self._owner == os.getpid():  # a fork shares the pipe, and must not speak
                self.pipe.send((self.number, ALIVE, None))

    def end(self) -> None:
        """The answer is there; what comes now is not SUMO's time."""
        signal.setitimer(signal.ITIMER_PROF, 0)
