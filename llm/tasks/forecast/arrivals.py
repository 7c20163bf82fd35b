"""Vehicles that arrive within a minute on each lane, from what the loops upstream counted in full minutes.

Records and closed loop take the same numbers from here: ``last`` is the forecast source ``persistence``, and
``within_a_minute`` the source ``reference``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.observation import Observation

Floats = NDArray[np.float64]


class MinuteCounts:
    """What the loops counted in each full minute of a run, (L,) vehicles; minutes are counted from ``begin_s``."""

    def __init__(self, lanes: int, begin_s: float) -> None:
        self.begin_s = begin_s
        self._unknown = np.full(lanes, np.nan)
        self._counts: dict[int, Floats] = {}

    def see(self, observation: Observation) -> None:
        """Note the last full minute."""
        self._counts[self._minute(observation.time_s) - 1] = last(observation)

    def before(self, time_s: float) -> Floats:
        """(L,) vehicles of the last full minute before a time; NaN where it was not seen or a detector was out."""
        return self._count(self._minute(time_s) - 1)

    def within_a_minute(self, time_s: float) -> Floats:
        """(L,) vehicles of the 60 s after a time, as shares of the two minutes that they lie in; NaN where unknown."""
        minute, share = self._minute(time_s), (time_s - self.begin_s) % 60 / 60
        after = share * self._count(minute + 1) if share else 0.0
        return (1 - share) * self._count(minute) + after

    def _minute(self, time_s: float) -> int:
        return int((time_s - self.begin_s) // 60)

    def _count(self, minute: int) -> Floats:
        return self._counts.get(minute, self._unknown)


def last(observation: Observation) -> Floats:
    """(L,) vehicles that the loops counted in the last full minute, NaN where a detector is out."""
    found: Floats = observation.flow_veh_h[:, 0] / 60
    return found
