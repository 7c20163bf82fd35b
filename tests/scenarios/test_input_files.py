"""Files that a user brings may be anything: each is read within bounds, or refused in one sentence."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenarios import registry
from scenarios.common import input_files
from scenarios.common.errors import MOST_LETTERS, ScenarioError, shorten
from scenarios.common.input_files import scan, top_elements
from scenarios.common.net_values import check_network
from scenarios.demand.route_files import read_departures
from sim.network import Network, NetworkError
from tests.support.crossroads import routes, write_crossroads

ENTITIES = '<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
ROUTES = '<routes><vehicle id="v" depart="1"><route edges="nc cs"/></vehicle></routes>'


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_crossroads(tmp_path_factory.mktemp("cross")).read_text(encoding="utf-8")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bounds, but near enough to reach them quickly."""
    monkeypatch.setattr(input_files, "MOST_BYTES", 3_000_000)
    monkeypatch.setattr(input_files, "MOST_IDLE_BYTES", 1_000_000)
    monkeypatch.setattr(input_files, "MOST_ELEMENTS", 50_000)
    monkeypatch.setattr(input_files, "FREE_BYTES", 100_000)


def sparse(file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(5_000_000_000)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "is a pipe or a device"),
    "folder": (lambda file: file.mkdir(), "is a folder"),
    "missing": (lambda file: None, "cannot be read"),
    "gigabytes": (sparse, "MB at most"),
    "bomb": (lambda file: file.write_bytes(gzip.compress(b"<net>" + b"<edge/>" * 400_000)), "compression bomb"),
    "half a gzip file": (lambda file: file.write_bytes(gzip.compress(b"<net/>" * 99)[:30]), "not a complete gzip file"),
    "a wrong sum": (lambda file: file.write_bytes(gzip.compress(b"<net/>")[:-8] + b"12345678"), "not a complete gzip"),
    "entities": (lambda file: file.write_text(f"{ENTITIES}<net>&b;</net>"), "declares a document type"),
    "deep": (lambda file: file.write_text("<net>" * 100_000 + "</net>" * 100_000), "50 deep"),
    "long text": (lambda file: file.write_text(f"<net>{' ' * 2_000_000}</net>"), "a text or a value of more than"),
    "long value": (lambda file: file.write_text(f'<net a="{"x" * 2_000_000}"/>'), "a text or a value of more than"),
    "elements": (lambda file: file.write_text(f"<net>{'<e/>' * 60_000}</net>"), "more than 50,000 elements"),
    "encoding": (lambda file: file.write_text('<?xml version="1.0" encoding="klingon"?><net/>'), "save it as UTF-8"),
    "two bytes": (lambda file: file.write_text('<?xml version="1.0" encoding="big5"?><net/>'), "save it as UTF-8"),
    "noise": (lambda file: file.write_bytes(bytes(range(256)) * 9), "is not complete XML"),
    "nothing": (lambda file: file.write_text(""), "is not complete XML"),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.usefixtures("small")
def test_a_hostile_file_ends_in_one_sentence(case: str, tmp_path: Path) -> None:
    make, expected = HOSTILE[case]
    file = tmp_path / "evil.net.xml"
    make(file)
    for read in (check_network, lambda path: read_departures([path]), Network.read):
        with pytest.raises((ScenarioError, NetworkError)) as error:
            read(file)
        assert expected in str(error.value)
        assert "evil.net.xml" in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.net.xml.gz", "a.net.xml"])
def test_packed_or_plain_whatever_the_name(net: str, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(net.encode()))
    (tmp_path / "a.rou.xml.gz").write_bytes(gzip.compress(ROUTES.encode()))
    assert [signal.id for signal in Network.read(tmp_path / name).signals] == ["c"]
    assert registry.count_signals(tmp_path / name) == 1
    scenario = registry.from_files(tmp_path / name, tmp_path / "a.rou.xml.gz")
    assert scenario.name == "a"
    scenario.to_yaml(tmp_path / "a.yaml")
    assert registry.load(tmp_path / "a.yaml").sha256() == scenario.sha256()


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1"])
def test_other_encodings_are_read(net: str, tmp_path: Path, encoding: str) -> None:
    text = net.replace('"UTF-8"', f'"{encoding}"').replace('"nc', '"nü')
    (tmp_path / "a.net.xml").write_bytes(text.encode(encoding))
    assert any(road.startswith("nü") for road in Network.read(tmp_path / "a.net.xml").roads)


# --- values --------------------------------------------------------------------------------------------------------


VALUES = [
    (r' length="[\d.]+"', ' length="-5"', "length is '-5'; it has to be a number above 0"),
    (r' length="[\d.]+"', ' length="nan"', "length is 'nan'"),
    (r' length="[\d.]+"', ' length="1e999"', "length is '1e999'"),
    (r' speed="[\d.]+"', ' speed="0"', "speed is '0'"),
    (r'<phase duration="\d+"', '<phase duration="-3"', "a phase of signal 'c': duration is '-3'"),
    (r'<phase duration="\d+"', '<phase duration="nan"', "duration is 'nan'"),
    (r'offset="0"', 'offset="inf"', "signal 'c': offset is 'inf'"),
    (r'linkIndex="\d+"', 'linkIndex="-7"', "linkIndex is '-7'"),
    (r'linkIndex="\d+"', 'linkIndex="99999999"', "no signal has 10,000 links"),
    (r'linkIndex="\d+"', f'linkIndex="{"9" * 5000}"', "linkIndex is '999"),
    (r'fromLane="0"', 'fromLane="9"', "fromLane is 9, but road"),
    (r'<connection from="\w+"', '<connection from="zz"', "there is no road 'zz'"),
    (r'shape="[^"]*"', 'shape="a,b c,d"', "coordinates that are not numbers"),
    (r'shape="[^"]*"', 'shape="nan,1 2,3"', "coordinates that are not numbers"),
    (r'(<junction id="c"[^>]*?) x="[-\d.]+"', r'\1 x="west"', "junction 'c': x is 'west'"),
    ("<tlLogic", '<include href="x"/><tlLogic', "a network that includes files"),
]


@pytest.mark.parametrize(("pattern", "value", "expected"), VALUES)
def test_a_value_that_makes_no_sense_is_named(
    net: str, tmp_path: Path, pattern: str, value: str, expected: str
) -> None:
    changed = re.sub(pattern, value, net, count=1)
    assert changed != net
    (tmp_path / "a.net.xml").write_text(changed, encoding="utf-8")
    with pytest.raises(NetworkError) as error:
        Network.read(tmp_path / "a.net.xml")
    assert expected in str(error.value)
    assert len(str(error.value)) <= MOST_LETTERS


def test_a_message_keeps_its_beginning_and_its_end() -> None:
    assert shorten("a  b\nc") == "a b c"
    text = shorten("x" * 10_000_000 + " is not known.")
    assert len(text) <= MOST_LETTERS
    assert text.startswith("xxx")
    assert text.endswith("x is not known.")
    assert len(str(ScenarioError("y" * 9999))) <= MOST_LETTERS


# --- anything ------------------------------------------------------------------------------------------------------


def _refusal(read: Callable[[], object], otherwise: str) -> str:
    """The sentence with which a file is refused, or ``otherwise`` where it is read."""
    try:
        read()
    except ScenarioError as error:
        return str(error)
    return otherwise


def _pieces(text: str) -> list[str]:
    return re.findall(r"<[^>]*>|[^<]+", text)


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_networks_are_read_or_refused(net: str, tmp_path: Path, data: st.DataObject) -> None:
    """Pieces lost, doubled and swapped, values of other places and kinds."""
    pieces = _pieces(net)
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.integers(1, len(pieces) - 1))
        values = re.findall(r'="([^"]*)"', pieces[where]) or [""]
        old = data.draw(st.sampled_from(values))
        new = data.draw(st.sampled_from(["", "-1", "nan", "1e308", "0", "\u2603", "c", "nc", "a b", "9" * 30, ":c_0"]))
        damage = data.draw(st.sampled_from(["value", "drop", "double", "swap"]))
        if damage == "value":
            pieces[where] = pieces[where].replace(f'="{old}"', f'="{new}"', 1)
        elif damage == "drop":
            pieces[where] = ""
        elif damage == "double":
            pieces[where] *= 2
        else:
            other = data.draw(st.integers(1, len(pieces) - 1))
            pieces[where], pieces[other] = pieces[other], pieces[where]
    file = tmp_path / "damaged.net.xml"
    file.write_text("".join(pieces), encoding="utf-8")
    assert "damaged.net.xml" in _refusal(lambda: check_network(file), "damaged.net.xml")


@given(content=st.binary(max_size=400) | st.text(alphabet="<>/=\"' abcroutes&;!-[]?", max_size=200).map(str.encode))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "noise.rou.xml"
    file.write_bytes(content)

    def read() -> None:
        assert scan(file, "Routes file")
        list(top_elements(file, "Routes file"))

    assert "noise.rou.xml" in _refusal(read, "noise.rou.xml")


def test_a_file_that_an_additional_file_names_is_still_meant_from_elsewhere(tmp_path: Path) -> None:
    from scenarios.demand.sumo_routes import write_without_traffic

    body = '<edgeData id="e" file="out.xml"/><edgeData id="n" file="NUL"/><vehicle id="v" depart="1"/>'
    file = routes(body, tmp_path, "a.add.xml", "additional")
    (tmp_path / "elsewhere").mkdir()
    write_without_traffic(file, tmp_path / "elsewhere" / "a.add.xml")
    text = (tmp_path / "elsewhere" / "a.add.xml").read_text()
    assert f'file="{tmp_path / "out.xml"}"' in text
    assert 'file="NUL"' in text
    assert "vehicle" not in text
