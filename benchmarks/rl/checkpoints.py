"""What a stopped training of a policy goes on from: model, replay buffer and random numbers at the start of a round.

A round begins with fresh simulations whose seeds follow from its number, so the training that goes on makes the same
policy, bit for bit, as one that was never stopped.

A checkpoint is arrays (``.npz``) and JSON: whoever can write to the folder can change numbers, and no more. Pickles,
and with them SB3's own files, run whatever code they hold when they are read.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from benchmarks.rl.training_folder import Episode, TrainingError
from benchmarks.rl.vector_env import SignalsVecEnv
from scenarios.common.errors import shorten
from scenarios.common.files import read_arrays, read_json

ARRAYS, STATE = "arrays.npz", "state.json"
#: What older versions left; it is not read.
PICKLE = "state.pkl"
#: What SB3's models count, where they have it.
COUNTERS = (
    "num_timesteps",
    "_total_timesteps",
    "_num_timesteps_at_start",
    "_current_progress_remaining",
    "_episode_num",
    "_n_updates",
    "_n_calls",
    "exploration_rate",
)
#: The rows of a replay buffer.
COLUMNS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


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
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    arrays = {"numpy": keys, "torch": torch.get_rng_state().numpy()}
    state: dict[str, Any] = {
        "round": round_,
        "wall_s": wall_s,
        "numpy": [kind, position, has_gauss, gauss],
        "counters": {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)},
    }
    for name, tensor in model.policy.state_dict().items():
        arrays[f"policy/{name}"] = tensor.numpy()
    for index, moments in model.policy.optimizer.state_dict()["state"].items():
        arrays |= {f"optimizer/{index}/{name}": tensor.numpy() for name, tensor in moments.items()}
    if isinstance(model, OffPolicyAlgorithm):
        buffer: Any = model.replay_buffer
        rows = buffer.buffer_size if buffer.full else buffer.pos
        state["buffer"] = [buffer.pos, buffer.full]
        arrays |= {f"buffer/{name}": getattr(buffer, name)[:rows] for name in COLUMNS}
    np.savez(draft / ARRAYS, **arrays)  # type: ignore[arg-type] # numpy's stub takes a flag for an array
    (draft / STATE).write_text(json.dumps(state), encoding="utf-8")
    draft.rename(final)
    for old in _all(folder)[:-1]:
        shutil.rmtree(old)


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint."""
    return next(iter(reversed(_all(folder))), None)


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("round-*"))


def state_of(checkpoint: Path) -> dict[str, Any]:
    """Round, wall time, counters and random numbers of a checkpoint.

    Raises:
        TrainingError: it is damaged, or of a version that wrote pickles.
    """
    if (checkpoint / PICKLE).exists():
        raise TrainingError(
            f"Checkpoint {checkpoint} holds pickles, as older versions wrote them; they can run code and are not read: "
            "remove it to train this policy from the start."
        )
    try:
        state: dict[str, Any] = read_json(checkpoint / STATE)
        if not (state["round"] >= 0 and math.isfinite(state["wall_s"])):
            raise ValueError("its round or wall time is no count")
        return {name: state[name] for name in ("round", "wall_s", "numpy", "counters")} | {
            "buffer": state.get("buffer")
        }
    except Exception as error:  # whatever a foreign file makes Python raise
        raise _damaged(checkpoint, error) from error


def restore(checkpoint: Path, model: BaseAlgorithm) -> None:
    """Bring a fresh model, and numpy's and torch's random numbers, to where they were.

    Raises:
        TrainingError: the checkpoint is damaged.
    """
    state = state_of(checkpoint)
    try:
        arrays = read_arrays(checkpoint / ARRAYS)
        _restore(model, state, arrays)
        kind, position, has_gauss, gauss = state["numpy"]
        np.random.set_state((kind, arrays["numpy"], position, has_gauss, gauss))
        torch.set_rng_state(torch.tensor(arrays["torch"]))
    except Exception as error:  # whatever a foreign file makes numpy and torch raise
        raise _damaged(checkpoint, error) from error


def _restore(model: BaseAlgorithm, state: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    def part(name: str) -> dict[str, NDArray[Any]]:
        start = f"{name}/"
        return {key.removeprefix(start): array for key, array in arrays.items() if key.startswith(start)}

    for name, value in state["counters"].items():
        if name not in COUNTERS or type(value) is not type(getattr(model, name)):
            raise ValueError(f"{name} is no counter")
        setattr(model, name, value)
    model.policy.load_state_dict({name: torch.tensor(array) for name, array in part("policy").items()})
    optimizer = model.policy.optimizer.state_dict()
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, array in part("optimizer").items():
        index, _, moment = name.partition("/")
        moments.setdefault(int(index), {})[moment] = torch.tensor(array)
    model.policy.optimizer.load_state_dict({**optimizer, "state": moments})
    if isinstance(model, OffPolicyAlgorithm):
        buffer: Any = model.replay_buffer
        columns = part("buffer")
        for name in COLUMNS:
            getattr(buffer, name)[: len(columns[name])] = columns[name]
        position, is_full = state["buffer"]
        buffer.pos, buffer.full = int(position), bool(is_full)


def _damaged(checkpoint: Path, error: Exception) -> TrainingError:
    line = shorten(str(error), 120) or type(error).__name__
    return TrainingError(f"Checkpoint {checkpoint} is damaged ({line}); remove it to train this policy from the start.")
