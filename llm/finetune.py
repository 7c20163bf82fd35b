"""Fine-tuning: labelled records to an adapter, with the transformers Trainer and PEFT.

The model reads a prompt and only the logits of the phase letters at the last token count. Loss: cross-entropy against
soft targets that fall with each phase's cost. Every epoch shows each record with its phases in another order. The
adapter with the least regret on the validation records is kept. A killed run goes on from its last checkpoint.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments

from llm import adapters, dataset
from llm.backbone import Backbone, load
from llm.dataset import Record, reordered, soft_targets
from llm.scorer import PhaseScorer, letter_ids

METHODS = ("lora", "adalora", "ia3", "prefix", "full")
SETTINGS_FILE = "training.json"
_FAR = -1e9


class TrainingError(RuntimeError):
    """A training that cannot run; the message is one sentence that says what to do."""


@dataclass(frozen=True)
class Training:
    """What makes one adapter out of one folder of records.

    Attributes:
        model: as ``llm.backbone.load`` takes it.
        layers: the first so many decoder layers; None for all.
        method: one of ``METHODS``.
        rank: of LoRA and AdaLoRA; number of virtual tokens of prefix tuning.
        horizon_s: which of the recorded costs to learn.
        temperature_veh_s: cost that makes a phase's share smaller by a factor of e.
        epochs: at most; early stopping may end sooner.
        learning_rate: highest, after a warm-up; it then falls as a cosine.
        batch: records in a step.
        evals_per_epoch: how often the validation regret is measured and a checkpoint written.
        patience: measurements without a gain before it stops.
        train_limit: use only so many training records (0: all), drawn evenly.
        eval_limit: records of the measurements on the way (0: all); the last one takes all.
        min_spread_veh_s: records whose phases cost the same within this teach nothing and are left out.
        seed: of initialisation and order.
    """

    model: str = "default"
    layers: int | None = 10
    method: str = "lora"
    rank: int = 16
    horizon_s: float = 30.0
    temperature_veh_s: float = 5.0
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
    """Records as token ids and costs; with ``reorder``, each epoch has the phases in another order."""

    def __init__(self, records: Sequence[Record], tokenizer: Any, training: Training, reorder: bool) -> None:
        self.records, self.tokenizer, self.training, self.reorder = list(records), tokenizer, training, reorder
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.records[index]
        costs, prompt = record.cost(self.training.horizon_s), record.prompt
        if self.reorder:
            rng = np.random.default_rng([self.training.seed, self.epoch, index])
            order = rng.permutation(record.phases).tolist()
            costs, prompt = costs[order], reordered(prompt, order)
        return {"input_ids": self.tokenizer(prompt)["input_ids"], "costs": costs}


class _Collator:
    """Pads on the right: attention is causal, so a prompt's last token never sees its padding."""

    def __init__(self, pad: int, width: int, temperature_veh_s: float) -> None:
        self.pad, self.width, self.temperature_veh_s = pad, width, temperature_veh_s

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(item["input_ids"]) for item in items)
        ids = [item["input_ids"] + [self.pad] * (longest - len(item["input_ids"])) for item in items]
        targets, costs = np.zeros((2, len(items), self.width), dtype=np.float32)
        costs[:] = np.nan
        for row, item in enumerate(items):
            phases = len(item["costs"])
            targets[row, :phases] = soft_targets(item["costs"], self.temperature_veh_s)
            costs[row, :phases] = item["costs"] - item["costs"].min()
        ends = [len(item["input_ids"]) - 1 for item in items]
        return {
            "input_ids": torch.tensor(ids),
            "ends": torch.tensor(ends),
            "targets": torch.from_numpy(targets),
            "labels": torch.from_numpy(costs),
        }


class PhaseTrainer(Trainer):  # type: ignore[misc]
    """The Trainer with the loss over the phase letters."""

    def __init__(self, *arguments: Any, letters: list[int], rows_suffice: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.letters, self.rows_suffice = letters, rows_suffice

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

    def letter_logits(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """(batch, letters) logits at each prompt's last token; those of phases that do not exist are far below."""
        ids, ends = inputs["input_ids"], inputs["ends"]
        rows = torch.arange(len(ends), device=ends.device)
        if self.rows_suffice:
            network = model.get_base_model() if hasattr(model, "get_base_model") else model
            hidden = network.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[rows, ends]
            head = network.get_output_embeddings()
            bias = None if head.bias is None else head.bias[self.letters]
            logits = torch.nn.functional.linear(hidden, head.weight[self.letters], bias)
        else:
            mask = (torch.arange(ids.shape[1], device=ids.device)[None] <= ends[:, None]).long()
            whole = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            logits = whole[rows, ends + whole.shape[1] - ids.shape[1]][:, self.letters]
        masked: torch.Tensor = logits.masked_fill(inputs["labels"].isnan(), _FAR)
        return masked


class _Epoch(TrainerCallback):  # type: ignore[misc]
    """Tells the dataset which epoch it is, also after a resume."""

    def __init__(self, data: PhaseDataset) -> None:
        self.data = data

    def on_epoch_begin(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        """Set the epoch."""
        self.data.epoch = int(state.epoch or 0)


class _AdaLora(TrainerCallback):  # type: ignore[misc]
    """AdaLoRA moves its rank budget after each step."""

    def on_optimizer_step(self, _: Any, state: Any, *__: Any, model: Any = None, **___: Any) -> None:
        """Move the budget."""
        model.base_model.update_and_allocate(state.global_step)


def train(
    training: Training, records: Path, out: Path, threads: int = 1, device: str = "cpu", quiet: bool = False
) -> dict[str, Any]:
    """Train an adapter, or go on where a killed run was; returns the metrics that its card shows.

    Args:
        training: what to do.
        records: folder of ``greenloop collect``.
        out: run folder: checkpoints, learning curve, and in the end ``adapter/``.
        threads: torch threads.
        device: ``cpu`` or ``cuda``.
        quiet: no progress bar.

    Raises:
        RecordError: the records are missing, damaged, or made for another prompt version.
        BackboneError: the model cannot be had.
        TrainingError: the settings make no sense, or the folder holds another training.
    """
    _check(training)
    _claim(out, training, records)
    data = {split: dataset.read_split(records, split) for split in dataset.SPLITS}
    backbone = load(training.model, layers=training.layers, threads=threads, device=device)
    trainer = _trainer(training, backbone, _teaching(data["train"], training), data["validation"], out, quiet)
    before = trainer.evaluate() if not _checkpoint(out) else _noted(out)
    _note(out, before)
    try:
        trainer.train(resume_from_checkpoint=_checkpoint(out))
    except RuntimeError as error:
        if "out of memory" in str(error) or "allocate memory" in str(error):
            raise TrainingError(
                f"Training ran out of memory; take a smaller batch than {training.batch}, fewer layers, or run it on "
                "another device. The same command goes on from the last checkpoint."
            ) from error
        raise
    trainer.eval_dataset = PhaseDataset(data["validation"], backbone.tokenizer, training, reorder=False)
    after = trainer.evaluate()
    if not math.isfinite(after["eval_loss"]):
        raise TrainingError("Training ended with a loss that is not finite; take a lower learning rate.")
    metrics = _metrics(training, data, before, after, trainer)
    adapters.write_card(out / "adapter", _card(training, backbone, records, metrics))
    _save(trainer, training, out / "adapter", backbone)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    return metrics


# --- parts


def _check(training: Training) -> None:
    if training.method not in METHODS:
        raise TrainingError(f"There is no method '{training.method}'; choose one of {', '.join(METHODS)}.")
    for name in ("temperature_veh_s", "learning_rate", "epochs", "batch", "rank", "evals_per_epoch"):
        if not getattr(training, name) > 0:
            raise TrainingError(f"The option {name} is {getattr(training, name)}; give a number above 0.")


def _claim(out: Path, training: Training, records: Path) -> None:
    """Note what is trained here, so that a resumed run cannot be another one.

    Raises:
        TrainingError: the folder holds another training.
    """
    manifest = dataset.read_manifest(records)
    about = {**asdict(training), "records_sha256": dataset.manifest_sha256(records), "format": manifest["format"]}
    file = out / SETTINGS_FILE
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
        if differing := sorted(key for key in about if found.get(key) != about[key]):
            raise TrainingError(
                f"Folder {out} holds a training with other {', '.join(differing)}; choose another folder."
            )
    else:
        dataset.write_bytes(file, json.dumps(about, indent=1).encode())


def _teaching(records: list[Record], training: Training) -> list[Record]:
    """The records that teach something, evenly thinned to the limit."""
    spread = [float(np.ptp(record.cost(training.horizon_s))) for record in records]
    kept = [record for record, gap in zip(records, spread, strict=True) if gap >= training.min_spread_veh_s]
    if not kept:
        raise TrainingError("No training record has phases of different costs; collect more.")
    return _thinned(kept, training.train_limit)


def _thinned(records: list[Record], limit: int) -> list[Record]:
    if not 0 < limit < len(records):
        return records
    return [records[i] for i in np.linspace(0, len(records) - 1, limit).round().astype(int)]


def _trainer(
    training: Training, backbone: Backbone, train: list[Record], validation: list[Record], out: Path, quiet: bool
) -> PhaseTrainer:
    width = max(record.phases for record in (*train, *validation))
    letters = letter_ids(backbone.tokenizer, width)
    rows_suffice = PhaseScorer(backbone).rows_suffice and training.method != "prefix"
    steps_per_epoch = math.ceil(len(train) / training.batch)
    model = _adapted(training, backbone, math.ceil(steps_per_epoch * training.epochs))
    shown = PhaseDataset(train, backbone.tokenizer, training, reorder=True)
    measured = PhaseDataset(_thinned(validation, training.eval_limit), backbone.tokenizer, training, reorder=False)
    callbacks: list[Any] = [_Epoch(shown), EarlyStoppingCallback(training.patience)]
    return PhaseTrainer(
        model=model,
        args=_arguments(training, steps_per_epoch, out, backbone.device, quiet),
        data_collator=_Collator(backbone.tokenizer.pad_token_id or 0, width, training.temperature_veh_s),
        train_dataset=shown,
        eval_dataset=measured,
        compute_metrics=regret_metrics,
        callbacks=[*callbacks, _AdaLora()] if training.method == "adalora" else callbacks,
        letters=letters,
        rows_suffice=rows_suffice,
    )


def _arguments(training: Training, steps_per_epoch: int, out: Path, device: str, quiet: bool) -> TrainingArguments:
    every = max(1, steps_per_epoch // training.evals_per_epoch)
    return TrainingArguments(
        output_dir=str(out / "checkpoints"),
        num_train_epochs=training.epochs,
        learning_rate=training.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, round(0.05 * steps_per_epoch * training.epochs)),
        per_device_train_batch_size=training.batch,
        per_device_eval_batch_size=64,
        train_sampling_strategy="group_by_length",
        eval_strategy="steps",
        save_strategy="steps",
        logging_strategy="steps",
        eval_steps=every,
        save_steps=every,
        logging_steps=max(1, every // 4),
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="regret_veh_s",
        greater_is_better=False,
        remove_unused_columns=False,
        report_to=_reporters(),
        use_cpu=device == "cpu",
        dataloader_pin_memory=False,
        seed=training.seed,
        disable_tqdm=quiet,
    )


def _reporters() -> list[str]:
    from importlib.util import find_spec

    return ["tensorboard"] if find_spec("tensorboard") else []


def _adapted(training: Training, backbone: Backbone, steps: int) -> Any:
    """The model with a fresh adapter, its own weights frozen."""
    network = backbone.model.train()
    if training.method == "full":
        return network
    import peft

    linear = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    names = {name.rpartition(".")[2] for name, _ in network.named_modules()}
    options: dict[str, Any] = {"task_type": "CAUSAL_LM"}
    targets = [name for name in linear if name in names] or "all-linear"
    low_rank = {"lora_alpha": 2 * training.rank, "lora_dropout": 0.0, "target_modules": targets}
    config = {
        "lora": lambda: peft.LoraConfig(r=training.rank, **low_rank, **options),
        "adalora": lambda: peft.AdaLoraConfig(
            init_r=training.rank,
            target_r=max(1, training.rank // 2),
            total_step=steps,
            tinit=steps // 10,
            tfinal=steps // 3,
            deltaT=max(1, steps // 50),
            **low_rank,
            **options,
        ),
        "ia3": lambda: peft.IA3Config(**options),
        "prefix": lambda: peft.PrefixTuningConfig(num_virtual_tokens=training.rank, **options),
    }[training.method]()
    torch.manual_seed(training.seed)
    return peft.get_peft_model(network, config)


def regret_metrics(prediction: Any) -> dict[str, float]:
    """Mean cost of the chosen phase above the cheapest (veh-s), and the share of decisions that are the cheapest."""
    costs = np.asarray(prediction.label_ids)
    chosen = np.asarray(prediction.predictions).argmax(axis=1)
    found = costs[np.arange(len(chosen)), chosen]
    return {"regret_veh_s": float(found.mean()), "cheapest_share": float((found <= 1e-9).mean())}


def _checkpoint(out: Path) -> str | None:
    """The newest complete checkpoint; the state file is written last, so one that a kill cut short has none."""
    found = [path for path in (out / "checkpoints").glob("checkpoint-*") if _is_complete(path)]
    return str(max(found, key=lambda path: int(path.name.rpartition("-")[2]))) if found else None


def _is_complete(checkpoint: Path) -> bool:
    try:
        return "global_step" in json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _note(out: Path, before: dict[str, float]) -> None:
    dataset.write_bytes(out / "before.json", json.dumps(before).encode())


def _noted(out: Path) -> dict[str, float]:
    try:
        return dict(json.loads((out / "before.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _save(trainer: PhaseTrainer, training: Training, folder: Path, backbone: Backbone) -> None:
    if training.method == "full":
        trainer.model.save_pretrained(folder)
        backbone.tokenizer.save_pretrained(folder)
    else:
        trainer.model.save_pretrained(folder, save_embedding_layers=False)
    for leftover in folder.glob("README.md"):  # PEFT's own, empty card; ours is CARD.md
        leftover.unlink()


def _metrics(
    training: Training,
    data: dict[str, list[Record]],
    before: dict[str, float],
    after: dict[str, float],
    trainer: PhaseTrainer,
) -> dict[str, Any]:
    validation, horizon_s = data["validation"], training.horizon_s
    names = sorted(set.intersection(*(set(record.choices) for record in validation)))
    rivals = {
        name: dataset.regret_veh_s(validation, [record.choices[name] for record in validation], horizon_s)
        for name in names
    }
    rivals["phase_net"] = phase_net_regret(data, training)
    rivals["random"] = float(np.mean([(r.cost(horizon_s) - r.cost(horizon_s).min()).mean() for r in validation]))
    return {
        "train_records": len(data["train"]),
        "taught_records": len(trainer.train_dataset),
        "validation_records": len(validation),
        "untuned_regret_veh_s": before.get("eval_regret_veh_s"),
        "regret_veh_s": after["eval_regret_veh_s"],
        "cheapest_share": after["eval_cheapest_share"],
        "rivals_regret_veh_s": rivals,
        "history": trainer.state.log_history,
    }


def phase_net_regret(data: dict[str, list[Record]], training: Training) -> float:
    """Validation regret of the plain neural network on the same records, best epoch kept as here."""
    from llm.phase_net import fit

    _, regrets = fit(
        _teaching(data["train"], training), data["validation"], training.horizon_s, training.temperature_veh_s
    )
    return min(regrets)


def _card(training: Training, backbone: Backbone, records: Path, metrics: dict[str, Any]) -> adapters.Card:
    return adapters.Card(
        base=backbone.name,
        base_sha256=backbone.model_sha256,
        layers=backbone.layers,
        training=asdict(replace(training, model=backbone.name)),
        records_sha256=dataset.manifest_sha256(records),
        metrics={name: value for name, value in metrics.items() if name != "history"},
    )
