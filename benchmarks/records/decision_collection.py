"""Rollouts to labelled records: run training scenarios under many behaviours, try every phase of some decisions.

Each episode is drawn from its number alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.records import recording
from benchmarks.records.branch_costs import HORIZONS_S, Recorder
from benchmarks.records.decision_episodes import Episode, Settings
from benchmarks.records.recording import Progress
from benchmarks.results import provenance
from benchmarks.run import user_code
from controllers import registry as controllers
from controllers.base import ControllerError
from llm.tasks.decide import records as dataset
from llm.tasks.forecast.forecasters import Forecaster
from sim.workers.local import run_alone

#: Importing and making a policy may take this long, s.
MAKE_LIMIT_S = 600.0


@dataclass(frozen=True)
class Job:
    """An episode, the folder of its records, and that of a forecast head whose numbers they note."""

    run: Episode
    folder: Path
    head: Path | None = None


def record_episode(job: Job) -> int:
    """Run one episode and write its records; runs on a worker. Returns how many."""
    specs = (job.run.behaviour, job.run.settings.then)
    return run_alone(_recorded, job) if any(map(controllers.is_users, specs)) else _recorded(job)


def _recorded(job: Job) -> int:
    records = list(Recorder(job.run, _numbers_only(job.head)).records())
    dataset.write_shard(job.folder / job.run.file_name, records)
    return len(records)


def _numbers_only(head: Path | None) -> Forecaster | None:
    if head is None:
        return None
    from llm.tasks.forecast.language_model import NumbersOnly

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
        ControllerError: a policy cannot be made.
        ForecastError: there is no such head.
        RecordError: the folder holds records of other settings, or cannot be written.
        KeyboardInterrupt: passed on; finished episodes are on disk.
    """
    settings = episodes[0].settings if episodes else Settings()
    _numbers_only(head)  # say at once that there is none
    sources = _sources(settings, head)
    recording.claim(folder, dataset.FILES, settings, sources)
    jobs = [Job(episode, folder, head) for episode in episodes]
    failed = recording.record_all(jobs, record_episode, dataset.FILES, workers, progress)
    label = {"horizons_s": list(HORIZONS_S), "then": settings.then}
    return dataset.FILES.write_manifest(folder, {**recording.about(settings, failed, sources), "label": label})


def _sources(settings: Settings, head: Path | None) -> dict[str, str | None]:
    """Hashes of the files by which policies decide, and of the forecast head (None without one).

    Raises:
        ControllerError: there is no such policy, or it cannot be made.
    """
    found: dict[str, str | None] = {"forecast head": None if head is None else provenance.content_sha256(head)}
    for spec in sorted({*settings.drive, settings.then}):
        if controllers.is_users(spec):  # here once, and not in each episode
            user_code.check(spec, MAKE_LIMIT_S)
        else:
            controllers.make(spec)
        for name, read in {**controllers.files(spec), **user_code.depends_on(spec, MAKE_LIMIT_S)}.items():
            if isinstance(read, Path) and not read.exists():
                raise ControllerError(f"The {name} of {spec} is missing: there is no {read}; name one that is there.")
            found[f"{spec} {name}"] = provenance.content_sha256(read) if isinstance(read, Path) else read
    return found
