"""What ``greenloop run`` does around a sweep: progress, the ranked table, the figures, and what to do after Ctrl-C."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from benchmarks.results import run_result as results
from benchmarks.run import matrix
from benchmarks.run.benchmark import Plan, Request, fetch_model, plan
from benchmarks.run.matrix import Sweep
from benchmarks.run.progress import SweepProgress, escaped

if TYPE_CHECKING:
    from benchmarks.compare.comparison import Comparison


@dataclass(frozen=True)
class Display:
    """What is shown after a run: figures, JSON instead of tables, all columns, and how the figures are made."""

    figures: bool = True
    as_json: bool = False
    wide: bool = False
    explain: bool = False


def execute(request: Request, display: Display) -> int:
    """Run a request, print the ranking to stdout and the rest to stderr; return the exit code."""
    planned = plan(request)
    fetch_model(planned)
    with SweepProgress() as progress:
        if planned.description:
            progress.console.print(escaped(planned.description))
        for note in planned.notes:
            progress.console.print(escaped(f"Note: {note}"))
        try:
            sweep = matrix.run(planned.cells, planned.out, planned.workers, progress, planned.cell_limit_s)
        except KeyboardInterrupt:
            kept = len(list(planned.out.glob(f"*{results.RESULT_SUFFIX}")))
            progress.console.print(f"{kept} finished runs are in {planned.out}.")
            return 130
    runs = [results.read(path) for path in sweep.paths]
    drawn = _figures(planned, runs, progress) if display.figures and runs else []
    _report(planned, sweep, runs, drawn, progress, display)
    return 1 if sweep.failed else 0


def _figures(planned: Plan, runs: list[results.RunResult], progress: SweepProgress) -> list[Path]:
    from benchmarks.figures import registry as plots

    with progress.console.status("Drawing the figures"):
        return plots.draw_runs(runs, planned.out, planned.out / "figures")


def _report(
    planned: Plan,
    sweep: Sweep,
    runs: list[results.RunResult],
    drawn: list[Path],
    progress: SweepProgress,
    display: Display,
) -> None:
    from benchmarks.cli.tables import print_comparison
    from benchmarks.compare.pipeline import compare, has_baseline

    asked = planned.baseline if planned.baseline and has_baseline(planned.baseline, runs) else None
    made = compare(runs, asked, gridlock=planned.gridlock) if runs else None
    if display.as_json:
        typer.echo(json.dumps(_as_dict(planned, sweep, made, drawn), indent=1, allow_nan=False))
        return
    if made is not None:
        print_comparison(made, display.wide, display.explain)
    _say_where(planned, sweep, runs, drawn, progress)


def _versions(runs: list[results.RunResult]) -> list[str]:
    """The versions of greenloop and SUMO that made these results."""
    made = {(run.versions.get("greenloop", "?"), run.versions.get("sumo", "?")) for run in runs}
    return [f"greenloop {greenloop} on SUMO {sumo}" for greenloop, sumo in sorted(made)]


def _say_where(
    planned: Plan, sweep: Sweep, runs: list[results.RunResult], drawn: list[Path], progress: SweepProgress
) -> None:
    say = progress.console.print
    say(f"Results: {escaped(str(planned.out))} ({len(sweep.paths)} run{'' if len(sweep.paths) == 1 else 's'})")
    for path in drawn:
        if path.suffix == ".png":
            say(f"Figure:  {escaped(str(path))} (also .pdf and .svg)")
    if len(versions := _versions(runs)) > 1:
        say(f"Note: these results are of several versions: {'; '.join(versions)}; a new --out keeps them apart.")
    if sweep.failed:
        say(f"[bold red]{len(sweep.failed)} runs failed[/]; the same command tries them again.")


def _as_dict(planned: Plan, sweep: Sweep, made: Comparison | None, drawn: list[Path]) -> dict[str, object]:
    return {
        "folder": str(planned.out),
        "comparison": made and made.as_dict(),
        "results": [str(path) for path in sweep.paths],
        "failed": [{"run": cell.name, "problem": problem} for cell, problem in sweep.failed],
        "figures": [str(path) for path in drawn],
        "notes": list(planned.notes),
    }
