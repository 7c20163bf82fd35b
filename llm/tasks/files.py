"""A task's records on disk, as ``llm.records.shards`` keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llm.records.shards import Shards
from llm.records.splits import HELD_OUT, check_record, check_wording
from llm.tasks.base import Task


def files(task: Task[Any]) -> Shards[Any]:
    """What the record files of a task are."""

    def check(split: str, record: Any) -> None:
        if split != HELD_OUT:
            check_record(split, record, task.question(record).text)

    return Shards(
        kind=task.name,
        splits=task.splits,
        command=f"greenloop collect {task.name}",
        split_option="--split",
        format=task.record_format,
        prompt_version=task.prompt_version,
        about=task.about(),
        row=task.row,
        record=task.record,
        check=check,
        count=task.counts,
    )


def write_shard(task: Task[Any], path: Path, split: str, records: Sequence[Any]) -> None:
    """Write the records of one run, all or none.

    Raises:
        RecordError: held-out wording in a text that may be learnt from, or the folder cannot be written.
    """
    if split != HELD_OUT:
        for record in records:
            check_wording(task.question(record).text)
    files(task).write(path, records)


def learnt_splits(task: Task[Any]) -> list[str]:
    """The splits that are learnt from."""
    return [split for split in task.splits if split != HELD_OUT]
