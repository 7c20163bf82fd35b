"""The state of one signal as compact text, one line per phase, each ending in its letter.

    change5
    Report before A: 07:12 crash on Aachener Strasse, one of two lanes blocked
    red go2 give1 queue12/9 wait35 near5/4 mid3/2 far4/3 room9 next7 A
    green12 go1 queue0 wait0 near1 mid0 far2 room8 next3 B
    Best phase:

A phase's score is the model's logit of its letter (``llm.engine.rows``): for an adapter that was trained here at the
end of the phase's line, for any other model after the last line. Attention only looks back, so a letter stands where
its phase's facts have been seen, and reports stand above all of them.

``change`` is what a change of phase costs here, yellow and all-red (s). Facts of a phase: ``green`` with the seconds of
green so far, or ``red``; ``go`` movements that need not give way and ``give`` those that must (left out where there are
none); over the lanes that have green in it: ``queue`` halted vehicles, ``wait`` the longest wait (s), ``near``, ``mid``
and ``far`` vehicles 0-50, 50-100 and 100-200 m before the stop line, behind a slash those of them that need not give
way in it, if they are not all (each lane's vehicles taken to spread evenly over its movements); ``room`` free tenths of
the fullest outgoing lane (of the movements that need not give way, if it has any), and with a forecast ``next``, the
vehicles that will arrive within a minute. A pedestrian crossing with green counts as a movement, and the people who
wait at it count in ``queue`` and ``near``. A number ends in ``?`` where some of its detectors are out, and is a bare
``?`` where all are. Words stick to their numbers because a space would be one more token; small models' tokenizers take
digits one by one, so numbers are whole and capped.
"""

from __future__ import annotations

import math
import string
import unicodedata
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sim.network import Movement, Network, Phase, Signal
from sim.observation import Observation, Report
from sim.timings import NATIVE, Timings

#: Raise with every change of what the prompt says, so that adapters and records know which prompt they were made for.
PROMPT_VERSION = 5
#: What cards call the task that reads these prompts.
TASK = "decide"
#: The last line of every prompt; a phase letter with a leading space follows it.
CUE = "Best phase:"
#: Every character that a prompt can hold.
PROMPT_CHARSET = "\n" + "".join(chr(code) for code in range(32, 127))
MAX_COUNT = 99
MAX_SECONDS = 999
MAX_REPORTS = 3
MAX_REPORT_CHARS = 160
#: How far a report matters: junctions between the incident's road and the signal.
REPORT_JUNCTIONS = 2
#: Outgoing lanes that hold fewer vehicles than this say nothing about a spillback.
_MIN_EXIT_VEH = 2.0
_SPELLINGS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "–": "-"})


class PromptError(ValueError):
    """A signal that cannot be put into a prompt; the message is one sentence."""


def phase_letters(phases: int) -> str:
    """The letters that name a signal's phases, in order: ``"ABC"`` for three.

    Raises:
        PromptError: more phases than letters.
    """
    if not 0 <= phases <= len(string.ascii_uppercase):
        raise PromptError(
            f"A signal with {phases} phases cannot be put to the language model, which names phases by the letters "
            "A to Z; use a classical controller there."
        )
    return string.ascii_uppercase[:phases]


def signal_prompt(
    network: Network,
    signal: Signal,
    observation: Observation,
    forecast: NDArray[np.float64] | None = None,
    timings: Timings = NATIVE,
) -> str:
    """Describe what decides at one signal now.

    Args:
        network: the network of the signal and of the observation.
        signal: the signal to describe.
        observation: the state of the whole network.
        forecast: (L,) vehicles expected to arrive on each incoming lane within the next minute, NaN where unknown.
        timings: those of the run, for the cost of a change.

    Raises:
        PromptError: the signal has more than 26 phases.
    """
    letters = phase_letters(len(signal.phases))
    layout = _layout(network).of(signal)
    facts = _LaneFacts.read(signal, observation, forecast)
    room = _exit_room(signal, layout, observation)
    persons = [_persons(phase, observation) for phase in signal.phases]
    rows = [
        f"{kind} {facts.of(lanes, shares, waiting)} room{_fewest([room[i] for i in exits])}"
        f"{facts.arrivals(lanes)} {letter}"
        for letter, kind, lanes, shares, exits, waiting in zip(
            letters, layout.kinds, layout.lanes, layout.shares, layout.exits, persons, strict=True
        )
    ]
    now, age_s = int(observation.phase[signal.index]), float(observation.phase_age_s[signal.index])
    shown = f"green{_number(age_s, MAX_SECONDS)}"
    rows = [f"{shown if phase == now else 'red'} {row}" for phase, row in enumerate(rows)]
    head = f"change{min(intergreen_s(signal, timings), MAX_COUNT)}"
    reports = [_report_line(network, signal, report) for report in reports_in_force(network, signal, observation)]
    return "\n".join([head, *reports, *rows, CUE])


def phase_arrivals(signal: Signal, next_veh: NDArray[np.float64]) -> list[str]:
    """The forecast's number in each phase's line, from (L,) vehicles per incoming lane, NaN where unknown."""
    return [_joined(next_veh[list(phase.lanes)].tolist() or [0.0], MAX_COUNT) for phase in signal.phases]


def with_arrivals(prompt: str, arrivals: Sequence[str]) -> str:
    """A prompt that was made without a forecast, with the numbers of ``phase_arrivals`` in its phases' lines."""
    lines = prompt.split("\n")
    for place, number in zip(phase_lines(prompt, len(arrivals)), arrivals, strict=True):
        lines[place] = f"{lines[place][:-1]}next{number} {lines[place][-1]}"
    return "\n".join(lines)


def phase_lines(prompt: str, phases: int) -> range:
    """Which lines of a prompt are the phases' ones: the last before the cue."""
    last = prompt.count("\n")
    return range(last - phases, last)


def max_prompt_chars(network: Network) -> int:
    """The length that no prompt of this network exceeds, for ``gymnasium.spaces.Text``."""
    phases = max((len(signal.phases) for signal in network.controllable), default=0)
    head = len(f"change{MAX_COUNT}\n")
    row = len("green999? go99 give99 queue99?/99? wait999? near99?/99? mid99?/99? far99?/99? room9? next99? A\n")
    report = len("Report before : \n") + 2 * phases + MAX_REPORT_CHARS
    return head + phases * row + MAX_REPORTS * report + len(CUE)


def intergreen_s(signal: Signal, timings: Timings) -> int:
    """Whole seconds of yellow and all-red that most changes of phase cost at this signal."""
    own_s = signal.yellow_s + signal.red_s
    return math.ceil(own_s if timings.yellow_s is None else timings.yellow_s) + timings.all_red_s


def reports_in_force(network: Network, signal: Signal, observation: Observation) -> list[Report]:
    """The newest reports, oldest first, of uncleared incidents at most two junctions from the signal."""
    if not observation.reports:
        return []
    latest: dict[str, Report] = {}
    for report in observation.reports:
        latest.pop(report.incident_id, None)  # so that the newest word comes last
        latest[report.incident_id] = report
    surroundings = _layout(network).of(signal).surroundings(network, signal)
    near = [report for report in latest.values() if not report.cleared and report.edge in surroundings]
    return near[-MAX_REPORTS:]


def near_roads(network: Network, signal: Signal) -> frozenset[str]:
    """The roads whose reports a signal's prompt shows."""
    return frozenset(_layout(network).of(signal).surroundings(network, signal))


def report_places(
    network: Network, signal: Signal, observation: Observation
) -> list[tuple[Report, bool, tuple[int, ...]]]:
    """Each report in force, whether it is downstream of the signal, and the phases that it concerns."""
    places = []
    for report in reports_in_force(network, signal, observation):
        side, *letters = _layout(network).of(signal).surroundings(network, signal)[report.edge].split()
        places.append((report, side == "after", tuple(string.ascii_uppercase.index(letter) for letter in letters)))
    return places


def plain_text(text: str) -> str:
    """One line of printable ASCII: street names lose their umlauts, line breaks become spaces."""
    spelled = unicodedata.normalize("NFKD", " ".join(text.split()).translate(_SPELLINGS))
    ascii_only = "".join(c for c in spelled if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "_" for c in ascii_only)


def _report_line(network: Network, signal: Signal, report: Report) -> str:
    where = _layout(network).of(signal).surroundings(network, signal)[report.edge]
    return f"Report {where}: {plain_text(report.text)[:MAX_REPORT_CHARS]}"


# --- numbers


def _number(value: float, cap: int) -> str:
    """A whole number from 0 to ``cap``, or ``?`` for NaN."""
    return "?" if math.isnan(value) else str(int(min(max(value, 0.0), cap) + 0.5))


def _joined(values: Iterable[float], cap: int, longest: bool = False) -> str:
    """The sum (or the largest) of what is known, with a ``?`` where something is not."""
    values = list(values)
    known = [min(max(value, 0.0), 1e6) for value in values if value == value]
    if not known:
        return "?"
    return _number(max(known) if longest else sum(known), cap) + ("?" if len(known) < len(values) else "")


def _with_priority(values: list[float], shares: list[float]) -> str:
    """``12/9``: all vehicles, and those that need not give way where these are not as many."""
    every = _joined(values, MAX_COUNT)
    known = [min(max(value, 0.0), 1e6) for value in values]  # an infinite count of no share is none
    first = _joined([value * share for value, share in zip(known, shares, strict=True)], MAX_COUNT)
    return every if first == every else f"{every}/{first}"


def _fewest(tenths: list[int | None]) -> str:
    """The fullest outgoing lane decides; 9 where none is long enough to tell."""
    known = [value for value in tenths if value is not None]
    return "?" if -1 in known else str(min(known, default=9))


@dataclass(frozen=True)
class _LaneFacts:
    """One signal's lanes as plain lists: summing a few floats is faster without numpy."""

    queue: list[float]
    wait: list[float]
    near: list[float]
    mid: list[float]
    far: list[float]
    next: list[float] | None

    @classmethod
    def read(cls, signal: Signal, observation: Observation, forecast: NDArray[np.float64] | None) -> _LaneFacts:
        lanes = list(signal.lanes)
        near, mid, far = observation.zone_veh[lanes].T.tolist()
        arrivals = None if forecast is None else forecast[lanes].tolist()
        queue, wait = observation.queue_veh[lanes].tolist(), observation.wait_s[lanes].tolist()
        return cls(queue, wait, near, mid, far, arrivals)

    def of(self, lanes: list[int], shares: list[float], persons: list[float]) -> str:
        """The facts of a phase whose green lanes stand at these places in ``Signal.lanes``, and whose crossings have
        these people waiting, who stand as near as can be."""
        none = [0.0] * len(persons)
        queue, near, mid, far = (
            _with_priority([*(column[i] for i in lanes), *more], [*shares, *(1.0 for _ in more)])
            for column, more in ((self.queue, persons), (self.near, persons), (self.mid, none), (self.far, none))
        )
        wait = _joined([*(self.wait[i] for i in lanes), *none], MAX_SECONDS, longest=True)
        return f"queue{queue} wait{wait} near{near} mid{mid} far{far}"

    def arrivals(self, lanes: list[int]) -> str:
        """The forecast's part of a phase's line, empty without a forecast."""
        return "" if self.next is None else f" next{_joined([self.next[i] for i in lanes] or [0.0], MAX_COUNT)}"


def _persons(phase: Phase, observation: Observation) -> list[float]:
    """The people who wait at each crossing of a phase."""
    waiting: list[float] = observation.waiting_persons[list(phase.crossings)].tolist() if phase.crossings else []
    return waiting


def _exit_room(signal: Signal, layout: _SignalLayout, observation: Observation) -> list[int | None]:
    """Free tenths, 0 to 9, of each outgoing lane; -1 for unknown and None for a lane too short to tell."""
    room = observation.exit_room_veh[list(signal.exits)].tolist()
    return [
        None if size < _MIN_EXIT_VEH else -1 if free != free else int(min(max(10 * free / size, 0.0), 9.0))
        for free, size in zip(room, layout.exit_size_veh, strict=True)
    ]


# --- what a network's geometry says, worked out once


@dataclass
class _SignalLayout:
    kinds: list[str]  # per phase, its protected and permissive movements in words
    lanes: list[list[int]]  # per phase, places in Signal.lanes
    shares: list[list[float]]  # of each of these, ``priority_shares``
    exits: list[list[int]]  # per phase, places in Signal.exits
    exit_size_veh: list[float]
    _surroundings: dict[str, str] | None = field(default=None)

    def surroundings(self, network: Network, signal: Signal) -> dict[str, str]:
        """By road within two junctions: ``before A C`` (phases that it feeds) or ``after B`` (that lead to it)."""
        if self._surroundings is None:
            self._surroundings = _surroundings(network, signal)
        return self._surroundings


def protected_exits(phase: Phase) -> list[int]:
    """Outgoing lanes of the movements that need not give way ("G"), or of all where there is none."""
    return sorted({m.exit for m in phase.movements if phase.state[m.link] == "G"}) or list(phase.exits)


def priority_shares(signal: Signal, phase: Phase) -> list[float]:
    """For each of a phase's lanes the share of its movements that need not give way in it.

    Hardly anyone turns around, so such a movement counts only where a lane has no other.
    """
    first = {m.link for m in phase.movements if phase.state[m.link] == "G"}
    ways: dict[int, list[Movement]] = {lane: [] for lane in phase.lanes}
    for movement in signal.movements:
        if movement.lane in ways:
            ways[movement.lane].append(movement)
    usual = ([m for m in own if m.direction != "t"] or own for own in ways.values())
    return [sum(m.link in first for m in own) / len(own) for own in usual]


def _kinds(phase: Phase) -> str:
    """``go2 give1``: tells phases with the same lanes apart, and says how much a second of green can serve."""
    letters = [phase.state[link] for link in (*(m.link for m in phase.movements), *phase.crossing_links)]
    give = min(letters.count("g"), MAX_COUNT)
    return f"go{min(letters.count('G'), MAX_COUNT)}" + (f" give{give}" if give else "")


class _NetworkLayout:
    def __init__(self, network: Network) -> None:
        self.network = network
        self._signals: dict[int, _SignalLayout] = {}

    def of(self, signal: Signal) -> _SignalLayout:
        if signal.index not in self._signals:
            lane_place = {lane: i for i, lane in enumerate(signal.lanes)}
            exit_place = {exit_: i for i, exit_ in enumerate(signal.exits)}
            self._signals[signal.index] = _SignalLayout(
                kinds=[_kinds(phase) for phase in signal.phases],
                lanes=[[lane_place[lane] for lane in phase.lanes] for phase in signal.phases],
                shares=[priority_shares(signal, phase) for phase in signal.phases],
                exits=[[exit_place[exit_] for exit_ in protected_exits(phase)] for phase in signal.phases],
                exit_size_veh=(self.network.exit_length_m[list(signal.exits)] / 7.5).tolist(),
            )
        return self._signals[signal.index]


_LAYOUTS: OrderedDict[int, _NetworkLayout] = OrderedDict()


def _layout(network: Network) -> _NetworkLayout:
    """Networks hold arrays and cannot be hashed; an entry keeps its network, so its id stays its own."""
    layout = _LAYOUTS.get(id(network))
    if layout is None:
        layout = _LAYOUTS[id(network)] = _NetworkLayout(network)
        if len(_LAYOUTS) > 8:
            _LAYOUTS.popitem(last=False)
    return layout


def _surroundings(network: Network, signal: Signal) -> dict[str, str]:
    nearest: dict[str, tuple[int, int, list[int]]] = {}  # road -> junctions between, 0 before or 1 after, phases
    for phase in signal.phases:
        ways = (
            (0, {network.lane_edge[lane] for lane in phase.lanes}),
            (1, {network.exits[exit_].rpartition("_")[0] for exit_ in phase.exits}),
        )
        for side, start in ways:
            for road, junctions in reached_roads(network, start, forward=side == 1).items():
                best = nearest.get(road)
                if best is None or (junctions, side) < best[:2]:
                    nearest[road] = (junctions, side, [phase.index])
                elif (junctions, side) == best[:2]:
                    best[2].append(phase.index)
    letters = phase_letters(len(signal.phases))
    words = ("before", "after")
    return {
        road: f"{words[side]} {' '.join(letters[phase] for phase in phases)}"
        for road, (_, side, phases) in nearest.items()
    }


def reached_roads(network: Network, start: set[str], forward: bool) -> dict[str, int]:
    """Roads up or down the stream, each with the number of junctions between, ``REPORT_JUNCTIONS`` at most.

    Where roads merely join end to end is no junction.

    Args:
        network: its roads.
        start: ids of the roads to begin with; unknown ones are left out.
        forward: follow the traffic, not the way that it came.
    """
    roads = network.roads
    found = {road: 0 for road in sorted(start) if road in roads}
    todo = list(found)
    while todo:
        here = todo.pop(0)
        for there in roads[here].successors if forward else roads[here].predecessors:
            if there not in roads:
                continue
            before, after = (roads[here], roads[there]) if forward else (roads[there], roads[here])
            junctions = found[here] + (len(before.successors) > 1 or len(after.predecessors) > 1)
            if junctions <= REPORT_JUNCTIONS and junctions < found.get(there, REPORT_JUNCTIONS + 1):
                found[there] = junctions
                todo.append(there)
    return found
