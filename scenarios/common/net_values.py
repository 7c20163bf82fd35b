"""What the numbers of a network file have to be, checked before anything is computed from them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from scenarios.common.clock import parse_seconds
from scenarios.common.errors import ScenarioError, shorten
from scenarios.common.input_files import Stamp, scan, stamp

WHAT = "Network file"
#: Roads on earth are shorter and slower, and no signal has more links or longer rows.
MOST_M, MOST_MPS, MOST_S, MOST_LINKS = 1e7, 1e3, 1e7, 10_000
_TIMES = ("offset", "duration", "minDur", "maxDur")  # also written HH:MM:SS
_COORDINATES = re.compile(r"[-+0-9.eE, ]*")
Attributes = Mapping[str, str]


def check_network(net_file: Path) -> None:
    """Check that a file is a network whose values can be used; done once for as long as the file does not change.

    Raises:
        ScenarioError: it cannot be read, is no network, or holds a length, speed, duration, coordinate or index that
            makes no sense; the sentence names the element.
    """
    _checked(net_file, stamp(net_file, WHAT))


@lru_cache(maxsize=64)
def _checked(net_file: Path, _stamp: Stamp) -> None:
    checker = _Checker(net_file)
    root = scan(net_file, WHAT, checker.visit)
    checker.finish_edge()
    if root != "net":
        raise ScenarioError(f"{WHAT} {net_file} holds <{shorten(root, 40)}>, not <net>; give a SUMO .net.xml file.")


class _Checker:
    def __init__(self, net_file: Path) -> None:
        self.net_file = net_file
        self.edge = self.signal = ""
        self.lanes: dict[str, int] = {}
        self.checks: dict[str, Callable[[Attributes], None]] = {
            "edge": self._edge,
            "lane": self._lane,
            "junction": self._junction,
            "connection": self._connection,
            "tlLogic": self._logic,
            "phase": self._phase,
            "include": self._include,
        }

    def visit(self, tag: str, attributes: Attributes) -> None:
        if check := self.checks.get(tag):
            check(attributes)

    def _edge(self, edge: Attributes) -> None:
        self.finish_edge()
        self.edge = edge.get("id", "")
        self.lanes[self.edge] = 0
        self._coordinates(f"road '{self.edge}'", edge)

    def finish_edge(self) -> None:
        """Look back at the road that has been read."""
        if self.edge and not self.lanes[self.edge]:
            raise self._error(f"road '{self.edge}'", "it has no lanes")

    def _lane(self, lane: Attributes) -> None:
        where = f"lane '{lane.get('id', '')}'"
        self.lanes[self.edge] = self.lanes.get(self.edge, 0) + 1
        self._number(where, lane, "length", MOST_M, above=True)  # SUMO skips a lane without, and misses it later
        self._number(where, lane, "speed", MOST_MPS, above=True)
        self._coordinates(where, lane)

    def _junction(self, junction: Attributes) -> None:
        where = f"junction '{junction.get('id', '')}'"
        for key in ("x", "y"):
            self._number(where, junction, key, math.inf, least=-math.inf)
        self._coordinates(where, junction)

    def _connection(self, link: Attributes) -> None:
        where = f"connection from '{link.get('from', '')}' to '{link.get('to', '')}'"
        for end in ("from", "to"):
            index, road = self._index(where, link, f"{end}Lane"), link.get(end, "")
            if road not in self.lanes and not road.startswith(":"):  # inner roads may be left out
                raise self._error(where, f"there is no road '{shorten(road, 60)}'")
            if index is not None and road in self.lanes and index >= self.lanes[road]:
                raise self._error(
                    where, f"{end}Lane is {index}, but road '{road}' has {self.lanes[road]} lanes, counted from 0"
                )
        for key in ("linkIndex", "linkIndex2"):
            index = self._index(where, link, key, least=-1)
            if index is not None and index >= MOST_LINKS:
                raise self._error(where, f"{key} is {index}, and no signal has {MOST_LINKS:,} links")

    def _logic(self, logic: Attributes) -> None:
        self.signal = logic.get("id", "")
        if logic.get("offset") != "begin":
            self._number(f"signal '{self.signal}'", logic, "offset", MOST_S, least=-MOST_S)

    def _phase(self, phase: Attributes) -> None:
        for key in ("duration", "minDur", "maxDur"):
            self._number(f"a phase of signal '{self.signal}'", phase, key, MOST_S)

    def _include(self, _attributes: Attributes) -> None:
        raise self._error(
            "<include>", "a network that includes files is not read; write it as one file with netconvert"
        )

    # --- kinds of values -------------------------------------------------------------------------------------------

    def _number(
        self, where: str, attributes: Attributes, key: str, most: float, least: float = 0.0, above: bool = False
    ) -> None:
        text = attributes.get(key)
        if text is None:
            return
        try:
            value = parse_seconds(text) if key in _TIMES else float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and least <= value <= most) or (above and value == least):
            first = "above" if above else "from"
            wish = f"a number {first} {least:,.0f} to {most:,.0f}" if math.isfinite(most) else "a number"
            raise self._error(where, f"{key} is '{text}'; it has to be {wish}")

    def _index(self, where: str, attributes: Attributes, key: str, least: int = 0) -> int | None:
        text = attributes.get(key)
        if text is None:
            return None
        if not text.removeprefix("-").isdecimal() or len(text) > 12 or int(text) < least:
            raise self._error(where, f"{key} is '{text}'; it has to be a whole number from {least}")
        return int(text)

    def _coordinates(self, where: str, attributes: Attributes) -> None:
        shape = attributes.get("shape", "")
        if not _COORDINATES.fullmatch(shape):
            raise self._error(where, f"shape '{shorten(shape, 60)}' has coordinates that are not numbers")

    def _error(self, where: str, what: str) -> ScenarioError:
        return ScenarioError(f"{WHAT} {self.net_file}: {shorten(where, 120)}: {shorten(what, 200)}.")
