"""PPO in one file, for any Gymnasium environment with one discrete action (Schulman et al. 2017).

Run as a script; nothing in it knows traffic signals: python single_file_ppo.py --env-id CartPole-v1
"""

from __future__ import annotations

import argparse

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics
from torch import nn


def make(env_id: str):
    return lambda: RecordEpisodeStatistics(gymnasium.make(env_id))


class Agent(nn.Module):
    def __init__(self, inputs: int, actions: int) -> None:
        super().__init__()
        self.critic = nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
        self.actor = nn.Sequential(
            nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, actions)
        )

    def policy(self, observation: torch.Tensor) -> torch.distributions.Categorical:
        return torch.distributions.Categorical(logits=self.actor(observation))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--env-id", default="CartPole-v1")
    parser.add_argument("--total-timesteps", type=int, default=50_000)
    parser.add_argument("--num-envs", type=int, default=2)
    parser.add_argument("--num-steps", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    gamma, gae_lambda, clip = 0.99, 0.95, 0.2
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)

    envs = SyncVectorEnv([make(args.env_id)] * args.num_envs, autoreset_mode=AutoresetMode.SAME_STEP)
    inputs, actions = int(np.prod(envs.single_observation_space.shape)), int(envs.single_action_space.n)
    agent = Agent(inputs, actions)
    optimizer = torch.optim.Adam(agent.parameters(), lr=2.5e-4, eps=1e-5)

    def tensor(array) -> torch.Tensor:
        return torch.as_tensor(np.asarray(array), dtype=torch.float32)

    found, _ = envs.reset(seed=args.seed)
    step, done = 0, torch.zeros(args.num_envs)
    while step < args.total_timesteps:
        rollout = []  # one tuple a step: observation, action, log-probability, reward, done before, value
        for _ in range(args.num_steps):
            observation = tensor(found)
            with torch.no_grad():
                policy = agent.policy(observation)
                action = policy.sample()
                value = agent.critic(observation).squeeze(-1)
            found, reward, terminated, truncated, info = envs.step(action.numpy())
            rollout.append((observation, action, policy.log_prob(action), tensor(reward), done, value))
            done = tensor(terminated | truncated)
            step += args.num_envs
            for place in np.flatnonzero(info.get("_final_info", [])):
                episode = info["final_info"]["episode"]
                print(f"step={step} episodic_return={episode['r'][place]:.2f} length={episode['l'][place]}", flush=True)

        observations, chosen, log_probs, rewards, dones, values = (
            torch.stack(part) for part in zip(*rollout, strict=True)
        )
        advantages, last = torch.zeros_like(rewards), torch.zeros(args.num_envs)
        with torch.no_grad():
            next_value, alive = agent.critic(tensor(found)).squeeze(-1), 1 - done
        for t in reversed(range(args.num_steps)):
            delta = rewards[t] + gamma * next_value * alive - values[t]
            advantages[t] = last = delta + gamma * gae_lambda * alive * last
            next_value, alive = values[t], 1 - dones[t]
        returns = advantages + values

        flat = [part.flatten(0, 1) for part in (observations, chosen, log_probs, advantages, returns)]
        for _ in range(4):
            for batch in torch.randperm(len(flat[0])).split(len(flat[0]) // 4):
                seen, acted, before, advantage, target = (part[batch] for part in flat)
                policy = agent.policy(seen)
                ratio = (policy.log_prob(acted) - before).exp()
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                gain = torch.min(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage).mean()
                error = (agent.critic(seen).squeeze(-1) - target).square().mean()
                loss = 0.5 * error - gain - 0.01 * policy.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
        print(f"step={step} loss={loss.item():.4f}", flush=True)
    envs.close()


if __name__ == "__main__":
    main()
