"""The simulation as a Gymnasium environment and as a PettingZoo parallel environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from scenarios import registry
from scenarios.spec import Scenario, ScenarioError
from sim.engine.command import SessionOptions
from sim.engine.session import Session
from sim.features import CLIP, UNSEEN, Features
from sim.network import Network
from sim.observation import Observation
from sim.timings import TIMINGS, Timings

REWARD_SCALE_VEH_S = 100.0
REWARDS = ("local", "global")


class _Task:
    """What both environments share: a scenario, its network, and one session at a time."""

    def __init__(self, scenario: str | Scenario, timings: str | Timings, reward: str, backend: str, gui: bool) -> None:
        self.scenario = scenario if isinstance(scenario, Scenario) else registry.load(scenario)
        if isinstance(timings, str) and timings not in TIMINGS:
            raise ScenarioError(f"Unknown timings '{timings}'; choose one of {', '.join(TIMINGS)}.")
        if reward not in REWARDS:
            raise ScenarioError(f"Unknown reward '{reward}'; choose one of {', '.join(REWARDS)}.")
        self.timings = timings if isinstance(timings, Timings) else TIMINGS[timings]
        self.reward = reward
        self.options = SessionOptions(backend=backend, gui=gui, delays=True, outputs=False)
        self.network = Network.read(self.scenario.net_file)
        self.signals = self.network.controllable
        if not self.signals:
            raise ScenarioError(f"Scenario {self.scenario.name} has no signal that can be controlled.")
        self.session: Session | None = None
        self.observation: Observation | None = None

    def start(self, seed: int) -> Observation:
        self.close()
        self.session = Session(self.scenario, seed, self.timings, self.options)
        self.observation = self.session.start()
        return self.observation

    def step(self, phases: dict[int, int]) -> Observation:
        """Hand the asked phases to the signals that are due; a signal that is not due keeps its phase."""
        if self.session is None or self.observation is None:
            raise gymnasium.error.ResetNeeded("Call reset() before step().")
        due = self.observation.due
        self.observation = self.session.step(
            {self.network.signals[index].id: phase for index, phase in phases.items() if due[index]}
        )
        return self.observation

    @property
    def done(self) -> bool:
        return self.session is None or self.session.done

    def local_rewards(self) -> NDArray[np.float64]:
        assert self.session is not None
        return -self.session.delay.signal_veh_s / REWARD_SCALE_VEH_S

    def global_reward(self) -> float:
        assert self.session is not None
        return -self.session.delay.network_veh_s / REWARD_SCALE_VEH_S

    def info(self) -> dict[str, Any]:
        assert self.observation is not None
        return {"time_s": self.observation.time_s, "due": self.observation.due[[s.index for s in self.signals]]}

    def close(self) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None


def _box(size: int) -> Any:
    return spaces.Box(UNSEEN, CLIP, (size,), np.float32)


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

    Action:
        The phase to show: ``Discrete(phases)`` with one controllable signal, else ``MultiDiscrete`` with one entry per
        controllable signal in the order of ``network.controllable``. A signal that is not due keeps its phase. Minimum
        green, yellow, all-red and maximum red hold whatever is asked.

    Reward:
        Minus the vehicle-seconds of delay in the interval, divided by 100: of all vehicles in the network, those
        waiting outside included (``reward="global"``), or of those on the incoming lanes of the controllable signals
        (``"local"``).

    Episode:
        Starts at the scenario's begin, after its warm-up; a step is one decision interval (5 s by default). Truncated
        at the scenario's end, never terminated. Each episode draws the seed of SUMO, departures and incidents from the
        environment's generator, which ``reset(seed=...)`` sets.

    Info:
        ``time_s``, SUMO's clock, and ``due``, which of the controllable signals can change now.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium declares it so

    def __init__(
        self,
        scenario: str | Scenario,
        timings: str | Timings = "native",
        reward: str = "global",
        backend: str = "libsumo",
        gui: bool = False,
    ) -> None:
        self.task = _Task(scenario, timings, reward, backend, gui)
        self.network = self.task.network
        signals = self.task.signals
        self.features = Features(self.network, tuple(signal.index for signal in signals))
        self.observation_space = _box(self.features.size)
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
        return self.features.vector(observation), self.task.info()

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Ask for phases and simulate one decision interval."""
        asked = np.atleast_1d(np.asarray(action)).tolist()
        signals = self.task.signals
        observation = self.task.step({signal.index: phase for signal, phase in zip(signals, asked, strict=True)})
        if self.task.reward == "global":
            reward = self.task.global_reward()
        else:
            reward = float(self.task.local_rewards()[[signal.index for signal in signals]].sum())
        return self.features.vector(observation), reward, False, self.task.done, self.task.info()

    def close(self) -> None:
        """End the simulation."""
        self.task.close()


class ParallelSignalEnv(ParallelEnv[str, NDArray[np.float32], int]):  # type: ignore[misc] # PettingZoo is untyped
    """The same, with one agent per controllable signal, named by its id.

    Each agent sees its own lanes, exits and signal in the layout of ``SignalEnv``, acts with ``Discrete(phases)``, and
    by default is paid for its own incoming lanes (``reward="local"``). All agents live to the end of the horizon.
    """

    metadata = {"name": "greenloop_v0", "render_modes": []}  # noqa: RUF012 - PettingZoo declares it so

    def __init__(
        self,
        scenario: str | Scenario,
        timings: str | Timings = "native",
        reward: str = "local",
        backend: str = "libsumo",
        gui: bool = False,
    ) -> None:
        self.task = _Task(scenario, timings, reward, backend, gui)
        self.network = self.task.network
        self.render_mode = None
        self._signals = {signal.id: signal for signal in self.task.signals}
        self._features = {name: Features(self.network, (signal.index,)) for name, signal in self._signals.items()}
        self.possible_agents = list(self._signals)
        self.agents: list[str] = []
        self.observation_spaces = {name: _box(features.size) for name, features in self._features.items()}
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
        self.agents = list(self.possible_agents)
        return self._vectors(observation), self._infos(observation)

    def step(
        self, actions: dict[str, int]
    ) -> tuple[
        dict[str, NDArray[np.float32]],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Ask for phases and simulate one decision interval."""
        agents = list(self.agents)
        observation = self.task.step({self._signals[name].index: int(phase) for name, phase in actions.items()})
        local, total = self.task.local_rewards(), self.task.global_reward()
        rewards = {
            name: float(local[self._signals[name].index]) if self.task.reward == "local" else total for name in agents
        }
        done = self.task.done
        if done:
            self.agents = []
        ends = dict.fromkeys(agents, done)
        return self._vectors(observation), rewards, dict.fromkeys(agents, False), ends, self._infos(observation)

    def _vectors(self, observation: Observation) -> dict[str, NDArray[np.float32]]:
        return {name: features.vector(observation) for name, features in self._features.items()}

    def _infos(self, observation: Observation) -> dict[str, dict[str, Any]]:
        return {
            name: {"time_s": observation.time_s, "due": bool(observation.due[signal.index])}
            for name, signal in self._signals.items()
        }

    def render(self) -> None:
        """Nothing to draw; use ``gui=True`` with the traci backend."""

    def close(self) -> None:
        """End the simulation."""
        self.task.close()


def make_env(scenario: str | Scenario, **kwargs: Any) -> SignalEnv:
    """Return a Gymnasium environment for any scenario: a name, a ``.yaml`` path or a Scenario."""
    return SignalEnv(scenario, **kwargs)


def make_parallel_env(scenario: str | Scenario, **kwargs: Any) -> ParallelSignalEnv:
    """Return a PettingZoo parallel environment for any scenario."""
    return ParallelSignalEnv(scenario, **kwargs)
