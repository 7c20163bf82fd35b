"""Named mixes: how many bulletins of which types an hour has on a quiet day, a match day, in a storm, with works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scenarios.common.errors import ScenarioError
from scenarios.common.names import close_names
from scenarios.words.truth import TYPES


@dataclass(frozen=True)
class Mix:
    """Rates of what happens and is told.

    Attributes:
        events_per_h: by type; a type that is not named does not happen.
        irrelevant_per_h: bulletins that tell nothing of this network now, orders among them.
        false_share: of the bulletins that tell of an event, those of one that there is not.
    """

    events_per_h: Mapping[str, float]
    irrelevant_per_h: float = 2.0
    false_share: float = 0.03


_EVERY_DAY = {
    "crash": 0.4,
    "breakdown": 0.5,
    "roadworks": 0.3,
    "road_closure": 0.15,
    "detector_outage": 0.2,
    "signal_fault": 0.1,
    "emergency_vehicle": 0.6,
}

MIXES: Mapping[str, Mix] = {
    "quiet_day": Mix({name: rate / 2 for name, rate in _EVERY_DAY.items()}, irrelevant_per_h=3.0),
    "weekday": Mix(_EVERY_DAY),
    "match_day": Mix({**_EVERY_DAY, "demand_surge": 1.5, "road_closure": 0.6, "crash": 0.6}, irrelevant_per_h=4.0),
    "storm": Mix({**_EVERY_DAY, "weather": 2.0, "road_closure": 0.8, "signal_fault": 0.6, "crash": 1.2}),
    "works": Mix({**_EVERY_DAY, "roadworks": 2.0, "road_closure": 0.5, "detector_outage": 0.6}),
}


def mix(name: str) -> Mix:
    """A mix by its name.

    Raises:
        ScenarioError: there is none of that name.
    """
    if name in MIXES:
        return MIXES[name]
    near = close_names(name, MIXES, least_likeness=0.4)
    hint = f"did you mean '{near[0]}'?" if near else f"choose one of {', '.join(MIXES)}."
    raise ScenarioError(f"There is no mix of bulletins '{name}'; {hint}")


def shares(chosen: Mix) -> Mapping[str, float]:
    """The share of each type in the events of a mix, in the order of ``TYPES``."""
    total = sum(chosen.events_per_h.values())
    return {name: chosen.events_per_h[name] / total for name in TYPES if name in chosen.events_per_h}
