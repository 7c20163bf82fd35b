"""Tables for a terminal: a comparison, and plain lists."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.compare.comparison import BEST, Case, Comparison, Interval, OverallRow, Paired, ScenarioRow
from benchmarks.compare.sentences import metric_words, p_words

MISSING = "-"
UNITS = {"s": "s/veh", "ms": "ms", "veh": "veh", "veh_h": "veh/h", "mps": "m/s", "kg": "kg", "l": "l"}
VERDICTS = {"baseline": "", "better": "better", "worse": "worse", "open": "not shown"}
TOO_FEW = "too few seeds"


def comparison(made: Comparison) -> list[Table | Text]:
    """Case by case, then over all cases, then what may be said and how to read it."""
    shown: list[Table | Text] = []
    for case in made.cases:
        apart = ", oversaturated" if case.oversaturated else ""
        shown.append(Text(f"{case.name}, {case.minutes:g} min{apart}", style="bold"))
        shown.append(Text(f"Signal timings: {case.timings_text}"))
        shown.append(_case_table(made, case))
    inside = [case for case in made.cases if case.in_overall]
    if made.overall and len(inside) > 1:
        shown.append(Text(f"Over {len(inside)} scenarios: {', '.join(case.name for case in inside)}", style="bold"))
        shown.append(_overall_table(made))
    shown.append(Text("\n".join(made.sentences)))
    if made.problems:
        shown.append(Text("\n".join(f"Note: {problem}" for problem in made.problems)))
    shown.append(Text("\n".join(made.notes), style="dim"))
    return shown


def _case_table(made: Comparison, case: Case) -> Table:
    unit = next((text for end, text in UNITS.items() if made.metric.endswith(f"_{end}")), "")
    table = _ranked(
        f"{metric_words(made.metric)} {unit}\n[95 %]",
        f"vs {case.baseline or 'baseline'}\n[95 %]",
        "vs %",
        "p (Holm)",
        "difference",
        "arrived %",
        "gridlock %",
        "seeds",
        "seeds for 5 %",
        "decision ms\np50 / p95",
    )
    for row in made.of(case.name):
        table.add_row(*_case_row(row, made.fewest_seeds))
    return table


def _overall_table(made: Comparison) -> Table:
    base = "the best" if made.baseline == BEST else made.baseline
    table = _ranked(
        f"times {base}\n[95 %]", "p (Holm)", "difference", f"P(better than\n{base}) [95 %]", "gridlock %", "runs"
    )
    for row in made.overall:
        table.add_row(*_overall_row(row))
    return table


def _ranked(*heads: str) -> Table:
    table = Table(box=None)
    table.add_column("#", justify="right")
    table.add_column("controller", overflow="fold")
    for head in heads:
        table.add_column(head, justify="right")
    return table


def _case_row(row: ScenarioRow, fewest_seeds: int) -> list[str]:
    paired = row.difference
    return [
        str(row.rank),
        row.controller,
        f"{_number(row.mean)} {_interval(row.interval)}",
        MISSING if paired is None else f"{paired.mean:+.1f} {_interval(paired.interval, '+.1f')}",
        MISSING if paired is None else _number(100 * paired.relative, "+.0f"),
        MISSING if paired is None or paired.p_holm is None else p_words(paired.p_holm),
        MISSING if paired is None else TOO_FEW if row.seeds < fewest_seeds else VERDICTS[row.verdict],
        _number(100 * row.completion),
        _number(100 * row.gridlock_rate, ".0f"),
        str(row.seeds),
        _seeds(paired),
        f"{_number(row.decision_latency_p50_ms)} / {_number(row.decision_latency_p95_ms)}",
    ]


def _overall_row(row: OverallRow) -> list[str]:
    improved = MISSING if row.improvement is None else f"{row.improvement:.2f}"
    return [
        str(row.rank),
        row.controller,
        f"{row.score:.2f} {_interval(row.interval, '.2f')}",
        MISSING if row.p_holm is None else p_words(row.p_holm),
        VERDICTS[row.verdict] or MISSING,
        f"{improved} {_interval(row.improvement_interval, '.2f')}",
        _number(100 * row.gridlock_rate, ".0f"),
        str(row.runs),
    ]


def _seeds(paired: Paired | None) -> str:
    return MISSING if paired is None or paired.seeds_needed is None else str(paired.seeds_needed)


def _number(value: float | None, form: str = ".1f") -> str:
    return format(value, form) if value is not None and math.isfinite(value) else MISSING


def _interval(interval: Interval | None, form: str = ".1f") -> str:
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
