"""Steps a second, ours beside sumo-rl's: the arithmetic, and one short round of the real thing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.speed.environment import OURS, WAYS, Pace, compared


def test_ratios_are_taken_round_by_round() -> None:
    """A machine that is busy for a whole round changes no ratio."""
    told = compared(
        {
            OURS: [Pace(100), Pace(10), Pace(120)],
            "sumo_rl": [Pace(50, 0.5), Pace(5, 0.5), Pace(60, 0.4)],
            "sumo_rl_without_info": [Pace(100, 0.8), Pace(10, 0.8), Pace(240, 0.8)],
        }
    )
    assert told["steps_per_s"] == {OURS: 100, "sumo_rl": 50, "sumo_rl_without_info": 100}
    assert told["times"] == {"sumo_rl": 2, "sumo_rl_without_info": 1}
    assert told["times_without_any_cost"] == {"sumo_rl": 2, "sumo_rl_without_info": 1.25}


@pytest.mark.parametrize("way", WAYS[:2])
def test_each_way_steps_and_tells_its_pace(way: str) -> None:
    command = [sys.executable, "-m", "benchmarks.speed.environment", way, "cologne1", "1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    pace = Pace(**json.loads(done.stdout.splitlines()[-1]))
    assert pace.per_s > 1
    assert (pace.sumo_share > 0) == (way != OURS)
    assert not pace.sumo_share >= 1
