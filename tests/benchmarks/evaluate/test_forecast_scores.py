"""Scores of forecasts: by hand, their intervals over blocks, and the command from records to its table and figures."""

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
from benchmarks.evaluate import forecast_evaluation as forecast_command
from benchmarks.evaluate.forecast_evaluation import Request
from benchmarks.evaluate.forecast_files import Kept, write_fan
from benchmarks.evaluate.forecast_scores import PLACES, Score, score
from llm.records.shards import RecordError
from llm.tasks.forecast.forecasters import ForecastError
from llm.tasks.forecast.records import ForecastRecord, came
from llm.tasks.forecast.state import HORIZONS_MIN, TARGETS
from tests.support.forecasts import make_record, write_folder

RECORDS = [make_record(number, closed=number % 4 == 0) for number in range(40)]


def shifted(records: list[ForecastRecord], by: float, band: float) -> np.ndarray:
    """What came, moved by so much, with a band of so much on both sides."""
    middle = np.nan_to_num(came(records)) + by
    return np.stack([middle - band, middle, middle + band], axis=-1)


def one(scores: list[Score], name: str, place: str = "overall", horizon: int = 5, target: str = TARGETS[0]) -> Score:
    return next(s for s in scores if (s.forecaster, s.place, s.horizon_min, s.target) == (name, place, horizon, target))


def test_errors_by_hand() -> None:
    scores = score(RECORDS, {"a": shifted(RECORDS, 3, 2), "b": shifted(RECORDS, -4, 5)}, "a", resamples=50)
    a, b = one(scores, "a"), one(scores, "b")
    assert (a.count, a.blocks) == (80, 7)
    assert (a.mae, a.rmse, a.coverage, a.difference) == pytest.approx((3, 3, 0, None))
    assert (b.mae, b.rmse, b.coverage, b.difference) == pytest.approx((4, 4, 1, 1))
    assert a.mae_interval == pytest.approx((3, 3))
    assert b.difference_interval == pytest.approx((1, 1))
    assert a.pinball == pytest.approx((0.9 * 1 + 0.5 * 3 + 0.1 * 5) / 3)
    assert {s.place for s in scores} == {*PLACES, "road_closure"}
    assert len(scores) == 2 * 4 * len(HORIZONS_MIN) * len(TARGETS)


def test_where_errors_are_counted() -> None:
    near = np.concatenate([np.full(2, bool(record.incidents)) for record in RECORDS])
    said = shifted(RECORDS, 1, 1)
    said[near] += 9
    scores = score(RECORDS, {"a": said}, "a", resamples=50)
    places = {s.place for s in scores}
    found = {place: (one(scores, "a", place).count, one(scores, "a", place).mae) for place in places}
    mean, around = (80, pytest.approx(3.25)), (20, 10)
    assert found == {"overall": mean, "around_incidents": around, "elsewhere": (60, 1), "road_closure": around}


def test_what_is_not_known_does_not_count() -> None:
    records = [replace(record, came=record.came.copy()) for record in RECORDS]
    for record in records[1:]:
        record.came[:, 2] = np.nan
    scores = score(records, {"a": shifted(records, 1, 1)}, "a", resamples=50)
    last = one(scores, "a", horizon=15)
    assert (last.count, last.blocks, last.mae, last.mae_interval) == (2, 1, 1, None)
    assert one(scores, "a").count == 80


def test_intervals_are_over_blocks() -> None:
    """Errors that a whole network shares say less than as many errors of their own."""
    rng = np.random.default_rng(0)
    records = [replace(make_record(0), network_sha256=f"net{k % 10}", seed=1) for k in range(400)]
    shared, own = rng.normal(size=10), rng.normal(size=800)
    together, apart = shifted(records, 5, 1), shifted(records, 5, 1)
    together += np.repeat(shared[[k % 10 for k in range(400)]], 2)[:, None, None, None]
    apart += own[:, None, None, None]
    scores = score(records, {"together": together, "apart": apart}, "apart", resamples=500)
    widths = {s.forecaster: np.ptp(s.mae_interval) for s in scores if s.mae_interval and s.horizon_min == 5}
    assert widths["together"] > 4 * widths["apart"]
    found = one(scores, "together")
    assert found.mae_interval is not None
    assert found.mae_interval[0] < found.mae < found.mae_interval[1]


# --- the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("forecasts"), train=40, validation=32, held_out=32)


def test_from_records_to_table_json_and_figures(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = Request(folder, "held_out", ("persistence", "past_mean", "ridge"), out=tmp_path)
    forecast_command.execute(request, as_json=False)
    said = capsys.readouterr().out
    for text in ("around incidents", "ridge", "In band", "vs persistence"):
        assert text in said
    found = json.loads((tmp_path / "forecast.json").read_text())
    assert (found["on"], found["baseline"], found["records"]) == ("held_out", "persistence", 32)
    errors = {s["forecaster"]: s["mae"] for s in found["scores"] if s["place"] == "overall" and s["horizon_min"] == 1
              and s["target"] == TARGETS[0]}  # fmt: skip
    assert max(errors["persistence"], errors["ridge"]) < errors["past_mean"]  # the last minute goes on
    with (tmp_path / "fan.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["horizon_min"] for row in rows} == {"1", "5", "15"}
    assert all(float(row["q10"]) <= float(row["q50"]) <= float(row["q90"]) for row in rows)
    assert {path.name for path in tmp_path.glob("*.svg")} == {"forecast_errors.svg", "forecast_fan.svg"}


def test_the_command_prints_json(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forecast_command.execute(Request(folder, "validation", ("ridge",), out=tmp_path, limit=8, figures=False), True)
    found = json.loads(capsys.readouterr().out)
    assert found["records"] == 8
    assert not list(tmp_path.glob("*.svg"))


def test_held_out_records_never_reach_fit(folder: Path, tmp_path: Path) -> None:
    spy = tmp_path / "spy.py"
    spy.write_text(
        "import numpy as np\nfrom greenloop import Forecaster\nseen = []\n"
        "class Spy(Forecaster):\n"
        "    def fit(self, train, validation):\n        seen.extend([len(train), len(validation)])\n"
        "    def forecast(self, states):\n        assert seen == [40, 32]\n"
        "        return np.zeros((sum(len(s.approaches) for s in states), 3, 2, 3))\n"
    )
    forecast_command.execute(Request(folder, "held_out", (f"{spy}:Spy",), out=tmp_path, figures=False), False)


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"on": "train"}, RecordError, "scored on held_out or validation records, not on 'train'"),
        ({"baseline": "gru"}, ForecastError, "baseline 'gru' is not among the forecasters; choose one of ridge"),
        ({"forecasters": ("rigde",)}, ForecastError, "did you mean 'ridge'"),
        ({"records": Path("nowhere")}, RecordError, "holds no readable manifest"),
    ],
)
def test_requests_that_make_no_sense(
    changes: dict[str, object], kind: type[Exception], sentence: str, folder: Path, tmp_path: Path
) -> None:
    request = replace(Request(folder, "held_out", ("ridge",), out=tmp_path, figures=False), **changes)  # type: ignore[arg-type]
    with pytest.raises(kind, match=sentence):
        forecast_command.execute(request, False)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"forecasters": ("{spy}", "rigde")}, "did you mean 'ridge'"),
        ({"forecasters": ("{spy}", "language_model:head=nowhere")}, "nowhere"),
        ({"forecasters": ("{spy}",), "out": Path("file")}, "cannot be written"),
    ],
)
def test_what_cannot_work_is_found_before_anything_is_fitted(
    changes: dict[str, Any], sentence: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("spy.py").write_text(
        "from greenloop import Forecaster\nclass Spy(Forecaster):\n"
        "    def fit(self, train, validation):\n        open('fitted', 'w').close()\n"
        "    def forecast(self, states):\n        return None\n"
    )
    changes["forecasters"] = tuple(spec.format(spy="spy.py:Spy") for spec in changes["forecasters"])
    request = replace(Request(folder, "held_out", out=tmp_path, figures=False), **changes)
    with pytest.raises((RecordError, ForecastError), match=sentence):
        forecast_command.execute(request, False)
    assert not Path("fitted").exists()


def test_without_a_head_the_language_model_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("llm.backbone.cards.shipped", lambda: None)
    assert "ridge" in forecast_command._specs(Request(folder))
    assert not [spec for spec in forecast_command._specs(Request(folder)) if spec.startswith("language_model")]
    assert "language model is left out" in capsys.readouterr().err
    named = forecast_command._specs(Request(folder, head=Path("runs/x")))
    kinds = ("language_model", "language_model_without_reports", "language_model_numbers_only")
    assert named[-3:] == tuple(f"{kind}:head=runs/x" for kind in kinds)


def test_the_table_ranks_and_marks() -> None:
    scores = score(RECORDS, {"b": shifted(RECORDS, 9, 1), "a": shifted(RECORDS, 1, 2)}, "b", resamples=50)
    console = Console(width=160)
    with console.capture() as captured:
        forecast_command.tell(console, scores, "b", "here")
    lines = [line.split() for line in captured.get().splitlines()]
    ranked = [line[0] for line in lines if line and line[0] in ("a", "b")]
    assert ranked == ["a", "b"] * 5  # flow and queue, overall and around incidents; flow near closures
    row = next(line for line in lines if line and line[0] == "a")
    assert row[1:6] == ["1.0", "/", "1.0", "/", "1.0"]
    assert "-8.0" in row  # against the other, whose error is 9


def test_names_without_parameters_where_that_is_enough() -> None:
    specs = ["ridge", "gru:hidden=8", "gru:hidden=9", "language_model:head=x", "a/b.py:Mine"]
    assert list(forecast_command._labels(specs).values()) == [*specs[:3], "language_model", "a/b.py:Mine"]


def test_commands_are_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("collect-forecasts", "train-forecast", "forecast"):
        monkeypatch.setattr("sys.argv", ["greenloop", name, "--help"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        assert "Examples" in capsys.readouterr().out


def test_a_comparison_goes_on_where_it_was(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = Request(folder, "validation", ("persistence", "ridge"), out=tmp_path, figures=False)
    first, _, _ = forecast_command.compare(replace(request, forecasters=("persistence",), baseline=None))
    again, _, _ = forecast_command.compare(request)
    assert "persistence: kept from an earlier run\nridge ..." in capsys.readouterr().err
    rows = {(row["place"], row["target"], row["horizon_min"]): row["mae"] for row in first["scores"]}
    for row in again["scores"]:
        if row["forecaster"] == "persistence":
            assert row["mae"] == rows[row["place"], row["target"], row["horizon_min"]]
    forecast_command.compare(replace(request, limit=8))  # other records
    assert "kept" not in capsys.readouterr().err


def test_damaged_forecasts_are_made_again(tmp_path: Path) -> None:
    said, kept = np.ones((4, 3, 2, 3)), Kept(tmp_path, ("a", "b"))
    assert kept.read("ridge", 4) is None
    kept.write("ridge", said)
    assert kept.read("ridge", 4) is not None
    assert kept.read("ridge", 5) is None
    (file,) = (tmp_path / "forecasts").glob("*.npz")
    whole = file.read_bytes()
    for damaged in (b"", b"broken", whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        assert kept.read("ridge", 4) is None
    for k in range(len(whole)):
        file.write_bytes(whole[:k] + bytes([whole[k] ^ 0xFF]) + whole[k + 1 :])
        found = kept.read("ridge", 4)
        assert found is None or (found == said).all()
    for wrong in (np.full((4, 3, 2, 3), np.nan), np.ones(4), np.array("text")):
        np.savez(file, said=wrong)
        assert kept.read("ridge", 4) is None


def test_a_swapped_head_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "hd").mkdir()
    (tmp_path / "hd" / "head").write_text("one")
    kept, spec = Kept(tmp_path, ("a", "b")), "language_model:head=~/hd"
    kept.write(spec, np.ones((4, 3, 2, 3)))
    assert kept.read(spec, 4) is not None
    (tmp_path / "hd" / "head").write_text("two")
    assert kept.read(spec, 4) is None


def test_a_forecaster_that_changed_is_asked_again(folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    request = Request(folder, "validation", (f"{mine}:Mine",), out=tmp_path / "out", figures=False)
    for number in (1.0, 2.0):
        mine.write_text(
            "import numpy as np\nfrom greenloop import Forecaster\nclass Mine(Forecaster):\n"
            "    def forecast(self, states):\n"
            f"        return np.full((sum(len(s.approaches) for s in states), 3, 2, 3), {number})\n"
        )
        _, said, _ = forecast_command.compare(request)
        assert (next(iter(said.values())) == number).all()


def test_scores_as_csv(folder: Path, tmp_path: Path) -> None:
    forecast_command.execute(Request(folder, "validation", ("ridge", "past_mean"), out=tmp_path, figures=False), True)
    with (tmp_path / "forecast.csv").open() as file:
        rows = list(csv.DictReader(file))
    told = json.loads((tmp_path / "forecast.json").read_text())["scores"]
    assert [float(row["mae"]) for row in rows] == pytest.approx([row["mae"] for row in told], abs=1e-4)
    assert {"mae_low", "mae_high", "coverage_low", "difference_high"} <= set(rows[0])


def test_the_fan_is_of_one_run(tmp_path: Path) -> None:
    twice = [replace(make_record(number), network_sha256="net", seed=1) for number in (0, 1, 2)] * 2
    write_fan(tmp_path / "fan.csv", twice, np.ones((12, 3, 2, 3)))
    with (tmp_path / "fan.csv").open() as file:
        times = [row["time_s"] for row in csv.DictReader(file) if row["horizon_min"] == "1"]
    assert len(times) == len(set(times)) == 3
