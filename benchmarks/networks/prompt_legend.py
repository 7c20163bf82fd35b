"""What the words of a decision prompt mean, and which streets and turns each letter serves."""

from __future__ import annotations

import math
import re

from sim.network import Network, Phase, Signal

#: The words of a prompt, an example of each, and its meaning. docs/glossary.md has the same table.
LEGEND = {
    "change": ("change5", "a change of phase costs 5 s of yellow and all-red"),
    "green": ("green12", "this phase is green now, for 12 s so far"),
    "red": ("red", "this phase is not green now"),
    "go": ("go5", "5 movements are green and need not give way"),
    "give": ("give3", "3 movements are green but must give way"),
    "queue": ("queue12/9", "12 vehicles stand on its lanes; 9 of them need not give way"),
    "wait": ("wait35", "the longest wait is 35 s"),
    "near": ("near2/1", "2 vehicles are 0 to 50 m before the stop line; 1 of them need not give way"),
    "mid": ("mid3", "3 vehicles are 50 to 100 m before the stop line"),
    "far": ("far4", "4 vehicles are 100 to 200 m before the stop line"),
    "room": ("room9", "9 tenths of the fullest road behind the junction are free"),
    "next": ("next7", "a forecast expects 7 vehicles within a minute"),
    "?": ("queue3?", "some detectors are out; a bare ? means that all are"),
    "Report": ("Report before A", "a message about an incident on a road that leads to phase A"),
}
_COMPASS = ("east", "north-east", "north", "north-west", "west", "south-west", "south", "south-east")
_TURNS = {"l": "left", "L": "left", "s": "ahead", "R": "right", "r": "right", "t": "around"}


def legend(prompt: str) -> list[tuple[str, str]]:
    """The example and the meaning of each word that occurs in a prompt, in the order of ``LEGEND``."""
    used = set(re.findall(r"[A-Za-z]+|\?", prompt))
    return [meaning for word, meaning in LEGEND.items() if word in used]


def served(network: Network, signal: Signal) -> tuple[str, ...]:
    """What each phase of a signal serves, in the order of the letters.

    A phase reads ``Aachener Strasse from the west: ahead, right; left gives way | 2 crossings``.
    """
    return tuple(_served(network, phase) for phase in signal.phases)


def _served(network: Network, phase: Phase) -> str:
    turns: dict[str, dict[str, bool]] = {}  # road -> turn -> whether it need not give way
    for movement in phase.movements:
        ways = turns.setdefault(network.lane_edge[movement.lane], {})
        turn = _TURNS.get(movement.direction, "ahead")
        ways[turn] = ways.get(turn, False) or phase.state[movement.link] == "G"
    parts = [f"{_approach(network, road)}: {_ways(ways)}" for road, ways in turns.items()]
    if phase.crossings:
        parts.append(f"{len(phase.crossings)} pedestrian crossing{'s' if len(phase.crossings) > 1 else ''}")
    return " | ".join(parts) or "no movement"


def _approach(network: Network, road_id: str) -> str:
    """``Aachener Strasse from the west``; the road's id stands in where the network has no street names."""
    road = network.roads.get(road_id)
    if road is None or len(road.shape) < 2:
        return road_id
    (x0_m, y0_m), (x1_m, y1_m) = road.shape[-2:]
    side = _COMPASS[round(math.atan2(y0_m - y1_m, x0_m - x1_m) / (math.pi / 4)) % 8]
    return f"{road.name} from the {side}"


def _ways(ways: dict[str, bool]) -> str:
    order = [turn for turn in dict.fromkeys(_TURNS.values()) if turn in ways]
    free = ", ".join(turn for turn in order if ways[turn])
    yielding = [turn for turn in order if not ways[turn]]
    gives = f"{', '.join(yielding)} {'give' if len(yielding) > 1 else 'gives'} way" if yielding else ""
    return "; ".join(part for part in (free, gives) if part)
