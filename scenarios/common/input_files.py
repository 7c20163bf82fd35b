"""Files that a user brings, opened with care: regular files only, packed or plain, of bounded size.

``scan`` reads an XML file once, without keeping it, before anything else does: a file that would fill the memory, or
that SUMO and Python would read differently, ends there in one sentence.
"""

from __future__ import annotations

import gzip
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast
from xml.etree import ElementTree
from xml.parsers import expat

from scenarios.common.errors import ScenarioError, shorten

#: Largest file, unpacked; most elements in it; deepest nesting (SUMO's own files have six levels).
MOST_BYTES, MOST_ELEMENTS, MOST_LEVELS = 1_000_000_000, 5_000_000, 50
#: Longest stretch without a new element: a text, a comment or an attribute that would be kept in one piece.
MOST_IDLE_BYTES = 16_000_000
#: SUMO's files shrink to a tenth when they are packed, even ones to a fiftieth, compression bombs to a thousandth.
MOST_RATIO, FREE_BYTES = 150.0, 20_000_000
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 18

Visit = Callable[[str, Mapping[str, str]], None]


@dataclass(frozen=True)
class Stamp:
    """What tells that a file is still the same."""

    bytes: int
    changed_ns: int


def stamp(file: Path, what: str, most: int = MOST_BYTES) -> Stamp:
    """Check that a file can be opened without waiting and is not too large.

    Args:
        file: the file.
        what: begins the sentence, as in "Network file".
        most: bytes.

    Raises:
        ScenarioError: it is missing, no regular file, unreadable or too large.
    """
    try:
        facts = file.stat()
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise unreadable(file, what, error) from error
    if not stat.S_ISREG(facts.st_mode):
        kind = "a folder" if stat.S_ISDIR(facts.st_mode) else "a pipe or a device"
        raise ScenarioError(f"{what} {file} is {kind}, not a file; check the path.")
    if facts.st_size > most:
        raise too_large(file, what, facts.st_size, most)
    return Stamp(facts.st_size, facts.st_mtime_ns)


def unreadable(file: Path, what: str, error: Exception) -> ScenarioError:
    """The error for a file that the system does not open."""
    reason = getattr(error, "strerror", None) or error
    return ScenarioError(f"{what} {file} cannot be read ({reason}); check the path.")


def too_large(file: Path, what: str, size: float, most: int = MOST_BYTES) -> ScenarioError:
    """The error for a file that would fill the memory."""
    return ScenarioError(
        f"{what} {file} has {size / 1e6:,.0f} MB or more unpacked, and greenloop reads {most / 1e6:,.0f} MB at most; "
        "give a smaller one."
    )


def open_input(file: Path, what: str) -> BinaryIO:
    """Open a file for reading, unpacked where it is packed with gzip, whatever its name.

    Raises:
        ScenarioError: as ``stamp``, and where it unpacks to far more than any SUMO file does.
    """
    size = stamp(file, what).bytes
    try:
        plain = file.open("rb")
        is_packed = plain.read(2) == _GZIP
        plain.seek(0)
    except OSError as error:
        raise unreadable(file, what, error) from error
    if not is_packed:
        return plain
    plain.close()
    _check_unpacked(file, what, size)
    return cast(BinaryIO, gzip.open(file))


def _check_unpacked(file: Path, what: str, size: int) -> None:
    most = min(MOST_BYTES, max(MOST_RATIO * size, FREE_BYTES))
    count = 0
    try:
        with gzip.open(file) as unpacked:
            while chunk := unpacked.read(_CHUNK):
                count += len(chunk)
                if count > most:
                    break
    except (OSError, EOFError, zlib.error) as error:
        raise ScenarioError(f"{what} {file} is not a complete gzip file ({error}); pack it again.") from error
    if count > MOST_BYTES:
        raise too_large(file, what, count)
    if count > most:
        raise ScenarioError(
            f"{what} {file} unpacks to more than {MOST_RATIO:g} times its size, which no SUMO file does; it looks like "
            "a compression bomb and is not read."
        )


def read_raw(file: Path, what: str, most: int = MOST_BYTES) -> bytes:
    """The whole content as it is stored.

    Raises:
        ScenarioError: as ``stamp``.
    """
    stamp(file, what, most)
    try:
        return file.read_bytes()
    except OSError as error:
        raise unreadable(file, what, error) from error


def read_input(file: Path, what: str) -> bytes:
    """The whole content, unpacked.

    Raises:
        ScenarioError: as ``open_input``.
    """
    with open_input(file, what) as opened:
        try:
            return opened.read()
        except OSError as error:
            raise unreadable(file, what, error) from error


def scan(file: Path, what: str, visit: Visit | None = None) -> str:
    """Read an XML file from end to end; return the name of its root element.

    Args:
        file: plain or packed.
        what: begins the sentence when it cannot be used.
        visit: is called with the name and the attributes of every element, before those inside it.

    Raises:
        ScenarioError: the file cannot be opened, is no complete XML, is too large or too deep, or declares a document
            type: entities can blow up a file of one kilobyte, and no SUMO file needs them.
    """
    scanner = _Scanner(file, what, visit)
    with open_input(file, what) as opened:
        scanner.read(opened)
    return scanner.root


class _Scanner:
    def __init__(self, file: Path, what: str, visit: Visit | None) -> None:
        self.file, self.what, self.visit = file, what, visit
        self.root = ""
        self.elements = self.level = self.idle_bytes = 0
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._doctype

    def read(self, opened: BinaryIO) -> None:
        try:
            while chunk := opened.read(_CHUNK):
                before = self.elements, self.level
                self.parser.Parse(chunk, False)
                self.idle_bytes = self.idle_bytes + len(chunk) if (self.elements, self.level) == before else 0
                if self.idle_bytes > MOST_IDLE_BYTES:
                    raise ScenarioError(
                        f"{self.what} {self.file} holds a text or a value of more than {MOST_IDLE_BYTES / 1e6:g} MB; "
                        "it is no SUMO file."
                    )
            self.parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise ScenarioError(f"{self.what} {self.file} is not complete XML: {error}.") from error
        except ScenarioError:
            raise
        except (LookupError, ValueError) as error:  # an encoding that Python does not know, or of several bytes
            raise ScenarioError(
                f"{self.what} {self.file} has an encoding that cannot be read ({error}); save it as UTF-8."
            ) from error
        except OSError as error:
            raise unreadable(self.file, self.what, error) from error

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.root = self.root or tag
        self.elements += 1
        self.level += 1
        if self.level > MOST_LEVELS:
            raise ScenarioError(
                f"{self.what} {self.file} nests elements more than {MOST_LEVELS} deep; it is no SUMO file."
            )
        if self.elements > MOST_ELEMENTS:
            raise ScenarioError(
                f"{self.what} {self.file} holds more than {MOST_ELEMENTS:,} elements; cut it into smaller ones."
            )
        if self.visit is not None:
            self.visit(tag, attributes)

    def _end(self, _tag: str) -> None:
        self.level -= 1

    def _doctype(self, *_declared: object) -> None:
        raise ScenarioError(
            f"{self.what} {self.file} declares a document type (<!DOCTYPE ...>), which SUMO's files do not need and "
            "which can hide endless entities; remove it."
        )


def check_xml(file: Path, what: str, roots: tuple[str, ...] = (), give: str = "") -> str:
    """Scan a file once for as long as it does not change; return its root, which has to be one of ``roots`` if any.

    Raises:
        ScenarioError: as ``scan``, or another root; ``give`` says what is wanted instead.
    """
    root = _scanned(file, what, stamp(file, what))
    if roots and root not in roots:
        raise ScenarioError(f"{what} {file} holds <{shorten(root, 40)}>, not <{roots[0]}>; give {give}.")
    return root


@lru_cache(maxsize=64)
def _scanned(file: Path, what: str, _stamp: Stamp) -> str:
    return scan(file, what)


def top_elements(file: Path, what: str) -> Iterator[ElementTree.Element]:
    """The children of the root, one after the other, each complete; what the caller does not keep is forgotten.

    The file has to have passed ``check_xml`` or ``scan``.

    Raises:
        ScenarioError: it has changed since, and is broken now.
    """
    try:
        with open_input(file, what) as opened:
            level, root = 0, None
            for event, element in ElementTree.iterparse(opened, events=("start", "end")):
                if event == "start":
                    root = element if root is None else root
                    level += 1
                    continue
                level -= 1
                if level == 1 and root is not None:
                    yield element
                    root.clear()
    except (ElementTree.ParseError, LookupError, ValueError, OSError) as error:
        if isinstance(error, ScenarioError):
            raise
        raise ScenarioError(f"{what} {file} is not complete XML: {error}.") from error
