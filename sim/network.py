"""The static road network as a controller needs it, read once from any ``.net.xml`` without hand configuration."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax import SAXException

import numpy as np
from numpy.typing import NDArray

from scenarios.common.errors import ScenarioError, shorten
from scenarios.common.input_files import Stamp, stamp
from scenarios.common.net_values import WHAT, check_network
from scenarios.spec import Scenario
from sim.native.clearance import CHANGING, GREEN, YELLOW, Layout, NativeClearance
from sim.native.nema import nema_stages
from sim.native.stages import Crossing, Movement, Phase, green_phases, is_green_phase
from sim.native.timetables import (
    ProgramError,
    ProgramFiles,
    ProgramStep,
    ProgramSwitch,
    SignalProgram,
    Timetable,
    read_timetables,
)
from sim.observation import ZONES_M
from sim.read_only import lock_arrays

__all__ = [
    "CHANGING",
    "GREEN",
    "REACH_M",
    "YELLOW",
    "Crossing",
    "Movement",
    "Network",
    "NetworkError",
    "Phase",
    "ProgramStep",
    "Reach",
    "Road",
    "Signal",
    "is_green_phase",
]

REACH_M = ZONES_M[-1]
#: SUMO's types of programs whose stages can be read.
READABLE_TYPES = ("static", "actuated", "delay_based", "NEMA")


class NetworkError(ValueError):
    """A network that cannot be used; the message is one sentence that names the file or the signal."""

    def __init__(self, message: str) -> None:
        super().__init__(shorten(message))


@dataclass(frozen=True)
class Signal:
    """One traffic light (``tlLogic``); it may govern several joined junctions.

    ``program`` is the one that is active at the start of the run, ``programs`` are all that can become active, as
    ``switches`` of a WAUT say; phases and clearance come from all of these. ``type`` is SUMO's type of the first.
    Rows of a NEMA program are its rings side by side. ``problem`` is None for a signal that can be controlled, or the
    sentence that says why it cannot.
    """

    id: str
    index: int
    phases: tuple[Phase, ...]
    movements: tuple[Movement, ...]
    lanes: tuple[int, ...]
    exits: tuple[int, ...]
    program: tuple[ProgramStep, ...]
    program_id: str
    offset_s: float
    yellow_s: float  # that its programs mostly show
    links: int
    foes: frozenset[tuple[int, int]]  # pairs i < j of links whose paths cross or merge
    neighbours: tuple[int, ...]  # signals one signal-free drive away, as indices
    position_m: tuple[float, float]
    problem: str | None = None
    red_s: float = 0.0  # red clearance after the yellow that its programs mostly show
    type: str = "static"
    programs: tuple[SignalProgram, ...] = ()
    switches: tuple[ProgramSwitch, ...] = ()
    unused: tuple[SignalProgram, ...] = ()  # programs that never become active in the run
    crossings: tuple[int, ...] = ()  # as indices into Network.crossings
    crossing_links: tuple[int, ...] = ()
    clearance: NativeClearance = field(default=None, repr=False)  # type: ignore[assignment]  # made below

    def __post_init__(self) -> None:
        """A signal made by hand has the one program, and the clearance that this shows."""
        if not self.programs:
            program = SignalProgram(self.program_id, self.type, self.program, self.offset_s)
            object.__setattr__(self, "programs", (program,))
        if self.clearance is None:
            object.__setattr__(self, "clearance", NativeClearance.of(self.programs, self.layout))

    @property
    def layout(self) -> Layout:
        """What its clearance depends on beside the programs."""
        used = frozenset((*(m.link for m in self.movements), *self.crossing_links))
        phases = frozenset(phase.state for phase in self.phases)
        return Layout(phases, used, frozenset(self.crossing_links), self.foes)

    @property
    def native_states(self) -> tuple[str, ...]:
        """Every state that its programs show, each once."""
        return tuple(dict.fromkeys(step.state for program in self.programs for step in program.steps))


@dataclass(frozen=True)
class Road:
    """A road section (SUMO edge), for incidents and maps."""

    id: str
    name: str  # street name, or the id where the network has none
    lanes: int
    length_m: float
    speed_mps: float
    successors: tuple[str, ...]
    predecessors: tuple[str, ...]
    shape: tuple[tuple[float, float], ...]
    car_lanes: tuple[int, ...]  # lane indices that passenger cars may use


@dataclass(frozen=True)
class Reach:
    """The stretch of one lane that belongs to an incoming lane's approach."""

    lane_id: str
    offset_m: float  # from the end of this stretch to the stop line
    length_m: float
    weight: float  # 1 / number of continuations that its vehicles may still choose


@dataclass(frozen=True)
class Network:
    """Signals, lanes and roads in a fixed, documented order (sorted by id). Its arrays cannot be written."""

    net_file: Path
    signals: tuple[Signal, ...]
    lanes: tuple[str, ...]
    exits: tuple[str, ...]
    lane_edge: tuple[str, ...]
    lane_signal: NDArray[np.int64]
    lane_length_m: NDArray[np.float64]
    lane_speed_mps: NDArray[np.float64]
    exit_length_m: NDArray[np.float64]
    reach: tuple[tuple[Reach, ...], ...]
    roads: dict[str, Road] = field(repr=False)
    crossings: tuple[Crossing, ...] = ()

    def __post_init__(self) -> None:
        lock_arrays(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickled arrays could be written again."""
        vars(self).update(state)
        lock_arrays(self)

    @property
    def controllable(self) -> tuple[Signal, ...]:
        """The signals that a controller can time."""
        return tuple(signal for signal in self.signals if signal.problem is None)

    def signal(self, signal_id: str) -> Signal:
        """Return a signal by id.

        Raises:
            NetworkError: there is no such signal.
        """
        for signal in self.signals:
            if signal.id == signal_id:
                return signal
        raise NetworkError(f"{self.net_file} has no signal '{signal_id}'.")

    @classmethod
    def read(
        cls, net_file: Path, additional_files: Sequence[Path] = (), begin_s: float = 0.0, end_s: float = 0.0
    ) -> Network:
        """Read a network with the signal programs that SUMO runs from ``begin_s`` to ``end_s``.

        Raises:
            NetworkError: a file is missing or broken, the network has no signals, or SUMO refuses the programs.
        """
        files = ProgramFiles(Path(net_file), tuple(map(Path, additional_files)), begin_s, end_s)
        try:
            check_network(files.net_file)
            added = tuple(stamp(path, "Additional file") for path in files.additional_files)
            return _read(files, (stamp(files.net_file, WHAT), *added))
        except ScenarioError as error:
            raise NetworkError(str(error)) from error

    @classmethod
    def of(cls, scenario: Scenario) -> Network:
        """Read a scenario's network, with the programs of its additional files.

        Raises:
            NetworkError: as for ``read``.
        """
        return cls.read(scenario.net_file, scenario.additional_files, scenario.begin_s, scenario.end_s)


@lru_cache(maxsize=16)
def _read(files: ProgramFiles, _stamps: tuple[Stamp, ...]) -> Network:
    path = files.net_file
    net = _parse(path)
    try:
        tables = read_timetables(files)
    except ProgramError as error:
        raise NetworkError(str(error)) from error
    except (ElementTree.ParseError, OSError, UnicodeDecodeError) as error:
        raise NetworkError(f"The signal programs of {path} cannot be read: {error}.") from error
    tls_ids = sorted({*(tl.getID() for tl in net.getTrafficLights()), *tables})
    if not tls_ids:
        raise NetworkError(f"Network file {path} has no traffic signals, so there is nothing to control.")
    with _malformed(path):
        return _Builder(path, net, tls_ids, tables).build()


def _parse(path: Path) -> Any:
    import sumolib  # slow to import, and only needed here

    with _malformed(path), contextlib.redirect_stderr(io.StringIO()):  # sumolib comments on harmless details
        net = sumolib.net.readNet(
            str(path), withPrograms=False, withConnections=True, withFoes=True, withPedestrianConnections=True
        )
    if not net.getEdges():
        raise NetworkError(f"Network file {path} holds no roads; give a SUMO .net.xml file.")
    return net


@contextlib.contextmanager
def _malformed(path: Path) -> Iterator[None]:
    """What sumolib stumbles over, at once or when an element is first used, in one sentence."""
    try:
        yield
    except NetworkError:
        raise
    except SAXException as error:
        detail = error.getMessage()
        raise NetworkError(f"Network file {path} is not a complete SUMO network: {detail}.") from error
    except KeyError as error:
        raise NetworkError(
            f"Network file {path} is not a complete SUMO network: '{error.args[0]}' is missing, "
            "an attribute of that name or an element of that id."
        ) from error
    except (ValueError, AttributeError, TypeError, IndexError, OSError) as error:
        raise NetworkError(
            f"Network file {path} is not a complete SUMO network: a value is missing or malformed ({error})."
        ) from error


class _Builder:
    """Collects the pieces of one Network; lives only while a file is read."""

    def __init__(self, path: Path, net: Any, tls_ids: list[str], tables: dict[str, Timetable]) -> None:
        self.path, self.net, self.tables = path, net, tables
        logics = {tl.getID(): tl for tl in net.getTrafficLights()}
        self.tls_ids = tls_ids
        self.links: dict[str, list[tuple[Any, Any, int]]] = {
            tls: logics[tls].getConnections() if tls in logics else [] for tls in tls_ids
        }
        self.connections = {tls: self._vehicle_connections(tls) for tls in tls_ids}
        self.lane_objects: dict[str, Any] = {}
        self.exit_objects: dict[str, Any] = {}
        self.lane_tls: dict[str, str] = {}
        for tls in tls_ids:
            for incoming, outgoing, _ in self.connections[tls]:
                self.lane_objects[incoming.getID()] = incoming
                self.exit_objects[outgoing.getID()] = outgoing
                self.lane_tls[incoming.getID()] = tls
        self.lanes = tuple(sorted(self.lane_objects))
        self.exits = tuple(sorted(self.exit_objects))
        self.lane_index = {lane: i for i, lane in enumerate(self.lanes)}
        self.exit_index = {lane: i for i, lane in enumerate(self.exits)}
        self.crossings, self.crossing_tls = self._crossings()

    def build(self) -> Network:
        lane_objects = [self.lane_objects[lane] for lane in self.lanes]
        tls_index = {tls: i for i, tls in enumerate(self.tls_ids)}
        return Network(
            net_file=self.path,
            signals=tuple(self._signal(tls, i, tls_index) for i, tls in enumerate(self.tls_ids)),
            lanes=self.lanes,
            exits=self.exits,
            lane_edge=tuple(lane.getEdge().getID() for lane in lane_objects),
            lane_signal=np.array([tls_index[self.lane_tls[lane]] for lane in self.lanes], dtype=np.int64),
            lane_length_m=np.array([lane.getLength() for lane in lane_objects], dtype=np.float64),
            lane_speed_mps=np.array([lane.getSpeed() for lane in lane_objects], dtype=np.float64),
            exit_length_m=np.array([self.exit_objects[lane].getLength() for lane in self.exits], dtype=np.float64),
            reach=tuple(tuple(self._reach(lane)) for lane in lane_objects),
            roads={edge.getID(): _road(edge) for edge in self.net.getEdges(withInternal=False)},
            crossings=self.crossings,
        )

    def _vehicle_connections(self, tls: str) -> list[tuple[Any, Any, int]]:
        return [link for link in self.links[tls] if _for_vehicles(link[0]) and _for_vehicles(link[1])]

    def _crossings(self) -> tuple[tuple[Crossing, ...], tuple[str, ...]]:
        """All crossings with a signal, sorted by id, and each one's signal."""
        found: dict[str, tuple[str, Any, list[int]]] = {}
        for tls in self.tls_ids:
            for _, outgoing, link in self.links[tls]:
                edge = outgoing.getEdge()
                if edge.getFunction() == "crossing":
                    found.setdefault(edge.getID(), (tls, outgoing, []))[2].append(link)
        crossings = tuple(
            Crossing(name, tuple(sorted(links)), tuple(sorted(_walking_areas(lane))), float(lane.getLength()))
            for name, (_, lane, links) in sorted(found.items())
        )
        return crossings, tuple(tls for _, (tls, _, _) in sorted(found.items()))

    def _signal(self, tls: str, index: int, tls_index: dict[str, int]) -> Signal:
        table = self.tables.get(tls, Timetable((), ""))
        movements = tuple(
            Movement(
                link,
                self.lane_index[incoming.getID()],
                self.exit_index[outgoing.getID()],
                self._direction(incoming, outgoing),
            )
            for incoming, outgoing, link in sorted(
                self.connections[tls], key=lambda c: (c[2], c[0].getID(), c[1].getID())
            )
        )
        crossings = {
            i: c for i, (c, own) in enumerate(zip(self.crossings, self.crossing_tls, strict=True)) if own == tls
        }
        self._check_links(tls, table)
        used, problem = _readable(tls, table)
        # Links of rows that cannot be read are in no phase.
        phases = green_phases(used, movements, crossings) if problem is None else ()
        crossing_links = tuple(sorted(link for crossing in crossings.values() for link in crossing.links))
        foes = self._foes(tls)
        layout = Layout(
            frozenset(phase.state for phase in phases),
            frozenset((*(m.link for m in movements), *crossing_links)),
            frozenset(crossing_links),
            foes,
        )
        clearance = NativeClearance.of(_changes(tls, table) if problem is None else (), layout)
        first = used[0] if used else SignalProgram("", "static", ())
        coordinates = [node.getCoord() for node in {link[0].getEdge().getToNode() for link in self.links[tls]}]
        coordinates = coordinates or [(0.0, 0.0)]
        return Signal(
            id=tls,
            index=index,
            phases=phases,
            movements=movements,
            lanes=tuple(sorted({m.lane for m in movements})),
            exits=tuple(sorted({m.exit for m in movements})),
            program=first.steps,
            program_id=first.id,
            offset_s=first.offset_s,
            yellow_s=_whole(clearance.yellow_s),
            links=len(first.steps[0].state) if first.steps else 0,
            foes=foes,
            neighbours=tuple(sorted(tls_index[other] for other in self._neighbours(tls))),
            position_m=(
                sum(c[0] for c in coordinates) / len(coordinates),
                sum(c[1] for c in coordinates) / len(coordinates),
            ),
            problem=problem or _problem(tls, first.steps, movements, phases) or _fixed(tls, table),
            red_s=_whole(clearance.red_s),
            type=first.type,
            programs=used,
            switches=table.switches,
            unused=tuple(program for program in table.programs if program.id not in {p.id for p in used}),
            crossings=tuple(crossings),
            crossing_links=crossing_links,
            clearance=clearance,
        )

    def _check_links(self, tls: str, table: Timetable) -> None:
        """Refuse states that have no letter for a link, as SUMO does.

        Raises:
            NetworkError: a state is too short.
        """
        last = max((link for _, _, link in self.links[tls]), default=-1)
        for program in table.programs:
            shortest = min((len(step.state) for step in program.steps), default=last + 1)
            if shortest <= last:
                raise NetworkError(
                    f"Signal '{tls}' of {self.path} governs link {last}, but program '{program.id}' has states of "
                    f"{shortest} letters, so SUMO refuses the network; repair the states, or build the network anew "
                    "with netconvert."
                )

    def _direction(self, incoming: Any, outgoing: Any) -> str:
        return next((c.getDirection() for c in incoming.getOutgoing() if c.getToLane() is outgoing), "s")

    def _foes(self, tls: str) -> frozenset[tuple[int, int]]:
        by_node: dict[Any, list[tuple[int, int]]] = {}
        for incoming, outgoing, link in self.links[tls]:
            node = incoming.getEdge().getToNode()
            for connection in incoming.getOutgoing():
                if connection.getToLane() is outgoing:
                    with contextlib.suppress(KeyError, ValueError):
                        by_node.setdefault(node, []).append((link, node.getLinkIndex(connection)))
        foes = set()
        for node, links in by_node.items():
            for a, index_a in links:
                for b, index_b in links:
                    if a < b and min(index_a, index_b) >= 0 and _are_foes(node, index_a, index_b):
                        foes.add((a, b))
        return frozenset(foes)

    def _neighbours(self, tls: str) -> set[str]:
        """Signals reached downstream before any other signal, or that reach this one so."""
        found = self._downstream(tls)
        return found | {other for other in self.tls_ids if other != tls and tls in self._downstream(other)}

    @cache  # noqa: B019 - the builder dies with the read
    def _downstream(self, tls: str) -> set[str]:
        seen, found = set(), set()
        todo = [(outgoing.getEdge(), 0) for _, outgoing, _ in self.connections[tls]]
        signalled = self._signalled_edges()
        while todo:
            edge, hops = todo.pop()
            if edge.getID() in seen:
                continue
            seen.add(edge.getID())
            if edge.getID() in signalled:
                found.add(signalled[edge.getID()])
            elif hops < 8:
                todo += [(following, hops + 1) for following in edge.getOutgoing() if not following.isSpecial()]
        return found - {tls}

    @cache  # noqa: B019 - the builder dies with the read
    def _signalled_edges(self) -> dict[str, str]:
        return {self.lane_objects[lane].getEdge().getID(): tls for lane, tls in self.lane_tls.items()}

    def _reach(self, lane: Any) -> list[Reach]:
        """The lane and, where it is short, the lanes before it up to REACH_M, as far as no other signal is between."""
        found: dict[str, Reach] = {}
        usable = _drivable if _drivable(lane) else _for_vehicles
        todo = [(lane, 0.0, 1.0)]
        while todo:
            current, offset, weight = todo.pop()
            if current.getID() in found or offset >= REACH_M:
                continue
            found[current.getID()] = Reach(current.getID(), offset, current.getLength(), weight)
            for connection in current.getIncomingConnections():
                before = connection.getFromLane()
                if connection.getTLSID() or not usable(before) or before.getEdge().isSpecial():
                    continue
                choices = sum(1 for c in before.getOutgoing() if usable(c.getToLane()))
                via = self._via_length(connection)
                todo.append((before, offset + current.getLength() + via, weight / max(choices, 1)))
        return sorted(found.values(), key=lambda r: (r.offset_m, r.lane_id))

    def _via_length(self, connection: Any) -> float:
        via = connection.getViaLaneID()
        if not via:
            return 0.0
        try:
            return float(self.net.getLane(via).getLength())
        except KeyError:  # internal lanes are not read
            return 5.0


def _drivable(lane: Any) -> bool:
    return bool(lane.allows("passenger") or lane.allows("bus") or lane.allows("delivery"))


def _for_vehicles(lane: Any) -> bool:
    """Whether cars, trams, bicycles or anybody else drives on a lane; people on foot alone do not."""
    return bool(set(lane.getPermissions()) - {"pedestrian"}) and lane.getEdge().getFunction() not in (
        "crossing",
        "walkingarea",
    )


def _walking_areas(crossing: Any) -> set[str]:
    """The walking areas at both ends of a crossing's lane."""
    before = [connection.getFromLane().getEdge() for connection in crossing.getIncomingConnections()]
    after = [connection.getToLane().getEdge() for connection in crossing.getOutgoing()]
    return {edge.getID() for edge in (*before, *after) if edge.getFunction() == "walkingarea"}


def _are_foes(node: Any, a: int, b: int) -> bool:
    try:
        return bool(node.areFoes(a, b) or node.areFoes(b, a))
    except (KeyError, IndexError):
        return False


def _road(edge: Any) -> Road:
    return Road(
        id=edge.getID(),
        name=edge.getName() or edge.getID(),
        lanes=edge.getLaneNumber(),
        length_m=edge.getLength(),
        speed_mps=edge.getSpeed(),
        successors=tuple(sorted(e.getID() for e in edge.getOutgoing() if not e.isSpecial())),
        predecessors=tuple(sorted(e.getID() for e in edge.getIncoming() if not e.isSpecial())),
        shape=tuple((float(x), float(y)) for x, y in edge.getShape()),
        car_lanes=tuple(i for i, lane in enumerate(edge.getLanes()) if lane.allows("passenger")),
    )


def _whole(seconds: float) -> float:
    """Whole seconds as a whole number, as prompts and tables write them."""
    return int(seconds) if seconds == int(seconds) else seconds


def _readable(tls: str, table: Timetable) -> tuple[tuple[SignalProgram, ...], str | None]:
    """The programs that can become active, NEMA rings in rows, and what keeps them from being read."""
    used = []
    for program in table.used:
        if program.type not in READABLE_TYPES:
            return table.used, (
                f"Signal '{tls}' runs a program of SUMO's type {program.type}, whose stages cannot be told; it keeps "
                "its own control."
            )
        try:
            used.append(nema_stages(tls, program).cycle if program.type == "NEMA" else program)
        except ProgramError as error:
            return table.used, str(error)
    if len({len(step.state) for program in used for step in program.steps}) > 1:
        return table.used, (
            f"Signal '{tls}' has program states of different lengths; repair the network with netconvert."
        )
    return tuple(used), None


def _changes(tls: str, table: Timetable) -> list[SignalProgram]:
    """The programs as clearance is read from them: of a NEMA program every change of its rings."""
    return [nema_stages(tls, p).changes if p.type == "NEMA" else p for p in table.used]


def _fixed(tls: str, table: Timetable) -> str | None:
    if not table.fixed_by:
        return None
    return (
        f"Signal '{tls}' is switched between programs by {table.fixed_by}, which only SUMO can follow, so it keeps its "
        "own control; use a WAUT without a procedure, in an additional file, to have it controlled."
    )


def _problem(
    tls: str, program: Sequence[ProgramStep], movements: tuple[Movement, ...], phases: tuple[Phase, ...]
) -> str | None:
    if not program:
        return f"Signal '{tls}' has no program in the network, so it cannot be controlled."
    if not movements:
        return f"Signal '{tls}' governs no lane that vehicles use, so it keeps its own program."
    if len(phases) < 2:
        return (
            f"Signal '{tls}' has fewer than two green phases, so there is nothing to choose; it keeps its own program."
        )
    return None
