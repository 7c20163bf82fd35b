"""How a sweep goes, on stderr: a bar with the time left on a terminal, a line a cell elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks.run.cell import Cell


class SweepProgress:
    """Shows a sweep; use it as a context manager. Tells each failed cell at once."""

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True, quiet=quiet)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = TaskID(0)
        self._total = self._done = 0

    def __enter__(self) -> SweepProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, total: int, resumed: int, cost: str = "") -> None:
        """Say how many runs there are, how many are there already, and what the others will cost."""
        self._total, self._done = total, resumed
        self._task = self._bar.add_task("Running", total=total, completed=resumed, left="")
        kept = f" ({resumed} finished before, kept)" if resumed else ""
        self.console.print(
            f"{total} run{'' if total == 1 else 's'}{kept}{', ' if cost.startswith('about') else ' '}{cost}".rstrip()
        )

    def finished(self, cell: Cell, problem: str | None, left_s: float) -> None:
        """Count a cell; print it where there is no bar, and a failure anywhere."""
        self._done += 1
        left = duration(left_s) + " left" if self._done < self._total else "done"
        self._bar.update(self._task, advance=1, left=left)
        if problem is not None:
            self.console.print(f"[bold red]Failed[/]: {escaped(cell.name)}: {escaped(problem)}")
        elif not self.console.is_terminal:
            self.console.print(f"{self._done}/{self._total} {escaped(cell.name)} ({left})")


def duration(seconds: float) -> str:
    """A rough time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def escaped(text: str) -> str:
    """Text in which rich finds no markup."""
    return text.replace("[", "\\[")
