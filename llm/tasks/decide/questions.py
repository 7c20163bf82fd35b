"""A decision's prompt as a question: its rows are the phases, and each is read at its letter."""

from __future__ import annotations

import string

import numpy as np

from llm.tasks.decide.prompt import phase_letters, phase_lines
from llm.tasks.questions import Floats, Question

#: Phases that have letters.
MAX_PHASES = len(string.ascii_uppercase)


def question_of(prompt: str, facts: Floats, signal: str = "", time_s: float = 0.0) -> Question:
    """A prompt as a question: its rows are the phases, and each is read at its letter."""
    phases = len(facts)
    return Question(prompt, facts, tuple(phase_letters(phases)), signal, time_s, tuple(phase_marks(prompt, phases)))


def phase_marks(prompt: str, phases: int) -> list[int]:
    """For each phase the number of characters up to the end of its line: of its letter."""
    breaks = np.cumsum([len(line) + 1 for line in prompt.split("\n")]) - 1
    return [int(breaks[number]) for number in phase_lines(prompt, phases)]
