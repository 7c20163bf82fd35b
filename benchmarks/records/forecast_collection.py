"""Runs under greedy to records of forecasts: every minute what was known, and the flows and queues that came.

Each run follows from its split and number alone. Nothing is branched, so it costs little more than its traffic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.records import recording
from benchmarks.records.behaviour import prepared
from benchmarks.records.forecast_runs import ForecastRun, Settings, scenario_of
from benchmarks.records.recording import Progress
from benchmarks.run.drawn_run import planned_incidents
from controllers.base import RunContext
from controllers.classical.greedy import Greedy
from llm.records.shards import file_sha256
from llm.tasks.decide.prompt import near_roads
from llm.tasks.forecast import records as forecast_data
from llm.tasks.forecast.records import ForecastRecord
from llm.tasks.forecast.state import HORIZONS_MIN, ForecastState, ForecastWatch
from scenarios.spec import Scenario
from sim.engine.session import Session
from sim.network import Network
from sim.observation import Observation
from sim.timings import TIMINGS

Floats = NDArray[np.float64]

#: An incident still counts for so long after its end, s: the queues that it left.
AFTERMATH_S = 900.0


@dataclass(frozen=True)
class Job:
    """A run and the folder of its records."""

    run: ForecastRun
    folder: Path


# --- one run


def records_of(run: ForecastRun) -> list[ForecastRecord]:
    """Drive one run under greedy and return a record for each signal and full minute."""
    scenario, timings = scenario_of(run), TIMINGS[run.timings]
    sha256 = file_sha256(scenario.net_file)
    said: list[tuple[ForecastState, tuple[str, ...]]] = []
    with Session(scenario, run.seed, timings) as session:
        watch, truth = ForecastWatch(session.network, scenario.begin_s), _Truth(session.network, scenario.begin_s)
        near = _NearIncidents(scenario, session.network, run.seed)
        greedy = prepared(Greedy(), session.network, run.seed, RunContext(scenario, run.seed, timings))
        observation = session.start()
        while True:
            if watch.see(observation):
                truth.see(observation)
                said += [(state, near.types(state)) for state in watch.states(observation)]
            if session.done:
                break
            observation = session.step(greedy.act(observation))
    about = (run.scenario, sha256, run.seed, run.timings, run.demand_scale)
    came = [truth.came(state) for state, _ in said]
    return [
        ForecastRecord(*about, state, arrived, types)
        for (state, types), arrived in zip(said, came, strict=True)
        if not np.isnan(arrived).all()
    ]


class _Truth:
    """What the loops counted in every full minute and the queues at its end, per lane."""

    def __init__(self, network: Network, begin_s: float) -> None:
        self.network, self.begin_s = network, begin_s
        self._flow: dict[int, Floats] = {}
        self._queue: dict[int, Floats] = {}
        self._unknown = np.full(len(network.lanes), np.nan)

    def see(self, observation: Observation) -> None:
        minute = self._minute(observation.time_s)
        self._flow[minute], self._queue[minute] = observation.flow_veh_h[:, 0], observation.queue_veh

    def came(self, state: ForecastState) -> Floats:
        """(approaches, horizons, targets) after a state, NaN where it is not known."""
        now = self._minute(state.time_s)
        per_lane = np.stack([self._after(now, horizon) for horizon in HORIZONS_MIN], axis=1)  # (L, horizons, targets)
        lanes = self.network.signal(state.signal).lanes
        own = [[lane for lane in lanes if self.network.lane_edge[lane] == edge] for edge in state.approaches]
        return np.stack([per_lane[rows].sum(axis=0) for rows in own])

    def _after(self, now: int, minutes: int) -> Floats:
        flows = [self._flow.get(now + k, self._unknown) for k in range(1, minutes + 1)]
        return np.stack([np.mean(flows, axis=0), self._queue.get(now + minutes, self._unknown)], axis=1)

    def _minute(self, time_s: float) -> int:
        return int((time_s - self.begin_s) // 60)


class _NearIncidents:
    """The incidents that a run really has, by signal."""

    def __init__(self, scenario: Scenario, network: Network, seed: int) -> None:
        self.network = network
        self.planned = planned_incidents(scenario, network, seed)

    def types(self, state: ForecastState) -> tuple[str, ...]:
        """Types within two junctions of the state's signal, from their start to a while after their end."""
        near = near_roads(self.network, self.network.signal(state.signal))
        now_s = state.time_s
        found = {i.type for i in self.planned if i.start_s <= now_s < i.end_s + AFTERMATH_S and i.edge in near}
        return tuple(sorted(found))


# --- many runs


def record_run(job: Job) -> int:
    """Run once and write the records; runs on a worker. Returns how many.

    Raises:
        RecordError: the run may not be recorded for its split, or a held-out wording is in it.
    """
    records = records_of(job.run)
    forecast_data.write_shard(job.folder / job.run.file_name, job.run.split, records)
    return len(records)


def collect(runs: Sequence[ForecastRun], folder: Path, workers: int, progress: Progress) -> dict[str, Any]:
    """Make the runs that have no file yet, and write the manifest. Returns the manifest.

    Raises:
        RecordError: the folder holds records of other settings, or cannot be written.
        KeyboardInterrupt: passed on; finished runs are on disk.
    """
    settings = runs[0].settings if runs else Settings()
    recording.claim(folder, forecast_data.FILES, settings)
    jobs = [Job(run, folder) for run in runs]
    failed = recording.record_all(jobs, record_run, forecast_data.FILES, workers, progress)
    about = {**recording.about(settings, failed), "controller": "greedy"}
    return forecast_data.FILES.write_manifest(folder, about)
