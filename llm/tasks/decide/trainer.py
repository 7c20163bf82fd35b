"""The Trainer that learns phases: records as token ids and soft targets, the loss over the phase letters' logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler
from transformers import Trainer, TrainerCallback

from llm.engine.marks import marked
from llm.tasks.decide.prompt import with_arrivals
from llm.tasks.decide.records import Record, reordered, soft_targets
from llm.tasks.decide.scorer import phase_marks

METHODS = ("lora", "adalora", "ia3", "prefix", "head", "full")
#: Those that can leave single layers out; AdaLoRA moves its ranks between all of them, the others train no layers.
FREEZABLE = ("lora", "ia3", "full")
#: Where the forecast in a training prompt comes from; "none" leaves it out.
FORECAST_SOURCES = ("none", "persistence", "reference", "own")
#: Cost of the phases of a record without costs, in a batch; all others count from 0.
UNKNOWN = -1.0
_FAR = -1e9


@dataclass(frozen=True)
class Training:
    """What makes one adapter out of one folder of records.

    Attributes:
        model: as ``llm.backbone.loading.load`` takes it.
        layers: the first so many decoder layers; None for all.
        freeze: the first so many of these are not trained (0: none); with ``start`` they keep what its adapter learnt.
        start: folder of an adapter to go on from, of as many layers or more and the same method and rank;
            None for a fresh one.
        teacher: folder of the plain neural network to learn from, ``shipped`` for the one that ships; None fits one on
            the same records.
        method: one of ``METHODS``.
        rank: of LoRA, AdaLoRA and the change of the output head; number of virtual tokens of prefix tuning.
        horizon_s: which of the recorded costs to learn.
        temperature_veh_s: cost that makes a phase's share smaller by a factor of e.
        distil: the part of each target that comes from the plain neural network, which has averaged the drivers' dice
            out; the rest is the soft target of the record's own costs. All of it where a record has no costs.
        sharpen: power of the plain network's shares in the target. Its shares are soft, because it was taught with
            soft targets; the clearer they are, the sooner the language model begins to learn.
        precision: ``fp32``, ``bf16`` (autocast), or ``auto``: bf16 where the processor multiplies it faster.
        epochs: at most; early stopping may end sooner.
        learning_rate: highest, after a warm-up; it then falls as a cosine.
        batch: records in a step.
        evals_per_epoch: how often validation is measured and a checkpoint written.
        patience: measurements without a gain before it stops.
        train_limit: use only so many training records (0: all), drawn evenly.
        eval_limit: records of the measurements on the way (0: all); the first and the last one take all.
        min_spread_veh_s: records whose phases cost the same within this teach nothing and are left out.
        seed: of initialisation and order.
    """

    model: str = "default"
    layers: int | None = 8
    freeze: int = 0
    start: str | None = None
    teacher: str | None = None
    method: str = "lora"
    rank: int = 16
    horizon_s: float = 60.0
    temperature_veh_s: float = 40.0
    distil: float = 0.7
    sharpen: float = 4.0
    precision: str = "auto"
    epochs: float = 2.0
    learning_rate: float = 5e-4
    batch: int = 32
    evals_per_epoch: int = 4
    patience: int = 4
    train_limit: int = 0
    eval_limit: int = 400
    min_spread_veh_s: float = 1.0
    seed: int = 0


class PhaseDataset(Dataset[dict[str, Any]]):
    """Records as token ids, soft targets and costs.

    With ``reorder``, each epoch has the phases in another order and, after the first, the forecast from another source
    or none, so that one adapter reads them all. ``teacher`` gives the shares that are mixed into the targets; in the
    first epoch they are the targets: a model begins to read the facts far sooner when the targets are clean.
    """

    def __init__(
        self, records: Sequence[Record], tokenizer: Any, training: Training, reorder: bool, teacher: Any = None
    ) -> None:
        self.records, self.tokenizer, self.training, self.reorder = list(records), tokenizer, training, reorder
        self.teacher = teacher if training.distil else None
        self.epoch = 0

    @property
    def begins(self) -> bool:
        """Whether this is the first epoch of a fresh adapter."""
        return self.epoch == 0 and self.training.start is None

    def _target(self, record: Record) -> NDArray[np.float64]:
        if self.teacher is None:
            return soft_targets(record.cost(self.training.horizon_s), self.training.temperature_veh_s)
        scores = self.training.sharpen * self.teacher.scores(np.array(record.facts))
        taught: NDArray[np.float64] = np.exp(scores - scores.max())
        taught /= taught.sum()
        if not record.horizons_s or (self.begins and self.reorder):
            return taught
        own = soft_targets(record.cost(self.training.horizon_s), self.training.temperature_veh_s)
        return (1 - self.training.distil) * own + self.training.distil * taught

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.records[index]
        costs = record.cost(self.training.horizon_s) if record.horizons_s else np.full(record.phases, np.inf)
        targets, prompt = self._target(record), record.prompt
        if self.reorder:
            rng = np.random.default_rng([self.training.seed, self.epoch, index])
            known = [name for name in FORECAST_SOURCES if name == "none" or name in record.next_veh]
            source = "none" if self.begins else known[rng.integers(len(known))]
            prompt = with_arrivals(prompt, record.next_veh.get(source, ()))
            order = rng.permutation(record.phases).tolist()
            costs, targets, prompt = costs[order], targets[order], reordered(prompt, order)
        (text,) = marked(self.tokenizer, [prompt], [phase_marks(prompt, record.phases)])
        return {"input_ids": text.ids, "places": text.places, "costs": costs, "targets": targets}


class Collator:
    """Makes a batch. Pads on the right: attention is causal, so no token of a prompt ever sees its padding."""

    def __init__(self, pad: int, width: int) -> None:
        self.pad, self.width = pad, width

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Token ids (batch, tokens), last places (batch,), ends of lines (batch, width), targets, and costs as labels.

        Targets (batch, width) are the shares of the phases. Costs (batch, width) are NaN where there is no such phase
        and ``UNKNOWN`` where the record has none.
        """
        longest = max(len(item["input_ids"]) for item in items)
        ids = [item["input_ids"] + [self.pad] * (longest - len(item["input_ids"])) for item in items]
        targets = np.zeros((len(items), self.width), dtype=np.float32)
        places = np.zeros((len(items), self.width), dtype=np.int64)
        costs = np.full((len(items), self.width), np.nan, dtype=np.float32)
        for row, item in enumerate(items):
            phases, cheapest = len(item["costs"]), item["costs"].min()
            targets[row, :phases] = item["targets"]
            places[row, :phases] = item["places"]
            costs[row, :phases] = item["costs"] - cheapest if np.isfinite(cheapest) else UNKNOWN
        return {
            "input_ids": torch.tensor(ids),
            "ends": torch.tensor([len(item["input_ids"]) - 1 for item in items]),
            "places": torch.from_numpy(places),
            "targets": torch.from_numpy(targets),
            "labels": torch.from_numpy(costs),
        }


class LikeLengths(Sampler[int]):
    """An order in which each batch has prompts of like length, so that little padding is computed, batches shuffled.

    In the first epoch, the shorter half of the prompts comes before the longer one. Batches sorted from long to short,
    as the Trainer's own grouping has them, or from short to long made the loss swing.
    """

    def __init__(self, data: PhaseDataset, batch: int) -> None:
        self.data, self.batch = data, batch
        self.lengths = np.array([len(record.prompt) for record in data.records])

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        """Every record once, in an order that the seed and the epoch give."""
        rng = np.random.default_rng([self.data.training.seed, self.data.epoch])
        order, some = rng.permutation(len(self.lengths)), 32 * self.batch
        if self.data.begins:
            order = order[np.argsort(self.lengths[order] > np.median(self.lengths), kind="stable")]
        pools = [order[start : start + some] for start in range(0, len(order), some)]
        sorted_order = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        batches = [sorted_order[start : start + self.batch] for start in range(0, len(order), self.batch)]
        *whole, last = batches  # the last may be short, so it stays last
        places = rng.permutation(len(whole))
        if self.data.begins:
            places = places[np.argsort(places > len(whole) // 2, kind="stable")]
        for place in (*places, -1):
            yield from (last if place == -1 else whole[place]).tolist()


class PhaseTrainer(Trainer):  # type: ignore[misc]
    """The Trainer with the loss over the phase letters.

    Attributes:
        by_line: read each phase's letter at the end of its line, as all that is trained here; a model that nothing has
            been taught yet is measured by the letters after the prompt's end.
    """

    def __init__(self, *arguments: Any, letters: list[int], rows_suffice: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.letters, self.rows_suffice, self.by_line = letters, rows_suffice, True

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **_: Any) -> Any:
        """Cross-entropy of the letters' shares against the soft targets."""
        logits = self.letter_logits(model, inputs)
        loss = -(inputs["targets"] * torch.log_softmax(logits, -1)).sum(-1).mean()
        return (loss, logits) if return_outputs else loss

    def prediction_step(self, model: Any, inputs: dict[str, Any], *_: Any, **__: Any) -> Any:
        """Loss, letters' logits and costs of a batch."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad():
            loss, logits = self.compute_loss(model, inputs, return_outputs=True)
        return loss.detach(), logits.detach(), inputs["labels"]

    def _get_train_sampler(self, *_: Any) -> Any:
        return LikeLengths(self.train_dataset, self.args.per_device_train_batch_size)

    def letter_logits(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """(batch, letters) logits of the phases' letters; those of phases that do not exist are far below."""
        ids, ends = inputs["input_ids"], inputs["ends"]
        places = inputs["places"] if self.by_line else ends[:, None].expand_as(inputs["places"])
        if self.rows_suffice:
            logits = self._letters_at(model, ids, places)
        else:
            mask = (torch.arange(ids.shape[1], device=ids.device)[None] <= ends[:, None]).long()
            whole = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            rows = torch.arange(len(ids), device=ids.device)[:, None]
            # an adapter with virtual tokens answers for these, too, ahead of the prompt's
            logits = whole[rows, places + whole.shape[1] - ids.shape[1], torch.tensor(self.letters, device=ids.device)]
        masked: torch.Tensor = logits.masked_fill(inputs["labels"].isnan(), _FAR)
        return masked

    def _letters_at(self, model: Any, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(batch, letters) logits, each letter's at its own place."""
        network = model.get_base_model() if hasattr(model, "get_base_model") else model
        # The Trainer's own autocast wraps the whole model's forward, which is not called here.
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self.args.bf16):
            hidden = network.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        there = hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))
        head = network.get_output_embeddings()
        bias = 0.0 if head.bias is None else head.bias[self.letters].float()
        with torch.autocast(hidden.device.type, enabled=False):  # the letters' logits lie close together
            logits: torch.Tensor = (there.float() * _rows(head, self.letters).float()).sum(-1) + bias
        return logits


def _rows(head: Any, letters: list[int]) -> torch.Tensor:
    """The output head's weights of some tokens, with what an adapter of the head adds to them."""
    rows: torch.Tensor = head.weight[letters]
    for name in getattr(head, "active_adapters", ()):
        rows = rows + head.scaling[name] * head.lora_B[name].weight[letters] @ head.lora_A[name].weight
    return rows


class EpochCallback(TrainerCallback):  # type: ignore[misc]
    """Tells the dataset which epoch it is, also after a resume."""

    def __init__(self, data: PhaseDataset) -> None:
        self.data = data

    def on_epoch_begin(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        """Set the epoch."""
        self.data.epoch = int(state.epoch or 0)


class AdaLoraCallback(TrainerCallback):  # type: ignore[misc]
    """AdaLoRA moves its rank budget after each step."""

    def on_optimizer_step(self, _: Any, state: Any, *__: Any, model: Any = None, **___: Any) -> None:
        """Move the budget."""
        model.base_model.update_and_allocate(state.global_step)


def regret_metrics(prediction: Any) -> dict[str, float]:
    """Mean cost of the chosen phase above the cheapest (veh-s), and the share of decisions that are the cheapest.

    Over the records with costs; empty if none has any.
    """
    costs = np.asarray(prediction.label_ids)
    chosen = np.asarray(prediction.predictions).argmax(axis=1)
    found = costs[np.arange(len(chosen)), chosen]
    found = found[found != UNKNOWN]
    if not len(found):
        return {}
    return {"regret_veh_s": float(found.mean()), "cheapest_share": float((found <= 1e-9).mean())}
