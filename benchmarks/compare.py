"""Which controller is better, over any set of results: the one way from results to a statement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.comparison import BEST, Case, Comparison, OverallRow, Paired, Profile, ScenarioRow
from benchmarks.metrics import GridlockRule
from benchmarks.results import RunResult

__all__ = ["BEST", "Case", "Comparison", "OverallRow", "Paired", "Profile", "ScenarioRow", "compare"]


class CompareError(ValueError):
    """A comparison that cannot be made; the message is one sentence."""


def compare(
    results: str | Path | Sequence[str | Path] | Sequence[RunResult],
    baseline: str | None = None,
    metric: str = "delay_s",
    *,
    controllers: Sequence[str] = (),
    scenarios: Sequence[str] = (),
    gridlock: GridlockRule | None = None,
) -> Comparison:
    """Compare the controllers of some results.

    Args:
        results: folders of results, or results that were read.
        baseline: a controller, or "best" for the best classical one of each case; fixed time when missing.
        metric: key of ``RunResult.metrics``, such as ``delay_s`` or ``travel_time_s``.
        controllers: compare only these; all when empty.
        scenarios: compare only these; all when empty.
        gridlock: rule for gridlocked runs; the one of the results' suite when missing.

    Raises:
        CompareError: there is nothing to compare, or the baseline, the metric or a filter fits no result.
        ResultError: a folder holds no result that can be read.
    """
    raise CompareError("Comparing is being built.")
