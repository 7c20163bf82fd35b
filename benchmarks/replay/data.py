"""What a replay's page carries: one or two runs as whole numbers, deflated, in a few hundred kilobytes.

The packed bytes are the length of a JSON header (4 bytes, little-endian), the header, and the arrays that it lists, one
after another. Places are decimetres from the map's lower left corner. A vehicle's coordinates are kept as changes of
its speed (second differences), which are small numbers while it drives and zeros while it stands.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.replay.choice import Chosen
from benchmarks.trace.lane_shapes import Floats, Ints, StreetMap
from benchmarks.trace.trace_file import PLACE_M, Trace
from scenarios.incidents.incident import BLOCKING

#: Vehicles slower than this stand (SUMO's own bound for halting), m/s.
STANDING_MPS = 0.1
#: The running delay is kept for every so many seconds.
DELAY_STEP_S = 5
#: What a vehicle is to the page.
CAR, WRECK, EMERGENCY = 0, 1, 2
COMPASS = ("east", "north-east", "north", "north-west", "west", "south-west", "south", "south-east")
TURNS = {"l": "left", "L": "half left", "s": "ahead", "R": "half right", "r": "right", "t": "back"}


class Packer:
    """Collects named arrays; each is kept as differences in the narrowest type, and added up again in the browser."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, str, int]] = []
        self._bytes: list[bytes] = []

    def add(self, name: str, values: Ints, differences: int = 1) -> None:
        """Keep an array of integers; 0 differences where the values are differences already."""
        kept = np.diff(values, prepend=0) if differences else values
        low, high = int(kept.min(initial=0)), int(kept.max(initial=0))
        width = next(width for width in (1, 2, 4) if -(2 ** (8 * width - 1)) <= low and high < 2 ** (8 * width - 1))
        self._entries.append((name, f"i{width}{'+' * differences}", len(kept)))
        self._bytes.append(kept.astype(f"<i{width}").tobytes())

    def pack(self, header: Mapping[str, Any]) -> str:
        """Everything as text for a page: deflated, base64."""
        text = json.dumps({**header, "arrays": self._entries}, separators=(",", ":"), allow_nan=False).encode()
        return base64.b64encode(
            zlib.compress(b"".join((len(text).to_bytes(4, "little"), text, *self._bytes)), 9)
        ).decode()


def packed(chosen: Sequence[Chosen], names: Sequence[str]) -> str:
    """The runs, under names for readers, as text for the page, which ``benchmarks/replay/data.js`` reads."""
    trace = chosen[0].trace
    frame = Frame(trace)
    packer = Packer()
    _add_map(packer, trace.map, frame)
    runs = [_add_run(packer, number, one.trace, frame) for number, one in enumerate(chosen)]
    about = trace.about
    header = {
        "names": list(names),
        "begin_s": int(about.begin_s),
        "measured_s": int(about.begin_s + about.warmup_s),
        "end_s": int(about.end_s),
        "delay_step_s": DELAY_STEP_S,
        "signals": signals(trace, frame),
        "incidents": [[_on_map(one.trace, known, frame) for known in incidents(one.trace)] for one in chosen],
        "runs": runs,
        "size_dm": frame.size_dm,
    }
    return packer.pack(header)


class Frame:
    """The map's coordinates: decimetres from its lower left corner, and the lanes by number."""

    def __init__(self, trace: Trace) -> None:
        lines, vehicles = trace.map.lines, trace.vehicles
        x_m = np.concatenate([lines.x_m, trace.map.junctions.x_m, vehicles.x_m])
        y_m = np.concatenate([lines.y_m, trace.map.junctions.y_m, vehicles.y_m])
        self.low_m = (float(x_m.min(initial=0.0 if not x_m.size else math.inf)), float(y_m.min(initial=math.inf)))
        self.lane = {name: number for number, name in enumerate(trace.map.lanes)}
        high_m = (float(x_m.max(initial=-math.inf)), float(y_m.max(initial=-math.inf)))
        self.size_dm = [round((high - low) / PLACE_M) for low, high in zip(self.low_m, high_m, strict=True)]

    def x_dm(self, x_m: Floats) -> Ints:
        """Eastwards from the corner."""
        return np.rint((x_m - self.low_m[0]) / PLACE_M).astype(np.int64)

    def y_dm(self, y_m: Floats) -> Ints:
        """Northwards from the corner."""
        return np.rint((y_m - self.low_m[1]) / PLACE_M).astype(np.int64)

    def point(self, place_m: Sequence[float] | Floats) -> list[int]:
        """One place."""
        x_dm, y_dm = self.x_dm(np.array([place_m[0]])), self.y_dm(np.array([place_m[1]]))
        return [int(x_dm[0]), int(y_dm[0])]


def _on_map(trace: Trace, incident: dict[str, Any], frame: Frame) -> dict[str, Any]:
    return {**incident, "at": frame.point(place_of(trace, incident)) if incident["lanes"] else None}


def _add_map(packer: Packer, streets: StreetMap, frame: Frame) -> None:
    packer.add("width", np.rint(streets.width_m / PLACE_M).astype(np.int64))
    packer.add("motor", streets.motor.astype(np.int64))
    for name, shapes in (("lane", streets.lines), ("junction", streets.junctions)):
        packer.add(f"{name}.first", shapes.first)
        packer.add(f"{name}.x", frame.x_dm(shapes.x_m))
        packer.add(f"{name}.y", frame.y_dm(shapes.y_m))


def _add_run(packer: Packer, number: int, trace: Trace, frame: Frame) -> dict[str, Any]:
    """The arrays of one run; returns its part of the header."""

    def add(name: str, values: Ints, differences: int = 1) -> None:
        packer.add(f"{number}.{name}", values, differences)

    vehicles, decisions = trace.vehicles, trace.decisions
    starts = vehicles.first[:-1]
    add("first", vehicles.first)
    add("begin", vehicles.time_s[starts])
    add("kind", np.array([vehicle_kind(name) for name in vehicles.types], np.int64), 0)
    for name, values in (("x", frame.x_dm(vehicles.x_m)), ("y", frame.y_dm(vehicles.y_m))):
        add(f"{name}.start", values[starts])
        add(name, _second_differences(values, starts), 0)
    lane = np.array([frame.lane.get(name, -1) for name in trace.lanes], np.int64)
    standing = vehicles.speed_mps < STANDING_MPS
    add("place", 2 * (lane[vehicles.lane] + 1 if lane.size else vehicles.lane) + standing)
    states = sorted({state for shown in trace.signals.values() for state in shown.states})
    code = {state: index for index, state in enumerate(states)}
    add("changes", np.array([len(shown.states) for shown in trace.signals.values()], np.int64))
    add("change_s", np.concatenate([np.zeros(0, np.int64), *(shown.time_s for shown in trace.signals.values())]))
    add("change_state", np.array([code[s] for shown in trace.signals.values() for s in shown.states], np.int64))
    add("decision_s", decisions.time_s)
    add("decision_signal", decisions.signal)
    add("decision_phase", decisions.phase)
    add("decision_hold_s", np.rint(np.nan_to_num(decisions.hold_s, nan=-1.0)).astype(np.int64))
    for name, values in running(trace).items():
        add(name, values)
    notes = decisions.notes if any(decisions.notes) else ()
    return {"controller": trace.about.controller, "states": states, "notes": notes}


def _second_differences(values: Ints, starts: Ints) -> Ints:
    """Changes of the change, vehicle by vehicle: 0 for the first sample, the first step for the second."""
    steps = np.diff(values, prepend=0)
    steps[starts] = 0
    changes = np.diff(steps, prepend=0)
    changes[starts] = 0
    return changes.astype(np.int64)


def vehicle_kind(vehicle_type: str) -> int:
    """``CAR``, ``WRECK`` or ``EMERGENCY``, by the name that incidents give the types of their vehicles."""
    if vehicle_type.startswith("greenloop.prop"):
        return WRECK
    return EMERGENCY if vehicle_type.startswith("greenloop.emergency") else CAR


def running(trace: Trace) -> dict[str, Ints]:
    """Every ``DELAY_STEP_S`` from the measured begin to the end: mean delay (tenths of s), outside, arrived (veh)."""
    about, journeys = trace.about, trace.journeys
    times_s = np.arange(about.begin_s + about.warmup_s, about.end_s + 1, DELAY_STEP_S)
    delay_s = np.array([journeys.delay_s(float(time_s)) for time_s in times_s])

    def until(moments_s: Floats) -> Ints:
        known = np.sort(moments_s[~np.isnan(moments_s)])
        return np.searchsorted(known, times_s, side="right").astype(np.int64)

    return {
        "delay": np.rint(10 * np.nan_to_num(delay_s, nan=0.0)).astype(np.int64),
        "outside": np.maximum(until(journeys.depart_s) - until(journeys.entered_s), 0),
        "arrived": until(journeys.arrival_s),
    }


# --- signals and incidents in words


def signals(trace: Trace, frame: Frame) -> list[dict[str, Any]]:
    """Each signal: where it is, its links, its approaches, and what each phase serves."""
    found = []
    for name, signal in trace.about.signals.items():
        approaches: dict[str, list[int]] = {}
        for link in signal.links:
            lanes = approaches.setdefault(link.from_road, [])
            if (lane := frame.lane.get(link.from_lane, -1)) >= 0 and lane not in lanes:
                lanes.append(lane)
        words = {road: _approach(trace, road, lanes) for road, lanes in approaches.items()}
        found.append({
            "id": name,
            "at": frame.point(signal.position_m),
            "phases": [{"state": state, "serves": _serves(signal.links, state, words)} for state in signal.phases],
            "links": [
                [link.link, frame.lane.get(link.from_lane, -1), "lLsRrt".find(link.direction)] for link in signal.links
            ],
            "approaches": [{"name": words[road], "lanes": lanes} for road, lanes in approaches.items()],
        })  # fmt: skip
    return found


def _approach(trace: Trace, road: str, lanes: Sequence[int]) -> str:
    """``Aachener Straße from the west``; where the network has no street names, ``from the west``."""
    known = trace.about.roads.get(road)
    name = known.name if known is not None and known.name != road else ""
    if not lanes:
        return name or road
    line = trace.map.lines.of(lanes[0])
    east, north = line[max(len(line) - 2, 0)] - line[-1]  # to where it comes from
    side = f"from the {COMPASS[round(math.atan2(north, east) / (math.pi / 4)) % 8]}"
    return f"{name} {side}" if name else side


def _serves(links: Sequence[Any], state: str, words: Mapping[str, str]) -> list[str]:
    """What has green in a phase, by approach; turns that must give way are named apart."""
    turns: dict[str, dict[str, bool]] = {}
    for link in links:
        if link.link < len(state) and state[link.link] in "Gg":
            known = turns.setdefault(link.from_road, {})
            turn = TURNS.get(link.direction, "ahead")
            known[turn] = known.get(turn, False) or state[link.link] == "G"
    return [f"{words[road]}: {_turns(known)}" for road, known in turns.items()]


def _turns(known: Mapping[str, bool]) -> str:
    """``ahead, right; left gives way``."""
    order = [turn for turn in TURNS.values() if turn in known]
    free = ", ".join(turn for turn in order if known[turn])
    yielding = ", ".join(turn for turn in order if not known[turn])
    return "; ".join(part for part in (free, f"{yielding} giving way" if yielding else "") if part)


def incidents(trace: Trace) -> list[dict[str, Any]]:
    """Each incident: what, when, the street, its lanes by number, those that it blocks, and what was reported of it."""
    numbers = {name: number for number, name in enumerate(trace.map.lanes)}
    found = []
    for incident in trace.about.incidents:
        edge, kind = str(incident.get("edge", "")), str(incident["type"])
        road = trace.about.roads.get(edge)
        names = [f"{edge}_{lane}" for lane in incident.get("lanes") or range(road.lanes if road else 0)]
        found.append({
            "id": str(incident.get("id", "")),
            "what": kind.replace("_", " "),
            "road": road.name if road and road.name != edge else "",
            "begin_s": int(incident["start_s"]),
            "end_s": int(min(float(incident["end_s"]), trace.about.end_s)),
            "lanes": [numbers[name] for name in names if name in numbers],
            "blocks": kind in BLOCKING,
            "said": [[int(report["time_s"]), str(report["text"])] for report in incident.get("reports", ())],
        })  # fmt: skip
    return found


def place_of(trace: Trace, incident: Mapping[str, Any]) -> Floats:
    """Where an incident is, m: at the wreck of a crash, else in the middle of its first lane."""
    prefix = f"greenloop.prop.{incident['id']}."
    wreck = next((v for v, name in enumerate(trace.vehicles.ids) if name.startswith(prefix)), None)
    if wreck is not None:
        first = int(trace.vehicles.first[wreck])
        return np.array([trace.vehicles.x_m[first], trace.vehicles.y_m[first]])
    line = trace.map.lines.of(incident["lanes"][0])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    return np.array([np.interp(along[-1] / 2, along, line[:, axis]) for axis in (0, 1)])
