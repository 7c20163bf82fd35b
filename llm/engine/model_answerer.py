"""The language model as an answerer: what ``greenloop train`` made of it for a task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llm.backbone import cards
from llm.backbone.loading import Backbone, load
from llm.engine.heads import head_folder, load_head, tensor
from llm.engine.hidden import Reader
from llm.engine.marks import marked
from llm.engine.rows import RowScorer
from llm.tasks.base import Answerer, Choice, Floats, Quantiles, Question, TaskError
from llm.tasks.scores import unscaled


class ModelAnswerer(Answerer):
    """Answers with an adapter, a head, or both, from the run folder of a training.

    A head that found nothing in the text answers from the numbers alone, and no text is read then.

    Args:
        adapter: folder that ``greenloop train TASK`` wrote: ``runs/x/adapter``.
        threads: torch threads of this process.
        device: torch device.
        precision: of a choice's logits: ``fp32``, ``bf16`` or ``auto``.
    """

    def __init__(self, adapter: str = "", threads: int = 1, device: str = "cpu", precision: str = "fp32") -> None:
        if not adapter:
            raise TaskError(
                "The model needs what was trained: name the folder, as in model:adapter=runs/first/adapter."
            )
        self.folder, self.threads, self.device, self.precision = Path(adapter).expanduser(), threads, device, precision
        self._loaded: Any = None

    def reads(self) -> Sequence[Path]:
        """The folder."""
        return (self.folder,)

    def answer(self, questions: Sequence[Question]) -> Floats:
        """What the model says.

        Raises:
            BackboneError: the folder holds nothing for this task, or what it holds is damaged.
        """
        return self._choose(questions) if isinstance(self.task.answer, Choice) else self._ask_head(questions)

    def _choose(self, questions: Sequence[Question]) -> Floats:
        if self._loaded is None:
            made_for = (self.task.name, self.task.prompt_version)
            if cards.read_card(self.folder / "adapter") is not None:  # a run folder
                self.folder = self.folder / "adapter"
            if cards.read_card(self.folder) is None:
                raise TaskError(f"Folder {self.folder} holds no adapter; run 'greenloop train {self.task.name}'.")
            backbone = load(
                _base(self.folder), self.folder, threads=self.threads, device=self.device, made_for=made_for
            )
            self._loaded = RowScorer(backbone, self.precision)
        scorer: RowScorer = self._loaded
        texts = marked(scorer.backbone.tokenizer, [q.text for q in questions], [q.ends for q in questions])
        return np.concatenate(scorer.score_rows([text.cut() for text in texts]))

    def _ask_head(self, questions: Sequence[Question]) -> Floats:
        task = self.task
        if self._loaded is None:
            self.folder = head_folder(self.folder, task.name)
            head, about = load_head(self.folder, task.name, task.answer, task.versions())
            reader = Reader(self._backbone(about)) if head.reads_features else None
            self._loaded = head, reader
        head, reader = self._loaded
        with torch.inference_mode():
            numbers = tensor(np.concatenate([task.features(question) for question in questions]))
            raw = head.plainly(numbers) if reader is None else head(reader.read(questions), numbers)
            if not isinstance(task.answer, Quantiles):
                return np.asarray(torch.sigmoid(raw).double().numpy())
        return unscaled(task, questions, raw.double().numpy())

    def _backbone(self, about: dict[str, Any]) -> Backbone:
        """The model that the head was trained on, with the adapter beside it, if it reads through one."""
        adapter = self.folder if about["adapter_sha256"] else None
        backbone = load(about["base"], adapter, about["layers"], self.threads, self.device)
        found = (backbone.model_sha256, backbone.adapter_sha256, backbone.layers)
        if found != (about["base_sha256"], about["adapter_sha256"], about["layers"]):
            raise TaskError(
                f"The {self.task.name} head in {self.folder} was trained on another model, adapter or number of layers "
                f"({about['base']}, {about['layers']} layers); train it again on this one."
            )
        return backbone


def _base(folder: Path) -> str:
    card = cards.read_card(folder)
    return card.base if card is not None else "default"
