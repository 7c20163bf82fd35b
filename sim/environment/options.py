"""How an environment is made: one dataclass, and the same names as keywords."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from scenarios.common.names import close_names
from scenarios.spec import ScenarioError
from sim.environment.rewards import SCOPES, RewardFunction
from sim.network import Network, Signal
from sim.observation import Observation
from sim.timings import TIMINGS, Timings

#: An observation of one's own: a vector of the observation, for some signals of the network.
ObservationFunction = Callable[[Observation, Network, tuple[Signal, ...]], NDArray[Any]]

RENDER_MODES = ("rgb_array", "human")


@dataclass(frozen=True)
class EnvOptions:
    """How an environment is made.

    Attributes:
        timings: of the signals: a name or a ``Timings``.
        reward: a name of ``sim.environment.rewards.REWARDS``, or a function of ``RewardFacts``. ``"local"`` and
            ``"global"`` mean delay in that scope.
        reward_scope: ``global`` pays all signals together, ``local`` each its own; None is ``global`` for
            ``SignalEnv`` and ``local`` for ``ParallelSignalEnv``.
        observation: ``full`` or ``queue`` (``sim.environment.views``), or a function of an ``Observation``, the
            network and some of its signals that gives a vector.
        render_mode: None, ``rgb_array`` or ``human``.
        backend: ``libsumo`` (fast) or ``traci`` (SUMO behind its socket).
        gui: show SUMO's own window; needs ``backend="traci"``.
    """

    timings: str | Timings = "native"
    reward: str | RewardFunction = "delay"
    reward_scope: str | None = None
    observation: str | ObservationFunction = "full"
    render_mode: str | None = None
    backend: str = "libsumo"
    gui: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.timings, str) and self.timings not in TIMINGS:
            raise ScenarioError(f"Unknown timings '{self.timings}'; choose one of {', '.join(TIMINGS)}.")
        if self.render_mode is not None and self.render_mode not in RENDER_MODES:
            raise ScenarioError(f"Unknown render mode '{self.render_mode}'; choose one of {', '.join(RENDER_MODES)}.")

    @classmethod
    def of(cls, options: EnvOptions | None, changes: Mapping[str, Any], scope: str) -> EnvOptions:
        """Options with some changed by keyword; ``scope`` is that of a reward that has none.

        Raises:
            ScenarioError: an unknown name or value.
        """
        if options is not None and not isinstance(options, EnvOptions):
            raise ScenarioError(f"The environment's options are {options!r}; give EnvOptions, or keywords: timings=...")
        names = [field.name for field in fields(cls)]
        for name in changes:
            if name not in names:
                near = close_names(name, names, least_likeness=0.4)
                hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(names)}."
                raise ScenarioError(f"An environment has no option '{name}'; {hint}")
        made = replace(options or cls(), **changes)
        if made.reward in SCOPES:
            made = replace(made, reward="delay", reward_scope=str(made.reward))
        return replace(made, reward_scope=made.reward_scope or scope)

    @property
    def resolved_timings(self) -> Timings:
        """The timings themselves."""
        return self.timings if isinstance(self.timings, Timings) else TIMINGS[self.timings]


class EnvKeywords(TypedDict, total=False):
    """The fields of ``EnvOptions`` as keywords."""

    timings: str | Timings
    reward: str | RewardFunction
    reward_scope: str | None
    observation: str | ObservationFunction
    render_mode: str | None
    backend: str
    gui: bool


def blank_observation(network: Network) -> Observation:
    """An observation of an empty network, to try a function with."""
    lanes, exits, signals = len(network.lanes), len(network.exits), len(network.signals)
    return Observation(
        time_s=0.0,
        queue_veh=np.zeros(lanes),
        wait_s=np.zeros(lanes),
        zone_veh=np.zeros((lanes, 3)),
        speed_mps=network.lane_speed_mps.copy(),
        flow_veh_h=np.zeros((lanes, 3)),
        lane_ok=np.ones(lanes, bool),
        exit_veh=np.zeros(exits),
        exit_room_veh=network.exit_length_m / 7.5,
        phase=np.zeros(signals, np.int64),
        phase_age_s=np.zeros(signals),
        due=np.ones(signals, bool),
    )
