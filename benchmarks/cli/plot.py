"""The command that draws: ``greenloop plot``."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout, for machines.")]


def register(app: typer.Typer) -> None:
    """Add the command to the ``greenloop`` command."""
    app.command()(plot)


def plot(
    results: Annotated[Path, typer.Argument(help="A folder of results.")] = Path("results"),
    out: Annotated[Path | None, typer.Option(help="Where the figures go.  [default: RESULTS/figures]")] = None,
    figure: Annotated[
        list[str] | None, typer.Option("--figure", "--only", help="Only this figure; repeat for several.")
    ] = None,
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="pdf, svg or png; repeat for several.  [default: all]")
    ] = None,
    controller: Annotated[list[str] | None, typer.Option(help="Only this controller; repeat for several.")] = None,
    signal: Annotated[str | None, typer.Option(help="Signal of phases.  [default: the busiest]")] = None,
    road: Annotated[
        str | None, typer.Option(help="Road on the arterial of time_space; place of forecast.  [default: the busiest]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Whose trace is shown.  [default: the first]")] = None,
    begin: Annotated[str | None, typer.Option(help="Begin of time_space and phases, 7:30.  [default: busiest]")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time shown there.  [default: 10 and 5]")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="What profile is relative to: a controller, or best.  [default: fixed_time]")
    ] = None,
    table: Annotated[Path | None, typer.Option(help="Forecasts (.csv) for forecast.")] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
    as_json: Json = False,
) -> None:
    """Draw the figures of a results folder as PDF, SVG and PNG.

    time_space and phases need results of 'greenloop run --trace', forecast needs a table.

    \b
    Examples:
      greenloop plot results
      greenloop plot results --figure congestion --out paper/figures --format pdf
      greenloop plot results --figure phases --signal 360082 --begin 7:30 --minutes 5
      greenloop plot results --figure time_space --controller greedy --controller green_wave
      greenloop plot --figure forecast --table forecasts.csv
      greenloop plot --list
    """
    from benchmarks.figures import registry as plots
    from benchmarks.figures.style import FORMATS

    if show_list:
        _list(as_json)
        return
    choice = plots.Choice(
        controllers=tuple(controller or ()),
        signal=signal,
        road=road,
        seed=seed,
        begin_s=None if begin is None else clock_s(begin),
        minutes=minutes,
        baseline=baseline,
        table=table,
    )
    chosen = tuple(formats or FORMATS)
    if figure == ["forecast"] and table is not None:  # needs no results
        written = plots.draw_table(out or table.parent / "figures", choice, chosen)
    else:
        told = partial(typer.echo, err=True)
        written = plots.draw(results, out or results / "figures", tuple(figure or ()), told, choice, chosen)
    typer.echo(json.dumps([str(path) for path in written], indent=1) if as_json else "\n".join(map(str, written)))


def clock_s(text: str) -> float:
    """``7:30`` or ``07:30:15`` on SUMO's clock in seconds; a plain number is seconds.

    Raises:
        FigureError: it is neither.
    """
    found = re.fullmatch(r"(\d{1,3}):([0-5]\d)(?::([0-5]\d))?", text.strip())
    if found is not None:
        return 3600.0 * int(found[1]) + 60.0 * int(found[2]) + float(found[3] or 0)
    if re.fullmatch(r"\d+(\.\d+)?", text.strip()):
        return float(text)
    from benchmarks.figures.selection import FigureError

    raise FigureError(f"The time '{text}' makes no sense; write 7:30, or seconds on SUMO's clock.")


def _list(as_json: bool) -> None:
    from benchmarks.figures.registry import REGISTRY

    if as_json:
        rows = [{"name": name, "needs": entry.needs, "text": entry.text} for name, entry in REGISTRY.items()]
        typer.echo(json.dumps(rows, indent=1))
        return
    wide = max(map(len, REGISTRY))
    for name, entry in REGISTRY.items():
        typer.echo(f"{name:{wide}}  {entry.text}")
