"""The task: what does a bulletin say?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from llm.records.splits import HELD_OUT, SPLITS
from llm.tasks.base import Answer, Binary, Example, Floats, Lesson, LiveRun, Measure, Question, Run, Settings, Task
from llm.tasks.read.prompt import VERSION, question, target
from llm.tasks.read.reading import COUNTED, Outcome, outcomes
from scenarios.spec import Scenario
from scenarios.words.bulletins import bulletins
from scenarios.words.files import labelled
from scenarios.words.gazetteer import gazetteer, invented
from scenarios.words.truth import Bulletin
from sim.network import Network
from sim.observation import Observation

#: Bulletins that learners practise on where no records are at hand: so many gazetteers, and bulletins of each.
PRACTICE_PLACES, PRACTICE_EACH = 10, 300


class ReadSettings(Settings):
    """What is collected.

    Attributes:
        bulletins: drawn for each run.
        minutes: simulated; reading needs no traffic.
    """

    bulletins: int = Field(default=200, ge=1, le=100_000)
    minutes: float = Field(default=1.0, gt=0)


class ReadWatch:
    """Asks of each report that comes in."""

    def __init__(self, network: Network) -> None:
        self.names = gazetteer(network.roads).names
        self._known = 0
        self._fresh: tuple[Bulletin, ...] = ()

    def see(self, observation: Observation) -> bool:
        """Note what has come in since the last time."""
        fresh = observation.reports[self._known :]
        self._known = len(observation.reports)
        self._fresh = tuple(Bulletin(report.time_s, "radio", report.text) for report in fresh)
        return bool(self._fresh)

    def questions(self) -> list[Question]:
        """One for each that has come in."""
        return [question(bulletin, self.names) for bulletin in self._fresh]


class ReadTask(Task[Example]):
    """What bulletins say: kind, type, places, times, lanes, vehicles and certainty."""

    name: ClassVar[str] = "read"
    answer: ClassVar[Answer] = Binary()
    prompt_version: ClassVar[int] = VERSION
    settings: ClassVar[type[Settings]] = ReadSettings
    splits: ClassVar[tuple[str, ...]] = (*SPLITS, HELD_OUT)
    limits: ClassVar[tuple[str, ...]] = (
        "Reads English only, and places only by the names that the gazetteer of the network has.",
    )

    def watch(self, network: Network, scenario: Scenario) -> ReadWatch:  # noqa: ARG002
        """Asks of what a run's reports say."""
        return ReadWatch(network)

    def records(self, live: LiveRun, watch: Any) -> Iterator[Example]:  # noqa: ARG002
        """Bulletins about the run's network, in the wordings of its split; the traffic plays no part."""
        places = gazetteer(live.network.roads)
        count = int(live.run.notes.get("bulletins", 200))
        for label in bulletins(places, live.run.split, live.run.seed, count):
            asked = question(label.bulletin, places.names)
            yield live.example(asked, target(asked, label.truth), slices_of(label.truth.kind, label.truth.type))

    def plan(self, split: str, number: int, settings: Any, names: Sequence[str] = ()) -> Run:
        """A run without incidents, and how many bulletins are drawn for it."""
        run = super().plan(split, number, settings, names)
        return replace(run, rates=None, driver="greedy", notes={**run.notes, "bulletins": settings.bulletins})

    def baselines(self) -> Mapping[str, str]:
        """Rules, and linear models on words."""
        return {"rules": "llm.tasks.read.rules:Rules", "tfidf": "llm.tasks.read.tfidf:TfIdf"}

    def measures(self, records: Sequence[Any], answers: Sequence[Floats]) -> Mapping[str, Measure]:
        """F1 over all slots, whole bulletins without a fault, and F1 of each slot."""
        found = [outcomes(self.question(r), self.target(r), a) for r, a in zip(records, answers, strict=True)]
        measures = {"slot_f1": _f1([[one[slot] for slot in COUNTED] for one in found])}
        exact = np.array([float(all(outcome.exact for outcome in one.values())) for one in found])
        measures["exact"] = Measure(exact, np.ones(len(found)))
        for slot in found[0] if found else ():
            measures[f"f1_{slot}"] = _f1([[one[slot]] for one in found])
        return measures

    def details(self, records: Sequence[Any], answers: Sequence[Floats]) -> Mapping[str, Any]:
        """The same as plain figures: over all, by slot, and by kind and type of bulletin."""
        groups = sorted({name for record in records for name in self.slices(record)})
        by_group = {}
        for group in groups:
            own = [k for k, record in enumerate(records) if group in self.slices(record)]
            figures = self._figures([records[k] for k in own], [answers[k] for k in own])
            by_group[group] = {"bulletins": len(own), "slot_f1": figures["slot_f1"], "exact": figures["exact"]}
        figures = self._figures(records, answers)
        kinds = {name.removeprefix("kind_"): own for name, own in by_group.items() if name.startswith("kind_")}
        types = {name.removeprefix("type_"): own for name, own in by_group.items() if name.startswith("type_")}
        slots = {name.removeprefix("f1_"): value for name, value in figures.items() if name.startswith("f1_")}
        overall = {"slot_f1": figures["slot_f1"], "exact": figures["exact"]}
        return {**overall, "slots": slots, "kinds": kinds, "types": types}

    def labelled(self, file: Path, network: Network) -> list[Example]:
        """Records of a file of labelled bulletins, whose ``{s1} {p1} {t+15}`` are filled for a network.

        Raises:
            WordsError: the file cannot be read or holds no bulletins.
        """
        places = gazetteer(network.roads)
        found = []
        for number, label in enumerate(labelled(file, places)):
            asked = question(label.bulletin, places.names)
            about = (str(network.net_file), "", number)
            slices = slices_of(label.truth.kind, label.truth.type)
            found.append(Example(*about, asked, target(asked, label.truth), slices))
        return found

    def practice(self) -> list[Lesson]:
        """Bulletins about invented places, in the wordings of training."""
        lessons = []
        for seed in range(PRACTICE_PLACES):
            places = invented(seed)
            for label in bulletins(places, "train", seed, PRACTICE_EACH):
                asked = question(label.bulletin, places.names)
                lessons.append(Lesson(asked, target(asked, label.truth)))
        return lessons

    def _figures(self, records: Sequence[Any], answers: Sequence[Floats]) -> dict[str, float | None]:
        figures = {}
        for name, measure in self.measures(records, answers).items():
            count = float(measure.count.sum())
            figures[name] = round(float(measure.total.sum()) / count, 4) if count else None
        return figures


def slices_of(kind: str, kind_of_event: str) -> tuple[str, ...]:
    """Groups that a bulletin is counted in."""
    return (f"kind_{kind}", f"type_{kind_of_event}")


def _f1(found: Sequence[Sequence[Outcome]]) -> Measure:
    """Twice the hits over all that was read and all that was said."""
    hits = np.array([2.0 * sum(one.hit for one in own) for own in found])
    faults = np.array([float(sum(one.wrong + one.missed for one in own)) for own in found])
    return Measure(hits, hits + faults)
