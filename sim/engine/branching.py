"""Try several futures of the running simulation in forks of its process, without touching it.

A fork shares the parent's open file descriptions, offsets included. So a child first points every output at /dev/null
and reopens every input (SUMO reads its route files piece by piece) at the same offset; only then does it step.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import signal
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.simulation import Simulation
from sim.signals import Decision, check_decisions


class BranchError(RuntimeError):
    """A branch that failed."""


@dataclass(frozen=True)
class BranchResult:
    """What each candidate cost, for C candidates, H horizons and S signals.

    Attributes:
        network_delay_veh_s: (C, H) vehicle-seconds of delay in the whole network, vehicles waiting outside included.
        signal_delay_veh_s: (C, H, S) vehicle-seconds of delay on each signal's incoming lanes.
    """

    network_delay_veh_s: NDArray[np.float64]
    signal_delay_veh_s: NDArray[np.float64]


def branch(
    simulation: Simulation,
    candidates: Sequence[Mapping[str, Decision]],
    horizons_s: Sequence[float],
    policy: Any,
) -> BranchResult:
    """Run every candidate to the last horizon, ``policy`` deciding after it, at most one fork per core at a time."""
    running: list[tuple[int, int]] = []
    results = []
    at_once = max(1, len(os.sched_getaffinity(0)))
    for candidate in candidates:
        running.append(_fork(simulation, candidate, horizons_s, policy))
        if len(running) >= at_once:
            results.append(_collect(*running.pop(0)))
    results += [_collect(*child) for child in running]
    network, signals = zip(*results, strict=True)
    return BranchResult(np.array(network), np.array(signals))


def _fork(
    simulation: Simulation, candidate: Mapping[str, Decision], horizons_s: Sequence[float], policy: Any
) -> tuple[int, int]:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write_end)
        return pid, read_end
    status = 1
    try:
        os.close(read_end)
        _detach_files()
        message = pickle.dumps(_run(simulation, candidate, horizons_s, policy))
        status = 0
    except BaseException as error:  # the child must answer, whatever happened, and never return into the parent's code
        message = pickle.dumps(f"{type(error).__name__}: {error}")
    try:
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write(message)
    finally:
        os._exit(status)


def _collect(pid: int, read_end: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    with os.fdopen(read_end, "rb") as pipe:
        message = pipe.read()
    _, status = os.waitpid(pid, 0)
    answer = pickle.loads(message) if message else _ending(status)
    if isinstance(answer, str):
        raise BranchError(f"A branch of the simulation failed: {answer}.")
    return answer  # type: ignore[no-any-return]


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF:
        return "SUMO did not get on and was stopped at its limit of processor time"
    return f"its process ended with code {os.waitstatus_to_exitcode(status)}"


def _run(simulation: Simulation, candidate: Mapping[str, Decision], horizons_s: Sequence[float], policy: Any) -> Any:
    start_s = simulation.time_s
    simulation.count_delay_by_second()
    simulation.apply(candidate)
    network, signals = 0.0, np.zeros(len(simulation.network.signals))
    network_at, signals_at = [], []
    next_decision_s = start_s + simulation.timings.decision_interval_s
    for horizon_s in horizons_s:
        while simulation.time_s < min(start_s + horizon_s, simulation.scenario.end_s):
            until_s = min(start_s + horizon_s, next_decision_s)
            simulation.advance(until_s - simulation.time_s)
            network += simulation.network_delay_veh_s
            signals = signals + simulation.signal_delay_veh_s
            if simulation.time_s >= next_decision_s:
                next_decision_s += simulation.timings.decision_interval_s
                if policy is not None:
                    simulation.apply(check_decisions(simulation.network, policy.act(simulation.observe())))
        network_at.append(network)
        signals_at.append(signals)
    return np.array(network_at), np.array(signals_at)


def _detach_files() -> None:
    sink = os.open(os.devnull, os.O_WRONLY)
    for entry in list(Path("/proc/self/fd").iterdir()):
        descriptor = int(entry.name)
        try:
            if descriptor <= 2 or not stat.S_ISREG(os.fstat(descriptor).st_mode):
                continue
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                _reopen(descriptor)
            else:
                os.dup2(sink, descriptor)
        except OSError:  # the descriptor of the listing itself, closed by now
            continue
    for standard in (1, 2):
        os.dup2(sink, standard)


def _reopen(descriptor: int) -> None:
    offset = os.lseek(descriptor, 0, os.SEEK_CUR)
    fresh = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
    os.lseek(fresh, offset, os.SEEK_SET)
    os.dup2(fresh, descriptor)
    os.close(fresh)
