"""What a run will be: its scenario as drawn for records, and its incidents as its session plans them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scenarios.demand.scheduled_trips import Schedule, schedule
from scenarios.incidents import scheduled_incidents as incidents
from scenarios.incidents.incident import ScheduledIncident
from scenarios.spec import Demand, IncidentRates, Scenario, ScenarioError
from sim.network import Network


def planned_scenario(
    scenario: Scenario,
    seed: int,
    minutes: float,
    demand_scale: float,
    jitter_s: float,
    rates: IncidentRates | None,
    waves: float = 0.0,
) -> Scenario:
    """A scenario as a run for records has it.

    Args:
        scenario: as it is.
        seed: of the run.
        minutes: measured, at most.
        demand_scale: factor on the number of vehicles.
        jitter_s: by which each departure moves at most.
        rates: of incidents; types that the network has no place for are left out. None for no incidents.
        waves: of its traffic (``Demand.waves``), where its own are not stronger.
    """
    changed = scenario.with_(
        end_s=min(scenario.end_s, scenario.begin_s + scenario.warmup_s + 60 * minutes),
        demand=Demand(scale=demand_scale, departure_jitter_s=jitter_s, waves=max(waves, scenario.demand.waves)),
    )
    if rates is None:
        return changed
    return changed.with_(incident_rates=possible_rates(rates.model_dump(), changed, seed))


def planned_incidents(scenario: Scenario, network: Network, seed: int) -> tuple[ScheduledIncident, ...]:
    """The incidents that a session of this scenario has under this seed.

    Raises:
        ScenarioError: a listed one does not fit, or there is no place for a drawn one.
    """
    return incidents.schedule(scenario, network.roads, seed, signalled=frozenset(network.lane_edge))


@dataclass(frozen=True)
class Checked:
    """A scenario that SUMO runs, as its first run will be."""

    network: Network
    demand: Schedule

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing about the traffic, one sentence each."""
        note = self.demand.unroutable_note()
        return () if note is None else (note,)


def check_scenario(scenario: Scenario, seed: int) -> Checked:
    """Read everything that a run reads, as a run reads it; every command that takes a scenario asks here.

    Raises:
        NetworkError, ScenarioError: one sentence about what a run would stop at.
    """
    network = Network.of(scenario)
    planned_incidents(scenario, network, seed)
    demand = schedule(scenario, seed)  # cached: the runs find it done
    return Checked(network, demand)


def possible_rates(
    rates: Mapping[str, float], scenario: Scenario, seed: int = 1, *, surely: bool = False
) -> dict[str, float]:
    """The rates, with 0 for incidents that the network has no place for, such as a closure at its only junction.

    Args:
        rates: per hour, under the names of ``IncidentRates``.
        scenario: gives the network, the trips and the horizon.
        seed: of the run.
        surely: try each type at a rate at which one is drawn in any case, so that the answer holds for every seed.
    """
    network = Network.of(scenario)
    certain = 20 * 3600 / scenario.horizon_s
    found = {}
    for name, rate in rates.items():
        tried = scenario.with_(incidents=[], incident_rates={name: certain if surely else rate})
        try:
            planned_incidents(tried, network, seed)
        except ScenarioError:
            found[name] = 0.0
        else:
            found[name] = rate
    return found
