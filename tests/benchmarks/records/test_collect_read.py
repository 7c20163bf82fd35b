"""Recording bulletins: places of the run's network, wordings of its split, and what is said among the rows."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.records.collect import Plan, records_of
from llm.tasks.base import Example
from llm.tasks.read.prompt import page_of
from llm.tasks.read.reading import outcomes
from llm.tasks.read.task import ReadSettings
from llm.tasks.registry import check_record, made
from scenarios import registry
from scenarios.words.bulletins import bulletins
from scenarios.words.gazetteer import gazetteer
from sim.network import Network

TASK = made("read")
COUNT = 30


@pytest.fixture(scope="module")
def recorded() -> tuple[int, list[Example]]:
    (run,) = Plan("read", "validation", 1, ReadSettings(bulletins=COUNT), ()).drawn()
    return run.seed, records_of(TASK, run)


def test_records_ask_of_the_places_of_the_runs_network(recorded: tuple[int, list[Example]]) -> None:
    seed, records = recorded
    assert len(records) == COUNT
    places = gazetteer(Network.read(registry.load(records[0].scenario).net_file).roads)
    drawn = bulletins(places, "validation", seed, COUNT)
    for record, label in zip(records, drawn, strict=True):
        check_record(TASK, record)
        assert {place.name for place in page_of(record.question).places} <= set(places.names)
        assert record.slices == (f"kind_{label.truth.kind}", f"type_{label.truth.type}")


def test_the_right_answer_scores_one(recorded: tuple[int, list[Example]]) -> None:
    reached = [
        record
        for record in recorded[1]
        if all(one.exact for one in outcomes(record.question, record.target, record.target).values())
    ]
    assert len(reached) >= COUNT - 1
    found = TASK.details(reached, [record.target for record in reached])
    assert (found["slot_f1"], found["exact"]) == (1.0, 1.0)
    assert np.isfinite(TASK.features(reached[0].question)).all()
