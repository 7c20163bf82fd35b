"""A comparison in words: what is significant, what is not and why, and how to read the figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks.compare import starving
from benchmarks.compare import statistics as stats
from benchmarks.compare.comparable import CaseRuns
from benchmarks.compare.comparison import BEST, Comparison, OverallRow, Paired, ScenarioRow
from benchmarks.compare.rows import machine_of
from scenarios.road_users import KINDS, PLURAL
from sim.native.clearance import ASSUMED_YELLOW_S

#: The paired test can never be significant with fewer runs.
FEWEST_TESTED = stats.seeds_for_significance(1)
_UNIT = re.compile(r"_(s|ms|veh|veh_h|mps|kg|l)$")


def told(made: Comparison, cases: Sequence[CaseRuns]) -> Comparison:
    """The comparison with its sentences and notes."""
    limits_s = {case.name: starving.max_wait_s(case.any) for case in cases}
    starved = starving.sentences(made.rows, limits_s)
    overall = _overall(made)
    sentences = [*overall[:1], *starved, *overall[1:], *_by_case(made), *_gridlock(made)]
    return replace(made, sentences=tuple(sentences), notes=(*_notes(made), *_checkouts(cases)))


def _overall(made: Comparison) -> list[str]:
    controllers = list(dict.fromkeys(row.controller for row in made.rows))
    if len(controllers) < 2:
        return [f"There is only one controller, {controllers[0]}, so there is nothing to compare it with."]
    if not made.overall:
        return ["There is no ranking over all scenarios; the problems say why."]
    cases = [case for case in made.cases if case.in_overall]
    where = f"over {len(cases)} scenarios" if len(cases) > 1 else f"on {cases[0].name}"
    first = made.overall[0]
    sentences = [f"{first.controller} ranks first {where}: {_score(first, made)}."]
    for verdict, text in (("better", "Significantly better than"), ("worse", "Significantly worse than")):
        named = [f"{row.controller} ({_change(row)})" for row in made.overall if row.verdict == verdict]
        if named:
            sentences.append(f"{text} {base_words(made)} {where}: {', '.join(named)}.")
    return [*sentences, *_open(made, where)]


def _open(made: Comparison, where: str) -> list[str]:
    """What was seen of controllers that the test does not tell apart from the baseline."""
    seen = [f"{row.controller} is {runs_in_words(row)}" for row in made.overall if row.verdict == "open"]
    if not seen:
        return []
    needed = made.fewest_runs
    if made.overall[0].runs < needed:
        return [f"Compared with {base_words(made)} {where}, {'; '.join(seen)}; {needed} could show it."]
    return [f"Not significant against {base_words(made)} {where}: {'; '.join(seen)}."]


def runs_in_words(row: OverallRow | Paired) -> str:
    """In how many runs the metric was lower or higher than the baseline's, whichever is more."""
    runs = row.runs if isinstance(row, OverallRow) else row.seeds
    if not row.lower and not row.higher:
        return f"the same in {runs} of {runs} runs"
    word, count = ("lower", row.lower) if row.lower >= row.higher else ("higher", row.higher)
    return f"{word} in {count} of {_count(runs, 'run')}"


def base_words(made: Comparison) -> str:
    """The baseline as a reader would call it."""
    return "the best classical controller of each scenario" if made.baseline == BEST else made.baseline


def metric_words(metric: str) -> str:
    """``travel_time_s`` as ``travel time``."""
    return _UNIT.sub("", metric).replace("_", " ")


def _score(row: OverallRow, made: Comparison) -> str:
    if row.verdict == "baseline":
        return "it is the baseline itself"
    interval = f" [{row.interval[0]:.2f}, {row.interval[1]:.2f}]" if row.interval else ""
    what, base = metric_words(made.metric), base_words(made)
    return f"its {what} is {row.score:.2f}{interval} times that of {base} (interquartile mean)"


def _change(row: OverallRow) -> str:
    p = "" if row.p_holm is None else f", p = {p_words(row.p_holm)}"
    return f"{100 * (row.score - 1):+.0f} %{p}".replace("-", "−")


def timings_words(timings: Mapping[str, object]) -> str:
    """Signal timings of a result, to print over its table."""
    yellow_s = timings.get("yellow_s")
    named = {key: timings.get(key, "?") for key in ("all_red_s", "min_green_s", "max_red_s", "decision_interval_s")}
    yellow = "yellow as in the network's programs" if yellow_s is None else f"yellow {yellow_s} s"
    rest = "min green {min_green_s} s, max red {max_red_s} s, decision every {decision_interval_s} s".format(**named)
    lock = f", a locked junction dissolves after {timings['blocker_s']} s" if timings.get("blocker_s") else ""
    return f"{timings['name']} ({yellow}, all-red {named['all_red_s']} s, {rest}{lock})"


def yellow_words(case: CaseRuns) -> str:
    """What is assumed where signals have no yellow in their own programs; empty where all have."""
    signals = int(case.any.metrics.get("no_yellow_signals", 0))
    if not signals:
        return ""
    many = "1 signal shows" if signals == 1 else f"{signals} signals show"
    own = " but fixed_time, which runs the programs as they are," if case.any.timings.get("own_programs") else ""
    seconds = f"{case.any.timings.get('yellow_s') or ASSUMED_YELLOW_S:g} s"
    return f"; {many} no yellow in the network's own programs: every controller{own} shows {seconds} of it there"


def control_words(case: CaseRuns) -> str:
    """The types of the network's own control, as fixed_time recorded them; empty where all is static."""
    said = (run.controller.loaded.get("network_control") for runs in case.runs.values() for run in runs.values())
    return next((str(words) for words in said if words), "")


def p_words(p: float) -> str:
    """A p-value to two digits, never as 0."""
    return f"{p:.2f}" if p >= 0.095 else f"{p:.3f}" if p >= 0.001 else "0.001 or less"


def _by_case(made: Comparison) -> list[str]:
    tested = [row for row in made.rows if row.difference is not None and row.difference.p is not None]
    sentences: list[str] = []
    for case in made.cases:
        found = [row for row in tested if row.case == case.name and row.verdict in ("better", "worse")]
        if found:
            sentences.append(f"{case.name}: {'; '.join(_row_sentence(row, case.baseline) for row in found)}.")
    if made.rows and not tested and len({row.controller for row in made.rows}) > 1:
        sentences.append(f"With one seed no scenario can be tested by itself; {_seeds_for_rows(made)} seeds could.")
    needed = made.fewest_seeds
    short = [case for case in made.cases if case.baseline and len(case.controllers) > 1 and len(case.seeds) < needed]
    if short and not sentences:
        sentences.append(
            f"By itself, no scenario has enough seeds: {max(len(case.seeds) for case in short)} of the {needed} that "
            f"could show a difference in {_count(len(tested), 'test')}."
        )
    elif tested and not sentences:
        sentences.append(f"By itself, no scenario is significant against {base_words(made)}.")
    return sentences


def _seeds_for_rows(made: Comparison) -> int:
    """So many seeds could show a difference on a single case."""
    return stats.seeds_for_significance(max(sum(row.difference is not None for row in made.rows), 1))


def _row_sentence(row: ScenarioRow, baseline: str) -> str:
    assert row.difference is not None
    change = f"{100 * row.difference.relative:+.0f} %".replace("-", "−")
    p = p_words(row.difference.p_holm) if row.difference.p_holm is not None else "?"
    return f"{row.controller} is significantly {row.verdict} than {baseline} ({change}, p = {p})"


def _gridlock(made: Comparison) -> list[str]:
    jammed: dict[str, list[str]] = {}
    for row in made.rows:
        if row.gridlock_rate > 0:
            jammed.setdefault(row.controller, []).append(f"{100 * row.gridlock_rate:.0f} % on {row.case}")
    if not jammed:
        return []
    return [f"Gridlocked runs: {'; '.join(f'{name} {_few(places)}' for name, places in jammed.items())}."]


def _few(places: Sequence[str]) -> str:
    return ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")


def _notes(made: Comparison) -> list[str]:
    better = "above" if made.better == "higher" else "below"
    tests = sum(row.difference is not None and row.difference.p is not None for row in made.rows)
    notes = [
        f"Score: {metric_words(made.metric)} over that of {base_words(made)} on the same scenario and seed, {better} 1 "
        "is better; interquartile mean over runs and scenarios, 95 % stratified bootstrap, seeds drawn within "
        "scenarios (Agarwal et al. 2021).",
        "Interval of a mean and of a paired difference: 95 % bootstrap (BCa). Seeds for 5 %: paired runs that a "
        "difference of 5 % of the baseline needs (80 % power).",
        f"p: paired permutation test, exact, corrected after Holm over {_count(tests, 'test')} by scenario and over "
        "the controllers overall; significant below 0.05.",
        f"Gridlocked: completion below {100 * made.gridlock.completion_share:.0f} % of the best on that scenario and "
        f"seed, or a queue that stood for {made.gridlock.standing_s / 60:.0f} min. Such runs stay in every mean.",
    ]
    shared = [case.name for case in made.cases if case.in_overall and case.weight < 1]
    if shared:
        notes.append(f"{', '.join(shared)} lie inside one another and weigh as one network together.")
    if made.metric == "delay_s":
        notes.insert(0, "Delay: (arrival or end) - scheduled departure - free-flow time, over every scheduled vehicle.")
    kinds = [kind for kind in KINDS if any(kind in row.users for row in made.rows)]
    if kinds:
        notes.append(
            f"Starves: fewer of the {' or '.join(PLURAL[kind] for kind in kinds)} arrive, by more than "
            f"{100 * starving.COMPLETION_GAP:.0f} percentage points, than under the network's own control "
            "(fixed_time), and one waits longer than the maximum red, or than "
            f"{starving.LONGEST_WAIT_S / 60:.0f} min where the timings allow more. Such a controller is never "
            "called better."
        )
    if any(row.interval is None for row in made.rows):
        notes.append("Fewer than three seeds: no intervals.")
    return notes


def _checkouts(cases: Sequence[CaseRuns]) -> list[str]:
    """Commits that ran, where there are several, and uncommitted changes."""
    runs = [run for case in cases for by_seed in case.runs.values() for run in by_seed.values()]
    commits = sorted({run.git.commit[:8] for run in runs if run.git})
    notes = []
    if len(commits) > 1:
        notes.append(f"These results come from {len(commits)} commits of greenloop ({_few(commits)}).")
    if any(run.git and run.git.dirty for run in runs):
        notes.append("Some of these results come from a checkout with uncommitted changes.")
    return notes


def machines(cases: Sequence[CaseRuns]) -> list[str]:
    """A sentence when decision latencies come from several machines."""
    found: dict[str, list[str]] = {}
    for case in cases:
        for name, by_seed in case.runs.items():
            for run in by_seed.values():
                found.setdefault(machine_of(run), []).append(name)
    if len(found) < 2:
        return []
    parts = [f"{machine} ({', '.join(dict.fromkeys(names))})" for machine, names in found.items()]
    return [f"Decision latencies come from several machines and must not be compared: {'; '.join(parts)}."]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
