"""The episodes that are run for records: scenario, demand, incidents and behaviour follow from an episode's number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.run.drawn_run import planned_scenario
from llm.records.shards import RecordError
from llm.records.splits import FIRST_SEED, check_split
from scenarios import registry
from scenarios.spec import IncidentRates, Scenario

#: Sizes of generated cities, signals; small ones are cheap to branch and as varied in their junctions.
SIZES = (1, 2, 3, 1, 4, 2, 5, 3, 4, 6)
#: Seeds of the generated cities that are used; the next episodes use the same ones with other traffic. A third has
#: signals of up to eight phases (``scenarios.city.generator.MANY_PHASES``).
CITIES = {"train": (*range(80), *range(200, 240)), "validation": (*range(500, 510), *range(510, 515))}
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
#: The policy that goes on after the phase that a branch tries.
THEN = "holding"
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
#: Of the factor on the number of vehicles, which is rounded to hundredths; ``scenarios.spec.Demand`` takes no more.
LEAST_SCALE, MOST_SCALE = 0.01, 10.0
SPLIT_NUMBERS = {"train": 0, "validation": 1}


@dataclass(frozen=True)
class Settings:
    """What the records of a folder have in common; other settings need another folder.

    Attributes:
        minutes: simulated minutes of an episode.
        records_per_episode: wanted.
        jitter_s: by which each departure moves at most, s.
        draw_seed: draws other episodes.
        drive: controllers that drive, one of them drawn for each episode.
        then: the controller that goes on after the phase that a branch tries.
        branches: try every phase, and so know its cost; without, a record has no costs.
        demand_scales: least and most factor on the number of vehicles.
        imagined_share: of the records, those of states that no run showed (``benchmarks.records.recombined_states``);
            only without branches, since such a state cannot be gone on from.
    """

    minutes: float = 30.0
    records_per_episode: int = 40
    jitter_s: float = 60.0
    draw_seed: int = 0
    drive: tuple[str, ...] = BEHAVIOURS
    then: str = THEN
    branches: bool = True
    demand_scales: tuple[float, float] = (0.6, 1.4)
    imagined_share: float = 0.0


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


def plan(split: str, episodes: int, settings: Settings, names: Sequence[str] = ()) -> list[Episode]:
    """Draw the episodes of a split.

    Args:
        split: ``train`` or ``validation``.
        episodes: how many; a larger number begins with the same ones.
        settings: what they have in common.
        names: only these scenarios, instead of the split's own mixture.

    Raises:
        RecordError: a scenario is held out or not of this split, or the settings make no sense.
    """
    least, most = settings.demand_scales
    if not LEAST_SCALE <= least <= most <= MOST_SCALE:
        raise RecordError(
            f"The demand scales are {least:g} and {most:g}; give two numbers from {LEAST_SCALE:g} to {MOST_SCALE:g}, "
            "the smaller first."
        )
    if settings.imagined_share and settings.branches:
        raise RecordError("Imagined states cannot be gone on from, so they have no costs: give --no-branches as well.")
    if split not in FIRST_SEED:
        raise RecordError(f"Records have the splits {' and '.join(FIRST_SEED)}, not '{split}'.")
    for name in dict.fromkeys(names):
        check_split(registry.load(name), split, FIRST_SEED[split])
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
        behaviour=str(rng.choice(settings.drive)),
        random_share=float(rng.choice(RANDOM_SHARES)),
        follow_share=float(rng.choice((0.0, 0.5, 1.0))),
        demand_scale=round(float(rng.uniform(*settings.demand_scales)), 2),
        incidents=bool(rng.random() < 0.5),
        settings=settings,
    )


def _any_scenario(split: str, rng: np.random.Generator) -> str:
    if split == "train" and rng.random() < COLOGNE_SHARE:
        return "cologne1"
    place = int(rng.integers(len(CITIES[split])))
    return f"city-{SIZES[place % len(SIZES)]}-{CITIES[split][place]}"


def scenario_of(episode: Episode) -> Scenario:
    """The scenario with the episode's demand, incidents and length.

    Raises:
        RecordError: it may not be recorded for this split.
        ScenarioError: there is none of that name.
    """
    scenario = registry.load(episode.scenario)
    check_split(scenario, episode.split, episode.seed)
    settings, rates = episode.settings, RATES if episode.incidents else None
    return planned_scenario(scenario, episode.seed, settings.minutes, episode.demand_scale, settings.jitter_s, rates)
