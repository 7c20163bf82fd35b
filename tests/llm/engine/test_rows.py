"""Phase scores: batched equals single equals the plain model, whatever the family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llm.backbone import precision
from llm.backbone.loading import Backbone, BackboneError, load
from llm.engine.marks import marked
from llm.engine.rows import CALL_TOKENS, MAX_BATCH_TOKENS, batches, margin
from llm.tasks.decide.prompt import CUE, PromptError
from llm.tasks.decide.questions import phase_marks
from llm.tasks.decide.scorer import PhaseScorer, letter_ids
from tests.support.llm_tiny import write_adapter, write_model

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


LINES = [
    "\n".join(
        ["change3", *reports, *(f"red go1 queue{7 * n} wait{n} {c}" for n, c in enumerate("ABCDE"[:phases])), CUE]
    )
    for phases, reports in ((2, []), (5, ["Report before A B: one lane\u00b7 C"]), (3, ["Report after C: A"]), (1, []))
]


@pytest.mark.parametrize(("kind", "rows"), [("llama", True), ("gpt2", True), ("gemma2", False)])
def test_a_model_trained_here_answers_at_the_ends_of_the_lines(kind: str, rows: bool, tmp_path: Path) -> None:
    options = {"final_logit_softcapping": 0.5} if kind == "gemma2" else {}
    backbone = replace(load(str(write_model(tmp_path / kind, kind, **options))), by_line=True)
    scorer, letters = PhaseScorer(backbone), letter_ids(backbone.tokenizer, 5)
    assert scorer.rows_suffice is rows
    for found, prompt, phases in zip(scorer.score(LINES, [2, 5, 3, 1]), LINES, [2, 5, 3, 1], strict=True):
        said = []
        for letter, line in zip(letters, prompt.split("\n")[-1 - phases : -1], strict=False):
            ids = backbone.tokenizer(prompt[: prompt.index(line) + len(line)])["input_ids"]
            assert ids[-1] == letter
            with torch.inference_mode():
                said.append(backbone.model(input_ids=torch.tensor([ids])).logits[0, -1, letter].double())
        np.testing.assert_allclose(found, torch.log_softmax(torch.stack(said), dim=0).numpy(), atol=1e-4)
        np.testing.assert_allclose(found, scorer.score([prompt], [phases])[0], atol=1e-4)


def test_a_tokenizer_that_joins_a_letter_to_the_line_break() -> None:
    def tokenizer(*spans: tuple[int, int]) -> Callable[..., dict[str, list[Any]]]:
        return lambda texts, **_: {"input_ids": [list(range(len(spans)))], "offset_mapping": [list(spans)]}

    text = "c\nr A\nr B\nx:"
    ends = phase_marks(text, 2)
    assert ends == [5, 9]
    (found,) = marked(tokenizer((0, 1), (1, 3), (3, 5), (5, 7), (7, 9), (9, 12)), [text], [ends])
    assert (found.places, found.tokens) == ([2, 4], [2, 4])
    assert found.cut().ids == [0, 1, 2, 3, 4]
    with pytest.raises(BackboneError, match=r"joins the mark 'B' to what follows it; .*\.$"):
        marked(tokenizer((0, 1), (1, 3), (3, 5), (5, 7), (7, 10), (10, 12)), [text], [ends])


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
        assert padded - sum(sizes) <= CALL_TOKENS
        assert len(sizes) == 1 or padded <= MAX_BATCH_TOKENS


# --- bf16


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
def test_bf16_rounds_but_does_not_choose(kind: str, tmp_path: Path) -> None:
    backbone = load(str(write_model(tmp_path / kind, kind)))
    prompts = [f"Green A age{n}\nA queue{n * 7 % 30} wait{n}\nB queue{n % 5}\n{CUE}" for n in range(60)]
    fast = PhaseScorer(backbone, "bf16", close_nats=0.0)
    exact_scores, fast_scores = PhaseScorer(backbone).score(prompts, [2] * 60), fast.score(prompts, [2] * 60)
    errors = [np.abs(a - b).max() for a, b in zip(exact_scores, fast_scores, strict=True)]
    assert 1e-4 < max(errors) < 0.5  # it does multiply in bf16
    assert fast.close == 0
    careful = PhaseScorer(backbone, "bf16", close_nats=float(np.median([margin(score) for score in fast_scores])))
    scores = careful.score(prompts, [2] * 60)
    assert careful.close == 30
    assert careful.tokens == pytest.approx(1.5 * fast.tokens, rel=0.05)
    again = np.array([not np.array_equal(a, b) for a, b in zip(fast_scores, scores, strict=True)])
    np.testing.assert_array_equal(again, [margin(score) < careful.close_nats for score in fast_scores])
    for i in np.flatnonzero(again):  # these, and only these, have been read again
        np.testing.assert_allclose(scores[i], exact_scores[i], atol=1e-5)


def test_the_fp32_model_stays_as_it_was(llama: Path) -> None:
    backbone = load(str(llama))
    before = PhaseScorer(backbone).score(PROMPTS, PHASES)
    PhaseScorer(backbone, "bf16").score(PROMPTS, PHASES)
    assert {p.dtype for p in backbone.model.parameters()} == {torch.float32}
    for a, b in zip(before, PhaseScorer(backbone).score(PROMPTS, PHASES), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize(
    ("units", "device", "expected"), [(True, "cpu", "bf16"), (False, "cpu", "fp32"), (True, "cuda", "fp32")]
)
def test_auto_takes_bf16_where_there_are_units(
    units: bool, device: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_bf16_units", lambda: units)
    assert precision.resolve("auto", device) == expected
    assert precision.resolve("fp32", device) == "fp32"
    with pytest.raises(BackboneError, match=r"no precision 'int8'; choose auto, fp32, bf16\.$"):
        precision.resolve("int8", device)


@pytest.mark.parametrize(("amx", "avx", "expected"), [(True, True, True), (False, True, True), (False, False, False)])
def test_units_are_amx_or_avx512(amx: bool, avx: bool, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
    assert precision.has_bf16_units() is expected
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")  # a torch that cannot tell
    assert precision.has_bf16_units() is amx


def test_no_memory_for_the_copy(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    backbone = load(str(llama))
    monkeypatch.setattr(precision.copy, "deepcopy", full)
    with pytest.raises(BackboneError, match="give precision=fp32"):
        PhaseScorer(backbone, "bf16")


def test_margin() -> None:
    assert margin(np.array([-3.0, -1.0, -1.5])) == pytest.approx(0.5)
    assert margin(np.array([0.0])) == np.inf
    assert np.isnan(margin(np.array([np.nan, 0.0])))
