"""Which results may be compared: the common part is chosen, and everything left out is named in a sentence.

Runs share a case when scenario, incidents, horizon and timings are the same to the letter (``groups.case_key``). Within
a case, all runs are of one greenloop and one SUMO, a controller's name stands for one controller, and every controller
has every seed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from benchmarks.compare.statistics import Floats
from benchmarks.results.cases import CaseKey, case_key, case_names
from benchmarks.results.metrics import GRIDLOCK, GridlockRule
from benchmarks.results.run_result import RunResult

T = TypeVar("T")


@dataclass
class CaseRuns:
    """The runs of one case: controller -> seed -> run; all controllers have the same seeds once they are chosen."""

    name: str
    runs: dict[str, dict[int, RunResult]] = field(default_factory=dict)

    @property
    def any(self) -> RunResult:
        """One of the runs, for what they share."""
        return next(run for by_seed in self.runs.values() for run in by_seed.values())

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that every controller has."""
        return tuple(sorted(set.intersection(*(set(by_seed) for by_seed in self.runs.values()))))

    @property
    def count(self) -> int:
        """Number of runs."""
        return sum(map(len, self.runs.values()))

    def of(self, controller: str) -> list[RunResult]:
        """A controller's runs in the order of ``seeds``."""
        return [self.runs[controller][seed] for seed in self.seeds]

    def values(self, controller: str, metric: str) -> Floats:
        """(seeds,) a metric of a controller."""
        return np.array([value_of(run, metric) for run in self.of(controller)], np.float64)


def value_of(run: RunResult, metric: str) -> float:
    """A metric or wall time of a run; NaN when it has none."""
    return float(run.metrics.get(metric, run.wall.get(metric, np.nan)))


def judge_gridlock(runs: Iterable[RunResult], rule: GridlockRule) -> set[int]:
    """The ``id`` of every gridlocked run, judged against the best completion on the same case and seed."""
    best: dict[tuple[CaseKey, int], float] = {}
    runs = list(runs)
    for run in runs:
        cell = case_key(run), run.seed
        best[cell] = max(best.get(cell, 0.0), value_of(run, "completion"))
    return {
        id(run)
        for run in runs
        if value_of(run, "completion") < rule.completion_share * best[case_key(run), run.seed]
        or value_of(run, "standing_queue_s") >= rule.standing_s
    }


def choose_rule(runs: Sequence[RunResult], problems: list[str]) -> GridlockRule:
    """The rule of the suites that the runs belong to, or the usual one where they disagree."""
    rules = list(dict.fromkeys(run.suite.gridlock for run in runs if run.suite))
    if len(rules) > 1:
        problems.append("The suites of these results judge gridlock differently; the usual rule is used for all.")
    return rules[0] if len(rules) == 1 else GRIDLOCK


def alike(runs: Sequence[RunResult], problems: list[str]) -> list[RunResult]:
    """Runs that may stand together: one version of each suite, greenloop and SUMO by case, one make of a controller."""
    names = case_names(runs)
    kept = list(runs)
    kept = _newest_suites(kept, problems)
    kept = _one_version(kept, names, problems)
    kept = _one_make(kept, problems)
    return _without_repeats(kept, names, problems)


def common_cases(
    runs: Sequence[RunResult], names: dict[CaseKey, str], metric: str, baseline: str, problems: list[str]
) -> list[CaseRuns]:
    """Cases whose controllers all have all seeds; runs without a value of the metric count as missing."""
    cases: dict[str, CaseRuns] = {}
    for run in runs:
        case = cases.setdefault(names[case_key(run)], CaseRuns(names[case_key(run)]))
        case.runs.setdefault(run.controller.name, {})[run.seed] = run
    for case in cases.values():
        _drop_without_value(case, metric, problems)
        _keep_common_seeds(case, baseline, problems)
    return [case for case in cases.values() if case.runs]


def _newest_suites(runs: list[RunResult], problems: list[str]) -> list[RunResult]:
    newest: dict[str, int] = {}
    for run in runs:
        if run.suite:
            newest[run.suite.name] = max(newest.get(run.suite.name, 0), run.suite.version)
    old = [run for run in runs if run.suite and run.suite.version < newest[run.suite.name]]
    for name, members in _grouped(old, lambda run: run.suite.name if run.suite else "").items():
        versions = listed(sorted({run.suite.version for run in members if run.suite}))
        problems.append(
            f"Suite {name}: left out {counted(members)} of version {versions}; version {newest[name]} is compared."
        )
    return [run for run in runs if not run.suite or run.suite.version == newest[run.suite.name]]


def _one_make(runs: list[RunResult], problems: list[str]) -> list[RunResult]:
    """Of each controller keep the runs with the parameters and files of its newest one."""
    kept: list[RunResult] = []
    for name, members in _grouped(runs, lambda run: run.controller.name).items():
        newest = max(members, key=lambda run: run.created_utc)
        same = [run for run in members if _make(run) == _make(newest)]
        if len(same) < len(members):
            problems.append(
                f"{name} stands for different controllers ({_difference(members, newest)}); kept those like the newest "
                f"and left out {len(members) - len(same)} of {len(members)} runs."
            )
        kept += same
    order = {id(run): place for place, run in enumerate(runs)}
    return sorted(kept, key=lambda run: order[id(run)])


def _make(run: RunResult) -> str:
    return json.dumps([run.controller.params, run.controller.loaded], sort_keys=True)


def _difference(members: Sequence[RunResult], newest: RunResult) -> str:
    """Which parameter or file differs, with its values."""
    now = {**newest.controller.params, **newest.controller.loaded}
    for run in members:
        then = {**run.controller.params, **run.controller.loaded}
        for key in {**now, **then}:
            if now.get(key) != then.get(key):
                return f"{key} is {_short(now.get(key))} or {_short(then.get(key))}"
    return "their parameters differ"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 16 else f"{text[:12]}..."


def versions_of(run: RunResult) -> str:
    """Versions of greenloop and SUMO in words."""
    return f"greenloop {run.versions.get('greenloop', '?')} on SUMO {run.versions.get('sumo', '?')}"


def _one_version(runs: list[RunResult], names: dict[CaseKey, str], problems: list[str]) -> list[RunResult]:
    """By case, keep the versions under which most controllers ran, then most runs, then the newest."""
    kept: list[RunResult] = []
    for key, members in _grouped(runs, case_key).items():
        groups = _grouped(members, versions_of)
        best = max(groups, key=lambda name: _worth(groups[name]))
        kept += groups[best]
        for name in groups:
            if name != best:
                problems.append(
                    f"{names[key]}: left out {counted(groups[name])} of {name}, because the other {len(groups[best])} "
                    f"are of {best} and figures of different versions must not be compared."
                )
    return kept


def _worth(runs: Sequence[RunResult]) -> tuple[int, int, str]:
    return len({run.controller.name for run in runs}), len(runs), max(run.created_utc for run in runs)


def _without_repeats(runs: list[RunResult], names: dict[CaseKey, str], problems: list[str]) -> list[RunResult]:
    kept: list[RunResult] = []
    repeated = 0
    for (key, controller, seed), members in _grouped(
        runs, lambda run: (case_key(run), run.controller.name, run.seed)
    ).items():
        kept.append(max(members, key=lambda run: run.created_utc))
        repeated += len(members) - 1
        delays = [value_of(run, "delay_s") for run in members]
        if members[0].controller.deterministic and np.ptp(delays) > 0:
            problems.append(
                f"{names[key]}, {controller}, seed {seed}: {len(members)} results of one cell disagree (delay "
                f"{min(delays):.2f} to {max(delays):.2f} s), although this controller is deterministic; one of them is "
                "of changed code or was edited. The newest is used."
            )
    if repeated:
        problems.append(f"Left out {repeated} older result{'s' * (repeated > 1)} of cells that were run again.")
    return kept


def _drop_without_value(case: CaseRuns, metric: str, problems: list[str]) -> None:
    for name in list(case.runs):
        good = {seed: run for seed, run in case.runs[name].items() if np.isfinite(value_of(run, metric))}
        if len(good) < len(case.runs[name]):
            missing = listed(sorted(set(case.runs[name]) - set(good)))
            problems.append(f"{case.name}: {name} has no {metric} in its runs of seed {missing}.")
        case.runs[name] = good
        if not good:
            del case.runs[name]


def _keep_common_seeds(case: CaseRuns, baseline: str, problems: list[str]) -> None:
    """Leave out who shares seeds with fewest others until some seeds are common to all, then compare on these."""

    def company(name: str) -> tuple[bool, int, int]:
        own = set(case.runs[name])
        return name == baseline, sum(bool(own & set(other)) for other in case.runs.values()), len(own)

    while len(case.runs) > 1 and not case.seeds:
        fewest = min(case.runs, key=company)
        seeds = listed(sorted(case.runs.pop(fewest)))
        problems.append(f"{case.name}: left out {fewest} (seeds {seeds}), which shares no seed with all others.")
    if not case.runs:
        return
    common, every = set(case.seeds), {seed for by_seed in case.runs.values() for seed in by_seed}
    if common == every:
        return
    lacks = {name: listed(sorted(every - set(own))) for name, own in case.runs.items()}
    lacking = [f"{name} lacks {seeds}" for name, seeds in lacks.items() if seeds]
    problems.append(
        f"{case.name}: seeds are missing ({'; '.join(lacking)}); compared on the seeds that all have: "
        f"{listed(sorted(common))}."
    )
    case.runs = {name: {seed: own[seed] for seed in sorted(common)} for name, own in case.runs.items()}


def _grouped(items: Iterable[RunResult], key: Callable[[RunResult], T]) -> dict[T, list[RunResult]]:
    groups: dict[T, list[RunResult]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def counted(runs: Sequence[Hashable | RunResult]) -> str:
    """``1 run``, ``3 runs``."""
    return f"{len(runs)} run{'' if len(runs) == 1 else 's'}"


def listed(numbers: Sequence[int]) -> str:
    """Whole numbers with ranges: ``1-3, 7``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
