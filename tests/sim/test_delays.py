"""What rewards count as delay, beside what SUMO writes of every trip and beside the count of every second."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray

from controllers.classical.greedy import Greedy
from scenarios import registry
from sim.engine.session import Outcome, Session, SessionOptions

END_S = 25200.0 + 600


def driven(options: SessionOptions) -> tuple[float, NDArray[np.float64], Outcome, Mapping[str, Mapping[str, str]]]:
    """Ten minutes of cologne3 under greedy: delay in the network and at each signal, and what SUMO wrote."""
    with Session(registry.load("cologne3").with_(end_s=END_S), 1, options=options) as session:
        controller, observation = Greedy(), session.start()
        controller.reset(session.network, 1)
        network, signals = 0.0, np.zeros(len(session.network.signals))
        while not session.done:
            observation = session.step(controller.act(observation))
            network += session.delay.network_veh_s
            signals = signals + session.delay.signal_veh_s
        outcome = session.finish()
        trips = ElementTree.parse(outcome.files.trips).getroot().iter("tripinfo") if options.outputs else ()
        return network, signals, outcome, {trip.get("id", ""): dict(trip.attrib) for trip in trips}


def test_rewards_count_what_trips_lose() -> None:
    """A percent less than SUMO's time loss: nobody looks again at a vehicle that arrives before the interval ends."""
    network, _, outcome, trips = driven(SessionOptions(delays=True))
    lost_s = sum(float(trip["timeLoss"]) + float(trip["departDelay"]) for trip in trips.values())
    assert network == pytest.approx(lost_s, rel=0.02)
    assert network < lost_s
    # The benchmark's delay: time under way beyond the free-flow time of the route, here of the vehicles that arrived.
    demand = outcome.demand
    arrived = [
        (float(trips[name]["arrival"]) - depart_s - free_flow_s, float(trips[name]["timeLoss"]))
        for name, depart_s, free_flow_s in zip(demand.ids, demand.depart_s, demand.free_flow_s, strict=True)
        if float(trips.get(name, {"arrival": "-1"})["arrival"]) >= 0
    ]
    delay_s, loss_s = np.array(arrived).sum(axis=0)
    assert len(arrived) > 300
    assert loss_s == pytest.approx(delay_s, rel=0.05)  # drivers' own speeds differ from the limit


def test_counting_by_interval_and_by_second_agree() -> None:
    network, signals, *_ = driven(SessionOptions(delays=True, outputs=False))
    by_second, signals_by_second, outcome, _ = driven(SessionOptions(delays_by_second=True, outputs=False))
    assert network == pytest.approx(by_second, rel=0.04)
    assert network < by_second
    assert signals.sum() == pytest.approx(signals_by_second.sum(), rel=0.25)  # the junction itself counts as well
    assert (np.argsort(signals) == np.argsort(signals_by_second)).all()
    assert not outcome.files.trips.exists()
    assert not outcome.files.statistics.exists()
