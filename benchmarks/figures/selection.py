"""What a reader asks a figure to show, and how a figure finds it in the results or says that it is not there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.figures.style import clock
from benchmarks.results.cases import Group
from benchmarks.results.run_result import ResultError, RunResult
from benchmarks.trace import trace_file as traces
from benchmarks.trace.trace_file import Trace
from scenarios.common.names import close_names


class FigureError(ResultError):
    """A figure that cannot be drawn; the message is one sentence."""


@dataclass(frozen=True)
class Choice:
    """What to show; each figure heeds what concerns it and chooses by itself where nothing is said.

    Attributes:
        controllers: only these; all when empty.
        signal: id of a signal.
        road: id of a road on the arterial.
        seed: the run whose trace is shown; the first with a trace when None.
        begin_s, minutes: the part of the time that is shown, SUMO's clock.
        baseline: what a performance profile is relative to.
        table: file of forecasts; see ``benchmarks.figures.forecast_fan``.
    """

    controllers: tuple[str, ...] = ()
    signal: str | None = None
    road: str | None = None
    seed: int | None = None
    begin_s: float | None = None
    minutes: float | None = None
    baseline: str | None = None
    table: Path | None = None

    def of(self, group: Group) -> Group:
        """The runs of the controllers asked for.

        Raises:
            FigureError: one of them has no results.
        """
        known = group.controllers
        for name in self.controllers:
            if name not in known:
                raise FigureError(f"Controller '{name}' has no results for {group.scenario}; {hint(name, known)}")
        kept = tuple(run for run in group.runs if not self.controllers or run.controller.name in self.controllers)
        return replace(group, runs=kept)


def hint(name: str, known: Collection[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or the first few of all."""
    near = close_names(name, known, least_likeness=0.5)
    if near:
        return f"did you mean '{near[0]}'?"
    shown = sorted(known)
    return f"choose one of {', '.join(shown[:12])}{' and others' if len(shown) > 12 else ''}."


def traced(group: Group, choice: Choice, most: int) -> dict[str, Trace]:
    """Traces of one seed by controller, the smallest delay first: the best ones and fixed time, at most ``most``.

    Raises:
        FigureError: there is no trace.
        TraceError: a trace cannot be read.
    """
    group = choice.of(group)
    runs = [run for run in group.runs if run.trace is not None and choice.seed in (None, run.seed)]
    if not runs:
        which = "" if choice.seed is None else f" with seed {choice.seed}"
        raise FigureError(f"There is no trace in these results of {group.scenario}{which}; run it again with --trace.")
    seed = min(run.seed for run in runs)
    of_seed = {run.controller.name: run for run in runs if run.seed == seed}
    names = [name for name in group.controllers if name in of_seed]
    last = ["fixed_time"] if "fixed_time" in names and not choice.controllers else []
    kept = [name for name in names if name not in last][: most - len(last)] + last
    return {name: _load(group, of_seed[name]) for name in names if name in kept}


def _load(group: Group, run: RunResult) -> Trace:
    assert run.trace is not None
    folder = group.folder or Path()
    path = folder / run.trace
    if not path.exists():
        path = next(iter(sorted(folder.rglob(run.trace))), path)
    if not path.exists():
        raise FigureError(
            f"The trace {run.trace} is not beside its result in {folder}; put it back or run it again with --trace."
        )
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=6)
def _read(path: Path, _stamp: int) -> Trace:
    return traces.load(path)


def window(shown: Sequence[Trace], choice: Choice, minutes: float) -> tuple[float, float]:
    """Begin and end of the time to show: as asked, else the busiest ``minutes`` of the measured time.

    Raises:
        FigureError: the time asked for lies outside the run.
    """
    about = shown[0].about
    first_s, end_s = about.begin_s + about.warmup_s, about.end_s
    length_s = min(60 * (choice.minutes or minutes), end_s - first_s)
    if not length_s > 0:
        raise FigureError(f"{choice.minutes:g} minutes make no sense; give more than 0.")
    begin_s = choice.begin_s
    if begin_s is None:
        return _busiest(shown, first_s, end_s, length_s)
    if not about.begin_s <= begin_s < end_s:
        raise FigureError(
            f"{about.scenario} runs from {clock(about.begin_s)} to {clock(end_s)}; {clock(begin_s)} lies outside."
        )
    return begin_s, min(begin_s + length_s, end_s)


def _busiest(shown: Sequence[Trace], first_s: float, end_s: float, length_s: float) -> tuple[float, float]:
    seconds = np.concatenate([trace.vehicles.time_s for trace in shown])
    begins = np.arange(first_s, end_s - length_s + 1, 60.0)
    counts = [np.count_nonzero((seconds >= begin_s) & (seconds < begin_s + length_s)) for begin_s in begins]
    begin_s = float(begins[int(np.argmax(counts))])
    return begin_s, begin_s + length_s
