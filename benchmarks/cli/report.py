"""The command that makes a page of results: ``greenloop report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the ``greenloop`` command."""
    app.command()(report)


def report(
    results: Annotated[list[Path] | None, typer.Argument(help="Folders of results, or result files.")] = None,
    out: Annotated[Path, typer.Option(help="The page.")] = Path("report.html"),
    baseline: Annotated[
        str | None, typer.Option(help="Compare with this controller, or 'best'.  [default: fixed_time]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON to stdout, for machines.")] = False,
) -> None:
    """Write one HTML page that shows results, says what they mean, and needs no network.

    \b
    Examples:
      greenloop report results
      greenloop report results more/results --out paper/report.html --baseline greedy
    """
    from benchmarks.report.build import write

    made = write(results or [Path("results")], out, baseline)
    if as_json:
        shown = {"report": str(made.path), "answer": list(made.answer), "problems": list(made.problems)}
        typer.echo(json.dumps(shown, indent=1))
        return
    for problem in made.problems:
        typer.echo(problem, err=True)
    typer.echo("\n".join([*made.answer[:2], f"Report: {made.path}"]))
