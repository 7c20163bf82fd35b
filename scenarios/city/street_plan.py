"""The street plan of a generated city: arterials, the blocks between them, and which crossings get signals.

The plan is drawn on a flat sheet (u, v): arterials run across it at irregular distances, and each block between them
is divided again and again by a street, which gives the T-junctions and through streets of a grown town. The sheet is
then bent and warped into the plane.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

Point = tuple[float, float]
ARTERIAL, COLLECTOR, LOCAL = "arterial", "collector", "local"
_WEIGHT = {ARTERIAL: 4.0, COLLECTOR: 3.0, LOCAL: 1.0}
MIN_GAP_M = 75.0  # between two junctions along a street
_SIGNAL_GAP_M = 130.0
_STUB_M = (180.0, 320.0)  # how far arterials run on beyond the town
# fmt: off
_NAMES = (
    "Abbey", "Acorn", "Alder", "Anchor", "Apple", "Ash", "Bakers", "Bank", "Barley", "Beacon", "Beech", "Bell",
    "Birch", "Bridge", "Brook", "Castle", "Cedar", "Chapel", "Cherry", "Church", "Clock", "Cooper", "Court",
    "Cross", "Dale", "Dock", "East", "Elm", "Fair", "Falcon", "Farm", "Ferry", "Field", "Forge", "Fountain", "Fox",
    "Garden", "Garnet", "Gate", "Glass", "Grove", "Harbour", "Harvest", "Hazel", "Heron", "High", "Hill", "Holly",
    "Hope", "Iris", "Ivy", "Juniper", "King", "Lake", "Lantern", "Lark", "Laurel", "Lime", "Linden", "Long",
    "Maple", "Market", "Meadow", "Mill", "Mint", "Moor", "Moss", "New", "North", "Oak", "Old", "Orchard", "Park",
    "Pear", "Pine", "Plum", "Pond", "Poplar", "Port", "Quarry", "Queen", "Railway", "Raven", "River", "Rose",
    "Rowan", "School", "Silver", "South", "Spring", "Station", "Stone", "Summer", "Sun", "Swan", "Temple", "Thorn",
    "Tower", "Union", "Vale", "Valley", "Vine", "Wall", "Water", "Weaver", "Well", "West", "Wharf", "White",
    "Willow", "Wind", "Wood", "Yew",
)
# fmt: on
_SUFFIXES = {
    ARTERIAL: ("Avenue", "Boulevard", "Ring", "Highway"),
    COLLECTOR: ("Road", "Parade", "Row"),
    LOCAL: ("Street", "Lane", "Way", "Close", "Walk", "Terrace", "Place"),
}


@dataclass(frozen=True)
class Style:
    """What differs from city to city; drawn from the seed."""

    spacing_m: tuple[float, float]  # between arterials
    block_m: float  # blocks longer than about twice this are divided
    crossing_share: float  # of the signals, how many stand where arterials cross
    bend_rad: float  # by how much the sheet is bent over 2 km
    warp_m: float  # amplitude of its waves
    rotation_rad: float
    collector_share: float
    dropped_share: float  # of the local street sections
    arterial_lanes: tuple[int, ...]  # drawn from, street by street
    arterial_mps: tuple[float, ...]
    collector_lanes: int
    collector_mps: float
    local_mps: float

    @staticmethod
    def draw(rng: np.random.Generator, signals: int) -> Style:
        """Draw a style; large cities get larger blocks, as otherwise most of their streets would have no signal."""
        near_m = rng.uniform(300, 400)
        return Style(
            spacing_m=(near_m, near_m + rng.uniform(60, 220)),
            block_m=rng.uniform(85, 130) if signals <= 100 else rng.uniform(105, 140),
            crossing_share=rng.uniform(0.3, 0.55),
            bend_rad=math.radians(float(rng.choice([0, 0, 20, 35, 50]))),
            warp_m=rng.uniform(10, 45),
            rotation_rad=rng.uniform(0, math.pi / 2),
            collector_share=rng.uniform(0.4, 0.9),
            dropped_share=rng.uniform(0.0, 0.12),
            arterial_lanes=((2,), (2, 2, 3), (2, 3))[rng.integers(3)],
            arterial_mps=((13.89,), (13.89, 16.67), (16.67, 13.89, 13.89))[rng.integers(3)],
            collector_lanes=int(rng.choice([1, 1, 2])),
            collector_mps=float(rng.choice([11.11, 13.89, 13.89])),
            local_mps=float(rng.choice([8.33, 8.33, 11.11])),
        )


@dataclass
class Line:
    """A straight street on the sheet; ``axis`` 0 runs along v at a fixed u, ``axis`` 1 along u at a fixed v."""

    axis: int
    at: float
    kind: str | None  # None: the edge of the town, not a street
    name: str = ""
    lanes: int = 1
    speed_mps: float = 8.33
    stops: set[float] = field(default_factory=set)

    def point(self, along: float) -> Point:
        """The sheet coordinates at a position along the line."""
        return (self.at, along) if self.axis == 0 else (along, self.at)


@dataclass
class Node:
    """A junction, a dead end, or a gate: where an arterial leaves the town."""

    id: str
    sheet: Point
    position_m: Point = (0.0, 0.0)
    gate: bool = False
    signal: bool = False


@dataclass(frozen=True)
class Section:
    """A two-way street section between two nodes."""

    id: str
    start: str
    end: str
    line: Line = field(repr=False)
    shape_m: tuple[Point, ...] = ()  # from start to end, both included

    @property
    def rank(self) -> int:
        """Right of way: the higher goes first."""
        return {ARTERIAL: 9, COLLECTOR: 6}.get(self.line.kind or LOCAL, 3)

    @property
    def length_m(self) -> float:
        """Length along the shape."""
        return sum(math.dist(a, b) for a, b in pairwise(self.shape_m))


@dataclass
class Plan:
    """Nodes by id, sections, and the size of the sheet."""

    nodes: dict[str, Node]
    sections: list[Section]
    size_m: Point
    legs: dict[str, list[Section]] = field(default_factory=dict)

    def index(self) -> None:
        """Refresh ``legs``: the sections that meet at each node."""
        self.legs = {node: [] for node in self.nodes}
        for section in self.sections:
            self.legs[section.start].append(section)
            self.legs[section.end].append(section)


def plan(rng: np.random.Generator, signals: int, style: Style) -> Plan:
    """Draw a street plan with ``signals`` signals, or as many as its junctions can take."""
    lines, size = _Sheet(rng, signals, style).draw()
    result = _sections(lines, size, rng)
    _drop_sections(result, rng, style.dropped_share)
    _keep_largest_part(result)
    _warp(result, rng, style)
    _choose_signals(result, rng, signals)
    return result


class _Sheet:
    """Draws the lines; lives only while a plan is made."""

    def __init__(self, rng: np.random.Generator, signals: int, style: Style) -> None:
        self.rng, self.style = rng, style
        self.lines: list[Line] = []
        self.names = _street_names(rng)
        crossings = max(1, round(signals * style.crossing_share))
        across = max(1, round(math.sqrt(crossings * rng.uniform(0.6, 1.0))))
        self.counts = (max(1, math.ceil(crossings / across)), across)

    def draw(self) -> tuple[list[Line], Point]:
        grid = [self._positions(count) for count in self.counts]
        size = (grid[0][-1], grid[1][-1])
        ways = [
            [self._way(axis, at, 0 < i < len(grid[axis]) - 1) for i, at in enumerate(grid[axis])] for axis in (0, 1)
        ]
        for axis in (0, 1):
            for line in ways[axis]:
                line.stops |= set(grid[1 - axis])
        for left, right in pairwise(ways[0]):
            for low, high in pairwise(ways[1]):
                self._divide(left, right, low, high, depth=0)
        return self.lines, size

    def _positions(self, arterials: int) -> list[float]:
        """The edge of the town, the arterials, the other edge."""
        gaps = self.rng.uniform(*self.style.spacing_m, size=arterials + 1)
        gaps[[0, -1]] *= self.rng.uniform(0.55, 0.9, size=2)
        return [0.0, *(round(float(at), 1) for at in np.cumsum(gaps))]

    def _way(self, axis: int, at: float, is_arterial: bool) -> Line:
        if is_arterial:
            return self._street(axis, at, ARTERIAL)
        return self._street(axis, at, LOCAL if self.rng.random() < 0.6 else None)

    def _street(self, axis: int, at: float, kind: str | None) -> Line:
        style = self.style
        line = Line(axis, at, kind, name=self._name(kind))
        if kind == ARTERIAL:
            line.lanes, line.speed_mps = (
                int(self.rng.choice(style.arterial_lanes)),
                float(self.rng.choice(style.arterial_mps)),
            )
        elif kind == COLLECTOR:
            line.lanes, line.speed_mps = style.collector_lanes, style.collector_mps
        else:
            line.speed_mps = style.local_mps
        self.lines.append(line)
        return line

    def _name(self, kind: str | None) -> str:
        return next(self.names[kind or LOCAL])

    def _divide(self, left: Line, right: Line, low: Line, high: Line, depth: int) -> None:
        """Divide a block by a street, and the two halves again."""
        width, height = right.at - left.at, high.at - low.at
        ratio = width / height
        axis = 0 if ratio > 1.3 or (ratio > 0.77 and self.rng.random() < 0.5) else 1
        ends, sides = ((low, high), (left, right)) if axis == 0 else ((left, right), (low, high))
        if max(width, height) < 2 * self.style.block_m or (depth >= 2 and self.rng.random() < 0.12):
            return
        at = self._place(ends, sides[0].at, sides[1].at)
        if at is None:
            return
        street = self._street(axis, at, self._kind(depth))
        street.stops |= {ends[0].at, ends[1].at}
        for end in ends:
            end.stops.add(at)
        if axis == 0:
            self._divide(left, street, low, high, depth + 1)
            self._divide(street, right, low, high, depth + 1)
        else:
            self._divide(left, right, low, street, depth + 1)
            self._divide(left, right, street, high, depth + 1)

    def _kind(self, depth: int) -> str:
        return COLLECTOR if depth == 0 and self.rng.random() < self.style.collector_share else LOCAL

    def _place(self, ends: tuple[Line, Line], low: float, high: float) -> float | None:
        """Where a street can cross a block: opposite an existing one if near, never too close beside one."""
        taken = sorted(ends[0].stops | ends[1].stops)
        for _ in range(8):
            at = round(low + (high - low) * self.rng.uniform(0.3, 0.7), 1)
            near = min((stop for stop in taken if low < stop < high), key=lambda stop: abs(stop - at), default=None)
            if near is not None and abs(near - at) < 0.8 * MIN_GAP_M:
                at = near
            gaps = [abs(stop - at) for stop in (*taken, low, high) if stop != at]
            if min(gaps) >= MIN_GAP_M:
                return at
        return None


def _street_names(rng: np.random.Generator) -> dict[str, Iterator[str]]:
    def names(kind: str) -> Iterator[str]:
        stems = [str(stem) for stem in rng.permutation(_NAMES)]
        number = 0
        while True:
            for stem in stems:
                suffix = _SUFFIXES[kind][rng.integers(len(_SUFFIXES[kind]))]
                yield f"{stem} {suffix}" if number == 0 else f"{stem} {suffix} {number + 1}"
            number += 1

    return {kind: names(kind) for kind in _SUFFIXES}


def _sections(lines: list[Line], size: Point, rng: np.random.Generator) -> Plan:
    result = Plan({}, [], size)
    by_place: dict[Point, Node] = {}

    def node(place: Point) -> Node:
        if place not in by_place:
            by_place[place] = Node(f"n{len(by_place)}", place)
            result.nodes[by_place[place].id] = by_place[place]
        return by_place[place]

    streets = {(line.axis, line.at) for line in lines if line.kind}
    early: set[Point] = set()
    for line in lines:
        if line.kind is None:
            continue
        far = size[1 - line.axis]
        stops = sorted(line.stops)
        if line.kind == ARTERIAL:
            inner = [at for at in stops if 0 < at < far or (1 - line.axis, at) in streets]
            stops = _arterial_ends(line, inner, far, lines, early, rng)
        for a, b in pairwise(stops):
            start, end = node(line.point(a)), node(line.point(b))
            result.sections.append(Section(f"s{len(result.sections)}", start.id, end.id, line))
            start.gate |= a < 0
            end.gate |= b > far
    result.index()
    return result


def _arterial_ends(
    line: Line, stops: list[float], far: float, lines: list[Line], early: set[Point], rng: np.random.Generator
) -> list[float]:
    """Let an arterial run out of the town at each end, or sometimes end at the last arterial that it meets.

    ``early`` holds the crossings where one has ended: there the other runs on.
    """
    crossed = [other.at for other in lines if other.kind == ARTERIAL and other.axis != line.axis]
    first, last = line.point(min(crossed)), line.point(max(crossed))
    if rng.random() < 0.25 and first not in early:
        stops = [at for at in stops if at >= min(crossed)]
        early.add(first)
    else:
        stops = [-rng.uniform(*_STUB_M), *stops]
    if rng.random() < 0.25 and last not in early:
        early.add(last)
        return [at for at in stops if at <= max(crossed)]
    return [*stops, far + rng.uniform(*_STUB_M)]


def _drop_sections(town: Plan, rng: np.random.Generator, share: float) -> None:
    """Leave out some local sections, so that T-junctions and dead ends appear, while everything stays connected."""
    for section in list(town.sections):
        if section.line.kind != LOCAL or rng.random() >= share:
            continue
        town.sections.remove(section)
        town.index()
        if min(len(town.legs[section.start]), len(town.legs[section.end])) < 2 or not _connected(town, section):
            town.sections.append(section)
    town.sections.sort(key=lambda section: int(section.id[1:]))
    town.index()
    town.nodes = {key: node for key, node in town.nodes.items() if town.legs[key]}
    town.index()


def _connected(town: Plan, gap: Section) -> bool:
    """Whether the ends of a section that is out are still joined within 40 sections."""
    seen, edge = {gap.start}, [gap.start]
    for _ in range(40):
        edge = sorted({end for at in edge for leg in town.legs[at] for end in (leg.start, leg.end)} - seen)
        if gap.end in edge:
            return True
        seen.update(edge)
    return False


def _keep_largest_part(town: Plan) -> None:
    """Leave out streets that no way leads to: a line between two arterials that both ended before it."""
    parts: list[set[str]] = []
    for start in town.nodes:
        if any(start in part for part in parts):
            continue
        part, edge = set(), {start}
        while edge:
            part |= edge
            edge = {end for at in edge for leg in town.legs[at] for end in (leg.start, leg.end)} - part
        parts.append(part)
    kept = max(parts, key=len)
    town.nodes = {key: node for key, node in town.nodes.items() if key in kept}
    town.sections = [section for section in town.sections if section.start in kept]
    town.index()


def _warp(town: Plan, rng: np.random.Generator, style: Style) -> None:
    """Bend the sheet, ripple it and turn it; streets between nodes follow in steps of about 40 m."""
    waves = [(*rng.uniform(0, 2 * math.pi, 2), rng.uniform(900, 1800), rng.choice([-1, 1])) for _ in range(4)]
    centre = (town.size_m[0] / 2, town.size_m[1] / 2)

    def place(sheet: Point) -> Point:
        u, v = sheet[0] - centre[0], sheet[1] - centre[1]
        if style.bend_rad:
            radius = max(2000 / style.bend_rad, 1.2 * town.size_m[0]) + town.size_m[1] / 2
            angle = u / radius
            u, v = (radius + v) * math.sin(angle), (radius + v) * math.cos(angle) - radius
        for direction, phase, length, sign in waves:
            along = (u * math.cos(direction) + v * math.sin(direction)) * 2 * math.pi / length + phase
            shift = sign * style.warp_m / 2 * math.sin(along)
            u, v = u - shift * math.sin(direction), v + shift * math.cos(direction)
        turn = style.rotation_rad
        x, y = u * math.cos(turn) - v * math.sin(turn), u * math.sin(turn) + v * math.cos(turn)
        return round(x, 2), round(y, 2)

    for node in town.nodes.values():
        node.position_m = place(node.sheet)
    for index, section in enumerate(town.sections):
        a, b = town.nodes[section.start].sheet, town.nodes[section.end].sheet
        steps = max(1, round(math.dist(a, b) / 40))
        sheet = [(a[0] + (b[0] - a[0]) * k / steps, a[1] + (b[1] - a[1]) * k / steps) for k in range(steps + 1)]
        town.sections[index] = replace(section, shape_m=tuple(place(point) for point in sheet))
    town.index()


def _choose_signals(town: Plan, rng: np.random.Generator, wanted: int) -> None:
    """Signals at the most important junctions; where arterials cross first, close neighbours last."""

    def importance(node: Node) -> float:
        kinds = [leg.line.kind for leg in town.legs[node.id]]
        meets = len({leg.line.axis for leg in town.legs[node.id] if leg.line.kind == ARTERIAL}) == 2
        return sum(_WEIGHT[kind] for kind in kinds if kind) + 20 * meets + float(rng.uniform(0, 3))

    candidates = [node for node in town.nodes.values() if len(town.legs[node.id]) >= 3]
    ranked = sorted(candidates, key=lambda node: (-importance(node), int(node.id[1:])))
    chosen: list[Node] = []
    for gap_m in (_SIGNAL_GAP_M, 0.0):
        for node in ranked:
            if len(chosen) < wanted and not node.signal and _apart(node, chosen, gap_m):
                node.signal = True
                chosen.append(node)


def _apart(node: Node, others: list[Node], gap_m: float) -> bool:
    return all(math.dist(node.position_m, other.position_m) >= gap_m for other in others)
