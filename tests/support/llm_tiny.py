"""Language models of a few thousand parameters, with a tokenizer of their own, written as model folders."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

from llm.tasks.decide.prompt import CUE


def write_tokenizer(folder: Path, splits_letters: bool = False) -> int:
    """A byte-level BPE tokenizer; with ``splits_letters`` it knows single bytes only. Returns its size."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    text = [f"{CUE} {letter}" for letter in string.ascii_uppercase] * 3
    bpe, size = ByteLevelBPETokenizer(), 258 if splits_letters else 320
    bpe.train_from_iterator(text, vocab_size=size, show_progress=False, special_tokens=["<|>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, pad_token="<|>", eos_token="<|>")
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def write_model(folder: Path, kind: str = "llama", layers: int = 3, width: int = 16, **options: Any) -> Path:
    """A random model (llama, gemma2 or gpt2) with its tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from llm.backbone.default_model import quiet_transformers

    folder.mkdir(parents=True, exist_ok=True)
    size = write_tokenizer(folder, options.pop("splits_letters", False))
    common = {"vocab_size": size, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    shape: dict[str, Any] = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "initializer_range": 0.5,  # large, so that logits differ
    }
    if kind == "gpt2":
        shape = {"n_embd": width, "n_layer": layers, "n_head": 2, "initializer_range": 0.5}
    torch.manual_seed(0)
    with quiet_transformers():
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **common, **shape, **options))
        model.save_pretrained(folder)
    return folder


def write_adapter(folder: Path, model: Path, layers: int | None = None, **options: Any) -> Path:
    """A LoRA adapter with random weights for that model folder, or for its first layers."""
    from peft import LoraConfig, get_peft_model

    from llm.backbone.loading import load

    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False, **options)
    adapted = get_peft_model(load(str(model), layers=layers).model, config)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    return folder


def cut(file: Path, share: float = 0.5) -> None:
    """Truncate a file."""
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
