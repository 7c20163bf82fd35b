"""The transformers Trainer for rows: logits of marks against shares, or a head's answers against numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

from llm.engine.heads import RowHead, row_loss
from llm.engine.lessons import Lessons, LikeLengths
from llm.tasks.questions import Answer, Choice

_FAR = -1e9
HEAD_FILE = "row_head.safetensors"


class RowTrainer(Trainer):  # type: ignore[misc]
    """The Trainer with the loss over a question's rows.

    Attributes:
        kind: of the answers.
        head: answers from hidden states; None for a choice. It is part of the model as ``row_head``.
        rows_suffice: whether the rows of the output matrix give the whole model's own logits.
        fresh: whether nothing was learnt before this training.
        by_line: read each row at its mark, as all that is trained here; a model that nothing has been taught yet is
            measured by the logits after the text's end.
    """

    def __init__(self, *arguments: Any, kind: Answer, rows_suffice: bool, fresh: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.kind, self.rows_suffice, self.fresh, self.by_line = kind, rows_suffice, fresh, True
        self.head: RowHead | None = getattr(self.model, "row_head", None)

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **_: Any) -> Any:
        """Cross-entropy of the rows' shares against the soft targets, or the head's loss."""
        if self.head is not None:
            there = inputs["there"]
            said = self.head(self._hidden(model, inputs)[there], inputs["features"][there])
            loss = row_loss(self.kind, said, inputs["target"][there], inputs["weight"][there])
            return (loss, said) if return_outputs else loss
        logits = self.row_logits(model, inputs)
        target = inputs["target"].nan_to_num()
        loss = -(target * torch.log_softmax(logits, -1)).sum(-1).mean()
        return (loss, logits) if return_outputs else loss

    def prediction_step(self, model: Any, inputs: dict[str, Any], *_: Any, **__: Any) -> Any:
        """Loss of a batch, and of a choice the logits and labels."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad():
            loss, said = self.compute_loss(model, inputs, return_outputs=True)
        if not isinstance(self.kind, Choice):
            return loss.detach(), None, None
        return loss.detach(), said.detach(), inputs["labels"]

    def _get_train_sampler(self, *_: Any) -> Any:
        return LikeLengths(self.train_dataset, self.args.per_device_train_batch_size, self.fresh)

    # --- reading

    def row_logits(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """(batch, rows) logits of each row's token; those of rows that do not exist are far below."""
        ids, ends, tokens = inputs["input_ids"], inputs["ends"], inputs["tokens"]
        places = inputs["places"] if self.by_line else ends[:, None].expand_as(inputs["places"])
        if self.rows_suffice:
            logits = self._logits_at(model, inputs, places, tokens)
        else:
            mask = (torch.arange(ids.shape[1], device=ids.device)[None] <= ends[:, None]).long()
            whole = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            rows = torch.arange(len(ids), device=ids.device)[:, None]
            logits = whole[rows, places, tokens]
        masked: torch.Tensor = logits.masked_fill(~inputs["there"], _FAR)
        return masked

    def _hidden(self, model: Any, inputs: dict[str, Any], places: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, rows, width) hidden states at the marks, or at other places."""
        network = model.get_base_model() if hasattr(model, "get_base_model") else model
        ids, there = inputs["input_ids"], inputs["places"] if places is None else places
        # The Trainer's own autocast wraps the whole model's forward, which is not called here.
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self.args.bf16):
            hidden = network.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        found: torch.Tensor = hidden.gather(1, there[..., None].expand(-1, -1, hidden.shape[-1]))
        return found.float()

    def _logits_at(
        self, model: Any, inputs: dict[str, Any], places: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        network = model.get_base_model() if hasattr(model, "get_base_model") else model
        hidden = self._hidden(model, inputs, places)
        head = network.get_output_embeddings()
        bias = 0.0 if head.bias is None else head.bias[tokens].float()
        with torch.autocast(hidden.device.type, enabled=False):  # the rows' logits lie close together
            logits: torch.Tensor = (hidden * _rows(head, tokens).float()).sum(-1) + bias
        return logits

    # --- checkpoints hold the head beside the adapter

    def _save(self, output_dir: Any = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        if self.head is not None:
            from safetensors.torch import save_file

            folder = Path(output_dir or self.args.output_dir)
            weights = {name: value.detach().cpu().contiguous() for name, value in self.head.state_dict().items()}
            save_file(weights, folder / HEAD_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: Any, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self._load_head(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        super()._load_best_model()
        self._load_head(Path(self.state.best_model_checkpoint))

    def _load_head(self, folder: Path) -> None:
        if self.head is not None and (folder / HEAD_FILE).is_file():
            from safetensors.torch import load_file

            self.head.load_state_dict(load_file(folder / HEAD_FILE))


def _rows(head: Any, tokens: torch.Tensor) -> torch.Tensor:
    """The output head's weights of some tokens, with what an adapter of the head adds to them."""
    rows: torch.Tensor = head.weight[tokens]
    for name in getattr(head, "active_adapters", ()):
        rows = rows + head.scaling[name] * head.lora_B[name].weight[tokens] @ head.lora_A[name].weight
    return rows


class EpochCallback(TrainerCallback):  # type: ignore[misc]
    """Tells the dataset which epoch it is, also after a resume."""

    def __init__(self, data: Lessons) -> None:
        self.data = data

    def on_epoch_begin(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        """Set the epoch."""
        self.data.epoch = int(state.epoch or 0)


class AdaLoraCallback(TrainerCallback):  # type: ignore[misc]
    """AdaLoRA moves its rank budget after each step."""

    def on_optimizer_step(self, _: Any, state: Any, *__: Any, model: Any = None, **___: Any) -> None:
        """Move the budget."""
        model.base_model.update_and_allocate(state.global_step)
