"""What a sweep is said to cost before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.run.cell import Cell
from benchmarks.run.cost import GUESS_S, KEPT, START_S, WORKERS_S, Costs, words
from scenarios import registry


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    """Four runs of two controllers on five minutes of cologne1."""
    scenario = registry.load("cologne1")
    short = scenario.with_(end_s=scenario.begin_s + 300)
    return [Cell(short, name, seed) for name in ("greedy", "phase_net") for seed in (1, 2)]


def test_runs_that_were_timed_here_say_what_the_same_will_take(tmp_path: Path, cells: list[Cell]) -> None:
    costs = Costs.read(tmp_path / "times.json")
    for cell in cells:
        for took_s in (19.0, 20.0, 21.0):
            costs.add(cell, took_s)
    costs.write()
    again = Costs.read(tmp_path / "times.json")
    seconds, measured = again.of(cells[0])
    assert (seconds, measured) == (pytest.approx(20.0), True)
    assert words(cells, 2, again) == "about 42 s on 2 workers"
    assert words(cells[:1], 8, again) == "about 22 s on 1 worker"
    assert words([], 2, again) == ""


def test_another_network_counts_by_its_vehicles(tmp_path: Path, cells: list[Cell]) -> None:
    costs = Costs.read(tmp_path / "times.json")
    costs.runs["another network", "phase_net"] = [(100.0, START_S + 5.0), (300.0, START_S + 15.0)]
    seconds, measured = costs.of(cells[2])
    vehicles = (costs.of(cells[0])[0] - START_S) / GUESS_S  # type: ignore[operator]
    assert measured
    assert seconds == pytest.approx(START_S + 0.05 * vehicles)


def test_a_guess_is_called_one_and_what_nobody_knows_is_not_said(tmp_path: Path, cells: list[Cell]) -> None:
    costs = Costs.read(tmp_path / "none.json")
    seconds, measured = costs.of(cells[0])
    assert not measured
    assert seconds is not None
    assert words(cells[:2], 1, costs).startswith(f"about {WORKERS_S + 2 * seconds:.0f} s on 1 worker (a guess:")
    assert "about" not in (unknown := words(cells, 2, costs))
    assert "phase_net was never timed here" in unknown


@pytest.mark.parametrize("text", ["", "[1, 2]", '[["a", "b", "c"]]', "{"])
def test_a_damaged_memory_is_forgotten(tmp_path: Path, cells: list[Cell], text: str) -> None:
    (tmp_path / "times.json").write_text(text)
    costs = Costs.read(tmp_path / "times.json")
    assert costs.of(cells[2]) == (None, False)
    for took_s in range(2 * KEPT):
        costs.add(cells[2], float(took_s))
    assert [len(timed) for timed in costs.runs.values()] == [KEPT]
