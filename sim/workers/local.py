"""Supervised worker processes behind one small seam, so that a distributed engine can stand in later.

Workers start fresh (spawn), stay warm between tasks (a language model stays loaded), and keep numerical libraries to
one thread each. A task that raises, takes too long or whose process dies fails with a sentence; the others go on.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

from pebble import ProcessExpired, ProcessPool
from tqdm import tqdm

TaskT = TypeVar("TaskT")
ValueT = TypeVar("ValueT")

#: One thread each: workers share the cores, and results must not depend on how many there are.
THREAD_SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Finished(Generic[TaskT, ValueT]):
    """A task that ended: ``value`` when it worked, else ``problem``, one sentence."""

    task: TaskT
    value: ValueT | None = None
    problem: str | None = None


class Workers(Generic[TaskT, ValueT]):
    """A pool that applies one function to tasks; use it as a context manager.

    ``function`` and the tasks must be picklable. Leaving the context kills what still runs.
    """

    def __init__(self, function: Callable[[TaskT], ValueT], count: int, timeout_s: float | None = None) -> None:
        if count < 1:
            raise ValueError(f"At least one worker is needed, not {count}.")
        self.function, self.count, self.timeout_s = function, count, timeout_s
        self._pool: Any = None
        self._settings = contextlib.ExitStack()

    def __enter__(self) -> Workers[TaskT, ValueT]:
        # Processes inherit the settings before they import any library, and so does one that replaces a dead one.
        self._settings.enter_context(_environment(THREAD_SETTINGS))
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPool(max_workers=self.count, context=context, initializer=_prepare)
        with _main_hidden():
            assert self._pool.active  # which starts the processes
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._pool.close()
        else:
            self._pool.stop()
        self._pool.join()
        self._settings.close()

    def run(self, tasks: Sequence[TaskT]) -> Iterator[Finished[TaskT, ValueT]]:
        """Yield every task once, as it ends."""
        waiting = {self._pool.schedule(self.function, args=[task], timeout=self.timeout_s): task for task in tasks}
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield self._finished(future, waiting.pop(future))

    def _finished(self, future: Any, task: TaskT) -> Finished[TaskT, ValueT]:
        error = (
            future.exception()
        )  # not raised here: a task's SystemExit or KeyboardInterrupt must not end this process
        if error is None:
            return Finished(task, value=future.result())
        return Finished(task, problem=self._problem(error))

    def _problem(self, error: BaseException) -> str:
        """Whatever the task raised belongs to the task, in words."""
        if isinstance(error, ProcessExpired):
            return f"Its process died (exit code {error.exitcode}), perhaps for lack of memory."
        if isinstance(error, TimeoutError) and self.timeout_s is not None and error.args[:1] == ("Task timeout",):
            return f"It took longer than {self.timeout_s:g} s and was stopped."
        if not isinstance(error, Exception):
            return f"It was ended by {type(error).__name__}, which its own code raised."
        return one_sentence(error)


def usable_cores() -> int:
    """Cores that this process may use: how many workers make sense."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_sentence(error: BaseException) -> str:
    """The error's own words in one line; its class where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def _prepare() -> None:
    """Make a worker end with its parent, however that died, and hold nothing that outlives it."""
    # Libraries' progress bars share a lock over processes by default: a semaphore that a worker which is ended leaves
    # behind, and Python then warns of a leak. Bars in one worker need no more than a lock over its threads.
    tqdm.set_lock(threading.RLock())
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: Any) -> None:
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def _main_hidden() -> Iterator[None]:
    """Keep fresh processes from running the user's script again: they need nothing of it.

    Otherwise a script without the usual guard around its main part would start workers without end.
    """
    main = sys.modules["__main__"]
    file, spec = main.__dict__.pop("__file__", None), getattr(main, "__spec__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
