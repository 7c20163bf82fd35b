"""Layers against milliseconds against delay, from the published runs of the demo."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import layers

PUBLISHED = Path(__file__).parents[1] / "benchmarks" / "published"


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
