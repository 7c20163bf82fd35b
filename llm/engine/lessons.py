"""Lessons as tensors: token ids with the places of their rows, targets, and what heads read beside the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from llm.engine.marks import marked
from llm.tasks.base import Task
from llm.tasks.questions import Choice, Floats, Lesson

#: An item of a batch: a lesson as plain lists and arrays.
Item = dict[str, Any]


class Lessons(Dataset[Item]):
    """Records as they are shown to the model.

    Args:
        task: whose records they are.
        records: what is shown.
        tokenizer: of the model.
        show: makes a lesson of a record; it is given a generator that follows from seed, epoch and place.
        seed: of the views.

    Attributes:
        epoch: the present one, from 0.
    """

    def __init__(
        self,
        task: Task[Any],
        records: Sequence[Any],
        tokenizer: Any,
        show: Callable[[Any, np.random.Generator, int], Lesson],
        seed: int = 0,
    ) -> None:
        self.task, self.records, self.tokenizer, self.show, self.seed = task, list(records), tokenizer, show, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Item:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        lesson = self.show(self.records[index], rng, self.epoch)
        (text,) = marked(self.tokenizer, [lesson.question.text], [lesson.question.ends])
        item = {"input_ids": text.ids, "places": text.places, "tokens": text.tokens}
        return {**item, **learnt(self.task, lesson)}

    @property
    def lengths(self) -> Floats:
        """(records,) characters of each text, as it is without augmentation."""
        return np.array([len(self.task.question(record).text) for record in self.records], float)


def learnt(task: Task[Any], lesson: Lesson) -> dict[str, Floats]:
    """A lesson's target, weight and label (rows, ...), and the features (rows, K), in the space that is learnt in."""
    target = np.asarray(lesson.target, np.float64)
    label = target if lesson.label is None else lesson.label
    if isinstance(task.answer, Choice):
        return {"target": target, "label": label}
    centre, spread = task.scale(lesson.question)
    features = task.features(lesson.question)
    return {"target": (target - centre) / spread, "weight": spread, "label": label, "features": features}


class Collator:
    """Makes a batch. Pads on the right: attention is causal, so no token of a text ever sees its padding.

    Args:
        pad: the token that pads.
        rows: of the longest question of all.
    """

    def __init__(self, pad: int, rows: int) -> None:
        self.pad, self.rows = pad, rows

    def __call__(self, items: Sequence[Item]) -> dict[str, torch.Tensor]:
        """A batch of tensors.

        ``input_ids`` (batch, tokens), ``ends`` (batch,) last places, ``places`` and ``tokens`` (batch, rows), ``there``
        (batch, rows) whether there is such a row; ``target``, ``weight`` and ``labels`` (batch, rows, ...), NaN where
        there is none, and ``features`` (batch, rows, K).
        """
        longest = max(len(item["input_ids"]) for item in items)
        ids = [item["input_ids"] + [self.pad] * (longest - len(item["input_ids"])) for item in items]
        batch = {
            "input_ids": torch.tensor(ids),
            "ends": torch.tensor([len(item["input_ids"]) - 1 for item in items]),
            "there": torch.tensor([[row < len(item["places"]) for row in range(self.rows)] for item in items]),
        }
        for name in ("places", "tokens"):
            batch[name] = torch.from_numpy(self._padded([np.array(item[name], np.int64) for item in items], 0))
        for name, key in (("target", "target"), ("weight", "weight"), ("label", "labels"), ("features", "features")):
            if name in items[0]:
                values = [np.asarray(item[name], np.float32) for item in items]
                batch[key] = torch.from_numpy(self._padded(values, np.nan if name in ("target", "label") else 0))
        return batch

    def _padded(self, values: Sequence[Any], empty: float) -> Any:
        found = np.full((len(values), self.rows, *values[0].shape[1:]), empty, values[0].dtype)
        for number, value in enumerate(values):
            found[number, : len(value)] = value
        return found


class LikeLengths(Sampler[int]):
    """An order in which each batch has texts of like length, so that little padding is computed, batches shuffled.

    In the first epoch of a fresh adapter, the shorter half of the texts comes before the longer one. Batches sorted
    from long to short, as the Trainer's own grouping has them, or from short to long made the loss swing.
    """

    def __init__(self, data: Lessons, batch: int, fresh: bool) -> None:
        self.data, self.batch, self.fresh = data, batch, fresh
        self.lengths = data.lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        """Every record once, in an order that the seed and the epoch give."""
        rng = np.random.default_rng([self.data.seed, self.data.epoch])
        begins = self.fresh and self.data.epoch == 0
        order, some = rng.permutation(len(self.lengths)), 32 * self.batch
        if begins:
            order = order[np.argsort(self.lengths[order] > np.median(self.lengths), kind="stable")]
        pools = [order[start : start + some] for start in range(0, len(order), some)]
        sorted_order = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        batches = [sorted_order[start : start + self.batch] for start in range(0, len(order), self.batch)]
        *whole, last = batches  # the last may be short, so it stays last
        places = rng.permutation(len(whole))
        if begins:
            places = places[np.argsort(places > len(whole) // 2, kind="stable")]
        for place in (*places, -1):
            yield from (last if place == -1 else whole[place]).tolist()
