"""A CityFlow road network as a SUMO network: plain XML files for netconvert, one signal link for each lane link."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from scenarios.cityflow import signals
from scenarios.cityflow.reader import Intersection, Road, RoadNet
from scenarios.cityflow.signals import Plan
from scenarios.common.sumo_tools import run_tool, strip_comments

_OPTIONS = [
    # Only the ways that the file has; places as they are in the file.
    *("--no-turnarounds", "--offset.disable-normalization", "--default.junctions.keep-clear", "true"),
    *("--xml-validation", "never", "--no-warnings"),
]


def build(net: RoadNet, plans: dict[str, Plan], out: Path) -> None:
    """Write ``out`` with netconvert.

    Args:
        net: a network that fits together.
        plans: programs by intersection; an intersection without one has no signal.
        out: the ``.net.xml`` file.

    Raises:
        ScenarioError: netconvert refused it.
    """
    parts = {
        "nod": _root("nodes", (_node(one, one.id in plans) for one in net.intersections.values())),
        "edg": _root("edges", (_edge(road) for road in net.roads.values())),
        "con": _root("connections", _connections(net)),
        "tll": _root("tlLogics", _logics(net, plans)),
    }
    flags = {"nod": "-n", "edg": "-e", "con": "-x", "tll": "-i"}
    with TemporaryDirectory(prefix="greenloop-cityflow-") as scratch:
        arguments: list[object] = []
        for kind, root in parts.items():
            file = Path(scratch) / f"plain.{kind}.xml"
            file.write_bytes(ElementTree.tostring(root, encoding="utf-8"))
            arguments += [flags[kind], file]
        run_tool("netconvert", [*arguments, "-o", out, *_OPTIONS], f"Building the network of {net.file}")
    strip_comments(out)


def _root(tag: str, children: Iterable[Element]) -> Element:
    root = Element(tag)
    root.extend(children)
    return root


def _node(intersection: Intersection, has_signal: bool) -> Element:
    place = {"id": intersection.id, "x": f"{intersection.point.x}", "y": f"{intersection.point.y}"}
    if has_signal:
        return Element("node", place | {"type": "traffic_light", "tl": intersection.id})
    return Element("node", place | {"type": "priority"} | ({"fringe": "outer"} if intersection.virtual else {}))


def _edge(road: Road) -> Element:
    shape = " ".join(f"{point.x},{point.y}" for point in road.points)
    ends = {"id": road.id, "from": road.start, "to": road.end, "numLanes": str(len(road.lanes)), "shape": shape}
    edge = Element("edge", ends)
    for number, lane in enumerate(road.lanes):
        values = {"index": str(sumo_lane(road, number)), "speed": f"{lane.speed_mps}", "width": f"{lane.width_m}"}
        SubElement(edge, "lane", values)
    return edge


def sumo_lane(road: Road, lane: int) -> int:
    """SUMO counts lanes from the kerb, CityFlow from the middle of the street."""
    return len(road.lanes) - 1 - lane


def _ways(net: RoadNet, intersection: Intersection) -> list[tuple[int, dict[str, str]]]:
    """Each lane link once, with the place of its road link in the intersection's list."""
    found: dict[tuple[str, ...], tuple[int, dict[str, str]]] = {}
    for number, link in enumerate(intersection.links):
        start, end = net.roads[link.start], net.roads[link.end]
        for way in link.lane_links:
            from_lane, to_lane = sumo_lane(start, way.start_lane), sumo_lane(end, way.end_lane)
            values = {"from": start.id, "to": end.id, "fromLane": str(from_lane), "toLane": str(to_lane)}
            found.setdefault(tuple(values.values()), (number, values))
    return list(found.values())


def _connections(net: RoadNet) -> Iterable[Element]:
    for intersection in net.intersections.values():
        for _, values in _ways(net, intersection):
            yield Element("connection", values)
        linked = {link.start for link in intersection.links}
        for road in net.roads.values():
            if road.end == intersection.id and road.id not in linked:
                yield Element("connection", {"from": road.id})  # its traffic ends here


def _logics(net: RoadNet, plans: dict[str, Plan]) -> Iterable[Element]:
    for name, plan in plans.items():
        ways = _ways(net, net.intersections[name])
        logic = Element("tlLogic", {"id": name, "type": "static", "programID": "0", "offset": "0"})
        for row in plan.rows:
            state = "".join(row.state[number] for number, _ in ways)
            SubElement(logic, "phase", {"duration": f"{round(row.duration_s)}", "state": state})
        yield logic
    for name in plans:
        for place, (_, values) in enumerate(_ways(net, net.intersections[name])):
            yield Element("connection", values | {"tl": name, "linkIndex": str(place)})


def plan_all(net: RoadNet, chosen: tuple[int, ...] | None) -> dict[str, Plan]:
    """Programs of all signals; see ``signals.plan``. Where there is nothing to choose, there is no signal.

    Raises:
        ScenarioError: a light phase cannot be used.
    """
    governed = (one for one in net.intersections.values() if signals.has_signal(one))
    plans = {one.id: signals.plan(net, one, chosen) for one in governed}
    return {
        name: plan for name, plan in plans.items() if len({row.state for row in plan.rows if "y" not in row.state}) > 1
    }


def length_m(road: Road) -> float:
    """From the middle of one intersection to that of the next, along the road's points, m."""
    points = road.points
    return sum(math.dist((a.x, a.y), (b.x, b.y)) for a, b in pairwise(points))


def phase_counts(plans: dict[str, Plan]) -> Counter[int]:
    """How many signals have how many phases."""
    return Counter(plan.phases for plan in plans.values())
