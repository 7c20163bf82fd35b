"""Incident reports as a control room hears of them: late, worded in many ways, sometimes imprecise.

Everything is drawn from the seed, the scenario and the incident, so every controller hears the same at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scenarios.incidents.incident import Report, ScheduledIncident
from scenarios.incidents.road_graph import Road
from scenarios.incidents.wordings import WORDINGS

#: Seconds from a change on the road to its report.
LATE_S = (60, 180)
#: An emergency vehicle is announced when it is dispatched.
DISPATCH_LATE_S = (0, 30)
WRONG_LANES_SHARE = 0.15
NO_LANES_SHARE = 0.15
ROUNDED_CLOCK_SHARE = 0.2

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def write_reports(
    incident: ScheduledIncident, roads: Mapping[str, Road], rng: np.random.Generator, split: str = "train"
) -> tuple[Report, Report]:
    """Return the report of an incident and the report that it is over, in the wordings of ``split``."""
    opened = _Writer(incident, roads, rng, split).write(cleared=False)
    cleared = _Writer(incident, roads, rng, split).write(cleared=True, not_before_s=opened.time_s + 1)
    return opened, cleared


@dataclass
class _Writer:
    incident: ScheduledIncident
    roads: Mapping[str, Road]
    rng: np.random.Generator
    split: str

    def write(self, cleared: bool, not_before_s: float = 0.0) -> Report:
        incident, road = self.incident, self.roads[self.incident.edge]
        wording = WORDINGS[self.split][incident.type]
        happened_s = incident.end_s if cleared else incident.start_s
        on_dispatch = incident.type == "emergency_vehicle" and not cleared
        late_s = int(self.rng.integers(*(DISPATCH_LATE_S if on_dispatch else LATE_S), endpoint=True))
        clock_s, clock = self._clock(happened_s)
        template = self._template(wording.cleared if cleared else wording.opened)
        blocked, lanes = (0, "") if cleared else self._lanes(road, template)
        vehicles = self._vehicles()
        to_edge = incident.to_edge
        text = template.format(
            clock=clock,
            street=_street(road),
            lanes=lanes,
            vehicles=vehicles,
            to=_street(self.roads[to_edge]) if to_edge else "",
        )
        return Report(
            time_s=max(float(round(happened_s)) + late_s, not_before_s),
            incident_id=incident.id,
            text=text[:1].upper() + text[1:],
            type=incident.type,
            edge=incident.edge,
            blocked_lanes=blocked,
            total_lanes=len(road.car_lanes),
            cleared=cleared,
            clock_s=clock_s,
            vehicles=0 if cleared else vehicles,
            to_edge=to_edge,
        )

    def _template(self, templates: tuple[str, ...]) -> str:
        """One of the templates; a share of the reports says nothing about the lanes."""
        said, unsaid = ([t for t in templates if ("{lanes}" in t) == lanes] for lanes in (True, False))
        vague = self.rng.random() < NO_LANES_SHARE
        choice = (unsaid if vague else said) or said or unsaid
        return choice[int(self.rng.integers(len(choice)))]

    def _clock(self, time_s: float) -> tuple[float, str]:
        rounded = self.rng.random() < ROUNDED_CLOCK_SHARE
        step_s = 300 if rounded else 60
        reported_s = time_s // step_s * step_s
        hours, minutes = divmod(int(reported_s) // 60, 60)
        clock = f"{hours % 24:02d}:{minutes:02d}"
        return float(reported_s), f"about {clock}" if rounded else clock

    def _lanes(self, road: Road, template: str) -> tuple[int, str]:
        """The blocked lanes as reported: how many, and in words."""
        total = len(road.car_lanes)
        if self.incident.type == "road_closure":
            return total, ""
        blocked = [road.car_lanes.index(lane) for lane in self.incident.lanes if lane in road.car_lanes]
        wrong, pick, by_side = self.rng.random() < WRONG_LANES_SHARE, self.rng.random(), self.rng.random() < 0.4
        if "{lanes}" not in template:
            return 0, ""
        if wrong and total > 1:
            others = [count for count in range(1, total + 1) if count != len(blocked)]
            count = others[int(pick * len(others))]
            return count, _share(count, total)
        if by_side and len(blocked) == 1 and total > 1:
            return 1, _side(blocked[0], total)
        return len(blocked), _share(len(blocked), total)

    def _vehicles(self) -> int:
        """A guess at the number of cars, within a quarter of the truth, in tens."""
        guess = self.rng.uniform(0.75, 1.25) * self.incident.vehicles
        return max(round(guess / 10) * 10, 10) if self.incident.vehicles else 0


def _street(road: Road) -> str:
    return road.name if road.name != road.id else f"road {road.id}"


def _share(count: int, total: int) -> str:
    """ "one of three lanes", "both lanes", "all three lanes", "the only lane"."""
    if total == 1:
        return "the only lane"
    if count == total:
        return "both lanes" if total == 2 else f"all {_number(total)} lanes"
    return f"{_number(count)} of {_number(total)} lanes"


def _side(position: int, total: int) -> str:
    """ "the right lane": position 0 is the rightmost of the lanes for cars."""
    if position == 0:
        return "the right lane"
    if position == total - 1:
        return "the left lane"
    return "the middle lane" if total == 3 else f"lane {position + 1} from the right"


def _number(value: int) -> str:
    return _NUMBERS[value] if value < len(_NUMBERS) else str(value)
