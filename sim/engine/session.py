"""One live simulation behind a process boundary.

SUMO holds global state, so each session has a process of its own: one program can hold many sessions, a dying SUMO
is an error and not a crash, and a worker keeps its model loaded. The pipe carries few, large messages.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from scenarios.common.errors import shorten
from scenarios.common.sumo_tools import PlainNames
from scenarios.demand.scheduled_trips import Schedule, schedule
from scenarios.incidents import scheduled_incidents as incidents
from scenarios.road_users import may_have_others
from scenarios.spec import Scenario
from sim.engine.branching import BranchResult
from sim.engine.command import OutputFiles, SessionOptions, sumo_arguments
from sim.engine.pulse import ALIVE
from sim.engine.road_users import RoadUsers
from sim.engine.scene import LaneShape, Scene
from sim.engine.server import Start
from sim.incidents.events import SUMO_OPTIONS
from sim.native.timetables import without_switches
from sim.network import Network
from sim.observation import Observation
from sim.signals import Decision, check_decisions, check_needs_no_areas
from sim.timings import NATIVE, Timings

if TYPE_CHECKING:
    from sim.incidents.events import InsertedVehicle

__all__ = ["BranchResult", "Outcome", "Session", "SessionError", "SessionOptions"]


class SessionError(RuntimeError):
    """The simulation could not start or died; the message is one sentence."""


@dataclass(frozen=True)
class Outcome:
    """What a finished run left behind. The files live until ``Session.close`` removes the work folder."""

    files: OutputFiles
    demand: Schedule
    incidents: tuple[dict[str, Any], ...]
    inserted: Mapping[str, InsertedVehicle]
    repairs: Mapping[str, int]
    audit: Mapping[str, int]
    switches: int
    worst_wait_s: float
    standing_queue_s: float
    road_users: RoadUsers = field(default_factory=RoadUsers)


@dataclass(frozen=True)
class IntervalDelay:
    """Vehicle-seconds of delay in the last interval: in the network, and on each signal's incoming lanes (S,)."""

    network_veh_s: float
    signal_veh_s: NDArray[np.float64]


_live: weakref.WeakSet[Session] = weakref.WeakSet()


def _has_display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class Session:
    """Step, observe, apply and branch one simulation.

    ``network`` and ``horizon`` are known at once; SUMO starts in ``start``. Use it as a context manager, or call
    ``finish`` to end the run and read its files, and ``close`` to release everything.

    A verb that Ctrl-C interrupts has been asked for all the same: SUMO does it, its answer is dropped, and the next
    verb gets its own answer. A session belongs to the process that started it; a fork of that process cannot use it.
    """

    def __init__(
        self, scenario: Scenario, seed: int, timings: Timings = NATIVE, options: SessionOptions | None = None
    ) -> None:
        self.scenario, self.seed, self.timings = scenario, seed, timings
        self.options = options or SessionOptions()
        if self.options.backend not in ("libsumo", "traci"):
            raise SessionError(f"Unknown backend '{self.options.backend}'; choose libsumo or traci.")
        if self.options.gui and self.options.backend != "traci":
            raise SessionError("The GUI needs the TraCI socket; add --backend traci.")
        if self.options.gui and sys.platform.startswith("linux") and not _has_display():
            raise SessionError("The GUI needs a display, and neither DISPLAY nor WAYLAND_DISPLAY is set.")
        self.network = Network.of(scenario)
        self.time_s = scenario.begin_s
        self.delay = IntervalDelay(0.0, np.zeros(len(self.network.signals)))
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._owner = os.getpid()
        self._asked = 0  # number of the last request
        self._is_torn = False  # a message was interrupted half-way, so what comes next in the pipe has no meaning
        self._policy: object = None
        self._temporary: Path | None = None
        self._names: PlainNames | None = None
        _live.add(self)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def done(self) -> bool:
        """Whether the horizon has ended."""
        return self.time_s >= self.scenario.end_s

    def start(self) -> Observation:
        """Start SUMO in a child process, run the warm-up, and return the first observation.

        Raises:
            SessionError: SUMO refuses its input.
            ScenarioError: the demand or an incident does not fit the network.
        """
        self.close()
        self.demand = schedule(self.scenario, self.seed)
        at_signals = frozenset(self.network.lane_edge)
        planned = incidents.schedule(self.scenario, self.network.roads, self.seed, signalled=at_signals)
        names = self._names = PlainNames()
        self.files = OutputFiles(names.folder(self._work_dir()))
        arguments = sumo_arguments(
            replace(self.network, net_file=names.path(self.network.net_file)),
            tuple(map(names.path, self.demand.route_files)),
            tuple(map(names.path, self._additional_files(self.demand.additional_files))),
            self.scenario.begin_s,
            self.scenario.end_s,
            self.seed,
            self.timings,
            self.options,
            self.files,
        )
        arguments += SUMO_OPTIONS if planned else ()
        self._launch()
        others = may_have_others((*self.demand.route_files, *self.demand.additional_files))
        options = replace(self.options, work_dir=None, road_users=self.options.road_users and others)
        message = Start(arguments, self.network, self.scenario, planned, self.seed, self.timings, options)
        observation: Observation = self._ask("start", message)
        self.time_s = observation.time_s
        return observation

    def step(self, decisions: object) -> Observation:
        """Apply decisions, advance to the next decision time and observe.

        Raises:
            DecisionError: a decision makes no sense; nothing has been applied then.
            SessionError: SUMO died.
        """
        observation: Observation = self._advance(decisions, observe=True)
        return observation

    def advance(self, decisions: object = None, seconds: float | None = None) -> None:
        """Apply decisions and advance without observing: one decision interval, or the seconds given."""
        self._advance(decisions or {}, observe=False, seconds=seconds)

    def watch(self, seconds: float) -> list[Observation]:
        """Advance without decisions and return an observation for every decision time on the way.

        What ``step({})`` gives one by one, in one message: waking two processes in turn costs more than an observation.
        """
        observations: list[Observation]
        observations, self.time_s = self._ask("watch", seconds)
        return observations

    def apply(self, decisions: object) -> None:
        """Apply decisions now; they take effect with the next second."""
        self._advance(decisions, observe=False, seconds=0.0)

    def observe(self) -> Observation:
        """Read the present state again."""
        observation: Observation = self._ask("observe")
        return observation

    def scene(self) -> Scene:
        """All vehicles and lights now, for a picture."""
        scene: Scene = self._ask("scene")
        return scene

    def lane_shapes(self) -> dict[str, LaneShape]:
        """Every lane by id, for a picture."""
        shapes: dict[str, LaneShape] = self._ask("lane_shapes")
        return shapes

    def passed_veh(self) -> NDArray[np.float64]:
        """(S,) vehicles that left each signal's incoming roads since this was asked last; zeros the first time."""
        passed: NDArray[np.float64] = self._ask("passed")
        return passed

    def branch(
        self, candidates: Sequence[Mapping[str, Decision | int]], horizons_s: Sequence[float], policy: object = None
    ) -> BranchResult:
        """Try each candidate's decisions in a fork of the simulation and return what each cost.

        Args:
            candidates: decisions to apply at once, one mapping per future.
            horizons_s: increasing times after now, in seconds, at which the cost is read.
            policy: a controller, already reset, that decides after the first interval; None repeats nothing and lets
                the signals stay.

        Raises:
            SessionError: the backend cannot fork, or a branch failed.
        """
        if self.options.backend != "libsumo":
            raise SessionError("Looking ahead forks the simulation, which needs the libsumo backend.")
        if policy is not self._policy:
            self._ask("set_policy", cloudpickle.dumps(policy))  # by value: a policy may come from a user's own file
            self._policy = policy
        checked = [check_decisions(self.network, candidate) for candidate in candidates]
        result: BranchResult = self._ask("branch", checked, list(horizons_s))
        return result

    def finish(self) -> Outcome:
        """End SUMO, so that it writes its files, and return what the run left. The files stay until ``close``."""
        try:
            counted = self._ask("finish")
        finally:
            self._stop()  # also when interrupted: nothing can be asked any more
        return Outcome(self.files, self.demand, **counted)

    def memory_mib(self) -> float:
        """Peak memory of the session's process so far, in MiB; NaN where the system does not tell."""
        status = Path(f"/proc/{self._process.pid}/status") if self._process else None
        if status is None or not status.exists():
            return float("nan")
        peak = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM")), "0 nan")
        return float(peak.split()[1]) / 1024

    def close(self) -> None:
        """Stop the process and remove the temporary folder; harmless when there is none."""
        self._stop()
        if self._temporary is not None and self._owner == os.getpid():
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None
        if self._names is not None:
            self._names.close()
            self._names = None

    def _work_dir(self) -> Path:
        if self.options.work_dir is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="greenloop-"))
            return self._temporary
        try:
            self.options.work_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SessionError(f"Work folder {self.options.work_dir} cannot be made ({error.strerror}).") from error
        return self.options.work_dir

    def _additional_files(self, files: Sequence[Path]) -> tuple[Path, ...]:
        """Additional files without the program switches that the session makes itself."""
        switched = frozenset(s.id for s in self.network.controllable if s.switches)
        return tuple(without_switches(file, switched, self.files.folder) if switched else file for file in files)

    def _launch(self) -> None:
        self._pipe, theirs = Pipe()
        self._owner, self._is_torn = os.getpid(), False
        self._poll = select.poll()
        self._poll.register(self._pipe.fileno(), select.POLLIN)
        root = str(Path(__file__).resolve().parents[2])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
        with self.files.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sim.engine.server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # with its forks and, behind the socket, SUMO: all can be ended at once
            )
        theirs.close()

    def _advance(self, decisions: object, observe: bool, seconds: float | None = None) -> Any:
        checked = check_decisions(self.network, decisions)
        if self.options.lane_areas_m is None and self.time_s > self.scenario.begin_s:
            check_needs_no_areas(checked)
        seconds = float(self.timings.decision_interval_s) if seconds is None else seconds
        observation, self.time_s, network_delay, signal_delay = self._ask("step", checked, seconds, observe)
        self.delay = IntervalDelay(network_delay, signal_delay)
        return observation

    def _ask(self, verb: str, *arguments: Any) -> Any:
        if self._owner != os.getpid():
            raise SessionError("The session belongs to the process that started it; a fork of it needs one of its own.")
        if self._pipe is None:
            raise SessionError(f"The session is not running; call start() before {verb}.")
        if self._is_torn:
            self._stop()
            raise SessionError("The session was interrupted in the middle of a message; call start() to begin again.")
        self._asked += 1
        try:
            self._send((self._asked, verb, *arguments))
            number, status, answer = self._receive()
            while number != self._asked or status == ALIVE:  # late answers belong to verbs that were interrupted
                number, status, answer = self._receive()
        except (EOFError, OSError) as error:
            raise self._death(f"SUMO's process ended unexpectedly at second {self.time_s:g}") from error
        if status == "error":
            raise self._death(answer)
        return answer

    def _send(self, message: Any) -> None:
        assert self._pipe is not None
        self._is_torn = True
        self._pipe.send(message)
        self._is_torn = False

    def _receive(self) -> Any:
        """The next message; waiting for it may be interrupted, reading it may not."""
        assert self._pipe is not None
        limit_s = None if self.options.gui else self.options.silence_limit_s  # a window can be paused
        waited_s = 0
        while not self._poll.poll(1000):  # in seconds: a program that Ctrl-Z stopped has not waited
            waited_s += 1
            if limit_s and waited_s >= limit_s:
                raise self._death(f"SUMO gave no sign of life for {waited_s} s after second {self.time_s:g}")
        self._is_torn = True
        message = self._pipe.recv()
        self._is_torn = False
        return message

    def _death(self, what: str) -> SessionError:
        """Stop, and put what ended the process, or SUMO's own last error line, into the sentence."""
        status = self._stop()
        lines = self.files.log.read_text(errors="replace").splitlines() if self.files.log.exists() else []
        said = next((line.strip() for line in reversed(lines) if "Error" in line and "Quitting" not in line), "")
        if status == -signal.SIGPROF:
            what = f"SUMO did not get on after second {self.time_s:g} and was stopped at its limit of processor time"
        elif status is not None and status < 0 and status != -signal.SIGKILL:
            what += f" (signal {-status})"
        return SessionError(shorten(f"The simulation of {self.scenario.name} failed: {what}. {said}"))

    def _stop(self) -> int | None:
        """End the process and what it left; returns how it had ended by itself, None if it had not."""
        pipe, self._pipe = self._pipe, None
        process, self._process = self._process, None
        self._policy = None
        if pipe is not None:
            pipe.close()
        if process is None or self._owner != os.getpid():
            return None
        status = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = process.wait(timeout=2)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return status

    def __del__(self) -> None:
        if hasattr(self, "_temporary"):
            self.close()


@atexit.register
def _close_all() -> None:
    """End what a program left running, so that no process and no temporary folder outlives it."""
    for session in list(_live):
        session.close()
