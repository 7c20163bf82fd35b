"""The commands that make an adapter: ``greenloop collect`` and ``greenloop train``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout, for machines.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the ``greenloop`` command."""
    app.command("collect-decisions", hidden=True)(collect)
    app.command("train-decisions", hidden=True)(train)


def collect(
    scenarios: Annotated[
        str, typer.Option(help="train or validation: that split's mixture of cities; or names, separated by commas.")
    ] = "train",
    split: Annotated[str | None, typer.Option(help="The split of scenarios given by name.  [default: train]")] = None,
    episodes: Annotated[
        int, typer.Option(min=1, max=100_000, help="Runs; a larger number later adds to the same folder.")
    ] = 250,
    out: Annotated[Path, typer.Option(help="Folder of the records; finished episodes in it are kept.")] = Path(
        "records"
    ),
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes; all cores when missing.")] = None,
    minutes: Annotated[float, typer.Option(min=3, help="Simulated minutes of an episode.")] = 30.0,
    per_episode: Annotated[int, typer.Option(min=1, help="Records wanted of an episode.")] = 40,
    drive: Annotated[
        list[str] | None, typer.Option(help="Who drives: a controller; repeat for a mixture.  [default: classical]")
    ] = None,
    then: Annotated[str, typer.Option(help="Who goes on after the phase that a branch tries.")] = "holding",
    branches: Annotated[
        bool, typer.Option(help="Try every phase for its cost; without, records are cheap and need a teacher.")
    ] = True,
    demand_scales: Annotated[
        tuple[float, float], typer.Option(help="Least and most factor on the number of vehicles.")
    ] = (0.6, 1.4),
    imagined: Annotated[
        float, typer.Option(min=0, max=1, help="Share of states that no run showed; only with --no-branches.")
    ] = 0.0,
    draw_seed: Annotated[int, typer.Option(min=0, help="Draws other episodes.")] = 0,
    forecast_head: Annotated[
        Path | None, typer.Option(help="Note this head's forecasts, too: the folder of greenloop train-forecast.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run training scenarios and write labelled records: texts, numbers, and what every phase would have cost.

    Stop with Ctrl-C whenever you like: the same command goes on where it was. Held-out scenarios are refused.

    \b
    Examples:
      greenloop collect --episodes 250
      greenloop collect --scenarios validation --episodes 30
      greenloop collect --scenarios cologne1,city-4-7 --episodes 20 --out more
      greenloop collect --drive language_model:adapter=runs/first/adapter --draw-seed 1 --out own
      greenloop collect --no-branches --per-episode 400 --imagined 0.5 --drive phase_net --out cheap
    """
    from benchmarks.records import decision_collection as collecting
    from benchmarks.records import decision_episodes as drawing
    from llm.records.shards import RecordError
    from sim.workers.local import usable_cores

    named = scenarios not in ("train", "validation")
    if not named and split not in (None, scenarios):
        raise RecordError(
            f"The options ask for {scenarios} scenarios and the split {split}: give --scenarios {split}, or names of "
            "scenarios with --split."
        )
    settings = drawing.Settings(
        minutes,
        per_episode,
        draw_seed=draw_seed,
        drive=tuple(drive or drawing.BEHAVIOURS),
        then=then,
        branches=branches,
        demand_scales=demand_scales,
        imagined_share=imagined,
    )
    names = tuple(name.strip() for name in scenarios.split(",")) if named else ()
    planned = drawing.plan(split or "train" if named else scenarios, episodes, settings, names)
    manifest = collecting.collect(planned, out, workers or usable_cores(), _tell, forecast_head)
    counts = {name: dict(found) for name, found in manifest["counts"].items()}
    if as_json:
        typer.echo(json.dumps({"folder": str(out), "counts": counts, "failed": manifest["failed"]}, indent=1))
    else:
        typer.echo(_holds(out, {name: found.get("records", 0) for name, found in counts.items()}))
    raise typer.Exit(1 if manifest["failed"] else 0)


def _holds(folder: Path, records: Mapping[str, int]) -> str:
    return f"{folder}: {', '.join(f'{count:,} {split} records' for split, count in records.items())}"


def _tell(done: int, total: int, name: str, records: int, problem: str | None) -> None:
    typer.echo(f"{done}/{total} {name}: {problem or f'{records} records'}", err=True)


def train(
    records: Annotated[
        list[Path] | None, typer.Option(help="Folder of greenloop collect; repeat for several.  [default: records]")
    ] = None,
    out: Annotated[Path, typer.Option(help="Run folder; a run that was stopped goes on from its checkpoint.")] = Path(
        "runs/first"
    ),
    model: Annotated[str, typer.Option(help="default, a Hugging Face id, or a folder.")] = "default",
    layers: Annotated[
        int | None,
        typer.Option(
            min=0, help="Keep the first so many decoder layers; 0 for all.  [default: 8, or those of the start]"
        ),
    ] = None,
    freeze: Annotated[
        int, typer.Option(min=0, help="Do not train the first so many of these; with lora, ia3 and full.")
    ] = 0,
    start: Annotated[Path | None, typer.Option(help="Go on from the adapter of an earlier training.")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="The plain network to learn from: shipped, or its folder.  [default: fit one]")
    ] = None,
    method: Annotated[str, typer.Option(help="lora, adalora, ia3, prefix, head or full.")] = "lora",
    rank: Annotated[int, typer.Option(min=1, help="Rank of lora, adalora and head; virtual tokens of prefix.")] = 16,
    horizon_s: Annotated[float, typer.Option(help="Which of the recorded costs to learn.")] = 60.0,
    temperature_veh_s: Annotated[float, typer.Option(help="Softness of the targets.")] = 40.0,
    distil: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the targets from the plain network on the same records.")
    ] = 0.7,
    sharpen: Annotated[float, typer.Option(help="Power of the plain network's shares.")] = 4.0,
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    epochs: Annotated[float, typer.Option(help="At most; early stopping may end sooner.")] = 2.0,
    learning_rate: Annotated[float, typer.Option(help="The highest, after a warm-up.")] = 5e-4,
    batch: Annotated[int, typer.Option(min=1, help="Records in a step.")] = 32,
    train_limit: Annotated[int, typer.Option(min=0, help="Use only so many records; 0 for all.")] = 0,
    eval_limit: Annotated[int, typer.Option(min=0, help="Records of a measurement on the way; 0 for all.")] = 400,
    patience: Annotated[
        int, typer.Option(min=1, help="Stop after so many measurements (four an epoch) with no gain.")
    ] = 4,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Torch threads.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of initialisation and order.")] = 0,
    as_json: Json = False,
) -> None:
    """Train an adapter on records, measure it on validation, and write it with its card and a learning curve.

    Stop with Ctrl-C whenever you like: the same command goes on from the last checkpoint.

    \b
    Examples:
      greenloop train --records records --out runs/first --layers 10 --threads 2
      greenloop train --records records --out runs/gpu --layers 0 --device cuda --batch 64
      greenloop run --scenario city-4-500 --controller language_model:adapter=runs/first/adapter
    """
    from benchmarks.figures.learning_curve import draw
    from llm.backbone import cards
    from llm.tasks.decide import finetune
    from llm.tasks.decide import records as dataset
    from llm.tasks.decide.trainer import Training

    if layers is None:
        card = cards.read_card(start) if start else None
        layers = card.layers if card else 8
    training = Training(
        model=model,
        layers=layers or None,
        freeze=freeze,
        start=str(start) if start else None,
        teacher=teacher,
        method=method,
        rank=rank,
        horizon_s=horizon_s,
        temperature_veh_s=temperature_veh_s,
        distil=distil,
        sharpen=sharpen,
        precision=precision,
        epochs=epochs,
        learning_rate=learning_rate,
        batch=batch,
        train_limit=train_limit,
        eval_limit=eval_limit,
        patience=patience,
        seed=seed,
    )
    command = shlex.join(["greenloop", *sys.argv[1:]])
    folders = records or [Path("records")]
    for folder in folders:  # one that holds less than was meant would otherwise be learnt from without a word
        typer.echo(_holds(folder, dataset.FILES.listed(folder)), err=True)
    metrics = finetune.train(training, folders, out, threads, device, quiet=as_json, commands=[command])
    draw(metrics, out / "learning_curve.png")
    shown = {name: value for name, value in metrics.items() if name != "history"}
    if as_json:
        typer.echo(json.dumps(shown, indent=1))
        return
    before = shown.get("untuned_regret_veh_s", shown.get("start_regret_veh_s"))
    rows = {"this adapter": shown["regret_veh_s"], "before": before}
    typer.echo(f"Regret on {shown['priced_validation_records']:,} validation records (veh-s):")
    for name, value in sorted({**rows, **shown["rivals_regret_veh_s"]}.items(), key=lambda row: row[1] or 0.0):
        typer.echo(f"  {name:14} {value:.2f}" if value is not None else f"  {name:14} ?")
    typer.echo(f"Adapter, card and learning curve: {out}")
