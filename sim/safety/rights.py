"""Who may be green together, and who gives way: as the rows of a signal's own programs have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sim.native.clearance import greens
from sim.network import Signal

Pair = tuple[int, int]


def green_foes(signal: Signal, state: str) -> set[Pair]:
    """The foe pairs that are green together in ``state``."""
    green = greens(state)
    return {pair for pair in signal.foes if pair[0] in green and pair[1] in green}


def native_pairs(signal: Signal) -> set[Pair]:
    """The foe pairs that the network's own programs show green together."""
    return set(NativeRights.of(signal).shown)


@dataclass(frozen=True)
class NativeRights:
    """Which foe pairs are green together natively, and with which letters: "g" gives way, "G" need not.

    Attributes:
        foes: all foe pairs.
        shown: of each pair that is green together somewhere, the pairs of letters.
    """

    foes: frozenset[Pair]
    shown: Mapping[Pair, frozenset[str]]

    @classmethod
    def of(cls, signal: Signal) -> NativeRights:
        """Read a signal's own programs."""
        shown: dict[Pair, set[str]] = {}
        for state in signal.native_states:
            for a, b in green_foes(signal, state):
                shown.setdefault((a, b), set()).add(state[a] + state[b])
        return cls(signal.foes, {pair: frozenset(letters) for pair, letters in shown.items()})

    def together(self, state: str) -> set[Pair]:
        """The foe pairs that are green together in ``state``."""
        green = greens(state)
        return {pair for pair in self.foes if pair[0] in green and pair[1] in green}

    def strangers(self, state: str) -> set[Pair]:
        """The foe pairs that are green together in ``state`` and natively never."""
        return {pair for pair in self.together(state) if pair not in self.shown}

    def promoted(self, state: str) -> set[Pair]:
        """The foe pairs of which one link need not give way in ``state``, though natively it must."""
        return {
            (a, b)
            for a, b in self.together(state)
            if (a, b) in self.shown and not any(_covers(letters, state[a] + state[b]) for letters in self.shown[a, b])
        }


def _covers(native: str, letters: str) -> bool:
    return all(own == "g" or other == "G" for own, other in zip(letters, native, strict=True))
