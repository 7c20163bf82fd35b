"""What incidents do to traffic, in real SUMO: each simulation runs in a process of its own, as libsumo needs."""

from __future__ import annotations

import importlib
import json
import math
import os
import pickle
import sys
import timeit
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios import resco
from scenarios.incidents.scheduled_incidents import schedule
from scenarios.spec import Crash, DemandSurge, DetectorOutage, EmergencyVehicle, RoadClosure, Roadworks
from sim.engine.session import Session
from sim.incidents.barriers import LaneRules
from sim.incidents.effects import EMERGENCY, PROP
from sim.incidents.events import SUMO_OPTIONS, Events, InsertedVehicle
from sim.network import Network

# --- running SUMO with incidents -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    scenario: str
    incidents: tuple[Any, ...] = ()
    backend: str = "libsumo"
    spots: tuple[tuple[str, float], ...] = ()  # road, metres: note who passes there and when
    lanes: tuple[str, ...] = ()  # count vehicles, second by second
    fork_s: float = math.inf
    seconds: int = 3600


@dataclass
class Seen:
    """Times are seconds after the scenario's begin_s."""

    passed_s: dict[str, list[float]] = field(default_factory=dict)  # by road of a spot
    entered_s: dict[str, dict[str, float]] = field(default_factory=dict)  # road -> vehicle -> first second on it
    departed_on: dict[str, str] = field(default_factory=dict)  # vehicle -> road
    lane_veh: dict[str, list[int]] = field(default_factory=dict)
    lane_mps: dict[str, list[float]] = field(default_factory=dict)
    red_run: Counter[str] = field(default_factory=Counter)  # emergency vehicle -> red lights passed
    collisions: int = 0
    stuck: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)  # lanes whose permissions or limits differ at the end
    outside: int = 0
    trips: dict[str, dict[str, str]] = field(default_factory=dict)
    truth: dict[str, dict[str, Any]] = field(default_factory=dict)
    inserted: dict[str, InsertedVehicle] = field(default_factory=dict)
    forked: bool = False


@lru_cache(maxsize=32)
def run(job: Job) -> Seen:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_simulate, job).result(timeout=120)


def _simulate(job: Job) -> Seen:
    scenario = resco.load(job.scenario).with_(incidents=job.incidents)
    network = Network.read(scenario.net_file)
    events = Events(schedule(scenario, network.roads, 1), network, 1)
    with TemporaryDirectory() as folder:
        trips = Path(folder) / "trips.xml"
        conn = _start(job.backend, scenario, trips)
        seen = _drive(conn, job, scenario.begin_s, events)
        conn.close()
        seen.trips = {trip.get("id", ""): dict(trip.attrib) for trip in ElementTree.parse(trips).getroot()}
    seen.truth = {truth["id"]: truth for truth in events.truth()}
    seen.inserted = events.inserted
    return seen


def _start(backend: str, scenario: Any, trips: Path) -> Any:
    files = ["-n", str(scenario.net_file), "-r", ",".join(map(str, scenario.route_files))]
    clock = ["-b", str(scenario.begin_s), "-e", str(scenario.end_s), "--seed", "1", "--time-to-teleport", "-1"]
    quiet = ["--no-step-log", "--no-warnings", "--collision.action", "warn", "--tripinfo-output", str(trips)]
    arguments = [*files, *clock, *quiet, "--tripinfo-output.write-unfinished", *SUMO_OPTIONS]
    if backend == "libsumo":
        libsumo = importlib.import_module("libsumo")
        libsumo.start(["sumo", *arguments])
        return libsumo
    import sumo
    import traci

    traci.start([str(Path(sumo.SUMO_HOME) / "bin" / "sumo"), *arguments], label="test", stdout=sys.stderr)
    return traci.getConnection("test")


def _drive(conn: Any, job: Job, begin_s: float, events: Events) -> Seen:
    seen = Seen(lane_veh={lane: [] for lane in job.lanes}, lane_mps={lane: [] for lane in job.lanes})
    before = _lane_rules(conn)
    for second in range(job.seconds):
        if second == job.fork_s:
            seen.forked = _futures_agree(conn, begin_s + second, events)
        lights = _lights(conn)
        events.step(conn, begin_s + second)
        conn.simulationStep()
        _note(conn, job, float(second), seen, lights)
    seen.stuck = [v for v in conn.vehicle.getIDList() if conn.vehicle.getWaitingTime(v) > 300]
    seen.outside = len(conn.simulation.getPendingVehicles())
    events.finish(conn)
    after = _lane_rules(conn)
    seen.changed = [lane for lane in before if before[lane] != after[lane]]
    return seen


def _lane_rules(conn: Any) -> dict[str, tuple[Any, float]]:
    return {lane: (conn.lane.getDisallowed(lane), conn.lane.getMaxSpeed(lane)) for lane in conn.lane.getIDList()}


def _lights(conn: Any) -> dict[str, tuple[str, str]]:
    """For each emergency vehicle the next signal and its light."""
    found = {}
    for vehicle in conn.vehicle.getIDList():
        if vehicle.startswith(EMERGENCY) and (ahead := conn.vehicle.getNextTLS(vehicle)):
            found[vehicle] = ahead[0][0], ahead[0][3]
    return found


def _note(conn: Any, job: Job, second: float, seen: Seen, lights: dict[str, tuple[str, str]]) -> None:
    seen.collisions += len(conn.simulation.getCollisions())
    for vehicle in conn.simulation.getDepartedIDList():
        seen.departed_on[vehicle] = conn.vehicle.getRoadID(vehicle)
    for road, spot_m in job.spots:
        known = seen.entered_s.setdefault(road, {})
        passed = seen.passed_s.setdefault(road, [])
        for vehicle in conn.edge.getLastStepVehicleIDs(road):
            if vehicle.startswith(PROP):
                continue
            known.setdefault(vehicle, second)
            if conn.vehicle.getLanePosition(vehicle) > spot_m and (road, vehicle) not in _PASSED:
                _PASSED.add((road, vehicle))
                passed.append(second)
    for lane in job.lanes:
        drivers = [v for v in conn.lane.getLastStepVehicleIDs(lane) if not v.startswith(EMERGENCY)]
        seen.lane_veh[lane].append(len(drivers))
        seen.lane_mps[lane].append(max(map(conn.vehicle.getSpeed, drivers), default=math.nan))
    for vehicle, (signal, light) in lights.items():
        driving = vehicle in conn.vehicle.getIDList()
        ahead = conn.vehicle.getNextTLS(vehicle) if driving else ()
        seen.red_run[vehicle] += driving and light == "r" and (not ahead or ahead[0][0] != signal)


_PASSED: set[tuple[str, str]] = set()


def _futures_agree(conn: Any, time_s: float, events: Events) -> bool:
    """Whether two forks with incidents under way come to the same state after five minutes."""
    return len({_future(conn, time_s, events) for _ in range(2)}) == 1


def _future(conn: Any, time_s: float, events: Events) -> bytes:
    read_end, write_end = os.pipe()
    if not (child := os.fork()):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        for second in range(300):
            events.step(conn, time_s + second)
            conn.simulationStep()
        state = {v: (conn.vehicle.getLaneID(v), conn.vehicle.getLanePosition(v)) for v in conn.vehicle.getIDList()}
        os.write(write_end, pickle.dumps(hash(str((sorted(state.items()), sorted(events.inserted))))))
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        answer = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return answer


def _between(times_s: Iterable[float], start_s: float, end_s: float) -> int:
    return sum(start_s <= time_s < end_s for time_s in times_s)


# --- one busy hour with everything ---------------------------------------------------------------------------------

CLOSED, WORKS, OUT = "-186623965#16", "186623965#15", "28675510#4"
MIX = Job(
    "cologne8",
    (
        Crash(start_s=600, duration_s=600, edge="186623965#9", lanes=(1,), position_m=100),
        RoadClosure(start_s=600, duration_s=900, edge=CLOSED, reroute_share=0.5),
        Roadworks(start_s=700, duration_s=1200, edge=WORKS, lanes=(0,), speed_limit_mps=8.0),
        DemandSurge(start_s=900, duration_s=600, edge="23840713#0", vehicles=100),
        DetectorOutage(start_s=100, duration_s=200, edge=OUT),
        EmergencyVehicle(start_s=1000, duration_s=600, from_edge="186623965#9", to_edge="28675510#7"),
    ),
    spots=((CLOSED, 10.0), (WORKS, 10.0)),
    lanes=(f"{WORKS}_0", f"{WORKS}_1"),
    fork_s=1000,
)
CALM = replace(MIX, incidents=(), fork_s=math.inf)


def test_everything_is_undone_and_nobody_is_hit_or_left_behind() -> None:
    seen = run(MIX)
    assert seen.changed == []
    assert seen.collisions == 0
    assert seen.stuck == []
    assert not any(vehicle.startswith(PROP) and not trip["vaporized"] for vehicle, trip in seen.trips.items())


def test_nobody_enters_a_closed_road() -> None:
    calm, closed = run(CALM), run(MIX)
    assert _between(calm.entered_s[CLOSED].values(), 605, 1500) > 40
    inside = {v for v, second in closed.entered_s[CLOSED].items() if 605 <= second < 1500}
    assert all(closed.departed_on[vehicle] == CLOSED for vehicle in inside)  # they start there and drive off
    assert _between(closed.entered_s[CLOSED].values(), 1500, 3600) > 40


def test_drivers_find_a_way_around_a_closed_road() -> None:
    seen = run(MIX)
    truth = seen.truth["road_closure-1"]
    assert len(truth["rerouted"]) >= 5
    assert all(seen.trips[vehicle]["arrival"] != "-1.00" for vehicle in truth["rerouted"])
    assert len(truth["ended_early"]) <= 2


def test_roadworks_empty_their_lane_and_slow_the_other() -> None:
    calm, works = run(CALM), run(MIX)
    closed_s = slice(760, 1900)
    assert sum(calm.lane_veh[f"{WORKS}_0"][closed_s]) > 200
    assert sum(works.lane_veh[f"{WORKS}_0"][closed_s]) == 0
    assert np.nanmax(works.lane_mps[f"{WORKS}_1"][closed_s]) < 8.0 * 1.4 < np.nanmax(calm.lane_mps[f"{WORKS}_1"])
    assert sum(works.lane_veh[f"{WORKS}_0"][2000:]) > 200


def test_a_surge_sends_its_vehicles_and_they_arrive() -> None:
    seen = run(MIX)
    surge = {v: vehicle for v, vehicle in seen.inserted.items() if vehicle.kind == "surge"}
    assert len(surge) == seen.truth["demand_surge-1"]["released_veh"] == 100
    for name, vehicle in surge.items():
        trip = seen.trips[name]
        assert 26100 <= vehicle.depart_s < 26700
        assert float(trip["depart"]) - float(trip["departDelay"]) == vehicle.depart_s
        assert trip["vType"] == "pkw"  # as the other drivers
        assert vehicle.edges[0] == "23840713#0"
        if trip["arrival"] != "-1.00":
            assert float(trip["duration"]) > 0.7 * vehicle.free_flow_s > 0  # drivers may exceed the limit a little
    assert sum(seen.trips[name]["arrival"] != "-1.00" for name in surge) == 100


def test_incidents_leave_the_other_drivers_dice_alone() -> None:
    calm, mix = run(CALM), run(MIX)
    both = calm.trips.keys() & mix.trips.keys()
    assert len(both) > 1900
    assert all(calm.trips[v]["speedFactor"] == mix.trips[v]["speedFactor"] for v in both)


def test_a_fork_carries_incidents_on() -> None:
    assert run(MIX).forked


@pytest.mark.slow
def test_both_backends_give_the_same_trips() -> None:
    short = Job(
        "cologne1",
        (
            Crash(start_s=300, duration_s=600, edge="28198821#3", lanes=(0,), position_m=51),
            RoadClosure(start_s=1200, duration_s=600, edge="32324544#0"),
            Roadworks(start_s=2000, duration_s=600, edge="-32038056#3", lanes=(1,)),
            DemandSurge(start_s=900, duration_s=300, edge="23429231#1", vehicles=30),
            EmergencyVehicle(start_s=500, duration_s=300, from_edge="-32038056#3", to_edge="32324544#0"),
        ),
    )
    libsumo, traci = run(short), run(replace(short, backend="traci"))
    assert len(libsumo.trips) > 1900
    assert libsumo.trips == traci.trips
    assert libsumo.truth == traci.truth


# --- one type at a time --------------------------------------------------------------------------------------------


def test_fewer_vehicles_pass_a_crash_and_traffic_recovers() -> None:
    road = "-32038056#3"
    spots = ((road, 330.0),)
    planned = Crash(start_s=1200, duration_s=600, edge=road, lanes=(1,), position_m=325)
    calm_s = run(Job("cologne1", spots=spots)).passed_s[road]
    crash = run(Job("cologne1", (planned,), spots=spots))
    crash_s = crash.passed_s[road]
    assert _between(crash_s, 1230, 1800) < 0.85 * _between(calm_s, 1230, 1800)
    assert _between(crash_s, 1800, 2100) > 1.5 * _between(calm_s, 1800, 2100)
    assert abs(len(crash_s) - len(calm_s)) <= 5
    assert (crash.collisions, crash.stuck) == (0, [])
    wrecks = {v: vehicle for v, vehicle in crash.inserted.items() if vehicle.kind == "prop"}
    assert wrecks
    assert all(vehicle.startswith(PROP) and wrecks[vehicle].free_flow_s == 0 for vehicle in wrecks)
    assert 26400 <= crash.truth["crash-1"]["blocked_from_s"]["1"] < 26520
    standing = [trip for v, trip in crash.trips.items() if v in wrecks and float(trip["duration"]) > 60]
    assert [float(trip["arrival"]) for trip in standing] == [27000]


def test_nobody_passes_a_crash_on_all_lanes() -> None:
    road = "-32038056#3"
    planned = Crash(start_s=1200, duration_s=600, edge=road, lanes=(0, 1), position_m=320)
    crash = run(Job("cologne1", (planned,), spots=((road, 330.0),)))
    blocked_s = max(crash.truth["crash-1"]["blocked_from_s"].values()) - 25200
    assert blocked_s < 1300
    assert _between(crash.passed_s[road], blocked_s + 5, 1800) == 0
    assert _between(crash.passed_s[road], 1800, 2100) > 50
    assert (crash.collisions, crash.stuck) == (0, [])


def test_a_closed_road_that_is_a_destination_or_an_origin() -> None:
    """Trips that start there still do, trips that end there end before it, and SUMO goes on."""
    end, start = "28675510#7", "-28675510#11"
    job = Job(
        "cologne8",
        (RoadClosure(start_s=600, duration_s=900, edge=end), RoadClosure(start_s=600, duration_s=900, edge=start)),
        spots=((end, 0.0), (start, 0.0)),
    )
    seen = run(job)
    assert _between(seen.entered_s[end].values(), 605, 1500) == 0
    started = {v for v, second in seen.entered_s[start].items() if 605 <= second < 1500}
    assert len(started) > 20
    assert all(seen.departed_on[vehicle] == start for vehicle in started)
    assert len(seen.truth["road_closure-1"]["ended_early"]) > 20
    assert (seen.stuck, seen.outside, seen.changed) == ([], 0, [])


@pytest.mark.parametrize(
    ("scenario", "closed", "start_s", "end_s"),
    [("cologne1", "32038051#0", 600, 1500), ("ingolstadt7", "124812857#0", 300, 1560)],
    ids=["on the road", "waiting to depart"],
)
def test_drivers_without_a_way_have_one_when_the_road_opens(
    scenario: str, closed: str, start_s: float, end_s: float
) -> None:
    """Nobody who was given no route while the road was closed stands there for ever, before all others."""
    closure = RoadClosure(start_s=start_s, duration_s=end_s - start_s, edge=closed)
    seen = run(Job(scenario, (closure,), spots=((closed, 0.0),), seconds=2600))
    assert _between(seen.entered_s[closed].values(), start_s + 5, end_s) == 0
    assert _between(seen.entered_s[closed].values(), end_s, 2600) > 50
    assert (seen.stuck, seen.changed) == ([], [])


def test_routes_given_in_full_survive_a_closure() -> None:
    closed = "4999331#0"
    seen = run(Job("cologne3", (RoadClosure(start_s=600, duration_s=900, edge=closed),), spots=((closed, 0.0),)))
    inside = {v for v, second in seen.entered_s[closed].items() if 605 <= second < 1500}
    assert all(seen.departed_on[vehicle] == closed for vehicle in inside)
    assert (seen.stuck, seen.changed) == ([], [])


def test_a_network_without_any_restricted_lane() -> None:
    """SUMO's router looks at no permissions there, so detours come from travel times."""
    seen = run(
        Job("grid4x4", (RoadClosure(start_s=600, duration_s=900, edge="B1C1"),), spots=(("B1C1", 0.0),), seconds=2400)
    )
    assert _between(seen.entered_s["B1C1"].values(), 605, 1500) == 0
    assert _between(seen.entered_s["B1C1"].values(), 1500, 2400) > 5
    assert len(seen.truth["road_closure-1"]["rerouted"]) > 10
    assert seen.truth["road_closure-1"]["ended_early"] == []
    assert (seen.stuck, seen.changed) == ([], [])


def test_roadworks_let_drivers_through_who_have_no_other_way() -> None:
    """The only lane to the left turn is closed and no detour exists."""
    works = Roadworks(start_s=600, duration_s=1200, edge="201963537#1", lanes=(3,))
    lanes = ("201963537#1_3",)
    calm, seen = run(Job("ingolstadt1", lanes=lanes)), run(Job("ingolstadt1", (works,), lanes=lanes))
    assert sum(seen.lane_veh[lanes[0]][660:1800]) > 0
    assert (seen.stuck, seen.changed) == ([], [])
    assert abs(len(seen.trips) - len(calm.trips)) < 30


def test_a_blue_light_passes_red_lights_and_drivers_make_way() -> None:
    way = {"from_edge": "28198821#3", "to_edge": "32324544#0"}
    runs = tuple(EmergencyVehicle(start_s=1200 + 300 * n, duration_s=300, **way) for n in range(6))
    seen = run(Job("cologne1", runs))
    assert sum(seen.red_run.values()) >= 1
    assert any(seen.truth[f"emergency_vehicle-{number}"]["yielded"] for number in range(1, 7))
    emergency = {v: vehicle for v, vehicle in seen.inserted.items() if vehicle.kind == "emergency"}
    delays_s = [
        float(seen.trips[v]["arrival"]) - vehicle.depart_s - vehicle.free_flow_s for v, vehicle in emergency.items()
    ]
    assert len(delays_s) == 6
    assert all(-1 <= delay_s < 90 for delay_s in delays_s)
    assert all(8 < vehicle.free_flow_s < 10 for vehicle in emergency.values())  # 160 m at 50 and 70 km/h
    assert seen.collisions == 0


def test_a_blue_light_is_faster_than_other_traffic() -> None:
    """From the same road at the same times, once with a blue light and once as a single car of a surge."""
    starts_s = [600 + 240 * n for n in range(12)]
    blue = tuple(
        EmergencyVehicle(start_s=start_s, duration_s=60, from_edge="A0A1", to_edge="D3right3") for start_s in starts_s
    )
    cars = tuple(DemandSurge(start_s=start_s, duration_s=1, edge="A0A1", vehicles=1) for start_s in starts_s)

    def mean_delay_s(seen: Seen) -> float:
        return float(np.mean([
            float(seen.trips[v]["arrival"]) - vehicle.depart_s - vehicle.free_flow_s
            for v, vehicle in seen.inserted.items()
            if seen.trips[v]["arrival"] != "-1.00"
        ]))  # fmt: skip

    assert mean_delay_s(run(Job("grid4x4", blue))) < 0.6 * mean_delay_s(run(Job("grid4x4", cars)))


@pytest.mark.slow
def test_a_blue_light_survives_very_short_roads() -> None:
    """There SUMO's own blue light device ends SUMO with a memory fault."""
    ride = EmergencyVehicle(start_s=1320, duration_s=300, from_edge="32395288#2", to_edge="201201950#2")
    seen = run(Job("ingolstadt21", (ride,), seconds=1750))
    assert seen.trips["greenloop.emergency.emergency_vehicle-1"]["arrival"] != "-1.00"


def test_a_session_reports_incidents_and_survives_a_closed_destination() -> None:
    incidents = (RoadClosure(start_s=120, duration_s=240, edge="28675510#7"),)
    scenario = resco.load("cologne8").with_(incidents=incidents, end_s=25200 + 700)
    with Session(scenario, 1) as session:
        observation = session.start()
        assert observation.reports == ()
        while not session.done:
            observation = session.step({})
        outcome = session.finish()
    assert [report.cleared for report in observation.reports] == [False, True]
    (truth,) = outcome.incidents
    assert truth["ended_early"]
    assert [report["text"] for report in truth["reports"]] == [report.text for report in observation.reports]


# --- without SUMO --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network() -> Network:
    return Network.read(resco.load("cologne8").net_file)


def _events(network: Network) -> Events:
    scenario = resco.load("cologne8").with_(incidents=MIX.incidents)
    return Events(schedule(scenario, network.roads, 1), network, 1)


def test_detectors_are_out_during_the_outage_only(network: Network) -> None:
    events = _events(network)
    dead = {lane for lane, edge in zip(network.lanes, network.lane_edge, strict=True) if edge == OUT}
    assert dead
    assert [events.dead_lanes(25200.0 + second) for second in (0, 99, 100, 299, 300)] == [
        frozenset(), frozenset(), dead, dead, frozenset()
    ]  # fmt: skip


def test_reports_arrive_one_after_the_other(network: Network) -> None:
    events = _events(network)
    assert events.reports(25200.0) == ()
    received = [events.reports(25200.0 + second) for second in range(0, 4000, 20)]
    assert all(later[: len(earlier)] == earlier for earlier, later in pairwise(received))
    assert len(received[-1]) == 12
    assert all(report.time_s <= 25200 + 3980 for report in received[-1])


def test_truth_is_plain_data(network: Network) -> None:
    truth = json.loads(json.dumps(_events(network).truth()))
    assert [row["type"] for row in truth] == [
        "detector_outage", "crash", "road_closure", "roadworks", "demand_surge", "emergency_vehicle"
    ]  # fmt: skip
    assert all(len(row["reports"]) == 2 and row["reports"][0]["text"] for row in truth)


def test_step_is_nearly_free_when_nothing_happens(network: Network) -> None:
    events = _events(network)
    events._next_s = math.inf
    per_call_s = min(timeit.repeat(lambda: events.step(None, 25200.0), number=20_000, repeat=5)) / 20_000
    assert per_call_s < 1e-6


class FakeLanes:
    """The part of SUMO's lane domain that LaneRules uses."""

    everyone = frozenset({"passenger", "bus", "tram", "emergency", "custom2"})

    def __init__(self) -> None:
        self.lane = self
        self.disallowed = {"a": ("tram",), "b": (), "c": ("emergency", "passenger")}
        self.speed = {"a": 13.89, "b": 8.33, "c": 13.89}

    def getDisallowed(self, lane: str) -> tuple[str, ...]:  # noqa: N802
        return self.disallowed[lane]

    def setDisallowed(self, lane: str, kinds: Iterable[str]) -> None:  # noqa: N802
        self.disallowed[lane] = tuple(sorted(self.everyone)) if list(kinds) == ["all"] else tuple(kinds)

    def setAllowed(self, lane: str, kinds: Iterable[str]) -> None:  # noqa: N802
        self.disallowed[lane] = tuple(sorted(self.everyone - set(kinds)))

    def getMaxSpeed(self, lane: str) -> float:  # noqa: N802
        return self.speed[lane]

    def setMaxSpeed(self, lane: str, speed_mps: float) -> None:  # noqa: N802
        self.speed[lane] = speed_mps


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["close", "limit", "release"]),
        st.sampled_from(["one", "two", "three"]),
        st.sampled_from("abc"),
        st.sampled_from([("emergency",), ("emergency", "custom2")]),
        st.sampled_from([5.0, 10.0, 20.0]),
    )
)


@given(ACTIONS)
def test_overlapping_changes_of_a_lane_are_undone_exactly(actions: list[tuple[Any, ...]]) -> None:
    conn, rules = FakeLanes(), LaneRules()
    closed: dict[str, dict[str, set[str]]] = {lane: {} for lane in "abc"}
    limits: dict[str, dict[str, float]] = {lane: {} for lane in "abc"}
    for what, owner, lane, still, speed_mps in actions:
        if what == "close":
            rules.close(conn, owner, lane, still)
            closed[lane][owner] = set(still)
        elif what == "limit":
            rules.limit(conn, owner, lane, speed_mps)
            limits[lane][owner] = speed_mps
        else:
            rules.release(conn, owner)
            for table in (*closed.values(), *limits.values()):
                table.pop(owner, None)
        for name, fresh in (("a", FakeLanes()), ("b", FakeLanes()), ("c", FakeLanes())):
            allowed = conn.everyone - set(conn.disallowed[name])
            expected = conn.everyone - set(fresh.disallowed[name])
            for kinds in closed[name].values():
                expected = expected & kinds
            assert allowed == expected
            assert conn.speed[name] == min([fresh.speed[name], *limits[name].values()])
    for owner in ("one", "two", "three"):
        rules.release(conn, owner)
    assert conn.disallowed == FakeLanes().disallowed
    assert conn.speed == FakeLanes().speed
