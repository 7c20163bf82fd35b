"""The commands for forecasts: ``greenloop collect-forecasts``, ``train-forecast`` and ``forecast``."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout, for machines.")]
Records = Annotated[Path, typer.Option(help="Folder of greenloop collect-forecasts.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the ``greenloop`` command."""
    app.command("collect-forecasts")(collect_forecasts)
    app.command("train-forecast")(train_forecast)
    app.command("forecast")(forecast)


def collect_forecasts(
    split: Annotated[str, typer.Option(help="train, validation, or held_out for scoring.")] = "train",
    runs: Annotated[int, typer.Option(min=1, help="A larger number later adds to the same folder.")] = 60,
    scenarios: Annotated[
        str | None, typer.Option(help="Only these, separated by commas; they must be of the split.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the records; finished runs in it are kept.")] = Path("forecasts"),
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes; all cores when missing.")] = None,
    minutes: Annotated[float, typer.Option(min=20, help="Simulated minutes of a run.")] = 60.0,
    draw_seed: Annotated[int, typer.Option(min=0, help="Draws other runs.")] = 0,
    as_json: Json = False,
) -> None:
    """Run scenarios under greedy and write, every minute, what was known and which flows and queues came.

    Stop with Ctrl-C whenever you like: the same command goes on where it was. Held-out scenarios get into no split
    that is trained on.

    \b
    Examples:
      greenloop collect-forecasts --runs 60
      greenloop collect-forecasts --split validation --runs 15
      greenloop collect-forecasts --split held_out --runs 54
    """
    from benchmarks.records import forecast_collection as recording
    from benchmarks.records import forecast_runs as drawing
    from sim.workers.local import usable_cores

    names = tuple(name.strip() for name in scenarios.split(",")) if scenarios else ()
    settings = drawing.Settings(minutes, draw_seed=draw_seed)
    planned = drawing.plan(split, runs, settings, names)
    manifest = recording.collect(planned, out, workers or usable_cores(), _tell)
    counts = {name: dict(found) for name, found in manifest["counts"].items() if found}
    if as_json:
        typer.echo(json.dumps({"folder": str(out), "counts": counts, "failed": manifest["failed"]}, indent=1))
    else:
        said = ", ".join(f"{found['records']:,} {name} records" for name, found in counts.items())
        typer.echo(f"{out}: {said or 'no records'}")
    raise typer.Exit(1 if manifest["failed"] else 0)


def _tell(done: int, total: int, name: str, records: int, problem: str | None) -> None:
    typer.echo(f"{done}/{total} {name}: {problem or f'{records} records'}", err=True)


def train_forecast(
    records: Records = Path("forecasts"),
    out: Annotated[Path | None, typer.Option(help="Folder of the head; with --adapter it is the adapter's.")] = None,
    model: Annotated[str, typer.Option(help="default, a Hugging Face id, or a folder.")] = "default",
    adapter: Annotated[Path | None, typer.Option(help="Read through this adapter; the head is put beside it.")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Keep the first so many; an adapter's own, else 6.")] = None,
    train_limit: Annotated[int, typer.Option(min=0, help="Read only so many training prompts; 0 for all.")] = 4000,
    validation_limit: Annotated[int, typer.Option(min=0, help="The same of validation; 0 for all.")] = 1500,
    no_facts: Annotated[bool, typer.Option("--no-facts", help="The head sees no numbers beside the text.")] = False,
    tune: Annotated[
        bool, typer.Option("--tune", help="Train an adapter with the head, for the forecast alone; cannot be resumed.")
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="At most; the best on validation is kept.  [default: 30, with --tune 1]"),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Torch threads.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Json = False,
) -> None:
    """Train the language model's forecast head on its hidden states; but for --tune the model stays as it is.

    \b
    Examples:
      greenloop train-forecast --records forecasts --out runs/forecast --threads 2
      greenloop train-forecast --records forecasts --adapter runs/first/adapter
      greenloop train-forecast --records forecasts --tune --layers 8 --out runs/tuned
      greenloop forecast --records forecasts --head runs/forecast
    """
    from llm.backbone import cards
    from llm.backbone.loading import ADAPTER_WEIGHTS, load
    from llm.records.shards import write_bytes
    from llm.tasks.forecast import records as forecast_data
    from llm.tasks.forecast.adapter_training import Tuning, tune_forecast
    from llm.tasks.forecast.forecasters import ForecastError
    from llm.tasks.forecast.head_training import ForecastTraining
    from llm.tasks.forecast.head_training import train_forecast as train

    if adapter is not None and out not in (None, adapter):
        raise ForecastError("A head that reads through an adapter lies beside it: leave --out or --adapter out.")
    if tune and adapter is not None:
        raise ForecastError("With --tune the head gets an adapter of its own: leave --adapter or --tune out.")
    folder, limits = adapter or out or Path("runs/forecast"), (train_limit, validation_limit)
    if tune and (folder / ADAPTER_WEIGHTS).is_file():
        card = cards.read_card(folder)
        if card is None or card.task != "forecast":
            raise ForecastError(
                f"Folder {folder} holds an adapter that is not for forecasts; choose another --out for this one."
            )
    if not tune and adapter is None and (folder / ADAPTER_WEIGHTS).is_file():
        raise ForecastError(
            f"Folder {folder} holds an adapter: give it as --adapter, for a head that reads through it, or choose "
            "another --out."
        )
    write_bytes(folder / ".probe", b"")  # what cannot be written is told before the training and not after it
    (folder / ".probe").unlink()
    learn, held = (forecast_data.FILES.read_split(records, split) for split in ("train", "validation"))
    backbone = load(model, adapter, layers or (None if adapter else 6), threads, device)
    training = ForecastTraining(facts=not no_facts, text=replace(ForecastTraining().text, epochs=epochs or 30))
    about = {"records_sha256": forecast_data.learnt_sha256(records)}
    if tune:
        tuning = Tuning(epochs=epochs or 1, head=training)
        noted = tune_forecast(backbone, learn, held, folder, tuning, limits, about, partial(typer.echo, err=True))
    else:
        noted = train(backbone, learn, held, folder, training, limits, about)
    if card := cards.read_card(folder):
        cards.write_card(folder, card)  # which now tells of the head
    if as_json:
        typer.echo(json.dumps(noted, indent=1, default=str))
        return
    losses = noted["losses"]
    typer.echo(
        f"Pinball loss on validation, in units of the noise: {losses['plain']:.4f} from the numbers, "
        f"{losses['best']:.4f} with the text"
    )
    typer.echo(f"Head: {folder}")


def forecast(
    records: Records = Path("forecasts"),
    on: Annotated[str, typer.Option(help="Score on held_out or validation records.")] = "held_out",
    forecaster: Annotated[
        list[str] | None, typer.Option(help="Name, name:key=value or file.py:Class; repeat.  [default: all]")
    ] = None,
    head: Annotated[Path | None, typer.Option(help="The language model's head; the shipped one when missing.")] = None,
    baseline: Annotated[str | None, typer.Option(help="Differences are to this one.  [default: boosted_trees]")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Score so many records, evenly; 0 for all.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the table, the JSON and the figures.")] = Path(
        "results/forecast"
    ),
    no_figures: Annotated[bool, typer.Option("--no-figures", help="Leave the figures out.")] = False,
    as_json: Json = False,
) -> None:
    """Compare forecasts of flow and queue 1, 5 and 15 minutes ahead, overall and around incidents.

    Every forecaster gets the same facts and learns from the folder's training records only.

    \b
    Examples:
      greenloop forecast --records forecasts --head runs/forecast
      greenloop forecast --on validation --forecaster ridge --forecaster mine.py:MyForecaster
    """
    from benchmarks.evaluate import forecast_evaluation as command

    request = command.Request(
        records=records,
        on=on,
        forecasters=tuple(forecaster or ()),
        head=head,
        baseline=baseline,
        limit=limit,
        out=out,
        figures=not no_figures,
    )
    command.execute(request, as_json)
