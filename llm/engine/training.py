"""The settings of a training, the same for every task."""

from __future__ import annotations

import math
from copy import copy
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from llm.backbone.precision import PRECISIONS
from llm.engine.fit import Fit
from llm.tasks.base import Task, TaskError
from llm.tasks.questions import Choice

#: For choices: changes of the model itself. For heads, ``frozen`` leaves the model alone.
CHOICE_METHODS = ("lora", "adalora", "ia3", "head", "full")
HEAD_METHODS = ("frozen", "lora", "ia3")
#: Methods whose adapters can be gone on from; the shapes of adalora change on the way.
STARTABLE = ("lora", "ia3", "head")


class HeadTraining(BaseModel):
    """What makes a head.

    Attributes:
        numbers: the head reads the plain numbers beside the hidden state, and learns from them first.
        hidden: width of its small networks.
        dropout: of their hidden values.
        members: networks that read the numbers, each from another start.
        plain: how each of these is trained.
        text: how the part that reads the hidden states is trained after it, where the model is frozen.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    numbers: bool = True
    hidden: int = Field(default=128, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    members: int = Field(default=3, ge=1)
    plain: Fit = Fit(epochs=10, patience=3)
    text: Fit = Fit(epochs=30, learning_rate=3e-4, weight_decay=0.1)


class Training(BaseModel):
    """What makes one adapter out of some folders of records.

    Attributes:
        model: as ``llm.backbone.loading.load`` takes it.
        layers: the first so many decoder layers; None for those of ``start`` or of the model.
        start: folder of an adapter to go on from, of as many layers or more and the same method and rank.
        method: ``lora``, ``adalora``, ``ia3``, ``head`` or ``full`` where one of the rows is chosen; ``lora``, ``ia3``
            or ``frozen`` where a head answers.
        rank: of LoRA, AdaLoRA and the change of the output head.
        precision: ``fp32``, ``bf16`` (autocast), or ``auto``: bf16 where the processor multiplies it faster.
        epochs: at most; early stopping may end sooner.
        learning_rate: highest, after a warm-up; it then falls as a cosine.
        batch: records in a step.
        evals_per_epoch: how often validation is measured and a checkpoint written.
        patience: measurements without a gain before it stops.
        train_limit: use only so many training records (0: all), drawn evenly.
        validation_limit: measure on so many validation records at all (0: all).
        eval_limit: records of the measurements on the way (0: all); the first and the last one take all.
        seed: of initialisation and order.
        head: what makes the head, where there is one.
        task: the task's own settings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "default"
    layers: int | None = Field(default=None, ge=1)
    start: str | None = None
    method: str = "lora"
    rank: int = Field(default=16, ge=1)
    precision: str = "auto"
    epochs: float = Field(default=2.0, gt=0, lt=math.inf)
    learning_rate: float = Field(default=5e-4, gt=0, lt=math.inf)
    batch: int = Field(default=32, ge=1)
    evals_per_epoch: int = Field(default=4, ge=1)
    patience: int = Field(default=4, ge=1)
    train_limit: int = Field(default=0, ge=0)
    validation_limit: int = Field(default=0, ge=0)
    eval_limit: int = Field(default=400, ge=0)
    seed: int = Field(default=0, ge=0, lt=2**32)
    head: HeadTraining = HeadTraining()
    task: Any = None


def training_of(task: Task[Any]) -> type[Training]:
    """The settings of a task's trainings: those of all, with the task's own below ``task``, and its defaults."""
    return _training_of(type(task))


@cache
def _training_of(task: type[Task[Any]]) -> type[Training]:
    fields: dict[str, Any] = {"task": (task.teaching, Field(default_factory=task.teaching))}
    for name, value in task.training.items():
        field = copy(Training.model_fields[name])
        field.default = value
        fields[name] = (field.annotation, field)
    kind: type[Training] = create_model("Training", __base__=Training, **fields)
    return kind


def check_training(task: Task[Any], training: Training) -> None:
    """Refuse settings that make no sense for a task.

    Raises:
        TaskError: they do not.
    """
    methods = CHOICE_METHODS if isinstance(task.answer, Choice) else HEAD_METHODS
    if training.method not in methods:
        raise TaskError(f"Task '{task.name}' has no method '{training.method}'; choose one of {', '.join(methods)}.")
    if training.precision not in PRECISIONS:
        raise TaskError(f"There is no precision '{training.precision}'; choose one of {', '.join(PRECISIONS)}.")
    if training.start is None or training.method == "frozen":  # what is frozen may be any task's
        return
    if training.method == "full":
        raise TaskError("A full training changes the model itself: give the model's folder as model, and no start.")
    if training.method not in STARTABLE:
        raise TaskError(
            f"Method {training.method} cannot go on from an adapter; leave start out, or choose one of "
            f"{', '.join(name for name in STARTABLE if name in methods)}."
        )
