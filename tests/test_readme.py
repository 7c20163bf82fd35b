"""What the README shows works as it stands there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import gymnasium

README = (Path(__file__).parent.parent / "README.md").read_text()


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_controller_of_the_readme_runs_as_it_stands_there(tmp_path: Path) -> None:
    code = python_blocks()[0]
    assert len(code.strip().splitlines()) <= 20
    (tmp_path / "mine.py").write_text(code)
    command = [sys.executable, "-m", "benchmarks.cli", "run", "--scenario", "cologne3", "--minutes", "4"]
    command += [
        "--seeds",
        "1-1",
        "--controller",
        "mine.py:QueueAndWait",
        "--no-figures",
        "--json",
        "--out",
        "results",
        "--workers",
        "1",
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    (result,) = (tmp_path / "results").glob("*.result.json")
    metrics = json.loads(result.read_text())["metrics"]
    assert metrics["arrived_veh"] > 0
    assert metrics["switches"] > 0


def test_the_environments_of_the_readme_can_be_made() -> None:
    names: dict[str, object] = {}
    exec(python_blocks()[1], names)
    assert isinstance(names["env"], gymnasium.Env)
    assert isinstance(names["words"], gymnasium.Env)
    assert len(names["parallel"].possible_agents) == 7  # type: ignore[attr-defined]
