"""The traffic of a generated city: who drives from where to where in its hour, and how much its signals can carry."""

from __future__ import annotations

import math
from bisect import bisect
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from scenarios.city.network import edge_id
from scenarios.city.street_plan import ARTERIAL, COLLECTOR, Node, Plan, Section
from scenarios.common.clock import format_seconds
from scenarios.common.sumo_tools import run_tool

#: Hour of the day -> level of traffic (1 is the peak), share of trips to work and the like, and back home; the rest
#: are errands. The shape is that of a working day in household travel surveys.
DAY = {
    6: (0.72, 0.80, 0.05),
    7: (1.00, 0.75, 0.05),
    8: (0.95, 0.60, 0.08),
    10: (0.75, 0.25, 0.20),
    12: (0.80, 0.20, 0.30),
    15: (0.88, 0.12, 0.50),
    16: (0.97, 0.08, 0.65),
    17: (1.00, 0.06, 0.70),
    19: (0.75, 0.05, 0.45),
    21: (0.68, 0.03, 0.55),
}
_QUARTER_S = 900.0
_TYPES = """
<vTypeDistribution id="traffic">
<vType id="car" probability="{car}" vClass="passenger" length="4.6" speedDev="0.1"/>
<vType id="van" probability="{van}" vClass="delivery" length="6.2" maxSpeed="36" accel="2.3" speedDev="0.08"/>
<vType id="truck" probability="{truck}" vClass="truck" length="10" maxSpeed="24" accel="1.2" decel="4" speedDev="0.06"/>
<vType id="bus" probability="{bus}" vClass="bus" length="12" maxSpeed="23" accel="1.3" decel="4" speedDev="0.05"/>
</vTypeDistribution>
"""


@dataclass
class Zone:
    """A district, or the world behind a gate."""

    id: str
    position_m: tuple[float, float]
    sources: dict[str, float]  # edge -> weight
    sinks: dict[str, float]
    homes: float = 0.0
    jobs: float = 0.0
    shops: float = 0.0
    outside: float = 0.0  # lanes of the gate


@dataclass(frozen=True)
class Hour:
    """What is asked of the town in its hour."""

    hour: int
    level: float
    to_work: float
    to_home: float
    through_share: float
    truck_share: float
    seed: int
    zones: list[Zone] = field(repr=False)

    @property
    def begin_s(self) -> float:
        """When it begins, seconds after midnight."""
        return self.hour * 3600.0

    @staticmethod
    def draw(rng: np.random.Generator, town: Plan) -> Hour:
        """Draw the hour, the districts and the mix of vehicles."""
        hour = int(rng.choice(list(DAY)))
        signals = sum(node.signal for node in town.nodes.values())
        return Hour(
            hour,
            *DAY[hour],
            through_share=float(np.clip(rng.uniform(0.35, 0.6) * (signals + 2) ** -0.15, 0.1, 0.6)),
            truck_share=rng.uniform(0.015, 0.05),
            seed=int(rng.integers(2**31)),
            zones=_districts(town, rng) + _gates(town),
        )


# --- districts -----------------------------------------------------------------------------------------------------


def _districts(town: Plan, rng: np.random.Generator) -> list[Zone]:
    """One per block between arterials: homes everywhere, shops in the centre, jobs in the centre and in parks."""
    cells: dict[tuple[int, int], list[Section]] = defaultdict(list)
    cuts = [sorted({s.line.at for s in town.sections if s.line.kind == ARTERIAL and s.line.axis == k}) for k in (0, 1)]
    for section in town.sections:
        if section.line.kind != ARTERIAL and section.length_m >= 60:
            u, v = np.mean([town.nodes[section.start].sheet, town.nodes[section.end].sheet], axis=0)
            cells[bisect(cuts[0], u), bisect(cuts[1], v)].append(section)
    zones = [_district(f"d{i}_{j}", sections) for (i, j), sections in sorted(cells.items())]
    if not zones:
        return []
    places = np.array([zone.position_m for zone in zones])
    centre = places.mean(axis=0) + rng.normal(0, 0.15, 2) * places.std(axis=0)
    radius_m = max(float(np.hypot(*(places - centre).T).mean()), 200.0)
    parks = rng.random(len(zones)) < 0.12
    for zone, park in zip(zones, parks, strict=True):
        away = math.dist(zone.position_m, tuple(centre)) / radius_m
        size = sum(zone.sources.values()) * float(rng.lognormal(0, 0.3))
        zone.homes = size * (0.2 if park else 0.5 + 0.5 * min(away, 1.5))
        zone.jobs = size * (3.0 if park else 0.15 + 1.6 * math.exp(-((away / 0.7) ** 2)))
        zone.shops = size * (0.1 + 1.2 * math.exp(-((away / 0.6) ** 2)) + 0.8 * float(rng.random() < 0.1))
    return zones


def _district(name: str, sections: list[Section]) -> Zone:
    weights = {}
    for section in sections:
        for forward in (True, False):
            weights[edge_id(section, forward)] = section.length_m * (1.3 if section.line.kind == COLLECTOR else 1.0)
    middle = np.mean([point for section in sections for point in section.shape_m], axis=0)
    return Zone(name, (float(middle[0]), float(middle[1])), weights, dict(weights))


def _gates(town: Plan) -> list[Zone]:
    return [_gate(node, town.legs[node.id][0]) for node in town.nodes.values() if node.gate]


def _gate(node: Node, section: Section) -> Zone:
    into, out = edge_id(section, section.start == node.id), edge_id(section, section.end == node.id)
    return Zone(f"g{node.id}", node.position_m, {into: 1.0}, {out: 1.0}, outside=float(section.line.lanes))


# --- origins and destinations --------------------------------------------------------------------------------------


def matrix(hour: Hour) -> NDArray[np.float64]:
    """Shares of all trips from zone to zone, (Z, Z), by a gravity model per purpose plus through traffic."""
    zones = hour.zones
    homes, jobs, shops, outside = (
        _normalised(np.array([getattr(zone, key) for zone in zones])) for key in ("homes", "jobs", "shops", "outside")
    )
    places = np.array([zone.position_m for zone in zones])
    apart_m = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    near = np.exp(-apart_m / 1500) * (apart_m > 250)
    beyond = 0.5  # of the people on the road, how many live or work outside
    work = _joined((1 - beyond) * homes + beyond * outside, (1 - beyond) * jobs + beyond * outside, near)
    errands = _joined(0.7 * homes + 0.3 * shops, 0.3 * homes + 0.5 * shops + 0.2 * outside, near)
    inner = hour.to_work * work + hour.to_home * work.T + (1 - hour.to_work - hour.to_home) * (errands + errands.T) / 2
    between_gates = np.outer(outside > 0, outside > 0)
    inner = _normalised(np.where(between_gates, 0.0, inner))
    through = _joined(outside, outside, apart_m**1.5)
    share = hour.through_share if inner.sum() else 1.0
    return _normalised((1 - share) * inner + share * through)


def _joined(origins: NDArray[np.float64], goals: NDArray[np.float64], pull: NDArray[np.float64]) -> NDArray[np.float64]:
    return _normalised(np.outer(origins, goals) * pull)


def _normalised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    total = values.sum()
    return values / total if total else values


# --- trips ---------------------------------------------------------------------------------------------------------

_QUIET = ["--xml-validation", "never", "--no-step-log", "--no-warnings"]


def draw_trips(
    hour: Hour, trips: int, begin_s: float, end_s: float, rng: np.random.Generator, folder: Path
) -> list[ElementTree.Element]:
    """Trips in order of departure, types before them; od2trips draws the streets within the districts.

    Raises:
        ScenarioError: od2trips failed.
    """
    zones, relations, drawn = folder / "zones.xml", folder / "relations.xml", folder / "trips.xml"
    zones.write_bytes(ElementTree.tostring(_zones_xml(hour.zones)))
    relations.write_bytes(ElementTree.tostring(_relations_xml(hour, trips, begin_s, end_s, rng)))
    arguments = ["-n", zones, "-z", relations, "-o", drawn, "--vtype", "traffic", "--seed", hour.seed, *_QUIET]
    run_tool("od2trips", [*arguments, "--departlane", "best", "--departspeed", "max"], "Drawing a city's trips")
    elements = list(ElementTree.parse(drawn).getroot())
    for file in (zones, relations, drawn):
        file.unlink()
    return elements


def route(
    hour: Hour, net: Path, trips: list[ElementTree.Element], costs: dict[str, float], folder: Path
) -> list[ElementTree.Element]:
    """Vehicles with routes for these trips, and the types that they use; trips without a way are dropped.

    ``costs`` holds the seconds that loaded roads take; drivers differ in what they think is shortest.

    Raises:
        ScenarioError: duarouter failed.
    """
    asked, weights, routed = folder / "asked.xml", folder / "weights.xml", folder / "routed.xml"
    root = ElementTree.fromstring(f"<routes>{_types(hour)}</routes>")
    root.extend(trips)
    asked.write_bytes(ElementTree.tostring(root))
    loads = "".join(f'<edge id="{edge}" traveltime="{seconds:.2f}"/>' for edge, seconds in costs.items())
    weights.write_text(f'<meandata><interval begin="0" end="1000000" id="load">{loads}</interval></meandata>')
    arguments = ["-n", net, "-r", asked, "-o", routed, "-w", weights, "--seed", hour.seed, *_QUIET]
    arguments += ["--ignore-errors", "--alternatives-output", "NUL", "--weights.random-factor", 1.3]
    arguments += ["--weights.tls-penalty", 10, "--weights.minor-penalty", 4, "--weights.priority-factor", 0.5]
    run_tool("duarouter", arguments, "Routing a city's trips")
    elements = list(ElementTree.parse(routed).getroot())
    for file in (asked, weights, routed):
        file.unlink()
    return elements


def _types(hour: Hour) -> str:
    mix = {"truck": hour.truck_share, "bus": 0.01, "van": 0.06}
    return _TYPES.format(car=round(1 - sum(mix.values()), 4), **{key: round(share, 4) for key, share in mix.items()})


def _zones_xml(zones: list[Zone]) -> ElementTree.Element:
    root = ElementTree.Element("tazs")
    for zone in zones:
        taz = ElementTree.SubElement(root, "taz", {"id": zone.id})
        for tag, ends in (("tazSource", zone.sources), ("tazSink", zone.sinks)):
            for edge, weight in ends.items():
                ElementTree.SubElement(taz, tag, {"id": edge, "weight": f"{weight:.1f}"})
    return root


def _relations_xml(
    hour: Hour, trips: int, begin_s: float, end_s: float, rng: np.random.Generator
) -> ElementTree.Element:
    """Whole trips per quarter of an hour, drawn from the matrix; od2trips would round each pair by itself."""
    shares = matrix(hour)
    root = ElementTree.Element("data")
    starts = np.arange(begin_s, end_s, _QUARTER_S)
    for start_s, stop_s in pairwise([*starts, end_s]):
        interval = ElementTree.SubElement(
            root, "interval", {"id": "q", "begin": format_seconds(start_s), "end": format_seconds(stop_s)}
        )
        expected = trips * (stop_s - start_s) / (end_s - begin_s) * rng.uniform(0.88, 1.12)
        counts = rng.multinomial(round(expected), shares.ravel()).reshape(shares.shape)
        for i, j in zip(*np.nonzero(counts), strict=True):
            pair = {"from": hour.zones[i].id, "to": hour.zones[j].id, "count": str(counts[i, j])}
            ElementTree.SubElement(interval, "tazRelation", pair)
    return root


def movement_flows(vehicles: list[ElementTree.Element]) -> dict[tuple[str, str], float]:
    """Vehicles per pair of consecutive edges."""
    flows: dict[tuple[str, str], float] = defaultdict(float)
    for vehicle in vehicles:
        for pair in pairwise(vehicle.find("route").get("edges", "").split()):  # type: ignore[union-attr]
            flows[pair] += 1
    return flows
