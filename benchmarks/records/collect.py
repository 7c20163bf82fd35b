"""Runs of a task to records: each run leaves one file and is not made again when that file is there.

So a command goes on where it was, after Ctrl-C or a kill. No task is known by name here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.records import recording
from benchmarks.records.behaviour import Behaviour, prepared
from benchmarks.records.recording import Progress
from benchmarks.results import provenance
from benchmarks.run import user_code
from benchmarks.run.drawn_run import planned_incidents, planned_scenario
from controllers import registry as controllers
from controllers.base import ControllerError, RunContext
from llm.records.shards import RecordError, file_sha256
from llm.records.splits import FIRST_SEED, check_run
from llm.tasks.base import LiveRun, Run, Settings, Task
from llm.tasks.files import files, write_shard
from llm.tasks.registry import check_record, made
from scenarios import registry as scenarios
from scenarios.spec import Scenario
from sim.engine.session import Session
from sim.timings import TIMINGS
from sim.workers.local import run_alone

#: Importing and making a controller may take this long, s.
MAKE_LIMIT_S = 600.0


@dataclass(frozen=True)
class Plan:
    """What a folder shall hold.

    Attributes:
        task: spec of the task.
        split: of the runs.
        runs: how many; a larger number begins with the same ones.
        settings: what the folder's records have in common.
        names: only these scenarios.
    """

    task: str
    split: str
    runs: int
    settings: Settings
    names: tuple[str, ...] = ()

    def drawn(self) -> list[Run]:
        """The runs.

        Raises:
            RecordError: there is no such split, or a scenario is not of it.
        """
        task = made(self.task)
        if self.split not in task.splits:
            raise RecordError(f"Records of '{task.name}' have the splits {', '.join(task.splits)}, not '{self.split}'.")
        for name in dict.fromkeys(self.names):
            check_run(scenarios.load(name), self.split, FIRST_SEED.get(self.split, 1))
        return [task.plan(self.split, number, self.settings, self.names) for number in range(self.runs)]


@dataclass(frozen=True)
class Job:
    """A run, the task that records it, and the folder of its records."""

    run: Run
    task: str
    folder: Path


def collect(plan: Plan, folder: Path, workers: int, progress: Progress) -> dict[str, Any]:
    """Make the runs that have no file yet, and write the manifest. Returns the manifest.

    Raises:
        RecordError: the folder holds records of another task or other settings, or cannot be written.
        ControllerError: a driver or policy cannot be made.
        TaskError: the task breaks the contract.
        KeyboardInterrupt: passed on; finished runs are on disk.
    """
    task, runs = made(plan.task), plan.drawn()
    shards = files(task)
    sources = _sources(task, plan.settings)
    recording.claim(folder, shards, plan.settings, sources)
    jobs = [Job(run, plan.task, folder) for run in runs]
    failed = recording.record_all(jobs, record_run, shards, workers, progress)
    return shards.write_manifest(folder, recording.about(plan.settings, failed, sources))


def record_run(job: Job) -> int:
    """Make one run and write its records; runs on a worker. Returns how many."""
    specs = (job.run.driver, *job.run.policies.values())
    return run_alone(_recorded, job) if any(map(controllers.is_users, specs)) else _recorded(job)


def _recorded(job: Job) -> int:
    task = made(job.task)
    records = records_of(task, job.run)
    for record in records[:1]:
        check_record(task, record)
    write_shard(task, job.folder / job.run.file_name, job.run.split, records)
    return len(records)


def records_of(task: Task[Any], run: Run) -> list[Any]:
    """Make one run and return its records.

    Raises:
        RecordError: nothing of it may be recorded for its split.
        ScenarioError, SessionError, ControllerError: the run cannot be made or died.
    """
    scenario, timings = scenario_of(run), TIMINGS[run.timings]
    with Session(scenario, run.seed, timings, task.options) as session:
        network, context = session.network, RunContext(scenario, run.seed, timings)
        observation = session.start()
        driver = prepared(Behaviour(run.driver, run.random_share), network, run.seed, context)
        policies = {
            name: prepared(controllers.make(spec), network, run.seed, context) for name, spec in run.policies.items()
        }
        incidents = planned_incidents(scenario, network, run.seed)
        sha256 = file_sha256(scenario.net_file)
        live = LiveRun(run, scenario, sha256, session, observation, driver, policies, incidents)
        return list(task.records(live, task.watch(network, scenario)))


def scenario_of(run: Run) -> Scenario:
    """The scenario with the run's demand, incidents and length.

    Raises:
        RecordError: it may not be recorded for this split.
        ScenarioError: there is none of that name.
    """
    scenario = scenarios.load(run.scenario)
    check_run(scenario, run.split, run.seed)
    return planned_scenario(scenario, run.seed, run.minutes, run.demand_scale, run.jitter_s, run.rates, run.waves)


def _sources(task: Task[Any], settings: Settings) -> dict[str, str | None]:
    """Hashes of the files by which drivers and policies decide, and of what else the task reads.

    Raises:
        ControllerError: there is no such controller, or it cannot be made.
    """
    found: dict[str, str | None] = {
        name: None if path is None else provenance.content_sha256(path) for name, path in task.reads(settings).items()
    }
    for spec in sorted(set(task.controllers(settings))):
        if controllers.is_users(spec):  # here once, and not in each run
            user_code.check(spec, MAKE_LIMIT_S)
        else:
            controllers.make(spec)
        for name, read in {**controllers.files(spec), **user_code.depends_on(spec, MAKE_LIMIT_S)}.items():
            if isinstance(read, Path) and not read.exists():
                raise ControllerError(f"The {name} of {spec} is missing: there is no {read}; name one that is there.")
            found[f"{spec} {name}"] = provenance.content_sha256(read) if isinstance(read, Path) else read
    return found
