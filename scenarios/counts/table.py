"""Detector counts as a table: how many vehicles passed which road in which interval.

A CSV file with a header line, separated by commas, semicolons or tabs. Columns, in any order, others are ignored:

==========  =======================================================================================
edge        id of a road of the network; or ``detector`` instead, an id of the detectors' file
begin_s     beginning of the interval on SUMO's clock: seconds, or HH:MM or HH:MM:SS
end_s       its end; the intervals of a file may differ in length, but must not overlap
vehicles    vehicles that entered the road, or crossed the detector, in the interval
speed_mps   their mean speed (m/s); optional, and compared with the simulation's only
==========  =======================================================================================

A detector that failed has no row for that interval: no row means unknown, 0 means that nobody came. An interval may end
at midnight (23:45 to 00:00 or 24:00); what comes after it is 24:00 to 24:15.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from scenarios.common.clock import format_seconds
from scenarios.common.input_files import scan
from scenarios.common.names import close_names
from scenarios.counts.csv_file import AmbiguousError, Marks, cell_text, marks_of, read_table
from scenarios.spec import ScenarioError

NEEDED = ("begin_s", "end_s", "vehicles")
#: More vehicles than this on a lane in an hour are a slip: the shortest headways give about 2,400.
MOST_VEH_H_LANE = 4000.0
#: A higher mean speed is a slip: 360 km/h.
MOST_MPS = 100.0
#: Longer tables, and tables of more intervals, are refused: each interval is fitted, and all of it is simulated.
MOST_DAYS, MOST_INTERVALS = 7, 2016
_DAY_S = 86400.0
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


@dataclass(frozen=True)
class CountTable:
    """What a file counts.

    Attributes:
        counts: by road, in order of time, then of the road's id.
        notes: sentences about what was left out or taken for granted.
    """

    counts: tuple[Count, ...]
    notes: tuple[str, ...] = ()


def read_counts(file: Path, lanes: Mapping[str, int], detectors: Mapping[str, Detector] | None = None) -> CountTable:
    """Read and check a table of counts.

    Args:
        file: the CSV file.
        lanes: the roads that cars may use, and how many lanes each has.
        detectors: where the detectors of a ``detector`` column lie.

    Raises:
        ScenarioError: the file cannot be read, a column is missing, or a row makes no sense.
    """
    table = read_table(file, "Counts file")
    _check_columns(file, table.columns, detectors is not None)
    marks = marks_of(table, (*NEEDED, "speed_mps"), f"Counts file {file}")
    reader = _Reader(file, marks, lanes, detectors)
    rows = [reader.row(line, cells) for line, cells in table.rows]
    if not rows:
        raise ScenarioError(f"Counts file {file} holds a header but no rows; add one per road and interval.")
    _check_intervals(file, rows, per_detector=detectors is not None)
    counts, notes = ([row.count for row in rows], []) if detectors is None else _per_edge(rows, lanes)
    if not counts:
        raise ScenarioError(f"Counts file {file} has no interval in which all lanes' detectors of a road have a row.")
    if not any(count.vehicles for count in counts):
        raise ScenarioError(f"Counts file {file} holds only zeros, so there is no traffic to make.")
    _check_plausible(file, counts, lanes)
    notes += _gaps(counts)
    return CountTable(tuple(sorted(counts, key=lambda count: (count.begin_s, count.edge))), tuple(notes))


def read_detectors(file: Path) -> dict[str, Detector]:
    """Read where detectors lie, from SUMO's additional file (``inductionLoop``, ``laneAreaDetector``).

    Raises:
        ScenarioError: the file cannot be read or holds no detectors.
    """
    found: dict[str, Detector] = {}

    def visit(tag: str, attributes: Mapping[str, str]) -> None:
        lane = attributes.get("lane") or attributes.get("lanes", "").partition(" ")[0]
        if tag in _DETECTORS and lane:
            name = attributes.get("id", "")
            if name in found:
                raise ScenarioError(
                    f"Detectors file {file} has two detectors '{cell_text(name)}'; give each its own id."
                )
            found[name] = Detector(lane.rpartition("_")[0], lane)

    scan(file, "Detectors file", visit)
    if not found:
        raise ScenarioError(f"Detectors file {file} holds no {' or '.join(_DETECTORS[::2])} with a lane.")
    return found


# --- rows ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    count: Count
    detector: Detector | None
    source: str  # the edge or the detector as written


def _check_columns(file: Path, names: Sequence[str], has_detectors: bool) -> None:
    where = "detector" if has_detectors else "edge"
    missing = [name for name in (where, *NEEDED) if name not in names]
    if not missing:
        return
    if missing[0] == "edge" and "detector" in names:
        raise ScenarioError(
            f"Counts file {file} counts by detector; give SUMO's file of the detectors with --detectors, "
            "so that their roads are known."
        )
    found = ", ".join(f"'{cell_text(name)}'" for name in names[:12] if name) or "nothing"
    listed = " and ".join(f"'{name}'" for name in missing)
    raise ScenarioError(
        f"Counts file {file} has no column {listed}; its first line must name {where}, {', '.join(NEEDED)} "
        f"(and speed_mps if you have it), but names {found}."
    )


@dataclass(frozen=True)
class _Reader:
    """Reads the rows of one file."""

    file: Path
    marks: Marks
    lanes: Mapping[str, int]
    detectors: Mapping[str, Detector] | None

    def row(self, line: int, cells: Mapping[str, str]) -> _Row:
        where = f"Counts file {self.file}, line {line}"
        begin_s, end_s = self._interval(where, cells)
        speed = self._number(where, cells, "speed_mps") if cells.get("speed_mps") else None
        if speed is not None and speed > MOST_MPS:
            raise ScenarioError(f"{where}: speed_mps is {speed:g}, faster than any car; give metres per second.")
        vehicles = self._number(where, cells, "vehicles")
        source = cells["edge" if self.detectors is None else "detector"]
        detector = None if self.detectors is None else _detector_named(where, source, self.detectors)
        edge = detector.edge if detector else source
        _check_edge(where, edge, self.lanes)
        return _Row(Count(edge, begin_s, end_s, vehicles, speed, line), detector, source)

    def _interval(self, where: str, cells: Mapping[str, str]) -> tuple[float, float]:
        begin, end = cells["begin_s"], cells["end_s"]
        begin_s, end_s = self._time_s(where, "begin_s", begin), self._time_s(where, "end_s", end)
        if end_s == 0 < begin_s < _DAY_S and ":" in begin and ":" in end:
            end_s = _DAY_S  # 23:45 to 00:00 ends at midnight
        if end_s <= begin_s:
            hint = " (after midnight the clock goes on: 24:15)" if ":" in end and end_s < begin_s else ""
            raise ScenarioError(
                f"{where}: end_s ({cell_text(end)}) must be later than begin_s ({cell_text(begin)}){hint}."
            )
        return begin_s, end_s

    def _time_s(self, where: str, key: str, text: str) -> float:
        if ":" in text:
            return _clock_s(where, key, text)
        return self._value(where, key, text, "seconds of 0 or more, HH:MM or HH:MM:SS")

    def _number(self, where: str, cells: Mapping[str, str], key: str) -> float:
        text = cells[key]
        if not text:
            raise ScenarioError(f"{where}: {key} is missing; remove the row if the detector failed, or write 0.")
        return self._value(where, key, text, "a number of 0 or more")

    def _value(self, where: str, key: str, text: str, asked: str) -> float:
        try:
            value = self.marks.number(text)
        except AmbiguousError:
            plain = text.replace(",", "").replace(".", "")
            raise ScenarioError(
                f"{where}: {key} is '{text}', and no other number in the file tells whether this is {plain} or "
                f"{text.replace(',', '.')}; write {plain} without the mark, or more decimals ({text}0)."
            ) from None
        if value is None or not math.isfinite(value) or value < 0:
            zeros = ", without leading zeros" if re.match("0[0-9]", text) else ""
            raise ScenarioError(f"{where}: {key} is '{cell_text(text)}'; give {asked}{zeros}.")
        return value


def _clock_s(where: str, key: str, text: str) -> float:
    """Seconds of HH:MM or HH:MM:SS; hours of 24 and more are on the following days."""
    match = re.fullmatch(r"(\d{1,3}):(\d{1,2})(?::(\d{1,2}(?:\.\d*)?))?", text, re.ASCII)
    if match is None:
        raise ScenarioError(f"{where}: {key} is '{cell_text(text)}'; give seconds of 0 or more, HH:MM or HH:MM:SS.")
    hours, minutes, second = int(match[1]), int(match[2]), float(match[3] or 0)
    if minutes >= 60 or second >= 60:
        wrong = "minutes" if minutes >= 60 else "seconds"
        raise ScenarioError(f"{where}: {key} is '{text}', but {wrong} run from 0 to 59.")
    return 3600.0 * hours + 60.0 * minutes + second


def _detector_named(where: str, name: str, detectors: Mapping[str, Detector]) -> Detector:
    if name not in detectors:
        hint = _nearest(name, detectors)
        raise ScenarioError(f"{where}: there is no detector '{cell_text(name)}' in the detectors' file; {hint}")
    return detectors[name]


def _check_edge(where: str, edge: str, lanes: Mapping[str, int]) -> None:
    if edge not in lanes:
        raise ScenarioError(f"{where}: the network has no road '{cell_text(edge)}' for cars; {_nearest(edge, lanes)}")


def _nearest(name: str, known: Collection[str]) -> str:
    near = close_names(name, known, most=3, least_likeness=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"it has such as {', '.join(sorted(known)[:3])}."


# --- the whole table -----------------------------------------------------------------------------------------------


def _per_edge(rows: Sequence[_Row], lanes: Mapping[str, int]) -> tuple[list[Count], list[str]]:
    """The sum over a road's lanes of the mean of each lane's detectors; and what that leaves out, in sentences.

    Where a lane's detector failed for an interval the road's count is unknown: the other lanes alone would be too few.
    """
    groups: dict[tuple[str, float, float], dict[str, list[Count]]] = defaultdict(lambda: defaultdict(list))
    equipped: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        assert row.detector is not None
        key = (row.count.edge, row.count.begin_s, row.count.end_s)
        groups[key][row.detector.lane].append(row.count)
        equipped[row.count.edge].add(row.detector.lane)
    whole = {key: found for key, found in groups.items() if len(found) == len(equipped[key[0]])}
    notes = []
    if lost := [key for key in groups if key not in whole]:
        edge, begin_s, end_s = lost[0]
        notes.append(
            f"{len(lost)} of {len(groups)} counts were left out, as a lane's detector has no row there: the first is "
            f"road '{edge}' from {format_seconds(begin_s)} to {format_seconds(end_s)} s."
        )
    if partly := sorted(edge for edge, found in equipped.items() if len(found) < lanes[edge]):
        notes.append(
            f"On {len(partly)} of {len(equipped)} roads not every lane has a detector, such as '{partly[0]}' "
            f"({len(equipped[partly[0]])} of {lanes[partly[0]]} lanes); the sum of those that have one is taken as the "
            "road's."
        )
    return [_sum_of_lanes(key, found) for key, found in whole.items()], notes


def _sum_of_lanes(key: tuple[str, float, float], lanes: Mapping[str, list[Count]]) -> Count:
    vehicles = sum(sum(count.vehicles for count in lane) / len(lane) for lane in lanes.values())
    speeds = [(c.vehicles, c.speed_mps) for lane in lanes.values() for c in lane if c.speed_mps is not None]
    weight = sum(passed for passed, _ in speeds)
    speed_mps = sum(passed * speed for passed, speed in speeds) / weight if weight else None
    return Count(*key, vehicles, speed_mps, min(count.line for lane in lanes.values() for count in lane))


def _check_intervals(file: Path, rows: Sequence[_Row], per_detector: bool) -> None:
    """No place twice in one interval, and no two intervals that overlap: each would count some vehicles twice."""
    seen: dict[tuple[str, float, float], int] = {}
    what = "detector" if per_detector else "road"
    for row in rows:
        key = (row.source, row.count.begin_s, row.count.end_s)
        if key in seen:
            raise ScenarioError(
                f"Counts file {file}, line {row.count.line}: {what} '{row.source}' was counted from "
                f"{_span(key[1:])} s in line {seen[key]} already; keep one of the two."
            )
        seen[key] = row.count.line
    first = {(row.count.begin_s, row.count.end_s): row.count.line for row in reversed(rows)}
    for before, after in pairwise(sorted(first)):
        if after[0] < before[1]:
            raise ScenarioError(
                f"Counts file {file}, line {first[after]}: {_span(after)} s overlaps with {_span(before)} s "
                f"of line {first[before]}; give all rows the same intervals."
            )
    _check_span(file, first)


def _span(interval: Sequence[float]) -> str:
    begin_s, end_s = interval
    return f"{format_seconds(begin_s)} to {format_seconds(end_s)}"


def _check_span(file: Path, lines: Mapping[tuple[float, float], int]) -> None:
    """Neither too long, nor a night whose hours after midnight stand before those before it."""
    if len(lines) > MOST_INTERVALS:
        raise ScenarioError(
            f"Counts file {file} has {len(lines)} intervals, more than {MOST_INTERVALS} (a week of five minutes); "
            "make a table for each day."
        )
    begin_s, end_s = min(begin for begin, _ in lines), max(end for _, end in lines)
    if end_s - begin_s > MOST_DAYS * _DAY_S:
        days, line = (end_s - begin_s) / _DAY_S, max(lines.items())[1]
        raise ScenarioError(
            f"Counts file {file}, line {line}: the interval ends at {format_seconds(end_s)} s, {days:,.1f} days "
            f"after the first begins ({format_seconds(begin_s)} s); all of it would be simulated, so give at "
            f"most {MOST_DAYS} days."
        )
    if begin_s == 0 and end_s == _DAY_S and sum(end - begin for begin, end in lines) < _DAY_S:
        gap_s = next(before[1] for before, after in pairwise(sorted(lines)) if after[0] > before[1])
        raise ScenarioError(
            f"Counts file {file} has intervals before and after midnight, but none from {format_seconds(gap_s)} s on; "
            "if it is one night, write the times after midnight as 24:00, 24:15 and so on, otherwise make two tables."
        )


def _gaps(counts: Sequence[Count]) -> list[str]:
    """A sentence where the intervals leave time between them: nobody departs then."""
    intervals = sorted({(count.begin_s, count.end_s) for count in counts})
    gaps = [(before[1], after[0]) for before, after in pairwise(intervals) if after[0] > before[1]]
    if not gaps:
        return []
    more = f" and in {len(gaps) - 1} more gaps" if len(gaps) > 1 else ""
    return [
        f"No interval covers {format_seconds(gaps[0][0])} to {format_seconds(gaps[0][1])} s{more}: nobody departs then."
    ]


def _check_plausible(file: Path, counts: Sequence[Count], lanes: Mapping[str, int]) -> None:
    for count in counts:
        number, length_s = lanes[count.edge], count.end_s - count.begin_s
        if count.veh_per_h > MOST_VEH_H_LANE * number:
            raise ScenarioError(
                f"Counts file {file}, line {count.line}: {count.vehicles:g} vehicles in {length_s:g} s are "
                f"{count.veh_per_h:,.0f} vehicles an hour and cannot pass road '{count.edge}' with {number} "
                f"lane{'' if number == 1 else 's'}; check the interval, and that vehicles is a number per interval."
            )
