"""Any causal language model, ready to score: the default small one, a Hugging Face id, or a local folder.

Only safetensors weights are read, in fp32. An adapter in PEFT's format is merged into the weights where its method
allows.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llm.backbone import cards
from llm.backbone.default_model import GGUF_SHA256, BackboneError, fetch, is_cached, quiet_transformers
from llm.backbone.precision import out_of_memory
from llm.records.shards import file_sha256

__all__ = [
    "DEFAULT",
    "Backbone",
    "BackboneError",
    "adapter_sha256",
    "fetch",
    "head_name",
    "is_cached",
    "keep_first_layers",
    "layer_list",
    "load",
    "untie_head",
]

DEFAULT = "default"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_ADAPTER_FILES = ("adapter_config.json", ADAPTER_WEIGHTS)


@dataclass(frozen=True)
class Backbone:
    """A loaded model with its tokenizer.

    Attributes:
        name: what was asked for: ``default``, a Hugging Face id or a folder.
        folder: where its files are on this machine.
        adapter: folder of the adapter in use, if any.
        tokenizer: the model's tokenizer (transformers).
        model: the causal model (transformers, or PEFT's wrapper where an adapter cannot be merged), in eval mode.
        layers: decoder layers in use.
        device: torch device name.
        by_line: whether it has a card and so was trained here, to answer each row at its mark (``llm.engine.rows``).
    """

    name: str
    folder: Path
    adapter: Path | None
    tokenizer: Any
    model: Any
    layers: int
    device: str
    by_line: bool = False

    @cached_property
    def model_sha256(self) -> str:
        """Hash of the model's weights and configuration as stored (of the GGUF file for the default model)."""
        return model_sha256(self.name, self.folder)

    @cached_property
    def adapter_sha256(self) -> str | None:
        """Hash of the adapter's weights and configuration, None without an adapter."""
        return None if self.adapter is None else adapter_sha256(self.adapter)


def load(
    model: str = DEFAULT,
    adapter: Path | None = None,
    layers: int | None = None,
    threads: int = 1,
    device: str = "cpu",
    made_for: tuple[str, int] | None = None,
) -> Backbone:
    """Load a model for scoring.

    Args:
        model: ``default``, a local folder, or a Hugging Face model id (fetched into its cache when not there).
        adapter: folder with a PEFT adapter that was trained on this model and number of layers.
        layers: keep only the first so many decoder layers; those of the adapter's card when None.
        threads: torch threads, for this whole process.
        device: a torch device such as ``cpu`` or ``cuda``.
        made_for: name and prompt version of the task that the adapter, or a whole model that was trained, must be for;
            None where any will do.

    Raises:
        BackboneError: any part is missing, broken, or does not fit.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # prompts are short, and its threads do not survive a fork
    import torch

    if not isinstance(threads, int) or threads < 1:
        raise BackboneError(f"The language model's threads must be a whole number from 1, not {threads!r}.")
    torch.set_num_threads(threads)
    folder = _folder_of(model)
    trained = folder if adapter is None else Path(adapter)  # a full training makes a model folder with a card
    card = cards.read_card(trained)
    if card is not None and adapter is not None:
        layers = _fitting_layers(trained, card, model, folder, layers)
    if made_for is not None:
        cards.check_task(trained, card, *made_for)
    with quiet_transformers():
        tokenizer, network = _read(folder, _advice(model, folder))
        if layers is not None:
            keep_first_layers(network, layers)
        kept = int(network.config.num_hidden_layers)
        if adapter is not None:
            network = _with_adapter(network, Path(adapter), model, kept)
    try:
        network = network.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise BackboneError(f"The model cannot be put on device '{device}' ({_line(error)}); use 'cpu'.") from error
    by_line = card is not None
    return Backbone(model, folder, adapter, tokenizer, network, kept, device, by_line)


def _fitting_layers(adapter: Path, card: cards.Card, model: str, folder: Path, layers: int | None) -> int:
    """The layers that an adapter's card names, once the model is sure to be the one that it was made for."""
    cards.check_card(adapter, card, model, model_sha256(model, folder))
    if layers is not None and layers != card.layers:
        raise BackboneError(
            f"Adapter {adapter} was trained on the first {card.layers} layers, not {layers}; leave the option 'layers' "
            "out."
        )
    return card.layers


def model_sha256(model: str, folder: Path) -> str:
    """Hash of a model's weights and configuration as stored (of the GGUF file for the default model)."""
    return GGUF_SHA256 if model == DEFAULT else _folder_sha256(folder, "config.json", "*.safetensors")


def _folder_of(model: str) -> Path:
    if model == DEFAULT:
        return fetch()
    path = Path(model).expanduser()
    if path.exists() or model.startswith((".", "/", "~")):
        _check_folder(path)
        return path
    return _from_hub(model)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise BackboneError(f"Model folder {folder} does not exist; check the path, or use 'default'.")
    for needed, what in (("config.json", "configuration"), ("*.safetensors", "weights")):
        if not any(folder.glob(needed)):
            raise BackboneError(
                f"Model folder {folder} holds no {needed} ({what}); give a folder as save_pretrained writes it."
            )


def _from_hub(model: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    try:
        folder = Path(snapshot_download(model, allow_patterns=patterns, ignore_patterns=["*/*"]))
    except Exception as error:  # many kinds: unknown id, no right, no network, a malformed id, a broken connection
        raise BackboneError(
            f"Model '{model}' is no folder here and could not be had from Hugging Face ({_line(error)}); "
            "check the name and the network, or use 'default'."
        ) from error
    _check_folder(folder)
    return folder


def _advice(model: str, folder: Path) -> str:
    again = "run 'greenloop fetch-model'" if model == DEFAULT else "fetch or copy the model again"
    return f"delete {folder} and {again}."


def _read(folder: Path, advice: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        network, found = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # whatever a broken file makes the libraries raise
        if out_of_memory(error):
            raise BackboneError(
                f"The memory does not hold model {folder}; free some, or take a smaller one."
            ) from error
        raise BackboneError(
            f"The model cannot be loaded ({_line(error)}): its files are damaged or of an unknown kind; {advice}"
        ) from error
    if missing := sorted(found["missing_keys"]):  # transformers would fill these with random numbers
        raise BackboneError(f"The model lacks {len(missing)} of its weights, such as {missing[0]}; {advice}")
    return tokenizer, network


def keep_first_layers(model: Any, layers: int) -> None:
    """Drop all decoder layers after the first ``layers``, in place, for any model with one list of decoder layers.

    Raises:
        BackboneError: the model has fewer layers, or no such list.
    """
    total = int(model.config.num_hidden_layers)
    if not isinstance(layers, int) or not 1 <= layers <= total:
        raise BackboneError(f"The model has {total} layers, so 'layers' must be from 1 to {total}, not {layers!r}.")
    blocks = layer_list(model)
    if blocks is None:
        raise BackboneError(f"Layers of a {type(model).__name__} cannot be dropped; leave the option 'layers' out.")
    del blocks[layers:]
    model.config.num_hidden_layers = layers
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = model.config.layer_types[:layers]


def layer_list(model: Any) -> Any:
    """A model's decoder layers (torch ``ModuleList``), None where it has no one list of them."""
    from torch import nn

    total = int(model.config.num_hidden_layers)
    found = [part for part in model.get_decoder().children() if isinstance(part, nn.ModuleList) and len(part) == total]
    return found[0] if len(found) == 1 else None


def head_name(model: Any) -> str:
    """What a model calls its output head, such as ``lm_head``."""
    head = model.get_output_embeddings()
    return next(str(name) for name, part in model.named_modules() if part is head)


def untie_head(model: Any) -> None:
    """Give the output head weights of its own, in place, so that an adapter of the head leaves the embeddings alone."""
    from torch import nn

    head = model.get_output_embeddings()
    head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=head.weight.requires_grad)
    model.config.tie_word_embeddings = False


def _with_adapter(model: Any, adapter: Path, name: str, layers: int) -> Any:
    """The model with the adapter in it, merged where the method allows (it then costs nothing)."""
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    config, weights = read_adapter(adapter)
    made_for = config.base_model_name_or_path or "another model"
    config.inference_mode, config.base_model_name_or_path = True, model.name_or_path  # paths differ between machines
    try:
        if head_name(model) in (getattr(config, "target_modules", None) or ()):
            untie_head(model)
        with warnings.catch_warnings():  # PEFT 0.21 asks transformers 5 by an old name
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", "The following rank_pattern keys", RuntimeWarning)  # AdaLoRA's own names
            adapted = get_peft_model(model, config)
        wanted = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
        if wanted != set(weights):
            same = len(wanted & set(weights))
            raise ValueError(f"of its {len(weights)} weights and the {len(wanted)} that the model takes, {same} match")
        set_peft_model_state_dict(adapted, weights)
    except Exception as error:  # PEFT raises what torch raises on shapes and names that do not fit
        raise BackboneError(
            f"Adapter {adapter} does not fit model '{name}' with {layers} layers ({_line(error)}); "
            f"it was trained on '{made_for}': give that model and its number of layers."
        ) from error
    return adapted.merge_and_unload() if hasattr(adapted.base_model, "merge_and_unload") else adapted


def read_adapter(adapter: Path) -> tuple[Any, dict[str, Any]]:
    """An adapter's configuration and weights by name.

    Raises:
        BackboneError: it is missing or damaged.
    """
    from peft import PeftConfig
    from safetensors.torch import load_file

    for needed in _ADAPTER_FILES:
        if not (adapter / needed).is_file():
            raise BackboneError(
                f"Adapter folder {adapter} holds no {needed}; give a folder as PEFT's save_pretrained writes it."
            )
    try:
        return PeftConfig.from_pretrained(str(adapter)), load_file(adapter / _ADAPTER_FILES[1])
    except Exception as error:  # whatever a broken file makes the libraries raise
        raise BackboneError(
            f"Adapter {adapter} is damaged or no PEFT adapter ({_line(error)}); copy or train it again."
        ) from error


def adapter_sha256(folder: Path) -> str:
    """Hash of an adapter's weights and configuration, as results and published tables name it."""
    return _folder_sha256(folder, *_ADAPTER_FILES)


def _folder_sha256(folder: Path, *patterns: str) -> str:
    digest = hashlib.sha256()
    for file in sorted(file for pattern in patterns for file in folder.glob(pattern)):
        digest.update(file_sha256(file).encode())
    return digest.hexdigest()


def _line(error: BaseException) -> str:
    """The start of an error's message on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
