"""Runs that belong into one figure: one scenario under one set of timings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import run_result as results
from benchmarks.results.run_result import NetworkShape, RunResult

Floats = NDArray[np.float64]
#: Scenario, timings and content of the scenario.
CaseKey = tuple[str, str, str]


@dataclass(frozen=True)
class Group:
    """All runs of one scenario under one set of timings; ``folder`` is where their traces are."""

    scenario: str
    timings: str
    runs: tuple[RunResult, ...]
    network: NetworkShape | None = None
    folder: Path | None = None

    @property
    def controllers(self) -> list[str]:
        """Names, the smallest mean delay first."""
        names = dict.fromkeys(run.controller.name for run in self.runs)
        return sorted(names, key=lambda name: float(np.nan_to_num(np.mean(self.metric(name, "delay_s")), nan=np.inf)))

    @property
    def minutes(self) -> float:
        """Measured time, min."""
        return minutes_of(self.runs[0])

    @property
    def title(self) -> str:
        """The scenario with the measured minutes, and whether there are incidents."""
        incidents = ", with incidents" if any(map(has_incidents, self.runs)) else ""
        return f"{self.scenario}, {self.minutes:g} min{incidents}"

    def file_stem(self, name: str) -> str:
        """The begin of a figure's file: a case's name and all that another run of the scenario may have changed."""
        scenario = self.runs[0].scenario
        incidents = "_incidents" if any(map(has_incidents, self.runs)) else ""
        demand = "" if scenario.demand_scale == 1 else f"_demand{scenario.demand_scale:g}"
        jitter = f"_jitter{scenario.departure_jitter_s:g}s" if scenario.departure_jitter_s else ""
        return f"{name}{incidents}{demand}{jitter}_{self.minutes:g}min"

    @property
    def seeds(self) -> list[int]:
        """Every seed, in order."""
        return sorted({run.seed for run in self.runs})

    @property
    def has_roads(self) -> bool:
        """Whether a congestion map can be drawn."""
        return self.network is not None and all(run.roads is not None for run in self.runs)

    def of(self, controller: str) -> list[RunResult]:
        """The runs of one controller, by seed."""
        return sorted((run for run in self.runs if run.controller.name == controller), key=lambda run: run.seed)

    def metric(self, controller: str, key: str) -> list[float]:
        """One metric of one controller over its seeds."""
        return [run.metrics[key] for run in self.of(controller)]

    def seed_text(self) -> str:
        """Which seeds are shown, in words."""
        return f"mean of {len(self.seeds)} seeds" if len(self.seeds) > 1 else f"seed {self.seeds[0]}"

    def with_same_incidents(self) -> Group:
        """The runs that can be averaged over time: all where their incidents agree, else those of the first seed."""
        found = {run.seed: [(i["type"], i["start_s"], i["end_s"]) for i in run.scenario.incidents] for run in self.runs}
        first = self.seeds[0]
        if all(incidents == found[first] for incidents in found.values()):
            return self
        return replace(self, runs=tuple(run for run in self.runs if run.seed == first))


def group_runs(runs: Sequence[RunResult], folder: Path) -> dict[str, Group]:
    """Groups by a short name that is unique among them; ``folder`` holds their networks and traces."""
    named: dict[str, list[RunResult]] = {}
    names = case_names(runs)
    for run in runs:
        named.setdefault(names[case_key(run)], []).append(run)
    return {
        name: Group(
            members[0].scenario.name,
            str(members[0].timings["name"]),
            tuple(members),
            _network(folder, members[0].scenario.network_sha256),
            folder,
        )
        for name, members in named.items()
    }


def case_key(run: RunResult) -> CaseKey:
    """What runs must share to be compared: the scenario with its contents, and the timings with their values."""
    return run.scenario.name, json.dumps(run.timings, sort_keys=True), run.scenario.sha256


def minutes_of(run: RunResult) -> float:
    """Measured time of a run, min."""
    scenario = run.scenario
    return (scenario.end_s - scenario.begin_s - scenario.warmup_s) / 60


def has_incidents(run: RunResult) -> bool:
    """Whether incidents happen in the scenario of a run, even if none was drawn in this very run."""
    rates = run.scenario.spec.get("incident_rates") or {}
    return bool(run.scenario.incidents) or bool(run.scenario.spec.get("incidents")) or any(rates.values())


def case_names(runs: Sequence[RunResult]) -> dict[CaseKey, str]:
    """A short unique name for each case, in the order of the runs: ``cologne1``, ``cologne1_resco``."""
    names: dict[CaseKey, str] = {}
    for run in runs:
        key = case_key(run)
        timings = str(run.timings["name"])
        said = timings == "native" or run.scenario.name.endswith(f"@{timings}")
        name = run.scenario.name if said else f"{run.scenario.name}_{timings}"
        if key not in names:
            taken = name in names.values()
            names[key] = f"{name}_{hashlib.sha256(''.join(key).encode()).hexdigest()[:8]}" if taken else name
    return names


def network_file(folder: Path, sha256: str) -> Path:
    """Where a results folder keeps the drawing of a network."""
    return folder / "networks" / f"{sha256[:12]}.json"


def _network(folder: Path, sha256: str) -> NetworkShape | None:
    path = network_file(folder, sha256)
    return results.read_network(path) if path.exists() else None
