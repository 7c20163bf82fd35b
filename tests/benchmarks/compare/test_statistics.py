"""Statistics against scipy, textbooks' worked examples, hand cases and properties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as scipy_stats

from benchmarks.compare import statistics as stats

finite = st.floats(-1e6, 1e6, allow_subnormal=False)
#: Darwin's maize, cross minus self-fertilised, eighths of an inch (Fisher, The Design of Experiments, 1935, ch. III).
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


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


# --- the paired test ---------------------------------------------------------------------------------------------


def test_the_paired_test_gives_fishers_figure_for_darwins_maize() -> None:
    """Fisher counts 1,726 of the 32,768 patterns of signs as extreme as what Darwin saw: 5.27 %."""
    patterns = np.array(list(itertools.product((-1, 1), repeat=len(DARWIN))))
    extreme = int((np.abs(patterns @ DARWIN) >= sum(DARWIN)).sum())
    assert extreme == 1726
    found = stats.paired_p(DARWIN)  # more patterns than resamples: drawn, so near but not equal
    assert found == pytest.approx(1726 / 32768, abs=0.007)


@given(st.lists(st.integers(-30, 30), min_size=2, max_size=8))
def test_the_paired_test_is_the_count_of_all_patterns(differences: list[int]) -> None:
    patterns = np.array(list(itertools.product((-1, 1), repeat=len(differences))))
    extreme = np.abs(patterns @ differences) >= abs(sum(differences))
    found = stats.paired_p(differences)
    assert found == pytest.approx(extreme.mean())
    assert found == pytest.approx(stats.paired_p([-d for d in differences]))


@pytest.mark.parametrize("seeds", [2, 3, 5, 6, 10])
def test_no_p_lies_below_its_floor(seeds: int) -> None:
    clear = [-20.0 - seed for seed in range(seeds)]
    assert stats.paired_p(clear) == pytest.approx(2 / 2**seeds)
    assert stats.paired_p(clear) == pytest.approx(scipy_stats.wilcoxon(clear, method="exact").pvalue)  # the same floor


def test_weights_let_one_scenario_count_less() -> None:
    differences = [-1.0, -1.0, -1.0, -1.0, 3.0]
    assert stats.paired_p(differences, [1.0, 1.0, 1.0, 1.0, 0.0]) == pytest.approx(2 / 2**4)
    assert stats.paired_p([1.0]) is None
    assert stats.paired_p([1.0, float("nan")]) is None


@pytest.mark.parametrize(("tests", "seeds"), [(1, 6), (2, 7), (8, 9), (24, 10), (40, 11)])
def test_seeds_for_significance_is_the_first_that_can(tests: int, seeds: int) -> None:
    assert stats.seeds_for_significance(tests) == seeds
    assert tests * 2 / 2**seeds <= stats.ALPHA < tests * 2 / 2 ** (seeds - 1)


# --- Holm --------------------------------------------------------------------------------------------------------


def test_holm_by_the_published_example() -> None:
    """Four hypotheses with p 0.01, 0.04, 0.03, 0.005: the example that textbooks and encyclopedias work through."""
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_what_was_not_tested() -> None:
    assert stats.holm([None, 0.02, None, 0.03]) == [None, pytest.approx(0.04), None, pytest.approx(0.04)]
    assert stats.holm([]) == []
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_holms_steps_reject(p_values: list[float]) -> None:
    """Step down: the smallest is held against alpha / m, the next against alpha / (m - 1), until one fails."""
    rejected: set[int] = set()
    for step, (p, index) in enumerate(sorted((p, index) for index, p in enumerate(p_values))):
        if not p < stats.ALPHA / (len(p_values) - step):
            break
        rejected.add(index)
    adjusted = stats.holm(p_values)
    assert all(q is not None and p <= q <= min(1.0, len(p_values) * p) for p, q in zip(p_values, adjusted, strict=True))
    on_the_border = any(q is not None and abs(q - stats.ALPHA) < 1e-12 for q in adjusted)
    assert on_the_border or {i for i, q in enumerate(adjusted) if q is not None and q < stats.ALPHA} == rejected


# --- interquartile mean --------------------------------------------------------------------------------------------


def ones(values: object) -> np.ndarray:
    return np.ones(len(values))  # type: ignore[arg-type]


def test_the_interquartile_mean_by_the_worked_examples() -> None:
    """Both are worked through in the encyclopedia's article on it: 12 values, then 9, which 4 does not divide."""
    twelve = np.array([5, 8, 4, 38, 8, 6, 9, 7, 7, 3, 1, 6], float)
    assert stats.interquartile_mean(twelve, ones(twelve)) == pytest.approx(6.5)
    nine = np.array([1, 3, 5, 7, 9, 11, 13, 15, 17], float)
    assert stats.interquartile_mean(nine, ones(nine)) == pytest.approx(9.0)


@given(arrays(np.float64, st.integers(1, 6).map(lambda k: 4 * k), elements=finite))
def test_the_interquartile_mean_is_rliables(scores: np.ndarray) -> None:
    """rliable defines it as scipy's mean without a quarter at each end."""
    expected = scipy_stats.trim_mean(scores, 0.25)
    assert stats.interquartile_mean(scores, ones(scores)) == pytest.approx(expected, abs=1e-6, rel=1e-9)


@given(arrays(np.float64, st.integers(1, 9), elements=finite), st.integers(1, 4))
def test_a_weight_of_k_is_a_value_that_stands_there_k_times(values: np.ndarray, times: int) -> None:
    weights = ones(values)
    weights[0] = times
    repeated = np.concatenate([values, np.repeat(values[0], times - 1)])
    expected = stats.interquartile_mean(repeated, ones(repeated))
    assert stats.interquartile_mean(values, weights) == pytest.approx(expected, abs=1e-6, rel=1e-9)
    assert values.min() - 1e-6 <= expected <= values.max() + 1e-6


def test_one_failure_in_four_does_not_move_it() -> None:
    assert stats.interquartile_mean(np.array([1.0, 1.0, 1.0, 900.0]), np.ones(4)) == pytest.approx(1.0)


# --- stratified bootstrap, improvement, profiles ---------------------------------------------------------------------


def test_every_resample_draws_as_many_seeds_of_a_scenario_as_it_has() -> None:
    counts = stats.stratified_counts([3, 5], resamples=500)
    assert counts.shape == (500, 8)
    assert (counts[:, :3].sum(axis=1) == 3).all()
    assert (counts[:, 3:].sum(axis=1) == 5).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(8), abs=0.15)
    assert (counts == stats.stratified_counts([3, 5], resamples=500)).all()


def test_the_stratified_interval_of_a_mean_is_scipys() -> None:
    values = np.random.default_rng(1).normal(10, 2, 20)
    counts = stats.stratified_counts([20])
    low, high = stats.percentile_interval(counts @ values / 20)
    expected = scipy_stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(2))
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval), abs=0.05)


@given(*(arrays(np.float64, 6, elements=st.integers(0, 5).map(float)) for _ in range(2)))
def test_improvement_is_mann_and_whitneys_share(mine: np.ndarray, theirs: np.ndarray) -> None:
    """rliable: U / (N K), ties half; here less is better, so it is the U of theirs over mine."""
    u = scipy_stats.mannwhitneyu(theirs, mine, method="asymptotic").statistic if np.ptp([*mine, *theirs]) else 18.0
    found = stats.improvement(mine, theirs, np.ones((1, 6)))
    assert found == pytest.approx([u / 36])
    assert found + stats.improvement(theirs, mine, np.ones((1, 6))) == pytest.approx([1.0])


def test_improvement_with_resampled_seeds_by_hand() -> None:
    mine, theirs = np.array([1.0, 5.0]), np.array([3.0, 4.0])
    counts = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]])  # both, seed 1 twice, seed 2 twice
    assert stats.improvement(mine, theirs, counts) == pytest.approx([0.5, 1.0, 0.0])


@given(arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 3)))
def test_a_profile_is_the_share_of_runs_and_never_falls(scores: np.ndarray) -> None:
    tau = np.linspace(0, 3, 31)
    share = stats.share_at_most(scores, ones(scores), tau)
    assert share == pytest.approx([(scores <= t).mean() for t in tau])
    assert (np.diff(share) >= 0).all()
    assert share[-1] == 1.0
