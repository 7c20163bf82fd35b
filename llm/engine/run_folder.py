"""The folder of one training: who works on it, what is trained there, and where a killed one goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from llm.records.shards import write_bytes
from llm.tasks.base import TaskError
from scenarios.common.files import read_json

SETTINGS_FILE, METRICS_FILE, BEFORE_FILE = "training.json", "metrics.json", "before.json"
#: The whole configuration, as ``greenloop train`` reads it.
EXPERIMENT_FILE = "experiment.yaml"


def claim(out: Path, about: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Note what is trained here, so that a resumed run cannot be another one.

    Args:
        out: the folder.
        about: settings, task and hashes of the records.
        defaults: of the settings: one that is newer than the folder was what is its default now.

    Raises:
        TaskError: the folder holds another training, or its settings are damaged.
        RecordError: the folder cannot be written.
    """
    file = out / SETTINGS_FILE
    if not file.is_file():
        write_bytes(file, json.dumps(about, indent=1).encode())
        return
    try:
        noted = {**defaults, **read_json(file, allow_nan=True)}
    except (OSError, ValueError, TypeError) as error:
        raise TaskError(f"Settings {file} are damaged; choose another folder, or delete this one.") from error
    if differing := sorted(key for key in about if noted.get(key) != json.loads(json.dumps(about[key]))):
        raise TaskError(f"Folder {out} holds a training with other {', '.join(differing)}; choose another folder.")


def ended(out: Path) -> dict[str, Any]:
    """The metrics of a training that ended, written last of all; empty for any other."""
    return _read(out / METRICS_FILE, "history")


def end(out: Path, metrics: Mapping[str, Any]) -> None:
    """Write the metrics, which says that the training has ended."""
    write_bytes(out / METRICS_FILE, json.dumps(metrics, indent=1).encode())


def before(out: Path) -> dict[str, float]:
    """The measurement before the first step; empty where none was made."""
    return _read(out / BEFORE_FILE, "loss")


def note_before(out: Path, measured: dict[str, float]) -> dict[str, float]:
    """Keep it."""
    write_bytes(out / BEFORE_FILE, json.dumps(measured).encode())
    return measured


def _read(file: Path, key: str) -> dict[str, Any]:
    try:
        found = dict(read_json(file, allow_nan=True))
    except (OSError, ValueError, TypeError):
        return {}
    return found if key in found else {}


def checkpoint(out: Path) -> str | None:
    """The newest complete checkpoint; the state file is written last, so one that a kill cut short has none.

    One whose weights are damaged does not count: the training goes on from the one before.
    """
    found = [path for path in (out / "checkpoints").glob("checkpoint-*") if _is_complete(path)]
    found = [path for path in found if path.name.rpartition("-")[2].isdigit()]  # not a copy that somebody made
    return str(max(found, key=lambda path: int(path.name.rpartition("-")[2]))) if found else None


def _is_complete(folder: Path) -> bool:
    try:
        for weights in folder.glob("*.safetensors"):
            with safe_open(weights, "pt"):
                pass
        return "global_step" in read_json(folder / "trainer_state.json", allow_nan=True)
    except (OSError, ValueError, TypeError, SafetensorError):
        return False
