"""Facts of all phases at once, beside the plain reading of one phase after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from llm.tasks.decide.facts import FACTS, PhaseFacts, phase_facts
from llm.tasks.decide.phase_net import SHIPPED, PhaseNet
from llm.tasks.decide.prompt import priority_shares, protected_exits
from scenarios import registry
from sim.network import Network, Phase, Signal
from sim.observation import Observation
from sim.timings import CLEARANCE
from tests.support.helpers import crossing, make_observation

PLACE = {name: place for place, name in enumerate(FACTS)}


def drawn(network: Network, seed: int) -> Observation:
    """Any traffic at all, with some detectors out."""
    rng = np.random.default_rng(seed)
    lanes, exits, signals = len(network.lanes), len(network.exits), len(network.signals)
    dead = rng.random(lanes) < 0.2
    state = {
        "queue_veh": rng.integers(0, 20, lanes) / 4,
        "wait_s": rng.integers(0, 300, lanes).astype(float),
        "zone_veh": rng.integers(0, 20, (lanes, 3)) / 4,
    }
    for values in state.values():
        values[dead] = np.nan
    room = rng.random(exits) * network.exit_length_m / 7.5
    room[rng.random(exits) < 0.1] = np.nan
    phase = rng.integers(-1, 3, signals)
    return make_observation(network, **state, lane_ok=~dead, exit_room_veh=room, phase=phase)


def plainly(network: Network, signal: Signal, phase: Phase, seen: Observation) -> dict[str, float]:
    """Some facts of one phase, lane by lane."""
    shares = dict(zip(phase.lanes, priority_shares(signal, phase), strict=True))
    queue = {lane: float(np.nan_to_num(seen.queue_veh[lane])) for lane in phase.lanes}
    mid = {lane: float(np.nan_to_num(seen.zone_veh[lane, 1])) for lane in phase.lanes}
    room = [seen.exit_room_veh[e] / max(network.exit_length_m[e] / 7.5, 1) for e in protected_exits(phase)]
    return {
        "is_current": float(seen.phase[signal.index] == phase.index),
        "lanes": len(phase.lanes),
        "go": sum(phase.state[m.link] == "G" for m in phase.movements),
        "queue_veh": sum(queue.values()),
        "wait_s": max(float(np.nan_to_num(seen.wait_s[lane])) for lane in phase.lanes),
        "mid_veh": sum(mid.values()),
        "priority_queue_veh": sum(shares[lane] * queue[lane] for lane in phase.lanes),
        "priority_mid_veh": sum(shares[lane] * mid[lane] for lane in phase.lanes),
        "room_share": min(1.0, *(1.0 if value != value else float(value) for value in room)),
        "known_share": sum(bool(seen.lane_ok[lane]) for lane in phase.lanes) / len(phase.lanes),
    }


@pytest.mark.parametrize("name", ["cologne8", "grid4x4"])
def test_all_at_once_are_those_of_one_after_the_other(name: str) -> None:
    network = Network.read(registry.load(name).net_file)
    prepared = PhaseFacts(network, network.controllable, CLEARANCE)
    for seed in range(5):
        seen = drawn(network, seed)
        together = np.split(prepared.of(seen), prepared.starts[1:])
        for signal, facts in zip(prepared.signals, together, strict=True):
            np.testing.assert_array_equal(facts, phase_facts(network, signal, seen, CLEARANCE))
            for phase in signal.phases:
                expected = plainly(network, signal, phase, seen)
                told = {key: facts[phase.index, PLACE[key]] for key in expected}
                assert told == pytest.approx(expected, abs=1e-12)


def test_a_phase_without_lanes_is_known() -> None:
    network = crossing()
    signal = network.signals[0]
    empty = replace(signal.phases[0], movements=(), lanes=(), exits=())
    facts = phase_facts(network, replace(signal, phases=(empty, *signal.phases[1:])), make_observation(network))
    assert np.isfinite(facts).all()
    assert facts[0, PLACE["known_share"]] == facts[0, PLACE["room_share"]] == 1


def test_signals_are_scored_together_to_the_last_bit() -> None:
    """Or a tie between two phases would fall the other way, and a published run would be another."""
    network, net = Network.read(registry.load("grid4x4").net_file), PhaseNet.load(SHIPPED)
    prepared = PhaseFacts(network, network.controllable)
    facts = np.split(prepared.of(drawn(network, 1)), prepared.starts[1:])
    together = net.scores(np.stack(facts))
    for one, scores in zip(facts, together, strict=True):
        np.testing.assert_array_equal(net.scores(one), scores)
    assert net.choose([facts[0], facts[1][:3], facts[2]]) == [
        int(net.scores(rows).argmax()) for rows in (facts[0], facts[1][:3], facts[2])
    ]
    assert net.choose([]) == []
