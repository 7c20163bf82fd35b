"""Tables for a terminal: a comparison, and plain lists."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.compare.comparison import BEST, Case, Comparison, Interval, OverallRow, Paired, ScenarioRow
from benchmarks.compare.sentences import FEWEST_TESTED, metric_words, p_words, runs_in_words
from scenarios.road_users import PLURAL

MISSING = "-"
UNITS = {"s": "s/veh", "ms": "ms", "veh": "veh", "veh_h": "veh/h", "mps": "m/s", "kg": "kg", "l": "l"}
VERDICTS = {"baseline": "baseline", "better": "better", "worse": "worse", "open": "not significant"}
EXPLAIN = "--explain says how the figures are made, --wide shows all columns."
#: Columns of a ranking unless it is asked for whole, and of a whole one.
NARROW, WIDE = 80, 180


def comparison(made: Comparison, wide: bool = False, explain: bool = False) -> list[Table | Text]:
    """Case by case, then over all cases, then what may be said; how to read it only with ``explain``."""
    shown: list[Table | Text] = []
    for case in made.cases:
        apart = ", oversaturated" if case.oversaturated else ""
        shown.append(Text(f"{case.title}{apart}", style="bold"))
        shown.append(Text(f"Signal timings: {case.timings_text}"))
        shown.append(_wide_table(made, case) if wide else _case_table(made, case))
        if any(row.users for row in made.of(case.name)):
            shown.append(_users_table(made, case))
    inside = [case for case in made.cases if case.in_overall]
    if made.overall and len(inside) > 1:
        shown.append(Text(f"Over {len(inside)} scenarios: {', '.join(case.name for case in inside)}", style="bold"))
        shown.append(_wide_overall(made) if wide else _overall_table(made))
    shown.append(Text("\n".join(made.sentences)))
    if made.problems:
        shown.append(Text("\n".join(f"Note: {problem}" for problem in made.problems)))
    shown.append(Text("\n".join(made.notes) if explain else EXPLAIN, style="dim"))
    return shown


def print_comparison(made: Comparison, wide: bool, explain: bool) -> None:
    """Print a comparison to stdout; a ranking that is not wide fits 80 columns."""
    console = stdout(WIDE if wide else NARROW)
    for part in comparison(made, wide, explain):
        console.print(part, soft_wrap=isinstance(part, Text))


def _case_table(made: Comparison, case: Case) -> Table:
    table = _ranked(
        f"{_measure(made)} [95 %]", f"% against\n{case.baseline}" if case.baseline else "%", "verdict", right=2
    )
    for row in made.of(case.name):
        paired = row.difference
        table.add_row(
            str(row.rank),
            case.label(row.controller),
            f"{_number(row.mean)} {_interval(row.interval)}",
            MISSING if paired is None else _number(100 * paired.relative, "+.0f"),
            _verdict(row, made.fewest_seeds),
        )
    return table


def _verdict(row: ScenarioRow, fewest_seeds: int) -> str:
    """What may be said; where the seeds are too few for that, what was seen."""
    if row.starves:
        return f"starves {', '.join(PLURAL[kind] for kind in row.starves)}"
    if row.difference is not None and row.verdict == "open" and (row.seeds < fewest_seeds or row.seeds < FEWEST_TESTED):
        return runs_in_words(row.difference)
    return VERDICTS[row.verdict] if row.difference is not None or row.verdict == "baseline" else MISSING


def _users_table(made: Comparison, case: Case) -> Table:
    """Persons, cyclists and public transport, a line for each kind and controller."""
    table = Table(box=None)
    table.add_column("controller", overflow="fold")
    table.add_column("road users")
    for head in ("a run", "delay s", "arrived %", "longest wait s"):
        table.add_column(head, justify="right")
    table.add_column("")
    for row in made.of(case.name):
        for kind, served in row.users.items():
            table.add_row(
                row.controller,
                PLURAL[kind],
                _number(served.scheduled, ".0f"),
                _number(served.delay_s),
                _number(100 * served.completion),
                _number(served.worst_wait_s, ".0f"),
                "starved" if served.starved else "",
            )
    return table


def _measure(made: Comparison) -> str:
    unit = next((text for end, text in UNITS.items() if made.metric.endswith(f"_{end}")), "")
    return f"{metric_words(made.metric)} {unit}".strip()


def _wide_table(made: Comparison, case: Case) -> Table:
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
        "ms a decision\n(all due signals)\np50 / p95",
    )
    for row in made.of(case.name):
        table.add_row(*_case_row(row, made.fewest_seeds, case.label(row.controller)))
    return table


def _overall_table(made: Comparison) -> Table:
    base = "the best" if made.baseline == BEST else made.baseline
    table = _ranked(f"times {base} [95 %]", "%", "verdict", right=2)
    few = made.overall[0].runs < made.fewest_runs
    for row in made.overall:
        starves = f"starves {', '.join(PLURAL[kind] for kind in row.starves)}"
        seen = runs_in_words(row) if few and row.verdict == "open" else ""
        table.add_row(
            str(row.rank),
            row.controller,
            f"{row.score:.2f} {_interval(row.interval, '.2f')}",
            MISSING if row.verdict == "baseline" else f"{100 * (row.score - 1):+.0f}",
            starves if row.starves else seen or VERDICTS[row.verdict],
        )
    return table


def _wide_overall(made: Comparison) -> Table:
    base = "the best" if made.baseline == BEST else made.baseline
    table = _ranked(
        f"times {base}\n[95 %]", "p (Holm)", "difference", f"P(better than\n{base}) [95 %]", "gridlock %", "runs"
    )
    for row in made.overall:
        table.add_row(*_overall_row(row))
    return table


def _ranked(*heads: str, right: int | None = None) -> Table:
    """A table whose first heads are right-aligned, all of them when ``right`` is None."""
    table = Table(box=None)
    table.add_column("#", justify="right")
    table.add_column("controller", overflow="fold")
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if right is None or place < right else "left", overflow="fold")
    return table


def _case_row(row: ScenarioRow, fewest_seeds: int, label: str) -> list[str]:
    paired = row.difference
    return [
        str(row.rank),
        label,
        f"{_number(row.mean)} {_interval(row.interval)}",
        MISSING if paired is None else f"{paired.mean:+.1f} {_interval(paired.interval, '+.1f')}",
        MISSING if paired is None else _number(100 * paired.relative, "+.0f"),
        MISSING if paired is None or paired.p_holm is None else p_words(paired.p_holm),
        _verdict(row, fewest_seeds),
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
        f"starves {', '.join(PLURAL[kind] for kind in row.starves)}" if row.starves else VERDICTS[row.verdict],
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


def stdout(width: int = 150) -> Console:
    """A console for results, of this many columns where it is piped into a file."""
    probe = Console()
    return probe if probe.is_terminal else Console(width=width, highlight=False)
