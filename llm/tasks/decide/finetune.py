"""Fine-tuning: labelled records to an adapter, with the transformers Trainer and PEFT.

The model reads a prompt, and only the logits of the phases' letters at the ends of their lines count. Loss:
cross-entropy against soft targets that fall with each phase's cost. Every epoch shows each record with its phases in
another order. The adapter with the least loss on the validation records is kept. A killed run goes on from its last
checkpoint.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from transformers import EarlyStoppingCallback, PrinterCallback, TrainingArguments

from llm.backbone import cards
from llm.backbone.loading import Backbone, head_name, layer_list, load, read_adapter, untie_head
from llm.backbone.precision import BF16, PRECISIONS, resolve, told_out_of_memory
from llm.records import shards
from llm.records.splits import SPLITS
from llm.tasks.decide import records as dataset
from llm.tasks.decide.phase_net import ABOUT, SHIPPED, PhaseNet, PhaseNetError
from llm.tasks.decide.prompt import PROMPT_VERSION
from llm.tasks.decide.records import Record
from llm.tasks.decide.scorer import PhaseScorer, letter_ids
from llm.tasks.decide.trainer import (
    FREEZABLE,
    METHODS,
    AdaLoraCallback,
    Collator,
    EpochCallback,
    PhaseDataset,
    PhaseTrainer,
    Training,
    regret_metrics,
)

SETTINGS_FILE, METRICS_FILE = "training.json", "metrics.json"
#: Methods whose adapters can be gone on from; the shapes of adalora change on the way, and PEFT refuses prefixes.
STARTABLE = tuple(method for method in METHODS if method not in ("full", "adalora", "prefix"))


class TrainingError(RuntimeError):
    """A training that cannot run; the message is one sentence that says what to do."""


def train(
    training: Training,
    records: Sequence[Path],
    out: Path,
    threads: int = 1,
    device: str = "cpu",
    quiet: bool = False,
    commands: Sequence[str] = (),
) -> dict[str, Any]:
    """Train an adapter, or go on where a killed run was; returns the metrics that its card shows.

    A training that ended is not done again: its metrics are read.

    Args:
        training: what to do.
        records: folders of ``greenloop collect``.
        out: run folder: checkpoints, learning curve, and in the end ``adapter/``.
        threads: torch threads.
        device: ``cpu`` or ``cuda``.
        quiet: no progress bar.
        commands: what the card says makes it again.

    Raises:
        RecordError: the records are missing, damaged, or made for another prompt version.
        BackboneError: the model cannot be had.
        TrainingError: the settings make no sense, the folder holds another training, or the memory is out.
    """
    _check(training)
    data = {split: [r for folder in records for r in _split(folder, split, records)] for split in SPLITS}
    teaching = _teaching(data["train"], training)
    priced = [record for record in data["validation"] if record.horizons_s]
    if not priced:
        raise TrainingError("No validation record has costs to measure regret by; collect some without --no-branches.")
    if training.teacher is not None:
        _teacher(training, out)
    backbone = load(training.model, layers=training.layers, threads=threads, device=device)
    _check_freeze(training, backbone.layers)
    if training.start is not None:
        _check_fits(backbone, Path(training.start))
    _claim(out, training, records)  # only now: what is refused leaves no folder that refuses the mended command
    with shards.only_writer(out, TrainingError):
        if ended := _ended(out):
            return ended
        teacher, teacher_regret_veh_s = _phase_net(teaching, priced, training, out)
        no_memory = TrainingError(
            f"Training ran out of memory; give a smaller batch than {training.batch} or fewer layers, with another run "
            "folder, or go on from the last checkpoint with the same command where there is more memory."
        )
        with told_out_of_memory(no_memory):
            trainer = _trainer(training, backbone, teaching, data["validation"], teacher, out, quiet)
            some = trainer.eval_dataset
            whole = PhaseDataset(data["validation"], backbone.tokenizer, training, reorder=False, teacher=teacher)
            trainer.by_line = training.start is not None or backbone.by_line
            trainer.eval_dataset = whole  # before and after are to be compared, so both read all of it
            before = _noted(out) or _note(out, trainer.evaluate())
            if not math.isfinite(before["eval_loss"]):
                raise TrainingError(
                    "The loss before the first step is not finite: the teacher or the start is damaged; name another."
                )
            trainer.by_line, trainer.eval_dataset = True, some
            trainer.train(resume_from_checkpoint=_checkpoint(out))
            history = list(trainer.state.log_history)
            trainer.eval_dataset = whole
            after = trainer.evaluate()
        if not math.isfinite(after["eval_loss"]):
            raise TrainingError("Training ended with a loss that is not finite; take a lower learning rate.")
        metrics = _metrics(training, data, priced, before, after, len(trainer.train_dataset))
        metrics["rivals_regret_veh_s"]["phase_net"] = teacher_regret_veh_s
        metrics["history"] = history  # the last measurement is not part of it: it reads more records
        cards.write_card(out / "adapter", _card(training, backbone, records, metrics, commands))
        _save(trainer, training, out / "adapter", backbone)
        shards.write_bytes(out / METRICS_FILE, json.dumps(metrics, indent=1).encode())
        return metrics


# --- parts


def _check(training: Training) -> None:
    if training.method not in METHODS:
        raise TrainingError(f"There is no method '{training.method}'; choose one of {', '.join(METHODS)}.")
    if training.precision not in PRECISIONS:
        raise TrainingError(f"There is no precision '{training.precision}'; choose one of {', '.join(PRECISIONS)}.")
    if not 0 <= training.distil <= 1:
        raise TrainingError(f"The option distil is {training.distil}; give a share from 0 to 1.")
    _check_freeze(training, training.layers)
    if training.start is not None:
        _check_start(training, Path(training.start))
    for name in ("temperature_veh_s", "sharpen", "learning_rate", "epochs", "batch", "rank", "evals_per_epoch"):
        if not 0 < getattr(training, name) < math.inf:
            raise TrainingError(f"The option {name} is {getattr(training, name)}; give a finite number above 0.")


def _check_freeze(training: Training, layers: int | None) -> None:
    """Refuse frozen layers that make no sense, among so many layers (None: not known before the model is loaded)."""
    if not training.freeze:
        return
    if training.method not in FREEZABLE:
        raise TrainingError(
            f"Method {training.method} cannot leave single layers as they are; leave the option freeze out, or choose "
            f"one of {', '.join(FREEZABLE)}."
        )
    if training.freeze < 0:
        raise TrainingError(f"The option freeze is {training.freeze}; give a number from 0.")
    if layers is not None and training.freeze >= layers:
        raise TrainingError(
            f"The option freeze is {training.freeze} of {layers} layers, so none would learn; give a number below "
            f"{layers}."
        )


def _check_start(training: Training, start: Path) -> None:
    """Refuse what an adapter to go on from already settles, before the run folder is claimed."""
    if training.method == "full":
        raise TrainingError("A full training changes the model itself: give the model's folder as model, and no start.")
    if training.method not in STARTABLE:
        raise TrainingError(
            f"Method {training.method} cannot go on from an adapter; leave the option start out, or choose one of "
            f"{', '.join(STARTABLE)}."
        )
    card = cards.read_card(start)
    cards.check_task(start, card, "decide", PROMPT_VERSION)
    settled = card.training if card else {}
    for name, value in (("method", training.method), ("rank", training.rank)):
        if settled.get(name, value) != value:
            raise TrainingError(
                f"The adapter in {start} was trained with {name} {settled[name]}, not {value}; a training that goes on "
                f"from it has the same {name}."
            )


def _split(folder: Path, split: str, folders: Sequence[Path]) -> list[Record]:
    """A folder's records; one of several need not hold both splits."""
    if len(folders) > 1 and not dataset.FILES.listed(folder)[split]:
        return []
    return dataset.FILES.read_split(folder, split)


def _settings(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(f"Settings {file} are damaged; choose another folder, or delete this one.") from error


def _claim(out: Path, training: Training, records: Sequence[Path]) -> None:
    """Note what is trained here, so that a resumed run cannot be another one.

    Raises:
        TrainingError: the folder holds another training.
    """
    about = {**asdict(training), "records_sha256": _records_sha256(records), "format": dataset.FORMAT}
    file = out / SETTINGS_FILE
    if file.is_file():
        # a setting that is newer than the folder was what is its default now
        found = {**asdict(Training()), **_settings(file)}
        if differing := sorted(key for key in about if found.get(key) != about[key]):
            raise TrainingError(
                f"Folder {out} holds a training with other {', '.join(differing)}; choose another folder."
            )
    else:
        shards.write_bytes(file, json.dumps(about, indent=1).encode())


def _records_sha256(records: Sequence[Path]) -> str:
    return " ".join(dataset.FILES.sha256(folder) for folder in records)


def _teaching(records: list[Record], training: Training) -> list[Record]:
    """The records that teach something, evenly thinned to the limit."""
    if not training.distil and not all(record.horizons_s for record in records):
        raise TrainingError("Some training records have no costs and can only be learnt with distil above 0.")
    kept = [
        record
        for record in records
        if not record.horizons_s or np.ptp(record.cost(training.horizon_s)) >= training.min_spread_veh_s
    ]
    if not kept:
        raise TrainingError("No training record has phases of different costs; collect more.")
    return shards.thinned(kept, training.train_limit)


def _trainer(
    training: Training,
    backbone: Backbone,
    train: list[Record],
    validation: list[Record],
    teacher: PhaseNet,
    out: Path,
    quiet: bool,
) -> PhaseTrainer:
    width = max(record.phases for record in (*train, *validation))
    letters = letter_ids(backbone.tokenizer, width)
    rows_suffice = PhaseScorer(backbone).rows_suffice and training.method != "prefix"
    steps_per_epoch = math.ceil(len(train) / training.batch)
    model = _quick(_adapted(training, backbone, math.ceil(steps_per_epoch * training.epochs)), backbone.device)
    if training.freeze:
        _freeze(backbone, training.freeze)
    shown = PhaseDataset(train, backbone.tokenizer, training, reorder=True, teacher=teacher)
    some = shards.thinned(validation, training.eval_limit)
    measured = PhaseDataset(some, backbone.tokenizer, training, reorder=False, teacher=teacher)
    callbacks: list[Any] = [EpochCallback(shown), EarlyStoppingCallback(training.patience), *_reporters(out)]
    trainer = PhaseTrainer(
        model=model,
        args=_arguments(training, steps_per_epoch, out, backbone.device, quiet),
        data_collator=Collator(backbone.tokenizer.pad_token_id or 0, width),
        train_dataset=shown,
        eval_dataset=measured,
        compute_metrics=regret_metrics,
        callbacks=[*callbacks, AdaLoraCallback()] if training.method == "adalora" else callbacks,
        letters=letters,
        rows_suffice=rows_suffice,
    )
    trainer.remove_callback(PrinterCallback)  # takes the place of the progress bar, on stdout
    return trainer


def _arguments(training: Training, steps_per_epoch: int, out: Path, device: str, quiet: bool) -> TrainingArguments:
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
        metric_for_best_model="loss",  # regret on a few hundred records jumps by a tenth between two steps
        greater_is_better=False,
        restore_callback_states_from_checkpoint=True,  # early stopping counts on where it was
        remove_unused_columns=False,
        report_to="none",  # but for what _reporters adds
        use_cpu=device == "cpu",
        bf16=resolve(training.precision, device) == BF16,
        dataloader_pin_memory=False,
        seed=training.seed,
        disable_tqdm=quiet,
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


def _adapted(training: Training, backbone: Backbone, steps: int) -> Any:
    """The model with a fresh adapter, its own weights frozen."""
    network = backbone.model.train()
    if training.method == "full":
        return network
    import peft

    if training.start is not None:
        return _gone_on_from(network, Path(training.start))
    linear = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    names = {name.rpartition(".")[2] for name, _ in network.named_modules()}
    options: dict[str, Any] = {"task_type": "CAUSAL_LM"}
    targets = [name for name in linear if name in names] or "all-linear"
    low_rank = {"lora_alpha": 2 * training.rank, "lora_dropout": 0.0, "target_modules": targets}
    if training.method == "head":
        untie_head(network)
    config = {
        "head": lambda: peft.LoraConfig(
            r=training.rank, **{**low_rank, "target_modules": [head_name(network)]}, **options
        ),
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


def _gone_on_from(network: Any, start: Path) -> Any:
    """The model with an adapter to train further, cut to as many layers as the model has.

    Raises:
        TrainingError: it does not fit, or lacks weights, which PEFT would make up.
    """
    import peft

    _, weights = read_adapter(start)
    try:
        adapted = peft.PeftModel.from_pretrained(network, str(start), is_trainable=True)
        wanted = set(peft.get_peft_model_state_dict(adapted, save_embedding_layers=False))
        if missing := wanted - set(weights):
            raise ValueError(f"{len(missing)} of the {len(wanted)} weights that the model takes are missing")
    except Exception as error:  # PEFT raises what torch raises on shapes and names that do not fit
        line = " ".join(str(error).split())[:160]
        raise TrainingError(f"Adapter {start} cannot be gone on from ({line}); copy or train it again.") from error
    return adapted


def _quick(model: Any, device: str) -> Any:
    """The model with what made a step on a CPU slow taken out: 1.4 times as fast in bf16, with the same rounding.

    There the fused attention's backward pass costs more than all matrices of a short prompt, and PEFT's cast of each
    input to the adapter's type (fp32) is undone at once by autocast.
    """
    network = model.get_base_model() if hasattr(model, "get_base_model") else model
    if device == "cpu":
        network.set_attn_implementation("eager")
    for part in model.modules():
        if hasattr(part, "cast_input_dtype_enabled"):
            part.cast_input_dtype_enabled = False
    return model


def _check_fits(backbone: Backbone, start: Path) -> None:
    """Refuse an adapter to go on from that is damaged, has fewer layers than the model, or is for another one."""
    card = cards.read_card(start)
    if card is None or card.layers < backbone.layers:
        raise TrainingError(
            f"Folder {start} holds no adapter of greenloop for {backbone.layers} layers to start from; name the "
            "'adapter' folder of an earlier training with as many layers or more."
        )
    cards.check_card(start, card, backbone.name, backbone.model_sha256)
    read_adapter(start)


def _freeze(backbone: Backbone, first: int) -> None:
    """Train nothing in the first layers, neither their weights nor what an adapter put there."""
    layers = layer_list(backbone.model)  # the same objects that PEFT's wrapper holds
    if layers is None:
        raise TrainingError(
            f"Layers of a {type(backbone.model).__name__} cannot be frozen; leave the option freeze out."
        )
    layers[:first].requires_grad_(False)


def _checkpoint(out: Path) -> str | None:
    """The newest complete checkpoint; the state file is written last, so one that a kill cut short has none.

    One whose weights are damaged does not count: the training goes on from the one before.
    """
    found = [path for path in (out / "checkpoints").glob("checkpoint-*") if _is_complete(path)]
    found = [path for path in found if path.name.rpartition("-")[2].isdigit()]  # not a copy that somebody made
    return str(max(found, key=lambda path: int(path.name.rpartition("-")[2]))) if found else None


def _is_complete(checkpoint: Path) -> bool:
    try:
        for weights in checkpoint.glob("*.safetensors"):
            with safe_open(weights, "pt"):
                pass
        return "global_step" in json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, SafetensorError):
        return False


def _ended(out: Path) -> dict[str, Any]:
    """The metrics of a training that ended, written last of all; empty for any other."""
    try:
        found = dict(json.loads((out / METRICS_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
    return found if "history" in found else {}


def _note(out: Path, before: dict[str, float]) -> dict[str, float]:
    shards.write_bytes(out / "before.json", json.dumps(before).encode())
    return before


def _noted(out: Path) -> dict[str, float]:
    try:
        found = dict(json.loads((out / "before.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
    return found if "eval_loss" in found else {}


def _save(trainer: PhaseTrainer, training: Training, folder: Path, backbone: Backbone) -> None:
    if training.method == "full":
        trainer.model.save_pretrained(folder)
        backbone.tokenizer.save_pretrained(folder)
    else:
        for config in trainer.model.peft_config.values():
            config.base_model_name_or_path = training.model  # and not where it lies on this machine
            for name in ("target_modules", "feedforward_modules"):  # sets, whose order would change the file's hash
                if isinstance(found := getattr(config, name, None), set):
                    setattr(config, name, sorted(found))
        trainer.model.save_pretrained(folder, save_embedding_layers=False)
    for leftover in folder.glob("README.md"):  # PEFT's own, empty card; ours is CARD.md
        leftover.unlink()


def _metrics(
    training: Training,
    data: dict[str, list[Record]],
    priced: list[Record],
    before: dict[str, float],
    after: dict[str, float],
    taught: int,
) -> dict[str, Any]:
    horizon_s = training.horizon_s
    names = sorted(set.intersection(*(set(record.choices) for record in priced)))
    rivals = {
        name: dataset.regret_veh_s(priced, [record.choices[name] for record in priced], horizon_s) for name in names
    }
    rivals["random"] = float(np.mean([(r.cost(horizon_s) - r.cost(horizon_s).min()).mean() for r in priced]))
    return {
        "train_records": len(data["train"]),
        "taught_records": taught,
        "validation_records": len(data["validation"]),
        "priced_validation_records": len(priced),
        "start_regret_veh_s" if training.start else "untuned_regret_veh_s": before.get("eval_regret_veh_s"),
        "regret_veh_s": after["eval_regret_veh_s"],
        "cheapest_share": after["eval_cheapest_share"],
        "rivals_regret_veh_s": rivals,
    }


def _phase_net(train: list[Record], validation: list[Record], training: Training, out: Path) -> tuple[PhaseNet, float]:
    """The plain neural network that teaches, fitted if need be, and its regret."""
    from llm.tasks.decide.phase_net_training import fit

    folder = out / "phase_net"
    if training.teacher is None and not (folder / ABOUT).is_file():
        priced = [record for record in train if record.horizons_s]
        if not priced:
            raise TrainingError("No training record has costs to fit a plain network on; name one with --teacher.")
        net, regret_veh_s = fit(priced, validation, training.horizon_s, training.temperature_veh_s)
        net.save(folder, {"horizon_s": training.horizon_s, "regret_veh_s": regret_veh_s, "records": len(priced)})
    net = _teacher(training, out)
    chosen = net.choose([np.array(record.facts) for record in validation])
    return net, dataset.regret_veh_s(validation, chosen, training.horizon_s)


def _teacher(training: Training, out: Path) -> PhaseNet:
    """The plain network that is named, or the one that was fitted in the run folder."""
    named = SHIPPED if training.teacher == "shipped" else Path(training.teacher or out / "phase_net").expanduser()
    try:
        return PhaseNet.load(named)
    except PhaseNetError as error:
        raise TrainingError(str(error)) from error


def _card(
    training: Training, backbone: Backbone, records: Sequence[Path], metrics: dict[str, Any], commands: Sequence[str]
) -> cards.Card:
    return cards.Card(
        base=backbone.name,
        base_sha256=backbone.model_sha256,
        layers=backbone.layers,
        prompt_version=PROMPT_VERSION,
        training=asdict(replace(training, model=backbone.name)),
        records_sha256=_records_sha256(records),
        metrics={name: value for name, value in metrics.items() if name != "history"},
        commands=tuple(commands),
    )
