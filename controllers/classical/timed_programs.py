"""Signal programs with the clearance times that a run asks for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from sim.native.clearance import CHANGING, GREEN
from sim.native.timetables import ProgramStep, SignalProgram
from sim.network import Signal
from sim.safety.decisions import Program, ProgramRow
from sim.safety.intergreen import Intergreens
from sim.timings import Timings


def is_native(timings: Timings) -> bool:
    """Whether the networks' own clearance times are kept."""
    return timings.own_programs or (timings.yellow_s is None and timings.all_red_s == 0)


def runs_as_it_is(signal: Signal, timings: Timings) -> bool:
    """Whether a signal's own programs can stay as they are: not where they have no yellow and others show one."""
    return timings.own_programs or (is_native(timings) and signal.clearance.has_yellow)


def intergreen_s(signal: Signal, timings: Timings) -> tuple[float, float]:
    """Yellow and all-red that most changes of a signal pay under ``timings``, s."""
    if timings.yellow_s is None:
        return signal.yellow_s, signal.red_s + timings.all_red_s
    return timings.yellow_s, timings.all_red_s


def green_rows(signal: Signal) -> tuple[int, ...]:
    """Rows of the native program that show green and no yellow, short clearance greens included."""
    return _green_rows(signal.program)


def _green_rows(steps: Sequence[ProgramStep]) -> tuple[int, ...]:
    return tuple(row for row, step in enumerate(steps) if set(step.state) & GREEN and not set(step.state) & CHANGING)


def with_greens(
    signal: Signal, greens_s: Sequence[float], timings: Timings, program: SignalProgram | None = None
) -> Program:
    """A native program, as a static one, with other green times and the clearance of ``timings``.

    Args:
        signal: whose program it is.
        greens_s: one duration for each row that shows green and no yellow (``green_rows(signal)``), s.
        timings: native ones keep every other row, if the signal's programs have yellow at all; other ones put their
            own yellow and all-red between the greens, as for a signal that is controlled phase by phase.
        program: one of ``signal.programs``; the first one when missing.
    """
    program = program or signal.programs[0]
    steps = program.steps
    rows = _green_rows(steps)
    if runs_as_it_is(signal, timings) or not rows:
        durations = dict(zip(rows, greens_s, strict=True))
        durations_s = [max(1.0, durations.get(row, step.duration_s)) for row, step in enumerate(steps)]
        kept = tuple(ProgramRow(step.state, s) for step, s in zip(steps, durations_s, strict=True))
        return Program(kept, offset_s=program.offset_s)
    intergreens = Intergreens(signal.clearance, timings)
    built: list[ProgramRow] = []
    for row, following, green_s in zip(rows, rows[1:] + rows[:1], greens_s, strict=True):
        built.append(ProgramRow(steps[row].state, green_s))
        change = intergreens.change(steps[row].state, steps[following].state).states
        built += [ProgramRow(state, float(len(list(shown)))) for state, shown in groupby(change)]
    lead_s = sum(step.duration_s for step in steps[: rows[0]])  # the built program begins with its first green
    return Program(tuple(built), offset_s=program.offset_s + lead_s)


def retimed(signal: Signal, timings: Timings, program: SignalProgram | None = None) -> Program:
    """A native program, as a static one, under ``timings``: cycle and offset kept, longer clearances cut from greens.

    No green falls below ``timings.min_green_s``; where that leaves no room the cycle grows. ``program`` is one of
    ``signal.programs``, the first one when missing.
    """
    program = program or signal.programs[0]
    steps = program.steps
    rows = _green_rows(steps)
    native_s = [steps[row].duration_s for row in rows]
    if runs_as_it_is(signal, timings) or not native_s:
        return with_greens(signal, native_s, timings, program)
    served = {phase.state: phase.min_green_s for phase in signal.phases}
    # Greens that are no phase clear the junction between two phases; they keep their length.
    least_s = [
        max(float(timings.min_green_s), served[steps[row].state]) if steps[row].state in served else green_s
        for row, green_s in zip(rows, native_s, strict=True)
    ]
    spare_s = [max(0.0, green_s - minimum_s) for green_s, minimum_s in zip(native_s, least_s, strict=True)]
    cycle_s = sum(step.duration_s for step in steps)
    left_s = cycle_s - sum(row.duration_s for row in with_greens(signal, least_s, timings, program).rows)
    shares_s = whole_shares(left_s, spare_s)
    return with_greens(signal, [a + b for a, b in zip(least_s, shares_s, strict=True)], timings, program)


def network_control(signal: Signal, timings: Timings, program: SignalProgram) -> Program:
    """A native program under ``timings`` that keeps its type: greens of an adaptive one keep their bounds."""
    static = retimed(signal, timings, program)
    if program.type == "static":
        return static
    bounds = {step.state: step for step in program.steps}
    rows = []
    for row in static.rows:
        step = bounds.get(row.state)
        if step is None or not set(row.state) & GREEN or set(row.state) & CHANGING:
            rows.append(row)
            continue
        least_s = max(1.0, step.duration_s if step.min_s is None else step.min_s)
        longest_s = max(least_s, step.duration_s if step.max_s is None else step.max_s)
        rows.append(ProgramRow(row.state, max(1.0, step.duration_s), least_s, longest_s))
    return Program(tuple(rows), type=program.type, params=program.params)


def whole_shares(total_s: float, weights: Sequence[float]) -> list[float]:
    """Split ``total_s`` in proportion to the weights, in whole numbers; a fraction of one goes to the largest."""
    if total_s <= 0 or not weights:
        return [0.0] * len(weights)
    if not any(weights):
        weights = [1.0] * len(weights)
    exact = [total_s * weight / sum(weights) for weight in weights]
    whole = [float(int(share)) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (whole[i] - exact[i], i))
    for i in by_remainder[: int(total_s - sum(whole))]:
        whole[i] += 1
    whole[exact.index(max(exact))] += total_s - sum(whole)
    return whole
