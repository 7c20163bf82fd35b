"""The task: twice a minute, for each approach of a signal, whether an incident blocks it or the road ahead of it.

A crash, roadworks or a closure counts while it lasts, on the approach's own road or on a road that its movements lead
to. Reports are hidden: what is asked comes from the detectors alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from llm.tasks.base import Answer, Binary, Example, Floats, LiveRun, Measure, Question, Run, Task
from llm.tasks.decide.prompt import near_roads
from llm.tasks.detect.prompt import approach_text
from llm.tasks.detect.scores import AlarmScores
from llm.tasks.detect.watch import COLUMNS, STEPS, ApproachWatch
from llm.tasks.example_rows import from_row, to_row
from llm.tasks.mixture import Mixture, drawn_run
from scenarios.incidents.incident import BLOCKING, ScheduledIncident
from scenarios.spec import IncidentRates, Scenario
from sim.network import Network, Signal
from sim.observation import Observation

#: Free approaches are most of the time alike: of the steps of a signal where nothing is wrong this share is learnt.
QUIET_SHARE = 0.15
#: Seconds after its end for which what an incident left still counts as its own.
AFTERMATH_S = 600.0
DRIVERS = ("greedy", "holding", "max_pressure", "fixed_time")
RATES = IncidentRates(
    crash_per_h=2.5, roadworks_per_h=0.5, road_closure_per_h=2.5, demand_surge_per_h=1.0, detector_outage_per_h=1.0
)
#: What else can look like an incident, by the type that causes it.
_LOOKALIKES = {"demand_surge": "surge", "detector_outage": "dead_detectors"}


@dataclass(frozen=True)
class Record(Example):
    """A signal at one step; what scores need beside the target.

    Attributes:
        incident: by row, the id of the incident that blocks it, empty where none does.
        began_s: by row, how long ago that incident began, s.
        near: whether one blocks a road within two junctions, or did so in the last minutes: alarms are then not false.
    """

    incident: tuple[str, ...] = ()
    began_s: tuple[float, ...] = ()
    near: bool = False


@dataclass
class DetectWatch:
    """Asks about every signal at the end of each half minute."""

    network: Network
    begin_s: float
    inner: ApproachWatch = field(init=False)
    _time_s: float = 0.0

    def __post_init__(self) -> None:
        """Start to follow."""
        self.inner = ApproachWatch(self.network, self.begin_s)

    def see(self, observation: Observation) -> bool:
        """Note an observation."""
        self._time_s = observation.time_s
        return self.inner.see(observation)

    def questions(self) -> list[Question]:
        """One for each signal that can be controlled, a row for each of its approaches."""
        facts, asked = self.inner.facts(), []
        for signal in self.network.controllable:
            rows = [row for row, (owner, _) in enumerate(self.inner.approaches) if owner is signal]
            numbers = facts[rows].reshape(len(rows), STEPS * len(COLUMNS))
            edges = tuple(self.inner.approaches[row][1] for row in rows)
            asked.append(Question(approach_text(facts[rows]), numbers, edges, signal.id, self._time_s))
        return asked


class Detect(Task[Record]):
    """Incident detection."""

    name = "detect"
    answer: Answer = Binary()  # type: ignore[misc]

    def plan(self, split: str, number: int, settings: Any, names: Sequence[str] = ()) -> Run:
        """The usual mixture with more incidents, under various controllers."""
        run = drawn_run(split, number, settings, names, Mixture(rates=RATES, incident_share=0.8))
        return replace(run, driver="greedy" if split == "held_out" else DRIVERS[number % len(DRIVERS)])

    def controllers(self, settings: Any) -> Sequence[str]:  # noqa: ARG002
        """Those that drive."""
        return DRIVERS

    def watch(self, network: Network, scenario: Scenario) -> DetectWatch:
        """Follow a run."""
        return DetectWatch(network, scenario.begin_s)

    def records(self, live: LiveRun, watch: DetectWatch) -> Iterator[Record]:
        """Every step of every signal; where it is learnt from, fewer of those where nothing is wrong."""
        rng = np.random.default_rng([live.run.seed, 11])
        truth = {signal.id: _Truth(live.network, signal, live.incidents) for signal in live.network.controllable}
        for moment in live.moments():
            if not watch.see(moment.observation):
                continue
            for question in watch.questions():
                record = truth[question.place].record(live, question)
                if live.run.split != "train" or record.target.any() or rng.random() < QUIET_SHARE:
                    yield record

    # records

    def row(self, record: Record) -> dict[str, Any]:
        """A record as JSON."""
        own = {"incident": list(record.incident), "began_s": list(record.began_s), "near": record.near}
        return {**to_row(record), **own}

    def record(self, row: dict[str, Any]) -> Record:
        """The same back."""
        row = dict(row)
        own = {name: row.pop(name) for name in ("incident", "began_s", "near")}
        return Record(
            **vars(from_row(row)), **{**own, "incident": tuple(own["incident"]), "began_s": tuple(own["began_s"])}
        )

    # evaluating

    def baselines(self) -> Mapping[str, str]:
        """The field's rules and one of our own."""
        rules = {
            "california_7": "California7",
            "california_8": "California8",
            "mcmaster": "McMaster",
            "exponential_smoothing": "ExponentialSmoothing",
            "cusum": "Cusum",
            "missed_green": "MissedGreen",
        }
        return {name: f"llm.tasks.detect.rules:{kind}" for name, kind in rules.items()}

    def measures(self, records: Sequence[Record], answers: Sequence[Floats]) -> Mapping[str, Measure]:
        """Detection rate, false alarms and time to detect at one false alarm per junction and day."""
        return {**super().measures(records, answers), **AlarmScores(records, answers).measures()}

    def details(self, records: Sequence[Record], answers: Sequence[Floats]) -> Mapping[str, Any]:
        """The curve of detections against false alarms, and what false alarms were raised by."""
        return AlarmScores(records, answers).details()


class _Truth:
    """Which incidents block which approaches of one signal."""

    def __init__(self, network: Network, signal: Signal, incidents: Sequence[ScheduledIncident]) -> None:
        self.places: list[tuple[str, frozenset[str]]] = []
        for edge in dict.fromkeys(network.lane_edge[lane] for lane in signal.lanes):
            own = [m for m in signal.movements if network.lane_edge[m.lane] == edge]
            self.places.append((edge, frozenset(network.exits[m.exit].rpartition("_")[0] for m in own)))
        around = near_roads(network, signal)
        self.incidents = [incident for incident in incidents if incident.edge in around]
        self.blocking = [incident for incident in self.incidents if incident.type in BLOCKING]

    def record(self, live: LiveRun, question: Question) -> Record:
        """The record of a step."""
        now_s = question.time_s
        blocked = [self._incident(edge, ahead, now_s) for edge, ahead in self.places]
        slices = {"plain" if live.run.rates is None else "with_incidents"}
        slices |= {_LOOKALIKES[i.type] for i in self.incidents if i.type in _LOOKALIKES and _near(i, now_s)}
        target = np.array([float(incident is not None) for incident in blocked])
        return Record(
            **vars(live.example(question, target, sorted(slices))),
            incident=tuple("" if incident is None else incident.id for incident in blocked),
            began_s=tuple(0.0 if incident is None else now_s - incident.start_s for incident in blocked),
            near=any(_near(incident, now_s) for incident in self.blocking),
        )

    def _incident(self, edge: str, ahead: frozenset[str], now_s: float) -> ScheduledIncident | None:
        """The incident that blocks an approach now, that of its own road first."""
        here = [i for i in self.blocking if i.start_s <= now_s < i.end_s and (i.edge == edge or i.edge in ahead)]
        return min(here, key=lambda i: (i.edge != edge, i.start_s), default=None)


def _near(incident: ScheduledIncident, now_s: float) -> bool:
    return incident.start_s <= now_s < incident.end_s + AFTERMATH_S
