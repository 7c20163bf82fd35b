"""The model as it is trained: with a fresh adapter, one to go on from, or itself; and how the result is saved."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from llm.backbone import cards
from llm.backbone.loading import Backbone, head_name, read_adapter, untie_head
from llm.engine.training import Training
from llm.tasks.base import TaskError

_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def adapted(training: Training, backbone: Backbone, steps: int) -> Any:
    """The model with an adapter, its own weights frozen; or, for a full training, itself."""
    network = backbone.model.train()
    if training.method == "full":
        return network
    import peft

    with warnings.catch_warnings():  # PEFT 0.21 asks transformers 5 by an old name
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        if training.start is not None:
            return _gone_on_from(network, Path(training.start))
        config = _config(training, network, steps)
        torch.manual_seed(training.seed)
        return peft.get_peft_model(network, config)


def _config(training: Training, network: Any, steps: int) -> Any:
    import peft

    names = {name.rpartition(".")[2] for name, _ in network.named_modules()}
    options: dict[str, Any] = {"task_type": "CAUSAL_LM"}
    if training.method == "ia3":
        return peft.IA3Config(**options)
    options |= {"lora_alpha": 2 * training.rank, "lora_dropout": 0.0}
    if training.method == "head":
        untie_head(network)
        return peft.LoraConfig(r=training.rank, target_modules=[head_name(network)], **options)
    options["target_modules"] = [name for name in _LINEAR if name in names] or "all-linear"
    if training.method == "lora":
        return peft.LoraConfig(r=training.rank, **options)
    return peft.AdaLoraConfig(
        init_r=training.rank,
        target_r=max(1, training.rank // 2),
        total_step=steps,
        tinit=steps // 10,
        tfinal=steps // 3,
        deltaT=max(1, steps // 50),
        **options,
    )


def _gone_on_from(network: Any, start: Path) -> Any:
    """The model with an adapter to train further, cut to as many layers as the model has.

    Raises:
        TaskError: it does not fit, or lacks weights, which PEFT would make up.
    """
    import peft

    _, weights = read_adapter(start)
    try:
        model = peft.PeftModel.from_pretrained(network, str(start), is_trainable=True)
        wanted = set(peft.get_peft_model_state_dict(model, save_embedding_layers=False))
        if missing := wanted - set(weights):
            raise ValueError(f"{len(missing)} of the {len(wanted)} weights that the model takes are missing")
    except Exception as error:  # PEFT raises what torch raises on shapes and names that do not fit
        line = " ".join(str(error).split())[:160]
        raise TaskError(f"Adapter {start} cannot be gone on from ({line}); copy or train it again.") from error
    return model


def quick(model: Any, device: str) -> Any:
    """The model with what made a step on a CPU slow taken out: 1.4 times as fast in bf16, with the same rounding.

    There the fused attention's backward pass costs more than all matrices of a short text, and PEFT's cast of each
    input to the adapter's type (fp32) is undone at once by autocast.
    """
    network = model.get_base_model() if hasattr(model, "get_base_model") else model
    if device == "cpu":
        network.set_attn_implementation("eager")
    for part in model.modules():
        if hasattr(part, "cast_input_dtype_enabled"):
            part.cast_input_dtype_enabled = False
    return model


def check_start(training: Training, task: str, prompt_version: int) -> None:
    """Refuse an adapter to go on from that is another task's, or was trained in another way.

    Raises:
        TaskError: it cannot be gone on from.
        BackboneError: its card is damaged, or it is another task's.
    """
    if training.start is None:
        return
    start = Path(training.start)
    card = cards.read_card(start)
    cards.check_task(start, card, task, prompt_version)
    settled = card.training if card else {}
    for name, value in (("method", training.method), ("rank", training.rank)):
        if settled.get(name, value) != value:
            raise TaskError(
                f"The adapter in {start} was trained with {name} {settled[name]}, not {value}; a training that goes on "
                f"from it has the same {name}."
            )


def check_fits(backbone: Backbone, start: Path) -> None:
    """Refuse an adapter to go on from that is damaged, has fewer layers than the model, or is for another one.

    Raises:
        TaskError, BackboneError: it does not fit.
    """
    card = cards.read_card(start)
    if card is None or card.layers < backbone.layers:
        raise TaskError(
            f"Folder {start} holds no adapter of greenloop for {backbone.layers} layers to start from; name the "
            "'adapter' folder of an earlier training with as many layers or more."
        )
    cards.check_card(start, card, backbone.name, backbone.model_sha256)
    read_adapter(start)


def save_adapter(model: Any, training: Training, folder: Path, tokenizer: Any) -> None:
    """Write the trained weights, and no path of this machine."""
    if training.method == "full":
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    else:
        for config in model.peft_config.values():
            config.base_model_name_or_path = training.model  # and not where it lies on this machine
            for name in ("target_modules", "feedforward_modules"):  # sets, whose order would change the file's hash
                if isinstance(found := getattr(config, name, None), set):
                    setattr(config, name, sorted(found))
        model.save_pretrained(folder, save_embedding_layers=False)
    for leftover in folder.glob("README.md"):  # PEFT's own, empty card; ours is CARD.md
        leftover.unlink()
