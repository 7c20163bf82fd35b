"""Evaluations: figures by hand, their intervals over blocks, answers that are kept, and the command to its tables."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from benchmarks.cli import main as cli
from benchmarks.cli.old_verbs import translated
from benchmarks.evaluate import figures as drawing
from benchmarks.evaluate.answers import AnswerCache
from benchmarks.evaluate.block_bootstrap import Figure
from benchmarks.evaluate.evaluation import Evaluation, Request, compared, evaluate
from benchmarks.evaluate.tables import short_names, tell
from llm.records.shards import RecordError
from llm.tasks import registry
from llm.tasks.base import TaskError
from llm.tasks.forecast.fan import fan_table
from llm.tasks.forecast.forecasters import ForecastError, make
from llm.tasks.forecast.records import ForecastRecord, came
from llm.tasks.forecast.state import HORIZONS_MIN, TARGETS
from tests.support.forecasts import make_record, write_folder

TASK = registry.made("forecast")
RECORDS = [make_record(number, closed=number % 4 == 0) for number in range(40)]


def shifted(records: list[ForecastRecord], by: float, band: float) -> np.ndarray:
    """What came, moved by so much, with a band of so much on both sides."""
    middle = np.nan_to_num(came(records)) + by
    return np.stack([middle - band, middle, middle + band], axis=-1)


def one(rows: list[Figure], name: str, measure: str = "mae", place: str = "overall", step: str = "5 min") -> Figure:
    about = (name, measure, place, step, TARGETS[0])
    return next(r for r in rows if (r.answerer, r.measure, r.slice, r.step, r.group) == about)


def test_figures_by_hand() -> None:
    rows = compared(TASK, RECORDS, {"a": shifted(RECORDS, 3, 2), "b": shifted(RECORDS, -4, 5)}, "a")
    assert (one(rows, "a").count, one(rows, "a").blocks) == (80, 7)
    found = {name: [one(rows, name, measure).value for measure in ("mae", "rmse", "in_band")] for name in ("a", "b")}
    assert found == {"a": pytest.approx([3, 3, 0]), "b": pytest.approx([4, 4, 1])}
    assert one(rows, "a").interval == pytest.approx((3, 3))
    assert one(rows, "a").difference is None
    assert one(rows, "b").difference == pytest.approx(1)
    assert one(rows, "b").difference_interval == pytest.approx((1, 1))
    assert one(rows, "a", "pinball").value == pytest.approx((0.9 * 1 + 0.5 * 3 + 0.1 * 5) / 3)
    assert {row.slice for row in rows} == {"overall", "around_incidents", "elsewhere", "road_closure"}
    assert len(rows) == 2 * 4 * 4 * len(HORIZONS_MIN) * len(TARGETS)


def test_where_errors_are_counted() -> None:
    near = np.concatenate([np.full(2, bool(record.incidents)) for record in RECORDS])
    said = shifted(RECORDS, 1, 1)
    said[near] += 9
    rows = compared(TASK, RECORDS, {"a": said}, "a")
    found = {place: (one(rows, "a", place=place).count, one(rows, "a", place=place).value) for place in
             {row.slice for row in rows}}  # fmt: skip
    mean, around = (80, pytest.approx(3.25)), (20, 10)
    assert found == {"overall": mean, "around_incidents": around, "elsewhere": (60, 1), "road_closure": around}


def test_what_is_not_known_does_not_count() -> None:
    records = [replace(record, came=record.came.copy()) for record in RECORDS]
    for record in records[1:]:
        record.came[:, 2] = np.nan
    rows = compared(TASK, records, {"a": shifted(records, 1, 1)}, "a")
    last = one(rows, "a", step="15 min")
    assert (last.count, last.blocks, last.value, last.interval) == (2, 1, 1, None)
    assert one(rows, "a").count == 80


def test_intervals_are_over_blocks() -> None:
    """Errors that a whole network shares say less than as many errors of their own."""
    rng = np.random.default_rng(0)
    records = [replace(make_record(0), network_sha256=f"net{k % 10}", seed=1) for k in range(400)]
    shared, own = rng.normal(size=10), rng.normal(size=800)
    together, apart = shifted(records, 5, 1), shifted(records, 5, 1)
    together += np.repeat(shared[[k % 10 for k in range(400)]], 2)[:, None, None, None]
    apart += own[:, None, None, None]
    rows = compared(TASK, records, {"together": together, "apart": apart}, "apart")
    widths = {name: np.ptp(one(rows, name).interval or (0, 0)) for name in ("together", "apart")}
    assert widths["together"] > 4 * widths["apart"]
    found = one(rows, "together")
    assert found.interval is not None
    assert found.interval[0] < found.value < found.interval[1]


# --- the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("forecasts"), train=40, validation=32, held_out=32)


def quiet(_: str) -> None:
    pass


def test_from_records_to_table_json_csv_and_figures(folder: Path, tmp_path: Path) -> None:
    three = ("persistence", "past_mean", "ridge")
    found = evaluate(Request("forecast", folder, "held_out", three, out=tmp_path), quiet)
    console = Console(width=200)
    with console.capture() as captured:
        tell(console, found)
    for text in ("forecast, flow_veh_h, around_incidents (held_out, 7 blocks)", "ridge", "in_band", "vs persistence"):
        assert text in captured.get()
    kept = json.loads((tmp_path / "evaluation.json").read_text())
    assert (kept["task"], kept["on"], kept["baseline"], kept["records"]) == ("forecast", "held_out", "persistence", 32)
    errors = {name: one(found.figures, name, step="1 min").value for name in three}
    assert max(errors["persistence"], errors["ridge"]) < errors["past_mean"]  # the last minute goes on
    with (tmp_path / "evaluation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["value"]) for row in rows] == pytest.approx([row["value"] for row in kept["figures"]], abs=1e-5)
    assert {"low", "high", "difference_low"} <= set(rows[0])
    drawing.draw(found.figures, tmp_path)
    assert {path.name for path in tmp_path.glob("*.svg")} == {"evaluation.svg", "fan.svg"}


def test_held_out_records_never_reach_fit(folder: Path, tmp_path: Path) -> None:
    spy = tmp_path / "spy.py"
    spy.write_text(
        "import numpy as np\nfrom greenloop import Forecaster\nseen = []\n"
        "class Spy(Forecaster):\n"
        "    def fit(self, train, validation):\n        seen.extend([len(train), len(validation)])\n"
        "        assert train[0].came.shape == (len(train[0].state.approaches), 3, 2)\n"
        "    def forecast(self, states):\n        assert seen == [40, 32]\n"
        "        return np.zeros((sum(len(s.approaches) for s in states), 3, 2, 3))\n"
    )
    evaluate(Request("forecast", folder, "held_out", (f"{spy}:Spy",), out=tmp_path), quiet)


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"on": "train"}, RecordError, "scored on validation or held_out records, not on 'train'"),
        ({"baseline": "gru"}, TaskError, "baseline 'gru' is not among the answerers; choose one of ridge"),
        ({"answerers": ("rigde",)}, TaskError, "did you mean 'ridge'"),
        ({"records": Path("nowhere")}, RecordError, "holds no readable manifest"),
        ({"task": "forcast"}, TaskError, "did you mean 'forecast'"),
    ],
)
def test_requests_that_make_no_sense(
    changes: dict[str, Any], kind: type[Exception], sentence: str, folder: Path, tmp_path: Path
) -> None:
    request = replace(Request("forecast", folder, "held_out", ("ridge",), out=tmp_path), **changes)
    with pytest.raises(kind, match=sentence):
        evaluate(request, quiet)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"answerers": ("{spy}", "rigde")}, "did you mean 'ridge'"),
        ({"answerers": ("{spy}", "language_model:head=nowhere")}, "nowhere"),
        ({"answerers": ("{spy}",), "out": Path("file")}, "cannot be written"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_fitted(
    changes: dict[str, Any], sentence: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("spy.py").write_text(
        "from greenloop import Forecaster\nclass Spy(Forecaster):\n"
        "    def fit(self, train, validation):\n        open('fitted', 'w').close()\n"
        "    def forecast(self, states):\n        return None\n"
    )
    changes["answerers"] = tuple(spec.format(spy="spy.py:Spy") for spec in changes["answerers"])
    with pytest.raises((RecordError, TaskError), match=sentence):
        evaluate(replace(Request("forecast", folder, "held_out", out=tmp_path), **changes), quiet)
    assert not Path("fitted").exists()


def test_without_a_head_the_language_model_is_left_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm.backbone.cards.shipped", lambda: None)
    monkeypatch.setattr(
        type(TASK), "baselines", lambda _: {"language_model": "llm.tasks.forecast.language_model:NumbersOnly"}
    )
    monkeypatch.setattr(registry, "ANSWERERS", {"constant": registry.ANSWERERS["constant"]})
    said: list[str] = []
    found = evaluate(Request("forecast", folder, "validation", out=tmp_path), said.append)
    assert list(found.said) == ["constant"]
    assert any(line.startswith("language_model is left out: No trained forecast head ships") for line in said)
    folded = registry.with_folder(TASK, "language_model", Path("runs/x"))
    assert folded == "language_model:head=runs/x"
    assert registry.with_folder(TASK, "constant", Path("runs/x")) == "constant"


def test_the_table_ranks_and_marks() -> None:
    rows = compared(TASK, RECORDS, {"b": shifted(RECORDS, 9, 1), "a": shifted(RECORDS, 1, 2)}, "b")
    about = {"task": "forecast", "on": "here", "baseline": "b"}
    console = Console(width=200)
    with console.capture() as captured:
        tell(console, Evaluation(TASK, about, rows, RECORDS, {}))
    lines = [line.split() for line in captured.get().splitlines()]
    ranked = [line[0] for line in lines if line and line[0] in ("a", "b")]
    assert ranked == ["a", "b"] * 8  # flow and queue in four slices
    row = next(line for line in lines if line and line[0] == "a")
    assert row[1:6] == ["1", "/", "1", "/", "1"]
    assert "-8" in row  # against the other, whose error is 9


def test_names_without_parameters_where_that_is_enough() -> None:
    specs = ["ridge", "gru:hidden=8", "gru:hidden=9", "language_model:head=x", "a/b.py:Mine"]
    assert list(short_names(specs).values()) == [*specs[:3], "language_model", "a/b.py:Mine"]


@pytest.mark.parametrize(
    ("old", "present"),
    [
        ("collect-forecasts --runs 4 --minutes=20", "collect forecast --runs 4 --set minutes=20 --out forecasts"),
        (
            "train-forecast --tune --epochs 2 --no-facts --out x",
            "train forecast --set method=lora --set epochs=2 --set head.numbers=false --out x --records forecasts",
        ),
        ("forecast --forecaster ridge --out x --records r", "evaluate forecast --answerer ridge --out x --records r"),
        (
            "collect --scenarios validation --episodes 3 --no-branches --drive greedy --demand-scales 1 2",
            "collect decide --split validation --runs 3 --set branches=false --set 'demand_scales=[1, 2]' "
            "--set 'drive=[\"greedy\"]'",
        ),
        (
            "train --layers 0 --distil 0.9 --records a",
            "train decide --set layers=null --set task.distil=0.9 --records a",
        ),
    ],
)
def test_old_verbs_say_once_what_they_are_now(old: str, present: str, capsys: pytest.CaptureFixture[str]) -> None:
    translated(old.split())
    assert capsys.readouterr().err == f"greenloop {old.split()[0]} is now: greenloop {present}\n"
    assert translated(present.split()) == present.split()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["collect", "train", "evaluate", "tasks"])
def test_commands_are_there(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    assert "Example" in capsys.readouterr().out


# --- answers that are kept


def test_a_comparison_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    request = Request("forecast", folder, "validation", ("persistence", "ridge"), out=tmp_path)
    first = evaluate(replace(request, answerers=("persistence",)), quiet)
    said: list[str] = []
    again = evaluate(request, said.append)
    assert said == ["persistence: answers of an earlier run", "ridge ..."]
    assert one(again.figures, "persistence").value == one(first.figures, "persistence").value
    said.clear()
    evaluate(replace(request, limit=8), said.append)  # other records
    assert said == ["persistence ...", "ridge ..."]


def test_damaged_answers_are_made_again(tmp_path: Path) -> None:
    ridge, shape = make("ridge"), (4, 3, 2, 3)
    said, kept = np.ones(shape), AnswerCache(tmp_path, ("a", "b"))
    assert kept.read("ridge", ridge, shape) is None
    kept.write("ridge", ridge, said)
    assert kept.read("ridge", ridge, shape) is not None
    assert kept.read("ridge", ridge, (5, 3, 2, 3)) is None
    (file,) = (tmp_path / "answers").glob("*.npz")
    whole = file.read_bytes()
    for damaged in (b"", b"broken", whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        assert kept.read("ridge", ridge, shape) is None
    for k in range(len(whole)):
        file.write_bytes(whole[:k] + bytes([whole[k] ^ 0xFF]) + whole[k + 1 :])
        found = kept.read("ridge", ridge, shape)
        assert found is None or (found == said).all()
    for wrong in (np.full(shape, np.nan), np.ones(4), np.array("text")):
        np.savez(file, said=wrong)
        assert kept.read("ridge", ridge, shape) is None


def test_an_answerer_that_changed_is_asked_again(folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    request = Request("forecast", folder, "validation", (f"{mine}:Mine",), out=tmp_path / "out")
    for number in (1.0, 2.0):
        mine.write_text(
            "import numpy as np\nfrom greenloop import Forecaster\nclass Mine(Forecaster):\n"
            "    def forecast(self, states):\n"
            f"        return np.full((sum(len(s.approaches) for s in states), 3, 2, 3), {number})\n"
        )
        assert (next(iter(evaluate(request, quiet).said.values())) == number).all()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("1 / 0", r"failed in answer\(\) with ZeroDivisionError: division by zero\.$"),
        ("np.zeros(3)", r"gave an array of shape \(3,\); \(64, 3, 2, 3\) was expected\.$"),
        ("np.full((64, 3, 2, 3), np.nan)", "not finite"),
        ("np.tile([3.0, 2.0, 1.0], (64, 3, 2, 1))", "quantiles that cross"),
    ],
)
def test_answers_that_are_none(answer: str, sentence: str, folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import numpy as np\nfrom greenloop import Answerer\nclass Mine(Answerer):\n"
        f"    def answer(self, questions):\n        return {answer}\n"
    )
    with pytest.raises(TaskError, match=sentence):
        evaluate(Request("forecast", folder, "validation", (f"{mine}:Mine",), out=tmp_path), quiet)


def test_the_fan_is_of_one_run() -> None:
    twice = [replace(make_record(number), network_sha256="net", seed=1) for number in (0, 1, 2)] * 2
    rows = list(csv.DictReader(fan_table(twice, np.ones((12, 3, 2, 3))).splitlines()))
    times = [row["time_s"] for row in rows if row["horizon_min"] == "1"]
    assert len(times) == len(set(times)) == 3


def test_a_forecast_error_is_a_task_error() -> None:
    assert issubclass(ForecastError, TaskError)
