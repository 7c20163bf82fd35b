"""A language model in the loop: it reads each signal's state as text and scores the phases by its own logits."""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from controllers import decision_log
from controllers.base import Controller, ControllerError
from controllers.fallback import Fallback
from controllers.learnt import forecast_source
from controllers.parameters import check_choice, check_flag, check_number
from llm.backbone import cards
from llm.backbone.loading import DEFAULT, BackboneError, load
from llm.backbone.precision import AUTO as AUTO_PRECISION
from llm.backbone.precision import out_of_memory, resolve
from llm.tasks.decide.attribution import Explanation
from llm.tasks.decide.attribution import explain as explained
from llm.tasks.decide.prompt import PROMPT_VERSION, TASK, PromptError, phase_letters, signal_prompt
from llm.tasks.decide.scorer import PhaseScorer
from sim.network import Network, Signal
from sim.observation import Observation
from sim.signals import Decision
from sim.timings import NATIVE

if TYPE_CHECKING:
    from llm.backbone.loading import Backbone

#: The adapter that ships for the default model.
AUTO = "auto"
LOGGER = logging.getLogger("greenloop")
#: What the prompts can say; see ``LanguageModel``.
SHOWN = ("all", "no_reports", "shuffled")
#: Why a decision came from the fallback.
REASONS = ("error", "memory", "nan", "late")
_LOADED: OrderedDict[tuple[object, ...], PhaseScorer] = OrderedDict()
_MAX_LOADED = 2
#: Prompts of a run whose scores are remembered: of an hour of cologne8's, a third are repeated.
MAX_REMEMBERED = 4096
Scores = NDArray[np.float64]


class LanguageModel(Controller):
    """Shows at each due signal the phase whose letter the language model finds most likely after the signal's prompt.

    All due signals are scored in one batch, and a prompt that came before in the run is not read again. Where the model
    raises, gives a number that is not finite, or is late, a classical controller decides in its place; this is counted
    by reason and logged once for each reason in a run.

    Args:
        model: ``default``, a local folder, or a Hugging Face model id.
        adapter: folder of a PEFT adapter for that model; ``auto`` is the one that ships for the default model, if any;
            ``none`` leaves the model as it is.
        layers: keep only the model's first so many decoder layers; by default those that the adapter was trained on.
        precision: ``auto`` multiplies in bf16 where the processor has units for it; ``fp32`` or ``bf16`` say which.
        fallback: spec of the controller that stands in.
        deadline_s: a batch that takes longer than this counts as late; wall clock, so runs with it are not repeatable.
        threads: torch threads of this process.
        device: torch device.
        log: file to which each decision is added as a line of JSON: time, signal, prompt, scores, chosen phase, and the
            reason where the fallback decided.
        explain: notes and log say why, too; a decision then costs several times as much.
        forecast: the prompts say how many vehicles will arrive within a minute: ``none`` does not, ``persistence`` says
            the last minute's flow again, ``reference`` what came in a run of the same scenario and seed under greedy,
            ``own`` what the forecast head beside the adapter says every 60 s.
        shows: what prompts say, for ablations: ``all``; ``no_reports`` leaves the reports out; ``shuffled`` gives each
            phase the facts of another one, by lot.
    """

    def __init__(
        self,
        model: str = DEFAULT,
        adapter: str | Path | None = AUTO,
        layers: int | None = None,
        precision: str = AUTO_PRECISION,
        fallback: str = "greedy",
        deadline_s: float | None = None,
        threads: int = 1,
        device: str = "cpu",
        log: str | Path | None = None,
        explain: bool = False,
        forecast: str | None = "none",
        shows: str = "all",
    ) -> None:
        if deadline_s is not None:
            deadline_s = check_number("language_model", "deadline_s", deadline_s, 0.0, above=True)
        if not isinstance(fallback, str):
            raise ControllerError(f"language_model: fallback is {fallback!r}; give a controller, such as greedy.")
        if not isinstance(log, (str, Path, type(None))):
            raise ControllerError(f"language_model: log is {log!r}; give a file.")
        self.fallback = fallback
        self._fallback = Fallback(fallback, "language_model", LanguageModel, REASONS, called="The language model")
        self.model, self.layers, self.threads, self.device = str(model), layers, threads, device
        self.adapter = _adapter_folder(self.model, adapter, layers)
        self.precision, self.deadline_s = precision, deadline_s
        self.log = None if log is None else Path(log)
        self.explain = check_flag("language_model", "explain", explain)
        wanted = "none" if forecast is None else forecast
        self.forecast: str = check_choice("language_model", "forecast", wanted, forecast_source.NAMES)
        self.shows = check_choice("language_model", "shows", shows, SHOWN)
        self.deterministic = deadline_s is None
        self._asked: dict[str, dict[str, object]] = {}

    def reset(self, network: Network, seed: int) -> None:
        """Load the model (once in a process) and check that it can name every signal's phases.

        Raises:
            ControllerError: the model cannot be loaded, or a signal has more phases than there are letters.
        """
        super().reset(network, seed)
        try:
            most = max((len(signal.phases) for signal in network.controllable), default=0)
            phase_letters(most)  # before the model, which takes longer
            if self.adapter is not None:
                cards.check_task(self.adapter, cards.read_card(self.adapter), TASK, PROMPT_VERSION)
            self._scorer = _loaded(self.model, self.adapter, self.layers, self.precision, self.threads, self.device)
            self._scorer.prepare(most)
        except (BackboneError, PromptError) as error:
            raise ControllerError(str(error)) from error
        backbone = self._scorer.backbone
        self._source = forecast_source.make(self.forecast, network, self.context, backbone, self.adapter)
        self._fallback.reset(network, seed, self.context)
        self._lots = np.random.default_rng(seed)
        self._counts: Counter[str] = Counter()
        self._remembered: OrderedDict[str, Scores] = OrderedDict()
        self._asked = {}

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Return the most likely phase of each due signal."""
        self._look(observation)
        due = [signal for signal in self.network.controllable if observation.due[signal.index]]
        self._asked = {}
        if not due:
            return {}
        self._counts["decisions"] += len(due)
        self._counts["batches"] += 1
        decisions, failed = self._ask(due, observation)
        if failed:
            decisions |= self._fallback.act(failed, observation)
        if self.log is not None:
            decision_log.append(self.log, self.context, observation.time_s, decisions, self.notes())
        return decisions

    def notes(self) -> Mapping[str, Mapping[str, object]]:
        """Of each of the last decisions: prompt, scores, the reason for a fallback, and why, if asked for."""
        return {name: self.notes_of(name) for name in self._asked}

    def notes_of(self, signal: str) -> Mapping[str, object]:
        """The notes of one signal's last decision, empty where none was asked for."""
        note = self._asked.get(signal, {})
        if not self.explain or "fallback" in note or "scores" not in note:
            return note
        try:
            return {**note, "why": self.why(signal).sentence}
        except Exception as error:  # an explanation is worth no run
            return {**note, "why": f"No explanation: {' '.join(f'{type(error).__name__}: {error}'.split())[:200]}."}

    def why(self, signal: str) -> Explanation:
        """Explain a signal's last decision.

        Raises:
            ControllerError: the model made none, or the fallback did.
        """
        note = self._asked.get(signal, {})
        if "fallback" in note or "scores" not in note:
            stood_in = f"{self._fallback.name} decided in the model's place ({note.get('fallback')})"
            raise ControllerError(
                f"There is nothing of the model's to explain at '{signal}': "
                f"{stood_in if 'fallback' in note else 'it has decided nothing there'}."
            )
        return explained(str(note["prompt"]), np.array(note["scores"]), self._scorer.score)

    def depends_on(self) -> Mapping[str, str | Path]:
        """The adapter that ships, and the precision that this machine gives.

        Raises:
            ControllerError: there is no such precision.
        """
        try:
            found: dict[str, str | Path] = {"precision": resolve(self.precision, self.device)}
        except BackboneError as error:
            raise ControllerError(str(error)) from error
        return found if self.adapter is None else {**found, "adapter": self.adapter}

    def parameters(self) -> dict[str, object]:
        """The constructor's parameters; the shipped adapter by its name, because its path is this machine's."""
        adapter = AUTO if self.adapter is not None and self.adapter == cards.shipped() else self.adapter
        return {**super().parameters(), "adapter": None if adapter is None else str(adapter)}

    def counters(self) -> Mapping[str, float]:
        """Decisions, batches, prompt tokens, decisions remembered, and by the fallback: in all and by reason.

        ``close`` are those that were read again in fp32, because bf16 left two phases nearly alike.
        """
        plain = {name: self._counts[name] for name in ("decisions", "batches", "tokens", "remembered", "close")}
        forecasts = {} if self.forecast == "none" else {"forecasts_failed": self._counts["forecasts_failed"]}
        return {**plain, **self._fallback.counters(), **forecasts}

    def close(self) -> None:
        """Release what the fallback holds; the model stays loaded for the next run."""
        self._fallback.close()

    def provenance(self) -> dict[str, str | int | None]:
        """What decided: hashes of model and adapter, layers and precision in use, and the prompt's version."""
        backbone: Backbone = self._scorer.backbone
        return {
            "model": self.model,
            "model_sha256": backbone.model_sha256,
            "adapter_sha256": backbone.adapter_sha256,
            "layers": backbone.layers,
            "precision": self._scorer.precision,
            "prompt_version": PROMPT_VERSION,
        }

    def _ask(self, due: list[Signal], observation: Observation) -> tuple[dict[str, Decision | int], list[Signal]]:
        """The model's decisions, and the signals for which it has none."""
        start_s = time.perf_counter()
        try:
            prompts = self._prompts(due, observation)
            self._asked = {signal.id: {"prompt": prompt} for signal, prompt in zip(due, prompts, strict=True)}
            scores = self._scores(prompts, [len(signal.phases) for signal in due])
        except Exception as error:  # whatever the model raises, the city needs a decision
            reason = "memory" if out_of_memory(error) else "error"
            return {}, self._fail(reason, due, f"{type(error).__name__}: {error}")
        took_s = time.perf_counter() - start_s
        for signal, score in zip(due, scores, strict=True):
            self._asked[signal.id]["scores"] = [float(value) if np.isfinite(value) else None for value in score]
        if self.deadline_s is not None and took_s > self.deadline_s:
            return {}, self._fail("late", due, f"{took_s:.3f} s for {len(due)} signals")
        broken = [signal for signal, score in zip(due, scores, strict=True) if np.isnan(score).any()]
        if broken:
            self._fail("nan", broken, "scores that are not finite")
        lost = {signal.id for signal in broken}
        chosen = {s.id: int(score.argmax()) for s, score in zip(due, scores, strict=True) if s.id not in lost}
        return dict(chosen), broken

    def _look(self, observation: Observation) -> None:
        """Show an observation to the forecast's source; where that fails, the prompts say ``next?``."""
        try:
            self._source.see(observation)
        except Exception as error:  # a forecast is worth no run
            self._counts["forecasts_failed"] += 1
            if self._counts["forecasts_failed"] == 1:
                detail = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                LOGGER.warning("The forecast failed (%s); prompts say that arrivals are unknown.", detail)

    def _prompts(self, due: list[Signal], observation: Observation) -> list[str]:
        timings, arrivals = self.context.timings if self.context else NATIVE, self._source.arrivals(observation)
        if self.shows == "no_reports":
            observation = replace(observation, reports=())
        prompts = [signal_prompt(self.network, signal, observation, arrivals, timings) for signal in due]
        return [self._shuffled(prompt) for prompt in prompts] if self.shows == "shuffled" else prompts

    def _shuffled(self, prompt: str) -> str:
        """The prompt with the phases' facts in another order, but their letters where they were."""
        lines = prompt.split("\n")
        rows = [place for place, line in enumerate(lines) if line.startswith(("green", "red "))]
        facts = [lines[place][:-1] for place in rows]
        for place, other in zip(rows, self._lots.permutation(len(rows)).tolist(), strict=True):
            lines[place] = facts[other] + lines[place][-1]
        return "\n".join(lines)

    def _scores(self, prompts: list[str], phases: list[int]) -> list[Scores]:
        """Scores of all prompts; only those that are new are read, each once, and the last so many are remembered."""
        tokens, close = self._scorer.tokens, self._scorer.close
        new = {p: n for p, n in zip(prompts, phases, strict=True) if p not in self._remembered}
        try:
            found = dict(zip(new, self._scorer.score(list(new), list(new.values())), strict=True)) if new else {}
        finally:
            self._counts["tokens"] += self._scorer.tokens - tokens
            self._counts["close"] += self._scorer.close - close
        self._counts["remembered"] += len(prompts) - len(new)
        scores = [found[prompt] if prompt in found else self._remembered[prompt] for prompt in prompts]
        for prompt, score in zip(prompts, scores, strict=True):
            if np.isfinite(score).all():
                self._remembered[prompt] = score
                self._remembered.move_to_end(prompt)
        while len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return scores

    def _fail(self, reason: str, signals: list[Signal], detail: str) -> list[Signal]:
        """Count these signals' decisions for the fallback, say it once, and return the signals."""
        for signal in signals:
            self._asked.setdefault(signal.id, {})["fallback"] = reason
        self._fallback.count(reason, detail, len(signals))
        return signals


class UntunedLanguageModel(LanguageModel):
    """The language model without any adapter: what fine-tuning is compared with."""

    def __init__(
        self,
        model: str = DEFAULT,
        layers: int | None = None,
        fallback: str = "greedy",
        precision: str = AUTO_PRECISION,
        threads: int = 1,
    ) -> None:
        super().__init__(model, None, layers, precision, fallback, threads=threads)


def _adapter_folder(model: str, adapter: str | Path | None, layers: int | None) -> Path | None:
    if adapter == AUTO:
        if model != DEFAULT or layers is not None:  # the shipped one is for its own model and layers only
            return None
        if (shipped := cards.shipped()) is None:
            raise ControllerError(
                f"The adapter that ships is missing: {cards.SHIPPED} has no {cards.FILE}. Install greenloop again, or "
                "ask for the untuned model with adapter=none."
            )
        return shipped
    return None if adapter in (None, "none") else Path(str(adapter)).expanduser()


def _loaded(
    model: str, adapter: Path | None, layers: int | None, precision: str, threads: int, device: str
) -> PhaseScorer:
    """The scorer for these options; the last two stay loaded, so that the next run in this process starts at once."""
    stamp = tuple((file, file.stat().st_mtime_ns) for file in sorted(adapter.glob("*"))) if adapter else ()
    key = (model, adapter, stamp, layers, precision, threads, device)
    if key not in _LOADED:
        _LOADED[key] = PhaseScorer(load(model, adapter, layers, threads, device, (TASK, PROMPT_VERSION)), precision)
        while len(_LOADED) > _MAX_LOADED:
            _LOADED.popitem(last=False)
    _LOADED.move_to_end(key)
    _set_threads(threads)
    return _LOADED[key]


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)  # another controller in this process may have changed it
