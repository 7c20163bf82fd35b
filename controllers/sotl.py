"""Self-organising traffic lights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from controllers.base import Controller
from controllers.parameters import check_choice, check_number
from controllers.phase_choice import PhaseTable, fill_unknown, next_in_turn
from sim.network import Network, Signal
from sim.observation import ZONES_M, Observation
from sim.signals import Decision


class Sotl(Controller):
    """Ends a green once enough vehicles have waited for long enough at red, but lets platoons through.

    Each phase counts vehicles x seconds that approach those of its lanes that are red (kappa). When the highest count
    reaches theta, its phase gets green and starts again from zero; but while at least one and fewer than mu vehicles
    are within omega of a green stop line (a platoon's tail), the green stays. Sources: C. Gershenson, "Self-organizing
    traffic lights", Complex Systems 16 (2005), SOTL-platoon; S.-B. Cools, C. Gershenson & B. D'Hooghe (2013). They
    have two phases and one count per signal; one count per phase is the generalisation to any number.

    Args:
        theta_veh_s: threshold, vehicle-seconds.
        mu_veh: vehicles near a green stop line from which a platoon may be cut.
        omega_m: distance that counts as near: 50, 100 or 200.
        detection_m: distance within which vehicles approaching a red light are counted: 50, 100 or 200.
    """

    def __init__(
        self, theta_veh_s: float = 400.0, mu_veh: float = 3.0, omega_m: float = 50, detection_m: float = 100
    ) -> None:
        self.theta_veh_s = check_number("sotl", "theta_veh_s", theta_veh_s, above=True)
        self.mu_veh = check_number("sotl", "mu_veh", mu_veh)
        self.omega_m = check_choice("sotl", "omega_m", omega_m, ZONES_M[1:])
        self.detection_m = check_choice("sotl", "detection_m", detection_m, ZONES_M[1:])

    def reset(self, network: Network, seed: int) -> None:
        """Set all counts to zero."""
        super().reset(network, seed)
        self.table = PhaseTable(network)
        self.kappa_veh_s = np.zeros(len(self.table))
        self._before_s: float | None = None
        self._red_lanes = {signal.index: _red_lanes(signal) for signal in self.table.signals}

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Count the vehicles at red, and switch where a count has reached theta."""
        elapsed_s = 0.0 if self._before_s is None else observation.time_s - self._before_s
        self._before_s = observation.time_s
        approaching, near = (self._within(observation, distance) for distance in (self.detection_m, self.omega_m))
        decisions: dict[str, Decision | int] = {}
        for signal in self.table.signals:
            kappa = self.kappa_veh_s[self.table.of(signal)]
            current = int(observation.phase[signal.index])
            if current >= 0:
                kappa += [elapsed_s * approaching[lanes].sum() for lanes in self._red_lanes[signal.index][current]]
                kappa[current] = 0.0
            if not observation.due[signal.index]:
                continue
            if not observation.lane_ok[list(signal.lanes)].any():
                decisions[signal.id] = next_in_turn(signal, observation)
            elif current < 0:
                decisions[signal.id] = int(kappa.argmax())
            else:
                tail_veh = near[list(signal.phases[current].lanes)].sum()
                decisions[signal.id] = self._decide(current, kappa, tail_veh)
        return decisions

    def _decide(self, current: int, kappa: NDArray[np.float64], tail_veh: float) -> int:
        """The phase with the highest count if that has reached theta and no platoon's tail would be cut."""
        wanted = int(kappa.argmax())
        return current if kappa[wanted] < self.theta_veh_s or 0 < tail_veh < self.mu_veh else wanted

    def _within(self, observation: Observation, distance_m: float) -> NDArray[np.float64]:
        count = observation.zone_veh[:, : ZONES_M.index(float(distance_m))].sum(axis=1)
        return fill_unknown(count, self.network.lane_signal, len(self.network.signals))


def _red_lanes(signal: Signal) -> list[list[list[int]]]:
    """[current][phase]: the lanes that ``phase`` would serve and that have no green during ``current``."""
    greens = [set(phase.lanes) for phase in signal.phases]
    return [[[lane for lane in phase.lanes if lane not in green] for phase in signal.phases] for green in greens]
