"""Forecast records built by hand: counts around a rate that a learner can find, and what came after them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from llm.tasks.files import files, write_shard
from llm.tasks.forecast.prompt import Place, forecast_prompt
from llm.tasks.forecast.records import ForecastRecord
from llm.tasks.forecast.state import (
    COUNTS_MIN,
    FIELDS,
    HORIZONS_MIN,
    REPORT_FIELDS,
    TARGETS,
    TRAFFIC_FIELDS,
    ForecastState,
)
from llm.tasks.registry import made
from scenarios.incidents.incident import Report


def make_state(traffic: np.ndarray, time_s: float = 7 * 3600.0, places: Sequence[Place] = (), signal: str = "J"):
    """A state from (approaches, traffic fields without the clock)."""
    fields = np.zeros((len(traffic), len(FIELDS)))
    fields[:, : traffic.shape[1]] = traffic
    fields[:, TRAFFIC_FIELDS.index("clock_h")] = time_s / 3600
    names = tuple(f"road{k}" for k in range(len(traffic)))
    return ForecastState(signal, time_s, names, forecast_prompt(time_s, traffic, places), fields)


def make_record(number: int = 0, approaches: int = 2, split: str = "train", closed: bool = False) -> ForecastRecord:
    """The next minutes are like the last one and not like the mean; a closed road brings nothing."""
    rng = np.random.default_rng([number, approaches])
    rate = rng.uniform(2, 20, approaches)  # veh/min now
    counts = np.concatenate([rng.poisson(10, (approaches, COUNTS_MIN - 1)), rate[:, None].round()], axis=1)
    means = np.full((approaches, 2), 600.0)
    queue = rng.integers(0, 9, (approaches, 1)).astype(float)
    state = make_state(np.concatenate([counts, means, queue, queue, queue], axis=1), 7 * 3600.0 + 60 * number)
    came = np.empty((approaches, len(HORIZONS_MIN), len(TARGETS)))
    came[..., 0], came[..., 1] = 60 * rate[:, None], queue + 1
    if closed:
        state.fields[:, len(TRAFFIC_FIELDS) + REPORT_FIELDS.index("closed_before")] = 1.0
        came[..., 0] = 0.0
    incidents = ("road_closure",) if closed else ()
    return ForecastRecord("hand", f"net{number % 7}", 5000 + number % 7, "native", 1.0, state, came, incidents)


def make_report(**changes: object) -> Report:
    """A crash, as reported."""
    values: dict[str, object] = {
        "time_s": 120.0,
        "incident_id": "crash-1",
        "text": "00:01 crash on Main Street, one of two lanes blocked",
        "type": "crash",
        "edge": "w",
        "blocked_lanes": 1,
        "total_lanes": 2,
        "clock_s": 60.0,
    }
    return Report(**{**values, **changes})  # type: ignore[arg-type]


def write_folder(folder: Path, train: int = 60, validation: int = 30, held_out: int = 0) -> Path:
    """A folder as ``greenloop collect forecast`` leaves it."""
    numbers = {"train": train, "validation": validation, "held_out": held_out}
    for split, count in numbers.items():
        if count:
            records = [make_record(number, closed=number % 4 == 0) for number in range(count)]
            write_shard(made("forecast"), folder / split / "00000-hand.jsonl.gz", split, records)
    files(made("forecast")).write_manifest(folder, {"settings_sha256": "0"})
    return folder
