"""Other drivers than the route files have: what a controller tuned to the usual ones may not survive.

Each kind changes a few attributes of every vehicle type in the route files (types in additional files stay). SUMO's
passenger car: Krauss, sigma 0.5, accel 2.6 m/s², tau 1.0 s, minGap 2.5 m.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal
from xml.etree import ElementTree

Drivers = Literal["as_in_files", "cautious", "hasty", "idm"]
#: Attributes of SUMO's <vType>. No tau below the time step of 1 s, which the models do not stand.
ATTRIBUTES: dict[str, dict[str, str]] = {
    "as_in_files": {},
    "cautious": {"tau": "1.6", "accel": "1.8", "minGap": "3.0", "speedFactor": "normc(0.9,0.1,0.2,2)"},
    "hasty": {"accel": "3.5", "sigma": "0.2", "minGap": "1.5", "speedFactor": "normc(1.1,0.1,0.2,2)"},
    # Treiber, Hennecke and Helbing 2000: smooth, no dawdling.
    "idm": {"carFollowModel": "IDM"},
}


def replace_drivers(elements: Iterable[ElementTree.Element], drivers: str) -> list[ElementTree.Element]:
    """The elements of route files with other drivers; vehicles without a type get them, too."""
    changed = list(elements)
    types = [found for element in changed for found in element.iter("vType")]
    if "DEFAULT_VEHTYPE" not in {found.get("id") for found in types}:
        types.append(ElementTree.Element("vType", {"id": "DEFAULT_VEHTYPE"}))
        changed.insert(0, types[-1])
    for found in types:
        found.attrib.update(ATTRIBUTES[drivers])
        if "speedFactor" in ATTRIBUTES[drivers]:
            found.attrib.pop("speedDev", None)
    return changed
