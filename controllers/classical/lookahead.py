"""Lookahead: the teacher. It tries every phase in copies of the running simulation and keeps the cheapest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from controllers.base import Controller, ControllerError
from controllers.classical.greedy import Greedy, LongestQueue
from controllers.parameters import check_choice, check_flag, check_number
from sim.network import Network, Signal
from sim.observation import Observation
from sim.signals import Decision
from sim.timings import NATIVE

POLICIES = {"greedy": Greedy, "longest_queue": LongestQueue}


class Lookahead(Controller):
    """Tries each phase of each due signal in a fork of the simulation, greedy afterwards, and keeps the cheapest.

    The forks know the drivers' future dice and every incident, so this is a teacher and an orientation, neither a
    rival nor a bound. It needs the libsumo backend.

    Args:
        horizon_s: how far each branch runs.
        policy: who decides in the branch after the tried phase, for all signals: ``greedy`` or ``longest_queue``.
        joint: False tries the phases of one due signal at a time, the others doing what the policy would, and judges
            by the delay in the whole network; about sum(phases) branches. True tries phase k at all due signals at
            once and judges each signal by the delay on its own incoming lanes; max(phases) branches, for cities.

    Attributes:
        costs_veh_s: per signal decided last, the (phases,) vehicle-seconds of delay that each phase cost: the labels
            that a learner wants.
    """

    looks_ahead = True

    def __init__(self, horizon_s: float = 30.0, policy: str = "greedy", joint: bool = False) -> None:
        self.horizon_s = check_number("lookahead", "horizon_s", horizon_s, above=True)
        self.policy = check_choice("lookahead", "policy", policy, tuple(POLICIES))
        self.joint = check_flag("lookahead", "joint", joint)

    def reset(self, network: Network, seed: int) -> None:
        """Prepare the policy of the branches."""
        super().reset(network, seed)
        self._policy = POLICIES[self.policy]()
        self._policy.context = replace(self.context, session=None) if self.context else None  # it travels to the forks
        self._policy.reset(network, seed)
        self.costs_veh_s: dict[str, NDArray[np.float64]] = {}
        self.branches = 0
        interval_s = (self.context.timings if self.context else NATIVE).decision_interval_s
        if self.horizon_s < interval_s:
            raise ControllerError(
                f"lookahead: horizon_s is {self.horizon_s:g}; give at least the decision interval of {interval_s} s."
            )

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Return the phase of each due signal that cost least; a tie goes to the policy's own choice."""
        usual = {name: _phase(asked) for name, asked in self._policy.act(observation).items()}
        due = [signal for signal in self.network.controllable if observation.due[signal.index]]
        self.costs_veh_s = {}
        if due:
            self.costs_veh_s = self._joint_costs(due, usual) if self.joint else self._single_costs(due, usual)
        return {signal.id: _cheapest(self.costs_veh_s[signal.id], usual[signal.id]) for signal in due}

    def counters(self) -> Mapping[str, float]:
        """How many branches were simulated."""
        return {"branches": self.branches}

    def _single_costs(self, due: list[Signal], usual: dict[str, int]) -> dict[str, NDArray[np.float64]]:
        """One signal varied at a time; the future in which all do the usual is shared."""
        candidates = [usual]
        which: dict[str, list[int]] = {}
        for signal in due:
            which[signal.id] = []
            for phase in range(len(signal.phases)):
                is_usual = phase == usual[signal.id]
                which[signal.id].append(0 if is_usual else len(candidates))
                if not is_usual:
                    candidates.append({**usual, signal.id: phase})
        network_veh_s, _ = self._branch(candidates)
        return {name: network_veh_s[indices] for name, indices in which.items()}

    def _joint_costs(self, due: list[Signal], usual: dict[str, int]) -> dict[str, NDArray[np.float64]]:
        """Phase k at every due signal at once; a signal with fewer phases does the usual."""
        count = max(len(signal.phases) for signal in due)
        candidates = [{**usual, **{signal.id: k for signal in due if k < len(signal.phases)}} for k in range(count)]
        _, signal_veh_s = self._branch(candidates)
        return {signal.id: signal_veh_s[: len(signal.phases), signal.index] for signal in due}

    def _branch(self, candidates: list[dict[str, int]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Delay of each candidate in the network (C,) and per signal (C, S) at the horizon."""
        session = self.context.session if self.context else None
        if session is None:
            raise ControllerError("lookahead needs a running session to branch; start it with greenloop run.")
        self.branches += len(candidates)
        result = session.branch(candidates, [self.horizon_s], self._policy)
        return result.network_delay_veh_s[:, -1], result.signal_delay_veh_s[:, -1]


def _phase(asked: Decision | int) -> int:
    phase = asked.phase if isinstance(asked, Decision) else asked
    return int(phase or 0)


def _cheapest(costs_veh_s: NDArray[np.float64], usual: int) -> int:
    best = int(costs_veh_s.argmin())
    return best if costs_veh_s[best] < costs_veh_s[usual] else usual
