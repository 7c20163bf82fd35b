"""RESCO's published figures beside ours, for those who know them: another definition of delay, another SUMO."""

from __future__ import annotations

import csv
import math
from functools import cache
from pathlib import Path
from statistics import fmean, median

from benchmarks.report.parts import MISSING, Cell, Head, Part, Row, Table, controller, listed, number, slug, text
from benchmarks.results.cases import Group

FILE = Path(__file__).parent / "resco_published.csv"
SOURCE = (
    "Published figures: J. Ault and G. Sharon, Reinforcement Learning Benchmarks for Traffic Signal Control, NeurIPS "
    "2021 Datasets and Benchmarks, as their repository has them (Pi-Star-Lab/RESCO, utils/avg_timeLoss.py). Fixed "
    "time, max wave and max pressure are medians over episodes; IDQN, IPPO, MPLight and FMA2C are the best training "
    "episode, mean over trials."
)
CAVEAT = (
    "Do not put these columns side by side as if they were one experiment. The published figures were made with SUMO "
    "1.9. On the same files, plain sumo under the networks' own programs gives the published fixed-time delay with "
    "version 1.9.2 and about a quarter less with 1.28, before any code of greenloop plays a part. RESCO's definition "
    "is also another one: time loss plus insertion delay, and vehicles that were never inserted are mostly dropped."
)
TITLE = "Beside RESCO's published figures"
#: RESCO measures an hour.
HOUR_S = 3600.0
#: Column of the file, name for readers, and the controller of ours that does the same.
METHODS = {
    "fixed": ("fixed time", "fixed_time"),
    "maxwave": ("max wave", "greedy"),
    "maxpressure": ("max pressure", "max_pressure"),
    "idqn": ("IDQN", ""),
    "ippo": ("IPPO", ""),
    "mplight": ("MPLight", ""),
    "fma2c": ("FMA2C", ""),
}


@cache
def published() -> dict[str, dict[str, float]]:
    """Delay by network and method, s; methods without a figure are left out."""
    with FILE.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    return {row["network"]: {key: float(row[key]) for key in METHODS if row[key]} for row in rows}


def part(group: Group, name: str) -> Part | None:
    """Our delay, RESCO's definition of it and the published figures; None for other timings or networks."""
    figures = published().get(group.scenario)
    if group.timings != "resco" or figures is None:
        return None
    if differs := _differs(group):
        return Part(TITLE, (f"RESCO's published figures do not stand here, because these runs {differs}.",))
    heads = (
        Head("Controller or method", numeric=False), Head("Made with", numeric=False),
        Head("Delay, ours", "s/veh, mean"), Head("Delay, RESCO's definition", "s, median over seeds"),
        Head("Published by RESCO", "s"),
    )  # fmt: skip
    table = Table(
        slug(f"resco-{name}"), f"{name}: delay by our definition and by RESCO's", heads, _rows(group, figures)
    )
    return Part(TITLE, (CAVEAT,), (Table(**{**vars(table), "note": SOURCE}),))


def _differs(group: Group) -> str:
    """In what the runs are not RESCO's, in words; "" when they are."""
    scenario = group.runs[0].scenario
    said = {
        f"measure {(scenario.end_s - scenario.begin_s) / 60:g} minutes and not an hour": (
            scenario.end_s - scenario.begin_s != HOUR_S
        ),
        f"have {scenario.demand_scale:g} times the demand": scenario.demand_scale != 1,
        "have incidents": any(run.scenario.incidents for run in group.runs),
    }
    return listed([words for words, true in said.items() if true])


def _rows(group: Group, figures: dict[str, float]) -> tuple[Row, ...]:
    sumo = " and ".join(sorted({f"SUMO {run.versions.get('sumo', '?')}" for run in group.runs}))
    ours = [_our_row(group, name, sumo, figures) for name in group.controllers]
    theirs = [
        Row((text(f"{METHODS[key][0]} (published)"), text("SUMO 1.9"), number(None), number(None), number(value)))
        for key, value in sorted(figures.items(), key=lambda item: item[1])
    ]
    return (*ours, *theirs)


def _our_row(group: Group, name: str, sumo: str, figures: dict[str, float]) -> Row:
    runs = group.of(name)
    mine, theirs = (
        [run.metrics[key] for run in runs if math.isfinite(run.metrics.get(key, math.nan))]
        for key in ("delay_s", "delay_resco_s")
    )
    alike = next((key for key, (_, ours) in METHODS.items() if ours == name.partition(":")[0] and key in figures), None)
    beside = Cell(MISSING) if alike is None else number(figures[alike], ".1f", METHODS[alike][0])
    return Row(
        (
            controller(name),
            text(sumo),
            number(fmean(mine) if mine else None),
            number(median(theirs) if theirs else None),
            beside,
        )
    )
