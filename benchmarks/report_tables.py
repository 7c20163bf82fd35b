"""The tables of a report: rankings from a comparison, further measures from the runs themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.comparison import Case, Comparison, OverallRow, Paired, ScenarioRow
from benchmarks.groups import Group
from benchmarks.report_incidents import NEVER, STILL_ON, Recovery
from benchmarks.report_parts import Cell, Head, Row, Table, controller, interval, minus, number, text
from benchmarks.style import clock

VERDICTS = {"baseline": "baseline", "better": "better", "worse": "worse", "open": "no difference shown"}
#: Further measures: metric, head, unit, format, factor.
TRAFFIC = (
    ("delay_median_s", "Median delay", "s/veh", ".1f", 1.0),
    ("delay_p95_s", "p95 delay", "s/veh", ".0f", 1.0),
    ("travel_time_s", "Travel time", "s/veh", ".0f", 1.0),
    ("travel_time_p95_s", "p95 travel time", "s/veh", ".0f", 1.0),
    ("throughput_veh_h", "Throughput", "veh/h", ",.0f", 1.0),
    ("stops_per_veh", "Stops", "per veh", ".2f", 1.0),
    ("queue_veh", "Mean queue", "veh", ".1f", 1.0),
    ("outside_max_veh", "Most waiting outside", "veh", ".0f", 1.0),
    ("worst_wait_s", "Worst wait at red", "s", ".0f", 1.0),
    ("fairness_jain", "Fairness over approaches", "Jain, 1 is even", ".2f", 1.0),
    ("emergency_delay_s", "Emergency vehicles' delay", "s/veh", ".1f", 1.0),
    ("co2_kg", "CO₂", "kg", ",.0f", 1.0),
    ("fuel_l", "Fuel", "l", ",.0f", 1.0),
    ("delay_finished_s", "Delay of finished trips only", "s; rewards jams", ".1f", 1.0),
)
SAFETY = (
    ("switches", "Switches", "per run", ",.0f", 1.0),
    ("teleports", "Teleports", "per run", ".1f", 1.0),
    ("collisions", "Collisions", "per run", ".1f", 1.0),
    ("hard_brakings", "Hard brakings", "per run", ".1f", 1.0),
    ("emergency_stops", "Emergency stops", "per run", ".1f", 1.0),
)
#: What the signal machine repaired, the audit found, and controllers count of themselves, in words.
COUNTERS = {
    "repairs_min_green": "Asked to change before minimum green",
    "repairs_max_red": "Changed because of maximum red",
    "repairs_unknown_phase": "Asked for a phase that is none",
    "audit_foes": "Crossing greens seen",
}


def overall(found: Comparison) -> Table:
    """The ranking over all scenarios."""
    heads = (
        Head("Controller", numeric=False), Head("Rank"), Head("Score", "[95 %]"),
        Head("Chance to beat the baseline", "% [95 %]"), Head("Corrected p"), Head("Against the baseline", "", False),
        Head("Gridlock", "% of runs"), Head("Runs"),
    )  # fmt: skip
    against = "the best classical controller of each scenario" if found.baseline == "best" else found.baseline
    return Table(
        "overall-ranking",
        f"All scenarios: score (1 is {against}; {found.better} is better), interquartile mean",
        heads,
        tuple(_overall_row(row) for row in found.overall),
    )


def _overall_row(row: OverallRow) -> Row:
    chance = number(row.improvement, ".0f", interval(row.improvement_interval, ".0f", 100), 100)
    cells = (
        controller(row.controller),
        number(row.rank, ".0f"),
        number(row.score, ".3f", interval(row.interval, ".3f")),
        chance,
        probability(row.p_holm),
        text(VERDICTS[row.verdict]),
        number(row.gridlock_rate, ".0f", factor=100),
        number(row.runs, ".0f"),
    )
    return Row(cells, emphasis=row.verdict == "baseline")


def ranking(found: Comparison, case: Case, links: dict[tuple[str, str], str]) -> Table:
    """The ranking on one case; ``links`` leads from (case, controller) to its runs."""
    against = f"Against {case.baseline}" if case.baseline else "Difference"
    heads = (
        Head("Controller", numeric=False), Head("Rank"), Head("Delay", "s/veh [95 %]"), Head(against, "s [95 %]"),
        Head("Change", "%"), Head("Corrected p"), Head("Said in words", "", False), Head("Arrived", "%"),
        Head("Gridlock", "% of runs"), Head("Seeds for 5 %"), Head("Decision p50 / p95", "ms"), Head("From"),
    )  # fmt: skip
    return Table(
        f"ranking-{case.name}",
        f"{case.name}: mean delay per scheduled vehicle, {case.minutes:g} min, {case.timings} timings",
        heads,
        tuple(_ranking_row(row, links.get((case.name, row.controller), "")) for row in found.of(case.name)),
    )


def _ranking_row(row: ScenarioRow, href: str) -> Row:
    paired = row.difference
    runs = Cell(f"{row.seeds} run{'' if row.seeds == 1 else 's'}", str(row.seeds), href=href)
    cells = (
        controller(row.controller),
        number(row.rank, ".0f"),
        number(row.mean, ".1f", interval(row.interval)),
        *_paired(paired),
        text(VERDICTS[row.verdict]),
        number(row.completion, ".1f", factor=100),
        number(row.gridlock_rate, ".0f", factor=100),
        number(paired.seeds_needed if paired else None, ",.0f"),
        _latency(row),
        runs,
    )
    return Row(cells, emphasis=row.verdict == "baseline")


def _paired(paired: Paired | None) -> tuple[Cell, Cell, Cell]:
    if paired is None:
        return number(None), number(None), number(None)
    return (
        number(paired.mean, "+.1f", interval(paired.interval, "+.1f")),
        number(paired.relative, "+.0f", factor=100),
        probability(paired.p_holm),
    )


def probability(p: float | None) -> Cell:
    """A p-value; tiny ones as a bound."""
    return Cell("< 0.001", repr(p)) if p is not None and p < 0.001 else number(p, ".3f")


def _latency(row: ScenarioRow) -> Cell:
    if row.decision_latency_p50_ms is None or row.decision_latency_p95_ms is None:
        return Cell("several machines")
    half, most = (number(value, ".1f") for value in (row.decision_latency_p50_ms, row.decision_latency_p95_ms))
    return Cell(f"{half.text} / {most.text}", half.sort)


def measures(group: Group, name: str) -> tuple[Table, Table]:
    """Further measures of a case: traffic, and what the signals did; means over the seeds."""
    counted = _counters(group)
    known = [column for column in TRAFFIC if _known(group, column[0])]
    safety = [column for column in SAFETY if _known(group, column[0])]
    signals = safety + [(key, text_, "per run", ".1f", 1.0) for key, text_ in counted.items()]
    return (
        _means(group, f"traffic-{name}", f"{name}: further measures of the traffic, means over the runs", known),
        _means(group, f"signals-{name}", f"{name}: signals, safety and repairs, means over the runs", signals),
    )


def _means(group: Group, name: str, caption: str, columns: Sequence[tuple[str, str, str, str, float]]) -> Table:
    heads = (Head("Controller", numeric=False), *(Head(head, unit) for _, head, unit, _, _ in columns))
    rows = tuple(
        Row((controller(who), *(number(_mean(group, who, key), form, "", by) for key, _, _, form, by in columns)))
        for who in group.controllers
    )
    return Table(name, caption, heads, rows)


def _counters(group: Group) -> dict[str, str]:
    """Every repair, audit and controller's counter that some run has, in words."""
    keys = dict.fromkeys(key for run in group.runs for key in run.metrics)
    found = {key: text_ for key, text_ in COUNTERS.items() if key in keys}
    for key in keys:
        kind, _, rest = key.partition("_")
        if kind in ("repairs", "audit", "controller") and key not in found:
            found[key] = {"repairs": "Repaired: ", "audit": "Audit: ", "controller": ""}[kind] + rest.replace("_", " ")
    return found


def _known(group: Group, key: str) -> bool:
    return any(math.isfinite(run.metrics.get(key, math.nan)) for run in group.runs)


def _mean(group: Group, who: str, key: str) -> float | None:
    """Mean over the runs that know it; repairs and counters that a run does not name did not happen."""
    default = 0.0 if key.startswith(("repairs_", "audit_")) else math.nan
    values = [run.metrics.get(key, default) for run in group.of(who)]
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else None


def recovery_summary(found: Sequence[Recovery], names: Sequence[str], case: str) -> Table:
    """Per controller: how often and how fast the queue was back after an incident."""
    heads = (
        Head("Controller", numeric=False), Head("Incidents"), Head("Recovered", "within the run"),
        Head("Median recovery", "min"), Head("Longest recovery", "min"), Head("Not recovered", "within the run"),
        Head("Still on at the end"), Head("Most extra queue", "veh, median"),
    )  # fmt: skip
    rows = tuple(_recovery_row([entry for entry in found if entry.controller == name], name) for name in names)
    return Table(f"recovery-{case}", f"{case}: recovery from incidents, over all seeds", heads, rows)


def _recovery_row(found: Sequence[Recovery], name: str) -> Row:
    minutes = [entry.recovery_s / 60 for entry in found if entry.recovery_s is not None]
    extra = [entry.extra_queue_veh for entry in found if math.isfinite(entry.extra_queue_veh)]
    count = {state: sum(entry.state == state for entry in found) for state in (NEVER, STILL_ON)}
    cells = (
        controller(name),
        number(len(found), ".0f"),
        number(len(minutes), ".0f"),
        number(float(np.median(minutes)) if minutes else None),
        number(max(minutes) if minutes else None),
        *(number(value, ".0f") for value in count.values()),
        number(float(np.median(extra)) if extra else None),
    )
    return Row(cells)


def incidents(found: Sequence[Recovery], names: Sequence[str], case: str) -> Table:
    """Every incident with the recovery time under each controller, min."""
    heads = (
        Head("Incident", numeric=False), Head("Seed"), Head("Road", numeric=False), Head("From"), Head("To"),
        *(Head(controller(name).text, "min") for name in names),
    )  # fmt: skip
    events: dict[tuple[int, float, float, str, str], dict[str, Recovery]] = {}
    for entry in found:
        event = (entry.seed, entry.start_s, entry.end_s, entry.kind, entry.edge)
        events.setdefault(event, {})[entry.controller] = entry
    rows = []
    for (seed, start_s, end_s, kind, edge), by_name in sorted(events.items()):
        when = (Cell(clock(start_s), repr(start_s)), Cell(clock(end_s), repr(end_s)))
        what = (text(kind.replace("_", " ")), number(seed, ".0f"), text(edge), *when)
        rows.append(Row((*what, *(_recovered(by_name.get(name)) for name in names))))
    return Table(
        f"incidents-{case}", f"{case}: minutes from each incident's end until the queue was back", heads, tuple(rows)
    )


def _recovered(entry: Recovery | None) -> Cell:
    if entry is None:
        return number(None)
    if entry.recovery_s is None:
        return Cell(entry.state)
    extra = "" if math.isnan(entry.extra_queue_veh) else minus(f"+{entry.extra_queue_veh:.0f} veh")
    return number(entry.recovery_s / 60, ".0f", extra)
