"""``greenloop compare``: which controller is better, over any set of result folders."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from benchmarks.compare.comparison import Comparison


def register(app: typer.Typer) -> None:
    """Add the command to the ``greenloop`` command."""
    app.command()(compare)


def compare(
    results: Annotated[list[Path], typer.Argument(help="Folders of results, or single result files.")],
    baseline: Annotated[
        str | None,
        typer.Option(help="Compare with this controller, or with 'best' classical one.  [default: fixed_time]"),
    ] = None,
    metric: Annotated[str, typer.Option(help="A metric of the results.")] = "delay_s",
    controller: Annotated[list[str] | None, typer.Option(help="Only this controller; repeat for several.")] = None,
    scenario: Annotated[list[str] | None, typer.Option(help="Only this scenario; repeat for several.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON to stdout, for machines.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV to stdout.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Every column of the ranking, beyond 80 characters.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say below the ranking how its figures are made.")] = False,
) -> None:
    """Rank the controllers of any results, and say what is significant.

    Results of other versions, timings or seeds are found and named; only the part that all have in common is compared.

    \b
    Examples:
      greenloop compare results
      greenloop compare results other/results --baseline greedy
      greenloop compare results --baseline best --metric travel_time_s
      greenloop compare results --controller greedy --controller language_model --csv
    """
    from benchmarks.compare.pipeline import CompareError
    from benchmarks.compare.pipeline import compare as compared

    if as_json and as_csv:
        raise CompareError("Give either --json or --csv, not both.")
    made = compared(results, baseline, metric, controllers=controller or (), scenarios=scenario or ())
    if as_json:
        typer.echo(json.dumps(made.as_dict(), indent=1, allow_nan=False))
    elif as_csv:
        _write_csv(made)
        _tell(made)
    else:
        from benchmarks.cli.tables import print_comparison

        print_comparison(made, wide, explain)


def _tell(made: Comparison) -> None:
    for sentence in (*made.sentences, *made.problems):
        typer.echo(sentence, err=True)


def _write_csv(made: Comparison) -> None:
    """One line for each controller on each case, then one for each over all ("overall")."""
    plain = made.as_dict()
    rows = [_flat(row) for row in plain["rows"]] + [{"case": "overall", **_flat(row)} for row in plain["overall"]]
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(sys.stdout, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _flat(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under joined names; intervals as two columns."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}_")
        elif name == "starves":
            flat |= {f"{prefix}{name}": " ".join(value)} if value else {}
        elif isinstance(value, list):
            flat |= {f"{prefix}{name}_low": value[0], f"{prefix}{name}_high": value[1]}
        elif value is not None or not name.endswith(("interval", "difference")):
            flat[f"{prefix}{name}"] = value
    return flat
