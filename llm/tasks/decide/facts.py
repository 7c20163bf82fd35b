"""What a prompt says, as plain numbers per phase: for models that read no text.

They say a little more: how many lanes a phase has, and counts and times that are neither rounded nor capped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm.tasks.decide.prompt import intergreen_s, priority_shares, protected_exits, report_places
from sim.network import Network, Phase, Signal
from sim.observation import Observation
from sim.timings import NATIVE, Timings

#: Columns of ``phase_facts``. ``priority_...`` are those vehicles that need not give way (``priority_shares``).
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


def phase_facts(
    network: Network, signal: Signal, observation: Observation, timings: Timings = NATIVE
) -> NDArray[np.float64]:
    """The facts of each phase, (phases, len(FACTS)); what no detector sees counts 0 and lowers ``known_share``."""
    reports = _report_facts(network, signal, observation)
    current = int(observation.phase[signal.index])
    age_s, change_s = float(observation.phase_age_s[signal.index]), float(intergreen_s(signal, timings))
    rows = [
        [float(phase.index == current), age_s if phase.index == current else 0.0, change_s]
        + _lane_facts(network, signal, phase, observation)
        + reports[phase.index]
        for phase in signal.phases
    ]
    return np.array(rows)


def _lane_facts(network: Network, signal: Signal, phase: Phase, observation: Observation) -> list[float]:
    lanes, exits, shares = list(phase.lanes), protected_exits(phase), np.array(priority_shares(signal, phase))
    letters = [phase.state[link] for link in (*(m.link for m in phase.movements), *phase.crossing_links)]
    queues, zones = np.nan_to_num(observation.queue_veh[lanes]), np.nan_to_num(observation.zone_veh[lanes])
    waits = np.nan_to_num(observation.wait_s[lanes])
    persons = float(np.nan_to_num(observation.waiting_persons[list(phase.crossings)]).sum()) if phase.crossings else 0.0
    room = np.nan_to_num(observation.exit_room_veh[exits], nan=1e3) / np.maximum(network.exit_length_m[exits] / 7.5, 1)
    return [
        float(letters.count("G")),
        float(letters.count("g")),
        float(len(lanes)),
        float(queues.sum()) + persons,
        float(waits.max(initial=0.0)),
        *_plus_near(zones.sum(axis=0).tolist(), persons),
        float(shares @ queues) + persons,
        *_plus_near((shares @ zones).tolist(), persons),
        float(np.clip(room, 0, 1).min(initial=1.0)),
        float(observation.lane_ok[lanes].mean()) if lanes else 1.0,
    ]


def _plus_near(zones: list[float], persons: float) -> list[float]:
    """Counts per zone with the people at the crossings of a phase, who stand at the stop line so to say."""
    return [zones[0] + persons, *zones[1:]]


def _report_facts(network: Network, signal: Signal, observation: Observation) -> list[list[float]]:
    """Per phase: share blocked before and after, and tens of vehicles of a surge before."""
    found = [[0.0, 0.0, 0.0] for _ in signal.phases]
    for report, after, phases in report_places(network, signal, observation):
        share = report.blocked_lanes / report.total_lanes if report.blocked_lanes and report.total_lanes else 1.0
        blocks = report.type in ("crash", "roadworks", "road_closure")
        for phase in phases:
            if blocks:
                found[phase][int(after)] = max(found[phase][int(after)], share)
            elif report.type == "demand_surge" and not after:
                found[phase][2] += report.vehicles / 10
    return found
