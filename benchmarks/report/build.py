"""One self-contained HTML page from any set of results: the answer first, then everything that it rests on.

results -> what may be compared (``compare``) -> recovery from incidents (``report_incidents``) -> tables, figures,
provenance and data (``report_page``) -> one file that fetches nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.compare.comparison import Case, Comparison
from benchmarks.report.data import Sources
from benchmarks.report.page import Chapter
from benchmarks.results import run_result as results
from benchmarks.results.cases import Group
from benchmarks.results.run_result import ResultError, RunResult


@dataclass(frozen=True)
class Report:
    """A page that was written: where, what it answers, and what was left out or is to be known."""

    path: Path
    answer: tuple[str, ...]
    problems: tuple[str, ...]


def write(places: Sequence[Path | str], out: Path | str = "report.html", baseline: str | None = None) -> Report:
    """Write the report of all results in some folders or files.

    Args:
        places: folders of ``greenloop run --out``, or single result files.
        out: the page.
        baseline: compare with this controller, or "best" for the best classical one of each case; fixed time when
            missing.

    Raises:
        ResultError: a place does not exist, nothing in them can be read, or the page cannot be written.
        CompareError: the baseline has no results.
    """
    from benchmarks.compare.pipeline import compare
    from benchmarks.report import data as report_data
    from benchmarks.report import page as report_page

    out = Path(out)
    sources = report_data.gather([Path(place) for place in places])
    _check_writable(out)
    compared = compare(sources.runs, baseline)
    page = report_page.build(sources, compared, chapters(sources, compared))
    results.write_text(out, report_page.render(page))
    return Report(out, compared.sentences, (*compared.problems, *sources.problems))


def chapters(sources: Sources, compared: Comparison) -> list[Chapter]:
    """The runs of each case: those that the comparison rests on, and all that were found."""
    from benchmarks.compare.comparable import alike
    from benchmarks.report.incidents import recoveries
    from benchmarks.results.cases import case_key, case_names

    names = case_names(sources.runs)
    every: dict[str, list[RunResult]] = {}
    for run in sources.runs:
        every.setdefault(names[case_key(run)], []).append(run)
    kept = {id(run) for run in alike(sources.runs, [])}
    made = []
    for case in compared.cases:
        whole = sources.with_network(Group(case.scenario, case.timings, tuple(every[case.name])))
        used = _used(case, whole, kept)
        made.append(Chapter(case, used, whole, tuple(recoveries(used.runs, sources.runs))))
    return made


def _used(case: Case, whole: Group, kept: set[int]) -> Group:
    """The runs that the statistics of a case rest on."""
    runs = [
        run
        for run in whole.runs
        if id(run) in kept and run.seed in case.seeds and run.controller.name in case.controllers
    ]
    return replace(whole, runs=tuple(runs))


def _check_writable(out: Path) -> None:
    """Find out before the figures are drawn."""
    if out.is_dir():
        raise ResultError(f"{out} is a folder; give --out a file, such as {out / 'report.html'}.")
    probe = out.with_name(f".probe-{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise ResultError(f"The report cannot be written to {out} ({error.strerror}); choose another --out.") from error
