"""Result files: the round trip, what a broken one says, and the table."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import registry as plots
from benchmarks.results import provenance
from benchmarks.results import run_result as results
from tests.support.synthetic_results import make_network, make_result


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    result = make_result()
    path = tmp_path / "deep" / f"a{results.RESULT_SUFFIX}"
    results.write(result, path)
    again = results.read(path)
    assert math.isnan(again.metrics["emergency_delay_s"])
    assert math.isnan(again.series.speed_mps[0])
    assert again.model_dump_json() == result.model_dump_json()
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no temporary file stays
    results.write(make_network(), tmp_path / "n.json")
    assert results.read_network(tmp_path / "n.json") == make_network()


def test_every_number_survives_the_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "x.json"

    @given(st.floats(allow_nan=False, allow_infinity=False, width=32))
    def check(value: float) -> None:
        results.write(make_result(metrics={"delay_s": value}), path)
        assert results.read(path).metrics["delay_s"] == value

    check()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[: len(text) // 2], "is truncated or no JSON"),
        (lambda text: "", "is truncated or no JSON"),
        (lambda text: "[1, 2]", "has no schema_version"),
        (lambda text: text.replace('"schema_version":1', '"schema_version":99'), "has schema version 99"),
        (lambda text: text.replace('"seed":1', '"sed":1'), "seed: Field required"),
        (lambda text: text.replace('"seed":1', '"seed":"one"'), "seed: Input should be a valid integer"),
        (lambda text: text.replace('"backend"', '"frontend"'), "backend"),
    ],
)
def test_a_broken_file_is_named_in_one_sentence(tmp_path: Path, change: object, says: str) -> None:
    path = tmp_path / f"a{results.RESULT_SUFFIX}"
    results.write(make_result(), path)
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    with pytest.raises(results.ResultError, match=says) as caught:
        results.load(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_hostile_files_named_like_results_end_at_once(tmp_path: Path) -> None:
    good = tmp_path / f"a{results.RESULT_SUFFIX}"
    results.write(make_result(), good)
    text = good.read_text()
    says = {
        "deep": "is nested too deep",
        "pipe": "is a pipe or a device, not a file; delete it",
        "large": "is larger than 64 MB, the most that is read; delete it",
        "nan": "holds NaN, which JSON does not have; delete it",
        "coded": "is not in UTF-8",
        "long": "damaged or not a greenloop result: k+ ...",
        "seed": "seed: Input should be less than",
    }
    paths = {name: tmp_path / f"b{name}{results.RESULT_SUFFIX}" for name in says}
    paths["deep"].write_text('{"schema_version": ' + "[" * 100_000)
    os.mkfifo(paths["pipe"])
    with paths["large"].open("wb") as stream:
        stream.truncate(3_000_000_000)
    paths["nan"].write_text(text.replace('"begin_s":', '"begin_s":NaN,"x":'))
    paths["coded"].write_bytes(text.encode("utf-16"))
    paths["long"].write_text('{"schema_version":1,"' + "k" * 1_000_000 + '":1,' + text[text.index('"seed"') :])
    paths["seed"].write_text(text.replace('"seed":1', f'"seed":{10**30}'))
    found, problems = results.read_folder(tmp_path)
    assert len(found) == 1
    said = {name: next(str(p) for p in problems if str(paths[name]) in str(p)) for name in says if name != "long"}
    assert all(says[name] in text for name, text in said.items()), said
    assert len(problems) == len(says)
    assert all(len(str(problem)) <= 500 and "\n" not in str(problem) for problem in problems)


def without(where: dict[str, Any], key: str) -> None:
    del where[key]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda run: run.update(timings={}), "timings.name is missing"),
        (lambda run: without(run["metrics"], "delay_s"), "metrics.delay_s is missing"),
        (lambda run: without(run["scenario"]["incidents"][0], "start_s"), "an incident lacks type, start_s or end_s"),
        (lambda run: run["series"]["halted_veh"].pop(), "series: its lists are empty or differ in length"),
        (lambda run: run.update(series={key: [] for key in run["series"]}), "series: its lists are empty or differ"),
        (lambda run: run["roads"]["ids"].pop(), "roads: speed_relative is empty or no row for each begin_s"),
        (lambda run: run["roads"]["begin_s"].pop(), "roads: speed_relative is empty or no row for each begin_s"),
        (lambda run: run["roads"].update(begin_s=[], speed_relative=[]), "roads: speed_relative is empty"),
        (lambda run: run["distribution"]["delay_s"].pop(), "distribution: delay_s and waiting_s need 101 quantiles"),
    ],
)
def test_a_file_with_a_part_missing_is_left_out(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    path = tmp_path / f"a{results.RESULT_SUFFIX}"
    results.write(make_result(), path)
    run = json.loads(path.read_text())
    change(run)
    path.write_text(json.dumps(run))
    (problem,) = results.read_folder(tmp_path)[1]
    assert says in str(problem)
    assert str(problem).startswith(f"Result file {path} is damaged or not a greenloop result: ")
    assert str(problem).endswith("; delete it and run its cell again.")


def test_a_missing_file_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(results.ResultError, match="cannot be read"):
        results.read(tmp_path / "none.json")
    with pytest.raises(results.ResultError, match="holds no results"):
        results.load(tmp_path)


def test_one_call_gives_a_table(tmp_path: Path) -> None:
    for seed in (1, 2):
        results.write(make_result("greedy", seed), tmp_path / f"g{seed}{results.RESULT_SUFFIX}")
    results.write(
        make_result("fixed_time", 1, 40.0, git=None, suite=None), tmp_path / "sub" / f"f{results.RESULT_SUFFIX}"
    )
    (tmp_path / f"broken{results.FAILED_SUFFIX}").write_text("{}")
    table = results.load(tmp_path)
    assert len(table) == 3
    assert sorted(table["controller"]) == ["fixed_time", "greedy", "greedy"]
    assert table["delay_s"].dtype == float
    assert {"seed", "timings", "completion", "real_time_factor", "sumo_version"} <= set(table.columns)
    readable, problems = results.read_folder(tmp_path)
    assert (len(readable), problems) == (3, [])


def test_of_several_results_of_a_cell_the_newest_counts(tmp_path: Path) -> None:
    for day, delay_s in ((2, 50.0), (3, 10.0), (1, 30.0)):
        made = make_result("greedy", 1, delay_s, created_utc=f"2026-01-0{day}T00:00:00+00:00")
        results.write(made, tmp_path / f"{day}{results.RESULT_SUFFIX}")
    results.write(make_result("greedy", 2), tmp_path / f"other{results.RESULT_SUFFIX}")
    with pytest.warns(UserWarning, match=r"^Left out: 2 older results of runs that were repeated\.$"):
        table = results.load(tmp_path)
    assert table["seed"].tolist() == [1, 2]
    assert table["delay_s"][0] < 15
    told: list[str] = []
    plots.draw(tmp_path, tmp_path / "figures", ["delay"], told.append)
    assert told == ["Left out: 2 older results of runs that were repeated."]


def test_a_full_disk_gives_a_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    results.write(make_result("old"), tmp_path / "a.json")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(results.ResultError, match="No space left on device"):
        results.write(make_result("new"), tmp_path / "a.json")
    monkeypatch.undo()
    assert results.read(tmp_path / "a.json").controller.name == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_cannot_be_made_gives_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(results.ResultError, match="cannot be written"):
        results.write(make_result(), tmp_path / "file" / "a.json")


def test_cell_names_are_stable_readable_and_distinct() -> None:
    stem = results.cell_stem("cologne1", "my/file.py:Mine", "native", 3, {"a": 1})
    assert stem == results.cell_stem("cologne1", "my/file.py:Mine", "native", 3, {"a": 1})
    assert stem.startswith("cologne1__my-file.py-Mine__native__seed3__")
    others = {results.cell_stem("cologne1", "my/file.py:Mine", "native", 3, {"a": k}) for k in range(5)}
    others |= {results.cell_stem("cologne1", name, "native", 3, {}) for name in ("a b", "a-b", "a/b")}
    assert len(others) == 8


def test_provenance_knows_versions_and_tells_no_host_name(tmp_path: Path) -> None:
    found = provenance.versions()
    assert {"python", "greenloop", "sumo", "numpy"} <= set(found)
    assert provenance.git(tmp_path) is None
    machine = json.dumps(provenance.machine())
    assert os.uname().nodename not in machine
    assert int(provenance.machine()["cores"]) >= 1
