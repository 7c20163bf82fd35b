"""Traffic out of route files: what to hand to SUMO, and every vehicle's schedule and free-flow time.

The schedule is made before a run and is the same for all controllers: departures and routes come from the files and
from duarouter, never from the simulation.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from scenarios.common.clock import format_seconds
from scenarios.common.errors import ScenarioError, shorten
from scenarios.common.input_files import read_input
from scenarios.common.net_values import check_network
from scenarios.common.sumo_tools import cache_root, cached, sumo_version
from scenarios.demand import sumo_routes
from scenarios.demand.drivers import ATTRIBUTES, replace_drivers
from scenarios.demand.free_flow import Drives, free_flow
from scenarios.demand.route_files import (
    SCHEDULED,
    VEHICLES,
    Element,
    as_latin,
    flattened,
    joined,
    read_elements,
    time_s,
    write_routes,
)
from scenarios.demand.sumo_routes import DRAWN_BYTES, Sources
from scenarios.demand.waves import Waves
from scenarios.spec import Scenario

VERSION = 3  # of what is cached: raise it whenever the same input gives another result
#: A duplicate departs up to this far from its original even without jitter, or scaled traffic would come in pairs.
DUPLICATE_JITTER_S = 60.0


@dataclass(frozen=True)
class Schedule:
    """The vehicles scheduled within the measured time, in order of departure, and the files that make them.

    Attributes:
        route_files: to hand to SUMO; the scenario's own where SUMO drives exactly what stands in them.
        ids: (V,) vehicle ids.
        depart_s: (V,) scheduled departure, SUMO's clock, s.
        free_flow_s: (V,) seconds on the original route at the speed limits (speed factor 1), s.
        unroutable: vehicles of the files that have no valid route; they are not scheduled and not handed to SUMO.
        additional_files: to hand to SUMO; the scenario's own, or copies without the vehicles that they schedule.
        unroutable_cause: why the first of them has none, in SUMO's words; empty where it does not say.
    """

    route_files: tuple[Path, ...]
    ids: NDArray[np.str_]
    depart_s: NDArray[np.float64]
    free_flow_s: NDArray[np.float64]
    unroutable: tuple[str, ...] = ()
    additional_files: tuple[Path, ...] = ()
    unroutable_cause: str = ""

    def unroutable_note(self) -> str | None:
        """One sentence about the vehicles that are left out, None where there are none."""
        if not self.unroutable:
            return None
        count = len(self.unroutable)
        who = (
            "1 vehicle has no valid route and is left out: "
            if count == 1
            else (f"{count} vehicles have no valid route and are left out, such as ")
        )
        return f"{who}'{shorten(self.unroutable[0], 60)}'{_because(self.unroutable_cause)}."


def schedule(scenario: Scenario, seed: int, cache_dir: Path | None = None) -> Schedule:
    """Prepare a scenario's traffic for one seed; cached by content.

    Args:
        scenario: its route files may hold whatever SUMO reads in them.
        seed: draws jitter, scaling and what SUMO draws, such as random flows; without these it changes nothing.
        cache_dir: instead of the user's cache folder.

    Raises:
        ScenarioError: a file is missing or broken, SUMO refuses it, or no vehicle departs in the measured time.
    """
    folder = cache_root(cache_dir) / "schedules" / _key(scenario, seed)
    cached(folder, lambda draft: _build(scenario, seed, draft))
    with np.load(folder / "schedule.npz") as stored:
        depart_s = stored["depart_s"]
        measured = (depart_s >= scenario.begin_s + scenario.warmup_s) & (depart_s < scenario.end_s)
        files = json.loads(str(stored["files"]))
        result = Schedule(
            route_files=_paths(files["routes"], scenario, folder),
            ids=stored["ids"][measured],
            depart_s=depart_s[measured],
            free_flow_s=stored["free_flow_s"][measured],
            unroutable=tuple(stored["unroutable"].tolist()),
            additional_files=_paths(files["additional"], scenario, folder),
            unroutable_cause=str(stored["cause"]),
        )
    if not len(result.ids):
        raise ScenarioError(_nobody(scenario, result))
    return result


def _nobody(scenario: Scenario, result: Schedule) -> str:
    names = joined(scenario.route_files)
    span = f"between {format_seconds(scenario.begin_s + scenario.warmup_s)} s and {format_seconds(scenario.end_s)} s"
    if not result.unroutable:
        return f"Scenario {scenario.name}: no vehicle of {names} departs {span}; check begin_s and end_s."
    count, first = len(result.unroutable), shorten(result.unroutable[0], 60)
    return (
        f"Scenario {scenario.name}: no vehicle of {names} that departs {span} has a valid route; {count} have none, "
        f"such as '{first}'{_because(result.unroutable_cause)}."
    )


def _because(cause: str) -> str:
    return f" ({shorten(cause, 200)})" if cause else ""


# --- the cache -----------------------------------------------------------------------------------------------------


def _key(scenario: Scenario, seed: int) -> str:
    digest = hashlib.sha256(
        f"{VERSION}|{sumo_version()}|{scenario.begin_s}|{scenario.end_s}|{scenario.demand!r}".encode()
    )
    if scenario.drivers != "as_in_files":
        digest.update(f"{scenario.drivers}{ATTRIBUTES[scenario.drivers]}".encode())
    seeded = _is_redrawn(scenario)
    for file, what in scenario.inputs():
        content = read_input(file, what)
        digest.update(hashlib.sha256(content).digest())
        if file != scenario.net_file and any(mark in as_latin(content) for mark in DRAWN_BYTES):
            seeded = True
            digest.update(str(file.absolute().parent).encode())  # a copy of an additional file names other files whole
    digest.update(str(seed if seeded else "any seed").encode())
    return digest.hexdigest()[:32]


def _paths(places: list[tuple[str, str | int]], scenario: Scenario, folder: Path) -> tuple[Path, ...]:
    """Files by where they are: in the cache under a name, or the scenario's own by number."""
    owned = {"routes": scenario.route_files, "additional": scenario.additional_files}
    return tuple(owned[kind][int(which)] if kind in owned else folder / str(which) for kind, which in places)


# --- preparing -----------------------------------------------------------------------------------------------------


def _is_redrawn(scenario: Scenario) -> bool:
    demand = scenario.demand
    return demand.scale != 1 or demand.departure_jitter_s > 0 or demand.waves > 0


def _build(scenario: Scenario, seed: int, draft: Path) -> None:
    check_network(scenario.net_file)
    builder = _Builder(scenario, seed, draft)
    builder.prepare()
    builder.save()


class _Builder:
    """Makes one schedule; ``places`` say where the files for SUMO are, in the terms of ``_paths``."""

    def __init__(self, scenario: Scenario, seed: int, draft: Path) -> None:
        self.scenario, self.seed, self.draft = scenario, seed, draft
        zones = [k for k, file in enumerate(scenario.route_files) if sumo_routes.is_additional(file)]
        self.route_places: list[tuple[str, str | int]] = [
            ("routes", k) for k in range(len(scenario.route_files)) if k not in zones
        ]
        self.additional_places: list[tuple[str, str | int]] = [
            *(("additional", k) for k in range(len(scenario.additional_files))),
            *(("routes", k) for k in zones),
        ]
        self.sources = Sources(scenario.net_file, self.files(self.route_places), self._additional(), scenario.name)
        self.causes: dict[str, str] = {}
        self.drives = Drives([], [], [])

    def files(self, places: list[tuple[str, str | int]]) -> tuple[Path, ...]:
        return _paths(places, self.scenario, self.draft)

    def _additional(self) -> tuple[Path, ...]:
        return self.files(self.additional_places)

    @property
    def prepared(self) -> Path:
        return self.draft / "traffic.rou.xml"

    def prepare(self) -> None:
        """Draw what SUMO draws, change what the scenario changes, and leave out what has no route."""
        scenario = self.scenario
        elements = list(read_elements(self.sources.routes))
        early = [element for element in elements if element.get("depart") == "begin"]
        for element in early:
            element.set("depart", format_seconds(scenario.begin_s))
        loaded = [k for k, file in enumerate(self._additional()) if sumo_routes.has_traffic(file)]
        changed = bool(loaded or early)
        if loaded or sumo_routes.is_drawn(elements):
            elements, changed = self._drawn(elements, loaded), True
        if _is_redrawn(scenario):
            elements, changed = _redraw(elements, scenario, self.seed), True
        if scenario.drivers != "as_in_files":
            elements, changed = replace_drivers(elements, scenario.drivers), True
        if changed or not _in_order(elements):  # SUMO would drop what is out of order
            self._write(elements)
        self._route(elements)
        sumo_routes.check_load(self.sources, scenario.begin_s)

    def _write(self, elements: list[Element]) -> None:
        write_routes(elements, self.prepared)
        self.route_places = [("made", self.prepared.name)]
        self.sources = replace(self.sources, routes=(self.prepared,))

    def _drawn(self, elements: list[Element], loaded: list[int]) -> list[Element]:
        """Random flows and open trips get ids, times and roads that every controller shares."""
        sources, end_s = self.sources, self.scenario.end_s
        files = [self._additional()[k] for k in loaded]
        every = [*read_elements(files, sumo_routes.ADDITIONAL), *elements]
        sumo_routes.check_amount(every, end_s)
        routes = sources.routes or (self._no_routes(),)
        output = self.draft / "drawn.rou.xml"
        causes = sumo_routes.route(sources, routes, output, self.seed, until_s=end_s, milliseconds=True)
        for k, file in zip(loaded, files, strict=True):
            copy = self.draft / f"additional-{k}.add.xml"
            sumo_routes.write_without_traffic(file, copy)
            self.additional_places[k] = ("made", copy.name)
        self.sources = replace(sources, additional=self._additional())
        drawn = sumo_routes.drawn_elements(output, self.sources.additional)
        output.unlink()
        there = {element.get("id") for element in drawn if element.tag in VEHICLES}
        asked = [e for e in flattened(every) if e.tag in VEHICLES and time_s(e) < end_s]
        lost = {element.get("id", "") for element in asked} | set(causes)
        self.causes |= {name: causes.get(name, "") for name in lost - there}
        return drawn

    def _no_routes(self) -> Path:
        """duarouter wants a routes file, also where additional files hold everything."""
        empty = self.draft / "empty.rou.xml"
        empty.write_text("<routes/>")
        return empty

    def _route(self, elements: list[Element]) -> None:
        """Read free-flow times off duarouter's routes; SUMO would stop at a vehicle without one, so it gets none."""
        routed = self.draft / "routed.xml"
        vehicles = [element for element in elements if element.tag in VEHICLES]
        fine = any(math.isfinite(t := time_s(element)) and round(t, 2) != t for element in vehicles)
        causes = sumo_routes.route(self.sources, self.sources.routes, routed, self.seed, milliseconds=fine)
        self.drives = free_flow(self.scenario.net_file, routed)
        routed.unlink()
        there = set(self.drives.ids)
        lost = {name: causes.get(name, "") for element in vehicles if (name := element.get("id", "")) not in there}
        if lost:
            self._write([e for e in elements if e.tag not in VEHICLES or e.get("id", "") not in lost])
        self.causes |= lost

    def save(self) -> None:
        """Write the schedule into the draft folder."""
        unroutable = sorted(self.causes)
        np.savez(
            self.draft / "schedule.npz",
            ids=np.array(self.drives.ids, dtype=np.str_),
            depart_s=np.array(self.drives.depart_s, dtype=np.float64),
            free_flow_s=np.array(self.drives.free_flow_s, dtype=np.float64),
            unroutable=np.array(unroutable, dtype=np.str_),
            cause=np.array(self.causes[unroutable[0]] if unroutable else ""),
            files=np.array(json.dumps({"routes": self.route_places, "additional": self.additional_places})),
        )


def _in_order(elements: list[Element]) -> bool:
    times = [time for element in elements if element.tag in SCHEDULED and math.isfinite(time := time_s(element))]
    return times == sorted(times)


def _clock(seconds: float) -> str:
    hundredths = f"{seconds:.2f}"
    return hundredths if float(hundredths) == seconds else f"{seconds:.3f}"


def _redraw(elements: list[Element], scenario: Scenario, seed: int) -> list[Element]:
    """Keep, duplicate and move vehicles: on average ``scale`` times as many, in waves, each departure jittered."""
    rng = np.random.default_rng([seed, 1])
    scale, jitter_s = scenario.demand.scale, scenario.demand.departure_jitter_s
    begin_s, last_s = scenario.begin_s, math.ceil(scenario.end_s) - 1.0
    waves = Waves(scenario.demand.waves, begin_s, scenario.end_s, seed) if scenario.demand.waves else None
    result = []
    for element in elements:
        if element.tag not in VEHICLES:
            result.append(element)
            continue
        depart_s = time_s(element)
        draws = rng.random(2 + math.ceil(scale))  # always drawn, so that vehicles outside the horizon change nothing
        if math.isinf(depart_s):  # it waits for somebody
            result.append(element)
        if not begin_s <= depart_s < scenario.end_s:
            continue
        if waves:
            depart_s = waves.moved_s(depart_s, _origin(element))
        for copy in range(math.floor(scale + draws[0])):
            spread_s = max(jitter_s, DUPLICATE_JITTER_S) if copy else jitter_s
            moved_s = depart_s + spread_s * (2 * draws[1 + copy] - 1)
            moved_s = max(moved_s, 2 * begin_s - moved_s)  # folded back into the horizon: clamping would make a platoon
            # whole seconds: SUMO inserts at its steps, and a fraction would count as delay
            moved = max(round(min(moved_s, 2 * last_s - moved_s)), begin_s) if spread_s or waves else depart_s
            suffix = f"#{copy + 1}" if copy else ""
            result.append(_copy(element, {"id": element.get("id", "") + suffix, "depart": _clock(moved)}))
    return result


def _origin(element: Element) -> str:
    """The road that a vehicle or trip starts from, or the name of its route."""
    routes = [child.get("edges", "") for child in element if child.tag == "route"]
    return element.get("from") or "".join(routes[0].split()[:1] if routes else element.get("route", ""))


def _copy(element: Element, changes: dict[str, str]) -> Element:
    twin = ElementTree.Element(element.tag, {**element.attrib, **changes})
    twin.extend(list(element))
    return twin
