"""Suites: what ships, that a change is a new version, variants, and what a suite's name on a result promises."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import suite
from benchmarks.run.benchmark import Request, RequestError, plan
from benchmarks.run.cell import Cell, run_cell
from controllers import registry as controllers
from scenarios import registry
from scenarios.demand.drivers import ATTRIBUTES, replace_drivers
from scenarios.demand.scheduled_trips import schedule
from scenarios.spec import DetectorErrors, Scenario, ScenarioError
from sim.engine.detector_errors import DetectorFaults
from sim.engine.session import Session

HASHES = Path(__file__).with_name("suite_hashes.json")
SHIPPED = (
    "ablations", "city", "demo", "held_out", "held_out_cities", "incidents", "peers", "quick", "resco", "robustness"
)  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_a_changed_suite_is_a_new_version(name: str) -> None:
    """Results of one version must be comparable for ever. After a change: raise the version, add its hash."""
    loaded = suite.load(name)
    known = json.loads(HASHES.read_text())
    key = f"{name} {loaded.version}"
    assert key in known, f"Add '{key}': '{loaded.sha256()}' to {HASHES.name}."
    assert known[key] == loaded.sha256(), f"Suite {name} changed: raise its version and add the new hash."


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_suite_names_things_that_exist(name: str) -> None:
    loaded = suite.load(name)
    assert loaded.name == name
    assert loaded.description
    assert {spec.partition(":")[0] for spec in loaded.controllers} <= set(controllers.names())
    known = {*registry.names(), *registry.city_names("held_out", 10)}
    assert {re.sub(r"^city-\d+-", "city-10-", name) for name in loaded.scenarios} <= known
    assert suite.names() == SHIPPED


def test_the_hash_feels_content_and_the_meaning_of_names_but_no_wording(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = suite.load("robustness")
    assert loaded.model_copy(update={"description": "In other words."}).sha256() == loaded.sha256()
    assert loaded.model_copy(update={"seeds": (1, 2)}).sha256() != loaded.sha256()
    before = loaded.sha256()
    monkeypatch.setitem(ATTRIBUTES, "idm", {"carFollowModel": "EIDM"})
    assert loaded.sha256() != before
    incidents = suite.load("incidents").sha256()
    monkeypatch.setattr(suite, "DEFAULT_RATES", suite.DEFAULT_RATES.model_copy(update={"crash_per_h": 9.0}))
    assert suite.load("incidents").sha256() != incidents


BASE = "name: x\nversion: 1\nscenarios: [cologne1]\ncontrollers: [greedy]\nseeds: [1]\n"
BAD = {
    "repeated variant": ("variants: [{name: a}, {name: a}]", "variants has 'a' twice"),
    "repeated seed": ("seeds: [1, 1]", "seeds has 1 twice"),
    "unknown drivers": ("variants: [{name: a, drivers: mad}]", "variants.0.drivers: Input should be 'as_in_files'"),
    "negative noise": ("variants: [{name: a, detectors: {noise: -1}}]", "variants.0.detectors.noise"),
    "unknown key": ("variants: [{name: a, demand: 2}]", "variants.0.demand: Extra inputs"),
    "unknown threshold": ("gridlock: {share: 0.5}", "gridlock.share: Unexpected keyword argument"),
}


@pytest.mark.parametrize("case", BAD, ids=list(BAD))
def test_a_bad_suite_is_one_sentence(case: str, tmp_path: Path) -> None:
    line, says = BAD[case]
    text = BASE.replace("seeds: [1]\n", "") if line.startswith("seeds") else BASE
    (tmp_path / "x.yaml").write_text(text + line)
    with pytest.raises(suite.SuiteError) as caught:
        suite.load(str(tmp_path / "x.yaml"))
    assert says in str(caught.value)
    assert str(tmp_path / "x.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own.yaml"
    path.write_text(
        BASE.replace("seeds: [1]", "seeds: [1, 2]")
        + "baseline: best\njitter_s: 20\nminutes: 5\ngridlock: {completion_share: 0.5, standing_s: 300}\n"
        "variants:\n- {name: as_is}\n- {name: more, demand_scale: 1.4}\n- {name: clearance, timings: clearance}\n"
        "- {name: blind, detectors: {outage_share: 0.5}}\n"
    )
    return str(path)


def test_variants_become_scenarios_with_their_own_timings(own: str, tmp_path: Path) -> None:
    planned = plan(Request(suite=own, out=tmp_path))
    assert planned.baseline == "best"
    first = [cell for cell in planned.cells if cell.seed == 1]
    assert [(cell.scenario.name, cell.timings.name) for cell in first] == [
        ("cologne1@as_is", "native"), ("cologne1@more", "native"), ("cologne1@clearance", "clearance"),
        ("cologne1@blind", "native"),
    ]  # fmt: skip
    more, blind = first[1].scenario, first[3].scenario
    assert (more.demand.scale, more.demand.departure_jitter_s, more.horizon_s) == (1.4, 20.0, 300.0)
    assert blind.detectors == DetectorErrors(outage_share=0.5)
    record = first[0].suite
    assert record is not None
    assert (record.name, record.version, record.gridlock.standing_s) == ("x", 1, 300.0)
    assert [cell.seed for cell in planned.cells] == [1] * 4 + [2] * 4  # an interrupted sweep can be compared


@pytest.mark.parametrize(
    "change",
    [{"minutes": 3.0}, {"timings": "resco"}, {"demand_scale": 0.5}, {"incidents": True}, {"scenarios": ("cologne3",)}],
    ids=["minutes", "timings", "demand", "incidents", "scenario"],
)
def test_a_changed_run_does_not_bear_the_suites_name(change: dict[str, object], own: str, tmp_path: Path) -> None:
    kept = plan(Request(suite=own, out=tmp_path, controllers=("sotl",), seeds=(7,), scenarios=("cologne1",)))
    assert {cell.suite.name for cell in kept.cells if cell.suite} == {"x"}
    changed = plan(Request(suite=own, out=tmp_path, **{"seeds": (1,), **change}))  # type: ignore[arg-type]
    assert {cell.suite for cell in changed.cells} == {None}


def test_a_suite_without_scenarios_runs_on_those_that_are_brought(tmp_path: Path) -> None:
    brought = tmp_path / "sets"
    brought.mkdir()
    asked = Request(suite="peers", out=tmp_path, controllers=("greedy",), seeds=(1,))
    with pytest.raises(RequestError, match=r"Suite peers runs on scenarios that you bring: --scenario"):
        plan(asked)
    with pytest.raises(RequestError, match=r"holds no scenario \(.yaml\)"):
        plan(replace(asked, scenarios=(str(brought),)))
    scenario = registry.load("cologne1")
    for name in ("b", "a"):
        scenario.with_(name=name).to_yaml(brought / f"{name}.yaml")
    planned = plan(replace(asked, scenarios=(str(brought),)))
    assert [cell.scenario.name for cell in planned.cells] == ["a", "b"]
    assert all(cell.suite is not None and cell.suite.name == "peers" for cell in planned.cells)


def test_a_folder_never_hides_a_registered_scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cologne1").mkdir()
    planned = plan(Request(scenarios=("cologne1",), out=tmp_path / "out", controllers=("greedy",), seeds=(1,)))
    assert [cell.scenario.name for cell in planned.cells] == ["cologne1"]


def test_unknown_timings_are_a_sentence(own: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="There are no timings 'fast'; choose native, clearance, resco"):
        plan(Request(suite=own, out=tmp_path, timings="fast"))


# --- other drivers -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short() -> Scenario:
    scenario = registry.load("cologne1")
    return scenario.with_(end_s=scenario.begin_s + 180)


def test_every_type_gets_the_other_drivers_and_vehicles_without_one() -> None:
    mixed = '<vTypeDistribution id="d"><vType id="b"/></vTypeDistribution>'
    routes = ElementTree.fromstring(f'<routes><vType id="a" speedDev="0.1"/>{mixed}<trip id="t"/></routes>')
    changed = replace_drivers(routes, "cautious")
    types = {found.get("id"): found for element in changed for found in element.iter("vType")}
    assert set(types) == {"a", "b", "DEFAULT_VEHTYPE"}
    assert all(found.get("tau") == "1.6" for found in types.values())
    assert types["a"].get("speedDev") is None  # it would contradict the distribution of speed factors
    assert [element.tag for element in changed] == ["vType", "vType", "vTypeDistribution", "trip"]


@pytest.mark.slow
def test_other_drivers_keep_the_demand_and_change_the_traffic(short: Scenario) -> None:
    usual = schedule(short, 1)
    delays = {}
    for drivers in ATTRIBUTES:
        changed = short.with_(drivers=drivers)
        planned = schedule(changed, 1)
        assert planned.ids.tolist() == usual.ids.tolist()
        assert planned.depart_s.tolist() == usual.depart_s.tolist()
        delays[drivers] = run_cell(Cell(changed, "fixed_time", 1)).metrics["delay_s"]
    assert len(set(delays.values())) == len(delays)
    assert delays["hasty"] < delays["as_in_files"] < delays["cautious"]


def test_hashes_of_scenarios_with_usual_drivers_and_detectors_stay(short: Scenario) -> None:
    assert short.with_(drivers="as_in_files", detectors={"noise": 0.0}).sha256() == short.sha256()
    changed = [short.with_(drivers="idm"), short.with_(detectors={"noise": 0.1})]
    assert len({short.sha256(), *(scenario.sha256() for scenario in changed)}) == 3
    with pytest.raises(ScenarioError, match="drivers"):
        short.with_(drivers="mad")


# --- erring detectors ----------------------------------------------------------------------------------------------


def test_noise_has_its_size_and_repeats() -> None:
    faults = DetectorFaults(DetectorErrors(noise=0.3), lanes=5000, seed=4)
    state = {"queue_veh": np.full(5000, 10.0), "zone_veh": np.zeros((5000, 3)), "wait_s": np.full(5000, 7.0)}
    seen = faults.with_errors(state, 100.0)
    assert seen["queue_veh"].mean() == pytest.approx(10.0, abs=0.2)
    assert seen["queue_veh"].std() == pytest.approx(3.0, abs=0.2)
    assert (seen["zone_veh"] == 0).all()
    assert seen["wait_s"] is state["wait_s"]
    assert (state["queue_veh"] == 10.0).all()
    again = DetectorFaults(DetectorErrors(noise=0.3), lanes=5000, seed=4)
    assert (again.with_errors(state, 100.0)["queue_veh"] == seen["queue_veh"]).all()
    assert (again.with_errors(state, 105.0)["queue_veh"] != seen["queue_veh"]).any()
    assert (faults.with_errors({"queue_veh": np.full(9, 1.0)}, 1.0)["queue_veh"] >= 0).all()


def test_outages_hit_their_share_and_other_lanes_with_another_seed() -> None:
    dead = [DetectorFaults(DetectorErrors(outage_share=0.2), lanes=2000, seed=seed).dead for seed in (1, 2)]
    assert dead[0].mean() == pytest.approx(0.2, abs=0.03)
    assert (dead[0] != dead[1]).any()
    assert not DetectorFaults(DetectorErrors(), lanes=2000, seed=1).dead.any()


@pytest.mark.slow
def test_a_controller_sees_the_errors_and_the_measurements_do_not(short: Scenario) -> None:
    blind = short.with_(detectors={"outage_share": 1.0})
    with Session(blind, 1) as session:
        seen = session.start()
        assert not seen.lane_ok.any()
        assert np.isnan(seen.queue_veh).all()
    noisy = short.with_(detectors={"noise": 0.5})
    cells = [Cell(short, "fixed_time", 1), Cell(noisy, "fixed_time", 1)]
    true, wrong = (run_cell(cell).metrics["delay_s"] for cell in cells)
    assert true == wrong  # nobody looked, so nothing changed
    greedy = [run_cell(Cell(scenario, "greedy", 1)).metrics["delay_s"] for scenario in (short, noisy)]
    assert greedy[0] != greedy[1]
