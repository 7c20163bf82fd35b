"""Reads CityFlow's roadnet.json and flow.json, plain or gzipped, and checks that they fit together.

Format: https://cityflow.readthedocs.io/en/latest/roadnet.html and flow.html. CityFlow counts a road's lanes from the
middle of the street outwards, and a signal's phases name positions in the intersection's list of road links.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from scenarios.spec import ScenarioError

Turn = Literal["go_straight", "turn_left", "turn_right"]
Positive = Annotated[float, Field(gt=0)]
_NOT_IN_IDS = re.compile(r"""[\s|\\'";,:<>&*?!]""")


class _Part(BaseModel):
    """A part of a file; keys that nobody needs are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Point(_Part):
    """A place, m."""

    x: float
    y: float


class Lane(_Part):
    """One lane of a road."""

    width_m: Positive = Field(alias="width")
    speed_mps: Positive = Field(alias="maxSpeed")


class Road(_Part):
    """A road in one direction; lane 0 is the one next to the middle of the street."""

    id: str
    start: str = Field(alias="startIntersection")
    end: str = Field(alias="endIntersection")
    points: tuple[Point, ...] = Field(min_length=2)
    lanes: tuple[Lane, ...] = Field(min_length=1)


class LaneLink(_Part):
    """A way from one lane to another."""

    start_lane: int = Field(alias="startLaneIndex", ge=0)
    end_lane: int = Field(alias="endLaneIndex", ge=0)


class RoadLink(_Part):
    """All ways from one road to another over an intersection."""

    turn: Turn = Field(alias="type")
    start: str = Field(alias="startRoad")
    end: str = Field(alias="endRoad")
    lane_links: tuple[LaneLink, ...] = Field(alias="laneLinks")


class LightPhase(_Part):
    """What is green together: positions in the intersection's road links."""

    time_s: float = Field(alias="time", ge=0)
    links: tuple[Annotated[int, Field(ge=0)], ...] = Field(alias="availableRoadLinks")


class TrafficLight(_Part):
    """The phases of a signal in the order of its plan."""

    phases: tuple[LightPhase, ...] = Field(alias="lightphases")


class Intersection(_Part):
    """An intersection; a virtual one is where roads enter or leave the network."""

    id: str
    point: Point
    virtual: bool = False
    roads: tuple[str, ...] = ()
    links: tuple[RoadLink, ...] = Field((), alias="roadLinks")
    light: TrafficLight | None = Field(None, alias="trafficLight")


class _RoadNetFile(_Part):
    intersections: tuple[Intersection, ...] = Field(min_length=1)
    roads: tuple[Road, ...] = Field(min_length=1)


class Vehicle(_Part):
    """What drives: lengths in m, accelerations in m/s²."""

    length_m: Positive = Field(5.0, alias="length")
    width_m: Positive = Field(2.0, alias="width")
    acceleration_mps2: Positive = Field(2.0, alias="usualPosAcc")
    braking_mps2: Positive = Field(4.5, alias="usualNegAcc")
    hardest_braking_mps2: Positive = Field(4.5, alias="maxNegAcc")
    gap_m: float = Field(2.5, alias="minGap", ge=0)
    speed_mps: Positive = Field(16.67, alias="maxSpeed")
    headway_s: float = Field(2.0, alias="headwayTime", ge=0)


class Flow(_Part):
    """Vehicles every ``interval_s`` from ``start_s`` to ``end_s``, both included; an end of -1 is that of the run."""

    vehicle: Vehicle
    route: tuple[str, ...] = Field(min_length=1)
    interval_s: Positive = Field(alias="interval")
    start_s: float = Field(alias="startTime", ge=0)
    end_s: float = Field(alias="endTime")


@dataclass(frozen=True)
class RoadNet:
    """A road network that fits together, by id."""

    file: Path
    roads: dict[str, Road]
    intersections: dict[str, Intersection]


# --- reading -------------------------------------------------------------------------------------------------------


def read_roadnet(file: Path) -> RoadNet:
    """Read and check a road network.

    Raises:
        ScenarioError: it cannot be read, or something in it leads nowhere; one sentence names the file and the key.
    """
    content = _load(file, "Road network file", dict, "an object with 'intersections' and 'roads'")
    try:
        found = _RoadNetFile.model_validate(content)
    except ValidationError as error:
        raise ScenarioError(f"Road network file {file}: {_first_problem(error, content)}") from error
    for key, ids in (
        ("intersections", [one.id for one in found.intersections]),
        ("roads", [one.id for one in found.roads]),
    ):
        _check_ids(file, key, ids)
    net = RoadNet(file, {road.id: road for road in found.roads}, {one.id: one for one in found.intersections})
    for road in found.roads:
        _check_road(net, road)
    for intersection in found.intersections:
        _check_intersection(net, intersection)
    return net


def read_flows(file: Path) -> tuple[Flow, ...]:
    """Read a flow file; whether its routes exist is checked where they are needed.

    Raises:
        ScenarioError: it cannot be read, or a key is missing or wrong.
    """
    content = _load(file, "Flow file", list, "a list of flows")
    try:
        found = TypeAdapter(tuple[Flow, ...]).validate_python(content)
    except ValidationError as error:
        raise ScenarioError(f"Flow file {file}: {_first_problem(error, content)}") from error
    for number, flow in enumerate(found):
        if flow.end_s != -1 and flow.end_s < flow.start_s:
            raise ScenarioError(
                f"Flow file {file}: flow {number}: endTime {flow.end_s:g} is before startTime {flow.start_s:g}; "
                "give a later one, or -1 for the end of the run."
            )
    if not found:
        raise ScenarioError(f"Flow file {file} holds no flow, so there is nothing to simulate.")
    return found


def _load(file: Path, what: str, kind: type, described: str) -> Any:
    try:
        raw = file.read_bytes()
        content = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except (gzip.BadGzipFile, EOFError) as error:
        raise ScenarioError(f"{what} {file} is not complete gzip ({error}); fetch it again.") from error
    except OSError as error:
        raise ScenarioError(f"{what} {file} cannot be read ({error.strerror}); check the path.") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ScenarioError(f"{what} {file} is not complete JSON ({error}); fetch it again.") from error
    if not isinstance(content, kind):
        other = "a road network" if isinstance(content, dict) else "a flow file" if isinstance(content, list) else ""
        hint = f"; it looks like {other}, so check the order: roadnet.json first, then flow.json" if other else ""
        raise ScenarioError(f"{what} {file} must hold {described}{hint}.")
    return content


def _first_problem(error: ValidationError, content: object) -> str:
    """The first problem as ``roads 3 ('road_1'): lanes: Field required.``"""
    first = error.errors()[0]
    said, place = "", content
    for part in first["loc"]:
        try:
            place = place[part]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            place = None
        if isinstance(part, int):
            name = place.get("id") if isinstance(place, dict) else None
            said += f" {part}" + (f" ('{name}')" if isinstance(name, str) else "")
        else:
            said += f"{': ' if said else ''}{part}"
    said = f"flow{said}" if isinstance(content, list) else said
    more = error.error_count() - 1
    after = f" ({more} more problem{'s' if more > 1 else ''} after it)" if more else ""
    return f"{said}: {first['msg']}{after}."


# --- what must fit -------------------------------------------------------------------------------------------------


def _check_ids(file: Path, key: str, ids: list[str]) -> None:
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise ScenarioError(f"Road network file {file}: {key} has the id '{twice[0]}' twice; ids must differ.")
    for name in ids:
        if not name or _NOT_IN_IDS.search(name):
            raise ScenarioError(
                f"Road network file {file}: {key} has the id '{name}', which SUMO does not take; "
                "use letters, digits and _ - . #."
            )


def _check_road(net: RoadNet, road: Road) -> None:
    what = f"Road network file {net.file}: road '{road.id}'"
    for key, end in (("startIntersection", road.start), ("endIntersection", road.end)):
        if end not in net.intersections:
            raise ScenarioError(f"{what}: {key} '{end}' is not among the intersections; add it or remove the road.")
    if road.start == road.end:
        raise ScenarioError(f"{what} is cyclic: it starts and ends at '{road.start}'; give it two intersections.")
    if len({(point.x, point.y) for point in road.points}) < 2:
        raise ScenarioError(f"{what}: points are all the same place, so the road has no length; give two places.")


def _check_intersection(net: RoadNet, intersection: Intersection) -> None:
    what = f"Road network file {net.file}: intersection '{intersection.id}'"
    for name in intersection.roads:
        if name not in net.roads:
            raise ScenarioError(f"{what}: roads names '{name}', which is not among the roads; add or remove it.")
    for number, link in enumerate(intersection.links):
        _check_link(net, intersection, link, f"{what}: roadLinks {number}")
    if not intersection.virtual and intersection.light is not None:
        _check_light(intersection, f"{what}: trafficLight.lightphases")


def _check_link(net: RoadNet, intersection: Intersection, link: RoadLink, what: str) -> None:
    for key, name in (("startRoad", link.start), ("endRoad", link.end)):
        if name not in net.roads:
            raise ScenarioError(f"{what}: {key} '{name}' is not among the roads; add the road or remove the link.")
    if link.start == link.end:
        raise ScenarioError(f"{what} is cyclic: it leads from road '{link.start}' to itself; remove it.")
    start, end = net.roads[link.start], net.roads[link.end]
    if start.end != intersection.id:
        raise ScenarioError(f"{what}: startRoad '{start.id}' ends at '{start.end}', not here; correct or remove it.")
    if end.start != intersection.id:
        raise ScenarioError(f"{what}: endRoad '{end.id}' starts at '{end.start}', not here; correct or remove it.")
    if not link.lane_links:
        raise ScenarioError(f"{what}: laneLinks is empty, so no lane leads from '{start.id}' to '{end.id}'; add one.")
    for place, lane_link in enumerate(link.lane_links):
        sides = (("startLaneIndex", lane_link.start_lane, start), ("endLaneIndex", lane_link.end_lane, end))
        for key, lane, road in sides:
            if lane >= len(road.lanes):
                raise ScenarioError(
                    f"{what}: laneLinks {place}: {key} {lane} does not exist: road '{road.id}' has lanes 0 to "
                    f"{len(road.lanes) - 1}."
                )


def _check_light(intersection: Intersection, what: str) -> None:
    assert intersection.light is not None
    phases = intersection.light.phases
    if not phases:
        raise ScenarioError(f"{what} is empty, so the signal shows nothing; add phases, or remove trafficLight.")
    for number, phase in enumerate(phases):
        missing = [link for link in phase.links if link >= len(intersection.links)]
        if missing:
            raise ScenarioError(
                f"{what} {number}: availableRoadLinks names road link {missing[0]}, but the intersection has "
                f"{len(intersection.links)}, counted from 0."
            )


def links_of(intersections: Iterable[Intersection]) -> dict[tuple[str, str], RoadLink]:
    """All road links by the roads that they lead from and to."""
    return {(link.start, link.end): link for one in intersections for link in one.links}
