"""Which controllers starve a kind of road user: one rule for tables, report and JSON.

A controller **starves** persons, cyclists, buses or trams on a case when both hold, over its runs there:

* the share of them that arrived is more than 10 percentage points below that under the network's own control
  (fixed_time; where that was not run, under the controller with the highest share), and
* one of them waited longer than the maximum red of the timings, or than five minutes where the timings allow
  more.

A kind with fewer than five road users over all runs is not judged. A controller that starves one is marked, and never
called better, whatever the delay of the vehicles is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.compare.comparable import CaseRuns, value_of
from benchmarks.compare.comparison import OverallRow, ScenarioRow, UsersServed
from benchmarks.results.run_result import RunResult
from scenarios.road_users import KINDS, PLURAL

#: The network's own control.
OWN_CONTROL = "fixed_time"
#: Shares that arrived may differ by so much, as a share.
COMPLETION_GAP = 0.1
#: Fewer of a kind than this, over all runs, say nothing.
FEWEST_USERS = 5
#: Nobody should wait longer than this at a signal, whatever maximum red the timings allow, s.
LONGEST_WAIT_S = 300.0


def users_of(case: CaseRuns) -> dict[str, dict[str, UsersServed]]:
    """By controller and kind, how road users beside cars fared on a case."""
    served = {name: _served(case.of(name)) for name in case.runs}
    limit_s = max_wait_s(case.any)
    for kind in KINDS:
        shares = {name: found[kind].completion for name, found in served.items() if kind in found}
        if shares:
            least = shares.get(OWN_CONTROL, max(shares.values())) - COMPLETION_GAP
            for name in shares:
                one = served[name][kind]
                enough = one.scheduled * len(case.seeds) >= FEWEST_USERS
                starved = enough and one.completion < least - 1e-9 and one.worst_wait_s > limit_s
                served[name][kind] = replace(one, starved=starved)
    return served


def max_wait_s(run: RunResult) -> float:
    """The longest wait that the rule allows under a run's timings, s."""
    return min(float(run.timings.get("max_red_s", LONGEST_WAIT_S)), LONGEST_WAIT_S)


def _served(runs: list[RunResult]) -> dict[str, UsersServed]:
    found = {}
    for kind in KINDS:
        own = [run for run in runs if np.isfinite(value_of(run, f"{kind}_completion"))]
        if own:
            values = {
                key: np.array([value_of(run, f"{kind}_{key}") for run in own])
                for key in ("scheduled", "delay_s", "completion", "worst_wait_s")
            }
            found[kind] = UsersServed(
                scheduled=float(values["scheduled"].mean()),
                delay_s=float(values["delay_s"].mean()),
                completion=float(values["completion"].mean()),
                worst_wait_s=float(values["worst_wait_s"].max()),
            )
    return found


def marked(rows: list[ScenarioRow]) -> list[ScenarioRow]:
    """The rows; a controller that starves road users is not called better, nor is it left open."""
    return [
        replace(row, verdict="starves") if row.starves and row.verdict in ("better", "open") else row for row in rows
    ]


def marked_overall(overall: list[OverallRow], rows: list[ScenarioRow], cases: set[str]) -> list[OverallRow]:
    """The same for the ranking over the cases named."""
    found = []
    for row in overall:
        kinds = {kind for one in rows if one.controller == row.controller and one.case in cases for kind in one.starves}
        verdict = "starves" if kinds and row.verdict in ("better", "open") else row.verdict
        found.append(replace(row, verdict=verdict, starves=tuple(kind for kind in KINDS if kind in kinds)))
    return found


def sentences(rows: tuple[ScenarioRow, ...], limits_s: dict[str, float]) -> list[str]:
    """One sentence for each controller and kind that it starves; ``limits_s`` is the allowed wait by case."""
    said = []
    for row in rows:
        for kind in row.starves:
            served = row.users[kind]
            said.append(
                f"{row.controller} starves {PLURAL[kind]} on {row.case}: {100 * served.completion:.0f} % of "
                f"{served.scheduled:.0f} arrive{_reference(rows, row, kind)}, and one waits {served.worst_wait_s:.0f} "
                f"s (allowed: {limits_s[row.case]:.0f} s)."
            )
    return said


def _reference(rows: tuple[ScenarioRow, ...], row: ScenarioRow, kind: str) -> str:
    shares = {one.controller: one.users[kind].completion for one in rows if one.case == row.case and kind in one.users}
    name = OWN_CONTROL if OWN_CONTROL in shares else max(shares, key=lambda name: shares[name])
    return f" ({100 * shares[name]:.0f} % under {name})"
