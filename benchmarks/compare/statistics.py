"""Statistics that hold for few, paired, bimodal runs: intervals, one paired test, Holm, robust means over scenarios.

Pure functions of numbers; ``benchmarks.compare.pipeline`` says what they are applied to. Runs are paired by
seed: the same demand, incidents and drivers for every controller.

**The paired test** is the permutation test that flips signs (Fisher 1935; Good 2005): if two controllers are alike, the
runs of one seed could be swapped, so every pattern of signs of the differences was as likely as the one that was seen.
It is exact for any number of seeds and any distribution, ties and jams included, and tests the mean that the table
shows. Wilcoxon's signed-rank test is the same test on ranks: it says nothing about the mean, and gains no power at 3 to
10 seeds. Both share a floor: n seeds have 2^n patterns, so p is never below 2 / 2^n: 0.25 for three seeds, 0.06 for
five, 0.03 for six. A t-test would go below, on the assumption that differences are normal, which those of runs that
jam or do not jam are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.compare.comparison import Interval

Floats = NDArray[np.float64]
ALPHA = 0.05
#: Resamples of every bootstrap and of permutation tests too large to enumerate.
RESAMPLES = 9_999
#: Below this many seeds a bootstrap has too few values to draw from.
FEWEST_FOR_INTERVAL = 3


def bootstrap_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Interval | None:
    """Bootstrap interval of the mean (BCa, Efron 1987; 9,999 resamples); None below three values.

    Values that are all equal have an interval of no width, which the bootstrap cannot give.
    """
    data = np.asarray(values, np.float64)
    if data.size < FEWEST_FOR_INTERVAL or not np.isfinite(data).all():
        return None
    if np.ptp(data) <= 1e-12 * abs(float(data[0])):
        return float(data[0]), float(data[0])
    found = stats.bootstrap(
        (data,), np.mean, confidence_level=confidence, method="BCa", rng=np.random.default_rng(seed)
    ).confidence_interval
    return float(found.low), float(found.high)


def seeds_needed(differences: Sequence[float], effect: float, power: float = 0.8, alpha: float = ALPHA) -> int | None:
    """Smallest number of paired runs with which a two-sided t-test finds a mean difference of ``effect``.

    Power from the noncentral t distribution with the observed standard deviation of the differences (Cohen 1988,
    ch. 2). None below three differences or without an effect; at most 100,000.
    """
    data = np.asarray(differences, np.float64)
    if data.size < FEWEST_FOR_INTERVAL or not effect > 0 or not np.isfinite(data).all():
        return None
    spread = float(data.std(ddof=1))
    if spread == 0:
        return 2

    def enough(n: int) -> bool:
        critical = stats.t.ppf(1 - alpha / 2, n - 1)
        return bool(stats.nct.sf(critical, n - 1, effect / spread * math.sqrt(n)) >= power)

    low, high = 1, 2
    while not enough(high) and high < 100_000:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return min(high, 100_000)


def paired_p(differences: Sequence[float], weights: Sequence[float] | None = None, seed: int = 0) -> float | None:
    """Two-sided p of the paired permutation test of a mean difference of zero; None below two differences.

    Args:
        differences: one per pair; they may come from several scenarios.
        weights: of the differences in the mean; equal when missing.
        seed: draws sign patterns where there are more than 9,999 of them; else the test is exact.
    """
    data = np.asarray(differences, np.float64)
    if data.size < 2 or not np.isfinite(data).all():
        return None
    weighted = data * (1.0 if weights is None else np.asarray(weights, np.float64))
    found = stats.permutation_test(
        (weighted,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def seeds_for_significance(tests: int, alpha: float = ALPHA) -> int:
    """Fewest pairs with which the paired permutation test can be significant after Holm over so many tests."""
    return math.ceil(math.log2(2 * tests / alpha))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values after Holm (1979), in the order given; a None stays one and counts as no test."""
    order = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        adjusted[index] = largest
    return adjusted


def interquartile_mean(values: Floats, weights: Floats) -> Floats:
    """Mean of the middle half of the weight (Agarwal et al. 2021); values on its borders count in part.

    With equal weights and a number of values that 4 divides, this is the mean without the lowest and highest quarter.

    Args:
        values: (N,).
        weights: (..., N), not negative, each row with a positive sum.

    Returns:
        (...,) one mean for each row of weights.
    """
    order = np.argsort(values, kind="stable")
    share = weights[..., order] / weights.sum(axis=-1, keepdims=True)
    upper = np.cumsum(share, axis=-1)
    middle = np.clip(np.minimum(upper, 0.75) - np.maximum(upper - share, 0.25), 0.0, None)
    mean: Floats = (middle * values[order]).sum(axis=-1) / middle.sum(axis=-1)
    return mean


def stratified_counts(sizes: Sequence[int], seed: int = 0, resamples: int = RESAMPLES) -> Floats:
    """How often a stratified bootstrap draws each run: (resamples, sum of sizes), drawn within each stratum."""
    rng = np.random.default_rng(seed)
    counts = [rng.multinomial(size, np.full(size, 1.0 / size), resamples) for size in sizes]
    return np.concatenate(counts, axis=1).astype(np.float64)


def percentile_interval(resampled: Floats, confidence: float = 0.95) -> Floats:
    """Percentile bootstrap interval over the first axis: (2, ...)."""
    tail = (1 - confidence) / 2
    ends: Floats = np.quantile(resampled, [tail, 1 - tail], axis=0)
    return ends


def improvement(mine: Floats, theirs: Floats, counts: Floats) -> Floats:
    """Probability that a run of mine is smaller than one of theirs, ties half (Mann and Whitney; Agarwal et al. 2021).

    Args:
        mine: (N,) values.
        theirs: (N,) values on the same seeds.
        counts: (B, N) how often each seed was drawn, the same for both sides because they are paired.

    Returns:
        (B,) probabilities over all pairs of a run of mine and a run of theirs.
    """
    wins = (mine[:, None] < theirs[None, :]) + 0.5 * (mine[:, None] == theirs[None, :])
    total = counts.sum(axis=1)
    probability: Floats = ((counts @ wins) * counts).sum(axis=1) / total**2
    return probability


def share_at_most(values: Floats, weights: Floats, tau: Floats) -> Floats:
    """Weighted share of the values at most each ``tau``: values (N,), weights (..., N), tau (T,) give (..., T)."""
    below = (values[:, None] <= tau[None, :]).astype(np.float64)
    share: Floats = np.clip((weights / weights.sum(axis=-1, keepdims=True)) @ below, 0.0, 1.0).round(12)
    return share
