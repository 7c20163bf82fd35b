"""The usual mixture of runs: training cities and one real network, validation cities, and what results are scored on.

A run follows from its split and number alone. Tasks take it as it is, change its rates, or draw runs of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from llm.records.splits import FIRST_SEED, HELD_OUT, SPLITS
from llm.tasks.runs import Run
from scenarios import registry
from scenarios.city.generator import SPLITS as CITY_SEEDS
from scenarios.spec import DEFAULT_RATES, IncidentRates

#: Sizes of generated cities, signals; small ones are cheap to simulate and as varied in their junctions.
SIZES = (1, 2, 3, 1, 4, 2, 5, 3, 4, 6)
#: Seeds of the generated cities that are used; the next runs use the same ones with other traffic. A third has signals
#: of up to eight phases (``scenarios.city.generator.MANY_PHASES``).
CITIES = {"train": (*range(80), *range(200, 240)), "validation": (*range(500, 510), *range(510, 515))}
#: Every fifth training run is of this real network.
REAL_TRAINING, REAL_EVERY = "cologne1", 5
#: Every third run is of a city this large: small ones have no way around a closure, so nothing is learnt of those.
LARGE_CITY, LARGE_EVERY = 9, 3


@dataclass(frozen=True)
class Mixture:
    """What drawn runs have in common.

    Attributes:
        rates: of incidents per hour, in the runs that are learnt from; those that are scored have the usual ones.
        incident_share: of the runs that are learnt from, those with incidents.
        driver: spec of the controller that drives.
    """

    rates: IncidentRates = DEFAULT_RATES
    incident_share: float = 0.6
    driver: str = "greedy"


def drawn_run(split: str, number: int, settings: Any, names: Sequence[str] = (), mixture: Mixture | None = None) -> Run:
    """One run of a split.

    Args:
        split: ``train``, ``validation``, or ``held_out`` for scoring.
        number: from 0.
        settings: of the records: ``minutes``, ``jitter_s``, ``draw_seed``, and ``waves`` if there is one: the strongest
            waves of departures in what is learnt from. About half of the runs then have some, as a real hour does.
        names: only these scenarios, instead of the split's own mixture.
        mixture: what the runs have in common.
    """
    usual = mixture or Mixture()
    return (
        _scored(number, settings, tuple(names), usual)
        if split == HELD_OUT
        else _drawn(split, number, settings, tuple(names), usual)
    )


def _drawn(split: str, number: int, settings: Any, names: Sequence[str], mixture: Mixture) -> Run:
    rng = np.random.default_rng([settings.draw_seed, SPLITS.index(split), number])
    timings = "native" if rng.random() < 0.8 else "clearance"
    demand_scale = round(float(rng.uniform(0.6, 1.4)), 2)
    incidents = bool(rng.random() < mixture.incident_share)
    waves = max(0.0, float(rng.uniform(-1, 1))) * getattr(settings, "waves", 0.0)
    return Run(
        split=split,
        number=number,
        scenario=names[number % len(names)] if names else _scenario_name(split, number),
        seed=FIRST_SEED[split] + number,
        minutes=settings.minutes,
        timings=timings,
        driver=mixture.driver,
        demand_scale=demand_scale,
        jitter_s=settings.jitter_s,
        waves=round(waves, 2),
        rates=mixture.rates if incidents else None,
    )


def _scored(number: int, settings: Any, names: Sequence[str], mixture: Mixture) -> Run:
    """Each network without incidents, then each with them, then the next seed."""
    scenarios = names or scored_names()
    return Run(
        split=HELD_OUT,
        number=number,
        scenario=scenarios[number % len(scenarios)],
        seed=1 + number // (2 * len(scenarios)),
        minutes=settings.minutes,
        driver=mixture.driver,
        jitter_s=settings.jitter_s,
        rates=DEFAULT_RATES if number // len(scenarios) % 2 else None,
    )


@cache
def scored_names() -> tuple[str, ...]:
    """What models are scored on: RESCO's held-out networks and generated cities."""
    return (
        *(name for name in registry.names(HELD_OUT) if not name.startswith("city-")),  # those below are small enough
        *(f"city-{SIZES[k % len(SIZES)]}-{seed}" for k, seed in enumerate(CITY_SEEDS[HELD_OUT])),
    )


def _scenario_name(split: str, number: int) -> str:
    if split == "train" and number % REAL_EVERY == REAL_EVERY - 1:
        return REAL_TRAINING
    place = (number - number // REAL_EVERY if split == "train" else number) % len(CITIES[split])
    size = LARGE_CITY if number % LARGE_EVERY == LARGE_EVERY - 1 else SIZES[place % len(SIZES)]
    return f"city-{size}-{CITIES[split][place]}"
