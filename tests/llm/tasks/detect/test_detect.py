"""Incident detection: the rules against cases worked out by hand, the watch, the labels and the scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llm.tasks.base import Floats, Lesson, Question
from llm.tasks.detect import rules
from llm.tasks.detect.prompt import approach_text
from llm.tasks.detect.task import Detect
from llm.tasks.detect.watch import COLUMNS, STEPS, ApproachWatch, column
from llm.tasks.events import Alarms, EventExample
from llm.tasks.registry import made
from tests.support.helpers import crossing, make_observation


def history(rows: int = 1, **columns: Any) -> Floats:
    """(rows, STEPS, columns): empty and free but for the columns given, a number or one for each step."""
    facts = np.zeros((rows, STEPS, len(COLUMNS)))
    facts[..., COLUMNS.index("speed_share")] = 1.0
    for name, values in columns.items():
        facts[..., COLUMNS.index(name)] = values
    return facts


def test_california_compares_the_road_before_with_the_road_ahead() -> None:
    rule = rules.California7()
    rule.chosen = {"occrdf": 0.4, "docc": 0.2}
    # 10 vehicles on 150 m are an occupancy of 0.5; ahead 0.1: OCCDF 0.4, OCCRDF 0.8, DOCC 0.1
    assert rule.evidence(history(mid_veh=4.0, far_veh=6.0, ahead_share=0.1)) == pytest.approx([0.4])
    # full ahead, too: DOCC 0.5 fails by 0.3, OCCRDF 0 by 0.4
    assert rule.evidence(history(mid_veh=4.0, far_veh=6.0, ahead_share=0.5)) == pytest.approx([-0.4])
    # for one step only: the step before has no vehicle, so OCCRDF fails by its whole threshold
    assert rule.evidence(history(far_veh=[0] * 9 + [10])) == pytest.approx([-0.4])


def test_algorithm_8_is_silent_after_a_compression_wave() -> None:
    seven, eight = rules.California7(), rules.California8()
    eight.chosen["wave"] = 0.3
    calm = history(far_veh=10.0, ahead_share=0.05)
    wave = history(far_veh=10.0, ahead_share=[0, 0, 0, 0.8, 0.8, 0.8, 0.8, 0, 0, 0])
    assert eight.evidence(calm) == pytest.approx(seven.evidence(calm))
    assert eight.evidence(wave) == pytest.approx(seven.evidence(wave) - 2.0)


def test_cusum_adds_what_is_above_level_and_slack() -> None:
    rule = rules.Cusum()
    rule.chosen = {"level_veh": 2.0, "slack_veh": 1.0}
    assert rule.evidence(history(halted_veh=3.0)) == pytest.approx([0.0])
    assert rule.evidence(history(halted_veh=5.0)) == pytest.approx([7 * 2.0])  # seven means over two minutes


def test_exponential_smoothing_tracks_a_rise_and_no_level() -> None:
    rule = rules.ExponentialSmoothing()
    rule.chosen = {"alpha": 0.2, "speed": 0.0}
    level, rise = rule.evidence(history(far_veh=10.0)), rule.evidence(history(far_veh=[2] * 8 + [14, 18]))
    assert level == pytest.approx([0.0])
    # occupancy 0.1, then 0.7: a miss of 0.6 over 0.8 * 0.05 * 0.8^7 + ... is far above one
    assert rise[0] > 2.0


def test_mcmaster_sees_flow_below_the_edge_with_room_ahead() -> None:
    free = [history(far_veh=k, inflow_veh=2.0 * k).reshape(1, -1) for k in range(10)]
    jam = history(far_veh=10.0, inflow_veh=1.0).reshape(1, -1)
    lessons = [Lesson(question(numbers), np.zeros(1)) for numbers in free] + [Lesson(question(jam), np.ones(1))]
    rule = rules.McMaster()
    rule.fit(lessons, [])
    said = rule.answer([question(free[9]), question(jam)])
    assert said[0] < 0.55
    assert said[1] > said[0]


def test_a_rule_chooses_its_parameters_on_training_records() -> None:
    quiet = [history(halted_veh=3.0).reshape(1, -1)] * 50
    blocked = history(halted_veh=5.0).reshape(1, -1)
    rule = rules.Cusum()
    rule.fit([*(Lesson(question(n), np.zeros(1)) for n in quiet), Lesson(question(blocked), np.ones(1))], [])
    assert rule.answer([question(blocked)])[0] > 0.5 >= rule.answer([question(quiet[0])])[0]


def test_an_approach_without_detectors_looks_free() -> None:
    dead = np.full((1, STEPS * len(COLUMNS)), np.nan)
    free = history().reshape(1, -1)
    for name in ("California7", "California8", "Cusum", "ExponentialSmoothing", "MissedGreen"):
        rule = getattr(rules, name)()
        assert rule.statistic(dead) == pytest.approx(rule.statistic(free))


def question(numbers: Floats, time_s: float = 0.0, place: str = "J") -> Question:
    rows = tuple("abcd"[: len(numbers)])
    return Question("\n".join(row.upper() for row in rows), numbers, rows, place, time_s)


# --- watch and prompt


def test_the_watch_counts_green_that_a_waiting_vehicle_missed() -> None:
    network = crossing()
    watch = ApproachWatch(network, 0.0)
    asked = []
    for time_s in range(5, 331, 5):
        wait = np.where(np.arange(len(network.lanes)) == 0, float(time_s), 0.0)  # one vehicle stands from the start
        if watch.see(make_observation(network, time_s=float(time_s), wait_s=wait, phase=np.array([0]))):
            asked.append(watch.facts())
    lane = network.lane_edge[0]
    green = any(0 in phase.lanes for phase in network.controllable[0].phases[:1])
    row = [edge for _, edge in watch.approaches].index(lane)
    assert asked[0].shape == (len(watch.approaches), STEPS, len(COLUMNS))
    missed = column(asked[-1], "missed_green_s")[row, -1]
    assert missed == pytest.approx(330.0 if green else 0.0, abs=10)


def test_each_line_ends_in_its_letter_and_dead_detectors_are_question_marks() -> None:
    facts = history(2, far_veh=3.0)
    facts[1, :, : COLUMNS.index("green_share")] = np.nan
    first, second = approach_text(facts).split("\n")
    assert first.startswith("veh 3 3 3 3 halted 0")
    assert (first[-2:], second[-2:]) == (" A", " B")
    assert second.startswith("veh ? ? ? ?")


# --- scores


def run_of(said: list[float], blocked: list[int], near: list[int] | None = None) -> tuple[list[EventExample], Any]:
    """One place and one row, step by step."""
    near = blocked if near is None else near
    start = blocked.index(1) if 1 in blocked else 0
    records = [
        EventExample(
            "s", "n", 1, question(np.zeros((1, 12)), 30.0 * k), np.array([float(b)]), (),
            event=("crash-1" if b else "",), began_s=(30.0 * (k - start),), near=bool(near[k]), lookalikes=("surge",),
        )
        for k, b in enumerate(blocked)
    ]  # fmt: skip
    return records, [np.array([value]) for value in said]


def test_alarms_are_counted_once_and_events_by_their_first_alarm() -> None:
    said = [0.9, 0.9, 0.1] + [0.1] * 12 + [0.2, 0.8, 0.8]
    records, answers = run_of(said, [0] * 15 + [1] * 3)
    alarms = Alarms(Detect(), records, answers)
    assert list(alarms.false_alarms(0.5)) == [(0, 0)]  # the second step is the same alarm
    assert alarms.detections(0.5) == {15: 30.0}
    assert alarms.detections(0.85) == {15: pytest.approx(np.nan, nan_ok=True)}


def test_an_alarm_near_an_incident_is_not_false() -> None:
    records, answers = run_of([0.9] * 3, [0, 0, 0], near=[1, 1, 1])
    assert list(Alarms(Detect(), records, answers).false_alarms(0.5)) == []


def test_the_threshold_keeps_the_false_alarms_asked_for() -> None:
    records, answers = run_of([0.3] + [0.0] * 20 + [0.6] + [0.0] * 20 + [0.2, 0.7], [0] * 42 + [1, 1])
    alarms = Alarms(Detect(), records, answers)
    strict = alarms.threshold(1.0)  # 44 steps are far less than a day, so no false alarm is allowed
    assert strict == pytest.approx(0.7)
    assert alarms.detections(strict) == {42: 30.0}
    assert alarms.details()["curve"][1]["detection_rate"] == 1.0


def test_records_survive_their_row() -> None:
    task = made("detect")
    (record, *_), _ = run_of([0.5], [1])
    assert task.row(task.record(task.row(record))) == task.row(record)
