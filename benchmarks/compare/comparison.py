"""What a comparison says: plain, frozen, JSON-able values that the terminal, the report and the figures print.

``benchmarks.compare.pipeline.compare`` makes them. A *case* is one scenario under one set of timings. A
*score* is a run's metric over the baseline's on the same case and seed: 1 is "as the baseline", so scenarios can be put
together.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from benchmarks.results import run_result as results
from benchmarks.results.metrics import GRIDLOCK, GridlockRule

Interval = tuple[float, float]
#: ``better`` and ``worse`` are significant (Holm-corrected p below 5 %); ``open``: not, or too few runs to test;
#: ``starves``: it serves a kind of road user so badly that it may not be called better.
Verdict = Literal["baseline", "better", "worse", "open", "starves"]
#: Baseline that is another controller on each case: the best classical one there.
BEST = "best"


@dataclass(frozen=True)
class Paired:
    """Differences to the baseline over common seeds, in the metric's unit; for delay, negative is better.

    Attributes:
        seeds: pairs.
        mean: mean difference.
        interval: its 95 % bootstrap interval; None below three seeds.
        median: median difference.
        relative: mean difference over the baseline's mean.
        seeds_needed: to detect a difference of 5 % of the baseline's mean with 80 % power; None below three seeds.
        p: two-sided exact paired permutation test; None for fewer than two seeds.
        p_holm: the same, corrected after Holm over all tests of the comparison's rows.
        lower, higher: in how many pairs the metric is lower or higher than the baseline's.
    """

    seeds: int
    mean: float
    interval: Interval | None
    median: float
    relative: float
    seeds_needed: int | None
    p: float | None = None
    p_holm: float | None = None
    lower: int = 0
    higher: int = 0


@dataclass(frozen=True)
class UsersServed:
    """How one kind of road user beside cars fared under one controller on one case.

    Attributes:
        scheduled: mean number a run.
        delay_s: mean delay over the runs, s.
        completion: mean share that arrived.
        worst_wait_s: longest wait of one of them in any run, s.
        starved: whether the controller starves them (``benchmarks.compare.starving``).
    """

    scheduled: float
    delay_s: float
    completion: float
    worst_wait_s: float
    starved: bool = False


@dataclass(frozen=True)
class Case:
    """One scenario under one set of timings: what is compared with what.

    Attributes:
        name: short and unique in the comparison; the same as in ``benchmarks.results.cases.group_runs``.
        scenario, timings: their names.
        minutes: measured time.
        seeds: the seeds that every controller of this case has; only these are used.
        controllers: those compared here.
        baseline: the controller the others are compared with here; "" when it has no results here.
        versions: of greenloop and SUMO, in words.
        oversaturated: even fixed time cannot carry the demand; shown apart and never in the overall ranking.
        in_overall: whether the overall ranking covers it.
        weight: in the overall ranking; below 1 for networks that lie inside one another.
        timings_text: the timings with their values, in words.
        incidents: whether incidents happen in it.
        native_control: what the network's own control is, where it is more than one static program per signal.
    """

    name: str
    scenario: str
    timings: str
    minutes: float
    seeds: tuple[int, ...]
    controllers: tuple[str, ...]
    baseline: str
    versions: str
    oversaturated: bool = False
    in_overall: bool = True
    weight: float = 1.0
    timings_text: str = ""
    incidents: bool = False
    native_control: str = ""

    def label(self, controller: str) -> str:
        """A controller's name in tables: fixed_time is the network's own control, with its types."""
        if controller.partition(":")[0] == "fixed_time" and self.native_control:
            return f"{controller} (network's own: {self.native_control})"
        return controller

    @property
    def title(self) -> str:
        """The name with the measured minutes, and whether there are incidents."""
        return f"{self.name}, {self.minutes:g} min{', with incidents' if self.incidents else ''}"


@dataclass(frozen=True)
class ScenarioRow:
    """One controller on one case.

    Attributes:
        case: name of the case.
        rank: by the mean, 1 is best.
        controller: its name.
        seeds: runs.
        mean: of the metric over the seeds.
        interval: its 95 % bootstrap interval; None below three seeds.
        median: of the metric.
        difference: against the case's baseline; None for the baseline itself, or when the case has none.
        verdict: what may be said about the difference.
        completion: share of the scheduled vehicles that arrived.
        gridlock_rate: share of gridlocked runs.
        decision_latency_p50_ms, decision_latency_p95_ms: of all signals that are due, together; None when the runs
            come from several machines.
        users: how persons, cyclists, buses and trams fared, by kind; empty where there are none.
    """

    case: str
    rank: int
    controller: str
    seeds: int
    mean: float
    interval: Interval | None
    median: float
    difference: Paired | None
    verdict: Verdict
    completion: float
    gridlock_rate: float
    decision_latency_p50_ms: float | None
    decision_latency_p95_ms: float | None
    users: dict[str, UsersServed] = field(default_factory=dict)

    @property
    def starves(self) -> tuple[str, ...]:
        """The kinds of road users that the controller starves."""
        return tuple(kind for kind, served in self.users.items() if served.starved)


@dataclass(frozen=True)
class OverallRow:
    """One controller over all cases that the overall ranking covers.

    Attributes:
        rank: by ``score``, 1 is best.
        controller: its name.
        score: interquartile mean of its scores over runs and cases (Agarwal et al. 2021); 1 is the baseline.
        interval: 95 %, stratified bootstrap, seeds resampled within cases; None below three seeds on a case.
        improvement: probability that its run is better than one of the baseline, averaged over cases; None for it.
        improvement_interval: 95 %, the same bootstrap.
        p: two-sided paired permutation test over all cases and seeds.
        p_holm: corrected after Holm over the controllers.
        verdict: what may be said against the baseline.
        gridlock_rate: mean over the cases.
        runs: runs behind it.
        lower, higher: in how many of them the metric is lower or higher than in the baseline's.
        starves: the kinds of road users that it starves on some case.
    """

    rank: int
    controller: str
    score: float
    interval: Interval | None
    improvement: float | None
    improvement_interval: Interval | None
    p: float | None
    p_holm: float | None
    verdict: Verdict
    gridlock_rate: float
    runs: int
    lower: int = 0
    higher: int = 0
    starves: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """Performance profile: which share of a controller's runs is at least as good as ``tau`` times the baseline.

    Attributes:
        controller: its name.
        tau: (T,) scores, ascending; the same for every controller.
        share: (T,) of the runs, each case weighing the same.
        low, high: (T,) pointwise 95 % bootstrap band; None below three seeds on a case.
    """

    controller: str
    tau: tuple[float, ...]
    share: tuple[float, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None


@dataclass(frozen=True)
class Comparison:
    """Everything that may be said about a set of results.

    Attributes:
        metric: key of ``RunResult.metrics`` (or of ``wall``).
        better: which end of the metric is the good one.
        baseline: the controller that the others are compared with, or "best": the best classical one of each case.
        sentences: what is significant and what is not, the answer first.
        problems: what did not fit together and what was done about it: left out, kept apart, or not said.
        notes: how the figures were made, for below a table.
        cases: in the order of the results.
        overall: ranked; empty when nothing can be put together (``problems`` says why).
        rows: case by case, ranked within each.
        profiles: in the order of ``overall``.
        gridlock: the rule by which runs were judged.
        fewest_seeds: so many seeds a single case needs before any of the tests in ``rows`` can be significant.
        fewest_runs: so many runs the overall ranking needs before any of its tests can be.
    """

    metric: str
    better: Literal["lower", "higher"]
    baseline: str
    sentences: tuple[str, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    cases: tuple[Case, ...]
    overall: tuple[OverallRow, ...]
    rows: tuple[ScenarioRow, ...]
    profiles: tuple[Profile, ...]
    gridlock: GridlockRule = GRIDLOCK
    fewest_seeds: int = 0
    fewest_runs: int = 0

    def of(self, case: str) -> tuple[ScenarioRow, ...]:
        """The rows of one case, best first."""
        return tuple(row for row in self.rows if row.case == case)

    def as_dict(self) -> dict[str, Any]:
        """Plain nested values for JSON: NaN and infinity are None."""
        found: dict[str, Any] = results.plain(asdict(self))
        return found
