"""The commands for everything that the language model learns: ``greenloop collect|train|evaluate TASK``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchmarks.evaluate.labelled import LabelledRequest

Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout, for machines.")]
TaskName = Annotated[str, typer.Argument(help="decide, forecast, read, another package's task, or my_file.py:MyTask.")]
Experiment = Annotated[Path | None, typer.Argument(help="YAML file with settings.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="One setting, key=value, with dots; repeat for several.")]
Records = Annotated[list[Path] | None, typer.Option(help="Folder of records; repeat for several.  [default: records]")]


def register(app: typer.Typer) -> None:
    """Add the commands to the ``greenloop`` command."""
    app.command()(collect)
    app.command()(train)
    app.command()(evaluate)
    app.command()(tasks)
    app.command()(read)


def tasks(as_json: Json = False) -> None:
    """List the tasks, and who can answer them.

    \b
    Example:
      greenloop tasks
    """
    from benchmarks.cli.tables import listing, stdout
    from llm.tasks import registry

    rows = {name: registry.make(name) for name in registry.names()}
    if as_json:
        typer.echo(json.dumps({name: list(registry.answerers(task)) for name, task in rows.items()}, indent=1))
        return
    cells = [
        [name, (type(task).__doc__ or "").partition("\n")[0], ", ".join(registry.answerers(task))]
        for name, task in rows.items()
    ]
    stdout().print(listing(("name", "what is learnt", "answerers"), cells))


def collect(
    task: TaskName,
    experiment: Experiment = None,
    split: Annotated[str, typer.Option(help="train, validation, or held_out for scoring.")] = "train",
    runs: Annotated[int, typer.Option(min=1, max=100_000, help="A larger number later adds to the same folder.")] = 60,
    scenarios: Annotated[
        str | None, typer.Option(help="Only these, separated by commas; they must be of the split.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the records; finished runs in it are kept.")] = Path("records"),
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes; all cores when missing.")] = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Run scenarios and write a task's records: what was known, and what was right.

    Stop with Ctrl-C whenever you like: the same command goes on where it was. Held-out scenarios get into no split that
    is trained on.

    \b
    Examples:
      greenloop collect decide --runs 250
      greenloop collect decide --split validation --runs 30 --set minutes=20 --set drive=[holding,greedy]
      greenloop collect forecast --split held_out --runs 54 --out forecasts
    """
    from benchmarks.records.collect import Plan
    from benchmarks.records.collect import collect as record
    from llm.tasks import registry
    from scenarios.common.experiment import read_experiment
    from sim.workers.local import usable_cores

    settings = read_experiment(registry.made(task).settings, experiment, set_ or ())
    names = tuple(name.strip() for name in scenarios.split(",")) if scenarios else ()
    manifest = record(Plan(task, split, runs, settings, names), out, workers or usable_cores(), _tell)
    counts = {name: dict(found) for name, found in manifest["counts"].items() if found}
    if as_json:
        typer.echo(json.dumps({"folder": str(out), "counts": counts, "failed": manifest["failed"]}, indent=1))
    else:
        typer.echo(_holds(out, {name: found.get("records", 0) for name, found in counts.items()}))
    raise typer.Exit(1 if manifest["failed"] else 0)


def train(
    task: TaskName,
    experiment: Experiment = None,
    records: Records = None,
    out: Annotated[Path, typer.Option(help="Run folder; a run that was stopped goes on from its checkpoint.")] = Path(
        "runs/first"
    ),
    threads: Annotated[int, typer.Option(min=1, max=256, help="Torch threads.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Train the language model for a task, measure it on validation, and write adapter, head and card.

    Settings come from a YAML file and --set; the whole configuration lies beside the result as experiment.yaml. Stop
    with Ctrl-C whenever you like: the same command goes on from the last checkpoint.

    \b
    Examples:
      greenloop train decide --records records --out runs/first --set layers=10 --threads 2
      greenloop train decide my.yaml --records records --set task.distil=0.9 --set epochs=1
      greenloop train forecast --records forecasts --out runs/forecast
    """
    from llm.engine.train import Machine
    from llm.engine.train import train as learn
    from llm.engine.training import training_of
    from llm.tasks import registry
    from llm.tasks.files import files
    from scenarios.common.experiment import read_experiment

    made = registry.made(task)
    training = read_experiment(training_of(made), experiment, set_ or ())
    folders = records or [Path("records")]
    for folder in folders:  # one that holds less than was meant would otherwise be learnt from without a word
        typer.echo(_holds(folder, files(made).listed(folder)), err=True)
    machine = Machine(threads, device, as_json, (shlex.join(["greenloop", *sys.argv[1:]]),))
    metrics = learn(made, training, folders, out, machine)
    if metrics.get("history"):
        from benchmarks.figures.learning_curve import draw

        draw(metrics, out / "learning_curve.png")
    shown = {name: value for name, value in metrics.items() if name != "history"}
    if as_json:
        typer.echo(json.dumps(shown, indent=1))
        return
    for line in made.told(metrics):
        typer.echo(line)
    typer.echo(f"Adapter, card and configuration: {out}")


def evaluate(
    task: TaskName,
    records: Annotated[Path, typer.Option(help="Folder of greenloop collect TASK.")] = Path("records"),
    on: Annotated[str | None, typer.Option(help="Score on these records.  [default: held_out if there are]")] = None,
    answerer: Annotated[
        list[str] | None, typer.Option(help="Name, name:key=value or file.py:Class; repeat.  [default: all]")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="Differences are to this one.")] = None,
    head: Annotated[Path | None, typer.Option(help="Folder of what was trained: for the answerer 'model'.")] = None,
    words: Annotated[
        Path | None, typer.Option(help="Score on this file of labelled bulletins (.jsonl) instead; task read.")
    ] = None,
    scenario: Annotated[str, typer.Option(help="With --words: whose network the places are of.")] = "cologne3",
    limit: Annotated[int, typer.Option(min=0, help="Score so many records, evenly; 0 for all.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the JSON, the CSV and the answers.")] = Path(
        "results/evaluation"
    ),
    no_figures: Annotated[bool, typer.Option("--no-figures", help="Leave the figures out.")] = False,
    as_json: Json = False,
) -> None:
    """Compare who answers a task's questions: rules, learners on the numbers, the language model.

    All get the same facts and learn from the folder's training records only. Answers are kept, so a comparison that was
    stopped goes on.

    \b
    Examples:
      greenloop evaluate forecast --records forecasts --head runs/forecast/adapter
      greenloop evaluate my_file.py:MyTask --on validation --answerer my_file.py:MyAnswerer --answerer constant
      greenloop evaluate read --words bulletins.jsonl --json
    """
    if words is not None:
        from benchmarks.evaluate.labelled import LabelledRequest

        _tell_labelled(LabelledRequest(task, words, scenario, tuple(answerer or ()), head), as_json)
        return
    from benchmarks.cli.tables import stdout
    from benchmarks.evaluate.evaluation import JSON_FILE, Request
    from benchmarks.evaluate.evaluation import evaluate as compare
    from benchmarks.evaluate.tables import tell
    from llm.tasks import registry

    chosen = on or registry.made(task).splits[-1]
    request = Request(task, records, chosen, tuple(answerer or ()), baseline, head, limit, out)
    found = compare(request, lambda line: typer.echo(line, err=True))
    if not no_figures:
        from benchmarks.evaluate import figures

        figures.draw(found.figures, out)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=1))
        return
    console = stdout()
    tell(console, found)
    console.print(f"Figures: {out / JSON_FILE}")


def read(
    file: Annotated[Path, typer.Argument(help="Bulletins: .csv or .jsonl with time, source and text.")],
    scenario: Annotated[str, typer.Option(help="Whose network the bulletins are about.")] = "cologne3",
    answerer: Annotated[str, typer.Option(help="Who reads: rules, tfidf, name:key=value or file.py:Class.")] = "rules",
    as_json: Json = False,
) -> None:
    """Read a file of your own bulletins and tell what each says, with a probability for each slot.

    What is hard to read is told in one sentence each, on stderr; nothing stops.

    \b
    Examples:
      greenloop read bulletins.csv
      greenloop read bulletins.jsonl --scenario ingolstadt7 --json
    """
    from benchmarks.cli.tables import listing, stdout
    from benchmarks.evaluate.labelled import read_file_of_bulletins

    rows = read_file_of_bulletins(file, scenario, answerer, lambda line: typer.echo(line, err=True))
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    cells = [
        [row["text"][:60], f"{row['kind']} {row['type']}", ", ".join(row["streets"]), _slots_in_words(row)]
        for row in rows
    ]
    stdout().print(listing(("bulletin", "kind and type", "places", "what else"), cells))


def _tell_labelled(request: LabelledRequest, as_json: bool) -> None:
    """Score a labelled file and print the figures."""
    from benchmarks.cli.tables import listing, stdout
    from benchmarks.evaluate.labelled import score

    found = score(request, lambda line: typer.echo(line, err=True))
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    slots = list(found["slots"])
    cells = [
        [spec, *(_figure(value) for value in (own["slot_f1"], own["exact"], *(own["slots"][slot] for slot in slots)))]
        for spec, own in found["answerers"].items()
    ]
    stdout().print(listing(("answerer", "slot F1", "exact", *slots), cells))


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _slots_in_words(row: dict[str, object]) -> str:
    names = ("direction", "starts_in_min", "lasts_min", "length_class", "lanes_blocked", "vehicles")
    said = [f"{name} {row[name]}" for name in names if row[name] is not None]
    return ", ".join(said if row["certain"] else [*said, "uncertain"])


def _holds(folder: Path, records: Mapping[str, int]) -> str:
    return f"{folder}: {', '.join(f'{count:,} {split} records' for split, count in records.items()) or 'no records'}"


def _tell(done: int, total: int, name: str, records: int, problem: str | None) -> None:
    typer.echo(f"{done}/{total} {name}: {problem or f'{records} records'}", err=True)
