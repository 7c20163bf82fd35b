"""Every signal of every training simulation as one environment of Stable-Baselines3's vector interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from benchmarks.rl.training_folder import FIRST_SEED, Episode
from controllers.learnt.reinforcement import COLUMNS, Rows, pad, phase_rows
from scenarios.spec import Scenario
from sim.env import ParallelSignalEnv
from sim.timings import Timings

#: Simulations that advance at the same time.
PARALLEL = 2


class SignalsVecEnv(VecEnv):
    """One sub-environment per controllable signal, in the order of the scenarios and of ``possible_agents`` in each.

    Observation (slots, len(COLUMNS)): what ``phase_rows`` says of each phase, then rows of zeros; ``slots`` is the
    largest number of phases. Action: a phase; the policy's networks never choose one whose ``allowed`` is 0, and the
    simulation ignores one that is not due. Reward: as ``ParallelSignalEnv`` has it, local.

    Episodes go in rounds: all scenarios start together, end with the shortest one (truncated, never terminated), and
    start again, each with a seed that follows from policy seed, round and place alone. So a training that was stopped
    goes on exactly where a round began.
    """

    def __init__(self, scenarios: Sequence[Scenario], timings: Timings, policy_seed: int, first_round: int = 0) -> None:
        self.envs = [ParallelSignalEnv(scenario, timings=timings) for scenario in scenarios]
        self.timings, self.policy_seed = timings, policy_seed
        self.slots = max(len(signal.phases) for env in self.envs for signal in env.task.signals)
        horizon_s = min(scenario.horizon_s for scenario in scenarios)
        self.round_steps = max(1, int(horizon_s // timings.decision_interval_s))
        self.round, self.step_in_round = first_round, 0
        self.finished: list[Episode] = []
        self._pool = ThreadPoolExecutor(PARALLEL)
        observation_space = spaces.Box(0.0, np.inf, (self.slots, len(COLUMNS)), np.float32)
        signals = sum(len(env.possible_agents) for env in self.envs)
        super().__init__(signals, observation_space, spaces.Discrete(self.slots))

    def reset(self) -> NDArray[np.float32]:
        """Begin the round; whatever ran is given up."""
        self.step_in_round = 0
        self._rewards = np.zeros(self.num_envs)
        self._delay_veh_s = np.zeros(len(self.envs))
        self._observations = self._gathered(self._start, range(len(self.envs)))
        return self._observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for ``step_wait``."""
        parts = np.split(np.asarray(actions), np.cumsum([len(env.possible_agents) for env in self.envs])[:-1])
        self._actions = [part.tolist() for part in parts]

    def step_wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Advance every simulation by one decision interval, at the end of the round to the next one."""
        rewards = np.concatenate(list(self._pool.map(self._advance, range(len(self.envs)))))
        observations = self._gathered(self._rows, range(len(self.envs)))
        self._rewards += rewards
        self.step_in_round += 1
        done = self.step_in_round == self.round_steps
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if done:
            for info, last in zip(infos, observations, strict=True):
                info |= {"terminal_observation": last, "TimeLimit.truncated": True}
            self.finished += [self._episode(place) for place in range(len(self.envs))]
            self.round += 1
            observations = self.reset()
        return observations, rewards.astype(np.float32), np.full(self.num_envs, done), infos

    def close(self) -> None:
        """End the simulations."""
        self._pool.shutdown()
        for env in self.envs:
            env.close()

    def _start(self, place: int) -> list[Rows]:
        env = self.envs[place]
        env.reset(seed=int(np.random.SeedSequence([self.policy_seed, self.round, place]).generate_state(1)[0]))
        while self._sumo_seed(env) < FIRST_SEED:  # results use these
            env.reset()
        return self._rows(place)

    def _advance(self, place: int) -> NDArray[np.float64]:
        env = self.envs[place]
        _, rewards, *_ = env.step(dict(zip(env.possible_agents, self._actions[place], strict=True)))
        assert env.task.session is not None
        self._delay_veh_s[place] += env.task.session.delay.network_veh_s
        return np.array([rewards[name] for name in env.possible_agents])

    def _rows(self, place: int) -> list[Rows]:
        task = self.envs[place].task
        assert task.observation is not None
        return [
            pad(phase_rows(task.network, signal, task.observation, self.timings), self.slots) for signal in task.signals
        ]

    def _gathered(self, read: Callable[[int], list[Rows]], places: Iterable[int]) -> NDArray[np.float32]:
        return np.stack([rows for found in self._pool.map(read, places) for rows in found])

    def _episode(self, place: int) -> Episode:
        env = self.envs[place]
        assert env.task.session is not None
        first = sum(len(other.possible_agents) for other in self.envs[:place])
        scheduled = int((env.task.session.demand.depart_s < env.task.session.time_s).sum())
        return Episode(
            policy_seed=self.policy_seed,
            round=self.round,
            steps=(self.round + 1) * self.round_steps * self.num_envs,
            scenario=env.task.scenario.name,
            seed=self._sumo_seed(env),
            reward=round(float(self._rewards[first : first + len(env.possible_agents)].mean()), 4),
            delay_s=round(float(self._delay_veh_s[place]) / max(scheduled, 1), 3),
        )

    @staticmethod
    def _sumo_seed(env: ParallelSignalEnv) -> int:
        assert env.task.session is not None
        return env.task.session.seed

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The same value for every sub-environment."""
        value = None if attr_name == "render_mode" else getattr(self, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Not offered: sub-environments share their simulation."""
        raise NotImplementedError("The signals of a simulation have no attributes of their own.")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Not offered: sub-environments share their simulation."""
        raise NotImplementedError("The signals of a simulation have no methods of their own.")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:  # noqa: ARG002
        """No wrapper at all."""
        return [False for _ in self._get_indices(indices)]
