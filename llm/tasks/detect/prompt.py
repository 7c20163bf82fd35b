"""Five minutes of a signal's approaches as text, a line for each, which ends in its letter.

    veh 3 4 9 14 halted 0 2 7 12 speed 8 6 2 0 in 6 7 5 2 wait 12 40 77 120 missed 0 9 20 41 ahead 3 3 1 0 uneven 14 A

Numbers are means over the last five to three minutes, three to two, two to one, and the last: vehicles up to 200 m
before the stop line, halted ones, speed in tenths of the limit, vehicles counted upstream in a minute, the longest
wait (s), green that its vehicle did not use (s), tenths of the emptiest road ahead that are full, and the fullest
lane's vehicles over an average lane's, in tenths. ``?`` is what detectors do not tell.
"""

from __future__ import annotations

import math

from llm.tasks.decide.prompt import phase_letters
from llm.tasks.detect.watch import Floats, column

#: Steps that are told together: first and one after last.
SPANS = ((0, 4), (4, 6), (6, 8), (8, 10))
_MAX = 999


def approach_text(facts: Floats) -> str:
    """The lines of one signal's approaches, from (approaches, STEPS, columns).

    Raises:
        PromptError: more than 26 approaches.
    """
    told = {
        "veh": column(facts, "near_veh") + column(facts, "mid_veh") + column(facts, "far_veh"),
        "halted": column(facts, "halted_veh"),
        "speed": 10 * column(facts, "speed_share"),
        "in": column(facts, "inflow_veh"),
        "wait": column(facts, "wait_s"),
        "missed": column(facts, "missed_green_s"),
        "ahead": 10 * column(facts, "ahead_share"),
    }
    uneven = 10 * column(facts, "uneven")[:, -2:].mean(axis=1)
    lines = []
    for row, letter in enumerate(phase_letters(len(facts))):
        words = [" ".join([name, *(_number(v[row, a:b].mean()) for a, b in SPANS)]) for name, v in told.items()]
        lines.append(" ".join([*words, "uneven", _number(uneven[row]), letter]))
    return "\n".join(lines)


def _number(value: float) -> str:
    return "?" if math.isnan(value) else str(int(min(max(value, 0.0), _MAX) + 0.5))
