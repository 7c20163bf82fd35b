"""The tables of a report: rankings from a comparison, further measures from the runs themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.compare.comparison import Case, Comparison, OverallRow, Paired, ScenarioRow
from benchmarks.compare.sentences import FEWEST_TESTED, runs_in_words
from benchmarks.figures.style import clock
from benchmarks.report.incidents import NEVER, STILL_ON, UNKNOWN, Recovery
from benchmarks.report.parts import Cell, Head, Row, Table, controller, interval, listed, minus, number, slug, text
from benchmarks.results.cases import Group
from scenarios.road_users import PLURAL

SEVERAL_MACHINES = "No decision latency stands where runs come from several machines: these must not be compared."
VERDICTS = {"baseline": "baseline", "better": "better", "worse": "worse", "open": "not significant"}
#: Further measures: metric, head, unit, format.
TRAVEL = (
    ("delay_median_s", "Median delay", "s/veh", ".1f"),
    ("delay_p95_s", "p95 delay", "s/veh", ".0f"),
    ("travel_time_s", "Travel time", "s/veh", ".0f"),
    ("travel_time_p95_s", "p95 travel time", "s/veh", ".0f"),
    ("throughput_veh_h", "Throughput", "veh/h", ",.0f"),
    ("delay_finished_s", "Delay of finished trips only", "s; rewards jams", ".1f"),
)
STREET = (
    ("stops_per_veh", "Stops", "per veh", ".2f"),
    ("queue_veh", "Mean queue", "veh", ".1f"),
    ("outside_max_veh", "Most waiting outside", "veh", ".0f"),
    ("worst_wait_s", "Worst wait at red", "s", ".0f"),
    ("fairness_jain", "Fairness over approaches", "Jain; 1: even", ".2f"),
    ("emergency_delay_s", "Emergency vehicles' delay", "s/veh", ".1f"),
    ("co2_kg", "CO₂", "kg", ",.0f"),
    ("fuel_l", "Fuel", "l", ",.0f"),
)
SIGNALS = (
    ("decisions", "Decisions", "per run", ",.0f"),
    ("switches", "Switches", "per run", ",.0f"),
)
SAFETY = (
    ("teleports", "Teleports", "per run", ".1f"),
    ("collisions", "Collisions", "per run", ".1f"),
    ("hard_brakings", "Hard brakings", "per run", ".1f"),
    ("emergency_stops", "Emergency stops", "per run", ".1f"),
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
        Head("Chance to beat the baseline", "% [95 %]"), Head("In words", "corrected p", False),
        Head("Gridlock", "% of runs"), Head("Runs"),
    )  # fmt: skip
    against = "the best classical controller of each scenario" if found.baseline == "best" else found.baseline
    return Table(
        "overall-ranking",
        f"All scenarios: score (1 is {against}; {found.better} is better), interquartile mean",
        heads,
        tuple(_overall_row(row, found) for row in found.overall),
    )


def _verdict(row: OverallRow | ScenarioRow, seen: OverallRow | Paired | None, fewest: int) -> str:
    """What may be said; where the runs are too few for that, what was seen."""
    if row.starves:
        return f"starves {listed([PLURAL[kind] for kind in row.starves])}"
    runs = row.runs if isinstance(row, OverallRow) else row.seeds
    if row.verdict == "open" and seen is not None and runs < max(fewest, FEWEST_TESTED):
        return runs_in_words(seen)
    return VERDICTS.get(row.verdict, row.verdict)


def _overall_row(row: OverallRow, found: Comparison) -> Row:
    chance = number(row.improvement, ".0f", interval(row.improvement_interval, ".0f", 100), 100)
    cells = (
        controller(row.controller),
        number(row.rank, ".0f"),
        number(row.score, ".3f", interval(row.interval, ".3f")),
        chance,
        text(_verdict(row, row, found.fewest_runs), probability(row.p_holm)),
        number(row.gridlock_rate, ".0f", factor=100),
        number(row.runs, ".0f"),
    )
    return Row(cells, emphasis=row.verdict == "baseline")


def ranking(found: Comparison, case: Case, links: dict[tuple[str, str], str]) -> Table:
    """The ranking on one case; ``links`` leads from (case, controller) to its runs."""
    against = f"Against {case.baseline}" if case.baseline else "Difference"
    heads = (
        Head("Controller", numeric=False), Head("Rank"), Head("Delay", "s/veh [95 %]"), Head(against, "s [95 %]"),
        Head("Change", "%"), Head("In words", "corrected p", False), Head("Arrived", "%"),
        Head("Gridlock", "% of runs"), Head("Seeds for 5 %"), Head("Made from"),
    )  # fmt: skip
    return Table(
        slug(f"ranking-{case.name}"),
        f"{case.title}: mean delay per scheduled vehicle, {case.timings} timings",
        heads,
        tuple(
            _ranking_row(row, links.get((case.name, row.controller), ""), found.fewest_seeds)
            for row in found.of(case.name)
        ),
    )


def road_users(found: Comparison, case: Case) -> tuple[Table, ...]:
    """Persons, cyclists and public transport on a case, a row for each kind and controller; none where none are."""
    heads = (
        Head("Controller", numeric=False), Head("Road users", numeric=False), Head("Scheduled", "a run"),
        Head("Delay", "s"), Head("Arrived", "%"), Head("Longest wait", "s"), Head("In words", "", False),
    )  # fmt: skip
    rows = tuple(
        Row((
            controller(row.controller), text(PLURAL[kind].capitalize()), number(served.scheduled, ".0f"),
            number(served.delay_s), number(served.completion, ".1f", factor=100), number(served.worst_wait_s, ".0f"),
            text("starved" if served.starved else ""),
        ))
        for row in found.of(case.name)
        for kind, served in row.users.items()
    )  # fmt: skip
    caption = f"{case.title}: persons, cyclists and public transport"
    return (Table(slug(f"users-{case.name}"), caption, heads, rows),) if rows else ()


def _ranking_row(row: ScenarioRow, href: str, fewest_seeds: int) -> Row:
    paired = row.difference
    runs = Cell(f"{row.seeds} run{'' if row.seeds == 1 else 's'}", str(row.seeds), href=href)
    cells = (
        controller(row.controller),
        number(row.rank, ".0f"),
        number(row.mean, ".1f", interval(row.interval)),
        *_paired(paired),
        text(_verdict(row, paired, fewest_seeds), probability(paired.p_holm if paired else None)),
        number(row.completion, ".1f", factor=100),
        number(row.gridlock_rate, ".0f", factor=100),
        number(paired.seeds_needed if paired else None, ",.0f"),
        runs,
    )
    return Row(cells, emphasis=row.verdict == "baseline")


def _paired(paired: Paired | None) -> tuple[Cell, Cell]:
    if paired is None:
        return number(None), number(None)
    return (
        number(paired.mean, "+.1f", interval(paired.interval, "+.1f")),
        number(paired.relative, "+.0f", factor=100),
    )


def probability(p: float | None) -> str:
    """A p-value; tiny ones as a bound, none as nothing."""
    return "" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def measures(group: Group, name: str, rows: Sequence[ScenarioRow]) -> tuple[Table, ...]:
    """Further measures of a case, means over the seeds: travel, street, and what the signals did."""
    travel, street, safety = ([c for c in columns if _has_values(group, c[0])] for columns in (TRAVEL, STREET, SAFETY))
    return (
        _means(group, f"travel-{name}", f"{name}: delay and travel time, means over the runs", travel),
        _means(group, f"street-{name}", f"{name}: queues, fairness and fuel, means over the runs", street),
        _decisions(group, name, rows),
        _means(group, f"safety-{name}", f"{name}: safety, means over the runs", safety),
    )


def _decisions(group: Group, name: str, rows: Sequence[ScenarioRow]) -> Table:
    """How long decisions took, and what was repaired of them."""
    counters = [(key, words, "per run", ".1f") for key, words in _counters(group).items()]
    known = [column for column in SIGNALS if _has_values(group, column[0])]
    table = _means(group, f"signals-{name}", f"{name}: decisions and repairs, means over the runs", [*known, *counters])
    by_name = {row.controller: _latency(row) for row in rows}
    return replace(
        table,
        heads=(
            table.heads[0],
            Head("All due signals decide, p50", "ms"),
            Head("The same, p95", "ms"),
            *table.heads[1:],
        ),
        rows=tuple(
            replace(row, cells=(row.cells[0], *by_name[who], *row.cells[1:]))
            for who, row in zip(group.controllers, table.rows, strict=True)
        ),
        note="" if all(row.decision_latency_p50_ms is not None for row in rows) else SEVERAL_MACHINES,
    )


def _latency(row: ScenarioRow) -> tuple[Cell, Cell]:
    return number(row.decision_latency_p50_ms, ",.2f"), number(row.decision_latency_p95_ms, ",.2f")


def _means(group: Group, name: str, caption: str, columns: Sequence[tuple[str, str, str, str]]) -> Table:
    heads = (Head("Controller", numeric=False), *(Head(head, unit) for _, head, unit, _ in columns))
    rows = tuple(
        Row((controller(who), *(number(_mean(group, who, key), form) for key, _, _, form in columns)))
        for who in group.controllers
    )
    return Table(slug(name), caption, heads, rows)


def _counters(group: Group) -> dict[str, str]:
    """Every repair, audit and controller's counter that some run has, in words."""
    keys = dict.fromkeys(key for run in group.runs for key in run.metrics)
    found = {key: text_ for key, text_ in COUNTERS.items() if key in keys}
    for key in keys:
        kind, _, rest = key.partition("_")
        if kind in ("repairs", "audit", "controller") and key not in found:
            found[key] = {"repairs": "Repaired: ", "audit": "Audit: ", "controller": "Own count: "}[
                kind
            ] + rest.replace("_", " ")
    return found


def _has_values(group: Group, key: str) -> bool:
    return any(math.isfinite(run.metrics.get(key, math.nan)) for run in group.runs)


def _mean(group: Group, who: str, key: str) -> float | None:
    """Mean over the runs that know it; repairs and counters that a run does not name did not happen."""
    default = 0.0 if key.startswith(("repairs_", "audit_")) else math.nan
    values = [run.metrics.get(key, default) for run in group.of(who)]
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else None


def recovery_summary(found: Sequence[Recovery], names: Sequence[str], case: str) -> Table:
    """Per controller: how often and how fast the queue was back after an incident."""
    states = {NEVER: "Not recovered", STILL_ON: "Still on at the end", UNKNOWN: "Nothing to compare with"}
    states = {state: head for state, head in states.items() if any(entry.state == state for entry in found)}
    heads = (
        Head("Controller", numeric=False), Head("Incidents"), Head("Recovered", "within the run"),
        Head("Median recovery", "min"), Head("Longest recovery", "min"), *(Head(head) for head in states.values()),
        Head("Most extra queue", "veh, median"),
    )  # fmt: skip
    rows = tuple(_recovery_row([entry for entry in found if entry.controller == name], name, states) for name in names)
    return Table(slug(f"recovery-{case}"), f"{case}: recovery from incidents, over all seeds", heads, rows)


def _recovery_row(found: Sequence[Recovery], name: str, states: Iterable[str]) -> Row:
    minutes = [entry.recovery_s / 60 for entry in found if entry.recovery_s is not None]
    extra = [entry.extra_queue_veh for entry in found if math.isfinite(entry.extra_queue_veh)]
    cells = (
        controller(name),
        number(len(found), ".0f"),
        number(len(minutes), ".0f"),
        number(float(np.median(minutes)) if minutes else None),
        number(max(minutes) if minutes else None),
        *(number(sum(entry.state == state for entry in found), ".0f") for state in states),
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
        slug(f"incidents-{case}"),
        f"{case}: minutes from each incident's end until the queue was back",
        heads,
        tuple(rows),
    )


def _recovered(entry: Recovery | None) -> Cell:
    if entry is None:
        return number(None)
    if entry.recovery_s is None:
        return Cell(entry.state)
    extra = "" if math.isnan(entry.extra_queue_veh) else minus(f"+{entry.extra_queue_veh:.0f} veh")
    return number(entry.recovery_s / 60, ".0f", extra)
