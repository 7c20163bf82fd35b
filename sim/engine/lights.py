"""Every signal of a running simulation: who runs it, what it shows, and how it is handed over.

A signal is native (SUMO runs the network's own program, and a WAUT's switches are made here), under a machine (a
controller asks for phases), or under an installed program. Whoever takes it over keeps it: nothing else in SUMO's files
can take it back.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.command import AREA_PREFIX
from sim.native.clearance import CHANGING
from sim.network import Network
from sim.safety.audit import Auditor
from sim.safety.decisions import Decision, Program
from sim.safety.guard import ProgramGuard
from sim.safety.intergreen import Intergreens
from sim.signals import Past, Service, SignalMachine, least_green_s
from sim.timings import Timings

LIBSUMO_TYPES = {"static": 0, "actuated": 3, "delay_based": 5}


@dataclass
class _Joining:
    """A program on its way: the states to show before it starts in ``row``."""

    program: Program
    row: int
    states: list[str]


@dataclass
class _Counts:
    """What was counted under machines that are gone."""

    repairs: Counter[str] = field(default_factory=Counter)
    switches: int = 0


class Lights:
    """Hands decisions to the signals, second by second; ``conn`` is libsumo or a TraCI connection.

    Args:
        conn: the running simulation.
        network: its signals.
        begin_s: the clock at the start of the simulation.
        timings: what all signals pay.
        lane_areas: whether the lane areas that delay_based programs read are there.
    """

    def __init__(self, conn: Any, network: Network, begin_s: float, timings: Timings, lane_areas: bool) -> None:
        self.conn, self.network, self.timings = conn, network, timings
        self.begin_s, self.time_s, self.lane_areas = begin_s, begin_s, lane_areas
        self.machines: dict[str, SignalMachine] = {}
        self.auditors = {signal.id: Auditor(signal, timings) for signal in network.signals}
        self._signals = {signal.id: signal for signal in network.signals}
        self._shown: dict[str, str] = {}
        self._joining: dict[str, _Joining] = {}
        self._guards: dict[str, ProgramGuard] = {}
        self._guarded_s: dict[str, float] = {}
        self._red_until_s: dict[str, float] = {}  # when a guard has to step in, unless the lights change
        self._returning: dict[str, Program] = {}  # programs that a forced phase has interrupted
        self._called: dict[str, list[bool]] = {}
        self._past = _Counts()
        self._installed: Counter[str] = Counter()
        self._switches = sorted(
            (switch.time_s, signal.id, switch.program)
            for signal in network.signals
            if signal.problem is None
            for switch in signal.switches
        )
        # No installed program changes its lights before this: each of them, and the first of all.
        self._look_s = {signal.id: begin_s for signal in network.signals}
        self._audit_s = begin_s
        self._phase_of = [{phase.state: phase.index for phase in signal.phases} for signal in network.signals]

    def start(self) -> None:
        """Begin each signal in the program that its WAUT asks for, which SUMO has not been told of."""
        for signal in self._signals.values():
            if signal.problem is None and signal.switches:
                self.conn.trafficlight.setProgram(signal.id, signal.program_id)
        self.audit()

    # --- decisions -------------------------------------------------------------------------------------------------

    def apply(self, decisions: Mapping[str, Decision]) -> None:
        """Hand checked decisions to the signals; they take effect with the next second."""
        for signal_id, decision in decisions.items():
            self._returning.pop(signal_id, None)
            if decision.program is not None:
                self._install(signal_id, decision.program)
            elif decision.phase is not None:
                self._machine(signal_id).request(decision.phase, decision.hold_s)

    def call(self, called: Mapping[str, Sequence[bool]]) -> None:
        """Say which links of each signal have demand now: the push button of the maximum red."""
        for signal_id in self._guards:
            self._pass_guarded_time(signal_id)
        self._called = {name: list(links) for name, links in called.items()}
        for signal_id, machine in self.machines.items():
            self._call(signal_id, machine)
        for signal_id in self._guards:
            self._set_deadline(signal_id)
        if self._guards:
            self._plan_looks()

    def _call(self, signal_id: str, machine: SignalMachine) -> None:
        if signal_id in self._called:
            machine.call(link for link, calls in enumerate(self._called[signal_id]) if calls)

    def _calls(self, signal_id: str) -> Sequence[bool]:
        """Without detectors everybody calls."""
        return self._called.get(signal_id) or [True] * self._signals[signal_id].links

    # --- time ------------------------------------------------------------------------------------------------------

    @property
    def next_s(self) -> float:
        """The next moment at which anything has to be done or looked at."""
        if self.machines or self._joining:
            return self.time_s + 1
        return min(self._audit_s, self._switches[0][0] if self._switches else math.inf)

    def before_step(self) -> None:
        """Show what the second that begins now has to show."""
        while self._switches and self._switches[0][0] <= self.time_s:
            _, signal_id, program = self._switches.pop(0)
            if not self._is_taken(signal_id):
                self.conn.trafficlight.setProgram(signal_id, program)
                self._look_now(signal_id)
        for signal_id in list(self._returning):
            if not self.machines[signal_id].is_overdue:
                self._install(signal_id, self._returning.pop(signal_id))
        if self._joining:
            self._join()
        for signal_id, machine in self.machines.items():
            state = machine.tick()
            if state != self._shown.get(signal_id):
                self.conn.trafficlight.setRedYellowGreenState(signal_id, state)
                self._shown[signal_id] = state

    def after_step(self, time_s: float) -> None:
        """Look at what was shown; rescue links that an installed program keeps red for too long."""
        self.time_s = time_s
        if self.machines:
            self._audit_machines()
        if time_s >= self._audit_s:
            self.audit()
        overdue = [name for name, red_until_s in self._red_until_s.items() if red_until_s <= time_s]
        for signal_id in overdue:
            if signal_id not in self._joining:
                guard = self._guards[signal_id]
                self._pass_guarded_time(signal_id)
                link = guard.most_overdue(self.auditors[signal_id].state, self._calls(signal_id))
                self._machine(signal_id).rescue(link)
                self._returning[signal_id] = guard.program

    def audit(self) -> None:
        """Look at the lights of every program that may have changed them, and note when the next one may.

        A switch due at t happens in the step within which t lies, and so shows at its end.
        """
        light = self.conn.trafficlight
        for signal_id, look_s in self._look_s.items():
            if look_s <= self.time_s and signal_id not in self.machines:
                self._pass_guarded_time(signal_id)
                self.auditors[signal_id].see(light.getRedYellowGreenState(signal_id), self.time_s)
                # Adaptive types plan in fractions of a second; the step within which such a time lies makes the switch.
                self._look_s[signal_id] = math.floor(max(light.getNextSwitch(signal_id), self.time_s)) + 1
                self._set_deadline(signal_id)
        self._plan_looks()

    def _audit_machines(self) -> None:
        """See that SUMO shows what the machines say, and count what breaks a rule."""
        for signal_id, machine in self.machines.items():
            state = self.conn.trafficlight.getRedYellowGreenState(signal_id)
            self.auditors[signal_id].see(state, self.time_s, by_machine=True)
            if state != machine.state:  # nothing in SUMO's files can do this
                self._shown.pop(signal_id, None)
                self.auditors[signal_id].machine_violations["not_shown"] += 1

    def _plan_looks(self) -> None:
        watched = [look_s for signal_id, look_s in self._look_s.items() if signal_id not in self.machines]
        self._audit_s = min([*watched, *self._red_until_s.values()], default=math.inf)

    def _look_now(self, signal_id: str) -> None:
        """Have the audit look at this signal again with the next second."""
        self._look_s[signal_id] = self._audit_s = self.time_s

    def _pass_guarded_time(self, signal_id: str) -> None:
        guard = self._guards.get(signal_id)
        if guard is not None:
            seconds = self.time_s - self._guarded_s[signal_id]
            self._guarded_s[signal_id] = self.time_s
            if seconds > 0 and self.auditors[signal_id].state:
                guard.pass_time(self.auditors[signal_id].state, self._calls(signal_id), seconds)

    def _set_deadline(self, signal_id: str) -> None:
        """Note when the guard of an installed program has to step in, should the lights stay as they are."""
        guard, state = self._guards.get(signal_id), self.auditors[signal_id].state
        if guard is not None and state:
            self._red_until_s[signal_id] = self.time_s + max(0.0, guard.left_s(state, self._calls(signal_id)))

    # --- handing over ----------------------------------------------------------------------------------------------

    def is_steered(self, signal_id: str) -> bool:
        """Whether a signal's lights are set second by second: under a machine, or on the way into a program."""
        return signal_id in self.machines or signal_id in self._joining

    def _is_taken(self, signal_id: str) -> bool:
        return signal_id in self.machines or signal_id in self._guards

    def _machine(self, signal_id: str) -> SignalMachine:
        machine = self.machines.get(signal_id)
        if machine is None:
            self._pass_guarded_time(signal_id)
            state = self.conn.trafficlight.getRedYellowGreenState(signal_id)
            machine = SignalMachine(self._signals[signal_id], self.timings, state, self._until_now(signal_id, state))
            self.machines[signal_id] = machine
            self._joining.pop(signal_id, None)
            self._guards.pop(signal_id, None)
            self._red_until_s.pop(signal_id, None)
            self._shown.pop(signal_id, None)
            self._call(signal_id, machine)
        return machine

    def _until_now(self, signal_id: str, state: str) -> Past:
        """What a signal has shown so far.

        Before the first second no vehicle has seen a light, so the first decision may be free.
        """
        auditor, guard = self.auditors[signal_id], self._guards.get(signal_id)
        red_s = [math.ceil(red_s) for red_s in guard.red_s] if guard else ()
        if self.time_s <= self.begin_s:
            return Past(least_green_s(auditor.signal, self.timings, state), red_s=red_s)
        ended_s = auditor.ended_s(self.time_s)
        return Past(int(self.time_s - auditor.since_s), auditor.green_age_s(self.time_s), red_s, ended_s)

    def _install(self, signal_id: str, program: Program) -> None:
        signal, auditor = self._signals[signal_id], self.auditors[signal_id]
        red_s = self._red_so_far(signal_id)
        service = Service.of(signal, self.timings)
        self._guards[signal_id] = ProgramGuard(signal, program, service.max_red_s, service.longest_s, red_s)
        self._guarded_s[signal_id] = self.time_s
        machine = self.machines.pop(signal_id, None)
        if machine is not None:
            self._past.repairs.update(machine.repairs)
            self._past.switches += machine.switches
        self._shown.pop(signal_id, None)
        self._joining.pop(signal_id, None)
        if self.time_s <= self.begin_s:  # no vehicle has seen a light yet, so this is no change
            self._set_program(signal_id, program, _position(program, self.time_s)[0])
            auditor.forget()
        else:
            self._joining[signal_id] = self._way_into(signal_id, program)
        self._look_now(signal_id)

    def _red_so_far(self, signal_id: str) -> Sequence[float]:
        """How long each link with a call has been red, whoever ran the signal; a native red is nobody's fault."""
        self._pass_guarded_time(signal_id)
        if signal_id in self.machines:
            return self.machines[signal_id].red_s
        guard = self._guards.get(signal_id)
        return guard.red_s if guard else [0.0] * self._signals[signal_id].links

    def _way_into(self, signal_id: str, program: Program) -> _Joining:
        """The states, one a second, from the lights shown now to the row that the program will have reached."""
        signal, auditor = self._signals[signal_id], self.auditors[signal_id]
        intergreens = Intergreens(signal.clearance, self.timings)
        now = self.conn.trafficlight.getRedYellowGreenState(signal_id)
        # no green in it may be too short
        wait_s = math.ceil(max(0.0, least_green_s(signal, self.timings, now) - auditor.green_age_s(self.time_s)))
        ended_s = {link: since_s + wait_s for link, since_s in auditor.ended_s(self.time_s).items()}
        changes = [intergreens.change(now, row.state, ended_s).states for row in program.rows]

        def green_s(row: int, change_s: int) -> float:
            return _rest_s(program, row, self.time_s + wait_s + change_s)

        first = _position(program, self.time_s + wait_s + intergreens.longest_s())[0]
        rows = [(first + ahead) % len(program.rows) for ahead in range(len(program.rows))]
        rows = [row for row in rows if not set(program.rows[row].state) & CHANGING] or rows
        # the first green that still lasts its minimum then, or the longest
        least_s = self.timings.min_green_s
        row = next(
            (r for r in rows if min(green_s(r, intergreens.longest_s()), green_s(r, len(changes[r]))) >= least_s),
            max(rows, key=lambda r: green_s(r, len(changes[r]))),
        )
        return _Joining(program, row, [now] * wait_s + list(changes[row]))

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
        """Hand a program to SUMO in one of its rows, which lasts until the program's own clock ends it.

        Each under a name of its own: under a used one SUMO would keep the old type and its detectors, or die.
        """
        light = self.conn.trafficlight
        phases = [light.Phase(step.duration_s, step.state, *step.bounds_s) for step in program.rows]
        self._installed[signal_id] += 1
        count = self._installed[signal_id]
        name = "greenloop" if count == 1 else f"greenloop-{count}"
        logic = light.Logic(name, LIBSUMO_TYPES[program.type], row, phases)
        # libsumo drops what its constructor is given
        logic.subParameter = dict(program.params) | self._lane_areas(signal_id, program)
        light.setProgramLogic(signal_id, logic)  # SUMO ignores an offset here, and starts the row anew
        light.setProgram(signal_id, name)
        light.setPhaseDuration(signal_id, _rest_s(program, row, self.time_s))

    def _lane_areas(self, signal_id: str, program: Program) -> dict[str, str]:
        """Which detectors a delay_based program reads: those that were there before the first vehicle."""
        if program.type != "delay_based" or not self.lane_areas:
            return {}
        lanes = set(self.conn.trafficlight.getControlledLanes(signal_id)) & set(self.network.lanes)
        return {lane: AREA_PREFIX + lane for lane in sorted(lanes)}

    # --- what is seen ----------------------------------------------------------------------------------------------

    def observe(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        """Phase, its age (s), and whether a decision is due, (S,) each."""
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

    def counters(self) -> dict[str, dict[str, int] | int]:
        """Repairs, audit and switches so far, whoever ran the signals."""
        repairs, switches = Counter(self._past.repairs), self._past.switches
        audit: Counter[str] = Counter()
        machines: Iterable[SignalMachine] = self.machines.values()
        for machine in machines:
            repairs.update(machine.repairs)
            switches += machine.switches
        for auditor in self.auditors.values():
            audit.update(auditor.violations)
            audit.update(+auditor.machine_violations)
            switches += auditor.switches
        return {"repairs": dict(repairs), "audit": dict(audit), "switches": switches}


def _position(program: Program, time_s: float) -> tuple[int, float]:
    """The row that a program is in at ``time_s``, as its offset asks, and the seconds that are left of it.

    Programs that follow the traffic have no place in time; they begin with their first row's shortest green.
    """
    first = program.rows[0]
    if program.type != "static":
        return 0, first.bounds_s[0]
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
