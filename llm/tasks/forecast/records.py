"""Records of forecasts: what was known of a signal's approaches at a full minute, and the flows and queues that came.

They lie on disk as ``llm.records.shards`` does it, below ``train/``, ``validation/`` and ``held_out/``; what lies
in the last is for scoring and is never trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm.records.shards import FORECAST, RecordError, Shards
from llm.records.splits import check_record, check_split, check_wording
from llm.tasks.forecast.prompt import FORECAST_PROMPT_VERSION
from llm.tasks.forecast.state import FIELDS, HORIZONS_MIN, TARGETS, ForecastState
from scenarios.spec import Scenario

Floats = NDArray[np.float64]

#: Raise with every change of the fields of a record.
FORMAT = 1
HELD_OUT = "held_out"
SPLITS = ("train", "validation", HELD_OUT)
_ABOUT = ("scenario", "network_sha256", "seed", "timings", "demand_scale")
_KEYS = {*_ABOUT, "signal", "time_s", "approaches", "prompt", "fields", "came", "incidents"}


@dataclass(frozen=True)
class ForecastRecord:
    """One signal at one full minute of a run under greedy, with what came.

    Attributes:
        scenario: its name.
        network_sha256: hash of the network file.
        seed: of the run.
        timings: name of the signal timings.
        demand_scale: factor on the scenario's number of vehicles.
        state: what a forecast may be made from.
        came: (approaches, horizons, targets) mean flow until the horizon (veh/h) and halted vehicles at it; NaN after
            the run's end and where the detectors were out.
        incidents: types near the signal, within two junctions, from the start to 15 min after the end; as it is and
            not as reported, so for scoring only.
    """

    scenario: str
    network_sha256: str
    seed: int
    timings: str
    demand_scale: float
    state: ForecastState
    came: Floats
    incidents: tuple[str, ...]

    @property
    def block(self) -> tuple[str, int]:
        """Network and seed: the unit that a bootstrap draws."""
        return self.network_sha256, self.seed


def came(records: Sequence[ForecastRecord]) -> Floats:
    """What came, for all approaches of all records: (A, horizons, targets)."""
    return np.concatenate([record.came for record in records])


def states(records: Sequence[ForecastRecord]) -> list[ForecastState]:
    """What forecasters may see of the records."""
    return [record.state for record in records]


def check(scenario: Scenario, split: str, seed: int) -> None:
    """Make sure that a run may be recorded for a split.

    Raises:
        RecordError: a held-out scenario or a seed that results use would get into training, or the other way round.
    """
    if split != HELD_OUT:
        check_split(scenario, split, seed)
    elif HELD_OUT not in scenario.tags:
        raise RecordError(
            f"Scenario {scenario.name} is not held out, so no forecast may be scored on it as if it were."
        )


# --- files


def _row(record: ForecastRecord) -> dict[str, Any]:
    state = record.state
    return {
        **{name: getattr(record, name) for name in _ABOUT},
        "signal": state.signal,
        "time_s": state.time_s,
        "approaches": list(state.approaches),
        "prompt": state.prompt,
        "fields": _plain(state.fields),
        "came": _plain(record.came),
        "incidents": list(record.incidents),
    }


def _record(row: dict[str, Any]) -> ForecastRecord:
    if set(row) != _KEYS:
        raise ValueError("other keys")
    fields, arrived = (np.array(row[key], np.float64) for key in ("fields", "came"))
    approaches = len(row["approaches"])
    if fields.shape != (approaches, len(FIELDS)) or arrived.shape != (approaches, len(HORIZONS_MIN), len(TARGETS)):
        raise ValueError("other fields or horizons")
    state = ForecastState(row["signal"], row["time_s"], tuple(row["approaches"]), row["prompt"], fields)
    about = {name: row[name] for name in _ABOUT}
    return ForecastRecord(**about, state=state, came=arrived, incidents=tuple(row["incidents"]))


def _check(split: str, record: ForecastRecord) -> None:
    if split != HELD_OUT:
        check_record(split, record, record.state.prompt)


def _plain(values: Floats) -> Any:
    """Nested lists to three decimals, None for NaN, which JSON does not know."""
    return np.where(np.isnan(values), None, np.round(values, 3)).tolist()  # type: ignore[call-overload]


def _count(records: Sequence[ForecastRecord]) -> dict[str, int]:
    return {
        "approaches": sum(len(record.state.approaches) for record in records),
        "reported": sum("\nReport " in record.state.prompt for record in records),
        "near_incidents": sum(bool(record.incidents) for record in records),
    }


#: Forecasts on disk.
FILES: Shards[ForecastRecord] = Shards(
    kind=FORECAST,
    splits=SPLITS,
    command="greenloop collect-forecasts",
    split_option="--split",
    format=FORMAT,
    prompt_version=FORECAST_PROMPT_VERSION,
    about={"fields": list(FIELDS)},
    row=_row,
    record=_record,
    check=_check,
    count=_count,
)


def write_shard(path: Path, split: str, records: Sequence[ForecastRecord]) -> None:
    """Write the records of one run, all or none.

    Raises:
        RecordError: held-out wording in a prompt that may be trained on, or the folder cannot be written.
    """
    if split != HELD_OUT:
        for record in records:
            check_wording(record.state.prompt)
    FILES.write(path, records)


def learnt_sha256(folder: Path) -> str:
    """Hash of the records that may be learnt from: it stays when held-out ones are added.

    Raises:
        RecordError: the manifest is missing or of another kind.
    """
    return FILES.sha256(folder, [split for split in SPLITS if split != HELD_OUT])
