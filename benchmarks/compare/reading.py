"""The results that a comparison is about, from folders or from memory, and what could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from benchmarks.results import run_result as files
from benchmarks.results.run_result import FAILED_SUFFIX, RESULT_SUFFIX, RunResult
from scenarios.common.files import read_json

#: So many sentences about single files are told one by one.
TOLD = 3


class CompareError(ValueError):
    """A comparison that cannot be made; the message is one sentence."""


def runs_of(results: str | Path | Sequence[str | Path] | Sequence[RunResult]) -> tuple[list[RunResult], list[str]]:
    """Read what is to be compared.

    Returns:
        The runs, and a sentence for each thing that could not be read or that failed when it was run.

    Raises:
        CompareError: a folder is missing or holds no result that can be read.
    """
    if isinstance(results, (str, Path)):
        results = [results]
    if not results:
        raise CompareError("There are no results to compare; give a folder of 'greenloop run --out'.")
    if all(isinstance(item, RunResult) for item in results):
        return list(cast(Sequence[RunResult], results)), []
    runs: dict[Path, RunResult] = {}
    problems: list[str] = []
    for folder in cast(Sequence[str | Path], results):
        _read(Path(folder), runs, problems)
    return list(runs.values()), problems


def _read(folder: Path, runs: dict[Path, RunResult], problems: list[str]) -> None:
    """Add what a folder (or a single file) holds; a file that two folders share counts once."""
    if not folder.exists():
        raise CompareError(f"{folder} does not exist; give a folder of 'greenloop run --out'.")
    single = folder.is_file()
    paths = [folder] if single else sorted(folder.rglob(f"*{RESULT_SUFFIX}"))
    unreadable: list[str] = []
    read = 0
    for path in paths:
        try:
            runs.setdefault(path.resolve(), files.read(path))
            read += 1
        except files.ResultError as error:
            unreadable.append(str(error))
    if not read:
        raise CompareError(unreadable[0] if unreadable else _nothing_in(folder))
    problems += _some([f"Left out: {text}" for text in unreadable], "files cannot be read either")
    failed = [] if single else [_failure(path) for path in sorted(folder.rglob(f"*{FAILED_SUFFIX}"))]
    problems += _some(failed, "runs failed as well")


def _nothing_in(folder: Path) -> str:
    others = [path.name for path in sorted(folder.glob("*.json"))]
    seen = f" (there is {others[0]}, which is none)" if others else ""
    return f"{folder} holds no results (*{RESULT_SUFFIX}){seen}; give the folder of 'greenloop run --out'."


def _failure(path: Path) -> str:
    try:
        note = read_json(path)
        return f"Failed and missing: {note['scenario']}, {note['controller']}, seed {note['seed']}: {note['problem']}"
    except (OSError, ValueError, KeyError, TypeError):
        return f"Failed and missing: a run of which {path.name} should tell more, but cannot be read."


def _some(sentences: list[str], more: str) -> list[str]:
    rest = len(sentences) - TOLD
    return [*sentences[:TOLD], *([f"{rest} further {more}."] if rest > 0 else [])]
