"""Traffic from counts is plausible where the counts leave freedom: flows near the guess, turns and routes reported."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from benchmarks.cli import main as cli
from scenarios.common.sumo_tools import run_tool
from scenarios.counts.candidates import EDGE_FACTOR, Ends
from scenarios.counts.route_flows import RouteFlows
from scenarios.demand.car_streets import Street, read_streets


def flows(passes: list[list[int]], guess: list[float]) -> RouteFlows:
    return RouteFlows(sparse.csr_matrix(np.array(passes, float)), np.array(guess))


def test_what_the_counts_leave_open_is_as_in_the_guess() -> None:
    entry = flows([[1, 1, 1, 0]], [1, 2, 1, 5])
    np.testing.assert_allclose(entry.fitted(np.array([80.0])), [20, 40, 20, 0], rtol=1e-3)  # the last passes no count
    # two entries and one exit of a junction: each entry's counts and the exit's are met, the rest in proportion
    both = flows([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]], [1, 1, 1, 1])
    np.testing.assert_allclose(both.fitted(np.array([30.0, 60.0, 60.0])), [20, 10, 40, 20], rtol=0.02)


def test_counts_that_contradict_one_another_are_met_half_way() -> None:
    (flow,) = flows([[1], [1]], [1.0]).fitted(np.array([90.0, 110.0]))
    assert 95 < flow < 105


def test_a_count_that_no_route_passes_changes_nothing() -> None:
    np.testing.assert_allclose(flows([[1, 1], [0, 0]], [1, 3]).fitted(np.array([40.0, 500.0])), [10, 30], rtol=1e-3)


def test_a_road_where_nobody_came_stays_empty() -> None:
    fitted = flows([[1, 1], [0, 1]], [1, 1]).fitted(np.array([50.0, 0.0]))
    assert fitted[0] == pytest.approx(50, abs=0.5)
    assert fitted[1] < 0.5


def test_which_flows_the_counts_fix() -> None:
    sums = sparse.csr_matrix(np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 1]]))
    assert flows([[1, 1, 1]], [1, 1, 1]).fixed(sums).tolist() == [False, False, True]
    assert flows([[1, 1, 1], [0, 1, 1]], [1, 1, 1]).fixed(sums).tolist() == [True, False, True]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 60))
def test_whole_vehicles_fit_the_counts_of_any_flows(seed: int, roads: int, routes: int) -> None:
    """Counts that some flow meets: rounding misses none by more than two vehicles."""
    rng = np.random.default_rng(seed)
    passes = (rng.random((roads, routes)) < 0.3).astype(float)
    truth = rng.poisson(3, routes)
    made = RouteFlows(sparse.csr_matrix(passes), rng.random(routes) + 0.1)
    counts = passes @ truth
    fitted = made.fitted(counts)
    assert (np.abs(passes @ fitted - counts) <= 0.1 * counts + 0.5).all()
    whole = made.whole(fitted, counts, rng)
    assert whole.min(initial=0) >= 0
    assert (np.abs(passes @ whole - counts) <= 0.1 * counts + 2).all()


def street(name: str, lanes: int, turns: dict[str, str]) -> Street:
    return Street(name, lanes, 100, 14, (0, 0), False, False, "", False, turns)


def test_trips_begin_and_end_at_the_edge_even_where_cars_could_turn_round() -> None:
    streets = {s.id: s for s in (street("in", 2, {"on": "s"}), street("on", 1, {"back": "t"}), street("back", 1, {}))}
    ends = Ends.of(streets)
    begin, end = (dict(zip(ends.ids, chances, strict=True)) for chances in (ends.begin, ends.end))
    assert begin["in"] == pytest.approx(2 * EDGE_FACTOR * begin["on"])
    assert begin["back"] == pytest.approx(EDGE_FACTOR * begin["on"])  # only turning round leads there
    assert end["on"] == pytest.approx(EDGE_FACTOR * end["in"] / 2)


def test_counts_of_entries_give_all_turns_and_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = tmp_path / "cross.net.xml"
    grid = ["--grid", "--grid.x-number", 1, "--grid.y-number", 1, "--grid.attach-length", 200, "-o", net]
    run_tool("netgenerate", [*grid, "--default-junction-type", "traffic_light", "--no-turnarounds"], "Making a net")
    entries = sorted(name for name, street in read_streets(net).items() if street.enters)
    rows = "".join(f"{edge},0,600,{60 + 20 * k}\n" for k, edge in enumerate(entries))
    (tmp_path / "counts.csv").write_text(f"edge,begin_s,end_s,vehicles\n{rows}", encoding="utf-8")
    asked = ["demand", "--net", str(net), "--counts", str(tmp_path / "counts.csv"), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as left:
        cli.main([*asked, "--no-figures", "--warmup-s", "0"])
    said = capsys.readouterr().out
    assert left.value.code == 0
    assert "the counts do not fix 12 of 12 turn flows" in said
    assert "Routes per count: 3 in the middle, 3 at least." in said
    vehicles = ElementTree.parse(tmp_path / "out" / "cross.rou.xml").getroot().iter("vehicle")
    taken = Counter(str(route.get("edges")) for v in vehicles if (route := v.find("route")) is not None)
    for k, edge in enumerate(entries):
        turns = [number for edges, number in taken.items() if edges.startswith(f"{edge} ")]
        assert sum(turns) == 60 + 20 * k
        assert max(turns) - min(turns) <= 2  # one lane each: the guess knows no difference
    fit = json.loads((tmp_path / "out" / "cross_fit.json").read_text(encoding="utf-8"))
    assert fit["turn_flows_fixed_by_counts"] == 0
    assert fit["vehicles_fixed_by_counts"] is True
    assert {turn["guess_share"] for turn in fit["turns"]} == {0.333}
    assert {point["routes"] for point in fit["points"]} == {3}
