"""Asks an OpenAI-compatible server for phases: many questions at once, with time limits, retries and a budget.

One thread of its own runs the requests, so that a decision of many signals waits for the slowest answer only, a
deadline cancels what is still under way, and a notebook's event loop is left alone. Nothing here decides what to do
without an answer: every question gets an ``Answer``, and one without a phase says why.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_exponential, wait_random

from llm.remote import wire
from llm.remote.budget import Budget
from llm.remote.http import Http, one_line
from llm.remote.options import EndpointError, EndpointOptions
from llm.remote.recorded_answers import Recorded, Recording
from llm.remote.redaction import without_key
from llm.remote.wire import Answer, Dialect, Question, RequestError
from scenarios.common.files import FileError, read_bytes

#: What is asked before a run, to find what is wrong with a server and which requests it takes.
PROBE = Question(wire.EXAMPLE[0][1], phases=2)
#: Dialects by address, model and mode, so that each is learnt once in a process.
_LEARNT: dict[tuple[str | None, str | None, str], Dialect] = {}
#: Longest system message.
MOST_SYSTEM_BYTES = 1_000_000
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 10.0


class EndpointClient:
    """The questions of one run, asked of one server or of a recording.

    Attributes:
        budget: what was spent.
        retries: attempts beyond each request's first.
        recorded: answers that came from the recording.
        latency_s: of each answered request.
        reported_model: the model's name as the server says it.
        dialect: what the server understands.
    """

    def __init__(self, options: EndpointOptions) -> None:
        self.options, self.budget = options, Budget(options)
        self.retries = self.recorded = 0
        self.latency_s: list[float] = []
        self.reported_model: str | None = None
        self.dialect = _LEARNT.get(self._place, Dialect.first(options.mode))
        self.system = _system(options)
        self._key = ""
        self._recording: Recording | None = None
        self._http: Http | None = None

    def open(self) -> None:
        """Read the recording, or find the server and learn what it understands by asking one question.

        Raises:
            EndpointError: one sentence that says why this cannot work.
        """
        path = self.options.replay or self.options.record
        self._recording = Recording(path) if path else None
        if self.options.replay is not None:
            return
        self._key = _key(self.options.key_env)
        for name in ("url", "model"):
            value = str(getattr(self.options, name))
            if without_key(value, self._key) != value:
                raise EndpointError(
                    f"endpoint: {name} repeats the key of {self.options.key_env}, and would be written into results; "
                    "leave it out there."
                )
        self.budget.check()
        self._http = Http(self._key, self.options.concurrent)
        try:
            self._http.run(self._learn())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Cancel what is under way and end the thread."""
        http, self._http = self._http, None
        if http is not None:
            http.close()

    def ask(self, questions: Sequence[Question], unasked: Answer | None = None) -> list[Answer]:
        """Answer each question; takes at most ``deadline_s`` and a little.

        Args:
            questions: those of one decision.
            unasked: leave the server alone, and give this answer to what the recording does not know.

        Raises:
            EndpointError: a replay lacks an answer, or recording or ledger cannot be written.
        """
        keys = [wire.request_key(question, self.options, self.system) for question in questions]
        known = {key: entry for key in keys if (entry := self._recorded_answer(key)) is not None}
        self.recorded += sum(key in known for key in keys)
        if self.options.replay is not None:
            for key, question in zip(keys, questions, strict=True):
                if key not in known:
                    raise EndpointError(self._missing(question))
        else:
            new = {key: question for key, question in zip(keys, questions, strict=True) if key not in known}
            known |= self._ask_server(new, unasked)
        return [self._answer(known[key], question) for key, question in zip(keys, questions, strict=True)]

    def _recorded_answer(self, key: str) -> Recorded | None:
        """What the recording says; a failure counts in a replay only, otherwise it is worth another try."""
        entry = self._recording.get(key) if self._recording else None
        return None if entry and entry.text is None and self.options.replay is None else entry

    def _ask_server(self, questions: dict[str, Question], unasked: Answer | None) -> dict[str, Recorded]:
        """Ask the server; equal questions are asked once."""
        if not questions:
            return {}
        if unasked is not None:
            entries = {key: self._entry(key, question, unasked) for key, question in questions.items()}
        else:
            entries = dict(zip(questions, self._there.run(self._batch(questions)), strict=True))
        if self._recording is not None:
            self._recording.add(entries.values())
            entries = {key: self._recorded_answer(key) or entry for key, entry in entries.items()}
        return entries

    def _answer(self, entry: Recorded, question: Question) -> Answer:
        self.reported_model = entry.reported or self.reported_model
        if entry.text is None:
            return Answer(reason=entry.reason, detail=entry.detail)
        return wire.read_phase(entry.text, question.phases, self.options.mode, entry.cut)

    def _entry(self, key: str, question: Question, answer: Answer) -> Recorded:
        return Recorded(
            key=key,
            model=str(self.options.model),
            prompt=question.prompt,
            reason=answer.reason,
            detail=answer.detail,
        )

    def _missing(self, question: Question) -> str:
        return (
            f"endpoint: {self.options.replay} holds no answer to the question of {question.where}; a replay needs the "
            "scenario, seed, timings, model and settings that were recorded: record this run with record=FILE."
        )

    # --- in the thread

    async def _learn(self) -> None:
        """Ask the probe, each time with less, until the server takes it."""
        while True:
            try:
                reply = await self._request(PROBE)
            except RequestError as failed:
                simpler = self.dialect.after(failed.detail) if failed.status in wire.REFUSALS else None
                if simpler is None:
                    raise EndpointError(self._sentence(failed)) from None
                self.dialect = simpler
            else:
                named = wire.read_phase(reply.text, PROBE.phases, self.options.mode)
                self.dialect = replace(self.dialect, example=self.dialect.example or named.phase is None)
                _LEARNT[self._place] = self.dialect
                return

    async def _batch(self, questions: dict[str, Question]) -> list[Recorded]:
        tasks = [asyncio.create_task(self._one(key, question)) for key, question in questions.items()]
        _, open_tasks = await asyncio.wait(tasks, timeout=self.options.deadline_s)
        for task in open_tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        late = Answer(reason="late", detail=f"no answer within {self.options.deadline_s:g} s")
        entries = []
        for (key, question), result in zip(questions.items(), ended, strict=True):
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result
            entries.append(result if isinstance(result, Recorded) else self._entry(key, question, late))
        return entries

    async def _one(self, key: str, question: Question) -> Recorded:
        try:
            async with self._there.slots:
                reply = await self._request(question)
        except RequestError as failed:
            return self._entry(key, question, Answer(reason=failed.reason, detail=failed.detail))
        said = {"text": reply.text, "cut": reply.cut, "reported": _name(reply.model)}
        usage = reply.usage or wire.Usage()
        tokens = {"tokens_in": usage.prompt_tokens, "tokens_out": usage.completion_tokens}
        return self._entry(key, question, Answer()).model_copy(update=said | tokens)

    async def _request(self, question: Question) -> wire.Reply:
        """One question with its retries."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.options.retries + 1) | stop_before_delay(self.options.deadline_s),
            wait=_wait_s,
            retry=retry_if_exception(lambda error: isinstance(error, RequestError) and error.retry),
            before_sleep=self._count_retry,
            reraise=True,
        )
        reply: wire.Reply = await retrying(self._attempt, question)
        return reply

    def _count_retry(self, _: RetryCallState) -> None:
        self.retries += 1

    async def _attempt(self, question: Question) -> wire.Reply:
        request = wire.body(question, self.options, self.system, self.dialect)
        most_in = (len(self.system) + len(question.prompt)) // 2 + 32  # no tokenizer needs a token for each two letters
        with self.budget.spending(most_in, self.options.answer_tokens) as spend:
            begin_s = time.perf_counter()
            try:
                status, headers, text = await self._there.post(self._address, request, self.options.timeout_s)
            except RequestError as error:
                if error.reason == "unreachable":  # after a timeout the server may have done the work all the same
                    spend.is_free()
                raise
            if status != 200:
                spend.is_free()
                raise wire.failure(status, headers, text)
            self.latency_s.append(time.perf_counter() - begin_s)
            reply = wire.read_reply(text)
            self.reported_model = _name(reply.model) or self.reported_model
            if reply.usage is not None:
                spend.tokens_in, spend.tokens_out = reply.usage.prompt_tokens, reply.usage.completion_tokens
            return reply

    # --- words

    @property
    def _there(self) -> Http:
        assert self._http is not None, "open() comes first"
        return self._http

    @property
    def _place(self) -> tuple[str | None, str | None, str]:
        return self.options.url, self.options.model, self.options.mode

    @property
    def _address(self) -> str:
        return f"{self.options.url}/{'completions' if self.options.mode == 'completion' else 'chat/completions'}"

    def _sentence(self, failed: RequestError) -> str:
        url, name, detail = self.options.url, self.options.key_env, failed.detail
        if failed.status in (401, 403):
            if self._key:
                return f"endpoint: {url} refuses the key in {name} ({detail}); put a valid one there."
            return (
                f"endpoint: {url} wants a key ({detail}); put it into the environment variable {name}, or name another "
                "variable with key_env."
            )
        hints = {
            "unreachable": "start the server, or correct url",
            "timeout": "a server that loads its model first needs a longer timeout_s",
            "rate_limited": "try again later, or raise retries and deadline_s",
            "server_error": "see the server's own log",
            "malformed": "correct url, which usually ends in /v1",
            "budget": "raise it",
        }
        hint = hints.get(failed.reason, f"check url, which usually ends in /v1, and model={self.options.model}")
        return f"endpoint: {url} gives no answers: {detail}; {hint}."


def _name(reported: str | None) -> str | None:
    """A model's name; servers of local folders report a path, which says too much about a machine."""
    return PurePath(reported).name if reported and reported[0] in "/~" else reported


def _wait_s(state: RetryCallState) -> float:
    """As long as the server asks, else exponential with jitter."""
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.retry_after_s if isinstance(error, RequestError) else None
    if asked_s is not None:
        return asked_s
    return (wait_exponential(_FIRST_WAIT_S, _LONGEST_WAIT_S) + wait_random(0, _FIRST_WAIT_S))(state)


def _system(options: EndpointOptions) -> str:
    """The system message; nothing in completion mode, where the prompt stands alone."""
    if options.system is None:
        return wire.SYSTEM if options.mode == "chat" else ""
    try:
        return read_bytes(options.system, MOST_SYSTEM_BYTES).decode("utf-8")
    except FileError as error:
        raise EndpointError(f"endpoint: system={options.system} {error}.") from None
    except UnicodeDecodeError as error:
        raise EndpointError(f"endpoint: system={options.system} cannot be read ({one_line(error)}).") from None


def _key(variable: str) -> str:
    """The key, which is never shown; empty without one."""
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise EndpointError(f"endpoint: what {variable} holds cannot be a key: it has spaces or odd characters.")
    return key
