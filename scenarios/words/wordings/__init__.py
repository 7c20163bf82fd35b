"""The wordings of bulletins, a file for each group of types.

Every template belongs to one split. Notation: ``[a|b|]`` is a choice, which may nest; ``{s}`` and the like are filled
as ``scenarios.words.fillers`` says; ``<lanes=all>`` says what the words before it mean and is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from scenarios.words.wordings.changes import CHANGES, THINGS
from scenarios.words.wordings.crashes import BREAKDOWN, CRASH
from scenarios.words.wordings.emergencies import EMERGENCY_VEHICLE
from scenarios.words.wordings.irrelevant import IRRELEVANT, ORDERS
from scenarios.words.wordings.shared import ASIDES, HEDGES
from scenarios.words.wordings.surges import DEMAND_SURGE
from scenarios.words.wordings.technical import DETECTOR_OUTAGE, SIGNAL_FAULT
from scenarios.words.wordings.weather import WEATHER
from scenarios.words.wordings.works import ROAD_CLOSURE, ROADWORKS

#: kind -> split -> templates.
Wordings = Mapping[str, Mapping[str, tuple[str, ...]]]

#: Type -> kind -> split -> templates, for what is new or announced.
EVENTS: Mapping[str, Wordings] = {
    "crash": CRASH,
    "breakdown": BREAKDOWN,
    "roadworks": ROADWORKS,
    "road_closure": ROAD_CLOSURE,
    "demand_surge": DEMAND_SURGE,
    "detector_outage": DETECTOR_OUTAGE,
    "signal_fault": SIGNAL_FAULT,
    "emergency_vehicle": EMERGENCY_VEHICLE,
    "weather": WEATHER,
}

__all__ = ["ASIDES", "CHANGES", "EVENTS", "HEDGES", "IRRELEVANT", "ORDERS", "THINGS", "Wordings"]
