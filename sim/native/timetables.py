"""The signal programs that SUMO will really run: of the network, of additional files, and as WAUTs switch them.

A signal may have several programs. SUMO runs the one that it read last, unless a WAUT (a weekly timetable) says
otherwise. Where there is any choice SUMO itself is asked, in a process of its own (``sim/native/probe.py``); the answer
is kept by content in the user's cache.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from scenarios.common.input_files import open_input
from scenarios.common.sumo_tools import cache_root, cached, sumo_version
from scenarios.spec import ScenarioError

WHAT = "File with signal programs"
#: The elements of an additional file that say which program a signal runs.
PROGRAM_TAGS = ("tlLogic", "WAUT", "wautJunction")
#: WAUT procedures of SUMO that switch at once, so that greenloop can make the switch itself.
AT_ONCE = ("", "none", "default")
_CACHE_VERSION = 1


class ProgramError(ValueError):
    """Signal programs that SUMO refuses or that make no sense; the message is one sentence."""


@dataclass(frozen=True)
class ProgramStep:
    """One row of a signal program. ``min_s`` and ``max_s`` matter to adaptive programs; ``next`` names following rows.

    ``yellow_s`` and ``red_s`` belong to phases of NEMA programs, which have no rows for them.
    """

    state: str
    duration_s: float
    min_s: float | None = None
    max_s: float | None = None
    name: str = ""
    next: tuple[int, ...] = ()
    yellow_s: float = 0.0
    red_s: float = 0.0


@dataclass(frozen=True)
class SignalProgram:
    """A whole program of one signal as SUMO reads it; ``type`` is SUMO's: static, actuated, delay_based or NEMA."""

    id: str
    type: str
    steps: tuple[ProgramStep, ...]
    offset_s: float = 0.0
    params: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class ProgramSwitch:
    """From ``time_s`` of SUMO's clock on the signal runs ``program``."""

    time_s: float
    program: str


@dataclass(frozen=True)
class Timetable:
    """All programs of one signal, which one is active at the start of the run, and how a WAUT switches them.

    ``fixed_by`` names a procedure or a place of the WAUT that only SUMO itself can follow; empty where there is none.
    """

    programs: tuple[SignalProgram, ...]
    active: str
    switches: tuple[ProgramSwitch, ...] = ()
    fixed_by: str = ""

    @property
    def used(self) -> tuple[SignalProgram, ...]:
        """The programs that can become active: the first one first."""
        ids = dict.fromkeys((self.active, *(switch.program for switch in self.switches)))
        return tuple(program for name in ids for program in self.programs if program.id == name)


@dataclass(frozen=True)
class ProgramFiles:
    """Where a run's programs come from, and the part of SUMO's clock in which they matter."""

    net_file: Path
    additional_files: tuple[Path, ...] = ()
    begin_s: float = 0.0
    end_s: float = 0.0


def read_timetables(files: ProgramFiles) -> dict[str, Timetable]:
    """The timetable of every signal that has a program.

    Raises:
        ProgramError: a value is missing or malformed, or SUMO refuses the programs.
        OSError, ElementTree.ParseError: a file cannot be read.
    """
    in_net = list(_elements(files.net_file))
    added = [element for file in files.additional_files for element in _elements(file)]
    programs: dict[str, list[SignalProgram]] = {}
    for source, elements in ((files.net_file, in_net), (None, added)):
        for element in elements:
            if element.tag == "tlLogic":
                program = _program(element, source, files.begin_s)
                programs.setdefault(element.get("id", ""), []).append(program)
    if not added and all(len(found) == 1 for found in programs.values()) and not _wauts(in_net):
        return {name: Timetable(tuple(found), found[0].id) for name, found in programs.items()}
    return _as_sumo_runs(files, programs, in_net, added)


def _as_sumo_runs(
    files: ProgramFiles,
    programs: Mapping[str, Sequence[SignalProgram]],
    in_net: Sequence[ElementTree.Element],
    added: Sequence[ElementTree.Element],
) -> dict[str, Timetable]:
    """Ask SUMO which programs are active, and when they change."""
    answer = _ask_sumo(files, added, switching=bool(_wauts(in_net) or _wauts(added)))
    fixed = {junction: f"the WAUT in {files.net_file.name}" for junction, _ in _wauts(in_net)}
    fixed |= {
        junction: f"the procedure {procedure} of its WAUT"
        for junction, procedure in _wauts(added)
        if procedure not in AT_ONCE
    }
    tables = {}
    for name, found in programs.items():
        said = answer.get(name, {"active": found[-1].id, "switches": []})
        switches = tuple(ProgramSwitch(float(time_s), program) for time_s, program in said["switches"])
        tables[name] = Timetable(tuple(found), said["active"], switches, fixed.get(name, ""))
    return tables


def _wauts(elements: Sequence[ElementTree.Element]) -> list[tuple[str, str]]:
    """Junction and procedure of each junction that a WAUT switches."""
    return [(e.get("junctionID", ""), e.get("procedure", "")) for e in elements if e.tag == "wautJunction"]


def _elements(file: Path, depth: int = 0) -> Iterator[ElementTree.Element]:
    """The elements of a file that are about signal programs, those of included files as well."""
    with open_input(file, WHAT) as stream:
        parents: list[ElementTree.Element] = []
        for event, element in ElementTree.iterparse(stream, events=("start", "end")):
            if event == "start":
                parents.append(element)
                continue
            parents.pop()
            if element.tag in PROGRAM_TAGS:
                yield element
            elif element.tag == "include" and depth < 8:
                yield from _elements(file.parent / element.get("href", ""), depth + 1)
            if not any(parent.tag in PROGRAM_TAGS for parent in parents):
                for parent in parents[-1:]:
                    parent.remove(element)


def _program(element: ElementTree.Element, source: Path | None, begin_s: float) -> SignalProgram:
    signal, program = element.get("id", ""), element.get("programID", "")
    where = f"Program '{program}' of signal '{signal}'" + (f" in {source}" if source else " in an additional file")
    steps = tuple(_step(phase, where) for phase in element.iter("phase"))
    offset = element.get("offset", "0")
    return SignalProgram(
        id=program,
        type=element.get("type", "static"),
        steps=steps,
        offset_s=begin_s if offset == "begin" else _seconds(offset, where, "offset"),
        params={param.get("key", ""): param.get("value", "") for param in element.iter("param")},
    )


def _step(phase: ElementTree.Element, where: str) -> ProgramStep:
    def optional(key: str) -> float | None:
        value = phase.get(key)
        return None if value is None else _seconds(value, where, key)

    duration_s = _seconds(phase.get("duration", "missing"), where, "duration")
    if duration_s < 0:
        raise ProgramError(f"{where} has a phase of {duration_s:g} s; give a duration of 0 s or more.")
    try:
        following = tuple(map(int, phase.get("next", "").split()))
    except ValueError:
        raise ProgramError(f'{where} has next="{phase.get("next")}"; give indices of phases.') from None
    return ProgramStep(
        state=phase.get("state", ""),
        duration_s=duration_s,
        min_s=optional("minDur"),
        max_s=optional("maxDur"),
        name=phase.get("name", ""),
        next=following,
        yellow_s=optional("yellow") or 0.0,
        red_s=optional("red") or 0.0,
    )


def _seconds(value: str, where: str, what: str) -> float:
    """Seconds, or hours, minutes and seconds with colons, as SUMO reads them."""
    try:
        parts = [float(part) for part in value.split(":")]
    except ValueError:
        parts = []
    seconds: float = sum(part * 60.0**place for place, part in enumerate(reversed(parts)))
    if not parts or len(parts) > 4 or seconds != seconds or abs(seconds) > 1e12:
        raise ProgramError(f'{where} has {what}="{value}"; give seconds.')
    if len(parts) == 4:  # days
        seconds += parts[0] * (86400 - 60**3)
    return seconds


# --- SUMO asked ----------------------------------------------------------------------------------------------------


def _ask_sumo(files: ProgramFiles, added: Sequence[ElementTree.Element], switching: bool) -> dict[str, Any]:
    """By signal the active program (``active``) and the switches (``switches``: time in s, program)."""
    root = ElementTree.Element("additional")
    root.extend(added)
    text = ElementTree.tostring(root, encoding="utf-8")
    digest = hashlib.sha256(files.net_file.read_bytes())
    digest.update(text)
    digest.update(repr((_CACHE_VERSION, sumo_version(), files.begin_s, files.end_s, switching)).encode())
    folder = cache_root() / "programs" / digest.hexdigest()[:32]

    def ask(draft: Path) -> None:
        (draft / "programs.json").write_text(_run_probe(files, text, switching), encoding="utf-8")

    try:
        cached(folder, ask)
        said = (folder / "programs.json").read_text(encoding="utf-8")
    except (ScenarioError, OSError):  # a cache that cannot be written is no reason to stop
        said = _run_probe(files, text, switching)
    answer: dict[str, Any] = json.loads(said)
    return answer


def _run_probe(files: ProgramFiles, additional: bytes, switching: bool) -> str:
    probe = Path(__file__).with_name("probe.py")
    with tempfile.TemporaryDirectory() as scratch:
        file, output = Path(scratch) / "programs.add.xml", Path(scratch) / "answer.json"
        file.write_bytes(additional)
        end_s = files.end_s if switching else files.begin_s
        arguments = [files.net_file.absolute(), file, f"{files.begin_s:.3f}", f"{end_s:.3f}", output]
        done = subprocess.run(
            [sys.executable, str(probe), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=scratch,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode or not output.exists():
            said = [line.strip() for line in done.stderr.splitlines() if line.startswith("Error")]
            why = (said or ["it ended without a word"])[0].removeprefix("Error: ").rstrip(".")
            raise ProgramError(f"SUMO refuses the signal programs of {files.net_file}: {why[:300]}.")
        return output.read_text(encoding="utf-8")


# --- additional files without the switches that greenloop makes ----------------------------------------------------

_PATHS = ("file", "href", "imgFile", "output")


def without_switches(file: Path, signals: frozenset[str], folder: Path) -> Path:
    """``file`` itself, or a copy in ``folder`` in which no WAUT switches any of ``signals``.

    Paths in the copy are made absolute, since SUMO reads them from the file's own folder.
    """
    return _stripped(file, signals, folder, 0)


def _stripped(file: Path, signals: frozenset[str], folder: Path, depth: int) -> Path:
    with open_input(file, WHAT) as stream:
        tree = ElementTree.parse(stream)
    changed = False
    for parent in list(tree.iter()):
        for element in list(parent):
            if element.tag == "wautJunction" and element.get("junctionID") in signals:
                parent.remove(element)
                changed = True
            elif element.tag == "include" and depth < 8:
                inner = file.parent / element.get("href", "")
                other = _stripped(inner, signals, folder, depth + 1)
                if other != inner:
                    element.set("href", str(other.absolute()))
                    changed = True
    if not changed:
        return file
    for element in tree.iter():
        for key in _PATHS:
            value = element.get(key)
            if value and value not in ("NUL", "stdout", "stderr") and not Path(value).is_absolute():
                element.set(key, str((file.parent / value).absolute()))
    name = f"{hashlib.sha256(str(file.absolute()).encode()).hexdigest()[:8]}-{file.name.removesuffix('.gz')}"
    tree.write(folder / name, encoding="utf-8", xml_declaration=True)
    return folder / name
