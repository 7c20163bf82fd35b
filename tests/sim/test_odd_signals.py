"""Signals as SUMO runs them: several programs, additional files, WAUTs, adaptive types, all users, clearance."""

from __future__ import annotations

import csv
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.networks.signal_facts import notes, signal_facts
from controllers import registry as controllers
from controllers.base import RunContext
from controllers.classical.fixed_time import FixedTime
from controllers.classical.timed_programs import retimed
from scenarios.common.sumo_tools import sumo_home
from scenarios.spec import Scenario
from sim.engine.session import Session, SessionOptions
from sim.network import Network, NetworkError, Signal
from sim.safety.decisions import Decision, DecisionError, Program, ProgramRow, check_decisions
from sim.safety.intergreen import Intergreens
from sim.signals import Service, SignalMachine
from sim.timings import CLEARANCE, NATIVE, Timings
from tests.support.lights import odd_networks as odd
from tests.support.lights.light_checker import LightChecker
from tests.support.lights.wild_decisions import ODD, run_wild

DAY = odd.logic(odd.TWO_STAGES, "day")
NIGHT = odd.logic(odd.FOUR_STAGES, "night")


def read(folder: Path, *logics: str, walks: bool = False, tram: bool = False) -> Signal:
    return Network.read(odd.write_network(folder, *logics, walks=walks, tram=tram)).signals[0]


def scenario(folder: Path, *logics: str, extra: str = "", seconds: int = 120, walks: bool = False) -> Scenario:
    """A few cars, and people where there are crossings; ``extra`` stands in an additional file."""
    net = odd.write_network(folder, *logics, walks=walks)
    flows = [
        f'<flow id="{a}{b}" begin="0" end="900" vehsPerHour="300" from="{a}c" to="c{b}"/>'
        for a, b in (("n", "s"), ("e", "w"), ("s", "n"), ("w", "n"))
    ]
    if walks:
        flows.append('<personFlow id="p" begin="0" end="900" perHour="600" departPos="170">')
        flows.append('<walk from="nc" to="cs"/></personFlow>')
    (folder / "x.rou.xml").write_text(f"<routes>{''.join(flows)}</routes>")
    files = ()
    if extra:
        (folder / "x.add.xml").write_text(f"<additional>{extra}</additional>")
        files = (folder / "x.add.xml",)
    return Scenario(
        name="cross",
        net_file=net,
        route_files=(folder / "x.rou.xml",),
        additional_files=files,
        begin_s=0,
        end_s=seconds,
    )


def lights(session: Session) -> list[str]:
    """Finish, and return what the signal showed in each second."""
    outcome = session.finish()
    with outcome.files.lights.open() as stream:
        rows = list(csv.DictReader(stream, delimiter=";"))
    return [next(value for key, value in row.items() if key.endswith("state")) for row in rows]


# --- A: the programs that SUMO runs ---------------------------------------------------------------------------------


def test_the_last_of_several_programs_is_the_one_that_runs(tmp_path: Path) -> None:
    signal = read(tmp_path, DAY, NIGHT)
    assert (signal.program_id, len(signal.phases), signal.yellow_s) == ("night", 4, 4)
    assert [program.id for program in signal.unused] == ["day"]


def test_a_program_of_an_additional_file_runs_instead(tmp_path: Path) -> None:
    network = Network.of(scenario(tmp_path, DAY, extra=NIGHT))
    facts = signal_facts(network, network.signals[0])
    assert (facts.program, facts.type, len(facts.stages), facts.cycle_s) == ("night", "static", 4, 96)
    assert [(program.id, program.used) for program in facts.programs] == [("night", True), ("day", False)]
    assert any("'night' (static, 4 stages, 96 s, active at the start)" in note for note in notes(network, [facts]))


WAUT = NIGHT + (
    '<WAUT id="w" refTime="0" startProg="day"><wautSwitch time="50" to="night"/></WAUT>'
    '<wautJunction wautID="w" junctionID="c"/>'
)


def test_a_waut_switches_programs_as_sumo_does_until_a_controller_takes_over(tmp_path: Path) -> None:
    made = scenario(tmp_path, DAY, extra=WAUT)
    with Session(made, 1, options=SessionOptions(trace=True, observing=False)) as session:
        session.start()
        signal = session.network.signals[0]
        assert (signal.program_id, [(s.time_s, s.program) for s in signal.switches]) == ("day", [(50, "night")])
        assert len(signal.phases) == 6, "of both programs"
        session.advance(seconds=120)
        native = lights(session)
    assert native == raw_sumo(made, tmp_path)
    with Session(made, 1, options=SessionOptions(trace=True, observing=False)) as session:
        session.start()
        session.advance({"c": 0}, 120)
        assert set(lights(session)[20:]) <= {*native[:45], "rrrGGgrrrGGg", "rrryyyrrryyy", *shown_phases(signal)}
    with Session(made, 1, options=SessionOptions(trace=True, observing=False)) as session:
        session.start()
        rows = (ProgramRow("GGgrrrGGgrrr", 20), ProgramRow("yyyrrryyyrrr", 3), ProgramRow("rrrGGgrrrGGg", 20))
        session.advance({"c": Decision(program=Program((*rows, ProgramRow("rrryyyrrryyy", 3))))}, 120)
        assert set(lights(session)) == {row.state for row in rows} | {"rrryyyrrryyy"}


def shown_phases(signal: Signal) -> set[str]:
    return {phase.state for phase in signal.phases} | {
        state
        for a in signal.phases
        for b in signal.phases
        for state in Intergreens(signal.clearance, NATIVE).change(a.state, b.state).states
    }


def raw_sumo(made: Scenario, folder: Path) -> list[str]:
    """What SUMO shows without greenloop."""
    (folder / "raw.add.xml").write_text(
        f'<additional><timedEvent type="SaveTLSStates" dest="{folder / "raw.xml"}"/></additional>'
    )
    files = ",".join(map(str, (*made.additional_files, folder / "raw.add.xml")))
    options = ["-n", made.net_file, "-r", made.route_files[0], "--additional-files", files, "--begin", 0]
    options += ["--end", made.end_s, "--no-step-log", "true"]
    command = [sumo_home() / "bin" / "sumo", *options]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return [
        line.split('state="')[1].split('"')[0]
        for line in (folder / "raw.xml").read_text().splitlines()
        if "state=" in line
    ]


def test_a_waut_with_a_procedure_stays_with_sumo_and_says_so(tmp_path: Path) -> None:
    made = scenario(tmp_path, DAY, extra=WAUT.replace("<wautJunction", '<wautJunction procedure="GSP"'))
    problem = Network.of(made).signals[0].problem
    assert problem is not None
    assert "Signal 'c' is switched between programs by the procedure GSP of its WAUT" in problem


def test_nema_stages_are_those_that_sumo_shows(tmp_path: Path) -> None:
    made = scenario(tmp_path, odd.NEMA)
    with Session(made, 1, options=SessionOptions(trace=True, observing=False)) as session:
        session.start()
        signal = session.network.signals[0]
        session.advance(seconds=120)
        shown = set(lights(session))
    greens = {state for state in shown if "y" not in state and set(state) & set("Gg")}
    assert signal.type == "NEMA"
    assert len(greens) > 1
    assert greens <= {phase.state for phase in signal.phases}
    change = next(
        c for c in signal.clearance.changes if c.before[0] == "G" and c.before[6] == "G" and c.after[3] == "G"
    )
    assert change.total_s == 5
    assert {change.links[link].yellow_s for link in (0, 1, 2)} == {4}
    assert {(change.links[link].yellow_s, change.links[link].red_s) for link in (6, 7, 8)} == {(3, 2)}


def test_nema_without_rings_keeps_its_own_control(tmp_path: Path) -> None:
    signal = read(tmp_path, odd.NEMA.replace('value="0,6,0,8"', 'value="0,6,0,9"'))
    assert signal.problem == (
        "Signal 'c' has a NEMA program that names a phase '9' that it has not, so its stages cannot be told; it keeps "
        "its own control."
    )


def test_an_offset_may_be_the_begin_and_states_must_not_be_short(tmp_path: Path) -> None:
    net = odd.write_network(tmp_path, odd.logic(odd.TWO_STAGES, offset="begin"))
    assert Network.read(net, begin_s=300, end_s=900).signals[0].offset_s == 300
    short = [(seconds, state[:8]) for seconds, state in odd.TWO_STAGES]
    with pytest.raises(NetworkError, match=r"governs link 11, but program '0' has states of 8 letters"):
        read(tmp_path, odd.logic(short))
    with pytest.raises(NetworkError, match="duration is 'long'"):
        read(tmp_path, odd.logic(odd.TWO_STAGES).replace('duration="30"', 'duration="long"', 1))


def test_fixed_time_keeps_the_type_of_the_network_s_own_control(tmp_path: Path) -> None:
    made = scenario(tmp_path, odd.logic(odd.TWO_STAGES, kind="actuated"))
    controller = FixedTime()
    controller.context = RunContext(made, 1, CLEARANCE, None)
    controller.reset(Network.of(made), 1)
    assert controller.provenance() == {"network_control": "1 actuated"}
    ((_, _, decision),) = controller.timetable
    assert decision.program is not None
    assert decision.program.type == "actuated"
    assert [(row.state, row.duration_s, *row.bounds_s) for row in decision.program.rows[:3]] == [
        ("GGgrrrGGgrrr", 30, 5, 40),
        ("yyyrrryyyrrr", 3, 3, 3),
        ("rrrrrrrrrrrr", 2, 2, 2),
    ]


# --- B: everybody who has a light -----------------------------------------------------------------------------------


def test_stages_without_cars_are_phases(tmp_path: Path) -> None:
    walking = read(tmp_path, odd.logic(odd.SCRAMBLE), walks=True)
    assert [phase.state for phase in walking.phases] == [odd.SCRAMBLE[i][1] for i in (0, 2, 4)]
    assert [phase.min_green_s for phase in walking.phases] == [0, 0, 12]
    assert len(walking.phases[2].crossings) == 4
    assert read(tmp_path, odd.logic(odd.TRAM), tram=True).phases[2].movements[0].link == 12


def test_a_stage_for_nobody_is_no_phase(tmp_path: Path) -> None:
    rows = [(seconds, f"{state}rr") for seconds, state in odd.TWO_STAGES]
    rows += [(20, "rrrrrrrrrrrrGG"), (3, "rrrrrrrrrrrryy")]
    signal = read(tmp_path, odd.logic(rows))
    assert len(signal.phases) == 2
    assert Intergreens(signal.clearance, NATIVE).longest_s() == 3, "20 s for nobody are no clearance"


@pytest.mark.parametrize("rows", [odd.SCRAMBLE, odd.BESIDE], ids=["scramble", "beside"])
def test_walks_and_their_clearance_hold_for_a_machine(tmp_path: Path, rows: odd.Rows) -> None:
    net = odd.write_network(tmp_path, odd.logic(rows), walks=True)
    signal = Network.read(net).signals[0]
    machine, checker = SignalMachine(signal, NATIVE, rows[0][1], 5), LightChecker(net, "c")
    for second in range(600):
        if second % 5 == 0:
            machine.request((second // 5 * 7) % len(signal.phases))
        checker.see(machine.tick())
    assert not +checker.wrong, checker.first


CONTROLLERS = (
    "fixed_time",
    "greedy",
    "longest_queue",
    "max_pressure_normalised",
    "sotl",
    "holding",
    "actuated",
    "phase_net",
)


@pytest.mark.parametrize("name", CONTROLLERS)
def test_people_get_over_the_road_under_every_controller(tmp_path: Path, name: str) -> None:
    made = scenario(tmp_path, odd.logic(odd.SCRAMBLE), seconds=240, walks=True)
    controller = controllers.make(name)
    with Session(made, 1, options=SessionOptions(trace=True, observing=controller.observes)) as session:
        observation = session.start()
        controller.context = RunContext(made, 1, NATIVE, None)
        controller.reset(session.network, 1)
        waiting = 0.0
        while not session.done:
            observation = session.step(controller.act(observation))
            waiting = max(waiting, float(observation.waiting_persons.sum()))
        checker = LightChecker(made.net_file, "c")
        for state in lights(session):
            checker.see(state)
    if controller.observes:
        assert waiting > 0
    assert not +checker.wrong, checker.first
    walks = [place for place, state in enumerate(checker.history) if "G" in state[12:]]
    assert len(walks) >= 24, "people had green at least twice"


# --- C: clearance per link ------------------------------------------------------------------------------------------


def changes(signal: Signal, before: int, after: int, timings: Timings = NATIVE) -> list[str]:
    states = [phase.state for phase in signal.phases]
    return list(Intergreens(signal.clearance, timings).change(states[before], states[after]).states)


def test_a_change_pays_what_the_native_plan_pays(tmp_path: Path) -> None:
    for rows in (odd.ALL_RED, odd.STAGGERED, odd.TWO_STAGES):
        signal = read(tmp_path, odd.logic(rows))
        half = next(i for i, (_, state) in enumerate(rows) if state == signal.phases[1].state)
        native = [state for seconds, state in rows[1:half] for _ in range(int(seconds))]
        assert changes(signal, 0, 1) == native
        back = [state for seconds, state in rows[half + 1 :] for _ in range(int(seconds))]
        assert changes(signal, 1, 0) == back


def test_red_amber_is_no_yellow(tmp_path: Path) -> None:
    signal = read(tmp_path, odd.logic(odd.STAGGERED))
    assert signal.yellow_s == 4
    assert (signal.yellow_s, signal.yellow_s + signal.red_s) == (4, 7)


def test_a_change_that_the_plan_does_not_make_pays_as_the_nearest_one(tmp_path: Path) -> None:
    rows = list(odd.FOUR_STAGES)
    rows.insert(2, (3, "rrrrrrrrrrrr"))  # after north only
    signal = read(tmp_path, odd.logic(rows))
    assert [len(changes(signal, 0, other)) for other in (1, 2, 3)] == [7, 7, 7]
    assert [len(changes(signal, 1, other)) for other in (0, 2, 3)] == [4, 4, 4]
    assert changes(signal, 0, 2)[3:] == ["yyyrrrrrrrrr", *["rrrrrrrrrrrr"] * 3]


def test_fractions_are_paid_over_time(tmp_path: Path) -> None:
    signal = read(tmp_path, odd.logic(odd.FRACTIONS))
    assert signal.yellow_s == 3.5
    machine = SignalMachine(signal, NATIVE, odd.FRACTIONS[0][1], 5)
    yellows = []
    for turn in range(10):
        machine.request((turn + 1) % 2)
        shown = [machine.tick() for _ in range(12)]
        yellows.append(sum("y" in state for state in shown))
    assert yellows == [4, 3] * 5


def test_where_no_yellow_is_all_controllers_show_the_same(tmp_path: Path) -> None:
    network = Network.read(odd.write_network(tmp_path, odd.logic(odd.NO_YELLOW)))
    signal = network.signals[0]
    assert changes(signal, 0, 1) == ["yyyrrryyyrrr"] * 3
    program = retimed(signal, NATIVE)
    assert [(row.state, row.duration_s) for row in program.rows] == [
        ("GGgrrrGGgrrr", 32),
        ("yyyrrryyyrrr", 3),
        ("rrrGGgrrrGGg", 32),
        ("rrryyyrrryyy", 3),
    ]
    fixed = FixedTime()
    fixed.reset(network, 1)
    assert [decision.program for _, _, decision in fixed.timetable] == [program]
    rows = tuple(ProgramRow(step.state, step.duration_s) for step in signal.program)
    with pytest.raises(DecisionError, match="takes green from link 0 without yellow"):
        check_decisions(network, {"c": Decision(program=Program(rows))})


def test_a_long_all_red_after_some_stages_only_is_an_empty_stage(tmp_path: Path) -> None:
    signal = read(tmp_path, odd.logic([*odd.TWO_STAGES, (9, "rrrrrrrrrrrr")]))
    assert len(changes(signal, 1, 0)) == 3
    assert signal.clearance.empty_stages_s == (9,)
    everywhere = [*odd.TWO_STAGES[:2], (9, "r" * 12), *odd.TWO_STAGES[2:], (9, "r" * 12)]
    assert len(changes(read(tmp_path, odd.logic(everywhere)), 1, 0)) == 12


# --- D: attacks -----------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(sorted(ODD)), seed=st.integers(0, 2**32))
def test_phases_holds_and_programs_mixed_never_break_a_rule(
    tmp_path_factory: pytest.TempPathFactory, name: str, seed: int
) -> None:
    logics, options = ODD[name]
    net = odd.write_network(tmp_path_factory.mktemp("odd"), *logics, **options)
    wild = run_wild(net, 120, seed)
    assert not +wild.wrong, wild.first
    assert not +wild.audit
    assert wild.longest_red_s <= wild.red_limit_s


def test_the_checker_itself_sees_what_is_wrong(tmp_path: Path) -> None:
    net = odd.write_network(tmp_path, odd.logic(odd.ALL_RED))
    bad = {
        "no yellow": ["GGgrrrGGgrrr"] * 9 + ["r" * 12],
        "yellow too short": ["GGgrrrGGgrrr"] * 9 + ["yyyrrryyyrrr"] * 2 + ["r" * 12],
        "green too short": ["r" * 12] * 9 + ["GGgrrrGGgrrr"] * 4 + ["yyyrrryyyrrr"],
        "clearance too short": ["GGgrrrGGgrrr"] * 9 + ["yyyrrryyyrrr"] * 3 + ["r" * 12] * 4 + ["rrrGGgrrrGGg"],
        "foes together": ["GGGrrrGGGrrr"],
    }
    for kind, states in bad.items():
        checker = LightChecker(net, "c")
        for state in states:
            checker.see(state)
        assert set(+checker.wrong) == {kind}


def one_phase(signal: Signal, phase: int, seconds: float = 1000) -> Decision:
    return Decision(program=Program((ProgramRow(signal.phases[phase].state, seconds),)))


def test_a_program_between_two_phases_in_sumo_is_left_through_a_whole_change(tmp_path: Path) -> None:
    made = scenario(tmp_path, odd.logic(odd.TWO_STAGES))
    with Session(made, 1, options=SessionOptions(trace=True)) as session:
        session.start()
        signal = session.network.signals[0]
        cycle = tuple(ProgramRow(state, 10 if "y" not in state else 3) for _, state in odd.TWO_STAGES)
        session.advance({"c": 0}, 8)
        session.advance({"c": Decision(program=Program(cycle))}, 5)
        while int(session.observe().phase[signal.index]) != 0:
            session.advance({}, 1)
        session.advance({"c": 0}, 30)
        session.advance({"c": 1}, 20)
        checker = LightChecker(made.net_file, "c")
        shown = lights(session)
    for state in shown:
        checker.see(state)
    assert not +checker.wrong, checker.first


@pytest.mark.parametrize("how", ["advance", "one phase program", "both in turn"])
def test_a_called_link_is_served_whatever_is_done(tmp_path: Path, how: str) -> None:
    made = scenario(tmp_path, odd.logic(odd.TWO_STAGES), seconds=400)
    with Session(made, 1, options=SessionOptions(trace=True)) as session:
        session.start()
        signal = session.network.signals[0]
        for turn in range(80):
            asked: Decision | int = (
                0 if how == "advance" or (how == "both in turn" and turn % 2) else one_phase(signal, 0)
            )
            session.advance({"c": asked} if how != "one phase program" or turn == 0 else {}, 5)
        outcome = session.finish()
        with outcome.files.lights.open() as stream:
            states = [
                next(v for k, v in row.items() if k.endswith("state")) for row in csv.DictReader(stream, delimiter=";")
            ]
    red_s = longest_s = 0
    for state in states:
        red_s = 0 if state[4] in "Gg" else red_s + 1
        longest_s = max(longest_s, red_s)
    assert outcome.repairs["max_red"] >= 2
    assert longest_s <= Service.of(signal, NATIVE).max_red_s + 30, "with the time until the first car comes"
    assert outcome.worst_wait_s > 60


def test_what_was_counted_survives_an_installed_program(tmp_path: Path) -> None:
    made = scenario(tmp_path, odd.logic(odd.TWO_STAGES), seconds=60)
    with Session(made, 1) as session:
        session.start()
        for turn in range(20):
            session.advance({"c": turn % 2}, 1)
        session.advance({"c": one_phase(session.network.signals[0], 0)}, 20)
        outcome = session.finish()
    assert outcome.repairs["min_green"] > 5
    assert outcome.switches >= 2


def test_an_adaptive_program_may_be_replaced_by_any_other(tmp_path: Path) -> None:
    made = scenario(tmp_path, odd.logic(odd.TWO_STAGES), seconds=200)
    rows = [ProgramRow(s, 10, 5, 50) if "y" not in s else ProgramRow(s, 3) for _, s in odd.TWO_STAGES]
    fixed = tuple(ProgramRow(s, 12 if "y" not in s else 3) for _, s in odd.TWO_STAGES)
    with Session(made, 1, options=SessionOptions(trace=True)) as session:
        session.start()
        session.advance({"c": Decision(program=Program(tuple(rows), "actuated"))}, 60)
        session.advance({"c": Decision(program=Program(fixed))}, 140)
        shown = lights(session)[100:]
    starts = [i for i in range(1, len(shown)) if "y" in shown[i] and "y" not in shown[i - 1]]
    assert {b - a for a, b in pairwise(starts)} == {15}


def test_an_adaptive_program_that_switches_between_seconds_is_audited_in_time(tmp_path: Path) -> None:
    made = scenario(tmp_path, odd.logic(odd.TWO_STAGES), seconds=200)
    rows = [ProgramRow(s, 10, 8.3, 50) if "y" not in s else ProgramRow(s, 3) for _, s in odd.TWO_STAGES]
    with Session(made, 1) as session:
        session.start()
        session.advance({"c": Decision(program=Program(tuple(rows), "actuated"))}, 200)
        assert not any(session.finish().audit.values())


def test_a_railway_signal_beside_the_road_stays_with_sumo(tmp_path: Path) -> None:
    made = scenario(tmp_path, odd.logic(odd.TWO_STAGES), seconds=30)
    (tmp_path / "r.nod.xml").write_text(
        '<nodes><node id="a" x="0" y="900"/><node id="b" x="300" y="900" type="rail_signal"/>'
        '<node id="d" x="600" y="900"/></nodes>'
    )
    (tmp_path / "r.edg.xml").write_text(
        '<edges><edge id="ab" from="a" to="b" allow="rail"/><edge id="bd" from="b" to="d" allow="rail"/></edges>'
    )
    files = ["-s", made.net_file, "-n", tmp_path / "r.nod.xml", "-e", tmp_path / "r.edg.xml", "-o", made.net_file]
    subprocess.run(
        [str(part) for part in (sumo_home() / "bin" / "netconvert", *files)], check=True, capture_output=True
    )
    network = Network.read(made.net_file)
    assert [signal.id for signal in network.signals if signal.problem] == ["b"]
    with Session(made, 1) as session:
        assert session.start().phase.shape == (2,)


@pytest.mark.parametrize(
    ("rows", "kind", "sentence"),
    [
        ([("GGgrrrGGgrrr", 0.5, None, None)], "static", "a row of 0.5 s; give 1 s or more, SUMO's step"),
        ([("GGgrrrGGgrrr", 1e9, None, None)], "static", "at most 1000000 s"),
        ([("GGgrrrGGgrrr", 9, 0, 50)], "actuated", "a row of 0 to 50 s; give a minimum of 1 s or more"),
        ([("GGgrrrGGgrrr", 9, 20, 10)], "actuated", "a row of 20 to 10 s"),
        ([("GGGrrrGGgrrr", 9, None, None)], "static", r"protected green \(G\) to crossing links \(2, [0-9]+\)"),
        ([("GGgrrrGGgrrr", 9, None, None)] * 1001, "static", "has 1001 rows; give at most 1000"),
    ],
)
def test_programs_that_harm_are_refused(
    tmp_path: Path, rows: list[tuple[str, float, float | None, float | None]], kind: str, sentence: str
) -> None:
    network = Network.read(odd.write_network(tmp_path, odd.logic(odd.TWO_STAGES)))
    program = Program(tuple(ProgramRow(*row) for row in rows), kind)
    with pytest.raises(DecisionError, match=sentence):
        check_decisions(network, {"c": Decision(program=program)})
