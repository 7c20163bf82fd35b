"""What a stopped training of a policy goes on from: model, replay buffer and random numbers at the start of a round.

A round begins with fresh simulations whose seeds follow from its number, so the training that goes on makes the same
policy, bit for bit, as one that was never stopped.
"""

from __future__ import annotations

import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from benchmarks.rl.policies import model_class
from benchmarks.rl.training_folder import Episode, TrainingError
from benchmarks.rl.vector_env import SignalsVecEnv

MODEL, BUFFER, STATE = "model.zip", "buffer.pkl", "state.pkl"


class Keeper(BaseCallback):
    """Tells of finished episodes, and writes a checkpoint at the first start of a round after ``every_s`` seconds."""

    def __init__(self, env: SignalsVecEnv, folder: Path, every_s: float, tell: Callable[[Episode], None]) -> None:
        super().__init__()
        self.env, self.folder, self.every_s, self.tell = env, folder, every_s, tell
        self.started_s = self.saved_s = time.perf_counter()
        self.before_s = 0.0  # wall time before this start
        self.saved_round = env.round

    @property
    def wall_s(self) -> float:
        """Wall time of the whole training so far, s."""
        return self.before_s + time.perf_counter() - self.started_s

    def _on_step(self) -> bool:
        for episode in self.env.finished:
            self.tell(episode)
        self.env.finished.clear()
        return True

    def _on_rollout_start(self) -> None:
        fresh = self.env.step_in_round == 0 and self.env.round > self.saved_round
        if fresh and time.perf_counter() - self.saved_s >= self.every_s:
            save(self.folder, self.model, self.env.round, self.wall_s)
            self.saved_round, self.saved_s = self.env.round, time.perf_counter()


def save(folder: Path, model: BaseAlgorithm, round_: int, wall_s: float) -> None:
    """Write a checkpoint; the one before it goes only when this one is complete."""
    draft, final = folder / "draft", folder / f"round-{round_:06d}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    model.save(draft / MODEL)
    if isinstance(model, OffPolicyAlgorithm):
        model.save_replay_buffer(draft / BUFFER)
    state = {"round": round_, "wall_s": wall_s, "numpy": np.random.get_state(), "torch": torch.get_rng_state()}
    (draft / STATE).write_bytes(pickle.dumps(state))
    draft.rename(final)
    for old in _all(folder)[:-1]:
        shutil.rmtree(old)


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint."""
    return next(iter(reversed(_all(folder))), None)


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("round-*"))


def state_of(checkpoint: Path) -> dict[str, Any]:
    """Round, wall time and random numbers of a checkpoint.

    Raises:
        TrainingError: it is damaged.
    """
    try:
        state: dict[str, Any] = pickle.loads((checkpoint / STATE).read_bytes())
        return {name: state[name] for name in ("round", "wall_s", "numpy", "torch")}
    except Exception as error:  # whatever a damaged file makes pickle raise
        raise _damaged(checkpoint, error) from error


def restore(checkpoint: Path, algorithm: str, env: SignalsVecEnv) -> BaseAlgorithm:
    """The model as it was, ready to go on, and numpy's and torch's random numbers as they were.

    Raises:
        TrainingError: the checkpoint is damaged.
    """
    state = state_of(checkpoint)
    try:
        model = model_class(algorithm).load(checkpoint / MODEL, env=env, device="cpu")
        if isinstance(model, OffPolicyAlgorithm):
            model.load_replay_buffer(checkpoint / BUFFER)
    except Exception as error:  # whatever a damaged file makes SB3 raise
        raise _damaged(checkpoint, error) from error
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    return model


def _damaged(checkpoint: Path, error: Exception) -> TrainingError:
    line = " ".join(str(error).split())[:120] or type(error).__name__
    return TrainingError(f"Checkpoint {checkpoint} is damaged ({line}); remove it to train this policy from the start.")
