"""Controllers by name: specs, every registered controller, and a user's own file."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from controllers import registry
from controllers.base import Controller, ControllerError, RunContext
from controllers.classical.greedy import Greedy
from controllers.classical.random_phase import RandomPhase
from scenarios import resco
from sim.network import Network
from sim.signals import check_decisions
from sim.timings import CLEARANCE, NATIVE, Timings
from tests.support.helpers import make_observation

CLASSICAL = [name for name, entry in registry.entries().items() if not (entry.needs_model or entry.needs_options)]


class FreeSession:
    """A session whose branches cost nothing."""

    def branch(self, candidates: list[Any], horizons_s: list[float], policy: Any) -> SimpleNamespace:
        count = len(candidates)
        return SimpleNamespace(network_delay_veh_s=np.zeros((count, 1)), signal_delay_veh_s=np.zeros((count, 1, 99)))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def with_context(controller: Controller, scenario_name: str, timings: Timings) -> Network:
    scenario = resco.load(scenario_name)
    controller.context = RunContext(scenario, 0, timings, FreeSession())  # type: ignore[arg-type]
    return Network.read(scenario.net_file)


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("timings", [NATIVE, CLEARANCE], ids=lambda t: t.name)
@pytest.mark.parametrize("name", CLASSICAL)
def test_every_registered_controller_decides_sensibly(name: str, timings: Timings) -> None:
    controller = registry.make(name)
    network = with_context(controller, "cologne3", timings)
    rng = np.random.default_rng(0)
    for run in range(2):
        controller.reset(network, seed=run)
        for step in range(3):
            zones = rng.integers(0, 9, (len(network.lanes), 3)).astype(float)
            zones[0] = np.nan
            observation = make_observation(network, time_s=25200.0 + 5 * step, zone_veh=zones)
            check_decisions(network, controller.act(observation))
    assert all(isinstance(value, (int, float)) for value in controller.counters().values())
    assert set(controller.parameters()) <= set(inspect.signature(type(controller)).parameters)
    controller.close()


@pytest.mark.parametrize("name", CLASSICAL)
def test_every_controller_is_listed_and_documented(name: str) -> None:
    entry = registry.entries()[name]
    assert name in registry.names()
    assert registry.describe()[name].endswith(".")
    controller = registry.make(name)
    assert controller.looks_ahead == entry.looks_ahead
    assert inspect.getdoc(type(controller))


def test_listing_imports_no_controller() -> None:
    code = (
        "import sys; from controllers import registry; registry.names(); registry.describe();"
        "print([m for m in sys.modules if m.startswith('controllers.') or m in ('torch', 'numpy.testing', 'sumolib')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['controllers.base', 'controllers.registry']"


def test_fixed_time_imports_no_torch() -> None:
    code = "import sys; from controllers import registry; registry.make('fixed_time'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- specs -----------------------------------------------------------------------------------------------------------


def test_parameters_in_a_spec() -> None:
    controller = registry.make("greedy:detection_m=50,switch_margin_veh=1.5,protected_only=true")
    assert controller.parameters() == {"detection_m": 50, "switch_margin_veh": 1.5, "protected_only": True}
    lookahead = registry.make("lookahead:policy=longest_queue,joint=false")
    assert lookahead.parameters() == {"horizon_s": 30.0, "policy": "longest_queue", "joint": False}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gredy", "There is no controller 'gredy'; did you mean 'greedy'?"),
        ("", "There is no controller ''; choose one of fixed_time"),
        ("zzzzzz", "choose one of fixed_time, webster"),
        ("greedy:50", "'50' in 'greedy:50' is no parameter; write name:key=value"),
        ("greedy:detection=50", "has no parameter 'detection'; it has detection_m, switch_margin_veh"),
        ("greedy:detection_m=70", "choose one of 50, 100, 200"),
        ("fixed_time:speed=3", "has no parameter 'speed'; it has none"),
        ("missing.py:Mine", "Controller file missing.py does not exist"),
    ],
)
def test_a_wrong_spec_is_one_sentence(spec: str, message: str) -> None:
    with pytest.raises(ControllerError) as caught:
        registry.make(spec)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# --- a user's own file -----------------------------------------------------------------------------------------------

OWN = """
from dataclasses import dataclass
from controllers.base import Controller
from neighbour import GAIN

@dataclass
class Mine(Controller):
    gain: float = GAIN

    def act(self, observation):
        return {}

class Half(Controller):
    pass

class Broken(Controller):
    def __init__(self):
        self.scale = 1 / 0

    def act(self, observation):
        return {}

class Other:
    pass
"""


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "neighbour.py").write_text("GAIN = 2.0\n")
    file = tmp_path / "my_file.py"
    file.write_text(OWN)
    yield file
    sys.modules.pop("neighbour", None)


def test_a_users_class_is_made(own_file: Path) -> None:
    controller = registry.make(f"{own_file}:Mine:gain=3")
    assert controller.parameters() == {"gain": 3}
    assert registry.make(f"{own_file}:Mine").parameters() == {"gain": 2.0}
    assert type(controller) is type(registry.make(f"{own_file}:Mine"))  # one class, however often it is asked for


def test_an_edited_file_is_read_again(own_file: Path) -> None:
    registry.make(f"{own_file}:Mine")
    own_file.write_text(OWN.replace("gain: float = GAIN", "gain: float = 7.0"))
    assert registry.make(f"{own_file}:Mine").parameters() == {"gain": 7.0}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "Name the controller's class in {file} after a colon: {file}:Mine."),
        (":Mein", "There is no class 'Mein' in {file}; did you mean 'Mine'?"),
        (":Half", "'Half' in {file} does not define act()."),
        (":Other", "'Other' in {file} is no controller; derive it from greenloop.Controller."),
        (
            ":Broken",
            "Controller '{file}:Broken' cannot be made: ZeroDivisionError: division by zero (my_file.py, line 18).",
        ),
        (":Mine:volume=3", "Controller '{file}:Mine:volume=3' has no parameter 'volume'; it has gain."),
    ],
)
def test_a_users_mistake_is_one_sentence(own_file: Path, name: str, message: str) -> None:
    with pytest.raises(ControllerError) as caught:
        registry.make(f"{own_file}{name}")
    assert str(caught.value) == message.format(file=own_file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import numpy\n\ndef act(:\n    pass\n", "SyntaxError: invalid syntax (bad.py, line 3)."),
        ("x = 1\nimport no_such_package\n", "ModuleNotFoundError: No module named 'no_such_package' (bad.py, line 2)."),
        ("\n\nraise SystemExit('stop')\n", "SystemExit: stop (bad.py, line 3)."),
        ("import json\njson.loads('{')\n", "(bad.py, line 2)."),
    ],
)
def test_a_file_that_cannot_be_imported_names_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.py"
    file.write_text(text)
    with pytest.raises(ControllerError) as caught:
        registry.make(f"{file}:Mine")
    assert str(caught.value).startswith(f"Controller file {file} cannot be imported: ")
    assert str(caught.value).endswith(message)
    assert "\n" not in str(caught.value)


# --- other packages --------------------------------------------------------------------------------------------------


def test_an_entry_point_is_found_and_never_hides_a_registered_name(monkeypatch: pytest.MonkeyPatch) -> None:
    group = registry.ENTRY_POINT_GROUP
    points = [
        EntryPoint("their_own", "controllers.classical.random_phase:RandomPhase", group),
        EntryPoint("greedy", "controllers.classical.random_phase:RandomPhase", group),
        EntryPoint("gone", "no_such_package.controllers:Gone", group),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    assert isinstance(registry.make("their_own"), RandomPhase)
    assert isinstance(registry.make("greedy"), Greedy)
    assert registry.describe()["their_own"] == "Installed by another package."
    with pytest.raises(ControllerError, match="'gone' cannot be loaded: No module named 'no_such_package'"):
        registry.make("gone")


@pytest.mark.parametrize(
    ("spec", "is_users"),
    [
        ("greedy:detection_m=50", False),
        ("reinforcement:folder=runs/rl/seed-1", False),
        ("no_such", False),
        ("mine.py:Mine:gain=2", True),
        ("their_own", True),
        ("endpoint:url=http://localhost:8000/v1,model=m,fallback=mine.py:Mine", True),
        ("language_model:fallback=their_own:gain=2", True),
    ],
)
def test_what_runs_code_that_is_not_ours(monkeypatch: pytest.MonkeyPatch, spec: str, is_users: bool) -> None:
    points = [EntryPoint("their_own", "theirs:Own", registry.ENTRY_POINT_GROUP)]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    assert registry.is_users(spec) is is_users


def test_register_adds_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    registry.register("dice", "controllers.classical.random_phase:RandomPhase", "Throws dice.")
    assert isinstance(registry.make("dice"), RandomPhase)
    assert registry.describe()["dice"] == "Throws dice."
