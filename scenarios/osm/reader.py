"""What an OpenStreetMap extract holds that a scenario needs: roads, signals, the side of the road, who lives where."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scenarios.osm.driving_side import Sides
from scenarios.osm.source import Source, check_memory
from scenarios.spec import ScenarioError

_THROUGH = ("motorway", "trunk", "primary", "secondary", "tertiary")
#: Values of ``highway`` that cars drive on.
ROADS = (*_THROUGH, *(f"{kind}_link" for kind in _THROUGH), "unclassified", "residential", "living_street")
#: Homes, jobs and shops that one object stands for, by its building or land use; other buildings count a little.
_HOMES = {"apartments": 6.0, "dormitory": 6.0, "residential": 3.0, "terrace": 2.0, "house": 1.0, "detached": 1.0}
_JOBS = {"office": 5.0, "commercial": 4.0, "industrial": 5.0, "public": 3.0, "hospital": 8.0, "university": 6.0}
_SHOPS = {"retail": 4.0, "supermarket": 4.0, "kiosk": 0.5}
_SHOP_AMENITIES = frozenset({"restaurant", "cafe", "bar", "pub", "fast_food", "bank", "pharmacy", "cinema", "theatre"})
_JOB_AMENITIES = frozenset({"school", "university", "hospital", "townhall", "courthouse", "police", "post_office"})

Box = tuple[float, float, float, float]  # west, south, east, north, degrees


@dataclass(frozen=True)
class Place:
    """Something where people live, work or shop."""

    lon: float
    lat: float
    homes: float = 0.0
    jobs: float = 0.0
    shops: float = 0.0


@dataclass
class Extract:
    """What was found in a map.

    Attributes:
        roads: OSM ways that cars drive on.
        signals: nodes marked as traffic signals on them.
        right_votes, left_votes: roundabouts and dual carriageways that show right-hand or left-hand traffic.
        places: homes, jobs and shops.
        ends: longitude and latitude of the roads' nodes, by their OSM id.
    """

    roads: int = 0
    signals: int = 0
    right_votes: int = 0
    left_votes: int = 0
    places: list[Place] = field(default_factory=list)
    ends: dict[int, tuple[float, float]] = field(default_factory=dict)


def read(source: Source, box: Box | None, roads_file: Path) -> Extract:
    """Read a map, and write its roads, their nodes and turn restrictions to ``roads_file`` (OSM XML) for netconvert.

    Args:
        source: the map.
        box: only roads and places in it; roads that leave it are written whole.
        roads_file: what to write.

    Raises:
        ScenarioError: the file is truncated, is no map, is too large for this machine, or holds no roads.
    """
    check_memory(source)
    reader = _Reader(source, box, roads_file)
    try:
        found = reader.read()
    except (RuntimeError, ValueError, _location_error()) as error:
        raise ScenarioError(f"Map {source.file} cannot be read as OpenStreetMap {source.format}: {error}.") from error
    if not found.roads:
        raise ScenarioError(f"Map {source.file} holds no roads for cars: {reader.why_none()}.")
    check_memory(source, found.roads)
    return found


def _location_error() -> type[Exception]:
    import osmium

    return osmium.InvalidLocationError


@dataclass(frozen=True)
class _Road:
    id: int
    nodes: tuple[int, ...]
    tags: dict[str, str]


class _Reader:
    """Ways, then the nodes that they need, in any order in the file; then both are written for netconvert.

    pyosmium's own store of locations wants the nodes before the ways and ids above 0, which not every editor writes.
    Its own writer of referenced objects takes memory up to the highest id, more than 1 GB.
    """

    def __init__(self, source: Source, box: Box | None, roads_file: Path) -> None:
        self.source, self.box, self.roads_file = source, box, roads_file
        self.found = Extract()
        self.sides = Sides()
        self.ways = 0
        self.roads: list[_Road] = []
        self.areas: list[tuple[int, dict[str, str]]] = []  # buildings and land use: a node on them, and tags
        self.chosen: set[int] = set()
        self.places: dict[int, tuple[float, float]] = {}  # longitude and latitude of nodes on ways
        self.located = 0  # roads of which at least two nodes are in the file
        self.node_tags: dict[int, dict[str, str]] = {}  # of signals, crossings, stops

    def read(self) -> Extract:
        import osmium

        tagged = osmium.filter.EmptyTagFilter()
        for way in osmium.FileProcessor(self.source.open(), osmium.osm.WAY).with_filter(tagged):
            self._way(way)
        needed = {node for road in self.roads for node in road.nodes} | {node for node, _ in self.areas}
        for node in osmium.FileProcessor(self.source.open(), osmium.osm.NODE):
            self._node(node, needed)
        for road in self.roads:
            self._choose(road)
        for first, tags in self.areas:
            if first in self.places:
                self._note_place(tags, *self.places[first])
        self.found.roads = len(self.chosen)
        self.found.signals = sum(_is_signal(self.node_tags.get(node, {})) for node in self.found.ends)
        self.found.right_votes, self.found.left_votes = self.sides.votes()
        if self.chosen:
            self._write()
        return self.found

    def why_none(self) -> str:
        """Why no road was chosen."""
        if not self.roads:
            return f"none of its {self.ways:,} tagged ways is a highway that cars use"
        if not self.located:
            return f"the nodes of its {len(self.roads):,} roads are not in the file; export it with its nodes"
        return f"none of its {len(self.roads):,} roads lies in --bbox"

    def _way(self, way: Any) -> None:
        self.ways += 1
        if way.tags.get("highway") in ROADS:
            self.roads.append(_Road(way.id, tuple(node.ref for node in way.nodes), dict(way.tags)))
        elif way.nodes and ("building" in way.tags or "landuse" in way.tags or "shop" in way.tags):
            self.areas.append((way.nodes[0].ref, dict(way.tags)))

    def _node(self, node: Any, needed: set[int]) -> None:
        is_needed, has_tags = node.id in needed, len(node.tags) > 0
        if not (is_needed or has_tags) or not node.location.valid():
            return
        place = node.location.lon, node.location.lat
        if is_needed:
            self.places[node.id] = place
        if has_tags:
            if "highway" in node.tags or "crossing" in node.tags:
                self.node_tags[node.id] = dict(node.tags)
            self._note_place(node.tags, *place)

    def _choose(self, road: _Road) -> None:
        line = [(node, *self.places[node]) for node in road.nodes if node in self.places]
        if len(line) < 2:
            return
        self.located += 1
        if not any(self._is_inside(lon, lat) for _, lon, lat in line):
            return
        self.chosen.add(road.id)
        self.found.ends.update({node: (lon, lat) for node, lon, lat in line})
        self.sides.add(road.tags, np.array([(lon, lat) for _, lon, lat in line]))

    def _note_place(self, tags: Any, lon: float, lat: float) -> None:
        if self._is_inside(lon, lat) and any(weights := _weights(tags)):
            self.found.places.append(Place(lon, lat, *weights))

    def _is_inside(self, lon: float, lat: float) -> bool:
        if self.box is None:
            return True
        west, south, east, north = self.box
        return west <= lon <= east and south <= lat <= north

    def _write(self) -> None:
        import osmium

        ways = osmium.filter.TagFilter(*(("highway", kind) for kind in ROADS), ("type", "restriction"))
        entities = osmium.osm.WAY | osmium.osm.RELATION
        with osmium.SimpleWriter(osmium.io.File(str(self.roads_file), "osm"), overwrite=True) as writer:
            for ref, place in sorted(self.found.ends.items()):
                tags = self.node_tags.get(ref, {})
                writer.add_node(osmium.osm.mutable.Node(id=ref, version=1, location=place, tags=tags))
            for thing in osmium.FileProcessor(self.source.open(), entities).with_filter(ways):
                if thing.id in self.chosen if isinstance(thing, osmium.osm.Way) else self._bans(thing):
                    writer.add(thing)

    def _bans(self, relation: Any) -> bool:
        return any(member.type == "w" and member.ref in self.chosen for member in relation.members)


def _is_signal(tags: Any) -> bool:
    return "traffic_signals" in (tags.get("highway"), tags.get("crossing"))


def _weights(tags: Any) -> tuple[float, float, float]:
    """Homes, jobs and shops."""
    building = tags.get("building") or ""
    amenity = tags.get("amenity") or ""
    homes = _HOMES.get(building, 0.5 if building == "yes" else 0.0)
    jobs = _JOBS.get(building, 0.3 if building == "yes" else 0.0) + 1.0 * ("office" in tags)
    jobs += 3.0 * (amenity in _JOB_AMENITIES)
    shops = _SHOPS.get(building, 0.0) + 1.0 * ("shop" in tags) + 0.7 * (amenity in _SHOP_AMENITIES)
    use = tags.get("landuse") or ""
    homes += 3.0 * (use == "residential")
    jobs += 3.0 * (use in ("commercial", "industrial"))
    return homes, jobs, shops + 3.0 * (use == "retail")
