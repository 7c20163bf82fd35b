"""A small town as an OpenStreetMap file: real ones are in other people's packages."""

from __future__ import annotations

import math
from pathlib import Path

SPACING_M = 160.0
COLUMNS, ROWS = 5, 4  # junctions, those at the edge of the map included
LON, LAT = 10.0, 50.0


def write_town(file: Path, signals: bool = True, mirrored: bool = False, sides: bool = True) -> Path:
    """Streets in a grid with signals inside, a lone pedestrian crossing, homes in the west and offices in the east.

    ``sides`` adds a roundabout and a dual carriageway for right-hand traffic; ``mirrored`` turns east into west, so
    that traffic keeps left.
    """
    town = _Town(mirrored)
    for column in range(COLUMNS):
        for row in range(ROWS):
            inner = 0 < column < COLUMNS - 1 and 0 < row < ROWS - 1
            town.node(_at(column, row), column, row, {"highway": "traffic_signals"} if inner and signals else {})
    for row in range(1, ROWS - 1):
        town.street([_at(column, row) for column in range(COLUMNS)], f"{row}. Street")
    for column in range(1, COLUMNS - 1):
        town.street([_at(column, row) for row in range(ROWS)], f"{column}. Avenue")
    crossing = {"highway": "crossing", "crossing": "traffic_signals"} if signals else {}
    town.node(500, 1.5, 0.5, crossing)
    town.street([_at(1, 0), 500, 501], "Lane")
    town.node(501, 2, 0.5, {})
    if sides:
        town.sides()
    for k in range(30):
        town.node(900 + k, 0.6 + 0.02 * k, 1.5, {"building": "apartments"})
        town.node(950 + k, 2.9 + 0.02 * k, 1.5, {"office": "company"})
    file.write_text(town.xml(), encoding="utf-8")
    return file


def _at(column: int, row: int) -> int:
    return 1 + column + COLUMNS * row


class _Town:
    def __init__(self, mirrored: bool) -> None:
        self.sign = -1 if mirrored else 1
        self.nodes: dict[int, str] = {}
        self.ways: list[str] = []

    def node(self, ref: int, column: float, row: float, tags: dict[str, str]) -> None:
        lat = LAT + row * SPACING_M / 110_574
        lon = LON + self.sign * column * SPACING_M / (111_320 * math.cos(math.radians(LAT)))
        inner = "".join(f'<tag k="{key}" v="{value}"/>' for key, value in tags.items())
        self.nodes[ref] = f'<node id="{ref}" version="1" lat="{lat:.7f}" lon="{lon:.7f}">{inner}</node>'

    def street(self, refs: list[int], name: str, **tags: str) -> None:
        tags = {"highway": "secondary", "name": name, "lanes": "2", **tags}
        inner = "".join(f'<nd ref="{ref}"/>' for ref in refs)
        inner += "".join(f'<tag k="{key}" v="{value}"/>' for key, value in tags.items())
        self.ways.append(f'<way id="{10_000 + len(self.ways)}" version="1">{inner}</way>')

    def sides(self) -> None:
        """Against the clock round a circle, and a dual carriageway whose eastbound side lies south."""
        middle, radius = (0.0, 1.0), 0.1
        for k in range(8):
            angle = math.tau * k / 8
            self.node(600 + k, middle[0] - 0.3 + radius * math.cos(angle), 1 + radius * math.sin(angle), {})
        self.street([*range(600, 608), 600], "Circus", junction="roundabout", oneway="yes", lanes="1")
        self.street([600, _at(0, 1)], "1. Street")
        for ref, column, row in ((700, 4, 2.05), (701, 5, 2.05), (702, 4, 1.95), (703, 5, 1.95)):
            self.node(ref, column, row, {})
        self.street([701, 700], "Boulevard", oneway="yes")  # westbound, in the north
        self.street([702, 703], "Boulevard", oneway="yes")
        self.street([700, _at(4, 2)], "2. Street", oneway="yes")
        self.street([_at(4, 2), 702], "2. Street", oneway="yes")

    def xml(self) -> str:
        body = "\n".join([*(self.nodes[ref] for ref in sorted(self.nodes)), *self.ways])
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<osm version="0.6" generator="greenloop">\n{body}\n</osm>\n'
