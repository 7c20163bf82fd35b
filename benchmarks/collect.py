"""Rollouts to labelled records: run training scenarios under many behaviours, try every phase of some decisions.

Each episode is drawn from its number alone, leaves one file, and is not run again when that file is there; so the
command goes on where it was, after Ctrl-C or a kill.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks import provenance
from benchmarks.behaviour import HOLD_PER_S, Behaviour, HoldingGreedy, prepared
from controllers.base import Controller, RunContext
from controllers.greedy import Greedy, LongestQueue
from llm import dataset
from llm.dataset import FIRST_SEED, MANIFEST, Record, RecordError
from llm.facts import phase_facts
from llm.prompt import PROMPT_VERSION, intergreen_s, near_roads, reports_in_force, signal_prompt
from scenarios import incidents, registry
from scenarios.city import SPLITS as CITY_SEEDS
from scenarios.spec import Demand, IncidentRates, Scenario, ScenarioError
from sim.network import Network, Signal
from sim.observation import Observation
from sim.session import Session
from sim.signals import Decision
from sim.timings import TIMINGS
from sim.workers import Workers

#: How far the branches of a label run, s; all are kept.
HORIZONS_S = (15.0, 30.0, 60.0)
#: Sizes of generated cities, signals; small ones are cheap to branch and as varied in their junctions.
SIZES = (1, 2, 3, 1, 4, 2, 5, 3, 4, 6)
#: Generated cities of each split that are used; the next episodes use the same ones with other traffic.
CITIES = {"train": 40, "validation": 10}
COLOGNE_SHARE = 0.2
BEHAVIOURS = (
    "holding",
    "holding",
    "holding",
    "greedy",
    "greedy:detection_m=50",
    "greedy:detection_m=200",
    "greedy:switch_margin_veh=2",
    "greedy:switch_margin_veh=4",
    "longest_queue",
)
RANDOM_SHARES = (0.0, 0.0, 0.05, 0.15, 0.4)
#: Incidents an hour in the half of the episodes that have some.
RATES = IncidentRates(
    crash_per_h=1.5,
    roadworks_per_h=0.8,
    road_closure_per_h=0.5,
    demand_surge_per_h=0.8,
    detector_outage_per_h=0.8,
    emergency_vehicle_per_h=0.4,
)
#: Signals that are labelled at one time.
SIGNALS_AT_ONCE = 2
#: Share kept of the decisions where at most one phase has traffic, and of those with a report for other signals only.
QUIET_WEIGHT, UNREPORTED_WEIGHT = 0.05, 0.5


@dataclass(frozen=True)
class Settings:
    """What the records of a folder have in common; other settings need another folder."""

    minutes: float = 30.0
    records_per_episode: int = 40
    jitter_s: float = 60.0
    draw_seed: int = 0


@dataclass(frozen=True)
class Episode:
    """One run to record; everything follows from split, number and settings."""

    split: str
    number: int
    scenario: str
    seed: int
    timings: str
    behaviour: str
    random_share: float
    follow_share: float  # of the labelled decisions, those where the cheapest phase is shown
    demand_scale: float
    incidents: bool
    settings: Settings

    @property
    def file_name(self) -> str:
        """Where its records go."""
        return f"{self.split}/{self.number:05d}-{self.scenario}.jsonl.gz"


@dataclass(frozen=True)
class Job:
    """An episode and the folder of its records."""

    episode: Episode
    folder: Path


class Progress(Protocol):
    """Is told of each episode that ended: how many of how many, its name, records, and what went wrong."""

    def __call__(self, done: int, total: int, name: str, records: int, problem: str | None) -> None:
        """One episode has ended."""


# --- the plan


def plan(split: str, episodes: int, settings: Settings, names: Sequence[str] = ()) -> list[Episode]:
    """Draw the episodes of a split.

    Args:
        split: ``train`` or ``validation``.
        episodes: how many; a larger number begins with the same ones.
        settings: what they have in common.
        names: only these scenarios, instead of the split's own mixture.

    Raises:
        RecordError: a scenario is held out or not of this split.
    """
    if split not in FIRST_SEED:
        raise RecordError(f"Records have the splits {' and '.join(FIRST_SEED)}, not '{split}'.")
    for name in dict.fromkeys(names):
        dataset.check_split(registry.load(name), split, FIRST_SEED[split])
    return [_draw(split, number, settings, tuple(names)) for number in range(episodes)]


def _draw(split: str, number: int, settings: Settings, names: tuple[str, ...]) -> Episode:
    rng = np.random.default_rng([settings.draw_seed, SPLIT_NUMBERS[split], number])
    name = names[number % len(names)] if names else _any_scenario(split, rng)
    return Episode(
        split=split,
        number=number,
        scenario=name,
        seed=FIRST_SEED[split] + number,
        timings="native" if rng.random() < 0.8 else "clearance",
        behaviour=str(rng.choice(BEHAVIOURS)),
        random_share=float(rng.choice(RANDOM_SHARES)),
        follow_share=float(rng.choice((0.0, 0.5, 1.0))),
        demand_scale=round(float(rng.uniform(0.6, 1.4)), 2),
        incidents=bool(rng.random() < 0.5),
        settings=settings,
    )


SPLIT_NUMBERS = {"train": 0, "validation": 1}


def _any_scenario(split: str, rng: np.random.Generator) -> str:
    if split == "train" and rng.random() < COLOGNE_SHARE:
        return "cologne1"
    seeds = CITY_SEEDS[split]
    place = int(rng.integers(CITIES[split]))
    return f"city-{SIZES[place % len(SIZES)]}-{seeds[place]}"


# --- one episode


def scenario_of(episode: Episode) -> Scenario:
    """The scenario with the episode's demand, incidents and length.

    Raises:
        RecordError: it may not be recorded for this split.
        ScenarioError: there is none of that name.
    """
    scenario = registry.load(episode.scenario)
    dataset.check_split(scenario, episode.split, episode.seed)
    end_s = scenario.begin_s + scenario.warmup_s + 60 * episode.settings.minutes
    changed = scenario.with_(
        end_s=min(scenario.end_s, end_s),
        demand=Demand(scale=episode.demand_scale, departure_jitter_s=episode.settings.jitter_s),
    )
    return _with_incidents(changed, episode.seed) if episode.incidents else changed


def _with_incidents(scenario: Scenario, seed: int) -> Scenario:
    """The scenario with incidents of the types that its network has room for."""
    roads = Network.read(scenario.net_file).roads
    rates: dict[str, float] = {}
    for name, rate in RATES.model_dump().items():
        try:
            incidents.schedule(scenario.with_(incident_rates=IncidentRates(**{name: rate})), roads, seed)
        except ScenarioError:  # no two-lane road for roadworks, no way around a closure
            continue
        rates[name] = rate
    return scenario.with_(incident_rates=IncidentRates(**rates))


def record_episode(job: Job) -> int:
    """Run one episode and write its records; runs on a worker. Returns how many."""
    records = list(_Recorder(job.episode).records())
    dataset.write_shard(job.folder / job.episode.file_name, records)
    return len(records)


class _Recorder:
    """Drives one run and labels decisions at random times."""

    def __init__(self, episode: Episode) -> None:
        self.episode, self.timings = episode, TIMINGS[episode.timings]
        self.scenario = scenario_of(episode)
        self.network_sha256 = dataset.network_sha256(self.scenario.net_file)
        self.rng = np.random.default_rng([episode.seed, 7])

    def records(self) -> Iterator[Record]:
        """Every record of the run."""
        with Session(self.scenario, self.episode.seed, self.timings) as session:
            observation = session.start()
            self._prepare(session)
            while not session.done:
                decisions = dict(self.driver.act(observation))
                if session.time_s + HORIZONS_S[-1] <= self.scenario.end_s and self.rng.random() < self.chance:
                    for record in self._label(session, observation):
                        yield record
                        if self.rng.random() < self.episode.follow_share:
                            decisions[record.signal] = int(record.cost(HORIZONS_S[1]).argmin())
                observation = session.step(decisions)

    def _prepare(self, session: Session) -> None:
        seed, network = self.episode.seed, session.network
        context = RunContext(self.scenario, seed, self.timings)
        behaviour = Behaviour(self.episode.behaviour, self.episode.random_share)
        self.driver: Controller = prepared(behaviour, network, seed, context)
        self.base: Controller = prepared(HoldingGreedy(), network, seed, context)
        classical = {"greedy": Greedy(), "longest_queue": LongestQueue()}
        self.classical: dict[str, Controller] = {
            name: prepared(controller, network, seed, context) for name, controller in classical.items()
        }
        self.classical["holding"] = self.base
        self.chance = self._chance(network)
        self.planned = incidents.schedule(self.scenario, network.roads, seed)

    def _chance(self, network: Network) -> float:
        """Of labelling at a decision time, so that about the wanted number comes out."""
        at_once = min(SIGNALS_AT_ONCE, len(network.controllable))
        times = (self.scenario.horizon_s - HORIZONS_S[-1]) / self.timings.decision_interval_s
        return 1.3 * self.episode.settings.records_per_episode / at_once / max(times, 1.0)

    def _label(self, session: Session, observation: Observation) -> list[Record]:
        """Label some due signals: one is varied at a time, the others do what the base policy would."""
        for report in observation.reports:
            dataset.check_wording(report.text)
        signals = self._choose(session, observation)
        if not signals:
            return []
        choices = {name: _phases(controller.act(observation)) for name, controller in self.classical.items()}
        usual = choices["holding"]
        candidates, places = [usual], []
        for signal in signals:
            others = [phase for phase in range(len(signal.phases)) if phase != usual[signal.id]]
            places.append({usual[signal.id]: 0} | {p: len(candidates) + i for i, p in enumerate(others)})
            candidates += [{**usual, signal.id: phase} for phase in others]
        result = session.branch(candidates, HORIZONS_S, self.base)
        return [
            self._record(session, observation, signal, [where[p] for p in sorted(where)], result, choices)
            for signal, where in zip(signals, places, strict=True)
        ]

    def _choose(self, session: Session, observation: Observation) -> list[Signal]:
        due = [signal for signal in session.network.controllable if observation.due[signal.index]]
        due = [signal for signal in due if len(signal.phases) <= 26]
        if not due:
            return []
        weights = np.array([self._weight(session, signal, observation) for signal in due])
        kept = [signal for signal, weight in zip(due, weights, strict=True) if self.rng.random() < weight]
        picked = self.rng.permutation(len(kept))[:SIGNALS_AT_ONCE]
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
        rows: list[int],
        result: Any,
        choices: dict[str, dict[str, int]],
    ) -> Record:
        network, now_s = session.network, observation.time_s
        near = near_roads(network, signal)
        around = [signal.index, *signal.neighbours]
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
            horizons_s=list(HORIZONS_S),
            costs_veh_s=np.round(result.network_delay_veh_s[rows], 3).tolist(),
            local_veh_s=np.round(result.signal_delay_veh_s[rows][:, :, around].sum(axis=2), 3).tolist(),
            facts=np.round(phase_facts(network, signal, observation, self.timings), 3).tolist(),
            choices={name: phases[signal.id] for name, phases in choices.items()},
            behaviour=f"{self.episode.behaviour},random={self.episode.random_share:g}",
            demand_scale=self.episode.demand_scale,
            incidents=sorted(i.type for i in self.planned if i.start_s <= now_s < i.end_s and i.edge in near),
        )


def _phases(decisions: Any) -> dict[str, int]:
    return {
        name: int((asked.phase or 0) if isinstance(asked, Decision) else asked) for name, asked in decisions.items()
    }


# --- all of them


def collect(episodes: Sequence[Episode], folder: Path, workers: int, progress: Progress) -> dict[str, Any]:
    """Run the episodes that have no file yet, and write the manifest. Returns the manifest.

    Raises:
        RecordError: the folder holds records of other settings, or cannot be written.
        KeyboardInterrupt: passed on; finished episodes are on disk.
    """
    settings = episodes[0].settings if episodes else Settings()
    _check_settings(folder, settings)
    todo = [Job(episode, folder) for episode in episodes if not _is_done(folder / episode.file_name)]
    done, failed = len(episodes) - len(todo), {}
    if todo:
        for names in _batches(todo):
            with Workers(_load, workers) as pool:  # every city once, or workers that share one would wait for it
                for _ in pool.run(names):
                    pass
        with Workers(record_episode, workers, timeout_s=900) as pool:
            for ended in pool.run(todo):
                done += 1
                name = ended.task.episode.file_name
                if ended.problem is not None:
                    failed[name] = ended.problem
                progress(done, len(episodes), name, ended.value or 0, ended.problem)
    return dataset.write_manifest(folder, _about(settings, failed))


def _batches(jobs: list[Job]) -> Iterator[list[str]]:
    yield sorted({job.episode.scenario for job in jobs})


def _load(name: str) -> None:
    registry.load(name)


def _is_done(path: Path) -> bool:
    try:
        return path.is_file() and bool(dataset.read_shard(path) or True)
    except RecordError:
        return False


def _about(settings: Settings, failed: dict[str, str]) -> dict[str, Any]:
    git = provenance.git()
    return {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": asdict(settings),
        "settings_sha256": _sha256(settings),
        "label": {"horizons_s": list(HORIZONS_S), "then": "holding", "hold_per_s": HOLD_PER_S},
        "versions": provenance.versions(),
        "git": git.model_dump() if git else None,
        "failed": failed,
    }


def _sha256(settings: Settings) -> str:
    return hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode()).hexdigest()


def _check_settings(folder: Path, settings: Settings) -> None:
    if not (folder / MANIFEST).is_file():
        dataset.write_bytes(folder / MANIFEST, json.dumps(_started(settings)).encode())
        return
    found = dataset.read_manifest(folder).get("settings_sha256")
    if found != _sha256(settings):
        raise RecordError(f"Folder {folder} holds records of other settings; repeat those or choose another folder.")


def _started(settings: Settings) -> dict[str, Any]:
    return {
        "format": dataset.FORMAT,
        "prompt_version": PROMPT_VERSION,
        "settings_sha256": _sha256(settings),
        "shards": {},
    }
