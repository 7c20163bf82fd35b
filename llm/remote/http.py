"""Requests in a thread of their own: many at once, cancelled by time limits, with words for what kept one away."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import httpx2

from llm.remote.options import EndpointError
from llm.remote.redaction import hide_from_logs, show_in_logs, without_key, without_secrets
from llm.remote.wire import MAX_DETAIL, RequestError
from scenarios.common.errors import shorten

#: No answer of ours is longer; a server that sends more is stopped there.
MAX_REPLY_BYTES = 1_000_000
#: Servers close idle connections after 5 s and more; we do it earlier, so that no request meets a closing one.
_IDLE_S = 2.0

ValueT = TypeVar("ValueT")


class Http:
    """A running thread with an HTTP client.

    Args:
        key: sent with every request, if not empty.
        concurrent: connections at once, and places in ``slots``.

    Raises:
        EndpointError: the client cannot be made, for example because of a proxy in the environment that makes no sense.
    """

    def __init__(self, key: str, concurrent: int) -> None:
        self._key, self._concurrent = key, concurrent
        self._problem: Exception | None = None
        self._hiding = hide_from_logs(key)
        ready = threading.Event()
        self.thread = threading.Thread(target=self._live, args=[ready], daemon=True, name="endpoint")
        self.thread.start()
        ready.wait()
        if self._problem is not None:
            raise EndpointError(
                f"endpoint: no HTTP client can be made ({self._words(self._problem)}); look at the variables "
                "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE."
            )

    def run(self, work: Coroutine[Any, Any, ValueT]) -> ValueT:
        """Run it there and wait here, where a signal (Ctrl-C, a time limit) can interrupt."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what is under way and end the thread."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self.thread.join(timeout=5.0)
        show_in_logs(self._hiding)

    async def post(self, address: str, request: dict[str, Any], timeout_s: float) -> tuple[int, dict[str, str], str]:
        """Status, headers and text of the answer, in none of which the key is repeated.

        Raises:
            RequestError: unreachable, timeout, or malformed where the answer is too long.
        """
        try:
            async with asyncio.timeout(timeout_s), self._client.stream("POST", address, json=request) as response:
                data = bytearray()
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > MAX_REPLY_BYTES:
                        raise RequestError("malformed", f"its answer is longer than {MAX_REPLY_BYTES:,} bytes")
                headers = {without_key(k, self._key): without_key(v, self._key) for k, v in response.headers.items()}
                return response.status_code, headers, without_key(bytes(data), self._key)
        except TimeoutError:
            raise RequestError("timeout", f"no answer within {timeout_s:g} s", retry=True) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> RequestError:
        """What kept a request from getting through.

        A connection that broke is tried again, one never made is not. The words may be the server's own: a status line
        that is none.
        """
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLError):
                return RequestError("unreachable", f"the encrypted connection failed ({self._words(cause)})")
            cause = cause.__cause__ or cause.__context__
        broke = isinstance(error, (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError))
        what = "connection lost" if broke else "no connection"
        return RequestError("unreachable", f"{what} ({self._words(error)})", broke)

    def _words(self, error: BaseException) -> str:
        return one_line(without_secrets(str(error), self._key) or type(error).__name__)

    def _live(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready))
        except Exception as error:
            self._problem = error
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        """Keep a client until told to stop."""
        headers = {"User-Agent": "greenloop"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        limits = httpx2.Limits(max_connections=self._concurrent, keepalive_expiry=_IDLE_S)
        async with httpx2.AsyncClient(headers=headers, timeout=None, limits=limits) as self._client:
            self.slots, self._stop = asyncio.Semaphore(self._concurrent), asyncio.Event()
            self._loop = asyncio.get_running_loop()
            ready.set()
            await self._stop.wait()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)


def one_line(said: BaseException | str) -> str:
    """The error's own words, cut; its class where it has none."""
    return shorten(str(said), MAX_DETAIL) or type(said).__name__
