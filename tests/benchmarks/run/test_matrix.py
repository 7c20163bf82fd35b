"""Cells and sweeps on real SUMO: what a result holds, resuming, failures, interruption."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.results import metrics, provenance
from benchmarks.results import run_result as results
from benchmarks.run import matrix
from benchmarks.run.benchmark import Request, RequestError, parse_seeds, plan
from benchmarks.run.cell import Cell, network_shape, run_cell, stem
from controllers.base import ControllerError
from scenarios import registry
from scenarios.spec import Crash, EmergencyVehicle, Scenario
from sim.engine.session import SessionError
from sim.network import Network
from sim.timings import RESCO

USERS = """
import os, signal, time
from pathlib import Path
import numpy as np
from controllers.classical import greedy
from greenloop import Controller

class Raises(Controller):
    def act(self, observation):
        return self.choose(observation)
    def choose(self, observation):
        raise IndexError("no such\\n lane")  # line 12

class RaisesInReset(Controller):
    def reset(self, network, seed):
        return {}["x"]
    def act(self, observation):
        return {}

class Hangs(Controller):
    def act(self, observation):
        try:
            while True:
                time.sleep(0.01)
        except Exception:
            return {}

class NoPhase(Controller):
    def act(self, observation):
        return {signal.id: 99 for signal in self.network.signals}

class Nonsense(Controller):
    def act(self, observation):
        return "green please"

class WrongSignal(Controller):
    def act(self, observation):
        return {"nowhere": 0}

class WrongSignature(Controller):
    def act(self):
        return {}

class Exits(Controller):
    def act(self, observation):
        raise SystemExit(3)

class ExitsAtOnce(Controller):
    def __init__(self):
        raise SystemExit(3)
    def act(self, observation):
        return {}

class Interrupts(Controller):
    def act(self, observation):
        raise KeyboardInterrupt

class Leaves(Controller):
    def act(self, observation):
        os._exit(0)

class LeavesAtOnce(Controller):
    def __init__(self):
        os._exit(0)
    def act(self, observation):
        return {}

class Forks(Controller):
    def act(self, observation):
        if os.fork() != 0:
            os.wait()
        return {}

class Meddles(Controller):
    def reset(self, network, seed):
        super().reset(network, seed)
        for name in ("lane_length_m", "exit_length_m"):
            array = np.full_like(getattr(network, name), 5.0)
            object.__setattr__(network, name, array)
        network.roads.clear()
        greedy.Greedy.act = lambda self, observation: {}
        os.environ["TMPDIR"] = "/nowhere"
        (Path(__file__).parent / "elsewhere").mkdir(exist_ok=True)
        os.chdir(Path(__file__).parent / "elsewhere")
    def act(self, observation):
        return {}

class Miscounts(Controller):
    def act(self, observation):
        return {}
    def counters(self):
        return ["one"]

class KillsSumo(Controller):
    def act(self, observation):
        if observation.time_s > 25230:
            for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                if "sim.engine.server" in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(int(pid), signal.SIGKILL)
        return {}

class Rotates(Controller):
    def act(self, observation):
        return {s.id: (int(observation.phase[s.index]) + 1) % len(s.phases) for s in self.network.controllable}
"""


@pytest.fixture(scope="module")
def user_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("user") / "mine.py"
    path.write_text(USERS)
    return path


@pytest.fixture(scope="module")
def minute() -> Scenario:
    """The first minute of cologne1."""
    scenario = registry.load("cologne1")
    return scenario.with_(end_s=scenario.begin_s + 60.0)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("Raises", r"failed in act\(\) with IndexError: no such lane \(mine\.py, line 12\)\.$"),
        ("RaisesInReset", r"failed in reset\(\) with KeyError: 'x' \(mine\.py, line 16\)"),
        ("Hangs", r"took longer than 0\.5 s in act\(\)"),
        ("NoPhase", r"asked for phase 99; it has phases 0 to 3"),
        ("Nonsense", r"returned str; it must return a mapping"),
        ("WrongSignal", r"signal 'nowhere', which is not in the network"),
        ("WrongSignature", r"failed in act\(\) with TypeError"),
        ("Exits", r"failed in act\(\) with SystemExit: 3 \(mine\.py, line \d+\)"),
        ("ExitsAtOnce", r"cannot be made: SystemExit: 3 \(mine\.py, line \d+\)"),
        ("Miscounts", r"no mapping of names to numbers from counters\(\)"),
    ],
)
def test_a_bad_controller_gives_one_sentence(user_file: Path, minute: Scenario, kind: str, says: str) -> None:
    with pytest.raises(ControllerError, match=says) as caught:
        run_cell(Cell(minute, f"{user_file}:{kind}", 1, decision_limit_s=0.5))
    assert "\n" not in str(caught.value)
    assert kind in str(caught.value)


def test_a_dying_sumo_gives_one_sentence(user_file: Path, minute: Scenario) -> None:
    with pytest.raises(
        SessionError, match=r"The simulation of cologne1 failed: .*process ended unexpectedly"
    ) as caught:
        run_cell(Cell(minute, f"{user_file}:KillsSumo", 1))
    assert "\n" not in str(caught.value)


def test_a_result_tells_what_ran_and_agrees_with_itself(user_file: Path) -> None:
    scenario = registry.load("cologne1")
    scenario = scenario.with_(end_s=scenario.begin_s + 600.0)
    result = run_cell(Cell(scenario, f"{user_file}:Rotates", 3, RESCO))
    found = result.metrics
    assert found["scheduled_veh"] >= found["inserted_veh"] >= found["arrived_veh"] > 100
    assert found["completion"] == pytest.approx(found["arrived_veh"] / found["scheduled_veh"])
    assert found["throughput_veh_h"] == pytest.approx(found["arrived_veh"] * 6)
    assert 0 < found["delay_s"] < found["travel_time_s"]
    assert found["switches"] > 10
    assert found["decisions"] == 60
    assert found["co2_kg"] > 1
    assert math.isfinite(found["worst_wait_s"])
    assert (result.seed, result.timings["name"], result.scenario.end_s) == (3, "resco", scenario.end_s)
    assert len(result.series.time_s) == 10
    assert sum(result.series.inserted_veh_min) <= found["inserted_veh"]
    assert result.roads is not None
    assert result.roads.begin_s == (25200.0, 25500.0)
    assert "/" not in json.dumps(result.scenario.files)
    shape = network_shape(Network.read(scenario.net_file))
    assert set(result.roads.ids) <= set(shape.roads)


def test_the_same_cell_gives_the_same_numbers(minute: Scenario) -> None:
    """All but the wall clock."""

    def measured() -> dict[str, float]:
        metrics = run_cell(Cell(minute.with_(end_s=minute.begin_s + 300), "greedy", 5)).metrics
        return {
            key: value for key, value in metrics.items() if not key.startswith("decision_latency") and value == value
        }

    assert measured() == measured()


def test_emergency_vehicles_are_reported_apart_and_standing_cars_are_no_traffic(minute: Scenario) -> None:
    quiet = minute.with_(end_s=minute.begin_s + 600)
    crash = Crash(start_s=60, duration_s=300, edge="23429231#1", lanes=(0,))
    blue = EmergencyVehicle(start_s=120, duration_s=60, from_edge="23429231#1", to_edge="32038051#0")
    loud = quiet.with_(incidents=[crash.model_dump(), blue.model_dump()])
    without, with_ = (run_cell(Cell(scenario, "fixed_time", 1)) for scenario in (quiet, loud))
    assert without.metrics["emergency_veh"] == 0
    assert with_.metrics["emergency_veh"] == 1
    assert with_.metrics["scheduled_veh"] == without.metrics["scheduled_veh"]
    assert with_.metrics["delay_s"] > without.metrics["delay_s"]
    assert {incident["type"] for incident in with_.scenario.incidents} == {"crash", "emergency_vehicle"}
    assert with_.scenario.sha256 != without.scenario.sha256


class Recorder:
    """A progress that only remembers."""

    def __init__(self) -> None:
        self.resumed = -1
        self.cells: list[tuple[str, str | None]] = []

    def begin(self, total: int, resumed: int, cost: str) -> None:
        self.resumed = resumed

    def finished(self, cell: Cell, problem: str | None, left_s: float) -> None:
        assert left_s >= 0
        self.cells.append((cell.name, problem))


def test_a_sweep_resumes_repairs_and_goes_on_after_failures(tmp_path: Path, user_file: Path, minute: Scenario) -> None:
    broken = f"{user_file}:Raises"
    cells = matrix.make_cells([minute], ["fixed_time", broken], [1, 2], Cell(minute, "fixed_time", 1))
    first = Recorder()
    sweep = matrix.run(cells, tmp_path, 2, first)
    assert len(sweep.paths) == 2
    assert len(sweep.failed) == 2
    assert all("IndexError" in problem for _, problem in sweep.failed)
    notes = sorted(tmp_path.glob("*.failed.json"))
    assert [json.loads(note.read_text())["seed"] for note in notes] == [1, 2]
    assert not list(tmp_path.glob(".*"))

    kept, damaged = sweep.paths
    before = kept.stat().st_mtime_ns
    damaged.write_text(damaged.read_text()[:200])
    (drawing,) = (tmp_path / "networks").glob("*.json")
    drawing.write_text(drawing.read_text()[:200])
    user_file.write_text(USERS.replace('raise IndexError("no such\\n lane")', "return {}"))
    try:
        second = Recorder()
        again = matrix.run(cells, tmp_path, 1, second)
    finally:
        user_file.write_text(USERS)
    assert second.resumed == 1
    assert kept.stat().st_mtime_ns == before
    assert len(second.cells) == 3
    assert again.failed == []
    assert len(results.load(tmp_path)) == 4
    assert results.read_network(drawing) == network_shape(Network.read(minute.net_file))


def test_a_controller_that_ends_its_process_ends_only_its_cell(
    tmp_path: Path, user_file: Path, minute: Scenario
) -> None:
    names = [f"{user_file}:{kind}" for kind in ("Exits", "ExitsAtOnce", "Interrupts")]
    cells = matrix.make_cells([minute], [*names, "fixed_time"], [1], Cell(minute, "fixed_time", 1))
    sweep = matrix.run(cells, tmp_path, 1, Recorder())
    assert len(sweep.paths) == 1
    said = {cell.controller.rpartition(":")[2]: problem for cell, problem in sweep.failed}
    assert "SystemExit: 3" in said["Exits"]
    assert "SystemExit: 3" in said["ExitsAtOnce"]
    assert "ended by KeyboardInterrupt" in said["Interrupts"]


def measured(folder: Path) -> dict[str, dict[str, object]]:
    """What the results of a folder say, by file, without the wall clock."""
    found = {}
    for path in sorted(folder.glob("*.result.json")):
        said = results.read(path).model_dump(mode="json", exclude={"wall", "created_utc"})
        said["metrics"] = {k: repr(v) for k, v in said["metrics"].items() if not k.startswith("decision_latency")}
        found[path.name] = said
    return found


def test_what_a_user_s_controller_does_to_its_process_no_other_run_feels(
    tmp_path: Path, user_file: Path, minute: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # results are asked for by a relative path
    like = Cell(minute, "greedy", 1)

    def swept(folder: str, *names: str) -> matrix.Sweep:
        cells = matrix.make_cells([like.scenario], names, [1], like)
        return matrix.run(cells, Path(folder), 1, Recorder())

    assert not swept("alone", "greedy").failed
    mine = [f"{user_file}:{kind}" for kind in ("Meddles", "Leaves", "LeavesAtOnce", "Forks")]
    with pytest.raises(ControllerError, match=r"LeavesAtOnce' cannot be made: .*exit code 0"):
        matrix.check([minute], mine[2:3], 1, tmp_path)
    sweep = swept("beside", *mine, "greedy")
    assert [cell.controller for cell, _ in sweep.failed] == mine[1:3]
    assert all("ended it with exit code 0" in problem for _, problem in sweep.failed)
    assert len(sweep.paths) == 3
    beside, alone = measured(Path("beside")), measured(Path("alone"))
    assert len(alone) == 1
    assert {name: beside[name] for name in alone} == alone
    assert not list((user_file.parent / "elsewhere").rglob("*"))
    assert Path.cwd() == tmp_path


def test_gridlock_is_measured_alike_with_and_without_detectors(
    minute: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "standing_road_s", lambda roads, blocked: 300.0)
    blind, seeing = (run_cell(Cell(minute, name, 1)).metrics for name in ("fixed_time", "greedy"))
    assert blind["standing_queue_s"] == seeing["standing_queue_s"] == 300.0
    assert math.isnan(blind["standing_lane_s"])
    assert seeing["standing_lane_s"] >= 0


def test_a_retrained_adapter_or_another_version_is_another_cell(
    tmp_path: Path, minute: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "deep" / "weights"
    weights.parent.mkdir()
    cell = Cell(minute, f"language_model:adapter={tmp_path}", 1)

    def after(text: str) -> str:
        weights.write_text(text)
        return stem(cell, "a")

    stems = [after("old"), after("newer"), after("old")]
    assert stems[0] == stems[2] != stems[1]
    for changed in ("greenloop", "sumo"):
        monkeypatch.setattr(provenance, "versions", lambda changed=changed: {changed: "99"})
        stems.append(stem(cell, "a"))
    assert len(set(stems)) == 4


def test_an_edited_controller_file_is_told_apart_in_its_results(tmp_path: Path, minute: Scenario) -> None:
    file = tmp_path / "mine.py"
    hashes = []
    for phase in (0, 0, 1):
        file.write_text(
            "from greenloop import Controller\n\n\nclass Mine(Controller):\n    def act(self, observation):\n"
            f"        return {{signal.id: {phase} for signal in self.network.controllable}}\n"
        )
        hashes.append(run_cell(Cell(minute, f"{file}:Mine", 1)).controller.loaded["code_sha256"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_controller_file_that_never_ends_is_stopped(tmp_path: Path, minute: Scenario) -> None:
    file = tmp_path / "endless.py"
    file.write_text("while True:\n    pass\n")
    for _ in range(2):  # half an import is not kept
        with pytest.raises(ControllerError, match=r"endless\.py:Mine' took longer than 0\.2 s in make\(\)"):
            matrix.check([minute], [f"{file}:Mine"], 1, tmp_path, limit_s=0.2)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", (1, 2, 3)),
        ("7,", (7,)),
        ("1,2,7", (1, 2, 7)),
        ("0-3", (0, 1, 2, 3)),
        ("5-5", (5,)),
        ("1-2,2-3", (1, 2, 3)),
        ("2147483647,", (2147483647,)),
    ],
)
def test_seeds_are_counted_listed_or_ranged(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "x", "1;2", "-3", "5-1", "1.5", "0", "10001", "1,2-10001", "0-99999999999", "2147483648,", "9" * 5000]
)
def test_bad_seeds_get_a_sentence(text: str) -> None:
    with pytest.raises(RequestError, match=r"Seeds '|at least one seed|Seed 2147483648 is too large"):
        parse_seeds(text)


def test_a_request_overrides_its_suite(tmp_path: Path) -> None:
    suited = plan(Request(suite="quick", out=tmp_path))
    assert {cell.suite.name for cell in suited.cells if cell.suite} == {"quick"}
    changed = plan(
        Request(suite="quick", scenarios=("cologne1",), controllers=("greedy",), seeds=(4,), minutes=5, out=tmp_path)
    )
    (cell,) = changed.cells
    assert (cell.scenario.horizon_s, cell.controller, cell.seed) == (300.0, "greedy", 4)
    rates = plan(Request(scenarios=("cologne1",), incidents=True, demand_scale=1.2, out=tmp_path)).cells[0].scenario
    assert rates.incident_rates.crash_per_h > 0
    assert rates.incident_rates.road_closure_per_h == 0  # one junction: there is no way around
    assert rates.demand.scale == 1.2


@pytest.mark.parametrize("limit_s", [-1.0, 1e12, math.inf, math.nan])
def test_a_bad_decision_limit_gets_a_sentence(limit_s: float, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"decision limit of \S+ s makes no sense; give 0 \(no limit\) to 86400\.$"):
        plan(Request(scenarios=("cologne1",), decision_limit_s=limit_s, out=tmp_path))


def test_a_run_from_python_gives_a_table(tmp_path: Path) -> None:
    import greenloop

    table = greenloop.run("cologne1", "fixed_time", seeds=[1], out=tmp_path, minutes=1, workers=1)
    assert table["controller"].tolist() == ["fixed_time"]
    assert greenloop.load_results(tmp_path)["delay_s"].tolist() == table["delay_s"].tolist()


COMMAND = [
    sys.executable, "-m", "benchmarks.cli.main", "run", "--scenario", "cologne1", "--minutes", "45",
    "--controller", "fixed_time", "--controller", "greedy", "--seeds", "4", "--workers", "2", "--no-figures",
]  # fmt: skip


@pytest.fixture
def sweeping(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A sweep that has just finished its first cell."""
    process = subprocess.Popen(
        [*COMMAND, "--out", str(tmp_path / "r")],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background job may ignore it
    )
    end_s = time.monotonic() + 60
    while not list((tmp_path / "r").glob("*.result.json")) and time.monotonic() < end_s:
        assert process.poll() is None
        time.sleep(0.05)
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.mark.slow
def test_an_interrupted_sweep_keeps_what_is_finished(tmp_path: Path, sweeping: subprocess.Popen[str]) -> None:
    all_below = psutil.Process(sweeping.pid).children(recursive=True)
    os.killpg(sweeping.pid, signal.SIGINT)  # as a terminal does
    _, said = sweeping.communicate(timeout=20)
    _, left = psutil.wait_procs(all_below, timeout=10)
    assert left == [], "workers or simulations go on without their parent"
    assert sweeping.returncode == 130
    assert "the same command goes on" in said
    assert "Traceback" not in said
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "r").glob("*.result.json")}
    assert 1 <= len(kept) < 8
    done = subprocess.run(
        [*COMMAND, "--out", str(tmp_path / "r"), "--json"], capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout)
    assert len(answer["results"]) == 8
    assert f"{len(kept)} finished before, kept" in done.stderr
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    assert len(results.load(tmp_path / "r")) == 8


SHORT = [
    sys.executable, "-m", "benchmarks.cli.main", "run", "--scenario", "cologne1", "--minutes", "3", "--trace",
    "--decision-log", "--controller", "greedy", "--seeds", "2", "--workers", "2", "--no-figures",
]  # fmt: skip


@pytest.mark.slow
def test_a_sweep_killed_at_random_moments_ends_bit_identical_to_one_that_was_not(
    tmp_path: Path, user_file: Path
) -> None:
    """The command itself, a worker and a simulation, each amid a run; each time the same command goes on."""
    draw = random.Random(8)
    command = [*SHORT, "--controller", f"{user_file}:Rotates", "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    for victim in ("command", "worker", "simulation"):
        said_file = tmp_path / "said"
        with said_file.open("wb") as said:
            sweep = psutil.Popen([*command, str(tmp_path / "cut")], stderr=said, stdout=subprocess.DEVNULL)
            simulation = first_simulation(sweep)
            time.sleep(draw.uniform(0.0, 0.5))
            family = sweep.children(recursive=True) if victim == "command" else []
            {"command": sweep, "worker": simulation.parent(), "simulation": simulation}[victim].kill()
            assert sweep.wait(timeout=90) != 0
        assert b"Traceback" not in said_file.read_bytes()
        assert psutil.wait_procs(family, timeout=10)[1] == []
    subprocess.run([*command, str(tmp_path / "cut")], check=True, capture_output=True)
    assert measured(tmp_path / "cut") == measured(tmp_path / "whole")
    files = [
        {
            path.name: path.read_bytes()
            for path in (tmp_path / folder).iterdir()
            if path.is_file() and "result.json" not in path.name
        }
        for folder in ("cut", "whole")
    ]
    assert len(files[1]) >= 8
    assert files[0] == files[1]


def first_simulation(sweep: psutil.Process) -> psutil.Process:
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
        for process in sweep.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "sim.engine.server" in process.cmdline():
                    return process
        time.sleep(0.02)
    pytest.fail("no simulation in a minute")


def test_a_run_killed_while_it_writes_leaves_no_result_and_its_draft_is_cleared_later(
    tmp_path: Path, minute: Scenario
) -> None:
    code = (
        "import os, sys, pathlib\n"
        "from benchmarks.results import run_result\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), 9)\n"
        "run_result.write_text(pathlib.Path(sys.argv[1]), 'half')\n"
    )
    path = tmp_path / "a.result.json"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    assert subprocess.run([sys.executable, "-c", code, str(path)], env=environment, check=False).returncode == -9
    (draft,) = tmp_path.iterdir()
    assert draft != path
    cells = [Cell(minute, "fixed_time", 1)]
    assert matrix.run(cells, tmp_path, 1, Recorder()).failed == []
    assert draft.exists()  # it may be another sweep's
    os.utime(draft, (1, 1))
    assert matrix.run(cells, tmp_path, 1, Recorder()).resumed == 1
    assert not draft.exists()
