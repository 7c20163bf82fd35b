"""Records: what may get in, files that survive, and what a learner makes of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.records.shards import RecordError
from llm.records.splits import SPLITS
from llm.tasks.decide import records as dataset
from llm.tasks.decide.facts import FACTS, phase_facts
from llm.tasks.decide.prompt import signal_prompt
from llm.tasks.decide.records import reordered, soft_targets
from llm.tasks.files import files, write_shard
from llm.tasks.registry import made
from sim.timings import CLEARANCE
from tests.support.helpers import crossing, make_observation
from tests.support.records import make_record

TASK = made("decide")
FILES = files(TASK)


def test_the_hash_of_records_is_not_that_of_the_day(tmp_path: Path) -> None:
    for split in SPLITS:
        write_shard(TASK, tmp_path / split / "0.jsonl.gz", "train", [make_record()])
    FILES.write_manifest(tmp_path, {"created_utc": "today"})
    known, taught = FILES.sha256(tmp_path), FILES.sha256(tmp_path, ["train"])
    FILES.write_manifest(tmp_path, {"created_utc": "tomorrow"})
    assert FILES.sha256(tmp_path) == known != taught
    write_shard(TASK, tmp_path / "validation" / "0.jsonl.gz", "train", [make_record(7)])
    FILES.write_manifest(tmp_path, {})
    assert FILES.sha256(tmp_path) != known
    assert FILES.sha256(tmp_path, ["train"]) == taught


# --- files


def folder_of(path: Path, count: int = 4) -> Path:
    for split in SPLITS:
        for number in range(2):
            records = [make_record(number * count + i) for i in range(count)]
            write_shard(TASK, path / split / f"{number:05d}.jsonl.gz", "train", records)
    FILES.write_manifest(path, {"settings_sha256": "x"})
    return path


def test_records_come_back(tmp_path: Path) -> None:
    records = [make_record(i) for i in range(5)]
    write_shard(TASK, tmp_path / "a.jsonl.gz", "train", records)
    assert FILES.read(tmp_path / "a.jsonl.gz") == records
    first = (tmp_path / "a.jsonl.gz").read_bytes()
    write_shard(TASK, tmp_path / "a.jsonl.gz", "train", records)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == first


def test_manifest_counts_and_guards(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    manifest = FILES.read_manifest(folder)
    assert manifest["counts"]["train"]["records"] == 8
    assert manifest["scenarios"]["validation"] == {"hand": 8}
    assert len(FILES.read_split(folder, "train")) == 8
    shard = folder / "train/00001.jsonl.gz"
    write_shard(TASK, shard, "train", [make_record(99)])
    with pytest.raises(RecordError, match=r"00001\.jsonl\.gz are not those"):
        FILES.read_split(folder, "train")
    shard.unlink()
    with pytest.raises(RecordError, match="are not those"):
        FILES.read_split(folder, "train")
    assert len(FILES.read_split(folder, "validation")) == 8


@pytest.mark.parametrize(
    "data",
    # a time stamp in the bytes would give the test another name in each of pytest's workers
    [b"", b"no gzip", gzip.compress(b"{no json", mtime=0), gzip.compress(b'{"scenario": "a"}\n', mtime=0)],
    ids=["empty", "no_gzip", "no_json", "other_fields"],
)
def test_damaged_shards(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(data)
    if data:
        with pytest.raises(RecordError, match=r"a\.jsonl\.gz (are damaged|have other fields).*\.$"):
            FILES.read(tmp_path / "a.jsonl.gz")


def test_other_prompt_version(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "prompt_version": 1}))
    with pytest.raises(RecordError, match=r"prompts of version 1 .* collect again\.$"):
        FILES.read_split(folder, "train")


@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_no_manifest(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RecordError, match=r"holds no readable manifest\.json"):
        FILES.read_manifest(tmp_path)


def test_no_records_of_a_split(tmp_path: Path) -> None:
    write_shard(TASK, tmp_path / "train/0.jsonl.gz", "train", [make_record()])
    FILES.write_manifest(tmp_path, {})
    with pytest.raises(RecordError, match="no validation records"):
        FILES.read_split(tmp_path, "validation")


@pytest.mark.parametrize("entry", [None, [], {"sha256": 3, "records": 1}, {"sha256": "a"}])
def test_a_manifest_with_damaged_shards(entry: object, tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][next(iter(manifest["shards"]))] = entry
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RecordError, match=r"holds no readable manifest\.json"):
        FILES.read_split(folder, "train")


def test_records_of_a_stopped_collection(tmp_path: Path) -> None:
    FILES.write_manifest(tmp_path, {})
    write_shard(TASK, tmp_path / "train/0.jsonl.gz", "train", [make_record()])
    with pytest.raises(RecordError, match="was stopped: give the same command again"):
        FILES.read_split(tmp_path, "train")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot be written"):
        write_shard(TASK, tmp_path / "file" / "a.jsonl.gz", "train", [make_record()])


# --- what a learner makes of them


def test_costs_by_horizon() -> None:
    record = make_record()
    np.testing.assert_array_equal(record.cost(30.0), np.array(record.costs_veh_s)[:, 1])
    with pytest.raises(RecordError, match=r"no costs at 45 s; choose one of 15, 30, 60"):
        record.cost(45.0)


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=8), st.floats(0.5, 50))
def test_soft_targets(costs: list[int], temperature: float) -> None:
    shares = soft_targets(np.array(costs, dtype=float), temperature)
    assert shares.sum() == pytest.approx(1)
    assert costs[shares.argmax()] == min(costs)
    assert soft_targets(np.array([0.0, 10.0]), 10.0)[1] == pytest.approx(1 / (1 + np.e))


def test_regret() -> None:
    records = [make_record(0), make_record(1)]
    costs = [record.cost(30.0) for record in records]
    expected = np.mean([costs[0][2] - costs[0].min(), costs[1][0] - costs[1].min()])
    assert dataset.regret_veh_s(records, [2, 0], 30.0) == pytest.approx(expected)


@given(st.permutations([0, 1, 2]))
def test_reordered_prompt_is_that_of_reordered_phases(order: list[int]) -> None:
    prompt = (
        "change3\nReport before A C: A lorry: both lanes blocked\nReport after B: B\n"
        "red go1 give1 queue6 A\ngreen12 go1 queue2 B\nred go1 queue0 C\nBest phase:"
    )
    lines = reordered(prompt, order).split("\n")
    new = {old: "ABC"[place] for place, old in enumerate(order)}
    assert lines[0] == "change3"
    said = ["red go1 give1 queue6", "green12 go1 queue2", "red go1 queue0"]
    assert lines[1] == f"Report before {' '.join(sorted([new[0], new[2]]))}: A lorry: both lanes blocked"
    assert lines[2] == f"Report after {new[1]}: B"
    assert lines[3:6] == [f"{said[old]} {letter}" for letter, old in zip("ABC", order, strict=True)]
    assert lines[6] == "Best phase:"
    back = [order.index(phase) for phase in range(3)]
    assert reordered(reordered(prompt, order), back) == prompt


def test_no_phase_green_stays_none() -> None:
    prompt = "change3\nred go1 queue1 A\nred go1 queue2 B\nBest phase:"
    assert reordered(prompt, [1, 0]) == "change3\nred go1 queue2 A\nred go1 queue1 B\nBest phase:"


def test_facts_say_what_the_prompt_says() -> None:
    network = crossing()
    observation = make_observation(
        network, queue_veh=[4, 2, 0], wait_s=[35, 61, 0], zone_veh=[[5, 1, 0], [2, 0, 1], [np.nan] * 3], phase=[1]
    )
    facts = phase_facts(network, network.signals[0], observation, CLEARANCE)
    assert facts.shape == (3, len(FACTS))
    assert np.isfinite(facts).all()
    named = [dict(zip(FACTS, row, strict=True)) for row in facts.tolist()]
    assert [row["is_current"] for row in named] == [0, 1, 0]
    assert [row["queue_veh"] for row in named] == [6, 2, 0]
    assert [row["wait_s"] for row in named] == [61, 61, 0]
    assert [row["near_veh"] for row in named] == [7, 2, 0]
    assert [row["known_share"] for row in named] == [1, 1, 0]
    assert {row["change_s"] for row in named} == {5}
    assert "change5" in signal_prompt(network, network.signals[0], observation, timings=CLEARANCE)
