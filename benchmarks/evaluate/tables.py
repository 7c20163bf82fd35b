"""An evaluation as tables: one for each slice, a row for each answerer, a column for each measure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.evaluate.block_bootstrap import Figure, Interval
from benchmarks.evaluate.evaluation import Evaluation

NOTES = "[low, high]: 95 % block-bootstrap interval over (network, seed). vs: minus the baseline's, paired, with its interval."


def tell(console: Console, evaluation: Evaluation) -> None:
    """Print the tables; the fewest records come last."""
    about = evaluation.about
    for name in dict.fromkeys(figure.slice for figure in evaluation.figures):
        rows = [figure for figure in evaluation.figures if figure.slice == name]
        console.print(Text(f"{about['task']}, {name} ({about['on']}, {rows[0].blocks} blocks)", style="bold"))
        console.print(_table(rows, about["baseline"]))
    console.print(Text(NOTES, style="dim"))


def _table(rows: Sequence[Figure], baseline: str) -> Table:
    table, names = Table(box=None), list(dict.fromkeys(row.measure for row in rows))
    labels = short_names(list(dict.fromkeys(row.answerer for row in rows)))
    table.add_column("answerer", overflow="fold")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column(f"{names[0]} vs {labels.get(baseline, baseline)}", justify="right")
    by_answerer = {spec: {row.measure: row for row in rows if row.answerer == spec} for spec in labels}
    for spec, measures in sorted(by_answerer.items(), key=lambda item: getattr(item[1].get(names[0]), "value", 0.0)):
        first = measures.get(names[0])
        versus = "" if first is None or first.difference is None else f"{first.difference:+.3g} "
        versus += "" if first is None else _bounds(first.difference_interval, "+.3g")
        cells = [
            f"{measures[name].value:.3g} {_bounds(measures[name].interval, '.3g')}" if name in measures else ""
            for name in names
        ]
        table.add_row(labels[spec], *cells, versus)
    return table


def short_names(specs: Sequence[str]) -> dict[str, str]:
    """Names without their parameters, where that tells them apart."""
    short = [spec.partition(":")[0] if not spec.partition(":")[0].endswith(".py") else spec for spec in specs]
    return {spec: name if short.count(name) == 1 else spec for spec, name in zip(specs, short, strict=True)}


def _bounds(interval: Interval | None, form: str) -> str:
    return "" if interval is None else f"[{interval[0]:{form}}, {interval[1]:{form}}]"
