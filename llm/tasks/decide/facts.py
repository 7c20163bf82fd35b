"""What a prompt says, as plain numbers per phase: for models that read no text.

They say a little more: how many lanes a phase has, and counts and times that are neither rounded nor capped.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm.tasks.decide.prompt import intergreen_s, priority_shares, protected_exits, report_places
from scenarios.incidents.incident import BLOCKING
from sim.network import Network, Signal
from sim.observation import Observation
from sim.timings import NATIVE, Timings

#: Columns of ``PhaseFacts``. ``priority_...`` are those vehicles that need not give way (``priority_shares``).
#: ``blocked_before`` and ``blocked_after`` are the share of lanes that reports call blocked upstream and downstream (1
#: where a report does not say), 0 without reports. People who wait at a crossing count in ``queue`` and ``near``.
FACTS = (
    "is_current",
    "age_s",
    "change_s",
    "go",
    "give",
    "lanes",
    "queue_veh",
    "wait_s",
    "near_veh",
    "mid_veh",
    "far_veh",
    "priority_queue_veh",
    "priority_near_veh",
    "priority_mid_veh",
    "priority_far_veh",
    "room_share",
    "known_share",
    "blocked_before",
    "blocked_after",
    "surge_before",
)


class PhaseFacts:
    """The facts of all phases of some signals at once; what the network alone says is worked out once.

    Attributes:
        signals: in the order of the rows.
        starts: (len(signals),) the row of each signal's first phase; all have phases.
    """

    def __init__(self, network: Network, signals: Sequence[Signal], timings: Timings = NATIVE) -> None:
        self.network, self.signals = network, tuple(signals)
        phases = [(signal, phase) for signal in self.signals for phase in signal.phases]
        counts = np.array([len(signal.phases) for signal in self.signals], np.int64)
        self.starts: NDArray[np.int64] = np.cumsum(counts) - counts
        self._rows = len(phases)
        self._signal = np.repeat(np.array([signal.index for signal in self.signals], np.int64), counts)
        self._phase = np.array([phase.index for _, phase in phases], np.int64)
        self._change_s = np.array([float(intergreen_s(signal, timings)) for signal, _ in phases])
        letters = [
            [phase.state[link] for link in (*(m.link for m in phase.movements), *phase.crossing_links)]
            for _, phase in phases
        ]
        self._go = np.array([float(shown.count("G")) for shown in letters])
        self._give = np.array([float(shown.count("g")) for shown in letters])
        self._lanes = np.array([float(len(phase.lanes)) for _, phase in phases])
        # An entry is one lane, or one outgoing lane, of one phase.
        self._lane_row = _rows([phase.lanes for _, phase in phases])
        self._lane = np.array([lane for _, phase in phases for lane in phase.lanes], np.int64)
        self._share = np.array([share for one in phases for share in priority_shares(*one)], np.float64)
        exits = [protected_exits(phase) for _, phase in phases]
        self._exit_row = _rows(exits)
        self._exit = np.array([exit_ for some in exits for exit_ in some], np.int64)
        self._crossing_row = _rows([phase.crossings for _, phase in phases])
        self._crossing = np.array([crossing for _, phase in phases for crossing in phase.crossings], np.int64)
        self._exit_size_veh = np.maximum(network.exit_length_m[self._exit] / 7.5, 1)

    def of(self, observation: Observation) -> NDArray[np.float64]:
        """(rows, len(FACTS)) the facts now; what no detector sees counts 0 and lowers ``known_share``."""
        current = self._phase == observation.phase[self._signal]
        lane, row, share = self._lane, self._lane_row, self._share
        queue_veh, zone_veh = np.nan_to_num(observation.queue_veh[lane]), np.nan_to_num(observation.zone_veh[lane])
        wait_s, room_share = np.zeros(self._rows), np.ones(self._rows)
        np.maximum.at(wait_s, row, np.nan_to_num(observation.wait_s[lane]))
        room_veh = np.nan_to_num(observation.exit_room_veh[self._exit], nan=1e3)
        np.minimum.at(room_share, self._exit_row, np.clip(room_veh / self._exit_size_veh, 0, 1))
        known = self._sums(observation.lane_ok[lane].astype(np.float64))
        columns = [
            current.astype(np.float64),
            np.where(current, observation.phase_age_s[self._signal], 0.0),
            self._change_s,
            self._go,
            self._give,
            self._lanes,
            self._sums(queue_veh),
            wait_s,
            *(self._sums(zone) for zone in zone_veh.T),
            self._sums(share * queue_veh),
            *(self._sums(share * zone) for zone in zone_veh.T),
            room_share,
            np.divide(known, self._lanes, out=np.ones(self._rows), where=self._lanes > 0),
        ]
        facts = np.zeros((self._rows, len(FACTS)))
        facts[:, : len(columns)] = np.stack(columns, axis=1)
        if len(self._crossing):
            persons = np.nan_to_num(observation.waiting_persons[self._crossing])
            waiting = np.bincount(self._crossing_row, persons, self._rows)
            for name in ("queue_veh", "near_veh", "priority_queue_veh", "priority_near_veh"):
                facts[:, FACTS.index(name)] += waiting
        if observation.reports:
            reports = [_report_facts(self.network, signal, observation) for signal in self.signals]
            facts[:, len(columns) :] = [phase for signal in reports for phase in signal]
        return facts

    def _sums(self, of_lanes: NDArray[np.float64]) -> NDArray[np.float64]:
        """(rows,) what the lane entries of each row come to."""
        return np.bincount(self._lane_row, of_lanes, self._rows).astype(np.float64, copy=False)


def phase_facts(
    network: Network, signal: Signal, observation: Observation, timings: Timings = NATIVE
) -> NDArray[np.float64]:
    """The facts of each phase of one signal, (phases, len(FACTS)), as ``PhaseFacts`` tells them."""
    return _prepared(network).facts(signal, timings).of(observation)


def _rows(parts: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """For each part of each row, its row."""
    return np.repeat(np.arange(len(parts)), [len(some) for some in parts])


class _Prepared:
    """The facts of one network's signals, each prepared when it is first asked for."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._signals: dict[tuple[int, Timings], PhaseFacts] = {}

    def facts(self, signal: Signal, timings: Timings) -> PhaseFacts:
        key = signal.index, timings
        if key not in self._signals:
            self._signals[key] = PhaseFacts(self.network, (signal,), timings)
        return self._signals[key]


_PREPARED: OrderedDict[int, _Prepared] = OrderedDict()


def _prepared(network: Network) -> _Prepared:
    """Networks hold arrays and cannot be hashed; an entry keeps its network, so its id stays its own."""
    prepared = _PREPARED.get(id(network))
    if prepared is None:
        prepared = _PREPARED[id(network)] = _Prepared(network)
        if len(_PREPARED) > 8:
            _PREPARED.popitem(last=False)
    return prepared


def _report_facts(network: Network, signal: Signal, observation: Observation) -> list[list[float]]:
    """Per phase: share blocked before and after, and tens of vehicles of a surge before."""
    found = [[0.0, 0.0, 0.0] for _ in signal.phases]
    for report, after, phases in report_places(network, signal, observation):
        share = report.blocked_lanes / report.total_lanes if report.blocked_lanes and report.total_lanes else 1.0
        blocks = report.type in BLOCKING
        for phase in phases:
            if blocks:
                found[phase][int(after)] = max(found[phase][int(after)], share)
            elif report.type == "demand_surge" and not after:
                found[phase][2] += report.vehicles / 10
    return found
