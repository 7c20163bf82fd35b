"""The command that shows a run: ``greenloop replay``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchmarks.replay.build import Written


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
    out: Annotated[Path | None, typer.Option(help="The page.  [default: replay.html, unless there is a film]")] = None,
    gif: Annotated[Path | None, typer.Option(help="A film for slides, as .gif.")] = None,
    mp4: Annotated[Path | None, typer.Option(help="A film as .mp4; needs imageio-ffmpeg.")] = None,
    begin: Annotated[str | None, typer.Option(help="Where the film begins, 7:30.  [default: the busiest]")] = None,
    minutes: Annotated[float | None, typer.Option(help="Traffic that the film shows.  [default: 4]")] = None,
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
      greenloop replay results --gif slides/a.gif --begin 7:40 --minutes 3
    """
    from benchmarks.cli.plot import clock_s
    from benchmarks.replay.build import ReplayError, Wish, write, write_film
    from benchmarks.replay.film import Span

    places, wish = results or [Path("results")], Wish(scenario, seed, tuple(controller or ()))
    films = [(film, ending) for film, ending in ((gif, ".gif"), (mp4, ".mp4")) if film is not None]
    for film, ending in films:
        if film.suffix.lower() != ending:
            raise ReplayError(f"--{ending[1:]} is {film}; give it a name that ends in {ending}.")
    if (begin is not None or minutes is not None) and not films:
        raise ReplayError("--begin and --minutes choose the part of a film; add --gif film.gif, or leave them out.")
    span = Span(None if begin is None else clock_s(begin), minutes)
    made = [] if films and out is None else [write(places, out or Path("replay.html"), wish)]
    made += [write_film(places, film, wish, span) for film, _ in films]
    _tell(made, as_json)


def _tell(made: Sequence[Written], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([{**vars(one), "path": str(one.path)} for one in made], indent=1))
        return
    for problem in dict.fromkeys(problem for one in made for problem in one.problems):
        typer.echo(problem, err=True)
    for one in made:
        who = " beside ".join(one.controllers)
        typer.echo(f"Replay: {one.path} ({one.size_mb:.1f} MB): {one.scenario}, seed {one.seed}, {who}")
