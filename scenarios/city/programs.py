"""The native signal programs of a generated city: green times, offsets, and how much traffic they can carry."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scenarios.city.network import SignalStyle, edge_id
from scenarios.city.street_plan import Plan
from scenarios.common.sumo_tools import run_tool

MIN_GREEN_S = 7
_BY_LOAD = 0.65  # of a row's share of green follows its busiest lane, the rest the class of its streets
#: Vehicles per hour of green that leave one lane (SUMO's default car, 50 km/h), straight on and turning.
_SATURATION_VEH_H = {"s": 1750.0, "r": 1450.0, "l": 1500.0}
#: What is left of that when a left turn must filter through oncoming traffic, and how many slip through at its end.
_FILTER_SHARE, _SNEAKERS = 0.25, 1.5
#: Gap that a driver without the right of way needs, and the headway of those who use the same gap.
_GAP_S, _FOLLOW_UP_S = 6.0, 3.3
#: A left-turn pocket may fill up to this share on average, or its queue would often block the lane beside it.
_POCKET_SHARE, _VEHICLE_M = 0.9, 7.5
_WAVE_MPS = 12.5
_LOGIC = re.compile(r'<tlLogic id="([^"]+)".*?</tlLogic>', re.DOTALL)
_LANE = re.compile(r'<lane id="([^":]+)_\d+" [^>]*?speed="([\d.]+)" length="([\d.]+)"')

Flows = dict[tuple[str, str], float]  # vehicles by movement: from-edge, to-edge
Degrees = dict[str, float]  # degree of saturation by edge


@dataclass(frozen=True)
class Link:
    """One entry of a signal's state string: a way from a lane to a road."""

    index: int
    source: str
    lane: str
    target: str
    turn: str
    rank: int

    @property
    def movement(self) -> tuple[str, str]:
        """From where to where."""
        return self.source, self.target


@dataclass
class Program:
    """One signal's rows."""

    states: list[str]
    durations_s: list[int]
    links: list[Link]
    is_left_row: list[bool]  # rows that netconvert made for protected left turns
    offset_s: int = 0

    @property
    def cycle_s(self) -> int:
        """Seconds until the program repeats."""
        return sum(self.durations_s)


class Programs:
    """All programs of a city: read from the network once, worked on here, written back at the end."""

    def __init__(self, net: Path, town: Plan, style: SignalStyle, rng: np.random.Generator) -> None:
        self.net, self.town, self.style = net, town, style
        text = net.read_text(encoding="utf-8")
        self.length_m = {edge: float(length_m) for edge, _, length_m in _LANE.findall(text)}
        self.free_s = {edge: float(length_m) / float(limit_mps) for edge, limit_mps, length_m in _LANE.findall(text)}
        links = _links(text)
        self.programs = {match[1]: _program(match[0], links[match[1]], style) for match in _LOGIC.finditer(text)}
        heading = rng.uniform(0, 2 * math.pi)
        for signal, program in self.programs.items():
            x, y = town.nodes[signal].position_m
            ahead_m = x * math.cos(heading) + y * math.sin(heading)
            offsets = {"none": 0, "random": int(rng.integers(style.cycle_s)), "wave": round(ahead_m / _WAVE_MPS)}
            program.offset_s = offsets[style.offsets] % style.cycle_s
            if style.protected_only:
                _protect_left_turns(program)

    def retime(self, flows: Flows) -> None:
        """Divide each signal's green as an engineer would.

        A part of each row's share follows its busiest lane (as in Webster's method), the rest the class of its
        streets, so that the plan is sensible but not tuned to the very hour.
        """
        for program in self.programs.values():
            _retime(program, flows, self.style)

    def degrees(self, flows: Flows) -> Degrees:
        """Flow over capacity of the worst lanes of each road that ends at a signal or gives way, for flows per hour."""
        found: Degrees = defaultdict(float)
        for program in self.programs.values():
            for group in _lane_groups(program.links):
                flow = sum(flows.get(movement, 0.0) for movement in dict.fromkeys(link.movement for link in group))
                degree = flow / min(_capacity_veh_h(group, program, flows), self._storage_veh_h(group, program))
                found[group[0].source] = max(found[group[0].source], degree)
        return {**found, **_giving_way(self.town, flows)}

    def _storage_veh_h(self, group: list[Link], program: Program) -> float:
        """What a pocket can take in: a part of its length in each cycle."""
        if {link.turn for link in group} != {"l"} or not group[0].source.endswith(".p"):
            return math.inf
        lanes = len({link.lane for link in group})
        return lanes * _POCKET_SHARE * self.length_m[group[0].source] / _VEHICLE_M * 3600 / program.cycle_s

    def loaded_s(self, degrees: Degrees, factor: float) -> dict[str, float]:
        """What loaded roads take at ``factor`` times this load, s, as drivers know from experience.

        As in the formula of the Bureau of Public Roads the loss grows with the fourth power of the degree.
        """
        return {edge: self.free_s[edge] + 20 * min(factor * degree, 2.0) ** 4 for edge, degree in degrees.items()}

    def write(self) -> None:
        """Put the programs into the network file."""

        def rewritten(match: re.Match[str]) -> str:
            program = self.programs[match[1]]
            rows = "".join(
                f'        <phase duration="{duration_s}" state="{state}"/>\n'
                for state, duration_s in zip(program.states, program.durations_s, strict=True)
            )
            head = f'<tlLogic id="{match[1]}" type="static" programID="0" offset="{program.offset_s}">'
            return f"{head}\n{rows}    </tlLogic>"

        text = self.net.read_text(encoding="utf-8")
        self.net.write_text(_LOGIC.sub(rewritten, text), encoding="utf-8")


def add_approach_phases(net: Path) -> None:
    """Let each approach also go alone, in phases of their own after those of the program (eight at a full crossing).

    Junctions with many phases to choose from are rare among real fixed programs but not in research (the synthetic
    networks of RESCO have eight), so a controller that learns should have met them.

    Raises:
        ScenarioError: netconvert refused the network.
    """
    alone = net.with_name("alone.net.xml")
    options = ["-s", net, "-o", alone, "--tls.rebuild", "--tls.layout", "incoming", "--no-warnings"]
    run_tool("netconvert", [*options, "--offset.disable-normalization"], "Adding phases to a city's signals")
    single = {match[1]: _rows(match[0]) for match in _LOGIC.finditer(alone.read_text(encoding="utf-8"))}
    alone.unlink()

    def extended(match: re.Match[str]) -> str:
        rows = _rows(match[0])
        greens = [row for row in rows if "y" not in row[0]]
        added = [(state, MIN_GREEN_S) for state, _ in single[match[1]] if "y" not in state]
        yellow_s = next((duration_s for state, duration_s in rows if "y" in state), 3)
        greens += [row for row in added if row[0] not in {state for state, _ in greens}]
        following = [state for state, _ in (*greens[1:], greens[0])]
        pairs = [(row, (_between(row[0], after), yellow_s)) for row, after in zip(greens, following, strict=True)]
        body = "".join(f'        <phase duration="{s}" state="{state}"/>\n' for pair in pairs for state, s in pair)
        head, _, rest = match[0].partition("\n")
        return f"{head}\n{body}{rest[rest.rindex('    </tlLogic>') :]}"

    net.write_text(_LOGIC.sub(extended, net.read_text(encoding="utf-8")), encoding="utf-8")


def _between(state: str, after: str) -> str:
    """The yellow row between two greens: yellow for every link that loses its green."""
    return "".join("y" if now in "Gg" and then not in "Gg" else now for now, then in zip(state, after, strict=True))


# --- reading -------------------------------------------------------------------------------------------------------


def _rows(logic: str) -> list[tuple[str, int]]:
    """State and duration (s) of each row of a program."""
    durations = (int(value) for value in re.findall(r'duration="(\d+)"', logic))
    return list(zip(re.findall(r'state="([^"]+)"', logic), durations, strict=True))


def _program(logic: str, links: list[Link], style: SignalStyle) -> Program:
    states = [state for state, _ in _rows(logic)]
    durations = [duration_s for _, duration_s in _rows(logic)]
    is_left = [
        duration <= style.left_green_s and "y" not in state for state, duration in zip(states, durations, strict=True)
    ]
    return Program(states, durations, links, is_left)


def _links(net_text: str) -> dict[str, list[Link]]:
    edges = re.findall(r'<edge id="([^":]+)"[^>]* priority="(-?\d+)"', net_text)
    rank = {edge: int(value) for edge, value in edges}
    found: dict[str, list[Link]] = defaultdict(list)
    for tag in re.findall(r'<connection [^>]*tl="[^>]*>', net_text):
        at = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        lane = f"{at['from']}_{at['fromLane']}"
        link = Link(int(at["linkIndex"]), at["from"], lane, at["to"], at["dir"].lower(), rank.get(at["from"], 1))
        found[at["tl"]].append(link)
    return found


def _protect_left_turns(program: Program) -> None:
    """Let left turns with a lane and a green of their own go in that green only, never through gaps."""
    turns: dict[str, set[str]] = defaultdict(set)
    for link in program.links:
        turns[link.lane].add(link.turn)
    closed = {
        link.index
        for link in program.links
        if turns[link.lane] == {"l"} and any(state[link.index] == "G" for state in program.states)
    }
    for row, state in enumerate(program.states):
        letters = ("r" if index in closed and letter == "g" else letter for index, letter in enumerate(state))
        program.states[row] = "".join(letters)


# --- green times ---------------------------------------------------------------------------------------------------


def _retime(program: Program, flows: Flows, style: SignalStyle) -> None:
    states = program.states
    rows = [row for row, state in enumerate(states) if "y" not in state]
    load, rank = _row_loads(rows, program, flows), {}
    for row in rows:
        served = (link.rank for link in program.links if states[row][link.index] in "Gg")
        rank[row] = 1 if program.is_left_row[row] else max(served, default=1)
    green_s = style.cycle_s - sum(program.durations_s[row] for row in range(len(states)) if row not in rows)
    total_load, total_rank = sum(load.values()), sum(rank.values())
    for row in rows:
        by_class = rank[row] / total_rank
        share = _BY_LOAD * load[row] / total_load + (1 - _BY_LOAD) * by_class if total_load else by_class
        least_s = style.left_green_s if program.is_left_row[row] else MIN_GREEN_S
        program.durations_s[row] = max(least_s, round(green_s * share))
    longest = max(rows, key=lambda row: program.durations_s[row])
    program.durations_s[longest] = max(MIN_GREEN_S, program.durations_s[longest] + style.cycle_s - program.cycle_s)


def _row_loads(rows: list[int], program: Program, flows: Flows) -> dict[int, float]:
    """The busiest lane of each row; a lane counts where it has the right of way, if it ever has."""
    lane_flow = _lane_flows(program.links, flows)
    load = dict.fromkeys(rows, 0.0)
    for link in program.links:
        letters = {row: program.states[row][link.index] for row in rows}
        wanted = "G" if "G" in letters.values() else "g"
        for row, letter in letters.items():
            if letter == wanted:
                load[row] = max(load[row], lane_flow[link.lane])
    return load


def _lane_flows(links: list[Link], flows: Flows) -> dict[str, float]:
    """Each movement's flow spread evenly over the lanes that it may use."""
    lanes: dict[tuple[str, str], set[str]] = defaultdict(set)
    for link in links:
        lanes[link.movement].add(link.lane)
    result: dict[str, float] = defaultdict(float)
    for movement, allowed in lanes.items():
        for lane in allowed:
            result[lane] += flows.get(movement, 0.0) / len(allowed)
    return result


# --- capacities ----------------------------------------------------------------------------------------------------


def _lane_groups(links: list[Link]) -> list[list[Link]]:
    """Links of one approach whose lanes are tied together by a movement that may use either."""
    groups: list[list[Link]] = []
    for link in links:
        tied = [g for g in groups if any(o.lane == link.lane or o.movement == link.movement for o in g)]
        groups = [group for group in groups if group not in tied]
        groups.append([link, *(other for group in tied for other in group)])
    return groups


def _capacity_veh_h(group: list[Link], program: Program, flows: Flows) -> float:
    """The group's lanes, each with the average of its links weighted by their flow."""
    total = 0.0
    for lane in sorted({link.lane for link in group}):
        links = [link for link in group if link.lane == lane]
        weights = [flows.get(link.movement, 0.0) + 1e-6 for link in links]
        capacities = [_link_capacity(link, program) for link in links]
        total += sum(w * c for w, c in zip(weights, capacities, strict=True)) / sum(weights)
    return total


def _link_capacity(link: Link, program: Program) -> float:
    full_s = filter_s = 0
    for state, duration_s in zip(program.states, program.durations_s, strict=True):
        if state[link.index] == "G" or (state[link.index] == "g" and link.turn != "l"):
            full_s += duration_s
        elif state[link.index] == "g" and "y" not in state:
            filter_s += duration_s
    share = (full_s + _FILTER_SHARE * filter_s) / program.cycle_s
    sneakers_veh_h = _SNEAKERS * 3600 / program.cycle_s if filter_s else 0.0
    return _SATURATION_VEH_H.get(link.turn, 1450.0) * share + sneakers_veh_h


def _giving_way(town: Plan, flows: Flows) -> Degrees:
    """Flow over capacity where a road gives way, by the gap-acceptance formula of Harders and Siegloch.

    The main stream is what comes from roads of a higher class; among equals, half of what comes from the others.
    """
    leaving: dict[str, float] = defaultdict(float)
    for (source, _), flow in flows.items():
        leaving[source] += flow
    found: Degrees = {}
    for node in town.nodes.values():
        legs = town.legs[node.id]
        if node.signal or len(legs) < 3:
            continue
        first = max(leg.rank for leg in legs)
        for leg in legs:
            if leg.rank == first and any(other.rank < first for other in legs):
                continue
            main_veh_h = 0.0
            for other in legs:
                weight = 1 / other.line.lanes if other.rank > leg.rank else 0.5 * (other.rank == leg.rank)
                main_veh_h += weight * (other is not leg) * leaving[edge_id(other, other.end == node.id)]
            edge = edge_id(leg, leg.end == node.id)
            found[edge] = leaving[edge] / (leg.line.lanes * _gap_capacity_veh_h(main_veh_h))
    return found


def _gap_capacity_veh_h(main_veh_h: float) -> float:
    per_s = max(main_veh_h, 1.0) / 3600
    return 3600 * per_s * math.exp(-per_s * _GAP_S) / (1 - math.exp(-per_s * _FOLLOW_UP_S))
