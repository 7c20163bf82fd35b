"""Records of forecasts: what was known of a signal's approaches at a full minute, and the flows and queues that came.

They lie on disk as ``llm.records.shards`` does it, below ``train/``, ``validation/`` and ``held_out/``; what lies
in the last is for scoring and is never trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from llm.tasks.example_rows import plain_list
from llm.tasks.forecast.state import FIELDS, HORIZONS_MIN, QUANTILES, TARGETS, ForecastState, state_of
from llm.tasks.questions import Floats, Lesson, Quantiles

#: What is answered: quantiles of each horizon and target.
ANSWER = Quantiles(QUANTILES, (len(HORIZONS_MIN), len(TARGETS)))
#: Raise with every change of the fields of a record.
FORMAT = 1
_ABOUT = ("scenario", "network_sha256", "seed", "timings", "demand_scale")
_KEYS = {*_ABOUT, "signal", "time_s", "approaches", "prompt", "fields", "came", "incidents"}


class ForecastLesson(Lesson):
    """A question and what came, as forecasters learn from it."""

    @property
    def state(self) -> ForecastState:
        """What a forecast may be made from."""
        return state_of(self.question)

    @property
    def came(self) -> Floats:
        """(approaches, horizons, targets) what came."""
        return self.target


class Known(Protocol):
    """A record or a lesson."""

    @property
    def state(self) -> ForecastState:
        """What a forecast may be made from."""

    @property
    def came(self) -> Floats:
        """(approaches, horizons, targets) what came."""


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


def came(records: Sequence[Known]) -> Floats:
    """What came, for all approaches of all records: (A, horizons, targets)."""
    return np.concatenate([record.came for record in records])


def states(records: Sequence[Known]) -> list[ForecastState]:
    """What forecasters may see of the records."""
    return [record.state for record in records]


# --- files


def to_row(record: ForecastRecord) -> dict[str, Any]:
    """A record as JSON."""
    state = record.state
    return {
        **{name: getattr(record, name) for name in _ABOUT},
        "signal": state.signal,
        "time_s": state.time_s,
        "approaches": list(state.approaches),
        "prompt": state.prompt,
        "fields": plain_list(state.fields, 3),
        "came": plain_list(record.came, 3),
        "incidents": list(record.incidents),
    }


def from_row(row: dict[str, Any]) -> ForecastRecord:
    """The same back.

    Raises:
        KeyError, TypeError, ValueError: the row is another record's.
    """
    if set(row) != _KEYS:
        raise ValueError("other keys")
    fields, arrived = (np.array(row[key], np.float64) for key in ("fields", "came"))
    approaches = len(row["approaches"])
    if fields.shape != (approaches, len(FIELDS)) or arrived.shape != (approaches, len(HORIZONS_MIN), len(TARGETS)):
        raise ValueError("other fields or horizons")
    state = ForecastState(row["signal"], row["time_s"], tuple(row["approaches"]), row["prompt"], fields)
    about = {name: row[name] for name in _ABOUT}
    return ForecastRecord(**about, state=state, came=arrived, incidents=tuple(row["incidents"]))
