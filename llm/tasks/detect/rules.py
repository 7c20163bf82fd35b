"""The field's incident detectors, on signal approaches.

They were made for loops on motorways. Here the approach 50 to 200 m before the stop line stands for the loop upstream
of an incident, and the road ahead for the one downstream; occupancy is how full a stretch is. Values are averaged over
two minutes, in which a signal has gone round.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llm.tasks.base import Floats, Lesson
from llm.tasks.detect.watch import COLUMNS, STEPS, column
from llm.tasks.rules import Rule

#: Vehicles that fit on the 150 m of a lane that count as upstream.
_UPSTREAM_VEH = 20.0


class ApproachRule(Rule):
    """A rule on an approach's history; an approach without detectors looks empty and free."""

    def statistic(self, numbers: Floats) -> Floats:
        """The evidence at the last step."""
        facts = numbers.reshape(-1, STEPS, len(COLUMNS))
        return self.evidence(np.where(np.isnan(facts), np.array(COLUMNS) == "speed_share", facts))

    def evidence(self, facts: Floats) -> Floats:
        """(rows,) from (rows, STEPS, columns) without NaN."""
        raise NotImplementedError


def smooth(values: Floats, steps: int = 4) -> Floats:
    """(rows, STEPS - steps + 1) moving means."""
    means: Floats = np.lib.stride_tricks.sliding_window_view(values, steps, axis=1).mean(axis=-1)
    return means


def upstream(facts: Floats) -> Floats:
    """(rows, STEPS) occupancy 50 to 200 m before the stop line, 0 to 1."""
    return np.clip((column(facts, "mid_veh") + column(facts, "far_veh")) / _UPSTREAM_VEH, 0, 1)


def downstream(facts: Floats) -> Floats:
    """(rows, steps) occupancy of the road ahead, averaged."""
    return smooth(column(facts, "ahead_share"))


class California7(ApproachRule):
    """Payne and Tignor (1978), algorithm 7: OCCDF, OCCRDF and DOCC, each against a threshold, twice running.

    Where the other two tests hold the evidence is OCCDF, the occupancy upstream less that downstream; else it is by
    how much the worst of them fails.
    """

    grid = {"occrdf": (0.2, 0.4, 0.6), "docc": (0.1, 0.2, 0.4)}  # noqa: RUF012

    def evidence(self, facts: Floats) -> Floats:
        """The weaker of the last two steps."""
        up, down = smooth(upstream(facts))[:, -2:], downstream(facts)[:, -2:]
        occdf = up - down
        fails = np.minimum(occdf / np.maximum(up, 0.01) - self.chosen["occrdf"], self.chosen["docc"] - down)
        return np.asarray(np.where(fails >= 0, occdf, np.minimum(fails, occdf)).min(axis=1))


class California8(California7):
    """Algorithm 8: as 7, but silent for five minutes after a compression wave: occupancy downstream that rose fast."""

    grid = {**California7.grid, "wave": (0.3, 0.6)}  # noqa: RUF012

    def evidence(self, facts: Floats) -> Floats:
        """As algorithm 7, lowered where there was a wave."""
        down = downstream(facts)
        rise = (down[:, 4:] - down[:, :-4]) / np.maximum(down[:, 4:], 0.01)
        return super().evidence(facts) - 2.0 * ((rise > self.chosen["wave"]) & (down[:, 4:] > 0.3)).any(axis=1)


class McMaster(ApproachRule):
    """Persaud and Hall (1989): flow and occupancy of one place against the edge of uncongested traffic, a parabola.

    What lies below it with a free road ahead is an incident, with a full one ordinary congestion.
    """

    grid = {"ahead": (0.0, 0.3, 1.0)}  # noqa: RUF012

    def fit(self, train: Sequence[Lesson], validation: Sequence[Lesson]) -> None:
        """Fit the parabola through the flows of free approaches, then the rest."""
        facts = np.nan_to_num(np.concatenate([lesson.question.numbers for lesson in train]))
        free = np.concatenate([lesson.target for lesson in train]) == 0
        occupancy, flow = self._place(facts.reshape(-1, STEPS, len(COLUMNS))[free])
        self._edge = np.polyfit(occupancy[:, -1], flow[:, -1], 2)
        super().fit(train, validation)

    def evidence(self, facts: Floats) -> Floats:
        """How far the flow is below the edge, the weaker of two steps, and how full it is before and not ahead."""
        occupancy, flow = self._place(facts)
        below = (np.polyval(self._edge, occupancy) - flow)[:, -2:].min(axis=1)
        return np.asarray(below / 10 + occupancy[:, -1] - self.chosen["ahead"] * downstream(facts)[:, -1])

    def _place(self, facts: Floats) -> tuple[Floats, Floats]:
        return smooth(upstream(facts)), smooth(column(facts, "inflow_veh"))


class ExponentialSmoothing(ApproachRule):
    """Double exponential smoothing (Cook and Cleveland 1974): a tracking signal of the occupancy upstream.

    The sum of the forecasts' errors over their mean size. In ARRB's form the fall of the speed counts as well.
    """

    grid = {"alpha": (0.2, 0.4), "speed": (0.0, 1.0)}  # noqa: RUF012

    def evidence(self, facts: Floats) -> Floats:
        """The tracking signal at the last step, weighed by the occupancy."""
        occupancy = upstream(facts)
        slow = self._track(1 - np.clip(column(facts, "speed_share"), 0, 1))
        return np.asarray((self._track(occupancy) + self.chosen["speed"] * slow) * occupancy[:, -2:].mean(axis=1))

    def _track(self, values: Floats) -> Floats:
        alpha = self.chosen["alpha"]
        once, twice = values[:, 0], values[:, 0]
        error, size = np.zeros(len(values)), np.full(len(values), 0.05)
        for value in values.T[1:]:
            miss = value - (2 * once - twice)
            error, size = (1 - alpha) * error + miss, (1 - alpha) * size + alpha * np.abs(miss)
            once = alpha * value + (1 - alpha) * once
            twice = alpha * once + (1 - alpha) * twice
        return np.asarray(error / size)


class Cusum(ApproachRule):
    """Page's cumulative sum (1954) of the halted vehicles above a level, with a slack."""

    grid = {"level_veh": (1.0, 2.0, 4.0, 8.0), "slack_veh": (0.5, 1.0, 2.0)}  # noqa: RUF012

    def evidence(self, facts: Floats) -> Floats:
        """The sum at the last step."""
        total = np.zeros(len(facts))
        for halted in smooth(column(facts, "halted_veh")).T:
            total = np.maximum(0.0, total + halted - self.chosen["level_veh"] - self.chosen["slack_veh"])
        return total


class MissedGreen(ApproachRule):
    """Our own, not published: green that the longest waiting vehicle did not use, s."""

    def evidence(self, facts: Floats) -> Floats:
        """The smaller of the last two steps."""
        return np.asarray(column(facts, "missed_green_s")[:, -2:].min(axis=1))
