"""A bulletin as a question: its text, then one line for each option of each slot."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from llm.tasks.questions import Floats, Question, TaskError
from llm.tasks.read.options import ANOTHER, SLOTS, Option, Sheet, is_right, sheet
from scenarios.words.truth import Bulletin, Truth

#: Raise with every change of the text.
VERSION = 1
_HEAD = re.compile(r"(?P<hour>\d\d):(?P<minute>\d\d) from (?P<source>[^:]*): (?P<text>.*)")
_ABOUT = "Is each line what this says?"


def question(bulletin: Bulletin, names: Sequence[str], place: str = "") -> Question:
    """What is asked of a bulletin: for each option whether it is what is said."""
    page = sheet(bulletin, names)
    clock = f"{int(page.now_min) // 60:02d}:{int(page.now_min) % 60:02d}"
    source = page.source.replace(":", " ")
    rows = tuple(option.row for option in page.options)
    text = "\n".join((f"{clock} from {source}: {page.text}", _ABOUT, *rows))
    return Question(text, _numbers(page), rows, place, bulletin.time_s)


def page_of(asked: Question) -> Sheet:
    """The bulletin of a question with all that was found in it.

    Raises:
        TaskError: the question is another task's.
    """
    found = _HEAD.fullmatch(asked.text.partition("\n")[0])
    if found is None:
        raise TaskError(f"A question at '{asked.place}' holds no bulletin; ask with llm.tasks.read.prompt.question().")
    names = [row.removeprefix("place: ") for row in asked.rows if row.startswith("place: ")]
    seconds = 3600.0 * int(found["hour"]) + 60.0 * int(found["minute"])
    return sheet(Bulletin(seconds, found["source"], found["text"]), [name for name in names if name != ANOTHER])


def target(asked: Question, truth: Truth) -> Floats:
    """(rows,) 1 for what the bulletin says; a slot without any 1 says something that is none of its options."""
    options = page_of(asked).options
    places = [str(option.value) for option in options if option.slot == "place"]
    return np.array([float(is_right(option, truth, places)) for option in options])


def _numbers(page: Sheet) -> Floats:
    """(rows, columns) which slot and option, its value, how alike a name is, and where it stands."""
    return np.array([_facts(option, page) for option in page.options], np.float64)


def _facts(option: Option, page: Sheet) -> list[float]:
    number = option.value if isinstance(option.value, (int, float)) else np.nan
    start = option.spans[0][0] if option.spans else np.nan
    return [
        *(float(option.slot == slot) for slot in SLOTS),
        float([other for other in page.options if other.slot == option.slot].index(option)),
        float(number),
        option.score,
        float(start),
        float(len(page.text)),
        float(len(page.places)),
    ]
