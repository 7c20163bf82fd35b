"""Which vehicles drive now, and on which lane: asked of SUMO once in a second, whoever needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Vehicles:
    """The vehicles of the present second; ``forget`` them when the simulation goes on."""

    def __init__(self, conn: Any) -> None:
        self._conn = conn
        self.forget()

    def forget(self) -> None:
        """The simulation goes on."""
        self._ids: Sequence[str] | None = None
        self._lanes: Sequence[str] | None = None

    @property
    def ids(self) -> Sequence[str]:
        """Ids in SUMO's order."""
        if self._ids is None:
            self._ids = self._conn.vehicle.getIDList()
        return self._ids

    @property
    def lanes(self) -> Sequence[str]:
        """The lane of each."""
        if self._lanes is None:
            self._lanes = list(map(self._conn.vehicle.getLaneID, self.ids))
        return self._lanes


def values(read: Callable[[str], float], ids: Sequence[str]) -> NDArray[np.float64]:
    """One number for each id, (len(ids),)."""
    return np.fromiter(map(read, ids), np.float64, len(ids))


def sums(index: NDArray[np.int64], weights: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """(size,) the sum of the weights at each index, added one by one in their order."""
    return np.bincount(index, weights, size).astype(np.float64, copy=False)  # of nothing it would be whole numbers
