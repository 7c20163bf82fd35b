"""The session's own process: holds one SUMO and answers a few large messages. Free of torch.

Started as ``python -m sim.engine.server <descriptor>``; see ``sim/engine/session.py`` for the other end.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from scenarios.incidents.incident import ScheduledIncident
from scenarios.spec import Scenario
from sim.engine.branching import branch
from sim.engine.command import SessionOptions
from sim.engine.pulse import LOADING_FACTOR, Pulse
from sim.engine.scene import LaneShape, Passages, Scene, lane_shapes, scene
from sim.engine.simulation import Simulation
from sim.network import Network
from sim.observation import Observation
from sim.signals import Decision
from sim.timings import Timings


@dataclass(frozen=True)
class Start:
    """All that a simulation needs, sent once."""

    arguments: list[str]
    network: Network
    scenario: Scenario
    incidents: tuple[ScheduledIncident, ...]
    seed: int
    timings: Timings
    options: SessionOptions


class Server:
    """Each public method is one verb of the session."""

    def __init__(self, start: Start, pulse: Pulse) -> None:
        self.conn = _connect(start)
        self.simulation = Simulation(
            self.conn, start.network, start.scenario, start.incidents, start.seed, start.timings, start.options
        )
        self.simulation.alive = pulse.beat
        self.policy: Any = None
        self.passages: Passages | None = None

    def warm_up(self) -> Observation:
        """Run the warm-up and observe."""
        return self.simulation.warm_up()

    def step(self, decisions: Mapping[str, Decision], seconds: float, observe: bool) -> Any:
        """Apply, advance, and observe if asked; also the interval's delay."""
        simulation = self.simulation
        simulation.apply(decisions)
        simulation.advance(seconds)
        observation = simulation.observe() if observe else None
        return observation, simulation.time_s, simulation.network_delay_veh_s, simulation.signal_delay_veh_s

    def watch(self, seconds: float) -> Any:
        """Advance without decisions and observe at every decision time on the way."""
        simulation, seen = self.simulation, []
        until_s = min(simulation.time_s + seconds, simulation.scenario.end_s)
        while simulation.time_s < until_s:
            simulation.advance(min(simulation.timings.decision_interval_s, until_s - simulation.time_s))
            seen.append(simulation.observe())
        return seen, simulation.time_s

    def observe(self) -> Observation:
        """Read the state again."""
        return self.simulation.observe()

    def scene(self) -> Scene:
        """All vehicles and lights now, for a picture."""
        return scene(self.conn, self.simulation.network, self.simulation.time_s)

    def lane_shapes(self) -> dict[str, LaneShape]:
        """Every lane, for a picture."""
        return lane_shapes(self.conn)

    def passed(self) -> Any:
        """Vehicles that left each signal's incoming roads since this was asked last; at first none."""
        if self.passages is None:
            self.passages = Passages(self.simulation.network, self.conn)
        return self.passages.since_last()

    def set_policy(self, pickled: bytes) -> None:
        """Keep the policy that decides inside branches."""
        self.policy = pickle.loads(pickled)

    def branch(self, candidates: list[dict[str, Decision]], horizons_s: list[float]) -> Any:
        """Try candidates in forks."""
        return branch(self.simulation, candidates, horizons_s, self.policy)

    def finish(self) -> dict[str, Any]:
        """Close SUMO, which writes its files, and return what the session counted."""
        counters: dict[str, Any] = dict(self.simulation.counters())
        events = self.simulation.events
        if events is not None:
            events.finish(self.conn)
        counters["incidents"] = tuple(events.truth()) if events else ()
        counters["inserted"] = dict(events.inserted) if events else {}
        if self.simulation.road_users is not None:
            counters["road_users"] = self.simulation.road_users.finish()
        self.conn.close()
        return counters


def _connect(start: Start) -> Any:
    if start.options.backend == "libsumo":
        conn: Any = importlib.import_module("libsumo")
        conn.start(["sumo", *start.arguments])
        return conn
    import sumo

    traci = importlib.import_module("traci")
    binary = Path(sumo.SUMO_HOME) / "bin" / ("sumo-gui" if start.options.gui else "sumo")
    gui = ["--start", "--quit-on-end"] if start.options.gui else []
    port = traci.getFreeSocketPort()
    process = subprocess.Popen(
        [str(binary), *start.arguments, *gui, "--remote-port", str(port)], stdin=subprocess.DEVNULL
    )
    # traci.start would wait a whole second before it tries again.
    return traci.connect(port, numRetries=600, proc=process, waitBetweenRetries=0.05)


def serve(pipe: Connection) -> None:
    """Answer verbs until the other end closes."""
    server: Server | None = None
    pulse = Pulse(pipe, 0.0)
    while True:
        try:
            number, verb, *arguments = pipe.recv()
        except (EOFError, OSError):
            break
        try:
            if verb == "start":
                (start,) = arguments
                pulse.limit_s = start.options.step_limit_s
                pulse.begin(number, LOADING_FACTOR)
                server = Server(start, pulse)
                answer: Any = (number, "ok", server.warm_up())
            else:
                pulse.begin(number)
                answer = (number, "ok", getattr(server, verb)(*arguments))
        except Exception as error:  # whatever went wrong belongs to the caller, in words
            answer = (number, "error", f"{type(error).__name__}: {error}")
        pulse.end()
        try:
            pipe.send(answer)
        except (BrokenPipeError, OSError):
            break
        if verb == "finish":
            break
    # SUMO's own clean-up may write to files that the parent has already taken away, or wait for a dead socket.
    sys.stdout.flush()
    os._exit(0)


def main() -> None:
    """Entry point of the child process."""
    # Ctrl-C reaches the whole process group; the parent decides what to do and closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()
