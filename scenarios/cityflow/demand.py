"""CityFlow's flows as vehicles with routes: one vehicle for each that CityFlow would let go."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from scenarios.cityflow.network import length_m
from scenarios.cityflow.reader import Flow, RoadNet, Vehicle, links_of
from scenarios.demand.route_files import write_routes
from scenarios.spec import ScenarioError


@dataclass(frozen=True)
class Traffic:
    """What was written.

    Attributes:
        vehicles: how many depart before the end.
        end_s: of the measured time.
        late: how many depart after it and were left out.
        completed: flows whose route names only some of its roads.
    """

    vehicles: int
    end_s: float
    late: int
    completed: int


def write(net: RoadNet, flow_file: Path, flows: Sequence[Flow], longest_s: float, out: Path) -> Traffic:
    """Write the routes file ``out``.

    Args:
        net: the roads that routes name.
        flow_file: named in refusals.
        flows: of that file.
        longest_s: of the measured time; it ends with the minute of the last departure where that is earlier.
        out: the ``.rou.xml`` file.

    Raises:
        ScenarioError: a route names a road that does not exist, or no road link leads on; or nobody departs.
    """
    roads = _Roads(net, flow_file)
    last_s = max(_last_departure_s(flow, longest_s) for flow in flows)
    end_s = min(longest_s, 60.0 * math.floor(last_s / 60 + 1))
    types: dict[Vehicle, str] = {}
    elements: list[Element] = []
    late = completed = 0
    for number, flow in enumerate(flows):
        route = roads.route(number, flow.route)
        completed += len(route) > len(flow.route)
        kind = types.setdefault(flow.vehicle, f"type{len(types)}" if types else "car")
        departures = _departures_s(flow, last_s)
        in_time = [depart_s for depart_s in departures if depart_s < end_s]
        late += len(departures) - len(in_time)
        elements += [_vehicle(f"flow_{number}_{k}", depart_s, kind, route) for k, depart_s in enumerate(in_time)]
    if not elements:
        raise ScenarioError(f"Flow file {flow_file}: nobody departs before {end_s:g} s; check startTime and --minutes.")
    write_routes([*(_type(name, vehicle) for vehicle, name in types.items()), *elements], out)
    return Traffic(len(elements), end_s, late, completed)


def _last_departure_s(flow: Flow, longest_s: float) -> float:
    end_s = max(longest_s - 1, flow.start_s) if flow.end_s == -1 else flow.end_s
    return flow.start_s + math.floor((end_s - flow.start_s) / flow.interval_s + 1e-9) * flow.interval_s


def _departures_s(flow: Flow, last_s: float) -> list[float]:
    """CityFlow's: the first at the start, then one every interval, the end included."""
    end_s = max(last_s, flow.start_s) if flow.end_s == -1 else flow.end_s
    count = math.floor((end_s - flow.start_s) / flow.interval_s + 1e-9) + 1
    return [flow.start_s + k * flow.interval_s for k in range(count)]


def _vehicle(name: str, depart_s: float, kind: str, route: Sequence[str]) -> Element:
    # SUMO inserts at whole seconds, and CityFlow steps by the second.
    values = {"id": name, "type": kind, "depart": f"{math.floor(depart_s)}", "departLane": "best", "departSpeed": "max"}
    vehicle = Element("vehicle", values)
    SubElement(vehicle, "route", {"edges": " ".join(route)})
    return vehicle


def _type(name: str, vehicle: Vehicle) -> Element:
    """What the file says of a vehicle: all drive at its speed.

    The file has no key for how drivers waver, and in CityFlow they do not; here they do as SUMO's do (sigma 0.5), as
    every seed would be the same run otherwise.
    """
    values = {
        "length": vehicle.length_m,
        "width": vehicle.width_m,
        "accel": vehicle.acceleration_mps2,
        "decel": vehicle.braking_mps2,
        "emergencyDecel": max(vehicle.hardest_braking_mps2, vehicle.braking_mps2),
        "minGap": vehicle.gap_m,
        "maxSpeed": vehicle.speed_mps,
        "tau": max(vehicle.headway_s, 1.0),  # SUMO's car following is not safe below its time step
        "speedFactor": 1,
        "speedDev": 0,
    }
    return Element("vType", {"id": name, "vClass": "passenger", **{key: f"{value:g}" for key, value in values.items()}})


class _Roads:
    """Checks routes, and completes those that name only some of their roads with the shortest way, as CityFlow does."""

    def __init__(self, net: RoadNet, flow_file: Path) -> None:
        self.net, self.flow_file = net, flow_file
        self.next: dict[str, list[str]] = defaultdict(list)
        for start, end in links_of(net.intersections.values()):
            self.next[start].append(end)
        self.way = cache(self._way)

    def route(self, number: int, named: Sequence[str]) -> list[str]:
        for place, name in enumerate(named):
            if name not in self.net.roads:
                raise ScenarioError(
                    f"Flow file {self.flow_file}: flow {number}: route {place} is '{name}', which is not a road of "
                    f"{self.net.file}; check that both files belong together."
                )
        found = [named[0]]
        for start, end in pairwise(named):
            way = self.way(start, end)
            if not way:
                raise ScenarioError(
                    f"Flow file {self.flow_file}: flow {number}: route is broken: no road links of {self.net.file} "
                    f"lead from '{start}' to '{end}'; correct the route or add the road link."
                )
            found += way
        return found

    def _way(self, start: str, end: str) -> tuple[str, ...]:
        """The roads after ``start`` up to ``end``, fewest metres; none if there is no way."""
        if end in self.next[start]:
            return (end,)
        todo: list[tuple[float, str, tuple[str, ...]]] = [(0.0, start, ())]
        done: set[str] = set()
        while todo:
            far_m, road, way = heapq.heappop(todo)
            if road == end and way:
                return way
            if road in done:
                continue
            done.add(road)
            for following in self.next[road]:
                if following not in done or following == end:
                    heapq.heappush(todo, (far_m + length_m(self.net.roads[following]), following, (*way, following)))
        return ()
