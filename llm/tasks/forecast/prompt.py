"""The state of one signal's approaches as compact text, with a marker for each approach after all facts.

    07:12
    A in7,5,6,14,8 mean70,66 queue3,5,4
    B in0,1,?,0,2 mean9,8 queue0,0,1
    Report before A: 07:05 crash on Aachener Strasse, one of two lanes blocked
    Next A B

``in`` counts the vehicles of each of the last five minutes on the induction loops upstream, oldest first; ``mean`` is
the flow of the last 15 minutes and of the run so far, in vehicles per ten minutes; ``queue`` the halted vehicles now,
and their means over five minutes and the run. ``?`` is what detectors do not tell. Reports say on which side of which
approaches the road lies: ``on`` them, ``before`` or ``after``. Attention is causal, so each approach's forecast is read
at its letter in the last line, which has seen everything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm.tasks.decide.prompt import MAX_REPORT_CHARS, phase_letters, plain_text
from sim.observation import Report

#: Raise with every change of what the prompt says, so that records and heads know which prompt they were made for.
FORECAST_PROMPT_VERSION = 1
CUE = "Next"
_MAX = 999


@dataclass(frozen=True)
class Place:
    """A report near a signal: on which side (``on``, ``before``, ``after``) of which approaches its road lies."""

    report: Report
    side: str
    approaches: tuple[int, ...]


def forecast_prompt(time_s: float, traffic: NDArray[np.float64], places: Sequence[Place]) -> str:
    """Describe what a forecast of one signal's approaches is made from.

    Args:
        time_s: SUMO's clock.
        traffic: (approaches, ``TRAFFIC_FIELDS`` without the clock), NaN where unknown.
        places: the reports to tell, oldest first.
    """
    letters = phase_letters(len(traffic))
    minutes = int(time_s // 60)
    rows = [f"{letter} {_row(facts)}" for letter, facts in zip(letters, traffic.tolist(), strict=True)]
    return "\n".join([f"{minutes // 60 % 24:02d}:{minutes % 60:02d}", *rows, *map(_report_line, places), cue(letters)])


def cue(letters: str) -> str:
    """The last line: a marker for each approach."""
    return " ".join([CUE, *letters])


def without_reports_text(prompt: str) -> str:
    """The prompt as if no report had come."""
    return "\n".join(line for line in prompt.split("\n") if not line.startswith("Report "))


def _row(facts: Sequence[float]) -> str:
    *counts, recent, run = facts[:-3]
    means = f"{_number(recent / 6)},{_number(run / 6)}"
    return f"in{','.join(map(_number, counts))} mean{means} queue{','.join(map(_number, facts[-3:]))}"


def _report_line(place: Place) -> str:
    where = " ".join([place.side, *(chr(65 + number) for number in place.approaches)])
    return f"Report {where}: {plain_text(place.report.text)[:MAX_REPORT_CHARS]}"


def _number(value: float) -> str:
    return "?" if math.isnan(value) else str(int(min(max(value, 0.0), _MAX) + 0.5))
