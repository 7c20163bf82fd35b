"""One live SUMO simulation, second by second; runs inside the session's own process."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.incidents.incident import ScheduledIncident
from scenarios.spec import Scenario
from sim.engine.command import SessionOptions
from sim.engine.delays import Delay, DelayByInterval, DelayBySecond
from sim.engine.detector_errors import DetectorFaults
from sim.engine.detectors import Detectors
from sim.engine.lights import Lights
from sim.engine.road_users import LOOK_S, RoadUserWatch
from sim.engine.vehicles import Vehicles
from sim.incidents.events import Events
from sim.network import Network
from sim.observation import Observation
from sim.safety.decisions import Decision
from sim.timings import Timings

#: Seconds that SUMO simulates in one call where nothing has to be looked at: a time limit sees each call as one step.
LONGEST_STEP_S = 10


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
        lane_areas = options.lane_areas_m is not None
        self.lights = Lights(conn, network, scenario.begin_s, timings, lane_areas)
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
        # Detectors are read from the end of the warm-up on, by controllers or, if these do not look, for the calls.
        self._read_s = scenario.begin_s + scenario.warmup_s if options.observing else math.inf
        self._minute_s = scenario.begin_s + 60 if options.observing else math.inf
        self.road_users = RoadUserWatch(conn) if options.road_users else None
        self._users_s = scenario.begin_s + scenario.warmup_s if options.road_users else math.inf

    def warm_up(self) -> Observation:
        """Run the warm-up under the installed programs and return the first observation."""
        self.lights.start()
        self.advance(self.scenario.warmup_s)
        return self.observe()

    @property
    def done(self) -> bool:
        """Whether the horizon has ended."""
        return self.time_s >= self.scenario.end_s

    def apply(self, decisions: Mapping[str, Decision]) -> None:
        """Hand checked decisions to the signals; they take effect with the next second."""
        self.lights.apply(decisions)

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
        if self.detectors is not None and self.time_s >= self._read_s + self.timings.decision_interval_s:
            self._read_detectors(self.detectors)
        if self.delay is None:
            looks_s = (self.lights.next_s, self._minute_s, self._users_s, next_event_s)
            unread_s = self._read_s + self.timings.decision_interval_s
            nothing_until_s = min(until_s, *looks_s, unread_s, self.time_s + LONGEST_STEP_S)
            target_s = max(target_s, math.floor(nothing_until_s))
        self.lights.before_step()
        self.alive()
        self.conn.simulationStep(target_s)
        self.vehicles.forget()
        self.time_s = target_s
        self.lights.after_step(target_s)
        if target_s >= self._minute_s and self.detectors is not None:
            self.detectors.read_minute()
            self._minute_s += 60
        if target_s >= self._users_s and self.road_users is not None:
            self.road_users.see()
            self._users_s += LOOK_S
        if self.delay is not None:
            self.delay.second()

    def observe(self) -> Observation:
        """Read everything that a controller may see now."""
        lanes = self._lane_state()
        phase, phase_age_s, due = self.lights.observe()
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
            persons = np.full(len(self.network.crossings), np.nan)
            return {
                **state,
                "lane_ok": np.zeros(lanes, bool),
                "exit_veh": unseen,
                "exit_room_veh": unseen,
                "waiting_persons": persons,
            }
        self._read_detectors(readings)
        state = self.faults.with_errors({name: getattr(readings, name) for name in shapes}, self.time_s)
        lane_ok = ~self.faults.dead
        dead = self.events.dead_lanes(self.time_s) if self.events else ()
        if dead:
            lane_ok &= ~np.isin(self.network.lanes, list(dead))
        if not lane_ok.all():
            for name in shapes:
                state[name] = state[name].copy()
                state[name][~lane_ok] = np.nan
        return {
            **state,
            "lane_ok": lane_ok,
            "exit_veh": readings.exit_veh,
            "exit_room_veh": readings.exit_room_veh(),
            "waiting_persons": readings.waiting_persons,
        }

    def _read_detectors(self, readings: Detectors) -> None:
        """Read all lanes and crossings now, and tell the signals which links have demand.

        This is the push button of the maximum red, a safety device: unlike a controller's view it never fails.
        """
        readings.read(self.time_s)
        self._read_s = self.time_s
        lanes = ((readings.queue_veh > 0) | (readings.zone_veh[:, 0] > 0)).tolist()
        walks = (readings.waiting_persons > 0).tolist()
        called: dict[str, list[bool]] = {}
        for signal in self.network.controllable:  # railway signals have no program, so no links that could be counted
            links = [False] * signal.links
            for movement in signal.movements:
                links[movement.link] |= lanes[movement.lane]
            for crossing in signal.crossings:
                for link in self.network.crossings[crossing].links:
                    links[link] = walks[crossing]
            called[signal.id] = links
        self.lights.call(called)

    def counters(self) -> dict[str, Any]:
        """Repairs, audit and switches so far, and the worst waits seen."""
        return {
            **self.lights.counters(),
            "worst_wait_s": self.detectors.worst_wait_s if self.detectors else float("nan"),
            "standing_queue_s": self.detectors.worst_standing_s if self.detectors else float("nan"),
        }


def _nothing() -> None:
    """Without a session there is no time limit."""
