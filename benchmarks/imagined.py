"""States that no run showed: what lanes measured, dealt out to other lanes, with longer waits.

A network that reads numbers answers in every state, and a language model that learns from it can be asked there, too:
driven runs seldom show a lane that waits for minutes, so a model that saw nothing else reads such a line badly.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sim.network import Network
from sim.observation import Observation

#: Chance that a lane shows what another one measured, and that an outgoing lane does.
LANE_SHARE, EXIT_SHARE = 0.5, 0.2
#: Chance that a wait is longer than measured, and by what factor at most.
LONGER_SHARE, LONGER_FACTOR = 0.3, 10.0
#: Longest age of an imagined green, s.
MAX_AGE_S = 120.0


def imagined(network: Network, observation: Observation, rng: np.random.Generator) -> Observation:
    """A state of the same network with measurements of one moment at other places.

    A lane's queue, wait and vehicles stay together, so each line of a prompt is one that some lane could show.

    Args:
        network: of the observation.
        observation: what was measured.
        rng: draws what goes where.
    """
    lanes, exits = np.arange(len(observation.queue_veh)), np.arange(len(observation.exit_veh))
    source = np.where(rng.random(len(lanes)) < LANE_SHARE, rng.integers(len(lanes), size=len(lanes)), lanes)
    longer = np.where(rng.random(len(lanes)) < LONGER_SHARE, rng.uniform(1, LONGER_FACTOR, len(lanes)), 1.0)
    fuller = np.where(rng.random(len(exits)) < EXIT_SHARE, rng.random(len(exits)), 1.0)
    phase, age_s = observation.phase.copy(), observation.phase_age_s.copy()
    for signal in network.controllable:
        phase[signal.index] = rng.integers(len(signal.phases))
        age_s[signal.index] = np.round(rng.uniform(5, MAX_AGE_S) ** rng.uniform(0.4, 1.0))
    return replace(
        observation,
        queue_veh=observation.queue_veh[source],
        wait_s=np.round(observation.wait_s[source] * longer),
        zone_veh=observation.zone_veh[source],
        lane_ok=observation.lane_ok[source],
        exit_room_veh=observation.exit_room_veh * fuller,
        phase=phase,
        phase_age_s=age_s,
    )
