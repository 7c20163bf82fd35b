"""Flexible max pressure: any phase may follow, and a green stays as long as nobody else has a higher pressure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from controllers.base import ControllerError
from controllers.classical.max_pressure import MaxPressure
from controllers.classical.phase_choice import best_phase
from controllers.parameters import check_number
from sim.observation import Observation
from sim.signals import Decision


class FlexibleMaxPressure(MaxPressure):
    """Max pressure whose greens have bounds of their own.

    A green lasts at least ``green_min_s``. Then the pressures are compared at each decision, and the green ends when
    another phase's is higher, or after ``green_max_s`` even if none is; the phase with the highest pressure among the
    others follows. Plain ``max_pressure`` has the shortest green that the timings allow, and no longest one.

    Sources: P. Varaiya, "Max pressure control of a network of signalized intersections", Transportation Research Part C
    36 (2013), for the pressure; K. Riehl et al., sumoITScontrol (2026), for the flexible cycle and its bounds.

    Args:
        measure: ``vehicles`` or ``queue``, as in ``max_pressure``.
        green_min_s: shortest green, s.
        green_max_s: longest green while others have a positive pressure, s.
    """

    def __init__(self, measure: str = "vehicles", green_min_s: float = 10.0, green_max_s: float = 50.0) -> None:
        super().__init__(measure)
        self.green_min_s = check_number("flexible_max_pressure", "green_min_s", green_min_s, above=True)
        self.green_max_s = check_number("flexible_max_pressure", "green_max_s", green_max_s, above=True)
        if green_max_s < green_min_s:
            raise ControllerError(
                f"flexible_max_pressure: green_max_s is {green_max_s:g}; give at least green_min_s ({green_min_s:g})."
            )

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Return the best phase of each due signal within the bounds of its green."""
        decisions = dict(super().act(observation))
        scores = self.scores(observation)
        for signal in self.table.signals:
            current, age_s = int(observation.phase[signal.index]), observation.phase_age_s[signal.index]
            if signal.id not in decisions or current < 0 or not observation.lane_ok[list(signal.lanes)].any():
                continue
            mine = scores[self.table.of(signal)]
            others = np.where(np.arange(len(mine)) == current, -np.inf, mine)
            if age_s < self.green_min_s:
                decisions[signal.id] = current
            elif age_s >= self.green_max_s and others.max() > 0:
                decisions[signal.id] = best_phase(others, -1)
        return decisions
