"""Metrics against cases computed by hand and against SUMO's own statistics."""

from __future__ import annotations

import importlib.util
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.results import metrics
from benchmarks.results import sumo_outputs as outputs
from benchmarks.results.metrics import Horizon, Plan

#: id, depart, departDelay, arrival, duration, timeLoss, waitingTime, stops, speedFactor, vaporized
HAND = """<tripinfos>
  <tripinfo id="home" depart="110.00" departLane="a_0" departDelay="10.00" arrival="160.00" duration="50.00"
    waitingTime="8.00" waitingCount="2" timeLoss="12.00" speedFactor="1.00" vaporized="">
    <emissions CO2_abs="2000000.0" fuel_abs="742000.0"/></tripinfo>
  <tripinfo id="fast" depart="120.00" departLane="a_1" departDelay="0.00" arrival="150.00" duration="30.00"
    waitingTime="0.00" waitingCount="0" timeLoss="4.00" speedFactor="2.00" vaporized="">
    <emissions CO2_abs="1000000.0" fuel_abs="0.0"/></tripinfo>
  <tripinfo id="driving" depart="180.00" departLane="b_0" departDelay="0.00" arrival="-1.00" duration="20.00"
    waitingTime="6.00" waitingCount="1" timeLoss="9.00" speedFactor="1.00" vaporized="end"/>
  <tripinfo id="outside" depart="-1" departLane="" departDelay="50.00" arrival="-1.00" duration="0.00"
    waitingTime="0.00" waitingCount="0" timeLoss="0.00" speedFactor="1.00" vaporized="end"/>
  <tripinfo id="outside_late" depart="-1" departLane="" departDelay="10.00" arrival="-1.00" duration="0.00"
    waitingTime="0.00" waitingCount="0" timeLoss="0.00" speedFactor="1.00" vaporized="end"/>
  <tripinfo id="early" depart="90.00" departLane="a_0" departDelay="0.00" arrival="190.00" duration="100.00"
    waitingTime="50.00" waitingCount="9" timeLoss="80.00" speedFactor="1.00" vaporized=""/>
  <tripinfo id="blue" depart="130.00" departLane="b_0" departDelay="0.00" arrival="170.00" duration="40.00"
    waitingTime="0.00" waitingCount="0" timeLoss="5.00" speedFactor="1.50" vaporized=""/>
  <tripinfo id="greenloop.prop.0" depart="130.00" departLane="b_0" departDelay="0.00" arrival="-1.00" duration="70.00"
    waitingTime="0.00" waitingCount="0" timeLoss="70.00" speedFactor="1.00" vaporized="end"/>
</tripinfos>"""
PLANS = {
    "home": Plan(100.0, 20.0, "a"),  # (160 - 100) - 20 = 40
    "fast": Plan(120.0, 40.0, "a"),  # (150 - 120) - 40 / 2 = 10
    "driving": Plan(180.0, 15.0, "b"),  # (200 - 180) - 15 = 5
    "outside": Plan(150.0, 30.0, "b"),  # (200 - 150) - 30 = 20
    "outside_late": Plan(190.0, 30.0, "b"),  # free flow is capped at the 10 s left: 0
    "nowhere": Plan(160.0, 10.0, "b"),  # SUMO never mentions it: (200 - 160) - 10 = 30
    "early": Plan(90.0, 20.0, "a"),  # scheduled in the warm-up
    "blue": Plan(130.0, 60.0, "b", kind="emergency"),  # apart: (170 - 130) - 60 / 1.5 = 0
}
HORIZON = Horizon(100.0, 200.0)


@pytest.fixture
def trips(tmp_path: Path) -> outputs.Trips:
    path = tmp_path / "trips.xml"
    path.write_text(HAND)
    return outputs.read_trips(path)


def test_delay_counts_everybody_scheduled_in_the_horizon(trips: outputs.Trips) -> None:
    found = metrics.trip_metrics(trips, PLANS, HORIZON)
    assert found["scheduled_veh"] == 6
    assert found["delay_s"] == pytest.approx((40 + 10 + 5 + 20 + 0 + 30) / 6)
    assert found["delay_median_s"] == pytest.approx(15.0)
    assert found["inserted_veh"] == 3
    assert found["arrived_veh"] == 2
    assert found["completion"] == pytest.approx(2 / 6)
    assert found["throughput_veh_h"] == pytest.approx(2 * 36)


def test_other_definitions_keep_their_names(trips: outputs.Trips) -> None:
    found = metrics.trip_metrics(trips, PLANS, HORIZON)
    assert found["delay_finished_s"] == pytest.approx(((12 + 10) + 4) / 2)
    assert found["travel_time_finished_s"] == pytest.approx((50 + 30) / 2)
    assert found["travel_time_s"] == pytest.approx((60 + 30 + 20 + 50 + 10 + 40) / 6)
    assert found["stops_per_veh"] == pytest.approx(3 / 3)
    assert found["waiting_s"] == pytest.approx((8 + 0 + 6) / 3)
    assert found["waiting_max_s"] == 8
    assert found["emergency_veh"] == 1
    assert found["emergency_delay_s"] == pytest.approx(0.0)


def test_resco_counts_undeparted_vehicles_only_where_its_script_does(trips: outputs.Trips) -> None:
    inside = (12 + 10) + 4 + 9  # "blue" was added by an incident, which RESCO has not
    assert metrics.resco_delay(trips, PLANS, HORIZON, set()) == pytest.approx(inside / 3)
    # "driving" is the last inserted one, scheduled at 180: "outside" (150) is before it, "outside_late" (190) after.
    written = {"outside", "outside_late"}
    assert metrics.resco_delay(trips, PLANS, HORIZON, written) == pytest.approx((inside + 10) / 4)


def test_emissions_are_turned_into_kilograms_and_litres(trips: outputs.Trips) -> None:
    only = {name: PLANS[name] for name in ("home", "fast")}
    found = metrics.trip_metrics(trips, only, HORIZON)
    assert found["co2_kg"] == pytest.approx(3.0)
    assert found["fuel_l"] == pytest.approx(1.0)
    assert math.isnan(metrics.trip_metrics(trips, PLANS, HORIZON)["co2_kg"])  # "driving" has none


def test_an_arrival_after_the_horizon_does_not_count(trips: outputs.Trips) -> None:
    found = metrics.trip_metrics(trips, {"home": PLANS["home"]}, Horizon(100.0, 155.0))
    assert found["arrived_veh"] == 0
    assert found["delay_s"] == pytest.approx(155 - 100 - 20)


def test_no_vehicles_give_no_numbers_and_no_warning(trips: outputs.Trips) -> None:
    found = metrics.trip_metrics(trips, {}, HORIZON)
    assert math.isnan(found["delay_s"])
    assert found["scheduled_veh"] == 0
    assert math.isnan(metrics.resco_delay(trips, {}, HORIZON, set()))


def test_fairness_of_two_approaches_by_hand(trips: outputs.Trips) -> None:
    delays = {"x": 30.0, "y": 10.0}
    plans = {f"{edge}{k}": Plan(100.0, 100.0 - delay, edge) for edge, delay in delays.items() for k in range(5)}
    found = metrics.trip_metrics(trips, {**plans, "home": PLANS["home"]}, HORIZON)  # one vehicle is no approach
    assert found["fairness_jain"] == pytest.approx(40**2 / (2 * (30**2 + 10**2)))
    assert found["worst_approach_delay_s"] == pytest.approx(30.0)
    assert found["worst_approach_ratio"] == pytest.approx(1.5)


def test_a_standing_road_is_found_and_a_blocked_one_left_out(tmp_path: Path) -> None:
    path = tmp_path / "roads.xml"
    rows = ""
    for k in range(4):
        left = 1 if k == 1 else 0  # "moving" lets one out in the second interval only
        rows += (
            f'<interval id="r" begin="{k * 300}" end="{(k + 1) * 300}">'
            f'<edge id="moving" waitingTime="600" left="{left}" arrived="0" speedRelative="0.1"/>'
            '<edge id="empty" waitingTime="0" left="0" arrived="0"/>'
            '<edge id="jam" waitingTime="600" left="0" arrived="0" speedRelative="0.0"/></interval>'
        )
    path.write_text(f"<meandata>{rows}</meandata>")
    roads = outputs.read_roads(path)
    assert roads.ids == ("empty", "jam", "moving")
    assert roads.begin_s == (0.0, 300.0, 600.0, 900.0)
    assert np.isnan(roads.speed_relative[:, 0]).all()
    assert metrics.standing_road_s(roads) == 1200
    assert metrics.standing_road_s(roads, blocked={"jam"}) == 600
    path.write_text("<meandata/>")
    assert metrics.standing_road_s(outputs.read_roads(path)) == 0


def test_network_means_cover_the_measured_minutes_only() -> None:
    minutes = np.array([60.0, 120.0, 180.0, 240.0])
    values = np.array([100.0, 2.0, 4.0, 100.0])
    speed = np.array([1.0, 10.0, np.nan, 1.0])
    summary = outputs.Summary(minutes, values, values, speed, values, values, values)
    found = metrics.network_metrics(summary, Horizon(120.0, 180.0))
    assert found == {"queue_veh": 3.0, "queue_max_veh": 4.0, "outside_max_veh": 4.0, "speed_mps": 10.0}


def test_latency_is_in_milliseconds() -> None:
    found = metrics.latency_metrics([0.001, 0.003, 0.002])
    assert found["decisions"] == 3
    assert found["decision_latency_p50_ms"] == pytest.approx(2.0)
    assert math.isnan(metrics.latency_metrics([])["decision_latency_p50_ms"])


@pytest.mark.parametrize("text", ["<tripinfos><tripinfo id='a'", "", "<tripinfos><tripinfo/></x>"])
def test_an_incomplete_output_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trips.xml"
    path.write_text(text)
    with pytest.raises(outputs.OutputError, match=r"trips\.xml is incomplete"):
        outputs.read_trips(path)


def test_origins_come_from_trips_vehicles_and_named_routes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.rou.xml", tmp_path / "b.rou.xml"
    first.write_text('<routes><route id="r" edges="p q"/><trip id="t" depart="0" from="a" to="b"/></routes>')
    second.write_text(
        '<routes><vehicle id="v" depart="0"><route edges="c d"/></vehicle>'
        '<vehicle id="w" depart="1" route="r"/></routes>'
    )
    found = outputs.read_origins((first, second))
    assert {name: (origin.edge, origin.is_vehicle) for name, origin in found.items()} == {
        "t": ("a", False), "v": ("c", True), "w": ("p", True)
    }  # fmt: skip


def test_missing_outputs_are_named(tmp_path: Path) -> None:
    with pytest.raises(outputs.OutputError, match="cannot be read"):
        outputs.read_trips(tmp_path / "none.xml")
    (tmp_path / "statistics.xml").write_text("<statistics/>")
    with pytest.raises(outputs.OutputError, match="hold no 'teleports'"):
        outputs.read_statistics(tmp_path / "statistics.xml")


def run_sumo(folder: Path, *extra: str) -> tuple[outputs.Trips, outputs.Statistics, outputs.Summary]:
    """An hour of cologne1 in plain SUMO."""
    import sumo

    spec = importlib.util.find_spec("sumo_rl")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).parent / "nets" / "RESCO" / "cologne1"
    arguments = {
        "-n": source / "cologne1.net.xml", "-r": source / "cologne1.rou.xml", "-b": 25200, "-e": 28800, "--seed": 7,
        "--time-to-teleport": -1, "--tripinfo-output": folder / "trips.xml", "--statistic-output": folder / "s.xml",
        "--summary-output": folder / "summary.xml", "--summary-output.period": 60, "--device.emissions.probability": 1,
    }  # fmt: skip
    binary = Path(sumo.SUMO_HOME) / "bin" / "sumo"
    command = [str(binary), *(str(part) for pair in arguments.items() for part in pair), *extra]
    subprocess.run([*command, "--no-step-log", "--no-warnings"], check=True, capture_output=True)
    reads = outputs.read_trips(folder / "trips.xml"), outputs.read_statistics(folder / "s.xml")
    return *reads, outputs.read_summary(folder / "summary.xml")


def test_means_agree_with_sumos_own_statistics(tmp_path: Path) -> None:
    """SUMO's means are over the trips that it writes: the finished ones alone, or all inserted ones if asked."""
    trips, finished, _ = run_sumo(tmp_path)
    every = {
        name: Plan(float(start), 0.0)
        for name, start in zip(trips.ids, trips.depart_s - trips.depart_delay_s, strict=True)
    }
    full = run_sumo(tmp_path, "--tripinfo-output.write-unfinished", "--tripinfo-output.write-undeparted")
    trips, everybody, summary = full
    starts = dict(zip(trips.ids, np.where(trips.inserted, trips.depart_s, 28800.0) - trips.depart_delay_s, strict=True))
    plans = every | {name: Plan(float(start), 0.0) for name, start in starts.items()}
    found = metrics.trip_metrics(trips, plans, Horizon(25200.0, 28800.0))
    assert found["arrived_veh"] == finished.trip_count
    assert found["inserted_veh"] == everybody.trip_count > finished.trip_count
    assert found["travel_time_finished_s"] == pytest.approx(finished.duration_s, abs=0.006)
    assert found["delay_finished_s"] == pytest.approx(finished.time_loss_s + finished.depart_delay_s, abs=0.011)
    resco = metrics.resco_delay(trips, plans, Horizon(25200.0, 28800.0), set())
    assert resco == pytest.approx(everybody.time_loss_s + everybody.depart_delay_s, abs=0.011)
    assert summary.inserted_veh[-1] <= found["inserted_veh"]
    assert 100 < found["co2_kg"] < 1000
    assert found["fuel_l"] == pytest.approx(found["co2_kg"] / 2.31, rel=0.05)  # a litre of petrol makes 2.3 kg of CO2
