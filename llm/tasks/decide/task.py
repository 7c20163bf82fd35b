"""The task ``decide``: which phase of a signal costs least, learnt from forks of the simulation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from llm.records.splits import FIRST_SEED, SPLITS
from llm.tasks.base import Choice, Curriculum, Floats, LiveRun, Question, Run, Schooling, Settings, Task
from llm.tasks.decide.facts import FACTS, phase_facts
from llm.tasks.decide.prompt import PROMPT_VERSION, TASK, signal_prompt
from llm.tasks.decide.questions import MAX_PHASES, question_of
from llm.tasks.decide.recording import HORIZONS_S, RIVALS, THEN, Recorder
from llm.tasks.decide.records import FORMAT, Record, soft_targets
from llm.tasks.decide.teaching import Teaching
from llm.tasks.mixture import CITIES, SIZES
from scenarios.spec import IncidentRates, Scenario
from sim.network import Network, Signal
from sim.observation import Observation
from sim.timings import NATIVE

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
#: Incidents an hour in the half of the runs that have some.
RATES = IncidentRates(
    crash_per_h=1.5,
    roadworks_per_h=0.8,
    road_closure_per_h=0.5,
    demand_surge_per_h=0.8,
    detector_outage_per_h=0.8,
    emergency_vehicle_per_h=0.4,
)
#: Of the factor on the number of vehicles, which is rounded to hundredths; ``scenarios.spec.Demand`` takes no more.
LEAST_SCALE, MOST_SCALE = 0.01, 10.0


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class DecideSettings(Settings):
    """Settings of the records.

    Attributes:
        minutes: simulated minutes of a run.
        records_per_episode: wanted of a run.
        drive: controllers that drive, one of them drawn for each run.
        then: the controller that goes on after the phase that a branch tries.
        branches: try every phase, and so know its cost; without, a record has no costs and needs a teacher.
        demand_scales: least and most factor on the number of vehicles.
        imagined_share: of the records, those of states that no run showed (``llm.tasks.decide.recombined_states``);
            only without branches, since such a state cannot be gone on from.
        forecast_head: note this head's forecasts, too: a folder of ``greenloop train forecast``.
    """

    minutes: float = Field(default=30.0, ge=3)
    records_per_episode: int = Field(default=40, ge=1)
    drive: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(default=BEHAVIOURS, min_length=1)
    then: str = "holding"
    branches: bool = True
    demand_scales: tuple[float, float] = (0.6, 1.4)
    imagined_share: float = Field(default=0.0, ge=0, le=1)
    forecast_head: Path | None = Field(default=None, exclude=True)

    @model_validator(mode="after")
    def _fits(self) -> DecideSettings:
        least, most = self.demand_scales
        if not LEAST_SCALE <= least <= most <= MOST_SCALE:
            raise ValueError(
                f"the demand_scales are {least:g} and {most:g}; give two numbers from {LEAST_SCALE:g} to "
                f"{MOST_SCALE:g}, the smaller first"
            )
        if self.imagined_share and self.branches:
            raise ValueError("imagined states cannot be gone on from and have no costs: set branches=false as well")
        return self


class DecideWatch:
    """Asks for the phase of every signal that is due."""

    def __init__(self, network: Network) -> None:
        self.network, self.timings = network, NATIVE

    def see(self, observation: Observation) -> bool:
        """True when a signal is due."""
        self.observation = observation
        return bool(self._due())

    def questions(self) -> list[Question]:
        """One for each signal that is due."""
        return [
            question_of(
                signal_prompt(self.network, signal, self.observation, timings=self.timings),
                phase_facts(self.network, signal, self.observation, self.timings),
                signal.id,
                self.observation.time_s,
            )
            for signal in self._due()
        ]

    def _due(self) -> list[Signal]:
        due = self.observation.due
        return [s for s in self.network.controllable if due[s.index] and len(s.phases) <= MAX_PHASES]


class DecideTask(Task[Record]):
    """The phase of a signal that costs the whole network least."""

    name = TASK
    answer = Choice()
    prompt_version = PROMPT_VERSION
    record_format = FORMAT
    settings = DecideSettings
    teaching = Teaching
    training = {"layers": 8}  # noqa: RUF012
    splits = SPLITS
    limits = (
        "Made for decisions every 5 s on networks like those in the records: right-hand traffic of motor vehicles. It "
        "has seen no pedestrians and no public transport priority. The signal state machine, and not this model, keeps "
        "the lights safe.",
    )

    # records

    def plan(self, split: str, number: int, settings: Any, names: Sequence[str] = ()) -> Run:
        """Scenario, demand, incidents and behaviour follow from a run's number."""
        rng = np.random.default_rng([settings.draw_seed, SPLITS.index(split), number])
        scenario = names[number % len(names)] if names else _any_scenario(split, rng)
        timings = "native" if rng.random() < 0.8 else "clearance"
        driver = str(rng.choice(settings.drive))
        random_share, follow_share = float(rng.choice(RANDOM_SHARES)), float(rng.choice((0.0, 0.5, 1.0)))
        demand_scale = round(float(rng.uniform(*settings.demand_scales)), 2)
        incidents = bool(rng.random() < 0.5)
        return Run(
            split=split,
            number=number,
            scenario=scenario,
            seed=FIRST_SEED[split] + number,
            minutes=settings.minutes,
            timings=timings,
            driver=driver,
            random_share=random_share,
            demand_scale=demand_scale,
            jitter_s=settings.jitter_s,
            rates=RATES if incidents else None,
            policies={THEN: settings.then, **{name: name for name in RIVALS}},
            notes={
                "follow_share": follow_share,  # of the labelled decisions, those where the cheapest phase is shown
                "records": settings.records_per_episode,
                "branches": settings.branches,
                "imagined_share": settings.imagined_share,
                "forecast_head": None if settings.forecast_head is None else str(settings.forecast_head),
            },
        )

    def controllers(self, settings: Any) -> Sequence[str]:
        """Who drives, and who goes on in branches."""
        return (*settings.drive, settings.then)

    def reads(self, settings: Any) -> Mapping[str, Path | None]:
        """The forecast head."""
        if settings.forecast_head is not None:
            forecaster(settings.forecast_head)  # say at once that there is none
        return {"forecast head": settings.forecast_head}

    def watch(self, network: Network, scenario: Scenario) -> DecideWatch:  # noqa: ARG002
        """Asks at each decision time."""
        return DecideWatch(network)

    def records(self, live: LiveRun, watch: DecideWatch) -> Iterator[Record]:
        """Decisions at random times, with what each phase would have cost."""
        watch.timings = live.session.timings
        head = live.run.notes["forecast_head"]
        yield from Recorder(live, None if head is None else forecaster(Path(head))).records()

    def question(self, record: Record) -> Question:
        """The prompt without a forecast, and the facts."""
        return question_of(record.prompt, np.array(record.facts), record.signal, record.time_s)

    def target(self, record: Record) -> Floats:
        """Shares that fall with the cost at the default horizon; NaN where no cost is known."""
        how = Teaching()
        if not record.horizons_s:
            return np.full(record.phases, np.nan)
        return soft_targets(record.cost(how.horizon_s), how.temperature_veh_s)

    def slices(self, record: Record) -> frozenset[str]:
        """With reports in the prompt, or near incidents."""
        near = {"near_incidents"} if record.incidents else set()
        return frozenset(near | ({"reported"} if "\nReport " in record.prompt else set()))

    def row(self, record: Record) -> dict[str, Any]:
        """A record as JSON."""
        return asdict(record)

    def record(self, row: dict[str, Any]) -> Record:
        """The same back."""
        return Record(**row)

    def about(self) -> Mapping[str, Any]:
        """The names of the facts, and how far branches run."""
        return {"facts": list(FACTS), "horizons_s": list(HORIZONS_S)}

    def counts(self, records: Sequence[Record]) -> Mapping[str, int]:
        """Decisions with reports."""
        return {"reported": sum("\nReport " in record.prompt for record in records)}

    # learning and scoring

    def curriculum(self, schooling: Schooling) -> Curriculum:
        """Lessons from costs and from the plain network that reads numbers."""
        from llm.tasks.decide.curriculum import DecideCurriculum

        return DecideCurriculum(schooling, self.view, self.plain)

    def baselines(self) -> Mapping[str, str]:
        """The plain network, and a phase at random."""
        return {"phase_net": "llm.tasks.decide.answerers:PhaseNetAnswerer"}

    def score(self, target: Floats, answer: Floats) -> Mapping[str, Floats]:
        """As any choice; nothing where no cost is known."""
        return {} if np.isnan(target).any() else super().score(target, answer)

    def told(self, metrics: Mapping[str, Any]) -> list[str]:
        """Regret beside that of others."""
        before = metrics.get("untuned_regret_veh_s", metrics.get("start_regret_veh_s"))
        rows = {"this adapter": metrics["regret_veh_s"], "before": before, **metrics["rivals_regret_veh_s"]}
        lines = [f"Regret on {metrics['priced_validation_records']:,} validation records (veh-s):"]
        for name, value in sorted(rows.items(), key=lambda row: row[1] or 0.0):
            lines.append(f"  {name:14} {value:.2f}" if value is not None else f"  {name:14} ?")
        return lines


def forecaster(head: Path) -> Any:
    """The part of a forecast head that reads no text: the forecast source ``own``.

    Raises:
        ForecastError: there is no such head.
    """
    from llm.tasks.forecast.language_model import NumbersOnly

    return NumbersOnly(str(head))


def _any_scenario(split: str, rng: np.random.Generator) -> str:
    if split == "train" and rng.random() < COLOGNE_SHARE:
        return "cologne1"
    place = int(rng.integers(len(CITIES[split])))
    return f"city-{SIZES[place % len(SIZES)]}-{CITIES[split][place]}"
