"""Trains policies by reinforcement learning: one per seed, all kept, the last weights and never the best episode's.

Stable-Baselines3's DQN or PPO learns on ``ParallelSignalEnv``: every signal of every scenario acts with the same
weights and is paid for the delay on its own incoming lanes. With one signal that is the published habit of training on
the network that is scored; with many it is parameter sharing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.results import provenance
from benchmarks.rl import training_folder as rl_runs
from benchmarks.rl.training_folder import Episode, Training, TrainingError
from controllers.base import ControllerError
from controllers.learnt.reinforcement import load_policy
from llm.records.shards import only_writer
from scenarios.spec import Scenario
from sim.timings import TIMINGS

if TYPE_CHECKING:
    from benchmarks.rl.checkpoints import Keeper
    from benchmarks.rl.vector_env import SignalsVecEnv

#: Wall time between two checkpoints, s.
CHECKPOINT_S = 30.0
EXTRA = "Training policies needs Stable-Baselines3; install it with: pip install 'greenloop[rl]'"
#: Training episodes whose mean delay the card tells.
LAST_EPISODES = 10

Tell = Callable[[Episode, float], None]


def check_extra() -> None:
    """Make sure that Stable-Baselines3 is installed.

    Raises:
        TrainingError: it is not.
    """
    if find_spec("stable_baselines3") is None:
        raise TrainingError(EXTRA)


def train(
    training: Training, seeds: Sequence[int], out: Path, tell: Tell, checkpoint_s: float = CHECKPOINT_S
) -> list[dict[str, Any]]:
    """Train one policy per seed; finished ones found in ``out`` are kept, a stopped one goes on.

    Args:
        training: what to train.
        seeds: of initialisation, exploration and, mixed with the round, the simulations.
        out: folder of the training; see ``benchmarks.rl.training_folder``.
        tell: called with each finished episode and the share of its policy's training that is done.
        checkpoint_s: least wall time between two checkpoints, s.

    Returns:
        The cards of the policies, in the order of the seeds.

    Raises:
        TrainingError, ScenarioError: one sentence each.
        KeyboardInterrupt: passed on; the last checkpoint is on disk.
    """
    check_extra()
    scenarios = rl_runs.load_scenarios(training)
    rl_runs.open_folder(training, out)
    with only_writer(out, TrainingError):
        runs = [_Run(training, scenarios, seed, out, tell, checkpoint_s) for seed in seeds]
        return [_finished(out, run.seed) or run.train() for run in runs]


def _finished(out: Path, seed: int) -> dict[str, Any] | None:
    try:
        return load_policy(rl_runs.policy_folder(out, seed))[1]
    except ControllerError:
        return None


class _Run:
    """The training of one policy."""

    def __init__(
        self, training: Training, scenarios: list[Scenario], seed: int, out: Path, tell: Tell, checkpoint_s: float
    ) -> None:
        self.training, self.scenarios, self.seed, self.out = training, scenarios, seed, out
        self.tell, self.checkpoint_s = tell, checkpoint_s
        self.checkpoints = out / "checkpoints" / f"seed-{seed}"

    def train(self) -> dict[str, Any]:
        """Train from the start or the last checkpoint to the end; write and return the card."""
        import torch

        from benchmarks.rl import checkpoints as rl_checkpoints
        from benchmarks.rl.policies import export, make_model
        from benchmarks.rl.vector_env import SignalsVecEnv

        torch.set_num_threads(1)
        found = rl_checkpoints.latest(self.checkpoints)
        state: dict[str, Any] = rl_checkpoints.state_of(found) if found else {"round": 0, "wall_s": 0.0}
        self.episodes = self._episodes_before(state["round"])
        env = SignalsVecEnv(self.scenarios, TIMINGS[self.training.timings], self.seed, state["round"])
        try:
            self.rounds = self.training.rounds(env.round_steps, env.num_envs)
            total = self.rounds * env.round_steps * env.num_envs
            model = make_model(self.training.algorithm, env, self.seed, env.round_steps, total)
            if found:
                rl_checkpoints.restore(found, model)
            keeper = rl_checkpoints.Keeper(env, self.checkpoints, self.checkpoint_s, self._note)
            keeper.before_s = state["wall_s"]
            model.learn(total - model.num_timesteps, callback=keeper, reset_num_timesteps=False)
            card = self._card(env, keeper)
            export(model).save(rl_runs.policy_folder(self.out, self.seed), card)
        finally:
            env.close()
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        if not any(self.checkpoints.parent.glob("*")):
            shutil.rmtree(self.checkpoints.parent, ignore_errors=True)
        return card

    def _episodes_before(self, round_: int) -> list[Episode]:
        """Rows of ``curves.csv`` that stay: other seeds' and this one's before the checkpoint."""
        return [row for row in rl_runs.read_curves(self.out) if row.policy_seed != self.seed or row.round < round_]

    def _note(self, episode: Episode) -> None:
        self.episodes.append(episode)
        rl_runs.write_curves(self.out, self.episodes)
        self.tell(episode, (episode.round + 1) / self.rounds)

    def _card(self, env: SignalsVecEnv, keeper: Keeper) -> dict[str, Any]:
        mine = [row.delay_s for row in self.episodes if row.policy_seed == self.seed]
        return {
            "algorithm": self.training.algorithm,
            "scenarios": {s.name: s.sha256() for s in self.scenarios},
            "timings": self.training.timings,
            "signals": env.num_envs,
            "phases": env.slots,
            "seed": self.seed,
            "on_scored_network": self.training.on_scored_network,
            "simulated_h": round(self.rounds * env.round_steps * env.timings.decision_interval_s / 3600, 2),
            "simulation_seeds": f"{rl_runs.FIRST_SEED} and above",
            "rounds": self.rounds,
            "steps": keeper.num_timesteps,
            "wall_s": round(keeper.wall_s, 1),
            "training_delay_s": round(float(np.mean(mine[-LAST_EPISODES:])), 2),
            "command": self._command(),
            "versions": provenance.versions() | _versions(),
            "machine": provenance.machine(),
        }

    def _command(self) -> str:
        """How to make this policy again."""
        scenarios = " ".join(f"--scenario {name}" for name in self.training.scenarios)
        training = self.training
        minutes = "" if training.minutes is None else f" --minutes {training.minutes:g}"
        budget = f"--steps {training.steps}" if training.hours is None else f"--hours {training.hours:g}"
        scored = " --on-scored-network" if training.on_scored_network else ""
        return (
            f"greenloop train-rl --algorithm {training.algorithm} {scenarios} {budget} --seeds {self.seed}-{self.seed} "
            f"--timings {training.timings} --copies {training.copies}{minutes}{scored}"
        )


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("stable-baselines3", "gymnasium")}
