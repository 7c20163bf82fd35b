"""Detectors that err: what a controller reads is not what is there. Measurements of the benchmark never pass here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.spec import DetectorErrors

#: Arrays of an observation that count or measure traffic.
COUNTED = ("queue_veh", "zone_veh", "speed_mps", "flow_veh_h")


class DetectorFaults:
    """Draws from the run's seed and the clock alone, so that every controller sees the same errors at the same time.

    Noise: each count, speed and flow is multiplied by max(0, 1 + noise x N(0, 1)), anew at every reading; an empty lane
    stays empty. Outage: each lane's detectors are dead for the whole run with probability ``outage_share``.
    """

    def __init__(self, errors: DetectorErrors, lanes: int, seed: int) -> None:
        self.noise, self.seed = errors.noise, seed
        self.dead: NDArray[np.bool_] = np.random.default_rng([seed, 7]).random(lanes) < errors.outage_share

    def with_errors(self, state: dict[str, Any], time_s: float) -> dict[str, Any]:
        """The readings with noise."""
        if not self.noise:
            return state
        rng = np.random.default_rng([self.seed, 8, int(time_s)])
        return {
            name: values * np.maximum(0.0, 1.0 + self.noise * rng.standard_normal(values.shape))
            if name in COUNTED
            else values
            for name, values in state.items()
        }
