"""The session: one real SUMO behind a process boundary."""

from __future__ import annotations

import hashlib
import os
import random
import signal as signals
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from controllers.classical.greedy import Greedy
from controllers.classical.holding import Holding
from controllers.classical.timed_programs import retimed
from scenarios import registry
from scenarios.common.sumo_tools import sumo_home
from scenarios.resco import RESCO
from scenarios.spec import Crash, Demand, DetectorOutage, RoadClosure, Scenario
from sim.engine.command import OutputFiles
from sim.engine.session import Outcome, Session, SessionError, SessionOptions
from sim.signals import Decision, DecisionError, Program, ProgramRow
from sim.timings import CLEARANCE, NATIVE, Timings


def scenario(name: str = "cologne1", minutes: float = 10, **changes: object) -> Scenario:
    whole = registry.load(name)
    return whole.with_(end_s=whole.begin_s + 60 * minutes, **changes)


def trips(files: OutputFiles) -> dict[str, dict[str, str]]:
    return {row.get("id", ""): dict(row.attrib) for row in ElementTree.parse(files.trips).getroot().iter("tripinfo")}


def run_greedy(session: Session, branch_every_s: float | None = None) -> Outcome:
    controller = Greedy()
    observation = session.start()
    controller.reset(session.network, session.seed)
    while not session.done:
        decisions = controller.act(observation)
        if branch_every_s and session.time_s % branch_every_s == 0:
            session.branch([decisions, {}], [10, 30], controller)
        observation = session.step(decisions)
    return session.finish()


def plain_sumo(case: Scenario, seed: int, folder: Path) -> dict[str, dict[str, str]]:
    files = OutputFiles(folder)
    arguments = {
        "-n": case.net_file,
        "-r": ",".join(map(str, case.route_files)),
        "-b": case.begin_s,
        "-e": case.end_s,
        "--seed": seed,
        "--time-to-teleport": -1,
        "--ignore-junction-blocker": NATIVE.blocker_s,
        "--tripinfo-output": files.trips,
        "--tripinfo-output.write-unfinished": "true",
        "--tripinfo-output.write-undeparted": "true",
        "--no-warnings": "true",
        "--no-step-log": "true",
    }
    command = [str(sumo_home() / "bin" / "sumo"), *(str(part) for pair in arguments.items() for part in pair)]
    subprocess.run(command, check=True, capture_output=True)
    return trips(files)


@pytest.mark.slow
@pytest.mark.parametrize("name", RESCO)
def test_fixed_time_equals_plain_sumo_vehicle_by_vehicle(name: str, tmp_path: Path) -> None:
    """The network's own programs, observed every 5 s, with our detectors in: not one number of one trip differs."""
    case = scenario(name, minutes=20 if name == "ingolstadt21" else 60)
    with Session(case, seed=3) as session:
        session.start()
        while not session.done:
            session.step({})
        ours = trips(session.finish().files)
    assert ours == plain_sumo(case, 3, tmp_path)
    assert len(ours) > 300


@pytest.mark.slow
def test_a_locked_junction_dissolves_unless_the_timings_say_never() -> None:
    """Under these dice vehicles that wait for gaps lock one junction of cologne3 up for the rest of the hour."""

    def longest_wait_s(timings: Timings) -> float:
        with Session(scenario("cologne3", minutes=60, demand=Demand(departure_jitter_s=30.0)), 5, timings) as session:
            controller, observation = Holding(), session.start()
            controller.reset(session.network, 5)
            while not session.done:
                observation = session.step(controller.act(observation))
            return max(float(trip["waitingTime"]) for trip in trips(session.finish().files).values())

    assert longest_wait_s(replace(NATIVE, blocker_s=None)) > 1500
    assert longest_wait_s(NATIVE) < 600


def test_libsumo_and_the_socket_give_the_same_run() -> None:
    closure = RoadClosure(start_s=100, duration_s=200, edge=_busy_edge("cologne1"), reroute_share=0.5)
    case = scenario(minutes=6, incidents=(closure,))
    results = []
    for backend in ("libsumo", "traci"):
        with Session(case, seed=5, options=SessionOptions(backend=backend)) as session:
            results.append(trips(run_greedy(session).files))
    assert results[0] == results[1]


def _busy_edge(name: str) -> str:
    """An edge that ends at a signal."""
    from sim.network import Network

    return Network.read(registry.load(name).net_file).lane_edge[0]


def test_branching_leaves_the_run_and_its_files_untouched() -> None:
    """Also across the moments at which SUMO reads on in its route file: a fork shares the file's position."""
    contents = []
    for branch_every_s in (None, 20):
        with Session(scenario("cologne8", minutes=12), seed=7) as session:
            files = run_greedy(session, branch_every_s).files
            texts = [files.trips.read_text(), files.summary.read_text()]
            contents.append([text.partition("-->")[2] for text in texts])  # SUMO writes the date into its first comment
    assert contents[0] == contents[1]
    assert all(len(text) > 1000 for text in contents[0])


def test_a_branch_sees_the_future_that_then_comes() -> None:
    with Session(scenario("cologne1", minutes=10), seed=2, options=SessionOptions(delays_by_second=True)) as session:
        controller = Greedy()
        observation = session.start()
        controller.reset(session.network, 2)
        while session.time_s < session.scenario.begin_s + 300:
            observation = session.step(controller.act(observation))
        decisions = controller.act(observation)
        result = session.branch([decisions, {session.network.signals[0].id: 0}], [5, 60], controller)
        total, at_5_s = 0.0, None
        for _ in range(12):
            observation = session.step(decisions)
            total += session.delay.network_veh_s
            at_5_s = total if at_5_s is None else at_5_s
            decisions = controller.act(observation)
    assert result.network_delay_veh_s.shape == (2, 2)
    assert result.signal_delay_veh_s.shape == (2, 2, 1)
    np.testing.assert_allclose(result.network_delay_veh_s[0], [at_5_s, total])


_DIGEST = """
import hashlib, sys
sys.path.insert(0, {root!r})
from tests.sim.test_session import run_greedy, scenario
from sim.engine.session import Session
rates = {{"crash_per_h": 12, "demand_surge_per_h": 12}}
with Session(scenario("cologne8", minutes=5, incident_rates=rates), seed=4) as session:
    print(hashlib.sha256(run_greedy(session).files.trips.read_text().partition("-->")[2].encode()).hexdigest())
"""


def test_same_seed_gives_identical_trips_across_processes() -> None:
    code = _DIGEST.format(root=str(Path(__file__).parents[2]))
    digests = set()
    for hash_seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout.strip())
    assert len(digests) == 1
    assert len(digests.pop()) == len(hashlib.sha256().hexdigest())


def test_seeds_differ() -> None:
    results = []
    for seed in (1, 2):
        with Session(scenario(minutes=4), seed=seed) as session:
            results.append(trips(run_greedy(session).files))
    assert results[0] != results[1]


def test_several_sessions_live_side_by_side() -> None:
    with (
        Session(scenario("cologne1", minutes=4), seed=1) as one,
        Session(scenario("cologne3", minutes=4), seed=1) as two,
    ):
        first, second = one.start(), two.start()
        for _ in range(10):
            first, second = one.step({}), two.step({})
        assert first.time_s == second.time_s == one.scenario.begin_s + 50
        assert first.queue_veh.shape != second.queue_veh.shape


def test_observation_by_the_simulator_s_own_word() -> None:
    """Queues, zones and flows add up to what must be there."""
    with Session(scenario("cologne1", minutes=20), seed=1) as session:
        session.start()
        for _ in range(238):
            observation = session.step({})
        network = session.network
        assert observation.lane_ok.all()
        assert observation.queue_veh.sum() > 0
        assert (observation.wait_s[observation.queue_veh == 0] == 0).all()
        assert (observation.wait_s[observation.queue_veh > 0] > 0).all()
        assert (observation.speed_mps <= network.lane_speed_mps * 1.5).all()
        # 2015 vehicles an hour enter this one junction; each passes one loop once.
        assert 0.7 * 2015 < observation.flow_veh_h[:, 2].sum() < 1.3 * 2015
        assert (observation.exit_room_veh <= network.exit_length_m / 7.5).all()
        assert observation.phase[0] in range(-1, 4)


def test_watching_sees_what_stepping_sees() -> None:
    seen = []
    for watching in (True, False):
        with Session(scenario("cologne3", minutes=3), seed=1) as session:
            session.start()
            seen.append(session.watch(180) if watching else [session.step({}) for _ in range(36)])
            assert session.done
    assert len(seen[0]) == len(seen[1]) == 36
    for watched, stepped in zip(*seen, strict=True):
        assert watched.time_s == stepped.time_s
        np.testing.assert_array_equal(watched.zone_veh, stepped.zone_veh)
        np.testing.assert_array_equal(watched.phase_age_s, stepped.phase_age_s)


def test_a_dead_detector_is_nan_and_masked() -> None:
    edge = _busy_edge("cologne1")
    case = scenario(minutes=5, incidents=(DetectorOutage(start_s=60, duration_s=120, edge=edge),))
    with Session(case, seed=1) as session:
        observation = session.start()
        dark = np.array([name == edge for name in session.network.lane_edge])
        seen = {}
        while not session.done:
            seen[observation.time_s - case.begin_s] = observation
            observation = session.step({})
    assert seen[0].lane_ok.all()
    assert seen[200].lane_ok.all()
    assert (seen[120].lane_ok == ~dark).all()
    assert np.isnan(seen[120].queue_veh[dark]).all()
    assert np.isnan(seen[120].flow_veh_h[dark]).all()
    assert not np.isnan(seen[120].queue_veh[~dark]).any()


def test_reports_arrive_late_and_stay() -> None:
    network = Session(scenario(), seed=1).network
    wide = next(edge for edge in network.lane_edge if network.roads[edge].lanes > 1)
    case = scenario(minutes=8, incidents=(Crash(start_s=30, duration_s=200, edge=wide, lanes=(0,)),))
    with Session(case, seed=1) as session:
        observation = session.start()
        first = None
        while not session.done:
            if observation.reports and first is None:
                first = observation.time_s - case.begin_s
            observation = session.step({})
        outcome = session.finish()
    assert first is not None
    assert 30 + 60 <= first <= 30 + 180 + 5
    assert observation.reports[0].type == "crash"
    (truth,) = outcome.incidents
    assert truth["type"] == "crash"
    assert truth["edge"] == wide


def test_without_detectors_everything_is_unknown_but_the_lights() -> None:
    with Session(scenario(minutes=2), seed=1, options=SessionOptions(observing=False)) as session:
        observation = session.start()
        assert np.isnan(observation.zone_veh).all()
        assert not observation.lane_ok.any()
        assert observation.phase[0] == 0
        outcome = session.finish()
        assert np.isnan(outcome.worst_wait_s)


def test_warm_up_runs_before_the_first_observation() -> None:
    case = scenario(minutes=10, warmup_s=120.0)
    with Session(case, seed=1) as session:
        observation = session.start()
        assert observation.time_s == case.begin_s + 120
        assert observation.flow_veh_h.sum() > 0


def test_an_installed_program_runs_and_is_audited() -> None:
    with Session(scenario(minutes=5), seed=1) as session:
        session.start()
        signal = session.network.signals[0]
        rows = tuple(ProgramRow(row.state, row.duration_s) for row in signal.program)
        hasty = tuple(ProgramRow(row.state, 2) for row in signal.program)
        observation = session.step({signal.id: Decision(program=Program(rows[2:] + rows[:2]))})
        assert observation.phase[0] == 1
        session.step({signal.id: Decision(program=Program(hasty))})
        for _ in range(30):
            session.step({})
        outcome = session.finish()
    assert outcome.audit["min_green"] > 0
    assert outcome.audit["no_yellow"] > 0
    assert outcome.audit["foes"] == 0


def test_audit_by_next_switch_misses_nothing_of_an_actuated_program() -> None:
    """The audit looks only when a switch is due; looking every second must see the same."""
    counted = []
    for interval_s in (1, 5):
        timings = type(NATIVE)("look", decision_interval_s=interval_s)
        with Session(scenario(minutes=6), seed=1, timings=timings) as session:
            session.start()
            signal = session.network.signals[0]
            rows = tuple(
                ProgramRow(r.state, r.duration_s, 3 if "y" not in r.state else None, 40) for r in signal.program
            )
            session.step({signal.id: Decision(program=Program(rows, type="actuated"))})
            states = []
            while not session.done:
                states.append(int(session.step({}).phase[0]))
            outcome = session.finish()
            counted.append((outcome.switches, outcome.audit))
    assert counted[0] == counted[1]
    assert counted[0][0] > 10


def test_bad_decisions_are_refused_and_the_run_goes_on() -> None:
    with Session(scenario(minutes=2), seed=1) as session:
        session.start()
        with pytest.raises(DecisionError, match="phase 17"):
            session.step({session.network.signals[0].id: 17})
        assert session.step({}).time_s == session.scenario.begin_s + 5


def test_a_sumo_that_dies_is_one_sentence_and_others_live() -> None:
    with Session(scenario(minutes=5), seed=1) as victim, Session(scenario(minutes=5), seed=1) as other:
        victim.start()
        other.start()
        assert victim._process is not None
        os.kill(victim._process.pid, signals.SIGKILL)
        victim._process.wait()
        with pytest.raises(SessionError) as error:
            victim.step({})
        assert "cologne1 failed: SUMO's process ended unexpectedly" in str(error.value)
        assert "\n" not in str(error.value)
        assert other.step({}).time_s > 0
        with pytest.raises(SessionError, match="not running"):
            victim.step({})


@pytest.fixture
def ctrl_c_interrupts() -> Iterator[None]:
    """A shell that starts the tests in the background has them ignore Ctrl-C; here it counts."""
    before = signals.signal(signals.SIGINT, signals.default_int_handler)
    yield
    signals.signal(signals.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_ctrl_c_in_any_verb_leaves_each_answer_with_its_own_request() -> None:
    """An answer that comes after the interruption is nobody's; one that is torn ends the session with a sentence."""
    draw, interrupted = random.Random(3), 0
    torn: list[str] = []
    with Session(scenario("cologne3", minutes=60), seed=1) as session:
        session.start()
        for turn in range(40):
            verb = (lambda: session.step({}), lambda: session.advance({}, 7.0), lambda: session.watch(10.0))[turn % 3]
            alarm = threading.Timer(draw.uniform(0, 0.02), os.kill, (os.getpid(), signals.SIGINT))
            try:
                alarm.start()
                for _ in range(5):
                    verb()
                alarm.join()
                time.sleep(0.01)
            except KeyboardInterrupt:
                interrupted += 1
            alarm.join()
            try:
                stepped, read = session.step({}), session.observe()
            except SessionError as error:
                torn.append(str(error))
                session.start()
                continue
            assert stepped.time_s == read.time_s == session.time_s
            np.testing.assert_array_equal(stepped.zone_veh, read.zone_veh)
    assert interrupted > 20
    assert all("interrupted in the middle of a message" in said for said in torn)


def test_a_fork_of_the_program_takes_nothing_along_when_it_ends() -> None:
    code = (
        "import os, sys\n"
        "from scenarios import registry\n"
        "from sim.engine.session import Session, SessionError\n"
        "case = registry.load('cologne1')\n"
        "with Session(case.with_(end_s=case.begin_s + 60), 1) as session:\n"
        "    session.start()\n"
        "    if os.fork() == 0:\n"
        "        try:\n"
        "            session.step({})\n"
        "        except SessionError as error:\n"
        "            print(error, flush=True)\n"
        "        session.close()\n"
        "        sys.exit(0)\n"
        "    os.wait()\n"
        "    session.advance({}, 60)\n"
        "    print(session.finish().files.trips.is_file())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert "belongs to the process that started it" in first
    assert second == "True"


def test_a_simulation_that_hangs_inside_sumo_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """With libsumo by processor time, also in the fork of a branch; else, and in whatever waits, by silence."""
    monkeypatch.setattr("sim.engine.session.check_decisions", lambda network, decisions: decisions)
    for backend, says in (("libsumo", "stopped at its limit of processor time"), ("traci", "gave no sign of life")):
        options = SessionOptions(backend=backend, step_limit_s=0.5, silence_limit_s=2)
        with Session(scenario(minutes=5), seed=1, options=options) as session:
            session.start()
            signal = session.network.signals[0]
            rows = tuple(ProgramRow(row.state, row.duration_s, 0, 50) for row in signal.program)
            endless = {signal.id: Decision(program=Program(rows, "actuated"))}
            if backend == "libsumo":
                with pytest.raises(SessionError, match=r"branch of the simulation failed: .*processor time"):
                    session.branch([endless, {}], [300])
                session.start()
            with pytest.raises(SessionError, match=says):
                go_on(session, endless)


def go_on(session: Session, decisions: dict[str, Decision]) -> None:
    session.apply(decisions)
    while not session.done:
        session.step({})


def test_routes_that_do_not_fit_the_network_are_one_sentence(tmp_path: Path) -> None:
    routes = tmp_path / "wrong.rou.xml"
    routes.write_text('<routes><vehicle id="a" depart="25200"><route edges="nowhere"/></vehicle></routes>')
    case = scenario(minutes=2, route_files=(routes,))
    with Session(case, seed=1) as session, pytest.raises((SessionError, ValueError)) as error:
        session.start()
    assert "nowhere" in str(error.value) or "wrong.rou.xml" in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_backend_and_gui_without_socket() -> None:
    with pytest.raises(SessionError, match="choose libsumo or traci"):
        Session(scenario(), seed=1, options=SessionOptions(backend="ns3"))
    with pytest.raises(SessionError, match="--backend traci"):
        Session(scenario(), seed=1, options=SessionOptions(gui=True))


def test_looking_ahead_needs_libsumo() -> None:
    with Session(scenario(minutes=2), seed=1, options=SessionOptions(backend="traci")) as session:
        session.start()
        with pytest.raises(SessionError, match="needs the libsumo backend"):
            session.branch([{}], [5])


def test_close_leaves_no_process_and_no_folder() -> None:
    session = Session(scenario(minutes=2), seed=1)
    session.start()
    folder, process = session.files.folder, session._process
    assert process is not None
    session.close()
    assert process.poll() is not None
    assert not folder.exists()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{process.pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{process.pid}").exists()


@pytest.mark.parametrize("timings", [NATIVE, CLEARANCE], ids=lambda t: t.name)
def test_a_program_installed_in_mid_run_is_joined_through_a_whole_intergreen(timings: Timings) -> None:
    """Whatever the signal shows then: no green is cut short, none ends without its yellow."""
    for after_s in (60, 85, 110):  # at different points of the native cycles
        with Session(scenario("cologne3", minutes=7), seed=1, timings=timings) as session:
            session.start()
            session.advance(seconds=after_s)
            programs = {s.id: Decision(program=retimed(s, timings)) for s in session.network.signals}
            shifted = {
                k: replace(d, program=replace(d.program, offset_s=33.0)) for k, d in programs.items() if d.program
            }
            session.step(shifted)
            while not session.done:
                session.step({})
            outcome = session.finish()
        assert outcome.switches > 20
        assert not +Counter(outcome.audit)
