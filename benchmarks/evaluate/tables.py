"""An evaluation as tables: one for each slice, a row for each answerer, a column for each measure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.evaluate.block_bootstrap import Figure, Interval
from benchmarks.evaluate.evaluation import Evaluation

NOTES = "[low, high]: 95 % block-bootstrap interval over (network, seed), last step. vs: minus the baseline's, paired."


def tell(console: Console, evaluation: Evaluation) -> None:
    """Print a table for each slice and group of measures."""
    about = evaluation.about
    for group in dict.fromkeys(figure.group for figure in evaluation.figures):
        for name in dict.fromkeys(figure.slice for figure in evaluation.figures):
            rows = [figure for figure in evaluation.figures if (figure.slice, figure.group) == (name, group)]
            if rows:
                what = ", ".join(part for part in (about["task"], group, name) if part)
                console.print(Text(f"{what} ({about['on']}, {rows[0].blocks} blocks)", style="bold"))
                console.print(_table(rows, about["baseline"]))
    console.print(Text(NOTES, style="dim"))


def _table(rows: Sequence[Figure], baseline: str) -> Table:
    table, names = Table(box=None), list(dict.fromkeys(row.measure for row in rows))
    labels = short_names(list(dict.fromkeys(row.answerer for row in rows)))
    first = names[0]
    table.add_column("answerer", overflow="fold")
    for name in names:
        steps = " / ".join(dict.fromkeys(row.step for row in rows if row.measure == name))
        table.add_column(f"{name} {steps}".strip(), justify="right")
    table.add_column(f"{first} vs {labels.get(baseline, baseline)}", justify="right")

    def of(spec: str, name: str) -> list[Figure]:
        return [row for row in rows if (row.answerer, row.measure) == (spec, name)]

    for spec in sorted(labels, key=lambda spec: sum(row.value for row in of(spec, first))):
        table.add_row(labels[spec], *(_cell(of(spec, name)) for name in names), _versus(of(spec, first)))
    return table


def _cell(steps: Sequence[Figure]) -> str:
    """The values of all steps, and the interval of the last."""
    if not steps:
        return ""
    return f"{' / '.join(format(row.value, '.3g') for row in steps)} {_bounds(steps[-1].interval, '.3g')}".rstrip()


def _versus(steps: Sequence[Figure]) -> str:
    if not steps or steps[-1].difference is None:
        return ""
    return f"{steps[-1].difference:+.3g} {_bounds(steps[-1].difference_interval, '+.3g')}".rstrip()


def short_names(specs: Sequence[str]) -> dict[str, str]:
    """Names without their parameters, where that tells them apart."""
    short = [spec.partition(":")[0] if not spec.partition(":")[0].endswith(".py") else spec for spec in specs]
    return {spec: name if short.count(name) == 1 else spec for spec, name in zip(specs, short, strict=True)}


def _bounds(interval: Interval | None, form: str) -> str:
    return "" if interval is None else f"[{interval[0]:{form}}, {interval[1]:{form}}]"
