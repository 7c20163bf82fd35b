"""How far a person walks: along the roads of a walk and, where the network has them, over crossings and sidewalks."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

from scenarios.common.input_files import top_elements
from scenarios.common.net_values import WHAT


class Footways:
    """Lengths of a network's roads, and of the shortest ways on foot over its junctions."""

    def __init__(self, net_file: Path) -> None:
        self.length_m: dict[str, float] = {}
        self.nodes: dict[str, tuple[str, str]] = {}  # road -> its two junctions
        self.beside: dict[str, set[str]] = {}  # road, crossing or walking area -> those that it touches, both ways
        areas: set[str] = set()
        for element in top_elements(net_file, WHAT):
            if element.tag == "edge":
                self._edge(element, areas)
            elif element.tag == "connection" and {element.get("from", ""), element.get("to", "")} & areas:
                one, other = element.get("from", ""), element.get("to", "")
                self.beside.setdefault(one, set()).add(other)
                self.beside.setdefault(other, set()).add(one)

    def _edge(self, edge: ElementTree.Element, areas: set[str]) -> None:
        name, function = edge.get("id", ""), edge.get("function", "normal")
        if function != "internal":
            lanes = [float(lane.get("length", 0)) for lane in edge.iter("lane")]
            self.length_m[name] = lanes[0] if lanes else 0.0
            self.nodes[name] = (edge.get("from", ""), edge.get("to", ""))
            if function == "walkingarea":
                areas.add(name)

    def walk_m(self, edges: Sequence[str], depart_m: float, arrival_m: float) -> float:
        """Metres of a walk.

        Args:
            edges: roads in the order in which they are walked, in either direction.
            depart_m, arrival_m: positions on the first and last road, from its beginning.
        """
        if not edges or any(edge not in self.length_m for edge in edges):
            return 0.0
        if len(edges) == 1:
            return abs(arrival_m - depart_m)
        first, last = edges[0], edges[-1]
        forward = self.nodes[first][1] in self.nodes[edges[1]]
        onward = self.nodes[last][0] in self.nodes[edges[-2]]
        ends_m = (self.length_m[first] - depart_m if forward else depart_m) + (
            arrival_m if onward else self.length_m[last] - arrival_m
        )
        between_m = sum(self.length_m[edge] for edge in edges[1:-1])
        return ends_m + between_m + sum(self._over_junction_m(one, other) for one, other in pairwise(edges))

    def _over_junction_m(self, one: str, other: str) -> float:
        """Metres over crossings and walking areas from one road to the next; 0 where the network has none."""
        todo, done = [(0.0, one)], set()
        while todo:
            so_far_m, here = heapq.heappop(todo)
            if here == other:
                return so_far_m
            if here in done or (here != one and not here.startswith(":")):
                continue
            done.add(here)
            for following in self.beside.get(here, ()):
                step_m = self.length_m.get(following, 0.0) if following.startswith(":") else 0.0
                heapq.heappush(todo, (so_far_m + step_m, following))
        return 0.0


@lru_cache(maxsize=4)
def footways(net_file: Path, _stamp: int) -> Footways:
    """The footways of a network file; ``_stamp`` is the file's time, so that a changed one is read again."""
    return Footways(net_file)
