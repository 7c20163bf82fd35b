"""Self-organising traffic lights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from controllers.base import Controller
from controllers.classical.phase_choice import PhaseTable, fill_unknown, next_in_turn
from controllers.parameters import check_choice, check_number
from sim.network import Network
from sim.observation import ZONES_M, Observation
from sim.signals import Decision


class Sotl(Controller):
    """Ends a green once enough vehicles have waited for long enough at red, but lets platoons through.

    Each lane counts vehicles x seconds that approach its red light (kappa), each crossing people x seconds who wait
    there; green sets it to zero. When the lanes of a
    phase together reach theta, the phase with most gets green; but while at least one and fewer than mu vehicles are
    within omega of a green stop line (a platoon's tail), the green stays. Sources: C. Gershenson, "Self-organizing
    traffic lights", Complex Systems 16 (2005), SOTL-platoon; S.-B. Cools, C. Gershenson & B. D'Hooghe (2013). They
    have two phases and one count per signal; one count per lane is the generalisation to any number of phases.

    Args:
        theta_veh_s: threshold, vehicle-seconds.
        mu_veh: vehicles near a green stop line from which a platoon may be cut.
        omega_m: distance that counts as near: 50, 100 or 200.
        detection_m: distance within which vehicles approaching a red light are counted: 50, 100 or 200.
    """

    def __init__(
        self, theta_veh_s: float = 200.0, mu_veh: float = 3.0, omega_m: float = 50, detection_m: float = 100
    ) -> None:
        self.theta_veh_s = check_number("sotl", "theta_veh_s", theta_veh_s, above=True)
        self.mu_veh = check_number("sotl", "mu_veh", mu_veh)
        self.omega_m = check_choice("sotl", "omega_m", omega_m, ZONES_M[1:])
        self.detection_m = check_choice("sotl", "detection_m", detection_m, ZONES_M[1:])

    def reset(self, network: Network, seed: int) -> None:
        """Set all counts to zero."""
        super().reset(network, seed)
        self.table = PhaseTable(network)
        self._per_phase = self.table.total(lambda phase: phase.lanes)
        self.kappa_veh_s = np.zeros(len(network.lanes))
        self._walks = self.table.walks(network)
        self.kappa_person_s = np.zeros(len(network.crossings))
        self._before_s: float | None = None

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Count the vehicles at red, and switch where a count has reached theta."""
        self._count(observation)
        kappa, near = self._per_phase(self.kappa_veh_s), self._per_phase(self._within(observation, self.omega_m))
        if self.network.crossings:
            kappa = kappa + self._walks(self.kappa_person_s)
        decisions: dict[str, Decision | int] = {}
        for signal in self.table.signals:
            if not observation.due[signal.index]:
                continue
            current, phases = int(observation.phase[signal.index]), self.table.of(signal)
            if observation.lane_ok[list(signal.lanes)].any():
                decisions[signal.id] = self._decide(current, kappa[phases], near[phases])
            else:
                decisions[signal.id] = next_in_turn(signal, observation)
        return decisions

    def _count(self, observation: Observation) -> None:
        """Add the vehicles that approach a red light; a green one sets its lane to zero."""
        elapsed_s = 0.0 if self._before_s is None else observation.time_s - self._before_s
        self._before_s = observation.time_s
        self.kappa_veh_s += elapsed_s * self._within(observation, self.detection_m)
        self.kappa_person_s += elapsed_s * np.nan_to_num(observation.waiting_persons)
        for signal in self.table.signals:
            current = observation.phase[signal.index]
            if current >= 0:
                self.kappa_veh_s[list(signal.phases[current].lanes)] = 0.0
                self.kappa_person_s[list(signal.phases[current].crossings)] = 0.0

    def _decide(self, current: int, kappa: NDArray[np.float64], near: NDArray[np.float64]) -> int:
        """The phase with the highest count if that has reached theta and no platoon's tail would be cut."""
        wanted = int(kappa.argmax())
        if current < 0:
            return wanted
        return current if kappa[wanted] < self.theta_veh_s or 0 < near[current] < self.mu_veh else wanted

    def _within(self, observation: Observation, distance_m: float) -> NDArray[np.float64]:
        count = observation.zone_veh[:, : ZONES_M.index(float(distance_m))].sum(axis=1)
        return fill_unknown(count, self.network.lane_signal, len(self.network.signals))
