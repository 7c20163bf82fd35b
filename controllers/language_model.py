"""A language model in the loop: it reads each signal's state as text and scores the phases by its own logits."""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from controllers.base import Controller, ControllerError
from controllers.registry import make
from llm import cards
from llm.backbone import DEFAULT, BackboneError, load
from llm.prompt import PROMPT_VERSION, PromptError, phase_letters, signal_prompt
from llm.scorer import PhaseScorer
from sim.network import Network, Signal
from sim.observation import Observation
from sim.signals import Decision
from sim.timings import NATIVE

if TYPE_CHECKING:
    from llm.backbone import Backbone

#: The adapter that ships for the default model.
AUTO = "auto"
LOGGER = logging.getLogger("greenloop")
#: Why a decision came from the fallback.
REASONS = ("error", "memory", "nan", "late")
_LOADED: OrderedDict[tuple[object, ...], PhaseScorer] = OrderedDict()
_MAX_LOADED = 2


class LanguageModel(Controller):
    """Shows at each due signal the phase whose letter the language model finds most likely after the signal's prompt.

    All due signals are scored in one batch. Where the model raises, gives a number that is not finite, or is late, a
    classical controller decides in its place; this is counted by reason and logged once for each reason in a run.

    Args:
        model: ``default``, a local folder, or a Hugging Face model id.
        adapter: folder of a PEFT adapter for that model; ``auto`` is the one that ships for the default model, if any;
            ``none`` leaves the model as it is.
        layers: keep only the model's first so many decoder layers; by default those that the adapter was trained on.
        fallback: spec of the controller that stands in.
        deadline_s: a batch that takes longer than this counts as late; wall clock, so runs with it are not repeatable.
        threads: torch threads of this process.
        device: torch device.
    """

    def __init__(
        self,
        model: str = DEFAULT,
        adapter: str | Path | None = AUTO,
        layers: int | None = None,
        fallback: str = "greedy",
        deadline_s: float | None = None,
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        if deadline_s is not None and not (isinstance(deadline_s, (int, float)) and deadline_s > 0):
            raise ControllerError(f"language_model: deadline_s is {deadline_s!r}; give seconds above 0.")
        self.fallback = make(fallback)
        if isinstance(self.fallback, LanguageModel):
            raise ControllerError("language_model: the fallback must be another kind of controller, such as 'greedy'.")
        if self.fallback.looks_ahead:
            raise ControllerError(f"language_model: '{fallback}' looks ahead, so it is no fallback; choose 'greedy'.")
        self.model, self.layers, self.threads, self.device = str(model), layers, threads, device
        self.adapter = _adapter_folder(self.model, adapter, layers)
        self.deadline_s = deadline_s
        self.deterministic = deadline_s is None

    def reset(self, network: Network, seed: int) -> None:
        """Load the model (once in a process) and check that it can name every signal's phases.

        Raises:
            ControllerError: the model cannot be loaded, or a signal has more phases than there are letters.
        """
        super().reset(network, seed)
        try:
            most = max((len(signal.phases) for signal in network.controllable), default=0)
            phase_letters(most)  # before the model, which takes longer
            self._scorer = _loaded(self.model, self.adapter, self.layers, self.threads, self.device)
            self._scorer.prepare(most)
        except (BackboneError, PromptError) as error:
            raise ControllerError(str(error)) from error
        self.fallback.context = self.context
        self.fallback.reset(network, seed)
        self._counts: Counter[str] = Counter()
        self._said: set[str] = set()

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Return the most likely phase of each due signal."""
        due = [signal for signal in self.network.controllable if observation.due[signal.index]]
        if not due:
            return {}
        self._counts["decisions"] += len(due)
        self._counts["batches"] += 1
        decisions, failed = self._ask(due, observation)
        if failed:
            instead = self.fallback.act(observation)
            decisions.update({signal.id: instead[signal.id] for signal in failed if signal.id in instead})
        return decisions

    def counters(self) -> Mapping[str, float]:
        """Decisions, batches, prompt tokens, and decisions by the fallback: in all and by reason."""
        fallbacks = {f"fallback_{reason}": self._counts[reason] for reason in REASONS}
        plain = {name: self._counts[name] for name in ("decisions", "batches", "tokens")}
        return {**plain, "fallbacks": sum(fallbacks.values()), **fallbacks}

    def provenance(self) -> dict[str, str | int | None]:
        """What decided: hashes of model and adapter, layers in use, and the prompt's version."""
        backbone: Backbone = self._scorer.backbone
        return {
            "model": self.model,
            "model_sha256": backbone.model_sha256,
            "adapter_sha256": backbone.adapter_sha256,
            "layers": backbone.layers,
            "prompt_version": PROMPT_VERSION,
        }

    def _ask(self, due: list[Signal], observation: Observation) -> tuple[dict[str, Decision | int], list[Signal]]:
        """The model's decisions, and the signals for which it has none."""
        start_s, tokens = time.perf_counter(), self._scorer.tokens
        try:
            timings = self.context.timings if self.context else NATIVE
            prompts = [signal_prompt(self.network, signal, observation, timings=timings) for signal in due]
            scores = self._scorer.score(prompts, [len(signal.phases) for signal in due])
        except Exception as error:  # whatever the model raises, the city needs a decision
            self._fail("memory" if _is_memory(error) else "error", len(due), f"{type(error).__name__}: {error}")
            return {}, due
        finally:
            self._counts["tokens"] += self._scorer.tokens - tokens
        took_s = time.perf_counter() - start_s
        if self.deadline_s is not None and took_s > self.deadline_s:
            self._fail("late", len(due), f"{took_s:.3f} s for {len(due)} signals")
            return {}, due
        broken = [bool(np.isnan(score).any()) for score in scores]
        if any(broken):
            self._fail("nan", sum(broken), "scores that are not finite")
        chosen = {s.id: int(score.argmax()) for s, score, bad in zip(due, scores, broken, strict=True) if not bad}
        return dict(chosen), [signal for signal, bad in zip(due, broken, strict=True) if bad]

    def _fail(self, reason: str, decisions: int, detail: str) -> None:
        self._counts[reason] += decisions
        if reason not in self._said:
            self._said.add(reason)
            LOGGER.warning(
                "The language model failed (%s: %s); %s decides instead, counted as fallback_%s.",
                reason,
                " ".join(detail.split())[:200],
                type(self.fallback).__name__,
                reason,
            )


class UntunedLanguageModel(LanguageModel):
    """The language model without any adapter: what fine-tuning is compared with."""

    def __init__(self, model: str = DEFAULT, layers: int | None = None, fallback: str = "greedy") -> None:
        super().__init__(model, None, layers, fallback)


def _adapter_folder(model: str, adapter: str | Path | None, layers: int | None) -> Path | None:
    if adapter == AUTO:  # the shipped one is for its own layers only
        return cards.shipped() if model == DEFAULT and layers is None else None
    return None if adapter in (None, "none") else Path(str(adapter)).expanduser()


def _is_memory(error: Exception) -> bool:
    """Torch raises a plain RuntimeError when the CPU's memory is out."""
    return isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error)


def _loaded(model: str, adapter: Path | None, layers: int | None, threads: int, device: str) -> PhaseScorer:
    """The scorer for these options; the last two stay loaded, so that the next run in this process starts at once."""
    stamp = tuple((file, file.stat().st_mtime_ns) for file in sorted(adapter.glob("*"))) if adapter else ()
    key = (model, adapter, stamp, layers, threads, device)
    if key not in _LOADED:
        _LOADED[key] = PhaseScorer(load(model, adapter, layers, threads, device))
        while len(_LOADED) > _MAX_LOADED:
            _LOADED.popitem(last=False)
    _LOADED.move_to_end(key)
    _set_threads(threads)
    return _LOADED[key]


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)  # another controller in this process may have changed it
