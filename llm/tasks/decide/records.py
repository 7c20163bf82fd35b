"""Records of decisions: the text and the numbers of a signal's state, and what each of its phases would cost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm.records.shards import RecordError
from llm.tasks.decide.prompt import CUE

#: Raise with every change of the fields of a record.
FORMAT = 3


@dataclass(frozen=True)
class Record:
    """One decision at one signal, with the cost of every phase.

    Attributes:
        scenario: its name.
        network_sha256: hash of the network file.
        seed: of the run.
        time_s: SUMO's clock.
        signal: its id.
        timings: name of the signal timings.
        change_s: seconds of yellow and all-red between two phases.
        prompt: the text that the language model reads, without a forecast.
        phases: how many.
        current: index of the phase that shows green, -1 for none.
        age_s: seconds since it began.
        horizons_s: how far the branches ran; empty if none did, and then there are no costs.
        costs_veh_s: (phases, horizons) vehicle-seconds of delay in the whole network after each phase.
        facts: (phases, len(FACTS)) the same as numbers, neither rounded nor capped: ``llm.tasks.decide.facts``.
        choices: what some classical controllers would do here, phase by name.
        behaviour: who drove the run.
        demand_scale: factor on the scenario's number of vehicles.
        next_veh: per source (``persistence``, ``reference`` for what really came), for each phase, the text of the
            vehicles that arrive within the next minute.
        incidents: types in force near the signal, as it is and not as reported.
    """

    scenario: str
    network_sha256: str
    seed: int
    time_s: float
    signal: str
    timings: str
    change_s: int
    prompt: str
    phases: int
    current: int
    age_s: float
    horizons_s: list[float]
    costs_veh_s: list[list[float]]
    facts: list[list[float]]
    choices: dict[str, int]
    behaviour: str
    demand_scale: float
    next_veh: dict[str, list[str]]
    incidents: list[str]

    def cost(self, horizon_s: float) -> NDArray[np.float64]:
        """(phases,) vehicle-seconds at one horizon.

        Raises:
            RecordError: that horizon was not recorded.
        """
        if not self.horizons_s:
            raise RecordError(
                f"Records of {self.scenario} have no costs to measure by; collect those without branches=false."
            )
        if horizon_s not in self.horizons_s:
            known = ", ".join(f"{known:g}" for known in self.horizons_s)
            raise RecordError(f"The records have no costs at {horizon_s:g} s; choose one of {known}.")
        return np.array(self.costs_veh_s)[:, self.horizons_s.index(horizon_s)]


# --- what a learner makes of them


def soft_targets(costs_veh_s: NDArray[np.float64], temperature_veh_s: float) -> NDArray[np.float64]:
    """(phases,) shares that fall with the cost: ``softmax(-(cost - min) / temperature)``.

    The branches know the drivers' dice, so the cheapest phase is only probably the best one.
    """
    weights = np.exp(-(costs_veh_s - costs_veh_s.min()) / temperature_veh_s)
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def regret_veh_s(records: Iterable[Record], chosen: Iterable[int], horizon_s: float) -> float:
    """Mean of the chosen phase's cost minus the cheapest one's."""
    pairs = [(record.cost(horizon_s), phase) for record, phase in zip(records, chosen, strict=True)]
    return float(np.mean([costs[phase] - costs.min() for costs, phase in pairs]))


_ROW = re.compile(r"((?:green\S+|red) go\d.* )([A-Z])")
_REPORT = re.compile(r"Report (before|after) ([A-Z](?: [A-Z])*): (.*)")


def reordered(prompt: str, order: Sequence[int]) -> str:
    """The same state with the phases in another order: the k-th phase becomes the old ``order[k]``.

    Which letter a phase has says nothing, so every order is a record of its own.
    """
    head, *lines, cue = prompt.split("\n")
    assert cue == CUE
    new = {chr(65 + old): chr(65 + place) for place, old in enumerate(order)}
    rows = [found for line in lines if (found := _ROW.fullmatch(line))]
    rest = [found for line in lines if (found := _REPORT.fullmatch(line))]
    assert len(rows) == len(order)
    assert len(rows) + len(rest) == len(lines)
    moved = [f"{rows[old][1]}{new[rows[old][2]]}" for old in order]
    reports = [f"Report {r[1]} {' '.join(sorted(new[letter] for letter in r[2].split()))}: {r[3]}" for r in rest]
    return "\n".join([head, *reports, *moved, cue])
