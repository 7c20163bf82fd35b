"""DQN in one file, for any Gymnasium environment with one discrete action (Mnih et al. 2015).

Run as a script; nothing in it knows traffic signals: python single_file_dqn.py --env-id CartPole-v1
"""

from __future__ import annotations

import argparse
import copy

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics
from torch import nn


def make(env_id: str):
    return lambda: RecordEpisodeStatistics(gymnasium.make(env_id))


class Buffer:
    """The last transitions, as arrays."""

    def __init__(self, size: int, inputs: int) -> None:
        self.arrays = [np.zeros((size, width), np.float32) for width in (inputs, 1, 1, inputs, 1)]
        self.size, self.at, self.full = size, 0, 0

    def add(self, *columns: np.ndarray) -> None:
        for row in zip(*columns, strict=True):
            for array, value in zip(self.arrays, row, strict=True):
                array[self.at] = value
            self.at, self.full = (self.at + 1) % self.size, min(self.full + 1, self.size)

    def sample(self, rng: np.random.Generator, count: int) -> list[torch.Tensor]:
        rows = rng.integers(self.full, size=count)
        return [torch.from_numpy(array[rows]) for array in self.arrays]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--env-id", default="CartPole-v1")
    parser.add_argument("--total-timesteps", type=int, default=50_000)
    parser.add_argument("--num-envs", type=int, default=2)
    parser.add_argument("--learning-starts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    gamma, batch, target_every = 0.99, 64, 200
    rng = np.random.default_rng(args.seed)
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    envs = SyncVectorEnv([make(args.env_id)] * args.num_envs, autoreset_mode=AutoresetMode.SAME_STEP)
    envs.single_action_space.seed(args.seed)
    inputs, actions = int(np.prod(envs.single_observation_space.shape)), int(envs.single_action_space.n)
    network = nn.Sequential(nn.Linear(inputs, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, actions))
    target = copy.deepcopy(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-4)
    buffer = Buffer(10_000, inputs)

    observation, _ = envs.reset(seed=args.seed)
    for step in range(args.num_envs, args.total_timesteps + 1, args.num_envs):
        epsilon = max(0.05, 1 - step / (0.5 * args.total_timesteps))
        with torch.no_grad():
            action = network(torch.as_tensor(observation, dtype=torch.float32)).argmax(-1).numpy()
        explore = rng.random(args.num_envs) < epsilon
        action = np.where(explore, [envs.single_action_space.sample() for _ in range(args.num_envs)], action)
        found, reward, terminated, _, info = envs.step(action)
        after = found.copy()  # the observation that an episode ended with, where one did
        for place in np.flatnonzero(info.get("_final_info", [])):
            after[place] = info["final_obs"][place]
            episode = info["final_info"]["episode"]
            print(f"step={step} episodic_return={episode['r'][place]:.2f} length={episode['l'][place]}", flush=True)
        buffer.add(observation, action[:, None], reward[:, None], after, terminated[:, None])
        observation = found
        if step <= args.learning_starts:
            continue
        before, acted, paid, later, ended = buffer.sample(rng, batch)
        with torch.no_grad():
            wanted = paid + gamma * target(later).max(-1, keepdim=True).values * (1 - ended)
        loss = nn.functional.mse_loss(network(before).gather(1, acted.long()), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step // target_every > (step - args.num_envs) // target_every:
            target.load_state_dict(network.state_dict())
            print(f"step={step} loss={loss.item():.4f}", flush=True)
    envs.close()


if __name__ == "__main__":
    main()
