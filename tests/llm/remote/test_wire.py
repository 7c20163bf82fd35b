"""The wire format by itself: requests, answers, what statuses mean."""

from __future__ import annotations

import base64
import html
import json
import re
import string
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm.remote.options import EndpointOptions
from llm.remote.redaction import without_key
from llm.remote.wire import (
    FORMATS,
    REASONS,
    Answer,
    Dialect,
    Question,
    RequestError,
    body,
    failure,
    read_phase,
    read_reply,
    request_key,
    retry_after_s,
)

OPTIONS = EndpointOptions(url="http://localhost/v1", model="tiny")
ASKED = Question("change3\ngreen5 go1 queue0 A\nred go1 queue4 B\nBest phase:", 2)


# --- the phase in an answer


@pytest.mark.parametrize(
    ("text", "phase"),
    [
        ('{"phase": "B"}', 1),
        ('{"phase":"b"}', 1),
        ('{"phase": " C ", "why": "long queue"}', 2),
        ('```json\n{\n  "phase": "B"\n}\n```', 1),
        ('Not {"phase": "A"} but {"phase": "B"}.', 1),
        ('<think>{"phase": "A"}?</think>{"phase": "C"}', 2),
        ('{"phase": "B"} as {this} shows', 1),
        ("B", 1),
        (" (c).", 2),
        ('"B"', 1),
        ("", None),
        ("null", None),
        ("The phase is B", None),
        ("BC", None),
        ('{"phase": "D"}', None),
        ('{"phase": ""}', None),
        ('{"phase": "AB"}', None),
        ('{"phase": ["B"]}', None),
        ('{"phase": 1}', None),
        ('{"Phase": "B"}', None),
        ('{"phase": "B"', None),
        ('{"phase": "Ä"}', None),
    ],
)
def test_phases_in_chat(text: str, phase: int | None) -> None:
    answer = read_phase(text, 3, "chat")
    assert answer.phase == phase
    assert answer.reason == ("" if phase is not None else "invalid")


@pytest.mark.parametrize(
    ("text", "phase"),
    [(" B", 1), ("C\n", 2), (" B because", 1), ('{"phase": "C"}', 2), (" Bus", None), (" 10", None), (" D", None)],
)
def test_phases_in_completion(text: str, phase: int | None) -> None:
    assert read_phase(text, 3, "completion").phase == phase


@given(st.text() | st.text(alphabet='{}":phaseAB \n'), st.integers(2, 26), st.sampled_from(["chat", "completion"]))
def test_whatever_a_model_writes(text: str, phases: int, mode: str) -> None:
    answer = read_phase(text, phases, mode)
    assert (answer.phase is None) == (answer.reason == "invalid")
    assert answer.phase is None or 0 <= answer.phase < phases
    assert len(answer.detail) < 400


@given(st.integers(2, 26), st.data())
def test_every_phase_can_be_named(phases: int, data: st.DataObject) -> None:
    phase = data.draw(st.integers(0, phases - 1))
    letter = string.ascii_uppercase[phase]
    assert read_phase(json.dumps({"phase": letter}), phases, "chat") == Answer(phase)
    assert read_phase(f" {letter}", phases, "completion") == Answer(phase)


# --- bodies


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=9),
    lambda part: (
        st.lists(part, max_size=3)
        | st.dictionaries(st.sampled_from(["choices", "error", "message", "content", "usage"]), part, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=60)
@given(st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_server_sends(data: bytes) -> None:
    failed: RequestError | None = None
    try:
        read_reply(without_key(data, ""))
    except RequestError as error:
        failed = error
    assert failed is None or failed.reason in REASONS
    assert failed is None or "\n" not in failed.detail


def test_an_answer_is_read() -> None:
    found = {"choices": [{"message": {"content": "x"}, "finish_reason": "length"}], "model": "m", "odd": 1}
    reply = read_reply(json.dumps({**found, "usage": {"prompt_tokens": 3, "completion_tokens": 1, "odd": 2}}))
    assert (reply.text, reply.cut, reply.model) == ("x", True, "m")
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 1)
    assert read_reply(json.dumps(found)).usage is None


@pytest.mark.parametrize(
    ("status", "reason", "retry"),
    [
        (400, "refused", False),
        (404, "refused", False),
        (302, "refused", False),
        (204, "refused", False),
        (429, "rate_limited", True),
        (500, "server_error", True),
        (501, "refused", False),
        (503, "server_error", True),
        (529, "server_error", True),
    ],
)
def test_statuses(status: int, reason: str, retry: bool) -> None:
    failed = failure(status, {}, '{"detail": "so\\nit is"}')
    assert (failed.reason, failed.retry) == (reason, retry)
    if status != 302:
        assert failed.detail == f"status {status}: so it is"


def test_how_long_to_wait() -> None:
    assert retry_after_s({"retry-after": "7"}) == 7
    assert retry_after_s({"retry-after": "0.5"}) == 0.5
    assert retry_after_s({}) is None
    assert retry_after_s({"retry-after": "soon"}) is None
    assert retry_after_s({"retry-after": "-3"}) is None
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after_s({"retry-after": later}) == pytest.approx(30, abs=2)
    assert retry_after_s({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8), st.text(max_size=20))
def test_no_body_repeats_the_key(key: str, around: str) -> None:
    for data in (f"{around}{key}{around}", json.dumps({around: f"{around}{key}"}), json.dumps(key).replace("/", "\\/")):
        cleaned = without_key(data.encode(), key)
        assert key not in cleaned.replace("[key]", "")


KEY = "sk-Se/cr+et&12<34>567890abcdef"


@pytest.mark.parametrize(
    "shown",
    [
        KEY,
        KEY.upper(),
        KEY[:-4] + "****",
        "..." + KEY[5:],
        quote(KEY, safe=""),
        quote(quote(KEY, safe=""), safe=""),
        html.escape(KEY),
        "".join(f"&#{ord(letter)};" for letter in KEY),
        "".join(f"\\u{ord(letter):04x}" for letter in KEY),
        "".join(f"\\\\u{ord(letter):04x}" for letter in KEY),
        "".join(f"\\x{ord(letter):02x}" for letter in KEY),
        html.escape("".join(f"\\u{ord(letter):04x}" for letter in KEY)).replace("\\", "&#x5c;"),
        json.dumps(json.dumps({"k": KEY})).replace("/", "\\/"),
        base64.b64encode(KEY.encode()).decode(),
        base64.b64encode(b"Bearer " + KEY.encode()).decode(),
        base64.b64encode(b"user:" + KEY.encode() + b"\n").decode(),
    ],
)
def test_no_way_to_write_the_key_gets_through(shown: str) -> None:
    for text in (shown, f"<html>İ{shown}</html>", f"HTTP/1.1 401 {shown}", json.dumps({"error": {"message": shown}})):
        cleaned = without_key(text, KEY)
        plain = cleaned
        for _ in range(4):
            parts = [KEY[at : at + 10].lower() for at in range(len(KEY) - 9)]
            assert not [part for part in parts if part in plain.lower()]
            plain = html.unescape(unquote(plain)).replace("\\/", "/")
            plain = re.sub(r"\\+[ux](?:00)?([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), plain)
        assert base64.b64encode(KEY.encode()).decode()[4:16] not in cleaned
        assert base64.b64encode(b"Bearer " + KEY.encode()).decode()[12:24] not in cleaned


def test_ordinary_words_stay() -> None:
    for text in ('{"choices": [{"message": {"content": "A"}}]}', "model not found", "100%25 of 3/4 &amp; more"):
        assert without_key(text, KEY) == text
    assert without_key("EMPTY is no model", "EMPTY") == "EMPTY is no model"


# --- requests


def test_formats() -> None:
    bodies = [body(ASKED, OPTIONS, "Reply with JSON.", Dialect(format=name)) for name in FORMATS]
    assert [b.get("response_format", {}).get("type") for b in bodies] == ["json_schema", "json_object", None]
    assert all([m["role"] for m in b["messages"]] == ["system", "user"] for b in bodies)
    shown = body(ASKED, OPTIONS, "Reply with JSON.", Dialect(example=True))["messages"]
    assert [m["role"] for m in shown] == ["system", "user", "assistant", "user"]
    assert json.loads(shown[2]["content"]) == {"phase": "B"}


def test_a_dialect_is_given_up_piece_by_piece() -> None:
    dialect: Dialect | None = Dialect()
    steps = 0
    while dialect is not None:
        dialect = dialect.after("neither temperature nor max_tokens: use max_completion_tokens")
        steps += 1
    assert steps == 5  # field, temperature, two formats, nothing
    assert Dialect.first("completion").after("no") is None


def test_keys_name_what_decides_an_answer() -> None:
    changes = [{"model": "b"}, {"mode": "completion"}, {"temperature": 1.0}, {"answer_tokens": 5}]
    others = [OPTIONS.model_copy(update=change) for change in changes]
    keys = {request_key(ASKED, options, "s") for options in (OPTIONS, *others)}
    keys |= {request_key(ASKED, OPTIONS, "t"), request_key(Question(ASKED.prompt, 3), OPTIONS, "s")}
    keys |= {request_key(Question(ASKED.prompt + " ", 2), OPTIONS, "s")}
    assert len(keys) == 8
    same = OPTIONS.model_copy(update={"url": "http://elsewhere/v1", "concurrent": 2, "retries": 9, "key_env": "OTHER"})
    assert request_key(Question(ASKED.prompt, 2, "elsewhere"), same, "s") == request_key(ASKED, OPTIONS, "s")
