"""Calls into a controller: limited in time, and whatever goes wrong becomes one sentence about that controller."""

from __future__ import annotations

import contextlib
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import ParamSpec, TypeVar

from controllers.base import ControllerError
from scenarios.common.errors import shorten
from sim.engine.session import SessionError

ParamsT = ParamSpec("ParamsT")
ValueT = TypeVar("ValueT")


#: Letters of an error of a controller's own.
MOST_SAID = 300


class _TooLong(BaseException):
    """Not an Exception, so that no controller swallows it."""


def guarded(
    name: str, limit_s: float, call: Callable[ParamsT, ValueT], *args: ParamsT.args, **kwargs: ParamsT.kwargs
) -> ValueT:
    """Call a controller's method; ``limit_s`` 0 means no limit.

    Raises:
        ControllerError: it raised or took too long; the sentence names the controller and its line.
        SessionError: the simulation died in the meantime.
    """
    verb = getattr(call, "__name__", "it")
    try:
        with _time_limit(limit_s):
            return call(*args, **kwargs)
    except _TooLong:
        raise ControllerError(
            f"Controller '{name}' took longer than {limit_s:g} s in {verb}() and was stopped."
        ) from None
    except (ControllerError, SessionError):
        raise
    except (Exception, SystemExit) as error:  # sys.exit() in a controller ends its cell, not the sweep
        what = shorten(f"{type(error).__name__}: {error}", MOST_SAID).rstrip(":.")
        raise ControllerError(f"Controller '{name}' failed in {verb}() with {what}{_place(error)}.") from error


def _place(error: BaseException) -> str:
    """File and line where it happened: the innermost frame in the file of the method that was called."""
    called = traceback.extract_tb(error.__traceback__)[1:]  # without guarded itself
    inside = [frame for frame in called if frame.filename == called[0].filename]
    return f" ({Path(inside[-1].filename).name}, line {inside[-1].lineno})" if inside else ""


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise in this thread when time is up; only a process's main thread can be interrupted so."""
    if seconds <= 0 or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is Python's
        raise _TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
