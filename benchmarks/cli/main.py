"""The ``greenloop`` command. Every import of weight waits until a command needs it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.cli import compare as compare_cli
from benchmarks.cli import explain as explain_cli
from benchmarks.cli import import_town as import_cli
from benchmarks.cli import plot as plot_cli
from benchmarks.cli import replay as replay_cli
from benchmarks.cli import report as report_cli
from benchmarks.cli import tasks as tasks_cli
from benchmarks.cli import train_rl as rl_cli
from benchmarks.cli.old_verbs import translated
from scenarios.common.errors import shorten

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout, for machines.")]
Net = Annotated[Path | None, typer.Option(help="A SUMO network of your own (.net.xml).")]
Routes = Annotated[list[Path] | None, typer.Option(help="Its traffic (.rou.xml); repeat for several files.")]
#: Exceptions that are defined in these packages carry one sentence for the user.
OUR_PACKAGES = frozenset({"benchmarks", "scenarios", "sim", "controllers", "llm"})
STOPPED_CODE = 130
STOPPED = "Stopped. What had been finished is kept; the same command goes on from there."
DEBUG = "GREENLOOP_DEBUG"
#: Letters of a message: a broken file can hold an id of megabytes.
MOST_SHOWN = 1000


@app.callback()
def greenloop() -> None:
    """A simulation-in-the-loop benchmark for traffic signals.

    \b
    Examples:
      greenloop run --suite quick                      a first benchmark, about two minutes
      greenloop run --scenario cologne1 --controller fixed_time --controller greedy
      greenloop run --net my.net.xml --routes my.rou.xml --controller my_file.py:MyController
      greenloop validate my.net.xml                    what is in a network, and what is wrong
      greenloop plot results                           draw the figures again
    """


@app.command()
def run(
    scenario: Annotated[
        list[str] | None, typer.Option(help="Name, .yaml file or folder of these; repeat for several.")
    ] = None,
    controller: Annotated[
        list[str] | None, typer.Option(help="Name, name:key=value or file.py:Class; repeat for several.")
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="5 (for 1 to 5), 1,2,7 or 0-9.  [default: 10]")] = None,
    suite: Annotated[str | None, typer.Option(help="A named suite: quick, demo, or a .yaml file.")] = None,
    net: Net = None,
    routes: Routes = None,
    timings: Annotated[str | None, typer.Option(help="Signal timings: native, clearance or resco.")] = None,
    incidents: Annotated[bool, typer.Option("--incidents", help="Draw crashes, closures, ... from the seed.")] = False,
    minutes: Annotated[float | None, typer.Option(help="Shorten the measured time.")] = None,
    demand_scale: Annotated[float | None, typer.Option(help="Factor on the number of vehicles.")] = None,
    jitter_s: Annotated[float | None, typer.Option(help="Move each departure by up to this, from the seed.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results; finished runs in it are kept.")] = Path("results"),
    workers: Annotated[int | None, typer.Option(help="Processes; all cores when missing.")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Compare with this controller, or best.  [default: fixed_time]")
    ] = None,
    backend: Annotated[str, typer.Option(help="libsumo (fast) or traci (SUMO behind its socket).")] = "libsumo",
    gui: Annotated[bool, typer.Option("--gui", help="Show SUMO's window; one run at a time.")] = False,
    decision_limit_s: Annotated[float, typer.Option(min=0, help="Longest time for one decision; 0: no limit.")] = 60.0,
    cell_limit_s: Annotated[
        float | None, typer.Option(min=0, help="Longest time for one run.  [default: none]")
    ] = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="Keep each second: vehicles, signals, decisions; for figures and replays.")
    ] = False,
    decision_log: Annotated[
        bool, typer.Option("--decision-log", help="Keep each decision: signal and phase; prompt and scores of a model.")
    ] = False,
    charge_latency: Annotated[
        bool, typer.Option("--charge-latency", help="A decision takes effect only after the time that it took.")
    ] = False,
    no_figures: Annotated[bool, typer.Option("--no-figures", help="Leave the figures out.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Every column of the ranking, beyond 80 characters.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say below the ranking how its figures are made.")] = False,
    as_json: Json = False,
) -> None:
    """Run scenarios x controllers x seeds and rank the controllers.

    Each run leaves one file in --out. Stop with Ctrl-C whenever you like: the same command goes on where it was.

    \b
    Examples:
      greenloop run --suite quick
      greenloop run --scenario cologne8 --controller greedy --controller max_pressure --seeds 10
      greenloop run --scenario cologne1 --controller greedy:detection_m=50 --controller greedy --seeds 1,2,7
      greenloop run --scenario cologne3 --incidents --demand-scale 1.2 --minutes 30
      greenloop run --net my.net.xml --routes my.rou.xml --controller my_file.py:MyController
      greenloop run --scenario cologne1 --controller greedy --seeds 1-1 --gui
    """
    from benchmarks.cli.run_display import Display, execute
    from benchmarks.run.benchmark import Request, parse_seeds

    request = Request(
        scenarios=tuple(scenario or ()),
        net=net,
        routes=tuple(routes or ()),
        controllers=tuple(controller or ()),
        seeds=parse_seeds(seeds) if seeds is not None else (),
        suite=suite,
        timings=timings,
        minutes=minutes,
        incidents=incidents,
        demand_scale=demand_scale,
        jitter_s=jitter_s,
        out=out,
        workers=workers,
        backend=backend,
        gui=gui,
        baseline=baseline,
        decision_limit_s=decision_limit_s,
        cell_limit_s=cell_limit_s,
        trace=trace,
        decision_log=decision_log,
        charge_latency=charge_latency,
    )
    raise typer.Exit(execute(request, Display(not no_figures, as_json, wide, explain)))


@app.command()
def scenarios(
    tag: Annotated[
        str | None, typer.Option(help="Only those with a tag: train, validation, held_out, real, ...")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the scenarios with size, demand and licence.

    \b
    Examples:
      greenloop scenarios
      greenloop scenarios --tag held_out
    """
    from scenarios import registry

    rows = registry.describe(tag)
    if tag is not None and not rows:
        from benchmarks.run.benchmark import unknown_tag

        raise unknown_tag(tag, {known for row in registry.describe() for known in row.tags})
    if as_json:
        _print_json([vars(row) for row in rows])
        return
    from benchmarks.cli.tables import listing, stdout

    cells = [
        [
            row.name,
            "?" if row.signals is None else str(row.signals),
            "?" if row.vehicles_per_h is None else f"{row.vehicles_per_h:,.0f}",
            "?" if row.horizon_s is None else f"{row.horizon_s / 60:.0f}",
            ", ".join(row.tags),
            row.description,
            row.licence,
        ]
        for row in rows
    ]
    heads = ("name", "signals", "veh/h", "min", "tags", "description", "licence")
    stdout().print(listing(heads, cells, numbers=("signals", "veh/h", "min")))


@app.command()
def controllers(as_json: Json = False) -> None:
    """List the controllers that --controller knows.

    A controller of your own is my_file.py:MyController, or an entry point in the group greenloop.controllers.

    \b
    Examples:
      greenloop controllers
      greenloop run --scenario cologne1 --controller sotl --controller my_file.py:MyController
    """
    from controllers import registry

    known = registry.describe()
    if as_json:
        _print_json([{"name": name, "summary": summary} for name, summary in known.items()])
        return
    from benchmarks.cli.tables import listing, stdout

    stdout().print(listing(("name", "what it does"), known.items()))


@app.command()
def validate(
    target: Annotated[str | None, typer.Argument(help="A scenario's name, its .yaml file, or a .net.xml file.")] = None,
    net: Net = None,
    routes: Routes = None,
    as_json: Json = False,
) -> None:
    """Print what is in a network or scenario, and what is wrong with it.

    Exit code 1 if it cannot be used.

    \b
    Examples:
      greenloop validate my.net.xml
      greenloop validate --net my.net.xml --routes my.rou.xml
      greenloop validate ingolstadt21
    """
    from benchmarks.cli.validate import execute

    raise typer.Exit(execute(target, net, tuple(routes or ()), as_json))


@app.command()
def fetch_model(as_json: Json = False) -> None:
    """Fetch the default language model, check it by hash, convert it once, and say where it is.

    \b
    Example:
      greenloop fetch-model
    """
    from llm.backbone import loading as backbone

    folder = backbone.fetch()
    _print_json({"folder": str(folder)}) if as_json else typer.echo(str(folder))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check that this machine has what greenloop needs. Exit code 1 if something is missing.

    \b
    Example:
      greenloop doctor
    """
    from benchmarks.cli.doctor import doctor as examine

    checks = examine()
    if as_json:
        _print_json([vars(check) for check in checks])
    else:
        for check in checks:
            typer.echo(f"{'OK     ' if check.ok else 'PROBLEM'} {check.name:15} {check.text}")
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


compare_cli.register(app)
explain_cli.register(app)
plot_cli.register(app)
import_cli.register(app)
replay_cli.register(app)
report_cli.register(app)
rl_cli.register(app)
tasks_cli.register(app)


def main(arguments: list[str] | None = None) -> None:
    """Entry point: known problems become one sentence on stderr and exit code 2, Ctrl-C exit code 130."""
    command = typer.main.get_command(app)
    try:
        code = command.main(
            translated(sys.argv[1:] if arguments is None else arguments), prog_name="greenloop", standalone_mode=False
        )
    except Exception as error:
        code = _report_error(error)
    if code == STOPPED_CODE:  # click's, for a KeyboardInterrupt
        typer.echo(STOPPED, err=True)
    sys.exit(code if isinstance(code, int) else 0)


def _report_error(error: Exception) -> int:
    """Tell an error in one sentence; return the exit code."""
    show = getattr(error, "show", None)
    if callable(show):  # click's own: bad options
        show()
        return int(getattr(error, "exit_code", 2))
    if type(error).__name__ == "Abort":
        return STOPPED_CODE
    if os.environ.get(DEBUG):
        raise error
    sentence = shorten(str(error), MOST_SHOWN)
    if type(error).__module__.partition(".")[0] in OUR_PACKAGES:
        typer.echo(f"greenloop: {sentence}", err=True)
        return 2
    typer.echo(f"greenloop: unexpected {type(error).__name__}: {sentence} (set {DEBUG}=1 for the details)", err=True)
    return 3


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, default=str))


if __name__ == "__main__":
    main()
