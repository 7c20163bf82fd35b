"""Names for networks whose file has none: drawn from a seed, each once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

LANDMARK_KINDS = ("stadium", "station", "hospital", "school", "depot")

_FIRST = (
    "Alder", "Amber", "Ashby", "Barrow", "Beacon", "Birch", "Bishop", "Bramble", "Bridge", "Brook", "Canal", "Carlton",
    "Castle", "Cedar", "Chapel", "Chestnut", "Church", "Clover", "Copper", "Cromwell", "Dover", "Drummond", "Eastgate",
    "Elm", "Fairfax", "Falcon", "Fern", "Field", "Foundry", "Garden", "Granby", "Grove", "Harbour", "Hawthorn",
    "Hazel", "Heron", "Hill", "Holly", "Ivy", "Juniper", "Kestrel", "King", "Lark", "Laurel", "Lime", "Linden", "Lock",
    "Magnolia", "Maple", "Market", "Meadow", "Mercer", "Mill", "Moor", "Nelson", "Northgate", "Oak", "Orchard", "Park",
    "Pearl", "Pine", "Poplar", "Priory", "Quarry", "Queen", "Rail", "Raven", "River", "Rowan", "Saddler", "School",
    "Sheldon", "Silver", "Southgate", "Spring", "Station", "Sycamore", "Tanner", "Temple", "Thorn", "Tower", "Union",
    "Vale", "Victoria", "Walnut", "Warren", "Water", "Weaver", "Westgate", "Willow", "Windsor", "Wood", "York",
)  # fmt: skip
_LAST = ("Street", "Road", "Avenue", "Lane", "Way", "Drive", "Boulevard", "Row")
_PARTS = ("Upper", "Lower", "Old", "New", "Great", "Little")
_LANDMARKS = {
    "stadium": ("{} Stadium", "{} Arena", "{} Sports Ground"),
    "station": ("{} Station", "{} Interchange", "{} Central"),
    "hospital": ("{} Hospital", "{} Infirmary", "{} Clinic"),
    "school": ("{} School", "{} College", "{} Academy"),
    "depot": ("{} Depot", "{} Freight Yard", "{} Bus Garage"),
}


def street_names(rng: np.random.Generator, taken: set[str]) -> Iterator[str]:
    """Names of streets in a drawn order, none twice, without end; ``taken`` ones are left out."""
    plain = [f"{first} {last}" for first in _FIRST for last in _LAST]
    # Every first word comes once before any comes again, so that small networks have no two that sound alike.
    rounds = [rng.permutation(len(_LAST)) for _ in _FIRST]
    order = [
        f"{_FIRST[first]} {_LAST[rounds[first][turn]]}"
        for turn in range(len(_LAST))
        for first in rng.permutation(len(_FIRST))
    ]
    yield from (name for name in order if name not in taken)
    more = [f"{part} {name}" for part in _PARTS for name in plain]
    yield from (name for name in rng.permutation(more).tolist() if name not in taken)
    number = 1
    while True:
        if f"Road {number}" not in taken:
            yield f"Road {number}"
        number += 1


def landmark_names(kind: str, rng: np.random.Generator) -> Iterator[str]:
    """Names of landmarks of a kind in a drawn order, none twice."""
    every = [pattern.format(first) for pattern in _LANDMARKS[kind] for first in _FIRST]
    yield from rng.permutation(every).tolist()
