"""In which numbers a model multiplies: fp32, or bf16 where the processor has units for it.

bf16 keeps 8 of fp32's 24 bits. With AMX tiles (Intel since 2023) it reads prompts two to three and a half times faster,
with AVX-512's bf16 instructions alone (AMD since 2022) about 1.5 to 2 times; without either it is slower. Only
attention and the multi-layer perceptrons multiply in it, which is where the time goes; what the layers add up stays
fp32. That costs nothing and rounds four times less than a whole model in bf16. Only close decisions still feel it, and
``llm.engine.rows`` reads those again in fp32. ``python -m benchmarks.speed.latency`` measures both on this machine.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llm.backbone.default_model import BackboneError

AUTO, FP32, BF16 = "auto", "fp32", "bf16"
PRECISIONS = (AUTO, FP32, BF16)
#: torch has no public way to ask for AMX tiles and for AVX-512's bf16 instructions.
_PROBES = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")


def has_bf16_units() -> bool:
    """Whether this processor multiplies bf16 faster than fp32 and torch can use it."""
    import torch

    probes = [getattr(torch.cpu, name, None) for name in _PROBES]
    mkldnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(mkldnn and any(probe is not None and probe() for probe in probes))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory is out: of the CPU, torch raises a plain RuntimeError then."""
    return isinstance(error, MemoryError) or "out of memory" in str(error) or "allocate memory" in str(error)


@contextmanager
def out_of_memory_as(sentence: Exception) -> Iterator[None]:
    """Raise ``sentence`` in place of any error within that says that the memory is out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise sentence from error


def resolve(precision: str, device: str) -> str:
    """The precision in use, ``fp32`` or ``bf16``; ``auto`` takes bf16 on a CPU with units for it.

    Raises:
        BackboneError: there is no such precision.
    """
    if precision not in PRECISIONS:
        raise BackboneError(f"There is no precision '{precision}'; choose {', '.join(PRECISIONS)}.")
    if precision != AUTO:
        return precision
    return BF16 if device == "cpu" and has_bf16_units() else FP32


def lowered(model: Any) -> Any:
    """A copy of a model whose layers multiply in bf16 and add in fp32.

    Raises:
        BackboneError: the model has no list of layers, or the memory does not hold both copies.
    """
    import torch

    no_memory = BackboneError(
        "The memory does not hold the model's second copy in bf16; give precision=fp32, or fewer layers."
    )
    with out_of_memory_as(no_memory):
        copied = copy.deepcopy(model)
        for part in _multiplying(copied):
            part.to(torch.bfloat16)
            part.register_forward_pre_hook(lambda _, args, kwargs: (_bf16(args), _bf16(kwargs)), with_kwargs=True)
    return copied


def _multiplying(model: Any) -> list[Any]:
    """The parts of each layer that hold matrices: attention and perceptron, but not the norms."""
    from torch import nn

    lists = [part for part in model.get_decoder().children() if isinstance(part, nn.ModuleList)]
    parts = [part for layers in lists for layer in layers for part in layer.children()]
    found = [part for part in parts if any(weight.dim() > 1 for weight in part.parameters())]
    if not found:
        raise BackboneError(f"A {type(model).__name__} has no list of layers to put into bf16; give precision=fp32.")
    return found


def _bf16(value: Any) -> Any:
    """Every tensor of real numbers in a call's arguments, as bf16."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.to(torch.bfloat16) if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: _bf16(item) for name, item in value.items()}
    return type(value)(map(_bf16, value)) if type(value) in (tuple, list) else value
