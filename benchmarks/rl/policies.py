"""Stable-Baselines3's DQN and PPO with a network that scores phases, and never one that cannot be asked for.

What cannot be asked for (a row that only fills up, or any other phase while none is due) gets the score -1e9: as a
logit it is never drawn, as a value never the largest. DQN's random actions are drawn from what is allowed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn

from controllers.learnt.reinforcement import ALLOWED, COLUMNS, EXISTS, FAR, PhasePolicy

HIDDEN = 64
#: Discount per decision of 5 s: what happens within about 100 s counts.
GAMMA = 0.95
#: Longest rollout of PPO between two updates, decisions of each signal.
PPO_STEPS = 120


def _pooled(rows: torch.Tensor) -> torch.Tensor:
    """Mean and maximum over the phases that exist: (batch, slots, columns) -> (batch, 2 columns)."""
    exists = rows[..., EXISTS:]
    mean = (rows * exists).sum(-2) / exists.sum(-2).clamp(min=1)
    return torch.cat([mean, rows.amax(-2)], -1)


def _as_rows(features: torch.Tensor) -> torch.Tensor:
    """SB3 flattens observations: (batch, slots * columns) -> (batch, slots, columns)."""
    return features.reshape(len(features), -1, len(COLUMNS))


class PhaseScores(nn.Module):
    """One score per slot, the same network for each: (batch, slots * columns) -> (batch, slots)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 * len(COLUMNS), HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The scores; ``FAR`` where a phase cannot be asked for."""
        rows = _as_rows(features)
        around = _pooled(rows)[:, None].expand(-1, rows.shape[1], -1)
        scores: torch.Tensor = self.layers(torch.cat([rows, around], -1)).squeeze(-1)
        return scores.masked_fill(rows[..., ALLOWED] < 0.5, FAR)


class ActorAndCritic(nn.Module):
    """What SB3 calls the MLP extractor of PPO: logits for the actor, hidden values for the critic."""

    def __init__(self, slots: int) -> None:
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = slots, HIDDEN
        self.scores = PhaseScores()
        self.critic = nn.Sequential(
            nn.Linear(2 * len(COLUMNS), HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()
        )

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both."""
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of the phases, (batch, slots)."""
        scores: torch.Tensor = self.scores(features)
        return scores

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        """Hidden values, (batch, HIDDEN)."""
        hidden: torch.Tensor = self.critic(_pooled(_as_rows(features)))
        return hidden


class PhaseActorCritic(ActorCriticPolicy):
    """PPO's policy: the scores are the logits."""

    mlp_extractor: ActorAndCritic  # type: ignore[assignment]

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = ActorAndCritic(int(self.action_space.n))  # type: ignore[attr-defined]

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        self.action_net = nn.Identity()  # instead of one more layer, which would mix the phases
        last: Any = self.mlp_extractor.scores.layers[-1]
        last.weight.data.mul_(0.01)  # nearly equal chances at first, as SB3 has it
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]


class PhaseQNetwork(QNetwork):
    """DQN's network: the scores are the values."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.q_net = PhaseScores()  # type: ignore[assignment]


class PhaseDQNPolicy(DQNPolicy):
    """DQN's policy with that network."""

    def make_q_net(self) -> QNetwork:
        """Return a network of its own."""
        return PhaseQNetwork(**self._update_features_extractor(self.net_args)).to(self.device)


class PhaseDQN(DQN):
    """DQN whose random actions are drawn from what is allowed, for each signal on its own."""

    def _sample_action(
        self,
        learning_starts: int,
        action_noise: Any = None,  # noqa: ARG002 - SB3's, for continuous actions
        n_envs: int = 1,
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        rows = self._last_obs
        assert isinstance(rows, np.ndarray)
        actions, _ = self.policy.predict(rows, deterministic=True)
        chance = 1.0 if self.num_timesteps < learning_starts else self.exploration_rate
        lots = np.random.random(rows.shape[:2]) * (rows[..., ALLOWED] > 0.5)
        explored = np.where(np.random.random(n_envs) < chance, lots.argmax(-1), actions)
        return explored, explored


def make_model(algorithm: str, env: VecEnv, seed: int, round_steps: int, total_steps: int) -> BaseAlgorithm:
    """A fresh model for the signals of ``env``, on one CPU thread."""
    shared: dict[str, Any] = {"env": env, "gamma": GAMMA, "seed": seed, "device": "cpu", "verbose": 0}
    if algorithm == "dqn":
        return PhaseDQN(PhaseDQNPolicy, **shared, **dqn_settings(env.num_envs, round_steps, total_steps))
    return PPO(PhaseActorCritic, **shared, **ppo_settings(env.num_envs, round_steps))


def dqn_settings(signals: int, round_steps: int, total_steps: int) -> dict[str, Any]:
    """DQN's settings (Mnih et al. 2015), sized for tens of thousands of decisions."""
    return {
        "learning_rate": 5e-4,
        "buffer_size": max(signals, min(total_steps, 50_000)),
        "learning_starts": min(1_000, total_steps // 10),
        "batch_size": 128,
        "train_freq": (2 - round_steps % 2, "step"),  # divides a round
        "gradient_steps": max(1, signals // 4),
        "target_update_interval": 500 * signals,
        "exploration_fraction": 0.3,
        "exploration_final_eps": 0.02,
    }


def ppo_settings(signals: int, round_steps: int) -> dict[str, Any]:
    """PPO's settings (Schulman et al. 2017); rollouts divide a round, so that rounds end with one."""
    steps = max(n for n in range(1, PPO_STEPS + 1) if round_steps % n == 0)
    steps = steps if steps * signals > 1 else round_steps  # PPO needs more than one transition
    rollout = steps * signals
    batches = max(1, rollout // 128)
    return {
        "learning_rate": 1e-3,
        "n_steps": steps,
        "batch_size": rollout // max(n for n in range(1, batches + 1) if rollout % n == 0),
        "n_epochs": 8,
        "gae_lambda": 0.9,
        "ent_coef": 0.005,
    }


def export(model: BaseAlgorithm) -> PhasePolicy:
    """The policy's weights without SB3 and torch."""
    policy: Any = model.policy
    scores: PhaseScores = policy.q_net.q_net if isinstance(model, DQN) else policy.mlp_extractor.scores
    linear = [layer for layer in scores.layers if isinstance(layer, nn.Linear)]
    return PhasePolicy(
        tuple((layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()) for layer in linear)
    )
