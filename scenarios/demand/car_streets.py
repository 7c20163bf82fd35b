"""The streets of a network that cars use, as demand is made for them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax import SAXException

from scenarios.common.net_values import check_network
from scenarios.spec import ScenarioError


@dataclass(frozen=True)
class Street:
    """One road section (SUMO edge) that cars may use.

    ``enters`` and ``leaves``: whether traffic from or to the world outside uses it, as nothing leads to it or nothing
    goes on behind it; ``position_m`` is its middle. ``turns``: the roads that it leads to, with SUMO's letter for the
    direction (``l``, ``L``, ``s``, ``r``, ``R``, or ``t`` for turning round).
    """

    id: str
    lanes: int
    length_m: float
    speed_mps: float
    position_m: tuple[float, float]
    enters: bool
    leaves: bool
    kind: str  # OpenStreetMap's class, as in highway.residential; empty elsewhere
    has_signal: bool  # at its end
    turns: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def is_end(self) -> bool:
        """Whether it is an end of the network."""
        return self.enters or self.leaves


def read_streets(net_file: Path) -> dict[str, Street]:
    """Read a network's streets.

    Raises:
        ScenarioError: the file cannot be read or is no complete network, or cars can use nothing of it.
    """
    import sumolib  # slow to import, and only needed here

    check_network(net_file)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # it comments on harmless details
            net = sumolib.net.readNet(str(net_file))
            every = net.getEdges(withInternal=False)
            streets = {edge.getID(): _street(edge) for edge in every if edge.allows("passenger")}
    except (OSError, SAXException, KeyError, ValueError, AttributeError, TypeError, IndexError) as error:
        raise ScenarioError(f"Network file {net_file} is not a complete SUMO network ({error}).") from error
    if not streets:
        raise ScenarioError(f"Network file {net_file} holds no roads for cars; give a SUMO .net.xml file.")
    return streets


def _street(edge: Any) -> Street:
    shape = edge.getShape()
    middle = shape[len(shape) // 2] if len(shape) > 2 else tuple((a + b) / 2 for a, b in zip(*shape, strict=True))
    return Street(
        id=edge.getID(),
        lanes=sum(lane.allows("passenger") for lane in edge.getLanes()),
        length_m=edge.getLength(),
        speed_mps=edge.getSpeed(),
        position_m=(float(middle[0]), float(middle[1])),
        enters=not any(before is not edge for before in edge.getIncoming()),
        leaves=not any(after is not edge for after in edge.getOutgoing()),
        kind=edge.getType() or "",
        has_signal=edge.getToNode().getType().startswith("traffic_light"),
        turns={after.getID(): links[0].getDirection() for after, links in edge.getOutgoing().items() if links},
    )
