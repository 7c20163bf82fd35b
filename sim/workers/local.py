"""Supervised worker processes on this machine.

Workers start fresh (spawn), stay warm between tasks (a language model stays loaded), and keep numerical libraries to
one thread each. Each has a pipe of its own, so one that is killed at any moment takes nothing of the others along; it
is replaced, and only the task that it had begun fails.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from types import FrameType, TracebackType
from typing import Any, Self

from tqdm import tqdm

from scenarios.common.errors import shorten
from sim.workers.base import Finished, TaskT, ValueT, WorkerPool

#: One thread each: workers share the cores, and results must not depend on how many there are.
THREAD_SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
#: Workers that die in a row before one of them begins a task; more means that none ever will.
MOST_FALSE_STARTS = 5
#: A dead process is looked for that often even where a pipe that something else holds open does not tell of it, s.
_LOOK_EVERY_S = 0.5
#: Time for a worker to clear up after itself, s.
_FAREWELL_S = 3.0


class _Ended(BaseException):
    """The parent, or somebody else, asks a worker to go: nothing that runs in it may take that for its own error."""


class AloneError(RuntimeError):
    """A task in a process of its own that failed; the message is one sentence."""


def run_alone(function: Callable[[TaskT], ValueT], task: TaskT, timeout_s: float | None = None) -> ValueT:
    """Apply a function to one task in a fresh process: nothing that it changes there is seen by anything else.

    Raises:
        AloneError: it raised, took too long, or its process died.
    """
    with Workers(function, 1, timeout_s) as workers:
        (done,) = workers.run([task])
    if done.problem is not None:
        raise AloneError(done.problem)
    return done.value  # type: ignore[return-value] # None is a value, too


@dataclass(eq=False)
class _Worker:
    """One process and this end of its pipe."""

    process: BaseProcess
    pipe: Connection
    is_ready: bool = False
    task: Any = None
    is_busy: bool = False
    has_begun: bool = False
    since_s: float = 0.0


class Workers(WorkerPool[TaskT, ValueT]):
    """Processes on this machine."""

    def __enter__(self) -> Self:
        self._workers: list[_Worker] = []
        self._false_starts = 0
        self._last_words = ""
        # Processes inherit the settings before they import any library, and so does one that replaces a dead one.
        self._settings = contextlib.ExitStack()
        self._settings.enter_context(_environment(THREAD_SETTINGS))
        try:
            for _ in range(self.count):
                self._start()
        except BaseException:
            self._end(at_once=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(at_once=kind is not None)

    def run(self, tasks: Sequence[TaskT]) -> Iterator[Finished[TaskT, ValueT]]:
        """Yield every task once, as it ends."""
        todo = deque(tasks)
        while todo or any(worker.is_busy for worker in self._workers):
            while len(self._workers) < min(self.count, len(todo) + sum(w.is_busy for w in self._workers)):
                self._start()
            for worker in self._workers:
                if todo and worker.is_ready and not worker.is_busy:
                    problem = self._give(worker, todo)
                    if problem is not None:
                        yield problem
            for worker in self._news():
                ended = self._listen(worker, todo)
                if ended is not None:
                    yield ended
            if self._false_starts >= MOST_FALSE_STARTS:
                while todo:
                    yield Finished(todo.popleft(), problem=f"No worker process starts: {self._last_words}")

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self.function), name="greenloop worker")
        with _main_hidden():
            process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))

    def _give(self, worker: _Worker, todo: deque[TaskT]) -> Finished[TaskT, ValueT] | None:
        task = todo.popleft()
        try:
            message = ForkingPickler.dumps(task)
        except Exception as error:
            return Finished(task, problem=f"It cannot be sent to a worker: {one_sentence(error)}")
        worker.task, worker.is_busy, worker.has_begun, worker.since_s = task, True, False, time.monotonic()
        with contextlib.suppress(OSError):  # it is dead, which will be noticed
            worker.pipe.send_bytes(message)
        return None

    def _news(self) -> list[_Worker]:
        """Workers that have said something, died or taken too long; waits for the first."""
        handles: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers}
        handles |= {worker.process.sentinel: worker for worker in self._workers}
        ready = {handles[handle] for handle in wait(list(handles), timeout=_LOOK_EVERY_S)}
        return [
            worker
            for worker in list(self._workers)
            if worker in ready or self._is_late(worker) or not worker.process.is_alive()
        ]

    def _is_late(self, worker: _Worker) -> bool:
        return worker.is_busy and self.timeout_s is not None and time.monotonic() - worker.since_s > self.timeout_s

    def _listen(self, worker: _Worker, todo: deque[TaskT]) -> Finished[TaskT, ValueT] | None:
        """Take one message of a worker, or its death; returns the task that ended by it, if any."""
        try:
            message = worker.pipe.recv() if worker.pipe.poll() else None
        except (EOFError, OSError):
            message = None
            worker.process.join(_FAREWELL_S)  # the pipe closes a moment before the process ends
        except Exception as error:
            message = "problem", f"What it returned cannot be read: {one_sentence(error)}"
        if message is None:
            if not worker.process.is_alive():
                return self._bury(worker, todo)
            if self._is_late(worker):
                self._drop(worker)
                return Finished(worker.task, problem=f"It took longer than {self.timeout_s:g} s and was stopped.")
            return None
        status, content = message
        if status == "ready":
            worker.is_ready = True
        elif status == "begun":
            worker.has_begun, self._false_starts = True, 0
        else:
            worker.is_busy = False
            if status == "value":
                return Finished(worker.task, value=content)
            return Finished(worker.task, problem=content)
        return None

    def _bury(self, worker: _Worker, todo: deque[TaskT]) -> Finished[TaskT, ValueT] | None:
        """Forget a dead worker; what it had begun has failed, what it had not is for another one."""
        self._drop(worker)
        words = _ending(worker.process.exitcode)
        if worker.is_busy and worker.has_begun:
            return Finished(worker.task, problem=words)
        self._false_starts, self._last_words = self._false_starts + 1, words
        if worker.is_busy:
            todo.appendleft(worker.task)
        return None

    def _drop(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.pipe.close()
        if worker.process.is_alive():
            worker.process.terminate()
            worker.process.join(_FAREWELL_S)
            worker.process.kill()
        worker.process.join()

    def _end(self, at_once: bool) -> None:
        """Idle workers end when their pipe closes, those at work when they are told to, and at last by force."""
        for worker in self._workers:
            worker.pipe.close()
            if at_once or worker.is_busy:
                worker.process.terminate()
        end_s = time.monotonic() + _FAREWELL_S
        for worker in self._workers:
            worker.process.join(max(0.0, end_s - time.monotonic()))
            worker.process.kill()
            worker.process.join()
        self._workers.clear()
        self._settings.close()


def usable_cores() -> int:
    """Cores that this process may use: how many workers make sense."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_sentence(error: BaseException) -> str:
    """The error's own words in one line of bounded length; its class where it has none."""
    return shorten(str(error)) or type(error).__name__


def _ending(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else f"signal {-exit_code}"
        memory = ", perhaps for lack of memory" if exit_code == -signal.SIGKILL else ""
        return f"Its process died (ended by {name}){memory}."
    return f"Its process died: something in it ended it with exit code {exit_code} before the work was done."


def _serve(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """What a worker does: one task after the other until the pipe closes."""
    _prepare()
    own = os.getpid()
    try:
        pipe.send(("ready", None))
        while True:
            task = pipe.recv()
            pipe.send(("begun", None))
            outcome = _outcome(function, task)
            if os.getpid() != own:  # a fork that a task made and that came back here has no part in this
                os._exit(1)
            try:
                pipe.send(outcome)
            except OSError:
                raise
            except Exception as error:
                pipe.send(("problem", f"What it returned cannot be sent: {one_sentence(error)}"))
    except (EOFError, OSError):
        return
    except _Ended:  # all that was open is closed now; what is left is to end by the signal, so that it can be told
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)


def _outcome(function: Callable[[Any], Any], task: Any) -> tuple[str, Any]:
    """Whatever the task raises belongs to the task, in words."""
    try:
        return "value", function(task)
    except Exception as error:
        return "problem", one_sentence(error)
    except _Ended:
        raise
    except BaseException as error:
        return "problem", f"It was ended by {type(error).__name__}, which its own code raised."


def _prepare() -> None:
    """Make a worker end with its parent, however that died, and hold nothing that outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    signal.signal(signal.SIGTERM, _leave)
    # Libraries' progress bars share a lock over processes by default: a semaphore that a worker which is ended leaves
    # behind, and Python then warns of a leak. Bars in one worker need no more than a lock over its threads.
    tqdm.set_lock(threading.RLock())
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is Python's
    raise _Ended


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
