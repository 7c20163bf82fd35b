"""What detectors showed of each approach in the last five minutes, in steps of half a minute.

An approach is an incoming road of a signal, its lanes together. Reports are never read here.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from sim.network import Network
from sim.observation import Observation

Floats = NDArray[np.float64]

STEP_S, STEPS = 30.0, 10
#: Longest wait (s) over which green that was not used is counted.
_LONGEST_WAIT_S = 600.0
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
    "missed_green_s",  # green that its longest waiting vehicle did not use, the most of its lanes
    "uneven",  # vehicles on the fullest lane over those on an average one
    "ahead_share",  # how full the emptiest lane is that it leads to
    "ahead_change",  # by how much that changed over the step
)


def column(facts: Floats, name: str) -> Floats:
    """One column of (..., STEPS, columns) facts: (..., STEPS), oldest first."""
    values: Floats = facts[..., COLUMNS.index(name)]
    return values


class ApproachWatch:
    """Follows a run.

    Attributes:
        approaches: (signal's id, road) of every row, signal by signal.
        time_s: SUMO's clock at the last observation.
    """

    def __init__(self, network: Network, begin_s: float) -> None:
        self.network, self.begin_s, self.time_s = network, begin_s, begin_s
        edges = {s.id: dict.fromkeys(network.lane_edge[lane] for lane in s.lanes) for s in network.controllable}
        self.approaches = tuple((signal, edge) for signal, own in edges.items() for edge in own)
        self._lanes = np.zeros((len(self.approaches), len(network.lanes)), bool)
        self._exits = np.zeros((len(self.approaches), len(network.exits)), bool)
        for row, (name, edge) in enumerate(self.approaches):
            own = [m for m in network.signal(name).movements if network.lane_edge[m.lane] == edge]
            self._lanes[row, [m.lane for m in own]] = True
            self._exits[row, [m.exit for m in own]] = True
        self._step, self._parts, self._steps = 0, [], deque[Floats](maxlen=STEPS)  # type: ignore[var-annotated]
        self._green_s = deque([(begin_s, np.zeros(len(network.lanes)))])  # that each lane has had so far

    def see(self, observation: Observation) -> bool:
        """Note an observation; True when a step ended and five minutes have been seen."""
        self.time_s = observation.time_s
        green = self._has_green(observation)
        self._parts.append(_columns(observation, green, self.network.lane_speed_mps))
        missed_s = self._missed_green_s(observation, green)
        step = int((observation.time_s - self.begin_s) // STEP_S)
        if step == self._step:
            return False
        self._steps.append(self._approach_values(_mean(np.array(self._parts)), observation, missed_s))
        self._step, self._parts = step, []
        return len(self._steps) == STEPS

    def facts(self) -> Floats:
        """(approaches, STEPS, columns) oldest first; NaN where detectors are out."""
        return np.stack(self._steps, axis=1)

    def _has_green(self, observation: Observation) -> NDArray[np.bool_]:
        """(L,) lanes with green; of those that must give way only where no lane of the phase has priority."""
        green = np.zeros(len(self.network.lanes), bool)
        for signal in self.network.controllable:
            number = int(observation.phase[signal.index])
            if number >= 0:
                phase = signal.phases[number]
                first = [m.lane for m in phase.movements if phase.state[m.link] == "G"]
                green[first or list(phase.lanes)] = True
        return green

    def _missed_green_s(self, observation: Observation, green: NDArray[np.bool_]) -> Floats:
        """(L,) seconds of green while each lane's longest waiting vehicle has stood."""
        last_s, total_s = self._green_s[-1]
        self._green_s.append((observation.time_s, total_s + green * (observation.time_s - last_s)))
        while self._green_s[1][0] < observation.time_s - _LONGEST_WAIT_S:
            self._green_s.popleft()
        times = np.array([time_s for time_s, _ in self._green_s])
        since = np.searchsorted(times, observation.time_s - np.nan_to_num(observation.wait_s))
        totals = np.array([seconds for _, seconds in self._green_s])
        missed: Floats = totals[-1] - totals[np.clip(since, 0, len(times) - 1), np.arange(len(green))]
        return missed

    def _approach_values(self, lanes: Floats, observation: Observation, missed_s: Floats) -> Floats:
        """(approaches, columns) of one step, from the lanes' means and from what holds at its end."""
        member = self._lanes.astype(float)
        veh = np.nan_to_num(lanes[:, :3].sum(axis=1))
        weight = member * (veh + 0.1)
        share = observation.exit_veh / np.maximum(self.network.exit_length_m / 7.5, 1.0)
        ahead = np.where(self._exits, share, np.inf).min(axis=1)
        values = np.column_stack(
            [
                member @ np.nan_to_num(lanes[:, :4]),
                weight @ np.nan_to_num(lanes[:, 4]) / weight.sum(axis=1),
                member @ np.nan_to_num(observation.flow_veh_h[:, 0] / 60),
                member @ lanes[:, 5] / member.sum(axis=1),
                (member * np.nan_to_num(observation.wait_s)).max(axis=1),
                (member * missed_s).max(axis=1),
                (member * veh).max(axis=1) / np.maximum(member @ veh / member.sum(axis=1), 1.0),
                ahead,
                ahead - (column(self._steps[-1], "ahead_share") if self._steps else ahead),
            ]
        )
        out = ~(self._lanes & ~np.isnan(lanes[:, 3])).any(axis=1)
        values[out, : COLUMNS.index("green_share")] = np.nan
        return values


def _columns(observation: Observation, green: NDArray[np.bool_], limit_mps: Floats) -> Floats:
    """(L, 6) what is averaged over a step; NaN where detectors are out."""
    return np.column_stack([observation.zone_veh, observation.queue_veh, observation.speed_mps / limit_mps, green])


def _mean(parts: Floats) -> Floats:
    """Mean over the first axis of what is known, NaN where nothing is."""
    count = (~np.isnan(parts)).sum(axis=0)
    return np.where(count > 0, np.nan_to_num(parts).sum(axis=0) / np.maximum(count, 1), np.nan)
