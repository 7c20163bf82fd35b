"""Forecasters: the plain ones by hand, the learners on what can be learnt, a user's own with all its mistakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import greenloop
from llm.tasks.forecast import forecasters
from llm.tasks.forecast.forecasters import Forecaster, ForecastError, checked, make
from llm.tasks.forecast.records import came, states
from llm.tasks.forecast.scaled_space import anchors, facts, pinball, restored, scaled
from llm.tasks.forecast.state import FIELDS, HORIZONS_MIN, QUANTILES, TARGETS
from tests.support.forecasts import make_record

TRAIN = [make_record(number, closed=number % 4 == 0) for number in range(160)]
VALIDATION = [make_record(number, closed=number % 4 == 0) for number in range(200, 240)]
LEARNERS = ("ridge", "boosted_trees:trees=25", "gru:epochs=40")


def fields(**known: float) -> np.ndarray:
    """One approach, 0 but for what is given."""
    row = np.zeros((1, len(FIELDS)))
    for name, value in known.items():
        row[0, FIELDS.index(name)] = value
    return row


def test_persistence_and_past_mean_by_hand() -> None:
    known = {f"count_{k}_veh": float(c) for k, c in zip((5, 4, 3, 2, 1), (1, 2, 3, 4, 10), strict=True)}
    row = fields(**known, flow_15_veh_h=300, flow_run_veh_h=200, queue_veh=7, queue_run_veh=3)
    np.testing.assert_allclose(forecasters.Persistence().point(row)[0], [[600, 7], [240, 7], [300, 7]])
    np.testing.assert_allclose(forecasters.PastMean().point(row)[0], [[200, 3]] * 3)


def test_plain_forecasters_where_detectors_are_out() -> None:
    row = fields(**{f"count_{k}_veh": np.nan for k in range(1, 6)}, flow_15_veh_h=np.nan, queue_veh=np.nan)
    row[0, FIELDS.index("flow_run_veh_h")] = 240
    assert forecasters.Persistence().point(row)[0, :, 0].tolist() == [240] * 3
    row[0, :10] = np.nan
    assert forecasters.PastMean().point(row)[0].tolist() == [[0, 0]] * 3


@given(arrays(float, (4, 3, 2, 3), elements=st.floats(-50, 50)), st.floats(0, 3000))
def test_restored_quantiles_are_in_order_and_not_negative(said: np.ndarray, flow: float) -> None:
    rows = np.repeat(fields(flow_15_veh_h=flow, flow_run_veh_h=flow, queue_5_veh=2), 4, axis=0)
    found = restored(said, rows)
    assert (np.diff(found, axis=-1) >= 0).all()
    assert (found >= 0).all()


@given(arrays(float, (3, 3, 2), elements=st.floats(0, 3000)), st.floats(0, 3000))
def test_the_scaled_space_can_be_left_again(arrived: np.ndarray, flow: float) -> None:
    rows = np.repeat(fields(flow_15_veh_h=flow, flow_run_veh_h=flow / 2), 3, axis=0)
    back = restored(np.repeat(scaled(arrived, rows)[..., None], 3, axis=-1), rows)
    np.testing.assert_allclose(back[..., 1], arrived, atol=1e-6)


def test_facts_tell_of_the_other_approaches() -> None:
    two, three = make_record(1, approaches=2).state, make_record(2, approaches=3).state
    found = facts([two, three])
    np.testing.assert_array_equal(found[:2], facts([two]))  # whoever else is asked
    changed = three.fields.copy()
    changed[2, FIELDS.index("queue_veh")] = 50.0
    moved = facts([two, replace(three, fields=changed)]) - found
    assert [bool(np.abs(row).any()) for row in moved] == [False, False, True, True, True]
    np.testing.assert_allclose(found[:, -1], [0.25, 0.25, 0.5, 0.5, 0.5])
    other = np.log1p(two.fields[::-1, FIELDS.index("queue_veh")]) - 0.5
    np.testing.assert_allclose(found[:2, -3], other)


def test_one_unit_of_noise_is_a_poisson_count() -> None:
    anchor, noise = anchors(fields(flow_15_veh_h=600, flow_run_veh_h=600))
    assert anchor[0, :, 0].tolist() == [600] * 3
    np.testing.assert_allclose(noise[0, :, 0], [60 * np.sqrt(11), 12 * np.sqrt(51), 4 * np.sqrt(151)])


def test_pinball_is_least_at_the_quantile() -> None:
    sample = np.random.default_rng(0).normal(size=4000)
    grid = np.linspace(-2, 2, 81)
    for level in QUANTILES:
        losses = [pinball(sample, np.full((4000, 1), guess), [level]).mean() for guess in grid]
        assert grid[int(np.argmin(losses))] == pytest.approx(np.quantile(sample, level), abs=0.06)


@pytest.mark.parametrize("spec", ["persistence", "past_mean", *LEARNERS])
def test_every_forecaster_keeps_the_contract(spec: str) -> None:
    forecaster = make(spec)
    forecaster.fit(TRAIN, VALIDATION)
    said = checked(spec, forecaster, states(VALIDATION))
    assert said.shape == (80, len(HORIZONS_MIN), len(TARGETS), len(QUANTILES))
    again = checked(spec, forecaster, states(VALIDATION[:1]))
    np.testing.assert_allclose(again, said[:2], atol=1e-3)  # whoever else is asked
    assert checked(spec, forecaster, []).shape == (0, 3, 2, 3)
    if spec in LEARNERS:  # the next minutes are like the last one, and a closed road brings nothing
        arrived = came(VALIDATION)[..., 0]
        error = np.abs(said[..., 0, 1] - arrived).mean()
        naive = np.abs(make("past_mean").forecast(states(VALIDATION))[..., 0, 1] - arrived).mean()
        assert error < 0.65 * naive
        covered = (said[..., 0, 0] <= arrived) & (arrived <= said[..., 0, 2])
        assert covered.mean() > 0.6


@pytest.mark.parametrize("spec", LEARNERS)
def test_learners_must_learn_first(spec: str) -> None:
    with pytest.raises(ForecastError, match="has learnt nothing yet"):
        make(spec).forecast(states(VALIDATION))


def test_bands_come_from_the_training_errors() -> None:
    plain = forecasters.Persistence()
    before = plain.forecast(states(VALIDATION))
    plain.fit(TRAIN, VALIDATION)
    after = plain.forecast(states(VALIDATION))
    np.testing.assert_array_equal(before[..., 1], after[..., 1])
    assert not np.allclose(before[..., 0], after[..., 0])


# --- names and files

MINE = """
import numpy as np
from greenloop import Forecaster
class Mine(Forecaster):
    def __init__(self, flow=100.0):
        self.flow = flow
    def forecast(self, states):
        return np.full((sum(len(state.approaches) for state in states), 3, 2, 3), self.flow)
class Shape(Mine):
    def forecast(self, states):
        return np.zeros((1, 2))
class NotANumber(Mine):
    def forecast(self, states):
        return super().forecast(states) * np.nan
class Crossing(Mine):
    def forecast(self, states):
        return super().forecast(states) * np.array([3, 2, 1])
class Raises(Mine):
    def forecast(self, states):
        raise KeyError("nothing")
class Abstract(Forecaster):
    pass
class Other:
    pass
class Broken(Mine):
    def __init__(self):
        raise ValueError("no way")
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return file


def test_a_forecaster_of_ones_own(mine: Path) -> None:
    assert greenloop.Forecaster is Forecaster
    said = checked("mine", make(f"{mine}:Mine:flow=250"), states(VALIDATION))
    assert (said == 250).all()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Shape", r"array of shape \(1, 2\); \(80, 3, 2, 3\) was expected"),
        ("NotANumber", "not finite"),
        ("Crossing", "quantiles that cross"),
        ("Raises", r"failed in forecast\(\) with KeyError: 'nothing'"),
    ],
)
def test_forecasts_that_are_none(name: str, sentence: str, mine: Path) -> None:
    with pytest.raises(ForecastError, match=sentence):
        checked(name, make(f"{mine}:{name}"), states(VALIDATION))


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("rigde", "did you mean 'ridge'"),
        ("xyz", "choose one of persistence"),
        ("ridge:width=3", "has no parameter 'width'; it has strength"),
        ("ridge:strength", "is no parameter"),
        ("nowhere.py:Mine", "does not exist"),
        ("{mine}:Other", r"is no forecaster; derive it from greenloop\.Forecaster"),
        ("{mine}:Abstract", r"does not define forecast\(\)"),
        ("{mine}", "Name the forecaster's class"),
        ("{mine}:Mien", "There is no class 'Mien' in .*; did you mean 'Mine'"),
        ("{mine}:Broken", r"cannot be made: ValueError: no way \(mine\.py, line \d+\)"),
        ("language_model", "No trained forecast head ships"),
        ("language_model:head=nowhere", r"holds no forecast_head\.safetensors"),
    ],
)
def test_specs_that_make_nothing(spec: str, sentence: str, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.backbone.cards.shipped", lambda: None)
    with pytest.raises(ForecastError, match=sentence):
        make(spec.format(mine=mine))


def test_a_file_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import nothing_of_that_name")
    with pytest.raises(ForecastError, match=r"bad\.py cannot be imported: ModuleNotFoundError"):
        make(f"{tmp_path / 'bad.py'}:Mine")
