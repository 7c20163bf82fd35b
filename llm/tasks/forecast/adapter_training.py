"""Low-rank adaptation for the forecast pass: the adapter and the head learn together from the pinball loss.

``forecast_loss`` is one step's loss; a training of decisions can add it to its own, so that one adapter serves both.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llm.backbone import cards
from llm.backbone.loading import Backbone, BackboneError
from llm.backbone.precision import told_out_of_memory
from llm.records.shards import thinned
from llm.tasks.forecast.head_training import (
    NO_MEMORY,
    ForecastTraining,
    Reader,
    check_finite,
    noted_base,
    plain_head,
)
from llm.tasks.forecast.network_fit import Lessons
from llm.tasks.forecast.prompt import FORECAST_PROMPT_VERSION
from llm.tasks.forecast.quantile_head import QuantileHead, pinball_loss
from llm.tasks.forecast.records import ForecastRecord, states


@dataclass(frozen=True)
class Tuning:
    """How the adapter is trained.

    Attributes:
        rank: of LoRA on all linear layers (Hu et al. 2021); alpha is twice the rank.
        epochs: passes over the prompts.
        batch: prompts in a step.
        learning_rate: highest, after a tenth of the steps; it then falls as a cosine.
        measures: how often the validation loss is measured; the best state is kept.
        seed: of initialisation and order.
        head: how the head's part that reads the numbers is trained first.
    """

    rank: int = 16
    epochs: float = 1.0
    batch: int = 16
    learning_rate: float = 1e-3
    measures: int = 6
    seed: int = 0
    head: ForecastTraining = field(default_factory=ForecastTraining)


def forecast_loss(reader: Reader, head: QuantileHead, records: Sequence[ForecastRecord]) -> torch.Tensor:
    """Mean pinball loss of some records in the scaled space; differentiable in the adapter and the head."""
    known = states(records)
    lessons = Lessons.of(records)
    hidden = reader.hidden(reader.token_ids(known), [len(state.approaches) for state in known])
    device = hidden.device
    said = head(hidden, lessons.facts.to(device))
    return pinball_loss(said, lessons.wanted.to(device), lessons.weight.to(device))


def tune_forecast(
    backbone: Backbone,
    train: Sequence[ForecastRecord],
    validation: Sequence[ForecastRecord],
    out: Path,
    tuning: Tuning | None = None,
    limits: tuple[int, int] = (0, 0),
    about: dict[str, Any] | None = None,
    tell: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Train an adapter with a head on a backbone without one, and write both with a card to ``out``.

    Args:
        backbone: the model, as ``llm.backbone.loading.load`` gives it without an adapter; its layers are changed
            in place.
        train: records to learn from.
        validation: records that choose the state to keep.
        out: folder of the adapter.
        tuning: how.
        limits: use at most so many training and validation prompts; 0 for all.
        about: further facts for the file beside the head, such as the records' hash.
        tell: is given a line for each measurement.

    Returns:
        What was noted beside the head, with the validation losses: from the numbers alone, the best, and all of them.

    Raises:
        BackboneError: the tokenizer splits a marker, the model's states are not finite, or the memory is out.
    """
    tuning = tuning or Tuning()
    shown, held = thinned(train, limits[0]), thinned(validation, limits[1])
    with told_out_of_memory(BackboneError(NO_MEMORY)):
        head = plain_head(Reader(backbone).width, train, validation, tuning.head).to(backbone.device)
        reader = Reader(_adapted(backbone, tuning))
        features = reader.read(states(thinned(shown, 200)))
        check_finite(features)
        head.scale_to(features.to(backbone.device))
        learnt = [p for p in (*reader.backbone.model.parameters(), *head.text.parameters()) if p.requires_grad]
        steps = max(1, round(tuning.epochs * len(shown) / tuning.batch))
        optimizer = torch.optim.AdamW(learnt, lr=tuning.learning_rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, tuning.learning_rate, steps + 1, pct_start=0.1)
        losses, best, began_s = [_measure(reader, head, held)], _copies(learnt), time.monotonic()
        tell(f"0/{steps}: {losses[0]:.4f}")
        for step, batch in enumerate(_batches(shown, tuning, steps), start=1):
            loss = forecast_loss(reader, head, batch)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(learnt, 1.0)
            optimizer.step()
            schedule.step()
            if step % max(1, steps // tuning.measures) == 0 or step == steps:
                losses.append(_measure(reader, head, held))
                tell(f"{step}/{steps}: {losses[-1]:.4f} ({time.monotonic() - began_s:.0f} s)")
                if losses[-1] <= min(losses):
                    best = _copies(learnt)
    with torch.no_grad():
        for parameter, value in zip(learnt, best, strict=True):
            parameter.copy_(value)
    said = {"plain": losses[0], "best": min(losses), "on_the_way": losses}
    noted = {**(about or {}), "tuning": asdict(tuning), "losses": said, "train_prompts": len(shown)}
    return _save(reader.backbone, head, out, {**noted, "reads_text": head.reads_features})


def _adapted(backbone: Backbone, tuning: Tuning) -> Backbone:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(tuning.seed)
    config = LoraConfig(
        r=tuning.rank, lora_alpha=2 * tuning.rank, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM"
    )
    with warnings.catch_warnings():  # PEFT 0.21 asks transformers 5 by an old name
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        return replace(backbone, model=get_peft_model(backbone.model, config))


def _batches(records: Sequence[ForecastRecord], tuning: Tuning, steps: int) -> Iterator[list[ForecastRecord]]:
    """Random batches of prompts of like length, so that little padding is read."""
    rng = np.random.default_rng(tuning.seed)
    done = 0
    while True:
        order = sorted(rng.permutation(len(records)).tolist(), key=lambda i: len(records[i].state.prompt))
        groups = [order[k : k + tuning.batch] for k in range(0, len(order), tuning.batch)]
        for number in rng.permutation(len(groups)).tolist():
            if done == steps:
                return
            done += 1
            yield [records[i] for i in groups[number]]


def _measure(reader: Reader, head: QuantileHead, records: Sequence[ForecastRecord]) -> float:
    lessons = Lessons.of(records)
    head.eval()
    with torch.inference_mode():
        said = head.cpu()(reader.read(states(records)), lessons.facts)
        loss = float(pinball_loss(said, lessons.wanted, lessons.weight))
    head.to(reader.backbone.device).train()
    return loss


def _copies(parameters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in parameters]


def _save(backbone: Backbone, head: QuantileHead, out: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Write the adapter, its card, and the head that reads through it."""
    backbone.model.save_pretrained(out, save_embedding_layers=False)
    card = cards.Card(
        backbone.name,
        backbone.model_sha256,
        backbone.layers,
        FORECAST_PROMPT_VERSION,
        about["tuning"],
        task="forecast",
    )
    cards.write_card(out, replace(card, records_sha256=about.get("records_sha256", "")))
    noted = {**about, **noted_base(replace(backbone, adapter=out))}
    head.cpu().save(out, noted)
    return noted
