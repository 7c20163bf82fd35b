"""Persons, cyclists, buses and trams in results: by hand from SUMO's files, and in a run on a small network."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.results import road_users
from benchmarks.results import sumo_outputs as outputs
from benchmarks.results.metrics import Horizon, Plan
from benchmarks.run.cell import Cell, run_cell
from scenarios import registry
from scenarios.common.sumo_tools import run_tool
from scenarios.demand.footways import Footways
from scenarios.road_users import may_have_others
from scenarios.spec import Scenario
from sim.engine.road_users import RoadUsers, Walk

HOUR = Horizon(0.0, 600.0)
TRIPS = """<tripinfos>
<personinfo id="home" depart="10.00" duration="100.00"><walk depart="10.00" arrival="110.00" routeLength="84.00"
 maxSpeed="1.40"/></personinfo>
<personinfo id="stuck" depart="100.00" duration="-1"><walk depart="100.00" arrival="-1" routeLength="-1"
 maxSpeed="1.50"/></personinfo>
<personinfo id="rider" depart="0.00" duration="400.00"><walk depart="0.00" arrival="30.00" routeLength="30.00"
 maxSpeed="1.00"/><ride depart="200.00" arrival="340.00"/><walk depart="340.00" arrival="400.00" routeLength="50.00"
 maxSpeed="1.00"/></personinfo>
<personinfo id="waits" depart="50.00" duration="-1"><walk depart="50.00" arrival="80.00" routeLength="30.00"
 maxSpeed="1.00"/><ride depart="-1" arrival="-1"/><walk depart="-1" arrival="-1" routeLength="-1" maxSpeed="1.00"/>
</personinfo>
<personinfo id="late" depart="595.00" duration="-1"><walk depart="595.00" arrival="-1" routeLength="-1"
 maxSpeed="1.00"/></personinfo>
<personinfo id="early" depart="-5.00" duration="9.00"/>
</tripinfos>"""


def test_delay_of_persons_by_hand(tmp_path: Path) -> None:
    """Everyone scheduled counts, on foot: 40 s of 100; all but 100 s of 500; 10 s after a ride; none; none."""
    (tmp_path / "trips.xml").write_text(TRIPS)
    planned = Walk(("a", "b"), 0.0, 150.0)
    walks = {"stuck": {1: planned}, "late": {1: planned}, "home": {}}
    seen = RoadUsers({"person": 400.0}, walks)
    served = road_users.persons_served(outputs.read_persons(tmp_path / "trips.xml"), HOUR, seen, lambda _: 150.0)
    assert served is not None
    assert served.delay_s.tolist() == pytest.approx([40.0, 400.0, 10.0, 0.0, 0.0])
    assert served.arrived.tolist() == [1, 0, 1, 0, 0]
    found = road_users.user_metrics({"person": served})
    assert found == {
        "person_scheduled": 5, "person_delay_s": pytest.approx(90.0), "person_completion": pytest.approx(0.4),
        "person_worst_wait_s": 400.0,
    }  # fmt: skip
    assert road_users.user_distribution({"person": served})["person"][[0, 100]].tolist() == [0.0, 400.0]
    assert road_users.persons_served([], HOUR, seen, lambda _: 0.0) is None


def test_vehicles_that_never_got_in_wait_outside(tmp_path: Path) -> None:
    trip = '<tripinfo id="{}" depart="{}" departDelay="{}" arrival="{}" speedFactor="1" vType="{}"/>'
    rows = [("t1", 10, 0, 110, "tram"), ("t2", -1, 0, -1, "tram"), ("car", 5, 9, -1, "c"), ("doc", 5, 0, 65, "amb")]
    (tmp_path / "trips.xml").write_text(f"<tripinfos>{''.join(trip.format(*row) for row in rows)}</tripinfos>")
    trips = outputs.read_trips(tmp_path / "trips.xml")
    seen = RoadUsers({"tram": 60.0}, {}, {"tram": "tram", "amb": "emergency"})
    kinds = road_users.kinds_of(trips, seen)
    plans = {name: Plan(10.0, 50.0) for name in ("t1", "t2", "car", "doc")}
    served = road_users.vehicles_served(trips, plans, HOUR, kinds, seen)
    assert list(served) == ["tram"]
    assert served["tram"].delay_s.tolist() == [50.0, 540.0]
    assert served["tram"].worst_wait_s == 590.0
    assert [plan.kind for plan in road_users.with_emergency(plans, kinds).values()] == [
        "vehicle", "vehicle", "vehicle", "emergency"
    ]  # fmt: skip
    assert road_users.user_metrics({}) == {}


def test_a_collision_is_no_teleport(tmp_path: Path) -> None:
    (tmp_path / "s.xml").write_text(
        '<statistics><teleports total="9" jam="1" yield="2" wrongLane="3"/><safety collisions="3" emergencyStops="0" '
        'emergencyBraking="0"/>'
        '<vehicleTripStatistics count="1" duration="1" timeLoss="1" departDelay="0"/></statistics>'
    )
    found = outputs.read_statistics(tmp_path / "s.xml")
    assert (found.teleports, found.collisions) == (6, 3)


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ('<vType id="a" vClass="passenger"/><trip id="1" depart="0" from="a" to="b"/>', False),
        ("<vType id='a' vClass = 'tram'/>", True),
        ('<trip id="1" type="DEFAULT_BIKETYPE" depart="0"/>', True),
        ('<personFlow id="p" begin="0"/>', True),
        ('<include href="more.xml"/>', True),
    ],
)
def test_files_of_cars_alone_are_told_from_others(tmp_path: Path, text: str, others: bool) -> None:
    (tmp_path / "a.rou.xml").write_text(f"<routes>{text}</routes>")
    assert may_have_others([tmp_path / "a.rou.xml"]) is others


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """A signal with crossings; cars, cyclists, a bus and persons over it for five minutes."""
    folder = tmp_path_factory.mktemp("mixed")
    places = {"n": (0, 100), "e": (100, 0), "s": (0, -100), "w": (-100, 0), "c": (0, 0)}
    nodes = "".join(
        f'<node id="{name}" x="{x}" y="{y}" type="{"traffic_light" if name == "c" else "priority"}"/>'
        for name, (x, y) in places.items()
    )
    edges = "".join(f'<edge id="{a}c" from="{a}" to="c"/><edge id="c{a}" from="c" to="{a}"/>' for a in "nesw")
    (folder / "a.nod.xml").write_text(f"<nodes>{nodes}</nodes>")
    (folder / "a.edg.xml").write_text(f"<edges>{edges}</edges>")
    options = ["--sidewalks.guess", "--crossings.guess", "--no-turnarounds", "-o", folder / "mixed.net.xml"]
    files = ["-n", folder / "a.nod.xml", "-e", folder / "a.edg.xml"]
    run_tool("netconvert", [*files, *options], "the test's network")
    (folder / "mixed.rou.xml").write_text(
        '<routes><vType id="bike" vClass="bicycle"/><vType id="bus" vClass="bus"/>'
        '<flow id="car" begin="0" end="300" period="12" from="nc" to="cs"/>'
        '<flow id="bike" type="bike" begin="0" end="300" period="40" from="ec" to="cw"/>'
        '<flow id="bus" type="bus" begin="0" end="300" period="90" from="wc" to="ce"/>'
        '<personFlow id="p" begin="0" end="200" period="25"><walk from="nc" to="cs"/></personFlow></routes>'
    )
    return registry.from_files(folder / "mixed.net.xml", (folder / "mixed.rou.xml",)).with_(end_s=300.0)


def test_each_kind_of_road_user_has_measures_of_its_own(mixed: Scenario) -> None:
    found = run_cell(Cell(mixed, "fixed_time", 1))
    measured = found.metrics
    assert {kind: measured[f"{kind}_scheduled"] for kind in ("person", "bicycle", "bus")} == {
        "person": 8, "bicycle": 8, "bus": 4
    }  # fmt: skip
    assert not any(key.startswith("tram") for key in measured)
    for kind in ("person", "bicycle", "bus"):
        assert 0 < measured[f"{kind}_completion"] <= 1
        assert 0 <= measured[f"{kind}_delay_s"] < 120
        assert 0 < measured[f"{kind}_worst_wait_s"] <= 90  # no longer than the signal's cycle
    assert found.distribution is not None
    assert {len(values) for values in found.distribution.users_delay_s.values()} == {101}
    assert measured["scheduled_veh"] == 25 + 8 + 4  # the vehicles of the delay are all of them, as ever


def test_a_walk_is_as_long_as_sumo_measures_it(mixed: Scenario, tmp_path: Path) -> None:
    trips = tmp_path / "trips.xml"
    route = '<routes><person id="a" depart="0" departPos="20"><walk edges="nc cs" arrivalPos="70"/></person></routes>'
    (tmp_path / "a.rou.xml").write_text(route)
    run_tool("sumo", ["-n", mixed.net_file, "-r", tmp_path / "a.rou.xml", "--tripinfo-output", trips], "a walk")
    (person,) = outputs.read_persons(trips)
    ways = Footways(mixed.net_file)
    planned_m = ways.walk_m(("nc", "cs"), 20.0, 70.0)
    assert planned_m == pytest.approx(person.walks[0].length_m, abs=5.0)
    assert planned_m == pytest.approx(ways.walk_m(("cs", "nc"), 70.0, 20.0))  # and back
    assert ways.walk_m(("nc",), 70.0, 20.0) == 50.0
    assert ways.walk_m((), 0.0, 0.0) == ways.walk_m(("nowhere", "cs"), 0.0, 1.0) == 0.0
    assert math.isfinite(person.arrival_s)
    assert np.isclose(person.walks[0].depart_s, 0.0)
