"""What goes over the wire to an OpenAI-compatible server, and how what comes back is read. Pure: no sockets here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from llm.remote.options import EndpointOptions
from llm.tasks.decide.prompt import phase_letters

#: Raise with every change of the system message or of the request: recorded answers belong to one version.
REQUEST_VERSION = 3
#: Tells a model that was not fine-tuned what the prompt's words mean.
SYSTEM = """\
You control the traffic signal of one junction. You get its state, one line for each phase, its letter at the end.
change: seconds that a change of phase costs. green: the phase shown now, with its seconds of green so far.
go: movements with priority. give: movements that must give way. queue: halted vehicles. wait: longest wait in seconds.
near, mid, far: vehicles 0-50, 50-100 and 100-200 m before the stop line. Behind a slash: those that have priority.
room: free tenths of the road behind.
A ? stands where a detector is out. Reports tell of incidents before or after the phases named.
Choose the phase that should be green next so that the delay of all vehicles together stays small.
Reply with JSON only, such as {"phase": "A"}."""
#: A state and its answer, for small models on servers that do not hold them to JSON.
EXAMPLE = (
    (
        "user",
        """\
change3
green9 go1 queue0 wait0 near0 mid0 far0 room9 A
red go1 queue4 wait20 near4 mid0 far0 room9 B
Best phase:""",
    ),
    ("assistant", '{"phase": "B"}'),
)
#: Ways to ask for JSON, best first; a server that refuses one is asked with the next.
FORMATS = ("json_schema", "json_object", "plain")
#: Statuses by which servers refuse a field that they do not know.
REFUSALS = (400, 415, 422, 501)
MAX_DETAIL = 200

#: Why a decision came from the fallback.
REASONS = (
    "unreachable",  # no connection, or no TLS
    "timeout",  # no whole answer within timeout_s
    "rate_limited",  # 429
    "server_error",  # 5xx
    "refused",  # 4xx, a redirect
    "malformed",  # HTML, no JSON, JSON of another shape, or far too long
    "invalid",  # an answer that names no phase of the signal
    "late",  # not there by deadline_s
    "budget",  # nothing left to spend
    "paused",  # not asked, because the server failed just before
)


@dataclass(frozen=True)
class Question:
    """What one signal asks: its prompt, the number of its phases, and where and when, in words."""

    prompt: str
    phases: int
    where: str = ""


@dataclass(frozen=True)
class Answer:
    """What came of a question: the phase, or the reason (see ``REASONS``) why there is none."""

    phase: int | None = None
    reason: str = ""
    detail: str = ""


class RequestError(Exception):
    """One request that brought no answer."""

    def __init__(
        self, reason: str, detail: str, retry: bool = False, retry_after_s: float | None = None, status: int = 0
    ) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.status = reason, " ".join(detail.split())[:MAX_DETAIL], status
        self.retry, self.retry_after_s = retry, retry_after_s


@dataclass(frozen=True)
class Dialect:
    """What a server understands; learnt from what it refuses."""

    format: str = FORMATS[0]
    tokens_field: str = "max_tokens"
    temperature: bool = True
    example: bool = False  # shown where a model does not keep to JSON by itself

    def __str__(self) -> str:
        return f"{self.format}, with an example" if self.example else self.format

    @classmethod
    def first(cls, mode: str) -> Dialect:
        """What to try first."""
        return cls(format=FORMATS[0] if mode == "chat" else "plain")

    def after(self, refusal: str) -> Dialect | None:
        """What to try after a refusal in these words; None if nothing is left."""
        if "max_completion_tokens" in refusal and self.tokens_field == "max_tokens":
            return replace(self, tokens_field="max_completion_tokens")
        if "temperature" in refusal and self.temperature:
            return replace(self, temperature=False)
        if self.format != FORMATS[-1]:
            return replace(self, format=FORMATS[FORMATS.index(self.format) + 1])
        return None


# --- requests


def body(question: Question, options: EndpointOptions, system: str, dialect: Dialect) -> dict[str, Any]:
    """The request's JSON."""
    fields: dict[str, Any] = {"model": options.model, dialect.tokens_field: options.answer_tokens}
    if dialect.temperature:
        fields["temperature"] = options.temperature
    if options.mode == "completion":
        return {**fields, "prompt": system + question.prompt, "stop": ["\n"]}
    said = [("system", system), *(EXAMPLE if dialect.example else ()), ("user", question.prompt)]
    fields["messages"] = [{"role": role, "content": content} for role, content in said]
    if dialect.format == "json_object":
        fields["response_format"] = {"type": "json_object"}
    elif dialect.format == "json_schema":
        schema = {"name": "decision", "strict": True, "schema": _schema(question.phases)}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    return fields


def _schema(phases: int) -> dict[str, Any]:
    letters = list(phase_letters(phases))
    return {
        "type": "object",
        "properties": {"phase": {"type": "string", "enum": letters}},
        "required": ["phase"],
        "additionalProperties": False,
    }


def request_key(question: Question, options: EndpointOptions, system: str) -> str:
    """Names a request by what decides its answer; the server's address and dialect do not belong to it."""
    asked: list[object] = [REQUEST_VERSION, options.model, options.mode, system, question.prompt, question.phases]
    asked += [options.temperature, options.answer_tokens]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]


# --- answers


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message | None = None
    text: str | None = None
    finish_reason: str | None = None


class Usage(BaseModel):
    """Tokens of a request as the server counts them."""

    prompt_tokens: Annotated[int, Field(ge=0)] = 0
    completion_tokens: Annotated[int, Field(ge=0)] = 0


class Reply(BaseModel):
    """A server's answer, as far as we read it."""

    choices: Annotated[list[_Choice], Field(min_length=1)]
    model: str | None = None
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """What the model wrote; empty if nothing."""
        choice = self.choices[0]
        return (choice.message.content if choice.message else choice.text) or ""

    @property
    def cut(self) -> bool:
        """Whether the answer stopped because it was too long."""
        return self.choices[0].finish_reason == "length"


def read_reply(text: str) -> Reply:
    """Read a body that came with status 200.

    Raises:
        RequestError: malformed, or an error in the place of an answer.
    """
    text = text.strip()
    if text[:1] == "<":
        raise RequestError("malformed", "it answered HTML, not JSON")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise RequestError("malformed", f"its answer is no JSON: {text[:60]!r}") from None
    if isinstance(found, dict) and found.get("error"):  # some gateways report their errors with status 200
        error = found["error"]
        code = error.get("code") if isinstance(error, dict) else None
        raise failure(code if isinstance(code, int) and code >= 400 else 502, {}, text)
    try:
        return Reply.model_validate(found)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise RequestError("malformed", f"its answer lacks what the protocol has ({where or 'an object'})") from None


def failure(status: int, headers: Mapping[str, str], text: str) -> RequestError:
    """What a status other than 200 means."""
    said = _server_message(text)
    detail = f"status {status}: {said}" if said else f"status {status}"
    if status == 429:
        return RequestError("rate_limited", detail, True, retry_after_s(headers), status)
    if status >= 500 and status != 501:
        return RequestError("server_error", detail, True, retry_after_s(headers), status)
    if 300 <= status < 400:
        detail = f"it redirects to {headers.get('location', 'nowhere').partition('?')[0]}"
    return RequestError("refused", detail, status=status)


def _server_message(text: str) -> str:
    """The server's own words, where it has any in one of the usual places."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return "" if text.lstrip()[:1] == "<" else " ".join(text.split())[:MAX_DETAIL]
    for name in ("error", "message", "detail"):
        if isinstance(found, dict):
            found = found.get(name, found)
    return " ".join((found if isinstance(found, str) else json.dumps(found)).split())[:MAX_DETAIL]


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait (RFC 9110, 10.2.3: seconds or a date)."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max((until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)


# --- the phase in an answer


class _PhaseAnswer(BaseModel):
    phase: Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^\s*[A-Za-z]\s*$")]


def read_phase(text: str, phases: int, mode: str, cut: bool = False) -> Answer:
    """The phase that a model's text names.

    In chat the last JSON object with a phase counts (models that think aloud put it last), or a text that is nothing
    but a letter; in completion mode the letter that the text begins with.
    """
    letters = phase_letters(phases)
    letter = _letter(text, mode)
    if letter is None:
        why = "was cut off; raise answer_tokens" if cut else "names no phase"
        return Answer(reason="invalid", detail=f"the answer {_short_repr(text)} {why}")
    if letter not in letters:
        return Answer(reason="invalid", detail=f"the answer {_short_repr(text)} names none of the phases {letters}")
    return Answer(phase=letters.index(letter))


def _letter(text: str, mode: str) -> str | None:
    for found in reversed(re.findall(r"\{[^{}]*\}", text)):
        try:
            return _PhaseAnswer.model_validate_json(found).phase.upper()
        except ValidationError:
            continue
    bare = re.match(r"\s*([A-Z])\b", text) if mode == "completion" else re.fullmatch(r"\W*([A-Za-z])\W*", text)
    return bare[1].upper() if bare else None


def _short_repr(text: str) -> str:
    short = " ".join(text.split())
    return repr(short if len(short) <= 60 else f"{short[:60]}...")
