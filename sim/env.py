"""The simulation as a Gymnasium environment and as a PettingZoo parallel environment."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal, Unpack

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from scenarios import registry
from scenarios.spec import Scenario, ScenarioError
from sim.engine.command import SessionOptions
from sim.engine.session import Session
from sim.environment.actions import ActionError, ignored, mask, phases_by_agent, phases_in_order
from sim.environment.options import RENDER_MODES, EnvKeywords, EnvOptions
from sim.environment.rendering import Painter, Window
from sim.environment.rewards import Reward, RewardFacts
from sim.environment.views import describe, make_view
from sim.network import Network
from sim.observation import Observation

__all__ = ["ActionError", "EnvOptions", "ParallelSignalEnv", "RewardFacts", "SignalEnv", "make_env"]
#: Frames a second of a video: twenty to fifty times as fast as the streets, with decisions every 5 s.
RENDER_FPS = 10


class _Task:
    """What both environments share: a scenario, its network, its reward, and one session at a time."""

    def __init__(self, scenario: str | Scenario, options: EnvOptions) -> None:
        self.scenario = scenario if isinstance(scenario, Scenario) else registry.load(scenario)
        self.timings = options.resolved_timings
        self.env_options = options
        self.options = SessionOptions(backend=options.backend, gui=options.gui, delays=True, outputs=False)
        self.network = Network.of(self.scenario)
        self.signals = self.network.controllable
        if not self.signals:
            raise ScenarioError(f"Scenario {self.scenario.name} has no signal that can be controlled.")
        self.indices = tuple(signal.index for signal in self.signals)
        self.reward = Reward(options.reward, str(options.reward_scope), self.indices)
        self.session: Session | None = None
        self.observation: Observation | None = None
        self.facts: RewardFacts | None = None
        self.ignored = np.zeros(len(self.network.signals), bool)
        self._painter: Painter | None = None
        self._window: Window | None = None

    def start(self, seed: int) -> Observation:
        self._end_session()
        self.session = Session(self.scenario, seed, self.timings, self.options)
        self.observation = self.session.start()
        self.ignored = np.zeros(len(self.network.signals), bool)
        if self.reward.counts_passages:
            self.session.passed_veh()
        return self.observation

    def running(self) -> Observation:
        """The present observation of an episode that can go on."""
        if self.session is None or self.observation is None:
            raise gymnasium.error.ResetNeeded("Call reset() before step().")
        if self.session.done:
            raise gymnasium.error.ResetNeeded("The episode is over; call reset() before step().")
        return self.observation

    def step(self, phases: dict[int, int]) -> Observation:
        """Hand the asked phases to the signals that are due; a signal that is not due keeps its phase."""
        before = self.running()
        assert self.session is not None
        self.ignored = ignored(phases, before)
        self.observation = self.session.step(
            {self.network.signals[index].id: phase for index, phase in phases.items() if before.due[index]}
        )
        nobody = np.zeros(len(self.network.signals))
        passed_veh = self.session.passed_veh() if self.reward.counts_passages else nobody
        delay = self.session.delay
        self.facts = RewardFacts(
            self.network, before, self.observation, delay.network_veh_s, delay.signal_veh_s, passed_veh
        )
        return self.observation

    @property
    def done(self) -> bool:
        return self.session is None or self.session.done

    def rewards(self) -> NDArray[np.float64]:
        """One for each controllable signal."""
        assert self.facts is not None
        return self.reward.each(self.facts)

    def total_reward(self) -> float:
        assert self.facts is not None
        return self.reward.total(self.facts)

    def info(self) -> dict[str, Any]:
        assert self.observation is not None
        indices = list(self.indices)
        return {
            "time_s": self.observation.time_s,
            "due": self.observation.due[indices],
            "ignored": self.ignored[indices],
        }

    def frame(self) -> NDArray[np.uint8]:
        """The present moment as a picture, (height, width, 3)."""
        if self.session is None:
            raise gymnasium.error.ResetNeeded("Call reset() before render().")
        if self._painter is None:
            self._painter = Painter(self.network, self.session.lane_shapes())
        return self._painter.frame(self.session.scene())

    def show(self) -> None:
        """The present moment in a window."""
        if self._window is None:
            self._window = Window()
        self._window.show(self.frame())

    def render(self) -> NDArray[np.uint8] | None:
        if self.env_options.render_mode == "rgb_array":
            return self.frame()
        if self.env_options.render_mode == "human":
            self.show()
        return None

    def show_if_human(self) -> None:
        if self.env_options.render_mode == "human":
            self.show()

    def close(self) -> None:
        self._end_session()
        if self._window is not None:
            self._window.close()
            self._window = None

    def _end_session(self) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None


def _sumo_seed(generator: np.random.Generator) -> int:
    return int(generator.integers(2**31 - 1))


class SignalEnv(gymnasium.Env[NDArray[np.float32], Any]):
    """Time the signals of one scenario.

    Observation:
        ``Box(-1, 5, (size,), float32)``, laid out by the network alone (``sim.features.Features``):

        | part | per | numbers | unit before scaling | divided by |
        | --- | --- | --- | --- | --- |
        | queue | incoming lane | 1 | veh halted (below 0.1 m/s) | 20 |
        | wait | incoming lane | 1 | s, longest of a halted vehicle | 120 |
        | zones | incoming lane | 3 | veh at 0-50, 50-100, 100-200 m | 10 |
        | speed | incoming lane | 1 | m/s, mean | the speed limit |
        | flow | incoming lane | 3 | veh/h over 1, 5, 15 min | 1800 |
        | working | incoming lane | 1 | 1 if the detector works; its other numbers are -1 if not | 1 |
        | vehicles, room | outgoing lane | 2 | veh | 20 |
        | active phase | signal | one per phase | 1 for the active one | 1 |
        | age | signal | 1 | s since the phase began | 60 |
        | due | signal | 1 | 1 if a decision can take effect now | 1 |
        | persons | crossing with a signal | 1 | people who wait there | 10 |

    Action:
        The phase to show: ``Discrete(phases)`` with one controllable signal, else ``MultiDiscrete`` with one entry per
        controllable signal in the order of ``network.controllable``. A signal that is not due keeps its phase, and
        ``action_masks`` says which phases take effect. Minimum green, yellow, all-red and maximum red hold whatever is
        asked. Anything else raises ``ActionError`` before anything is simulated.

    Reward:
        Minus the vehicle-seconds of delay in the interval, divided by 100: of all vehicles in the network, those
        waiting outside included (``reward_scope="global"``), or of those at the controllable signals (``"local"``): on
        an incoming lane when the interval began, or come on one since from a road without a signal. Delay is what
        SUMO's time loss has grown by; see ``sim.engine.delays.DelayByInterval`` for how little that differs from a
        count of every second. Others by name (``sim.environment.rewards``) or by a function.

    Episode:
        Starts at the scenario's begin, after its warm-up; a step is one decision interval (5 s by default). Truncated
        at the scenario's end, never terminated. Each episode draws the seed of SUMO, departures and incidents from the
        environment's generator, which ``reset(seed=...)`` sets.

    Info:
        ``time_s``, SUMO's clock; ``due``, which of the controllable signals can change now; and ``ignored``, of
        which the last action asked for another phase although they were not due.

    Args:
        scenario: a name, a ``.yaml`` path or a Scenario.
        options: how the environment is made; its fields can be given as keywords as well.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS}  # noqa: RUF012 - Gymnasium declares it so

    def __init__(
        self, scenario: str | Scenario, options: EnvOptions | None = None, **keywords: Unpack[EnvKeywords]
    ) -> None:
        self.task = _Task(scenario, EnvOptions.of(options, keywords, "global"))
        self.render_mode = self.task.env_options.render_mode
        self.network = self.task.network
        signals = self.task.signals
        self.features = make_view(self.task.env_options.observation, self.network, self.task.indices)
        self.observation_space = self.features.space
        phases = [len(signal.phases) for signal in signals]
        self.action_space = spaces.Discrete(phases[0]) if len(phases) == 1 else spaces.MultiDiscrete(phases)

    @property
    def observation(self) -> Observation:
        """The full observation behind the last vector, as controllers see it."""
        if self.task.observation is None:
            raise gymnasium.error.ResetNeeded("Call reset() before reading the observation.")
        return self.task.observation

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed, options=options)
        observation = self.task.start(_sumo_seed(self.np_random))
        self.task.show_if_human()
        return self.features.vector(observation), self.task.info()

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Ask for phases and simulate one decision interval."""
        self.task.running()
        observation = self.task.step(phases_in_order(self.task.signals, action))
        self.task.show_if_human()
        reward = self.task.total_reward()
        return self.features.vector(observation), reward, False, self.task.done, self.task.info()

    def action_masks(self) -> NDArray[np.bool_]:
        """Which phases take effect if they are asked for now, signal after signal, (sum of phases,).

        All of a signal that is due; of one that is not, the present one alone. The name and form are those that
        sb3-contrib's MaskablePPO asks for.
        """
        return np.concatenate([mask(signal, self.observation) for signal in self.task.signals])

    def describe(self) -> None:
        """Print which number of the observation is what, and what each action shows."""
        print(describe(self.features, self.network, self.task.signals))

    def render(self) -> Any:
        """A picture (height, width, 3) of uint8 with ``rgb_array``; a window with ``human``."""
        return self.task.render()

    def close(self) -> None:
        """End the simulation."""
        self.task.close()


class ParallelSignalEnv(ParallelEnv[str, NDArray[np.float32], int]):  # type: ignore[misc] # PettingZoo is untyped
    """The same, with one agent per controllable signal, named by its id.

    Each agent sees its own lanes, exits and signal in the layout of ``SignalEnv``, acts with ``Discrete(phases)``, and
    by default is paid for its own incoming lanes (``reward_scope="local"``). All agents live to the end of the horizon.
    An agent that is left out of the actions keeps its phase.
    """

    metadata = {  # noqa: RUF012 - PettingZoo declares it so
        "name": "greenloop_v0",
        "render_modes": list(RENDER_MODES),
        "render_fps": RENDER_FPS,
    }

    def __init__(
        self, scenario: str | Scenario, options: EnvOptions | None = None, **keywords: Unpack[EnvKeywords]
    ) -> None:
        self.task = _Task(scenario, EnvOptions.of(options, keywords, "local"))
        self.network = self.task.network
        self.render_mode = self.task.env_options.render_mode
        self._signals = {signal.id: signal for signal in self.task.signals}
        self._features = {
            name: make_view(self.task.env_options.observation, self.network, (signal.index,))
            for name, signal in self._signals.items()
        }
        self.possible_agents = list(self._signals)
        self.agents: list[str] = []
        self.observation_spaces = {name: view.space for name, view in self._features.items()}
        self.action_spaces = {name: spaces.Discrete(len(s.phases)) for name, s in self._signals.items()}
        self._generator = np.random.default_rng()

    def observation_space(self, agent: str) -> Any:
        """The same object each time, so that seeding its sampler works."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Discrete:
        """The same object each time, so that seeding its sampler works."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, dict[str, Any]]]:
        """Start an episode; ``options`` is not used."""
        del options
        if seed is not None:
            self._generator = np.random.default_rng(seed)
        observation = self.task.start(_sumo_seed(self._generator))
        self.task.show_if_human()
        self.agents = list(self.possible_agents)
        return self._vectors(observation), self._infos(observation)

    def step(
        self, actions: Mapping[str, int]
    ) -> tuple[
        dict[str, NDArray[np.float32]],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Ask for phases and simulate one decision interval."""
        agents = list(self.agents)
        self.task.running()
        observation = self.task.step(phases_by_agent(self._signals, actions))
        self.task.show_if_human()
        paid = dict(zip(self._signals, self.task.rewards().tolist(), strict=True))
        rewards = {name: paid[name] for name in agents}
        done = self.task.done
        if done:
            self.agents = []
        ends = dict.fromkeys(agents, done)
        return self._vectors(observation), rewards, dict.fromkeys(agents, False), ends, self._infos(observation)

    def _vectors(self, observation: Observation) -> dict[str, NDArray[np.float32]]:
        return {name: features.vector(observation) for name, features in self._features.items()}

    def _infos(self, observation: Observation) -> dict[str, dict[str, Any]]:
        return {
            name: {
                "time_s": observation.time_s,
                "due": bool(observation.due[signal.index]),
                "ignored": bool(self.task.ignored[signal.index]),
            }
            for name, signal in self._signals.items()
        }

    def action_masks(self) -> dict[str, NDArray[np.bool_]]:
        """By agent: (phases,) which phases take effect if they are asked for now."""
        observation = self.task.running()
        return {name: mask(signal, observation) for name, signal in self._signals.items()}

    def describe(self, agent: str | None = None) -> None:
        """Print which number of an agent's observation is what, and what its actions show; of all without a name."""
        for name in self.possible_agents if agent is None else [agent]:
            if name not in self._signals:
                raise ScenarioError(f"There is no agent '{name}'; there are {', '.join(self.possible_agents)}.")
            print(f"Agent {name}")
            print(describe(self._features[name], self.network, (self._signals[name],)))

    def render(self) -> Any:
        """A picture (height, width, 3) of uint8 with ``rgb_array``; a window with ``human``."""
        return self.task.render()

    def close(self) -> None:
        """End the simulation."""
        self.task.close()


def make_env(scenario: str | Scenario, options: EnvOptions | None = None, **keywords: Unpack[EnvKeywords]) -> SignalEnv:
    """Return a Gymnasium environment for any scenario: a name, a ``.yaml`` path or a Scenario."""
    return SignalEnv(scenario, options, **keywords)


def make_parallel_env(
    scenario: str | Scenario, options: EnvOptions | None = None, **keywords: Unpack[EnvKeywords]
) -> ParallelSignalEnv:
    """Return a PettingZoo parallel environment for any scenario."""
    return ParallelSignalEnv(scenario, options, **keywords)


def make_vec_env(
    scenario: str | Scenario,
    num_envs: int,
    mode: Literal["sync", "async"] = "async",
    options: EnvOptions | None = None,
    **keywords: Unpack[EnvKeywords],
) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    """Return several environments of one scenario as a Gymnasium vector environment.

    Args:
        scenario: as for ``make_env``.
        num_envs: how many; each draws traffic of its own, and ``reset(seed=s)`` gives the seeds s, s + 1 and so on.
        mode: ``async`` simulates them at the same time, in a process each; ``sync`` one after the other.
        options: as for ``make_env``.
        **keywords: fields of ``EnvOptions``.
    """
    if num_envs < 1:
        raise ScenarioError(f"num_envs is {num_envs}; give 1 or more.")
    if mode not in ("sync", "async"):
        raise ScenarioError(f"Unknown mode '{mode}'; choose sync or async.")
    make = functools.partial(SignalEnv, scenario, EnvOptions.of(options, keywords, "global"))
    kind = gymnasium.vector.AsyncVectorEnv if mode == "async" else gymnasium.vector.SyncVectorEnv
    return kind([make] * num_envs)
