"""How heads are trained: first what reads the plain numbers, on all records, then what reads the hidden states.

A text branch that learns beside the numbers collapses; one that learns what a frozen numeric model leaves over does
not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llm.backbone.loading import Backbone, adapter_sha256
from llm.engine.fit import Rows, fit
from llm.engine.heads import RowHead, row_loss, tensor
from llm.engine.hidden import Reader, check_finite
from llm.engine.lessons import learnt
from llm.engine.training import Training
from llm.records.shards import thinned
from llm.tasks.base import Curriculum, Task
from llm.tasks.questions import Lesson


def rows_of(task: Task[Any], lessons: Sequence[Lesson]) -> Rows:
    """All rows of some lessons; the features are the inputs. Weights have a mean of one."""
    found = [learnt(task, lesson) for lesson in lessons]
    features, target, weight = (
        np.concatenate([one[name] for one in found]) for name in ("features", "target", "weight")
    )
    return Rows((tensor(features),), tensor(target), tensor(weight / weight.mean(axis=0)))


def plain_head(task: Task[Any], curriculum: Curriculum, backbone: Backbone, training: Training) -> RowHead:
    """A head that answers from the plain numbers, and from nothing where it reads none; no text is read yet."""
    how = training.head
    width = int(backbone.model.config.hidden_size)
    train = rows_of(task, [curriculum.plain(record) for record in curriculum.train])
    validation = rows_of(task, [curriculum.plain(record) for record in curriculum.validation])
    torch.manual_seed(how.plain.seed)
    numbers = train.inputs[0].shape[1] if how.numbers else 0
    head = RowHead(task.answer, width, numbers, how.hidden, how.dropout, how.members)
    loss = partial(row_loss, task.answer)
    for number in range(head.members):
        member_how = how.plain.model_copy(update={"seed": how.plain.seed + number})
        fit(head.member(number), loss, train, validation, member_how)
    return head


def fit_frozen(
    task: Task[Any], reader: Reader, curriculum: Curriculum, shown: Sequence[Any], training: Training
) -> tuple[RowHead, dict[str, Any]]:
    """Train a head on a model that stays as it is.

    Returns:
        The head, and its losses on the validation records: from the numbers, the best, and how many epochs.

    Raises:
        BackboneError: the tokenizer joins marks, or the model's states are not finite.
    """
    head = plain_head(task, curriculum, reader.backbone, training)
    lessons = [curriculum.plain(record) for record in shown]
    held = [curriculum.plain(record) for record in curriculum.validation]
    features, held_features = (reader.read([lesson.question for lesson in some]) for some in (lessons, held))
    check_finite(features, held_features)
    head.scale_to(features)
    head.plain.requires_grad_(False)
    train, validation = (
        replace(rows, inputs=(states, *rows.inputs))
        for rows, states in ((rows_of(task, lessons), features), (rows_of(task, held), held_features))
    )
    losses = fit(head, partial(row_loss, task.answer), train, validation, training.head.text)
    return head, {"plain": round(losses[0], 5), "best": round(min(losses), 5), "epochs": len(losses) - 1}


def about_base(task: Task[Any], backbone: Backbone, adapter: Path | None) -> dict[str, Any]:
    """The model, adapter and versions that a head was trained on, for the file beside it."""
    sha256 = backbone.adapter_sha256 if adapter is None else adapter_sha256(adapter)
    return {
        "base": backbone.name,
        "base_sha256": backbone.model_sha256,
        "adapter_sha256": sha256,
        "layers": backbone.layers,
        **task.versions(),
    }


def scaled_to_some(head: RowHead, reader: Reader, curriculum: Curriculum, records: Sequence[Any]) -> RowHead:
    """A head whose features have mean 0 and spread 1 on some of the records, for a training that changes the model."""
    some = [curriculum.plain(record).question for record in thinned(list(records), 200)]
    features = reader.read(some)
    check_finite(features)
    head.scale_to(features)
    return head
