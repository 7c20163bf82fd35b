"""Reads the files that SUMO leaves behind: trips, statistics, summary and road output."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from scenarios.demand.route_files import VEHICLES, flattened, read_elements

Floats = NDArray[np.float64]


class OutputError(RuntimeError):
    """A SUMO output that cannot be used; the message is one sentence that names the file."""


@dataclass(frozen=True)
class Trips:
    """SUMO's trip output (``--tripinfo-output`` with unfinished and undeparted vehicles), one entry a vehicle.

    What did not happen is NaN: ``depart_s`` of a vehicle that never got in, ``arrival_s`` of one that did not reach
    its destination (still driving, or removed on the way), emissions where they were not asked for.
    """

    ids: tuple[str, ...]
    from_edge: tuple[str, ...]
    depart_s: Floats
    depart_delay_s: Floats
    arrival_s: Floats
    duration_s: Floats
    time_loss_s: Floats
    waiting_s: Floats
    stops: Floats
    speed_factor: Floats
    co2_mg: Floats
    fuel_mg: Floats
    types: tuple[str, ...] = ()  # of vehicles, as SUMO names them

    @property
    def inserted(self) -> NDArray[np.bool_]:
        """Which vehicles entered the network."""
        return ~np.isnan(self.depart_s)

    @property
    def arrived(self) -> NDArray[np.bool_]:
        """Which vehicles reached their destination."""
        return ~np.isnan(self.arrival_s)


@dataclass(frozen=True)
class WalkDone:
    """A walk that was begun: ``arrival_s`` is NaN where it did not end, ``length_m`` as well.

    ``stages_left`` counts the stages of the person's plan from this one on.
    """

    stages_left: int
    depart_s: float
    arrival_s: float
    speed_mps: float
    length_m: float


@dataclass(frozen=True)
class PersonTrip:
    """A person of the trip output; ``arrival_s`` is NaN where not all stages of the plan ended."""

    id: str
    depart_s: float
    arrival_s: float
    walks: tuple[WalkDone, ...]


@dataclass(frozen=True)
class Summary:
    """The whole network once a period (``--summary-output``), arrays over time."""

    time_s: Floats
    running_veh: Floats
    halted_veh: Floats  # standing vehicles without those that stop on purpose (incident props)
    speed_mps: Floats  # NaN while the network is empty
    outside_veh: Floats  # due, but no room to get in
    inserted_veh: Floats  # since the start
    arrived_veh: Floats  # since the start


@dataclass(frozen=True)
class Statistics:
    """What SUMO itself counted (``--statistic-output``); the trip means are over inserted vehicles.

    ``teleports`` are vehicles that were moved because they stood or could not go on; SUMO moves a vehicle after a
    collision as well, which counts as ``collisions`` only.
    """

    teleports: int
    collisions: int
    hard_brakings: int
    emergency_stops: int
    trip_count: int
    duration_s: float
    time_loss_s: float
    depart_delay_s: float


@dataclass(frozen=True)
class Roads:
    """Roads by interval (``edgeData``); rows are intervals, columns the roads of ``ids``; NaN where nobody drove."""

    interval_s: float
    begin_s: tuple[float, ...]
    ids: tuple[str, ...]
    speed_relative: Floats  # mean speed / speed limit
    waiting_veh: Floats  # mean number of halted vehicles
    left_veh: Floats  # vehicles that left the road or arrived on it


def read_trips(path: Path) -> Trips:
    """Read a trip output.

    Raises:
        OutputError: the file is missing or incomplete.
    """
    rows = [(dict(element.attrib), element.find("emissions")) for element in _elements(path, "tripinfo")]

    def column(key: str) -> Floats:
        return np.array([float(trip.get(key, "nan")) for trip, _ in rows], np.float64)

    def emitted(key: str) -> Floats:
        return np.array([math.nan if e is None else float(e.get(key, "nan")) for _, e in rows], np.float64)

    depart_s, arrival_s = column("depart"), column("arrival")
    removed = np.array([bool(trip.get("vaporized")) for trip, _ in rows], bool)
    return Trips(
        ids=tuple(trip["id"] for trip, _ in rows),
        from_edge=tuple(trip.get("departLane", "").rpartition("_")[0] for trip, _ in rows),
        depart_s=np.where(depart_s < 0, np.nan, depart_s),
        depart_delay_s=column("departDelay"),
        arrival_s=np.where((arrival_s < 0) | removed, np.nan, arrival_s),
        duration_s=column("duration"),
        time_loss_s=column("timeLoss"),
        waiting_s=column("waitingTime"),
        stops=column("waitingCount"),
        speed_factor=column("speedFactor"),
        co2_mg=emitted("CO2_abs"),
        fuel_mg=emitted("fuel_abs"),
        types=tuple(trip.get("vType", "") for trip, _ in rows),
    )


def read_persons(path: Path) -> list[PersonTrip]:
    """Read the persons of a trip output.

    Raises:
        OutputError: the file is missing or incomplete.
    """
    return [_person(element) for element in _elements(path, "personinfo")]


def _person(element: ElementTree.Element) -> PersonTrip:
    stages = list(element)
    walks = [
        WalkDone(len(stages) - number, *(_unless_negative(stage, key) for key in _WALK_KEYS))
        for number, stage in enumerate(stages)
        if stage.tag == "walk" and float(stage.get("depart", "-1")) >= 0
    ]
    depart_s, duration_s = float(element.get("depart", "nan")), _unless_negative(element, "duration")
    return PersonTrip(element.get("id", ""), depart_s, depart_s + duration_s, tuple(walks))


_WALK_KEYS = ("depart", "arrival", "maxSpeed", "routeLength")


def _unless_negative(element: ElementTree.Element, key: str) -> float:
    """A number of an element, NaN where it is missing or SUMO writes -1 for "not yet"."""
    value = float(element.get(key, "nan"))
    return math.nan if value < 0 else value


def read_summary(path: Path) -> Summary:
    """Read a summary output.

    Raises:
        OutputError: the file is missing or incomplete.
    """
    rows = [dict(element.attrib) for element in _elements(path, "step")]

    def column(key: str) -> Floats:
        return np.array([float(row.get(key, "nan")) for row in rows], np.float64)

    speed_mps = column("meanSpeed")
    return Summary(
        time_s=column("time"),
        running_veh=column("running"),
        halted_veh=np.maximum(column("halting") - column("stopped"), 0.0),
        speed_mps=np.where(speed_mps < 0, np.nan, speed_mps),
        outside_veh=column("waiting"),
        inserted_veh=column("inserted"),
        arrived_veh=column("arrived"),
    )


def read_statistics(path: Path) -> Statistics:
    """Read a statistic output.

    Raises:
        OutputError: the file is missing or incomplete.
    """
    wanted = ("teleports", "safety", "vehicleTripStatistics")
    found = {element.tag: dict(element.attrib) for element in _elements(path, *wanted)}
    missing = [tag for tag in wanted if tag not in found]
    if missing:
        raise OutputError(f"SUMO's statistics in {path} hold no '{missing[0]}'; the run did not end properly.")
    safety, trips = found["safety"], found["vehicleTripStatistics"]
    return Statistics(
        teleports=sum(int(found["teleports"][kind]) for kind in ("jam", "yield", "wrongLane")),
        collisions=int(safety["collisions"]),
        hard_brakings=int(safety["emergencyBraking"]),
        emergency_stops=int(safety["emergencyStops"]),
        trip_count=int(trips["count"]),
        duration_s=float(trips["duration"]),
        time_loss_s=float(trips["timeLoss"]),
        depart_delay_s=float(trips["departDelay"]),
    )


def read_roads(path: Path) -> Roads:
    """Read a road output.

    Raises:
        OutputError: the file is missing or incomplete.
    """
    intervals = [
        (
            float(element.attrib["begin"]),
            float(element.attrib["end"]),
            {e.attrib["id"]: dict(e.attrib) for e in element},
        )
        for element in _elements(path, "interval")
    ]
    ids = tuple(sorted({edge for _, _, edges in intervals for edge in edges if not edge.startswith(":")}))

    def table(keys: Mapping[str, float]) -> Floats:
        rows = [
            [sum(float(edges.get(i, {}).get(k, empty)) for k, empty in keys.items()) for i in ids]
            for _, _, edges in intervals
        ]
        return np.array(rows, np.float64).reshape(len(intervals), len(ids))

    seconds = np.array([[end - begin] for begin, end, _ in intervals], np.float64).reshape(-1, 1)
    return Roads(
        interval_s=float(seconds[0, 0]) if intervals else 0.0,
        begin_s=tuple(begin for begin, _, _ in intervals),
        ids=ids,
        speed_relative=table({"speedRelative": math.nan}),
        waiting_veh=table({"waitingTime": 0.0}) / np.maximum(seconds, 1.0),
        left_veh=table({"left": 0.0, "arrived": 0.0}),
    )


@dataclass(frozen=True)
class Origin:
    """What a route file says of a vehicle: the road where it starts, and whether it is a ``<vehicle>`` or a ``<trip>``.

    The trip output knows neither of a vehicle that never got in.
    """

    edge: str
    is_vehicle: bool


def read_origins(route_files: tuple[Path, ...]) -> dict[str, Origin]:
    """Where every vehicle of the route files starts; an empty road where the file does not say.

    Raises:
        ScenarioError: a file is missing or incomplete.
    """
    named: dict[str, str] = {}
    for top in read_elements(route_files):
        named.update({route.get("id", ""): route.get("edges", "") for route in top.iter("route")})
    found: dict[str, Origin] = {}
    for element in flattened(read_elements(route_files)):
        if element.tag in VEHICLES:
            route = element.find("route")
            edges = named.get(element.get("route", ""), "") if route is None else route.get("edges", "")
            first = (edges.split() or [""])[0]
            found[element.get("id", "")] = Origin(element.get("from", first), element.tag == "vehicle")
    return found


def _elements(path: Path, *tags: str) -> Iterator[ElementTree.Element]:
    """Yield complete elements one by one, forgetting each afterwards, so that large files stay small in memory."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for _, element in ElementTree.iterparse(file, events=("end",)):
                if element.tag in tags:
                    yield element
                    element.clear()
    except OSError as error:
        raise OutputError(f"SUMO's output {path} cannot be read ({error.strerror}).") from error
    except ElementTree.ParseError as error:
        raise OutputError(f"SUMO's output {path} is incomplete ({error}); the run did not end properly.") from error
