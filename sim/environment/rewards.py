"""Rewards by name, and what a reward of one's own may use.

Each named reward has a value for each signal. With the scope ``local`` an agent is paid for its own signal; with
``global`` everyone is paid for all of them together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenarios.spec import ScenarioError
from sim.network import Network
from sim.observation import Observation

Floats = NDArray[np.float64]

SCOPES = ("local", "global")


@dataclass(frozen=True)
class RewardFacts:
    """What happened in one decision interval.

    Arrays over signals have the order of ``network.signals`` (S), those of observations are described there.

    Attributes:
        network: the network.
        previous: what was seen at the interval's begin.
        observation: what is seen at its end.
        delay_veh_s: vehicle-seconds of delay of all vehicles in the network, those waiting outside included.
        signal_delay_veh_s: (S,) vehicle-seconds of delay on each signal's incoming lanes.
        passed_veh: (S,) vehicles that left each signal's incoming roads over the junction.
    """

    network: Network
    previous: Observation
    observation: Observation
    delay_veh_s: float
    signal_delay_veh_s: Floats
    passed_veh: Floats

    def lanes(self, values: Floats) -> Floats:
        """(S,) the sum of a (L,) lane array over each signal's incoming lanes; what no detector sees counts as 0."""
        signals = len(self.network.signals)
        sums = np.zeros(signals)
        np.add.at(sums, self.network.lane_signal, np.nan_to_num(values))
        return sums


#: A reward of one's own: a number for everyone, or one for each controllable signal in order.
RewardFunction = Callable[[RewardFacts], float | Sequence[float] | Floats]


@dataclass(frozen=True)
class NamedReward:
    """One of ``REWARDS``: (S,) values, their divisor, and what they are in words."""

    values: Callable[[RewardFacts], Floats]
    scale: float
    words: str


def _pressure(facts: RewardFacts) -> Floats:
    incoming = facts.lanes(facts.observation.zone_veh.sum(axis=1))
    outgoing = [float(np.nansum(facts.observation.exit_veh[list(signal.exits)])) for signal in facts.network.signals]
    pressure: Floats = -np.abs(incoming - np.array(outgoing))
    return pressure


REWARDS = {
    "delay": NamedReward(
        lambda facts: -facts.signal_delay_veh_s,
        100.0,
        "minus the vehicle-seconds of delay in the interval; global: of all vehicles, those waiting outside included",
    ),
    "queue": NamedReward(
        lambda facts: -facts.lanes(facts.observation.queue_veh),
        10.0,
        "minus the vehicles that stand on the incoming lanes at the interval's end",
    ),
    "pressure": NamedReward(
        _pressure,
        10.0,
        "minus the difference, without its sign, of the vehicles within 200 m before and those behind the junction",
    ),
    "waiting": NamedReward(
        lambda facts: -facts.lanes(facts.observation.wait_s),
        100.0,
        "minus the sum over incoming lanes of the longest present wait, in seconds",
    ),
    "throughput": NamedReward(
        lambda facts: facts.passed_veh, 1.0, "vehicles that left the incoming roads over the junction"
    ),
}


@dataclass(frozen=True)
class Reward:
    """A reward as an environment uses it; ``signals`` are the indices of the controllable ones."""

    reward: str | RewardFunction
    scope: str
    signals: tuple[int, ...]

    def __post_init__(self) -> None:
        if isinstance(self.reward, str) and self.reward not in REWARDS:
            raise ScenarioError(
                f"Unknown reward '{self.reward}'; choose one of {', '.join(REWARDS)}, or give a function."
            )
        if not isinstance(self.reward, str) and not callable(self.reward):
            raise ScenarioError(f"The reward is a {type(self.reward).__name__}; give a name or a function.")
        if self.scope not in SCOPES:
            raise ScenarioError(f"Unknown reward scope '{self.scope}'; choose one of {', '.join(SCOPES)}.")

    @property
    def counts_passages(self) -> bool:
        """Whether vehicles over the junction have to be counted, which costs time."""
        return self.reward == "throughput" or callable(self.reward)

    def each(self, facts: RewardFacts) -> Floats:
        """One number per controllable signal."""
        if isinstance(self.reward, str):
            named = REWARDS[self.reward]
            if self.scope == "global":
                return np.full(len(self.signals), self.total(facts))
            return named.values(facts)[list(self.signals)] / named.scale
        values = self._user_reward(facts)
        return np.full(len(self.signals), values.sum()) if values.ndim == 0 or self.scope == "global" else values

    def total(self, facts: RewardFacts) -> float:
        """One number for all."""
        if not isinstance(self.reward, str):
            return float(self._user_reward(facts).sum())
        named = REWARDS[self.reward]
        if self.reward == "delay" and self.scope == "global":
            return -facts.delay_veh_s / named.scale
        return float(named.values(facts)[list(self.signals)].sum() / named.scale)

    def _user_reward(self, facts: RewardFacts) -> Floats:
        assert not isinstance(self.reward, str)
        values = np.asarray(self.reward(facts), float)
        if values.shape not in ((), (len(self.signals),)) or not np.isfinite(values).all():
            raise ScenarioError(
                f"The reward function gave {np.array2string(values, threshold=6)[:80]}; it must give a finite number, "
                f"or {len(self.signals)} of them, one for each controllable signal."
            )
        return values
