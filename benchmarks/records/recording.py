"""Planned runs to records, for decisions and forecasts alike.

Each run leaves one file and is not run again when that file is there, so a command goes on where it was, after Ctrl-C
or a kill.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import BaseModel

from benchmarks.results import provenance
from llm.records.shards import MANIFEST, RecordError, Shards, only_writer
from scenarios import registry
from sim.workers.local import Workers

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

TIMEOUT_S = 900.0


class Planned(Protocol):
    """A run that is yet to be made."""

    @property
    def scenario(self) -> str:
        """The scenario's name."""

    @property
    def file_name(self) -> str:
        """Where its records go, within the folder."""


class Job(Protocol):
    """A run and the folder of its records."""

    @property
    def run(self) -> Planned:
        """The run."""

    @property
    def folder(self) -> Path:
        """The folder."""


class Progress(Protocol):
    """Is told of each run that ended: how many of how many, its name, records, and what went wrong."""

    def __call__(self, done: int, total: int, name: str, records: int, problem: str | None) -> None:
        """One run has ended."""


AnyJob = TypeVar("AnyJob", bound=Job)


def record_all(
    jobs: Sequence[AnyJob],
    record: Callable[[AnyJob], int],
    shards: Shards[Any],
    workers: int,
    progress: Progress,
) -> dict[str, str]:
    """Make the runs that have no file yet. Returns what went wrong, by file.

    Args:
        jobs: all that the folder shall hold.
        record: makes one run on a worker, writes its file and says how many records it has.
        shards: what such files are.
        workers: processes, at most.
        progress: is told of each run.

    Raises:
        RecordError: another command is writing to the folder.
        KeyboardInterrupt: passed on; finished runs are on disk.
    """
    todo = [job for job in jobs if not shards.is_done(job.folder / job.run.file_name)]
    done = len(jobs) - len(todo)
    failed: dict[str, str] = {}
    if not todo:
        return failed
    named = sorted({job.run.scenario for job in todo})
    with Workers(_load, min(workers, len(named))) as pool:  # each once, or workers that share one would wait for it
        for _ in pool.run(named):
            pass
    with only_writer(todo[0].folder), Workers(record, min(workers, len(todo)), timeout_s=TIMEOUT_S) as pool:
        for ended in pool.run(todo):
            done += 1
            name = ended.task.run.file_name
            if ended.problem is not None:
                failed[name] = ended.problem
            progress(done, len(jobs), name, ended.value or 0, ended.problem)
    return failed


def _load(name: str) -> None:
    registry.load(name)


def claim(
    folder: Path,
    shards: Shards[Any],
    settings: DataclassInstance | BaseModel,
    sources: Mapping[str, str | None] | None = None,
) -> None:
    """Note the settings in a new folder, or make sure that an old one has the same.

    Args:
        folder: of the records.
        shards: what they are.
        settings: of the runs.
        sources: hashes of what else decides what the records say, by name: policies' files, a forecast head.

    Raises:
        RecordError: it holds records of other settings or sources, or cannot be read or written.
    """
    known = {"settings_sha256": _sha256(settings), "sources_sha256": dict(sources or {})}
    if not (folder / MANIFEST).is_file():
        shards.begin(folder, known)
        return
    found = shards.read_manifest(folder)
    if found.get("settings_sha256") != known["settings_sha256"]:
        raise RecordError(f"Folder {folder} holds records of other settings; repeat those or choose another folder.")
    noted = found.get("sources_sha256", known["sources_sha256"])
    if differing := sorted(name for name, digest in (sources or {}).items() if noted.get(name) != digest):
        raise RecordError(
            f"Folder {folder} holds records made with another {', another '.join(differing)} than it is now; choose "
            "another folder."
        )


def about(
    settings: DataclassInstance | BaseModel, failed: dict[str, str], sources: Mapping[str, str | None] | None = None
) -> dict[str, Any]:
    """What a manifest says of how its records were made."""
    git = provenance.git()
    return {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": _plain(settings),
        "settings_sha256": _sha256(settings),
        "sources_sha256": dict(sources or {}),
        "versions": provenance.versions(),
        "git": git.model_dump() if git else None,
        "failed": failed,
    }


def _plain(settings: DataclassInstance | BaseModel) -> dict[str, Any]:
    return settings.model_dump(mode="json") if isinstance(settings, BaseModel) else asdict(settings)


def _sha256(settings: DataclassInstance | BaseModel) -> str:
    return hashlib.sha256(json.dumps(_plain(settings), sort_keys=True).encode()).hexdigest()
