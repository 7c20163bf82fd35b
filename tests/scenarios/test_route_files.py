"""Routes as SUMO reads them: the schedule holds exactly the vehicles that SUMO itself would insert."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from scenarios import registry
from scenarios.common.clock import format_seconds, parse_seconds
from scenarios.common.sumo_tools import PlainNames, sumo_home
from scenarios.demand.route_files import read_departures
from scenarios.demand.scheduled_trips import Schedule, schedule
from scenarios.incidents.road_graph import trip_ends
from scenarios.spec import Scenario, ScenarioError
from tests.support.crossroads import routes, write_crossroads

CAR = '<vehicle id="{0}" depart="{1}"><route edges="nc cs"/></vehicle>'
FIRST, SECOND = CAR.format("v0", 1), CAR.format("v1", 20)
ZONES = '<taz id="a" edges="nc"/><taz id="b" edges="cs"/>'


@pytest.fixture(scope="module")
def cross(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_crossroads(tmp_path_factory.mktemp("cross"))


def scenario_of(net: Path, files: list[Path], additional: tuple[Path, ...] = (), end_s: float = 600) -> Scenario:
    return Scenario(
        name="cross", net_file=net, route_files=tuple(files), additional_files=additional, begin_s=0, end_s=end_s
    )


def driven(net: Path, files: list[Path], additional: tuple[Path, ...], folder: Path, *options: str) -> set[str]:
    """Ids of the vehicles that SUMO knows of until second 600: driven, driving and waiting."""
    trips = folder / "trips.xml"
    arguments = ["-n", net, "-e", "600", "--no-step-log", "--tripinfo-output", trips, *options]
    arguments += ["--tripinfo-output.write-unfinished", "--tripinfo-output.write-undeparted"]
    arguments += ["-r", ",".join(map(str, files))] if files else []
    arguments += ["--additional-files", ",".join(map(str, additional))] if additional else []
    subprocess.run([sumo_home() / "bin" / "sumo", *arguments], check=True, capture_output=True)
    return {trip.get("id", "") for trip in ElementTree.parse(trips).getroot() if trip.tag == "tripinfo"}


def include(folder: Path) -> tuple[list[Path], tuple[Path, ...]]:
    (folder / "part").mkdir()
    routes(SECOND, folder / "part", "inner.rou.xml")
    routes('<include href="inner.rou.xml"/>', folder / "part", "outer.rou.xml")
    return [routes(FIRST + '<include href="part/outer.rou.xml"/>', folder)], ()


def packed(folder: Path) -> tuple[list[Path], tuple[Path, ...]]:
    file = folder / "r.rou.xml.gz"
    file.write_bytes(gzip.compress(f"<routes>{FIRST}{SECOND}</routes>".encode()))
    return [file], ()


def plain(body: str) -> Callable[[Path], tuple[list[Path], tuple[Path, ...]]]:
    return lambda folder: ([routes(body, folder)], ())


def with_additional(body: str, additional: str) -> Callable[[Path], tuple[list[Path], tuple[Path, ...]]]:
    return lambda folder: ([routes(body, folder)], (routes(additional, folder, "a.add.xml", "additional"),))


#: Files, and how many vehicles are in them.
CASES: dict[str, tuple[Callable[[Path], tuple[list[Path], tuple[Path, ...]]], int]] = {
    "include in an include": (include, 2),
    "packed": (packed, 2),
    "interval": (plain('<interval begin="0" end="300"><flow id="f" from="nc" to="cs" number="9"/></interval>'), 9),
    "flows": (
        plain(
            '<flow id="p" begin="0" end="100" period="10" from="nc" to="cs"/>'
            '<flow id="n" begin="0" end="100" number="4" from="nc" to="cs"/>'
            '<flow id="e" begin="0" period="60" from="nc" to="cs"/>'
            '<flow id="h" begin="0:00:10" end="0:01:10" vehsPerHour="360" from="nc" to="cs"/>'
        ),
        10 + 6 + 4 + 10,
    ),
    "zones": (with_additional('<trip id="t" depart="3" fromTaz="a" toTaz="b"/>' + SECOND, ZONES), 2),
    "junctions": (plain('<trip id="t" depart="3" fromJunction="n" toJunction="s"/>'), 1),
    "types and cars in an additional file": (
        with_additional(
            '<flow id="f" type="t" begin="0" end="60" number="3" from="nc" to="cs"/>',
            '<vType id="t" length="4"/><vehicle id="a" type="t" depart="5"><route edges="ec cw"/></vehicle>'
            '<flow id="g" begin="0" end="60" number="2" from="wc" to="ce"/>',
        ),
        6,
    ),
    "persons and containers": (
        plain(
            FIRST + '<person id="p" depart="5"><ride from="nc" to="cs" lines="bus"/></person>'
            '<container id="c" depart="6"><transport from="nc" to="cs" lines="bus"/></container>'
            '<vehicle id="bus" depart="9"><route edges="nc cs"/></vehicle>'
        ),
        2,
    ),
    "distributions": (
        plain(
            '<vTypeDistribution id="d"><vType id="x" probability="1"/><vType id="y" length="9" probability="1"/>'
            '</vTypeDistribution><routeDistribution id="w"><route id="r" edges="nc cs" probability="1"/>'
            '<route id="q" edges="nc cw" probability="1"/></routeDistribution>'
            '<flow id="f" type="d" route="w" begin="0" end="60" number="8"/>'
        ),
        8,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_schedule_is_what_sumo_would_insert(cross: Path, tmp_path: Path, case: str) -> None:
    make, count = CASES[case]
    files, additional = make(tmp_path)
    found = schedule(scenario_of(cross, files, additional), 1, tmp_path / "cache")
    ids = set(found.ids.tolist())
    assert len(ids) == len(found.ids) == count
    assert ids == driven(cross, files, additional, tmp_path, "--junction-taz")
    assert ids == driven(cross, list(found.route_files), found.additional_files, tmp_path)
    assert (found.free_flow_s > 10).all()
    assert found.unroutable == ()


def test_random_flows_are_drawn_once_for_all(cross: Path, tmp_path: Path) -> None:
    body = (
        '<flow id="e" begin="0" end="600" period="exp(0.1)" from="nc" to="cs"/>'
        '<flow id="p" begin="0" end="600" probability="0.1" from="ec" to="cw"/>'
    )
    scenario = scenario_of(cross, [routes(body, tmp_path)])
    one, again, other = (schedule(scenario, seed, tmp_path / name) for seed, name in ((1, "a"), (1, "b"), (2, "a")))
    assert one.depart_s.tolist() == again.depart_s.tolist()
    assert one.depart_s.tolist() != other.depart_s.tolist()
    assert 80 < len(one.ids) < 160
    assert set(one.ids.tolist()) == driven(cross, list(one.route_files), one.additional_files, tmp_path)


def test_a_file_of_zones_given_as_routes_is_loaded_before_them(cross: Path, tmp_path: Path) -> None:
    zones = routes(ZONES, tmp_path, "zones.add.xml", "additional")
    trips = routes('<trip id="t" depart="3" fromTaz="a" toTaz="b"/>', tmp_path)
    found = schedule(registry.from_files(cross, [zones, trips]), 1, tmp_path / "cache")
    assert found.ids.tolist() == ["t"]
    assert found.additional_files == (zones.resolve(),)


def test_a_vehicle_that_waits_for_a_passenger_is_driven_and_not_scheduled(cross: Path, tmp_path: Path) -> None:
    body = (
        FIRST + '<person id="p" depart="5"><ride from="nc" to="cs" lines="taxi"/></person>'
        '<vehicle id="taxi" depart="triggered"><route edges="nc cs"/></vehicle>'
        '<flow id="f" begin="10" end="20" number="1" from="nc" to="cs"/>'
    )
    found = schedule(scenario_of(cross, [routes(body, tmp_path)]), 1, tmp_path / "cache")
    assert found.ids.tolist() == ["v0", "f.0"]
    assert driven(cross, list(found.route_files), (), tmp_path) == {"v0", "f.0", "taxi"}


def test_what_an_included_file_holds_counts_for_the_hash_and_the_cache(cross: Path, tmp_path: Path) -> None:
    inner = routes(FIRST, tmp_path, "inner.rou.xml")
    scenario = scenario_of(cross, [routes('<include href="inner.rou.xml"/>', tmp_path)])
    before, count = scenario.sha256(), len(schedule(scenario, 1, tmp_path / "cache").ids)
    assert read_departures(scenario.route_files) == [1.0]
    assert trip_ends(scenario.route_files).origins == {"nc": 1}
    inner.write_text(f"<routes>{FIRST}{SECOND}</routes>")
    assert scenario.sha256() != before
    assert (count, len(schedule(scenario, 1, tmp_path / "cache").ids)) == (1, 2)


def test_loading_writes_none_of_the_outputs_that_additional_files_ask_for(cross: Path, tmp_path: Path) -> None:
    outputs = (
        '<edgeData id="e" begin="60" file="out.xml"/><inductionLoop id="l" lane="nc_0" pos="10" period="60" '
        'file="out.xml"/><busStop id="stop" lane="cs_0" startPos="10" endPos="30"/>'
    )
    additional = routes(outputs, tmp_path, "a.add.xml", "additional")
    body = FIRST.replace("</v", '<stop busStop="stop" duration="5"/></v')
    found = schedule(scenario_of(cross, [routes(body, tmp_path)], (additional,)), 1, tmp_path / "cache")
    assert (found.ids.tolist(), found.additional_files) == (["v0"], (additional,))
    assert not (tmp_path / "out.xml").exists()


# --- without a route -----------------------------------------------------------------------------------------------


def test_vehicles_without_a_route_are_counted_with_their_cause(cross: Path, tmp_path: Path) -> None:
    body = (
        FIRST + '<vehicle id="bad" depart="2"><route edges="nc cn"/></vehicle>'
        '<trip id="back" depart="3" from="cs" to="nc"/>'
    )
    found = schedule(scenario_of(cross, [routes(body, tmp_path)]), 1, tmp_path / "cache")
    assert found.ids.tolist() == ["v0"]
    assert found.unroutable == ("back", "bad")
    assert found.unroutable_note() is not None
    assert "2 vehicles have no valid route and are left out, such as 'back' (" in str(found.unroutable_note())
    assert driven(cross, list(found.route_files), (), tmp_path) == {"v0"}


def test_nobody_with_a_route_is_one_sentence(cross: Path, tmp_path: Path) -> None:
    body = '<vehicle id="bad" depart="2"><route edges="nc cn"/></vehicle><flow id="f" begin="0" number="2" '
    body += 'end="60" from="cs" to="nc"/>'
    with pytest.raises(ScenarioError, match=r"has a valid route; 3 have none, such as 'bad' \(Edge 'nc' not connected"):
        schedule(scenario_of(cross, [routes(body, tmp_path)]), 1, tmp_path / "cache")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (CAR.format("v", 5).replace("<vehicle", '<vehicle departLane="7"'), "departLane is 7, but road 'nc' has 1"),
        (CAR.format("v", 5).replace("<vehicle", '<vehicle departSpeed="99"'), "its type drives 55.5556 m/s"),
        (FIRST + '<vehicle id="s" depart="5" type="q"><route edges="nc cs"/></vehicle>', "vehicle type 'q'"),
        ('<vType id="t" length="nan"/>' + FIRST.replace("<vehicle", '<vehicle type="t"'), "length is nan"),
        (CAR.format("v", -5), "departs at -5 s, before 0"),
        ('<flow id="f" begin="0" end="599" vehsPerHour="9999999" from="nc" to="cs"/>' * 2, "more than 2,000,000"),
        ('<interval begin="nan" end="9">' + FIRST + "</interval>", "begin is 'nan'"),
        ('<include href="r.rou.xml"/>', "is included by itself"),
        ("<include/>", "names no file"),
    ],
)
def test_what_sumo_would_stop_at_is_told_before(cross: Path, tmp_path: Path, body: str, expected: str) -> None:
    with pytest.raises(ScenarioError) as error:
        schedule(scenario_of(cross, [routes(body, tmp_path)]), 1, tmp_path / "cache")
    assert expected in str(error.value)


# --- clocks and names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0"), (25200.0, "25200"), (12345678.0, "12345678"), (1709251205.125, "1709251205.125"), (0.1 + 0.2, "0.3")],
)
def test_a_clock_keeps_every_digit(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
    assert parse_seconds(text) == pytest.approx(seconds, abs=5e-4)


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e300", "1:2:3:4:5", "soon", "-"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_seconds(text)


def test_departures_of_today_keep_their_milliseconds(cross: Path, tmp_path: Path) -> None:
    times = [1709251205.125, 1709251207.5, 1709251210.0]
    body = "".join(CAR.format(f"v{k}", format_seconds(time)) for k, time in enumerate(times))
    scenario = registry.from_files(cross, routes(body, tmp_path))
    assert (scenario.begin_s, scenario.end_s) == (1709251200.0, 1709251260.0)
    found: Schedule = schedule(scenario, 1, tmp_path / "cache")
    assert np.array_equal(found.depart_s, times)


def test_names_that_sumo_would_split_get_plain_ones(tmp_path: Path) -> None:
    folder = tmp_path / "a,b $HOME ü"
    folder.mkdir()
    (folder / "in,1.txt").write_text("in")
    (folder / "in.txt").write_text("plain")
    with PlainNames() as names:
        given = [names.path(folder / name) for name in ("in,1.txt", "in.txt", "out,1.txt", "out.txt")]
        assert not any(set(",$") & set(str(path)) for path in given)
        assert [path.read_text() for path in given[:2]] == ["in", "plain"]
        assert (given[0].parent / "in.txt").read_text() == "plain"  # what lies beside it is still beside it
        for path in given[2:]:
            path.write_text("out")
        assert names.path(tmp_path) == tmp_path
    assert [(folder / name).read_text() for name in ("out,1.txt", "out.txt")] == ["out", "out"]
    assert not given[0].exists()
