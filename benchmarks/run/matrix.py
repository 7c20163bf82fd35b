"""Scenarios x controllers x seeds on supervised workers: resumes, and one failed cell stops no other.

Each cell leaves one file: ``*.result.json`` when it worked, ``*.failed.json`` with the sentence when it did not. A cell
with a valid result is not run again; a failed one is.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from benchmarks.results import run_result as results
from benchmarks.results.cases import network_file
from benchmarks.results.run_result import FAILED_SUFFIX, RESULT_SUFFIX, ResultError
from benchmarks.run import cell as cells
from benchmarks.run import user_code
from benchmarks.run.cell import Cell
from benchmarks.run.cost import Costs
from benchmarks.run.cost import words as expected_cost
from benchmarks.run.drawn_run import check_scenario
from benchmarks.trace.trace_file import TRACE_SUFFIX
from controllers import registry
from controllers.time_limit import guarded
from scenarios.spec import Scenario
from sim.network import Network, NetworkError
from sim.workers.base import Finished
from sim.workers.local import Workers, run_alone

#: Name ending of a decision log in a results folder.
LOG_SUFFIX = ".decisions.jsonl"
#: Half-written files that are older belong to nobody any more, s.
DRAFT_AGE_S = 3600.0


@dataclass(frozen=True)
class Job:
    """A cell and the place of its result."""

    cell: Cell
    path: Path

    @property
    def failed_path(self) -> Path:
        """Where the sentence stands if it fails."""
        return self.path.with_name(self.path.name.removesuffix(RESULT_SUFFIX) + FAILED_SUFFIX)

    @property
    def trace_path(self) -> Path | None:
        """Where the trace goes, if the cell asks for one."""
        name = self.path.name.removesuffix(RESULT_SUFFIX) + TRACE_SUFFIX
        return self.path.with_name(name) if self.cell.trace else None

    @property
    def log_path(self) -> Path | None:
        """Where the decisions go, if the cell asks for them."""
        name = self.path.name.removesuffix(RESULT_SUFFIX) + LOG_SUFFIX
        return self.path.with_name(name) if self.cell.decision_log else None


@dataclass
class Sweep:
    """What became of a matrix."""

    folder: Path
    paths: list[Path] = field(default_factory=list)  # the results of this matrix that exist, resumed ones included
    resumed: int = 0
    failed: list[tuple[Cell, str]] = field(default_factory=list)


class Progress(Protocol):
    """Is told how a sweep goes."""

    def begin(self, total: int, resumed: int, cost: str) -> None:
        """Before the first cell; ``cost`` says what the open ones will take, "" where there are none."""

    def finished(self, cell: Cell, problem: str | None, left_s: float) -> None:
        """After each cell; ``left_s`` is the estimated time to the end."""


def make_cells(
    scenarios: Sequence[Scenario], controllers: Sequence[str], seeds: Sequence[int], like: Cell
) -> list[Cell]:
    """Every combination, seed by seed, so that an interrupted sweep can be compared; other settings as in ``like``."""
    return [
        replace(like, scenario=scenario, controller=controller, seed=seed)
        for seed in seeds
        for scenario in scenarios
        for controller in controllers
    ]


def check(
    scenarios: Sequence[Scenario], controllers: Sequence[str], seed: int, folder: Path, limit_s: float = 60.0
) -> tuple[str, ...]:
    """Find before anything runs what would fail every cell; making one controller may take ``limit_s``.

    Returns:
        What is worth knowing before the results are read, one sentence each.

    Raises:
        NetworkError, ScenarioError, ControllerError, ResultError: one sentence about what cannot be used.
    """
    if folder.exists() and not folder.is_dir():
        raise ResultError(f"{folder} is a file, not a folder; give --out a folder for the results.")
    for controller in controllers:
        entry = registry.entries().get(controller.partition(":")[0])
        if registry.is_users(controller):
            user_code.check(controller, limit_s)
        elif entry is None or not entry.needs_model:  # a model is loaded where it is used
            guarded(controller, limit_s, registry.make, controller)
    notes = []
    for scenario in scenarios:
        checked = check_scenario(scenario, seed)
        notes += [f"{scenario.name}: {note}" for note in checked.notes]
        if not checked.network.controllable:
            problems = " ".join(signal.problem for signal in checked.network.signals if signal.problem)
            raise NetworkError(f"{scenario.name} has no signal that can be controlled: {problems}")
    probe = folder / f".probe-{os.getpid()}"
    results.write_text(probe, "")
    probe.unlink()
    return tuple(dict.fromkeys(notes))


def run(
    job_cells: Sequence[Cell], folder: Path, workers: int, progress: Progress, timeout_s: float | None = None
) -> Sweep:
    """Run the cells that have no valid result yet.

    Args:
        job_cells: what to run; see ``make_cells``.
        folder: where results go; made if missing.
        workers: processes.
        progress: is told of each cell.
        timeout_s: longest time for one cell, None for no limit.

    Raises:
        ResultError: the folder cannot be written.
        KeyboardInterrupt: passed on after the workers have been stopped; finished cells are on disk.
    """
    hashes = {id(cell.scenario): cell.scenario.sha256() for cell in job_cells}
    jobs = [Job(cell, folder / f"{cells.stem(cell, hashes[id(cell.scenario)])}{RESULT_SUFFIX}") for cell in job_cells]
    _draw_networks({id(cell.scenario): cell.scenario for cell in job_cells}.values(), folder)
    _clear_drafts(folder)
    todo = [job for job in jobs if not _is_done(job)]
    sweep = Sweep(folder, resumed=len(jobs) - len(todo))
    costs = Costs.read()
    progress.begin(len(jobs), sweep.resumed, expected_cost([job.cell for job in todo], workers, costs))
    if todo:
        try:
            _run_jobs(todo, min(workers, len(todo)), sweep, _Timed(progress, costs), timeout_s)
        finally:
            costs.write()
    sweep.paths = [job.path for job in jobs if job.path.exists()]
    return sweep


@dataclass(frozen=True)
class _Timed:
    """Tells a progress of each cell, and remembers what it took."""

    progress: Progress
    costs: Costs

    def finished(self, done: Finished[Job, float], left_s: float) -> None:
        """After each cell."""
        cell = done.task.cell
        if done.value is not None:
            self.costs.add(cell, done.value)
        self.progress.finished(cell, done.problem, left_s)


def _run_jobs(todo: list[Job], workers: int, sweep: Sweep, timed: _Timed, timeout_s: float | None) -> None:
    clock = _Clock(todo, workers)
    with (
        tempfile.TemporaryDirectory(prefix="greenloop-", ignore_cleanup_errors=True) as work,
        Workers(work_off, workers, timeout_s) as pool,
    ):
        placed = [_placed(job, Path(work) / str(number)) for number, job in enumerate(todo)]
        for done in pool.run(placed):
            problem = done.problem
            if problem is not None:
                sweep.failed.append((done.task.cell, problem))
                _note_failure(done)
            timed.finished(done, clock.left_s(done.task.cell, done.value))


def work_off(job: Job) -> float:
    """Run one cell and write its result; runs on a worker. Returns the seconds it took.

    A user's controller runs in a process of its own, since what it does there others would feel; all others share one,
    where a model stays loaded.
    """
    begin_s = time.perf_counter()
    try:
        if registry.is_users(job.cell.controller):
            run_alone(_run, job)
        else:
            _run(job)
    finally:
        if job.cell.work_dir is not None:
            shutil.rmtree(job.cell.work_dir, ignore_errors=True)
    job.failed_path.unlink(missing_ok=True)
    return time.perf_counter() - begin_s


def _run(job: Job) -> None:
    results.write(cells.run_cell(job.cell, job.trace_path, job.log_path), job.path)


class _Clock:
    """Estimates the time left from what cells of the same controller took."""

    def __init__(self, todo: Sequence[Job], workers: int) -> None:
        self.open = Counter(job.cell.controller for job in todo)
        self.workers = workers
        self.taken_s: dict[str, list[float]] = {}

    def left_s(self, cell: Cell, took_s: float | None) -> float:
        """Estimate in s, after this cell."""
        self.open[cell.controller] -= 1
        if took_s is not None:
            self.taken_s.setdefault(cell.controller, []).append(took_s)
        every = [seconds for known in self.taken_s.values() for seconds in known] or [0.0]
        mean = {name: sum(known) / len(known) for name, known in self.taken_s.items()}
        usual = sum(every) / len(every)
        return sum(count * mean.get(name, usual) for name, count in self.open.items()) / self.workers


def _is_done(job: Job) -> bool:
    try:
        results.read(job.path)
    except ResultError:
        return False
    if not all(path is None or path.exists() for path in (job.trace_path, job.log_path)):
        return False
    with contextlib.suppress(OSError):  # a run that was killed between the two
        job.failed_path.unlink(missing_ok=True)
    return True


def _placed(job: Job, work_dir: Path) -> Job:
    """With a work folder of its own, and paths that stay right when a controller changes the working folder."""
    return replace(job, cell=replace(job.cell, work_dir=work_dir), path=job.path.absolute())


def _clear_drafts(folder: Path) -> None:
    """Remove what sweeps that were killed while they wrote left behind; fresh drafts may be another sweep's."""
    old_s = time.time() - DRAFT_AGE_S
    for pattern in (f"**/.*{results.DRAFT_SUFFIX}", ".probe-*"):
        for path in folder.glob(pattern):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < old_s:
                    path.unlink()


def _note_failure(done: Finished[Job, float]) -> None:
    cell = done.task.cell
    note = {
        "scenario": cell.scenario.name,
        "controller": cell.controller,
        "seed": cell.seed,
        "timings": cell.timings.name,
        "problem": done.problem,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    results.write_text(done.task.failed_path, json.dumps(note, indent=1))


def _draw_networks(scenarios: Iterable[Scenario], folder: Path) -> None:
    for scenario in scenarios:
        path = network_file(folder, cells.network_sha256(scenario))
        try:
            results.read_network(path)
        except ResultError:  # missing or damaged
            results.write(cells.network_shape(Network.of(scenario)), path)
