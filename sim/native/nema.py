"""NEMA programs as stages: each ring shows one of its phases, and two rings between the same barriers go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from sim.native.timetables import ProgramError, ProgramStep, SignalProgram

_Pair = tuple[ProgramStep, ...]


@dataclass(frozen=True)
class NemaStages:
    """A NEMA program in rows: one ``cycle`` with the rings side by side, and every change that the rings can make.

    ``changes`` has all stages, and names the rows that may follow each in ``ProgramStep.next``.
    """

    cycle: SignalProgram
    changes: SignalProgram


def nema_stages(signal: str, program: SignalProgram) -> NemaStages:
    """Read rings and barriers.

    Raises:
        ProgramError: they are missing, or name phases that the program does not have.
    """
    sides = _sides(signal, program)
    pairs = [pair for side in sides for pair in _pairs(side)]
    greens = [_green_step(pair) for pair in pairs]
    order = [pair for side in sides for pair in _side_by_side(side)]
    cycle: list[ProgramStep] = []
    for pair, following in zip(order, order[1:] + order[:1], strict=True):
        cycle += [_green_step(pair), *_between(pair, following)]
    rows: list[ProgramStep] = list(greens)
    follows: list[list[int]] = [[] for _ in greens]
    for a, b in product(range(len(pairs)), repeat=2):
        between = _between(pairs[a], pairs[b]) if a != b and _may_follow(sides, pairs[a], pairs[b]) else []
        if between:
            follows[a].append(len(rows))
            rows += [_with_next(row, (len(rows) + i + 1,)) for i, row in enumerate(between[:-1])]
            rows.append(_with_next(between[-1], (b,)))
    rows = [_with_next(row, tuple(follows[i])) if i < len(greens) else row for i, row in enumerate(rows)]
    return NemaStages(
        SignalProgram(program.id, program.type, tuple(cycle), program.offset_s, program.params),
        SignalProgram(program.id, program.type, tuple(rows), program.offset_s, program.params),
    )


def _with_next(step: ProgramStep, following: tuple[int, ...]) -> ProgramStep:
    return ProgramStep(step.state, step.duration_s, step.min_s, step.max_s, step.name, following)


#: The phases of both rings between two barriers.
_Side = tuple[list[ProgramStep], ...]


def _sides(signal: str, program: SignalProgram) -> list[_Side]:
    rings = [_names(program, key) for key in ("ring1", "ring2")]
    ends = [_names(program, key) for key in ("barrier2Phases", "barrierPhases")]
    phases = {step.name: step for step in program.steps}
    unknown = [name for names in (*rings, *ends) for name in names if name not in phases]
    if not any(rings) or not any(ends) or unknown:
        why = f"names a phase '{unknown[0]}' that it has not" if unknown else "says no rings or no barriers"
        raise ProgramError(
            f"Signal '{signal}' has a NEMA program that {why}, so its stages cannot be told; it keeps its own control."
        )
    split = [_split(ring, ends) for ring in rings if ring]
    if len({len(parts) for parts in split}) != 1:
        raise ProgramError(
            f"Signal '{signal}' has a NEMA program whose two rings have different barriers, so its stages cannot be "
            "told; it keeps its own control."
        )
    return [tuple([phases[name] for name in part] for part in parts) for parts in zip(*split, strict=True)]


def _names(program: SignalProgram, key: str) -> list[str]:
    """Names of phases; "0" stands for none."""
    return [name.strip() for name in program.params.get(key, "").split(",") if name.strip() not in ("", "0")]


def _split(ring: Sequence[str], ends: Sequence[Sequence[str]]) -> list[list[str]]:
    """A ring's phases from barrier to barrier."""
    last = {name for names in ends for name in names}
    parts: list[list[str]] = [[]]
    for name in ring:
        parts[-1].append(name)
        if name in last:
            parts.append([])
    if parts[-1] and len(parts) > 1:  # what comes after the last barrier belongs before the first
        parts[0] = parts.pop() + parts[0]
    return [part for part in parts if part]


def _pairs(side: _Side) -> list[_Pair]:
    return list(product(*side))


def _side_by_side(side: _Side) -> list[_Pair]:
    longest = max(len(part) for part in side)
    return [tuple(part[min(i, len(part) - 1)] for part in side) for i in range(longest)]


def _may_follow(sides: Sequence[_Side], before: _Pair, after: _Pair) -> bool:
    """Rings go forward between two barriers, and cross a barrier together."""
    for side in sides:
        if before[0] in side[0] and after[0] in side[0]:
            steps = zip(side, before, after, strict=True)
            return all(part.index(b) >= part.index(a) for part, a, b in steps)
    return True


def _state(pair: _Pair) -> str:
    letters = zip(*(step.state for step in pair), strict=True)
    return "".join("G" if "G" in shown else "g" if "g" in shown else "r" for shown in letters)


def _green_step(pair: _Pair) -> ProgramStep:
    least_s = max(step.duration_s if step.min_s is None else step.min_s for step in pair)
    longest_s = max(step.duration_s if step.max_s is None else step.max_s for step in pair)
    return ProgramStep(_state(pair), max(least_s, longest_s), least_s, longest_s)


def _between(before: _Pair, after: _Pair) -> list[ProgramStep]:
    """The rows between two stages: each phase that ends shows its own yellow and then its own red."""
    ending = [a for a, b in zip(before, after, strict=True) if a is not b]
    total_s = max((step.yellow_s + step.red_s for step in ending), default=0.0)
    bounds = sorted({0.0, total_s, *(min(total_s, s.yellow_s) for s in ending)})
    now, then = _state(before), _state(after)
    yellow_s = [
        max((s.yellow_s for s in ending if s.state[link] in "Gg"), default=0.0) if now[link] in "Gg" else 0.0
        for link in range(len(now))
    ]
    rows = []
    for start_s, end_s in pairwise(bounds):
        state = "".join(
            a if a in "Gg" and b in "Gg" else "y" if a in "Gg" and start_s < yellow else "r"
            for a, b, yellow in zip(now, then, yellow_s, strict=True)
        )
        rows.append(ProgramStep(state, end_s - start_s))
    return rows
