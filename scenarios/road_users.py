"""Kinds of road users beside cars: which there are, and whether some files may hold any of them.

SUMO tells kinds apart by the vehicle class of a type. Cars, vans, trucks and motorcycles are one kind, the vehicles of
``delay_s``; only the others have measures of their own.
"""

from __future__ import annotations

import gzip
import mmap
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

PERSON, BICYCLE, BUS, TRAM, EMERGENCY = "person", "bicycle", "bus", "tram", "emergency"
#: Kinds that have measures of their own, in the order in which they are shown. Emergency vehicles stand apart.
KINDS = (PERSON, BICYCLE, BUS, TRAM)
#: Each in words, several of them.
PLURAL = {PERSON: "persons", BICYCLE: "cyclists", BUS: "buses", TRAM: "trams"}
#: SUMO's vehicle classes that are no cars. Trains and metros count with the trams.
KIND_OF_CLASS = {
    "bicycle": BICYCLE,
    "scooter": BICYCLE,
    "bus": BUS,
    "coach": BUS,
    "tram": TRAM,
    "rail_urban": TRAM,
    "rail": TRAM,
    "rail_electric": TRAM,
    "rail_fast": TRAM,
    "subway": TRAM,
    "cable_car": TRAM,
    "emergency": EMERGENCY,
}
# An included file may hold anything. Looking in vain costs a little time; not looking would lose road users.
_SIGNS = re.compile(
    rb"<person|<include|DEFAULT_(?:BIKE|RAIL|SCOOTER)TYPE|vClass\s*=\s*[\"'](?:"
    + "|".join(KIND_OF_CLASS).encode()
    + rb")[\"']"
)


def may_have_others(files: Iterable[Path]) -> bool:
    """Whether route or additional files may bring road users that are no cars; True where they cannot be read."""
    return any(_holds_signs(file, file.stat().st_mtime_ns) if file.exists() else True for file in files)


@lru_cache(maxsize=64)
def _holds_signs(file: Path, _stamp: int) -> bool:
    try:
        if not file.stat().st_size:
            return False
        with file.open("rb") as opened:
            head = opened.read(2)
        if head == b"\x1f\x8b":  # packed, whatever its name
            with gzip.open(file) as packed:
                return any(_SIGNS.search(line) for line in packed)
        if head in (b"\xff\xfe", b"\xfe\xff"):  # two bytes a letter
            return True
        with file.open("rb") as plain, mmap.mmap(plain.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _SIGNS.search(content) is not None
    except OSError:
        return True
