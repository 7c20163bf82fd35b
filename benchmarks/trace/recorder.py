"""Makes a trace from the files that SUMO wrote and the decisions that a controller made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.results import metrics
from benchmarks.trace import lane_shapes as trace_map
from benchmarks.trace.trace_file import (
    About,
    Decisions,
    Journeys,
    Link,
    Road,
    Signal,
    SignalStates,
    Trace,
    TraceError,
    Vehicles,
)
from sim.engine.session import Outcome
from sim.network import Network
from sim.signals import check_decisions

if TYPE_CHECKING:
    import pandas as pd


class DecisionLog:
    """Takes down what a controller asks for; ``add`` copies, so that it may reuse its mapping."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._index = {signal.id: signal.index for signal in network.signals}
        self._rows: list[tuple[float, int, int, float]] = []
        self._notes: list[dict[str, Any]] = []

    def add(self, time_s: float, decisions: object, notes: Mapping[str, Mapping[str, object]] | None = None) -> None:
        """Note the decisions of one decision time, and what the controller can tell of them by signal.

        Raises:
            DecisionError: they make no sense.
        """
        for signal_id, decision in check_decisions(self._network, decisions).items():
            phase = -1 if decision.phase is None else decision.phase
            hold_s = np.nan if decision.hold_s is None else decision.hold_s
            self._rows.append((time_s, self._index[signal_id], phase, hold_s))
            self._notes.append(_plain((notes or {}).get(signal_id, {})))

    def decisions(self) -> Decisions:
        """All of them."""
        table = np.array(self._rows, np.float64).reshape(-1, 4)
        time_s, signal, phase = (table[:, column].astype(np.int64) for column in range(3))
        return Decisions(time_s, signal, phase, table[:, 3], tuple(self._notes))


def _plain(value: Any) -> Any:
    """The same as JSON can hold it: no NaN, no arrays, names as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value if isinstance(value, (bool, int, str, type(None))) else str(value)


def make(about: About, outcome: Outcome, log: DecisionLog, scheduled: metrics.Vehicles, network: Network) -> Trace:
    """Pack what a session with ``SessionOptions(trace=True)`` left, and the vehicles that were to drive.

    Raises:
        TraceError: SUMO's files are missing or hold other columns.
    """
    lanes, vehicles = _vehicles(outcome.files.vehicles)
    journeys = Journeys(scheduled.depart_s, scheduled.entered_s, scheduled.arrival_s, scheduled.free_flow_s)
    lights = _signals(outcome.files.lights, about)
    return Trace(about, lanes, vehicles, lights, log.decisions(), journeys, trace_map.read(network.net_file))


def network_parts(network: Network) -> dict[str, Any]:
    """The roads and signals of ``About``; decimetres are enough."""

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return round(point[0], 1), round(point[1], 1)

    roads = {
        road.id: Road(
            name=road.name,
            length_m=round(road.length_m, 1),
            speed_mps=round(road.speed_mps, 2),
            lanes=road.lanes,
            shape=tuple(at(point) for point in road.shape),
            successors=road.successors,
        )
        for road in network.roads.values()
    }
    signals = {
        signal.id: Signal(
            position_m=at(signal.position_m),
            phases=tuple(phase.state for phase in signal.phases),
            links=tuple(
                Link(link=m.link, from_lane=network.lanes[m.lane], to_lane=network.exits[m.exit], direction=m.direction)
                for m in signal.movements
            ),
        )
        for signal in network.signals
    }
    return {"roads": roads, "signals": signals}


def _vehicles(path: Path) -> tuple[tuple[str, ...], Vehicles]:
    names = {f"vehicle_{key}": "category" for key in ("id", "type", "lane")}
    numbers = ["timestep_time", *(f"vehicle_{key}" for key in ("x", "y", "speed", "pos"))]
    rows = _table(path, {**names, **dict.fromkeys(numbers, "float64")})
    rows = rows[rows["vehicle_lane"].notna()]
    codes, ids = rows["vehicle_id"].factorize()  # in the order in which they came
    order = np.lexsort((rows["timestep_time"], codes))
    rows, codes = rows.iloc[order], codes[order]
    first = np.searchsorted(codes, np.arange(len(ids) + 1))
    lane, lanes = rows["vehicle_lane"].factorize(sort=True)
    vehicles = Vehicles(
        ids=tuple(map(str, ids)),
        types=tuple(map(str, rows["vehicle_type"].iloc[first[:-1]])),
        first=first.astype(np.int64),
        time_s=np.rint(rows["timestep_time"]).to_numpy(np.int64),
        lane=lane.astype(np.int64),
        position_m=rows["vehicle_pos"].to_numpy(),
        speed_mps=rows["vehicle_speed"].to_numpy(),
        x_m=rows["vehicle_x"].to_numpy(),
        y_m=rows["vehicle_y"].to_numpy(),
    )
    return tuple(map(str, lanes)), vehicles


def _signals(path: Path, about: About) -> dict[str, SignalStates]:
    rows = _table(path, {"tlsState_time": "float64", "tlsState_id": "category", "tlsState_state": "category"})
    found: dict[str, SignalStates] = {}
    for name, shown in rows.groupby("tlsState_id", observed=True):
        new = shown["tlsState_state"].cat.codes.diff() != 0
        time_s = np.rint(shown["tlsState_time"][new]).to_numpy(np.int64)
        found[str(name)] = SignalStates(time_s, tuple(map(str, shown["tlsState_state"][new])))
    if missing := [name for name in about.signals if name not in found]:
        raise TraceError(f"SUMO's signal output {path} says nothing of signal '{missing[0]}'.")
    return {name: found[name] for name in about.signals}


def _table(path: Path, types: dict[str, Any]) -> pd.DataFrame:
    """One of SUMO's CSV outputs; an empty file is a table without rows."""
    import pandas as pd

    try:
        return pd.read_csv(path, sep=";", usecols=list(types), dtype=types)
    except pd.errors.EmptyDataError:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types.items()})
    except OSError as error:
        raise TraceError(f"SUMO's output {path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise TraceError(f"SUMO's output {path} has other columns than expected; is SUMO older than 1.24?") from error
