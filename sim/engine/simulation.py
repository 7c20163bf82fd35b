"""One live SUMO simulation, second by second; runs inside the session's own process."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.incidents.incident import ScheduledIncident
from scenarios.spec import Scenario
from sim.engine.command import AREA_PREFIX, SessionOptions
from sim.engine.delays import Delay, DelayByInterval, DelayBySecond
from sim.engine.detector_errors import DetectorFaults
from sim.engine.detectors import Detectors
from sim.engine.road_users import LOOK_S, RoadUserWatch
from sim.engine.vehicles import Vehicles
from sim.incidents.events import Events
from sim.network import YELLOW, Network
from sim.observation import Observation
from sim.signals import Auditor, Decision, Program, SignalMachine, intergreen
from sim.timings import Timings

#: Seconds that SUMO simulates in one call where nothing has to be looked at: a time limit sees each call as one step.
LONGEST_STEP_S = 10
LIBSUMO_TYPES = {"static": 0, "actuated": 3, "delay_based": 5}


class Simulation:
    """Applies decisions, advances the clock and reads observations; ``conn`` is libsumo or a TraCI connection."""

    def __init__(
        self,
        conn: Any,
        network: Network,
        scenario: Scenario,
        incidents: tuple[ScheduledIncident, ...],
        seed: int,
        timings: Timings,
        options: SessionOptions,
    ) -> None:
        self.conn, self.network, self.scenario = conn, network, scenario
        self.timings, self.options = timings, options
        self.time_s = scenario.begin_s
        self.machines: dict[str, SignalMachine] = {}
        self.auditors = {signal.id: Auditor(signal, timings) for signal in network.signals}
        self.events = Events(incidents, network, seed) if incidents else None
        self.vehicles = Vehicles(conn)
        self.detectors = Detectors(network, conn, self.vehicles) if options.observing else None
        self.faults = DetectorFaults(scenario.detectors, len(network.lanes), seed)
        self.alive: Callable[[], None] = _nothing  # is called before each step
        self.delay: Delay | None = None
        if options.delays:
            self.delay = DelayByInterval(network, conn, self.vehicles)
        if options.delays_by_second:
            self.count_delay_by_second()
        self._shown: dict[str, str] = {}
        self._joining: dict[str, _Joining] = {}
        self._called: list[bool] | None = None
        # No installed program changes its lights before this: each of them, and the first of all.
        self._look_s = {signal.id: scenario.begin_s for signal in network.signals}
        self._audit_s = scenario.begin_s
        self._minute_s = scenario.begin_s + 60 if options.observing else math.inf
        self.road_users = RoadUserWatch(conn) if options.road_users else None
        self._users_s = scenario.begin_s + scenario.warmup_s if options.road_users else math.inf
        self._phase_of = [{phase.state: phase.index for phase in signal.phases} for signal in network.signals]
        self._links = [[(m.link, m.lane) for m in signal.movements] for signal in network.signals]

    def warm_up(self) -> Observation:
        """Run the warm-up under the installed programs and return the first observation."""
        self._audit()
        self.advance(self.scenario.warmup_s)
        return self.observe()

    @property
    def done(self) -> bool:
        """Whether the horizon has ended."""
        return self.time_s >= self.scenario.end_s

    def apply(self, decisions: Mapping[str, Decision]) -> None:
        """Hand checked decisions to the signals; they take effect with the next second."""
        for signal_id, decision in decisions.items():
            if decision.program is not None:
                self._install(signal_id, decision.program)
            elif decision.phase is not None:
                self._machine(signal_id).request(decision.phase, decision.hold_s)

    def advance(self, seconds: float) -> None:
        """Simulate some seconds, at most to the end of the horizon."""
        until_s = min(self.time_s + seconds, self.scenario.end_s)
        if self.delay is not None:
            self.delay.begin()
        if self.time_s >= until_s:
            return
        while self.time_s < until_s:
            self._step(until_s)
        if self.delay is not None:
            self.delay.end()

    @property
    def network_delay_veh_s(self) -> float:
        """Vehicle-seconds of delay in the last interval; 0 where nobody counts them."""
        return 0.0 if self.delay is None else self.delay.network_veh_s

    @property
    def signal_delay_veh_s(self) -> NDArray[np.float64]:
        """(S,) the same on each signal's incoming lanes."""
        return np.zeros(len(self.network.signals)) if self.delay is None else self.delay.signal_veh_s

    def count_delay_by_second(self) -> None:
        """From now on count delay as branches do."""
        self.delay = DelayBySecond(self.network, self.conn, self.vehicles)

    def _step(self, until_s: float) -> None:
        """Simulate one second; or more, up to the next moment at which anything has to be looked at."""
        target_s = self.time_s + 1
        next_event_s = math.inf
        if self.events is not None:
            self.events.step(self.conn, self.time_s)
            next_event_s = self.events.next_s
        if not self.machines and not self._joining and self.delay is None:
            nothing_until_s = min(until_s, self._audit_s, self._minute_s, self._users_s, next_event_s)
            target_s = max(target_s, math.floor(min(nothing_until_s, self.time_s + LONGEST_STEP_S)))
        if self._joining:
            self._join()
        for signal_id, machine in self.machines.items():
            state = machine.tick()
            if state != self._shown.get(signal_id):
                self.conn.trafficlight.setRedYellowGreenState(signal_id, state)
                self._shown[signal_id] = state
        self.alive()
        self.conn.simulationStep(target_s)
        self.vehicles.forget()
        self.time_s = target_s
        if target_s >= self._audit_s:
            self._audit()
        if target_s >= self._minute_s and self.detectors is not None:
            self.detectors.read_minute()
            self._minute_s += 60
        if target_s >= self._users_s and self.road_users is not None:
            self.road_users.see()
            self._users_s += LOOK_S
        if self.delay is not None:
            self.delay.second()

    def _audit(self) -> None:
        """Look at the lights of every installed program that may have changed them, and note when the next one may.

        A switch due at second t happens in the step that begins at t, and so shows at t + 1.
        """
        light = self.conn.trafficlight
        for signal_id, look_s in self._look_s.items():
            if look_s <= self.time_s and signal_id not in self.machines:
                self.auditors[signal_id].see(light.getRedYellowGreenState(signal_id), self.time_s)
                # delay_based plans in fractions of a second; the step that reaches them makes the switch
                self._look_s[signal_id] = math.ceil(max(light.getNextSwitch(signal_id), self.time_s)) + 1
        watched = (look_s for signal_id, look_s in self._look_s.items() if signal_id not in self.machines)
        self._audit_s = min(watched, default=math.inf)

    def _look_now(self, signal_id: str) -> None:
        """Have the audit look at this signal again with the next second."""
        self._look_s[signal_id] = self._audit_s = self.time_s

    def _machine(self, signal_id: str) -> SignalMachine:
        machine = self.machines.get(signal_id)
        if machine is None:
            auditor = self.auditors[signal_id]
            state = self.conn.trafficlight.getRedYellowGreenState(signal_id)
            # Before the first second no vehicle has seen a light, so the first decision may be free.
            shown_s = int(self.time_s - auditor.since_s)
            age_s = shown_s if self.time_s > self.scenario.begin_s else self.timings.min_green_s
            machine = SignalMachine(auditor.signal, self.timings, state, age_s)
            self.machines[signal_id] = machine
            self._joining.pop(signal_id, None)
            self._call(machine)
        return machine

    def _install(self, signal_id: str, program: Program) -> None:
        self.machines.pop(signal_id, None)
        if self.time_s <= self.scenario.begin_s:  # no vehicle has seen a light yet, so this is no change
            self._set_program(signal_id, program, _position(program, self.time_s)[0])
            self.auditors[signal_id] = Auditor(self.auditors[signal_id].signal, self.timings)
        else:
            self._joining[signal_id] = self._way_into(signal_id, program)
        self._look_now(signal_id)

    def _way_into(self, signal_id: str, program: Program) -> _Joining:
        """The states, one a second, from the lights shown now to the row that the program will have reached."""
        signal, auditor = self.auditors[signal_id].signal, self.auditors[signal_id]
        now = self.conn.trafficlight.getRedYellowGreenState(signal_id)
        yellow_s = signal.yellow_s if self.timings.yellow_s is None else self.timings.yellow_s
        shown_s = int(self.time_s - auditor.since_s)
        wait_s = 0 if set(now) & YELLOW else max(0, self.timings.min_green_s - shown_s)
        there_s = self.time_s + wait_s + yellow_s + self.timings.all_red_s
        row = _position(program, there_s)[0]
        for ahead in range(len(program.rows)):  # the first green that still lasts its minimum then
            candidate = (row + ahead) % len(program.rows)
            long_enough = _rest_s(program, candidate, there_s) >= self.timings.min_green_s
            if long_enough and not set(program.rows[candidate].state) & YELLOW:
                row = candidate
                break
        change = intergreen(now, program.rows[row].state, yellow_s, self.timings.all_red_s)
        return _Joining(program, row, [now] * wait_s + change)

    def _join(self) -> None:
        """Bring the signals that wait for their program one second nearer to it."""
        for signal_id, joining in list(self._joining.items()):
            if joining.states:
                self.conn.trafficlight.setRedYellowGreenState(signal_id, joining.states.pop(0))
            else:
                self._set_program(signal_id, joining.program, joining.row)
                del self._joining[signal_id]
            self._look_now(signal_id)

    def _set_program(self, signal_id: str, program: Program, row: int) -> None:
        """Hand a program to SUMO in one of its rows, which lasts until the program's own clock ends it."""
        light = self.conn.trafficlight
        phases = [
            light.Phase(
                step.duration_s,
                step.state,
                step.duration_s if step.min_s is None else step.min_s,
                step.duration_s if step.max_s is None else step.max_s,
            )
            for step in program.rows
        ]
        logic = light.Logic("greenloop", LIBSUMO_TYPES[program.type], row, phases)
        # libsumo drops what its constructor is given
        logic.subParameter = dict(program.params) | self._lane_areas(signal_id, program)
        light.setProgramLogic(signal_id, logic)  # SUMO ignores an offset here, and starts the row anew
        light.setProgram(signal_id, "greenloop")
        light.setPhaseDuration(signal_id, _rest_s(program, row, self.time_s))

    def _lane_areas(self, signal_id: str, program: Program) -> dict[str, str]:
        """Which detectors a delay_based program reads: those that were there before the first vehicle."""
        if program.type != "delay_based" or self.options.lane_areas_m is None:
            return {}
        lanes = set(self.conn.trafficlight.getControlledLanes(signal_id)) & set(self.network.lanes)
        return {lane: AREA_PREFIX + lane for lane in sorted(lanes)}

    def observe(self) -> Observation:
        """Read everything that a controller may see now."""
        lanes = self._lane_state()
        phase, phase_age_s, due = self._signal_state()
        reports = self.events.reports(self.time_s) if self.events else ()
        return Observation(time_s=self.time_s, phase=phase, phase_age_s=phase_age_s, due=due, reports=reports, **lanes)

    def _lane_state(self) -> dict[str, Any]:
        """The lane and exit arrays of an Observation; all unknown where the session has no detectors."""
        shapes = {"queue_veh": (), "wait_s": (), "zone_veh": (3,), "speed_mps": (), "flow_veh_h": (3,)}
        lanes, exits = len(self.network.lanes), len(self.network.exits)
        readings = self.detectors
        if readings is None:
            state: dict[str, Any] = {name: np.full((lanes, *shape), np.nan) for name, shape in shapes.items()}
            unseen = np.full(exits, np.nan)
            return {**state, "lane_ok": np.zeros(lanes, bool), "exit_veh": unseen, "exit_room_veh": unseen}
        readings.read(self.time_s)
        self._calls(readings)
        state = self.faults.seen({name: getattr(readings, name) for name in shapes}, self.time_s)
        lane_ok = ~self.faults.dead
        dead = self.events.dead_lanes(self.time_s) if self.events else ()
        if dead:
            lane_ok &= ~np.isin(self.network.lanes, list(dead))
        if not lane_ok.all():
            for name in shapes:
                state[name] = state[name].copy()
                state[name][~lane_ok] = np.nan
        return {**state, "lane_ok": lane_ok, "exit_veh": readings.exit_veh, "exit_room_veh": readings.exit_room_veh()}

    def _signal_state(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        signals = len(self.network.signals)
        phase, age_s, due = np.empty(signals, np.int64), np.empty(signals), np.empty(signals, bool)
        for index, signal in enumerate(self.network.signals):
            machine = self.machines.get(signal.id)
            if machine is not None:
                phase[index], age_s[index], due[index] = machine.phase, machine.age_s, machine.due
            else:
                auditor = self.auditors[signal.id]
                phase[index] = self._phase_of[index].get(auditor.state, -1)
                age_s[index], due[index] = self.time_s - auditor.since_s, signal.problem is None
        return phase, age_s, due

    def _calls(self, readings: Detectors) -> None:
        """Note which lanes have demand and tell the machines.

        This is the push button of the maximum red, a safety device: unlike a controller's view it never fails.
        """
        before, self._called = self._called, ((readings.queue_veh > 0) | (readings.zone_veh[:, 0] > 0)).tolist()
        for machine in self.machines.values():
            lanes = machine.signal.lanes
            if before is None or [before[lane] for lane in lanes] != [self._called[lane] for lane in lanes]:
                self._call(machine)

    def _call(self, machine: SignalMachine) -> None:
        called = self._called
        if called is not None:
            machine.call([link for link, lane in self._links[machine.signal.index] if called[lane]])

    def counters(self) -> dict[str, dict[str, int] | int | float]:
        """Repairs, audit and switches so far, and the worst waits seen."""
        repairs: Counter[str] = Counter()
        audit: Counter[str] = Counter()
        for machine in self.machines.values():
            repairs.update(machine.repairs)
        for auditor in self.auditors.values():
            audit.update(auditor.violations)
        return {
            "repairs": dict(repairs),
            "audit": dict(audit),
            "switches": sum(m.switches for m in self.machines.values())
            + sum(a.switches for a in self.auditors.values()),
            "worst_wait_s": self.detectors.worst_wait_s if self.detectors else float("nan"),
            "standing_queue_s": self.detectors.worst_standing_s if self.detectors else float("nan"),
        }


def _nothing() -> None:
    """Without a session there is no time limit."""


@dataclass
class _Joining:
    """A program on its way: the states to show before it starts in ``row``."""

    program: Program
    row: int
    states: list[str]


def _position(program: Program, time_s: float) -> tuple[int, float]:
    """The row that a program is in at ``time_s``, as its offset asks, and the seconds that are left of it.

    Programs that follow the traffic have no place in time; they begin with their first row's shortest green.
    """
    first = program.rows[0]
    if program.type != "static":
        return 0, first.duration_s if first.min_s is None else first.min_s
    cycle_s = sum(row.duration_s for row in program.rows)
    into_s = (time_s - program.offset_s) % cycle_s
    for index, row in enumerate(program.rows):
        if into_s < row.duration_s:
            return index, row.duration_s - into_s
        into_s -= row.duration_s
    return 0, first.duration_s  # only by rounding


def _rest_s(program: Program, row: int, time_s: float) -> float:
    """Seconds from ``time_s`` to the end of ``row``, in the present cycle or, if it has passed, in the next."""
    now, rest_s = _position(program, time_s)
    while now != row:
        now = (now + 1) % len(program.rows)
        rest_s += program.rows[now].duration_s
    return rest_s
