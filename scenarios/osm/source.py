"""A map's file: its format, and whether this machine has the memory for it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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
READ_BYTES = {"pbf": 35.0, "osm": 6.0, "osm.gz": 60.0, "osm.bz2": 80.0}
ROAD_BYTES, BASE_BYTES = 60_000.0, 250e6


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
        if not file.is_file():
            raise ScenarioError(f"Map {file} cannot be read (no such file); check the path.")
        if find_spec("osmium") is None:
            raise ScenarioError("Maps are read by pyosmium, which is not installed; run 'pip install greenloop[osm]'.")
        return Source(file, FORMATS[max(endings, key=len)])

    def open(self) -> Any:
        """The file as pyosmium wants it named."""
        import osmium

        return osmium.io.File(str(self.file), self.format)


def check_memory(source: Source, roads: int | None = None) -> None:
    """Refuse a map that is too large for this machine, before the memory is gone.

    Args:
        source: its size says what reading takes.
        roads: how many there are, once that is known: what converting and simulating take.

    Raises:
        ScenarioError: it is too large.
    """
    size = source.file.stat().st_size
    reading = READ_BYTES[source.format] * size
    needed = BASE_BYTES + (reading if roads is None else ROAD_BYTES * roads)
    available = available_bytes()
    if needed > available:
        what = f"{size / 1e6:,.0f} MB" if roads is None else f"{roads:,} roads"
        raise ScenarioError(
            f"Map {source.file} ({what}) would take about {needed / 1e9:.1f} GB of memory, and "
            f"{available / 1e9:.1f} GB are free; cut out a smaller part with --bbox"
            + (", or first with 'osmium extract' if the file itself is too large." if roads is None else ".")
        )


def available_bytes() -> float:
    """Memory that programs can still have."""
    import psutil

    return float(psutil.virtual_memory().available)
