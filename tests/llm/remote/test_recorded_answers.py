"""What an endpoint may cost, what it recorded, and the key, which nothing may hold."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.base import ControllerError
from controllers.learnt.endpoint import Endpoint
from llm.remote import client as endpoint
from llm.remote.budget import Budget
from llm.remote.options import EndpointError, EndpointOptions
from llm.remote.recorded_answers import Recorded, Recording
from llm.remote.wire import RequestError
from sim.observation import Observation
from tests.support.helpers import corridor, make_observation
from tests.support.local_server import Asked, LocalServer, Said, after_probe, error, last_phase, said, serving

QUICK: dict[str, Any] = {"model": "tiny", "retries": 0, "timeout_s": 5.0}
KEY = "sk-MARKER/7f3e+9d"


@pytest.fixture(autouse=True)
def unlearnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_LEARNT", {})
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with serving() as local:
        yield local


@pytest.fixture
def ready(server: LocalServer) -> Iterator[Callable[..., Endpoint]]:
    made: list[Endpoint] = []

    def build(**options: Any) -> Endpoint:
        controller = Endpoint(**{"url": server.url, **QUICK, **options})
        made.append(controller)
        controller.reset(corridor(), seed=0)
        return controller

    yield build
    for controller in made:
        controller.close()


def state(seed: int) -> Observation:
    network = corridor()
    random = np.random.default_rng(seed)
    zones = random.integers(0, 9, (len(network.lanes), 3)).astype(float)
    return make_observation(network, zone_veh=zones, phase_age_s=random.integers(5, 60, 3).astype(float))


def moody(asked: Asked) -> Said:
    """Another answer each time, some of them useless."""
    return said(json.dumps({"phase": "ABX"[asked.number % 3]}))


# --- the budget


def test_no_request_beyond_the_budget(
    server: LocalServer, ready: Callable[..., Endpoint], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "greenloop"):
        controller = ready(budget_requests=4)
        for seed in range(4):
            controller.act(state(seed))
    assert len(server.asked) == controller.counters()["requests"] == 4
    assert controller.counters()["fallback_budget"] == controller.counters()["fallbacks"] == 5
    (message,) = caplog.messages
    assert "budget_requests=4 is spent (4 used)" in message


@pytest.mark.parametrize(
    ("options", "counter", "limit"),
    [
        ({"budget_tokens": 3000}, "tokens", 3000),
        ({"budget_cost": 0.01, "price_in": 1.0, "price_out": 20.0}, "cost", 0.01),
    ],
    ids=["tokens", "cost"],
)
@pytest.mark.parametrize("tokens", [(400, 20), None], ids=["counted", "unsaid"])
def test_tokens_and_money_are_never_overspent(
    options: dict[str, float],
    counter: str,
    limit: float,
    tokens: tuple[int, int] | None,
    server: LocalServer,
    ready: Callable[..., Endpoint],
) -> None:
    server.behave = lambda asked: said('{"phase": "B"}', tokens)
    controller = ready(**options)
    for seed in range(12):
        controller.act(state(seed))
    counters = controller.counters()
    spent = {"tokens": counters["tokens_in"] + counters["tokens_out"], "cost": counters["cost"]}[counter]
    assert 0.5 * limit < spent <= limit
    assert 0 < counters["fallback_budget"] < 24
    assert counters["requests"] == len(server.asked)


def test_refusals_are_free_and_timeouts_are_not(server: LocalServer, ready: Callable[..., Endpoint]) -> None:
    controller = ready(timeout_s=0.3)
    server.behave = after_probe(error(500))
    controller.act(state(0))
    assert controller.counters()["tokens_in"] == 100
    server.behave = lambda _: Said(b"", after_s=30)
    controller.act(state(1))
    assert controller.counters()["tokens_in"] > 300


def test_a_ledger_counts_all_runs(server: LocalServer, ready: Callable[..., Endpoint], tmp_path: Path) -> None:
    options = {"ledger": tmp_path / "spent.json", "budget_requests": 5}
    first, second = ready(**options), ready(**options)
    assert first.act(state(0)) == {"A": 1, "B": 1}
    second.act(state(1))
    assert len(server.asked) == 5
    assert second.counters()["fallback_budget"] == 1
    assert json.loads(options["ledger"].read_text())["requests"] == 5
    with pytest.raises(ControllerError, match=r"budget_requests=5 is spent .* before the run begins"):
        ready(**options)


def test_a_ledger_under_many_hands(tmp_path: Path) -> None:
    options = EndpointOptions(url="http://x/v1", model="m", ledger=tmp_path / "l.json", budget_tokens=1000)
    budgets = [Budget(options) for _ in range(4)]

    def spend(budget: Budget) -> None:
        try:
            for _ in range(100):
                with budget.spending(30, 10) as spent:
                    spent.tokens_in = 20
        except RequestError:
            pass

    threads = [threading.Thread(target=spend, args=(budget,)) for budget in budgets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(budget.spent.tokens_in + budget.spent.tokens_out for budget in budgets)
    kept = json.loads(options.ledger.read_text())  # type: ignore[union-attr]
    assert total == kept["tokens_in"] + kept["tokens_out"]
    assert 1000 - 40 <= total <= 1000


def test_a_file_that_is_no_ledger(tmp_path: Path, server: LocalServer) -> None:
    (tmp_path / "l.json").write_text('{"mine": 1}')
    with pytest.raises(ControllerError, match=r"l\.json is no ledger of ours"):
        Endpoint(url=server.url, **QUICK, ledger=tmp_path / "l.json").reset(corridor(), 0)
    assert (tmp_path / "l.json").read_text() == '{"mine": 1}'


# --- recorded answers


def test_a_replay_decides_alike_and_asks_nobody(
    server: LocalServer, ready: Callable[..., Endpoint], tmp_path: Path
) -> None:
    server.behave = moody
    file = tmp_path / "answers.jsonl"
    recorded = ready(record=file)
    states = [state(seed % 6) for seed in range(12)]  # each twice: the second time from the record
    before = [recorded.act(observation) for observation in states]
    assert recorded.counters()["recorded"] == 12
    assert recorded.counters()["requests"] == len(server.asked) == 13
    assert before[:6] == before[6:]
    asked = len(server.asked)
    for url in (server.url, None, "http://localhost:1/v1"):
        replayed = ready(replay=file, url=url)
        assert replayed.deterministic
        assert [replayed.act(observation) for observation in states] == before
        counters = replayed.counters()
        assert (counters["requests"], counters["cost"], counters["recorded"]) == (0, 0, 24)
        assert counters["fallback_invalid"] == recorded.counters()["fallback_invalid"] > 0
        assert replayed.provenance()["model_reported"] == "tiny-1"
    assert len(server.asked) == asked


def test_failures_are_replayed_until_there_is_an_answer(
    server: LocalServer, ready: Callable[..., Endpoint], tmp_path: Path
) -> None:
    file = tmp_path / "answers.jsonl"
    server.behave = after_probe(error(500))
    ready(record=file).act(state(0))
    replayed = ready(replay=file)
    replayed.act(state(0))
    assert replayed.counters()["fallback_server_error"] == 2
    server.behave = last_phase
    again = ready(record=file)
    assert again.act(state(0)) == {"A": 1, "B": 1}
    assert again.counters()["recorded"] == 0
    assert ready(replay=file).act(state(0)) == {"A": 1, "B": 1}


def test_pauses_are_replayed(server: LocalServer, ready: Callable[..., Endpoint], tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    recorded = ready(record=file)
    recorded.act(state(0))
    server.behave = lambda _: error(500)
    for seed in (1, 2, 3, 0):  # the last two in a pause, of which one is known
        recorded.act(state(seed))
    assert recorded.counters()["fallback_paused"] == 2
    replayed = ready(replay=file)
    for seed in (0, 1, 2, 3, 0):
        replayed.act(state(seed))
    names = ("decisions", "fallbacks", "fallback_server_error", "fallback_paused")
    assert [replayed.counters()[name] for name in names] == [recorded.counters()[name] for name in names]


def test_a_missing_answer_is_one_sentence(ready: Callable[..., Endpoint], tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    ready(record=file).act(state(0))
    replayed = ready(replay=file)
    with pytest.raises(ControllerError, match=r"answers\.jsonl holds no answer .* signal 'A' at 100 s; a replay needs"):
        replayed.act(state(1))
    with pytest.raises(ControllerError, match="holds no answer"):
        ready(replay=file, temperature=1).act(state(0))


def test_files_that_are_no_recordings(ready: Callable[..., Endpoint], tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    ready(record=file).act(state(0))
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"key": "half')  # of a run that was killed
    ready(replay=file).act(state(0))
    ready(record=file).act(state(1))
    assert file.read_bytes().startswith(whole)
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 4
    file.write_bytes(whole + b'{"key": "whole"}\n' + whole)
    with pytest.raises(ControllerError, match=r"line 3 of .*answers\.jsonl is no recorded answer"):
        ready(replay=file)
    file.write_bytes(b"\xff\xfe\x00\n")
    with pytest.raises(ControllerError, match="line 1"):
        ready(record=file)


def test_of_two_recorders_the_first_counts(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    recordings = [Recording(file) for _ in range(4)]

    def write(number: int) -> None:
        for key in range(20):
            recordings[number].add([Recorded(key=str(key), model="m", prompt="p", text=f"by {number}")])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(file.read_text().splitlines()) == 20
    fresh = Recording(file)
    for key in map(str, range(20)):
        assert {recording.get(key) for recording in (*recordings, fresh)} == {fresh.get(key)}


def test_recordings_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match="is a folder, not a file"):
        Recording(tmp_path)


# --- the key


def test_the_key_is_sent(server: LocalServer, ready: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch) -> None:
    ready()
    assert "authorization" not in server.asked[-1].headers
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    ready()
    assert server.asked[-1].headers["authorization"] == f"Bearer {KEY}"
    monkeypatch.setenv("OTHER_KEY", "other")
    ready(key_env="OTHER_KEY")
    assert server.asked[-1].headers["authorization"] == "Bearer other"


@pytest.mark.parametrize("key", ["sk-MARKER two", "sk-MARKER\nHost: x", "sk-MARKER\u00e4"])
def test_what_cannot_be_a_key(key: str, monkeypatch: pytest.MonkeyPatch, server: LocalServer) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ControllerError, match="what OPENAI_API_KEY holds cannot be a key") as caught:
        Endpoint(url=server.url, **QUICK).reset(corridor(), 0)
    assert "MARKER" not in str(caught.value)
    assert server.asked == []


def repeats_the_key(asked: Asked) -> Said:
    """A server that says the key wherever it can."""
    key = asked.headers.get("authorization", "").removeprefix("Bearer ")
    escaped = json.dumps({"error": {"message": f"bad key {key}"}}).replace("/", "\\/").replace("+", "\\u002B")
    answer = said(f"Your key is {key}")
    named = Said((answer.data or b"").replace(b"tiny-1", key.encode()), 200)
    replies = [
        named,
        error(500, f"bad key {key}"),
        Said(escaped.encode(), 400),
        Said(key.encode()),
        Said(json.dumps({"error": {"message": key, "code": 500}}).encode()),
        Said(b"", 307, {"location": f"https://example.org/{key}"}),
    ]
    return replies[asked.number % len(replies)]


def test_the_key_is_nowhere(
    server: LocalServer,
    ready: Callable[..., Endpoint],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.behave = repeats_the_key
    controller = ready(record=tmp_path / "answers.jsonl", ledger=tmp_path / "spent.json")
    with caplog.at_level(logging.DEBUG):
        for seed in range(6):
            controller._pause = 0
            controller.act(state(seed))
        for refusal in (401, 404, 500, 307):
            server.behave = lambda a, refusal=refusal: error(refusal, f"{KEY}", location=KEY)  # type: ignore[misc]
            with pytest.raises(ControllerError) as caught:
                ready()
            assert "MARKER" not in str(caught.value)
    assert controller.counters()["fallbacks"] == 12
    texts = [caplog.text, repr(vars(controller)), repr(controller.provenance()), repr(controller.parameters())]
    texts += [file.read_text() for file in tmp_path.iterdir()]
    assert len(texts) > 6
    for text in texts:
        assert "MARKER" not in text
    assert "[key]" in (tmp_path / "answers.jsonl").read_text()


def test_a_pipe_or_gigabytes_for_a_recording_or_a_ledger_end_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(5_000_000_000)
    (tmp_path / "deep").write_text("[" * 5_000 + "\n")
    for name, says in (("pipe", "is a pipe"), ("large", "is larger than 500 MB"), ("deep", "no recorded answer")):
        with pytest.raises(EndpointError, match=says):
            Recording(tmp_path / name)
    (tmp_path / "free").write_text('{"cost": -1e9}')
    for name, says in (("pipe", "is a pipe"), ("large", "is larger"), ("deep", "no ledger"), ("free", "no ledger")):
        with pytest.raises(EndpointError, match=says):
            Budget(EndpointOptions(url="http://localhost/v1", model="m", ledger=tmp_path / name)).check()
