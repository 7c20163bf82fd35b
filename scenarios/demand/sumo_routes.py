"""What SUMO makes of route files: duarouter says which vehicles there are, when they leave and on which roads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from scenarios.common.clock import format_seconds
from scenarios.common.errors import ScenarioError, shorten
from scenarios.common.input_files import check_xml, top_elements
from scenarios.common.sumo_tools import run_tool, strip_comments
from scenarios.demand.route_files import (
    MOST_VEHICLES,
    SCHEDULED,
    WHAT,
    Element,
    flattened,
    flow_vehicles,
    joined,
    name_files_whole,
    read_elements,
)

ADDITIONAL = "Additional file"
#: Attributes with which a trip leaves it to SUMO where it begins and ends.
_OPEN_ENDS = ("fromTaz", "toTaz", "fromJunction", "toJunction")
_GEO_ENDS = ("fromXY", "toXY", "fromLonLat", "toLonLat", "viaXY", "viaLonLat")
#: Elements of which SUMO draws vehicles, types or roads itself.
_DRAWN = frozenset({"flow", "personFlow", "interval", "routeDistribution", "vTypeDistribution"})
#: The same as they stand in a file, for the key of the cache.
DRAWN_BYTES = (b"<flow", b"<personFlow", b"<interval", b"Distribution", b"Taz", b"Junction=")
#: Only a file of another kind than routes holds more than these.
_OF_ROUTES = frozenset({*SCHEDULED, "vType", "vTypeDistribution", "route", "routeDistribution", "interval", "include"})
#: Outputs that want a time to measure, and that nothing else refers to.
_MEANS = ("edgeData", "laneData")
#: Elements whose file is written, not read.
_OUTPUT = re.compile("Detector|inductionLoop|edgeData|laneData|Probe|timedEvent|[eE][123]")
#: How duarouter says that it leaves a vehicle out; what says less than the sentence before; names in a sentence.
_LOST = re.compile(
    r"vehicle '(.*)' has no valid route|route of the vehicle '(.*)' is not known|Vehicle '(.*)' is not permitted on"
)
_VAGUE = re.compile("has no edges|is insufficient")
_QUOTED = re.compile("'([^']*)'")


@dataclass(frozen=True)
class Sources:
    """Where a scenario's traffic comes from.

    Attributes:
        net_file: the network.
        routes: files that are read as routes.
        additional: files that SUMO loads before them: stops, zones, types.
        name: of the scenario, for messages.
    """

    net_file: Path
    routes: tuple[Path, ...]
    additional: tuple[Path, ...]
    name: str


def is_additional(file: Path) -> bool:
    """Whether a file given as routes holds what SUMO reads in additional files only, such as zones or stops."""
    if check_xml(file, WHAT) == "routes":
        return False
    return any(element.tag not in _OF_ROUTES for element in top_elements(file, WHAT))


def has_traffic(file: Path) -> bool:
    """Whether an additional file, or one that it includes, schedules vehicles or persons."""
    return any(_is_traffic(element) for element in read_elements([file], ADDITIONAL))


def _is_traffic(element: Element) -> bool:
    return element.tag in SCHEDULED or element.tag == "interval"


def is_drawn(elements: Sequence[Element]) -> bool:
    """Whether SUMO draws some of the vehicles, their types or roads: it then draws once, for all controllers."""
    return any(
        element.tag in _DRAWN or any(key in element.attrib for key in (*_OPEN_ENDS, *_GEO_ENDS)) for element in elements
    )


def check_amount(elements: Sequence[Element], until_s: float) -> None:
    """Refuse flows that would fill the memory.

    Raises:
        ScenarioError: more than two million vehicles depart before ``until_s``.
    """
    flows = [element for element in flattened(elements) if element.tag.lower().endswith("flow")]
    worst = max(flows, key=lambda flow: flow_vehicles(flow, until_s), default=None)
    if worst is not None and sum(flow_vehicles(flow, until_s) for flow in flows) > MOST_VEHICLES:
        name = shorten(worst.get("id", ""), 60)
        raise ScenarioError(
            f"The flows make more than {MOST_VEHICLES:,} vehicles up to {until_s:g} s, most of them flow '{name}'; "
            "check their numbers, begin and end."
        )


def route(
    sources: Sources,
    files: Sequence[Path],
    output: Path,
    seed: int,
    until_s: float | None = None,
    milliseconds: bool = False,
) -> dict[str, str]:
    """Find routes for trips, and draw flows, with duarouter; given routes stay as they are.

    Args:
        sources: the network, and what the files refer to.
        files: the traffic.
        output: every vehicle with its route, in order of departure.
        seed: of what is drawn.
        until_s: draw nothing that departs later; None where nothing is drawn.
        milliseconds: write these, too; hundredths otherwise.

    Returns:
        Vehicles without a valid route by id, with the cause in SUMO's words; empty where it gives none.

    Raises:
        ScenarioError: duarouter refused the files, or they name a road or type that there is not.
    """
    options: list[object] = ["--ignore-errors", "--skip-new-routes", "--unsorted-input", "--no-step-log"]
    options += ["--xml-validation", "never", "--alternatives-output", "NUL", "--seed", str(seed % 2**31)]
    if sources.additional:
        options += ["--additional-files", sources.additional]
    if until_s is not None:
        options += ["--end", format_seconds(until_s), "--junction-taz"]
    if milliseconds:
        options += ["--precision", "3"]
    what = f"Scenario {sources.name}: routing {joined(sources.routes)}"
    said = run_tool("duarouter", ["-n", sources.net_file, "-r", tuple(files), "-o", output, *options], what)
    sentences = [line.strip().removeprefix("Warning: ") for line in said.splitlines()]
    for sentence in sentences:
        if "is not known" in sentence and not _LOST.search(sentence):  # it goes on, but SUMO would stop
            raise ScenarioError(f"Scenario {sources.name}: {joined(sources.routes)}: {sentence}")
    strip_comments(output)
    return _lost(sentences)


def _lost(sentences: Sequence[str]) -> dict[str, str]:
    """Vehicles that duarouter leaves out, and the first thing that it says of each, or just before."""
    lost: dict[str, str] = {}
    told: dict[str, str] = {}
    before = ""
    for sentence in sentences:
        if found := _LOST.search(sentence):
            name = found[1] or found[2] or found[3]
            lost.setdefault(name, (told.get(name) or (sentence if found[3] else before)).rstrip(".!"))
        for quoted in _QUOTED.findall(sentence) if not (found or _VAGUE.search(sentence)) else ():
            told.setdefault(quoted, sentence)
        before = sentence
    return lost


def drawn_elements(file: Path, additional: Sequence[Path]) -> list[Element]:
    """What duarouter drew, for SUMO: without the zones that are settled now, and what additional files define as well.

    Raises:
        ScenarioError: an additional file is broken.
    """
    defined = {
        (element.tag, element.get("id"))
        for other in additional
        for top in read_elements([other], ADDITIONAL)
        for element in top.iter()
        if element.tag in ("vType", "vTypeDistribution", "route")
    }
    kept = []
    for element in top_elements(file, "Routed file"):
        if element.tag in SCHEDULED:
            for key in _OPEN_ENDS:
                element.attrib.pop(key, None)
        if (element.tag, element.get("id")) not in defined or element.tag in SCHEDULED:
            kept.append(element)
    return kept


def write_without_traffic(file: Path, copy: Path) -> None:
    """Copy an additional file without what it schedules; relative names of files in it still mean the same files."""
    write_additional((element for element in read_elements([file], ADDITIONAL) if not _is_traffic(element)), file, copy)


def write_additional(elements: Iterable[Element], file: Path, copy: Path, quiet: bool = False) -> None:
    """Write elements of an additional file to another place; ``quiet`` ones write no output."""
    root = ElementTree.Element("additional")
    for element in elements:
        name_files_whole(element, file.absolute().parent)
        for inner in element.iter() if quiet else ():
            silent = ("file", "dest", "output") if _OUTPUT.search(inner.tag) else ("output",)
            inner.attrib.update({key: "NUL" for key in silent if key in inner.attrib})
        root.append(element)
    copy.write_bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def check_load(sources: Sources, begin_s: float) -> None:
    """Let SUMO load everything and stop before the first step: what it refuses, a run would find too late.

    Raises:
        ScenarioError: it refuses.
    """
    clock = format_seconds(begin_s)
    arguments: list[object] = ["-n", sources.net_file, "--begin", clock, "--end", clock, "--route-steps", "0"]
    arguments += ["--no-step-log", "--no-warnings", "--duration-log.disable", "--xml-validation", "never"]
    if sources.routes:
        arguments += ["-r", sources.routes]
    with TemporaryDirectory(prefix="greenloop-load-") as scratch:
        quiet = []
        for number, file in enumerate(sources.additional):
            quiet.append(Path(scratch) / f"{number}.add.xml")
            kept = (element for element in read_elements([file], ADDITIONAL) if element.tag not in _MEANS)
            write_additional(kept, file, quiet[-1], quiet=True)
        if quiet:
            arguments += ["--additional-files", quiet]
        run_tool("sumo", arguments, f"Loading {sources.name}")
