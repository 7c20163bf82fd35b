"""``make claim``: what it compares, and the one sentence that it ends with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.results.run_result import RunResult, SuiteRecord
from benchmarks.run import claim
from benchmarks.run.claim import ClaimError, Line, Published
from tests.support.synthetic_results import make_result, make_scenario

FIGURES = {"delay_s": 12.345, "completion": 0.9876, "standing_queue_s": 0.0}
CASE = "cologne3@plain"
PUBLISHED = Published({(CASE, name, 1): FIGURES for name in ("greedy", "language_model")}, "1.28.0", "held_out 3")


def rerun(controller: str, **changes: float) -> RunResult:
    result = make_result(
        controller, 1, suite=SuiteRecord(name="held_out", version=3), scenario=make_scenario(CASE), metrics=FIGURES
    )
    metrics = {**result.metrics, **FIGURES, **changes}
    return result.model_copy(update={"metrics": metrics, "versions": {"sumo": "1.28.0"}})


def test_the_published_rows_hold_every_run_that_is_compared() -> None:
    published = claim.read_published()
    for network in claim.NETWORKS:
        for variant in ("plain", "incidents"):
            for seed in (1, 2):
                assert (f"{network}@{variant}", "language_model", seed) in published.rows
    assert published.suite.startswith("held_out ")


@pytest.mark.parametrize(
    ("greedy", "model", "starts"),
    [
        ({}, {}, "REPRODUCED: all 2 runs are the published ones digit for digit."),
        ({"delay_s": 12.34504}, {}, "REPRODUCED: all 2 runs"),  # the same in the published digits
        ({}, {"delay_s": 12.5}, "REPRODUCED: every classical run is the published one digit for digit; learnt"),
        ({"delay_s": 12.346}, {}, "NOT REPRODUCED: 1 of 2 runs are the published ones digit for digit; greedy differs"),
        ({"completion": 0.9877}, {}, "NOT REPRODUCED: 1 of 2"),
        ({}, {"delay_s": 14.0}, "NOT REPRODUCED: 1 of 2 runs are the published ones digit for digit; language_model"),
    ],
    ids=["same", "rounded", "model moved", "classical moved", "completion", "model far"],
)
def test_a_verdict_is_one_sentence(greedy: dict[str, float], model: dict[str, float], starts: str) -> None:
    lines = claim.compare(PUBLISHED, [rerun("greedy", **greedy), rerun("language_model", **model)])
    said = claim.verdict(lines, failed=0)
    assert said.startswith(starts)
    assert "\n" not in said


def test_failed_runs_reproduce_nothing() -> None:
    assert claim.verdict([Line("greedy", 4, 4, 1.0, 1.0)], failed=2) == "NOT REPRODUCED: 2 runs failed."


def test_what_cannot_be_compared_is_told(tmp_path: Path) -> None:
    run = rerun("greedy")
    with pytest.raises(ClaimError, match=r"of SUMO '1\.27\.0' and these runs of '1\.28\.0'"):
        claim.compare(replace(PUBLISHED, sumo="1.27.0"), [run])
    with pytest.raises(ClaimError, match="of the suite 'held_out 2' and these runs of 'held_out 3'"):
        claim.compare(replace(PUBLISHED, suite="held_out 2"), [run])
    with pytest.raises(ClaimError, match="no published row of cologne3@plain, sotl, seed 1"):
        claim.compare(PUBLISHED, [rerun("sotl")])
    with pytest.raises(ClaimError, match="checkout of the project"):
        claim.read_published(tmp_path / "runs.csv")
    (tmp_path / "runs.csv").write_text("scenario,controller\na,b\n")
    with pytest.raises(ClaimError, match="is damaged"):
        claim.read_published(tmp_path / "runs.csv")
