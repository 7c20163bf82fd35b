"""A street plan as a SUMO network: lanes, turn pockets, medians and signal programs, built by netconvert."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from scenarios.city.street_plan import ARTERIAL, Node, Plan, Section
from scenarios.common.sumo_tools import run_tool, strip_comments


@dataclass(frozen=True)
class SignalStyle:
    """How a city's engineers time their signals; drawn from the seed."""

    cycle_s: int
    yellow_s: int
    split_share: float  # of the signals, where one approach after the other has green
    left_green_s: int  # 0: left turns only filter through gaps
    protected_only: bool  # left turns never filter
    offsets: str  # none, random, or a wave along the arterials
    pocket_m: float  # length of left-turn pockets
    local_pocket_share: float  # of the approaches that are no arterials

    @staticmethod
    def draw(rng: np.random.Generator) -> SignalStyle:
        """Draw a style."""
        left = rng.choice(["filter", "both", "both", "both", "protected"])
        return SignalStyle(
            cycle_s=int(rng.choice([60, 60, 65, 70, 70, 75, 80, 85, 90, 100, 110])),
            yellow_s=int(rng.choice([3, 3, 4])),
            split_share=float(rng.choice([0.0, 0.0, 0.1, 0.2, 0.4])),
            left_green_s=0 if left == "filter" else int(rng.integers(6, 11)),
            protected_only=left == "protected",
            offsets=str(rng.choice(["none", "random", "wave", "wave"])),
            pocket_m=float(rng.integers(40, 76)),
            local_pocket_share=float(rng.choice([0.3, 0.6, 0.9])),
        )


def build(town: Plan, style: SignalStyle, rng: np.random.Generator, folder: Path) -> Path:
    """Write plain XML for the plan, run netconvert on it, and return the network file.

    Raises:
        ScenarioError: netconvert refused it.
    """
    edges = ElementTree.Element("edges")
    for section in town.sections:
        for forward in (True, False):
            edges.append(_edge(town, section, forward, style, rng))
    nodes = ElementTree.Element("nodes")
    for node in town.nodes.values():
        nodes.append(ElementTree.Element("node", _node_attributes(node, style, rng)))
    connections = ElementTree.Element("connections")
    for node in town.nodes.values():
        connections.extend(_median(town, node))
    files = {"nod": nodes, "edg": edges, "con": connections}
    for kind, root in files.items():
        (folder / f"city.{kind}.xml").write_bytes(ElementTree.tostring(root, encoding="utf-8"))
    net = folder / "city.net.xml"
    run_tool("netconvert", _options(folder, net, style), "Building a city's network")
    for kind in files:
        (folder / f"city.{kind}.xml").unlink()
    strip_comments(net)
    return net


def _options(folder: Path, net: Path, style: SignalStyle) -> list[object]:
    plain = [f"{flag}={folder / name}" for flag, name in (("-n", "city.nod.xml"), ("-e", "city.edg.xml"))]
    options: list[object] = [part for pair in plain for part in pair.split("=", 1)]
    options += ["-x", folder / "city.con.xml", "-o", net, "--xml-validation", "never", "--no-warnings"]
    options += ["--no-turnarounds.fringe", "--no-turnarounds.except-deadend", "--offset.disable-normalization"]
    options += ["--tls.default-type", "static", "--tls.cycle.time", style.cycle_s, "--tls.yellow.time", style.yellow_s]
    options += ["--tls.left-green.time", style.left_green_s]
    return options


def _node_attributes(node: Node, style: SignalStyle, rng: np.random.Generator) -> dict[str, str]:
    attributes = {"id": node.id, "x": f"{node.position_m[0]}", "y": f"{node.position_m[1]}"}
    if node.signal:
        attributes |= {"type": "traffic_light", "tl": node.id}
        attributes["tlLayout"] = "incoming" if rng.random() < style.split_share else "opposites"
    else:
        attributes["type"] = "priority"  # right before left deadlocks when all four wait for each other
    if node.gate:
        attributes["fringe"] = "outer"
    return attributes


def edge_id(section: Section, forward: bool) -> str:
    """SUMO's usual naming: the opposite direction has a minus."""
    return section.id if forward else f"-{section.id}"


def _edge(
    town: Plan, section: Section, forward: bool, style: SignalStyle, rng: np.random.Generator
) -> ElementTree.Element:
    line = section.line
    shape = section.shape_m if forward else section.shape_m[::-1]
    head = town.nodes[section.end if forward else section.start]
    tail = town.nodes[section.start if forward else section.end]
    pocket_m = _pocket_m(town, head, section, style, rng)
    edge = ElementTree.Element(
        "edge",
        {
            "id": edge_id(section, forward),
            "from": tail.id,
            "to": head.id,
            "name": line.name,
            "numLanes": str(line.lanes + (pocket_m > 0)),
            "speed": f"{line.speed_mps:.2f}",
            "priority": str(section.rank),
            "shape": " ".join(f"{x},{y}" for x, y in shape),
        },
    )
    if pocket_m:
        lanes = [str(lane) for lane in range(line.lanes + 1)]
        name = edge_id(section, forward)
        ElementTree.SubElement(edge, "split", {"pos": "0", "lanes": " ".join(lanes[:-1])})
        ElementTree.SubElement(
            edge,
            "split",
            {"pos": f"-{pocket_m:.0f}", "lanes": " ".join(lanes), "idBefore": name, "idAfter": f"{name}.p"},
        )
    return edge


def _pocket_m(town: Plan, head: Node, section: Section, style: SignalStyle, rng: np.random.Generator) -> float:
    """Length of the left-turn pocket at the end of a section, 0 for none."""
    is_drawn = rng.random() < (0.95 if section.line.kind == ARTERIAL else style.local_pocket_share)
    has_left = any(turn == "left" for turn in turns(town, head, section).values())
    room_m = section.length_m - 60  # both junctions take some of it
    if not (head.signal and is_drawn and has_left) or room_m < 35:
        return 0.0
    return min(style.pocket_m, room_m) + 15


def turns(town: Plan, node: Node, incoming: Section) -> dict[str, str]:
    """Where one can go at a node, by section id: left, right or straight."""
    into = _heading(incoming, node.id) + math.pi
    found = {}
    for leg in town.legs[node.id]:
        if leg is not incoming:
            angle = (_heading(leg, node.id) - into + math.pi) % (2 * math.pi) - math.pi
            found[leg.id] = "straight" if abs(angle) < math.pi / 4 else "left" if angle > 0 else "right"
    return found


def _heading(section: Section, node: str) -> float:
    """Direction in which a section leaves a node."""
    a, b = (section.shape_m[0], section.shape_m[1]) if section.start == node else section.shape_m[:-3:-1]
    return math.atan2(b[1] - a[1], b[0] - a[0])


def _median(town: Plan, node: Node) -> list[ElementTree.Element]:
    """Without a signal nobody turns left into, out of or across an arterial of two or more lanes each way."""
    legs = town.legs[node.id]
    main = [leg for leg in legs if leg.line.kind == ARTERIAL and leg.line.lanes >= 2]
    if node.signal or len(legs) < 3 or len(main) < 2 or len({leg.line.axis for leg in main}) > 1:
        return []
    open_ways = []
    for source in legs:
        for goal in legs:
            turn = turns(town, node, source).get(goal.id)
            if turn == "right" or (turn and source in main and goal in main):
                pair = {"from": edge_id(source, source.end == node.id), "to": edge_id(goal, goal.start == node.id)}
                open_ways.append(ElementTree.Element("connection", pair))
    return open_ways
