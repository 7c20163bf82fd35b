"""Gymnasium and PettingZoo, by their own checkers, over every registered environment."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import parallel_api_test, parallel_seed_test

from scenarios import registry
from scenarios.spec import ScenarioError
from sim.env import ParallelSignalEnv, SignalEnv, make_env, make_parallel_env
from sim.registration import ENVIRONMENTS, register

register()


def short(name: str = "cologne1", minutes: float = 2, **changes: object):  # type: ignore[no-untyped-def]
    whole = registry.load(name)
    return whole.with_(end_s=whole.begin_s + 60 * minutes, **changes)


@pytest.mark.parametrize("env_id", ["greenloop/Cologne1-v0", "greenloop/Cologne3-v0"])
def test_check_env(env_id: str) -> None:
    """One signal is asked for a number, several for a list; the other networks differ in size alone."""
    assert env_id in ENVIRONMENTS
    environment = gymnasium.make(env_id)
    check_env(environment.unwrapped, skip_render_check=True)
    environment.close()


@pytest.mark.parametrize("name", ["cologne3", "ingolstadt7"])
def test_parallel_api(name: str) -> None:
    environment = make_parallel_env(short(name))
    parallel_api_test(environment, num_cycles=30)
    environment.close()


def test_parallel_seeds() -> None:
    made: list[ParallelSignalEnv] = []

    def make() -> ParallelSignalEnv:
        made.append(make_parallel_env(short("cologne3")))
        return made[-1]

    parallel_seed_test(make, num_cycles=15)
    for environment in made:
        environment.close()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vector_environments(mode: str) -> None:
    vector = gymnasium.make_vec("greenloop/Cologne1-v0", num_envs=2, vectorization_mode=mode)
    first, _ = vector.reset(seed=3)
    for _ in range(40):
        observation, reward, *_ = vector.step(np.zeros(2, int))
    vector.close()
    assert first.shape == observation.shape == (2, *vector.single_observation_space.shape)
    assert (reward < 0).all()
    assert not np.array_equal(observation[0], observation[1])  # two seeds


def episode(environment: SignalEnv, seed: int) -> list[float]:
    environment.reset(seed=seed)
    rewards, truncated, step = [], False, 0
    while not truncated:
        action = [step // 4 % int(n) for n in np.atleast_1d(getattr(environment.action_space, "nvec", 4))]
        _, reward, terminated, truncated, _ = environment.step(action if len(action) > 1 else action[0])
        assert not terminated
        rewards.append(reward)
        step += 1
    return rewards


def test_an_episode_ends_at_the_horizon_and_repeats_with_its_seed() -> None:
    environment = make_env(short(minutes=4))
    first, again, other = (episode(environment, seed) for seed in (1, 1, 2))
    environment.close()
    assert len(first) == 48
    assert first == again
    assert first != other
    assert sum(first) < 0


def test_several_environments_live_in_one_process() -> None:
    one, two = make_env(short()), make_env(short("cologne3"))
    one.reset(seed=1)
    two.reset(seed=1)
    for _ in range(5):
        one.step(one.action_space.sample())
        two.step(two.action_space.sample())
    one.close()
    two.close()


def test_local_rewards_add_up_to_the_network_s_single_signal() -> None:
    """On cologne1 every vehicle on an incoming lane is also in the network, so local delay cannot exceed global."""
    rewards = {}
    for reward in ("local", "global"):
        environment = make_env(short(minutes=5), reward=reward)
        rewards[reward] = episode(environment, 3)
        environment.close()
    pairs = list(zip(rewards["local"], rewards["global"], strict=True))
    assert all(near >= far - 0.05 for near, far in pairs)
    assert sum(rewards["local"]) < 0


def test_a_dead_detector_reads_minus_one() -> None:
    network = make_env("cologne1").network
    outage = {"type": "detector_outage", "start_s": 0, "duration_s": 100, "edge": network.lane_edge[0]}
    environment = make_env(short(incidents=(outage,)))
    environment.reset(seed=1)
    vector, *_ = environment.step(0)
    environment.close()
    dark = [i for i, edge in enumerate(network.lane_edge) if edge == network.lane_edge[0]]
    for lane in dark:
        np.testing.assert_array_equal(vector[10 * lane : 10 * lane + 10], [-1] * 9 + [0])
    assert environment.observation_space.contains(vector)


def test_step_before_reset_and_unknown_names_say_what_to_do() -> None:
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"Call reset\(\)"):
        make_env(short()).step(0)
    with pytest.raises(ScenarioError, match="did you mean cologne1"):
        make_env("cologn1")
    with pytest.raises(ScenarioError, match="Unknown timings 'nativ'"):
        make_env("cologne1", timings="nativ")
    with pytest.raises(ScenarioError, match="Unknown reward 'both'"):
        make_env("cologne1", reward="both")
