"""Traffic out of route files: what to hand to SUMO, and every vehicle's schedule and free-flow time.

The schedule is made before a run and is the same for all controllers: departures and routes come from the files and
from duarouter, never from the simulation.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from scenarios.common.sumo_tools import cache_root, cached, run_tool, strip_comments, sumo_version
from scenarios.demand.drivers import ATTRIBUTES, replace_drivers
from scenarios.demand.waves import Waves
from scenarios.spec import Scenario, ScenarioError

VERSION = 1  # of what is cached: raise it whenever the same input gives another result
#: A duplicate departs up to this far from its original even without jitter, or scaled traffic would come in pairs.
DUPLICATE_JITTER_S = 60.0
#: SUMO's defaults per vehicle class: maximum speed (m/s) and length (m); anything else is a passenger car.
_CLASS_DEFAULTS = {
    "bus": (85 / 3.6, 12.0),
    "coach": (100 / 3.6, 14.0),
    "truck": (130 / 3.6, 7.1),
    "trailer": (130 / 3.6, 16.5),
    "delivery": (200 / 3.6, 6.5),
    "emergency": (200 / 3.6, 6.5),
    "motorcycle": (200 / 3.6, 2.2),
    "moped": (60 / 3.6, 2.1),
    "bicycle": (50 / 3.6, 1.6),
}
_CAR = (200 / 3.6, 5.0)
_SCHEDULED = {"vehicle": "depart", "trip": "depart", "flow": "begin", "person": "depart", "personFlow": "begin"}


@dataclass(frozen=True)
class Schedule:
    """The vehicles scheduled within the measured time, in order of departure, and the files that make them.

    Attributes:
        route_files: to hand to SUMO; the scenario's own unless it asks for scaling or jitter or has flows.
        ids: (V,) vehicle ids.
        depart_s: (V,) scheduled departure, SUMO's clock, s.
        free_flow_s: (V,) seconds on the original route at the speed limits (speed factor 1), s.
        unroutable: vehicles of the files that have no valid route; they are not scheduled.
    """

    route_files: tuple[Path, ...]
    ids: NDArray[np.str_]
    depart_s: NDArray[np.float64]
    free_flow_s: NDArray[np.float64]
    unroutable: tuple[str, ...] = ()


def schedule(scenario: Scenario, seed: int, cache_dir: Path | None = None) -> Schedule:
    """Prepare a scenario's traffic for one seed; cached by content.

    Args:
        scenario: its route files may hold vehicles, trips and flows.
        seed: draws jitter, scaling and random flows; without these it changes nothing.
        cache_dir: instead of the user's cache folder.

    Raises:
        ScenarioError: a file is missing or broken, or no vehicle departs in the measured time.
    """
    folder = cache_root(cache_dir) / "schedules" / _key(scenario, seed)
    cached(folder, lambda draft: _build(scenario, seed, draft))
    prepared = folder / "traffic.rou.xml"
    with np.load(folder / "schedule.npz") as stored:
        depart_s = stored["depart_s"]
        measured = (depart_s >= scenario.begin_s + scenario.warmup_s) & (depart_s < scenario.end_s)
        result = Schedule(
            route_files=(prepared,) if prepared.exists() else scenario.route_files,
            ids=stored["ids"][measured],
            depart_s=depart_s[measured],
            free_flow_s=stored["free_flow_s"][measured],
            unroutable=tuple(stored["unroutable"].tolist()),
        )
    if not len(result.ids):
        raise ScenarioError(
            f"Scenario {scenario.name}: no vehicle of {_names(scenario.route_files)} departs between "
            f"{scenario.begin_s + scenario.warmup_s:g} s and {scenario.end_s:g} s; check begin_s and end_s."
        )
    return result


def read_departures(files: Sequence[Path]) -> list[float]:
    """Scheduled departures of all vehicles and trips, s; a flow counts evenly spread at its mean rate.

    Raises:
        ScenarioError: a file is missing or broken.
    """
    found: list[float] = []
    for element in _elements(files):
        if element.tag in ("vehicle", "trip"):
            found.append(_depart_s(element))
        elif element.tag == "flow":
            found += _flow_departures(element)
    return sorted(time for time in found if math.isfinite(time))


# --- preparing -----------------------------------------------------------------------------------------------------


def _key(scenario: Scenario, seed: int) -> str:
    digest = hashlib.sha256(
        f"{VERSION}|{sumo_version()}|{scenario.begin_s}|{scenario.end_s}|{scenario.demand!r}".encode()
    )
    if scenario.drivers != "as_in_files":
        digest.update(f"{scenario.drivers}{ATTRIBUTES[scenario.drivers]}".encode())
    seeded = _is_redrawn(scenario)
    scenario.check_files()
    for file in scenario.files:
        content = file.read_bytes()
        digest.update(hashlib.sha256(content).digest())
        seeded |= file in scenario.route_files and b"<flow" in content
    digest.update(str(seed if seeded else "any seed").encode())
    return digest.hexdigest()[:32]


def _is_redrawn(scenario: Scenario) -> bool:
    demand = scenario.demand
    return demand.scale != 1 or demand.departure_jitter_s > 0 or demand.waves > 0


def _build(scenario: Scenario, seed: int, draft: Path) -> None:
    roads = _Roads(scenario.net_file)
    elements = list(_elements(scenario.route_files))
    files = scenario.route_files
    prepared = draft / "traffic.rou.xml"
    times = [_time_s(element) for element in elements if element.tag in _SCHEDULED]
    if any(element.tag == "flow" for element in elements):
        _route(scenario, files, prepared, seed)  # random flows get ids and times that every controller shares
        elements, files = list(_elements([prepared])), (prepared,)
    elif times != sorted(times) and not _is_redrawn(scenario):
        write_routes(elements, prepared)  # SUMO would drop what is out of order
        files = (prepared,)
    if _is_redrawn(scenario):
        elements = _redraw(elements, scenario, seed)
    if scenario.drivers != "as_in_files":
        elements = replace_drivers(elements, scenario.drivers)
    if _is_redrawn(scenario) or scenario.drivers != "as_in_files":
        write_routes(elements, prepared)
        files = (prepared,)
    routed = draft / "routed.xml"
    _route(scenario, files, routed, seed)
    wanted = {element.get("id", "") for element in _elements(files) if element.tag in ("vehicle", "trip")}
    ids, depart_s, free_flow_s = _free_flow(roads, routed)
    routed.unlink()
    np.savez(
        draft / "schedule.npz",
        ids=np.array(ids, dtype=np.str_),
        depart_s=np.array(depart_s, dtype=np.float64),
        free_flow_s=np.array(free_flow_s, dtype=np.float64),
        unroutable=np.array(sorted(wanted - set(ids)), dtype=np.str_),
    )


def _redraw(elements: list[ElementTree.Element], scenario: Scenario, seed: int) -> list[ElementTree.Element]:
    """Keep, duplicate and move vehicles: on average ``scale`` times as many, in waves, each departure jittered."""
    rng = np.random.default_rng([seed, 1])
    scale, jitter_s = scenario.demand.scale, scenario.demand.departure_jitter_s
    begin_s, last_s = scenario.begin_s, math.ceil(scenario.end_s) - 1.0
    waves = Waves(scenario.demand.waves, begin_s, scenario.end_s, seed) if scenario.demand.waves else None
    result = []
    for element in elements:
        if element.tag not in ("vehicle", "trip"):
            result.append(element)
            continue
        depart_s = _depart_s(element)
        draws = rng.random(2 + math.ceil(scale))  # always drawn, so that vehicles outside the horizon change nothing
        if not begin_s <= depart_s < scenario.end_s:
            continue
        if waves:
            depart_s = waves.moved_s(depart_s, _origin(element))
        for copy in range(math.floor(scale + draws[0])):
            spread_s = max(jitter_s, DUPLICATE_JITTER_S) if copy else jitter_s
            moved_s = depart_s + spread_s * (2 * draws[1 + copy] - 1)
            moved_s = max(moved_s, 2 * begin_s - moved_s)  # folded back into the horizon: clamping would make a platoon
            # whole seconds: SUMO inserts at its steps, and a fraction would count as delay
            time_s = max(round(min(moved_s, 2 * last_s - moved_s)), begin_s) if spread_s or waves else depart_s
            suffix = f"#{copy + 1}" if copy else ""
            result.append(_copy(element, {"id": element.get("id", "") + suffix, "depart": f"{time_s:.2f}"}))
    return result


def _origin(element: ElementTree.Element) -> str:
    """The road that a vehicle or trip starts from, or the name of its route."""
    routes = [child.get("edges", "") for child in element if child.tag == "route"]
    return element.get("from") or "".join(routes[0].split()[:1] if routes else element.get("route", ""))


def _copy(element: ElementTree.Element, changes: dict[str, str]) -> ElementTree.Element:
    twin = ElementTree.Element(element.tag, {**element.attrib, **changes})
    twin.extend(list(element))
    return twin


def write_routes(elements: list[ElementTree.Element], file: Path) -> None:
    """Write types and named routes first, then everything with a departure in its order."""
    fixed = [element for element in elements if element.tag not in _SCHEDULED]
    timed = sorted((element for element in elements if element.tag in _SCHEDULED), key=_time_s)
    root = ElementTree.Element("routes")
    for element in (*fixed, *timed):
        element.tail = "\n"
        root.append(element)
    file.write_bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _route(scenario: Scenario, files: Sequence[Path], output: Path, seed: int) -> None:
    """Expand flows and find routes for trips with duarouter; given routes stay as they are."""
    options = ["--ignore-errors", "--skip-new-routes", "--unsorted-input", "--no-step-log"]
    options += ["--xml-validation", "never", "--alternatives-output", "NUL", "--seed", str(seed % 2**31)]
    if scenario.additional_files:
        options += ["--additional-files", ",".join(map(str, scenario.additional_files))]
    arguments = ["-n", scenario.net_file, "-r", ",".join(map(str, files)), "-o", output, *options]
    said = run_tool("duarouter", arguments, f"Scenario {scenario.name}: routing {_names(scenario.route_files)}")
    for line in said.splitlines():
        if "is not known" in line:  # duarouter goes on without it, but SUMO would stop
            what = line.removeprefix("Warning: ").strip()
            raise ScenarioError(f"Scenario {scenario.name}: {_names(scenario.route_files)}: {what}")
    strip_comments(output)


# --- reading -------------------------------------------------------------------------------------------------------


def _names(files: Sequence[Path]) -> str:
    return ", ".join(str(file) for file in files)


def _elements(files: Sequence[Path]) -> Iterator[ElementTree.Element]:
    """The children of ``<routes>`` in all files, one after the other."""
    for file in files:
        try:
            root = ElementTree.parse(file).getroot()
        except OSError as error:
            raise ScenarioError(f"Routes file {file} cannot be read ({error.strerror}); check the path.") from error
        except ElementTree.ParseError as error:
            raise ScenarioError(f"Routes file {file} is not complete XML: {error}.") from error
        if root.tag not in ("routes", "additional"):
            raise ScenarioError(f"Routes file {file} holds <{root.tag}>, not <routes>; give a SUMO .rou.xml file.")
        for element in root:
            if element.tag == "flow":
                _check_flow(file, element)
            yield element


def _time_s(element: ElementTree.Element) -> float:
    return _depart_s(element, _SCHEDULED[element.tag])


def _depart_s(element: ElementTree.Element, key: str = "depart") -> float:
    """A departure in seconds; infinite where it depends on something else ("triggered")."""
    text = element.get(key, "0" if key == "begin" else "")
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        if text.isalpha():
            return math.inf
        raise ScenarioError(
            f"<{element.tag} id='{element.get('id')}'>: {key} is '{text}'; give seconds or HH:MM:SS."
        ) from None
    seconds = 0.0
    for part, unit in zip(reversed(parts), (1, 60, 3600, 86400), strict=False):
        seconds += part * unit
    return seconds


_FLOW_VALUES = {
    "begin": "seconds or HH:MM:SS",
    "end": "seconds or HH:MM:SS",
    "number": "a whole number of vehicles",
    "period": "seconds above 0, or exp(vehicles per second)",
    "probability": "a probability from 0 to 1",
    "vehsPerHour": "vehicles per hour",
    "perHour": "vehicles per hour",
}
_FLOW_MOST = 1e7  # above this a number is a slip, and would only fill the memory


def _check_flow(file: Path, flow: ElementTree.Element) -> None:
    for key, wanted in _FLOW_VALUES.items():
        if (text := flow.get(key)) is not None and not _fits_flow(flow, key, text):
            raise ScenarioError(f"Routes file {file}: <flow id='{flow.get('id')}'>: {key} is '{text}'; give {wanted}.")


def _fits_flow(flow: ElementTree.Element, key: str, text: str) -> bool:
    try:
        if key in ("begin", "end"):
            return not math.isnan(_depart_s(flow, key))
        if key == "period":
            is_random = text.startswith("exp(") and text.endswith(")")
            return 0.001 <= float(text[4:-1] if is_random else text) <= _FLOW_MOST  # SUMO's clock has milliseconds
        value = int(text) if key == "number" else float(text)
    except ValueError:  # ScenarioError is one
        return False
    return 0 <= value <= (1 if key == "probability" else _FLOW_MOST)


def _flow_departures(flow: ElementTree.Element) -> list[float]:
    begin_s, end_s = _depart_s(flow, "begin"), _depart_s(flow, "end") if flow.get("end") else math.inf
    if math.isinf(begin_s):
        return []
    period, number = flow.get("period", ""), flow.get("number")
    rate = 0.0  # vehicles per second
    if flow.get("vehsPerHour") or flow.get("perHour"):
        rate = float(flow.get("vehsPerHour") or flow.get("perHour") or 0) / 3600
    elif period:
        rate = float(period[4:-1]) if period.startswith("exp(") else 1 / float(period)
    elif flow.get("probability"):
        rate = float(flow.get("probability", "0"))
    if math.isinf(end_s):
        end_s = begin_s + (int(number) / rate if number and rate else 3600)
    count = int(number) if number else round(rate * (end_s - begin_s))
    return [begin_s + (end_s - begin_s) * index / count for index in range(count)]


# --- free flow -----------------------------------------------------------------------------------------------------


def _free_flow(roads: _Roads, routed: Path) -> tuple[list[str], list[float], list[float]]:
    types: dict[str, tuple[float, float]] = {}
    rows: list[tuple[float, str, float]] = []
    for element in _elements([routed]):
        if element.tag == "vType":
            top_mps, length_m = _CLASS_DEFAULTS.get(element.get("vClass", ""), _CAR)
            top_mps, length_m = float(element.get("maxSpeed", top_mps)), float(element.get("length", length_m))
            types[element.get("id", "")] = (top_mps, length_m)
        elif element.tag == "vehicle":
            time_s = roads.drive_s(element, *types.get(element.get("type", ""), _CAR))
            rows.append((_depart_s(element), element.get("id", ""), time_s))
    rows.sort()
    return [row[1] for row in rows], [row[0] for row in rows], [row[2] for row in rows]


class _Roads:
    """Lengths and speed limits of a network's roads and of the ways over its junctions."""

    def __init__(self, net_file: Path) -> None:
        self.lanes: dict[str, tuple[float, float]] = {}  # lane id -> length (m), limit (m/s)
        self.roads: dict[str, tuple[float, float]] = {}  # road id -> length (m), limit of its fastest lane (m/s)
        self.ways: dict[tuple[str, str], list[str]] = {}  # from, to -> first internal lane of each connection
        self.onward: dict[str, str] = {}  # internal lane -> internal lane, for ways with a waiting position
        try:
            for _, element in ElementTree.iterparse(net_file):
                if element.tag == "edge":
                    self._road(element)
                elif element.tag == "connection":
                    self._connection(element)
        except (ElementTree.ParseError, ValueError, TypeError) as error:
            raise ScenarioError(f"Network file {net_file} is not a complete SUMO network: {error}.") from error

    def _road(self, edge: ElementTree.Element) -> None:
        lanes = [(float(lane.get("length", 0)), float(lane.get("speed", 1))) for lane in edge.iter("lane")]
        self.lanes.update(zip((lane.get("id", "") for lane in edge.iter("lane")), lanes, strict=True))
        if lanes:
            self.roads[edge.get("id", "")] = (lanes[0][0], max(limit for _, limit in lanes))
        edge.clear()

    def _connection(self, link: ElementTree.Element) -> None:
        source, via = link.get("from", ""), link.get("via")
        if via and source.startswith(":"):
            self.onward[f"{source}_{link.get('fromLane')}"] = via
        elif via:
            self.ways.setdefault((source, link.get("to", "")), []).append(via)

    def drive_s(self, vehicle: ElementTree.Element, top_mps: float, length_m: float) -> float:
        """Seconds from the place of departure to the place of arrival, never hindered."""
        route = vehicle.find("route")
        edges = route.get("edges", "").split() if route is not None else []
        if not edges:
            return 0.0
        first_m, last_m = self.roads[edges[0]][0], self.roads[edges[-1]][0]
        skipped = _position(vehicle.get("departPos", "base"), first_m, base=min(length_m, first_m))
        unused = last_m - _position(vehicle.get("arrivalPos", "max"), last_m, base=last_m)
        seconds = sum(self._edge_s(edge, top_mps) for edge in edges)
        seconds += sum(self._crossing_s(pair, top_mps) for pair in pairwise(edges))
        seconds -= skipped / min(top_mps, self.roads[edges[0]][1])
        seconds -= unused / min(top_mps, self.roads[edges[-1]][1])
        return max(seconds, 0.0)

    def _edge_s(self, edge: str, top_mps: float) -> float:
        length_m, limit_mps = self.roads[edge]
        return length_m / min(limit_mps, top_mps)

    def _crossing_s(self, pair: tuple[str, str], top_mps: float) -> float:
        return min((self._way_s(lane, top_mps) for lane in self.ways.get(pair, ())), default=0.0)

    def _way_s(self, lane: str | None, top_mps: float) -> float:
        seconds = 0.0
        while lane:
            length_m, limit_mps = self.lanes.get(lane, (0.0, 1.0))
            seconds += length_m / min(limit_mps, top_mps)
            lane = self.onward.get(lane)
        return seconds


def _position(text: str, length_m: float, base: float) -> float:
    """A departPos or arrivalPos in metres; the middle where SUMO draws it, ``base`` where it finds room itself."""
    try:
        position = float(text)
    except ValueError:
        return length_m / 2 if text.startswith("random") or text == "center" else base
    return min(max(position if position >= 0 else length_m + position, 0.0), length_m)
