"""What tasks ask and what answers look like: questions with rows, three kinds of answer, lessons and measures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class TaskError(RuntimeError):
    """A task, an answerer or a training that cannot do its work; the message is one sentence that says what to do."""


# --- what is asked and answered


@dataclass(frozen=True)
class Question:
    """What an answerer may see; never the label.

    Attributes:
        text: what the language model reads. It ends with one line per row, unless ``marks`` says where rows are read.
        numbers: (rows, columns) the same facts for models that read no text; NaN where something is not known.
        rows: what an answer is given for: phases, approaches, streets, rules, options.
        place: where it is asked, such as a signal's id.
        time_s: SUMO's clock.
        marks: for each row the number of characters of ``text`` up to the end of its mark; the hidden state there is
            the row's. Empty for the ends of the last lines.
    """

    text: str
    numbers: Floats
    rows: tuple[str, ...]
    place: str = ""
    time_s: float = 0.0
    marks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check the shapes."""
        if self.numbers.ndim != 2 or len(self.numbers) != len(self.rows):
            raise TaskError(
                f"A question at '{self.place}' has {len(self.rows)} rows and numbers of shape {self.numbers.shape}; "
                "give an array (rows, columns)."
            )
        if len(self.ends) != len(self.rows):
            raise TaskError(
                f"A question at '{self.place}' has {len(self.rows)} rows and {len(self.ends)} places in its text where "
                "they are read; end the text with one line per row, or give as many marks."
            )

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """For each row the number of characters up to the end of its mark."""
        if self.marks or not self.rows:
            return self.marks
        breaks = np.cumsum([len(line) + 1 for line in self.text.split("\n")]) - 1
        return tuple(breaks[-len(self.rows) :].tolist())


@dataclass(frozen=True)
class Choice:
    """One of the rows is to be chosen. Target: (rows,) shares that add up to 1; answer: (rows,) log-probabilities."""

    def target_shape(self, rows: int) -> tuple[int, ...]:
        """Of one question's target."""
        return (rows,)

    def answer_shape(self, rows: int) -> tuple[int, ...]:
        """Of the answers to questions with so many rows in all."""
        return (rows,)


@dataclass(frozen=True)
class Quantiles:
    """Numbers are to be forecast for each row. Target: (rows, *outputs), NaN: unknown; answer: (..., levels).

    Attributes:
        levels: of the quantiles, rising, as many below 0.5 as above it.
        outputs: shape of what is forecast for each row; () for one number.
    """

    levels: tuple[float, ...] = (0.1, 0.5, 0.9)
    outputs: tuple[int, ...] = ()

    def target_shape(self, rows: int) -> tuple[int, ...]:
        """Of one question's target."""
        return (rows, *self.outputs)

    def answer_shape(self, rows: int) -> tuple[int, ...]:
        """Of the answers to questions with so many rows in all."""
        return (rows, *self.outputs, len(self.levels))


@dataclass(frozen=True)
class Binary:
    """Something holds for each row or not. Target: (rows, *outputs) of 1, 0 or NaN; answer: probabilities.

    Attributes:
        outputs: shape of what is asked of each row; () for one thing.
    """

    outputs: tuple[int, ...] = ()

    def target_shape(self, rows: int) -> tuple[int, ...]:
        """Of one question's target."""
        return (rows, *self.outputs)

    def answer_shape(self, rows: int) -> tuple[int, ...]:
        """Of the answers to questions with so many rows in all."""
        return (rows, *self.outputs)


Answer = Choice | Quantiles | Binary


@dataclass(frozen=True)
class Lesson:
    """A question with its right answer.

    Attributes:
        question: what is shown.
        target: as the task's kind of answer says.
        label: (rows,) what the measures of a training go by, such as each row's cost; the target when None.
    """

    question: Question
    target: Floats
    label: Floats | None = None


@dataclass(frozen=True)
class Measure:
    """A figure as a quotient of sums, so that a bootstrap can draw blocks of records again.

    Attributes:
        total: (records,) what is summed.
        count: (records,) what the sum is divided by.
        root: take the square root of the quotient.
        name: what is measured; its key when empty. Measures of one name and group are told in one column,
        group: and those of one group in one table,
        step: in the order of their steps, such as ``5 min``.
    """

    total: Floats
    count: Floats
    root: bool = False
    name: str = ""
    group: str = ""
    step: str = ""
