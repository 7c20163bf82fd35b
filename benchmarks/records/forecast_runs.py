"""Which runs forecasts are learnt from and scored on: scenario, demand and incidents follow from a run's number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.records.decision_episodes import CITIES, SIZES
from benchmarks.run.drawn_run import planned_scenario
from llm.records.shards import RecordError
from llm.records.splits import FIRST_SEED
from llm.tasks.forecast import records as forecast_data
from llm.tasks.forecast.records import HELD_OUT, SPLITS
from scenarios import registry
from scenarios.city.generator import SPLITS as CITY_SEEDS
from scenarios.spec import DEFAULT_RATES, IncidentRates, Scenario

#: Every fifth training run is of this real network.
REAL_TRAINING, REAL_EVERY = "cologne1", 5
#: Every third run is of a city this large: small ones have no way around a closure, so nothing is learnt of those.
LARGE_CITY, LARGE_EVERY = 9, 3
INCIDENT_SHARE = 0.6
#: Incidents an hour in the runs that are learnt from: more of those that change a flow upstream.
RATES = IncidentRates(
    crash_per_h=1.0,
    roadworks_per_h=0.5,
    road_closure_per_h=1.5,
    demand_surge_per_h=1.5,
    detector_outage_per_h=0.5,
    emergency_vehicle_per_h=0.2,
)
#: What forecasts are scored on: RESCO's held-out networks and generated cities, each without and with incidents.
SCORED = (
    *(name for name in registry.names("held_out") if not name.startswith("city-")),  # those below are small enough
    *(f"city-{SIZES[k % len(SIZES)]}-{seed}" for k, seed in enumerate(CITY_SEEDS["held_out"])),
)


@dataclass(frozen=True)
class Settings:
    """What the records of a folder have in common; other settings need another folder.

    Attributes:
        minutes: simulated minutes of a run.
        jitter_s: by which each departure moves at most, s.
        draw_seed: draws other runs.
        waves: the strongest waves of departures (``Demand.waves``) in what is learnt from. About half of the runs
            have some, as a real hour does; a generated city's own is steady.
    """

    minutes: float = 60.0
    jitter_s: float = 60.0
    draw_seed: int = 0
    waves: float = 1.0


@dataclass(frozen=True)
class ForecastRun:
    """One run to record; everything follows from split, number and settings."""

    split: str
    number: int
    scenario: str
    seed: int
    timings: str
    demand_scale: float
    incidents: bool
    settings: Settings
    waves: float = 0.0

    @property
    def file_name(self) -> str:
        """Where its records go."""
        return f"{self.split}/{self.number:05d}-{self.scenario}.jsonl.gz"


def plan(split: str, runs: int, settings: Settings, names: Sequence[str] = ()) -> list[ForecastRun]:
    """Draw the runs of a split; a larger number begins with the same ones.

    Args:
        split: ``train``, ``validation``, or ``held_out`` for scoring.
        runs: how many.
        settings: what they have in common.
        names: only these scenarios, instead of the split's own mixture.

    Raises:
        RecordError: there is no such split, or a scenario is not of it.
    """
    if split not in SPLITS:
        raise RecordError(f"Forecast records have the splits {', '.join(SPLITS)}, not '{split}'.")
    for name in dict.fromkeys(names):
        forecast_data.check(registry.load(name), split, _seed(split, 0, 1))
    draw = _scored if split == HELD_OUT else _drawn
    return [draw(split, number, settings, tuple(names)) for number in range(runs)]


def _drawn(split: str, number: int, settings: Settings, names: tuple[str, ...]) -> ForecastRun:
    rng = np.random.default_rng([settings.draw_seed, SPLITS.index(split), number])
    return ForecastRun(
        split=split,
        number=number,
        scenario=names[number % len(names)] if names else _scenario_name(split, number),
        seed=_seed(split, number, 1),
        timings="native" if rng.random() < 0.8 else "clearance",
        demand_scale=round(float(rng.uniform(0.6, 1.4)), 2),
        incidents=bool(rng.random() < INCIDENT_SHARE),
        settings=settings,
        waves=round(max(0.0, float(rng.uniform(-1, 1))) * settings.waves, 2),
    )


def _scored(split: str, number: int, settings: Settings, names: tuple[str, ...]) -> ForecastRun:
    """Each network without incidents, then each with them, then the next seed."""
    known = names or SCORED
    return ForecastRun(
        split=split,
        number=number,
        scenario=known[number % len(known)],
        seed=_seed(split, number, 2 * len(known)),
        timings="native",
        demand_scale=1.0,
        incidents=bool(number // len(known) % 2),
        settings=settings,
    )


def _seed(split: str, number: int, runs_per_seed: int) -> int:
    return FIRST_SEED.get(split, 1) + number // runs_per_seed


def _scenario_name(split: str, number: int) -> str:
    if split == "train" and number % REAL_EVERY == REAL_EVERY - 1:
        return REAL_TRAINING
    place = (number - number // REAL_EVERY if split == "train" else number) % len(CITIES[split])
    size = LARGE_CITY if number % LARGE_EVERY == LARGE_EVERY - 1 else SIZES[place % len(SIZES)]
    return f"city-{size}-{CITIES[split][place]}"


def scenario_of(run: ForecastRun) -> Scenario:
    """The scenario with the run's demand, incidents and length.

    Raises:
        RecordError: it may not be recorded for this split.
        ScenarioError: there is none of that name.
    """
    scenario = registry.load(run.scenario)
    forecast_data.check(scenario, run.split, run.seed)
    rates = DEFAULT_RATES if run.split == HELD_OUT else RATES
    settings, drawn = run.settings, rates if run.incidents else None
    asked = (settings.minutes, run.demand_scale, settings.jitter_s)
    return planned_scenario(scenario, run.seed, *asked, drawn, run.waves)
