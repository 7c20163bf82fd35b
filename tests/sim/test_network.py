"""The network model, on real files and on small ones made by SUMO's own tools."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cli.validate import execute
from scenarios import registry
from scenarios.common.sumo_tools import sumo_home
from scenarios.resco import RESCO
from sim.engine.session import Session, SessionError, SessionOptions
from sim.network import Network, NetworkError, ProgramStep, is_green_phase
from sim.observation import Observation
from sim.signals import green_foes


def read(name: str) -> Network:
    return Network.read(registry.load(name).net_file)


@pytest.mark.parametrize("name", RESCO)
def test_every_network_reads_whole(name: str) -> None:
    network = read(name)
    signals = int("".join(c for c in name if c.isdigit())) if "x" not in name else 16
    assert len(network.signals) == signals
    for signal in network.signals:
        assert signal.problem is None
        assert {lane for phase in signal.phases for lane in phase.lanes} == set(signal.lanes)
        assert all(signal.index in network.signals[other].neighbours for other in signal.neighbours)
        for phase in signal.phases:
            assert all(phase.state[m.link] in "Gg" for m in phase.movements)
            assert not set(phase.state) & set("yu")
    assert list(network.lanes) == sorted(network.lanes)


def test_cologne1_by_hand() -> None:
    network = read("cologne1")
    (signal,) = network.signals
    assert [phase.state for phase in signal.phases] == [row.state for row in signal.program[::2]]
    assert signal.yellow_s == 5
    assert signal.links == 20
    assert signal.neighbours == ()
    assert len(signal.lanes) == 8


def test_ingolstadt7_shows_protected_foes_and_validate_can_say_so() -> None:
    network = read("ingolstadt7")
    protected = {
        (signal.id, pair)
        for signal in network.signals
        for phase in signal.phases
        for pair in green_foes(signal, phase.state)
        if phase.state[pair[0]] == phase.state[pair[1]] == "G"
    }
    assert {name for name, _ in protected} == {"gneJ210"}


def test_reach_goes_on_upstream_where_a_lane_is_short() -> None:
    network = read("cologne8")
    for index, stretches in enumerate(network.reach):
        assert stretches[0].lane_id == network.lanes[index]
        assert stretches[0].weight == 1
        assert all(0 < part.weight <= 1 and part.offset_m < 200 for part in stretches)
        if network.lane_length_m[index] >= 200:
            assert len(stretches) == 1
    assert any(len(stretches) > 1 for stretches in network.reach)


def test_clearance_rows_are_no_phases() -> None:
    program = [ProgramStep(s, d) for s, d in [("GGr", 30), ("Gyr", 3), ("Grr", 2), ("GrG", 20), ("Gry", 3), ("Grr", 2)]]
    assert [is_green_phase(program, index) for index in range(6)] == [True, False, False, True, False, False]


def make_net(folder: Path, *arguments: str) -> Path:
    net = folder / "made.net.xml"
    subprocess.run(
        [str(sumo_home() / "bin" / "netgenerate"), "--grid", "--grid.number=2", "-o", str(net), *arguments],
        check=True,
        capture_output=True,
    )
    return net


def test_a_signal_with_one_green_phase_is_refused_by_name(tmp_path: Path) -> None:
    net = make_net(tmp_path, "--grid.attach-length=100", "--tls.set=A0,A1", "--no-turnarounds=true")
    text = net.read_text()
    start = text.index('<tlLogic id="A0"')
    end = text.index("</tlLogic>", start)
    links = len(text[start:end].split('state="')[1].split('"')[0])
    one = f'<tlLogic id="A0" type="static" programID="0" offset="0">\n<phase duration="42" state="{"G" * links}"/>\n'
    net.write_text(text[:start] + one + text[end:])
    network = Network.read(net)
    problem = network.signal("A0").problem
    assert problem is not None
    assert "'A0'" in problem
    assert "fewer than two green phases" in problem
    assert [signal.id for signal in network.controllable] == ["A1"]


def test_a_network_without_signals_is_refused(tmp_path: Path) -> None:
    net = make_net(tmp_path, "--default.junctions.type=priority")
    with pytest.raises(NetworkError, match="has no traffic signals"):
        Network.read(net)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read"),
        ("", "is not complete XML"),
        ("<net><edge id='a'", "is not complete XML"),
        ("<routes/>", "holds <routes>, not <net>"),
        ("<net></net>", "is not a complete SUMO network: 'version' is missing, an attribute"),
        ("<net version='x.y'></net>", "a value is missing or malformed"),
        ("not xml at all", "is not complete XML"),
    ],
)
def test_a_broken_network_file_is_one_sentence(tmp_path: Path, content: str | None, sentence: str) -> None:
    path = tmp_path / "broken.net.xml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(NetworkError) as error:
        Network.read(path)
    assert sentence in str(error.value)
    assert "broken.net.xml" in str(error.value)
    assert "\n" not in str(error.value)


def test_validating_a_file_that_is_no_network_says_so(tmp_path: Path) -> None:
    (tmp_path / "my.rou.xml").write_text('<routes><vehicle id="a" depart="0"><route edges="e"/></vehicle></routes>')
    with pytest.raises(NetworkError, match=r"my\.rou\.xml holds <routes>, not <net>; give a SUMO \.net\.xml file"):
        execute(str(tmp_path / "my.rou.xml"), None, (), as_json=False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells of its display in the environment")
def test_a_window_without_a_display_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(SessionError, match="needs a display"):
        Session(registry.load("cologne1"), seed=1, options=SessionOptions(backend="traci", gui=True))


def test_a_truncated_real_network_is_one_sentence(tmp_path: Path) -> None:
    whole = registry.load("cologne1").net_file.read_text()
    path = tmp_path / "half.net.xml"
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(NetworkError, match="is not complete XML"):
        Network.read(path)


def test_arrays_that_controllers_get_cannot_be_written_by_them() -> None:
    """Neither here nor behind a pipe; who made an array still can."""
    network = read("cologne3")
    lanes, exits, signals = len(network.lanes), len(network.exits), len(network.signals)
    queue = np.zeros(lanes)
    zones, unseen = np.zeros((lanes, 3)), np.zeros(exits)
    observation = Observation(
        0.0, queue, queue, zones, queue, zones, np.ones(lanes, bool), unseen, unseen,
        np.zeros(signals, np.int64), np.zeros(signals), np.ones(signals, bool),
    )  # fmt: skip
    queue[0] = 7
    assert observation.queue_veh[0] == 7
    for given in (network, observation):
        for one in (given, pickle.loads(pickle.dumps(given)), replace(given)):
            arrays = [value for value in vars(one).values() if isinstance(value, np.ndarray)]
            assert len(arrays) >= 4
            for array in arrays:
                with pytest.raises(ValueError, match="read-only"):
                    array[...] = 0
