"""Which runs a replay plays: found in results, of one scenario and one seed, each with its trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures.selection import hint
from benchmarks.report.data import gather
from benchmarks.results import run_result as results
from benchmarks.results.cases import Group, case_key, group_runs
from benchmarks.results.run_result import ResultError, RunResult
from benchmarks.trace import trace_file as traces
from benchmarks.trace.trace_file import Trace

#: As many runs go side by side.
MOST = 2
RECORD = "record one with 'greenloop run --trace'"


class ReplayError(ResultError):
    """A replay that cannot be made; the message is one sentence."""


@dataclass(frozen=True)
class Wish:
    """What to play; what is not said is chosen: the only scenario, the first seed, the best run and fixed time."""

    scenario: str | None = None
    seed: int | None = None
    controllers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chosen:
    """One run to play, with its result and its trace."""

    run: RunResult
    trace: Trace


def choose(places: Sequence[Path], wish: Wish) -> tuple[list[Chosen], list[str]]:
    """The runs to play, one or two of the same scenario and seed, and what was left out on the way, in sentences.

    Args:
        places: folders of results, or result files; of files all are played.
        wish: what to play.

    Raises:
        ReplayError: no run was traced, the choice is not clear or knows no such run, or two runs do not go together.
        ResultError: a place does not exist or holds no results.
        TraceError: a trace cannot be read.
    """
    sources = gather(places)
    runs, note = results.newest(sources.runs)
    given = all(place.is_file() for place in places) and wish == Wish()
    picked = _named_runs(runs) if given else _runs(_group(runs, wish.scenario), wish)
    chosen = [Chosen(run, _load(run, places)) for run in picked]
    for one in chosen:
        _check(one)
    return chosen, [*sources.problems, *([note] if note else [])]


def _named_runs(runs: Sequence[RunResult]) -> list[RunResult]:
    """Runs that were named by their files."""
    if len(runs) > MOST:
        raise ReplayError(f"A replay shows one or two runs, not {len(runs)}; give one result file or two.")
    first, last = runs[0], runs[-1]
    if (first.seed, case_key(first)) != (last.seed, case_key(last)):
        one, other = (f"{run.scenario.name} with seed {run.seed}" for run in (first, last))
        differ = f"not {one} and {other}" if one != other else "with the same horizon, demand, incidents and timings"
        raise ReplayError(f"Side by side go two runs of one scenario and one seed, {differ}.")
    for run in runs:
        if run.trace is None:
            raise ReplayError(_untraced(run))
    return list(runs)


def _untraced(run: RunResult) -> str:
    return f"The run of {run.controller.name} on {run.scenario.name}, seed {run.seed}, has no trace; {RECORD}."


def _group(runs: Sequence[RunResult], scenario: str | None) -> Group:
    """The runs of the scenario asked for, or of the only one with a trace."""
    groups = group_runs(runs, Path())
    if scenario is None:
        traced = {name: group for name, group in groups.items() if any(run.trace for run in group.runs)}
        if not traced:
            raise ReplayError(f"None of these {len(runs)} runs has a trace; {RECORD}, which may use the same --out.")
        if len(traced) > 1:
            raise ReplayError(f"These results are of {', '.join(traced)}; choose one with --scenario.")
        return next(iter(traced.values()))
    if scenario not in groups:
        raise ReplayError(f"Scenario '{scenario}' has no results here; {hint(scenario, groups)}")
    return groups[scenario]


def _runs(group: Group, wish: Wish) -> list[RunResult]:
    """One run for each controller, all of one seed."""
    names, known = list(dict.fromkeys(wish.controllers)), group.controllers
    for name in names:
        if name not in known:
            raise ReplayError(f"Controller '{name}' has no results for {group.scenario}; {hint(name, known)}")
    if len(names) > MOST:
        raise ReplayError(f"A replay shows one or two runs, not {len(names)}; give --controller once or twice.")
    if wish.seed is not None and wish.seed not in group.seeds:
        had = ", ".join(map(str, group.seeds))
        raise ReplayError(f"{group.scenario} has no run with seed {wish.seed}; choose one of {had}.")
    seed = wish.seed if wish.seed is not None else _common_seed(group, names)
    of_seed = {run.controller.name: run for run in group.runs if run.seed == seed}
    names = names or _best(group, of_seed)
    if not names:
        raise ReplayError(f"No run of {group.scenario} with seed {seed} has a trace; {RECORD}.")
    for name in names:
        if name not in of_seed:
            raise ReplayError(f"{name} has no run of {group.scenario} with seed {seed}; give a --seed that both have.")
        if of_seed[name].trace is None:
            raise ReplayError(_untraced(of_seed[name]))
    return [of_seed[name] for name in names]


def _common_seed(group: Group, names: Sequence[str]) -> int:
    """The first seed that every controller asked for has run with a trace; any traced one when none is asked for."""
    found = {name: {run.seed for run in group.of(name) if run.trace} for name in names}
    for name, seeds in found.items():
        if not seeds:
            raise ReplayError(f"No run of {name} on {group.scenario} has a trace; {RECORD}.")
    seeds = set.intersection(*found.values()) if found else {run.seed for run in group.runs if run.trace}
    if not seeds and found:
        shown = "; ".join(f"{name}: {', '.join(map(str, sorted(had)))}" for name, had in found.items())
        raise ReplayError(f"These controllers share no traced seed, and only the same traffic compares ({shown}).")
    if not seeds:
        raise ReplayError(f"No run of {group.scenario} has a trace; {RECORD}.")
    return min(seeds)


def _best(group: Group, of_seed: dict[str, RunResult]) -> list[str]:
    """The best traced controller, and fixed time or else the second best."""
    traced = [name for name in group.controllers if name in of_seed and of_seed[name].trace]
    others = [name for name in traced if name != "fixed_time"]
    return [*others[:1], "fixed_time"] if "fixed_time" in traced else others[:MOST]


def _load(run: RunResult, places: Sequence[Path]) -> Trace:
    assert run.trace is not None
    folders = [place if place.is_dir() else place.parent for place in places]
    paths = [path for folder in folders for path in (folder / run.trace, *sorted(folder.rglob(run.trace)))]
    for path in paths:
        if path.exists():
            return traces.load(path)
    raise ReplayError(f"The trace {run.trace} is not beside its result; put it back or delete the result and {RECORD}.")


def _check(one: Chosen) -> None:
    """The trace must be of its result: folders get copied and files renamed."""
    about, run = one.trace.about, one.run
    if (about.scenario, about.controller, about.seed) != (run.scenario.name, run.controller.name, run.seed):
        raise ReplayError(
            f"The trace {run.trace} is of {about.controller} on {about.scenario}, seed {about.seed}, and not of its "
            f"result; delete both and {RECORD}."
        )
