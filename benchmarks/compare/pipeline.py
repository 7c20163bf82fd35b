"""Which controller is better, over any set of results: the one way from results to a statement.

results -> what may stand together (``compare_sets``) -> rows by case (``compare_rows``) -> one ranking over cases
(``compare_overall``) -> sentences (``compare_words``). ``greenloop run``, ``greenloop compare`` and the report all
print what comes out of here.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from pathlib import Path

from benchmarks.compare import comparable as compare_sets
from benchmarks.compare import overall as compare_overall
from benchmarks.compare import reading as compare_read
from benchmarks.compare import rows as compare_rows
from benchmarks.compare import sentences as compare_words
from benchmarks.compare import statistics as stats
from benchmarks.compare.comparable import CaseRuns
from benchmarks.compare.comparison import BEST, Case, Comparison, OverallRow, Paired, Profile, ScenarioRow
from benchmarks.compare.overall import Chosen, Question
from benchmarks.compare.reading import CompareError
from benchmarks.results.cases import case_names
from benchmarks.results.metrics import GridlockRule
from benchmarks.results.run_result import RunResult

__all__ = ["BEST", "Case", "CompareError", "Comparison", "OverallRow", "Paired", "Profile", "ScenarioRow", "compare"]

#: Metrics of which more is better; of all others, less is.
MORE_IS_BETTER = frozenset(
    {"completion", "throughput_veh_h", "arrived_veh", "inserted_veh", "speed_mps", "fairness_jain", "real_time_factor"}
)

#: What the baseline "best" is chosen from: no training, no look into the future, nobody's own file.
CLASSICAL = frozenset(
    {
        "fixed_time", "webster", "green_wave", "actuated", "delay_based", "greedy", "holding", "longest_queue",
        "max_pressure", "max_pressure_normalised", "sotl", "random_phase",
    }
)  # fmt: skip


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
        baseline: a controller, or "best" for the best classical one of each case; fixed time when missing.
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
    chosen_baseline = _baseline(baseline, [name for name in known if not controllers or name in controllers])
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
    )
    return compare_words.told(made, cases)


def is_classical(name: str) -> bool:
    """Whether a controller is one of those that come with greenloop, learn nothing and see no future."""
    return name.partition(":")[0] in CLASSICAL


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
        timings_text=compare_words.timings_words(case.any.timings),
    )


def _baseline(asked: str | None, known: Sequence[str]) -> str:
    """The controller that others are compared with: the one asked for, fixed time, or the first."""
    if asked is None:
        return "fixed_time" if "fixed_time" in known else known[0]
    if asked == BEST:
        if not any(is_classical(name) for name in known):
            raise CompareError(f"The baseline 'best' needs a classical controller; there are {', '.join(known)}.")
    else:
        _check_named("baseline", [asked], [*known, BEST])
    return asked


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
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"choose one of {', '.join(known)}."
