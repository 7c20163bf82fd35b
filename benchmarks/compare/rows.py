"""The rows of a comparison: each controller on each case, its paired difference to the baseline and what it proves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.compare import starving
from benchmarks.compare import statistics as stats
from benchmarks.compare.comparable import CaseRuns, value_of
from benchmarks.compare.comparison import Paired, ScenarioRow
from benchmarks.compare.overall import Question, verdict
from benchmarks.compare.statistics import Floats
from benchmarks.results.run_result import RunResult


def rows_of(cases: Sequence[CaseRuns], question: Question, gridlocked: set[int]) -> list[ScenarioRow]:
    """All rows, ranked within each case; the tests of all rows are one family for Holm's correction."""
    rows: list[ScenarioRow] = []
    for case in cases:
        means = {name: float(case.values(name, question.metric).mean()) for name in case.runs}
        order = sorted(means, key=lambda name: question.sign * means[name])
        users = starving.users_of(case)
        rows += [
            replace(_row(case, place, name, question, gridlocked), users=users[name])
            for place, name in enumerate(order, start=1)
        ]
    corrected = stats.holm([row.difference.p if row.difference else None for row in rows])
    return starving.marked([_judged(row, p_holm, question.sign) for row, p_holm in zip(rows, corrected, strict=True)])


def paired(values: Floats, baseline: Floats) -> Paired:
    """Differences of two arrays over the same seeds."""
    differences = values - baseline
    base = float(baseline.mean())
    return Paired(
        seeds=len(differences),
        mean=float(differences.mean()),
        interval=stats.bootstrap_interval(differences.tolist()),
        median=float(np.median(differences)),
        relative=float(differences.mean()) / base if base else math.nan,
        seeds_needed=stats.seeds_needed(differences.tolist(), 0.05 * abs(base)),
        p=stats.paired_p(differences.tolist()),
        lower=int((differences < 0).sum()),
        higher=int((differences > 0).sum()),
    )


def machine_of(run: RunResult) -> str:
    """The machine in words."""
    return f"{run.machine.get('cpu', '?')}, {run.machine.get('cores', '?')} cores"


def _row(case: CaseRuns, place: int, name: str, question: Question, gridlocked: set[int]) -> ScenarioRow:
    runs, values, baseline = case.of(name), case.values(name, question.metric), question.baselines[case.name]
    compared = bool(baseline) and name != baseline
    return ScenarioRow(
        case=case.name,
        rank=place,
        controller=name,
        seeds=len(runs),
        mean=float(values.mean()),
        interval=stats.bootstrap_interval(values.tolist()),
        median=float(np.median(values)),
        difference=paired(values, case.values(baseline, question.metric)) if compared else None,
        verdict="baseline" if name == baseline else "open",
        completion=float(np.mean([value_of(run, "completion") for run in runs])),
        gridlock_rate=float(np.mean([id(run) in gridlocked for run in runs])),
        decision_latency_p50_ms=_latency(runs, "decision_latency_p50_ms", 0.5),
        decision_latency_p95_ms=_latency(runs, "decision_latency_p95_ms", 1.0),
    )


def _latency(runs: Sequence[RunResult], key: str, share: float) -> float | None:
    """Median (or largest) over the runs, which must be of one machine."""
    values = [value_of(run, key) for run in runs]
    if len({machine_of(run) for run in runs}) > 1 or not np.isfinite(values).all():
        return None
    return float(np.quantile(values, share))


def _judged(row: ScenarioRow, p_holm: float | None, sign: int) -> ScenarioRow:
    if row.difference is None:
        return row
    difference = replace(row.difference, p_holm=p_holm)
    return replace(row, difference=difference, verdict=verdict(p_holm, difference.mean, sign))
