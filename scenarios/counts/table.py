"""Detector counts as a table: how many vehicles passed which road in which interval.

A CSV file with a header line. Columns, in any order, others are ignored:

==========  =======================================================================================
edge        id of a road of the network; or ``detector`` instead, an id of the detectors' file
begin_s     beginning of the interval on SUMO's clock: seconds, or HH:MM or HH:MM:SS
end_s       its end; the intervals of a file may differ in length, but must not overlap
vehicles    vehicles that entered the road, or crossed the detector, in the interval
speed_mps   their mean speed (m/s); optional, and compared with the simulation's only
==========  =======================================================================================

A detector that failed has no row for that interval: no row means unknown, 0 means that nobody came.
"""

from __future__ import annotations

import csv
import difflib
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

from scenarios.spec import ScenarioError

NEEDED = ("begin_s", "end_s", "vehicles")
#: More vehicles than this on a lane in an hour are a slip: the shortest headways give about 2,400.
MOST_VEH_H_LANE = 4000.0
_DETECTORS = ("inductionLoop", "e1Detector", "laneAreaDetector", "e2Detector", "instantInductionLoop")


@dataclass(frozen=True)
class Count:
    """Vehicles that entered a road within an interval; ``line`` is where the file says so."""

    edge: str
    begin_s: float
    end_s: float
    vehicles: float
    speed_mps: float | None = None
    line: int = 0

    @property
    def veh_per_h(self) -> float:
        """The count as an hourly volume."""
        return self.vehicles * 3600 / (self.end_s - self.begin_s)


@dataclass(frozen=True)
class Detector:
    """Where a detector lies."""

    edge: str
    lane: str


def read_counts(
    file: Path, lanes: Mapping[str, int], detectors: Mapping[str, Detector] | None = None
) -> tuple[Count, ...]:
    """Read and check a table of counts.

    Args:
        file: the CSV file.
        lanes: the roads that cars may use, and how many lanes each has.
        detectors: where the detectors of a ``detector`` column lie.

    Returns:
        Counts by road, in order of time, then of the road's id.

    Raises:
        ScenarioError: the file cannot be read, a column is missing, or a row makes no sense.
    """
    rows = [_count(file, line, row, lanes, detectors) for line, row in _rows(file, detectors)]
    counts = _per_edge(rows, detectors is not None)
    if not counts:
        raise ScenarioError(f"Counts file {file} holds a header but no rows; add one per road and interval.")
    _check_intervals(file, rows, per_detector=detectors is not None)
    if not any(count.vehicles for count in counts):
        raise ScenarioError(f"Counts file {file} holds only zeros, so there is no traffic to make.")
    _check_plausible(file, counts, lanes)
    return tuple(sorted((count for count in counts), key=lambda count: (count.begin_s, count.edge)))


def read_detectors(file: Path) -> dict[str, Detector]:
    """Read where detectors lie, from SUMO's additional file (``inductionLoop``, ``laneAreaDetector``).

    Raises:
        ScenarioError: the file cannot be read or holds no detectors.
    """
    try:
        root = ElementTree.parse(file).getroot()
    except OSError as error:
        raise ScenarioError(f"Detectors file {file} cannot be read ({error.strerror}); check the path.") from error
    except ElementTree.ParseError as error:
        raise ScenarioError(f"Detectors file {file} is not complete XML: {error}.") from error
    found = {}
    for element in root.iter():
        lane = element.get("lane") or (element.get("lanes") or "").partition(" ")[0]
        if element.tag in _DETECTORS and lane:
            found[element.get("id", "")] = Detector(lane.rpartition("_")[0], lane)
    if not found:
        raise ScenarioError(f"Detectors file {file} holds no {' or '.join(_DETECTORS[::2])} with a lane.")
    return found


# --- rows ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    count: Count
    detector: Detector | None
    source: str  # the edge or the detector as written


def _rows(file: Path, detectors: Mapping[str, Detector] | None) -> Iterable[tuple[int, dict[str, str]]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ScenarioError(f"Counts file {file} cannot be read ({error.strerror}); check the path.") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"Counts file {file} is not text; export the table as CSV (UTF-8).") from error
    lines = text.splitlines()
    head = lines[0] if lines else ""
    reader = csv.reader(lines, delimiter=max(",;\t", key=head.count))
    names = [name.strip() for name in next(reader, [])]
    _check_columns(file, names, detectors is not None)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, dict(zip(names, (cell.strip() for cell in cells), strict=False))


def _check_columns(file: Path, names: list[str], has_detectors: bool) -> None:
    where = "detector" if has_detectors else "edge"
    missing = [name for name in (where, *NEEDED) if name not in names]
    if not missing:
        return
    if missing[0] == "edge" and "detector" in names:
        raise ScenarioError(
            f"Counts file {file} counts by detector; give SUMO's file of the detectors with --detectors, "
            "so that their roads are known."
        )
    found = ", ".join(f"'{name}'" for name in names if name) or "nothing"
    listed = " and ".join(f"'{name}'" for name in missing)
    raise ScenarioError(
        f"Counts file {file} has no column {listed}; its first line must name {where}, {', '.join(NEEDED)} "
        f"(and speed_mps if you have it), but names {found}."
    )


def _count(
    file: Path, line: int, row: dict[str, str], lanes: Mapping[str, int], detectors: Mapping[str, Detector] | None
) -> _Row:
    where = f"Counts file {file}, line {line}"
    begin_s, end_s = _time_s(where, row, "begin_s"), _time_s(where, row, "end_s")
    if end_s <= begin_s:
        raise ScenarioError(f"{where}: end_s ({end_s:g}) must be later than begin_s ({begin_s:g}).")
    speed = _number(where, row, "speed_mps") if row.get("speed_mps") else None
    vehicles = _number(where, row, "vehicles")
    source = row.get("edge" if detectors is None else "detector", "")
    detector = None if detectors is None else _known_detector(where, source, detectors)
    edge = detector.edge if detector else source
    _check_edge(where, edge, lanes)
    return _Row(Count(edge, begin_s, end_s, vehicles, speed, line), detector, source)


def _time_s(where: str, row: dict[str, str], key: str) -> float:
    text = row.get(key, "")
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ScenarioError(f"{where}: {key} is '{text}'; give seconds of 0 or more, HH:MM or HH:MM:SS.")
    units = (1,) if len(numbers) == 1 else (3600, 60, 1)
    return sum(number * unit for number, unit in zip(numbers, units, strict=False))


def _number(where: str, row: dict[str, str], key: str) -> float:
    text = row.get(key, "")
    if not text:
        raise ScenarioError(f"{where}: {key} is missing; remove the row if the detector failed, or write 0.")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise ScenarioError(f"{where}: {key} is '{text}'; give a number of 0 or more.")
    return value


def _known_detector(where: str, name: str, detectors: Mapping[str, Detector]) -> Detector:
    if name not in detectors:
        hint = _nearest(name, detectors)
        raise ScenarioError(f"{where}: there is no detector '{name}' in the detectors' file; {hint}")
    return detectors[name]


def _check_edge(where: str, edge: str, lanes: Mapping[str, int]) -> None:
    if edge not in lanes:
        raise ScenarioError(f"{where}: the network has no road '{edge}' for cars; {_nearest(edge, lanes)}")


def _nearest(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"it has such as {', '.join(sorted(known)[:3])}."


# --- the whole table -----------------------------------------------------------------------------------------------


def _per_edge(rows: list[_Row], per_detector: bool) -> list[Count]:
    """Rows as they are; or the sum over a road's lanes of the mean of each lane's detectors."""
    if not per_detector:
        return [row.count for row in rows]
    groups: dict[tuple[str, float, float], dict[str, list[Count]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        assert row.detector is not None
        key = (row.count.edge, row.count.begin_s, row.count.end_s)
        groups[key][row.detector.lane].append(row.count)
    return [_sum_of_lanes(key, lanes) for key, lanes in groups.items()]


def _sum_of_lanes(key: tuple[str, float, float], lanes: Mapping[str, list[Count]]) -> Count:
    vehicles = sum(sum(count.vehicles for count in lane) / len(lane) for lane in lanes.values())
    speeds = [(c.vehicles, c.speed_mps) for lane in lanes.values() for c in lane if c.speed_mps is not None]
    weight = sum(passed for passed, _ in speeds)
    speed_mps = sum(passed * speed for passed, speed in speeds) / weight if weight else None
    return Count(*key, vehicles, speed_mps, min(count.line for lane in lanes.values() for count in lane))


def _check_intervals(file: Path, rows: list[_Row], per_detector: bool) -> None:
    """No place twice in one interval, and no two intervals that overlap: each would count some vehicles twice."""
    seen: dict[tuple[str, float, float], int] = {}
    what = "detector" if per_detector else "road"
    for row in rows:
        key = (row.source, row.count.begin_s, row.count.end_s)
        if key in seen:
            raise ScenarioError(
                f"Counts file {file}, line {row.count.line}: {what} '{row.source}' was counted from {key[1]:g} to "
                f"{key[2]:g} s in line {seen[key]} already; keep one of the two."
            )
        seen[key] = row.count.line
    first = {(row.count.begin_s, row.count.end_s): row.count.line for row in reversed(rows)}
    for before, after in pairwise(sorted(first)):
        if after[0] < before[1]:
            raise ScenarioError(
                f"Counts file {file}, line {first[after]}: {after[0]:g} to {after[1]:g} s overlaps with "
                f"{before[0]:g} to {before[1]:g} s of line {first[before]}; give all rows the same intervals."
            )


def _check_plausible(file: Path, counts: list[Count], lanes: Mapping[str, int]) -> None:
    for count in counts:
        if count.veh_per_h > MOST_VEH_H_LANE * lanes[count.edge]:
            raise ScenarioError(
                f"Counts file {file}, line {count.line}: {count.veh_per_h:,.0f} vehicles an hour cannot pass "
                f"road '{count.edge}' with {lanes[count.edge]} lane{'' if lanes[count.edge] == 1 else 's'}; "
                "vehicles is a number per interval, not per hour or day."
            )
