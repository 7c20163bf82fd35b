"""A published claim run again: part of the suite held_out, compared with the published rows.

``make claim`` runs two of its networks with two seeds, plain and with incidents, under all of its controllers.
Classical controllers must give the published figures digit for digit. What a network or a language model decides rests
on sums of floats, which processors add up differently, so its runs may differ where its mean does not.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.compare.pipeline import is_classical
from benchmarks.results import provenance, run_result
from benchmarks.results.run_result import RunResult
from benchmarks.run import matrix
from benchmarks.run.benchmark import Plan, Request, fetch_model, parse_seeds, plan
from benchmarks.run.progress import SweepProgress

SUITE = "held_out"
NETWORKS = ("cologne3", "ingolstadt1")
PUBLISHED = provenance.ROOT / "benchmarks" / "published" / SUITE / "runs.csv"
#: Metrics that are compared -> their digits in the published table.
DIGITS = {"delay_s": 3, "completion": 4, "standing_queue_s": 3}
#: A learnt controller's mean delay may differ by this share, in runs that are not the same digit for digit.
TOLERANCE = 0.05

Key = tuple[str, str, int]  # scenario, controller, seed
Figures = dict[str, float]


class ClaimError(ValueError):
    """A claim that cannot be checked; the message is one sentence."""


@dataclass(frozen=True)
class Published:
    """The published rows of one suite.

    Attributes:
        rows: figures by scenario, controller and seed.
        sumo: version that made them.
        suite: name and version.
    """

    rows: Mapping[Key, Figures]
    sumo: str
    suite: str


@dataclass(frozen=True)
class Line:
    """How one controller's runs compare; delays are means over its runs, s/veh."""

    controller: str
    runs: int
    same: int
    published_s: float
    rerun_s: float

    @property
    def holds(self) -> bool:
        """Every digit, or for what learnt nearly the same mean."""
        close = abs(self.rerun_s / self.published_s - 1) <= TOLERANCE if self.published_s else False
        return self.same == self.runs or (close and not is_classical(self.controller))


def read_published(file: Path = PUBLISHED) -> Published:
    """Read the published rows.

    Raises:
        ClaimError: they are missing or damaged; a wheel does not carry them.
    """
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            table = list(csv.DictReader(stream))
        rows = {
            (row["scenario"], row["controller"], int(row["seed"])): {name: float(row[name]) for name in DIGITS}
            for row in table
        }
        made = {(row["sumo"], row["suite"]) for row in table}
    except OSError as error:
        raise ClaimError(f"{file} cannot be read ({error.strerror}); run this in a checkout of the project.") from error
    except (KeyError, ValueError, TypeError) as error:
        raise ClaimError(f"{file} is damaged ({type(error).__name__}: {error}); check it out again.") from error
    if len(made) != 1:
        raise ClaimError(f"{file} holds rows of {len(made)} versions; a claim is about one.")
    sumo, suite = made.pop()
    return Published(rows, sumo, suite)


def compare(published: Published, runs: Sequence[RunResult]) -> list[Line]:
    """One line for each controller, in the order of the runs.

    Raises:
        ClaimError: a run has no published row, or another version of the suite or of SUMO made it.
    """
    grouped: dict[str, list[tuple[Figures, Figures]]] = {}
    for run in runs:
        suite = f"{run.suite.name} {run.suite.version}" if run.suite else "no suite"
        sumo = run.versions.get("sumo", "?")
        for what, here, there in (("the suite", suite, published.suite), ("SUMO", sumo, published.sumo)):
            if here != there:
                raise ClaimError(
                    f"The published rows are of {what} '{there}' and these runs of '{here}', so digits do not compare; "
                    "install the versions of constraints.txt."
                )
        key = (run.scenario.name, run.controller.name, run.seed)
        if key not in published.rows:
            raise ClaimError(f"There is no published row of {key[0]}, {key[1]}, seed {key[2]}.")
        rerun = {name: round(float(run.metrics[name]), digits) for name, digits in DIGITS.items()}
        grouped.setdefault(key[1], []).append((published.rows[key], rerun))
    return [_line(name, pairs) for name, pairs in grouped.items()]


def _line(controller: str, pairs: Sequence[tuple[Figures, Figures]]) -> Line:
    same = sum(all(there[name] == here[name] for name in DIGITS) for there, here in pairs)
    published_s, rerun_s = (float(np.mean([pair[side]["delay_s"] for pair in pairs])) for side in (0, 1))
    return Line(controller, len(pairs), same, published_s, rerun_s)


def verdict(lines: Sequence[Line], failed: int) -> str:
    """What came of it, in one sentence that begins with REPRODUCED or NOT REPRODUCED."""
    runs, same = sum(line.runs for line in lines), sum(line.same for line in lines)
    if failed:
        return f"NOT REPRODUCED: {failed} runs failed."
    broken = [line for line in lines if not line.holds]
    if broken:
        worst = max(broken, key=lambda line: line.runs - line.same)
        return (
            f"NOT REPRODUCED: {same} of {runs} runs are the published ones digit for digit; {worst.controller} differs "
            f"in {worst.runs - worst.same} of {worst.runs} (mean delay {worst.rerun_s:.3f} s/veh, published "
            f"{worst.published_s:.3f})."
        )
    if same == runs:
        return f"REPRODUCED: all {runs} runs are the published ones digit for digit."
    moved = ", ".join(
        f"{line.controller} in {line.runs - line.same} of {line.runs} "
        f"(mean delay {line.rerun_s / line.published_s - 1:+.1%})"
        for line in lines
        if line.same < line.runs
    )
    return (
        "REPRODUCED: every classical run is the published one digit for digit; learnt controllers differ, as they may "
        f"on another processor: {moved}."
    )


def check(request: Request) -> int:
    """Run, compare and print; return the exit code: 0 if the claim was reproduced, 1 if not.

    Raises:
        ClaimError, RequestError, ScenarioError, BackboneError: one sentence each.
    """
    published = read_published()
    planned: Plan = plan(request)
    fetch_model(planned)
    with SweepProgress() as progress:
        sweep = matrix.run(planned.cells, planned.out, planned.workers, progress, planned.cell_limit_s)
    runs = [run_result.read(path) for path in sweep.paths]
    lines = compare(published, runs)
    print(f"{'controller':24} {'same digits':>11} {'published':>10} {'here':>10}  mean delay, s/veh")
    for line in lines:
        print(f"{line.controller:24} {line.same:>5} of {line.runs:<3} {line.published_s:>10.3f} {line.rerun_s:>10.3f}")
    if sweep.resumed:
        print(f"{sweep.resumed} of these runs had been in {planned.out} before.")
    said = verdict(lines, len(sweep.failed))
    print(said)
    return 0 if said.startswith("REPRODUCED") else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m benchmarks.run.claim``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("results/claim"))
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--controllers", nargs="+", default=[], help="all of the suite when missing")
    parser.add_argument("--seeds", default="1-2")
    parser.add_argument("--workers", type=int, default=None)
    asked = parser.parse_args(arguments)
    try:
        request = Request(
            suite=SUITE,
            scenarios=tuple(asked.networks),
            controllers=tuple(asked.controllers),
            seeds=parse_seeds(asked.seeds),
            out=asked.out,
            workers=asked.workers,
        )
        return check(request)
    except (ValueError, RuntimeError) as error:
        print(f"claim: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
