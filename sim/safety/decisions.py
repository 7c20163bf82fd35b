"""What a controller may ask of a signal, and what of it is refused, each with one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from numbers import Integral, Real

from sim.native.clearance import GREEN, YELLOW
from sim.network import Network, Signal
from sim.safety.rights import NativeRights

PROGRAM_TYPES = ("static", "actuated", "delay_based")
LETTERS = frozenset("GgyYurRsoO")  # the lights that SUMO knows
#: SUMO steps in whole seconds; with shorter rows it goes round and round within one step.
SHORTEST_ROW_S = 1
LONGEST_ROW_S = 1_000_000
MAX_ROWS = 1000


class DecisionError(ValueError):
    """A decision that makes no sense; the message names the signal and what was asked."""


@dataclass(frozen=True)
class ProgramRow:
    """One row of an installed program; ``min_s`` and ``max_s`` matter to actuated programs only."""

    state: str
    duration_s: float
    min_s: float | None = None
    max_s: float | None = None

    @property
    def bounds_s(self) -> tuple[float, float]:
        """The shortest and the longest that an adaptive program may make it; its duration where none is given."""
        least_s = self.duration_s if self.min_s is None else self.min_s
        return least_s, self.duration_s if self.max_s is None else self.max_s


@dataclass(frozen=True)
class Program:
    """A whole SUMO program for one signal, run by SUMO itself."""

    rows: tuple[ProgramRow, ...]
    type: str = "static"  # one of PROGRAM_TYPES
    offset_s: float = 0.0
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What a controller asks of one signal: a phase, optionally held for a time, or a whole program."""

    phase: int | None = None
    hold_s: float | None = None
    program: Program | None = None


def check_decisions(network: Network, decisions: object) -> dict[str, Decision]:
    """Turn what a controller returned into decisions by signal id.

    Raises:
        DecisionError: it is no mapping, or names an unknown or uncontrollable signal, an unknown phase, a hold that
            is no positive number, or an unsafe program.
    """
    if not isinstance(decisions, Mapping):
        raise DecisionError(
            f"The controller returned {type(decisions).__name__}; it must return a mapping of signal id to phase."
        )
    signals = {signal.id: signal for signal in network.signals}
    return {str(name): _check_one(signals.get(name), name, asked) for name, asked in decisions.items()}


def check_needs_no_areas(decisions: Mapping[str, Decision]) -> None:
    """Refuse what makes SUMO crash: a delay_based program that adds its detectors under vehicles that drive there.

    Raises:
        DecisionError: there is one.
    """
    for name, decision in decisions.items():
        if decision.program is not None and decision.program.type == "delay_based":
            raise DecisionError(
                f"The program for signal '{name}' is of SUMO's type delay_based, whose detectors must be there before "
                "the first vehicle; give the controller lane_areas_m, their length in metres."
            )


def _check_one(signal: Signal | None, name: object, asked: object) -> Decision:
    if signal is None:
        raise DecisionError(f"The controller decided for signal {name!r}, which is not in the network.")
    if isinstance(asked, Integral) and not isinstance(asked, bool):
        asked = Decision(phase=int(asked))
    if not isinstance(asked, Decision):
        raise DecisionError(
            f"For signal '{signal.id}' the controller returned {asked!r}; return a phase index or a Decision."
        )
    if asked.program is not None:
        _check_program(signal, asked.program)
        return asked
    if signal.problem is not None:
        raise DecisionError(f"The controller decided for a signal that cannot be controlled: {signal.problem}")
    if not isinstance(asked.phase, Integral) or not 0 <= asked.phase < len(signal.phases):
        raise DecisionError(
            f"For signal '{signal.id}' the controller asked for phase {asked.phase!r}; "
            f"it has phases 0 to {len(signal.phases) - 1}."
        )
    if asked.hold_s is not None and not (
        isinstance(asked.hold_s, Real) and math.isfinite(asked.hold_s) and asked.hold_s > 0
    ):
        raise DecisionError(
            f"For signal '{signal.id}' the controller asked to hold for {asked.hold_s!r}; give seconds above 0."
        )
    return asked


def _check_program(signal: Signal, program: Program) -> None:
    what = f"The program for signal '{signal.id}'"
    if not program.rows:
        raise DecisionError(f"{what} has no rows.")
    if program.type not in PROGRAM_TYPES:
        raise DecisionError(f"{what} is of type {program.type!r}; choose {', '.join(PROGRAM_TYPES)}.")
    if not _is_finite(program.offset_s):
        raise DecisionError(f"{what} has an offset of {program.offset_s} s; give finite seconds.")
    if len(program.rows) > MAX_ROWS:
        raise DecisionError(f"{what} has {len(program.rows)} rows; give at most {MAX_ROWS}.")
    rights = NativeRights.of(signal)
    for row in program.rows:
        _check_row(what, signal, row, adaptive=program.type != "static")
        _check_rights(what, rights, row.state)
    if dropped := _dropped([row.state for row in program.rows]) - _dropped_natively(signal):
        raise DecisionError(
            f"{what} takes green from link {min(dropped)} without yellow, which the network's own program never does; "
            "add a yellow row."
        )


def _check_rights(what: str, rights: NativeRights, state: str) -> None:
    if unsafe := rights.strangers(state):
        raise DecisionError(
            f"{what} shows green to crossing links {min(unsafe)}, which no row of the network's own program does."
        )
    if protected := rights.promoted(state):
        raise DecisionError(
            f"{what} shows protected green (G) to crossing links {min(protected)}, of which one has to give way (g) in "
            "every row of the network's own program."
        )


def _dropped_natively(signal: Signal) -> set[int]:
    """Native programs may drop a link at once (a bus light, say): what they do stays allowed.

    But for programs without any yellow, which no controller runs as they are. Lights for people on foot have none.
    """
    walks = set(signal.crossing_links)
    if not signal.clearance.has_yellow:
        return walks
    return walks.union(*(_dropped([step.state for step in program.steps]) for program in signal.programs))


def _check_row(what: str, signal: Signal, row: ProgramRow, adaptive: bool) -> None:
    if not isinstance(row.state, str) or len(row.state) != signal.links:
        links = len(row.state) if isinstance(row.state, str) else row.state
        raise DecisionError(f"{what} has a row of {links} links; the signal has {signal.links}.")
    if unknown := set(row.state) - LETTERS:
        raise DecisionError(f"{what} shows {min(unknown)!r}; SUMO knows the lights {''.join(sorted(LETTERS))}.")
    if not (_is_finite(row.duration_s) and SHORTEST_ROW_S <= row.duration_s <= LONGEST_ROW_S):
        raise DecisionError(
            f"{what} has a row of {row.duration_s} s; give {SHORTEST_ROW_S} s or more, SUMO's step"
            + (f", and at most {LONGEST_ROW_S} s." if _is_finite(row.duration_s) and row.duration_s > 1 else ".")
        )
    for bound in (row.min_s, row.max_s):
        if bound is not None and not _is_finite(bound):
            raise DecisionError(f"{what} has a row bounded by {bound} s; give finite seconds.")
    if adaptive:
        least_s, most_s = row.bounds_s
        if not SHORTEST_ROW_S <= least_s <= most_s <= LONGEST_ROW_S:
            raise DecisionError(
                f"{what} has a row of {least_s:g} to {most_s:g} s; give a minimum of {SHORTEST_ROW_S} s or more and a "
                f"maximum from there to {LONGEST_ROW_S} s."
            )


def _is_finite(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _dropped(states: Sequence[str]) -> set[int]:
    """The links that somewhere in the cycle go from green to another light than yellow."""
    return {
        link
        for before, after in pairwise([*states, *states[:1]])
        for link, (a, b) in enumerate(zip(before, after, strict=True))
        if a in GREEN and b not in GREEN | YELLOW
    }
