"""Recorded answers: one JSON object a line, found by the request's hash, for runs that repeat exactly and cost nothing.

While recording, an answer that is already there is not asked for again, and of two runs that ask at once the first one
written counts for both: so a run decides just as its replay will. Failures are kept too, until an answer replaces them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import filelock
from pydantic import BaseModel, ConfigDict, ValidationError

from llm.remote.options import EndpointError
from scenarios.common.files import FileError, opened

#: Largest recording, and most that other runs add between two looks, bytes.
MOST_ADDED_BYTES = 500_000_000


class Recorded(BaseModel):
    """One line: what was asked, and the model's text or the reason why there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    key: str
    model: str
    prompt: str
    text: str | None = None
    cut: bool = False
    reported: str | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    reason: str = ""
    detail: str = ""


class Recording:
    """The answers in one file.

    Raises:
        EndpointError: the file cannot be read, or a line in it is no recorded answer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Recorded] = {}
        self._read_bytes = self._read_lines = 0
        if path.exists():
            self._read()

    def get(self, key: str) -> Recorded | None:
        """The answer to that request, or how it failed, or None."""
        return self._known.get(key)

    def add(self, entries: Iterable[Recorded]) -> None:
        """Append what is new; ``get`` then says what counts, which may be another run's answer."""
        try:
            with filelock.FileLock(f"{self.path}.lock"), self.path.open("ab+") as stream:
                self._read()
                stream.truncate(self._read_bytes)  # half a line of a run that was killed
                for entry in filter(self._is_news, entries):
                    stream.write(entry.model_dump_json(exclude_defaults=True).encode() + b"\n")
                    stream.flush()
                    self._read()  # our own line, as any reader will see it
        except OSError as error:
            raise EndpointError(f"endpoint: {self.path} cannot be written ({error.strerror or error}).") from error

    def _is_news(self, entry: Recorded) -> bool:
        known = self._known.get(entry.key)
        return known is None or (known.text is None and entry.text is not None)

    def _read(self) -> None:
        """Take in the whole lines that were added since the last time."""
        try:
            with opened(self.path) as stream:
                stream.seek(self._read_bytes)
                data = stream.read(MOST_ADDED_BYTES + 1)
        except FileError as error:
            raise EndpointError(f"endpoint: {self.path} {error}.") from error
        if len(data) > MOST_ADDED_BYTES:
            raise EndpointError(
                f"endpoint: {self.path} is larger than {MOST_ADDED_BYTES / 1e6:g} MB, the most that is read; "
                "record anew."
            )
        whole = data[: data.rfind(b"\n") + 1]
        for line in whole.splitlines():
            self._read_lines += 1
            try:
                entry = Recorded.model_validate_json(line)
            except ValidationError:
                raise EndpointError(
                    f"endpoint: line {self._read_lines} of {self.path} is no recorded answer; delete it or record anew."
                ) from None
            if self._is_news(entry):
                self._known[entry.key] = entry
        self._read_bytes += len(whole)
