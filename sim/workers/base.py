"""What every engine that runs tasks side by side offers; whoever uses one knows no more than this."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

TaskT = TypeVar("TaskT")
ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class Finished(Generic[TaskT, ValueT]):
    """A task that ended: ``value`` when it worked, else ``problem``, one sentence."""

    task: TaskT
    value: ValueT | None = None
    problem: str | None = None


class WorkerPool(ABC, Generic[TaskT, ValueT]):
    """Applies one function to tasks; a context manager, and leaving it by an error ends what still runs.

    A task that raises, takes longer than ``timeout_s`` or whose process dies fails with a sentence; the others go on.

    Args:
        function: picklable by name, as are its tasks and what it returns.
        count: tasks at once, at least 1.
        timeout_s: longest time for one task, s; None for no limit.

    Raises:
        ValueError: there would be no worker.
    """

    def __init__(self, function: Callable[[TaskT], ValueT], count: int, timeout_s: float | None = None) -> None:
        if count < 1:
            raise ValueError(f"At least one worker is needed, not {count}.")
        self.function, self.count, self.timeout_s = function, count, timeout_s

    @abstractmethod
    def __enter__(self) -> Self:
        """Start the workers."""

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End them."""

    @abstractmethod
    def run(self, tasks: Sequence[TaskT]) -> Iterator[Finished[TaskT, ValueT]]:
        """Yield every task once, as it ends."""
