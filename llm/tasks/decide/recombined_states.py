"""States that no run showed: what lanes measured, dealt out to other lanes, with longer waits.

A network that reads numbers answers in every state, and a language model that learns from it can be asked there, too:
driven runs seldom show a lane that waits for minutes, so a model that saw nothing else reads such a line badly.
Starved lanes are therefore made up on purpose.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.network import Network
from sim.observation import Observation

#: Chance that a lane shows what another one measured, and that an outgoing lane does.
LANE_SHARE, EXIT_SHARE = 0.5, 0.2
#: Chance that a wait is longer than measured, and by what factor at most.
LONGER_SHARE, LONGER_FACTOR = 0.3, 10.0
#: Share of the lanes with a queue that has stood for minutes, s; most signals then have one.
STARVED_SHARE, STARVED_S = 0.12, (60.0, 600.0)
#: Longest age of an imagined green, s.
MAX_AGE_S = 120.0


def imagined(network: Network, observation: Observation, rng: np.random.Generator) -> Observation:
    """A state of the same network with measurements of one moment at other places.

    A lane's queue, wait and vehicles stay together, so each line of a prompt is one that some lane could show; waits of
    some are stretched, and some queues have stood for minutes.

    Args:
        network: of the observation.
        observation: what was measured.
        rng: draws what goes where.
    """
    lanes, exits = np.arange(len(observation.queue_veh)), np.arange(len(observation.exit_veh))
    source = np.where(rng.random(len(lanes)) < LANE_SHARE, rng.integers(len(lanes), size=len(lanes)), lanes)
    longer = np.where(rng.random(len(lanes)) < LONGER_SHARE, rng.uniform(1, LONGER_FACTOR, len(lanes)), 1.0)
    starved, queued = rng.random(len(lanes)) < STARVED_SHARE, np.flatnonzero(observation.queue_veh >= 1)
    if len(queued):
        source = np.where(starved, rng.choice(queued, len(lanes)), source)
    stood_s = np.exp(rng.uniform(math.log(STARVED_S[0]), math.log(STARVED_S[1]), len(lanes)))
    waits_s: NDArray[np.float64] = np.where(
        starved & (observation.queue_veh[source] >= 1), stood_s, observation.wait_s[source] * longer
    )
    fuller = np.where(rng.random(len(exits)) < EXIT_SHARE, rng.random(len(exits)), 1.0)
    phase, age_s = observation.phase.copy(), observation.phase_age_s.copy()
    for signal in network.controllable:
        phase[signal.index] = rng.integers(len(signal.phases))
        age_s[signal.index] = np.round(rng.uniform(5, MAX_AGE_S) ** rng.uniform(0.4, 1.0))
    return replace(
        observation,
        queue_veh=observation.queue_veh[source],
        wait_s=np.round(waits_s),
        zone_veh=observation.zone_veh[source],
        lane_ok=observation.lane_ok[source],
        exit_room_veh=observation.exit_room_veh * fuller,
        phase=phase,
        phase_age_s=age_s,
    )
