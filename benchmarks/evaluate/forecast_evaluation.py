"""What ``greenloop forecast`` does: fit, forecast, score, and write a table, JSON, the CSV of a fan, and a figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.cli import tables
from benchmarks.evaluate.forecast_files import CSV_FILE, FAN_FILE, JSON_FILE, Kept, write_fan, write_scores
from benchmarks.evaluate.forecast_scores import PLACES, Score, records_sha256, score
from benchmarks.results import provenance
from llm.backbone import cards
from llm.records import shards
from llm.records.shards import RecordError, write_bytes
from llm.tasks.forecast import records as forecast_data
from llm.tasks.forecast.forecasters import ForecastError, checked, make, names
from llm.tasks.forecast.quantile_head import FILE
from llm.tasks.forecast.records import ForecastRecord
from llm.tasks.forecast.state import TARGETS

Floats = NDArray[np.float64]
MODEL = "language_model"
_UNITS = {"flow_veh_h": "Flow until then (veh/h)", "queue_veh": "Queue then (veh)"}
#: Places that are shown: the flow also near the incidents that change it most.
_TITLES = {
    "overall": "overall",
    "around_incidents": "around incidents",
    "road_closure": "near road closures",
    "demand_surge": "near demand surges",
}
NOTES = (
    "MAE of the median at 1 / 5 / 15 min; [low, high]: 95 % block-bootstrap interval over (network, seed) at 15 min.",
    "vs: MAE minus the baseline's at 15 min, paired. Pinball: mean over the 10, 50 and 90 % quantiles and horizons.",
    "In band: share of what came within the 80 % band, aim 75 to 85 %. Around incidents: within two junctions, from "
    "the start to 15 min after the end.",
)


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    records: Path
    on: str = "held_out"
    forecasters: tuple[str, ...] = ()
    head: Path | None = None
    baseline: str | None = None
    limit: int = 0
    out: Path = Path("results/forecast")
    figures: bool = True


def execute(request: Request, as_json: bool) -> None:
    """Run the comparison and tell it.

    Raises:
        RecordError: the records are missing, damaged, of another kind, or the folder cannot be written.
        ForecastError: a forecaster cannot be made or fails.
    """
    result, said, scored = compare(request)
    write_bytes(request.out / JSON_FILE, json.dumps(result, indent=1).encode())
    scores = [Score(**row) for row in result["scores"]]
    write_scores(request.out / CSV_FILE, scores)
    shown = next((spec for spec in said if spec.startswith(MODEL)), next(iter(said)))
    write_fan(request.out / FAN_FILE, scored, said[shown])
    if request.figures:
        from benchmarks.evaluate import forecast_figures

        forecast_figures.draw(scores, request.out / FAN_FILE, request.out)
    if as_json:
        typer.echo(json.dumps(result, indent=1))
        return
    console = tables.stdout()
    tell(console, scores, result["baseline"], f"{request.on}, {len(scored):,} records")
    console.print(f"Scores: {request.out / JSON_FILE}")


def compare(request: Request) -> tuple[dict[str, Any], dict[str, Floats], list[ForecastRecord]]:
    """Fit and score all forecasters; returns what the JSON holds, the forecasts, and the records scored.

    Raises:
        RecordError, ForecastError: as ``execute``; those that need no fit are found before the first one.
    """
    if request.on not in ("validation", forecast_data.HELD_OUT):
        raise RecordError(f"Forecasts are scored on held_out or validation records, not on '{request.on}'.")
    specs = _specs(request)
    baseline = _baseline(request, specs)
    train, validation = (forecast_data.FILES.read_split(request.records, split) for split in ("train", "validation"))
    pool = validation if request.on == "validation" else forecast_data.FILES.read_split(request.records, request.on)
    scored = shards.thinned(pool, request.limit)
    scored_sha256, manifest_sha256 = records_sha256(scored), shards.file_sha256(request.records / shards.MANIFEST)
    kept = Kept(request.out, (scored_sha256, forecast_data.learnt_sha256(request.records)))
    kept.check_writable()
    approaches = sum(len(record.state.approaches) for record in scored)
    known = {spec: kept.read(spec, approaches) for spec in specs}
    made = {spec: make(spec) for spec in specs if known[spec] is None}
    said: dict[str, Floats] = {}
    for spec in specs:
        found = known[spec]
        typer.echo(f"{spec} ..." if found is None else f"{spec}: kept from an earlier run", err=True)
        if found is None:
            forecaster = made.pop(spec)
            forecaster.fit(train, validation)
            found = kept.write(spec, checked(spec, forecaster, forecast_data.states(scored)))
        said[spec] = found
    scores = score(scored, said, baseline)
    git = provenance.git()
    about = {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "on": request.on,
        "baseline": baseline,
        "records": len(scored),
        "scored_sha256": scored_sha256,
        "manifest_sha256": manifest_sha256,
        "versions": provenance.versions(),
        "git": git.model_dump() if git else None,
        "machine": provenance.machine(),
    }
    return {**about, "scores": [row.as_dict() for row in scores]}, said, scored


def _specs(request: Request) -> tuple[str, ...]:
    """The forecasters asked for, or all; the language model only where there is a head for it."""
    known = request.forecasters or names()
    shipped = cards.shipped()
    if request.head is None and not request.forecasters and not (shipped and (shipped / FILE).is_file()):
        known = tuple(name for name in known if not name.startswith(MODEL))
        typer.echo(
            "The shipped adapter has no forecast head, so the language model is left out; use --head.",
            err=True,
        )
    if request.head is not None:
        known = tuple(
            f"{name}:head={request.head}" if name in names() and name.startswith(MODEL) else name for name in known
        )
    return tuple(dict.fromkeys(known))


def _baseline(request: Request, specs: Sequence[str]) -> str:
    wanted = request.baseline or ("boosted_trees" if "boosted_trees" in specs else specs[0])
    if wanted not in specs:
        raise ForecastError(f"The baseline '{wanted}' is not among the forecasters; choose one of {', '.join(specs)}.")
    return wanted


# --- what is told


def tell(console: Console, scores: Sequence[Score], baseline: str, where: str) -> None:
    """One table for each target and place."""
    for target in TARGETS:
        for place in _TITLES if target == TARGETS[0] else PLACES[:2]:
            rows = [row for row in scores if row.target == target and row.place == place]
            if rows:
                console.print(Text(f"{_UNITS[target]}, {_TITLES[place]} ({where})", style="bold"))
                console.print(_table(rows, baseline, ".1f" if target == TARGETS[0] else ".2f"))
    console.print(Text("\n".join(NOTES), style="dim"))


def _table(rows: Sequence[Score], baseline: str, form: str) -> Table:
    table, labels = Table(box=None), _labels(list(dict.fromkeys(row.forecaster for row in rows)))
    table.add_column("forecaster", overflow="fold")
    for head in (
        "MAE 1 / 5 / 15 min",
        "[95 %]",
        f"vs {labels[baseline]}",
        "RMSE 1 / 5 / 15 min",
        "pinball",
        "in band, %",
    ):
        table.add_column(head, justify="right")
    means = {
        name: [row for row in rows if row.forecaster == name] for name in dict.fromkeys(r.forecaster for r in rows)
    }
    for name, found in sorted(means.items(), key=lambda item: np.mean([row.mae for row in item[1]])):
        last = found[-1]
        versus = "" if last.difference is None else f"{last.difference:+{form}} "
        table.add_row(
            labels[name],
            " / ".join(format(row.mae, form) for row in found),
            _bounds(last.mae_interval, form),
            versus + _bounds(last.difference_interval, "+" + form),
            " / ".join(format(row.rmse, form) for row in found),
            format(float(np.mean([row.pinball for row in found])), ".2f"),
            " / ".join(f"{100 * row.coverage:.0f}" for row in found),
        )
    return table


def _labels(specs: Sequence[str]) -> dict[str, str]:
    """Names without their parameters, where that tells them apart."""
    short = [spec.partition(":")[0] if not spec.partition(":")[0].endswith(".py") else spec for spec in specs]
    return {spec: name if short.count(name) == 1 else spec for spec, name in zip(specs, short, strict=True)}


def _bounds(interval: tuple[float, float] | None, form: str) -> str:
    return "" if interval is None else f"[{interval[0]:{form}}, {interval[1]:{form}}]"
