"""Max pressure: serve the phase whose movements lead from full lanes to empty ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controllers.classical.phase_choice import BestPhase, fill_unknown, movement_filter
from controllers.parameters import check_choice, check_flag, check_number
from sim.network import REACH_M, Network
from sim.observation import Observation

#: Room that one vehicle takes in a jam, m: what the capacity of a lane is counted with.
VEHICLE_SPACE_M = 7.5
MEASURES = ("vehicles", "queue")


class MaxPressure(BestPhase):
    """Serves the phase with the greatest pressure: vehicles upstream minus downstream, summed over its movements.

    Source: P. Varaiya, "Max pressure control of a network of signalized intersections", Transportation Research
    Part C 36 (2013), with equal saturation flows and an exit's vehicles not split by their next turn. It cannot split
    a lane's vehicles by movement either, so a lane counts once per movement that it feeds.

    Args:
        measure: ``vehicles`` (all within 200 m upstream, all on the exit downstream) or ``queue`` (halted ones only;
            downstream on exits that lead to another signal, 0 elsewhere; RESCO's definition).
        normalised: divide by each lane's capacity (length / 7.5 m), so that a short full lane weighs as much as a
            long full one.
        protected_only: count only movements that need not give way, as RESCO's phase pairs do.
        switch_margin: pressure by which another phase must lead before the current one ends.
    """

    def __init__(
        self,
        measure: str = "vehicles",
        normalised: bool = False,
        protected_only: bool = False,
        switch_margin: float = 0.0,
    ) -> None:
        self.measure = check_choice("max_pressure", "measure", measure, MEASURES)
        self.normalised = check_flag("max_pressure", "normalised", normalised)
        self.protected_only = check_flag("max_pressure", "protected_only", protected_only)
        self.switch_margin = check_number("max_pressure", "switch_margin", switch_margin)
        self.person_weight = VEHICLE_SPACE_M / REACH_M if normalised else 1.0  # as a vehicle on a long lane counts

    def reset(self, network: Network, seed: int) -> None:
        """Note movements, capacities, and where exits are seen as another signal's lanes."""
        super().reset(network, seed)
        movements = movement_filter(self.protected_only)
        self._upstream = self.table.total(lambda phase: [lane for lane, _ in movements(phase)])
        self._downstream = self.table.total(lambda phase: [exit_ for _, exit_ in movements(phase)])
        lane_index = {lane: i for i, lane in enumerate(network.lanes)}
        seen = [(i, lane_index[exit_]) for i, exit_ in enumerate(network.exits) if exit_ in lane_index]
        self._seen_exit, self._seen_lane = np.array(seen, dtype=np.int64).reshape(-1, 2).T
        self._exit_signal = np.zeros(len(network.exits), dtype=np.int64)
        for signal in network.signals:
            self._exit_signal[list(signal.exits)] = signal.index
        reach_m = np.array([_reach_m(network, lane) for lane in range(len(network.lanes))])
        self._lane_capacity_veh = np.maximum(reach_m / VEHICLE_SPACE_M, 1.0)
        self._exit_capacity_veh = np.maximum(network.exit_length_m / VEHICLE_SPACE_M, 1.0)

    def scores(self, observation: Observation) -> NDArray[np.float64]:
        """Pressure of each phase."""
        upstream, downstream = self._counts(observation)
        signals = len(self.network.signals)
        upstream = fill_unknown(upstream, self.network.lane_signal, signals)
        downstream = fill_unknown(downstream, self._exit_signal, signals)
        if self.normalised:
            upstream, downstream = upstream / self._lane_capacity_veh, downstream / self._exit_capacity_veh
        return self._upstream(upstream) - self._downstream(downstream)

    def _counts(self, observation: Observation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self.measure == "vehicles":
            return observation.zone_veh.sum(axis=1), observation.exit_veh
        downstream = np.zeros(len(self.network.exits))
        downstream[self._seen_exit] = observation.queue_veh[self._seen_lane]
        return observation.queue_veh, downstream


def _reach_m(network: Network, lane: int) -> float:
    """Length of the approach that the zones cover: the lane and, where it is short, what leads to it, at most 200 m."""
    ends_m = [stretch.offset_m + stretch.length_m for stretch in network.reach[lane]]
    return min(REACH_M, max([*ends_m, float(network.lane_length_m[lane])]))


class MaxPressureNormalised(MaxPressure):
    """Max pressure on occupied shares: each count is divided by its lane's capacity (length / 7.5 m)."""

    def __init__(self, measure: str = "vehicles", protected_only: bool = False, switch_margin: float = 0.0) -> None:
        super().__init__(measure, normalised=True, protected_only=protected_only, switch_margin=switch_margin)
