"""All figures by name, and the one way from a folder of results to drawn files.

Loaded only to draw: it imports matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from benchmarks.compare.reading import CompareError
from benchmarks.figures.delay import delay
from benchmarks.figures.distribution import profile, waits
from benchmarks.figures.forecast_fan import forecast
from benchmarks.figures.maps import congestion as maps
from benchmarks.figures.maps.credit import credit
from benchmarks.figures.over_time import over_time
from benchmarks.figures.selection import Choice, FigureError, hint
from benchmarks.figures.style import FORMATS, QUIET, save, style
from benchmarks.figures.traces.phase_timeline import phases
from benchmarks.figures.traces.time_space import time_space
from benchmarks.results import run_result as files
from benchmarks.results.cases import Group, group_runs
from benchmarks.results.run_result import ResultError, RunResult
from benchmarks.trace.trace_file import TraceError

__all__ = ["AFTER_RUN", "FIGURES", "REGISTRY", "Choice", "Entry", "FigureError", "draw", "draw_runs", "draw_table"]

#: ``results`` is any run, ``trace`` one run with --trace, ``scenarios`` all results together, ``table`` a file.
Needs = Literal["results", "trace", "scenarios", "table"]


@dataclass(frozen=True)
class Entry:
    """A figure: how it is drawn, what it needs, and the line that ``greenloop plot --list`` shows.

    ``draw`` takes a group of runs (one scenario; all runs for ``scenarios``; nothing for ``table``) and a ``Choice``.
    """

    draw: Callable[[Group, Choice], Figure]
    needs: Needs
    text: str


REGISTRY: dict[str, Entry] = {
    "delay": Entry(delay, "results", "delay per controller with 95 % intervals and every seed"),
    "profile": Entry(profile, "scenarios", "performance profile: share of runs within so many times the baseline"),
    "waits": Entry(waits, "results", "how many vehicles stood, and were delayed, for longer than so many seconds"),
    "over_time": Entry(over_time, "results", "queue, speed and arrivals over time, incidents shaded"),
    "congestion": Entry(maps.congestion, "results", "road network coloured by congestion at its worst, side by side"),
    "congestion_over_time": Entry(
        maps.congestion_over_time, "results", "road network coloured by congestion over time"
    ),
    "time_space": Entry(time_space, "trace", "trajectories along an arterial with red lights and green bands (--road)"),
    "phases": Entry(phases, "trace", "what one signal showed to each approach, second by second (--signal)"),
    "forecast": Entry(forecast, "table", "forecast quantiles against what came, from a table (--table)"),
}
#: Figures of one scenario by name: how one is drawn from a group of runs, and its line.
FIGURES: dict[str, tuple[Callable[..., Figure], str]] = {
    name: (entry.draw, entry.text) for name, entry in REGISTRY.items() if entry.needs in ("results", "trace")
}
#: What ``greenloop run`` draws at its end; the others wait for ``greenloop plot``.
AFTER_RUN = ("delay", "over_time", "congestion")
NO_CHOICE = Choice()
#: Is called with a sentence about what was left out.
Tell = Callable[[str], object]
#: Why a figure cannot be drawn from some results.
REFUSALS = (FigureError, TraceError, CompareError)


def draw(
    folder: Path,
    out: Path,
    only: Sequence[str] = (),
    tell: Tell | None = None,
    choice: Choice = NO_CHOICE,
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    """Draw figures of every scenario below ``folder`` and return the files written.

    Without ``only`` these are all that the results allow. Results that cannot be read, or of which there is a newer
    one, are left out; ``tell`` is called with a sentence.

    Raises:
        ResultError: there are no results, a figure is unknown or asked for and cannot be drawn, no figure can be drawn,
            or the figures cannot be written.
        TraceError, CompareError: a trace cannot be read; the runs cannot be compared.
    """
    _check(only, formats)
    found, problems = files.read_folder(folder)
    runs, note = files.newest(found)
    if tell is not None:
        for sentence in (*(f"Left out: {problem}" for problem in problems), *([note] if note else ())):
            tell(sentence)
    if not runs:
        raise ResultError(f"{folder} holds no results to draw; give the folder of 'greenloop run --out'.")
    return draw_runs(runs, folder, out, only or tuple(REGISTRY), choice, formats, bool(only), tell)


def draw_runs(
    runs: Sequence[RunResult],
    folder: Path,
    out: Path,
    only: Sequence[str] = AFTER_RUN,
    choice: Choice = NO_CHOICE,
    formats: Sequence[str] = FORMATS,
    strict: bool = False,
    tell: Tell | None = None,
) -> list[Path]:
    """Draw figures of some runs; ``folder`` holds their networks and traces.

    A figure that these results do not allow is left out, which ``tell`` is told; with ``strict`` it is an error if it
    can be drawn for no scenario. It is one as well if nothing at all can be drawn.

    Raises:
        As ``draw``.
    """
    _check(only, formats)
    groups = group_runs(runs, folder)
    everything = {"all": Group("all scenarios", "", tuple(runs), folder=folder)}
    written: list[Path] = []
    why_not: list[Exception] = []
    with style():
        for name in only:
            entry = REGISTRY[name]
            if entry.needs == "table":
                written += draw_table(out, choice, formats) if strict or choice.table else []
            else:
                subjects = everything if entry.needs == "scenarios" else groups
                drawn, refused = _draw_each(name, subjects, out, choice, formats)
                if strict and refused and not drawn:
                    raise refused[0]
                written += drawn
                why_not += refused
                if tell is not None:
                    for sentence in dict.fromkeys(map(str, refused)):
                        tell(f"Left out: {name}: {sentence}")
    if why_not and not written:
        raise why_not[0]
    return written


def draw_table(out: Path, choice: Choice, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Draw the forecast figure from ``choice.table``; the file is named after it.

    Raises:
        ResultError: there is no table, it does not fit, or the figure cannot be written.
    """
    _check((), formats)
    with style():
        figure = forecast(None, choice)
        assert choice.table is not None
        return _save(figure, out, f"{choice.table.stem}_forecast", formats)


def _draw_each(
    name: str, subjects: dict[str, Group], out: Path, choice: Choice, formats: Sequence[str]
) -> tuple[list[Path], list[Exception]]:
    """One figure of each scenario that allows it, and why the others do not."""
    written: list[Path] = []
    refused: list[Exception] = []
    for stem, group in subjects.items():
        try:
            figure = REGISTRY[name].draw(group, choice)
        except REFUSALS as error:
            refused.append(error)
            continue
        _give_credit(figure, group)
        named = stem if REGISTRY[name].needs == "scenarios" else group.file_stem(stem)
        written += _save(figure, out, f"{named}_{name}", formats)
    return written, refused


def _give_credit(figure: Figure, group: Group) -> None:
    """Name whose map these streets are, beside a figure of a scenario whose licence asks for it."""
    asked = dict.fromkeys(credit(str(run.scenario.spec.get("licence", ""))) for run in group.runs)
    if text := "; ".join(filter(None, asked)):
        figure.draw_without_rendering()  # which lays it out
        width, height = figure.bbox.size
        drawn = figure.get_tightbbox()
        # Upright beside the drawing: below it, a legend would move into it when the figure is cropped.
        x, y = (drawn.x1 * figure.dpi + 4) / width, drawn.y1 * figure.dpi / height
        figure.text(x, y, text, rotation=270, ha="left", va="top", fontsize=6.5, color=QUIET)


def _check(only: Sequence[str], formats: Sequence[str]) -> None:
    for name in only:
        if name not in REGISTRY:
            raise FigureError(f"There is no figure '{name}'; {hint(name, REGISTRY)}")
    for name in formats:
        if name not in FORMATS:
            raise FigureError(f"Figures cannot be written as '{name}'; choose {', '.join(FORMATS)}.")


def _save(figure: Figure, out: Path, name: str, formats: Sequence[str]) -> list[Path]:
    try:
        return save(figure, out, name, formats)
    except OSError as error:
        raise ResultError(f"Figures cannot be written to {out} ({error.strerror}); choose another folder.") from error
