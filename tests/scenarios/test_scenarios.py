"""Scenario files, the RESCO networks, and scenarios by name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scenarios import registry, resco
from scenarios.spec import (
    Crash,
    Demand,
    DemandSurge,
    DetectorOutage,
    EmergencyVehicle,
    IncidentRates,
    RoadClosure,
    Roadworks,
    Scenario,
    ScenarioError,
    read_yaml,
)

SIGNALS = {
    "cologne1": 1,
    "cologne3": 3,
    "cologne8": 8,
    "ingolstadt1": 1,
    "ingolstadt7": 7,
    "ingolstadt21": 21,
    "grid4x4": 16,
    "arterial4x4": 16,
}

names = st.text(min_size=1, max_size=12)
seconds = st.floats(1, 3600)
lanes = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple)
when = {"start_s": st.floats(0, 3600), "duration_s": seconds}
incidents = st.one_of(
    st.builds(Crash, edge=names, lanes=lanes, position_m=st.none() | st.floats(0, 500), **when),
    st.builds(Roadworks, edge=names, lanes=lanes, speed_limit_mps=st.floats(1, 20), **when),
    st.builds(RoadClosure, edge=names, reroute_share=st.floats(0, 1), **when),
    st.builds(DemandSurge, edge=names, vehicles=st.integers(1, 500), **when),
    st.builds(DetectorOutage, edge=names, **when),
    st.builds(EmergencyVehicle, from_edge=names, to_edge=names, **when),
)
scenarios = st.builds(
    Scenario,
    name=names,
    net_file=st.just(Path("/maps/a.net.xml")),
    route_files=st.just((Path("/maps/a.rou.xml"), Path("/maps/b.rou.xml"))),
    additional_files=st.sampled_from([(), (Path("/maps/c.add.xml"),)]),
    begin_s=st.floats(0, 80000),
    end_s=st.floats(90000, 100000),
    warmup_s=st.floats(0, 600),
    demand=st.builds(Demand, scale=st.floats(0.1, 10), departure_jitter_s=st.floats(0, 300)),
    incidents=st.lists(incidents, max_size=4).map(tuple),
    incident_rates=st.builds(IncidentRates, crash_per_h=st.floats(0, 10), road_closure_per_h=st.floats(0, 3)),
    tags=st.lists(names, max_size=3).map(tuple),
    licence=st.text(max_size=20),
    description=st.text(max_size=40),
)


@given(scenarios)
@example(Scenario(name="x", net_file=Path("/a"), route_files=(Path("/b"),), description="\x85 \u2028 Straße"))
@settings(max_examples=60, deadline=None)
def test_a_scenario_survives_yaml(tmp_path_factory: pytest.TempPathFactory, scenario: Scenario) -> None:
    file = tmp_path_factory.mktemp("yaml") / "scenario.yaml"
    scenario.to_yaml(file)
    assert read_yaml(file) == scenario


def test_files_below_the_yaml_are_written_relative_to_it(tmp_path: Path) -> None:
    scenario = Scenario(name="x", net_file=tmp_path / "maps/a.net.xml", route_files=(Path("/far/a.rou.xml"),))
    scenario.to_yaml(tmp_path / "x.yaml")
    text = (tmp_path / "x.yaml").read_text()
    assert "net_file: maps/a.net.xml" in text
    assert "- /far/a.rou.xml" in text
    assert read_yaml(tmp_path / "x.yaml") == scenario


GOOD = "name: x\nnet_file: a.net.xml\nroute_files: [a.rou.xml]\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "begin: 3\n", "begin: this key is not known; did you mean 'begin_s'?"),
        (GOOD + "colour: red\n", "colour: this key is not known; remove it"),
        (GOOD + "scale: 2\n", "scale: this key is not known here; it belongs under 'demand'"),
        ("name: x\nnet_file: a.net.xml\n", "route_files: Field required"),
        (GOOD + "begin_s: soon\n", "begin_s: Input should be a valid number"),
        (GOOD + "begin_s: .nan\n", "begin_s: Input should be a finite number"),
        (GOOD + "begin_s: 7200\n", "end_s (3600) must be later than begin_s + warmup_s (7200)"),
        (GOOD + "demand: {scale: -1}\n", "demand.scale: Input should be greater than 0"),
        (GOOD + "incidents: [{type: meteor}]\n", "incidents.0: incident type 'meteor' is not known; choose crash, "),
        (GOOD + "incidents: [{type: crahs}]\n", "incident type 'crahs' is not known; did you mean 'crash'?"),
        ("name: x\nnet_file: 5\nroute_files: [a.rou.xml]\n", "net_file: must be a path (text)"),
        (
            GOOD + "incidents: [{type: crash, edge: e, lanes: [-1], start_s: 0, duration_s: 9}]\n",
            "lanes.0: Input should",
        ),
        ("name: [\n", "is not valid YAML"),
        ("- just\n- a list\n", "must hold a mapping"),
        ("", "must hold a mapping"),
    ],
)
def test_a_bad_file_gives_one_sentence_with_file_and_key(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ScenarioError) as error:
        read_yaml(file)
    message = str(error.value)
    assert expected in message
    assert "bad.yaml" in message
    assert "\n" not in message
    assert not message.endswith("?.")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"none\.yaml cannot be read"):
        registry.load(tmp_path / "none.yaml")
    (tmp_path / "x.yaml").write_text(GOOD)
    with pytest.raises(ScenarioError, match=r"a\.net\.xml cannot be read"):
        registry.load(str(tmp_path / "x.yaml"))
    with pytest.raises(ScenarioError, match=r"a\.net\.xml cannot be read"):
        read_yaml(tmp_path / "x.yaml").sha256()


def test_the_hash_follows_contents_and_not_places(tmp_path: Path) -> None:
    hashes = []
    for folder, content in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "n.xml").write_text(content)
        file = tmp_path / folder / "n.xml"
        hashes.append(Scenario(name="x", net_file=file, route_files=(file,)).sha256())
    assert hashes[0] == hashes[1] != hashes[2]


def test_changes_are_validated() -> None:
    scenario = resco.load("cologne1")
    assert scenario.with_(demand={"scale": 2.0}).demand.scale == 2
    with pytest.raises(ScenarioError, match="scale"):
        scenario.with_(demand={"scale": 0})


# --- by name -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", resco.RESCO)
def test_resco_networks_have_their_hour_files_and_licence(name: str) -> None:
    scenario = registry.load(name)
    scenario.check_files()
    assert registry.count_signals(scenario.net_file) == SIGNALS[name]
    assert scenario.horizon_s == 3600
    assert scenario.begin_s == {"c": 25200, "i": 57600}.get(name[0], 0)
    assert "not redistributed" in scenario.licence
    assert (name == "arterial4x4") == ("oversaturated" in scenario.tags)


def test_splits_share_nothing() -> None:
    train, validation, held_out = (set(registry.names(tag)) for tag in ("train", "validation", "held_out"))
    assert "cologne1" in train
    assert {"cologne3", "cologne8", "ingolstadt1", "ingolstadt7", "ingolstadt21", "grid4x4", "arterial4x4"} <= held_out
    assert not train & validation
    assert not train & held_out
    assert not validation & held_out
    assert {*train, *validation, *held_out} == set(registry.names())
    assert registry.city_names("validation", signals=10, count=2) == ("city-10-500", "city-10-501")
    assert len(registry.city_names("train", signals=10)) == 500
    with pytest.raises(ScenarioError, match="train, validation, held_out"):
        registry.city_names("test", signals=10)


@pytest.mark.parametrize(
    ("asked", "near"), [("colonge8", "cologne8"), ("ingolstadt", "ingolstadt1"), ("grid", "grid4x4")]
)
def test_an_unknown_name_suggests_the_nearest(asked: str, near: str) -> None:
    with pytest.raises(ScenarioError, match=f"There is no scenario '{asked}'; did you mean .*{near}"):
        registry.load(asked)


def test_a_name_like_nothing_points_to_the_list() -> None:
    with pytest.raises(ScenarioError, match="see 'greenloop scenarios'"):
        registry.load("qqqqqqqqq")


def test_a_missing_wheel_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resco, "find_spec", lambda name: None)
    with pytest.raises(ScenarioError, match="sumo-rl wheel, which is not installed"):
        resco.load("cologne1")


def test_a_damaged_wheel_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resco, "folder", lambda: tmp_path)
    with pytest.raises(ScenarioError, match=r"cologne1\.sumocfg is missing or broken"):
        resco.load("cologne1")


def test_the_wheel_is_not_imported() -> None:
    code = "import sys; from scenarios import registry; registry.load('cologne1'); assert 'sumo_rl' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_rows_describe_every_scenario() -> None:
    rows = {row.name: row for row in registry.describe()}
    assert set(rows) == set(registry.names())
    assert rows["cologne8"].signals == 8
    assert rows["cologne8"].vehicles_per_h == 2046
    assert rows["cologne3"].vehicles_per_h == 2856  # 1,638 more are scheduled before the hour
    assert rows["city-300-902"].signals == 300


# --- other people's packages ---------------------------------------------------------------------------------------


def from_code() -> Scenario:
    return resco.load("cologne1").with_(name="theirs", tags=("held_out",))


def not_a_scenario() -> int:
    return 3


def failing() -> Scenario:
    raise RuntimeError("no disk")


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"theirs": "from_code", "odd": "not_a_scenario", "broken": "failing"}
    points = [EntryPoint(name, f"{__name__}:{value}", registry.GROUP) for name, value in values.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)


@pytest.mark.usefixtures("plugins")
def test_packages_add_scenarios() -> None:
    assert registry.load("theirs").name == "theirs"
    assert "theirs" in registry.names()
    with pytest.raises(ScenarioError, match=r"odd: .* gave int"):
        registry.load("odd")
    with pytest.raises(ScenarioError, match=r"broken: .* failed with RuntimeError: no disk"):
        registry.load("broken")
    rows = {row.name: row for row in registry.describe()}
    assert "no disk" in rows["broken"].description
    assert rows["theirs"].vehicles_per_h == 2015


# --- a user's own files --------------------------------------------------------------------------------------------


def test_own_files_need_no_configuration(tmp_path: Path) -> None:
    source = resco.load("cologne8")
    shutil.copy(source.net_file, tmp_path / "town.net.xml")
    scenario = registry.from_files(tmp_path / "town.net.xml", source.route_files[0])
    assert scenario.name == "town"
    assert (scenario.begin_s, scenario.end_s) == (25200, 28800)
    assert registry.from_files(tmp_path / "town.net.xml", source.route_files, begin_s=26000).end_s == 28800


def test_a_short_file_ends_with_its_last_departure(tmp_path: Path) -> None:
    routes = tmp_path / "a.rou.xml"
    routes.write_text(
        '<routes><trip id="a" depart="0:02:05" from="a" to="b"/>'
        '<flow id="f" begin="130" end="300" number="5"/></routes>'
    )
    scenario = registry.from_files(resco.load("grid4x4").net_file, routes)
    assert (scenario.begin_s, scenario.end_s) == (120, 300)


@pytest.mark.parametrize(
    ("net", "routes", "expected"),
    [
        (None, "<routes/>", "n.net.xml cannot be read"),
        ("<net>", "<routes/>", "n.net.xml is not complete XML"),
        ("<routes/>", "<routes/>", "holds <routes>, not <net>"),
        ("<net/>", None, "r.rou.xml cannot be read"),
        ("<net/>", "<routes><trip", "r.rou.xml is not complete XML"),
        ("<net/>", "<net/>", "holds <net>, not <routes>"),
        ("<net/>", "<routes/>", "holds no vehicle, trip or flow"),
        ("<net/>", '<routes><trip id="t" depart="later!" from="a" to="b"/></routes>', "depart is 'later!'"),
    ],
)
def test_broken_files_give_sentences(tmp_path: Path, net: str | None, routes: str | None, expected: str) -> None:
    for file, content in (("n.net.xml", net), ("r.rou.xml", routes)):
        if content is not None:
            (tmp_path / file).write_text(content)
    with pytest.raises(ScenarioError) as error:
        registry.from_files(tmp_path / "n.net.xml", tmp_path / "r.rou.xml")
    assert expected in str(error.value)


def test_an_hour_that_is_none_is_said() -> None:
    scenario = resco.load("cologne1")
    with pytest.raises(ScenarioError, match="do not make a horizon"):
        registry.from_files(scenario.net_file, scenario.route_files, begin_s=30000, end_s=20000)
