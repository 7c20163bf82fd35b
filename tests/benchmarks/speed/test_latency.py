"""The latency benchmark on a tiny model: what it measures, and its report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed import latency
from llm.backbone.loading import load
from tests.support.llm_tiny import write_model


def test_repeats_are_counted_within_what_is_remembered() -> None:
    assert latency.repeats(["a", "b", "a", "a", "c"]) == pytest.approx(0.4)
    assert latency.repeats(["a", "b", "c", "a"], remembered=2) == 0
    assert latency.repeats(["a", "b", "a", "c", "a"], remembered=2) == pytest.approx(0.4)  # used again is kept
    assert latency.repeats([]) == 0


def test_samples_are_spread_and_without_repeats() -> None:
    drawn = latency.Asked([f"p{i // 2}" for i in range(20)], [2] * 20)
    assert drawn.sample(4).prompts == ["p0", "p3", "p6", "p9"]
    assert len(drawn.sample(99).prompts) == 10


@pytest.mark.slow
def test_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_model(tmp_path / "llama")
    out = tmp_path / "published" / "latency.json"
    options = [
        "--model",
        str(model),
        "--scenario",
        "cologne1",
        "--minutes",
        "1",
        "--prompts",
        "32",
        "--layers",
        "1",
        "3",
    ]
    latency.main([*options, "--device", "cpu", "--out", str(out)])
    report = json.loads(out.read_text())
    assert report == json.loads(capsys.readouterr().out)
    assert set(report["layers"]) == {"1", "3"}
    assert 0 <= report["prompts"]["repeated_share"] < 1
    assert "cpu" in report["machine"]
    for found in report["layers"].values():
        assert "batch_32" not in found  # one signal asks twelve times a minute
        for batch in (1, 8):
            for way in ("plain", "fp32", "bf16"):
                assert found[f"batch_{batch}"][way]["ms_p95"] >= found[f"batch_{batch}"][way]["ms_p50"] > 0
            assert found[f"batch_{batch}"]["plain"]["plain_over_this_wall"] == 1
        assert found["hour"]["simulated_s"] == 60
        assert found["hour"]["times_real_time"] > 0
        assert found["hour"]["controller_fallbacks"] == 0
        assert found["tokens_per_prompt"] > 50
        assert 0.5 < found["bf16"]["unchanged_share"] <= 1


def test_the_plain_call_is_the_whole_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = load(str(write_model(tmp_path / "llama")))
    seen = []
    forward = backbone.model.forward

    def spy(**arguments: object) -> object:
        answer = forward(**arguments)
        seen.append(tuple(answer.logits.shape))
        return answer

    monkeypatch.setattr(backbone.model, "forward", spy)
    latency.plain_call(backbone, ["Green A", "Green A age12"])
    width = max(len(row) for row in backbone.tokenizer(["Green A", "Green A age12"])["input_ids"])
    assert seen == [(2, width, len(backbone.tokenizer))]
    assert np.prod(seen[0]) > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scenario", "nowhere"], "nowhere"),
        (["--minutes", "1", "--layers", "99"], "99"),
        (["--minutes", "1", "--adapter", "nowhere"], "nowhere"),
    ],
)
def test_bad_options_are_one_sentence(options: list[str], words: str, tmp_path: Path) -> None:
    model = str(write_model(tmp_path / "llama"))
    with pytest.raises(SystemExit, match=rf"^greenloop: .*{words}"):
        latency.main(["--scenario", "cologne1", "--model", model, "--device", "cpu", *options])
    with pytest.raises(SystemExit):
        latency.main(["--layers", "0"])
