"""Records built by hand: the phase with most vehicles is the cheapest, which any learner can find."""

from __future__ import annotations

import numpy as np

from llm.tasks.decide.facts import FACTS
from llm.tasks.decide.records import Record


def make_record(number: int = 0, phases: int = 3) -> Record:
    """A record whose queue numbers tell the costs."""
    queues = np.random.default_rng(number).permutation(phases) * 4
    cost = (queues.max() - queues).astype(float)
    state = ["green5", *["red"] * (phases - 1)]
    rows = [f"{state[i]} go1 queue{q} wait0 near0 mid0 far0 room9 {chr(65 + i)}" for i, q in enumerate(queues)]
    facts = np.zeros((phases, len(FACTS)))
    facts[:, FACTS.index("queue_veh")] = queues
    costs = np.outer(cost, [1.0, 2.0, 3.0]) + 100
    return Record(
        scenario="hand",
        network_sha256="0" * 64,
        seed=5000,  # of either split
        time_s=100.0 + number,
        signal="J",
        timings="native",
        change_s=3,
        prompt="\n".join(["change3", *rows, "Best phase:"]),
        phases=phases,
        current=0,
        age_s=5.0,
        horizons_s=[15.0, 30.0, 60.0],
        costs_veh_s=costs.tolist(),
        facts=facts.tolist(),
        choices={"greedy": int(queues.argmax()), "holding": 0},
        behaviour="greedy",
        demand_scale=1.0,
        next_veh={"persistence": ["0"] * phases, "reference": ["0"] * phases},
        incidents=[],
    )
