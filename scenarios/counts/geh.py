"""How well traffic fits the counts that it was made from: GEH per count, as traffic models are judged."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from scenarios.common.clock import format_seconds
from scenarios.common.sumo_tools import run_tool
from scenarios.counts.table import Count
from scenarios.counts.turn_shares import Plausibility
from scenarios.spec import Scenario

#: A count fits when its GEH is below this, and a model when 85 % of its counts do.
GEH_FITS, SHARE_FITS = 5.0, 0.85


def geh(modelled_veh_h: float, counted_veh_h: float) -> float:
    """The statistic that Geoffrey E. Havers proposed for comparing hourly volumes: sqrt(2 (m - c)^2 / (m + c)).

    It lies between the relative and the absolute error, so that ten vehicles weigh more where few pass. The UK's
    Design Manual for Roads and Bridges, volume 12, section 2, part 1 (1996), asks for GEH < 5 at 85 % of the counts;
    so does today's TAG unit M3.1 (Highway assignment modelling).
    """
    total = modelled_veh_h + counted_veh_h
    return math.sqrt(2 * (modelled_veh_h - counted_veh_h) ** 2 / total) if total else 0.0


@dataclass(frozen=True)
class Fitted:
    """One count beside what the traffic made of it."""

    count: Count
    routed_veh: float  # vehicles whose routes pass the road and that depart in the interval
    driven_veh: float  # vehicles that entered the road in the simulation
    driven_mps: float | None  # their mean speed
    routes: int = 0  # different routes among the routed vehicles

    @property
    def geh(self) -> float:
        """GEH of the simulated volume."""
        hours = (self.count.end_s - self.count.begin_s) / 3600
        return geh(self.driven_veh / hours, self.count.veh_per_h)

    @property
    def geh_routed(self) -> float:
        """GEH of the routes, as if they were driven in no time."""
        hours = (self.count.end_s - self.count.begin_s) / 3600
        return geh(self.routed_veh / hours, self.count.veh_per_h)


@dataclass(frozen=True)
class Fit:
    """All counts of a table beside the traffic."""

    points: tuple[Fitted, ...]
    plausibility: Plausibility | None = None

    @property
    def share(self) -> float:
        """Share of the counts with GEH < 5, driven in SUMO."""
        return sum(point.geh < GEH_FITS for point in self.points) / len(self.points)

    @property
    def share_routed(self) -> float:
        """The same for the routes alone."""
        return sum(point.geh_routed < GEH_FITS for point in self.points) / len(self.points)

    @property
    def counted_veh(self) -> float:
        """Sum of all counts."""
        return sum(point.count.vehicles for point in self.points)

    @property
    def driven_veh(self) -> float:
        """The same sum in the simulation."""
        return sum(point.driven_veh for point in self.points)

    @property
    def speeds_mps(self) -> tuple[float, float] | None:
        """Mean counted and mean simulated speed, where both are known, weighted by the counts."""
        known = [
            (point.count.vehicles, point.count.speed_mps, point.driven_mps)
            for point in self.points
            if point.count.speed_mps is not None and point.driven_mps is not None
        ]
        weight = sum(row[0] for row in known)
        if not weight:
            return None
        counted, driven = (sum(row[0] * float(row[k] or 0) for row in known) / weight for k in (1, 2))
        return counted, driven

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: the summary and every count."""
        return {
            "counts": len(self.points),
            "share_geh_under_5": self.share,
            "share_geh_under_5_routed": self.share_routed,
            "counted_veh": self.counted_veh,
            "driven_veh": self.driven_veh,
            **(self.plausibility.as_dict() if self.plausibility else {}),
            "points": [
                {
                    "edge": point.count.edge,
                    "begin_s": point.count.begin_s,
                    "end_s": point.count.end_s,
                    "counted_veh": point.count.vehicles,
                    "routed_veh": point.routed_veh,
                    "driven_veh": point.driven_veh,
                    "geh": round(point.geh, 2),
                    "routes": point.routes,
                }
                for point in self.points
            ],
        }


def drive(scenario: Scenario, counts: Sequence[Count], folder: Path) -> Fit:
    """Run a scenario under its network's own programs and compare what it counts with ``counts``.

    Raises:
        ScenarioError: SUMO refused it.
    """
    driven = measure(scenario, sorted({(count.begin_s, count.end_s) for count in counts}), folder)
    routed = _routed(scenario.route_files, counts)
    points = []
    for count in counts:
        key = (count.edge, count.begin_s)
        vehicles, speed_mps = driven.get(key, (0.0, None))
        routes = routed.get(key, Counter())
        points.append(Fitted(count, routes.total(), vehicles, speed_mps, len(routes)))
    return Fit(tuple(points))


def measure(
    scenario: Scenario, intervals: Sequence[tuple[float, float]], folder: Path
) -> dict[tuple[str, float], tuple[float, float | None]]:
    """Run a scenario; per road and begin of an interval, vehicles that entered and their mean speed (m/s).

    Vehicles that begin their trip on a road count there.

    Raises:
        ScenarioError: SUMO refused it.
    """
    asked, end_s = folder / "measure.add.xml", max(end for _, end in intervals)
    outputs = {begin_s: folder / f"measured_{format_seconds(begin_s)}.xml" for begin_s, _ in intervals}
    root = ElementTree.Element("additional")
    for begin_s, stop_s in intervals:
        begin, end = format_seconds(begin_s), format_seconds(stop_s)
        times = {"begin": begin, "end": end, "file": str(outputs[begin_s].resolve())}
        ElementTree.SubElement(root, "edgeData", {"id": f"m{begin}", "excludeEmpty": "true", **times})
    asked.write_bytes(ElementTree.tostring(root))
    quiet = ["--time-to-teleport", "-1", "--no-step-log", "--no-warnings", "--xml-validation", "never"]
    arguments: list[object] = ["-n", scenario.net_file, "-r", scenario.route_files]
    arguments += ["-a", [*scenario.additional_files, asked], "-b", format_seconds(scenario.begin_s)]
    run_tool("sumo", [*arguments, "-e", format_seconds(end_s), *quiet], f"Driving {scenario.name}")
    found = {}
    for begin_s, file in outputs.items():
        for edge in ElementTree.parse(file).getroot().iter("edge"):
            vehicles = float(edge.get("entered", 0)) + float(edge.get("departed", 0))
            speed = edge.get("speed")
            found[edge.get("id", ""), begin_s] = (vehicles, float(speed) if speed else None)
        file.unlink()
    asked.unlink()
    return found


def _routed(
    route_files: Sequence[Path], counts: Sequence[Count]
) -> Mapping[tuple[str, float], Counter[tuple[str, ...]]]:
    """Per road and begin of an interval: the routes over the road of vehicles that depart then, and how many each."""
    intervals = sorted({(count.begin_s, count.end_s) for count in counts})
    found: dict[tuple[str, float], Counter[tuple[str, ...]]] = defaultdict(Counter)
    for file in route_files:
        for vehicle in ElementTree.parse(file).getroot().iter("vehicle"):
            depart_s, route = float(vehicle.get("depart", 0)), vehicle.find("route")
            begin_s = next((begin for begin, end in intervals if begin <= depart_s < end), None)
            if begin_s is not None and route is not None:
                edges = tuple(route.get("edges", "").split())
                for edge in set(edges):
                    found[edge, begin_s][edges] += 1
    return found
