"""Statistics that hold: paired differences, bootstrap intervals, gridlock, and how many seeds a claim needs.

Runs are paired by seed: the same demand, incidents and drivers for every controller. Outcomes are bimodal (a run jams
or it does not), so means come with intervals, the median and the gridlock rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.metrics import GRIDLOCK, GridlockRule

#: Runs of one cell group share all of these; only controller and seed differ.
CELL_KEYS = ["scenario", "scenario_sha256", "timings"]
Interval = tuple[float, float]


class StatsError(ValueError):
    """A comparison that cannot be made; the message is one sentence."""


@dataclass(frozen=True)
class Paired:
    """Differences to the baseline over common seeds; negative is better where less is better.

    ``interval`` and ``seeds_needed`` (to detect a difference of 5 % of the baseline's mean with 80 % power) are None
    below three seeds.
    """

    seeds: int
    mean: float
    interval: Interval | None
    median: float
    relative: float
    seeds_needed: int | None


@dataclass(frozen=True)
class Row:
    """One controller on one scenario, as the table shows it."""

    scenario: str
    timings: str
    rank: int
    controller: str
    seeds: int
    delay_s: float
    delay_interval_s: Interval | None
    delay_median_s: float
    difference_s: Paired | None
    completion: float
    gridlock_rate: float
    decision_latency_p50_ms: float
    decision_latency_p95_ms: float

    def as_dict(self) -> dict[str, Any]:
        """Plain nested values, for JSON."""
        return asdict(self)


def bootstrap_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Interval | None:
    """Bootstrap interval of the mean (BCa, Efron 1987; 9,999 resamples); None below three values.

    Values that are all equal have an interval of no width, which the bootstrap cannot give.
    """
    data = np.asarray(values, np.float64)
    if data.size < 3 or not np.isfinite(data).all():
        return None
    if np.ptp(data) == 0:
        return float(data[0]), float(data[0])
    found = stats.bootstrap(
        (data,), np.mean, confidence_level=confidence, method="BCa", rng=np.random.default_rng(seed)
    ).confidence_interval
    return float(found.low), float(found.high)


def seeds_needed(differences: Sequence[float], effect: float, power: float = 0.8, alpha: float = 0.05) -> int | None:
    """Smallest number of paired runs with which a two-sided t-test finds a mean difference of ``effect``.

    Power from the noncentral t distribution with the observed standard deviation of the differences (Cohen 1988,
    ch. 2). None below three differences or without an effect; at most 100,000.
    """
    data = np.asarray(differences, np.float64)
    if data.size < 3 or not effect > 0 or not np.isfinite(data).all():
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


def paired(values: pd.Series[float], baseline: pd.Series[float], seed: int = 0) -> Paired | None:
    """Compare two series indexed by seed over the seeds that both have; None when there is none."""
    common = values.index.intersection(baseline.index)
    if common.empty:
        return None
    theirs = baseline.loc[common].to_numpy(np.float64)
    differences = values.loc[common].to_numpy(np.float64) - theirs
    base = float(theirs.mean())
    return Paired(
        seeds=len(common),
        mean=float(differences.mean()),
        interval=bootstrap_interval(differences.tolist(), seed=seed),
        median=float(np.median(differences)),
        relative=float(differences.mean()) / base if base else math.nan,
        seeds_needed=seeds_needed(differences.tolist(), 0.05 * abs(base)),
    )


def gridlocked(runs: pd.DataFrame, rule: GridlockRule = GRIDLOCK) -> pd.Series[bool]:
    """Whether each run (a row of ``results.load``) is gridlocked, judged against the others of its cell."""
    best = runs.groupby([*CELL_KEYS, "seed"])["completion"].transform("max")
    standing = runs["standing_queue_s"].fillna(0.0)
    return (runs["completion"] < rule.completion_share * best) | (standing >= rule.standing_s)


def choose_baseline(runs: pd.DataFrame, baseline: str | None = None) -> str:
    """The controller that the others are compared with: the one asked for, fixed time, or the first.

    Raises:
        StatsError: the one asked for has no results.
    """
    names = list(dict.fromkeys(runs["controller"]))
    if baseline is None:
        return "fixed_time" if "fixed_time" in names else names[0]
    if baseline not in names:
        raise StatsError(f"The baseline '{baseline}' has no results; choose one of {', '.join(names)}.")
    return baseline


def table(runs: pd.DataFrame, baseline: str | None = None, rule: GridlockRule = GRIDLOCK) -> list[Row]:
    """Rank the controllers on each scenario by mean delay; every run stays in the mean.

    Raises:
        StatsError: the baseline has no results.
    """
    chosen = choose_baseline(runs, baseline)
    runs = runs.assign(gridlock=gridlocked(runs, rule))
    rows: list[Row] = []
    for keys, cell in runs.groupby(CELL_KEYS, sort=False):
        order = cell.groupby("controller")["delay_s"].mean().sort_values(kind="stable", na_position="last")
        reference = _by_seed(cell, chosen)
        for rank, name in enumerate(order.index, start=1):
            difference = None if name == chosen else paired(_by_seed(cell, str(name)), reference)
            rows.append(_row(str(keys[0]), str(keys[2]), rank, str(name), cell[cell["controller"] == name], difference))
    return rows


def _by_seed(cell: pd.DataFrame, controller: str) -> pd.Series[float]:
    return cell[cell["controller"] == controller].drop_duplicates("seed").set_index("seed")["delay_s"]


def _row(scenario: str, timings: str, rank: int, controller: str, runs: pd.DataFrame, difference: Paired | None) -> Row:
    delay = runs["delay_s"]
    return Row(
        scenario=scenario,
        timings=timings,
        rank=rank,
        controller=controller,
        seeds=len(runs),
        delay_s=float(delay.mean()),
        delay_interval_s=bootstrap_interval(delay.tolist()),
        delay_median_s=float(delay.median()),
        difference_s=difference,
        completion=float(runs["completion"].mean()),
        gridlock_rate=float(runs["gridlock"].mean()),
        decision_latency_p50_ms=float(runs["decision_latency_p50_ms"].median()),
        decision_latency_p95_ms=float(runs["decision_latency_p95_ms"].max()),
    )
