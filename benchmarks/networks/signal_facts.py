"""What ``greenloop validate`` tells of each signal: programs, stages, clearance, and what is assumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from sim.native.clearance import NativeChange
from sim.native.stages import is_green_phase
from sim.native.timetables import SignalProgram
from sim.network import Network, Signal


@dataclass(frozen=True)
class Stage:
    """A green stage of a program as SUMO shows it, and its length (s); of adaptive programs the longest."""

    state: str
    duration: float


@dataclass(frozen=True)
class ProgramFacts:
    """One program of a signal; ``used`` says whether it can become active in the run."""

    id: str
    type: str
    used: bool
    cycle_s: float
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class SwitchFacts:
    """From ``time_s`` of SUMO's clock on a WAUT has the signal run ``program``."""

    time_s: float
    program: str


@dataclass(frozen=True)
class ChangeFacts:
    """What the signal's own program pays from one phase to another, s: in all, and its longest yellow and red."""

    before: int
    after: int
    seconds: float
    yellow_s: float
    red_s: float
    links: dict[int, tuple[float, float]]  # each link that loses green: its yellow, and its red clearance


@dataclass(frozen=True)
class SignalFacts:
    """One signal as found in the network. ``protected_foes`` are pairs of links that a row shows green to at once,
    without giving way, although their paths cross. ``program``, ``type`` and ``stages`` are those that are active at
    the start; ``phases`` counts the stages of all programs that can become active."""

    id: str
    program: str
    type: str
    stages: tuple[Stage, ...]
    switches: tuple[SwitchFacts, ...]
    programs: tuple[ProgramFacts, ...]
    phases: int
    movements: int
    crossings: int
    lanes: int
    foe_pairs: int
    protected_foes: tuple[tuple[int, int], ...]
    neighbours: tuple[str, ...]
    yellow_s: float
    red_s: float
    has_yellow: bool
    clearance: tuple[ChangeFacts, ...]
    cycle_s: float
    problem: str | None


def signal_facts(network: Network, signal: Signal) -> SignalFacts:
    """Look at one signal."""
    return SignalFacts(
        id=signal.id,
        program=signal.program_id,
        type=signal.type,
        stages=_stages(signal.programs[0]),
        switches=tuple(SwitchFacts(switch.time_s, switch.program) for switch in signal.switches),
        programs=tuple(
            _program(program, used)
            for used, programs in ((True, signal.programs), (False, signal.unused))
            for program in programs
            if program.steps
        ),
        phases=len(signal.phases),
        movements=len(signal.movements),
        crossings=len(signal.crossings),
        lanes=len(signal.lanes),
        foe_pairs=len(signal.foes),
        protected_foes=protected_foes(signal),
        neighbours=tuple(network.signals[other].id for other in signal.neighbours),
        yellow_s=signal.yellow_s,
        red_s=signal.red_s,
        has_yellow=signal.clearance.has_yellow,
        clearance=_changes(signal),
        cycle_s=sum(row.duration_s for row in signal.program),
        problem=signal.problem,
    )


def _stages(program: SignalProgram) -> tuple[Stage, ...]:
    steps = program.steps
    return tuple(Stage(s.state, s.duration_s) for i, s in enumerate(steps) if is_green_phase(steps, i))


def _program(program: SignalProgram, used: bool) -> ProgramFacts:
    cycle_s = sum(step.duration_s for step in program.steps)
    return ProgramFacts(program.id, program.type, used, cycle_s, _stages(program))


def _changes(signal: Signal) -> tuple[ChangeFacts, ...]:
    index = {phase.state: phase.index for phase in signal.phases}
    found = {(index[change.before], index[change.after]): change for change in signal.clearance.changes}
    return tuple(_change(before, after, change) for (before, after), change in sorted(found.items()))


def _change(before: int, after: int, change: NativeChange) -> ChangeFacts:
    links = {link: (paid.yellow_s, paid.red_s) for link, paid in change.links.items()}
    yellow_s = max((yellow_s for yellow_s, _ in links.values()), default=0.0)
    return ChangeFacts(before, after, change.total_s, yellow_s, max(0.0, change.total_s - yellow_s), links)


def protected_foes(signal: Signal) -> tuple[tuple[int, int], ...]:
    """Pairs of crossing links that one row of the native programs shows ``G``, which gives way to nobody."""
    found = {
        pair
        for state in signal.native_states
        for pair in combinations([link for link, letter in enumerate(state) if letter == "G"], 2)
        if pair in signal.foes
    }
    return tuple(sorted(found))


def notes(network: Network, facts: Sequence[SignalFacts]) -> list[str]:
    """What is worth knowing about the signals, each in one sentence."""
    said = [fact.problem for fact in facts if fact.problem]
    for signal, fact in zip(network.signals, facts, strict=True):
        said += [*_program_notes(fact), *_clearance_notes(signal, fact)]
        if fact.protected_foes:
            said.append(_protected_note(fact))
    return said


def _program_notes(fact: SignalFacts) -> list[str]:
    said = []
    if len(fact.programs) > 1 or fact.type != "static":
        listed = ", ".join(_program_words(program, fact) for program in fact.programs)
        said.append(f"Signal '{fact.id}' has the programs {listed}.")
    if fact.switches:
        times = ", ".join(f"{switch.program} from {switch.time_s:g} s" for switch in fact.switches[:12])
        said.append(
            f"Signal '{fact.id}' is switched by a WAUT: {times}; a controller that takes it over keeps it, fixed_time "
            "follows the switches."
        )
    elif fact.type != "static" and fact.problem is None:
        said.append(f"fixed_time is the network's own control, which is {fact.type} at signal '{fact.id}'.")
    return said


def _program_words(program: ProgramFacts, fact: SignalFacts) -> str:
    role = "active at the start" if program.used and program.id == fact.program else "used later"
    role = role if program.used else "not used"
    stages = f"{len(program.stages)} stage{'s' if len(program.stages) != 1 else ''}"
    cycle = f", {program.cycle_s:g} s" if program.type == "static" else ""
    return f"'{program.id}' ({program.type}, {stages}{cycle}, {role})"


def _clearance_notes(signal: Signal, fact: SignalFacts) -> list[str]:
    said = []
    if fact.problem is None and not fact.has_yellow:
        said.append(
            f"Signal '{fact.id}' shows no yellow in its own program; every controller shows {fact.yellow_s:g} s of it "
            "there, fixed_time as well."
        )
    if signal.clearance.empty_stages_s:
        seconds = ", ".join(f"{s:g}" for s in signal.clearance.empty_stages_s)
        said.append(
            f"Signal '{fact.id}' is all red for {seconds} s after some of its stages only; that is longer than a red "
            "clearance and is taken as a stage without traffic, which fixed_time keeps and phase controllers leave out."
        )
    if any(not float(s).is_integer() for change in fact.clearance for pair in change.links.values() for s in pair):
        said.append(
            f"Signal '{fact.id}' has clearance times in fractions of a second; lights change at whole seconds, and "
            "what one change shows too long the next one shows less."
        )
    return said


def _protected_note(facts: SignalFacts) -> str:
    pairs = ", ".join(f"{a}-{b}" for a, b in facts.protected_foes[:4])
    more = f" and {len(facts.protected_foes) - 4} more" if len(facts.protected_foes) > 4 else ""
    return (
        f"Signal '{facts.id}' shows protected green to crossing links at once in its own program ({pairs}{more}); "
        "greenloop keeps these pairs as they are, but a planner should look at them."
    )


def clearance_words(fact: SignalFacts) -> str:
    """Every change of a signal's own programs: ``0>1 3+2 s`` is 3 s of yellow and 2 s of red, from phase 0 to 1."""
    changes = [f"{c.before}>{c.after} {c.yellow_s:g}+{c.red_s:g} s" for c in fact.clearance]
    return ", ".join(changes)
