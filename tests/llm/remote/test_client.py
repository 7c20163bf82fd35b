"""A model behind an endpoint as a controller: decisions, faults of the server, and what is said about them."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.base import ControllerError
from controllers.classical.greedy import Greedy
from controllers.learnt.endpoint import Endpoint
from controllers.registry import make
from controllers.time_limit import guarded
from llm.remote import client as endpoint
from llm.remote import http as endpoint_http
from llm.remote.client import EndpointClient
from llm.remote.options import EndpointError, EndpointOptions
from llm.tasks.decide.prompt import signal_prompt
from sim.network import Movement, Network
from sim.observation import Observation
from tests.support.helpers import corridor, make_observation, make_signal
from tests.support.local_server import (
    Asked,
    LocalServer,
    Said,
    after_probe,
    error,
    last_phase,
    said,
    serving,
    wait_until,
)

QUICK: dict[str, Any] = {"model": "tiny", "retries": 0, "timeout_s": 5.0}
HANG_S = 30.0


@pytest.fixture(autouse=True)
def unlearnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ports come back: what was learnt about another test's server does not hold."""
    monkeypatch.setattr(endpoint, "_LEARNT", {})
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with serving() as local:
        yield local


@pytest.fixture
def ready(server: LocalServer) -> Iterator[Callable[..., Endpoint]]:
    made: list[Endpoint] = []

    def build(network: Network | None = None, **options: Any) -> Endpoint:
        controller = Endpoint(**{"url": server.url, **QUICK, **options})
        made.append(controller)
        controller.reset(network or corridor(), seed=0)
        return controller

    yield build
    for controller in made:
        controller.close()


def queues(network: Network, seed: int = 0) -> Observation:
    random = np.random.default_rng(seed)
    lanes = len(network.lanes)
    zones = random.integers(0, 9, (lanes, 3)).astype(float)
    return make_observation(network, queue_veh=random.integers(0, 20, lanes).astype(float), zone_veh=zones)


def greedy_decisions(network: Network, observation: Observation) -> Any:
    greedy = Greedy()
    greedy.reset(network, 0)
    return greedy.act(observation)


# --- what is asked and what comes back


def test_every_due_signal_is_asked_with_our_own_prompt(server: LocalServer, ready: Callable[..., Endpoint]) -> None:
    network, controller = corridor(), ready()
    observation = queues(network)
    assert controller.act(observation) == {"A": 1, "B": 1}
    probe, *asked = server.asked
    assert probe.path == "/v1/chat/completions"
    assert {a.body["messages"][-1]["content"] for a in asked} == {
        signal_prompt(network, signal, observation) for signal in network.controllable
    }
    system = asked[0].body["messages"][0]
    assert system["role"] == "system"
    assert "JSON" in system["content"]
    assert asked[0].body["temperature"] == 0
    schema = asked[0].body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["phase"]["enum"] == ["A", "B"]
    assert controller.act(make_observation(network, due=[False, False, False])) == {}
    assert len(server.asked) == 3


def test_counters_and_provenance(server: LocalServer, ready: Callable[..., Endpoint]) -> None:
    controller = ready(price_in=1.0, price_out=10.0)
    controller.act(queues(corridor()))
    counters = controller.counters()
    assert (counters["decisions"], counters["requests"], counters["fallbacks"]) == (2, 3, 0)
    assert (counters["tokens_in"], counters["tokens_out"]) == (300, 24)
    assert counters["cost"] == pytest.approx((300 * 1.0 + 24 * 10.0) / 1e6)
    assert 0 < counters["request_p50_ms"] <= counters["request_p95_ms"]
    loaded = controller.provenance()
    assert loaded["server"] == server.url.removeprefix("http://").removesuffix("/v1")
    assert (loaded["model"], loaded["model_reported"]) == ("tiny", "tiny-1")
    assert loaded["answer_format"] == "json_schema"
    assert not controller.deterministic
    assert set(controller.parameters()) >= {"url", "model", "budget_cost", "fallback"}
    controller.reset(corridor(), seed=1)
    assert controller.counters()["decisions"] == 0
    assert controller.counters()["requests"] == 1


def test_requests_run_at_once_but_no_more_than_allowed(server: LocalServer, ready: Callable[..., Endpoint]) -> None:
    rows = [("Gr", 40.0), ("yr", 3.0), ("rG", 40.0), ("ry", 3.0)]
    base = corridor()
    signals = tuple(
        make_signal(f"S{i}", i, [Movement(0, i % 2, 0, "s"), Movement(1, 2, 1, "s")], rows) for i in range(12)
    )
    network = Network(**{**vars(base), "signals": signals})
    controller = ready(network, concurrent=3)
    server.behave = lambda asked: Said(**{**vars(last_phase(asked)), "after_s": 0.1})
    observation = make_observation(network, phase_age_s=[float(i) for i in range(12)])  # so that all prompts differ
    assert len(controller.act(observation)) == 12
    assert server.most_at_once == 3


def test_equal_questions_are_asked_once(server: LocalServer, ready: Callable[..., Endpoint]) -> None:
    rows = [("Gr", 40.0), ("yr", 3.0), ("rG", 40.0), ("ry", 3.0)]
    signals = tuple(
        make_signal(n, i, [Movement(0, 0, 0, "s"), Movement(1, 1, 1, "s")], rows) for i, n in enumerate("XY")
    )
    network = Network(**{**vars(corridor()), "signals": signals})
    controller = ready(network)
    assert controller.act(make_observation(network)) == {"X": 1, "Y": 1}
    assert len(server.asked) == 2  # the probe and one


def test_completion_sends_the_prompt_alone(server: LocalServer, ready: Callable[..., Endpoint]) -> None:
    server.behave = lambda asked: said(f" {asked.letters[-1]} and so on")
    network, controller = corridor(), ready(mode="completion")
    observation = queues(network)
    assert controller.act(observation) == {"A": 1, "B": 1}
    assert {a.path for a in server.asked} == {"/v1/completions"}
    prompts = {a.body["prompt"] for a in server.asked[1:]}
    assert prompts == {signal_prompt(network, signal, observation) for signal in network.controllable}
    assert all("response_format" not in a.body for a in server.asked)


def test_a_system_message_of_ones_own(server: LocalServer, ready: Callable[..., Endpoint], tmp_path: Path) -> None:
    (tmp_path / "system.txt").write_text('Answer as {"phase": "A"}.')
    controller = ready(system=tmp_path / "system.txt")
    assert server.asked[0].body["messages"][0]["content"].startswith("Answer as")
    assert controller.provenance()["system_sha256"] != ready().provenance()["system_sha256"]


# --- what servers refuse, learnt once


def picky(*words: str, status: int = 400) -> Callable[[Asked], Said]:
    """Refuses requests that hold one of these fields or types."""

    def behave(asked: Asked) -> Said:
        kind = asked.body.get("response_format", {}).get("type")
        for word in words:
            if word in asked.body or word == kind:
                return error(status, f"Unsupported parameter: '{word}'. Use 'max_completion_tokens' instead.")
        return last_phase(asked)

    return behave


@pytest.mark.parametrize(
    ("words", "status", "format_", "requests"),
    [
        (("json_schema",), 400, "json_object", 2),
        (("json_schema",), 422, "json_object", 2),
        (("json_schema", "json_object"), 400, "plain", 3),
        (("response_format",), 501, "plain", 3),
        (("max_tokens",), 400, "json_schema", 2),
    ],
    ids=["schema", "schema-422", "both", "field-501", "max-tokens"],
)
def test_refused_fields_are_left_out_and_remembered(
    words: tuple[str, ...],
    status: int,
    format_: str,
    requests: int,
    server: LocalServer,
    ready: Callable[..., Endpoint],
) -> None:
    # the refusal's text names max_completion_tokens in each case: a format must be stepped down all the same
    server.behave = picky(*words, status=status)
    controller = ready()
    extra = 0 if words == ("max_tokens",) else 1  # that field is tried first
    assert len(server.asked) == requests + extra
    assert controller.provenance()["answer_format"] == format_
    assert controller.act(queues(corridor())) == {"A": 1, "B": 1}
    again = ready()
    assert again.counters()["requests"] == 1  # remembered
    assert again.provenance()["answer_format"] == format_


def test_temperature_that_a_model_does_not_take(server: LocalServer, ready: Callable[..., Endpoint]) -> None:
    server.behave = lambda asked: error(400, "'temperature' does not support 0") if "temperature" in asked.body else last_phase(asked)  # noqa: E501 # fmt: skip
    controller = ready()
    assert controller.act(queues(corridor())) == {"A": 1, "B": 1}
    assert controller.provenance()["answer_format"] == "json_schema"


def test_a_model_that_chats_is_shown_an_example(server: LocalServer, ready: Callable[..., Endpoint]) -> None:
    def behave(asked: Asked) -> Said:
        return last_phase(asked) if len(asked.body["messages"]) > 2 else said("Well, the best phase is B.")

    server.behave = behave
    controller = ready()
    assert controller.act(queues(corridor())) == {"A": 1, "B": 1}
    assert controller.provenance()["answer_format"] == "json_schema, with an example"
    assert ready().act(queues(corridor())) == {"A": 1, "B": 1}


# --- faults in a run

FAULTS: dict[str, tuple[Said, str, str]] = {
    "429": (error(429, "slow down"), "rate_limited", "slow down"),
    "500": (error(500, "out of memory"), "server_error", "out of memory"),
    "502-html": (Said(b"<html>Bad gateway</html>", 502), "server_error", "status 502"),
    "400": (error(400, "context length"), "refused", "context length"),
    "401": (error(401, "key expired"), "refused", "key expired"),
    "redirect": (error(307, location="https://example.org/v1?key=1"), "refused", "redirects to https://example.org/v1"),
    "html": (Said(b"<!doctype html><title>Log in</title>"), "malformed", "HTML"),
    "no-json": (Said(b"{'phase': A"), "malformed", "no JSON"),
    "empty": (Said(b""), "malformed", "no JSON"),
    "other-json": (Said(b'{"answer": 42}'), "malformed", "choices"),
    "no-choices": (Said(b'{"choices": []}'), "malformed", "choices"),
    "list": (Said(b"[1, 2]"), "malformed", "an object"),
    "error-200": (Said(b'{"error": {"message": "upstream", "code": 503}}'), "server_error", "upstream"),
    "deep": (Said(b"[" * 200_000), "malformed", "no JSON"),
    "huge": (Said(b"x" * (endpoint_http.MAX_REPLY_BYTES + 1)), "malformed", "longer than 1,000,000 bytes"),
    "dropped": (Said(None), "unreachable", "connection lost"),
    "hang": (Said(b"", after_s=HANG_S), "timeout", "no answer within 0.6 s"),
    "prose": (said("I would take the second one"), "invalid", "names no phase"),
    "no-phase": (said('{"phase": "C"}'), "invalid", "none of the phases AB"),
    "number": (said('{"phase": 1}'), "invalid", "names no phase"),
    "null": (said(None), "invalid", "names no phase"),
    "cut": (said('{"pha', finish_reason="length"), "invalid", "raise answer_tokens"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fallback_decides_and_says_so_once(
    fault: str, server: LocalServer, ready: Callable[..., Endpoint], caplog: pytest.LogCaptureFixture
) -> None:
    reply, reason, words = FAULTS[fault]
    network, controller = corridor(), ready(timeout_s=0.6 if fault == "hang" else 5.0)
    server.behave = after_probe(reply)
    with caplog.at_level(logging.WARNING, "greenloop"):
        for seed in (1, 2):
            observation = queues(network, seed)
            assert controller.act(observation) == greedy_decisions(network, observation)
    counters = controller.counters()
    assert counters[f"fallback_{reason}"] == counters["fallbacks"] == 4
    (message,) = caplog.messages
    assert words in message
    assert "Greedy decides instead" in message
    assert len(message) < 400
    assert "\n" not in message


def test_one_bad_answer_leaves_the_others(server: LocalServer, ready: Callable[..., Endpoint]) -> None:
    network, controller = corridor(), ready()
    observation = queues(network)
    first = signal_prompt(network, network.signals[0], observation)
    server.behave = lambda a: error(500) if a.body["messages"][-1]["content"] == first else last_phase(a)
    assert controller.act(observation) == {"A": greedy_decisions(network, observation)["A"], "B": 1}
    assert controller.counters()["fallback_server_error"] == controller.counters()["fallbacks"] == 1


@pytest.mark.parametrize(
    "fault", [error(429, retry_after="0"), error(503), Said(None), Said(b"", after_s=HANG_S)],
    ids=["429", "503", "dropped", "hang"],
)  # fmt: skip
def test_what_may_pass_is_tried_again(fault: Said, server: LocalServer, ready: Callable[..., Endpoint]) -> None:
    network, controller = corridor(), ready(retries=2, timeout_s=0.9)
    server.behave = lambda asked: fault if asked.number <= 2 else last_phase(asked)  # each signal's first
    assert controller.act(queues(network)) == {"A": 1, "B": 1}
    assert controller.counters()["retries"] == 2
    assert controller.counters()["requests"] == 5
    assert controller.counters()["fallbacks"] == 0


@pytest.mark.parametrize("fault", ["400", "401", "html", "no-phase", "redirect"])
def test_what_stays_wrong_is_not_tried_again(fault: str, server: LocalServer, ready: Callable[..., Endpoint]) -> None:
    controller = ready(retries=5)
    server.behave = after_probe(FAULTS[fault][0])
    controller.act(queues(corridor()))
    assert len(server.asked) == 3
    assert controller.counters()["retries"] == 0


def test_it_waits_as_long_as_the_server_asks(server: LocalServer, ready: Callable[..., Endpoint]) -> None:
    controller = ready(retries=1)
    server.behave = lambda asked: error(429, retry_after="1.2") if asked.number <= 2 else last_phase(asked)
    begin_s = time.perf_counter()
    assert controller.act(queues(corridor())) == {"A": 1, "B": 1}
    assert 1.2 <= time.perf_counter() - begin_s < 4


def test_it_does_not_wait_past_the_deadline(server: LocalServer, ready: Callable[..., Endpoint]) -> None:
    controller = ready(retries=5, deadline_s=10.0)
    server.behave = after_probe(error(429, retry_after="60"))
    begin_s = time.perf_counter()
    controller.act(queues(corridor()))
    assert time.perf_counter() - begin_s < 5
    assert controller.counters()["fallback_rate_limited"] == 2


def test_late_answers_are_not_waited_for(server: LocalServer, ready: Callable[..., Endpoint]) -> None:
    network, controller = corridor(), ready(deadline_s=1.0)
    observation = queues(network)
    first = signal_prompt(network, network.signals[0], observation)
    server.behave = lambda a: (
        said("{}", after_s=HANG_S) if a.body["messages"][-1]["content"] == first else last_phase(a)
    )
    begin_s = time.perf_counter()
    assert controller.act(observation)["B"] == 1
    assert time.perf_counter() - begin_s < 5
    assert controller.counters()["fallback_late"] == controller.counters()["fallbacks"] == 1


def test_a_server_that_goes_is_paused_and_found_again(server: LocalServer, ready: Callable[..., Endpoint]) -> None:
    network, controller = corridor(), ready()
    server.behave = after_probe(error(500))
    for seed in range(5):  # two fail, two are not asked, one fails
        controller.act(queues(network, seed))
    counters = controller.counters()
    assert (counters["fallback_server_error"], counters["fallback_paused"]) == (6, 4)
    server.behave = last_phase
    found = [controller.act(queues(network, seed)) == {"A": 1, "B": 1} for seed in range(10)]
    assert found[:4] == [False] * 4  # the pause has doubled
    assert all(found[4:])


def test_a_stop_from_outside_leaves_nothing_behind(server: LocalServer, ready: Callable[..., Endpoint]) -> None:
    controller = ready(timeout_s=HANG_S)
    thread = controller._client._there.thread
    server.behave = after_probe(Said(b"", after_s=HANG_S))
    with pytest.raises(ControllerError, match=r"longer than 0\.3 s"):
        guarded("endpoint", 0.3, controller.act, queues(corridor()))
    begin_s = time.perf_counter()
    controller.close()
    assert time.perf_counter() - begin_s < 2
    assert wait_until(lambda: not thread.is_alive())


# --- what is wrong before a run


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"url": None}, "no server is given; add url="),
        ({"model": None}, "no model is given"),
        ({"model": ""}, "model= must not be empty"),
        ({"model": True}, "model=True should be a valid string"),
        ({"url": "localhost:8000"}, "url is no address"),
        ({"url": "ftp://localhost/v1"}, "url is no address"),
        ({"url": "http://localhost:99999/v1"}, "url Port out of range"),
        ({"url": "http://me:SECRET@localhost/v1"}, "url may hold a password"),
        ({"url": "http://localhost/v1?key=SECRET"}, "url may hold a password"),
        ({"key_env": "sk-SECRET"}, "name of an environment variable"),
        ({"api_key": "SECRET"}, "no parameter 'api_key'; there are url, model"),
        ({"mode": "telepathy"}, "mode=telepathy should be 'chat' or 'completion'"),
        ({"timeout_s": 0}, "timeout_s=0 should be greater than 0"),
        ({"timeout_s": float("nan")}, "timeout_s should be a finite number"),
        ({"retries": -1}, "retries=-1 should be greater"),
        ({"concurrent": 0}, "concurrent=0"),
        ({"temperature": 3}, "temperature=3"),
        ({"budget_requests": 1.5}, "budget_requests=1.5"),
        ({"budget_cost": 1}, "budget_cost needs prices"),
        ({"replay": "nowhere.jsonl"}, "no recorded answers in nowhere.jsonl"),
        ({"record": "nowhere/a.jsonl"}, "record=nowhere/a.jsonl cannot be written"),
        ({"ledger": "nowhere/a.json"}, "ledger=nowhere/a.json cannot be written"),
        ({"system": "nowhere.txt"}, "system=nowhere.txt cannot be read"),
        ({"fallback": "greedi"}, "greedy"),
        ({"fallback": "lookahead"}, "looks ahead"),
        ({"fallback": "endpoint:url=http://localhost/v1,model=x"}, "another kind"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else None,
)
def test_impossible_options(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ControllerError, match=match) as caught:
        Endpoint(**{"url": "http://localhost:1/v1", "model": "tiny", **options})
    assert str(caught.value).endswith(".")
    assert "SECRET" not in str(caught.value)
    assert "SECRET" not in repr(caught.value.__cause__)


def test_made_by_the_registry() -> None:
    controller = make("endpoint:url=http://localhost:8000/v1,model=org/name-1,retries=1,budget_cost=0.5,price_in=0.15")
    assert isinstance(controller, Endpoint)
    assert controller.options.url == "http://localhost:8000/v1"
    assert controller.options.budget_cost == 0.5
    with pytest.raises(ControllerError, match="no parameter 'api_key'") as caught:
        make("endpoint:url=http://localhost:8000/v1,model=x,api_key=SECRET")
    assert "SECRET" not in str(caught.value)


START_FAULTS: dict[str, tuple[Said, str]] = {
    "401": (error(401, "no key"), r"wants a key \(status 401: no key\); put it into the environment variable MY_KEY"),
    "404-model": (error(404, "The model `tiny` does not exist"), "`tiny` does not exist; check url.*model=tiny"),
    "404-path": (Said(b"<html>Not found</html>", 404), "status 404; check url, which usually ends in /v1"),
    "400-all": (error(400, "Server is pinned to 'big'"), "pinned to 'big'; check url.*model=tiny"),
    "429": (error(429, "quota"), "429: quota; try again later"),
    "503": (error(503, "loading"), "503: loading; see the server's own log"),
    "html": (FAULTS["html"][0], "it answered HTML, not JSON; correct url"),
    "redirect": (FAULTS["redirect"][0], "it redirects to https://example.org/v1; check url"),
    "hang": (Said(b"", after_s=HANG_S), "no answer within 0.3 s; a server that loads its model first needs"),
    "huge": (FAULTS["huge"][0], "longer than"),
    "dropped": (Said(None), "connection lost"),
}


@pytest.mark.parametrize("fault", START_FAULTS)
def test_a_server_that_cannot_work_is_found_in_reset(fault: str, server: LocalServer) -> None:
    reply, match = START_FAULTS[fault]
    server.behave = lambda _: reply
    controller = Endpoint(url=server.url, model="tiny", retries=0, timeout_s=0.3 if fault == "hang" else 5.0, key_env="MY_KEY")  # noqa: E501 # fmt: skip
    with pytest.raises(ControllerError, match=match) as caught:
        controller.reset(corridor(), 0)
    assert server.url in str(caught.value)
    assert str(caught.value).count("\n") == 0
    assert caught.value.__cause__ is None
    controller.close()


def test_nobody_there() -> None:
    with serving() as gone:
        pass
    controller = Endpoint(url=gone.url, **{**QUICK, "retries": 3})
    begin_s = time.perf_counter()
    with pytest.raises(ControllerError, match=r"gives no answers: no connection .*; start the server, or correct url"):
        controller.reset(corridor(), 0)
    assert time.perf_counter() - begin_s < 2
    with pytest.raises(ControllerError, match="no connection"):
        Endpoint(url="http://no-such-host.invalid/v1", **QUICK).reset(corridor(), 0)


def test_a_proxy_that_makes_no_sense(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "telepathy://nowhere:1")
    with pytest.raises(ControllerError, match=r"no HTTP client can be made .*HTTP_PROXY"):
        Endpoint(url=server.url, **QUICK).reset(corridor(), 0)


def test_https_spoken_to_plain_http(server: LocalServer) -> None:
    with pytest.raises(ControllerError, match="the encrypted connection failed"):
        Endpoint(url=server.url.replace("http:", "https:"), **QUICK).reset(corridor(), 0)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_certificate_that_nobody_vouches_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*command.split(), *files], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with serving(tls=context) as server:
        controller = Endpoint(url=server.url, **QUICK)
        with pytest.raises(ControllerError, match=r"the encrypted connection failed .*certificate"):
            controller.reset(corridor(), 0)
        assert server.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))  # the usual way to trust it
        controller.reset(corridor(), 0)
        controller.close()
    assert len(server.asked) == 1


def test_too_many_phases(server: LocalServer) -> None:
    rows = [("r" * link + "G" + "r" * (26 - link), 9.0) for link in range(27)]
    signal = make_signal("wide", 0, [Movement(link, 0, 0, "s") for link in range(27)], rows)
    with pytest.raises(ControllerError, match="27 phases"):
        Endpoint(url=server.url, **QUICK).reset(Network(**{**vars(corridor()), "signals": (signal,)}), 0)
    assert server.asked == []


def test_importing_it_imports_neither_torch_nor_a_client_for_others() -> None:
    code = (
        "import sys, controllers.learnt.endpoint; "
        "sys.exit(bool({'torch', 'transformers', 'openai', 'libsumo'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False, env={**os.environ}).returncode == 0


@pytest.mark.parametrize(
    "answer",
    [
        "{key} nonsense\r\n\r\n",
        "HTTP/1.1 401 {key}\r\ncontent-length: 0\r\nx-key: {key}\r\n\r\n",
        "HTTP/1.1 200 OK\r\n{key}\x01: bad\r\n\r\n",
        "HTTP/1.1 200 OK\r\n{key}: 1\r\ncontent-length: 12\r\n\r\nno: {part}",
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/{key}\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 500 Bad\r\nretry-after: {key}\r\ncontent-length: 5\r\n\r\n{part}",
    ],
)
def test_status_lines_headers_and_log_lines_do_not_show_the_key(
    answer: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-SECRET-7f3a9c21"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    caplog.set_level(logging.DEBUG)
    for name in ("httpx2", "httpcore2", "httpcore2.http11", "httpcore2.connection"):
        caplog.set_level(logging.DEBUG, name)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        text = answer.format(key=key, part=key[:-3]).encode()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(100_000)
                        connection.sendall(text)

        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        with pytest.raises(EndpointError) as caught:
            EndpointClient(EndpointOptions(url=url, model="m", retries=0)).open()
        listening.shutdown(socket.SHUT_RDWR)
    assert len(caplog.records) > 1
    for shown in (str(caught.value), caplog.text):
        assert key[:10].lower() not in shown.lower()
        assert key[3:-3].lower() not in shown.lower()


def test_an_address_that_holds_the_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "abcdefgh12345678")
    with pytest.raises(EndpointError, match="url repeats the key of OPENAI_API_KEY") as caught:
        EndpointClient(EndpointOptions(url="http://localhost/abcdefgh12345678/v1", model="m")).open()
    assert "12345678" not in str(caught.value)
