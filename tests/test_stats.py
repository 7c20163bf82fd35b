"""Statistics against scipy, hand cases and published tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from synthetic_results import make_result

from benchmarks import results, stats
from benchmarks.metrics import GridlockRule


def frame(*runs: tuple[str, int, float], **metrics: float) -> pd.DataFrame:
    """Runs as (controller, seed, delay) rows."""
    return pd.DataFrame(
        [results.flat(make_result(name, seed, metrics={"delay_s": delay, **metrics})) for name, seed, delay in runs]
    )


def test_the_interval_is_scipys_and_repeats() -> None:
    values = np.random.default_rng(5).gamma(2.0, 10.0, 12)
    expected = scipy_stats.bootstrap((values,), np.mean, method="BCa", rng=np.random.default_rng(0)).confidence_interval
    assert stats.bootstrap_interval(values.tolist()) == (expected.low, expected.high)
    assert stats.bootstrap_interval(values.tolist()) == stats.bootstrap_interval(values.tolist())


FEW: list[tuple[list[float], object]] = [([], None), ([3.0], None), ([1.0, 2.0], None), ([2.0, 2.0, 2.0], (2.0, 2.0))]


@pytest.mark.parametrize(("values", "expected"), FEW)
def test_few_or_equal_values_do_not_crash(values: list[float], expected: object) -> None:
    assert stats.bootstrap_interval(values) == expected


@pytest.mark.parametrize(("effect_size", "needed"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_seeds_needed_agree_with_the_published_table(effect_size: float, needed: int) -> None:
    """Paired two-sided t-test, alpha 5 %, power 80 %, as G*Power and Cohen's tables give it."""
    differences = np.array([-1.0, 1.0, -1.0, 1.0])
    assert stats.seeds_needed(differences.tolist(), effect_size * differences.std(ddof=1)) == needed


def test_seeds_needed_at_the_edges() -> None:
    assert stats.seeds_needed([1.0], 0.5) is None
    assert stats.seeds_needed([1.0, 1.0, 1.0], 0.5) == 2
    assert stats.seeds_needed([1.0, 2.0, 3.0], 0.0) is None
    assert stats.seeds_needed([1.0, 2.0], 0.5) is None
    assert stats.seeds_needed([-1e6, 0.0, 1e6], 0.1) == 100_000


def test_differences_are_paired_by_seed_by_hand() -> None:
    mine = pd.Series([10.0, 30.0, 12.0], index=[1, 2, 3])
    theirs = pd.Series([40.0, 20.0, 14.0], index=[2, 1, 4])
    found = stats.paired(mine, theirs)  # seed 1: 10 - 20, seed 2: 30 - 40
    assert found is not None
    assert (found.seeds, found.mean, found.median, found.interval) == (2, -10.0, -10.0, None)
    assert found.relative == pytest.approx(-10 / 30)
    assert stats.paired(mine, pd.Series([1.0], index=[9])) is None


def test_gridlock_by_completion_and_by_a_standing_queue() -> None:
    runs = frame(("a", 1, 10.0), ("b", 1, 10.0), ("a", 2, 10.0), ("b", 2, 10.0))
    runs["completion"] = [1.0, 0.79, 0.5, 0.41]
    runs["standing_queue_s"] = [0.0, 0.0, 899.0, 900.0]
    assert stats.gridlocked(runs).tolist() == [False, True, False, True]
    assert stats.gridlocked(runs, GridlockRule(0.5, 100.0)).tolist() == [False, False, True, True]
    runs["standing_queue_s"] = np.nan
    assert stats.gridlocked(runs).tolist() == [False, True, False, False]  # 0.41 is 82 % of 0.5


def test_the_table_ranks_by_delay_and_compares_with_fixed_time() -> None:
    seeds = range(1, 6)
    bases = {"fixed_time": 40.0, "greedy": 20.0, "slow": 60.0}
    runs = frame(*[(name, seed, base + seed) for seed in seeds for name, base in bases.items()])
    rows = stats.table(runs)
    assert [(row.rank, row.controller) for row in rows] == [(1, "greedy"), (2, "fixed_time"), (3, "slow")]
    assert rows[1].difference_s is None
    assert rows[0].difference_s is not None
    assert rows[0].difference_s.mean == pytest.approx(-20.0)
    assert rows[0].difference_s.interval == pytest.approx((-20.0, -20.0))
    assert rows[0].delay_interval_s is not None
    assert rows[0].delay_interval_s[0] < 23.0 < rows[0].delay_interval_s[1]
    assert rows[0].gridlock_rate == 0.0
    assert stats.table(runs, baseline="greedy")[0].difference_s is None
    assert rows[0].as_dict()["difference_s"]["seeds"] == 5


def test_one_seed_and_a_missing_baseline_pair() -> None:
    rows = stats.table(frame(("fixed_time", 1, 40.0), ("greedy", 2, 20.0)))
    assert rows[0].delay_interval_s is None
    assert rows[0].difference_s is None
    with pytest.raises(stats.StatsError, match="'nobody' has no results"):
        stats.table(frame(("greedy", 1, 20.0)), baseline="nobody")


def test_scenarios_and_timings_are_kept_apart() -> None:
    runs = pd.DataFrame(
        [
            results.flat(make_result("greedy", 1, 20.0)),
            results.flat(make_result("greedy", 1, 30.0, scenario_name="cologne3")),
            results.flat(make_result("greedy", 1, 25.0, timings={"name": "clearance"})),
        ]
    )
    assert [(r.scenario, r.timings, r.rank) for r in stats.table(runs)] == [
        ("cologne1", "native", 1), ("cologne3", "native", 1), ("cologne1", "clearance", 1)
    ]  # fmt: skip
