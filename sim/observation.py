"""What a controller may see, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scenarios.incidents.incident import Report
from sim.read_only import lock_arrays

__all__ = ["FLOW_WINDOWS_MIN", "ZONES_M", "Observation", "Report"]

#: Bounds of the three zones before a stop line, in metres; column k of ``zone_veh`` counts [ZONES_M[k], ZONES_M[k+1]).
ZONES_M = (0.0, 50.0, 100.0, 200.0)
#: Averaging windows of ``flow_veh_h``, in minutes.
FLOW_WINDOWS_MIN = (1, 5, 15)


@dataclass(frozen=True)
class Observation:
    """The state of all signals at one decision time.

    Lane arrays follow ``Network.lanes`` (L incoming lanes), exit arrays ``Network.exits`` (E outgoing lanes), signal
    arrays ``Network.signals`` (S signals), crossing arrays ``Network.crossings`` (C crossings). What a failed detector
    does not see is NaN, and False in ``lane_ok``.

    Attributes:
        time_s: SUMO's clock, s.
        queue_veh: (L,) halted vehicles (below 0.1 m/s) on the approach to the stop line.
        wait_s: (L,) longest current wait of a halted vehicle, s.
        zone_veh: (L, 3) vehicles 0-50, 50-100 and 100-200 m before the stop line. Beyond the start of a lane
            the zones go on upstream; a vehicle that could still choose between k lanes counts 1/k on each.
        speed_mps: (L,) mean speed of the vehicles in the zones, m/s; the speed limit on an empty lane.
        flow_veh_h: (L, 3) flow over the last 1, 5 and 15 full minutes (fewer at the start), veh/h, from an
            induction loop up to 200 m before the stop line.
        lane_ok: (L,) False where the detectors are out.
        exit_veh: (E,) vehicles on the outgoing lane.
        exit_room_veh: (E,) vehicles that still fit on it, at 7.5 m each.
        phase: (S,) index of the active phase in ``Signal.phases``; -1 while the signal's installed program runs.
        phase_age_s: (S,) seconds since that phase began, the intergreen before it not counted.
        due: (S,) True where a decision is asked for: green, minimum served, no hold and no change in progress.
        waiting_persons: (C,) people who wait to go over each pedestrian crossing (its push button).
        reports: every incident report received so far, oldest first.
    """

    time_s: float
    queue_veh: NDArray[np.float64]
    wait_s: NDArray[np.float64]
    zone_veh: NDArray[np.float64]
    speed_mps: NDArray[np.float64]
    flow_veh_h: NDArray[np.float64]
    lane_ok: NDArray[np.bool_]
    exit_veh: NDArray[np.float64]
    exit_room_veh: NDArray[np.float64]
    phase: NDArray[np.int64]
    phase_age_s: NDArray[np.float64]
    due: NDArray[np.bool_]
    reports: tuple[Report, ...] = field(default=())
    waiting_persons: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        lock_arrays(self)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes as one block: a dozen small arrays would cost ten times as much."""
        arrays = [getattr(self, name) for name in _ARRAYS]
        shapes = (len(self.queue_veh), len(self.exit_veh), len(self.phase), len(self.waiting_persons))
        return _unpack, (
            self.time_s,
            shapes,
            np.concatenate([array.ravel() for array in arrays]).tobytes(),
            self.reports,
        )


_ARRAYS = tuple(name for name in Observation.__dataclass_fields__ if name not in ("time_s", "reports"))


def _unpack(time_s: float, shapes: tuple[int, int, int, int], block: bytes, reports: tuple[Report, ...]) -> Observation:
    lanes, exits, signals, crossings = shapes
    values = np.frombuffer(block, np.float64)
    arrays, start = [], 0
    for size in (lanes, lanes, 3 * lanes, lanes, 3 * lanes, lanes, exits, exits, signals, signals, signals, crossings):
        arrays.append(values[start : start + size])
        start += size
    queue, wait, zone, speed, flow, ok, exit_veh, room, phase, age, due, persons = arrays
    return Observation(
        time_s,
        queue,
        wait,
        zone.reshape(lanes, 3),
        speed,
        flow.reshape(lanes, 3),
        ok.astype(bool),
        exit_veh,
        room,
        phase.astype(np.int64),
        age,
        due.astype(bool),
        reports,
        persons,
    )
