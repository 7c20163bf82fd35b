"""The static road network as a controller needs it, read once from any ``.net.xml`` without hand configuration."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from xml.sax import SAXException

import numpy as np
from numpy.typing import NDArray

from scenarios.common.errors import ScenarioError, shorten
from scenarios.common.input_files import Stamp, stamp
from scenarios.common.net_values import WHAT, check_network
from sim.observation import ZONES_M
from sim.read_only import lock_arrays

REACH_M = ZONES_M[-1]
GREEN = frozenset("Gg")
YELLOW = frozenset("yYu")


class NetworkError(ValueError):
    """A network that cannot be used; the message is one sentence that names the file or the signal."""

    def __init__(self, message: str) -> None:
        super().__init__(shorten(message))


@dataclass(frozen=True)
class Movement:
    """One way over a junction: an incoming lane to an outgoing lane, governed by one link of the signal."""

    link: int  # position in the signal's state string
    lane: int  # index into Network.lanes
    exit: int  # index into Network.exits
    direction: str  # SUMO's: s straight, l left, r right, t turn-around, L and R partially


@dataclass(frozen=True)
class Phase:
    """A green phase of the native program; intergreens are made by the signal state machine."""

    index: int
    state: str
    movements: tuple[Movement, ...]  # those with green, permissive green included
    lanes: tuple[int, ...]  # incoming lanes that have green, as indices into Network.lanes
    exits: tuple[int, ...]  # outgoing lanes that they lead to, as indices into Network.exits


@dataclass(frozen=True)
class ProgramStep:
    """One row of a signal program as written in the network."""

    state: str
    duration_s: float


@dataclass(frozen=True)
class Signal:
    """One traffic light (``tlLogic``); it may govern several joined junctions.

    ``problem`` is None for a signal that can be controlled, or the sentence that says why it cannot.
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
    yellow_s: int
    links: int
    foes: frozenset[tuple[int, int]]  # pairs i < j of links whose paths cross or merge
    neighbours: tuple[int, ...]  # signals one signal-free drive away, as indices
    position_m: tuple[float, float]
    problem: str | None = None


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
    def read(cls, net_file: Path) -> Network:
        """Read a network.

        Raises:
            NetworkError: the file is missing, broken, or has no signals.
        """
        path = Path(net_file)
        try:
            check_network(path)
            return _read(path, stamp(path, WHAT))
        except ScenarioError as error:
            raise NetworkError(str(error)) from error


@lru_cache(maxsize=16)
def _read(path: Path, _stamp: Stamp) -> Network:
    net = _parse(path)
    tls_ids = sorted(tl.getID() for tl in net.getTrafficLights())
    if not tls_ids:
        raise NetworkError(f"Network file {path} has no traffic signals, so there is nothing to control.")
    with _malformed(path):
        return _Builder(path, net, tls_ids).build()


def _parse(path: Path) -> Any:
    import sumolib  # slow to import, and only needed here

    with _malformed(path), contextlib.redirect_stderr(io.StringIO()):  # sumolib comments on harmless details
        net = sumolib.net.readNet(
            str(path), withPrograms=True, withConnections=True, withFoes=True, withPedestrianConnections=True
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


def is_green_phase(program: list[ProgramStep], index: int) -> bool:
    """Whether a program row is a phase to choose: it has green, no yellow, and is no clearance between two phases."""
    links = set(program[index].state)
    if links & YELLOW or not links & GREEN:
        return False
    before, after = (_next_green(program, index, step) for step in (-1, 1))
    green = _greens(program[index].state)
    clearance = program[index].duration_s < 5 and green <= before and green <= after
    return not (clearance and before and after)


def _next_green(program: list[ProgramStep], index: int, step: int) -> set[int]:
    for away in range(1, len(program)):
        state = program[(index + step * away) % len(program)].state
        if not set(state) & YELLOW and set(state) & GREEN:
            return _greens(state)
    return set()


def _greens(state: str) -> set[int]:
    return {link for link, letter in enumerate(state) if letter in GREEN}


class _Builder:
    """Collects the pieces of one Network; lives only while a file is read."""

    def __init__(self, path: Path, net: Any, tls_ids: list[str]) -> None:
        self.path, self.net = path, net
        self.logics = {tl.getID(): tl for tl in net.getTrafficLights()}
        self.tls_ids = tls_ids
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
        )

    def _vehicle_connections(self, tls: str) -> list[tuple[Any, Any, int]]:
        return [
            (incoming, outgoing, link)
            for incoming, outgoing, link in self.logics[tls].getConnections()
            if _drivable(incoming) and _drivable(outgoing)
        ]

    def _signal(self, tls: str, index: int, tls_index: dict[str, int]) -> Signal:
        programs = self.logics[tls].getPrograms()
        program_id, logic = next(iter(programs.items())) if programs else ("", None)
        program = [ProgramStep(p.state, float(p.duration)) for p in logic.getPhases()] if logic else []
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
        phases = _phases(program, movements)
        nodes = {incoming.getEdge().getToNode() for incoming, _, _ in self.logics[tls].getConnections()}
        coordinates = [node.getCoord() for node in nodes] or [(0.0, 0.0)]
        return Signal(
            id=tls,
            index=index,
            phases=phases,
            movements=movements,
            lanes=tuple(sorted({m.lane for m in movements})),
            exits=tuple(sorted({m.exit for m in movements})),
            program=tuple(program),
            program_id=program_id,
            offset_s=float(getattr(logic, "_offset", 0) or 0) if logic else 0.0,
            yellow_s=_yellow_s(program),
            links=len(program[0].state) if program else 0,
            foes=self._foes(tls),
            neighbours=tuple(sorted(tls_index[other] for other in self._neighbours(tls))),
            position_m=(
                sum(c[0] for c in coordinates) / len(coordinates),
                sum(c[1] for c in coordinates) / len(coordinates),
            ),
            problem=_problem(tls, program, movements, phases),
        )

    def _direction(self, incoming: Any, outgoing: Any) -> str:
        return next((c.getDirection() for c in incoming.getOutgoing() if c.getToLane() is outgoing), "s")

    def _foes(self, tls: str) -> frozenset[tuple[int, int]]:
        by_node: dict[Any, list[tuple[int, int]]] = {}
        for incoming, outgoing, link in self.logics[tls].getConnections():
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
        todo = [(lane, 0.0, 1.0)]
        while todo:
            current, offset, weight = todo.pop()
            if current.getID() in found or offset >= REACH_M:
                continue
            found[current.getID()] = Reach(current.getID(), offset, current.getLength(), weight)
            for connection in current.getIncomingConnections():
                before = connection.getFromLane()
                if connection.getTLSID() or not _drivable(before) or before.getEdge().isSpecial():
                    continue
                choices = sum(1 for c in before.getOutgoing() if _drivable(c.getToLane()))
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


def _phases(program: list[ProgramStep], movements: tuple[Movement, ...]) -> tuple[Phase, ...]:
    phases: list[Phase] = []
    for index, row in enumerate(program):
        if not is_green_phase(program, index) or any(row.state == phase.state for phase in phases):
            continue
        green = tuple(m for m in movements if row.state[m.link] in GREEN)
        if green:
            lanes, exits = (tuple(sorted({getattr(m, k) for m in green})) for k in ("lane", "exit"))
            phases.append(Phase(len(phases), row.state, green, lanes, exits))
    return tuple(phases)


def _yellow_s(program: list[ProgramStep]) -> int:
    """The yellow that this program has mostly; 3 s where it shows none."""
    yellows = Counter(round(row.duration_s) for row in program if set(row.state) & YELLOW)
    return max(yellows, key=lambda seconds: (yellows[seconds], seconds)) if yellows else 3


def _problem(
    tls: str, program: list[ProgramStep], movements: tuple[Movement, ...], phases: tuple[Phase, ...]
) -> str | None:
    if not program:
        return f"Signal '{tls}' has no program in the network, so it cannot be controlled."
    if not movements:
        return f"Signal '{tls}' governs no lane that motor vehicles use, so it keeps its own program."
    if len({len(row.state) for row in program}) > 1:
        return f"Signal '{tls}' has program states of different lengths; repair the network with netconvert."
    if max(m.link for m in movements) >= len(program[0].state):
        return f"Signal '{tls}' has links beyond its state string; repair the network with netconvert."
    if len(phases) < 2:
        return (
            f"Signal '{tls}' has fewer than two green phases, so there is nothing to choose; it keeps its own program."
        )
    return None
