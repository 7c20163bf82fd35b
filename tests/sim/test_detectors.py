"""What the detectors read, vehicle by vehicle, of a simulation that is a table."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from sim.engine.detectors import PROP_PREFIX, Detectors
from sim.engine.vehicles import Vehicles
from sim.network import Reach
from tests.support.helpers import crossing

#: Lane, position (m), speed (m/s) and wait (s). Lanes n_0 and n_1 are 150 m long and both fed by up_0, 100 m.
DRIVERS = {
    "first": ("n_0", 149.0, 0.0, 12.0),
    "second": ("n_0", 90.0, 6.0, 0.0),
    "undecided": ("up_0", 70.0, 0.05, 3.0),  # 30 m before lane n_0 or n_1, 180 m before the stop line
    "far": ("up_0", 20.0, 10.0, 0.0),  # 230 m before it: not on its own lane, and beyond 200 m
    f"{PROP_PREFIX}wreck": ("n_1", 100.0, 0.0, 500.0),
    "leaving": ("s_0", 5.0, 8.0, 0.0),
    "elsewhere": ("x_0", 5.0, 8.0, 0.0),
}


def reading(drivers: dict[str, tuple[str, float, float, float]]) -> Detectors:
    """The detectors after one look at these vehicles."""

    def column(place: int) -> Callable[[str], Any]:
        return lambda name: drivers[name][place]

    vehicle = SimpleNamespace(
        getIDList=lambda: tuple(drivers),
        getLaneID=column(0),
        getLanePosition=column(1),
        getSpeed=column(2),
        getWaitingTime=column(3),
    )
    conn = SimpleNamespace(
        vehicle=vehicle,
        inductionloop=SimpleNamespace(getLastIntervalVehicleNumber=lambda _: 0),
        edge=SimpleNamespace(getLastStepPersonIDs=lambda _: ()),
        person=SimpleNamespace(getNextEdge=None, getSpeed=None, getWaitingTime=None),
    )
    upstream = Reach("up_0", 150.0, 100.0, 0.5)
    reach = ((Reach("n_0", 0.0, 150.0, 1.0), upstream), (Reach("n_1", 0.0, 150.0, 1.0), upstream))
    network = crossing(reach=(*reach, (Reach("w_0", 0.0, 150.0, 1.0),)))
    detectors = Detectors(network, conn, Vehicles(conn))
    detectors.read(100.0)
    return detectors


def test_each_vehicle_counts_on_the_approaches_that_it_may_take() -> None:
    found = reading(DRIVERS)
    np.testing.assert_array_equal(found.queue_veh, [1.5, 0.5, 0.0])
    np.testing.assert_array_equal(found.wait_s, [12.0, 3.0, 0.0])
    np.testing.assert_array_equal(found.zone_veh, [[1.0, 1.0, 0.5], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(found.speed_mps, [(6.0 + 0.5 * 0.05) / 2.5, 0.05, 13.9])
    np.testing.assert_array_equal(found.exit_veh, [1.0, 0.0])
    assert found.worst_wait_s == 12.0


def test_an_empty_network_reads_as_numbers() -> None:
    """Sums of nothing are floats as well: what is unknown becomes NaN in them."""
    found = reading({})
    for values in (found.queue_veh, found.wait_s, found.zone_veh, found.speed_mps, found.exit_veh):
        assert values.dtype == np.float64
    assert found.queue_veh.sum() == found.zone_veh.sum() == 0
