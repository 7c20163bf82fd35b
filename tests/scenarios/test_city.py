"""Generated cities: the right size, plausible, the same for the same seed, and neither empty nor jammed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scenarios import registry
from scenarios.city import demand as city_demand
from scenarios.city import generator as city
from scenarios.city import network as city_net
from scenarios.city import programs as city_programs
from scenarios.city import street_plan as streets
from scenarios.city.programs import Link, Program
from scenarios.common.sumo_tools import sumo_home
from scenarios.demand import scheduled_trips as demand
from scenarios.spec import Scenario, ScenarioError
from sim.network import Network

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cities")


def plan_of(seed: int, signals: int) -> streets.Plan:
    rng = np.random.default_rng(seed)
    return streets.plan(rng, signals, streets.Style.draw(rng, signals))


# --- the street plan -----------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), signals=st.integers(1, 60))
@example(seed=140, signals=47)  # two arterials end before a street that only they reach
@settings(max_examples=40, deadline=None)
def test_plans_have_the_signals_asked_for_and_drivable_junctions(seed: int, signals: int) -> None:
    town = plan_of(seed, signals)
    assert sum(node.signal for node in town.nodes.values()) == signals
    assert all(len(town.legs[node.id]) in (3, 4) for node in town.nodes.values() if node.signal)
    assert max(len(legs) for legs in town.legs.values()) <= 4
    assert min(section.length_m for section in town.sections) > 40
    assert any(node.gate for node in town.nodes.values())
    reached, edge = set(), {next(iter(town.nodes))}
    while edge:
        reached |= edge
        edge = {end for at in edge for leg in town.legs[at] for end in (leg.start, leg.end)} - reached
    assert reached == set(town.nodes)


def test_cities_differ_and_are_no_grids() -> None:
    towns = [plan_of(seed, 20) for seed in range(12)]
    legs = Counter(len(town.legs[node.id]) for town in towns for node in town.nodes.values() if node.signal)
    assert legs[3] > 0.08 * legs.total()
    assert legs[4] > 0.4 * legs.total()
    lanes = {section.line.lanes for town in towns for section in town.sections}
    assert lanes >= {1, 2, 3}
    assert len({len(town.sections) for town in towns}) > 9
    signalled = sum(node.signal for town in towns for node in town.nodes.values())
    junctions = sum(len(town.legs[node.id]) >= 3 for town in towns for node in town.nodes.values())
    assert signalled < 0.5 * junctions  # only important crossings


def test_turns_are_named_as_drivers_see_them() -> None:
    town = plan_of(1, 10)
    for node in town.nodes.values():
        for leg in town.legs[node.id]:
            found = Counter(city_net.turns(town, node, leg).values())
            assert max(found.values(), default=0) <= 1  # never two ways of the same name on these streets


# --- the signal programs -------------------------------------------------------------------------------------------


def cross(style_left_s: int = 0) -> Program:
    """Two streets of one lane each way: rows for each, all links straight on."""
    links = [
        Link(i, edge, f"{edge}_0", f"out{edge}", "s", rank)
        for i, (edge, rank) in enumerate(zip("nesw", (9, 3, 9, 3), strict=True))
    ]
    states = ["GrGr", "yryr", "rGrG", "ryry"]
    return Program(states, [27, 3, 27, 3], links, [False] * 4)


STYLE = city_net.SignalStyle(60, 3, 0.0, 0, False, "none", 50, 0.5)


def test_green_follows_load_and_class_and_fills_the_cycle() -> None:
    program = cross()
    flows = {("n", "outn"): 600.0, ("e", "oute"): 200.0}
    city_programs._retime(program, flows, STYLE)
    share = 0.65 * 600 / 800 + 0.35 * 9 / 12
    assert program.durations_s[1] == program.durations_s[3] == 3
    assert abs(program.durations_s[0] - 54 * share) <= 1
    assert program.cycle_s == 60
    city_programs._retime(program, {("n", "outn"): 1.0}, STYLE)
    assert program.durations_s[2] >= city_programs.MIN_GREEN_S


def test_capacity_by_hand() -> None:
    program = cross()
    assert city_programs._link_capacity(program.links[0], program) == pytest.approx(1750 * 27 / 60)
    group = city_programs._lane_groups(program.links)
    assert len(group) == 4
    assert city_programs._capacity_veh_h(group[0], program, {}) == pytest.approx(1750 * 27 / 60)
    assert city_programs._gap_capacity_veh_h(0) == pytest.approx(3600 / 3.3, rel=0.01)
    assert city_programs._gap_capacity_veh_h(1200) == pytest.approx(1200 * np.exp(-2) / (1 - np.exp(-1.1)))


def test_protected_left_turns_have_no_green_but_their_own() -> None:
    links = [Link(0, "n", "n_0", "s", "s", 9), Link(1, "n", "n_1", "e", "l", 9), Link(2, "e", "e_0", "w", "l", 3)]
    program = Program(["Ggr", "ygr", "rGr", "ryr", "rrg"], [20, 3, 8, 3, 20], links, [False, False, True, False, False])
    city_programs._protect_left_turns(program)
    assert program.states == ["Grr", "yrr", "rGr", "ryr", "rrg"]


# --- the traffic ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signals", [1, 12])
def test_origins_and_destinations_follow_the_hour(signals: int) -> None:
    town = plan_of(4, signals)
    rng = np.random.default_rng(1)
    zones = city_demand._districts(town, rng) + city_demand._gates(town)

    def flow(hour: int, source: str, goal: str) -> float:
        shares = city_demand.matrix(city_demand.Hour(hour, *city_demand.DAY[hour], 0.3, 0.03, 1, zones))
        assert shares.sum() == pytest.approx(1)
        assert (shares >= 0).all()
        weight = {key: np.array([getattr(zone, key) for zone in zones]) for key in ("homes", "jobs")}
        return float(weight[source] @ shares @ weight[goal])

    assert flow(7, "homes", "jobs") > flow(7, "jobs", "homes")
    assert flow(17, "jobs", "homes") > flow(17, "homes", "jobs")


# --- whole cities in SUMO ------------------------------------------------------------------------------------------


def drive(scenario: Scenario, schedule: demand.Schedule, folder: Path) -> tuple[float, float]:
    """Share of the vehicles due before the last ten minutes that arrive, and the mean delay of all, s."""
    trips = folder / "trips.xml"
    hour = ["-b", str(scenario.begin_s), "-e", str(scenario.end_s), "--time-to-teleport", "-1", "--no-step-log"]
    files = ["-n", scenario.net_file, "-r", schedule.route_files[0], "--tripinfo-output", trips]
    subprocess.run([sumo_home() / "bin" / "sumo", *files, *hour], check=True, capture_output=True)
    arrivals = {trip.get("id", ""): float(trip.get("arrival", 0)) for trip in ElementTree.parse(trips).getroot()}
    ends = np.array([arrivals.get(vehicle, scenario.end_s) for vehicle in schedule.ids.tolist()])
    due = schedule.depart_s + schedule.free_flow_s < scenario.end_s - 600
    arrived = np.array([vehicle in arrivals for vehicle in schedule.ids.tolist()])
    return float(arrived[due].mean()), float((ends - schedule.depart_s - schedule.free_flow_s).mean())


@pytest.mark.parametrize(("signals", "seed"), [(1, 2), (4, 900)])
def test_a_city_is_controllable_and_flows_under_its_own_program(
    signals: int, seed: int, cache: Path, tmp_path: Path
) -> None:
    scenario = city.generate(seed, signals, cache)
    network = Network.read(scenario.net_file)
    assert len(network.signals) == len(network.controllable) == signals
    assert all(60 <= sum(row.duration_s for row in signal.program) <= 115 for signal in network.signals)
    assert all(signal.yellow_s in (3, 4) for signal in network.signals)
    schedule = demand.schedule(scenario, 1, cache)
    assert schedule.route_files == scenario.route_files
    assert schedule.unroutable == ()
    assert len(schedule.ids) > 70 * signals
    short = scenario.with_(end_s=scenario.begin_s + 2400)
    completion, delay_s = drive(short, demand.schedule(short, 1, cache), tmp_path)
    assert completion > 0.97
    assert 10 < delay_s < 110


def test_a_city_has_turn_lanes_names_and_mixed_traffic(cache: Path) -> None:
    scenario = city.generate(0, 10, cache)
    root = ElementTree.parse(scenario.net_file).getroot()
    edges = {edge.get("id", ""): edge for edge in root.iter("edge") if edge.get("function") != "internal"}
    pockets = {key.removesuffix(".p"): edge for key, edge in edges.items() if key.endswith(".p")}
    assert len(pockets) >= 10
    assert all(len(pocket) == len(edges[key]) + 1 for key, pocket in pockets.items())
    assert all(" " in edge.get("name", "") for key, edge in edges.items())
    types = Counter(v.get("type") for v in ElementTree.parse(scenario.route_files[0]).getroot().iter("vehicle"))
    assert types["car"] > 0.8 * types.total()
    assert types["truck"] > 0


def test_tags_and_names_follow_from_the_seed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [city.tags(seed)[0] for seed in (0, 499, 500, 519, 900, 919, 600)] == [
        *("train", "train", "validation", "validation", "held_out", "held_out"),
        "synthetic",
    ]
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "xdg"))
    scenario = registry.load("city-1-2")
    assert scenario.name == "city-1-2"
    assert scenario.tags == ("train", "synthetic")
    assert scenario.horizon_s == 3600
    assert city.is_generated(2, 1)
    assert scenario.net_file.is_relative_to(cache / "xdg")


def test_the_same_seed_gives_the_same_bytes_in_another_process(cache: Path, tmp_path: Path) -> None:
    first = city.generate(900, 4, cache)
    code = (
        f"from pathlib import Path; from scenarios.city import generator as c; c.generate(900, 4, Path('{tmp_path}'))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=environment)
    again = city.generate(900, 4, tmp_path)
    files = {file.name: file.read_bytes() for file in first.net_file.parent.iterdir()}
    assert set(files) == {"city.net.xml", "city.rou.xml", "city.yaml"}
    assert files == {file.name: file.read_bytes() for file in again.net_file.parent.iterdir()}
    assert first.sha256() == again.sha256()
    assert files["city.net.xml"] != city.generate(901, 4, cache).net_file.read_bytes()


@pytest.mark.parametrize(("signals", "seed"), [(0, 1), (5, -1)])
def test_nonsense_is_refused(signals: int, seed: int, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="at least one signal and a seed of 0 or more"):
        city.generate(seed, signals, tmp_path)


@pytest.mark.slow
def test_a_mid_size_city(cache: Path, tmp_path: Path) -> None:
    scenario = city.generate(901, 50, cache)
    assert len(Network.read(scenario.net_file).controllable) == 50
    schedule = demand.schedule(scenario, 1, cache)
    short = scenario.with_(end_s=scenario.begin_s + 1500)
    completion, delay_s = drive(short, demand.schedule(short, 1, cache), tmp_path)
    assert len(schedule.ids) > 3000
    assert completion > 0.97
    assert delay_s < 120


@pytest.mark.slow
def test_a_large_city_has_traffic_to_match(cache: Path) -> None:
    scenario = city.generate(902, 300, cache)
    assert len(Network.read(scenario.net_file).controllable) == 300
    assert len(demand.schedule(scenario, 1, cache).ids) >= 10_000
