"""Layers against milliseconds against delay: adapters with other numbers of layers, on the same runs.

    greenloop run --suite ablations --controller greedy --controller language_model:adapter=runs/two/adapter ...
    python -m benchmarks.speed.latency --layers 2 4 6 --no-hour --out latency.json
    python -m benchmarks.speed.layers RESULTS --latency latency.json --out FOLDER

writes ``layers.csv`` and ``layers.svg``. A controller's layers are those that its results say it had loaded.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.compare import statistics as stats
from benchmarks.figures import style
from benchmarks.results import run_result as results
from benchmarks.results.cases import case_key, case_names
from benchmarks.results.run_result import ResultError, RunResult

BATCH = "batch_8"
COLUMNS = ("scenario", "controller", "layers", "ms", "seeds", "delay_s", "low_s", "high_s")


def table(runs: Sequence[RunResult], latency: dict[str, object]) -> pd.DataFrame:
    """One row per scenario and controller: mean delay with its 95 % interval, and what a decision costs.

    Args:
        runs: of any controllers, each cell once (``results.newest``).
        latency: the report of ``benchmarks.speed.latency``.

    Raises:
        ResultError: the report does not hold the layers of some controller.
    """
    names = case_names(runs)
    groups: dict[tuple[str, str, int | None], list[float]] = {}
    for run in runs:
        layers = (run.controller.loaded or {}).get("layers")
        delay_s = run.metrics["delay_s"]
        assert delay_s is not None
        key = (names[case_key(run)], run.controller.name, None if layers is None else int(layers))
        groups.setdefault(key, []).append(delay_s)
    rows = []
    for (scenario, controller, layers), delays in sorted(groups.items(), key=lambda group: (group[0][0], str(group))):
        interval = stats.bootstrap_interval(delays)
        low_s, high_s = (None, None) if interval is None else interval
        ms = None if layers is None else _ms(latency, layers)
        rows.append((scenario, controller, layers, ms, len(delays), sum(delays) / len(delays), low_s, high_s))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"layers": "Int64"})


def _ms(latency: dict[str, object], layers: int) -> float:
    try:
        ways = latency["layers"][str(layers)][BATCH]  # type: ignore[index]
        return float(min(ways[way]["ms_p50"] for way in ("fp32", "bf16") if way in ways))
    except (KeyError, TypeError, ValueError) as error:
        raise ResultError(
            f"The latency report says nothing about {layers} layers; run 'python -m benchmarks.speed.latency --layers "
            f"{layers}' with all others that are compared."
        ) from error


def draw(rows: pd.DataFrame, folder: Path) -> list[Path]:
    """One panel for each scenario: adapters as points, controllers without layers as lines across."""
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(rows.scenario))
    with style.style():
        figure, panels = plt.subplots(
            1, len(names), figsize=(style.WIDTH_IN, 2.9), squeeze=False, layout="constrained", sharex=True
        )
        for axes, name in zip(panels[0], names, strict=True):
            here = rows[rows.scenario == name]
            models, others = here[here.layers.notna()], here[here.layers.isna()]
            low, high = bounds = here.delay_s.min(), here[["delay_s", "high_s"]].max(axis=None)
            heights = style.spread(others.delay_s.tolist(), 0.06 * (high - low), *bounds)
            for row, height in zip(others.itertuples(), heights, strict=True):
                axes.axhline(row.delay_s, color=style.QUIET, linestyle=(0, (3, 2)), linewidth=0.8)
                axes.annotate(
                    style.label(row.controller), (1, height), (4, 0), xycoords=("axes fraction", "data"),
                    textcoords="offset points", ha="left", va="center", fontsize=7, color=style.QUIET,
                )  # fmt: skip
            reach = [(models.delay_s - models.low_s).fillna(0), (models.high_s - models.delay_s).fillna(0)]
            axes.errorbar(models.ms, models.delay_s, yerr=reach, fmt="o", color=style.MODEL_COLOUR, capsize=2)
            for row in models.itertuples():
                axes.annotate(str(row.layers), (row.ms, row.delay_s), (5, 3), textcoords="offset points", fontsize=7.5)
            x_label = "ms a decision, eight together\n(beside each point: its layers)"
            axes.set(title=name, xlabel=x_label, xlim=(0, 1.2 * float(models.ms.max())))
        panels[0][0].set_ylabel("delay, s/veh")
        return style.save(figure, folder, "layers", ("svg",))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read results and a latency report; write the table and the figure."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.layers", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("--latency", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path())
    chosen = parser.parse_args(arguments)
    try:
        runs, problems = results.read_folder(chosen.results)
        for problem in problems:
            print(problem, file=sys.stderr)
        runs, note = results.newest(runs)
        if note:
            print(note, file=sys.stderr)
        rows = table(runs, json.loads(chosen.latency.read_text(encoding="utf-8")))
        if not rows.layers.notna().any():
            raise ResultError(f"Folder {chosen.results} holds no run of a language model.")
        rows = rows[rows.scenario.isin(rows.scenario[rows.layers.notna()])]  # a panel needs a model
    except (ResultError, OSError, ValueError) as error:
        sys.exit(f"greenloop: {error}")
    chosen.out.mkdir(parents=True, exist_ok=True)
    rows.round(3).to_csv(chosen.out / "layers.csv", index=False)
    draw(rows, chosen.out)
    print(rows.round(1).to_string(index=False))


if __name__ == "__main__":
    main()
