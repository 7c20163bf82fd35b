"""Labels: at random times of a run, what every phase of a due signal would cost, tried in forks of the simulation.

Records without costs need no forks: they come ten times as fast, and teach what a plain network would do there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.records.behaviour import Behaviour, prepared
from benchmarks.records.decision_episodes import Episode, scenario_of
from benchmarks.records.recombined_states import imagined
from benchmarks.run.drawn_run import planned_incidents
from controllers import registry
from controllers.base import Controller, RunContext
from llm.records.shards import file_sha256
from llm.records.splits import check_wording
from llm.tasks.decide.facts import phase_facts
from llm.tasks.decide.prompt import intergreen_s, near_roads, phase_arrivals, reports_in_force, signal_prompt
from llm.tasks.decide.records import Record
from llm.tasks.forecast.arrivals import MinuteCounts
from llm.tasks.forecast.forecasters import Forecaster
from llm.tasks.forecast.state import ForecastWatch
from sim.engine.session import Session
from sim.network import Network, Signal
from sim.observation import Observation
from sim.signals import Decision
from sim.timings import TIMINGS

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
#: Vehicles that arrived within a minute are known this long after it began: the loops count by full minutes.
ARRIVALS_KNOWN_S = 120.0


class Recorder:
    """Drives one run and labels decisions at random times.

    Args:
        episode: the run.
        own: forecasts that records note as the source ``own``, beside persistence and reference.
    """

    def __init__(self, episode: Episode, own: Forecaster | None = None) -> None:
        self.episode, self.timings = episode, TIMINGS[episode.timings]
        self.scenario = scenario_of(episode)
        self.network_sha256 = file_sha256(self.scenario.net_file)
        self.rng = np.random.default_rng([episode.seed, 7])
        self.own, self._own_veh = own, np.empty(0)

    def records(self) -> Iterator[Record]:
        """Every record of the run, each once it is known what arrived in the minute after it."""
        waiting: deque[tuple[Record, Signal]] = deque()
        with Session(self.scenario, self.episode.seed, self.timings) as session:
            observation = session.start()
            self._prepare(session)
            minutes = Minutes(len(session.network.lanes), self.scenario.begin_s)
            while not session.done:
                minutes.see(observation)
                self._forecast(observation)
                while waiting and waiting[0][0].time_s + ARRIVALS_KNOWN_S <= observation.time_s:
                    yield minutes.complete(*waiting.popleft())
                decisions = dict(self.driver.act(observation))
                if session.time_s + ARRIVALS_KNOWN_S <= self.scenario.end_s and self.rng.random() < self.chance:
                    for record, signal in self._label(session, observation):
                        waiting.append((record, signal))
                        if record.horizons_s and self.rng.random() < self.episode.follow_share:
                            decisions[record.signal] = int(record.cost(HORIZONS_S[1]).argmin())
                observation = session.step(decisions)
            minutes.see(observation)
        for record, signal in waiting:
            yield minutes.complete(record, signal)

    def _forecast(self, observation: Observation) -> None:
        """Each full minute, as the controller does: the vehicles of the next one on each lane."""
        if self.own is not None and self.watch.see(observation):
            states = self.watch.states(observation)
            self._own_veh = self.watch.lane_arrivals(states, self.own.forecast(states))

    def _prepare(self, session: Session) -> None:
        seed, network = self.episode.seed, session.network
        self.watch = ForecastWatch(network, self.scenario.begin_s)
        context = RunContext(self.scenario, seed, self.timings)
        behaviour = Behaviour(self.episode.behaviour, self.episode.random_share)
        self.driver: Controller = prepared(behaviour, network, seed, context)
        self.base: Controller = prepared(registry.make(self.episode.settings.then), network, seed, context)
        self.rivals: dict[str, Controller] = {
            name: prepared(registry.make(name), network, seed, context) for name in RIVALS
        }
        self.chance = self._chance(network)
        self.planned = planned_incidents(self.scenario, network, seed)

    def _chance(self, network: Network) -> float:
        """Of labelling at a decision time, so that about the wanted number comes out."""
        at_once = min(self._at_once(), len(network.controllable))
        times = (self.scenario.horizon_s - HORIZONS_S[-1]) / self.timings.decision_interval_s
        return 1.3 * self.episode.settings.records_per_episode / at_once / max(times, 1.0)

    def _at_once(self) -> int:
        """Signals recorded at one time: few where each costs branches."""
        return SIGNALS_AT_ONCE if self.episode.settings.branches else MANY_AT_ONCE

    def _label(self, session: Session, observation: Observation) -> list[tuple[Record, Signal]]:
        """Label some due signals: one is varied at a time, the others do what the base policy would."""
        for report in observation.reports:
            check_wording(report.text)
        settings = self.episode.settings
        made_up = settings.imagined_share > 0 and bool(self.rng.random() < settings.imagined_share)
        if made_up:
            observation = imagined(session.network, observation, self.rng)
        signals = self._choose(session, observation)
        if not signals:
            return []
        choices = {name: _phases(controller.act(observation)) for name, controller in self.rivals.items()}
        if not settings.branches:
            records = [self._record(session, observation, signal, choices) for signal in signals]
            noted = [replace(r, behaviour=f"{r.behaviour},{IMAGINED}") if made_up else r for r in records]
            return list(zip(noted, signals, strict=True))
        usual = _phases(self.base.act(observation))
        candidates, places = [usual], []
        for signal in signals:
            others = [phase for phase in range(len(signal.phases)) if phase != usual[signal.id]]
            places.append({usual[signal.id]: 0} | {p: len(candidates) + i for i, p in enumerate(others)})
            candidates += [{**usual, signal.id: phase} for phase in others]
        result = session.branch(candidates, HORIZONS_S, self.base)
        return [
            (_priced(signal, self._record(session, observation, signal, choices), result, where), signal)
            for signal, where in zip(signals, places, strict=True)
        ]

    def _choose(self, session: Session, observation: Observation) -> list[Signal]:
        due = [signal for signal in session.network.controllable if observation.due[signal.index]]
        due = [signal for signal in due if len(signal.phases) <= 26]
        if not due:
            return []
        weights = np.array([self._weight(session, signal, observation) for signal in due])
        kept = [signal for signal, weight in zip(due, weights, strict=True) if self.rng.random() < weight]
        picked = self.rng.permutation(len(kept))[: self._at_once()]
        return [kept[i] for i in sorted(picked)]

    def _weight(self, session: Session, signal: Signal, observation: Observation) -> float:
        """Chance to be labelled: low where at most one phase has traffic, high where a report is in force."""
        busy = [float(np.nan_to_num(observation.zone_veh[list(phase.lanes)]).sum()) >= 0.5 for phase in signal.phases]
        weight = 1.0 if sum(busy) >= 2 else QUIET_WEIGHT
        if observation.reports and not reports_in_force(session.network, signal, observation):
            weight *= UNREPORTED_WEIGHT
        return weight

    def _record(
        self,
        session: Session,
        observation: Observation,
        signal: Signal,
        choices: dict[str, dict[str, int]],
    ) -> Record:
        """The record of one signal, its phases' costs not known yet."""
        network, now_s = session.network, observation.time_s
        near = near_roads(network, signal)
        return Record(
            scenario=self.scenario.name,
            network_sha256=self.network_sha256,
            seed=self.episode.seed,
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
            local_veh_s=[],
            facts=np.round(phase_facts(network, signal, observation, self.timings), 3).tolist(),
            choices={name: phases[signal.id] for name, phases in choices.items()},
            behaviour=f"{self.episode.behaviour},random={self.episode.random_share:g}",
            demand_scale=self.episode.demand_scale,
            next_veh={} if self.own is None else {"own": phase_arrivals(signal, self._own_veh)},
            incidents=sorted(i.type for i in self.planned if i.start_s <= now_s < i.end_s and i.edge in near),
        )


def _priced(signal: Signal, record: Record, result: Any, where: dict[int, int]) -> Record:
    """The record with what each phase cost; ``where`` gives the branch of each phase."""
    rows, around = [where[phase] for phase in sorted(where)], [signal.index, *signal.neighbours]
    return replace(
        record,
        horizons_s=list(HORIZONS_S),
        costs_veh_s=np.round(result.network_delay_veh_s[rows], 3).tolist(),
        local_veh_s=np.round(result.signal_delay_veh_s[rows][:, :, around].sum(axis=2), 3).tolist(),
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
