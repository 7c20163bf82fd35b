"""A model behind an endpoint in whole runs: on real SUMO, from the command line, and with a real model server."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.run.cell import Cell, run_cell
from controllers.base import ControllerError
from llm.backbone import default_model
from llm.remote import client as endpoint
from scenarios import resco
from scenarios.spec import Scenario
from tests.support.local_server import LocalServer, Said, after_probe, error, last_phase, said, serving, wait_until

ROOT = Path(__file__).parents[3]
KEY = "sk-MARKER/7f3e+9d"


@pytest.fixture(autouse=True)
def unlearnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_LEARNT", {})
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with serving() as local:
        yield local


def short(name: str, seconds: float) -> Scenario:
    scenario = resco.load(name)
    return scenario.with_(end_s=scenario.begin_s + seconds)


def greenloop(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.cli.main", *arguments]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    settings = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.result.json"))]


def test_a_run_and_its_replay_are_the_same(server: LocalServer, tmp_path: Path) -> None:
    server.behave = lambda asked: said(json.dumps({"phase": "ABCX"[asked.number % 4]}))
    scenario, file = short("cologne3", 90), tmp_path / "answers.jsonl"
    recorded = run_cell(Cell(scenario, f"endpoint:url={server.url},model=tiny,record={file}", seed=1))
    asked = len(server.asked)
    assert asked > 20
    assert recorded.metrics["controller_requests"] == asked
    assert recorded.metrics["controller_fallback_invalid"] > 0
    assert recorded.controller.loaded["model_reported"] == "tiny-1"
    assert recorded.controller.params["url"] == server.url
    replayed = run_cell(Cell(scenario, f"endpoint:model=tiny,replay={file}", seed=1))
    assert len(server.asked) == asked
    assert replayed.controller.deterministic
    same = [name for name in recorded.metrics if not name.startswith(("controller_", "decision_latency"))]
    same += ["controller_decisions", "controller_fallbacks", "controller_fallback_invalid"]
    assert len(same) > 20
    for name in same:
        assert replayed.metrics[name] == pytest.approx(recorded.metrics[name], nan_ok=True, abs=0), name
    assert replayed.series == recorded.series
    with pytest.raises(ControllerError, match="holds no answer to the question of signal"):
        run_cell(Cell(scenario, f"endpoint:model=tiny,replay={file}", seed=2))


def test_a_run_outlives_its_server(server: LocalServer) -> None:
    server.behave = lambda asked: last_phase(asked) if asked.number < 4 else Said(None)
    found = run_cell(Cell(short("cologne1", 120), f"endpoint:url={server.url},model=tiny,retries=0", seed=1))
    metrics = found.metrics
    assert 1 <= metrics["controller_decisions"] - metrics["controller_fallbacks"] <= 3
    assert metrics["controller_fallback_unreachable"] >= 2
    assert metrics["controller_fallback_paused"] >= 4
    assert metrics["controller_requests"] == len(server.asked)


def test_nothing_is_simulated_without_a_server() -> None:
    with serving() as gone:
        pass
    with pytest.raises(ControllerError, match="gives no answers: no connection"):
        run_cell(Cell(short("cologne1", 60), f"endpoint:url={gone.url},model=tiny", seed=1))


@pytest.mark.slow
@pytest.mark.timeout(600)  # three commands, which a busy machine slows down
def test_from_the_command_line(server: LocalServer, tmp_path: Path) -> None:
    """Workers share a record and a budget, a second start repeats nothing, and the key is in no file and no line."""
    key = f"bad key {KEY}"
    server.behave = after_probe(lambda asked: error(500, key) if asked.number % 5 == 3 else last_phase(asked))
    spec = f"endpoint:url={server.url},model=tiny,retries=0,record=answers.jsonl,ledger=spent.json,budget_requests=40"
    arguments = ("run", "--scenario", "cologne1", "--minutes", "1", "--controller", spec, "--seeds", "2")
    arguments += ("--workers", "2", "--out", "results", "--no-figures")
    done = greenloop(*arguments, folder=tmp_path, OPENAI_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {KEY}"}
    ours = [found for found in results(tmp_path / "results") if found["controller"]["name"] == spec]
    assert len(ours) == 2
    assert sum(found["metrics"]["controller_requests"] for found in ours) == len(server.asked) <= 40
    assert "server_error: status 500: bad key [key]" in done.stderr
    asked = len(server.asked)
    again = greenloop(*arguments, folder=tmp_path, OPENAI_API_KEY=KEY)
    assert again.returncode == 0
    assert len(server.asked) == asked  # finished runs stay finished, though the record has grown
    server.behave = lambda _: error(401, key)
    refused = greenloop(*arguments, "--seeds", "3", folder=tmp_path, OPENAI_API_KEY=KEY)
    assert f"{server.url} refuses the key in OPENAI_API_KEY (status 401: bad key [key])" in refused.stderr
    assert list((tmp_path / "results").glob("*.failed.json"))
    texts = [text for run in (done, again, refused) for text in (run.stdout, run.stderr)]
    texts += [path.read_bytes().decode("utf-8", "replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert len(texts) > 10
    assert not [text for text in texts if "MARKER" in text]


# --- a real server with the default model

SERVING = all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "openai"))


@pytest.fixture(scope="module")
def transformers_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of ``transformers serve`` with the default model, on the processor and without the internet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(default_model.cached_folder())]
    command += ["--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    settings = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    with log.open("w") as stream, subprocess.Popen(command, env=settings, stdout=stream, stderr=stream) as process:
        try:
            if not wait_until(lambda: process.poll() is not None or _is_up(port), 240.0) or process.poll() is not None:
                pytest.fail(f"transformers serve did not start: {log.read_text()[-2000:]}")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()  # asked kindly, it first finishes what it generates


def _is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not SERVING, reason="transformers[serving] is not installed (extra 'dev')")
@pytest.mark.skipif(not default_model.is_cached(), reason="the default model has not been fetched")
def test_the_default_model_behind_a_real_server(transformers_serve: str, tmp_path: Path) -> None:
    model, file = default_model.cached_folder(), tmp_path / "answers.jsonl"
    with pytest.raises(ControllerError, match=r"status 400: Server is pinned to .*model=other\.$"):
        run_cell(Cell(short("cologne1", 30), f"endpoint:url={transformers_serve},model=other", seed=1))
    patient = "timeout_s=100,deadline_s=100,answer_tokens=10"
    spec = f"endpoint:url={transformers_serve},model={model},record={file},{patient}"
    scenario = short("cologne1", 25)
    found = run_cell(Cell(scenario, spec, seed=1, decision_limit_s=120.0))
    metrics, loaded = found.metrics, found.controller.loaded
    assert metrics["controller_decisions"] >= 2
    assert metrics["controller_requests"] == metrics["controller_decisions"] + 1  # and the probe
    assert metrics["controller_fallbacks"] <= metrics["controller_decisions"] / 2
    assert metrics["controller_tokens_in"] > 100 * metrics["controller_decisions"]
    assert metrics["controller_request_p50_ms"] > 0
    assert loaded["answer_format"] == "json_schema, with an example"  # it takes the field and does not heed it
    assert str(loaded["model_reported"]).startswith(model.name)  # no path
    replayed = run_cell(Cell(scenario, f"endpoint:model={model},replay={file},answer_tokens=10", seed=1))
    assert replayed.metrics["delay_s"] == metrics["delay_s"]
    assert replayed.metrics["controller_fallbacks"] == metrics["controller_fallbacks"]
    spec = f"endpoint:url={transformers_serve},model={model},mode=completion,{patient}"
    bare = run_cell(Cell(short("cologne1", 10), spec, seed=1, decision_limit_s=120.0))
    assert bare.metrics["controller_requests"] == bare.metrics["controller_decisions"] + 1
    assert bare.metrics["controller_fallbacks"] == bare.metrics["controller_fallback_invalid"]
