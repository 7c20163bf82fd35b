"""Incident schedules and reports: pure data, so no simulator here."""

from __future__ import annotations

import os
import string
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.common.randomness import generator
from scenarios.incidents.draws import AT_SIGNALS, DURATIONS_S
from scenarios.incidents.incident import Report, ScheduledIncident
from scenarios.incidents.reports import DISPATCH_LATE_S, LATE_S, write_reports
from scenarios.incidents.road_graph import TripEnds, reached, trip_ends
from scenarios.incidents.scheduled_incidents import schedule
from scenarios.incidents.wordings import WORDINGS
from scenarios.spec import (
    INCIDENT_TYPES,
    Crash,
    DemandSurge,
    DetectorOutage,
    EmergencyVehicle,
    RoadClosure,
    Roadworks,
    Scenario,
    ScenarioError,
)


@dataclass(frozen=True)
class FakeRoad:
    id: str
    name: str
    lanes: int
    length_m: float
    successors: tuple[str, ...]
    predecessors: tuple[str, ...]
    shape: tuple[tuple[float, float], ...]
    car_lanes: tuple[int, ...]


def road(edge: str, after: str = "", before: str = "", lanes: int = 2, length_m: float = 100.0) -> FakeRoad:
    x = float(sum(map(ord, edge)))
    return FakeRoad(
        edge,
        f"{edge.capitalize()} Street",
        lanes,
        length_m,
        tuple(after.split()),
        tuple(before.split()),
        ((x, 0.0), (x + length_m, 0.0)),
        tuple(range(lanes)),
    )


#: in -> (over | under) -> out: a diamond, so that "over" and "under" can be closed and "in" and "out" cannot.
ROADS = {
    "in": road("in", "over under"),
    "over": road("over", "out", "in", lanes=3),
    "under": road("under", "out", "in", lanes=1),
    "out": road("out", "", "over under"),
}
ENDS = TripEnds({"in": 1000}, {"out": 1000}, "car", 1000)
NOW = {"start_s": 0.0, "duration_s": 60.0}
RATES = {f"{kind}_per_h": 3.0 for kind in INCIDENT_TYPES}


def scenario(**changes: object) -> Scenario:
    plain = {"name": "diamond", "net_file": Path("n.net.xml"), "route_files": (Path("r.rou.xml"),), "begin_s": 25200.0}
    return Scenario.model_validate({**plain, "end_s": 28800.0, **changes})


def plan(seed: int = 1, **changes: object) -> tuple[ScheduledIncident, ...]:
    return schedule(scenario(**changes), ROADS, seed, ends=ENDS)


# --- wordings ------------------------------------------------------------------------------------------------------


def test_train_and_held_out_wordings_are_disjoint() -> None:
    def templates(split: str) -> list[str]:
        return [t for wording in WORDINGS[split].values() for t in (*wording.opened, *wording.cleared)]

    train, held_out = templates("train"), templates("held_out")
    assert len(set(train)) == len(train)
    assert len(set(held_out)) == len(held_out)
    assert not set(train) & set(held_out)


@pytest.mark.parametrize("split", ["train", "held_out"])
@pytest.mark.parametrize("kind", INCIDENT_TYPES)
def test_each_type_is_worded_in_many_ways(split: str, kind: str) -> None:
    wording = WORDINGS[split][kind]
    assert len(wording.opened) >= 8
    assert len(wording.cleared) >= 2
    for template in (*wording.opened, *wording.cleared):
        names = {name for _, name, _, _ in string.Formatter().parse(template) if name}
        assert names <= {"clock", "street", "lanes", "to", "vehicles"}
        assert "street" in names or "to" in names
        assert ("lanes" not in names) or kind in ("crash", "roadworks")


# --- drawn incidents -----------------------------------------------------------------------------------------------


def test_numbers_are_poisson_and_durations_sensible() -> None:
    drawn = [incident for seed in range(60) for incident in plan(seed, incident_rates=RATES)]
    counts = Counter(incident.type for incident in drawn)
    for kind in INCIDENT_TYPES:
        assert 60 * 3 - 4 * 180**0.5 < counts[kind] < 60 * 3 + 4 * 180**0.5
    for incident in drawn:
        low_s, high_s = DURATIONS_S[incident.type]
        assert low_s <= incident.end_s - incident.start_s <= high_s
        assert 25200 <= incident.start_s < 28800


def test_a_drawn_incident_lies_on_a_road_that_fits() -> None:
    for seed in range(30):
        for incident in plan(seed, incident_rates=RATES):
            spec = incident.spec
            if isinstance(spec, RoadClosure):
                assert incident.edge in ("over", "under")
            elif isinstance(spec, Crash | Roadworks):
                assert 0 < len(incident.lanes) < ROADS[incident.edge].lanes
            elif isinstance(spec, DemandSurge):
                assert 60 <= spec.vehicles <= 200
                assert set(incident.destinations) == {"out"}
                assert len(incident.departures_s) == len(incident.destinations) == spec.vehicles
                assert all(incident.start_s <= time_s < incident.end_s for time_s in incident.departures_s)
                assert all(a <= b for a, b in pairwise(incident.departures_s))
                assert incident.vehicle_type == "car"
            elif isinstance(spec, EmergencyVehicle):
                assert incident.to_edge in reached(ROADS, incident.edge) - {incident.edge}


def test_drawn_incidents_start_after_the_warm_up_and_share_no_road_at_once() -> None:
    rates = {"crash_per_h": 2.0, "detector_outage_per_h": 1.0}
    for seed in range(40):
        incidents = plan(seed, warmup_s=600.0, incident_rates=rates)
        assert all(incident.start_s >= 25800 for incident in incidents)
        if len(incidents) <= 2:  # with more the four roads may all be taken
            for one, other in pairwise(incidents):
                assert one.edge != other.edge or one.end_s <= other.start_s


def test_signalled_roads_are_where_controllers_matter() -> None:
    for seed in range(20):
        for incident in schedule(scenario(incident_rates=RATES), ROADS, seed, ends=ENDS, signalled={"over"}):
            assert incident.type not in AT_SIGNALS or incident.edge == "over"


def test_rates_of_one_type_leave_the_others_alone() -> None:
    alone = plan(5, incident_rates={"crash_per_h": 3.0})
    among = plan(5, incident_rates={**RATES, "roadworks_per_h": 0.0})
    assert alone
    assert alone == tuple(incident for incident in among if incident.type == "crash")


@pytest.mark.parametrize(
    ("kind", "roads"),
    [
        ("road_closure", {"in": ROADS["in"], "out": replace(ROADS["out"], predecessors=("in",))}),
        ("roadworks", {"under": replace(ROADS["under"], successors=())}),
        ("emergency_vehicle", {"under": replace(ROADS["under"], successors=())}),
        ("demand_surge", {"under": replace(ROADS["under"], successors=())}),
    ],
)
def test_a_network_without_a_fitting_road_is_refused(kind: str, roads: dict[str, FakeRoad]) -> None:
    roads = {edge: replace(r, successors=tuple(s for s in r.successors if s in roads)) for edge, r in roads.items()}
    with pytest.raises(ScenarioError, match=rf"^Scenario diamond: .*incident_rates\.{kind}_per_h to 0"):
        schedule(scenario(incident_rates={f"{kind}_per_h": 50.0}), roads, 1, ends=ENDS)


def test_no_incidents_read_no_files() -> None:
    assert schedule(scenario(), ROADS, 1) == ()


def test_the_same_seed_gives_the_same_schedule_in_every_process() -> None:
    code = (
        "import hashlib; from tests.scenarios import test_incidents as t\n"
        "print(hashlib.sha256(repr(t.plan(7, incident_rates=t.RATES)).encode()).hexdigest())"
    )
    hashes = set()
    for hash_seed in ("0", "1", "random"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        hashes.add(done.stdout)
    assert len(hashes) == 1
    assert plan(7, incident_rates=RATES) != plan(8, incident_rates=RATES)


# --- listed incidents ----------------------------------------------------------------------------------------------


def test_listed_incidents_keep_their_facts_on_sumos_clock() -> None:
    first = Crash(start_s=600, duration_s=300, edge="over", lanes=(2, 0))
    second = Crash(start_s=60, duration_s=60, edge="in", lanes=(0,), position_m=90)
    incidents = plan(incidents=(first, second))
    assert [(i.id, i.start_s, i.end_s, i.lanes) for i in incidents] == [
        ("crash-2", 25260, 25320, (0,)),
        ("crash-1", 25800, 26100, (0, 2)),
    ]


@pytest.mark.parametrize(
    ("incident", "sentence"),
    [
        (Crash(**NOW, edge="ower", lanes=(0,)), "edge 'ower' is not in the network; did you mean 'over'"),
        (Crash(**NOW, edge="under", lanes=(1,)), "edge 'under' has no car lane 1; its car lanes are 0"),
        (Crash(**NOW, edge="in", lanes=(0,), position_m=101), "position_m is 101, but edge 'in' is 100 m"),
        (Crash(start_s=3600, duration_s=60, edge="in", lanes=(0,)), "start_s is 3600, but the scenario ends 3600 s"),
        (Roadworks(**NOW, edge="in", lanes=(0, 1)), "no lane of edge 'in' stays open"),
        (RoadClosure(**NOW, edge="oyt"), "did you mean 'out'"),
        (DemandSurge(**NOW, edge="out", vehicles=3), "no destination can be reached from edge 'out'"),
        (EmergencyVehicle(**NOW, from_edge="in", to_edge="x"), "edge 'x' is not in the network"),
        (EmergencyVehicle(**NOW, from_edge="out", to_edge="in"), "edge 'in' cannot be reached from edge 'out'"),
        (DetectorOutage(**NOW, edge="in"), "edge 'in' leads to no signal and has no detectors"),
    ],
)
def test_a_listed_incident_that_does_not_fit_is_one_sentence(incident: object, sentence: str) -> None:
    listed = scenario(incidents=(DetectorOutage(start_s=0, duration_s=60, edge="over"), incident))
    with pytest.raises(ScenarioError) as caught:
        schedule(listed, ROADS, 1, ends=ENDS, signalled={"over", "under"})
    message = str(caught.value)
    assert message.startswith("Scenario diamond: incidents.1 (")
    assert sentence in message
    assert message.count("\n") == 0
    assert message[-1] in ".?"


# --- reports -------------------------------------------------------------------------------------------------------


@given(
    kind=st.sampled_from(INCIDENT_TYPES),
    split=st.sampled_from(["train", "held_out"]),
    seed=st.integers(0, 10**6),
    start_s=st.floats(0, 90000),
    duration_s=st.floats(1, 4000),
    data=st.data(),
)
def test_reports_come_late_and_say_what_their_fields_say(
    kind: str, split: str, seed: int, start_s: float, duration_s: float, data: st.DataObject
) -> None:
    edge = data.draw(st.sampled_from(sorted(ROADS)))
    time = {"start_s": start_s, "duration_s": duration_s}
    lanes = tuple(data.draw(st.sets(st.sampled_from(ROADS[edge].car_lanes), min_size=1)))
    spec = {
        "crash": lambda: Crash(**time, edge=edge, lanes=lanes),
        "roadworks": lambda: Roadworks(**time, edge=edge, lanes=lanes),
        "road_closure": lambda: RoadClosure(**time, edge=edge),
        "demand_surge": lambda: DemandSurge(**time, edge=edge, vehicles=100),
        "detector_outage": lambda: DetectorOutage(**time, edge=edge),
        "emergency_vehicle": lambda: EmergencyVehicle(**time, from_edge=edge, to_edge="out"),
    }[kind]()
    incident = ScheduledIncident(f"{kind}-1", spec, start_s, start_s + duration_s)
    opened, cleared = write_reports(incident, ROADS, generator(seed, "test"), split)
    low_s, high_s = DISPATCH_LATE_S if kind == "emergency_vehicle" else LATE_S
    assert low_s - 1 <= opened.time_s - start_s <= high_s + 1
    assert cleared.time_s > opened.time_s
    assert cleared.time_s - incident.end_s >= LATE_S[0] - 1
    assert (opened.cleared, cleared.cleared) == (False, True)
    for report in (opened, cleared):
        _check_text(report)
    if kind == "road_closure":
        assert opened.blocked_lanes == opened.total_lanes == ROADS[edge].lanes


def _check_text(report: Report) -> None:
    assert report.text[0] == report.text[0].upper()
    assert not set("{}") & set(report.text)
    minutes = int(report.clock_s) // 60
    assert f"{minutes // 60 % 24:02d}:{minutes % 60:02d}" in report.text
    if report.type in ("crash", "roadworks") and report.blocked_lanes and report.total_lanes > 2:
        assert "lane" in report.text
    if report.type == "demand_surge" and not report.cleared:
        assert f"{report.vehicles} " in report.text


def _crash_reports(count: int, split_tag: str) -> list[Report]:
    crash = Crash(start_s=740, duration_s=600, edge="over", lanes=(0,))
    return [plan(seed, incidents=(crash,), tags=(split_tag,))[0].reports[0] for seed in range(count)]


def test_a_share_of_the_reports_is_imprecise() -> None:
    reports = _crash_reports(400, "train")
    unsaid = np.mean([report.blocked_lanes == 0 for report in reports])
    wrong = np.mean([report.blocked_lanes > 1 for report in reports if report.blocked_lanes])
    rounded = np.mean([report.clock_s == 25800.0 for report in reports])  # 07:10 instead of 07:12
    assert 0.10 < unsaid < 0.20
    assert 0.10 < wrong < 0.20
    assert 0.14 < rounded < 0.26
    assert {report.clock_s for report in reports} == {25800.0, 25920.0}
    assert any("07:12" in report.text and "one of three lanes" in report.text for report in reports)
    assert any("right lane" in report.text for report in reports)
    assert len({report.text for report in reports}) > 20


def test_the_held_out_tag_chooses_the_held_out_wordings() -> None:
    words = {tag: {report.text for report in _crash_reports(60, tag)} for tag in ("train", "held_out")}
    assert not words["train"] & words["held_out"]


def test_a_street_without_a_name_is_called_by_its_id() -> None:
    nameless = {edge: replace(r, name=edge) for edge, r in ROADS.items()}
    crash = Crash(start_s=0, duration_s=600, edge="over", lanes=(0,))
    report = schedule(scenario(incidents=(crash,)), nameless, 1, ends=ENDS)[0].reports[0]
    assert "road over" in report.text.lower()


# --- trip ends -----------------------------------------------------------------------------------------------------


def test_trip_ends_of_every_way_to_write_a_trip(tmp_path: Path) -> None:
    file = tmp_path / "r.rou.xml"
    file.write_text(
        '<routes><vType id="pkw"/><route id="named" edges="a b c"/>'
        '<trip id="1" type="pkw" depart="0" from="a" to="d"/>'
        '<vehicle id="2" type="pkw" depart="0"><route edges="b c"/></vehicle>'
        '<vehicle id="3" depart="0" route="named"/>'
        '<flow id="4" type="pkw" begin="0" end="9" number="2" from="a" to="c"/>'
        '<trip id="5" type="pkw" depart="0" fromTaz="x" toTaz="y"/></routes>'
    )
    ends = trip_ends([file])
    assert dict(ends.origins) == {"a": 3, "b": 1}
    assert dict(ends.destinations) == {"d": 1, "c": 3}
    assert (ends.vehicle_type, ends.trips) == ("pkw", 5)


@pytest.mark.parametrize("content", [None, "<routes><trip"])
def test_broken_route_files_are_one_sentence(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "r.rou.xml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ScenarioError, match=r"^Routes file .*r\.rou\.xml (cannot be read|is not complete XML)"):
        trip_ends([file])
