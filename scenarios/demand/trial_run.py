"""A short run under a network's own programs: whether traffic flows, and vehicles taken out until it does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from scenarios.common.clock import format_seconds
from scenarios.common.sumo_tools import run_tool

#: A trial's length, and what a trip of it must keep to: longer ones are late, and a mean delay above both of the last
#: two, the second in free-flow times, is slow.
_TRIAL_S, _LATE_S, _TOLERABLE_S, _TOLERABLE_SHARE = 2100.0, 900.0, 80.0, 0.75


@dataclass(frozen=True)
class Trial:
    """What came of a trial."""

    jammed: bool  # too many vehicles did not arrive in a quarter of an hour
    slow: bool  # slower than towns are used to
    delay_s: float  # mean over all vehicles scheduled, those that never got in included

    @property
    def flows(self) -> bool:
        """Whether the traffic neither jams nor crawls."""
        return not self.jammed and not self.slow


def drive(net: Path, routes: Path, begin_s: float, purpose: str = "Trying a city's traffic") -> Trial:
    """Drive routes for the first 35 minutes.

    Raises:
        ScenarioError: SUMO refused them.
    """
    trips = routes.with_name("trips.xml")
    end_s = begin_s + _TRIAL_S
    outputs = ["--tripinfo-output", trips, "--tripinfo-output.write-unfinished", "--tripinfo-output.write-undeparted"]
    options = ["--time-to-teleport", "-1", "--no-step-log", "--no-warnings", "--xml-validation", "never"]
    clock = ["-b", format_seconds(begin_s), "-e", format_seconds(end_s)]
    run_tool("sumo", ["-n", net, "-r", routes, *clock, *outputs, *options], purpose)
    delay_s, free_s, count, early, late = 0.0, 0.0, 0, 0, 0
    for _, trip in ElementTree.iterparse(trips):
        if trip.tag == "tripinfo":
            lost_s, waited_s = float(trip.get("timeLoss", 0)), float(trip.get("departDelay", 0))
            count += 1
            delay_s += lost_s + waited_s
            free_s += float(trip.get("duration", 0)) - lost_s
            if float(trip.get("depart", 0)) - waited_s < end_s - _LATE_S:
                early += 1
                late += float(trip.get("arrival", -1)) < 0
    trips.unlink()
    slow = delay_s > max(_TOLERABLE_S * count, _TOLERABLE_SHARE * free_s)
    return Trial(late > 0.02 * early, slow, delay_s / max(count, 1))


def thinned(elements: list[ElementTree.Element], share: float) -> list[ElementTree.Element]:
    """A share of the vehicles, always the same ones first."""
    lots = np.random.default_rng(len(elements)).random(len(elements))
    return [element for element, lot in zip(elements, lots, strict=True) if element.tag != "vehicle" or lot < share]
