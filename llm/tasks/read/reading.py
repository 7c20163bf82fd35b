"""What was read: for each slot the most likely option with its probability; and how right it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from llm.tasks.questions import Floats, Question
from llm.tasks.read.options import ANOTHER, NOT_SAID, SLOTS, Option
from llm.tasks.read.prompt import page_of
from scenarios.words.truth import Truth

#: Slots that count in the slot F1; ``main`` repeats ``place`` and counts for exactness only.
COUNTED = tuple(slot for slot in SLOTS if slot != "main")
#: What saying nothing is, by slot, besides ``not said``.
_NOTHING = {"type": "none", "certain": "yes"}
#: A bulletin without news says nothing else.
_ONLY = ("kind", "type", "certain")


@dataclass(frozen=True)
class Reading:
    """What a bulletin was read as.

    Attributes:
        truth: in the fields of a truth.
        probabilities: of the option that was taken, by slot; for ``place`` of the least sure one.
    """

    truth: Truth
    probabilities: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a slot was read: counts of what was read and said, read alone, and said alone."""

    hit: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def exact(self) -> bool:
        """Nothing is wrong."""
        return not self.wrong and not self.missed


def _by_slot(rows: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        found[row.partition(": ")[0]].append(number)
    return found


def chosen(asked: Question, answer: Floats) -> dict[str, list[int]]:
    """The rows that are taken, by slot: the likeliest, and every place above one half.

    A bulletin that is read as irrelevant says nothing else.
    """
    slots = _by_slot(asked.rows)
    taken = {slot: [max(rows, key=lambda row: answer[row])] for slot, rows in slots.items() if slot != "place"}
    kind = asked.rows[taken["kind"][0]]
    if kind.endswith(": irrelevant"):
        for slot, rows in slots.items():
            if slot not in _ONLY and slot != "place":
                taken[slot] = rows[:1]
        taken["type"] = [row for row in slots["type"] if asked.rows[row].endswith(": none")]
        return {**taken, "place": []}
    places = [row for row in slots["place"] if answer[row] >= 0.5 and not _is_another(asked.rows[row])]
    return {**taken, "place": places}


def reading(asked: Question, answer: Floats) -> Reading:
    """The same in the fields of a truth; the main place comes first."""
    options = page_of(asked).options
    slots = _by_slot(asked.rows)
    taken = chosen(asked, answer)
    values = {slot: options[rows[0]].value for slot, rows in taken.items() if rows}
    places = [str(options[row].value) for row in taken["place"]]
    main = values.get("main")
    if main in places:
        places = [str(main), *(place for place in places if place != main)]
    sure = {}
    for slot, rows in taken.items():
        if slot == "place":
            sure[slot] = float(min((max(p, 1 - p) for p in answer[slots[slot]]), default=1.0))
        else:
            sure[slot] = float(answer[rows[0]] / max(answer[slots[slot]].sum(), 1e-9))
    return Reading(_truth(values, tuple(places)), sure)


def _truth(values: Mapping[str, object], places: tuple[str, ...]) -> Truth:
    lanes, vehicles = values["lanes"], values["vehicles"]
    direction, length = values["direction"], values["length"]
    assert lanes is None or isinstance(lanes, (int, str))
    assert vehicles is None or isinstance(vehicles, float)
    return Truth(
        kind=str(values["kind"]),
        type=str(values["type"]),
        streets=places,
        direction=None if direction is None else str(direction),
        starts_in_min=_number(values["begin"]),
        lasts_min=_number(values["lasts"]),
        length_class=None if length is None else str(length),
        lanes_blocked=lanes,
        vehicles=None if vehicles is None else round(vehicles),
        certain=values["certain"] == "yes",
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def outcomes(asked: Question, target: Floats, answer: Floats) -> dict[str, Outcome]:
    """How right each slot of an answer is."""
    taken = chosen(asked, answer)
    found = {}
    for slot, rows in _by_slot(asked.rows).items():
        if slot == "place":
            read, said = set(taken[slot]), {row for row in rows if target[row] == 1}
            found[slot] = Outcome(len(read & said), len(read - said), len(said - read))
            continue
        row = taken[slot][0]
        right = bool(target[row] == 1)
        reads = not _is_nothing(slot, asked.rows[row])
        says = not any(target[other] == 1 and _is_nothing(slot, asked.rows[other]) for other in rows)
        found[slot] = Outcome(int(right and reads and says), int(not right and reads), int(not right and says))
    return found


def answer_of(
    asked: Question, options: Sequence[Option], picked: Mapping[str, Sequence[object]], sure: float
) -> Floats:
    """An answer that takes these values by slot; ``sure`` is the probability of each."""
    right = np.array([option.value in picked.get(option.slot, ()) for option in options])
    assert len(right) == len(asked.rows)
    return np.where(right, sure, 1 - sure)


def _is_nothing(slot: str, row: str) -> bool:
    label = row.partition(": ")[2]
    return label in (NOT_SAID, _NOTHING.get(slot))


def _is_another(row: str) -> bool:
    return row == f"place: {ANOTHER}"
