"""What happened in one run, second by second: every vehicle, every signal, every decision, in one compact file.

``greenloop run --trace`` writes ``<result>.trace.npz`` beside the result. The file holds a JSON header and a few
integer arrays: places in decimetres and speeds in centimetres a second, each as the difference to the value before
(vehicle by vehicle), which compresses to about four bytes a vehicle and second. The same seed gives the same bytes,
unless the controller notes what changes from run to run.

    trace = load(Path("results/cologne8__greedy__native__seed1__0123456789.trace.npz"))
    trace.vehicles.x_m[trace.vehicles.of(0)]  # the way of the first vehicle
    trace.signals["26110729"].at(25260)  # "GGgrrGGgrr"
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.results.run_result import write_bytes
from benchmarks.trace.lane_shapes import Shapes, StreetMap
from scenarios.common.files import FileError, parse_json, read_arrays

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: 2: lanes and junctions, journeys, what controllers note of their decisions, and the licence.
SCHEMA_VERSION = 2
TRACE_SUFFIX = ".trace.npz"
#: Places are kept in decimetres, speeds in centimetres a second.
PLACE_M, SPEED_MPS = 0.1, 0.01
#: Departures, arrivals and holds are kept in hundredths of a second.
TIME_S = 0.01


class TraceError(ValueError):
    """A trace that cannot be read or made; the message is one sentence that names the file."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Road(_Record):
    """A road section: street name, length (m), speed limit (m/s), lanes, line (m), and the roads it leads to."""

    name: str
    length_m: float
    speed_mps: float
    lanes: int
    shape: tuple[tuple[float, float], ...]
    successors: tuple[str, ...]


class Link(_Record):
    """One way over a signal: its place in the state string, from which lane to which, SUMO's direction (s, l, r, t)."""

    link: int
    from_lane: str
    to_lane: str
    direction: str

    @property
    def from_road(self) -> str:
        """The road that leads to the signal."""
        return self.from_lane.rpartition("_")[0]

    @property
    def to_road(self) -> str:
        """The road that leads away."""
        return self.to_lane.rpartition("_")[0]


class Signal(_Record):
    """A signal: where it stands (m), its green phases as state strings, and its links."""

    position_m: tuple[float, float]
    phases: tuple[str, ...]
    links: tuple[Link, ...]


class About(_Record):
    """Which run this is, and the part of its network that its figures need; times on SUMO's clock, s.

    ``licence`` is the scenario's, and names whose map it is.
    """

    schema_version: int = SCHEMA_VERSION
    scenario: str
    controller: str
    seed: int
    timings: dict[str, Any]
    begin_s: float
    warmup_s: float
    end_s: float
    network_sha256: str
    versions: dict[str, str]
    incidents: tuple[dict[str, Any], ...]
    roads: dict[str, Road]
    signals: dict[str, Signal]
    licence: str = ""


@dataclass(frozen=True)
class Vehicles:
    """V vehicles in N samples, one a second from insertion to arrival; vehicle by vehicle, in the order they came.

    Attributes:
        ids, types: (V,) SUMO's vehicle id and vehicle type (``greenloop.prop``: the wreck of a crash).
        first: (V + 1,) the samples of vehicle v are ``first[v]`` to ``first[v + 1] - 1``; see ``of``.
        time_s: (N,) SUMO's clock; the sample is the state at the end of that second's step, as in SUMO's fcd output.
        lane: (N,) index into ``Trace.lanes``.
        position_m: (N,) of the front bumper from the lane's begin, to the decimetre.
        speed_mps: (N,) to the cm/s.
        x_m, y_m: (N,) of the front bumper in the network's coordinates, to the decimetre.
    """

    ids: tuple[str, ...]
    types: tuple[str, ...]
    first: Ints
    time_s: Ints
    lane: Ints
    position_m: Floats
    speed_mps: Floats
    x_m: Floats
    y_m: Floats

    def of(self, vehicle: int) -> slice:
        """The samples of one vehicle, by its index."""
        return slice(int(self.first[vehicle]), int(self.first[vehicle + 1]))

    @cached_property
    def vehicle(self) -> Ints:
        """(N,) index of the vehicle of each sample."""
        return np.repeat(np.arange(len(self.ids)), np.diff(self.first))

    def at(self, time_s: int) -> Ints:
        """Indices of the samples of one second: all vehicles that were in the network then."""
        return np.flatnonzero(self.time_s == time_s)


@dataclass(frozen=True)
class SignalStates:
    """The lights of one signal as changes.

    Attributes:
        time_s: (C,) SUMO's clock; the state shows from this second on, and vehicles see it in this second's step.
        states: (C,) SUMO's state strings, a letter a link.
    """

    time_s: Ints
    states: tuple[str, ...]

    def at(self, time_s: float) -> str:
        """The state shown in a second; before the first one, the first."""
        return self.states[max(int(np.searchsorted(self.time_s, time_s, side="right")) - 1, 0)]


@dataclass(frozen=True)
class Decisions:
    """What the controller asked for, D decisions in the order they were made.

    Attributes:
        time_s: (D,) SUMO's clock.
        signal: (D,) index into ``Trace.about.signals``, in its order.
        phase: (D,) phase asked for; -1 where a whole program was handed over.
        hold_s: (D,) for how long; NaN where the controller did not say.
        notes: (D,) what it told of each (``Controller.notes``) as plain JSON values; empty where it said nothing.
    """

    time_s: Ints
    signal: Ints
    phase: Ints
    hold_s: Floats
    notes: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Journeys:
    """Every vehicle scheduled in the measured time, S of them, whether it ever got in or not.

    Attributes:
        depart_s: (S,) scheduled departure, SUMO's clock.
        entered_s: (S,) when it got into the network; NaN where it never did.
        arrival_s: (S,) arrival; NaN where it did not arrive in time.
        free_flow_s: (S,) on its original route without incidents, as in the delay of ``benchmarks.results.metrics``.
    """

    depart_s: Floats
    entered_s: Floats
    arrival_s: Floats
    free_flow_s: Floats

    def delay_s(self, time_s: float) -> float:
        """Mean delay of the vehicles scheduled before some time, as if the run ended then; NaN before the first one.

        At the run's end this is the metric ``delay_s``.
        """
        late_s = time_s - self.depart_s
        known = late_s > 0
        if not known.any():
            return float("nan")
        travel_s = np.fmin(self.arrival_s - self.depart_s, late_s)
        return float(np.mean((travel_s - np.minimum(self.free_flow_s, late_s))[known]))


@dataclass(frozen=True)
class Trace:
    """One run: who and where (``about``), all vehicles, the lights of each signal, and the controller's decisions."""

    about: About
    lanes: tuple[str, ...]
    vehicles: Vehicles
    signals: Mapping[str, SignalStates]
    decisions: Decisions
    journeys: Journeys
    map: StreetMap

    @property
    def times_s(self) -> range:
        """Every second of the run, warm-up included."""
        return range(int(self.about.begin_s), int(self.about.end_s))


def save(trace: Trace, path: Path) -> None:
    """Write a trace at once or not at all.

    Raises:
        ResultError: the folder cannot be written or the disk is full.
    """
    vehicles, decisions, journeys, streets = trace.vehicles, trace.decisions, trace.journeys, trace.map
    states = sorted({state for shown in trace.signals.values() for state in shown.states})
    code = {state: index for index, state in enumerate(states)}
    text = {
        "about": trace.about.model_dump(mode="json"),
        "lanes": trace.lanes,
        "vehicle_ids": vehicles.ids,
        "vehicle_types": vehicles.types,
        "states": states,
        "notes": decisions.notes if any(decisions.notes) else (),
        "map_lanes": streets.lanes,
    }
    arrays = {
        "first": vehicles.first,
        "time_s": vehicles.time_s,
        "lane": vehicles.lane,
        "position_dm": _units(vehicles.position_m, PLACE_M),
        "speed_cmps": _units(vehicles.speed_mps, SPEED_MPS),
        "x_dm": _units(vehicles.x_m, PLACE_M),
        "y_dm": _units(vehicles.y_m, PLACE_M),
        "changes": np.array([len(shown.states) for shown in trace.signals.values()]),
        "change_s": np.concatenate([np.zeros(0, int), *(shown.time_s for shown in trace.signals.values())]),
        "change_state": np.array([code[s] for shown in trace.signals.values() for s in shown.states]),
        "decision_s": decisions.time_s,
        "decision_signal": decisions.signal,
        "decision_phase": decisions.phase,
        "decision_hold_cs": _units(np.nan_to_num(decisions.hold_s, nan=-1.0), TIME_S),
        "journey_depart_cs": _units(journeys.depart_s, TIME_S),
        "journey_entered_cs": _units(np.nan_to_num(journeys.entered_s, nan=-1.0), TIME_S),
        "journey_arrival_cs": _units(np.nan_to_num(journeys.arrival_s, nan=-1.0), TIME_S),
        "journey_free_flow_cs": _units(journeys.free_flow_s, TIME_S),
        "map_width_dm": _units(streets.width_m, PLACE_M),
        "map_motor": streets.motor.astype(np.int64),
        **_packed_shapes("map_lane", streets.lines),
        **_packed_shapes("map_junction", streets.junctions),
    }
    packed = {name: _small(np.diff(values, prepend=0)) for name, values in arrays.items()}
    encoded = json.dumps(text, separators=(",", ":"), allow_nan=False).encode()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, header=np.frombuffer(encoded, np.uint8), **packed)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def load(path: Path | str) -> Trace:
    """Read a trace.

    Raises:
        TraceError: the file is missing, truncated, no trace, or of another schema version.
    """
    try:
        packed = read_arrays(Path(path))
        text = parse_json(packed.pop("header").tobytes())
        arrays = {name: np.cumsum(values, dtype=np.int64) for name, values in packed.items()}
        version = text["about"]["schema_version"]
        if version != SCHEMA_VERSION:
            raise TraceError(
                f"Trace {path} has schema version {version!r}, this greenloop reads {SCHEMA_VERSION}; delete it and "
                "run its cell again with --trace."
            )
        return _trace(text, arrays)
    except TraceError:
        raise
    except FileError as error:
        hint = "check the path" if isinstance(error.__cause__, OSError) else "delete it and run its cell again"
        raise TraceError(f"Trace {path} {error}; {hint} with --trace.") from error
    except (ValidationError, ValueError, KeyError, TypeError, IndexError, EOFError, AttributeError) as error:
        raise TraceError(
            f"Trace {path} is truncated or no greenloop trace; delete it and run its cell again with --trace."
        ) from error


def _trace(text: dict[str, Any], arrays: dict[str, Ints]) -> Trace:
    about = About.model_validate(text["about"])
    vehicles = Vehicles(
        ids=tuple(text["vehicle_ids"]),
        types=tuple(text["vehicle_types"]),
        first=arrays["first"],
        time_s=arrays["time_s"],
        lane=arrays["lane"],
        position_m=_metres(arrays["position_dm"]),
        speed_mps=np.multiply(arrays["speed_cmps"], SPEED_MPS, dtype=np.float64),
        x_m=_metres(arrays["x_dm"]),
        y_m=_metres(arrays["y_dm"]),
    )
    columns = (vehicles.lane, vehicles.position_m, vehicles.speed_mps, vehicles.x_m, vehicles.y_m)
    if len(vehicles.first) != len(vehicles.ids) + 1 or {len(c) for c in columns} != {int(vehicles.first[-1])}:
        raise ValueError("columns of different lengths")
    signals, decisions = _signals(about, text["states"], arrays), _decisions(text["notes"], arrays)
    streets = StreetMap(
        lanes=tuple(text["map_lanes"]),
        width_m=_metres(arrays["map_width_dm"]),
        motor=arrays["map_motor"].astype(bool),
        lines=_shapes("map_lane", arrays),
        junctions=_shapes("map_junction", arrays),
    )
    if len({len(streets.lanes), len(streets.width_m), len(streets.motor), len(streets.lines)}) != 1:
        raise ValueError("lanes of different numbers")
    return Trace(about, tuple(text["lanes"]), vehicles, signals, decisions, _journeys(arrays), streets)


def _decisions(notes: list[dict[str, Any]], arrays: dict[str, Ints]) -> Decisions:
    time_s = arrays["decision_s"]
    hold_s = arrays["decision_hold_cs"] * TIME_S
    told = tuple(notes) if notes else ({},) * len(time_s)
    if len(told) != len(time_s):
        raise ValueError("notes of other decisions")
    return Decisions(
        time_s, arrays["decision_signal"], arrays["decision_phase"], np.where(hold_s < 0, np.nan, hold_s), told
    )


def _journeys(arrays: dict[str, Ints]) -> Journeys:
    def seconds(name: str) -> Floats:
        found = np.multiply(arrays[f"journey_{name}_cs"], TIME_S, dtype=np.float64)
        return np.where(found < 0, np.nan, found)

    return Journeys(seconds("depart"), seconds("entered"), seconds("arrival"), seconds("free_flow"))


def _packed_shapes(name: str, shapes: Shapes) -> dict[str, NDArray[Any]]:
    return {
        f"{name}_first": shapes.first,
        f"{name}_x_dm": _units(shapes.x_m, PLACE_M),
        f"{name}_y_dm": _units(shapes.y_m, PLACE_M),
    }


def _shapes(name: str, arrays: dict[str, Ints]) -> Shapes:
    first = arrays[f"{name}_first"]
    found = Shapes(first, _metres(arrays[f"{name}_x_dm"]), _metres(arrays[f"{name}_y_dm"]))
    if not len(found.x_m) == len(found.y_m) == int(first[-1]):
        raise ValueError("points of other lines")
    return found


def _signals(about: About, states: list[str], arrays: dict[str, Ints]) -> dict[str, SignalStates]:
    ends = np.cumsum(arrays["changes"])[:-1]
    times, shown = np.split(arrays["change_s"], ends), np.split(arrays["change_state"], ends)
    return {
        name: SignalStates(time_s, tuple(states[code] for code in codes))
        for name, time_s, codes in zip(about.signals, times, shown, strict=True)
    }


def _metres(decimetres: Ints) -> Floats:
    return np.multiply(decimetres, PLACE_M, dtype=np.float64)


def _units(values: Floats, unit: float) -> Ints:
    return np.rint(values / unit).astype(np.int64)


def _small(values: Ints) -> NDArray[Any]:
    """The same integers in the narrowest signed type."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    return values.astype(np.promote_types(np.min_scalar_type(min(low, -1)), np.min_scalar_type(-max(high, 1) - 1)))
