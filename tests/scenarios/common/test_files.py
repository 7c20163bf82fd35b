"""Files of somebody else: whatever they hold, reading ends soon, in a value or in one clause."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.common.errors import MOST_LETTERS, shorten
from scenarios.common.files import FileError, parse_json, read_arrays, read_bytes, read_json, unpacked


def hostile(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files by name, and what is said of each."""
    found: dict[str, tuple[Path, str]] = {}

    def put(name: str, data: bytes, says: str) -> None:
        (folder / name).write_bytes(data)
        found[name] = folder / name, says

    put("nothing", b"", "is truncated or no JSON")
    put("half", b'{"a": [1, 2', "is truncated or no JSON")
    put("deep", b"[" * 200_000, "is nested too deep")
    put("deep objects", b'{"a":' * 200_000, "is nested too deep")
    put("utf-16", '{"a": 1}'.encode("utf-16"), "is not in UTF-8")
    put("latin", b'{"a": "\xe4"}', "is not in UTF-8")
    put("nan", b'{"a": NaN}', "holds NaN, which JSON does not have")
    put("infinity", b"[-Infinity]", "holds -Infinity")
    put("huge float", b"[1e999]", "holds a number that is too large")
    put("huge integer", b"9" * 100_000, "holds a number that cannot be read")
    sparse = folder / "gigabytes"
    with sparse.open("wb") as stream:
        stream.truncate(5_000_000_000)
    found["gigabytes"] = sparse, "is larger than 64 MB"
    os.mkfifo(folder / "pipe")
    found["pipe"] = folder / "pipe", "is a pipe or a device"
    (folder / "folder").mkdir()
    found["folder"] = folder / "folder", "is a folder"
    (folder / "circle").symlink_to(folder / "circle")
    found["circle"] = folder / "circle", "cannot be read"
    found["missing"] = folder / "missing", "cannot be read"
    found["device"] = Path("/dev/zero"), "is a pipe or a device"
    return found


def test_each_hostile_file_ends_in_one_clause_at_once(tmp_path: Path) -> None:
    begin_s = time.monotonic()
    for name, (path, says) in hostile(tmp_path).items():
        with pytest.raises(FileError, match=says) as caught:
            read_json(path)
        assert len(str(caught.value)) < 300, name
        with pytest.raises(FileError):
            read_arrays(path)
    assert time.monotonic() - begin_s < 10


def test_a_pipe_with_a_writer_is_no_file_either(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").open("wb").close(), daemon=True)
    writer.start()
    time.sleep(0.05)
    with pytest.raises(FileError, match="pipe"):
        read_bytes(tmp_path / "pipe")
    writer.join(5)
    assert not writer.is_alive()


def test_bombs_are_not_unpacked(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="unpacks to more than 1 MB"):
        unpacked(gzip.compress(bytes(50_000_000)), 1_000_000)
    assert unpacked(gzip.compress(b"a") + gzip.compress(b"b"), 2) == b"ab"
    with pytest.raises(FileError, match="no complete gzip"):
        unpacked(gzip.compress(b"some text")[:-3], 100)
    bomb = tmp_path / "bomb.npz"
    np.savez_compressed(bomb, a=np.zeros(5_000_000))
    with pytest.raises(FileError, match="unpacks to 40 MB"):
        read_arrays(bomb, most_bytes=1_000_000)
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999,), }"
    with zipfile.ZipFile(bomb, "w") as archive:
        archive.writestr("a.npy", header.ljust(127) + b"\n")
    with pytest.raises(FileError, match="holds no arrays"):
        read_arrays(bomb)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | st.recursive(
    st.none() | st.floats() | st.text(max_size=5), lambda part: st.lists(part, max_size=3), max_leaves=5
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_bytes_are_a_value_or_a_clause(data: bytes) -> None:
    try:
        value = parse_json(data)
    except FileError as error:
        value = shorten(str(error))
    json.dumps(value, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_spoilt_archive_is_arrays_or_a_clause(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.arange(50), b=np.ones((2, 3)))
    spoilt = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "spoilt.npz"
    path.write_bytes(spoilt)
    arrays, said = {}, ""
    try:
        arrays = read_arrays(path)
    except FileError as error:
        said = str(error)
    assert len(said) < 300
    assert all(array.dtype != object for array in arrays.values())


@given(st.text(max_size=3 * MOST_LETTERS), st.integers(30, MOST_LETTERS))
def test_a_message_is_one_line_of_bounded_length(text: str, most: int) -> None:
    line = shorten(text, most)
    assert len(line) <= most
    assert line == " ".join(line.split()) or " ... " in line
    if len(" ".join(text.split())) <= most:
        assert line == " ".join(text.split())
