"""Reads an Observation from the running simulation; the only place that asks SUMO about vehicles."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.command import DETECTOR_PREFIX
from sim.network import Network
from sim.observation import FLOW_WINDOWS_MIN, ZONES_M

HALT_MPS = 0.1
VEHICLE_SPACE_M = 7.5
PROP_PREFIX = "greenloop.prop."
#: Below this mean speed (m/s) an occupied approach counts as standing.
STANDING_MPS = 0.5


#: Length (m), the approaches that the lane is part of (index, offset, weight, whether it is their own lane), its exit.
_Lane = tuple[float, list[tuple[int, float, float, bool]], int]


class Detectors:
    """Lane readings in the order of ``Network.lanes`` and ``Network.exits``."""

    def __init__(self, network: Network, conn: Any) -> None:
        self.network = network
        lanes, exits = len(network.lanes), len(network.exits)
        self.queue_veh = np.zeros(lanes)
        self.wait_s = np.zeros(lanes)
        self.zone_veh = np.zeros((lanes, 3))
        self.speed_mps = network.lane_speed_mps.copy()
        self.exit_veh = np.zeros(exits)
        self.flow_veh_h = np.zeros(
            (lanes, len(FLOW_WINDOWS_MIN))
        )  # last 1, 5, 15 full minutes, or as many as there were
        self.waiting_persons = np.zeros(len(network.crossings))
        self.standing_s = np.zeros(lanes)
        self.worst_wait_s = 0.0
        self.worst_standing_s = 0.0
        self._minutes: deque[NDArray[np.float64]] = deque(maxlen=max(FLOW_WINDOWS_MIN))
        self._exit_capacity = network.exit_length_m / VEHICLE_SPACE_M
        self._lanes = self._by_lane()
        self._loops = [DETECTOR_PREFIX + lane for lane in network.lanes]
        self._areas = sorted({area for crossing in network.crossings for area in crossing.areas})
        self._last_s: float | None = None
        self.bind(conn)

    def bind(self, conn: Any) -> None:
        """Take the simulation's functions once: looking them up for each vehicle would cost as much as the calls."""
        self._ids = conn.vehicle.getIDList
        self._lane = conn.vehicle.getLaneID
        self._position = conn.vehicle.getLanePosition
        self._speed = conn.vehicle.getSpeed
        self._wait = conn.vehicle.getWaitingTime
        self._minute_count = conn.inductionloop.getLastIntervalVehicleNumber
        self._persons = conn.edge.getLastStepPersonIDs
        self._person_edge = conn.person.getNextEdge
        self._person_wait = conn.person.getWaitingTime

    def _by_lane(self) -> dict[str, _Lane]:
        """What each SUMO lane that matters is part of."""
        exits = {lane: index for index, lane in enumerate(self.network.exits)}
        lengths = {lane: float(length) for lane, length in zip(exits, self.network.exit_length_m, strict=True)}
        parts: dict[str, list[tuple[int, float, float, bool]]] = {lane: [] for lane in exits}
        for index, stretches in enumerate(self.network.reach):
            for part in stretches:
                own = part.lane_id == self.network.lanes[index]
                lengths[part.lane_id] = part.length_m
                parts.setdefault(part.lane_id, []).append((index, part.offset_m, part.weight, own))
        return {lane: (lengths[lane], parts[lane], exits.get(lane, -1)) for lane in parts}

    def read_minute(self) -> None:
        """Take the counts of the minute that has just ended."""
        self._minutes.append(np.array([self._minute_count(loop) for loop in self._loops], float))
        minutes = np.array(self._minutes)
        self.flow_veh_h = np.stack([minutes[-window:].mean(axis=0) * 60.0 for window in FLOW_WINDOWS_MIN], axis=1)

    def read(self, time_s: float) -> None:
        """Read all lanes now."""
        self._read_approaches()
        if self.network.crossings:
            self._read_crossings()
        standing = (self.queue_veh > 0) & (self.speed_mps < STANDING_MPS)
        elapsed_s = 0.0 if self._last_s is None else time_s - self._last_s
        self.standing_s = np.where(standing, self.standing_s + elapsed_s, 0.0)
        self.worst_standing_s = max(self.worst_standing_s, float(self.standing_s.max(initial=0.0)))
        self.worst_wait_s = max(self.worst_wait_s, float(self.wait_s.max(initial=0.0)))
        self._last_s = time_s

    def _read_approaches(self) -> None:
        """Read every vehicle of every approach once; the innermost loop of a session, hence the local names."""
        lanes = len(self.network.lanes)
        queue, wait, seen, moved = ([0.0] * lanes for _ in range(4))
        zones = [0.0] * (3 * lanes)
        exits = [0.0] * len(self.network.exits)
        get_lane, get_speed, get_position, get_wait = self._lane, self._speed, self._position, self._wait
        known = self._lanes
        _, near, middle, far = ZONES_M
        for vehicle in self._ids():
            lane = known.get(get_lane(vehicle))
            if lane is None:
                continue
            length, parts, exit_index = lane
            if exit_index >= 0:
                exits[exit_index] += 1
            if not parts:
                continue
            before = length - get_position(vehicle)
            speed = get_speed(vehicle)
            halted = speed < HALT_MPS
            if halted and vehicle.startswith(PROP_PREFIX):
                continue
            for index, offset, weight, own in parts:
                away = offset + before
                if away < far:
                    zones[3 * index + (0 if away < near else 1 if away < middle else 2)] += weight
                elif not own:
                    continue
                seen[index] += weight
                moved[index] += weight * speed
                if halted:
                    queue[index] += weight
                    wait[index] = max(wait[index], get_wait(vehicle))
        self.queue_veh, self.wait_s, self.exit_veh = np.array(queue), np.array(wait), np.array(exits)
        self.zone_veh = np.array(zones).reshape(lanes, 3)
        self.speed_mps = self.network.lane_speed_mps.copy()
        count = np.array(seen)
        np.divide(np.array(moved), count, out=self.speed_mps, where=count > 0)

    def _read_crossings(self) -> None:
        """Count the people who stand on a walking area and want to go over a crossing beside it."""
        wanted: dict[str, int] = {}
        for area in self._areas:
            for person in self._persons(area):
                if self._person_wait(person) > 0:
                    edge = self._person_edge(person)
                    wanted[edge] = wanted.get(edge, 0) + 1
        self.waiting_persons = np.array([wanted.get(c.id, 0) for c in self.network.crossings], float)

    def exit_room_veh(self) -> NDArray[np.float64]:
        """(E,) vehicles that still fit on each outgoing lane."""
        room: NDArray[np.float64] = np.maximum(self._exit_capacity - self.exit_veh, 0.0)
        return room
