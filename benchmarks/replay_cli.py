"""The command that shows a run: ``greenloop replay``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the ``greenloop`` command."""
    app.command()(replay)


def replay(
    results: Annotated[
        list[Path] | None, typer.Argument(help="Folders of results, or one or two result files.")
    ] = None,
    scenario: Annotated[str | None, typer.Option(help="Which one.  [default: the only one with a trace]")] = None,
    seed: Annotated[int | None, typer.Option(help="Which one.  [default: the first that all have traced]")] = None,
    controller: Annotated[
        list[str] | None,
        typer.Option(help="Whose run; twice for two side by side.  [default: the best and fixed_time]"),
    ] = None,
    out: Annotated[Path, typer.Option(help="The page.")] = Path("replay.html"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON to stdout, for machines.")] = False,
) -> None:
    """Write one HTML page that plays runs of 'greenloop run --trace' and needs no network.

    Two controllers on the same seed play side by side, in step. A click on a signal shows its phases, waits and
    decisions, and the reasons where the controller tells them.

    \b
    Examples:
      greenloop run --scenario cologne8 --incidents --controller greedy --controller fixed_time --seeds 1-1 --trace
      greenloop replay results
      greenloop replay results --scenario cologne8 --controller language_model --controller greedy --out slides/a.html
    """
    from benchmarks.replay import Wish, write

    made = write(results or [Path("results")], out, Wish(scenario, seed, tuple(controller or ())))
    if as_json:
        shown = {**vars(made), "path": str(made.path)}
        typer.echo(json.dumps(shown, indent=1))
        return
    for problem in made.problems:
        typer.echo(problem, err=True)
    who = " beside ".join(made.controllers)
    typer.echo(f"Replay: {made.path} ({made.size_mb:.1f} MB): {made.scenario}, seed {made.seed}, {who}")
