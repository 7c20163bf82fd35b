"""Traffic for a map: between its districts, or at random, and as much of it as the streets carry."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from scenarios.city import demand as city_demand
from scenarios.city.demand import DAY, Hour, Zone
from scenarios.common.sumo_tools import run_tool
from scenarios.demand import trial_run as trial
from scenarios.demand.car_streets import Street
from scenarios.demand.route_files import write_routes
from scenarios.osm.reader import Place
from scenarios.spec import ScenarioError

Elements = list[ElementTree.Element]

WARMUP_S = 300.0
#: The hour of the districts' traffic: most people drive to work.
HOUR = 8
#: A first guess: vehicles an hour for each kilometre of lane, and the most.
_PER_LANE_KM, _MOST_VEH_H = 200.0, 20_000.0
#: It is thinned to this degree of saturation on the busiest twentieth of the streets, then until a trial flows.
_FULL, _STEP, _LEAST_SHARE = 0.7, 0.75, 0.05
#: Vehicles an hour that a lane carries with a plain program's share of green, and where it may have to give way.
_SIGNAL_VEH_H, _OTHER_VEH_H = 600.0, 800.0
#: Traffic from outside by the class of the road, for each lane.
_OUTSIDE = {"motorway": 3.0, "trunk": 2.5, "primary": 2.0, "secondary": 1.5, "tertiary": 1.0}
_CAR = '<vType id="car" vClass="passenger" speedDev="0.1"/>'


@dataclass(frozen=True)
class Traffic:
    """What was written: vehicles an hour, and how the trial went."""

    veh_per_h: float
    trial: trial.Trial


@dataclass(frozen=True)
class Town:
    """A network and where to put its traffic's files."""

    net: Path
    streets: Mapping[str, Street]
    folder: Path
    seed: int
    begin_s: float
    end_s: float

    @property
    def hours(self) -> float:
        """Length of the traffic, the warm-up included."""
        return (self.end_s - self.begin_s) / 3600

    @property
    def lane_km(self) -> float:
        """Kilometres of lane that cars may use."""
        return sum(street.lanes * street.length_m for street in self.streets.values()) / 1000


def write(town: Town, draw: Callable[[int], Elements], veh_per_h: float | None, routes: Path) -> Traffic:
    """Write traffic to ``routes``: as much as asked for, or as much as flows under the network's own programs.

    Raises:
        ScenarioError: SUMO's tools refused it, or no trip has a way.
    """
    guess_veh_h = min(_PER_LANE_KM * town.lane_km, _MOST_VEH_H)
    wanted = math.ceil((veh_per_h or guess_veh_h) * town.hours)
    elements = _as_many(draw, wanted, exactly=veh_per_h is not None)
    if not _count(elements):
        raise ScenarioError(f"No trip has a way through {town.net.name}; give a larger extract or --bbox.")
    share = 1.0 if veh_per_h else min(_FULL / _busiest(town, elements), 1.0)
    while True:
        chosen = trial.thinned(elements, share) if share < 1 else elements
        write_routes(chosen, routes)
        tried = trial.drive(town.net, routes, town.begin_s, "Trying the map's traffic")
        if veh_per_h or not tried.jammed or share < _LEAST_SHARE:
            return Traffic(_count(chosen) / town.hours, tried)
        share *= _STEP


def _count(elements: Elements) -> int:
    return sum(element.tag == "vehicle" for element in elements)


def _busiest(town: Town, elements: Elements) -> float:
    """Flow over capacity, roughly, on the busiest twentieth of the streets."""
    routes = [route for element in elements if (route := element.find("route")) is not None]
    passed = Counter(edge for route in routes for edge in route.get("edges", "").split())
    degrees = [count / town.hours / _capacity_veh_h(town.streets[edge]) for edge, count in passed.items()]
    return max(float(np.mean(sorted(degrees, reverse=True)[: max(3, len(degrees) // 20)])), 0.01)


def _capacity_veh_h(street: Street) -> float:
    return street.lanes * (_SIGNAL_VEH_H if street.has_signal else _OTHER_VEH_H)


def _as_many(draw: Callable[[int], Elements], wanted: int, exactly: bool) -> Elements:
    """Draw again with more where many trips had no way; then drop the surplus by lot."""
    asked = wanted
    for _ in range(4 if exactly else 1):
        elements = draw(asked)
        found = _count(elements)
        if found >= wanted or not found:
            break
        asked = math.ceil(asked * min(1.05 * wanted / found, 5.0))
    return _first(elements, wanted)


def _first(elements: Elements, wanted: int) -> Elements:
    vehicles = [element for element in elements if element.tag == "vehicle"]
    surplus = len(vehicles) - wanted
    lots = np.random.default_rng(len(vehicles)).permutation(len(vehicles))[: max(surplus, 0)]
    dropped = {id(vehicles[lot]) for lot in lots}
    return [element for element in elements if id(element) not in dropped]


# --- at random -----------------------------------------------------------------------------------------------------


def random_trips(town: Town) -> Callable[[int], Elements]:
    """Trips between random roads, more of them to and from the ends of the network, by SUMO's randomTrips."""

    def draw(trips: int) -> Elements:
        out, routed = town.folder / "random.trips.xml", town.folder / "random.rou.xml"
        period_s = (town.end_s - town.begin_s) / trips
        arguments: list[object] = ["-n", town.net, "-o", out, "-r", routed, "-b", town.begin_s, "-e", town.end_s]
        arguments += ["-p", f"{period_s:.6f}", "--seed", town.seed, "--edge-permission", "passenger", "--lanes"]
        arguments += ["--length", "--fringe-factor", 5, "--min-distance", _least_m(town), "--remove-loops"]
        arguments += ["--random-routing-factor", 1.3, "--min-success-rate", 0.01, "--threads", 1]
        run_tool("randomTrips.py", arguments, "Drawing the map's trips")
        vehicles = [
            v for v in ElementTree.parse(routed).getroot() if v.tag == "vehicle" and v.find("route") is not None
        ]
        for file in (out, routed, town.folder / "random.rou.alt.xml"):
            file.unlink(missing_ok=True)
        for vehicle in vehicles:
            vehicle.attrib |= {"type": "car", "departLane": "best", "departSpeed": "max"}
        return [ElementTree.fromstring(_CAR), *map(_tidy, vehicles)]

    return draw


def _least_m(town: Town) -> float:
    places = np.array([street.position_m for street in town.streets.values()])
    return round(min(300.0, 0.2 * float(np.hypot(*np.ptp(places, axis=0)))), 1)


# --- between districts ---------------------------------------------------------------------------------------------


def district_trips(town: Town, places: Sequence[Place], to_m: NDArray[np.float64]) -> Callable[[int], Elements]:
    """Trips to work, home and the shops, by the gravity model of the generated cities, and through traffic.

    Args:
        town: where.
        places: what the map knows of homes, jobs and shops.
        to_m: takes longitude, latitude and 1 to the network's coordinates.
    """
    gates = _gates(town.streets)
    zones = _districts(town.streets, places, to_m) + gates
    level, to_work, to_home = DAY[HOUR]
    through = float(np.clip(0.45 * len(zones) ** -0.15, 0.1, 0.6)) if len(gates) > 1 else 0.0
    hour = Hour(HOUR, level, to_work, to_home, through, truck_share=0.03, seed=town.seed, zones=zones)

    def draw(trips: int) -> Elements:
        rng = np.random.default_rng([town.seed, 3])
        drawn = city_demand.draw_trips(hour, trips, town.begin_s, town.end_s, rng, town.folder)
        return [_tidy(element) for element in city_demand.route(hour, town.net, drawn, {}, town.folder)]

    return draw


def _cell_m(streets: Mapping[str, Street]) -> float:
    """A side of the districts: about forty of them, but none smaller than a few blocks."""
    places = np.array([street.position_m for street in streets.values()])
    width_m, height_m = np.ptp(places, axis=0)
    return float(np.clip(math.sqrt(width_m * height_m / 40), 200.0, 800.0))


def _districts(streets: Mapping[str, Street], places: Sequence[Place], to_m: NDArray[np.float64]) -> list[Zone]:
    """Squares with streets in them; homes, jobs and shops by the map, and a little by the length of the streets."""
    side_m = _cell_m(streets)
    cells: dict[tuple[int, int], list[Street]] = defaultdict(list)
    for street in streets.values():
        if not street.is_end and not street.kind.startswith(("highway.motorway", "highway.trunk")):
            cells[_cell(street.position_m, side_m)].append(street)
    life = _life(places, to_m, side_m)
    total = np.maximum(sum(life.values(), np.zeros(3)), 1e-9)
    length_m = sum(street.length_m for cell in cells.values() for street in cell) or 1.0
    zones = []
    for cell, inside in sorted(cells.items()):
        share = sum(street.length_m for street in inside) / length_m
        homes, jobs, shops = 0.8 * life.get(cell, np.zeros(3)) / total + 0.2 * share
        weights = {street.id: street.length_m * _pull(street) for street in inside}
        middle = np.mean([street.position_m for street in inside], axis=0)
        place = (float(middle[0]), float(middle[1]))
        zones.append(
            Zone(f"d{cell[0]}_{cell[1]}", place, weights, dict(weights), float(homes), float(jobs), float(shops))
        )
    return zones


def _cell(position_m: tuple[float, float], side_m: float) -> tuple[int, int]:
    return math.floor(position_m[0] / side_m), math.floor(position_m[1] / side_m)


def _life(
    places: Sequence[Place], to_m: NDArray[np.float64], side_m: float
) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Homes, jobs and shops by square."""
    found: dict[tuple[int, int], NDArray[np.float64]] = defaultdict(lambda: np.zeros(3))
    for place in places:
        x, y = np.array([place.lon, place.lat, 1.0]) @ to_m
        found[_cell((float(x), float(y)), side_m)] += (place.homes, place.jobs, place.shops)
    return found


def _pull(street: Street) -> float:
    """Trips begin and end in side streets rather than on main roads."""
    return 1.5 if "residential" in street.kind or "living_street" in street.kind else 1.0


def _gates(streets: Mapping[str, Street]) -> list[Zone]:
    """Where roads leave the map: the ways in and out that lie close together are one gate."""
    ends = sorted((s for s in streets.values() if s.is_end), key=lambda street: street.id)
    groups: list[list[Street]] = []
    for street in ends:
        near = next((g for g in groups if math.dist(g[0].position_m, street.position_m) < 80.0), None)
        groups.append([street]) if near is None else near.append(street)
    return [gate for k, group in enumerate(groups) if (gate := _gate(f"g{k}", group, ends))]


def _gate(name: str, group: list[Street], ends: list[Street]) -> Zone | None:
    """A gate needs a way in and a way out: the nearest one where it has none of its own."""
    into = [s for s in group if s.enters] or _nearest(group[0], [s for s in ends if s.enters])
    out = [s for s in group if s.leaves] or _nearest(group[0], [s for s in ends if s.leaves])
    if not into or not out:
        return None
    size = sum(_from_outside(street) for street in group) / 2
    sources, sinks = ({s.id: _from_outside(s) for s in side} for side in (into, out))
    return Zone(name, group[0].position_m, sources, sinks, outside=size)


def _nearest(street: Street, choices: list[Street]) -> list[Street]:
    return sorted(choices, key=lambda other: math.dist(other.position_m, street.position_m))[:1]


def _from_outside(street: Street) -> float:
    kind = street.kind.removeprefix("highway.").removesuffix("_link")
    return street.lanes * _OUTSIDE.get(kind, 0.2)


def _tidy(element: ElementTree.Element) -> ElementTree.Element:
    if element.tag == "vehicle":
        for key in ("fromTaz", "toTaz"):
            element.attrib.pop(key, None)
        element.set("depart", f"{math.floor(float(element.get('depart', 0)))}")  # SUMO inserts at whole seconds
    return element
