"""Folders of records: a gzipped JSON-lines file for each run, split by split, and a manifest with the hash of each.

What lies in a record is its own module's matter (``llm.tasks.decide.records``, ``llm.tasks.forecast.records``). Files
are written at once or not at all.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from scenarios.common.files import FileError, parse_json, read_bytes, read_json, unpacked

#: Largest records of one run, unpacked, bytes.
MOST_SHARD_BYTES = 500_000_000
MANIFEST = "manifest.json"
#: What older manifests call their kind of records; the oldest do not say.
_OLD_KINDS = {"decision": "decide"}


class Placed(Protocol):
    """Any record: it knows the scenario that it is from."""

    @property
    def scenario(self) -> str:
        """The scenario's name."""


Record = TypeVar("Record", bound=Placed)


class RecordError(ValueError):
    """Records that cannot be made, read or used; the message is one sentence."""


@dataclass(frozen=True)
class Shards(Generic[Record]):
    """One kind of records on disk.

    Attributes:
        kind: name of its task.
        splits: the subfolders.
        command: what makes such records, and
        split_option: how it is told the split; for messages.
        format: of the records' fields, and
        prompt_version: of the prompts in them; other ones are refused.
        about: what else every manifest of this kind says.
        row: a record as JSON.
        record: the same back.
        check: raises ``RecordError`` where a record may not be used for a split.
        count: further counts of a run's records, by name.
    """

    kind: str
    splits: tuple[str, ...]
    command: str
    split_option: str
    format: int
    prompt_version: int
    about: Mapping[str, Any]
    row: Callable[[Record], dict[str, Any]]
    record: Callable[[dict[str, Any]], Record]
    check: Callable[[str, Record], None]
    count: Callable[[Sequence[Record]], Mapping[str, int]]

    def write(self, path: Path, records: Sequence[Record]) -> None:
        """Write the records of one run, all or none.

        Raises:
            RecordError: the folder cannot be written.
        """
        lines = (json.dumps(self.row(record), separators=(",", ":"), allow_nan=False) + "\n" for record in records)
        write_bytes(path, gzip.compress("".join(lines).encode(), mtime=0))

    def read(self, path: Path) -> list[Record]:
        """Read the records of one run.

        Raises:
            RecordError: the file is damaged, or holds other records.
        """
        try:
            rows = [parse_json(line) for line in unpacked(read_bytes(path), MOST_SHARD_BYTES).splitlines()]
        except FileError as error:
            raise RecordError(f"Records {path} are damaged: it {error}; delete the file and collect again.") from error
        try:
            return [self.record(row) for row in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(
                f"Records {path} have other fields than the {self.kind} records of this version of greenloop; "
                "collect again."
            ) from error

    def is_done(self, path: Path) -> bool:
        """Whether a run's records are there, whole."""
        try:
            return path.is_file() and bool(self.read(path) or True)
        except RecordError:
            return False

    def files(self, folder: Path) -> Iterator[tuple[str, Path]]:
        """Every shard with its split, in a fixed order."""
        for split in self.splits:
            for path in sorted((folder / split).glob("*.jsonl.gz")):
                yield split, path

    def write_manifest(self, folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
        """List every shard with its hash and counts, beside what is known about how they were made.

        Raises:
            RecordError: a shard is damaged, or the folder cannot be written.
        """
        shards: dict[str, Any] = {}
        counts: dict[str, Counter[str]] = {split: Counter() for split in self.splits}
        scenarios: dict[str, Counter[str]] = {split: Counter() for split in self.splits}
        for split, path in self.files(folder):
            records = self.read(path)
            shards[path.relative_to(folder).as_posix()] = {"sha256": file_sha256(path), "records": len(records)}
            counts[split].update({"runs": 1, "records": len(records), **self.count(records)})
            scenarios[split].update(record.scenario for record in records)
        named = {split: dict(sorted(found.items())) for split, found in scenarios.items()}
        return self._note(folder, {**about, "counts": counts, "scenarios": named, "shards": shards})

    def begin(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write a manifest that lists nothing yet.

        Raises:
            RecordError: the folder cannot be written.
        """
        self._note(folder, {**about, "shards": {}})

    def _note(self, folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
        manifest = {
            "kind": self.kind,
            "format": self.format,
            "prompt_version": self.prompt_version,
            **self.about,
            **about,
        }
        write_bytes(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
        return manifest

    def read_manifest(self, folder: Path) -> dict[str, Any]:
        """Read the manifest and check that these are records of this kind for this version.

        Raises:
            RecordError: there is none, it is damaged, or the records are of another kind or version.
        """
        try:
            manifest = read_json(folder / MANIFEST, allow_nan=True)
            kind = manifest.get("kind", "decision")
            kind = _OLD_KINDS.get(kind, kind)
            version, form = manifest["prompt_version"], manifest["format"]
            for name, entry in manifest["shards"].items():
                if not (isinstance(name, str) and isinstance(entry["sha256"], str) and int(entry["records"]) >= 0):
                    raise ValueError(name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RecordError(f"Folder {folder} holds no readable {MANIFEST}; run '{self.command}' first.") from error
        if kind != self.kind:
            raise RecordError(
                f"Folder {folder} holds {kind} records, not {self.kind} records; give that of '{self.command}'."
            )
        if (version, form) != (self.prompt_version, self.format):
            raise RecordError(
                f"The {self.kind} records in {folder} hold prompts of version {version} (format {form}); this "
                f"greenloop writes version {self.prompt_version} (format {self.format}): collect again."
            )
        return dict(manifest)

    def listed(self, folder: Path) -> dict[str, int]:
        """How many records of each split the manifest lists.

        Raises:
            RecordError: as ``read_manifest``.
        """
        shards = self.read_manifest(folder)["shards"]
        of = {split: [name for name in shards if name.startswith(f"{split}/")] for split in self.splits}
        return {split: sum(shards[name]["records"] for name in names) for split, names in of.items()}

    def sha256(self, folder: Path, splits: Sequence[str] | None = None) -> str:
        """Hash of the records that the manifest lists, in all splits or in some.

        It stays when they are collected again without a change, although the manifest then has another date.

        Raises:
            RecordError: the manifest is missing, damaged, or of another kind or version.
        """
        listed = {
            name: entry["sha256"]
            for name, entry in self.read_manifest(folder)["shards"].items()
            if splits is None or name.partition("/")[0] in splits
        }
        return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()

    def read_split(self, folder: Path, split: str) -> list[Record]:
        """All records of a split that the manifest lists.

        Raises:
            RecordError: there are none, a file is not the one that the manifest lists, or holds what is not of this
                split.
        """
        records: list[Record] = []
        for name, entry in self.read_manifest(folder)["shards"].items():
            if not name.startswith(f"{split}/"):
                continue
            path = folder / name
            if not path.is_file() or file_sha256(path) != entry["sha256"]:
                raise RecordError(f"Records {path} are not those that {MANIFEST} lists; run '{self.command}' again.")
            records += self._checked(path, split)
        if not records and any((folder / split).glob("*.jsonl.gz")):
            raise RecordError(
                f"Folder {folder} holds {split} records that its {MANIFEST} does not list, as '{self.command}' was "
                "stopped: give the same command again."
            )
        if not records:
            raise RecordError(
                f"Folder {folder} holds no {split} records; run '{self.command} {self.split_option} {split}'."
            )
        return records

    def _checked(self, path: Path, split: str) -> list[Record]:
        records = self.read(path)
        for record in records:
            try:
                self.check(split, record)
            except RecordError as error:
                raise RecordError(f"Records {path} may not be used for {split}: {error}") from error
        return records


def thinned(records: Sequence[Record], limit: int) -> list[Record]:
    """At most so many records, evenly from all runs and minutes; 0 for all."""
    if not 0 < limit < len(records):
        return list(records)
    return [records[i] for i in np.linspace(0, len(records) - 1, limit).round().astype(int)]


def file_sha256(path: Path) -> str:
    """Hash of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def only_writer(folder: Path, error: type[Exception] = RecordError) -> Iterator[None]:
    """Keep a second command out of a folder that one works on: both would write the same files.

    Raises:
        error: another one works on it, or it cannot be written.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as busy:
        raise error(f"Another command is writing to {folder}; wait for it, or choose another folder.") from busy
    except OSError as refused:
        raise error(f"Folder {folder} cannot be written: {refused.strerror or refused}.") from refused
    try:
        yield
    finally:
        lock.release()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file at once or not at all.

    Raises:
        RecordError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise RecordError(f"{path} cannot be written ({error.strerror}); choose another folder.") from error
