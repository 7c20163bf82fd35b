"""Runs a policy that reinforcement learning made (``greenloop train-rl``), with numpy alone.

One small network scores each phase from that phase's own facts, their mean and their maximum over the signal's phases
(Deep Sets, Zaheer et al. 2017). So one set of weights serves every signal, whatever its number of phases and their
order: parameters are shared over signals, as usual for many agents of one kind (Gupta et al. 2017).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.base import Controller, ControllerError
from llm.tasks.decide.facts import FACTS, phase_facts
from scenarios.common.files import read_arrays, read_json
from sim.network import Network, Signal
from sim.observation import Observation
from sim.signals import Decision
from sim.timings import NATIVE, Timings

#: What a policy reads of each phase: the facts as log(1 + x), whether the phase can be asked for now (only the current
#: one while no decision is due), and whether there is such a phase (0 in the rows that fill up to a common length).
COLUMNS = (*FACTS, "allowed", "exists")
ALLOWED, EXISTS = -2, -1
#: The score of a phase that cannot be asked for.
FAR = -1e9
WEIGHTS, CARD = "policy.npz", "card.json"
FORMAT = 1

Rows = NDArray[np.float32]


def phase_rows(network: Network, signal: Signal, observation: Observation, timings: Timings = NATIVE) -> Rows:
    """What a policy reads at one signal, (phases, len(COLUMNS)); every entry is 0 or more."""
    facts = np.log1p(np.maximum(phase_facts(network, signal, observation, timings), 0.0))
    current = int(observation.phase[signal.index])
    allowed = np.ones(len(facts))
    if current >= 0 and not observation.due[signal.index]:
        allowed = (np.arange(len(facts)) == current).astype(float)
    return np.column_stack([facts, allowed, np.ones(len(facts))]).astype(np.float32)


def pad(rows: Rows, slots: int) -> Rows:
    """The same with rows of zeros after it, (slots, len(COLUMNS))."""
    padded = np.zeros((slots, rows.shape[1]), np.float32)
    padded[: len(rows)] = rows
    return padded


@dataclass(frozen=True)
class PhasePolicy:
    """Scores phases: layers of (in, out) weights and (out,) biases, ReLU between them.

    Attributes:
        layers: the weights and biases.
        columns: those of ``COLUMNS`` that they were trained on; older policies do without facts that came later.
    """

    layers: tuple[tuple[Rows, Rows], ...]
    columns: tuple[str, ...] = COLUMNS

    def scores(self, rows: Rows) -> Rows:
        """One score per row; ``FAR`` where the phase cannot be asked for. ``rows`` (..., phases, len(COLUMNS))."""
        rows = rows[..., [COLUMNS.index(name) for name in self.columns]]
        exists = rows[..., EXISTS:]
        mean = (rows * exists).sum(-2, keepdims=True) / np.maximum(exists.sum(-2, keepdims=True), 1)
        most = rows.max(-2, keepdims=True)
        around = np.broadcast_to(np.concatenate([mean, most], -1), (*rows.shape[:-1], 2 * rows.shape[-1]))
        values = np.concatenate([rows, around], -1)
        for weights, biases in self.layers[:-1]:
            values = np.maximum(values @ weights + biases, 0)
        weights, biases = self.layers[-1]
        scored: Rows = np.where(rows[..., ALLOWED] > 0.5, (values @ weights + biases)[..., 0], np.float32(FAR))
        return scored

    def choose(self, signals: Sequence[Rows]) -> list[int]:
        """The best phase of each signal; the first one on a tie."""
        slots = max(len(rows) for rows in signals)
        best = self.scores(np.stack([pad(rows, slots) for rows in signals])).argmax(-1)
        return [int(phase) for phase in best]

    def save(self, folder: Path, card: Mapping[str, Any]) -> None:
        """Write the weights, and the card that says where they come from."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {f"w{k}": weights for k, (weights, _) in enumerate(self.layers)}
        arrays |= {f"b{k}": biases for k, (_, biases) in enumerate(self.layers)}
        np.savez_compressed(folder / WEIGHTS, **arrays)  # type: ignore[arg-type] # numpy's stub takes a flag for an array
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        about = {"format": FORMAT, **card, "columns": list(self.columns), "weights_sha256": digest}
        (folder / CARD).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def load_policy(folder: Path) -> tuple[PhasePolicy, dict[str, Any]]:
    """Read a policy and its card.

    Raises:
        ControllerError: the folder is missing, holds something else, is damaged, or is of another version.
    """
    if not folder.is_dir():
        raise ControllerError(f"There is no folder {folder} with a policy; train one with 'greenloop train-rl'.")
    if not (folder / CARD).is_file() or not (folder / WEIGHTS).is_file():
        inner = sorted(found.parent for found in folder.glob(f"*/{CARD}"))
        hint = f"name one of its policies, such as {inner[0]}" if inner else "train one with 'greenloop train-rl'"
        raise ControllerError(f"Folder {folder} holds no policy ({CARD} and {WEIGHTS}); {hint}.")
    card = _read_card(folder / CARD)
    columns = tuple(str(name) for name in card.get("columns", ()))
    if not set(columns) <= set(COLUMNS) or columns[ALLOWED:] != COLUMNS[ALLOWED:] or card.get("format") != FORMAT:
        raise ControllerError(
            f"The policy in {folder} reads other facts than this greenloop gives; train it again, or use greenloop "
            f"{card.get('versions', {}).get('greenloop', 'of its time')}."
        )
    data = (folder / WEIGHTS).read_bytes()
    if hashlib.sha256(data).hexdigest() != card.get("weights_sha256"):
        raise ControllerError(f"{folder / WEIGHTS} is not what its card says (cut off, or edited); copy it again.")
    return _read_weights(folder / WEIGHTS, columns), card


def _read_card(file: Path) -> dict[str, Any]:
    try:
        card = read_json(file, allow_nan=True)
    except (OSError, ValueError) as error:
        line = " ".join(str(error).split())[:120]
        raise ControllerError(f"The card {file} is damaged ({line}); copy or train the policy again.") from error
    kinds = {"versions": dict, "columns": list}
    if not isinstance(card, dict) or not all(isinstance(card.get(key, kind()), kind) for key, kind in kinds.items()):
        raise ControllerError(f"The card {file} is no card of a policy; copy or train the policy again.")
    return card


def _read_weights(file: Path, columns: tuple[str, ...]) -> PhasePolicy:
    try:
        arrays = read_arrays(file)
        layers = tuple((arrays[f"w{k}"], arrays[f"b{k}"]) for k in range(len(arrays) // 2))
        policy = PhasePolicy(layers, columns)
        if not np.isfinite(policy.scores(np.ones((1, len(COLUMNS)), np.float32))).all():
            raise ValueError("weights that are no numbers")
    except Exception as error:  # whatever a foreign file makes numpy raise
        line = " ".join(str(error).split())[:120]
        raise ControllerError(f"{file} holds no weights of a policy ({line}); copy or train it again.") from error
    return policy


class Reinforcement(Controller):
    """Shows at each due signal the phase that a trained policy finds best; nothing is drawn at random.

    Args:
        folder: a policy of ``greenloop train-rl``, such as ``runs/rl/seed-1``.
    """

    def __init__(self, folder: str = "") -> None:
        if not folder:
            raise ControllerError("Say which policy to run, such as reinforcement:folder=runs/rl/seed-1.")
        self.folder = str(folder)
        self._policy, self._card = load_policy(Path(self.folder))

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Return the best phase of each due signal."""
        due = [signal for signal in self.network.controllable if observation.due[signal.index]]
        if not due:
            return {}
        timings = self.context.timings if self.context else NATIVE
        chosen = self._policy.choose([phase_rows(self.network, signal, observation, timings) for signal in due])
        return {signal.id: phase for signal, phase in zip(due, chosen, strict=True)}

    def provenance(self) -> Mapping[str, str | int | None]:
        """The policy's hash, and how it was trained."""
        names = ("algorithm", "seed", "steps", "weights_sha256")
        return {f"policy_{name}": self._card.get(name) for name in names}
