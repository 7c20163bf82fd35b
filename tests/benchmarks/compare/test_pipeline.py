"""Comparisons: what is put together, what is left out and named, what may be said, and the command."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from benchmarks.cli.main import main
from benchmarks.compare import comparable as compare_sets
from benchmarks.compare.pipeline import BEST, CLASSICAL, CompareError, Comparison, ScenarioRow, compare
from benchmarks.results import run_result as results
from benchmarks.results.metrics import GridlockRule
from benchmarks.results.run_result import RunResult, ScenarioRecord, SuiteRecord
from controllers import registry
from tests.support.synthetic_results import make_result, make_scenario

#: Registered controllers that learn, ask a model or see the future; the others are classical.
NOT_CLASSICAL = {"lookahead", "language_model", "language_model_untuned", "phase_net", "reinforcement", "endpoint"}
DELAYS = {"fixed_time": 40.0, "greedy": 20.0, "slow": 60.0}


def make(controller: str, seed: int, delay_s: float, scenario: str = "cologne1", **changes: Any) -> RunResult:
    """A run with this very delay."""
    metrics = {"delay_s": delay_s, **changes.pop("metrics", {})}
    record = changes.pop("scenario_record", make_scenario(scenario))
    return make_result(controller, seed, scenario=record, metrics=metrics, **{"suite": None, **changes})


def sweep(
    delays: dict[str, float] = DELAYS, seeds: Sequence[int] = range(1, 6), scenario: str = "cologne1", **changes: Any
) -> list[RunResult]:
    """Controllers x seeds on one scenario; seeds add one second each, alike for all."""
    return [make(name, seed, base + seed, scenario, **changes) for name, base in delays.items() for seed in seeds]


def scenario(name: str, **changes: Any) -> ScenarioRecord:
    return make_scenario(name).model_copy(update=changes)


def row(made: Comparison, case: str, controller: str) -> ScenarioRow:
    return next(row for row in made.of(case) if row.controller == controller)


# --- figures -----------------------------------------------------------------------------------------------------


def test_rows_rank_by_the_mean_and_differences_are_paired() -> None:
    made = compare(sweep())
    assert [(r.rank, r.controller) for r in made.rows] == [(1, "greedy"), (2, "fixed_time"), (3, "slow")]
    greedy = row(made, "cologne1", "greedy")
    assert greedy.difference is not None
    assert greedy.difference.mean == pytest.approx(-20.0)
    assert greedy.difference.interval == pytest.approx((-20.0, -20.0))
    assert greedy.difference.relative == pytest.approx(-20 / 43)
    assert greedy.interval is not None
    assert greedy.interval[0] < 23.0 < greedy.interval[1]
    assert greedy.difference.p == pytest.approx(2 / 2**5)
    assert greedy.difference.p_holm == pytest.approx(4 / 2**5)  # two tests
    assert row(made, "cologne1", "fixed_time").verdict == "baseline"
    assert made.fewest_seeds == 7


def test_the_overall_score_is_the_interquartile_mean_of_relative_delays_by_hand() -> None:
    runs = [
        *(make("fixed_time", seed, 40.0, name) for name in ("cologne1", "cologne3") for seed in (1, 2)),
        make("greedy", 1, 10.0), make("greedy", 2, 20.0), make("greedy", 1, 24.0, "cologne3"),
        make("greedy", 2, 900.0, "cologne3"),
    ]  # fmt: skip
    made = compare(runs)
    greedy, fixed = made.overall
    assert (greedy.controller, fixed.controller) == ("greedy", "fixed_time")
    assert greedy.score == pytest.approx((0.5 + 0.6) / 2)  # of 0.25, 0.5, 0.6 and 22.5
    assert greedy.improvement == pytest.approx((1.0 + 0.5) / 2)
    assert (fixed.score, fixed.improvement, fixed.p) == (1.0, None, None)
    assert greedy.interval is None  # two seeds
    assert made.profiles[0].controller == "greedy"
    share = dict(zip(made.profiles[0].tau, made.profiles[0].share, strict=True))
    assert share[0.0] == 0.0
    assert made.profiles[0].share[-1] == pytest.approx(0.75)  # one run is beyond three times the baseline


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 5), st.integers(2, 3))
def test_with_equal_seeds_the_scores_are_rliables(seed: int, seeds: int, cases: int) -> None:
    rng = np.random.default_rng(seed)
    names = ["cologne1", "cologne3", "cologne8"][:cases]
    scores = rng.gamma(3.0, 0.3, (cases, 4 * seeds))  # a number of runs that 4 divides
    runs = [
        make(controller, k, value, name)
        for name, values in zip(names, scores, strict=True)
        for k, score in enumerate(values, start=1)
        for controller, value in (("fixed_time", 30.0), ("mine", 30.0 * score))
    ]
    made = compare(runs)
    mine = next(r for r in made.overall if r.controller == "mine")
    assert mine.score == pytest.approx(scipy_stats.trim_mean(scores, 0.25, axis=None))
    better = np.mean([(values < 1).mean() for values in scores])
    assert mine.improvement == pytest.approx(better)
    assert mine.interval is not None
    assert mine.interval[0] <= mine.score <= mine.interval[1]


def test_the_order_of_results_means_nothing() -> None:
    runs = [*sweep(), *sweep(scenario="cologne3")]
    made, again = compare(runs), compare(runs[::-1])
    assert [(r.controller, r.score, r.p) for r in again.overall] == [(r.controller, r.score, r.p) for r in made.overall]


def test_many_pairs_make_a_difference_significant_and_say_so() -> None:
    runs = [run for name in ("cologne1", "cologne3") for run in sweep(scenario=name)]
    made = compare(runs)
    assert [(r.controller, r.verdict) for r in made.overall] == [
        ("greedy", "better"), ("fixed_time", "baseline"), ("slow", "worse")
    ]  # fmt: skip
    assert made.overall[0].p_holm == pytest.approx(2 * 2 / 2**10)
    assert made.sentences[0].startswith("greedy ranks first over 2 scenarios: its delay is 0.5")
    assert any(
        text.startswith("Significantly better than fixed_time") and "greedy (−4" in text for text in made.sentences
    )
    assert (
        "By itself, no scenario has enough seeds: 5 of the 8 that could show a difference in 4 tests." in made.sentences
    )
    assert {r.verdict for r in made.rows} == {"baseline", "open"}


def test_enough_seeds_make_one_scenario_significant() -> None:
    made = compare(sweep(seeds=range(1, 9)))
    assert [r.verdict for r in made.rows] == ["better", "baseline", "worse"]
    assert any("greedy is significantly better than fixed_time (−" in text for text in made.sentences)


def test_noise_alone_is_no_difference() -> None:
    rng = np.random.default_rng(2)
    runs = [make(name, seed, float(rng.normal(40, 4))) for name in ("fixed_time", "a", "b") for seed in range(1, 11)]
    made = compare(runs)
    assert {r.verdict for r in made.overall} == {"baseline", "open"}
    told = next(text for text in made.sentences if text.startswith("Not significant against fixed_time on cologne1: "))
    assert told.endswith(": b is lower in 5 of 10 runs; a is lower in 5 of 10 runs.")


def test_a_metric_of_which_more_is_better_turns_everything_round() -> None:
    speeds = {"fixed_time": 5.0, "greedy": 8.0}
    runs = [
        make(name, seed, 30.0, metrics={"speed_mps": speed + 0.1 * seed})
        for name, speed in speeds.items()
        for seed in range(1, 9)
    ]
    made = compare(runs, metric="speed_mps")
    assert made.better == "higher"
    assert [r.controller for r in made.overall] == ["greedy", "fixed_time"]
    assert made.overall[0].score > 1
    assert made.overall[0].improvement == 1.0
    assert made.rows[0].verdict == made.overall[0].verdict == "better"
    assert made.profiles[0].share[0] == 1.0  # every run is at least as good as 0 times the baseline


def test_gridlock_is_judged_against_all_controllers_of_a_seed() -> None:
    completion = {("a", 1): 1.0, ("b", 1): 0.79, ("a", 2): 0.5, ("b", 2): 0.41}
    runs = [make(name, seed, 10.0, metrics={"completion": share}) for (name, seed), share in completion.items()]
    made = compare(runs)
    assert (row(made, "cologne1", "a").gridlock_rate, row(made, "cologne1", "b").gridlock_rate) == (0.0, 0.5)
    assert row(compare(runs, controllers=["b"]), "cologne1", "b").gridlock_rate == 0.5  # a stays the measure
    assert "Gridlocked runs: b 50 % on cologne1." in made.sentences
    strict = compare(runs, gridlock=GridlockRule(completion_share=0.9))
    assert row(strict, "cologne1", "b").gridlock_rate == 1.0
    standing = [make("a", seed, 10.0, metrics={"standing_queue_s": 450.0 * seed}) for seed in (1, 2)]
    assert compare(standing).rows[0].gridlock_rate == 0.5


def test_the_rule_of_a_suite_goes_with_its_results() -> None:
    suite = SuiteRecord(name="mine", version=1, gridlock=GridlockRule(0.1, 100.0))
    runs = [make("a", 1, 10.0, suite=suite, metrics={"standing_queue_s": 100.0})]
    made = compare(runs)
    assert (made.gridlock, made.rows[0].gridlock_rate) == (GridlockRule(0.1, 100.0), 1.0)
    other = make("a", 2, 10.0, suite=SuiteRecord(name="other", version=1))
    assert any("judge gridlock differently" in text for text in compare([*runs, other]).problems)


def test_best_is_the_best_classical_controller_of_each_scenario() -> None:
    runs = [
        *sweep({"greedy": 20.0, "sotl": 30.0, "lookahead": 10.0, "mine.py:Mine": 5.0}),
        *sweep({"greedy": 30.0, "sotl": 20.0, "lookahead": 10.0, "mine.py:Mine": 5.0}, scenario="cologne3"),
    ]
    made = compare(runs, BEST)
    assert [case.baseline for case in made.cases] == ["greedy", "sotl"]
    assert made.overall[0].controller == "mine.py:Mine"
    assert made.overall[0].verdict == "better"
    assert "best classical controller of each scenario" in made.sentences[0]
    with pytest.raises(CompareError, match="'best' needs a classical controller"):
        compare([make("lookahead", 1, 10.0)], BEST)


def test_every_registered_controller_is_classical_or_known_not_to_be() -> None:
    assert set(registry.names()) - NOT_CLASSICAL <= CLASSICAL
    assert not CLASSICAL & NOT_CLASSICAL


def test_networks_inside_one_another_weigh_as_one() -> None:
    names = ("cologne1", "ingolstadt1", "ingolstadt7", "ingolstadt21")
    made = compare([run for name in names for run in sweep(scenario=name)])
    assert [case.weight for case in made.cases] == pytest.approx([1.0, 1 / 3, 1 / 3, 1 / 3])
    assert any("weigh as one network" in note for note in made.notes)


def test_an_oversaturated_network_stands_apart() -> None:
    grid = scenario("arterial4x4", tags=("held_out", "oversaturated"))
    made = compare([*sweep(), *sweep(scenario_record=grid)])
    apart = made.cases[1]
    assert (apart.oversaturated, apart.in_overall, apart.weight) == (True, False, 0.0)
    assert made.of("arterial4x4")[0].controller == "greedy"
    assert made.overall[0].runs == 5
    assert any("oversaturated" in text for text in made.problems)


def crossing(controller: str, seed: int, completion: float, wait_s: float, **changes: Any) -> RunResult:
    """A run with persons at a crossing."""
    persons = {"scheduled": 40, "delay_s": 30.0, "completion": completion, "worst_wait_s": wait_s}
    metrics = {f"person_{key}": value for key, value in persons.items()}
    return make(controller, seed, DELAYS[controller], metrics=metrics, **changes)


@pytest.mark.parametrize(
    ("completion", "wait_s", "max_red_s", "starves"),
    [
        (0.2, 400.0, 120, True),
        (0.2, 100.0, 120, False),  # fewer arrive, but nobody waits beyond the maximum red
        (0.81, 400.0, 120, False),  # long waits, but within ten points of the network's own control
        (0.2, 250.0, 3600, False),  # timings without a maximum red worth the name: five minutes count
        (0.2, 301.0, 3600, True),
    ],
)
def test_who_starves_persons_is_marked_and_never_better(
    completion: float, wait_s: float, max_red_s: int, starves: bool
) -> None:
    timings = {**make_result().timings, "max_red_s": max_red_s}
    runs = [
        run
        for seed in range(1, 9)
        for run in (
            crossing("fixed_time", seed, 0.9, 200.0, timings=timings),
            crossing("greedy", seed, completion, wait_s, timings=timings),
        )
    ]
    made = compare(runs)
    greedy = row(made, "cologne1", "greedy")
    assert greedy.users["person"].completion == pytest.approx(completion)
    assert greedy.starves == made.overall[0].starves == (("person",) if starves else ())
    assert greedy.verdict == made.overall[0].verdict == ("starves" if starves else "better")
    assert any(text.startswith("greedy starves persons on cologne1: 20 % of 40 arrive") for text in made.sentences) == (
        starves
    )
    assert row(made, "cologne1", "fixed_time").starves == ()


def test_without_the_networks_own_control_the_most_that_arrived_are_the_measure() -> None:
    made = compare([crossing("greedy", 1, 0.7, 400.0), crossing("slow", 1, 0.95, 60.0)])
    assert row(made, "cologne1", "greedy").starves == ("person",)
    assert any("(95 % under slow)" in text for text in made.sentences)


def test_a_handful_of_road_users_is_not_judged() -> None:
    few = {"person_scheduled": 2, "person_delay_s": 300.0, "person_worst_wait_s": 400.0}
    shares = {"fixed_time": 1.0, "greedy": 0.5}
    runs = [make(name, 1, 30.0, metrics={**few, "person_completion": share}) for name, share in shares.items()]
    assert all(r.starves == () for r in compare(runs).rows)


def test_nothing_is_said_of_road_users_that_are_not_there() -> None:
    made = compare(sweep())
    assert all(r.users == {} for r in made.rows)
    assert not any("tarve" in text for text in (*made.sentences, *made.notes))


@pytest.mark.parametrize(
    ("suites", "baseline"),
    [
        ([None], "fixed_time"),
        (["slow"], "slow"),
        ([BEST], BEST),
        (["slow", None], "fixed_time"),  # not all results are of that suite
        (["lookahead"], "fixed_time"),  # which has no results here
    ],
)
def test_one_rule_says_what_the_others_are_compared_with(suites: list[str | None], baseline: str) -> None:
    runs = [
        run
        for place, name in zip(("cologne1", "cologne3"), suites, strict=False)
        for run in sweep(scenario=place, suite=name and SuiteRecord(name=name, version=1, baseline=name))
    ]
    assert compare(runs).baseline == baseline
    assert compare(runs[::-1]).baseline == baseline
    assert compare(runs, controllers=["slow", "greedy"] if not suites[0] else []).baseline in (baseline, "greedy")


# --- what does not fit together --------------------------------------------------------------------------------------


def test_missing_seeds_are_named_and_the_common_ones_compared() -> None:
    runs = [run for run in sweep() if (run.controller.name, run.seed) not in (("greedy", 2), ("slow", 4), ("slow", 5))]
    made = compare(runs)
    assert made.cases[0].seeds == (1, 3)
    assert {r.seeds for r in made.rows} == {2}
    assert made.problems == (
        "cologne1: seeds are missing (greedy lacks 2; slow lacks 4-5); compared on the seeds that all have: 1, 3.",
    )


def test_a_controller_without_common_seeds_is_left_out_but_never_the_baseline() -> None:
    runs = [*sweep({"fixed_time": 40.0}, seeds=[1]), *sweep({"greedy": 20.0}, seeds=[1, 2]), *sweep({"b": 9.0}, [7, 8])]
    made = compare(runs)
    assert made.cases[0].controllers == ("fixed_time", "greedy")
    assert any("left out b (seeds 7-8)" in text for text in made.problems)


def test_versions_of_sumo_are_kept_apart() -> None:
    old = {"greenloop": "0.1.0", "sumo": "1.27.0", "python": "3.11"}
    made = compare([*sweep(), *sweep({"old": 1.0}, versions=old)])
    assert made.cases[0].controllers == tuple(DELAYS)
    assert made.cases[0].versions == "greenloop 0.1.0 on SUMO 1.28.0"
    assert any("left out 5 runs of greenloop 0.1.0 on SUMO 1.27.0" in text for text in made.problems)
    elsewhere = compare([*sweep(), *sweep(scenario="cologne3"), *sweep(scenario="cologne8", versions=old)])
    assert [case.in_overall for case in elsewhere.cases] == [True, True, False]
    assert any(
        "Outside the overall ranking: cologne8, of greenloop 0.1.0 on SUMO 1.27.0" in t for t in elsewhere.problems
    )


def test_the_newest_version_of_a_suite_counts() -> None:
    first, second = (SuiteRecord(name="quick", version=version) for version in (1, 2))
    made = compare([*sweep({"old": 1.0}, suite=first), *sweep(suite=second), *sweep({"mine": 30.0})])
    assert made.cases[0].controllers == (*DELAYS, "mine")
    assert "Suite quick: left out 5 runs of version 1; version 2 is compared." in made.problems


def test_timings_are_compared_apart() -> None:
    resco = {**make_result().timings, "name": "resco", "yellow_s": 3}
    runs = [*sweep(), *sweep(scenario="cologne3"), *sweep(timings=resco)]
    made = compare(runs)
    assert [(case.name, case.in_overall) for case in made.cases] == [
        ("cologne1", True), ("cologne3", True), ("cologne1_resco", False)
    ]  # fmt: skip
    assert any("cologne1_resco, with resco timings; the ranking takes what is with native" in t for t in made.problems)
    assert "yellow 3 s" in made.cases[2].timings_text
    suite = SuiteRecord(name="robustness", version=1)
    together = compare([run.model_copy(update={"suite": suite}) for run in runs])
    assert all(case.in_overall for case in together.cases)  # a suite mixes them on purpose


def test_other_horizons_of_a_scenario_are_kept_apart() -> None:
    short = scenario("cologne1", sha256="c" * 64, end_s=26100.0)
    made = compare([*sweep(), *sweep(scenario_record=short, seeds=[1, 2, 3])])
    assert [case.in_overall for case in made.cases] == [True, False]
    assert made.cases[1].minutes == 15
    assert made.cases[1].name.startswith("cologne1_")
    assert any("was run in several ways" in text and "(15 min" in text for text in made.problems)


def test_unequal_sets_of_scenarios_are_named() -> None:
    made = compare([*sweep(), *sweep({"fixed_time": 40.0, "greedy": 20.0}, scenario="cologne3")])
    assert [case.in_overall for case in made.cases] == [True, False]
    assert any("cologne3 is outside the overall ranking, because it has no results of slow" in t for t in made.problems)
    fewer = compare([*sweep(), *sweep({"fixed_time": 40.0}, scenario="cologne3")], controllers=["greedy", "slow"])
    assert fewer.baseline == "greedy"
    assert [case.name for case in fewer.cases] == ["cologne1"]


def test_a_case_without_the_baseline_is_shown_but_not_compared() -> None:
    made = compare([*sweep(), *sweep({"greedy": 1.0, "slow": 2.0}, scenario="cologne3")])
    assert made.cases[1].baseline == ""
    assert all(r.difference is None for r in made.of("cologne3"))
    assert any("cologne3 has no results of the baseline fixed_time" in text for text in made.problems)


def test_one_name_for_two_controllers_is_found() -> None:
    def model(seed: int, delay_s: float, sha: str, day: int) -> RunResult:
        run = make("model", seed, delay_s, created_utc=f"2026-01-0{day}T00:00:00+00:00")
        return run.model_copy(update={"controller": run.controller.model_copy(update={"loaded": {"adapter": sha}})})

    old = [model(seed, 30.0, "aaa", 1) for seed in (1, 2, 3)]
    new = [model(seed, 20.0, "bbb", 2) for seed in (3, 4)]
    made = compare([*sweep({"fixed_time": 40.0}), *old, *new])
    assert made.cases[0].seeds == (3, 4)
    assert row(made, "cologne1", "model").mean == 20.0
    assert any("model stands for different controllers (adapter is bbb or aaa)" in text for text in made.problems)


def test_repeated_cells_count_once_and_disagreement_is_told() -> None:
    again = make("greedy", 1, 99.0, created_utc="2026-02-01T00:00:00+00:00")
    made = compare([*sweep(), again])
    assert row(made, "cologne1", "greedy").mean == pytest.approx((99 + 22 + 23 + 24 + 25) / 5)
    assert any("disagree (delay 21.00 to 99.00 s)" in text for text in made.problems)
    assert "Left out 1 older result of cells that were run again." in made.problems


def test_latencies_of_several_machines_are_not_averaged() -> None:
    other = {"cpu": "another processor", "cores": 64, "platform": "Linux"}
    runs = [
        *sweep({"fixed_time": 40.0}),
        *sweep({"greedy": 20.0}, [1, 2]),
        *sweep({"greedy": 20.0}, [3], machine=other),
    ]
    made = compare(runs)
    assert row(made, "cologne1", "greedy").decision_latency_p50_ms is None
    assert row(made, "cologne1", "fixed_time").decision_latency_p50_ms == pytest.approx(0.2)
    assert any("several machines" in text and "another processor, 64 cores (greedy)" in text for text in made.problems)


def test_a_baseline_of_nothing_is_no_measure() -> None:
    made = compare(sweep(metrics={"teleports": 0.0}), metric="teleports")
    assert made.overall == ()
    assert any("not above 0" in text for text in made.problems)
    assert "There is no ranking over all scenarios; the problems say why." in made.sentences


def test_runs_without_a_value_count_as_missing() -> None:
    runs = [*sweep(metrics={"emergency_delay_s": 5.0}), *sweep(scenario="cologne3")]  # NaN there
    made = compare(runs, metric="emergency_delay_s")
    assert [case.name for case in made.cases] == ["cologne1"]
    assert any("cologne3: greedy has no emergency_delay_s" in text for text in made.problems)
    with pytest.raises(CompareError, match=r"^None of the runs asked for has a value of emergency_delay_s; choose"):
        compare(runs, metric="emergency_delay_s", scenarios=("cologne3",))


@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_few_seeds_give_figures_but_no_claim(seeds: list[int]) -> None:
    made = compare(sweep(seeds=seeds))
    assert all(r.interval is None for r in made.rows)
    assert {r.verdict for r in (*made.rows, *made.overall)} == {"baseline", "open"}
    assert any("With one seed no scenario can be tested" in text for text in made.sentences) == (len(seeds) == 1)
    runs = "1 run" if len(seeds) == 1 else "2 runs"
    count = len(seeds)
    assert (
        f"Compared with fixed_time on cologne1, greedy is lower in {count} of {runs}; slow is higher in {count} of "
        f"{runs}; 7 could show it."
    ) in made.sentences
    assert not any("no difference" in text.lower() for text in made.sentences)


def test_one_controller_is_told() -> None:
    made = compare(sweep({"greedy": 20.0}))
    assert made.sentences[0] == "There is only one controller, greedy, so there is nothing to compare it with."
    assert made.rows[0].mean == pytest.approx(23.0)


NAMES = st.sampled_from(["fixed_time", "greedy", "sotl", "mine.py:Mine"])
RUN = st.tuples(NAMES, st.integers(1, 4), st.sampled_from(["cologne1", "cologne3"]), st.sampled_from(["1.27", "1.28"]))


@settings(max_examples=40, deadline=None)
@given(st.lists(RUN, min_size=1, max_size=25), st.sampled_from([None, BEST]), st.floats(0, 1e4))
def test_any_ragged_set_compares_pairs_only(
    cells: list[tuple[str, int, str, str]], baseline: str | None, top: float
) -> None:
    runs = [
        make(name, seed, (top * seed) % 97.0, place, versions={"greenloop": "0.1.0", "sumo": sumo})
        for name, seed, place, sumo in cells
    ]
    if baseline == BEST and all(run.controller.name not in CLASSICAL for run in runs):
        baseline = None
    made = compare(runs, baseline)
    for case in made.cases:
        assert {r.seeds for r in made.of(case.name)} <= {len(case.seeds)}
        assert [r.rank for r in made.of(case.name)] == list(range(1, len(case.controllers) + 1))
    assert {r.runs for r in made.overall} <= {sum(len(c.seeds) for c in made.cases if c.in_overall)}
    assert all(math.isfinite(r.score) for r in made.overall)
    json.dumps(made.as_dict(), allow_nan=False)


# --- folders and the command -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for run in sweep():
        results.write(run, tmp_path / "r" / f"{run.controller.name}{run.seed}{results.RESULT_SUFFIX}")
    return tmp_path / "r"


def test_folders_are_read_once_and_failures_are_named(folder: Path) -> None:
    (folder / f"a{results.RESULT_SUFFIX}").write_text('{"schema_version": 1, "seed"')
    (folder / f"b{results.FAILED_SUFFIX}").write_text(
        json.dumps({"scenario": "cologne1", "controller": "mine", "seed": 3, "problem": "It hung."})
    )
    made = compare([folder, folder / f"greedy1{results.RESULT_SUFFIX}"])
    assert made.rows == compare(sweep()).rows
    assert any("is truncated or no JSON" in text for text in made.problems)
    assert "Failed and missing: cologne1, mine, seed 3: It hung." in made.problems
    assert not any("run again" in text and "older" in text for text in made.problems)


BAD: dict[str, tuple[list[str], str]] = {
    "missing folder": (["{f}/none"], "none does not exist"),
    "empty folder": (["{f}/empty"], r"empty holds no results \(\*\.result\.json\); give the folder"),
    "foreign JSON": (["{f}/foreign"], r"\(there is package\.json, which is none\)"),
    "foreign result": (["{f}/foreign/x.result.json"], "is not a greenloop result: it has no schema_version"),
    "another schema": (["{f}/newer"], "has schema version 99, this greenloop reads 1"),
    "unknown baseline": (
        ["{f}/r", "--baseline", "gredy"],
        "The baseline 'gredy' has no results; did you mean 'greedy'",
    ),
    "far baseline": (["{f}/r", "--baseline", "zzz"], "choose one of fixed_time, greedy, slow, best"),
    "unknown metric": (["{f}/r", "--metric", "delay"], "no metric 'delay' in these results; did you mean 'delay_s'"),
    "unknown controller": (
        ["{f}/r", "--controller", "sloww"],
        "The controller 'sloww' has no results; did you mean 'slow'",
    ),
    "unknown scenario": (["{f}/r", "--scenario", "cologne2"], "did you mean 'cologne1'"),
    "two forms": (["{f}/r", "--json", "--csv"], "either --json or --csv"),
}


@pytest.mark.parametrize("case", BAD, ids=list(BAD))
def test_bad_input_is_one_sentence(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    top = folder.parent
    for name in ("empty", "foreign", "newer"):
        (top / name).mkdir()
    (top / "foreign" / "package.json").write_text('{"name": "x"}')
    (top / "newer" / "x.result.json").write_text('{"schema_version": 99}')
    arguments, says = BAD[case]
    if case == "foreign result":
        (top / "foreign" / "x.result.json").write_text('{"name": "x"}')
    with pytest.raises(SystemExit) as caught:
        main(["compare", *(argument.format(f=top) for argument in arguments)])
    told = capsys.readouterr()
    assert caught.value.code == 2
    assert told.out == ""
    assert told.err.startswith("greenloop: ")
    assert told.err.count("\n") == 1
    assert says.replace("\\", "") in told.err


def run_command(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["compare", *arguments])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_the_command_prints_a_ranked_table_and_sentences(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run_command(capsys, str(folder), "--baseline", "greedy")
    assert out.index(" 1  greedy") < out.index(" 2  fixed_time") < out.index(" 3  slow")
    assert re.search(r"% against\s+greedy", " ".join(re.findall(r"% against|greedy", out)))
    assert "higher in 5 of 5 runs" in out
    assert max(map(len, out[out.index(" #") : out.index("greedy ranks")].splitlines())) <= 80
    assert "greedy ranks first on cologne1: it is the baseline itself." in out
    assert "permutation test" not in out
    wide = run_command(capsys, str(folder), "--wide", "--explain")
    assert "permutation test" in wide
    assert "seeds for 5 %" in wide


def test_json_and_csv_hold_the_same_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(run_command(capsys, str(folder), "--json"))
    lines = list(csv.DictReader(io.StringIO(run_command(capsys, str(folder), "--csv"))))
    assert [line["controller"] for line in lines if line["case"] == "cologne1"] == ["greedy", "fixed_time", "slow"]
    assert float(lines[0]["mean"]) == answer["rows"][0]["mean"] == 23.0
    assert float(lines[0]["difference_interval_low"]) == answer["rows"][0]["difference"]["interval"][0]
    assert [line["controller"] for line in lines if line["case"] == "overall"] == ["greedy", "fixed_time", "slow"]
    assert "difference" not in lines[0]


def test_ranges_of_seeds_are_short() -> None:
    assert compare_sets.listed([1, 2, 3, 5, 8, 9]) == "1-3, 5, 8-9"
