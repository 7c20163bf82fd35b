"""Schedules: which vehicles depart when, how long they would drive unhindered, and what SUMO is given."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios import resco
from scenarios.common import sumo_tools as tools
from scenarios.common.sumo_tools import cached, sumo_home
from scenarios.demand import route_files
from scenarios.demand import scheduled_trips as demand
from scenarios.demand.scheduled_trips import Schedule, schedule
from scenarios.demand.waves import Waves
from scenarios.spec import Scenario, ScenarioError

NODES = '<nodes><node id="a" x="0" y="0"/><node id="b" x="200" y="0"/><node id="c" x="500" y="0"/></nodes>'
EDGES = (
    '<edges><edge id="ab" from="a" to="b" numLanes="1" speed="10"/>'
    '<edge id="bc" from="b" to="c" numLanes="1" speed="20"/>'
    '<edge id="ba" from="b" to="a" numLanes="1" speed="10"/></edges>'
)


@pytest.fixture(scope="session")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two roads in a row: 200 m at 10 m/s, 300 m at 20 m/s."""
    folder = tmp_path_factory.mktemp("road")
    (folder / "n.nod.xml").write_text(NODES)
    (folder / "n.edg.xml").write_text(EDGES)
    plain = ["-n", folder / "n.nod.xml", "-e", folder / "n.edg.xml", "--no-internal-links", "-o", folder / "n.net.xml"]
    subprocess.run([sumo_home() / "bin" / "netconvert", *plain], check=True, capture_output=True)
    return folder / "n.net.xml"


def on_road(road: Path, folder: Path, body: str, **changes: object) -> Scenario:
    (folder / "r.rou.xml").write_text(f"<routes>{body}</routes>")
    return Scenario.model_validate(
        {"name": "road", "net_file": road, "route_files": (folder / "r.rou.xml",), **changes}
    )


# --- free flow -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vehicle", "expected_s"),
    [
        ('departPos="0"', 200 / 10 + 300 / 20),
        ("", 195 / 10 + 300 / 20),  # "base": the whole of a 5 m car is on the road
        ('departPos="50" arrivalPos="100"', 150 / 10 + 100 / 20),
        ('departPos="-20" arrivalPos="-100"', 20 / 10 + 200 / 20),
        ('departPos="random"', 100 / 10 + 300 / 20),
        ('type="slow" departPos="0"', 500 / 5),
        ('type="bus"', 188 / 10 + 300 / 20),  # 12 m long
    ],
)
def test_free_flow_by_hand(road: Path, tmp_path: Path, vehicle: str, expected_s: float) -> None:
    types = '<vType id="slow" maxSpeed="5"/><vType id="bus" vClass="bus"/>'
    body = f'{types}<vehicle id="v" depart="7" {vehicle}><route edges="ab bc"/></vehicle>'
    result = schedule(on_road(road, tmp_path, body), 1, tmp_path)
    assert result.ids.tolist() == ["v"]
    assert result.depart_s.tolist() == [7]
    assert result.free_flow_s[0] == pytest.approx(expected_s, abs=0.6)  # netconvert rounds lengths


@pytest.mark.parametrize("name", ["cologne8", "grid4x4"])
def test_free_flow_agrees_with_sumo(name: str, tmp_path: Path) -> None:
    """SUMO's own: the trip's duration less its time loss, which is measured at the driver's speed factor."""
    scenario = resco.load(name)
    result = schedule(scenario, 1, tmp_path)
    errors = []
    trips = run_sumo(scenario, result, tmp_path)
    for vehicle, free_flow_s in zip(result.ids.tolist(), result.free_flow_s, strict=True):
        if trip := trips.get(vehicle):
            ideal_s = float(trip["duration"]) - float(trip["timeLoss"])
            errors.append(abs(free_flow_s / float(trip["speedFactor"]) - ideal_s) / ideal_s)
    assert len(errors) > 1400
    assert np.median(errors) < 0.03


def run_sumo(scenario: Scenario, result: Schedule, folder: Path) -> dict[str, dict[str, str]]:
    routes = ",".join(map(str, result.route_files))
    output = folder / "trips.xml"
    hour = ["-b", str(scenario.begin_s), "-e", str(scenario.end_s), "--time-to-teleport", "-1"]
    options = ["-n", scenario.net_file, "-r", routes, *hour, "--tripinfo-output", output, "--no-step-log"]
    subprocess.run([sumo_home() / "bin" / "sumo", *options], check=True, capture_output=True)
    return {trip.get("id", ""): trip.attrib for trip in ElementTree.parse(output).getroot()}


# --- what is scheduled ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", resco.RESCO)
def test_without_changes_sumo_gets_the_original_files(name: str, tmp_path: Path) -> None:
    scenario = resco.load(name)
    result = schedule(scenario, 1, tmp_path)
    assert result.route_files == scenario.route_files
    assert result.unroutable == ()
    assert (np.diff(result.depart_s) >= 0).all()
    assert result.depart_s[0] >= scenario.begin_s
    assert result.depart_s[-1] < scenario.end_s
    assert len(set(result.ids.tolist())) == len(result.ids) == len(result.free_flow_s)
    assert (result.free_flow_s > 1).all()


def test_vehicles_before_the_hour_and_in_the_warm_up_do_not_count(tmp_path: Path) -> None:
    scenario = resco.load("cologne3")
    assert len(schedule(scenario, 1, tmp_path).ids) == 2856
    warmed = schedule(scenario.with_(warmup_s=600), 1, tmp_path)
    assert warmed.depart_s[0] >= scenario.begin_s + 600
    assert len(warmed.ids) < 2856


def test_unroutable_vehicles_are_named_and_not_scheduled(road: Path, tmp_path: Path) -> None:
    body = '<trip id="no" depart="1" from="bc" to="ab"/><trip id="yes" depart="2" from="ab" to="bc"/>'
    result = schedule(on_road(road, tmp_path, body), 1, tmp_path)
    assert result.ids.tolist() == ["yes"]
    assert result.unroutable == ("no",)


def test_a_file_out_of_order_is_put_in_order(road: Path, tmp_path: Path) -> None:
    body = '<trip id="late" depart="900" from="ab" to="bc"/><trip id="early" depart="2" from="ab" to="bc"/>'
    scenario = on_road(road, tmp_path, body)
    result = schedule(scenario, 1, tmp_path)
    assert result.ids.tolist() == ["early", "late"]
    assert set(run_sumo(scenario, result, tmp_path)) == {"early", "late"}


# --- scaling and jitter --------------------------------------------------------------------------------------------


def changed(scale: float = 1.0, jitter_s: float = 0.0) -> Scenario:
    return resco.load("cologne1").with_(demand={"scale": scale, "departure_jitter_s": jitter_s})


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    files = [schedule(changed(1.2, 30), 5, tmp_path / folder).route_files[0].read_bytes() for folder in "ab"]
    assert files[0] == files[1]
    assert files[0] != schedule(changed(1.2, 30), 6, tmp_path / "a").route_files[0].read_bytes()


@given(scale=st.floats(0.3, 3), jitter_s=st.floats(0, 200), seed=st.integers(0, 2**40))
@settings(max_examples=8, deadline=None)
def test_scaling_and_jitter(tmp_path_factory: pytest.TempPathFactory, scale: float, jitter_s: float, seed: int) -> None:
    scenario = changed(scale, jitter_s)
    original = dict(zip(*(getattr(schedule(changed(), 1), key).tolist() for key in ("ids", "depart_s")), strict=True))
    result = schedule(scenario, seed, tmp_path_factory.mktemp("cache"))
    spread = np.sqrt(len(original)) * 5
    assert abs(len(result.ids) - scale * len(original)) <= spread
    for vehicle, depart_s in zip(result.ids.tolist(), result.depart_s, strict=True):
        name, _, copy = vehicle.partition("#")
        reach_s = max(jitter_s, demand.DUPLICATE_JITTER_S) if copy else jitter_s
        assert abs(depart_s - original[name]) <= reach_s + 1
        assert scenario.begin_s <= depart_s < scenario.end_s


def test_more_traffic_keeps_the_vehicles_of_less(tmp_path: Path) -> None:
    less, more = (set(schedule(changed(scale), 3, tmp_path).ids.tolist()) for scale in (0.6, 1.4))
    assert less < more
    assert {vehicle for vehicle in more if "#" not in vehicle} == set(schedule(changed(), 3, tmp_path).ids.tolist())


@given(strength=st.floats(0, 3), seed=st.integers(0, 2**40), road=st.text(max_size=5))
@settings(max_examples=50, deadline=None)
def test_waves_keep_the_order_and_the_horizon(strength: float, seed: int, road: str) -> None:
    waves, before_s = Waves(strength, 100.0, 3700.0, seed), np.linspace(100.0, 3699.0, 400)
    after_s = [waves.moved_s(time_s, road) for time_s in before_s]
    assert sorted(after_s) == after_s
    assert after_s[0] >= 100.0
    assert after_s[-1] < 3700.0
    if strength == 0:
        assert after_s == pytest.approx(before_s.tolist())


def test_traffic_in_waves_is_as_much_and_less_even(tmp_path: Path) -> None:
    scenario = changed()
    waved = scenario.with_(demand={"waves": 1.0})
    even, uneven, again = (
        schedule(s, 3, tmp_path / folder) for s, folder in ((scenario, "a"), (waved, "a"), (waved, "b"))
    )
    assert set(uneven.ids.tolist()) == set(even.ids.tolist())
    assert uneven.depart_s.tolist() == again.depart_s.tolist()
    minutes = np.arange(scenario.begin_s, scenario.end_s + 1, 300.0)
    counts = [np.histogram(found.depart_s, minutes)[0] for found in (even, uneven)]
    assert counts[1].std() > 1.5 * counts[0].std()


def test_waves_are_of_each_road() -> None:
    waves, times_s = Waves(1.0, 0.0, 3600.0, 1), np.linspace(0, 3599, 50)
    moved = [[waves.moved_s(time_s, road) for time_s in times_s] for road in ("a", "b")]
    assert np.abs(np.subtract(*moved)).max() > 60


def test_without_waves_a_scenario_hashes_as_before_there_were_any() -> None:
    scenario = changed(1.2, 30)
    body = scenario.model_dump(
        mode="json", exclude={"net_file", "route_files", "additional_files", "drivers", "detectors"}
    )
    del body["demand"]["waves"]
    digest = hashlib.sha256(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())
    for file in scenario.files:
        digest.update(file.read_bytes())
    assert scenario.sha256() == digest.hexdigest()
    assert scenario.with_(demand={"waves": 0.5}).sha256() != changed().sha256()


def test_sumo_drives_what_was_prepared(tmp_path: Path) -> None:
    scenario = changed(1.3, 60).with_(end_s=26100)
    result = schedule(scenario, 2, tmp_path)
    assert set(run_sumo(scenario, result, tmp_path)) <= set(result.ids.tolist())


# --- flows ---------------------------------------------------------------------------------------------------------

FLOWS = (
    '<flow id="f" begin="0" end="600" probability="0.1" from="ab" to="bc"/>'
    '<flow id="g" begin="0" end="600" number="20"><route edges="ab bc"/></flow>'
)


def test_flows_become_vehicles_that_depend_on_the_seed_alone(road: Path, tmp_path: Path) -> None:
    scenario = on_road(road, tmp_path, FLOWS)
    first, again, other = (
        schedule(scenario, seed, tmp_path / folder) for seed, folder in ((1, "a"), (1, "b"), (2, "c"))
    )
    assert first.ids.tolist() == again.ids.tolist()
    assert first.depart_s.tolist() == again.depart_s.tolist()
    assert first.depart_s.tolist() != other.depart_s.tolist()
    assert sum(vehicle.startswith("g.") for vehicle in first.ids.tolist()) == 20
    assert 30 <= sum(vehicle.startswith("f.") for vehicle in first.ids.tolist()) <= 95
    assert set(run_sumo(scenario, first, tmp_path)) == set(first.ids.tolist())


def test_flows_can_be_scaled(road: Path, tmp_path: Path) -> None:
    plain = len(schedule(on_road(road, tmp_path, FLOWS), 1, tmp_path).ids)
    doubled = len(schedule(on_road(road, tmp_path, FLOWS, demand={"scale": 2}), 1, tmp_path).ids)
    assert doubled == 2 * plain


def test_departures_are_counted_without_routing(road: Path, tmp_path: Path) -> None:
    flows = {
        'number="6" end="60"': 6,
        'vehsPerHour="1800" end="60"': 30,
        'period="4" end="60"': 15,
        'period="exp(0.5)" end="60"': 30,
        'probability="0.25" end="60"': 15,
        'number="5" period="10"': 5,
    }
    for number, (flow, expected) in enumerate(flows.items()):
        file = tmp_path / f"{number}.rou.xml"
        file.write_text(f'<routes><flow id="f" begin="0" {flow} from="ab" to="bc"/></routes>')
        assert len(route_files.read_departures([file])) == expected, flow


# --- bad input and speed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<trip", "is not complete XML"),
        ("", "no vehicle of"),
        ('<trip id="t" depart="5000" from="ab" to="bc"/>', "departs between 0 s and 3600 s"),
        ('<trip id="t" depart="soon!" from="ab" to="bc"/>', "depart is 'soon!'"),
        (
            '<trip id="t" depart="5" from="nowhere" to="bc"/>',
            "edge 'nowhere' within the route for trip 't' is not known",
        ),
    ],
)
def test_bad_routes_give_one_sentence(road: Path, tmp_path: Path, body: str, expected: str) -> None:
    scenario = on_road(road, tmp_path, body)
    with pytest.raises(ScenarioError) as error:
        schedule(scenario, 1, tmp_path)
    assert expected in str(error.value)
    assert "r.rou.xml" in str(error.value) or "id='t'" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ('period="0"', "period is '0'; give seconds above 0"),
        ('period="exp(often)"', "period is 'exp(often)'"),
        ('number="x"', "number is 'x'; give a whole number"),
        ('number="-3"', "number is '-3'"),
        ('probability="1.5"', "probability is '1.5'; give a probability from 0 to 1"),
        ('vehsPerHour="many"', "vehsPerHour is 'many'"),
        ('number="3" end="nan"', "end is 'nan'"),
        ('number="3" end="soon!"', "end is 'soon!'"),
    ],
)
def test_a_bad_flow_is_named_with_its_file(road: Path, tmp_path: Path, values: str, expected: str) -> None:
    scenario = on_road(road, tmp_path, f'<flow id="f7" begin="0" {values} from="ab" to="bc"/>')
    for use in (lambda: route_files.read_departures(scenario.route_files), lambda: schedule(scenario, 1, tmp_path)):
        with pytest.raises(ScenarioError) as error:
            use()
        assert f"r.rou.xml: <flow id='f7'>: {expected}" in str(error.value)


def test_a_missing_file_and_a_broken_network_are_named(road: Path, tmp_path: Path) -> None:
    scenario = on_road(road, tmp_path, '<vehicle id="v" depart="1"><route edges="ab bc"/></vehicle>')
    with pytest.raises(ScenarioError, match=r"none\.rou\.xml cannot be read"):
        schedule(scenario.with_(route_files=(tmp_path / "none.rou.xml",)), 1, tmp_path)
    (tmp_path / "half.net.xml").write_text(road.read_text()[:900])
    with pytest.raises(ScenarioError, match=r"half\.net\.xml"):
        schedule(scenario.with_(net_file=tmp_path / "half.net.xml"), 1, tmp_path)


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ScenarioError, match=r"cache folder .* cannot be written"):
        schedule(resco.load("cologne1"), 1, tmp_path / "file")


def test_a_second_call_costs_next_to_nothing(tmp_path: Path) -> None:
    scenario = resco.load("cologne8")
    schedule(scenario, 1, tmp_path)
    started = time.process_time()
    schedule(scenario, 2, tmp_path)  # the seed changes nothing here
    assert time.process_time() - started < 0.3


def test_the_cache_is_filled_whole_or_not_at_all(tmp_path: Path) -> None:
    def build(draft: Path) -> None:
        (draft / "a").write_text("mine")
        if (tmp_path / "race").exists():  # another process was faster
            (tmp_path / "made").mkdir()
            (tmp_path / "made" / "a").write_text("theirs")

    def fail(draft: Path) -> None:
        (draft / "a").write_text("half")
        raise ScenarioError("no routes")

    with pytest.raises(ScenarioError, match="no routes"):
        cached(tmp_path / "made", fail)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "race").touch()
    assert (cached(tmp_path / "made", build) / "a").read_text() == "theirs"
    assert (cached(tmp_path / "made", fail) / "a").read_text() == "theirs"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["made", "race"]


def test_a_tool_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tools, "find_spec", lambda name: None)
    with pytest.raises(ScenarioError, match="SUMO is not installed"):
        schedule(resco.load("cologne1"), 1, tmp_path)
