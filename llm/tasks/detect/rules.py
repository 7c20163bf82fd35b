"""The field's incident detectors, on signal approaches: each is tuned on training records only.

They were made for loops on motorways. Here the approach 50 to 200 m before the stop line stands for the loop upstream
of an incident, and the road ahead for the one downstream; occupancy is how full a stretch is. A step is half a minute;
signals are averaged out over four steps where a rule compares places.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from llm.tasks.base import Answerer, Floats, Lesson, Question
from llm.tasks.detect.watch import COLUMNS, STEPS, column

#: Vehicles that fit on the 150 m of a lane that count as upstream.
_UPSTREAM_VEH = 20.0
#: A rule's parameters are those that find most blocked rows while so small a share of the free ones is called blocked.
FALSE_SHARE = 0.001


class Rule(Answerer):
    """A statistic that rises with the evidence; a logistic curve through the training records makes it a probability.

    A subclass says the statistic and the parameters to choose from.
    """

    grid: dict[str, tuple[float, ...]] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.chosen = {name: values[0] for name, values in self.grid.items()}
        self._centre, self._slope = 0.0, 1.0

    @abstractmethod
    def statistic(self, facts: Floats) -> Floats:
        """(rows,) the evidence, from (rows, STEPS, columns) without NaN."""

    def fit(self, train: Sequence[Lesson], validation: Sequence[Lesson]) -> None:  # noqa: ARG002
        """Choose the parameters, and the level that few free approaches reach."""
        facts = known([lesson.question for lesson in train])
        blocked = np.concatenate([lesson.target for lesson in train]) == 1
        best = -1.0
        for chosen in self._choices():
            self.chosen, before = chosen, self.chosen
            values = self.statistic(facts)
            level = float(np.quantile(values[~blocked], 1 - FALSE_SHARE))
            share = float((values[blocked] > level).mean())
            if share > best:
                best, self._centre, self._slope = share, level, 1 / max(float(values[~blocked].std()), 1e-6)
            else:
                self.chosen = before

    def answer(self, questions: Sequence[Question]) -> Floats:
        """Probabilities that rise with the statistic: one half at the level chosen by ``fit``."""
        values = np.clip(self._slope * (self.statistic(known(questions)) - self._centre), -30, 30)
        return np.asarray(1 / (1 + np.exp(-values)))

    def _choices(self) -> Iterator[dict[str, float]]:
        for values in product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))


def known(questions: Sequence[Question]) -> Floats:
    """(rows, STEPS, columns) of all questions; an approach without detectors looks empty and free."""
    facts = np.concatenate([question.numbers for question in questions]).reshape(-1, STEPS, len(COLUMNS))
    free = np.where(np.array(COLUMNS) == "speed_share", 1.0, 0.0)
    return np.where(np.isnan(facts), free, facts)


def upstream(facts: Floats) -> Floats:
    """(rows, STEPS) occupancy 50 to 200 m before the stop line, 0 to 1."""
    return np.clip((column(facts, "mid_veh") + column(facts, "far_veh")) / _UPSTREAM_VEH, 0, 1)


def smooth(values: Floats, steps: int = 4) -> Floats:
    """(rows, STEPS - steps + 1) moving means over two minutes, in which a signal has gone round."""
    return np.lib.stride_tricks.sliding_window_view(values, steps, axis=1).mean(axis=-1)


class California7(Rule):
    """Payne and Tignor (1978), algorithm 7: OCCDF, OCCRDF and DOCC, each against a threshold, twice running.

    The statistic is by how much OCCDF, the occupancy upstream less that downstream, is above its threshold where the
    other two tests hold, and else by how much the worst of them fails.
    """

    grid = {"occrdf": (0.2, 0.4, 0.6), "docc": (0.1, 0.2, 0.4)}  # noqa: RUF012

    def statistic(self, facts: Floats) -> Floats:
        """The weaker of the last two steps."""
        return self.tests(facts)[:, -2:].min(axis=1)

    def tests(self, facts: Floats) -> Floats:
        """(rows, steps) the three tests as one number."""
        up, down = smooth(upstream(facts)), smooth(column(facts, "ahead_share"))
        occdf = up - down
        occrdf = occdf / np.maximum(up, 0.01)
        fails = np.minimum(occrdf - self.chosen["occrdf"], self.chosen["docc"] - down)
        return np.asarray(np.where(fails >= 0, occdf, np.minimum(fails, occdf)))


class California8(California7):
    """Algorithm 8: as 7, and silent for five minutes after a compression wave passed the loop downstream.

    A wave is a relative rise of the occupancy downstream over two minutes (-DOCCTD) at a high occupancy.
    """

    grid = {**California7.grid, "wave": (0.3, 0.6)}  # noqa: RUF012

    def statistic(self, facts: Floats) -> Floats:
        """As algorithm 7, lowered where there was a wave."""
        down = smooth(column(facts, "ahead_share"))
        rise = (down[:, 4:] - down[:, :-4]) / np.maximum(down[:, 4:], 0.01)
        wave = ((rise > self.chosen["wave"]) & (down[:, 4:] > 0.3)).any(axis=1)
        return np.asarray(super().statistic(facts) - 2.0 * wave)


class McMaster(Rule):
    """Persaud and Hall (1989): flow and occupancy of one place against the lower edge of uncongested traffic.

    The edge is a parabola below the training records' flows; what lies below it with a free road ahead is an incident,
    with a full one ordinary congestion. The statistic is how far below, for two steps, less how full it is ahead.
    """

    grid = {"ahead": (0.0, 0.3, 1.0)}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self._edge = np.zeros(3)

    def fit(self, train: Sequence[Lesson], validation: Sequence[Lesson]) -> None:
        """Fit the parabola through the flows of free approaches, then the rest."""
        facts = known([lesson.question for lesson in train])
        free = np.concatenate([lesson.target for lesson in train]) == 0
        occupancy, flow = (part[free, -1] for part in self._place(facts))
        self._edge = np.polyfit(occupancy, flow, 2)
        super().fit(train, validation)

    def statistic(self, facts: Floats) -> Floats:
        """How far the flow is below the edge, the weaker of two steps."""
        occupancy, flow = self._place(facts)
        below = (np.polyval(self._edge, occupancy) - flow)[:, -2:].min(axis=1)
        ahead = smooth(column(facts, "ahead_share"))[:, -1]
        return np.asarray(below / 10 + occupancy[:, -1] - self.chosen["ahead"] * ahead)

    def _place(self, facts: Floats) -> tuple[Floats, Floats]:
        return smooth(upstream(facts)), smooth(column(facts, "inflow_veh"))


class ExponentialSmoothing(Rule):
    """Double exponential smoothing (Cook and Cleveland 1974): a tracking signal of the occupancy upstream.

    The sum of the forecasts' errors over their mean absolute deviation; in the form of the ARRB detector the fall of
    the speed counts as well.
    """

    grid = {"alpha": (0.2, 0.4), "speed": (0.0, 1.0)}  # noqa: RUF012

    def statistic(self, facts: Floats) -> Floats:
        """The tracking signal at the last step, weighed by the occupancy."""
        occupancy, slow = upstream(facts), 1 - np.clip(column(facts, "speed_share"), 0, 1)
        track = self._track(occupancy) + self.chosen["speed"] * self._track(slow)
        return np.asarray(track * occupancy[:, -2:].mean(axis=1))

    def _track(self, values: Floats) -> Floats:
        alpha = self.chosen["alpha"]
        once, twice = values[:, 0].copy(), values[:, 0].copy()
        error, size = np.zeros(len(values)), np.full(len(values), 0.05)
        for value in values.T[1:]:
            miss = value - (2 * once - twice)
            error, size = (1 - alpha) * error + miss, (1 - alpha) * size + alpha * np.abs(miss)
            once = alpha * value + (1 - alpha) * once
            twice = alpha * once + (1 - alpha) * twice
        return np.asarray(error / size)


class Cusum(Rule):
    """Page's cumulative sum (1954) of the halted vehicles above the mean of free approaches, in their deviations."""

    grid = {"slack": (0.5, 1.0, 2.0, 4.0)}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self._mean, self._deviation = 0.0, 1.0

    def fit(self, train: Sequence[Lesson], validation: Sequence[Lesson]) -> None:
        """Take mean and deviation from the free approaches, then the slack."""
        values = self._halted(known([lesson.question for lesson in train]))
        free = values[np.concatenate([lesson.target for lesson in train]) == 0]
        self._mean, self._deviation = float(free.mean()), float(free.std()) or 1.0
        super().fit(train, validation)

    def statistic(self, facts: Floats) -> Floats:
        """The sum at the last step."""
        total = np.zeros(len(facts))
        for value in ((self._halted(facts) - self._mean) / self._deviation).T:
            total = np.maximum(0.0, total + value - self.chosen["slack"])
        return total

    def _halted(self, facts: Floats) -> Floats:
        return smooth(column(facts, "halted_veh"))


class MissedGreen(Rule):
    """Our own, not published: green that the longest waiting vehicle did not use."""

    def statistic(self, facts: Floats) -> Floats:
        """The smaller of the last two steps, s."""
        return np.asarray(column(facts, "missed_green_s")[:, -2:].min(axis=1))
