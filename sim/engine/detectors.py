"""Reads an Observation from the running simulation; the only place that asks SUMO about vehicles."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import compress, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.command import DETECTOR_PREFIX
from sim.engine.vehicles import Vehicles, sums, values
from sim.network import Network
from sim.observation import FLOW_WINDOWS_MIN, ZONES_M

HALT_MPS = 0.1
VEHICLE_SPACE_M = 7.5
PROP_PREFIX = "greenloop.prop."
#: Below this mean speed (m/s) an occupied approach counts as standing.
STANDING_MPS = 0.5


@dataclass(frozen=True)
class _LaneTable:
    """What each SUMO lane that matters is part of, as arrays; the last row stands for all other lanes.

    A row's parts (the approaches that the lane belongs to) are ``first[row]`` to ``first[row] + parts[row]``.
    """

    row: dict[str, int]
    length_m: NDArray[np.float64]  # (R,)
    exit: NDArray[np.int64]  # (R,) index of the outgoing lane; their number where it is none
    first: NDArray[np.int64]  # (R,)
    parts: NDArray[np.int64]  # (R,)
    approach: NDArray[np.int64]  # (P,) index of the incoming lane
    offset_m: NDArray[np.float64]  # (P,) from the lane's end to that stop line
    weight: NDArray[np.float64]  # (P,)
    is_own: NDArray[np.bool_]  # (P,) the approach is the lane itself

    @classmethod
    def of(cls, network: Network) -> _LaneTable:
        exits = {lane: index for index, lane in enumerate(network.exits)}
        lengths = {lane: float(length) for lane, length in zip(exits, network.exit_length_m, strict=True)}
        parts: dict[str, list[tuple[int, float, float, bool]]] = {lane: [] for lane in exits}
        for index, stretches in enumerate(network.reach):
            for part in stretches:
                lengths[part.lane_id] = part.length_m
                row = (index, part.offset_m, part.weight, part.lane_id == network.lanes[index])
                parts.setdefault(part.lane_id, []).append(row)
        counts = np.array([*map(len, parts.values()), 0])
        flat = [row for rows in parts.values() for row in rows]
        return cls(
            row={lane: row for row, lane in enumerate(parts)},
            length_m=np.array([*(lengths[lane] for lane in parts), 0.0]),
            exit=np.array([*(exits.get(lane, len(exits)) for lane in parts), len(exits)]),
            first=np.cumsum(counts) - counts,
            parts=counts,
            approach=np.array([row[0] for row in flat], np.int64),
            offset_m=np.array([row[1] for row in flat], np.float64),
            weight=np.array([row[2] for row in flat], np.float64),
            is_own=np.array([row[3] for row in flat], np.bool_),
        )

    def entries(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For vehicles on these rows, one entry for each part of each row, in order: its vehicle, and its part."""
        parts, vehicle = self.parts[rows], np.arange(len(rows))
        if (parts == 1).all():
            return vehicle, self.first[rows]
        vehicle = np.repeat(vehicle, parts)
        return vehicle, np.arange(len(vehicle)) + np.repeat(self.first[rows] - (np.cumsum(parts) - parts), parts)


class Detectors:
    """Lane readings in the order of ``Network.lanes`` and ``Network.exits``."""

    def __init__(self, network: Network, conn: Any, vehicles: Vehicles) -> None:
        self.network, self.vehicles = network, vehicles
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
        self._table = _LaneTable.of(network)
        self._loops = [DETECTOR_PREFIX + lane for lane in network.lanes]
        self._areas = sorted({area for crossing in network.crossings for area in crossing.areas})
        self._last_s: float | None = None
        self.bind(conn)

    def bind(self, conn: Any) -> None:
        """Take the simulation's functions once: looking them up for each vehicle would cost as much as the calls."""
        self._position = conn.vehicle.getLanePosition
        self._speed = conn.vehicle.getSpeed
        self._wait = conn.vehicle.getWaitingTime
        self._minute_count = conn.inductionloop.getLastIntervalVehicleNumber
        self._persons = conn.edge.getLastStepPersonIDs
        self._person_edge = conn.person.getNextEdge
        self._person_wait = conn.person.getWaitingTime

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
        """Read every vehicle of every approach once, all in arrays.

        Sums run over the vehicles in SUMO's order (``sums`` adds one by one), so that they repeat to the last bit.
        """
        table, lanes, exits = self._table, len(self.network.lanes), len(self.network.exits)
        elsewhere = len(table.row)
        ids = self.vehicles.ids
        rows = np.fromiter(map(table.row.get, self.vehicles.lanes, repeat(elsewhere)), np.int64, len(ids))
        self.exit_veh = np.bincount(table.exit[rows], minlength=exits + 1)[:exits].astype(float)
        on_approach = table.parts[rows] > 0
        rows, ids = rows[on_approach], list(compress(ids, on_approach.tolist()))
        before_m = table.length_m[rows] - values(self._position, ids)
        speed_mps = values(self._speed, ids)
        halted = speed_mps < HALT_MPS
        stopped = np.flatnonzero(halted).tolist()
        if props := [index for index in stopped if ids[index].startswith(PROP_PREFIX)]:
            counted = np.ones(len(ids), bool)
            counted[props] = False
            rows, before_m, speed_mps, halted = rows[counted], before_m[counted], speed_mps[counted], halted[counted]
            ids = list(compress(ids, counted.tolist()))
            stopped = np.flatnonzero(halted).tolist()
        waited_s = np.zeros(len(ids))
        waited_s[stopped] = [self._wait(ids[index]) for index in stopped]
        # From here on an entry is a vehicle on one of the approaches that its lane is part of.
        vehicle, part = table.entries(rows)
        away_m = table.offset_m[part] + before_m[vehicle]
        _, near_m, middle_m, far_m = ZONES_M
        within = away_m < far_m
        zone = 3 * table.approach[part] + (away_m >= near_m) + (away_m >= middle_m)
        self.zone_veh = sums(zone[within], table.weight[part[within]], 3 * lanes).reshape(lanes, 3)
        seen = within | table.is_own[part]
        part, vehicle = part[seen], vehicle[seen]
        approach, weight = table.approach[part], table.weight[part]
        count = sums(approach, weight, lanes)
        moved = sums(approach, weight * speed_mps[vehicle], lanes)
        halting = halted[vehicle]
        self.queue_veh = sums(approach[halting], weight[halting], lanes)
        self.wait_s = np.zeros(lanes)
        np.maximum.at(self.wait_s, approach[halting], waited_s[vehicle[halting]])
        self.speed_mps = self.network.lane_speed_mps.copy()
        np.divide(moved, count, out=self.speed_mps, where=count > 0)

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
