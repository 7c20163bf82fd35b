"""One figure for many scenarios: scores relative to the baseline, their interquartile mean, and how sure it is.

A run's score is its metric over the baseline's on the same case and seed. Scores are put together over runs and cases
as Agarwal et al. do ("Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021):
interquartile mean, probability of improvement and performance profiles, with bootstrap intervals for which seeds are
drawn anew within each case. All controllers are drawn the same seeds, because their runs are paired.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.compare import statistics as stats
from benchmarks.compare.comparable import CaseRuns, versions_of
from benchmarks.compare.comparison import Interval, OverallRow, Profile, Verdict
from benchmarks.compare.statistics import Floats
from benchmarks.results.cases import minutes_of as run_minutes

#: Networks that lie inside one another, trips included: together they weigh as one.
NESTED = frozenset({"ingolstadt1", "ingolstadt7", "ingolstadt21"})
#: Profiles end here at the latest: three times the baseline's delay is a failure by any account.
LARGEST_TAU, TAUS = 3.0, 121


@dataclass(frozen=True)
class Question:
    """What is compared: the metric, its direction (1: less is better, -1: more), the baseline by case."""

    metric: str
    sign: int
    baselines: dict[str, str]


@dataclass(frozen=True)
class Chosen:
    """The block of cases and controllers in which nothing is missing."""

    cases: tuple[CaseRuns, ...] = ()
    controllers: tuple[str, ...] = ()


def choose(cases: Sequence[CaseRuns], question: Question, problems: list[str]) -> Chosen:
    """Pick the cases and controllers of the overall ranking; everything left out is told in ``problems``."""
    left = [case for case in cases if _fits(case, question, problems)]
    if not _of_one_suite(left):
        left = _agreeing(left, lambda case: versions_of(case.any), "of {}", problems)
        left = _agreeing(left, lambda case: str(case.any.timings["name"]), "with {} timings", problems)
        left = _one_of_each(left, problems)
    return _complete(left, set(question.baselines.values()), problems)


def weights_of(cases: Sequence[CaseRuns]) -> list[float]:
    """Weight of each case: 1, or its part where several of the nested networks are there in the same variant."""
    parts = [re.match(r"[^@]*", case.any.scenario.name) for case in cases]
    nested = [part is not None and part[0] in NESTED for part in parts]
    kinds = [case.name.replace(part[0] if part else "", "", 1) for case, part in zip(cases, parts, strict=True)]
    sharing = [kind for kind, inside in zip(kinds, nested, strict=True) if inside]
    return [1.0 / sharing.count(kind) if inside else 1.0 for kind, inside in zip(kinds, nested, strict=True)]


def rank(chosen: Chosen, question: Question, gridlocked: set[int]) -> tuple[list[OverallRow], list[Profile]]:
    """The overall ranking with the profiles in the same order; both empty without cases."""
    if not chosen.cases:
        return [], []
    block = _Block(chosen, question)
    names = list(chosen.controllers)
    p_values = [block.p(name) for name in names]
    rows = [
        block.row(name, p, p_holm, gridlocked)
        for name, p, p_holm in zip(names, p_values, stats.holm(p_values), strict=True)
    ]
    order = sorted(range(len(rows)), key=lambda index: question.sign * rows[index].score)
    ranked = [_ranked(rows[index], place) for place, index in enumerate(order, start=1)]
    return ranked, [block.profile(row.controller) for row in ranked]


def verdict(p_holm: float | None, change: float, sign: int) -> Verdict:
    """What may be said: ``change`` is the mean difference in the metric."""
    if p_holm is None or p_holm >= stats.ALPHA or change == 0:
        return "open"
    return "better" if sign * change < 0 else "worse"


class _Block:
    """Scores of all controllers on all chosen cases, laid out as one row of runs, and the same resamples for all."""

    def __init__(self, chosen: Chosen, question: Question) -> None:
        self.cases, self.controllers, self.question = chosen.cases, chosen.controllers, question
        sizes = [len(case.seeds) for case in chosen.cases]
        self.weights = np.repeat(np.array(weights_of(chosen.cases)) / sizes, sizes)
        self.parts = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
        self.few = min(sizes) < stats.FEWEST_FOR_INTERVAL
        self.counts = stats.stratified_counts(sizes)
        self.base = np.concatenate([self._values(case, question.baselines[case.name]) for case in chosen.cases])
        self.values = {
            name: np.concatenate([self._values(case, name) for case in chosen.cases]) for name in self.controllers
        }
        self.scores = {name: values / self.base for name, values in self.values.items()}
        largest = max(float(scores.max()) for scores in self.scores.values())
        self.tau = np.linspace(0.0, float(np.clip(np.ceil(10 * largest) / 10, 1.2, LARGEST_TAU)), TAUS)

    def _values(self, case: CaseRuns, controller: str) -> Floats:
        return case.values(controller, self.question.metric)

    def is_baseline(self, name: str) -> bool:
        return all(self.question.baselines[case.name] == name for case in self.cases)

    def _differences(self, name: str) -> Floats:
        """Symmetric relative differences, within -2 and 2: swapping the two runs of a seed only turns the sign."""
        middle = np.maximum((self.values[name] + self.base) / 2, 1e-12)
        differences: Floats = (self.values[name] - self.base) / middle
        return differences

    def p(self, name: str) -> float | None:
        if self.is_baseline(name):
            return None
        return stats.paired_p(self._differences(name).tolist(), self.weights.tolist())

    def row(self, name: str, p: float | None, p_holm: float | None, gridlocked: set[int]) -> OverallRow:
        base = self.is_baseline(name)
        score = float(stats.interquartile_mean(self.scores[name], self.weights))
        resampled = stats.interquartile_mean(self.scores[name], self.counts * self.weights)
        improved = None if base else self._improvement(name)
        jammed = np.concatenate([[id(run) in gridlocked for run in case.of(name)] for case in self.cases])
        said = verdict(p_holm, float(self._differences(name) @ self.weights), self.question.sign)
        agrees = (score - 1) * self.question.sign * (-1 if said == "better" else 1) > 0
        return OverallRow(
            rank=0,
            controller=name,
            score=score,
            interval=None if self.few else _interval(resampled),
            improvement=None if improved is None else float(improved[0]),
            improvement_interval=None if improved is None or self.few else _interval(improved[1:]),
            p=p,
            p_holm=p_holm,
            verdict="baseline" if base else said if agrees else "open",
            gridlock_rate=float(np.average(jammed, weights=self.weights)),
            runs=len(self.base),
            lower=int((self.values[name] < self.base).sum()),
            higher=int((self.values[name] > self.base).sum()),
        )

    def _improvement(self, name: str) -> Floats:
        """The probability, then its resamples: means over the cases."""
        counts = np.vstack([np.ones(len(self.base)), self.counts])
        sign, cases = self.question.sign, weights_of(self.cases)
        values, base = sign * self.values[name], sign * self.base
        found = [stats.improvement(values[part], base[part], counts[:, part]) for part in self.parts]
        mean: Floats = np.average(found, axis=0, weights=cases)
        return mean

    def profile(self, name: str) -> Profile:
        sign = self.question.sign
        scores, tau = sign * self.scores[name], sign * self.tau
        share = stats.share_at_most(scores, self.weights, tau)
        band = None
        if not self.few:
            band = stats.percentile_interval(stats.share_at_most(scores, self.counts * self.weights, tau))
        return Profile(
            controller=name,
            tau=tuple(self.tau.tolist()),
            share=tuple(share.tolist()),
            low=None if band is None else tuple(band[0].tolist()),
            high=None if band is None else tuple(band[1].tolist()),
        )


def _interval(resampled: Floats) -> Interval:
    low, high = stats.percentile_interval(resampled)
    return float(low), float(high)


def _ranked(row: OverallRow, place: int) -> OverallRow:
    return OverallRow(**{**vars(row), "rank": place})


def _fits(case: CaseRuns, question: Question, problems: list[str]) -> bool:
    """Whether a case can take part at all."""
    baseline = question.baselines[case.name]
    if oversaturated(case):
        problems.append(f"{case.name} is oversaturated under any controller; it stands apart, outside the ranking.")
        return False
    if not baseline or len(case.runs) < 2:
        return False  # the rows say so
    if (case.values(baseline, question.metric) <= 0).any():
        problems.append(
            f"{case.name}: {question.metric} of the baseline {baseline} is not above 0, so nothing can be put in "
            "relation to it; the case is outside the overall ranking."
        )
        return False
    return True


def oversaturated(case: CaseRuns) -> bool:
    """Whether even fixed time cannot carry the demand, as the scenario's tags say."""
    return "oversaturated" in case.any.scenario.tags


def _of_one_suite(cases: Sequence[CaseRuns]) -> bool:
    """A suite may mix timings and variants of a scenario: that is its purpose."""
    suites = {
        run.suite and (run.suite.name, run.suite.version)
        for case in cases
        for by_seed in case.runs.values()
        for run in by_seed.values()
    }
    return len(suites) == 1 and None not in suites


def _agreeing(cases: list[CaseRuns], key: Callable[[CaseRuns], str], text: str, problems: list[str]) -> list[CaseRuns]:
    """Keep the cases that agree with most runs; the others stay outside the ranking."""
    groups: dict[str, list[CaseRuns]] = {}
    for case in cases:
        groups.setdefault(key(case), []).append(case)
    if len(groups) < 2:
        return cases
    best = max(groups, key=lambda name: sum(case.count for case in groups[name]))
    for name, members in groups.items():
        if name != best:
            problems.append(
                f"Outside the overall ranking: {', '.join(case.name for case in members)}, {text.format(name)}; the "
                f"ranking takes what is {text.format(best)}, of which there are more runs."
            )
    return groups[best]


def _one_of_each(cases: list[CaseRuns], problems: list[str]) -> list[CaseRuns]:
    """Of several cases with one scenario's name keep the one with most runs."""
    scenarios: dict[str, list[CaseRuns]] = {}
    for case in cases:
        scenarios.setdefault(case.any.scenario.name, []).append(case)
    kept: list[CaseRuns] = []
    for name, members in scenarios.items():
        best = max(members, key=lambda case: case.count)
        kept.append(best)
        others = ", ".join(_distinction(case) for case in members if case is not best)
        if others:
            problems.append(
                f"{name} was run in several ways: the overall ranking takes {_distinction(best)}, which has most runs, "
                f"and leaves out {others}."
            )
    return kept


def _complete(cases: list[CaseRuns], baselines: set[str], problems: list[str]) -> Chosen:
    """The cases that all controllers have; without any, whoever has fewest cases leaves."""
    names = list(dict.fromkeys(name for case in cases for name in case.runs))
    while len(names) > 1:
        common = [case for case in cases if set(names) <= set(case.runs)]
        if common:
            for case in cases:
                if case not in common:
                    missing = ", ".join(name for name in names if name not in case.runs)
                    problems.append(
                        f"{case.name} is outside the overall ranking, because it has no results of {missing}; compare "
                        "fewer controllers to have it in."
                    )
            return Chosen(tuple(common), tuple(names))
        fewest = min(names, key=lambda name: (name in baselines, sum(name in case.runs for case in cases)))
        names.remove(fewest)
        problems.append(f"{fewest} is outside the overall ranking, because no scenario has it beside all others.")
    return Chosen()


def _distinction(case: CaseRuns) -> str:
    """What tells two cases of one scenario apart for a reader."""
    scenario = case.any.scenario
    number = len(scenario.incidents)
    incidents = f", {number} incident{'s' * (number > 1)}" if number else ""
    demand = f", demand x {scenario.demand_scale:g}" if scenario.demand_scale != 1 else ""
    return f"{case.name} ({minutes_of(case):g} min{demand}{incidents})"


def minutes_of(case: CaseRuns) -> float:
    """Measured time of a case, min."""
    return run_minutes(case.any)
