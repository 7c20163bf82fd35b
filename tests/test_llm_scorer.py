"""Phase scores: batched equals single equals the plain model, whatever the family."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from llm_tiny import write_adapter, write_model

from llm.backbone import Backbone, BackboneError, load
from llm.prompt import CUE, PromptError
from llm.scorer import MAX_BATCH_TOKENS, MAX_PADDING, PhaseScorer, batches, letter_ids

PROMPTS = [f"Green A age{'7' * n}\nA queue{n} wait0\n{'B queue1 wait3' * n}\n{CUE}" for n in (1, 3, 2, 8, 1)]
PHASES = [2, 4, 3, 26, 5]
# PEFT 0.21 asks transformers 5 by an old name where these tests make adapters
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "llama")


def by_hand(backbone: Backbone, prompt: str, phases: int) -> np.ndarray:
    """The plain call, the whole vocabulary, one prompt at a time."""
    ids = torch.tensor([backbone.tokenizer(prompt)["input_ids"]])
    letters = [backbone.tokenizer(f"{CUE} {c}")["input_ids"][-1] for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:phases]]
    with torch.inference_mode():
        return torch.log_softmax(backbone.model(input_ids=ids).logits[0, -1, letters].double(), dim=0).numpy()


@pytest.mark.parametrize(("kind", "rows"), [("llama", True), ("gpt2", True), ("gemma2", False)])
def test_batched_equals_plain_single(kind: str, rows: bool, tmp_path: Path) -> None:
    # gemma2 squeezes its logits after the head, so its rows alone would be wrong
    options = {"final_logit_softcapping": 0.5} if kind == "gemma2" else {}
    backbone = load(str(write_model(tmp_path / kind, kind, **options)))
    scorer = PhaseScorer(backbone)
    assert scorer.rows_suffice is rows
    for found, prompt, phases in zip(scorer.score(PROMPTS, PHASES), PROMPTS, PHASES, strict=True):
        assert found.shape == (phases,)
        np.testing.assert_allclose(found, by_hand(backbone, prompt, phases), atol=1e-4)
        np.testing.assert_allclose(found, scorer.score([prompt], [phases])[0], atol=1e-4)
        assert np.exp(found).sum() == pytest.approx(1)
    assert scorer.tokens == 2 * sum(len(backbone.tokenizer(prompt)["input_ids"]) for prompt in PROMPTS)


def test_adapter_with_virtual_tokens(llama: Path, tmp_path: Path) -> None:
    """Prompt tuning cannot be merged: it is kept as a wrapper, and scored by the plain call."""
    from peft import PromptTuningConfig, TaskType, get_peft_model

    config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=3)
    reference = get_peft_model(load(str(llama)).model, config).eval()
    reference.save_pretrained(tmp_path, save_embedding_layers=False)
    backbone = load(str(llama), adapter=tmp_path)
    scorer = PhaseScorer(backbone)
    letters = letter_ids(backbone.tokenizer, 4)
    for found, prompt in zip(scorer.score(PROMPTS, [4] * 5), PROMPTS, strict=True):
        ids = torch.tensor([backbone.tokenizer(prompt)["input_ids"]])
        with torch.inference_mode():
            expected = torch.log_softmax(reference(input_ids=ids).logits[0, -1, letters].double(), dim=0).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_adapter_changes_scores(llama: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", llama)
    plain, adapted = (PhaseScorer(load(str(llama), adapter=a)).score(PROMPTS, PHASES) for a in (None, adapter))
    assert not np.allclose(plain[0], adapted[0], atol=1e-2)


def test_same_scores_again(llama: Path) -> None:
    first, second = PhaseScorer(load(str(llama))), PhaseScorer(load(str(llama)))
    second.score(PROMPTS[:2], PHASES[:2])
    for a, b in zip(first.score(PROMPTS, PHASES), second.score(PROMPTS, PHASES), strict=True):
        assert a.tobytes() == b.tobytes()


def test_nothing_to_score(llama: Path) -> None:
    assert PhaseScorer(load(str(llama))).score([], []) == []


def test_nan_in_the_model_is_nan_in_the_scores(llama: Path) -> None:
    backbone = load(str(llama))
    backbone.model.get_decoder().norm.weight.data.fill_(float("nan"))
    assert np.isnan(PhaseScorer(backbone).score(PROMPTS[:1], [3])[0]).all()


def test_tokenizer_that_splits_letters(tmp_path: Path) -> None:
    backbone = load(str(write_model(tmp_path / "split", splits_letters=True)))
    with pytest.raises(BackboneError, match=r"no token of its own for the phase letter 'A'.*\.$"):
        PhaseScorer(backbone).score(PROMPTS[:1], [2])


def test_more_phases_than_letters(llama: Path) -> None:
    with pytest.raises(PromptError, match="27 phases"):
        letter_ids(load(str(llama)).tokenizer, 27)


@given(st.lists(st.integers(1, 400), max_size=40))
def test_batches_hold_every_prompt_once_with_little_padding(lengths: list[int]) -> None:
    groups = batches(lengths)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        sizes = [lengths[i] for i in group]
        padded = max(sizes) * len(sizes)
        assert padded - sum(sizes) <= MAX_PADDING * padded
        assert len(sizes) == 1 or padded <= MAX_BATCH_TOKENS
