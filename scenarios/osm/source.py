"""A map's file: its format, and whether this machine has the memory for it."""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from scenarios.common.input_files import FREE_BYTES, MOST_RATIO, stamp, unreadable
from scenarios.spec import ScenarioError

#: File endings, and what pyosmium calls what is in them.
FORMATS = {
    ".osm.pbf": "pbf",
    ".pbf": "pbf",
    ".osm": "osm",
    ".osm.gz": "osm.gz",
    ".osm.bz2": "osm.bz2",
    ".osm.xml": "osm",
    ".xml.gz": "osm.gz",
    ".xml": "osm",
}
#: Bytes of memory for each byte of the file while it is read (measured on small extracts: 22 for pbf, 4 for XML), and
#: for each road (OSM way) while it is converted, routed and simulated (about 40,000); with half as much to spare.
READ_BYTES = {"pbf": 35.0, "osm": 6.0}
ROAD_BYTES, BASE_BYTES = 60_000.0, 250e6
WHAT = "Map"
_MOST_BYTES = 10**12
_CHUNK = 1 << 20
_PACKERS: dict[str, Callable[[Path], Any]] = {"osm.gz": gzip.GzipFile, "osm.bz2": bz2.BZ2File}


@dataclass(frozen=True)
class Source:
    """A map file; ``open`` gives what pyosmium reads."""

    file: Path
    format: str

    @staticmethod
    def of(file: Path) -> Source:
        """Recognise a file by its ending.

        Raises:
            ScenarioError: it is not there, its ending is unknown, or pyosmium is not installed.
        """
        name = file.name.lower()
        endings = [ending for ending in FORMATS if name.endswith(ending)]
        if name.endswith((".net.xml", ".net.xml.gz")):
            raise ScenarioError(f"{file} is a SUMO network already; run it with --net and --routes, or make demand.")
        if not endings:
            listed = ", ".join(FORMATS)
            raise ScenarioError(f"Map {file} has an unknown ending; give an OpenStreetMap extract ({listed}).")
        stamp(file, WHAT, _MOST_BYTES)
        if find_spec("osmium") is None:
            raise ScenarioError("Maps are read by pyosmium, which is not installed; run 'pip install greenloop[osm]'.")
        return Source(file, _true_format(file, FORMATS[max(endings, key=len)]))

    def open(self) -> Any:
        """The file as pyosmium wants it named."""
        import osmium

        return osmium.io.File(str(self.file), self.format)


def _true_format(file: Path, named: str) -> str:
    """The format by the first bytes, where these tell another one than the ending does."""
    try:
        with file.open("rb") as opened:
            head = opened.read(3)
    except OSError as error:
        raise unreadable(file, WHAT, error) from error
    for mark, found in ((b"\x1f\x8b", "osm.gz"), (b"BZh", "osm.bz2"), (b"<", "osm")):
        if head.startswith(mark):
            return found
    return named


def check_memory(source: Source, roads: int | None = None) -> None:
    """Refuse a map that is too large for this machine, before the memory is gone.

    Args:
        source: its size says what reading takes.
        roads: how many there are, once that is known: what converting and simulating take.

    Raises:
        ScenarioError: it is too large.
    """
    size = source.file.stat().st_size
    available = available_bytes()
    if roads is not None:
        needed, what = BASE_BYTES + ROAD_BYTES * roads, f"{roads:,} roads"
    elif source.format in _PACKERS:
        most = max(available - BASE_BYTES, 0.0) / READ_BYTES["osm"]
        unpacked = _unpacked_bytes(source, most)
        needed = BASE_BYTES + READ_BYTES["osm"] * unpacked
        what = f"{size / 1e6:,.0f} MB, unpacked {'at least ' if unpacked > most else ''}{unpacked / 1e6:,.0f} MB"
    else:
        needed, what = BASE_BYTES + READ_BYTES[source.format] * size, f"{size / 1e6:,.0f} MB"
    if needed > available:
        raise ScenarioError(
            f"Map {source.file} ({what}) would take about {needed / 1e9:.1f} GB of memory, and "
            f"{available / 1e9:.1f} GB are free; cut out a smaller part with --bbox"
            + (", or first with 'osmium extract' if the file itself is too large." if roads is None else ".")
        )


def _unpacked_bytes(source: Source, most: float) -> int:
    """Bytes of a packed map, counted until they are too many: a compression bomb says nothing of its size.

    Raises:
        ScenarioError: it is cut off or damaged, or unpacks to far more than a map does.
    """
    count, limit = 0, max(MOST_RATIO * source.file.stat().st_size, FREE_BYTES)
    try:
        with _PACKERS[source.format](source.file) as unpacked:
            while count <= most and (chunk := unpacked.read(_CHUNK)):
                count += len(chunk)
                if count > limit:
                    raise ScenarioError(
                        f"{WHAT} {source.file} unpacks to more than {MOST_RATIO:g} times its size, which no map does; "
                        "it looks like a compression bomb and is not read."
                    )
    except (OSError, EOFError, zlib.error) as error:
        raise ScenarioError(f"{WHAT} {source.file} is not a complete {source.format} file: {error}.") from error
    return count


def available_bytes() -> float:
    """Memory that programs can still have."""
    import psutil

    return float(psutil.virtual_memory().available)
