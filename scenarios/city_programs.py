"""The native signal programs of a generated city: green times, offsets, and how much traffic they can carry."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scenarios.city_net import SignalStyle, edge_id
from scenarios.streets import Node, Plan

MIN_GREEN_S = 7
_BY_LOAD = 0.65  # of a row's share of green follows its busiest lane, the rest the class of its streets
#: Vehicles per hour of green that leave one lane (SUMO's default car, 50 km/h), straight on and turning.
_SATURATION_VEH_H = {"s": 1850.0, "r": 1500.0, "l": 1600.0}
#: What is left of that when a left turn must filter through oncoming traffic, and how many slip through at its end.
_FILTER_SHARE, _SNEAKERS = 0.25, 1.5
#: Gap that a driver without the right of way needs, and the headway of those who use the same gap.
_GAP_S, _FOLLOW_UP_S = 6.0, 3.3
_LOGIC = re.compile(r'<tlLogic id="([^"]+)".*?</tlLogic>', re.DOTALL)

Flows = dict[tuple[str, str], float]  # by movement: from-edge, to-edge


@dataclass(frozen=True)
class Link:
    """One entry of a signal's state string: a way from a lane to a road."""

    index: int
    source: str
    lane: str
    target: str
    turn: str
    priority: int


def retime(net: Path, town: Plan, style: SignalStyle, flows: Flows, offset_seed: int) -> None:
    """Divide each signal's green as an engineer would, and set the offsets.

    A part of each row's share follows its busiest lane (as in Webster's method), the rest the class of its streets,
    so that the plan is sensible but not tuned to the very hour.

    Args:
        net: changed in place.
        town: for the places of the signals.
        style: cycle and offsets.
        flows: vehicles per movement (from-edge, to-edge), any unit.
        offset_seed: for random offsets.
    """
    text = net.read_text(encoding="utf-8")
    links = _links(text)
    rng = np.random.default_rng(offset_seed)
    heading = rng.uniform(0, 2 * math.pi)

    def program(match: re.Match[str]) -> str:
        states, durations = _rows(match[0])
        greens = iter(_greens(states, durations, links[match[1]], flows, style))
        body = re.sub(r'duration="\d+"', lambda _: f'duration="{next(greens)}"', match[0])
        offset_s = _offset_s(town.nodes[match[1]], heading, style, rng)
        return re.sub(r'offset="[^"]*"', f'offset="{offset_s}"', body, count=1)

    net.write_text(_LOGIC.sub(program, text), encoding="utf-8")


def protect_left_turns(net: Path) -> None:
    """Let left turns with a lane and a green of their own go in that green only, never through gaps."""
    text = net.read_text(encoding="utf-8")
    links = _links(text)

    def program(match: re.Match[str]) -> str:
        states, _ = _rows(match[0])
        closed = {
            link.index
            for link in links[match[1]]
            if any(state[link.index] == "G" for state in states)
            and {other.turn for other in links[match[1]] if other.lane == link.lane} == {"l"}
        }

        def row(state: re.Match[str]) -> str:
            letters = ("r" if i in closed and letter == "g" else letter for i, letter in enumerate(state[1]))
            return f'state="{"".join(letters)}"'

        return re.sub(r'state="([^"]+)"', row, match[0])

    net.write_text(_LOGIC.sub(program, text), encoding="utf-8")


def degrees_of_saturation(net: Path, flows: Flows) -> dict[tuple[str, ...], float]:
    """Flow over capacity under the network's programs, per group of lanes that share movements.

    Args:
        net: with its programs.
        flows: vehicles per hour and movement (from-edge, to-edge).
    """
    text = net.read_text(encoding="utf-8")
    links = _links(text)
    found = {}
    for match in _LOGIC.finditer(text):
        states, durations = _rows(match[0])
        for group in _lane_groups(links[match[1]]):
            movements = {(link.source, link.target) for link in group}
            flow = sum(flows.get(movement, 0.0) for movement in movements)
            found[tuple(sorted({link.lane for link in group}))] = flow / _capacity_veh_h(
                group, states, durations, flows
            )
    return found


def unsignalled_degrees(town: Plan, flows: Flows) -> dict[tuple[str, ...], float]:
    """Flow over capacity where a road gives way, by the gap-acceptance formula of Harders and Siegloch.

    The main stream is what comes from roads of a higher class; among equals, half of what comes from the others.
    """
    found: dict[tuple[str, ...], float] = {}
    leaving: dict[str, float] = defaultdict(float)
    for (source, _), flow in flows.items():
        leaving[source] += flow
    for node in town.nodes.values():
        legs = town.legs[node.id]
        if node.signal or len(legs) < 3:
            continue
        for leg in legs:
            main_veh_h = 0.0
            for other in legs:
                weight = 1 / other.line.lanes if other.rank > leg.rank else 0.5 * (other.rank == leg.rank)
                main_veh_h += weight * (other is not leg) * leaving[edge_id(other, other.end == node.id)]
            if leg.rank < max(other.rank for other in legs) or len({other.rank for other in legs}) == 1:
                edge = edge_id(leg, leg.end == node.id)
                found[(f"{edge}_0",)] = leaving[edge] / (leg.line.lanes * _gap_capacity_veh_h(main_veh_h))
    return found


def _gap_capacity_veh_h(main_veh_h: float) -> float:
    per_s = max(main_veh_h, 1.0) / 3600
    return 3600 * per_s * math.exp(-per_s * _GAP_S) / (1 - math.exp(-per_s * _FOLLOW_UP_S))


def loaded_seconds(net: Path, degrees: dict[tuple[str, ...], float], factor: float) -> dict[str, float]:
    """What loaded roads take at ``factor`` times this load, s, as drivers know from experience.

    As in the formula of the Bureau of Public Roads the loss grows with the fourth power of the degree of saturation.
    """
    pattern = r'<lane id="([^":]+)_\d+" [^>]*?speed="([\d.]+)" length="([\d.]+)"'
    free_s = {edge: float(m) / float(v) for edge, v, m in re.findall(pattern, net.read_text(encoding="utf-8"))}
    found: dict[str, float] = {}
    for lanes, degree in degrees.items():
        edge = lanes[0].rsplit("_", 1)[0]
        seconds = free_s[edge] + 20 * min(factor * degree, 2.0) ** 4
        found[edge] = max(seconds, found.get(edge, 0.0))
    return found


def _rows(logic: str) -> tuple[list[str], list[int]]:
    durations = [int(value) for value in re.findall(r'duration="(\d+)"', logic)]
    return re.findall(r'state="([^"]+)"', logic), durations


def _links(net_text: str) -> dict[str, list[Link]]:
    edges = re.findall(r'<edge id="([^":]+)"[^>]* priority="(-?\d+)"', net_text)
    priority = {edge: int(value) for edge, value in edges}
    found: dict[str, list[Link]] = defaultdict(list)
    for tag in re.findall(r'<connection [^>]*tl="[^>]*>', net_text):
        at = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        lane, rank = f"{at['from']}_{at['fromLane']}", priority.get(at["from"], 1)
        found[at["tl"]].append(Link(int(at["linkIndex"]), at["from"], lane, at["to"], at["dir"].lower(), rank))
    return found


def _greens(states: list[str], durations: list[int], links: list[Link], flows: Flows, style: SignalStyle) -> list[int]:
    """New durations of all rows: yellow stays, green is divided by load and by class of street."""
    rows = [row for row, state in enumerate(states) if "y" not in state]
    least = {row: style.left_green_s if durations[row] <= style.left_green_s else MIN_GREEN_S for row in rows}
    load, rank = _row_loads(rows, states, links, flows), {}
    for row in rows:
        main = durations[row] > style.left_green_s
        rank[row] = max((k.priority for k in links if states[row][k.index] in "Gg"), default=1) if main else 1
    green_s = style.cycle_s - sum(durations[row] for row in range(len(states)) if row not in rows)
    total_load, total_rank = sum(load.values()), sum(rank.values())
    result = list(durations)
    for row in rows:
        by_class = rank[row] / total_rank
        share = _BY_LOAD * load[row] / total_load + (1 - _BY_LOAD) * by_class if total_load else by_class
        result[row] = max(least[row], round(green_s * share))
    longest = max(rows, key=lambda row: result[row])
    result[longest] = max(MIN_GREEN_S, result[longest] + style.cycle_s - sum(result))
    return result


def _row_loads(rows: list[int], states: list[str], links: list[Link], flows: Flows) -> dict[int, float]:
    """The busiest lane of each row; a lane counts where it has the right of way, if it ever has."""
    lane_flow = _lane_flows(links, flows)
    load = dict.fromkeys(rows, 0.0)
    for link in links:
        protected = any(states[row][link.index] == "G" for row in rows)
        for row in rows:
            if states[row][link.index] == "G" or (states[row][link.index] == "g" and not protected):
                load[row] = max(load[row], lane_flow[link.lane])
    return load


def _lane_flows(links: list[Link], flows: Flows) -> dict[str, float]:
    """Each movement's flow spread evenly over the lanes that it may use."""
    lanes: dict[tuple[str, str], set[str]] = defaultdict(set)
    for link in links:
        lanes[link.source, link.target].add(link.lane)
    result: dict[str, float] = defaultdict(float)
    for movement, allowed in lanes.items():
        for lane in allowed:
            result[lane] += flows.get(movement, 0.0) / len(allowed)
    return result


def _lane_groups(links: list[Link]) -> list[list[Link]]:
    """Links of one approach whose lanes are tied together by a movement that may use either."""
    groups: list[list[Link]] = []
    for link in links:
        tied = [
            group
            for group in groups
            if any(o.lane == link.lane or (o.source, o.target) == (link.source, link.target) for o in group)
        ]
        groups = [group for group in groups if group not in tied] + [[link, *(o for group in tied for o in group)]]
    return groups


def _capacity_veh_h(group: list[Link], states: list[str], durations: list[int], flows: Flows) -> float:
    """The group's lanes, each with the average of its links weighted by their flow."""
    total = 0.0
    for lane in sorted({link.lane for link in group}):
        links = [link for link in group if link.lane == lane]
        weights = [flows.get((link.source, link.target), 0.0) + 1e-6 for link in links]
        total += float(np.average([_link_capacity(link, states, durations) for link in links], weights=weights))
    return total


def _link_capacity(link: Link, states: list[str], durations: list[int]) -> float:
    full_s = filter_s = 0
    for state, duration_s in zip(states, durations, strict=True):
        if state[link.index] == "G" or (state[link.index] == "g" and link.turn != "l"):
            full_s += duration_s
        elif state[link.index] == "g" and "y" not in state:
            filter_s += duration_s
    cycle_s = sum(durations)
    share = (full_s + _FILTER_SHARE * filter_s) / cycle_s
    return _SATURATION_VEH_H.get(link.turn, 1850.0) * share + (_SNEAKERS * 3600 / cycle_s if filter_s else 0.0)


def _offset_s(node: Node, heading: float, style: SignalStyle, rng: np.random.Generator) -> int:
    if style.offsets == "wave":
        ahead_m = node.position_m[0] * math.cos(heading) + node.position_m[1] * math.sin(heading)
        return round(ahead_m / 12.5) % style.cycle_s
    return int(rng.integers(style.cycle_s)) if style.offsets == "random" else 0
