"""Signal programs with the clearance times that a run asks for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from sim.network import GREEN, YELLOW, Signal
from sim.signals import Program, ProgramRow, intergreen
from sim.timings import Timings


def is_native(timings: Timings) -> bool:
    """Whether the networks' own clearance times are kept."""
    return timings.own_programs or (timings.yellow_s is None and timings.all_red_s == 0)


def intergreen_s(signal: Signal, timings: Timings) -> tuple[int, int]:
    """Yellow and all-red of a signal under ``timings``, s."""
    return (signal.yellow_s if timings.yellow_s is None else timings.yellow_s), timings.all_red_s


def green_rows(signal: Signal) -> tuple[int, ...]:
    """Rows of the native program that show green and no yellow, short clearance greens included."""
    return tuple(
        row for row, step in enumerate(signal.program) if set(step.state) & GREEN and not set(step.state) & YELLOW
    )


def with_greens(signal: Signal, greens_s: Sequence[float], timings: Timings) -> Program:
    """The native program with other green times and the clearance of ``timings``.

    Args:
        signal: whose program it is.
        greens_s: one duration for each of ``green_rows(signal)``, s.
        timings: native ones keep every other row; other ones put their own yellow and all-red between the greens, by
            the same rule as for a signal that is controlled phase by phase.
    """
    rows, program = green_rows(signal), signal.program
    if is_native(timings) or not rows:
        durations = dict(zip(rows, greens_s, strict=True))
        kept = tuple(ProgramRow(step.state, durations.get(row, step.duration_s)) for row, step in enumerate(program))
        return Program(kept, offset_s=signal.offset_s)
    yellow_s, all_red_s = intergreen_s(signal, timings)
    built: list[ProgramRow] = []
    for row, following, green_s in zip(rows, rows[1:] + rows[:1], greens_s, strict=True):
        built.append(ProgramRow(program[row].state, green_s))
        change = intergreen(program[row].state, program[following].state, yellow_s, all_red_s)
        built += [ProgramRow(state, float(len(list(shown)))) for state, shown in groupby(change)]
    lead_s = sum(step.duration_s for step in program[: rows[0]])  # the built program begins with its first green
    return Program(tuple(built), offset_s=signal.offset_s + lead_s)


def retimed(signal: Signal, timings: Timings) -> Program:
    """The native program under ``timings``: cycle and offset kept, longer clearances taken from the greens.

    No green falls below ``timings.min_green_s``; where that leaves no room the cycle grows.
    """
    native_s = [signal.program[row].duration_s for row in green_rows(signal)]
    if is_native(timings) or not native_s:
        return with_greens(signal, native_s, timings)
    served = {phase.state for phase in signal.phases}
    # Greens that are no phase clear the junction between two phases; they keep their length.
    least_s = [
        float(timings.min_green_s) if signal.program[row].state in served else green_s
        for row, green_s in zip(green_rows(signal), native_s, strict=True)
    ]
    spare_s = [max(0.0, green_s - minimum_s) for green_s, minimum_s in zip(native_s, least_s, strict=True)]
    cycle_s = sum(step.duration_s for step in signal.program)
    left_s = cycle_s - sum(row.duration_s for row in with_greens(signal, least_s, timings).rows)
    shares_s = whole_shares(left_s, spare_s)
    return with_greens(signal, [a + b for a, b in zip(least_s, shares_s, strict=True)], timings)


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
