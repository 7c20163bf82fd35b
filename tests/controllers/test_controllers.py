"""Each classical controller against small cases computed by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.run.cell import Cell, run_cell
from controllers import registry
from controllers.base import Controller, ControllerError, RunContext
from controllers.classical.actuated import Actuated, DelayBased
from controllers.classical.fixed_time import FixedTime
from controllers.classical.greedy import Greedy, LongestQueue
from controllers.classical.green_wave import GreenWave
from controllers.classical.lookahead import Lookahead
from controllers.classical.max_pressure import MaxPressure, MaxPressureNormalised
from controllers.classical.phase_choice import fill_unknown
from controllers.classical.random_phase import RandomPhase
from controllers.classical.sotl import Sotl
from controllers.classical.timed_programs import green_rows, retimed, with_greens
from controllers.classical.webster import Webster
from scenarios import registry as scenarios
from scenarios import resco
from scenarios.common.sumo_tools import run_tool
from scenarios.spec import Scenario
from sim.engine.session import Session, SessionOptions
from sim.network import Movement, Network
from sim.observation import Observation
from sim.signals import Auditor, Decision, DecisionError, Program, check_decisions
from sim.timings import CLEARANCE, NATIVE, RESCO, Timings
from tests.support.helpers import corridor, crossing, make_observation, make_signal

NAN = float("nan")


def ready(controller: Controller, network: Network, **context: Any) -> Controller:
    if context:
        values = {"scenario": None, "seed": 0, "timings": NATIVE, "session": None, **context}
        controller.context = RunContext(**values)
    controller.reset(network, seed=0)
    return controller


def act(controller: Controller, observation: Observation) -> dict[str, Decision | int]:
    return dict(controller.act(observation))


def rows(program: Program) -> list[tuple[str, float]]:
    return [(row.state, row.duration_s) for row in program.rows]


def audited(network: Network, program: Program, signal_id: str, timings: Timings) -> dict[str, int]:
    """Violations while the program runs through three cycles."""
    auditor = Auditor(network.signal(signal_id), timings)
    time_s = 0.0
    for row in program.rows * 3:
        auditor.see(row.state, time_s)
        time_s += row.duration_s
    return {name: count for name, count in auditor.violations.items() if count}


# --- programs --------------------------------------------------------------------------------------------------------


def test_retimed_under_native_timings_is_the_program_of_the_network() -> None:
    signal = crossing().signals[0]
    program = retimed(signal, NATIVE)
    assert rows(program) == [(step.state, step.duration_s) for step in signal.program]
    assert program.offset_s == signal.offset_s


def test_retimed_takes_a_longer_clearance_from_the_greens() -> None:
    # Cycle 80 s; three intergreens of 3 + 2 s leave 65 s of green, 15 s of them minimum. The other 50 s go
    # 25 : 3 : 28, that is 22.3, 2.7 and 25 s, in whole seconds 22, 3 and 25.
    program = retimed(crossing().signals[0], CLEARANCE)
    assert rows(program) == [
        ("Ggr", 27), ("ygr", 3), ("rgr", 2), ("rGr", 8), ("ryr", 3), ("rrr", 2), ("rrG", 30), ("rry", 3), ("rrr", 2),
    ]  # fmt: skip


def test_retimed_gives_a_shorter_clearance_back() -> None:
    movements = [Movement(0, 0, 0, "s"), Movement(1, 1, 1, "s")]
    signal = make_signal("J", 0, movements, [("Gr", 20.0), ("yr", 5.0), ("rG", 20.0), ("ry", 5.0)], yellow_s=5)
    assert rows(retimed(signal, Timings("short", yellow_s=3))) == [("Gr", 22), ("yr", 3), ("rG", 22), ("ry", 3)]


def test_resco_s_fixed_time_is_the_network_s_own_program() -> None:
    signal = crossing().signals[0]
    assert rows(retimed(signal, RESCO)) == [(step.state, step.duration_s) for step in signal.program]


def test_retimed_lets_the_cycle_grow_where_the_greens_are_short() -> None:
    movements = [Movement(0, 0, 0, "s"), Movement(1, 1, 1, "s")]
    signal = make_signal("J", 0, movements, [("Gr", 6.0), ("yr", 3.0), ("rG", 4.0), ("ry", 3.0)])
    assert rows(retimed(signal, CLEARANCE)) == [("Gr", 5), ("yr", 3), ("rr", 2), ("rG", 5), ("ry", 3), ("rr", 2)]


def test_a_program_that_begins_with_yellow_keeps_its_place_in_the_cycle() -> None:
    movements = [Movement(0, 0, 0, "s"), Movement(1, 1, 1, "s")]
    signal = make_signal("J", 0, movements, [("ry", 3.0), ("Gr", 30.0), ("yr", 3.0), ("rG", 30.0)], offset_s=10.0)
    program = retimed(signal, CLEARANCE)
    assert program.rows[0].state == "Gr"
    assert program.offset_s == 13.0


@given(
    greens_s=st.lists(st.integers(1, 60), min_size=2, max_size=2),
    yellow_s=st.integers(1, 6),
    all_red_s=st.integers(0, 4),
    min_green_s=st.integers(1, 15),
)
def test_retimed_keeps_the_cycle_or_shows_the_minimum(
    greens_s: list[int], yellow_s: int, all_red_s: int, min_green_s: int
) -> None:
    movements = [Movement(0, 0, 0, "s"), Movement(1, 1, 1, "s")]
    rows_ = [("Gr", float(greens_s[0])), ("yr", 3.0), ("rG", float(greens_s[1])), ("ry", 3.0)]
    signal = make_signal("J", 0, movements, rows_)
    program = retimed(signal, Timings("t", yellow_s=yellow_s, all_red_s=all_red_s, min_green_s=min_green_s))
    shown_s = [row.duration_s for row in program.rows if "G" in row.state]
    assert sum(row.duration_s for row in program.rows if "y" in row.state) == 2 * yellow_s
    assert min(shown_s) >= min_green_s
    cycle_s = sum(row.duration_s for row in program.rows)
    assert cycle_s == sum(greens_s) + 6 or (cycle_s > sum(greens_s) + 6 and shown_s == [min_green_s] * 2)


@pytest.mark.parametrize("name", resco.RESCO)
@pytest.mark.parametrize("timings", [CLEARANCE, Timings("short", yellow_s=2)], ids=lambda t: t.name)
def test_retimed_programs_of_real_networks_are_safe_and_keep_their_cycle(name: str, timings: Timings) -> None:
    network = Network.read(resco.load(name).net_file)
    programs = ready(FixedTime(), network, timings=timings).act(make_observation(network))
    assert set(programs) == {signal.id for signal in network.controllable}
    for signal_id, decision in check_decisions(network, programs).items():
        assert decision.program is not None
        assert audited(network, decision.program, signal_id, timings) == {}
        native_s = sum(step.duration_s for step in network.signal(signal_id).program)
        assert sum(row.duration_s for row in decision.program.rows) == native_s


# --- fixed time, actuated ----------------------------------------------------------------------------------------


def test_fixed_time_touches_nothing_under_native_timings() -> None:
    controller = ready(FixedTime(), crossing(), timings=NATIVE)
    assert not controller.observes
    assert act(controller, make_observation(controller.network)) == {}


def test_fixed_time_installs_its_programs_once() -> None:
    controller = ready(FixedTime(), corridor(), timings=CLEARANCE)
    observation = make_observation(controller.network)
    assert set(act(controller, observation)) == {"A", "B"}
    assert act(controller, observation) == {}
    controller.reset(controller.network, seed=1)
    assert set(act(controller, observation)) == {"A", "B"}


def test_actuated_bounds_the_greens_and_fixes_the_rest() -> None:
    controller = ready(Actuated(max_green_s=40, max_gap_s=2.5), crossing(), timings=CLEARANCE)
    decision = act(controller, make_observation(controller.network))["J"]
    assert isinstance(decision, Decision)
    program = decision.program
    assert program is not None
    assert program.type == "actuated"
    assert program.params == {"max-gap": "2.5", "detector-gap": "1"}
    limits = [(row.state, row.min_s, row.max_s) for row in program.rows if row.min_s is not None]
    assert limits == [("Ggr", 5, 40), ("rGr", 5, 40), ("rrG", 5, 40)]
    assert [row.state for row in program.rows if row.min_s is None] == ["ygr", "rgr", "ryr", "rrr", "rry", "rrr"]


def test_delay_based_never_undercuts_the_minimum_green() -> None:
    strict = replace(NATIVE, min_green_s=12)
    controller = ready(DelayBased(min_green_s=8), crossing(), timings=strict)
    decision = act(controller, make_observation(controller.network))["J"]
    assert isinstance(decision, Decision)
    assert decision.program is not None
    assert decision.program.type == "delay_based"
    assert {row.min_s for row in decision.program.rows if row.min_s is not None} == {12}


def test_delay_based_runs_after_a_warm_up_and_heeds_its_parameters() -> None:
    """SUMO 1.28 crashes where a program's own detectors are added under vehicles, so these are there from the start."""
    whole = scenarios.load("city-1-7")
    scenario = whole.with_(end_s=whole.begin_s + whole.warmup_s + 300)
    specs = ("delay_based", "delay_based:detector_range_m=20", "delay_based:min_time_loss_s=60")
    delays = [run_cell(Cell(scenario, spec, seed=1)).metrics["delay_s"] for spec in specs]
    assert len(set(delays)) == 3


def test_delay_based_programs_without_their_detectors_are_refused() -> None:
    scenario = scenarios.load("city-1-7")
    with Session(scenario, seed=1) as session:
        session.start()
        decisions = act(ready(DelayBased(), session.network), make_observation(session.network))
        with pytest.raises(DecisionError, match="before the first vehicle; give the controller lane_areas_m"):
            session.step(decisions)


# --- greedy ----------------------------------------------------------------------------------------------------------


def test_greedy_counts_within_its_detection_distance() -> None:
    network = crossing()
    zones = [[2, 0, 9], [0, 0, 0], [1, 2, 0]]  # north 2 | 2 | 11 vehicles, west 1 | 3 | 3
    observation = make_observation(network, zone_veh=zones)
    assert act(ready(Greedy(detection_m=50), network), observation) == {"J": 0}
    assert act(ready(Greedy(detection_m=100), network), observation) == {"J": 2}
    assert act(ready(Greedy(detection_m=200), network), observation) == {"J": 0}


def test_greedy_counts_permissive_movements_unless_told_not_to() -> None:
    network = crossing()
    zones = [[1, 0, 0], [3, 0, 0], [2, 0, 0]]  # phase 0 serves 1 + 3 (permissive), phase 1 3, phase 2 2
    observation = make_observation(network, zone_veh=zones, phase=[2])
    assert act(ready(Greedy(), network), observation) == {"J": 0}
    assert act(ready(Greedy(protected_only=True), network), observation) == {"J": 1}


@pytest.mark.parametrize(("phase", "expected"), [(0, 0), (2, 2), (1, 0), (-1, 0)])
def test_greedy_keeps_the_current_phase_on_a_tie(phase: int, expected: int) -> None:
    network = crossing()
    observation = make_observation(network, zone_veh=[[2, 0, 0], [0, 0, 0], [2, 0, 0]], phase=[phase])
    assert act(ready(Greedy(), network), observation) == {"J": expected}


@pytest.mark.parametrize(("west_veh", "expected"), [(4, 0), (5, 2)])
def test_greedy_leaves_a_phase_only_beyond_its_margin(west_veh: int, expected: int) -> None:
    network = crossing()
    observation = make_observation(network, zone_veh=[[2, 0, 0], [0, 0, 0], [west_veh, 0, 0]])
    assert act(ready(Greedy(switch_margin_veh=2), network), observation) == {"J": expected}


@pytest.mark.parametrize(("yellow_s", "west_veh", "expected"), [(3, 3, 2), (5, 5, 0), (5, 6, 2)])
def test_greedy_s_own_margin_grows_with_the_intergreen(yellow_s: int, west_veh: int, expected: int) -> None:
    """1.5 vehicles for each second beyond 3 s: none at 3 s of yellow, three at 5 s."""
    network = crossing()
    network = replace(network, signals=(replace(network.signals[0], yellow_s=yellow_s),))
    observation = make_observation(network, zone_veh=[[2, 0, 0], [0, 0, 0], [west_veh, 0, 0]])
    assert act(ready(Greedy(), network), observation) == {"J": expected}


def test_longest_queue_counts_halted_vehicles_only() -> None:
    network = crossing()
    observation = make_observation(network, zone_veh=[[9, 9, 9], [0, 0, 0], [1, 0, 0]], queue_veh=[0, 0, 1])
    assert act(ready(LongestQueue(), network), observation) == {"J": 2}


def test_only_due_and_controllable_signals_are_decided() -> None:
    network = corridor()
    observation = make_observation(network, zone_veh=[[0, 0, 0], [1, 0, 0], [0, 0, 0], [1, 0, 0], [5, 0, 0]])
    assert act(ready(Greedy(), network), observation) == {"A": 1, "B": 1}
    assert act(ready(Greedy(), network), replace(observation, due=np.array([False, True, False]))) == {"B": 1}


# --- failed detectors ------------------------------------------------------------------------------------------------


def test_an_unseen_lane_counts_as_the_mean_of_its_signal() -> None:
    owner = np.array([0, 0, 0, 1, 1])
    filled = fill_unknown(np.array([4.0, NAN, 2.0, NAN, NAN]), owner, signals=2)
    assert filled.tolist() == [4, 3, 2, 0, 0]


def test_greedy_with_an_unseen_lane() -> None:
    # West is unseen and counts (1 + 2) / 2 = 1.5 vehicles: more than the left turn's 1, less than north's 3.
    network = crossing()
    zones = [[2, 0, 0], [1, 0, 0], [NAN, NAN, NAN]]
    assert act(ready(Greedy(), network), make_observation(network, zone_veh=zones, phase=[2])) == {"J": 0}
    zones[0] = [0, 0, 0]  # now west counts 0.5
    assert act(ready(Greedy(), network), make_observation(network, zone_veh=zones, phase=[2])) == {"J": 0}


@pytest.mark.parametrize("controller", [Greedy(), MaxPressure(), Sotl()], ids=lambda c: type(c).__name__)
@pytest.mark.parametrize(("phase", "age_s", "expected"), [(0, 29, 0), (0, 30, 1), (1, 8, 2), (2, 33, 0), (-1, 5, 0)])
def test_a_blind_signal_follows_its_native_greens(
    controller: Controller, phase: int, age_s: float, expected: int
) -> None:
    network = crossing()
    blind = make_observation(network, zone_veh=[[NAN] * 3] * 3, queue_veh=[NAN] * 3, phase=[phase], phase_age_s=[age_s])
    assert act(ready(controller, network), blind) == {"J": expected}


def test_blind_decisions_are_counted() -> None:
    network = crossing()
    controller = ready(Greedy(), network)
    act(controller, make_observation(network, zone_veh=[[NAN] * 3] * 3))
    act(controller, make_observation(network))
    assert controller.counters() == {"blind_decisions": 1}


# --- max pressure ----------------------------------------------------------------------------------------------------


def test_max_pressure_sums_movements_upstream_minus_downstream() -> None:
    # Phase 0: (5 - 4) + (1 - 1) = 1; phase 1: 1 - 1 = 0; phase 2: 3 - 1 = 2, though north holds more vehicles.
    network = crossing()
    zones = [[2, 1, 2], [1, 0, 0], [0, 0, 3]]
    controller = ready(MaxPressure(), network)
    observation = make_observation(network, zone_veh=zones, exit_veh=[4, 1])
    assert isinstance(controller, MaxPressure)
    assert controller.scores(observation).tolist() == [1, 0, 2]
    assert act(controller, observation) == {"J": 2}


def test_max_pressure_on_queues_sees_only_exits_that_lead_to_a_signal() -> None:
    # A west: 4 - 3 queued on m_0 (B's lane) = 1. A south: 2 - 0, its exit is not watched. B: 3 and 0.
    network = corridor()
    controller = ready(MaxPressure(measure="queue"), network)
    observation = make_observation(network, queue_veh=[4, 2, 3, 0, 0], exit_veh=[9, 9, 9], phase=[0, 1, 0])
    assert isinstance(controller, MaxPressure)
    assert controller.scores(observation).tolist() == [1, 2, 3, 0]
    assert act(controller, observation) == {"A": 1, "B": 0}


def test_max_pressure_normalised_divides_by_capacity() -> None:
    # Lanes hold 150 / 7.5 = 20 vehicles, exits 75 / 7.5 = 10: phase 0 (6/20 - 1/10) + (0 - 0) = 0.2, phase 2 5/20.
    network = crossing()
    observation = make_observation(network, zone_veh=[[6, 0, 0], [0, 0, 0], [5, 0, 0]], exit_veh=[1, 0])
    normalised = ready(MaxPressureNormalised(), network)
    assert isinstance(normalised, MaxPressureNormalised)
    assert normalised.scores(observation) == pytest.approx([0.2, 0.0, 0.25])
    assert act(normalised, observation) == {"J": 2}
    assert act(ready(MaxPressure(), network), observation) == {"J": 0}  # 6 - 1 = 5 and 5 - 0: a tie


def test_max_pressure_fills_unseen_exits() -> None:
    network = crossing()
    observation = make_observation(network, zone_veh=[[2, 0, 0], [0, 0, 0], [2, 0, 0]], exit_veh=[NAN, 1])
    controller = ready(MaxPressure(), network)
    assert isinstance(controller, MaxPressure)
    assert controller.scores(observation).tolist() == [0, -1, 1]  # s_0 counts 1, as e_0 does


# --- sotl ------------------------------------------------------------------------------------------------------------


def sotl_run(controller: Controller, zones: list[list[list[float]]], phase: int = 0) -> list[Decision | int]:
    """Decisions over successive observations 5 s apart, the signal staying in ``phase``."""
    network = controller.network
    return [
        act(controller, make_observation(network, time_s=5.0 * step, zone_veh=zone, phase=[phase]))["J"]
        for step, zone in enumerate(zones)
    ]


def test_sotl_switches_when_vehicle_seconds_at_red_reach_theta() -> None:
    # Two vehicles wait in the west: 10 vehicle-seconds more every 5 s; theta 30 is reached at the fourth look.
    west = [[0, 0, 0], [0, 0, 0], [2, 0, 0]]
    controller = ready(Sotl(theta_veh_s=30), crossing())
    assert sotl_run(controller, [west] * 4) == [0, 0, 0, 2]


def test_sotl_does_not_cut_the_tail_of_a_platoon() -> None:
    full, tail, empty = 3, 2, 0
    zones = [[[green, 0, 0], [0, 0, 0], [9, 0, 0]] for green in (tail, tail, tail, full, tail, empty)]
    controller = ready(Sotl(theta_veh_s=30, mu_veh=3), crossing())
    assert sotl_run(controller, zones) == [0, 0, 0, 2, 0, 2]


def test_sotl_counts_only_red_lanes_and_starts_again_after_green() -> None:
    controller = ready(Sotl(theta_veh_s=1000), crossing())
    assert isinstance(controller, Sotl)
    zones = [[1, 0, 0], [2, 0, 0], [4, 0, 0]]
    sotl_run(controller, [zones, zones], phase=0)
    assert controller.kappa_veh_s.tolist() == [0, 0, 20]  # the left turn has permissive green in phase 0
    act(controller, make_observation(controller.network, time_s=10.0, zone_veh=zones, phase=[1]))
    assert controller.kappa_veh_s.tolist() == [5, 0, 40]
    act(controller, make_observation(controller.network, time_s=15.0, zone_veh=zones, phase=[2]))
    assert controller.kappa_veh_s.tolist() == [10, 10, 0]
    controller.reset(controller.network, seed=0)
    assert controller.kappa_veh_s.tolist() == [0, 0, 0]


# --- random ----------------------------------------------------------------------------------------------------------


def test_random_phase_is_fixed_by_its_seed() -> None:
    network = corridor()
    observation = make_observation(network)

    def draws(controller: Controller, seed: int) -> list[tuple[Any, ...]]:
        controller.reset(network, seed)
        return [tuple(act(controller, observation).items()) for _ in range(40)]

    controller = RandomPhase()
    first = draws(controller, 3)
    assert draws(controller, 3) == first
    assert draws(RandomPhase(), 3) == first
    assert draws(controller, 4) != first
    assert {phase for draw in first for _, phase in draw} == {0, 1}


# --- lookahead -------------------------------------------------------------------------------------------------------


class FakeSession:
    """Answers ``branch`` with a price for every phase of every signal, and remembers what was asked."""

    def __init__(self, prices: dict[str, list[float]], signals: int) -> None:
        self.prices, self.signals = prices, signals
        self.asked: list[dict[str, int]] = []

    def branch(self, candidates: list[dict[str, int]], horizons_s: list[float], policy: Controller) -> SimpleNamespace:
        self.asked, self.horizons_s, self.policy = candidates, horizons_s, policy
        each = np.zeros((len(candidates), 1, self.signals))
        for c, candidate in enumerate(candidates):
            for index, (name, price) in enumerate(self.prices.items()):
                each[c, 0, index] = price[candidate[name]]
        return SimpleNamespace(network_delay_veh_s=each.sum(axis=2), signal_delay_veh_s=each)


def lookahead(prices: dict[str, list[float]], network: Network, **parameters: Any) -> tuple[Lookahead, FakeSession]:
    session = FakeSession(prices, len(network.signals))
    controller = Lookahead(**parameters)
    ready(controller, network, session=session)
    return controller, session


def test_lookahead_keeps_the_cheapest_phase() -> None:
    controller, session = lookahead({"J": [30.0, 10.0, 20.0]}, crossing(), horizon_s=40)
    assert act(controller, make_observation(controller.network)) == {"J": 1}
    assert session.asked == [{"J": 0}, {"J": 1}, {"J": 2}]  # greedy's own choice first
    assert session.horizons_s == [40]
    assert isinstance(session.policy, Greedy)
    assert controller.costs_veh_s["J"].tolist() == [30, 10, 20]
    assert controller.counters() == {"branches": 3}


def test_lookahead_varies_one_signal_at_a_time() -> None:
    network = corridor()
    controller, session = lookahead({"A": [5.0, 1.0], "B": [1.0, 7.0]}, network, policy="longest_queue")
    observation = make_observation(network, queue_veh=[0, 0, 0, 3, 0])  # the policy wants A to stay and B to serve d_0
    assert act(controller, observation) == {"A": 1, "B": 0}
    assert session.asked == [{"A": 0, "B": 1}, {"A": 1, "B": 1}, {"A": 0, "B": 0}]
    assert controller.costs_veh_s["A"].tolist() == [12, 8]  # with B on 1, as the policy has it
    assert controller.costs_veh_s["B"].tolist() == [6, 12]


def test_lookahead_on_a_tie_does_what_the_policy_would() -> None:
    controller, _ = lookahead({"J": [10.0, 10.0, 10.0]}, crossing())
    zones = [[0, 0, 0], [0, 0, 0], [2, 0, 0]]
    assert act(controller, make_observation(controller.network, zone_veh=zones)) == {"J": 2}


def test_joint_lookahead_judges_each_signal_by_its_own_delay() -> None:
    network = corridor()
    controller, session = lookahead({"A": [5.0, 1.0], "B": [1.0, 7.0]}, network, joint=True)
    assert act(controller, make_observation(network)) == {"A": 1, "B": 0}
    assert session.asked == [{"A": 0, "B": 0}, {"A": 1, "B": 1}]


def test_lookahead_branches_for_due_signals_only() -> None:
    network = corridor()
    controller, session = lookahead({"A": [5.0, 1.0], "B": [1.0, 7.0]}, network)
    session.prices = {"B": [1.0, 7.0]}
    due = np.array([False, True, False])
    assert act(controller, make_observation(network, due=due)) == {"B": 0}
    session.asked = []
    assert act(controller, make_observation(network, due=np.zeros(3, bool))) == {}
    assert session.asked == []


def test_lookahead_without_a_session_says_so() -> None:
    controller = ready(Lookahead(), crossing())
    with pytest.raises(ControllerError, match="needs a running session"):
        controller.act(make_observation(controller.network))


def test_lookahead_shorter_than_a_decision_interval_says_so() -> None:
    with pytest.raises(ControllerError, match="at least the decision interval of 10 s"):
        ready(Lookahead(horizon_s=5), crossing(), timings=RESCO)


# --- plans by SUMO's tools -------------------------------------------------------------------------------------------


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def planned(
    kind: type[Controller], name: str, timings: Timings, **parameters: Any
) -> tuple[Network, dict[str, Program]]:
    scenario = resco.load(name)
    network = Network.read(scenario.net_file)
    controller = ready(kind(**parameters), network, scenario=scenario, timings=timings)
    decisions = check_decisions(network, controller.act(make_observation(network)))
    return network, {key: decision.program for key, decision in decisions.items() if decision.program is not None}


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("kind", [Webster, GreenWave])
@pytest.mark.parametrize(("name", "timings"), [("cologne3", NATIVE), ("ingolstadt21", CLEARANCE)])
def test_plans_are_safe_and_pay_the_clearance(name: str, kind: type[Controller], timings: Timings) -> None:
    network, programs = planned(kind, name, timings)
    assert len(programs) == len(network.controllable)
    for key, program in programs.items():
        assert audited(network, program, key, timings) == {}


@pytest.mark.usefixtures("own_cache")
def test_webster_follows_the_demand(tmp_path: Path) -> None:
    """One road of a crossing carries nine times the traffic of the other, so it gets most of the green."""
    scenario = crossroads(tmp_path, {"n": 900, "w": 100})
    network = Network.read(scenario.net_file)
    controller = ready(Webster(), network, scenario=scenario)
    (decision,) = controller.act(make_observation(network)).values()
    assert isinstance(decision, Decision)
    assert decision.program is not None
    signal = network.signals[0]
    from_north = {m.link for m in signal.movements if network.lane_edge[m.lane] == "nc"}
    greens_s = [row.duration_s for row in decision.program.rows if any(row.state[link] == "G" for link in from_north)]
    others_s = [r.duration_s for r in decision.program.rows if "G" in r.state and r.duration_s not in greens_s]
    # Webster: lost time 2 x 3 s, so C = (1.5 x 6 + 5) / (1 - 0.5 - 0.06) = 31 s; the shortest allowed is 60 s. Of
    # the 54 s of green the flows' ratio leaves 5.4 s to the side road.
    assert greens_s == [49]
    assert others_s == [5]


@pytest.mark.usefixtures("own_cache")
def test_green_wave_offsets_follow_the_drive(tmp_path: Path) -> None:
    """Two signals 400 m apart at 10 m/s: driven at 80 % of the limit, the second turns green 50 s after the first."""
    scenario = street(tmp_path)
    network = Network.read(scenario.net_file)
    controller = ready(GreenWave(), network, scenario=scenario)
    programs = {key: d.program for key, d in controller.act(make_observation(network)).items()}  # type: ignore[union-attr]
    length_m = network.roads["ab"].length_m
    assert programs["b"].offset_s - programs["a"].offset_s == pytest.approx(length_m / 10 / 0.8, abs=1)


@pytest.mark.usefixtures("own_cache")
def test_equal_input_is_planned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, first = planned(Webster, "cologne1", NATIVE)

    def fail(*arguments: object) -> str:
        raise AssertionError("SUMO's tool ran again")

    monkeypatch.setattr("controllers.classical.webster.run_tool", fail)
    _, second = planned(Webster, "cologne1", NATIVE)
    assert second == first
    with pytest.raises(AssertionError, match="ran again"):
        planned(Webster, "cologne1", CLEARANCE)
    with pytest.raises(AssertionError, match="ran again"):
        planned(Webster, "cologne1", NATIVE, saturation_headway_s=1.8)


@pytest.mark.usefixtures("own_cache")
def test_a_green_wave_needs_two_signals() -> None:
    with pytest.raises(
        ControllerError, match=r"wrote no offsets for .*cologne1.net.xml; it needs two signals in a row"
    ):
        planned(GreenWave, "cologne1", NATIVE)


@pytest.mark.usefixtures("own_cache")
def test_webster_without_traffic_at_the_signals_says_so(tmp_path: Path) -> None:
    scenario = crossroads(tmp_path, {"away": 20})
    with pytest.raises(ControllerError, match=r"wrote no program for .* \(signals 'c'\)"):
        ready(Webster(), Network.read(scenario.net_file), scenario=scenario)


@pytest.mark.parametrize("kind", [Webster, GreenWave])
def test_planning_without_a_scenario_says_so(kind: type[Controller]) -> None:
    with pytest.raises(ControllerError, match="plans from the scenario's demand"):
        ready(kind(), crossing())


def crossroads(folder: Path, vehicles: dict[str, int]) -> Scenario:
    """A signal c with one lane from the north and one from the west; demand in vehicles an hour by origin."""
    nodes = {"c": (0, 0, "traffic_light"), "n": (0, 300, ""), "s": (0, -300, ""), "w": (-300, 0, ""), "e": (300, 0, "")}
    edges = {"nc": "n c", "wc": "w c", "cs": "c s", "ce": "c e"}
    routes = {"n": "nc cs", "w": "wc ce", "away": "cs"}
    return build(folder, nodes, edges, [(routes[name], count) for name, count in vehicles.items()])


def street(folder: Path) -> Scenario:
    """Signals a and b, 400 m apart on a street with side roads, all traffic along the street."""
    nodes = {"w": (-200, 0, ""), "a": (0, 0, "traffic_light"), "b": (400, 0, "traffic_light"), "e": (600, 0, "")}
    nodes |= {"an": (0, 200, ""), "bn": (400, 200, "")}
    edges = {"wa": "w a", "ab": "a b", "be": "b e", "na": "an a", "nb": "bn b"}
    return build(folder, nodes, edges, [("wa ab be", 300)])


def build(
    folder: Path, nodes: dict[str, tuple[int, int, str]], edges: dict[str, str], demand: list[tuple[str, int]]
) -> Scenario:
    node_rows = [
        f'<node id="{name}" x="{x}" y="{y}"' + (f' type="{kind}"/>' if kind else "/>")
        for name, (x, y, kind) in nodes.items()
    ]
    edge_rows = [
        f'<edge id="{name}" from="{ends.split()[0]}" to="{ends.split()[1]}" numLanes="1" speed="10"/>'
        for name, ends in edges.items()
    ]
    departures = sorted(
        (3600 * k / count, edges_, f"{i}.{k}") for i, (edges_, count) in enumerate(demand) for k in range(count)
    )
    vehicle_rows = [
        f'<vehicle id="{name}" depart="{time_s:.0f}"><route edges="{edges_}"/></vehicle>'
        for time_s, edges_, name in departures
    ]
    for file, rows_ in (("nodes", node_rows), ("edges", edge_rows), ("routes", vehicle_rows)):
        (folder / f"{file}.xml").write_text(f"<{file}>{''.join(rows_)}</{file}>")
    net = folder / "made.net.xml"
    run_tool(
        "netconvert", ["-n", folder / "nodes.xml", "-e", folder / "edges.xml", "-o", net], "Building a test network"
    )
    return Scenario(name="made", net_file=net, route_files=(folder / "routes.xml",))


# --- in real SUMO ----------------------------------------------------------------------------------------------------

LIVE = [name for name, entry in registry.entries().items() if not (entry.needs_model or entry.needs_options)]


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("timings", [NATIVE, CLEARANCE], ids=lambda t: t.name)
@pytest.mark.parametrize("name", LIVE)
def test_every_controller_runs_in_sumo(name: str, timings: Timings) -> None:
    base = resco.load("cologne3" if name == "green_wave" else "cologne1")
    seconds = 60 if name == "lookahead" else 600
    scenario = base.with_(end_s=base.begin_s + seconds)
    controller = registry.make(name)
    with Session(scenario, 1, timings, SessionOptions(observing=controller.observes)) as session:
        controller.context = RunContext(scenario, 1, timings, session)
        controller.reset(session.network, 1)
        observation = session.start()
        while not session.done:
            observation = session.step(controller.act(observation))
        outcome = session.finish()
        trips = outcome.files.trips.read_text()
    assert trips.count("<tripinfo ") >= seconds / 3
    assert not any(outcome.audit.values())
    assert set(outcome.repairs) <= {"max_red"}
    assert outcome.switches >= seconds / 40


# --- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        (Greedy, {"detection_m": 75}, "detection_m is 75; choose one of 50, 100, 200"),
        (Greedy, {"detection_m": "near"}, "detection_m is 'near'"),
        (Greedy, {"switch_margin_veh": -1}, "at least 0"),
        (Greedy, {"protected_only": "yes"}, "choose one of True, False"),
        (LongestQueue, {"switch_margin_veh": NAN}, "at least 0"),
        (LongestQueue, {"switch_margin_veh": "two"}, "give a number"),
        (MaxPressure, {"measure": "density"}, "choose one of vehicles, queue"),
        (MaxPressure, {"switch_margin": -0.1}, "at least 0"),
        (Sotl, {"theta_veh_s": 0}, "theta_veh_s is 0; give a number above 0"),
        (Sotl, {"mu_veh": "three"}, "mu_veh is 'three'"),
        (Sotl, {"omega_m": 25}, "omega_m is 25"),
        (Lookahead, {"horizon_s": 0}, "above 0"),
        (Lookahead, {"policy": "oracle"}, "choose one of greedy, longest_queue"),
        (Actuated, {"max_green_s": 3, "min_green_s": 5}, "at most max_green_s"),
        (Actuated, {"max_gap_s": 0}, "above 0"),
        (DelayBased, {"detector_range_m": -5}, "above 0"),
        (Webster, {"min_cycle_s": 60, "max_cycle_s": 40}, "at least 60"),
        (GreenWave, {"speed_factor": True}, "above 0"),
    ],
)
def test_parameters_out_of_range_are_refused_in_one_sentence(
    kind: type[Controller], parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ControllerError, match=message) as caught:
        kind(**parameters)
    assert "\n" not in str(caught.value)


def test_parameters_are_told_for_provenance() -> None:
    assert Greedy(detection_m=50).parameters() == {
        "detection_m": 50,
        "switch_margin_veh": None,
        "protected_only": False,
    }
    assert FixedTime().parameters() == {}


def test_with_greens_replaces_only_green_rows() -> None:
    signal = crossing().signals[0]
    assert green_rows(signal) == (0, 2, 4)
    assert [row.duration_s for row in with_greens(signal, [11, 12, 13], NATIVE).rows] == [11, 3, 12, 3, 13, 3]
