"""What a forecast is made from: counts, means and queues by hand, reports on the right side, the prompt's text."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.records.shards import RecordError
from llm.records.splits import check_wording
from llm.tasks.decide.prompt import PROMPT_CHARSET
from llm.tasks.forecast.prompt import Place, forecast_prompt
from llm.tasks.forecast.state import FIELDS, REPORT_FIELDS, TRAFFIC_FIELDS, ForecastState, ForecastWatch
from scenarios.incidents.incident import Report
from sim.network import Network, Road
from sim.observation import Observation
from tests.support.forecasts import make_report, make_state
from tests.support.helpers import crossing, make_observation

NAN = math.nan


def road(name: str, before: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> Road:
    return Road(name, name, 1, 100.0, 13.9, after, before, ((0.0, 0.0), (1.0, 0.0)), (0,))


def town() -> Network:
    """far and other lead to far2, far2 and side to w, one incoming road of J; s leads out of it to beyond."""
    roads = [
        road("n", after=("s", "e")),
        road("w", before=("far2", "side"), after=("e",)),
        road("side", after=("w",)),
        road("far2", before=("far", "other"), after=("w",)),
        road("far", before=("farther", "side2"), after=("far2",)),
        road("farther", after=("far",)),
        road("side2", after=("far",)),
        road("other", after=("far2",)),
        road("s", before=("n",), after=("beyond", "beyond2")),
        road("e", before=("n", "w")),
        road("beyond", before=("s",)),
        road("beyond2", before=("s",)),
    ]
    return crossing(roads={r.id: r for r in roads})


def at(network: Network, minute: float, counts: tuple[float, float, float], **fields: object) -> Observation:
    """An observation after so many minutes, with the vehicles of the last full minute on lanes n_0, n_1 and w_0."""
    flows = [[60 * c, 60 * c, 60 * c] for c in counts]
    return make_observation(network, **{"time_s": 60 * minute, "flow_veh_h": flows, **fields})


def named(state: ForecastState, approach: int) -> dict[str, float]:
    return dict(zip(FIELDS, state.fields[approach].tolist(), strict=True))


def watched(network: Network, reports: tuple[Report, ...] = (), minutes: int = 7) -> tuple[ForecastWatch, Observation]:
    """Minute k brings k vehicles on n_0, one on n_1 and none on w_0, where two vehicles stand."""
    watch = ForecastWatch(network, begin_s=0.0)
    observation = at(network, 0, (0, 0, 0))
    watch.see(observation)
    for minute in range(1, minutes + 1):
        watch.see(at(network, minute - 0.5, (0, 0, 0), queue_veh=[0, 0, 2]))
        observation = at(network, minute, (minute, 1, 0), queue_veh=[0, 0, 2], reports=reports)
        watch.see(observation)
    return watch, observation


def test_the_prompt_by_hand() -> None:
    network = town()
    watch, observation = watched(network, (make_report(text="00:01 crash on Straße 5", edge="w"),))
    (state,) = watch.states(observation)
    assert state.approaches == ("n", "w")
    assert state.prompt == (
        "00:07\n"
        "A in4,5,6,7,8 mean80,50 queue0,0,0\n"
        "B in0,0,0,0,0 mean0,0 queue2,2,2\n"
        "Report on B: 00:01 crash on Strasse 5\n"
        "Next A B"
    )
    north, west = named(state, 0), named(state, 1)
    assert [north[f"count_{k}_veh"] for k in (5, 4, 3, 2, 1)] == [4, 5, 6, 7, 8]
    assert (north["flow_15_veh_h"], north["flow_run_veh_h"]) == (480, 300)  # detectors say the last, the run the mean
    assert (west["queue_veh"], west["queue_5_veh"], west["clock_h"]) == (2, 2, pytest.approx(7 / 60))
    assert (west["blocked_on"], west["closed_on"], west["blocked_before"]) == (0.5, 0, 0)
    assert west["blocked_min"] == pytest.approx(6)
    assert north["blocked_on"] == north["blocked_min"] == 0


def test_only_full_minutes_are_new() -> None:
    network = crossing()
    watch = ForecastWatch(network, begin_s=100.0)
    seen = [watch.see(make_observation(network, time_s=t)) for t in (100.0, 105.0, 155.0, 160.0, 165.0, 220.0)]
    assert seen == [True, False, False, True, False, True]


def test_what_was_counted_before_the_first_look() -> None:
    """After five minutes of warm-up the detectors know their mean, and the last minute."""
    network = crossing()
    watch = ForecastWatch(network, begin_s=0.0)
    flows = [[600.0, 300.0, 240.0]] + [[0.0] * 3] * 2
    observation = make_observation(network, time_s=300.0, flow_veh_h=flows)
    watch.see(observation)
    (state,) = watch.states(observation)
    assert state.prompt.split("\n")[1] == "A in?,?,?,?,10 mean40,40 queue0,0,0"
    later = make_observation(network, time_s=360.0, flow_veh_h=flows)
    watch.see(later)
    assert named(watch.states(later)[0], 0)["flow_run_veh_h"] == pytest.approx((5 * 240 + 600) / 6)


def test_detectors_that_are_out() -> None:
    network = crossing()
    watch, _ = watched(network)
    dark = at(network, 8, (NAN, 1, 0), queue_veh=[NAN, 0, 0])
    watch.see(dark)
    (state,) = watch.states(dark)
    assert state.prompt.split("\n")[1] == "A in5,6,7,8,? mean?,50 queue?,0,0"
    assert math.isnan(named(state, 0)["count_1_veh"])
    assert named(state, 0)["flow_run_veh_h"] == 300  # what was known before


@pytest.mark.parametrize(
    ("edge", "line"),
    [
        ("n", "Report on A: x"),
        ("w", "Report on B: x"),
        ("side", "Report before B: x"),
        ("far", "Report before B: x"),
        ("s", "Report after A: x"),
        ("e", "Report after A B: x"),
        ("beyond", "Report after A: x"),
        ("farther", None),
    ],
)
def test_where_a_report_lies(edge: str, line: str | None) -> None:
    network = town()
    watch, observation = watched(network, (make_report(text="x", edge=edge),))
    (state,) = watch.states(observation)
    assert [text for text in state.prompt.split("\n") if text.startswith("Report")] == ([line] if line else [])
    assert bool(state.fields[:, len(TRAFFIC_FIELDS) :].any()) == (line is not None)


def test_the_end_of_an_incident_counts_for_a_while() -> None:
    network = town()
    over = make_report(time_s=200.0, cleared=True, blocked_lanes=0, text="crash on w cleared", clock_s=180.0)
    watch, observation = watched(network, (make_report(), over))
    (state,) = watch.states(observation)
    assert "Report on B: crash on w cleared" in state.prompt
    assert "one of two" not in state.prompt
    assert (named(state, 1)["cleared_on"], named(state, 1)["blocked_on"]) == (1, 0)
    later = at(network, 30, (1, 1, 1), reports=(make_report(), over))
    watch.see(later)
    assert "Report" not in watch.states(later)[0].prompt


def test_reports_as_fields() -> None:
    network = town()
    reports = (
        make_report(incident_id="a", type="road_closure", edge="far", blocked_lanes=2, total_lanes=2),
        make_report(incident_id="b", type="demand_surge", edge="n", vehicles=120, clock_s=240.0),
        make_report(incident_id="c", type="crash", edge="s", blocked_lanes=0, total_lanes=3),  # no word of the lanes
    )
    watch, observation = watched(network, reports)
    (state,) = watch.states(observation)
    north, west = named(state, 0), named(state, 1)
    assert (west["closed_before"], west["blocked_before"], west["surge_veh"]) == (1, 1, 0)
    assert (north["surge_veh"], north["surge_min"]) == (120, pytest.approx(3))
    assert (north["blocked_after"], north["closed_after"]) == (0.5, 0)


def test_without_reports_nothing_of_them_is_left() -> None:
    network = town()
    watch, observation = watched(network, (make_report(),))
    (told,), (silent,) = watch.states(observation), watched(network)[0].states(watched(network)[1])
    bare = told.without_reports()
    assert bare.prompt == silent.prompt
    np.testing.assert_array_equal(bare.fields, silent.fields)
    assert told.prompt != bare.prompt


def test_held_out_wordings_are_found_in_forecast_prompts() -> None:
    held_out = make_report(text="07:12 smash on Main Street, help is under way", edge="w")
    state = make_state(np.ones((2, 10)), places=[Place(held_out, "before", (0, 1))])
    with pytest.raises(RecordError, match="held-out wording"):
        check_wording(state.prompt)


def test_vehicles_of_the_next_minute_by_lane() -> None:
    network = crossing()
    watch, observation = watched(network)
    states = watch.states(observation)
    forecast = np.zeros((2, 3, 2, 3))
    forecast[:, 0, 0, 1] = [540.0, 120.0]
    arrivals = watch.lane_arrivals(states, forecast)
    assert arrivals[0] + arrivals[1] == pytest.approx(9)  # of the road n
    assert arrivals[0] / arrivals[1] == pytest.approx(28 / 7, rel=1e-3)  # as they came: 1 + ... + 7, and seven ones
    assert arrivals[2] == pytest.approx(2)


numbers = st.one_of(st.floats(-10, 1e6), st.just(NAN))


@given(st.lists(st.lists(numbers, min_size=10, max_size=10), min_size=1, max_size=26), st.floats(0, 1e6), st.text())
def test_every_prompt_can_be_read(rows: list[list[float]], time_s: float, text: str) -> None:
    place = Place(make_report(text=text), "after", (0, len(rows) - 1))
    prompt = forecast_prompt(time_s, np.array(rows), [place])
    lines = prompt.split("\n")
    assert set(prompt) <= set(PROMPT_CHARSET)
    assert len(lines) == len(rows) + 3
    assert lines[-1].split() == ["Next", *(chr(65 + k) for k in range(len(rows)))]
    assert all(line.count(",") == 7 for line in lines[1 : len(rows) + 1])


def test_fields_have_names_once() -> None:
    assert len(set(FIELDS)) == len(FIELDS)
    assert FIELDS[len(TRAFFIC_FIELDS) :] == REPORT_FIELDS
