"""Traffic that comes in waves: departures of each road are moved so that their rate swells and ebbs."""

from __future__ import annotations

import math
import zlib

import numpy as np
from numpy.typing import NDArray

#: Steps of the rate, and how long a wave lasts: the correlation time of each road is drawn between these, s.
STEP_S = 30.0
LAST_S = (90.0, 1200.0)


class Waves:
    """Moves departures in time; how many leave from a road, and in which order, stays as it is.

    The logarithm of a road's rate is an Ornstein-Uhlenbeck process (Uhlenbeck & Ornstein 1930), each road with its own.

    Args:
        strength: standard deviation of that logarithm.
        begin_s: first departure.
        end_s: departures stay before it.
        seed: of the run.
    """

    def __init__(self, strength: float, begin_s: float, end_s: float, seed: int) -> None:
        self.strength, self.begin_s, self.end_s, self.seed = strength, begin_s, end_s, seed
        self._shares: dict[str, NDArray[np.float64]] = {}

    def moved_s(self, depart_s: float, road: str) -> float:
        """The new departure of a vehicle that would have left a road at ``depart_s``, SUMO's clock."""
        if road not in self._shares:
            self._shares[road] = self._departed(road)
        shares, length_s = self._shares[road], self.end_s - self.begin_s
        times = np.linspace(0.0, 1.0, len(shares))
        moved = float(np.interp((depart_s - self.begin_s) / length_s, shares, times))
        return self.begin_s + length_s * min(moved, 1.0 - 1e-9)

    def _departed(self, road: str) -> NDArray[np.float64]:
        """Share of a road's vehicles that have left by the end of each step, from 0 to 1."""
        rng = np.random.default_rng([self.seed, 2, zlib.crc32(road.encode())])
        last_s = math.exp(rng.uniform(*np.log(LAST_S)))
        stays = math.exp(-STEP_S / last_s)
        noise = rng.standard_normal(math.ceil((self.end_s - self.begin_s) / STEP_S))
        level, levels = 0.0, []
        for number, value in enumerate(noise):
            level = stays * level + math.sqrt(1 - stays**2) * value if number else value
            levels.append(level)
        departed = np.concatenate([[0.0], np.cumsum(np.exp(self.strength * np.array(levels)))])
        found: NDArray[np.float64] = departed / departed[-1]
        return found
