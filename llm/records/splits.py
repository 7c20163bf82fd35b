"""What may be learnt from: which scenarios, seeds and wordings belong to a split, and which are kept for results."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Protocol

from llm.records.shards import RecordError, file_sha256
from scenarios import registry, resco
from scenarios.city import generator as city
from scenarios.common.input_files import top_elements
from scenarios.common.net_values import WHAT
from scenarios.incidents.wordings import WORDINGS
from scenarios.spec import Scenario, ScenarioError

SPLITS = ("train", "validation")
#: The runs that results are reported on use small seeds; records use seeds from here on.
FIRST_SEED = {"train": 1000, "validation": 5000}
#: What is scored and never learnt from.
HELD_OUT = "held_out"


class Learnt(Protocol):
    """What a record of any kind says of its run."""

    @property
    def scenario(self) -> str:
        """The scenario's name."""

    @property
    def network_sha256(self) -> str:
        """Hash of the network file."""

    @property
    def seed(self) -> int:
        """Of the run."""


def check_split(scenario: Scenario, split: str, seed: int) -> None:
    """Make sure that a run may be recorded for a split.

    A held-out network is known under any name and in any form of its file, by where its junctions lie.

    Raises:
        RecordError: the scenario is held out, belongs to another split, or the seed is one that results use.
    """
    if split not in SPLITS:
        raise RecordError(f"Records have the splits {' and '.join(SPLITS)}, not '{split}'.")
    if HELD_OUT in scenario.tags or _is_held_out(scenario.name) or _is_copy(scenario):
        raise RecordError(f"Scenario {scenario.name} is held out: nothing of it may be recorded, or no result counts.")
    if split not in scenario.tags:
        raise RecordError(
            f"Scenario {scenario.name} is not tagged '{split}', so it gives no {split} records; "
            f"see 'greenloop scenarios --tag {split}'."
        )
    _check_seed(split, seed)


def check_run(scenario: Scenario, split: str, seed: int) -> None:
    """Make sure that a run may be recorded for a split, the held-out one included.

    Raises:
        RecordError: a held-out scenario or a seed that results use would get into training, or the other way round.
    """
    if split != HELD_OUT:
        check_split(scenario, split, seed)
    elif HELD_OUT not in scenario.tags:
        raise RecordError(f"Scenario {scenario.name} is not held out, so nothing may be scored on it as if it were.")


def check_record(split: str, record: Learnt, text: str) -> None:
    """Make sure that a record, wherever it comes from, may be learnt from.

    Raises:
        RecordError: its scenario, its network or a wording of its text is held out, or its seed is not the split's.
    """
    if _is_held_out(record.scenario) or record.network_sha256 in _held_out_files():
        raise RecordError(f"There are records of {record.scenario}, which is held out: leave them out.")
    _check_seed(split, record.seed)
    if "Report " in text:
        check_wording(text)


def check_wording(text: str) -> None:
    """Make sure that a report, or a prompt with reports, has no held-out wording in it.

    Raises:
        RecordError: it has.
    """
    for line in text.splitlines():
        sentence = line.partition(": ")[2] if line.startswith("Report ") else line
        if any(pattern.fullmatch(sentence) for pattern in _held_out_wordings()):
            raise RecordError(f"Report '{sentence}' has a held-out wording: nothing of it may be recorded.")


def _check_seed(split: str, seed: int) -> None:
    if seed < FIRST_SEED[split]:
        raise RecordError(f"Seed {seed} is kept for results; {split} records use seeds from {FIRST_SEED[split]} on.")


@cache
def _is_held_out(name: str) -> bool:
    """Whether a registered scenario of this name is held out, without generating it."""
    if found := re.fullmatch(r"city-\d+-(\d+)", name):
        return HELD_OUT in city.tags(int(found[1]))
    return name in resco.RESCO and HELD_OUT in resco.RESCO[name][0]


def _is_copy(scenario: Scenario) -> bool:
    """Whether the network is a held-out one under another name; what the registry itself gives is not looked at."""
    try:
        if registry.load(scenario.name).net_file == scenario.net_file:
            return False
    except ScenarioError:
        pass  # a file of the user's own
    return _layout(scenario.net_file) in _held_out_layouts()


def _layout(net_file: Path) -> str:
    """Hash of where the junctions lie, to a centimetre, as seen from the first: neither format nor offset matters.

    Raises:
        RecordError: the file cannot be read.
    """
    places: list[tuple[int, int]] = []
    try:
        for element in top_elements(net_file, WHAT):
            if element.tag == "junction" and element.get("type") != "internal":
                places.append((round(100 * float(element.attrib["x"])), round(100 * float(element.attrib["y"]))))
    except (KeyError, ValueError) as error:
        raise RecordError(f"Network {net_file} cannot be read ({error}); give a network of SUMO's.") from error
    places.sort()
    relative = [(x - places[0][0], y - places[0][1]) for x, y in places]
    return hashlib.sha256(repr(relative).encode()).hexdigest()


@cache
def _held_out_files() -> frozenset[str]:
    """Hashes of the network files of RESCO's held-out networks and of the held-out cities generated on this machine."""
    return frozenset(file_sha256(file) for file in _held_out_nets())


@cache
def _held_out_layouts() -> frozenset[str]:
    return frozenset(_layout(file) for file in _held_out_nets())


def _held_out_nets() -> list[Path]:
    real = [resco.load(name).net_file for name, row in resco.RESCO.items() if HELD_OUT in row[0]]
    return [*real, *(file for file in city.generated_nets() if _is_held_out(file.parent.name))]


@cache
def _held_out_wordings() -> tuple[re.Pattern[str], ...]:
    templates = [t for wording in WORDINGS[HELD_OUT].values() for t in (*wording.opened, *wording.cleared)]
    return tuple(re.compile(re.sub(r"\\{\w+\\}", ".+", re.escape(t)), re.IGNORECASE) for t in templates)
