"""Figures with intervals, from a bootstrap over whole (network, seed) blocks.

Neighbouring minutes and rows share their errors, so whole blocks are drawn with replacement (Künsch 1989), the same
draws for every answerer, which makes differences paired.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm.tasks.base import Floats, Measure

Interval = tuple[float, float]
Blocks = NDArray[np.int64]

RESAMPLES = 2000
#: Blocks below which no interval is told.
FEWEST_BLOCKS = 3


@dataclass(frozen=True)
class Figure:
    """One measure of one answerer in one slice.

    Attributes:
        answerer: its spec.
        slice: the records that count, or ``overall``.
        measure: its name.
        group, step: of measures that belong together; empty for others.
        value: the quotient of its sums; NaN is never told.
        interval: 95 %; None below ``FEWEST_BLOCKS`` blocks.
        count: what the sum is divided by.
        blocks: (network, seed) pairs that it comes from.
        difference, difference_interval: this answerer's minus the baseline's; None for the baseline.
    """

    answerer: str
    slice: str
    measure: str
    group: str
    step: str
    value: float
    interval: Interval | None
    count: float
    blocks: int
    difference: float | None
    difference_interval: Interval | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def numbered_blocks(blocks: Iterable[tuple[str, int]]) -> Blocks:
    """For every record, the number of its (network, seed) block."""
    listed = list(blocks)
    numbers = {block: number for number, block in enumerate(dict.fromkeys(listed))}
    return np.array([numbers[block] for block in listed], np.int64)


def draws(blocks: int, resamples: int = RESAMPLES) -> Floats:
    """(resamples, blocks) how often each block is drawn."""
    rng = np.random.default_rng(0)
    return rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=resamples).astype(float)


def interval(values: Floats) -> Interval:
    """The middle 95 %."""
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def figures(
    slice_: str, measures: Mapping[str, Mapping[str, Measure]], inside: NDArray[np.bool_], blocks: Blocks, baseline: str
) -> list[Figure]:
    """The figures of one slice.

    Args:
        slice_: its name.
        measures: by answerer and name, over all records.
        inside: (records,) which of them count.
        blocks: (records,) the number of each one's block.
        baseline: the answerer that the others' differences are to.
    """
    weights = draws(int(blocks.max()) + 1)
    found = []
    for answerer, own in measures.items():
        for key, measure in own.items():
            sums = _Sums.of(measure, inside, blocks, weights.shape[1])
            if sums.count.sum() > 0:
                base = _Sums.of(measures[baseline][key], inside, blocks, weights.shape[1])
                about = (answerer, slice_, measure.name or key, measure.group, measure.step)
                found.append(_figure(about, sums, None if answerer == baseline else base, weights))
    return found


@dataclass(frozen=True)
class _Sums:
    """Sums over each block, (blocks,)."""

    total: Floats
    count: Floats
    root: bool

    @classmethod
    def of(cls, measure: Measure, inside: NDArray[np.bool_], blocks: Blocks, number: int) -> _Sums:
        total, count = (
            np.bincount(blocks[inside], part[inside], number).astype(np.float64)
            for part in (measure.total, measure.count)
        )
        return cls(total, count, measure.root)

    def value(self) -> float:
        return float(self._rooted(np.array(self.total.sum() / self.count.sum())))

    def drawn(self, weights: Floats) -> Floats:
        """(resamples,) the figure in each draw, NaN where nothing counted."""
        count = weights @ self.count
        return self._rooted(np.where(count > 0, weights @ self.total / np.where(count > 0, count, 1), np.nan))

    def _rooted(self, values: Floats) -> Floats:
        return np.sqrt(values) if self.root else values


def _figure(about: tuple[str, str, str, str, str], own: _Sums, base: _Sums | None, weights: Floats) -> Figure:
    answerer, slice_, name, group, step = about
    blocks = int((own.count > 0).sum())
    drawn = own.drawn(weights) if blocks >= FEWEST_BLOCKS else None
    difference = difference_interval = None
    if base is not None and base.count.sum() > 0:
        difference = own.value() - base.value()
        difference_interval = None if drawn is None else _known_interval(drawn - base.drawn(weights))
    return Figure(
        answerer=answerer,
        slice=slice_,
        measure=name,
        group=group,
        step=step,
        value=own.value(),
        interval=None if drawn is None else _known_interval(drawn),
        count=float(own.count.sum()),
        blocks=blocks,
        difference=difference,
        difference_interval=difference_interval,
    )


def _known_interval(values: Floats) -> Interval | None:
    known = values[~np.isnan(values)]
    return interval(known) if len(known) else None
