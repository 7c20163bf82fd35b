"""Which rows of a signal's programs are phases: stages with green for anybody who can be there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sim.native.clearance import CHANGING, GREEN, greens
from sim.native.timetables import ProgramStep, SignalProgram

#: A slow person's walking speed, m/s: what a crossing beside cars must stay green for at least.
WALK_MPS = 1.2


@dataclass(frozen=True)
class Movement:
    """One way over a junction: an incoming lane to an outgoing lane, governed by one link of the signal."""

    link: int  # position in the signal's state string
    lane: int  # index into Network.lanes
    exit: int  # index into Network.exits
    direction: str  # SUMO's: s straight, l left, r right, t turn-around, L and R partially


@dataclass(frozen=True)
class Crossing:
    """A pedestrian crossing that a signal governs; ``areas`` are the walking areas at its ends, where people wait."""

    id: str
    links: tuple[int, ...]
    areas: tuple[str, ...]
    length_m: float


@dataclass(frozen=True)
class Phase:
    """A green phase of the native programs; intergreens are made by the signal state machine.

    ``min_green_s`` is a minimum of the phase's own: for a stage in which people alone walk its native length, for
    crossings beside traffic the time that a walk takes; 0 without crossings. ``native_s`` is the native green.
    """

    index: int
    state: str
    movements: tuple[Movement, ...]  # those with green, permissive green included
    lanes: tuple[int, ...]  # incoming lanes that have green, as indices into Network.lanes
    exits: tuple[int, ...]  # outgoing lanes that they lead to, as indices into Network.exits
    crossings: tuple[int, ...] = ()  # crossings that have green, as indices into Network.crossings
    crossing_links: tuple[int, ...] = ()  # their links
    min_green_s: float = 0.0
    native_s: float = 0.0

    @property
    def links(self) -> frozenset[int]:
        """The links with green that somebody uses."""
        return frozenset((*(m.link for m in self.movements), *self.crossing_links))


def is_green_phase(program: Sequence[ProgramStep], index: int) -> bool:
    """Whether a program row is a phase to choose: it has green, no yellow, and is no clearance between two phases."""
    links = set(program[index].state)
    if links & CHANGING or not links & GREEN:
        return False
    before, after = (_next_green(program, index, step) for step in (-1, 1))
    green = greens(program[index].state)
    clearance = program[index].duration_s < 5 and green <= before and green <= after
    return not (clearance and before and after)


def _next_green(program: Sequence[ProgramStep], index: int, step: int) -> frozenset[int]:
    for away in range(1, len(program)):
        state = program[(index + step * away) % len(program)].state
        if not set(state) & CHANGING and set(state) & GREEN:
            return greens(state)
    return frozenset()


def green_phases(
    programs: Sequence[SignalProgram], movements: Sequence[Movement], crossings: Mapping[int, Crossing]
) -> tuple[Phase, ...]:
    """The phases of all programs, each state once, in the order of the programs.

    Args:
        programs: those that can become active, the first one first.
        movements: of the signal.
        crossings: those of the signal, by their index in ``Network.crossings``.
    """
    phases: dict[str, Phase] = {}
    for step, adaptive in _green_steps(programs):
        phase = _phase(len(phases), step, adaptive, movements, crossings)
        if step.state not in phases and phase.links:
            phases[step.state] = phase
    return tuple(phases.values())


def _green_steps(programs: Sequence[SignalProgram]) -> Iterator[tuple[ProgramStep, bool]]:
    """The rows that are phases, each with whether its program is adaptive."""
    for program in programs:
        for index, step in enumerate(program.steps):
            if is_green_phase(program.steps, index):
                yield step, program.type != "static"


def _phase(
    index: int,
    step: ProgramStep,
    adaptive: bool,
    movements: Sequence[Movement],
    crossings: Mapping[int, Crossing],
) -> Phase:
    green = tuple(m for m in movements if step.state[m.link] in GREEN)
    walked = {place: c for place, c in crossings.items() if any(step.state[link] in GREEN for link in c.links)}
    least_s = step.min_s if adaptive and step.min_s is not None else step.duration_s
    if not walked:
        least_s = 0.0
    elif green:
        least_s = min(least_s, max(crossing.length_m for crossing in walked.values()) / WALK_MPS)
    return Phase(
        index=index,
        state=step.state,
        movements=green,
        lanes=tuple(sorted({m.lane for m in green})),
        exits=tuple(sorted({m.exit for m in green})),
        crossings=tuple(sorted(walked)),
        crossing_links=tuple(sorted(k for c in walked.values() for k in c.links if step.state[k] in GREEN)),
        min_green_s=least_s,
        native_s=step.duration_s,
    )
