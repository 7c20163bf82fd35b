"""Where the lanes and junctions of a network lie, as a trace keeps them: what a replay draws the streets from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from scenarios.common.input_files import top_elements
from scenarios.common.net_values import WHAT

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Points = Sequence[tuple[float, float]]

#: SUMO's width of a lane that names none, m.
LANE_WIDTH_M = 3.2
#: Whoever of these may use a lane makes it a lane for motor traffic.
MOTOR = frozenset({"all", "passenger", "bus", "delivery", "taxi", "truck", "private"})


@dataclass(frozen=True)
class Shapes:
    """K lines of P points together.

    Attributes:
        first: (K + 1,) the points of line k are ``first[k]`` to ``first[k + 1] - 1``.
        x_m, y_m: (P,) in the network's coordinates, m.
    """

    first: Ints
    x_m: Floats
    y_m: Floats

    @classmethod
    def join(cls, lines: Sequence[Points]) -> Shapes:
        """Put lines together."""
        points = np.array([point for line in lines for point in line], np.float64).reshape(-1, 2)
        first = np.cumsum([0, *(len(line) for line in lines)])
        return cls(first.astype(np.int64), points[:, 0], points[:, 1])

    def __len__(self) -> int:
        return len(self.first) - 1

    def of(self, line: int) -> Floats:
        """(points, 2) of one line, m."""
        part = slice(int(self.first[line]), int(self.first[line + 1]))
        return np.stack([self.x_m[part], self.y_m[part]], 1)


@dataclass(frozen=True)
class StreetMap:
    """The lanes that lead from junction to junction, and the surfaces of the junctions.

    Attributes:
        lanes: (L,) SUMO's lane ids.
        width_m: (L,) to the decimetre.
        motor: (L,) False for footways, cycle tracks and rails.
        lines: (L lines) each lane's middle from its begin to its stop line.
        junctions: (J lines) the outline of each junction that has one.
    """

    lanes: tuple[str, ...]
    width_m: Floats
    motor: NDArray[np.bool_]
    lines: Shapes
    junctions: Shapes


def read(net_file: Path) -> StreetMap:
    """Read the shapes of a network that a run has used.

    Raises:
        ValueError: the file has gone or has changed since.
    """
    ids, widths, motor, lines, junctions = [], [], [], [], []
    for element in _elements(net_file):
        if element.tag == "junction":
            outline = _points(element.get("shape", ""))
            if element.get("type") != "internal" and len(outline) > 2:
                junctions.append(outline)
        elif element.get("function") in (None, "normal", "connector"):
            for lane in element.iter("lane"):
                ids.append(lane.attrib["id"])
                widths.append(float(lane.get("width", LANE_WIDTH_M)))
                motor.append(_is_motor(lane))
                lines.append(_points(lane.attrib["shape"]))
    return StreetMap(
        tuple(ids), np.array(widths, np.float64), np.array(motor, bool), Shapes.join(lines), Shapes.join(junctions)
    )


def _elements(net_file: Path) -> Iterator[ElementTree.Element]:
    """Edges and junctions one by one, so that a large network stays small in memory."""
    yield from (element for element in top_elements(net_file, WHAT) if element.tag in ("edge", "junction"))


def _points(shape: str) -> list[tuple[float, float]]:
    pairs = (point.split(",") for point in shape.split())
    return [(round(float(pair[0]), 1), round(float(pair[1]), 1)) for pair in pairs]


def _is_motor(lane: ElementTree.Element) -> bool:
    allowed, refused = lane.get("allow", "").split(), lane.get("disallow", "").split()
    return bool(MOTOR & set(allowed)) if allowed else not {"all", "passenger"} & set(refused)
