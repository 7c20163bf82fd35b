"""Rollouts to labelled records: run training scenarios under many behaviours, try every phase of some decisions.

Each episode is drawn from its number alone, leaves one file, and is not run again when that file is there; so the
command goes on where it was, after Ctrl-C or a kill.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from benchmarks import provenance
from benchmarks.episodes import Episode, Settings
from benchmarks.labels import HORIZONS_S, Recorder
from controllers import registry as controllers
from llm import dataset
from llm.dataset import MANIFEST, RecordError
from llm.forecasters import Forecaster
from llm.prompt import PROMPT_VERSION
from scenarios import registry
from sim.workers import Workers


@dataclass(frozen=True)
class Job:
    """An episode, the folder of its records, and that of a forecast head whose numbers they note."""

    episode: Episode
    folder: Path
    head: Path | None = None


class Progress(Protocol):
    """Is told of each episode that ended: how many of how many, its name, records, and what went wrong."""

    def __call__(self, done: int, total: int, name: str, records: int, problem: str | None) -> None:
        """One episode has ended."""


def record_episode(job: Job) -> int:
    """Run one episode and write its records; runs on a worker. Returns how many."""
    records = list(Recorder(job.episode, _numbers_only(job.head)).records())
    dataset.write_shard(job.folder / job.episode.file_name, records)
    return len(records)


def _numbers_only(head: Path | None) -> Forecaster | None:
    if head is None:
        return None
    from llm.forecast_language_model import NumbersOnly

    return NumbersOnly(str(head))


def collect(
    episodes: Sequence[Episode], folder: Path, workers: int, progress: Progress, head: Path | None = None
) -> dict[str, Any]:
    """Run the episodes that have no file yet, and write the manifest. Returns the manifest.

    Args:
        episodes: all that the folder shall hold.
        folder: of the records.
        workers: processes.
        progress: is told of each episode.
        head: folder of a forecast head; its part that reads no text gives the forecast source ``own``.

    Raises:
        ForecastError: there is no such head.
        RecordError: the folder holds records of other settings, or cannot be written.
        KeyboardInterrupt: passed on; finished episodes are on disk.
    """
    settings = episodes[0].settings if episodes else Settings()
    _check_settings(folder, settings)
    _numbers_only(head)  # say at once that there is none
    todo = [Job(episode, folder, head) for episode in episodes if not _is_done(folder / episode.file_name)]
    done, failed = len(episodes) - len(todo), {}
    if todo:
        with Workers(_load, workers) as pool:  # every city once, or workers that share one would wait for it
            for _ in pool.run(sorted({job.episode.scenario for job in todo})):
                pass
        with Workers(record_episode, workers, timeout_s=900) as pool:
            for ended in pool.run(todo):
                done += 1
                name = ended.task.episode.file_name
                if ended.problem is not None:
                    failed[name] = ended.problem
                progress(done, len(episodes), name, ended.value or 0, ended.problem)
    return dataset.write_manifest(folder, _about(settings, failed, head))


def _load(name: str) -> None:
    registry.load(name)


def _is_done(path: Path) -> bool:
    try:
        return path.is_file() and bool(dataset.read_shard(path) or True)
    except RecordError:
        return False


def _about(settings: Settings, failed: dict[str, str], head: Path | None) -> dict[str, Any]:
    git = provenance.git()
    return {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": asdict(settings),
        "settings_sha256": _sha256(settings),
        "policies_sha256": {
            f"{spec} {name}": provenance.content_sha256(path)
            for spec in sorted({*settings.drive, settings.then})
            for name, path in controllers.files(spec).items()
        },
        "label": {"horizons_s": list(HORIZONS_S), "then": settings.then},
        "forecast_head_sha256": None if head is None else provenance.content_sha256(head),
        "versions": provenance.versions(),
        "git": git.model_dump() if git else None,
        "failed": failed,
    }


def _sha256(settings: Settings) -> str:
    return hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode()).hexdigest()


def _check_settings(folder: Path, settings: Settings) -> None:
    if not (folder / MANIFEST).is_file():
        dataset.write_bytes(folder / MANIFEST, json.dumps(_started(settings)).encode())
        return
    found = dataset.read_manifest(folder).get("settings_sha256")
    if found != _sha256(settings):
        raise RecordError(f"Folder {folder} holds records of other settings; repeat those or choose another folder.")


def _started(settings: Settings) -> dict[str, Any]:
    return {
        "format": dataset.FORMAT,
        "prompt_version": PROMPT_VERSION,
        "settings_sha256": _sha256(settings),
        "shards": {},
    }
