"""Which controller is better, over any set of results: the one way from results to a statement.

results -> what may stand together (``compare_sets``) -> rows by case (``compare_rows``) -> one ranking over cases
(``compare_overall``) -> sentences (``compare_words``). ``greenloop run``, ``greenloop compare`` and the report all
print what comes out of here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from benchmarks.compare import comparable as compare_sets
from benchmarks.compare import overall as compare_overall
from benchmarks.compare import reading as compare_read
from benchmarks.compare import rows as compare_rows
from benchmarks.compare import sentences as compare_words
from benchmarks.compare import starving
from benchmarks.compare import statistics as stats
from benchmarks.compare.classical import CLASSICAL, is_classical
from benchmarks.compare.comparable import CaseRuns
from benchmarks.compare.comparison import BEST, Case, Comparison, OverallRow, Paired, Profile, ScenarioRow
from benchmarks.compare.overall import Chosen, Question
from benchmarks.compare.reading import CompareError
from benchmarks.results.cases import case_names, has_incidents
from benchmarks.results.metrics import GridlockRule
from benchmarks.results.run_result import RunResult
from scenarios.common.names import close_names

__all__ = [
    "BEST",
    "CLASSICAL",
    "Case",
    "CompareError",
    "Comparison",
    "OverallRow",
    "Paired",
    "Profile",
    "ScenarioRow",
    "compare",
    "is_classical",
]

#: Metrics of which more is better; of all others, less is.
MORE_IS_BETTER = frozenset(
    {"completion", "throughput_veh_h", "arrived_veh", "inserted_veh", "speed_mps", "fairness_jain", "real_time_factor"}
)


def compare(
    results: str | Path | Sequence[str | Path] | Sequence[RunResult],
    baseline: str | None = None,
    metric: str = "delay_s",
    *,
    controllers: Sequence[str] = (),
    scenarios: Sequence[str] = (),
    gridlock: GridlockRule | None = None,
) -> Comparison:
    """Compare the controllers of some results.

    Args:
        results: folders of results, or results that were read.
        baseline: a controller, or "best" for the best classical one of each case. When missing: that of the suite
            that all these results belong to, else fixed time, else the first controller by name.
        metric: key of ``RunResult.metrics``, such as ``delay_s`` or ``travel_time_s``.
        controllers: compare only these; all when empty.
        scenarios: compare only these; all when empty.
        gridlock: rule for gridlocked runs; the one of the results' suite when missing.

    Raises:
        CompareError: there is nothing to compare, no run has a value of the metric, or the baseline, the metric or a
            filter fits no result.
        ResultError: a folder cannot be read.
    """
    found, problems = compare_read.runs_of(results)
    names = case_names(found)
    known = list(dict.fromkeys(run.controller.name for run in found))
    _check_metric(metric, found)
    _check_named("controller", controllers, known)
    _check_named("scenario", scenarios, {run.scenario.name for run in found})
    chosen_baseline = _baseline(
        baseline, [run for run in found if not controllers or run.controller.name in controllers]
    )
    rule = gridlock or compare_sets.choose_rule(found, problems)

    runs = [run for run in found if not scenarios or run.scenario.name in scenarios]
    runs = compare_sets.alike(runs, problems)
    gridlocked = compare_sets.judge_gridlock(runs, rule)
    runs = [run for run in runs if not controllers or run.controller.name in controllers]
    cases = compare_sets.common_cases(runs, names, metric, chosen_baseline, problems)
    if not cases:
        raise CompareError(f"None of the runs asked for has a value of {metric}; choose another metric or other runs.")
    sign = -1 if metric in MORE_IS_BETTER else 1
    baselines = {case.name: _baseline_of(case, chosen_baseline, metric, sign, problems) for case in cases}
    question = Question(metric, sign, baselines)
    chosen = compare_overall.choose(cases, question, problems)
    overall, profiles = compare_overall.rank(chosen, question, gridlocked)
    rows = compare_rows.rows_of(cases, question, gridlocked)
    overall = starving.marked_overall(overall, rows, {case.name for case in chosen.cases})
    tests = sum(row.difference is not None and row.difference.p is not None for row in rows)
    made = Comparison(
        metric=metric,
        better="higher" if sign < 0 else "lower",
        baseline=chosen_baseline,
        sentences=(),
        problems=tuple(dict.fromkeys([*problems, *compare_words.machines(cases)])),
        notes=(),
        cases=tuple(_case(case, question, chosen) for case in cases),
        overall=tuple(overall),
        rows=tuple(rows),
        profiles=tuple(profiles),
        gridlock=rule,
        fewest_seeds=stats.seeds_for_significance(tests) if tests else 0,
        fewest_runs=stats.seeds_for_significance(max(sum(row.verdict != "baseline" for row in overall), 1)),
    )
    return compare_words.told(made, cases)


def _case(case: CaseRuns, question: Question, chosen: Chosen) -> Case:
    inside = [other.name for other in chosen.cases]
    weights = dict(zip(inside, compare_overall.weights_of(chosen.cases), strict=True))
    return Case(
        name=case.name,
        scenario=case.any.scenario.name,
        timings=str(case.any.timings["name"]),
        minutes=compare_overall.minutes_of(case),
        seeds=case.seeds,
        controllers=tuple(case.runs),
        baseline=question.baselines[case.name],
        versions=compare_sets.versions_of(case.any),
        oversaturated=compare_overall.oversaturated(case),
        in_overall=case.name in inside,
        weight=weights.get(case.name, 0.0),
        timings_text=compare_words.timings_words(case.any.timings) + compare_words.yellow_words(case),
        native_control=compare_words.control_words(case),
        incidents=any(has_incidents(run) for by_seed in case.runs.values() for run in by_seed.values()),
    )


def has_baseline(name: str, runs: Sequence[RunResult]) -> bool:
    """Whether these runs can be compared with a controller, or with the best classical one."""
    known = {run.controller.name for run in runs}
    return any(is_classical(other) for other in known) if name == BEST else name in known


def _baseline(asked: str | None, runs: Sequence[RunResult]) -> str:
    """The controller that others are compared with; the one rule for run, compare, report and figures."""
    known = list(dict.fromkeys(run.controller.name for run in runs))
    if asked is not None:
        if asked != BEST:
            _check_named("baseline", [asked], [*known, BEST])
        elif not has_baseline(BEST, runs):
            raise CompareError(f"The baseline 'best' needs a classical controller; there are {', '.join(known)}.")
        return asked
    suites = {run.suite.baseline if run.suite else None for run in runs}
    of_suite = suites.pop() if len(suites) == 1 else None
    if of_suite is not None and has_baseline(of_suite, runs):
        return of_suite
    return "fixed_time" if "fixed_time" in known else min(known)


def _baseline_of(case: CaseRuns, baseline: str, metric: str, sign: int, problems: list[str]) -> str:
    """The baseline on one case, "" when it has no results there."""
    if baseline != BEST:
        if baseline not in case.runs:
            problems.append(f"{case.name} has no results of the baseline {baseline}, so nothing is compared there.")
        return baseline if baseline in case.runs else ""
    classical = [name for name in case.runs if is_classical(name)]
    if not classical:
        problems.append(f"{case.name} has no results of a classical controller, so nothing is compared there.")
        return ""
    return min(classical, key=lambda name: sign * float(case.values(name, metric).mean()))


def _check_metric(metric: str, runs: Sequence[RunResult]) -> None:
    known = dict.fromkeys(key for run in runs for key in (*run.metrics, *run.wall))
    if metric not in known:
        raise CompareError(f"There is no metric '{metric}' in these results; {_hint(metric, known)}")


def _check_named(what: str, asked: Sequence[str], known: Collection[str]) -> None:
    for name in asked:
        if name not in known:
            raise CompareError(f"The {what} '{name}' has no results; {_hint(name, known)}")


def _hint(name: str, known: Collection[str]) -> str:
    near = close_names(name, known, least_likeness=0.5)
    return f"did you mean '{near[0]}'?" if near else f"choose one of {', '.join(known)}."
