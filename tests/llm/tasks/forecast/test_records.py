"""Forecast records on disk: nothing held out gets into training, damage is told in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from llm.records.shards import RecordError
from llm.records.splits import check_run
from llm.tasks.files import files, write_shard
from llm.tasks.forecast.prompt import Place
from llm.tasks.forecast.records import ForecastRecord
from llm.tasks.registry import made
from scenarios import registry
from tests.support.forecasts import make_record, make_report, make_state, write_folder
from tests.support.records import make_record as make_decision

TASK = made("forecast")
FILES = files(TASK)


def reported(text: str) -> ForecastRecord:
    record = make_record()
    state = make_state(record.state.fields[:, :10], places=[Place(make_report(text=text), "on", (0,))])
    return ForecastRecord("hand", "net", 5000, "native", 1.0, state, record.came, ("crash",))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    record = make_record(3)
    record.came[0, 2] = np.nan
    record.state.fields[1, 4] = np.nan
    write_shard(TASK, tmp_path / "a.jsonl.gz", "train", [record])
    (found,) = FILES.read(tmp_path / "a.jsonl.gz")
    np.testing.assert_allclose(found.came, record.came, atol=5e-4)
    np.testing.assert_allclose(found.state.fields, record.state.fields, atol=5e-4)
    assert (found.state.prompt, found.block, found.incidents) == (record.state.prompt, record.block, record.incidents)


@pytest.mark.parametrize("name", ["cologne8", "ingolstadt1", "city-3-901"])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_held_out_networks_are_refused(split: str, name: str) -> None:
    scenario = registry.load("cologne3" if name.startswith("city") else name)
    with pytest.raises(RecordError, match="is held out"):
        check_run(scenario.with_(name=name), split, 9999)


def test_seeds_of_results_are_refused() -> None:
    with pytest.raises(RecordError, match="Seed 7 is kept for results"):
        check_run(registry.load("cologne1"), "train", 7)
    with pytest.raises(RecordError, match="cologne1 is not held out"):
        check_run(registry.load("cologne1"), "held_out", 1)
    check_run(registry.load("cologne3"), "held_out", 1)


def test_held_out_wordings_are_for_scoring_only(tmp_path: Path) -> None:
    record = reported("07:12 smash on Main Street, help is under way")
    for split in ("train", "validation"):
        with pytest.raises(RecordError, match="held-out wording"):
            write_shard(TASK, tmp_path / "a.jsonl.gz", split, [record])
    assert not list(tmp_path.iterdir())
    write_shard(TASK, tmp_path / "a.jsonl.gz", "held_out", [record])
    write_shard(TASK, tmp_path / "b.jsonl.gz", "train", [reported("07:12 crash on Main Street, no details yet")])


def test_the_manifest_counts(tmp_path: Path) -> None:
    manifest = FILES.read_manifest(write_folder(tmp_path, train=8, validation=4))
    assert manifest["counts"]["train"] == {
        "runs": 1, "records": 8, "approaches": 16, "reported": 0, "near_incidents": 2
    }  # fmt: skip
    assert len(FILES.read_split(tmp_path, "validation")) == 4
    with pytest.raises(RecordError, match=r"no held_out records; run 'greenloop collect forecast --split held_out'"):
        FILES.read_split(tmp_path, "held_out")


@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_no_manifest(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RecordError, match=r"holds no readable manifest\.json"):
        FILES.read_manifest(tmp_path)


def test_records_of_decisions_are_no_forecasts(tmp_path: Path) -> None:
    decide = made("decide")
    write_shard(decide, tmp_path / "train/0.jsonl.gz", "train", [make_decision()])
    files(decide).write_manifest(tmp_path, {})
    with pytest.raises(RecordError, match="holds decide records, not forecast records"):
        FILES.read_split(tmp_path, "train")
    with pytest.raises(RecordError, match="other fields than the forecast records"):
        FILES.read(tmp_path / "train/0.jsonl.gz")


def test_records_of_another_prompt(tmp_path: Path) -> None:
    file = write_folder(tmp_path) / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "prompt_version": 0}))
    with pytest.raises(RecordError, match=r"forecast records .* prompts of version 0"):
        FILES.read_split(tmp_path, "train")


def test_damaged_and_changed_records(tmp_path: Path) -> None:
    shard = next((write_folder(tmp_path) / "train").glob("*.gz"))
    data = shard.read_bytes()
    shard.write_bytes(data[: len(data) // 2])
    with pytest.raises(RecordError, match="are not those that"):
        FILES.read_split(tmp_path, "train")
    with pytest.raises(RecordError, match="are damaged"):
        FILES.read(shard)
