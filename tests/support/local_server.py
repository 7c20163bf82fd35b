"""A small server with the wire format of an OpenAI-compatible one, on a real socket, that misbehaves as it is told."""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import string
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from llm.remote.client import PROBE


@dataclass(frozen=True)
class Asked:
    """One request: its number from 0, path, headers (lower case) and JSON."""

    number: int
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def letters(self) -> str:
        """The phases that the prompt shows, one for each line that counts movements."""
        return string.ascii_uppercase[: len(re.findall(r"(?m)^.*\b(?:go|give)\d.*$", self.question))]

    @property
    def question(self) -> str:
        """The prompt, or the last message."""
        return str(self.body["prompt"] if "prompt" in self.body else self.body["messages"][-1]["content"])


@dataclass(frozen=True)
class Said:
    """What the server sends: None as data drops the connection; ``after_s`` lets the client wait."""

    data: bytes | None = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    after_s: float = 0.0


Behaviour = Callable[[Asked], Said]


def said(text: str | None, tokens: tuple[int, int] | None = (100, 8), after_s: float = 0.0, **choice: Any) -> Said:
    """A well-formed answer in chat and in completion at once."""
    body: dict[str, Any] = {
        "id": "1",
        "model": "tiny-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "text": text, **choice}],
    }
    if tokens is not None:
        body["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return Said(json.dumps(body).encode(), headers={"content-type": "application/json"}, after_s=after_s)


def last_phase(asked: Asked) -> Said:
    """Answers with the last phase there is."""
    return said(json.dumps({"phase": asked.letters[-1]}))


def error(status: int, message: str = "no", **headers: str) -> Said:
    """An error in the usual shape."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Said(json.dumps({"error": {"message": message}}).encode(), status, named)


def after_probe(behaviour: Behaviour | Said) -> Behaviour:
    """Answers the probe that each process begins with well, and the others so."""

    def behave(asked: Asked) -> Said:
        if asked.question.endswith(PROBE.prompt):
            return last_phase(asked)
        return behaviour if isinstance(behaviour, Said) else behaviour(asked)

    return behave


@dataclass
class LocalServer:
    """A running server: where it is, and what it was asked; ``behave`` may be exchanged at any time."""

    behave: Behaviour
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    most_at_once: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str, headers: Mapping[str, str], data: bytes) -> Said:
        """Note a request and say what comes back."""
        with self._lock:
            body = json.loads(data or b"{}")
            asked = Asked(len(self.asked), path, {k.lower(): v for k, v in headers.items()}, body)
            self.asked.append(asked)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            reply = self.behave(asked)
            self._ended.wait(reply.after_s)
            return reply
        finally:
            with self._lock:
                self._at_once -= 1


@contextlib.contextmanager
def serving(behave: Behaviour = last_phase, tls: ssl.SSLContext | None = None) -> Iterator[LocalServer]:
    """Run a server on a free port of this machine."""
    local = LocalServer(behave)
    server = _Server(("127.0.0.1", 0), _handler(local))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    local.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield local
    finally:
        local._ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that went away are what is tested."""


def _handler(local: LocalServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            reply = local.answer(self.path, self.headers, self.rfile.read(int(self.headers["content-length"])))
            if reply.data is None:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(reply.data)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(reply.data)

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    return Handler


def wait_until(condition: Callable[[], bool], limit_s: float = 5.0) -> bool:
    """Whether a condition came true in time."""
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        if condition():
            return True
        time.sleep(0.01)
    return condition()
