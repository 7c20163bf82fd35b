"""Files that somebody else may have written, read within bounds: each ends soon, in a value or in words."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from scenarios.common.errors import shorten

#: Largest JSON file, bytes; a value takes up to twenty times as much memory.
MOST_BYTES = 64_000_000
#: Largest arrays, unpacked, bytes.
MOST_ARRAY_BYTES = 1_000_000_000


class FileError(ValueError):
    """Why a file cannot be read, to go on after its name: "is a pipe or a device, not a file"."""


@contextlib.contextmanager
def opened(file: Path) -> Iterator[io.BufferedReader]:
    """A regular file to read; a pipe is not waited for.

    Raises:
        FileError: it is missing, no regular file, or cannot be opened or read.
    """
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
        with os.fdopen(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise FileError("is a pipe or a device, not a file")
            yield stream
    except IsADirectoryError:
        raise FileError("is a folder, not a file") from None
    except OSError as error:
        raise FileError(f"cannot be read ({error.strerror or error})") from error


def read_bytes(file: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
        FileError: as ``opened``, or it is too large.
    """
    with opened(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        data = b"" if size > most_bytes else stream.read(most_bytes + 1)
    if size > most_bytes or len(data) > most_bytes:
        raise FileError(f"is larger than {most_bytes / 1e6:g} MB, the most that is read")
    return data


def read_json(file: Path, most_bytes: int = MOST_BYTES, allow_nan: bool = False) -> Any:
    """The value of a JSON file in UTF-8.

    Raises:
        FileError: as ``read_bytes``, or as ``parse_json``.
    """
    return parse_json(read_bytes(file, most_bytes), allow_nan)


def parse_json(data: bytes | str, allow_nan: bool = False) -> Any:
    """The value of a JSON text; NaN and infinity, which JSON has not, are refused unless asked for.

    Raises:
        FileError: it is no JSON.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"is not in UTF-8 (byte {error.start})") from None
    kinds: dict[str, Any] = {} if allow_nan else {"parse_constant": _constant, "parse_float": _finite}
    try:
        return json.loads(text, **kinds)
    except FileError:
        raise
    except RecursionError:
        raise FileError("is nested too deep") from None
    except json.JSONDecodeError as error:
        raise FileError(f"is truncated or no JSON: {error}") from None
    except ValueError as error:  # an integer of thousands of digits
        raise FileError(f"holds a number that cannot be read: {error}") from None


def unpacked(data: bytes, most_bytes: int) -> bytes:
    """What gzip packed.

    Raises:
        FileError: it is damaged, or unpacks to more.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            found = stream.read(most_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"is no complete gzip file ({error})") from None
    if len(found) > most_bytes:
        raise FileError(f"unpacks to more than {most_bytes / 1e6:g} MB, the most that is read")
    return found


def read_arrays(file: Path, most_bytes: int = MOST_ARRAY_BYTES) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file by name; no pickled objects.

    Raises:
        FileError: as ``opened``, or it is no such file, is damaged, or unpacks to more than ``most_bytes``.
    """
    with opened(file) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                size = sum(part.file_size for part in archive.infolist())
            if size > most_bytes:
                raise FileError(
                    f"unpacks to {size / 1e6:.0f} MB, and {most_bytes / 1e6:g} MB are the most that is read"
                )
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except FileError:
            raise
        except OSError as error:
            raise FileError(f"cannot be read ({error.strerror or error})") from error
        except Exception as error:  # a foreign file makes zipfile, zlib and numpy raise almost anything
            raise FileError(
                f"is truncated or holds no arrays ({shorten(str(error), 120) or type(error).__name__})"
            ) from error


def _constant(name: str) -> NoReturn:
    raise FileError(f"holds {name}, which JSON does not have")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), -float("inf")):
        raise FileError("holds a number that is too large")
    return value
