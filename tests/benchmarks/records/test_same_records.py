"""Records and scores are what they were before tasks had a contract: hashes and numbers of the code before it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest

from benchmarks.records.collect import records_of
from llm.backbone.cards import SHIPPED
from llm.backbone.loading import load
from llm.tasks.base import Run
from llm.tasks.decide.scorer import PhaseScorer
from llm.tasks.decide.task import RATES, DecideSettings
from llm.tasks.forecast import task as forecast
from llm.tasks.registry import answerer, made

#: Another SUMO drives otherwise.
pytestmark = pytest.mark.skipif(version("libsumo") != "1.28.0", reason="the hashes are of SUMO 1.28.0")


def decided(split: str, number: int, name: str, **settings: Any) -> Run:
    return made("decide").plan(split, number, DecideSettings(**settings), (name,))


RUNS = {
    "with branches": (
        "decide",
        decided("train", 2, "cologne1", minutes=4, records_per_episode=10),
        "31c628921e42d677f8dc5ea28e125663caab403bbe0d7a71b8c3a76c699d8c10",
    ),
    "with reports and a forecast head": (
        "decide",
        replace(
            decided("validation", 0, "city-3-500", minutes=8, records_per_episode=12, forecast_head=SHIPPED),
            rates=RATES,
        ),
        "6f2752c6d2e3848d71654bb631cc1ca5ecbbbe2cb9c16fd91ffcd8085b12fbf1",
    ),
    "imagined": (
        "decide",
        replace(
            decided(
                "train", 0, "city-3-3", minutes=4, records_per_episode=60, branches=False, imagined_share=0.5,
                drive=("holding",), forecast_head=SHIPPED,
            ),
            rates=None,
        ),
        "fc54f99dabf8fea20f6460cb9e125986c0f77f281f2df341bdf5a3b02578476e",
    ),
    "forecasts": (
        "forecast",
        made("forecast").plan("train", 0, forecast.ForecastSettings(minutes=8), ("cologne1",)),
        "ba69cc0381013ce6cafee52fe6626580208c358ac2c6ef766bbc1b14e98a2520",
    ),
    "forecasts with reports": (
        "forecast",
        replace(
            made("forecast").plan("validation", 0, forecast.ForecastSettings(minutes=8), ("city-3-500",)),
            rates=forecast.RATES,
        ),
        "39c9a4c9e330c2057b8aad601ebf1828063fb0fc6dd90ee73b81a1ff4dca6672",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_the_same_run_gives_the_same_records(name: str) -> None:
    """``Record.local_veh_s``, which is gone, was left out of the hashes of decisions."""
    spec, run, expected = RUNS[name]
    task = made(spec)
    rows = [task.row(record) for record in records_of(task, run)]
    lines = (json.dumps(row, separators=(",", ":"), sort_keys=True) + "\n" for row in rows)
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == expected


PROMPT = (
    "change5\n"
    "Report before A B: About 21:05 emergency vehicle with blue light leaves Rowan Close for Garnet Way\n"
    "green10 go7 give2 queue1 wait1 near9/3 mid2/1 far6/5 room8 A\n"
    "red go5 queue1 wait1 near8 mid1 far6 room8 B\n"
    "red go6 queue8 wait11 near7 mid6 far0 room8 C\n"
    "Best phase:"
)
PHASES, SCORES = 3, [-0.542209, -0.957987, -3.356037]
#: A record of forecasts, and the flows (veh/h) that the shipped head says of its first approach, by horizon.
ROW: dict[str, Any] = {
    "scenario": "cologne1",
    "network_sha256": "25b44c0450c8d8e1d13ae5c11e38ef8e55719c98eb76f861ca26f82e044524b5",
    "seed": 1000,
    "timings": "native",
    "demand_scale": 0.82,
    "signal": "GS_cluster_357187_359543",
    "time_s": 25620.0,
    "approaches": ["-32038056#3", "23429231#1", "27115123#3", "28198821#3"],
    "prompt": (
        "07:07\n"
        "A in18,12,19,19,10 mean124,124 queue0,2,1\n"
        "B in15,9,10,9,3 mean109,109 queue0,1,1\n"
        "C in0,4,5,12,15 mean56,56 queue4,1,1\n"
        "D in0,0,0,2,8 mean20,20 queue0,0,0\n"
        "Next A B C D"
    ),
    "fields": [
        [
            18.0,
            12.0,
            19.0,
            19.0,
            10.0,
            745.714,
            745.714,
            0.0,
            1.55,
            1.115,
            7.117,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
        ],
        [
            15.0,
            9.0,
            10.0,
            9.0,
            3.0,
            651.429,
            651.429,
            0.0,
            0.8,
            0.583,
            7.117,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
        ],
        [
            0.0,
            4.0,
            5.0,
            12.0,
            15.0,
            334.286,
            334.286,
            4.0,
            0.8,
            0.5,
            7.117,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
        ],
        [
            0.0,
            0.0,
            0.0,
            2.0,
            8.0,
            120.0,
            120.0,
            0.0,
            0.1,
            0.156,
            7.117,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
        ],
    ],
    "came": [
        [[540.0, 1.0], [None, None], [None, None]],
        [[420.0, 1.0], [None, None], [None, None]],
        [[1260.0, 10.0], [None, None], [None, None]],
        [[780.0, 2.0], [None, None], [None, None]],
    ],
    "incidents": [],
}
FORECAST = [[315.1433, 656.1858, 1031.5033], [337.8428, 620.6678, 898.8227], [403.6078, 606.014, 804.7976]]


def test_the_shipped_adapter_gives_the_same_scores() -> None:
    """Bit for bit on one machine; another processor may round the last digits in another way."""
    (scores,) = PhaseScorer(load(adapter=SHIPPED)).score([PROMPT], [PHASES])
    np.testing.assert_allclose(scores, SCORES, atol=2e-4)


def test_the_shipped_head_gives_the_same_forecasts() -> None:
    task = made("forecast")
    question = task.question(task.record(ROW))
    for name in ("language_model_numbers_only", f"model:adapter={SHIPPED}"):
        said = answerer(task, name).answer([question])
        np.testing.assert_allclose(said[0, :, 0], FORECAST, rtol=1e-4)
