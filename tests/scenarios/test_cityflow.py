"""CityFlow sets: what the files say is what SUMO gets, and files that do not fit are refused in one sentence."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.cli import main as cli
from scenarios import registry
from scenarios.cityflow import importer, reader, signals
from scenarios.spec import ScenarioError
from sim.network import GREEN, Network

Json = dict[str, Any]
ARMS = {"east": (1, 0), "north": (0, 1), "west": (-1, 0), "south": (0, -1)}
#: By heading in and out: turns of right-hand traffic.
TURNS = {0: "go_straight", 1: "turn_left", -1: "turn_right", 3: "turn_right", -3: "turn_left"}
ARM_M = 300.0
CAR = {"length": 5.0, "width": 2.0, "maxPosAcc": 2.0, "maxNegAcc": 4.5, "usualPosAcc": 2.0, "usualNegAcc": 4.5}
CAR |= {"minGap": 2.5, "maxSpeed": 11.111, "headwayTime": 2}


def crossing() -> Json:
    """Four arms of three lanes: left, straight, right, counted from the middle of the street as CityFlow does."""
    names = list(ARMS)
    lanes = [{"width": 4.0, "maxSpeed": 11.111}] * 3
    middle: Json = {"id": "middle", "point": {"x": 0.0, "y": 0.0}, "width": 15, "virtual": False, "roadLinks": []}
    intersections, roads = [middle], []
    for name, (x, y) in ARMS.items():
        place = {"x": ARM_M * x, "y": ARM_M * y}
        intersections.append({"id": name, "point": place, "width": 0, "roads": [], "roadLinks": [], "virtual": True})
        for key, ends in ((f"from_{name}", (name, "middle")), (f"to_{name}", ("middle", name))):
            points = [place, middle["point"]] if ends[1] == "middle" else [middle["point"], place]
            road = {"id": key, "startIntersection": ends[0], "endIntersection": ends[1], "points": points}
            roads.append(road | {"lanes": lanes})
    middle["roads"] = [road["id"] for road in roads]
    for name in names:
        for other in names:
            if name != other:
                heading = (names.index(name) + 2) % 4  # of who comes from there
                turn = TURNS[names.index(other) - heading]
                start_lane = ("turn_left", "go_straight", "turn_right").index(turn)
                ways = [{"startLaneIndex": start_lane, "endLaneIndex": lane, "points": []} for lane in range(3)]
                link = {"type": turn, "startRoad": f"from_{name}", "endRoad": f"to_{other}", "laneLinks": ways}
                middle["roadLinks"].append(link)
    rights = _places(middle, "turn_right")
    shown = [
        _places(middle, turn, arms)
        for turn in ("go_straight", "turn_left")
        for arms in (("east", "west"), ("north", "south"))
    ]
    phases = [{"time": 5, "availableRoadLinks": rights}]
    phases += [{"time": 30, "availableRoadLinks": sorted(rights + links)} for links in shown]
    middle["trafficLight"] = {"roadLinkIndices": list(range(12)), "lightphases": phases}
    return {"intersections": intersections, "roads": roads}


def _places(middle: Json, turn: str, arms: tuple[str, ...] = tuple(ARMS)) -> list[int]:
    return [
        number
        for number, link in enumerate(middle["roadLinks"])
        if link["type"] == turn and link["startRoad"].removeprefix("from_") in arms
    ]


def flows() -> list[Json]:
    """One vehicle, then one every ten seconds with the end included, then one until the run ends, then another type."""
    truck = CAR | {"length": 12.0, "maxSpeed": 9.0}
    straight, left = ["from_east", "to_west"], ["from_south", "to_west"]
    return [
        {"vehicle": CAR, "route": straight, "interval": 1.0, "startTime": 0, "endTime": 0},
        {"vehicle": CAR, "route": left, "interval": 10.0, "startTime": 20, "endTime": 50},
        {"vehicle": CAR, "route": straight, "interval": 60.0, "startTime": 30, "endTime": -1},
        {"vehicle": truck, "route": left, "interval": 5.0, "startTime": 581, "endTime": 581},
    ]


def write(folder: Path, net: object = None, traffic: object = None) -> tuple[Path, Path]:
    files = folder / "roadnet.json", folder / "flow.json"
    for file, content in zip(files, (net or crossing(), traffic or flows()), strict=True):
        file.write_text(json.dumps(content))
    return files


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> importer.Imported:
    folder = tmp_path_factory.mktemp("cityflow")
    return importer.import_set(*write(folder), folder / "out", importer.Wish("small", minutes=10))


@pytest.fixture(scope="module")
def network(imported: importer.Imported) -> Network:
    return Network.read(registry.load(imported.yaml_file).net_file)


# --- what comes of a set -------------------------------------------------------------------------------------------


def test_roads_keep_their_place_lanes_and_speed(network: Network) -> None:
    assert set(network.roads) == {road["id"] for road in crossing()["roads"]}
    for road in network.roads.values():
        assert road.lanes == 3
        assert road.speed_mps == pytest.approx(11.111, abs=0.01)
        assert ARM_M - 25 < road.length_m < ARM_M  # without its part of the intersection
        x, y = ARMS[road.id.rpartition("_")[2]]
        outer = road.shape[0] if road.id.startswith("from") else road.shape[-1]
        side = 1 if road.id.startswith("from") else -1  # traffic keeps right: the middle of its lanes is 6 m away
        assert outer == pytest.approx((ARM_M * x - 6 * side * y, ARM_M * y + 6 * side * x))


def test_lane_links_are_those_of_the_file(network: Network) -> None:
    (signal,) = network.signals
    made = Counter((network.lanes[m.lane], network.exits[m.exit]) for m in signal.movements)
    lanes = {"turn_left": 2, "go_straight": 1, "turn_right": 0}  # SUMO counts from the kerb
    wanted = Counter(
        (f"{link['startRoad']}_{lanes[link['type']]}", f"{link['endRoad']}_{lane}")
        for link in crossing()["intersections"][0]["roadLinks"]
        for lane in range(3)
    )
    assert made == wanted


def test_phases_show_the_road_links_of_the_file(network: Network) -> None:
    (signal,) = network.signals
    assert signal.problem is None
    links = crossing()["intersections"][0]["roadLinks"]
    asked = crossing()["intersections"][0]["trafficLight"]["lightphases"][1:]
    for phase, light in zip(signal.phases, asked, strict=True):
        shown = {(network.lane_edge[m.lane], network.exits[m.exit].rpartition("_")[0]) for m in phase.movements}
        assert shown == {(links[n]["startRoad"], links[n]["endRoad"]) for n in light["availableRoadLinks"]}
    assert signal.yellow_s == 5
    assert [row.duration_s for row in signal.program] == [30, 5] * 4


def test_right_turns_are_green_all_the_time_and_yield(network: Network) -> None:
    (signal,) = network.signals
    for movement in signal.movements:
        if movement.direction == "r":
            assert {row.state[movement.link] for row in signal.program} <= GREEN
        elif movement.direction == "s":
            assert {row.state[movement.link] for row in signal.program} == {"G", "y", "r"}
    # From the south to the east, beside those who go straight from the west.
    east = next(m for m in signal.movements if (network.lane_edge[m.lane], m.direction) == ("from_south", "r"))
    assert signal.phases[0].state[east.link] == "g"


def test_every_vehicle_departs_when_cityflow_lets_it_go(imported: importer.Imported) -> None:
    root = ElementTree.parse(imported.scenario.route_files[0]).getroot()
    departures: dict[str, list[int]] = {}
    for vehicle in root.iter("vehicle"):
        departures.setdefault(vehicle.get("id", "").rpartition("_")[0], []).append(int(vehicle.get("depart", "")))
    assert departures["flow_0"] == [0]
    assert departures["flow_1"] == [20, 30, 40, 50]
    assert departures["flow_2"] == list(range(30, 600, 60))
    assert departures["flow_3"] == [581]
    assert imported.scenario.end_s == 600
    types = {kind.get("id"): kind for kind in root.iter("vType")}
    assert [types[name].get("length") for name in ("car", "type1")] == ["5", "12"]
    assert types["car"].get("tau") == "2"


def test_a_set_runs_through_the_command_line_zipped_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zipped = []
    for file in write(tmp_path):
        zipped.append(str(file.with_name(f"{file.name}.gz")))
        Path(zipped[-1]).write_bytes(gzip.compress(file.read_bytes()))
    arguments = ["import", "--cityflow", *zipped, "--phases", "1,2", "--out", str(tmp_path / "out"), "--no-figures"]
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert "1 with 2; yellow 5 s" in said
    assert "4 road links never get green" in said
    assert (tmp_path / "out" / "flow.yaml").is_file()


def test_a_route_of_some_roads_is_completed_and_this_is_told(tmp_path: Path) -> None:
    net = crossing()
    net["intersections"][1]["virtual"] = False  # the east end leads on, unsignalled
    net["intersections"].append({"id": "far", "point": {"x": 600, "y": 0}, "virtual": True})
    points = [{"x": ARM_M, "y": 0}, {"x": 600, "y": 0}]
    ends = {"startIntersection": "east", "endIntersection": "far"}
    net["roads"].append(ends | {"id": "on", "points": points, "lanes": [{"width": 3, "maxSpeed": 10}]})
    link = {"type": "go_straight", "startRoad": "to_east", "endRoad": "on"}
    net["intersections"][1]["roadLinks"] = [link | {"laneLinks": [{"startLaneIndex": 1, "endLaneIndex": 0}]}]
    traffic = [flows()[0] | {"route": ["from_west", "on"]}]
    made = importer.import_set(*write(tmp_path, net, traffic), tmp_path, importer.Wish("far"))
    route = ElementTree.parse(made.scenario.route_files[0]).getroot().find("vehicle/route")
    assert route is not None
    assert route.get("edges") == "from_west to_east on"
    assert "1 routes name only some of their roads" in " ".join(made.sentences)


def test_clearance_is_what_shows_nothing_of_its_own() -> None:
    turns = ("go_straight", "turn_left", "turn_right")
    links = [
        reader.RoadLink.model_validate({"type": turn, "startRoad": "a", "endRoad": "b", "laneLinks": []})
        for turn in turns
    ]

    def clearances(*phases: tuple[float, tuple[int, ...]]) -> list[int]:
        made = [reader.LightPhase.model_validate({"time": s, "availableRoadLinks": links}) for s, links in phases]
        return signals.clearances(links, made)

    assert clearances((5, (2,)), (30, (0, 2)), (30, (1, 2))) == [0]
    assert clearances((30, (0, 2)), (5, (2,)), (30, (1, 2)), (5, (2,))) == [1, 3]  # CityFlow's own plans
    assert clearances((5, ()), (30, (0,)), (30, (1,))) == [0]
    assert clearances((30, (0, 1)), (3, (1,)), (30, (1, 2)), (3, ()), (2, ())) == [1, 3, 4]  # one goes on, then all red
    assert clearances((30, (2,)), (30, (0, 2))) == []  # too long
    assert clearances((5, (0,)), (5, (1,))) == []
    assert clearances((5, (0,))) == []


def test_an_intersection_without_a_choice_has_no_signal(tmp_path: Path) -> None:
    net = crossing()
    links = list(range(12))
    net["intersections"][0]["trafficLight"]["lightphases"] = [{"time": 30, "availableRoadLinks": links}]
    assert "trafficLight of two or more phases" in refusal(tmp_path, net)


# --- what is refused -----------------------------------------------------------------------------------------------


def _road(net: Json, name: str) -> Json:
    return next(road for road in net["roads"] if road["id"] == name)


def _without_road(net: Json) -> None:
    net["roads"].remove(_road(net, "to_west"))


def _without_link_road(net: Json) -> None:
    net["intersections"][0]["roads"] = []
    _without_road(net)


def _light(net: Json, number: int, **changes: object) -> None:
    net["intersections"][0]["trafficLight"]["lightphases"][number].update(changes)


def _link(net: Json, **changes: object) -> None:
    net["intersections"][0]["roadLinks"][0].update(changes)


BAD_NETS: dict[str, tuple[Callable[[Json], object], str]] = {
    "a road that is listed": (_without_road, "intersection 'middle': roads names 'to_west', which is not among"),
    "a road that is linked": (_without_link_road, "roadLinks 1: endRoad 'to_west' is not among the roads"),
    "no roads": (lambda net: net.pop("roads"), "roads: Field required"),
    "no lanes": (lambda net: _road(net, "to_west").pop("lanes"), "('to_west'): lanes: Field required"),
    "a cyclic link": (lambda net: _link(net, endRoad="from_east"), "roadLinks 0 is cyclic: it leads from road"),
    "a cyclic road": (lambda net: _road(net, "to_west").update(endIntersection="middle"), "'to_west' is cyclic"),
    "a link from elsewhere": (lambda net: _link(net, startRoad="to_west"), "startRoad 'to_west' ends at 'west', not"),
    "a lane": (
        lambda net: _link(net, laneLinks=[{"startLaneIndex": 0, "endLaneIndex": 3}]),
        "laneLinks 0: endLaneIndex 3 does not exist: road 'to_north' has lanes 0 to 2",
    ),
    "no lane links": (lambda net: _link(net, laneLinks=[]), "laneLinks is empty"),
    "a phase without links": (
        lambda net: _light(net, 2, availableRoadLinks=[]),
        "lightphases 2: availableRoadLinks is empty, so the phase lets nobody go",
    ),
    "a phase of other links": (lambda net: _light(net, 2, availableRoadLinks=[12]), "names road link 12, but"),
    "no phases": (lambda net: net["intersections"][0]["trafficLight"].update(lightphases=[]), "shows nothing"),
    "an end": (lambda net: _road(net, "to_west").update(endIntersection="x"), "endIntersection 'x' is not among"),
    "no signal": (lambda net: net["intersections"][0].pop("trafficLight"), "has no intersection with roadLinks and"),
    "an id twice": (lambda net: net["roads"].append(net["roads"][0]), "roads has the id 'from_east' twice"),
    "an odd id": (lambda net: _road(net, "to_west").update(id="to west"), "'to west', which SUMO does not take"),
    "a speed": (
        lambda net: _road(net, "to_west").update(lanes=[{"width": 4, "maxSpeed": 0}]),
        "lanes 0: maxSpeed: Input should be greater than 0",
    ),
    "no length": (
        lambda net: _road(net, "to_west").update(points=[{"x": 0, "y": 0}, {"x": 0, "y": 0}]),
        "road 'to_west': points are all the same place",
    ),
}


def refusal(folder: Path, net: object = None, traffic: object = None) -> str:
    with pytest.raises(ScenarioError) as caught:
        importer.import_set(*write(folder, net, traffic), folder / "out", importer.Wish("bad"))
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(".")
    return said


@pytest.mark.parametrize("case", BAD_NETS, ids=list(BAD_NETS))
def test_a_network_that_does_not_fit_is_one_sentence(case: str, tmp_path: Path) -> None:
    spoil, says = BAD_NETS[case]
    net = crossing()
    spoil(net)
    said = refusal(tmp_path, net)
    assert says in said
    assert str(tmp_path / "roadnet.json") in said


BAD_FLOWS: dict[str, tuple[Json, str]] = {
    "an unknown road": ({"route": ["from_east", "to_moon"]}, "flow 0: route 1 is 'to_moon', which is not a road"),
    "a broken route": ({"route": ["to_west", "from_east"]}, "route is broken: no road links of"),
    "no route": ({"route": []}, "flow 0: route: Tuple should have at least 1 item"),
    "no interval": ({"interval": 0}, "flow 0: interval: Input should be greater than 0"),
    "an early end": ({"startTime": 10, "endTime": 5}, "flow 0: endTime 5 is before startTime 10"),
    "a length": ({"vehicle": CAR | {"length": -1}}, "flow 0: vehicle: length: Input should be greater than 0"),
    "too late": ({"startTime": 4000, "endTime": 4000}, "nobody departs before 3600 s"),
}


@pytest.mark.parametrize("case", BAD_FLOWS, ids=list(BAD_FLOWS))
def test_traffic_that_does_not_fit_is_one_sentence(case: str, tmp_path: Path) -> None:
    changes, says = BAD_FLOWS[case]
    said = refusal(tmp_path, traffic=[flows()[0] | changes])
    assert says in said
    assert str(tmp_path / "flow.json") in said


def test_files_that_cannot_be_read_are_one_sentence(tmp_path: Path) -> None:
    net, traffic = write(tmp_path)
    for content, says in ((b"{", "not complete JSON"), (gzip.compress(b"[1, 2]")[:-4], "not complete gzip")):
        traffic.write_bytes(content)
        with pytest.raises(ScenarioError, match=says):
            reader.read_flows(traffic)
    with pytest.raises(ScenarioError, match="cannot be read"):
        reader.read_roadnet(tmp_path / "none.json")
    traffic.write_text("[]")
    with pytest.raises(ScenarioError, match=r"looks like a flow file, so check the order"):
        reader.read_roadnet(traffic)
    assert reader.read_roadnet(net).file == net
