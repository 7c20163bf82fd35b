"""What a picture of the simulation needs, and who passed the junctions: read in the session's process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.network import Network


@dataclass(frozen=True)
class Scene:
    """One moment.

    Attributes:
        time_s: SUMO's clock, s.
        position_m: (V, 2) the front of each vehicle.
        heading_rad: (V,) direction of driving, counter-clockwise from east.
        length_m: (V,) its length.
        speed_share: (V,) its speed over what it may drive there, at most 1.
        lights: state of each signal's links, by id.
    """

    time_s: float
    position_m: NDArray[np.float64]
    heading_rad: NDArray[np.float64]
    length_m: NDArray[np.float64]
    speed_share: NDArray[np.float64]
    lights: dict[str, str]


@dataclass(frozen=True)
class LaneShape:
    """A lane to draw: its line (n, 2) and width, m; ``inside`` a junction or not."""

    points_m: NDArray[np.float64]
    width_m: float
    inside: bool


def lane_shapes(conn: Any) -> dict[str, LaneShape]:
    """Every lane by id."""
    lane = conn.lane
    return {
        name: LaneShape(np.array(lane.getShape(name), float)[:, :2], float(lane.getWidth(name)), name.startswith(":"))
        for name in lane.getIDList()
    }


def scene(conn: Any, network: Network, time_s: float) -> Scene:
    """All vehicles and lights now."""
    vehicle = conn.vehicle
    ids = vehicle.getIDList()
    speeds = np.array([vehicle.getSpeed(name) for name in ids], float)
    allowed = np.array([vehicle.getAllowedSpeed(name) for name in ids], float)
    return Scene(
        time_s=time_s,
        position_m=np.array([vehicle.getPosition(name) for name in ids], float).reshape(-1, 2),
        heading_rad=np.radians(90.0 - np.array([vehicle.getAngle(name) for name in ids], float)),
        length_m=np.array([vehicle.getLength(name) for name in ids], float),
        speed_share=np.clip(speeds / np.maximum(allowed, 0.1), 0.0, 1.0),
        lights={signal.id: conn.trafficlight.getRedYellowGreenState(signal.id) for signal in network.signals},
    )


class Passages:
    """Vehicles that left the incoming roads of each signal between two looks."""

    def __init__(self, network: Network, conn: Any) -> None:
        self.conn = conn
        self.roads = [sorted({network.lane_edge[lane] for lane in signal.lanes}) for signal in network.signals]
        self.there: list[set[str]] = [set() for _ in self.roads]

    def since_last(self) -> NDArray[np.float64]:
        """(S,) vehicles that were there at the last look and are not now."""
        on_road = self.conn.edge.getLastStepVehicleIDs
        now = [{name for road in roads for name in on_road(road)} for roads in self.roads]
        passed = np.array([len(before - after) for before, after in zip(self.there, now, strict=True)], float)
        self.there = now
        return passed
