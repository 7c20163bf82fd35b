"""Any model behind an OpenAI-compatible server: it reads each signal's prompt and names the phase."""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Mapping

import numpy as np

from controllers.base import Controller, ControllerError
from controllers.fallback import Fallback
from llm.remote.client import EndpointClient
from llm.remote.options import EndpointError, EndpointOptions
from llm.remote.wire import REASONS, REQUEST_VERSION, Answer, Question
from llm.tasks.decide.prompt import PROMPT_VERSION, PromptError, phase_letters, signal_prompt
from sim.network import Network
from sim.observation import Observation
from sim.signals import Decision
from sim.timings import NATIVE

#: Reasons that speak against the server as a whole; after them it is given a pause.
_OUTAGES = frozenset({"unreachable", "timeout", "rate_limited", "server_error", "refused", "malformed", "late"})
#: Decisions without any answer before the first pause; pauses double up to the longest, counted in decisions.
_PATIENCE, _LONGEST_PAUSE = 2, 64


class Endpoint(Controller):
    """Shows at each due signal the phase that a model behind a server names.

    All due signals are asked at once, with the same prompt that our own language model reads. Where there is no valid
    answer (see ``llm.remote.wire.REASONS``), a classical controller decides in its place; this is counted by reason
    and logged once for each reason in a run. A server that fails twice in a row is asked less and less often, so that
    a run goes on without it and finds it again.

    Args:
        **options: see ``llm.remote.options.EndpointOptions``.

    Raises:
        ControllerError: an option is missing or wrong.
    """

    # The parameters are the options' own: results record them by this signature. It takes others, too, so that the
    # sentence about an unknown one is ours and does not repeat the spec, which may then hold a key.
    __signature__ = inspect.Signature(
        [*inspect.signature(EndpointOptions).parameters.values(), inspect.Parameter("_", inspect.Parameter.VAR_KEYWORD)]
    )

    def __init__(self, **options: object) -> None:
        try:
            self.options = EndpointOptions.of(options)
            self._client = EndpointClient(self.options)
        except EndpointError as error:
            raise ControllerError(str(error)) from None
        self._fallback = Fallback(self.options.fallback, "endpoint", Endpoint, REASONS)
        self.deterministic = self.options.replay is not None
        vars(self).update(self.options)  # under their own names, where results look for them

    def parameters(self) -> dict[str, object]:
        """All options with their values."""
        return self.options.model_dump()

    def reset(self, network: Network, seed: int) -> None:
        """Find the server and learn what it understands.

        Raises:
            ControllerError: there is no server, it refuses us, or a signal has more phases than there are letters.
        """
        super().reset(network, seed)
        self._client.close()
        try:
            phase_letters(max((len(signal.phases) for signal in network.controllable), default=0))
            self._client = EndpointClient(self.options)
            self._client.open()
        except (EndpointError, PromptError) as error:
            raise ControllerError(str(error)) from None
        self._fallback.reset(network, seed, self.context)
        self._decisions = self._failures = self._pause = 0

    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Return the phase that the model names at each due signal."""
        due = [signal for signal in self.network.controllable if observation.due[signal.index]]
        if not due:
            return {}
        self._decisions += len(due)
        timings = self.context.timings if self.context else NATIVE
        questions = [
            Question(
                signal_prompt(self.network, signal, observation, timings=timings),
                len(signal.phases),
                f"signal '{signal.id}' at {observation.time_s:g} s",
            )
            for signal in due
        ]
        try:
            answers = self._answers(questions)
        except EndpointError as error:
            raise ControllerError(str(error)) from None
        decisions: dict[str, Decision | int] = {}
        failed = []
        for signal, answer in zip(due, answers, strict=True):
            if answer.phase is None:
                failed.append(signal)
                self._fallback.count(answer.reason, answer.detail)
            else:
                decisions[signal.id] = answer.phase
        return decisions | self._fallback.act(failed, observation) if failed else decisions

    def _answers(self, questions: list[Question]) -> list[Answer]:
        """Ask, unless the server is to be left alone."""
        if self._pause > 0:
            self._pause -= 1
            detail = f"not asked after {self._failures} decisions without any answer"
            return self._client.ask(questions, unasked=Answer(reason="paused", detail=detail))
        answers = self._client.ask(questions)
        if self.options.replay is None:
            self._failures = self._failures + 1 if all(answer.reason in _OUTAGES for answer in answers) else 0
            if self._failures >= _PATIENCE:
                self._pause = min(2 ** (self._failures - _PATIENCE + 1), _LONGEST_PAUSE)
        return answers

    def counters(self) -> Mapping[str, float]:
        """Decisions, requests, retries, tokens, cost, latency of answered requests, and decisions by the fallback."""
        client, spent = self._client, self._client.budget.spent
        p50_s, p95_s = np.quantile(client.latency_s, (0.5, 0.95)) if client.latency_s else (math.nan, math.nan)
        return {
            "decisions": self._decisions,
            "requests": spent.requests,
            "retries": client.retries,
            "recorded": client.recorded,
            "tokens_in": spent.tokens_in,
            "tokens_out": spent.tokens_out,
            "cost": spent.cost,
            "request_p50_ms": 1000.0 * p50_s,
            "request_p95_ms": 1000.0 * p95_s,
            **self._fallback.counters(),
        }

    def provenance(self) -> dict[str, str | int | None]:
        """Who decided: the server, the model as it calls itself, and versions of what it was asked."""
        return {
            "server": self.options.host,
            "model": self.options.model,
            "model_reported": self._client.reported_model,
            "answer_format": str(self._client.dialect),
            "request_version": REQUEST_VERSION,
            "prompt_version": PROMPT_VERSION,
            "system_sha256": hashlib.sha256(self._client.system.encode()).hexdigest(),
        }

    def close(self) -> None:
        """Cancel what is under way."""
        self._client.close()
        self._fallback.close()
