"""Controllers that keep an order of phases, and flexible max pressure, against small cases computed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.base import Controller, ControllerError
from controllers.classical.cyclic.cycle import Cycle
from controllers.classical.cyclic.max_pressure import CyclicMaxPressure
from controllers.classical.cyclic.scats import Scats
from controllers.classical.flexible_max_pressure import FlexibleMaxPressure
from sim.network import Network, Road
from tests.support.helpers import corridor, crossing, make_observation


def shown(controller: Controller, network: Network, seconds: int, **fields: Any) -> Iterator[list[int]]:
    """Phases by signal at each decision time, where every wish is met at once and the traffic stays the same."""
    controller.reset(network, seed=0)
    phases = [0] * len(network.signals)
    names = {signal.id: signal.index for signal in network.signals}
    for time_s in range(0, seconds, 5):
        observation = make_observation(network, time_s=float(time_s), phase=phases, **fields)
        for name, decision in controller.act(observation).items():
            assert isinstance(decision, int)
            phases[names[name]] = decision
        yield list(phases)


def lengths(phases: list[int]) -> list[tuple[int, int]]:
    """Runs of equal phases: which, and for how many decision times."""
    runs: list[tuple[int, int]] = []
    for phase in phases:
        if runs and runs[-1][0] == phase:
            runs[-1] = (phase, runs[-1][1] + 1)
        else:
            runs.append((phase, 1))
    return runs


def test_a_cycle_stands_on_the_clock() -> None:
    cycle = Cycle(100.0, (2, 3), 5.0)
    assert cycle.end_s == 125.0
    assert [cycle.phase(time_s) for time_s in (100, 109, 110, 124, 130)] == [0, 0, 1, 1, 1]


# --- cyclic max pressure ---------------------------------------------------------------------------------------------


def test_the_cycle_is_shared_out_by_pressure() -> None:
    # 12 intervals; each phase has at least two (3 s of yellow and 5 s of green), so six are free. Pressures: north 2
    # straight and 1 left, north-left 1, west 6: of 6 free ones 1.8, 0.6, 3.6, in whole numbers 2, 0 and 4, or 1 and 4.
    network = crossing()
    zones = [[2, 0, 0], [1, 0, 0], [6, 0, 0]]
    phases = [row[0] for row in shown(CyclicMaxPressure(cycle_s=60), network, 120, zone_veh=zones)]
    assert lengths(phases[:12]) == [(0, 4), (1, 4), (2, 4)]  # nothing is measured yet
    assert lengths(phases[12:]) == [(0, 4), (1, 2), (2, 6)]


@given(cycle_s=st.integers(5, 200), veh=st.lists(st.integers(0, 30), min_size=3, max_size=3))
def test_every_phase_comes_once_a_cycle(cycle_s: int, veh: list[int]) -> None:
    zones = [[n, 0, 0] for n in veh]
    phases = [row[0] for row in shown(CyclicMaxPressure(cycle_s=cycle_s), crossing(), 600, zone_veh=zones)]
    runs = lengths(phases)
    assert [phase for phase, _ in runs] == [n % 3 for n in range(len(runs))]
    assert all(length >= 2 for _, length in runs[:-1])
    cycle = max(6, round(cycle_s / 5))
    whole = [sum(length for _, length in runs[k : k + 3]) for k in range(0, len(runs) - 3, 3)]
    assert set(whole) <= {cycle}


# --- flexible max pressure -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age_s", "west_veh", "expected"),
    [(5, 9, 0), (10, 9, 2), (10, 1, 0), (49, 1, 0), (50, 1, 2), (90, 0, 0)],
    ids=["too early", "beaten", "ahead", "ahead for long", "too long", "nobody else"],
)
def test_a_green_ends_within_its_bounds(age_s: float, west_veh: int, expected: int) -> None:
    network = crossing()
    controller = FlexibleMaxPressure()
    controller.reset(network, seed=0)
    zones = [[4, 0, 0], [0, 0, 0], [west_veh, 0, 0]]
    observation = make_observation(network, zone_veh=zones, phase_age_s=[age_s])
    assert controller.act(observation) == {"J": expected}


def test_flexible_bounds_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ControllerError, match="give at least green_min_s"):
        FlexibleMaxPressure(green_min_s=20, green_max_s=10)


# --- SCATS -----------------------------------------------------------------------------------------------------------


def flows(*veh_h: float) -> list[list[float]]:
    return [[veh, veh, veh] for veh in veh_h]


def test_the_most_saturated_phase_gains_an_interval_a_cycle() -> None:
    network = corridor()
    scats = Scats(cycle_min_s=60, cycle_max_s=60, coordinated=False)
    phases = [row[0] for row in shown(scats, network, 300, flow_veh_h=flows(900, 100, 100, 100, 0))]
    assert lengths(phases)[::2] == [(0, 6), (0, 7), (0, 8), (0, 9), (0, 10)]
    assert lengths(phases)[1::2] == [(1, 6), (1, 5), (1, 4), (1, 3), (1, 2)]  # its least


def test_a_degree_of_saturation_is_what_a_lane_needs_over_what_it_gets() -> None:
    # 900 veh/h bring 15 in a cycle of 60 s, four are left: 38 s at 2 s each, of 27 s of green.
    network = corridor()
    scats = Scats(cycle_min_s=60, cycle_max_s=60)
    scats.reset(network, seed=0)
    seen: dict[str, Any] = {"flow_veh_h": flows(900, 0, 0, 0, 0), "queue_veh": [4, 0, 0, 0, 0]}
    scats.act(make_observation(network, time_s=0.0, phase=[0, 0, 0], **seen))
    scats.act(make_observation(network, time_s=30.0, phase=[1, 0, 0], **seen))
    assert scats.saturation(network.signals[0]) == pytest.approx([38 / 27, 0])


@pytest.mark.parametrize(("veh_h", "goes_to_s"), [(1200, 100), (50, 50)], ids=["longer", "shorter"])
def test_the_cycle_follows_the_most_saturated_phase(veh_h: float, goes_to_s: float) -> None:
    scats = Scats(cycle_min_s=50, cycle_max_s=100, coordinated=False)
    phases = [row[0] for row in shown(scats, corridor(), 1200, flow_veh_h=flows(veh_h, veh_h, 0, 0, 0))]
    runs = lengths(phases)
    assert 5 * (runs[-3][1] + runs[-2][1]) == goes_to_s


def test_a_lane_that_is_always_green_asks_for_nothing() -> None:
    network = corridor()
    signal = network.signals[0]
    both = replace(signal, phases=tuple(replace(phase, lanes=(0, 1)) for phase in signal.phases))
    scats = Scats()
    scats.reset(replace(network, signals=(both, *network.signals[1:])), seed=0)
    scats.act(make_observation(network, flow_veh_h=flows(900, 900, 0, 0, 0)))
    assert scats.saturation(both).tolist() == [0, 0]


def test_offsets_follow_the_drive() -> None:
    # A's west phase feeds m_0, 20 s of free flow before B's stop line: B's west phase begins 20 s after A's.
    road = Road("m", "m", 1, 278.0, 13.9, (), (), (), (0,))
    network = replace(corridor(), roads={"m": road})
    near = [replace(network.signals[0], neighbours=(1,)), replace(network.signals[1], neighbours=(0,))]
    network = replace(network, signals=(*near, network.signals[2]))
    scats = Scats(cycle_min_s=60, cycle_max_s=60)
    rows = np.array(list(shown(scats, network, 1800, flow_veh_h=flows(500, 500, 500, 500, 0))))
    begins = [
        {5 * k % 60 for k in range(240, len(rows)) if rows[k, signal] == 0 and rows[k - 1, signal] == 1}
        for signal in (0, 1)
    ]
    assert [len(times) for times in begins] == [1, 1]  # steady by now
    assert (begins[1].pop() - begins[0].pop()) % 60 == 20
