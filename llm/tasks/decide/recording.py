"""Labels: at random times of a run, what every phase of a due signal would cost, tried in forks of the simulation.

Records without costs need no forks: they come ten times as fast, and teach what a plain network would do there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from llm.records.splits import check_wording
from llm.tasks.decide.facts import phase_facts
from llm.tasks.decide.prompt import intergreen_s, near_roads, phase_arrivals, reports_in_force, signal_prompt
from llm.tasks.decide.recombined_states import imagined
from llm.tasks.decide.records import Record
from llm.tasks.forecast.arrivals import MinuteCounts
from llm.tasks.forecast.forecasters import Forecaster
from llm.tasks.forecast.state import ForecastWatch
from llm.tasks.runs import LiveRun
from sim.network import Network, Signal
from sim.observation import Observation
from sim.signals import Decision

#: How far the branches of a label run, s; all are kept.
HORIZONS_S = (15.0, 30.0, 60.0)
#: Signals that are labelled at one time, with branches and without.
SIGNALS_AT_ONCE, MANY_AT_ONCE = 2, 26
#: Share kept of the decisions where at most one phase has traffic, and of those with a report for other signals only.
QUIET_WEIGHT, UNREPORTED_WEIGHT = 0.05, 0.5
#: Last word of ``Record.behaviour`` where the state is not one that a run showed.
IMAGINED = "imagined"
#: Controllers whose choice every record notes.
RIVALS = ("greedy", "holding", "longest_queue")
#: The name under which a run knows who goes on after the phase that a branch tries.
THEN = "then"
#: Vehicles that arrived within a minute are known this long after it began: the loops count by full minutes.
ARRIVALS_KNOWN_S = 120.0


class Recorder:
    """Follows one run and labels decisions at random times.

    Args:
        live: the run; its notes are those of ``DecideTask.plan``.
        own: forecasts that records note as the source ``own``, beside persistence and reference.
    """

    def __init__(self, live: LiveRun, own: Forecaster | None = None) -> None:
        self.live, self.run, self.notes = live, live.run, live.run.notes
        self.scenario, self.session, self.timings = live.scenario, live.session, live.session.timings
        self.rng = np.random.default_rng([live.run.seed, 7])
        self.own, self._own_veh = own, np.empty(0)
        self.watch = ForecastWatch(live.network, live.scenario.begin_s)
        self.chance = self._chance(live.network)

    def records(self) -> Iterator[Record]:
        """Every record of the run, each once it is known what arrived in the minute after it."""
        waiting: deque[tuple[Record, Signal]] = deque()
        minutes = Minutes(len(self.live.network.lanes), self.scenario.begin_s)
        for moment in self.live.moments():
            observation = moment.observation
            minutes.see(observation)
            if moment.ended:
                break
            self._forecast(observation)
            while waiting and waiting[0][0].time_s + ARRIVALS_KNOWN_S <= observation.time_s:
                yield minutes.complete(*waiting.popleft())
            decisions = dict(moment.decisions)
            soon_known = self.session.time_s + ARRIVALS_KNOWN_S <= self.scenario.end_s
            if soon_known and self.rng.random() < self.chance:
                for record, signal in self._label(observation):
                    waiting.append((record, signal))
                    if record.horizons_s and self.rng.random() < self.notes["follow_share"]:
                        decisions[record.signal] = int(record.cost(HORIZONS_S[1]).argmin())
            moment.decisions = decisions
        for record, signal in waiting:
            yield minutes.complete(record, signal)

    def _forecast(self, observation: Observation) -> None:
        """Each full minute, as the controller does: the vehicles of the next one on each lane."""
        if self.own is not None and self.watch.see(observation):
            states = self.watch.states(observation)
            self._own_veh = self.watch.lane_arrivals(states, self.own.forecast(states))

    def _chance(self, network: Network) -> float:
        """Of labelling at a decision time, so that about the wanted number comes out."""
        at_once = min(self._at_once(), len(network.controllable))
        times = (self.scenario.horizon_s - HORIZONS_S[-1]) / self.timings.decision_interval_s
        return 1.3 * int(self.notes["records"]) / at_once / max(times, 1.0)

    def _at_once(self) -> int:
        """Signals recorded at one time: few where each costs branches."""
        return SIGNALS_AT_ONCE if self.notes["branches"] else MANY_AT_ONCE

    def _label(self, observation: Observation) -> list[tuple[Record, Signal]]:
        """Label some due signals: one is varied at a time, the others do what the base policy would."""
        for report in observation.reports:
            check_wording(report.text)
        share = self.notes["imagined_share"]
        made_up = share > 0 and bool(self.rng.random() < share)
        if made_up:
            observation = imagined(self.live.network, observation, self.rng)
        signals = self._choose(observation)
        if not signals:
            return []
        choices = {name: _phases(self.live.policies[name].act(observation)) for name in RIVALS}
        if not self.notes["branches"]:
            records = [self._record(observation, signal, choices) for signal in signals]
            noted = [replace(r, behaviour=f"{r.behaviour},{IMAGINED}") if made_up else r for r in records]
            return list(zip(noted, signals, strict=True))
        base = self.live.policies[THEN]
        usual = _phases(base.act(observation))
        candidates, places = [usual], []
        for signal in signals:
            others = [phase for phase in range(len(signal.phases)) if phase != usual[signal.id]]
            places.append({usual[signal.id]: 0} | {p: len(candidates) + i for i, p in enumerate(others)})
            candidates += [{**usual, signal.id: phase} for phase in others]
        result = self.session.branch(candidates, HORIZONS_S, base)
        return [
            (_priced(self._record(observation, signal, choices), result, where), signal)
            for signal, where in zip(signals, places, strict=True)
        ]

    def _choose(self, observation: Observation) -> list[Signal]:
        due = [signal for signal in self.live.network.controllable if observation.due[signal.index]]
        due = [signal for signal in due if len(signal.phases) <= 26]
        if not due:
            return []
        weights = np.array([self._weight(signal, observation) for signal in due])
        kept = [signal for signal, weight in zip(due, weights, strict=True) if self.rng.random() < weight]
        picked = self.rng.permutation(len(kept))[: self._at_once()]
        return [kept[i] for i in sorted(picked)]

    def _weight(self, signal: Signal, observation: Observation) -> float:
        """Chance to be labelled: low where at most one phase has traffic, high where a report is in force."""
        busy = [float(np.nan_to_num(observation.zone_veh[list(phase.lanes)]).sum()) >= 0.5 for phase in signal.phases]
        weight = 1.0 if sum(busy) >= 2 else QUIET_WEIGHT
        if observation.reports and not reports_in_force(self.live.network, signal, observation):
            weight *= UNREPORTED_WEIGHT
        return weight

    def _record(self, observation: Observation, signal: Signal, choices: dict[str, dict[str, int]]) -> Record:
        """The record of one signal, its phases' costs not known yet."""
        network, now_s = self.live.network, observation.time_s
        near = near_roads(network, signal)
        return Record(
            scenario=self.scenario.name,
            network_sha256=self.live.network_sha256,
            seed=self.run.seed,
            time_s=now_s,
            signal=signal.id,
            timings=self.timings.name,
            change_s=intergreen_s(signal, self.timings),
            prompt=signal_prompt(network, signal, observation, timings=self.timings),
            phases=len(signal.phases),
            current=int(observation.phase[signal.index]),
            age_s=float(observation.phase_age_s[signal.index]),
            horizons_s=[],
            costs_veh_s=[],
            facts=np.round(phase_facts(network, signal, observation, self.timings), 3).tolist(),
            choices={name: phases[signal.id] for name, phases in choices.items()},
            behaviour=f"{self.run.driver},random={self.run.random_share:g}",
            demand_scale=self.run.demand_scale,
            next_veh={} if self.own is None else {"own": phase_arrivals(signal, self._own_veh)},
            incidents=sorted(i.type for i in self.live.incidents if i.start_s <= now_s < i.end_s and i.edge in near),
        )


def _priced(record: Record, result: Any, where: dict[int, int]) -> Record:
    """The record with what each phase cost; ``where`` gives the branch of each phase."""
    rows = [where[phase] for phase in sorted(where)]
    return replace(
        record,
        horizons_s=list(HORIZONS_S),
        costs_veh_s=np.round(result.network_delay_veh_s[rows], 3).tolist(),
    )


class Minutes(MinuteCounts):
    """Full minutes of a run, to complete its records with what arrived."""

    def complete(self, record: Record, signal: Signal) -> Record:
        """The record with its arrivals: as in the minute before, and as they came; none in an imagined state."""
        if record.behaviour.endswith(IMAGINED):
            return replace(record, next_veh={})
        known = {"persistence": self.before(record.time_s), "reference": self.within_a_minute(record.time_s)}
        said = {name: phase_arrivals(signal, veh) for name, veh in known.items()}
        return replace(record, next_veh={**said, **record.next_veh})


def _phases(decisions: Any) -> dict[str, int]:
    return {
        name: int((asked.phase or 0) if isinstance(asked, Decision) else asked) for name, asked in decisions.items()
    }
