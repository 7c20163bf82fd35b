"""Split, cycle and offset adaptation in the manner of SCATS and SCOOT: what cities run where they run something."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controllers.base import ControllerError
from controllers.classical.cyclic.cycle import CyclicController
from controllers.classical.phase_choice import PhaseTable, fill_unknown
from controllers.parameters import check_flag, check_number
from sim.network import Network, Signal
from sim.observation import Observation

#: Roads between two signals at most, as in ``Signal.neighbours``.
_HOPS = 8
#: Cycles between two choices of the offsets' plan: SCATS and SCOOT change it slowly.
_PLAN_CYCLES = 3


@dataclass(frozen=True)
class _Link:
    """A signal-free drive from one signal to the next: exits there, lanes here, and the time between in free flow."""

    start: int
    end: int
    exits: frozenset[int]
    lanes: frozenset[int]
    drive_s: float


class Scats(CyclicController):
    """Small steps, once a cycle, towards equal degrees of saturation at all phases and green where platoons arrive.

    * **Split.** A phase's degree of saturation is what its busiest lane needs over what it gets: vehicles that came in
      a cycle and were left over after green, times the saturation headway, over the green. Each cycle one decision
      interval goes from the least to the most saturated phase if that brings them closer.
    * **Cycle.** Signals within one signal-free drive of each other share one cycle. It grows by one interval for each
      phase pair when the most saturated phase among them is above ``saturation_high``, and shrinks below
      ``saturation_low``.
    * **Offset.** The links with most traffic that join such a group without a loop are coordinated: downstream green
      begins when the platoon that left upstream arrives. An offset moves by one interval a cycle.

    Sources: P. R. Lowrie, "SCATS: a traffic responsive method of controlling urban traffic" (1990); P. B. Hunt et al.,
    "SCOOT: a traffic responsive method of coordinating signals", TRRL Laboratory Report 1014 (1981). Neither product is
    public in full, so this is in their manner. As SCOOT it counts upstream; as SCATS it votes once a cycle.

    Args:
        cycle_min_s: shortest cycle, s; longer where the shortest greens of all phases need it.
        cycle_max_s: longest cycle, s.
        saturation_low: degree of saturation below which the cycle shrinks.
        saturation_high: degree of saturation above which the cycle grows.
        saturation_headway_s: seconds between vehicles of a discharging queue, per lane.
        coordinated: whether offsets adapt.
    """

    def __init__(
        self,
        cycle_min_s: float = 50.0,
        cycle_max_s: float = 90.0,
        saturation_low: float = 0.7,
        saturation_high: float = 0.9,
        saturation_headway_s: float = 2.0,
        coordinated: bool = True,
    ) -> None:
        self.cycle_min_s = check_number("scats", "cycle_min_s", cycle_min_s, above=True)
        self.cycle_max_s = check_number("scats", "cycle_max_s", cycle_max_s, minimum=cycle_min_s)
        self.saturation_low = check_number("scats", "saturation_low", saturation_low, above=True)
        self.saturation_high = check_number("scats", "saturation_high", saturation_high, minimum=saturation_low)
        self.saturation_headway_s = check_number("scats", "saturation_headway_s", saturation_headway_s, above=True)
        self.coordinated = check_flag("scats", "coordinated", coordinated)

    def reset(self, network: Network, seed: int) -> None:
        """Begin with the network's own splits and cycles, all offsets free.

        Raises:
            ControllerError: a bound of the cycle is shorter than a decision interval.
        """
        super().reset(network, seed)
        if self.cycle_min_s < self.interval_s:
            raise ControllerError(
                f"scats: cycle_min_s is {self.cycle_min_s:g}; give at least a decision interval ({self.interval_s:g})."
            )
        self.table = PhaseTable(network)
        self._left_veh = np.zeros(len(network.lanes))
        self._queue_veh = np.zeros(len(network.lanes))
        self._flow_veh_s = np.zeros(len(network.lanes))
        self._phase = np.full(len(network.signals), -1)
        self._links = tuple(_links(network))
        self._groups = [_Group(self, signals) for signals in _neighbourhoods(network)]
        self._group = {signal.id: group for group in self._groups for signal in group.signals}
        self._slots = {
            signal.id: self.native_slots(signal, group.cycle_s) for group in self._groups for signal in group.signals
        }

    # --- what is seen ------------------------------------------------------------------------------------------------

    def measure(self, observation: Observation) -> None:
        """Note flows, and what is left on the lanes of a phase that has just ended."""
        signals = len(self.network.signals)
        owner = self.network.lane_signal
        flow_veh_h = fill_unknown(observation.flow_veh_h[:, 0], owner, signals)
        self._flow_veh_s = flow_veh_h / 3600
        for signal in self.table.signals:
            before, now = int(self._phase[signal.index]), int(observation.phase[signal.index])
            if before >= 0 and now != before:
                lanes = list(signal.phases[before].lanes)
                self._left_veh[lanes] = self._queue_veh[lanes]
            self._phase[signal.index] = now
        self._queue_veh = fill_unknown(observation.queue_veh, owner, signals)

    def saturation(self, signal: Signal) -> NDArray[np.float64]:
        """Degree of saturation of each phase with its slots of the last cycle."""
        slots = self._slots[signal.id]
        cycle_s = self.interval_s * sum(slots)
        green_s = [max(n * self.interval_s - self.intergreen_s[signal.id], 1.0) for n in slots]
        lane_green_s: dict[int, float] = {}
        for phase, shown_s in zip(signal.phases, green_s, strict=True):
            for lane in phase.lanes:
                lane_green_s[lane] = lane_green_s.get(lane, 0.0) + shown_s
        needs_s = (self._flow_veh_s * cycle_s + self._left_veh) * self.saturation_headway_s
        degrees = {lane: needs_s[lane] / shown_s for lane, shown_s in lane_green_s.items()}
        # A lane that is green all the time, such as a free right turn, asks for no phase.
        asking = {lane for lane in lane_green_s if any(lane not in phase.lanes for phase in signal.phases)}
        return np.array([max((degrees[n] for n in p.lanes if n in asking), default=0.0) for p in signal.phases])

    # --- what is done ------------------------------------------------------------------------------------------------

    def next_slots(self, signal: Signal, observation: Observation) -> Sequence[int]:
        """One step of split, cycle and offset."""
        group = self._group[signal.id]
        if signal.id in self.running:
            degrees = self.saturation(signal)
            group.note(signal, float(degrees.max()), observation.time_s)
            self._slots[signal.id] = self._fitted(signal, self._balanced(signal, degrees), group.cycle_s, degrees)
        slots = list(self._slots[signal.id])
        return self._shifted(signal, slots, group.lag_s(signal, observation.time_s))

    def _balanced(self, signal: Signal, degrees: NDArray[np.float64]) -> list[int]:
        """One slot from the least saturated phase that can spare it to the most saturated one, if that helps."""
        slots, least = list(self._slots[signal.id]), self.least[signal.id]
        givers = [k for k in range(len(slots)) if slots[k] > least]
        taker = int(degrees.argmax())
        if givers:
            giver = min(givers, key=lambda k: degrees[k])
            after = degrees[giver] * slots[giver] / (slots[giver] - 1)
            if giver != taker and after < degrees[taker]:
                slots[giver] -= 1
                slots[taker] += 1
        return slots

    def _fitted(self, signal: Signal, slots: list[int], cycle_s: float, degrees: NDArray[np.float64]) -> list[int]:
        """Slots that fill the group's cycle: more for the most saturated phase, less for the least one."""
        wanted = max(round(cycle_s / self.interval_s), self.least[signal.id] * len(slots))
        while sum(slots) < wanted:
            slots[int((degrees / np.array(slots)).argmax())] += 1
        while sum(slots) > wanted:
            spare = [k for k in range(len(slots)) if slots[k] > self.least[signal.id]]
            slots[min(spare, key=lambda k: degrees[k] / slots[k])] -= 1
        return slots

    def _shifted(self, signal: Signal, slots: list[int], lag_s: float) -> list[int]:
        """The cycle one interval longer or shorter where its offset is early or late."""
        if lag_s > self.interval_s / 2:
            slots[int(np.argmax(slots))] += 1
        elif lag_s < -self.interval_s / 2 and max(slots) > self.least[signal.id]:
            slots[int(np.argmax(slots))] -= 1
        return slots

    def begins_s(self, signal: Signal, phase: int) -> float:
        """When a phase's green begins after the start of its cycle, s."""
        return self.interval_s * sum(self._slots[signal.id][:phase]) + self.intergreen_s[signal.id]

    def links(self) -> tuple[_Link, ...]:
        """Drives between neighbouring signals."""
        return self._links

    def flow_veh_s(self, link: _Link) -> float:
        """What arrives over a link."""
        return float(self._flow_veh_s[list(link.lanes)].sum())

    def sending_phase(self, link: _Link) -> int:
        """The phase that feeds most traffic into a link."""
        signal = self.network.signals[link.start]
        return _busiest(signal, {m.lane for m in signal.movements if m.exit in link.exits}, self._flow_veh_s)

    def receiving_phase(self, link: _Link) -> int:
        """The phase that serves most traffic that arrives over a link."""
        return _busiest(self.network.signals[link.end], link.lanes, self._flow_veh_s)


class _Group:
    """Signals that share a cycle and are coordinated."""

    def __init__(self, scats: Scats, signals: Sequence[Signal]) -> None:
        self.scats, self.signals = scats, signals
        native_s = max(sum(row.duration_s for row in signal.program) for signal in signals)
        self.cycle_s = scats.interval_s * round(self._bounded_s(native_s) / scats.interval_s)
        self._degrees: dict[str, float] = {}
        self._offsets_s: dict[int, float] = {}
        self._cycles = 0
        self._next_s = -math.inf

    def _bounded_s(self, cycle_s: float) -> float:
        return float(min(max(cycle_s, self.scats.cycle_min_s), self.scats.cycle_max_s))

    def note(self, signal: Signal, degree: float, time_s: float) -> None:
        """Take note of a signal's highest degree of saturation; once a cycle, change the cycle and the plan."""
        self._degrees[signal.id] = degree
        if time_s < self._next_s:
            return
        highest = max(self._degrees.values())
        step_s = 2 * self.scats.interval_s
        if highest > self.scats.saturation_high:
            self.cycle_s = self._bounded_s(self.cycle_s + step_s)
        elif highest < self.scats.saturation_low:
            self.cycle_s = self._bounded_s(self.cycle_s - step_s)
        self._next_s = time_s + self.cycle_s
        self._degrees.clear()
        if self.scats.coordinated and self._cycles % _PLAN_CYCLES == 0:
            self._offsets_s = self._planned_offsets_s()
        self._cycles += 1

    def lag_s(self, signal: Signal, time_s: float) -> float:
        """How much later than now a cycle should begin, -cycle / 2 to cycle / 2; 0 for signals without an offset."""
        if signal.index not in self._offsets_s:
            return 0.0
        late_s = float((self._offsets_s[signal.index] - time_s) % self.cycle_s)
        return late_s if late_s <= self.cycle_s / 2 else late_s - self.cycle_s

    def _planned_offsets_s(self) -> dict[int, float]:
        """Start of each signal's cycle on the clock, along the busiest links that make no loop."""
        scats, inside = self.scats, {signal.index: signal for signal in self.signals}
        links = [link for link in scats.links() if link.start in inside and link.end in inside]
        links.sort(key=lambda link: (-scats.flow_veh_s(link), link.start, link.end))
        joined = {index: {index} for index in inside}
        offsets_s = {index: self._start_s(index) for index in inside}
        for link in links:
            if joined[link.start] is joined[link.end]:
                continue
            leaves_s = offsets_s[link.start] + scats.begins_s(inside[link.start], scats.sending_phase(link))
            arrives_s = leaves_s + link.drive_s
            goal_s = arrives_s - scats.begins_s(inside[link.end], scats.receiving_phase(link))
            shift_s = goal_s - offsets_s[link.end]
            for index in joined[link.end]:
                offsets_s[index] += shift_s
            together = joined[link.start] | joined[link.end]
            joined |= dict.fromkeys(together, together)
        return offsets_s if len(inside) > 1 else {}

    def _start_s(self, index: int) -> float:
        running = self.scats.running.get(self.scats.network.signals[index].id)
        return running.start_s if running else 0.0


def _busiest(signal: Signal, lanes: frozenset[int] | set[int], flow_veh_s: NDArray[np.float64]) -> int:
    """The phase with most traffic on these lanes, then with most of them."""

    def served(phase: int) -> tuple[float, int]:
        shown = lanes & set(signal.phases[phase].lanes)
        return round(float(flow_veh_s[list(shown)].sum()), 9), len(shown)

    return max(range(len(signal.phases)), key=served)


def _neighbourhoods(network: Network) -> list[list[Signal]]:
    """Controllable signals, together where a chain of neighbours joins them."""
    todo = {signal.index: signal for signal in network.controllable}
    groups = []
    while todo:
        front, group = [min(todo)], []
        while front:
            index = front.pop()
            if index in todo:
                signal = todo.pop(index)
                group.append(signal)
                front += signal.neighbours
        groups.append(sorted(group, key=lambda signal: signal.index))
    return groups


def _links(network: Network) -> Iterator[_Link]:
    """All signal-free drives between controllable signals."""
    fed: dict[str, set[int]] = {}
    for lane, edge in enumerate(network.lane_edge):
        fed.setdefault(edge, set()).add(lane)
    for signal in network.controllable:
        exits: dict[str, set[int]] = {}
        for exit_ in signal.exits:
            exits.setdefault(network.exits[exit_].rpartition("_")[0], set()).add(exit_)
        for edge, places in exits.items():
            for goal, drive_s in _drives(network, edge, fed):
                lanes = frozenset(fed[goal])
                end = int(network.lane_signal[min(lanes)])
                if end != signal.index and network.signals[end].problem is None:
                    yield _Link(signal.index, end, frozenset(places), lanes, drive_s)


def _drives(network: Network, edge: str, fed: dict[str, set[int]]) -> Iterator[tuple[str, float]]:
    """Roads that end at a signal and are reached from ``edge`` without passing another one, with the time there, s."""
    front, done = [(edge, 0.0)], set()
    for _ in range(_HOPS):
        following = []
        for name, before_s in front:
            if name in done or name not in network.roads:
                continue
            done.add(name)
            road = network.roads[name]
            until_s = before_s + road.length_m / max(road.speed_mps, 0.1)
            if name in fed:
                yield name, until_s
            else:
                following += [(other, until_s) for other in road.successors]
        front = following
