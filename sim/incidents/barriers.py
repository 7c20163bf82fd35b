"""Closed lanes and roads in the running simulation; ``conn`` is libsumo or a TraCI connection.

A road is closed at its gates: the ways over the junctions that lead into it. So nobody enters, whoever is on it or
starts there drives off, and SUMO itself finds routes around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sim.network import Road

Turn = tuple[str, str]

#: Who may drive where a lane or a road is closed.
RESCUE = "emergency"
#: The class given to drivers who have no other way than through the roadworks.
ACCESS = "custom2"
#: Drivers read the sign at the last junction before a closed road, but at least this far before it, m.
SIGN_M = 50.0


class LaneRules:
    """Permissions and speed limits set by several incidents on the same lanes, undone exactly."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[tuple[str, ...], float]] = {}  # lane -> disallowed classes, speed limit (m/s)
        self._closed: dict[str, dict[str, frozenset[str]]] = {}  # lane -> incident -> classes that stay allowed
        self._limits: dict[str, dict[str, float]] = {}  # lane -> incident -> limit (m/s)

    def close(self, conn: Any, incident: str, lane: str, still: Iterable[str]) -> None:
        """Close a lane to all vehicle classes but some."""
        self._remember(conn, lane)
        self._closed.setdefault(lane, {})[incident] = frozenset(still)
        self._permit(conn, lane)

    def limit(self, conn: Any, incident: str, lane: str, speed_mps: float) -> None:
        """Lower a lane's speed limit; one that is lower already stays."""
        self._remember(conn, lane)
        self._limits.setdefault(lane, {})[incident] = speed_mps
        self._slow(conn, lane)

    def release(self, conn: Any, incident: str) -> None:
        """Undo all that an incident did; what others did stays."""
        for lane, owners in self._closed.items():
            if owners.pop(incident, None) is not None:
                self._permit(conn, lane)
        for lane, limits in self._limits.items():
            if limits.pop(incident, None) is not None:
                self._slow(conn, lane)

    def _remember(self, conn: Any, lane: str) -> None:
        if lane not in self._before:
            self._before[lane] = tuple(conn.lane.getDisallowed(lane)), conn.lane.getMaxSpeed(lane)

    def _permit(self, conn: Any, lane: str) -> None:
        disallowed, owners = self._before[lane][0], self._closed[lane]
        if not owners:
            conn.lane.setDisallowed(lane, disallowed)
            return
        still = frozenset.intersection(*owners.values()) - set(disallowed)
        if still:
            conn.lane.setAllowed(lane, sorted(still))
        else:
            conn.lane.setDisallowed(lane, ["all"])

    def _slow(self, conn: Any, lane: str) -> None:
        conn.lane.setMaxSpeed(lane, min([self._before[lane][1], *self._limits[lane].values()]))


@dataclass(frozen=True)
class Barrier:
    """Turns from road to road that an incident makes impossible.

    Attributes:
        edge: the road of the incident.
        turns: the impossible ones.
        warned: roads on which every driver knows.
        share: of the drivers farther away who know at once.
        accessible: whether drivers without another way are let through.
    """

    incident: str
    edge: str
    turns: frozenset[Turn]
    warned: tuple[str, ...]
    share: float
    accessible: bool


def road_barrier(
    conn: Any, roads: Mapping[str, Road], incident: str, edge: str, share: float
) -> tuple[Barrier, list[str]]:
    """Return the barrier of a closed road, and the lanes that are its gates."""
    gates = [
        via or lane  # a network without internal lanes has no gates but the road's own lanes
        for before in roads[edge].predecessors
        for _, lane, via in _links(conn, roads[before])
        if _edge_of(lane) == edge
    ]
    turns = frozenset((before, edge) for before in roads[edge].predecessors)
    return Barrier(incident, edge, turns, _signed(roads, edge), share, accessible=False), gates


def works_barrier(conn: Any, roads: Mapping[str, Road], incident: str, edge: str, lanes: Sequence[str]) -> Barrier:
    """Return the turns that are lost with some lanes of a road; everybody knows of roadworks."""
    road, lost = roads[edge], set()
    for after in road.successors:
        ways = [lane for lane, target, _ in _links(conn, road) if _edge_of(target) == after]
        if ways and set(ways) <= set(lanes):
            lost.add((edge, after))
    for before in road.predecessors:
        ways = [target for _, target, _ in _links(conn, roads[before]) if _edge_of(target) == edge]
        if ways and set(ways) <= set(lanes):
            lost.add((before, edge))
    return Barrier(incident, edge, frozenset(lost), (edge, *_signed(roads, edge)), share=1.0, accessible=True)


def _links(conn: Any, road: Road) -> list[tuple[str, str, str]]:
    """Lane, the lane it leads to, and the first lane over the junction, for all car lanes of a road."""
    lanes = [f"{road.id}_{index}" for index in road.car_lanes]
    return [(lane, link[0], link[4]) for lane in lanes for link in conn.lane.getLinks(lane)]


def _edge_of(lane: str) -> str:
    return lane.rpartition("_")[0]


def _signed(roads: Mapping[str, Road], edge: str) -> tuple[str, ...]:
    """The roads before ``edge``, and those before these where they are short."""
    found: dict[str, None] = {}
    todo = [(before, 0.0) for before in roads[edge].predecessors]
    while todo:
        road, away_m = todo.pop(0)
        if road in found or road == edge:
            continue
        found[road] = None
        reach_m = away_m + roads[road].length_m
        if reach_m < SIGN_M:
            todo += [(before, reach_m) for before in roads[road].predecessors]
    return tuple(found)
