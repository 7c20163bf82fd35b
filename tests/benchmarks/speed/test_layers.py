"""Layers against milliseconds against delay, from the published runs of the demo."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.speed import layers

PUBLISHED = Path(__file__).parents[3] / "benchmarks" / "published"


def test_the_published_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latency = PUBLISHED / "latency.json"
    layers.main([str(PUBLISHED / "demo"), "--latency", str(latency), "--out", str(tmp_path / "new")])
    rows = pd.read_csv(tmp_path / "new" / "layers.csv").set_index("controller")
    model, greedy = rows.loc["language_model"], rows.loc["greedy"]
    files = (PUBLISHED / "demo").glob("*__language-model__*.result.json")
    delays = [json.loads(file.read_text())["metrics"]["delay_s"] for file in files]
    assert model.delay_s == pytest.approx(np.mean(delays), abs=1e-3)
    assert model.low_s <= model.delay_s <= model.high_s
    assert (model.layers, model.seeds) == (4, 3)
    assert model.ms == json.loads(latency.read_text())["layers"]["4"]["batch_8"]["bf16"]["ms_p50"]
    assert np.isnan(greedy.layers)
    assert np.isnan(greedy.ms)
    assert (tmp_path / "new" / "layers.svg").read_text().count('<g id="text_') > 7  # six others, the model, axes
    assert "greedy" in capsys.readouterr().out


def test_what_is_missing_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "latency.json").write_text('{"layers": {"2": {}}}')
    with pytest.raises(SystemExit, match=r"nothing about 4 layers; run .*--layers 4"):
        layers.main([str(PUBLISHED / "demo"), "--latency", str(tmp_path / "latency.json"), "--out", str(tmp_path)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="no run of a language model"):
        layers.main([str(tmp_path / "empty"), "--latency", str(tmp_path / "latency.json")])
    with pytest.raises(SystemExit, match=r"greenloop: .*none"):
        layers.main([str(PUBLISHED / "demo"), "--latency", str(tmp_path / "none")])


def test_only_runs_of_one_case_are_put_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Repeated runs count once, other contents of a scenario stand apart, and a panel needs a model."""
    shutil.copytree(PUBLISHED / "demo", tmp_path / "demo", ignore=shutil.ignore_patterns("figures"))
    model = json.loads(next((tmp_path / "demo").glob("*__language-model__*seed1*.result.json")).read_text())
    greedy = json.loads(next((tmp_path / "demo").glob("*__greedy__*seed1*.result.json")).read_text())
    older = {**model, "created_utc": "2020-01-01T00:00:00+00:00", "metrics": {**model["metrics"], "delay_s": 900.0}}
    other = {**model, "scenario": {**model["scenario"], "sha256": "0" * 64}}
    alone = {**greedy, "scenario": {**greedy["scenario"], "name": "elsewhere", "sha256": "1" * 64}}
    for name, result in (("older", older), ("other", other), ("alone", alone)):
        (tmp_path / "demo" / f"{name}.result.json").write_text(json.dumps(result))
    latency = PUBLISHED / "latency.json"
    layers.main([str(tmp_path / "demo"), "--latency", str(latency), "--out", str(tmp_path / "new")])
    rows = pd.read_csv(tmp_path / "new" / "layers.csv")
    assert "1 older result" in capsys.readouterr().err
    assert sorted(rows[rows.controller == "language_model"].seeds) == [1, 3]
    assert rows.delay_s.max() < 900
    assert "elsewhere" not in set(rows.scenario)
