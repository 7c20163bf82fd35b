"""What a sweep will cost, told before it starts: from the times that earlier runs took on this machine.

Every finished run leaves its vehicles and wall time in one file of the user's cache. A run is expected to take as long
for each vehicle as the same controller took on the same network, else on other networks. Without any of its runs a
classical controller gets a guess, which is called one, and any other none.
"""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.compare.classical import is_classical
from benchmarks.results import run_result as results
from benchmarks.run import cell as cells
from benchmarks.run.cell import Cell
from benchmarks.run.progress import duration
from scenarios.common.sumo_tools import cache_root
from scenarios.demand.scheduled_trips import schedule

#: A run takes about this long beside its vehicles: the session's process, SUMO and the network, s.
START_S = 0.7
#: Seconds a vehicle under a classical controller, where none was timed here.
GUESS_S = 0.001
#: Workers start in about this time, s.
WORKERS_S = 1.5
#: So many runs of a controller on a network are remembered.
KEPT = 20

Key = tuple[str, str]


@dataclass
class Costs:
    """Vehicles and wall times (s) of earlier runs, by network and controller."""

    file: Path = field(default_factory=lambda: cache_root() / "run_times.json")
    runs: dict[Key, list[tuple[float, float]]] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path | None = None) -> Costs:
        """What this machine remembers; nothing where the file is missing or damaged."""
        costs = cls() if file is None else cls(file)
        with contextlib.suppress(OSError, ValueError, TypeError):
            for network, controller, timed in json.loads(costs.file.read_text(encoding="utf-8")):
                costs.runs[network, controller] = [(float(vehicles), float(took_s)) for vehicles, took_s in timed]
        return costs

    def add(self, cell: Cell, took_s: float) -> None:
        """Remember a run."""
        timed = self.runs.setdefault(_key(cell), [])
        timed.append((_vehicles(cell), took_s))
        del timed[:-KEPT]

    def write(self) -> None:
        """Keep what was added; a cache that cannot be written is no reason to fail."""
        rows = [[*key, timed] for key, timed in self.runs.items()]
        with contextlib.suppress(results.ResultError):
            results.write_text(self.file, json.dumps(rows))

    def of(self, cell: Cell) -> tuple[float | None, bool]:
        """Seconds that a run should take, None where nobody can tell, and whether they rest on measured runs."""
        network, controller = _key(cell)
        timed = self.runs.get((network, controller)) or [
            one for (_, other), known in self.runs.items() if other == controller for one in known
        ]
        if timed:
            each_s = statistics.median((took_s - START_S) / max(vehicles, 1.0) for vehicles, took_s in timed)
            return START_S + max(each_s, 0.0) * _vehicles(cell), True
        return (START_S + GUESS_S * _vehicles(cell) if is_classical(controller) else None), False


def words(todo: Sequence[Cell], workers: int, costs: Costs) -> str:
    """``about 4 min on 2 workers``, with how sure that is; empty where there is nothing to do."""
    if not todo:
        return ""
    workers = min(workers, len(todo))
    on = f"on {workers} worker{'' if workers == 1 else 's'}"
    expected: Mapping[Key, tuple[float | None, bool]] = {}
    total_s, measured, unknown = 0.0, True, set()
    for cell in todo:
        key = _key(cell)
        if key not in expected:
            expected = {**expected, key: costs.of(cell)}
        seconds, is_measured = expected[key]
        measured &= is_measured
        total_s += seconds or 0.0
        unknown |= {cell.controller} if seconds is None else set()
    if unknown:
        return f"{on}; {', '.join(sorted(unknown))} was never timed here, so the time is known after the first runs"
    about = f"about {duration(WORKERS_S + total_s / workers)} {on}"
    return about if measured else f"{about} (a guess: not all of these controllers were timed here)"


def _key(cell: Cell) -> Key:
    return cells.network_sha256(cell.scenario)[:16], cell.controller


def _vehicles(cell: Cell) -> float:
    return float(len(schedule(cell.scenario, cell.seed).ids))
