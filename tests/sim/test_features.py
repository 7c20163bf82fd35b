"""The vector that learners read: every number in its place, as ``sim.features`` says."""

from __future__ import annotations

import numpy as np

from sim.features import CLIP, Features
from tests.support.helpers import corridor, crossing, make_observation

NAN = float("nan")


def test_every_number_stands_where_the_layout_says() -> None:
    network = crossing()
    seen = make_observation(
        network,
        queue_veh=[4.0, NAN, 300.0],
        wait_s=[60.0, NAN, 0.0],
        zone_veh=[[5.0, 2.5, 1.0], [NAN] * 3, [0.0, 0.0, 1000.0]],
        speed_mps=[13.9 / 2, NAN, 13.9],
        flow_veh_h=[[180.0, 360.0, 900.0], [NAN] * 3, [0.0, 0.0, 0.0]],
        exit_veh=[2.0, 0.0],
        exit_room_veh=[8.0, 10.0],
        phase=[1],
        phase_age_s=[30.0],
        due=[True],
    )
    lanes = [[0.2, 0.5, 0.5, 0.25, 0.1, 0.5, 0.1, 0.2, 0.5, 1], [-1] * 9 + [0], [CLIP, 0, 0, 0, CLIP, 1, 0, 0, 0, 1]]
    exits, signal = [0.1, 0.4, 0, 0.5], [0, 1, 0, 0.5, 1]
    features = Features(network, (0,))
    vector = features.vector(seen)
    assert vector.dtype == np.float32
    assert vector.shape == (features.size,)
    np.testing.assert_allclose(vector, [*np.ravel(lanes), *exits, *signal], rtol=1e-6)


def test_several_signals_follow_each_other_and_a_running_program_shows_no_phase() -> None:
    network = corridor()
    seen = make_observation(network, phase=[1, -1, 0], phase_age_s=[6.0, 12.0, 0.0], due=[True, False, False])
    vector = Features(network, (0, 1)).vector(seen)
    np.testing.assert_allclose(vector[-8:], [0, 1, 0.1, 1, 0, 0, 0.2, 0], rtol=1e-6)
    second = Features(network, (1,)).vector(seen)
    np.testing.assert_array_equal(second[-4:], vector[-4:])
    np.testing.assert_array_equal(second[:20], vector[20:40])  # its own two lanes
