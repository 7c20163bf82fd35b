"""Incidents as a session plans them: rates without those that a network has no place for, the same for every reader."""

from __future__ import annotations

import pytest

from benchmarks.records.collect import Plan, scenario_of
from benchmarks.run.drawn_run import planned_incidents, planned_scenario, possible_rates
from llm.tasks.decide.task import DecideSettings
from scenarios import registry
from scenarios.spec import DEFAULT_RATES, ScenarioError
from sim.engine.session import Session
from sim.network import Network

DEFAULTS = DEFAULT_RATES.model_dump()


def test_roads_without_a_signal_are_no_place_for_a_crash() -> None:
    """All roads of city-1-13 that lead to its signal are too short for one; those that lead elsewhere are not asked."""
    scenario = registry.load("city-1-13")
    network = Network.read(scenario.net_file)
    with pytest.raises(ScenarioError, match="no road of the network is fit for a crash"):
        planned_incidents(scenario.with_(incident_rates={"crash_per_h": 20}), network, seed=1)
    rates = possible_rates(DEFAULTS, scenario, surely=True)
    assert rates["crash_per_h"] == 0
    assert rates["detector_outage_per_h"] == DEFAULTS["detector_outage_per_h"]
    with Session(scenario.with_(incident_rates=rates), seed=1) as session:
        session.start()


def test_a_network_with_room_keeps_all_rates() -> None:
    assert possible_rates(DEFAULTS, registry.load("cologne8"), surely=True) == DEFAULTS


def test_a_type_that_is_not_drawn_keeps_its_rate_unless_it_must_hold_for_every_seed() -> None:
    rare = {"road_closure_per_h": 1e-9}
    cologne1 = registry.load("cologne1")
    assert possible_rates(rare, cologne1) == rare
    assert possible_rates(rare, cologne1, surely=True) == {"road_closure_per_h": 0.0}


@pytest.mark.parametrize("name", ["city-1-13", "city-1-10"])
def test_episodes_on_small_cities_begin(name: str) -> None:
    """The number is that of an episode with incidents."""
    plan = Plan("decide", "train", 12, DecideSettings(minutes=20), (name,)).drawn()
    episode = next(run for run in plan if run.rates is not None)
    scenario = scenario_of(episode)
    with Session(scenario, episode.seed) as session:
        session.start()
        assert session.network.controllable


def test_a_run_for_records_keeps_the_stronger_waves() -> None:
    wavy = registry.load("cologne1").with_(demand={"waves": 0.5})
    for asked, found in ((0.0, 0.5), (0.2, 0.5), (0.9, 0.9)):
        demand = planned_scenario(wavy, 1001, 20, 1.2, 60, None, asked).demand
        assert (demand.scale, demand.departure_jitter_s, demand.waves) == (1.2, 60, found)
