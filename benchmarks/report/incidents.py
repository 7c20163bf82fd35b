"""Incidents in results: when they were, and how long the network took to recover from each.

**Recovery time** = the first minute at or after the incident's end at which the network's queue is back at or below its
reference, minus the incident's end. The queue is halted vehicles plus those waiting outside, from the series that each
result keeps once a minute, as a centred mean over five minutes (single minutes swing with the signals' cycles). The
reference is, where the results hold it, the queue at the same minute of the run of the same seed and controller
without incidents; else the mean queue of the ten minutes (at least three) before the incident began, which a rising
peak makes strict.
Incidents that overlap share one queue and are not told apart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.results.run_result import RunResult

Floats = NDArray[np.float64]

#: Minutes of the moving mean, and of the time before an incident that serves as reference.
SMOOTH_MIN, BEFORE_MIN = 5, 10
#: Fewer minutes than this before an incident say nothing about the usual queue.
LEAST_BEFORE_MIN = 3
RECOVERED, NEVER, STILL_ON = "recovered", "not within the run", "still on at the end"
#: The incident began before three minutes were measured, and there is no run without it.
UNKNOWN = "no queue to compare with"
RUN_WITHOUT, BEFORE = "run without incidents", "before the incident"


@dataclass(frozen=True)
class Recovery:
    """What one incident did to one run.

    Attributes:
        kind: ``crash``, ``road_closure`` and so on.
        start_s, end_s: on SUMO's clock; ``end_s`` may lie after the run.
        state: ``RECOVERED``, ``NEVER`` (the queue was still above its reference when the run ended), ``STILL_ON`` or
            ``UNKNOWN``.
        recovery_s: from the incident's end until the queue is back; 0 where it was when the incident ended; None
            unless recovered.
        extra_queue_veh: the most by which the queue was above its reference, from the start until it was back; NaN
            where there is no reference.
        reference: ``RUN_WITHOUT`` or ``BEFORE``.
    """

    kind: str
    edge: str
    start_s: float
    end_s: float
    controller: str
    seed: int
    state: str
    recovery_s: float | None
    extra_queue_veh: float
    reference: str


def recoveries(runs: Sequence[RunResult], others: Sequence[RunResult] = ()) -> list[Recovery]:
    """Every incident of every run; ``others`` are searched for the same runs without incidents."""
    calm = {_twin_key(run): run for run in others if not run.scenario.incidents}
    return [
        recovery(run, incident, calm.get(_twin_key(run)))
        for run in runs
        for incident in sorted(run.scenario.incidents, key=lambda incident: float(incident["start_s"]))
        if float(incident["start_s"]) < run.scenario.end_s
    ]


def recovery(run: RunResult, incident: dict[str, object], calm: RunResult | None = None) -> Recovery:
    """How one run recovered from one of its incidents; ``calm`` is the same run without any."""
    start_s, end_s = float(str(incident["start_s"])), float(str(incident["end_s"]))
    time_s, above_veh = _above(run, calm, start_s)
    known = bool(np.isfinite(above_veh).any())
    state, recovery_s = _back(time_s, above_veh, end_s, run.scenario.end_s)
    until_s = math.inf if recovery_s is None else end_s + recovery_s
    during = above_veh[(time_s >= start_s) & (time_s <= until_s)]
    return Recovery(
        kind=str(incident["type"]),
        edge=str(incident.get("edge", "")),
        start_s=start_s,
        end_s=end_s,
        controller=run.controller.name,
        seed=run.seed,
        state=state,
        recovery_s=recovery_s,
        extra_queue_veh=max(float(during.max(initial=0.0)), 0.0) if known else math.nan,
        reference=BEFORE if calm is None else RUN_WITHOUT,
    )


def _back(time_s: Floats, above_veh: Floats, end_s: float, run_end_s: float) -> tuple[str, float | None]:
    """The state of a recovery, and its time from the incident's end, s."""
    if end_s >= run_end_s:
        return STILL_ON, None
    if not np.isfinite(above_veh).any():
        return UNKNOWN, None
    if np.interp(end_s, time_s, above_veh) <= 0:
        return RECOVERED, 0.0
    back = np.flatnonzero((time_s > end_s) & (above_veh <= 0))
    return (RECOVERED, float(time_s[back[0]]) - end_s) if back.size else (NEVER, None)


def _above(run: RunResult, calm: RunResult | None, start_s: float) -> tuple[Floats, Floats]:
    """Times (minutes,) and the queue above its reference then (minutes,), NaN where there is none."""
    time_s, queue_veh = _queue(run)
    if calm is not None:
        return time_s, _smooth(queue_veh) - np.interp(time_s, _queue(calm)[0], _smooth(_queue(calm)[1]))
    begin_s = run.scenario.begin_s + run.scenario.warmup_s
    before = queue_veh[(time_s >= max(begin_s, start_s - 60 * BEFORE_MIN)) & (time_s < start_s)]
    return time_s, _smooth(queue_veh) - (float(before.mean()) if before.size >= LEAST_BEFORE_MIN else math.nan)


def _queue(run: RunResult) -> tuple[Floats, Floats]:
    """Times and halted plus outside vehicles, one value a minute."""
    columns = (run.series.time_s, run.series.halted_veh, run.series.outside_veh)
    time_s, halted_veh, outside_veh = (np.nan_to_num(np.array(column, np.float64)) for column in columns)
    return time_s, halted_veh + outside_veh


def _smooth(values: Floats) -> Floats:
    """Centred mean that narrows at both ends."""
    if not values.size:
        return values
    kernel = np.ones(min(SMOOTH_MIN, values.size))
    weight = np.convolve(np.ones(values.size), kernel, "same")
    return np.asarray(np.convolve(values, kernel, "same") / weight, np.float64)


def _twin_key(run: RunResult) -> str:
    """What a run and its twin without incidents share: all but the incidents."""
    spec = {key: value for key, value in run.scenario.spec.items() if key not in ("incidents", "incident_rates")}
    shared = (
        run.scenario.name, run.scenario.network_sha256, run.scenario.begin_s, run.scenario.end_s,
        run.controller.name, run.seed, run.timings, run.backend, run.versions.get("sumo"), spec,
    )  # fmt: skip
    return json.dumps(shared, sort_keys=True, default=str)
