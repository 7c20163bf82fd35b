"""Which side of the road a map's traffic keeps to, as its roads show."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Line = NDArray[np.float64]


class Sides:
    """Roundabouts turn against the clock, and the other carriageway lies on the left, where traffic keeps right."""

    APART_M = 40.0  # a dual carriageway's directions, at most

    def __init__(self) -> None:
        self.right = self.left = 0
        self.carriageways: dict[str, list[Line]] = defaultdict(list)

    def add(self, tags: Any, line: Line) -> None:
        """Look at one road: (N, 2) longitudes and latitudes."""
        metres = line * (111_320 * math.cos(math.radians(line[0, 1])), 110_574)
        if tags.get("junction") in ("roundabout", "circular"):
            steps = np.diff(metres, axis=0)
            turned = steps[:-1, 0] * steps[1:, 1] - steps[:-1, 1] * steps[1:, 0]
            self._vote(float(turned.sum()))
        elif tags.get("oneway") == "yes" and "name" in tags:
            self.carriageways[tags["name"]].append(metres)

    def votes(self) -> tuple[int, int]:
        """For right-hand and for left-hand traffic."""
        for lines in self.carriageways.values():
            for side in self._other_sides(lines[:60]):
                self._vote(side)
        return self.right, self.left

    def _vote(self, leftward: float) -> None:
        self.right += leftward > 0
        self.left += leftward < 0

    def _other_sides(self, lines: list[Line]) -> Iterator[float]:
        """For each carriageway, where its nearest opposite lies: above 0 on its left."""
        middles = np.array([(line[0] + line[-1]) / 2 for line in lines])
        along = np.array([line[-1] - line[0] for line in lines])
        along /= np.maximum(np.hypot(*along.T), 1e-6)[:, None]
        for k, (middle, direction) in enumerate(zip(middles, along, strict=True)):
            away = middles - middle
            leftward = direction[0] * away[:, 1] - direction[1] * away[:, 0]
            ahead = np.abs(away @ direction)
            opposite = (along @ direction < -0.9) & (np.abs(leftward) < self.APART_M) & (ahead < self.APART_M * 2)
            opposite[k] = False
            if opposite.any():
                yield float(leftward[opposite][np.argmin(np.abs(leftward[opposite]))])
