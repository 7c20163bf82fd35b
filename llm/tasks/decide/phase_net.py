"""A plain neural network that scores phases from records' numbers: what a language model must be better than.

One small network scores each phase from its own facts, their mean and their maximum over the signal's phases, so any
number of phases in any order will do (Deep Sets, Zaheer et al. 2017); a few of them, trained from different starts,
vote with their mean log-probability (deep ensembles, Lakshminarayanan et al. 2017). Numpy alone runs it, so it can
drive the branches of a simulation, whose process holds no torch; ``llm.tasks.decide.phase_net_training`` trains it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm.tasks.decide.facts import FACTS
from llm.tasks.decide.prompt import PROMPT_VERSION
from scenarios.common.files import read_arrays, read_json

FILE, ABOUT = "phase_net.npz", "phase_net.json"
#: The one that ships.
SHIPPED = Path(__file__).parents[2] / "adapters" / "phase_net"


class PhaseNetError(ValueError):
    """A phase network that cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class PhaseNet:
    """The trained networks.

    Attributes:
        layers: for each layer its weights (members, inputs, outputs) and biases (members, outputs).
    """

    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]

    def scores(self, facts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean log-probabilities of a signal's phases, (..., phases), from their facts, (..., phases, len(FACTS)).

        Signals with as many phases can be scored together; it gives the same to the last bit.
        """
        scaled = np.log1p(np.maximum(facts, 0)).astype(np.float32)
        around = np.concatenate([scaled.mean(axis=-2, keepdims=True), scaled.max(axis=-2, keepdims=True)], axis=-1)
        around = np.broadcast_to(around, (*scaled.shape[:-1], around.shape[-1]))
        values = np.concatenate([scaled, around], axis=-1)[..., None, :, :]
        for number, (weights, biases) in enumerate(self.layers):
            values = values @ weights + biases[:, None]
            if number + 1 < len(self.layers):
                values = np.maximum(values, 0)
        logits = values[..., 0].astype(np.float64)
        logits -= logits.max(axis=-1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        shares: NDArray[np.float64] = logs.mean(axis=-2)
        return shares

    def choose(self, facts: Sequence[NDArray[np.float64]]) -> list[int]:
        """The best phase of each signal from its (phases, len(FACTS)) facts."""
        chosen = np.zeros(len(facts), np.int64)
        counts = np.array([len(rows) for rows in facts], np.int64)
        for count in np.unique(counts):
            places = np.flatnonzero(counts == count).tolist()
            chosen[places] = self.scores(np.stack([facts[place] for place in places])).argmax(axis=-1)
        best: list[int] = chosen.tolist()
        return best

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """Write the weights, and what they were made from."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {
            f"{kind}{i}": value for i, layer in enumerate(self.layers) for kind, value in zip("wb", layer, strict=True)
        }
        np.savez(folder / FILE, **arrays)  # type: ignore[arg-type]
        about = {**about, "facts": list(FACTS), "prompt_version": PROMPT_VERSION}
        (folder / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> PhaseNet:
        """Read what ``save`` wrote.

        Raises:
            PhaseNetError: it is missing, damaged, or reads other facts.
        """
        try:
            about = read_json(folder / ABOUT, allow_nan=True)
            if about["facts"] != list(FACTS):
                raise ValueError("it reads other facts than this version gives")
            arrays = read_arrays(folder / FILE)
            layers = tuple((arrays[f"w{i}"], arrays[f"b{i}"]) for i in range(len(arrays) // 2))
            if not layers or not all(np.isfinite(values).all() for layer in layers for values in layer):
                raise ValueError("its weights are missing or not finite")
            net = cls(layers)
            net.scores(np.zeros((2, len(FACTS))))
        except Exception as error:  # whatever a broken file makes numpy raise
            line = " ".join(str(error).split())[:160]
            raise PhaseNetError(f"Folder {folder} holds no usable phase network ({line}); train it again.") from error
        return net
