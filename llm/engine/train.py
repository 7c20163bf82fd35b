"""One trainer for every task: records to an adapter, a head, or both, with the transformers Trainer and PEFT.

The model reads a question, and only its rows' marks count: the logit of the mark's own token there where one row is
chosen, and otherwise what a head makes of the hidden state there. The state with the least loss on the validation
records is kept. One command at a time works on a folder, and a killed one goes on from its last checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import EarlyStoppingCallback, PrinterCallback, TrainingArguments

from llm.backbone import cards
from llm.backbone.loading import Backbone, load
from llm.backbone.precision import BF16, out_of_memory_as, resolve
from llm.engine import run_folder
from llm.engine.adapt import adapted, check_fits, check_start, quick, save_adapter
from llm.engine.head_training import about_base, fit_frozen, plain_head, scaled_to_some
from llm.engine.heads import RowHead, save_head
from llm.engine.hidden import Reader
from llm.engine.lessons import Collator, Lessons
from llm.engine.row_trainer import AdaLoraCallback, EpochCallback, RowTrainer
from llm.engine.rows import rows_suffice
from llm.engine.training import Training, check_training, training_of
from llm.records.shards import only_writer, thinned
from llm.records.splits import SPLITS
from llm.tasks.base import Curriculum, Schooling, Task, TaskError
from llm.tasks.files import files, learnt_splits
from llm.tasks.questions import Choice
from scenarios.common.experiment import write_experiment


@dataclass(frozen=True)
class Machine:
    """Where a training runs: what does not change its result.

    Attributes:
        threads: torch threads.
        device: ``cpu`` or ``cuda``.
        quiet: no progress bar.
        commands: what the card says makes it again.
    """

    threads: int = 1
    device: str = "cpu"
    quiet: bool = False
    commands: tuple[str, ...] = ()


def train(
    task: Task[Any], training: Training, records: Sequence[Path], out: Path, machine: Machine | None = None
) -> dict[str, Any]:
    """Train, or go on where a killed run was; returns the metrics that the card shows.

    A training that ended is not done again: its metrics are read.

    Args:
        task: what is learnt.
        training: how.
        records: folders of ``greenloop collect TASK``.
        out: run folder: the whole configuration, checkpoints, metrics, and in the end ``adapter/``.
        machine: where.

    Raises:
        RecordError: the records are missing, damaged, of another task or version.
        BackboneError: the model cannot be had, or the adapter to go on from is another task's.
        TaskError: the settings make no sense, the folder holds another training, or the memory is out.
    """
    machine = machine or Machine()
    check_training(task, training)
    if training.method != "frozen":
        check_start(training, task.name, task.prompt_version)
    shards = files(task)
    data = {split: [r for folder in records for r in _split(shards, folder, split, records)] for split in SPLITS}
    data["validation"] = thinned(data["validation"], training.validation_limit)
    schooling = Schooling(training.task, data["train"], data["validation"], out, training.start is None)
    curriculum = task.curriculum(schooling)
    frozen_adapter = Path(training.start) if training.start is not None and training.method == "frozen" else None
    backbone = load(training.model, frozen_adapter, _layers(training), machine.threads, machine.device)
    if training.start is not None and frozen_adapter is None:
        check_fits(backbone, Path(training.start))
    sha256 = " ".join(shards.sha256(folder, learnt_splits(task)) for folder in records)
    about = {"trains": task.name, "prompt_version": task.prompt_version, "format": task.record_format}
    defaults = training_of(task)().model_dump(mode="json")
    settings = training.model_dump(mode="json")
    # Only now: what is refused leaves no folder that refuses the mended command.
    run_folder.claim(out, {**settings, **about, "records_sha256": sha256}, {**defaults, **about})
    with only_writer(out, TaskError):
        if metrics := run_folder.ended(out):
            return metrics
        write_experiment(training, out / run_folder.EXPERIMENT_FILE)
        work = _Work(task, training, curriculum, backbone, out, machine)
        no_memory = TaskError(
            f"Training ran out of memory; give a smaller batch than {training.batch} or fewer layers, with another run "
            "folder, or go on from the last checkpoint with the same command where there is more memory."
        )
        with out_of_memory_as(no_memory):
            curriculum.begin()
            metrics = work.frozen() if training.method == "frozen" else work.tuned()
        counts = {"train_records": len(data["train"]), "taught_records": len(curriculum.train)}
        metrics = {**counts, "validation_records": len(data["validation"]), **metrics}
        work.save(metrics, sha256)
        run_folder.end(out, metrics)
        return metrics


def _layers(training: Training) -> int | None:
    """The layers that are asked for; those of the adapter to go on from where none are."""
    if training.start is None or "layers" in training.model_fields_set:
        return training.layers
    card = cards.read_card(Path(training.start))
    return training.layers if card is None else card.layers


def _split(shards: Any, folder: Path, split: str, folders: Sequence[Path]) -> list[Any]:
    """A folder's records; one of several need not hold both splits."""
    if len(folders) > 1 and not shards.listed(folder)[split]:
        return []
    return list(shards.read_split(folder, split))


class _Work:
    """One training, once all has been checked."""

    def __init__(
        self,
        task: Task[Any],
        training: Training,
        curriculum: Curriculum,
        backbone: Backbone,
        out: Path,
        machine: Machine,
    ) -> None:
        self.task, self.training, self.curriculum, self.backbone = task, training, curriculum, backbone
        self.out, self.machine = out, machine
        self.shown = thinned(list(curriculum.train), training.train_limit)
        self.model: Any = None
        self.head: RowHead | None = None

    # --- a head on a model that stays as it is

    def frozen(self) -> dict[str, Any]:
        """Train a head on hidden states that are read once."""
        self.head, losses = fit_frozen(self.task, Reader(self.backbone), self.curriculum, self.shown, self.training)
        return {"losses": losses, "reads_text": self.head.reads_features, "history": []}

    # --- an adapter, with a head or without

    def tuned(self) -> dict[str, Any]:
        """Train an adapter, and a head with it if the task has one."""
        choice = isinstance(self.task.answer, Choice)
        suffice = rows_suffice(self.backbone) if choice else True
        if not choice:
            head = plain_head(self.task, self.curriculum, self.backbone, self.training)
            self.head = scaled_to_some(head, Reader(self.backbone), self.curriculum, self.shown)
            self.head.plain.requires_grad_(False)
        trainer = self._trainer(suffice)
        some, whole = trainer.eval_dataset, self._measured(self.curriculum.validation)
        trainer.by_line = self.training.start is not None or self.backbone.by_line or not choice
        trainer.eval_dataset = whole  # before and after are to be compared, so both read all of it
        before = run_folder.before(self.out) or run_folder.note_before(self.out, _plain(trainer.evaluate()))
        if not math.isfinite(before["loss"]):
            raise TaskError(
                "The loss before the first step is not finite: what is learnt from or the start is damaged; "
                "name another."
            )
        trainer.by_line, trainer.eval_dataset = True, some
        trainer.train(resume_from_checkpoint=run_folder.checkpoint(self.out))
        history = list(trainer.state.log_history)  # the last measurement is not part of it: it reads more records
        trainer.eval_dataset = whole
        after = _plain(trainer.evaluate())
        if not math.isfinite(after["loss"]):
            raise TaskError("Training ended with a loss that is not finite; take a lower learning rate.")
        self.model = trainer.model
        losses = {"plain": before["loss"], "best": after["loss"]}
        return {**self.curriculum.report(before, after), "losses": losses, "history": history}

    def _measured(self, records: Sequence[Any]) -> Lessons:
        return Lessons(self.task, records, self.backbone.tokenizer, lambda record, _, __: self.curriculum.plain(record))

    def _trainer(self, suffice: bool) -> RowTrainer:
        training, curriculum = self.training, self.curriculum
        steps_per_epoch = math.ceil(len(self.shown) / training.batch)
        total = math.ceil(steps_per_epoch * training.epochs)
        model = quick(adapted(training, self.backbone, total), self.backbone.device)
        if self.head is not None:
            model.row_head = self.head.to(self.backbone.device)
        shown = Lessons(self.task, self.shown, self.backbone.tokenizer, curriculum.lesson, training.seed)
        some = thinned(list(curriculum.validation), training.eval_limit)
        rows = max(len(self.task.question(record).rows) for record in (*self.shown, *curriculum.validation))
        callbacks: list[Any] = [EpochCallback(shown), EarlyStoppingCallback(training.patience), *_reporters(self.out)]
        trainer = RowTrainer(
            model=model,
            args=_arguments(training, steps_per_epoch, self.out, self.machine),
            data_collator=Collator(self.backbone.tokenizer.pad_token_id or 0, rows),
            train_dataset=shown,
            eval_dataset=self._measured(some),
            compute_metrics=lambda found: curriculum.metrics(
                np.asarray(found.predictions), np.asarray(found.label_ids)
            ),
            callbacks=[*callbacks, AdaLoraCallback()] if training.method == "adalora" else callbacks,
            kind=self.task.answer,
            rows_suffice=suffice,
            fresh=training.start is None,
        )
        trainer.remove_callback(PrinterCallback)  # takes the place of the progress bar, on stdout
        return trainer

    # --- what is left

    def save(self, metrics: Mapping[str, Any], records_sha256: str) -> None:
        """Write the adapter, the head and the card."""
        training = self.training
        beside = self.model is None and training.start is not None  # one adapter may serve several tasks
        folder = Path(str(training.start)) if beside else self.out / "adapter"
        if self.model is not None:
            save_adapter(self.model, training, folder, self.backbone.tokenizer)
            card = cards.Card(
                base=self.backbone.name,
                base_sha256=self.backbone.model_sha256,
                layers=self.backbone.layers,
                prompt_version=self.task.prompt_version,
                training=training.model_copy(update={"model": self.backbone.name}).model_dump(mode="json"),
                records_sha256=records_sha256,
                metrics={name: value for name, value in metrics.items() if name != "history"},
                commands=self.machine.commands,
                limits=self.task.limits,
                task=self.task.name,
            )
        if self.head is not None:
            adapter = folder if self.model is not None else None
            about = {
                "records_sha256": records_sha256,
                **about_base(self.task, self.backbone, adapter),
                "training": training.model_dump(mode="json"),
                "reads_text": self.head.reads_features,
                "losses": metrics["losses"],
            }
            save_head(self.head, folder, self.task.name, about)
            if beside and (other := cards.read_card(folder)):
                cards.write_card(folder, other)  # which now tells of the head
        if self.model is not None:
            cards.write_card(folder, card)  # last: it tells of the head, too


def _plain(measured: Mapping[str, float]) -> dict[str, float]:
    """The Trainer's figures under their own names, without how long they took."""
    found = {name.removeprefix("eval_"): value for name, value in measured.items()}
    others = ("runtime", "_per_second", "epoch", "_time")
    return {name: value for name, value in found.items() if not name.endswith(others)}


def _arguments(training: Training, steps_per_epoch: int, out: Path, machine: Machine) -> TrainingArguments:
    every = max(1, steps_per_epoch // training.evals_per_epoch)
    return TrainingArguments(
        output_dir=str(out / "checkpoints"),
        num_train_epochs=training.epochs,
        learning_rate=training.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(20, max(1, round(0.05 * steps_per_epoch * training.epochs))),
        per_device_train_batch_size=training.batch,
        per_device_eval_batch_size=min(64, 2 * training.batch),  # so that a smaller batch helps where memory is short
        eval_strategy="steps",
        save_strategy="steps",
        logging_strategy="steps",
        eval_steps=every,
        save_steps=every,
        logging_steps=max(1, every // 4),
        save_total_limit=2,
        load_best_model_at_end=training.method != "adalora",  # whose shapes change on the way
        metric_for_best_model="loss",  # other figures on a few hundred records jump by a tenth between two steps
        greater_is_better=False,
        restore_callback_states_from_checkpoint=True,  # early stopping counts on where it was
        remove_unused_columns=False,
        report_to="none",  # but for what _reporters adds
        use_cpu=machine.device == "cpu",
        bf16=resolve(training.precision, machine.device) == BF16,
        dataloader_pin_memory=False,
        seed=training.seed,
        disable_tqdm=machine.quiet,
    )


def _reporters(out: Path) -> list[Any]:
    """A callback that writes the curves for TensorBoard, too, where it is installed."""
    from importlib.util import find_spec

    if not find_spec("tensorboard"):
        return []
    from transformers.integrations import TensorBoardCallback

    callback = TensorBoardCallback()
    # The measurement before the first step would go into the working folder: transformers names one only with training.
    callback.logging_dir = callback.logging_dir or str(out / "tensorboard")
    return [callback]
