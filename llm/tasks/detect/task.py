"""The task: twice a minute, for each approach of a signal, whether an incident blocks it or the road ahead of it.

A crash, roadworks or a closure counts while it lasts, on the approach's own road or on a road that its movements lead
to. Reports are hidden: what is asked comes from the detectors alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from llm.tasks.base import LiveRun, Question, Run
from llm.tasks.decide.prompt import near_roads
from llm.tasks.detect.prompt import approach_text
from llm.tasks.detect.watch import STEP_S, STEPS, ApproachWatch, column
from llm.tasks.events import EventExample, EventTask
from llm.tasks.mixture import Mixture, drawn_run
from scenarios.incidents.incident import BLOCKING, ScheduledIncident
from scenarios.spec import IncidentRates, Scenario
from sim.network import Network, Signal

#: Of the steps of a signal where nothing is wrong this share is learnt: most are alike.
QUIET_SHARE = 0.15
#: Seconds after its end for which an incident still counts as near: the queue that it left.
AFTERMATH_S = 600.0
DRIVERS = ("greedy", "holding", "max_pressure", "fixed_time")
RATES = IncidentRates(
    crash_per_h=2.5, roadworks_per_h=0.5, road_closure_per_h=2.5, demand_surge_per_h=1.0, detector_outage_per_h=1.0
)
#: What can look like an incident, by the type that causes it; a queue of so many halted vehicles can, too.
LOOKALIKES = {"demand_surge": "surge", "detector_outage": "dead_detectors"}
LONG_QUEUE_VEH = 8.0


class DetectWatch(ApproachWatch):
    """Asks about every signal at the end of each half minute."""

    def questions(self) -> list[Question]:
        """One for each signal that can be controlled, a row for each of its approaches."""
        facts, asked = self.facts(), []
        for signal in self.network.controllable:
            rows = [row for row, (owner, _) in enumerate(self.approaches) if owner == signal.id]
            names = tuple(self.approaches[row][1] for row in rows)
            numbers = facts[rows].reshape(len(rows), -1)
            asked.append(Question(approach_text(facts[rows]), numbers, names, signal.id, self.time_s))
        return asked


class Detect(EventTask):
    """Incident detection."""

    name = "detect"
    step_s = STEP_S
    counted = ("crash", "road_closure")

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

    def records(self, live: LiveRun, watch: DetectWatch) -> Iterator[EventExample]:
        """Every step of every signal; where it is learnt from, fewer of those where nothing is wrong."""
        rng = np.random.default_rng([live.run.seed, 11])
        truth = {signal.id: _Truth(live.network, signal, live.incidents) for signal in live.network.controllable}
        for moment in live.moments():
            for question in watch.questions() if watch.see(moment.observation) else ():
                record = truth[question.place].record(live, question)
                if live.run.split != "train" or record.target.any() or rng.random() < QUIET_SHARE:
                    yield record

    def baselines(self) -> Mapping[str, str]:
        """The field's rules and one of our own."""
        kinds = ("California7", "California8", "McMaster", "ExponentialSmoothing", "Cusum", "MissedGreen")
        names = ("california_7", "california_8", "mcmaster", "exponential_smoothing", "cusum", "missed_green")
        return {name: f"llm.tasks.detect.rules:{kind}" for name, kind in zip(names, kinds, strict=True)}


class _Truth:
    """Which incidents block which approaches of one signal."""

    def __init__(self, network: Network, signal: Signal, incidents: Sequence[ScheduledIncident]) -> None:
        self.places: list[tuple[str, frozenset[str]]] = []
        for edge in dict.fromkeys(network.lane_edge[lane] for lane in signal.lanes):
            exits = [network.exits[m.exit] for m in signal.movements if network.lane_edge[m.lane] == edge]
            self.places.append((edge, frozenset(lane.rpartition("_")[0] for lane in exits)))
        around = near_roads(network, signal)
        self.incidents = [incident for incident in incidents if incident.edge in around]

    def record(self, live: LiveRun, question: Question) -> EventExample:
        """The record of a step."""
        now_s = question.time_s
        near = [i for i in self.incidents if i.start_s <= now_s < i.end_s + AFTERMATH_S]
        blocked = [self._incident(edge, ahead, now_s) for edge, ahead in self.places]
        common = sorted({LOOKALIKES[i.type] for i in near if i.type in LOOKALIKES})
        halted = column(question.numbers.reshape(len(blocked), STEPS, -1), "halted_veh")[:, -1]
        queues = [["long_queue"] if veh >= LONG_QUEUE_VEH else [] for veh in halted]
        example = live.example(
            question,
            np.array([float(incident is not None) for incident in blocked]),
            ["plain" if live.run.rates is None else "with_incidents", *common],
        )
        return EventExample(
            **vars(example),
            event=tuple("" if incident is None else incident.id for incident in blocked),
            began_s=tuple(0.0 if incident is None else now_s - incident.start_s for incident in blocked),
            near=any(incident.type in BLOCKING for incident in near),
            lookalikes=tuple(" ".join([*common, *queue]) for queue in queues),
        )

    def _incident(self, edge: str, ahead: frozenset[str], now_s: float) -> ScheduledIncident | None:
        """The incident that blocks an approach now, that of its own road first."""
        now = [i for i in self.incidents if i.type in BLOCKING and i.start_s <= now_s < i.end_s]
        here = [i for i in now if i.edge == edge or i.edge in ahead]
        return min(here, key=lambda i: (i.edge != edge, i.start_s), default=None)
