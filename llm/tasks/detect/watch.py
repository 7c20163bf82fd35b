"""What detectors showed of each approach in the last five minutes, in steps of half a minute.

An approach is an incoming road of a signal, its lanes summed. Reports are never read here.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from sim.network import Network, Signal
from sim.observation import Observation

Floats = NDArray[np.float64]

STEP_S, STEPS = 30.0, 10
#: Longest wait (s) over which green that was not used is counted.
LONGEST_WAIT_S = 600.0
#: One step of one approach. Counts are means over the step's observations, in vehicles.
COLUMNS = (
    "near_veh",  # 0 to 50 m before the stop line
    "mid_veh",  # 50 to 100 m
    "far_veh",  # 100 to 200 m
    "halted_veh",
    "speed_share",  # mean speed over the limit; 1 on an empty road
    "inflow_veh",  # that the loops upstream counted in the last full minute
    "green_share",  # of its lanes and the step's time
    "wait_s",  # the longest wait of a halted vehicle, at the step's end
    "missed_green_s",  # seconds of green that its longest waiting vehicle did not use, the most of its lanes
    "uneven",  # vehicles on the fullest lane over those on an average one
    "ahead_share",  # how full the road is that it leads to: the emptiest of the roads' lanes
    "room_moved",  # by how much that changed over the step
)
_COLUMN = {name: place for place, name in enumerate(COLUMNS)}


def column(facts: Floats, name: str) -> Floats:
    """One column of (..., STEPS, columns) facts: (..., STEPS), oldest first."""
    values: Floats = facts[..., _COLUMN[name]]
    return values


class ApproachWatch:
    """Follows a run; ``facts`` holds the last steps of every approach once ``see`` returns True.

    Attributes:
        approaches: (signal, road) of every row, signal by signal.
    """

    def __init__(self, network: Network, begin_s: float) -> None:
        self.network, self.begin_s = network, begin_s
        self.approaches = tuple((s, edge) for s in network.controllable for edge in _edges(network, s))
        lanes, exits = len(network.lanes), len(network.exits)
        self._member = np.zeros((len(self.approaches), lanes))
        self._exits = np.zeros((len(self.approaches), exits), bool)
        self._greens = [_green_lanes(network, s) for s in network.signals]
        for row, (signal, edge) in enumerate(self.approaches):
            own = {m.lane for m in signal.movements if network.lane_edge[m.lane] == edge}
            self._member[row, list(own)] = 1.0
            self._exits[row, [m.exit for m in signal.movements if m.lane in own]] = True
        self._size = np.maximum(network.exit_length_m / 7.5, 1.0)
        self._step: int | None = None
        self._parts: list[Floats] = []
        self._steps: deque[Floats] = deque(maxlen=STEPS)
        self._green_s = np.zeros(lanes)  # that each lane has had so far
        self._missed_s = np.zeros(lanes)
        self._history: deque[tuple[float, Floats]] = deque([(begin_s, self._green_s)])

    def see(self, observation: Observation) -> bool:
        """Note an observation; True when a step ended and five minutes have been seen."""
        green = self._green(observation)
        self._count_missed_green(observation, green)
        self._parts.append(self._lane_values(observation, green))
        step = int((observation.time_s - self.begin_s) // STEP_S)
        ended = self._step is not None and step != self._step
        if ended:
            self._steps.append(self._approach_values(_mean(np.array(self._parts)), observation))
            self._parts = []
        self._step = step
        return ended and len(self._steps) == STEPS

    def facts(self) -> Floats:
        """(approaches, STEPS, columns) oldest first; NaN where detectors are out."""
        return np.stack(self._steps, axis=1)

    def _count_missed_green(self, observation: Observation, green: NDArray[np.bool_]) -> None:
        now_s, last_s = observation.time_s, self._history[-1][0]
        self._green_s = self._green_s + green * (now_s - last_s)
        self._history.append((now_s, self._green_s))
        while self._history[1][0] < now_s - LONGEST_WAIT_S:
            self._history.popleft()
        times = np.array([time_s for time_s, _ in self._history])
        since_s = now_s - np.nan_to_num(observation.wait_s)
        place = np.clip(np.searchsorted(times, since_s, side="left"), 0, len(times) - 1)
        then = np.array([green_s for _, green_s in self._history])[place, np.arange(len(green))]
        self._missed_s = self._green_s - then

    def _green(self, observation: Observation) -> NDArray[np.bool_]:
        green = np.zeros(len(self.network.lanes), bool)
        for signal, by_phase in zip(self.network.signals, self._greens, strict=True):
            phase = int(observation.phase[signal.index])
            if 0 <= phase < len(by_phase):
                green |= by_phase[phase]
        return green

    def _lane_values(self, observation: Observation, green: NDArray[np.bool_]) -> Floats:
        """(L, 7) what is averaged over a step."""
        speed = observation.speed_mps / self.network.lane_speed_mps
        return np.column_stack([observation.zone_veh, observation.queue_veh, speed, green, observation.lane_ok])

    def _approach_values(self, lanes: Floats, observation: Observation) -> Floats:
        """(approaches, columns) of one step, from the lanes' means and from what holds at its end."""
        member, count = self._member, self._member.sum(axis=1)
        known = np.where(lanes[:, 6] > 0, 1.0, np.nan)
        zones = member @ np.nan_to_num(lanes[:, :4])
        veh = lanes[:, :3].sum(axis=1)
        masked = np.where(member > 0, 1.0, np.nan)
        full = np.fmax.reduce(masked * np.nan_to_num(veh), axis=1)
        weight = member * np.nan_to_num(veh + 0.1)
        speed = (weight @ np.nan_to_num(lanes[:, 4])) / np.maximum(weight.sum(axis=1), 1e-9)
        share = observation.exit_veh / self._size
        ahead = np.fmin.reduce(np.where(self._exits, share, np.nan), axis=1)
        before = self._steps[-1][:, _COLUMN["ahead_share"]] if self._steps else ahead
        values = np.column_stack([
            zones,
            speed,
            member @ np.nan_to_num(observation.flow_veh_h[:, 0] / 60),
            member @ lanes[:, 5] / count,
            np.fmax.reduce(masked * np.nan_to_num(observation.wait_s), axis=1),
            np.fmax.reduce(masked * self._missed_s, axis=1),
            full / np.maximum((member @ np.nan_to_num(veh)) / count, 1.0),
            ahead,
            ahead - before,
        ])  # fmt: skip
        out = ~(member * np.nan_to_num(known)).any(axis=1)
        values[out, : _COLUMN["green_share"]] = np.nan
        return values


def _mean(parts: Floats) -> Floats:
    """Mean over the first axis of what is known, NaN where nothing is."""
    count = (~np.isnan(parts)).sum(axis=0)
    return np.where(count > 0, np.nan_to_num(parts).sum(axis=0) / np.maximum(count, 1), np.nan)


def _edges(network: Network, signal: Signal) -> tuple[str, ...]:
    return tuple(dict.fromkeys(network.lane_edge[lane] for lane in signal.lanes))


def _green_lanes(network: Network, signal: Signal) -> list[NDArray[np.bool_]]:
    """By phase, the lanes (L,) that have green and need not give way, or any green where none has."""
    greens = []
    for phase in signal.phases:
        lanes = {m.lane for m in phase.movements if phase.state[m.link] == "G"} or set(phase.lanes)
        green = np.zeros(len(network.lanes), bool)
        green[list(lanes)] = True
        greens.append(green)
    return greens
