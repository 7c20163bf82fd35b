"""How far forecasts are off: MAE, RMSE, pinball loss and coverage, with intervals over networks and seeds.

Neighbouring minutes and approaches share their errors, so intervals come from a block bootstrap: whole (network, seed)
blocks are drawn with replacement (Künsch 1989), the same draws for every forecaster, which makes differences paired.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm.tasks.forecast.records import ForecastRecord, came
from llm.tasks.forecast.scaled_space import pinball
from llm.tasks.forecast.state import HORIZONS_MIN, QUANTILES, TARGETS

Floats = NDArray[np.float64]
Interval = tuple[float, float]

#: Where errors are counted: everywhere, near an incident (from its start to 15 min after its end), and away from any.
#: Each type of incident is a place as well: those that block a lane hardly change the flow upstream, and those that
#: close a road or let out an event change it a lot.
PLACES = ("overall", "around_incidents", "elsewhere")
RESAMPLES = 2000
_LOW, _HIGH = QUANTILES.index(0.1), QUANTILES.index(0.9)
_MEDIAN = QUANTILES.index(0.5)


@dataclass(frozen=True)
class Score:
    """One forecaster at one horizon.

    Attributes:
        forecaster: its spec.
        place: one of ``PLACES``, or a type of incident.
        target: one of ``TARGETS``; errors are in veh/h or vehicles.
        horizon_min: minutes ahead.
        count: forecasts scored.
        blocks: (network, seed) pairs that they come from.
        mae, mae_interval: mean absolute error of the median, with a 95 % interval (None below three blocks).
        rmse: root mean squared error of the median.
        pinball: mean pinball loss over the quantiles.
        coverage, coverage_interval: share of what came that lies within the 80 % band, bounds included.
        difference, difference_interval: of the MAE, this forecaster's minus the baseline's; None for the baseline.
    """

    forecaster: str
    place: str
    target: str
    horizon_min: int
    count: int
    blocks: int
    mae: float
    mae_interval: Interval | None
    rmse: float
    pinball: float
    coverage: float
    coverage_interval: Interval | None
    difference: float | None
    difference_interval: Interval | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def score(
    records: Sequence[ForecastRecord], forecasts: Mapping[str, Floats], baseline: str, resamples: int = RESAMPLES
) -> list[Score]:
    """Score forecasts of the same records.

    Args:
        records: with what came.
        forecasts: by forecaster, (A, horizons, targets, quantiles) for all approaches of all records.
        baseline: the forecaster that the others' differences are to.
        resamples: of the bootstrap.
    """
    arrived, places, blocks = came(records), _places(records), _blocks(records)
    weights = _draws(int(blocks.max()) + 1, resamples)
    scores: list[Score] = []
    for place, inside in places.items():
        for h, horizon_min in enumerate(HORIZONS_MIN):
            for t, target in enumerate(TARGETS):
                rows = inside & ~np.isnan(arrived[:, h, t])
                if not rows.any():
                    continue
                sums = {
                    name: _BlockSums.of(arrived[rows, h, t], said[rows, h, t], blocks[rows], weights.shape[1])
                    for name, said in forecasts.items()
                }
                about = (place, target, horizon_min)
                scores += [_score(name, about, found, sums[baseline], weights) for name, found in sums.items()]
    return scores


@dataclass(frozen=True)
class _BlockSums:
    """Sums over each block, (blocks,): all that the means and their bootstrap need."""

    count: Floats
    absolute: Floats
    squared: Floats
    pinball: Floats
    inside: Floats

    @classmethod
    def of(cls, arrived: Floats, said: Floats, blocks: NDArray[np.int64], number: int) -> _BlockSums:
        error = arrived - said[:, _MEDIAN]
        inside = (said[:, _LOW] - 1e-9 <= arrived) & (arrived <= said[:, _HIGH] + 1e-9)
        loss = pinball(arrived, said, QUANTILES).mean(axis=-1)
        values = (np.ones(len(error)), np.abs(error), error**2, loss, inside.astype(float))
        return cls(*(np.bincount(blocks, value, number).astype(np.float64) for value in values))


def _score(name: str, about: tuple[str, str, int], own: _BlockSums, base: _BlockSums, weights: Floats) -> Score:
    place, target, horizon_min = about
    count, blocks = own.count.sum(), int((own.count > 0).sum())
    drawn = weights @ own.count
    kept = drawn > 0
    enough = blocks >= 3

    def over_draws(values: Floats) -> Interval | None:
        return _interval((weights @ values)[kept] / drawn[kept]) if enough else None

    same = own is base
    return Score(
        forecaster=name,
        place=place,
        target=target,
        horizon_min=horizon_min,
        count=int(count),
        blocks=blocks,
        mae=float(own.absolute.sum() / count),
        mae_interval=over_draws(own.absolute),
        rmse=float(np.sqrt(own.squared.sum() / count)),
        pinball=float(own.pinball.sum() / count),
        coverage=float(own.inside.sum() / count),
        coverage_interval=over_draws(own.inside),
        difference=None if same else float((own.absolute - base.absolute).sum() / count),
        difference_interval=None if same else over_draws(own.absolute - base.absolute),
    )


def _interval(values: Floats) -> Interval:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _draws(blocks: int, resamples: int) -> Floats:
    """(resamples, blocks) how often each block is drawn."""
    rng = np.random.default_rng(0)
    return rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=resamples).astype(float)


def _places(records: Sequence[ForecastRecord]) -> dict[str, NDArray[np.bool_]]:
    """For every approach, whether it counts there."""
    near = [frozenset(record.incidents) for record in records for _ in record.state.approaches]
    some = np.array([bool(types) for types in near])
    by_type = {kind: np.array([kind in types for types in near]) for kind in sorted(frozenset().union(*near))}
    return {**dict(zip(PLACES, (np.ones(len(near), bool), some, ~some), strict=True)), **by_type}


def _blocks(records: Sequence[ForecastRecord]) -> NDArray[np.int64]:
    """For every approach, the number of its (network, seed) block."""
    known = {block: number for number, block in enumerate(dict.fromkeys(record.block for record in records))}
    return np.concatenate([np.full(len(r.state.approaches), known[r.block], np.int64) for r in records])


def records_sha256(records: Sequence[ForecastRecord]) -> str:
    """Hash of what was scored: which signals and minutes, and what came."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(f"{record.block} {record.state.signal} {record.state.time_s}".encode())
        digest.update(np.nan_to_num(record.came, nan=-1.0).tobytes())
    return digest.hexdigest()
