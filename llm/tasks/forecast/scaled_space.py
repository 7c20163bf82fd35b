"""The scaled space that every learner forecasts in: how far a flow or queue is from a plain forecast, in its own noise.

The plain forecast is the anchor: a weighted mean of what was measured. Counts scatter like the square root of their
mean (a Poisson count), so a deviation is divided by that: one unit means the same on a side street and on an arterial.
A model that says zero says the anchor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm.tasks.forecast.state import (
    COUNTS_MIN,
    HORIZONS_MIN,
    REPORT_FIELDS,
    TRAFFIC_FIELDS,
    ForecastState,
    column,
    stacked,
)

Floats = NDArray[np.float64]

#: Raise with every change of what ``facts`` gives, so that heads know which they were trained on.
FACTS_VERSION = 2
#: A standard normal's 10 and 90 % quantiles: the band of an untrained model, in units of the noise.
BAND = 1.28
#: Divisors that bring the reports' fields near one.
_REPORT_UNITS = {"blocked_min": 10.0, "surge_veh": 50.0, "surge_min": 10.0}


def anchors(fields: Floats) -> tuple[Floats, Floats]:
    """The plain forecast and its noise, both (A, horizons, targets), from fields (A, len(FIELDS))."""
    rate = _mean_of_measured(column(fields, "flow_15_veh_h"), column(fields, "flow_run_veh_h"))
    recent = _mean_of_measured(column(fields, "queue_5_veh"), column(fields, "queue_run_veh"))
    horizon_h = np.array(HORIZONS_MIN) / 60
    flow = np.repeat(rate[:, None], len(horizon_h), axis=1)
    queue = np.repeat(recent[:, None], len(horizon_h), axis=1)
    noise = np.sqrt(flow * horizon_h + 1) / horizon_h
    return np.stack([flow, queue], axis=-1), np.stack([noise, np.sqrt(queue + 1)], axis=-1)


def scaled(came: Floats, fields: Floats) -> Floats:
    """What came, (A, horizons, targets), in the scaled space."""
    anchor, noise = anchors(fields)
    deviations: Floats = (came - anchor) / noise
    return deviations


def restored(quantiles: Floats, fields: Floats) -> Floats:
    """Quantiles (A, horizons, targets, quantiles) of the scaled space as veh/h and vehicles: in order, none below 0."""
    anchor, noise = anchors(fields)
    values: Floats = np.sort(np.maximum(anchor[..., None] + noise[..., None] * quantiles, 0.0), axis=-1)
    return values


def facts(states: Sequence[ForecastState]) -> Floats:
    """All that a prompt says as (A, K) numbers, for every learner alike; what is unknown is 0.

    Each approach's own numbers (``numbers``, the minutes' counts first), their logarithms, and what the same signal's
    other approaches have on average: how far their counts are from their mean, their queue and flow, and how many.
    """
    fields = stacked(states)
    traffic = np.nan_to_num(fields[:, : len(TRAFFIC_FIELDS) - 1])  # all but the clock
    logs = np.log1p(np.maximum(traffic, 0)) - 1.0
    others = _of_others(fields, [len(state.approaches) for state in states])
    return np.concatenate([numbers(fields), logs, others], axis=1)


def _of_others(fields: Floats, sizes: Sequence[int]) -> Floats:
    """(A, 4) means over the other approaches of each one's signal, and their number."""
    deviation = np.nan_to_num(count_deviations(fields)).mean(axis=1)
    queue, flow = (np.log1p(np.nan_to_num(column(fields, name))) for name in ("queue_veh", "flow_15_veh_h"))
    values = np.stack([deviation, queue, flow], axis=1)
    signal = np.repeat(np.arange(len(sizes)), sizes)
    total = np.stack([np.bincount(signal, column_, len(sizes)) for column_ in values.T], axis=1)
    number = np.array(sizes, float)[signal] - 1
    means = (total[signal] - values) / np.maximum(number, 1)[:, None]
    return np.concatenate([means - (0.0, 0.5, 5.0), number[:, None] / 4], axis=1)


def numbers(fields: Floats) -> Floats:
    """An approach's own facts as (A, K) numbers around zero; what is unknown is 0."""
    anchor, noise = anchors(fields)
    rate, minute, quarter = anchor[:, 0, 0], noise[:, 0, 0], noise[:, 2, 0]
    queue, spread = anchor[:, 0, 1], noise[:, 0, 1]
    angle = 2 * np.pi * column(fields, "clock_h") / 24
    traffic = [
        *(count_deviations(fields).T),
        *((column(fields, name) - rate) / quarter for name in ("flow_15_veh_h", "flow_run_veh_h")),
        *((column(fields, name) - queue) / spread for name in ("queue_veh", "queue_5_veh", "queue_run_veh")),
        np.log1p(rate / 60) - 1.5,
        np.log1p(queue) - 0.5,
        minute / 300 - 0.6,
        np.isnan(column(fields, "count_1_veh")).astype(float),
        np.sin(angle),
        np.cos(angle),
    ]
    reports = [column(fields, name) / _REPORT_UNITS.get(name, 1.0) for name in REPORT_FIELDS]
    found: Floats = np.nan_to_num(np.stack([*traffic, *reports], axis=1))
    return found


def count_deviations(fields: Floats) -> Floats:
    """The last minutes' counts, oldest first, as deviations from the anchor in its noise, (A, COUNTS_MIN); NaN kept."""
    anchor, noise = anchors(fields)
    counts = np.stack([column(fields, f"count_{minute}_veh") for minute in range(COUNTS_MIN, 0, -1)], axis=1)
    deviations: Floats = (60 * counts - anchor[:, 0, :1]) / noise[:, 0, :1]
    return deviations


def pinball(came: Floats, quantiles: Floats, levels: Sequence[float]) -> Floats:
    """Pinball loss of each forecast quantile, in the units of what came (Koenker & Bassett 1978).

    Args:
        came: (...,) what was to be forecast; NaN stays NaN.
        quantiles: (..., len(levels)).
        levels: such as 0.1, 0.5, 0.9.

    Returns:
        (..., len(levels)).
    """
    error = came[..., None] - quantiles
    level = np.array(levels)
    loss: Floats = np.maximum(level * error, (level - 1) * error)
    return loss


def _mean_of_measured(first: Floats, second: Floats) -> Floats:
    """The mean of two measurements, or the one that is known, or 0."""
    both = np.stack([first, second])
    known = ~np.isnan(both)
    mean: Floats = np.where(known, both, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return mean
