"""Route files as SUMO reads them: packed or plain, with what they include, times as seconds or HH:MM:SS."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from scenarios.common.clock import parse_seconds
from scenarios.common.errors import ScenarioError, shorten
from scenarios.common.input_files import check_xml, read_input, top_elements

WHAT = "Routes file"
#: Elements that depart, and the attribute that says when.
SCHEDULED = {
    "vehicle": "depart",
    "trip": "depart",
    "flow": "begin",
    "person": "depart",
    "personFlow": "begin",
    "container": "depart",
    "containerFlow": "begin",
}
VEHICLES = ("vehicle", "trip")
FLOWS = ("flow", "personFlow", "containerFlow")
#: Everything else in a routes file: what other elements refer to.
_FIXED = frozenset({"vType", "vTypeDistribution", "route", "routeDistribution"})
_ROOTS = ("routes", "additional", "tazs", "trips", "vTypes")  # SUMO takes them all, with a warning
_DEEPEST_INCLUDE = 10
#: Attributes that name a file, and values of them that are none.
_PATHS = ("file", "href", "source", "dest", "output", "path")
_NO_FILES = ("", "NUL", "nul", "stdout", "stderr", "-")
#: More vehicles than this in one file are a slip, and would only fill the memory.
MOST_VEHICLES = 2_000_000
_FLOW_MOST = 1e7
_FLOW_VALUES = {
    "begin": "seconds or HH:MM:SS",
    "end": "seconds or HH:MM:SS",
    "number": "a whole number of vehicles",
    "period": "seconds above 0, or exp(vehicles per second)",
    "probability": "a probability from 0 to 1",
    "vehsPerHour": "vehicles per hour",
    "perHour": "vehicles per hour",
}
Element = ElementTree.Element


def joined(files: Sequence[Path]) -> str:
    """The files' names for a message."""
    return ", ".join(str(file) for file in files)


# --- elements ------------------------------------------------------------------------------------------------------


def read_elements(files: Sequence[Path], what: str = WHAT) -> Iterator[Element]:
    """The children of ``<routes>`` in all files, one after the other, with those of the files that they include.

    Raises:
        ScenarioError: a file is missing, broken or of another kind, or a time or flow in it makes no sense.
    """
    for file in files:
        yield from _read(file, what, ())


def _read(file: Path, what: str, above: tuple[Path, ...]) -> Iterator[Element]:
    if file in above or len(above) >= _DEEPEST_INCLUDE:
        raise ScenarioError(f"{what} {file} is included by itself, or more than {_DEEPEST_INCLUDE} deep.")
    _check_kind(file, what)
    for element in top_elements(file, what):
        if element.tag == "include":
            yield from _read(_included(file, element, what), "Included file", (*above, file))
        else:
            if above:
                name_files_whole(element, file.absolute().parent)
            for one in (element, *element) if element.tag == "interval" else (element,):
                _check(file, what, one)
            yield element


def _check_kind(file: Path, what: str) -> None:
    if what == WHAT:
        check_xml(file, what, _ROOTS, "a SUMO .rou.xml file")
    else:
        check_xml(file, what)


def name_files_whole(element: Element, folder: Path) -> None:
    """Write the whole path of each file that an element names, so that it can stand in another folder."""
    for inner in element.iter():
        for key in _PATHS:
            value = inner.get(key, "")
            if value not in _NO_FILES and not value.startswith("$"):
                inner.set(key, str(folder / value))


def _included(file: Path, include: Element, what: str) -> Path:
    href = include.get("href", "")
    if not href:
        raise ScenarioError(f'{what} {file}: <include> names no file; give it href="other.rou.xml".')
    return file.parent / href  # as it is where href is absolute


def included_files(files: Sequence[Path], what: str = WHAT) -> tuple[Path, ...]:
    """The files that route files include, directly or not, in the order in which SUMO reads them.

    Raises:
        ScenarioError: a file is missing or broken.
    """
    return tuple(found for file in files for found in _includes(file, what, ()))


def _includes(file: Path, what: str, above: tuple[Path, ...]) -> Iterator[Path]:
    if file in above or len(above) >= _DEEPEST_INCLUDE:
        raise ScenarioError(f"{what} {file} is included by itself, or more than {_DEEPEST_INCLUDE} deep.")
    if b"<include" not in as_latin(read_input(file, what)):
        return
    _check_kind(file, what)
    for element in top_elements(file, what):
        if element.tag == "include":
            inner = _included(file, element, what)
            yield inner
            yield from _includes(inner, "Included file", (*above, file))


def as_latin(content: bytes) -> bytes:
    """Content in which tags can be searched for, also where it has two bytes a letter."""
    return content.replace(b"\0", b"") if content[:2] in (b"\xff\xfe", b"\xfe\xff") else content


def flattened(elements: Iterable[Element]) -> Iterator[Element]:
    """The elements with the children of each ``<interval>`` in its place; flows take its begin and end."""
    for element in elements:
        if element.tag != "interval":
            yield element
            continue
        times = {key: value for key in ("begin", "end") if (value := element.get(key)) is not None}
        for child in element:
            if child.tag in FLOWS:
                child.attrib = {**times, **child.attrib}
            yield child


def write_routes(elements: Iterable[Element], file: Path) -> None:
    """Write types and named routes first, then what waits for something else, then departures in their order.

    SUMO reads a file only as far as it needs to: a vehicle that waits for a passenger would come too late at the end.
    """
    every = list(elements)
    fixed = [element for element in every if element.tag not in SCHEDULED]
    scheduled = [(time_s(element), element) for element in every if element.tag in SCHEDULED]
    waiting = [element for time, element in scheduled if math.isinf(time)]
    timed = [element for time, element in sorted(scheduled, key=lambda pair: pair[0]) if math.isfinite(time)]
    root = ElementTree.Element("routes")
    for element in (*fixed, *waiting, *timed):
        element.tail = "\n"
        root.append(element)
    file.write_bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


# --- times ---------------------------------------------------------------------------------------------------------


def time_s(element: Element) -> float:
    """When an element departs or a flow begins, s; infinite where that depends on something else ("triggered")."""
    key = SCHEDULED[element.tag]
    text = element.get(key, "0" if key == "begin" else "")
    try:
        return parse_seconds(text)
    except ValueError:
        if text.isalpha() and text.lower() not in ("nan", "inf", "infinity"):
            return math.inf
        raise ScenarioError(
            f"<{element.tag} id='{shorten(element.get('id', ''), 60)}'>: {key} is '{shorten(text, 60)}'; give seconds "
            "or HH:MM:SS."
        ) from None


def read_departures(files: Sequence[Path]) -> list[float]:
    """Scheduled departures of all vehicles and trips, s; a flow counts evenly spread at its mean rate.

    Raises:
        ScenarioError: a file is missing or broken.
    """
    found: list[float] = []
    for element in flattened(read_elements(files)):
        if element.tag in VEHICLES:
            found.append(time_s(element))
        elif element.tag == "flow":
            found += _flow_departures(element)
        if len(found) > MOST_VEHICLES:
            raise ScenarioError(
                f"{WHAT} {joined(files)} schedules more than {MOST_VEHICLES:,} vehicles; check the flows' numbers."
            )
    return sorted(time for time in found if math.isfinite(time))


# --- flows ---------------------------------------------------------------------------------------------------------


def _check(file: Path, what: str, element: Element) -> None:
    """A time that makes no sense, and a flow that would never end, are told with their file."""
    if element.tag in FLOWS or element.tag == "interval":
        for key, wanted in _FLOW_VALUES.items():
            if (text := element.get(key)) is not None and not _fits_flow(key, text):
                where = f"{what} {file}: <{element.tag} id='{shorten(element.get('id', ''), 60)}'>"
                raise ScenarioError(f"{where}: {key} is '{shorten(text, 60)}'; give {wanted}.")
    elif element.tag in SCHEDULED:
        try:
            departs_s = time_s(element)
        except ScenarioError as error:
            raise ScenarioError(f"{what} {file}: {error}") from None
        if departs_s < 0:
            name = shorten(element.get("id", ""), 60)
            raise ScenarioError(f"{what} {file}: <{element.tag} id='{name}'> departs at {departs_s:g} s, before 0.")


def _fits_flow(key: str, text: str) -> bool:
    try:
        if key in ("begin", "end"):
            return parse_seconds(text) >= 0
        if key == "period":
            is_random = text.startswith("exp(") and text.endswith(")")
            return 0.001 <= float(text[4:-1] if is_random else text) <= _FLOW_MOST  # SUMO's clock has milliseconds
        value = int(text) if key == "number" else float(text)
    except ValueError:
        return key == "begin" and text.isalpha() and text.lower() not in ("nan", "inf", "infinity")
    return 0 <= value <= (1 if key == "probability" else _FLOW_MOST)


def flow_vehicles(flow: Element, until_s: float) -> float:
    """How many vehicles a flow makes before a time, on average."""
    begin_s, end_s, count = _flow_span(flow)
    if math.isinf(begin_s) or until_s <= begin_s:
        return 0.0
    return count * min(1.0, (until_s - begin_s) / max(end_s - begin_s, 1e-9))


def _flow_departures(flow: Element) -> list[float]:
    begin_s, end_s, count = _flow_span(flow)
    if math.isinf(begin_s):
        return []
    count = min(count, MOST_VEHICLES + 1)
    return [begin_s + (end_s - begin_s) * index / count for index in range(count)]


def _flow_span(flow: Element) -> tuple[float, float, int]:
    """Begin and end of a flow, s, and its vehicles."""
    begin_s = time_s(flow)
    end_s = parse_seconds(flow.get("end", "")) if flow.get("end") else math.inf
    if math.isinf(begin_s):
        return begin_s, end_s, 0
    period, number = flow.get("period", ""), flow.get("number")
    rate = 0.0  # vehicles per second
    if flow.get("vehsPerHour") or flow.get("perHour"):
        rate = float(flow.get("vehsPerHour") or flow.get("perHour") or 0) / 3600
    elif period:
        rate = float(period[4:-1]) if period.startswith("exp(") else 1 / float(period)
    elif flow.get("probability"):
        rate = float(flow.get("probability", "0"))
    if math.isinf(end_s):
        end_s = begin_s + (int(number) / rate if number and rate else 3600)
    return begin_s, end_s, int(number) if number else round(rate * (end_s - begin_s))
