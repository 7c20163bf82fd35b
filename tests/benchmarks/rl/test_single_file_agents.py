"""The usual single-file scripts train on our environments with only the environment's name changed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "tests" / "support"
STEPS_OF_AN_HOUR = 720  # 3600 s at one decision every 5 s


def run_script(script: str, env_id: str, *options: str) -> str:
    """Run a script in a process of its own, as a user does, with warnings as errors; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(SCRIPTS / script), "--env-id", env_id, *options],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("script", ["single_file_dqn.py", "single_file_ppo.py"])
def test_single_file_scripts_train_on_our_environment(script: str) -> None:
    said = run_script(script, "greenloop:greenloop/Cologne1-v0", "--total-timesteps", "1480", "--num-envs", "2")
    episodes = re.findall(r"episodic_return=(-?[\d.]+) length=(\d+)", said)
    assert len(episodes) == 2
    assert all(int(length) == STEPS_OF_AN_HOUR and float(reward) < 0 for reward, length in episodes)
    assert episodes[0] != episodes[1]  # two simulations, two seeds
    assert len(re.findall(r"loss=(\d+\.\d+)", said)) >= 5


def test_the_same_script_trains_on_another_environment() -> None:
    said = run_script("single_file_dqn.py", "CartPole-v1", "--total-timesteps", "600")
    assert "episodic_return=" in said
    assert "greenloop" not in "".join(script.read_text() for script in SCRIPTS.glob("single_file_*.py"))
