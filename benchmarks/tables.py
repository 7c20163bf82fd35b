"""Tables for a terminal: the ranking, and plain lists."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.stats import Interval, Paired, Row

MISSING = "-"
NOTES = (
    "Delay: (arrival or end) - scheduled departure - free-flow time, over every scheduled vehicle; running and never "
    "inserted ones count.",
    "[low, high]: 95 % bootstrap interval of the mean. vs: paired over seeds. Seeds for 5 %: runs that a difference of "
    "5 % needs (80 % power).",
    "Gridlock: completion under 80 % of the best on that seed, or a queue that stood for 15 min, unless the suite says "
    "otherwise.",
)
FEW = ("Fewer than three seeds: no intervals.",)


def ranking(rows: Sequence[Row], baseline: str, timings: str, minutes: Mapping[str, float]) -> list[Table | Text]:
    """One table per scenario, with the signal timings printed over it and what the columns mean below."""
    shown: list[Table | Text] = []
    for scenario in dict.fromkeys(row.scenario for row in rows):
        members = [row for row in rows if row.scenario == scenario]
        shown.append(Text(f"{scenario}, {minutes[scenario]:g} min", style="bold"))
        shown.append(Text(f"Signal timings: {timings}"))
        shown.append(_scenario_table(members, baseline))
    if rows:
        shown.append(Text("\n".join([*NOTES, *FEW[: min(row.seeds for row in rows) < 3]]), style="dim"))
    return shown


def _scenario_table(rows: Sequence[Row], baseline: str) -> Table:
    table = Table(box=None)
    table.add_column("#", justify="right")
    table.add_column("controller", overflow="fold")
    for head in (
        "delay s/veh\n[95 %]",
        f"vs {baseline} s\n[95 %]",
        "vs %",
        "arrived %",
        "gridlock %",
        "seeds",
        "seeds for 5 %",
        "decision ms\np50 / p95",
    ):
        table.add_column(head, justify="right")
    for row in rows:
        table.add_row(*_ranking_row(row))
    return table


def _ranking_row(row: Row) -> list[str]:
    paired = row.difference_s
    return [
        str(row.rank),
        row.controller,
        f"{_number(row.delay_s)} {_interval(row.delay_interval_s)}",
        MISSING if paired is None else f"{paired.mean:+.1f} {_interval(paired.interval, sign=True)}",
        MISSING if paired is None else _number(100 * paired.relative, "+.0f"),
        _number(100 * row.completion),
        _number(100 * row.gridlock_rate, ".0f"),
        str(row.seeds),
        _seeds(paired),
        f"{_number(row.decision_latency_p50_ms)} / {_number(row.decision_latency_p95_ms)}",
    ]


def _seeds(paired: Paired | None) -> str:
    return MISSING if paired is None or paired.seeds_needed is None else str(paired.seeds_needed)


def _number(value: float, form: str = ".1f") -> str:
    return format(value, form) if math.isfinite(value) else MISSING


def _interval(interval: Interval | None, sign: bool = False) -> str:
    form = "+.1f" if sign else ".1f"
    return "" if interval is None else f"[{interval[0]:{form}}, {interval[1]:{form}}]"


def listing(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[str] = ()) -> Table:
    """A plain table; the columns in ``numbers`` are right-aligned."""
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, justify="right" if head in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def stdout() -> Console:
    """A console for results; wide enough for the ranking when it is piped into a file."""
    probe = Console()
    return probe if probe.is_terminal else Console(width=150, highlight=False)
