"""Figures: they draw from results alone, in every format, whatever is missing."""

from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import registry as plots
from benchmarks.figures import style
from benchmarks.figures.delay import delay
from benchmarks.results import run_result as results
from benchmarks.results.cases import Group, group_runs, network_file
from benchmarks.results.run_result import RESULT_SUFFIX, RunResult
from tests.support.synthetic_results import make_network, make_result, make_scenario

BASES = {
    "lookahead": 12.0, "greedy": 15.0, "max_pressure": 19.0, "sotl": 24.0, "fixed_time": 43.0, "language_model": 55.0
}  # fmt: skip


def folder_of(path: Path, runs: list[RunResult]) -> Path:
    for number, run in enumerate(runs):
        results.write(run, path / f"{number}{RESULT_SUFFIX}")
    results.write(make_network(), network_file(path, "b" * 64))
    return path


def test_every_figure_in_every_format_and_the_same_bytes_again(tmp_path: Path) -> None:
    runs = [make_result(name, seed, base) for name, base in BASES.items() for seed in (1, 2, 3)]
    folder = folder_of(tmp_path / "results", runs)
    written = plots.draw(folder, tmp_path / "one", formats=["svg"])
    kinds = ("delay", "waits", "over_time", "congestion", "congestion_over_time")
    stems = {f"cologne1_incidents_60min_{name}" for name in kinds}
    assert {path.name for path in written} == {f"{stem}.svg" for stem in {*stems, "all_profile"}}
    assert all(path.stat().st_size > 3000 for path in written)
    plots.draw(folder, tmp_path / "one", only=["delay"])
    again = plots.draw(folder, tmp_path / "two", only=["delay"])
    assert [path.suffix[1:] for path in again] == list(style.FORMATS)
    for path in again:
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()
    assert not plt.get_fignums()  # every figure is closed


def test_the_delay_figure_shows_means_seeds_and_intervals() -> None:
    runs = tuple(make_result(name, seed, base) for name, base in BASES.items() for seed in (1, 2, 3))
    with style.style():
        figure = delay(Group("cologne1", "native", runs))
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == [style.label(name) for name in BASES]
    assert "Delay (s" in axes.get_xlabel()
    assert len(axes.lines) == 3 * len(BASES)  # seeds, interval, mean
    plt.close(figure)


def test_other_minutes_incidents_demand_or_departures_overwrite_no_figure() -> None:
    usual = make_scenario("cologne1").model_copy(update={"incidents": ()})
    other: list[dict[str, object]] = [
        {}, {"end_s": 26100.0}, {"spec": {"incident_rates": {"crash_per_h": 1.0}}}, {"demand_scale": 1.2},
        {"departure_jitter_s": 30.0},
    ]  # fmt: skip
    groups = [
        Group("cologne1", "native", (make_result(scenario=usual.model_copy(update=changes)),)) for changes in other
    ]
    assert [group.file_stem("cologne1") for group in groups] == [
        "cologne1_60min", "cologne1_15min", "cologne1_incidents_60min", "cologne1_demand1.2_60min",
        "cologne1_jitter30s_60min",
    ]  # fmt: skip
    assert [group.title for group in groups[:3]] == [
        "cologne1, 60 min", "cologne1, 15 min", "cologne1, 60 min, with incidents"
    ]  # fmt: skip


def test_a_controller_that_starves_road_users_is_marked_in_the_delay_figure() -> None:
    served = {"fixed_time": (0.9, 100.0), "greedy": (0.1, 500.0)}
    runs = tuple(
        make_result(
            name, 1, 20.0,
            metrics={
                "person_scheduled": 40, "person_delay_s": 9.0, "person_completion": share,
                "person_worst_wait_s": wait_s,
            },
        )
        for name, (share, wait_s) in served.items()
    )  # fmt: skip
    with style.style():
        figure = delay(Group("cologne1", "native", runs))
    named = {text.get_text() for text in figure.axes[0].get_yticklabels()}
    assert named == {style.label("fixed_time"), f"{style.label('greedy')}\nstarves persons"}
    plt.close(figure)


@pytest.mark.parametrize("scenario", ["cologne1", "a-town-with-a-long-name"])
def test_a_long_title_and_the_line_beside_it_keep_apart(scenario: str) -> None:
    runs = tuple(make_result(name, seed, scenario_name=scenario) for name in BASES for seed in (1, 2, 3))
    with style.style():
        figure = delay(Group(scenario, "native", runs))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    (title,) = (text for text in axes.findobj(plt.Text) if text.get_text() == f"{scenario}, 60 min, with incidents")
    (quiet,) = (text for text in axes.texts if text.get_text().startswith("native timings"))
    assert not title.get_window_extent().overlaps(quiet.get_window_extent())
    plt.close(figure)


def test_one_seed_one_controller_and_no_incidents_draw() -> None:
    run = make_result("my/file.py:Mine", 4)
    run = run.model_copy(update={"scenario": run.scenario.model_copy(update={"incidents": ()})})
    group = Group("cologne1", "native", (run,), make_network())
    with style.style():
        for name in ("delay", "waits", "over_time", "congestion", "congestion_over_time"):
            plt.close(plots.FIGURES[name][0](group))


def test_incidents_drawn_from_the_seed_show_one_seed() -> None:
    runs = [make_result("greedy", seed) for seed in (3, 5)]
    other = runs[1].scenario.model_copy(update={"incidents": ()})
    group = Group("cologne1", "native", (runs[0], runs[1].model_copy(update={"scenario": other})))
    assert group.with_same_incidents().seeds == [3]
    assert Group("cologne1", "native", tuple(runs)).with_same_incidents().seeds == [3, 5]


def test_a_result_without_roads_has_no_map(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [make_result(roads=None)])
    assert not [path for path in plots.draw(folder, tmp_path / "figures", formats=["svg"]) if "congestion" in path.name]


def test_scenarios_and_timings_get_figures_of_their_own(tmp_path: Path) -> None:
    runs = [
        make_result(),
        make_result(timings={"name": "clearance"}),
        make_result(scenario_name="cologne3"),
    ]
    assert list(group_runs(runs, tmp_path)) == ["cologne1", "cologne1_clearance", "cologne3"]


def test_bad_requests_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(results.ResultError, match="holds no results to draw"):
        plots.draw(tmp_path, tmp_path)
    folder = folder_of(tmp_path / "results", [make_result()])
    with pytest.raises(results.ResultError, match="no figure 'pie'; did you mean 'profile'"):
        plots.draw(folder, tmp_path, only=["pie"])
    with pytest.raises(results.ResultError, match="'greed' has no results for cologne1; did you mean 'greedy'"):
        plots.draw(folder, tmp_path, choice=plots.Choice(controllers=("greed",)))
    (tmp_path / "file").write_text("")
    with pytest.raises(results.ResultError, match="Figures cannot be written"):
        plots.draw(folder, tmp_path / "file" / "x", only=["delay"])


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_labels_keep_their_order_and_distance(positions: list[float]) -> None:
    placed = style.spread(positions, 10.0, 0.0, 100.0)
    order = sorted(range(len(positions)), key=lambda k: positions[k])
    gaps = [placed[b] - placed[a] for a, b in itertools.pairwise(order)]
    assert all(gap >= 10.0 - 1e-9 for gap in gaps)
    assert max(placed) <= 100.0 + 1e-9
    assert min(placed) >= -1e-9


#: Linear RGB as readers without red, green or blue cones see it (Machado et al. 2009, full severity).
SEEN = {
    "all cones": np.eye(3),
    "no red": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "no green": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "no blue": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}
WHITE, DARK_PAPER = "#FFFFFF", "#14181C"


def linear(colour: str) -> np.ndarray:
    part = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """By WCAG 2."""
    low, high = sorted(float(linear(colour) @ (0.2126, 0.7152, 0.0722)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(colour: str, seen: np.ndarray) -> np.ndarray:
    """CIELAB, D65."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ np.clip(
        seen @ linear(colour), 0, 1
    )
    x, y, z = (np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz / (0.9505, 1.0, 1.089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


LINES = sorted({*style.PALETTE, *style.FIXED.values(), style.MODEL_COLOUR})


@pytest.mark.parametrize("colour", [*LINES, style.RED, style.YELLOW, style.GREEN])
def test_lines_and_lights_stand_out_from_the_paper(colour: str) -> None:
    assert contrast(colour, WHITE) >= 3
    if colour in LINES and colour != "#000000":  # the report draws black as its ink, and lights on white only
        assert contrast(colour, DARK_PAPER) >= 3


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
def test_colours_are_told_apart_by_every_eye(seen: np.ndarray) -> None:
    for colours in (LINES, [style.RED, style.YELLOW, style.GREEN]):
        for one, other in itertools.combinations(colours, 2):
            assert np.linalg.norm(lab(one, seen) - lab(other, seen)) > 12, (one, other)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("max_pressure", "max pressure"),
        ("my/file.py:Mine:gain=2", "Mine:gain=2"),
        ("reinforcement:folder=runs/rl/dqn-one/seed-1", "reinforcement:folder=dqn-one/seed-1"),
        ("language_model:adapter=/a/b/c,layers=6", "language model:adapter=b/c,layers=6"),
        ("endpoint:url=http://localhost:8000/v1,model=m", "endpoint:url=localhost:8000/v1,model=m"),
    ],
)
def test_labels_are_short(name: str, shown: str) -> None:
    assert style.label(name) == shown


def test_known_controllers_keep_their_colours() -> None:
    first = style.colours(["fixed_time", "greedy", "mine"])
    second = style.colours(["mine", "language_model", "fixed_time"])
    assert first["fixed_time"] == second["fixed_time"]
    assert len(set(style.colours([f"c{k}" for k in range(12)]).values())) == 12
    assert second["language_model"][0] == style.MODEL_COLOUR
