"""Traces: what SUMO wrote is what is read again, to the decimetre, whatever drives; and broken files get a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.results import run_result as results
from benchmarks.run import matrix
from benchmarks.run.cell import Cell, run_cell
from benchmarks.run.progress import SweepProgress
from benchmarks.trace import recorder as tracing
from benchmarks.trace import trace_file as trace
from benchmarks.trace.trace_file import Trace
from scenarios import registry
from scenarios.spec import Crash
from sim.network import Network
from sim.signals import Decision, Program, ProgramRow
from tests.support.helpers import crossing


def short(minutes: float, **changes: Any) -> Any:
    scenario = registry.load("cologne1")
    return scenario.with_(end_s=scenario.begin_s + 60 * minutes, **changes)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> tuple[results.RunResult, Trace, Path]:
    """Greedy for five minutes past a crash, traced; SUMO's own files are kept in ``work``."""
    folder = tmp_path_factory.mktemp("traced")
    crash = Crash(edge="23429231#1", lanes=(0,), start_s=60, duration_s=120)
    cell = Cell(short(5, incidents=[crash.model_dump()]), "greedy", 1, work_dir=folder / "work", trace=True)
    result = run_cell(cell, folder / "a.trace.npz")
    return result, trace.load(folder / "a.trace.npz"), folder


def test_the_result_names_its_trace_and_an_untraced_one_none(traced: tuple[results.RunResult, Trace, Path]) -> None:
    result, loaded, _ = traced
    assert result.trace == "a.trace.npz"
    assert (loaded.about.scenario, loaded.about.controller, loaded.about.seed) == ("cologne1", "greedy", 1)
    assert run_cell(Cell(short(1), "fixed_time", 1)).trace is None


def test_positions_equal_sumos_own_to_the_quantisation(traced: tuple[results.RunResult, Trace, Path]) -> None:
    _, loaded, folder = traced
    theirs = pd.read_csv(folder / "work" / "vehicles.csv", sep=";")  # SUMO writes centimetres
    vehicles = loaded.vehicles
    mine = pd.DataFrame(
        {
            "vehicle_id": np.array(vehicles.ids)[vehicles.vehicle],
            "vehicle_type": np.array(vehicles.types)[vehicles.vehicle],
            "timestep_time": vehicles.time_s.astype(float),
            "vehicle_lane": np.array(loaded.lanes)[vehicles.lane],
            "vehicle_pos": vehicles.position_m,
            "vehicle_speed": vehicles.speed_mps,
            "vehicle_x": vehicles.x_m,
            "vehicle_y": vehicles.y_m,
        }
    )
    keys = ["vehicle_id", "timestep_time", "vehicle_lane", "vehicle_type"]
    both = theirs.merge(mine, on=keys, how="outer", suffixes=("", "_mine"), validate="one_to_one")
    assert len(both) == len(theirs) == len(mine) > 2000
    for column, step in (("pos", 0.1), ("speed", 0.01), ("x", 0.1), ("y", 0.1)):
        error = (both[f"vehicle_{column}"] - both[f"vehicle_{column}_mine"]).abs().max()
        assert error <= step / 2 + 1e-6, column


def test_signal_states_equal_sumos_own_in_every_second(traced: tuple[results.RunResult, Trace, Path]) -> None:
    _, loaded, folder = traced
    theirs = pd.read_csv(folder / "work" / "lights.csv", sep=";")
    assert len(theirs) == 300
    for row in theirs.itertuples():
        assert loaded.signals[str(row.tlsState_id)].at(float(row.tlsState_time)) == row.tlsState_state
    (shown,) = loaded.signals.values()
    assert len(shown.states) > 10
    assert all(a != b for a, b in zip(shown.states, shown.states[1:], strict=False))
    assert any("y" in state for state in shown.states)


def test_each_vehicle_is_one_piece_second_by_second(traced: tuple[results.RunResult, Trace, Path]) -> None:
    vehicles = traced[1].vehicles
    for vehicle in range(len(vehicles.ids)):
        assert (np.diff(vehicles.time_s[vehicles.of(vehicle)]) == 1).all()
    assert len(vehicles.at(25300)) == int((vehicles.time_s == 25300).sum()) > 0
    assert len(set(vehicles.ids)) == len(vehicles.ids)


def test_decisions_are_those_that_the_controller_made(traced: tuple[results.RunResult, Trace, Path]) -> None:
    _, loaded, _ = traced
    decisions = loaded.decisions
    assert decisions.time_s.min() == 25200
    assert set(np.diff(np.unique(decisions.time_s))) <= {5, 10, 15, 20, 25, 30}
    phases = len(next(iter(loaded.about.signals.values())).phases)
    assert set(decisions.phase) <= set(range(phases))
    assert np.isnan(decisions.hold_s).all()


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_cell(Cell(short(2), "greedy", seed), tmp_path / f"{name}.trace.npz")
    one, again, other = ((tmp_path / f"{name}.trace.npz").read_bytes() for name in "abc")
    assert one == again
    assert one != other


def test_a_trace_changes_nothing_in_the_run(tmp_path: Path) -> None:
    plain, with_trace = (run_cell(Cell(short(3), "greedy", 3), file) for file in (None, tmp_path / "a.trace.npz"))
    untimed = {key for key in plain.metrics if "latency" not in key}
    assert {key: plain.metrics[key] for key in untimed} == pytest.approx(
        {key: with_trace.metrics[key] for key in untimed}, rel=0, abs=0, nan_ok=True
    )
    assert plain.series.model_dump_json() == with_trace.series.model_dump_json()


def test_saving_and_loading_keeps_everything(traced: tuple[results.RunResult, Trace, Path], tmp_path: Path) -> None:
    _, loaded, _ = traced
    trace.save(loaded, tmp_path / "again.trace.npz")
    assert (tmp_path / "again.trace.npz").read_bytes() == (traced[2] / "a.trace.npz").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.trace.npz"]


def test_programs_and_holds_are_noted() -> None:
    network = crossing()
    program = Program(
        (ProgramRow("Ggr", 30.0), ProgramRow("yyr", 3.0), ProgramRow("rrG", 30.0), ProgramRow("rry", 3.0))
    )
    log = tracing.DecisionLog(network)
    log.add(10, {"J": 1})
    log.add(15, {})
    log.add(20, {"J": Decision(phase=2, hold_s=12.5)})
    log.add(25, {"J": Decision(program=program)})
    found = log.decisions()
    assert found.time_s.tolist() == [10, 20, 25]
    assert found.phase.tolist() == [1, 2, -1]
    assert np.array_equal(found.hold_s, [np.nan, 12.5, np.nan], equal_nan=True)


def test_crashes_and_their_wrecks_are_in_it(traced: tuple[results.RunResult, Trace, Path]) -> None:
    _, loaded, _ = traced
    assert [incident["type"] for incident in loaded.about.incidents] == ["crash"]
    wreck = loaded.vehicles.types.index("greenloop.prop")
    assert set(loaded.vehicles.speed_mps[loaded.vehicles.of(wreck)]) == {0.0}


def test_a_run_without_any_vehicle_has_a_trace(tmp_path: Path) -> None:
    net_file = registry.load("cologne1").net_file
    road = next(iter(Network.read(net_file).roads.values()))
    trip = f'<trip id="v" depart="19.5" from="{road.id}" to="{road.successors[0]}"/>'  # too late to get in
    (tmp_path / "late.rou.xml").write_text(f"<routes>{trip}</routes>")
    scenario = registry.from_files(net_file, [tmp_path / "late.rou.xml"])
    run_cell(Cell(scenario.with_(end_s=20), "fixed_time", 1), tmp_path / "a.trace.npz")
    loaded = trace.load(tmp_path / "a.trace.npz")
    assert loaded.vehicles.ids == ()
    assert loaded.vehicles.time_s.size == 0
    assert all(len(shown.states) >= 1 for shown in loaded.signals.values())


def test_pedestrians_are_left_out(tmp_path: Path) -> None:
    net_file = registry.load("cologne1").net_file
    road = next(iter(Network.read(net_file).roads.values()))
    (tmp_path / "people.rou.xml").write_text(
        f'<routes><person id="p" depart="1"><walk edges="{road.id}"/></person>'
        f'<trip id="v" depart="2" from="{road.id}" to="{road.successors[0]}"/></routes>'
    )
    scenario = registry.from_files(net_file, [tmp_path / "people.rou.xml"])
    run_cell(Cell(scenario.with_(end_s=20), "fixed_time", 1), tmp_path / "a.trace.npz")
    assert trace.load(tmp_path / "a.trace.npz").vehicles.ids == ("v",)


def test_a_sweep_traces_a_cell_that_was_finished_without(tmp_path: Path) -> None:
    def sweep(traced: bool) -> matrix.Sweep:
        with SweepProgress(quiet=True) as progress:
            return matrix.run([Cell(short(1), "fixed_time", 1, trace=traced)], tmp_path, 1, progress)

    (path,) = sweep(False).paths
    assert results.read(path).trace is None
    assert not list(tmp_path.glob("*.npz"))
    assert sweep(True).resumed == 0
    name = results.read(path).trace
    assert name == path.name.replace(".result.json", ".trace.npz")
    assert trace.load(tmp_path / name).about.controller == "fixed_time"
    assert (sweep(True).resumed, sweep(False).resumed) == (1, 1)


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "half": (lambda data: data[: len(data) // 2], "is truncated"),
    "empty": (lambda data: b"", "is truncated or holds no arrays"),
    "text": (lambda data: b"hello", "is truncated or holds no arrays"),
    "bits": (lambda data: data[:3000] + bytes(200) + data[3200:], "is truncated"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_trace_gets_a_sentence(
    traced: tuple[results.RunResult, Trace, Path], tmp_path: Path, name: str
) -> None:
    change, says = BROKEN[name]
    path = tmp_path / "x.trace.npz"
    path.write_bytes(change((traced[2] / "a.trace.npz").read_bytes()))
    with pytest.raises(trace.TraceError, match=says) as caught:
        trace.load(path)
    assert str(path) in str(caught.value)


def test_foreign_files_and_other_versions_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(trace.TraceError, match="cannot be read"):
        trace.load(tmp_path / "none.trace.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(trace.TraceError, match="no greenloop trace"):
        trace.load(tmp_path / "other.npz")
    header = np.frombuffer(json.dumps({"about": {"schema_version": 9}}).encode(), np.uint8)
    np.savez(tmp_path / "new.npz", header=header)
    with pytest.raises(trace.TraceError, match="has schema version 9"):
        trace.load(tmp_path / "new.npz")


def test_a_session_without_a_trace_writes_none(tmp_path: Path) -> None:
    run_cell(Cell(short(1), "greedy", 1, work_dir=tmp_path))
    assert not list(tmp_path.glob("*.csv"))
