"""Every figure of the registry from real runs, what they compute, and what they say when they cannot be drawn."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from benchmarks.cli.main import main
from benchmarks.cli.plot import clock_s
from benchmarks.figures import distribution, style
from benchmarks.figures import forecast_fan as forecast
from benchmarks.figures import registry as plots
from benchmarks.figures import selection as choice
from benchmarks.figures.selection import Choice, FigureError
from benchmarks.figures.traces import arterial, time_space
from benchmarks.figures.traces import phase_timeline as phases
from benchmarks.results import run_result as results
from benchmarks.results.cases import Group, group_runs
from benchmarks.results.run_result import Distribution
from benchmarks.run import matrix
from benchmarks.run.cell import Cell
from benchmarks.run.progress import SweepProgress
from benchmarks.trace.trace_file import Road, SignalStates, Trace
from scenarios import registry
from tests.support.synthetic_results import make_result

TABLE = "time_s,horizon_min,q10,q50,q90,came\n" + "".join(
    f"{25200 + 60 * minute},{ahead},{90 - ahead},{100 + minute},{120 + minute + ahead},{105 if minute < 20 else ''}\n"
    for minute in range(30)
    for ahead in (1, 5, 15)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a real corridor: fixed time and greedy on cologne3, six minutes, traced."""
    out = tmp_path_factory.mktemp("runs")
    scenario = registry.load("cologne3")
    scenario = scenario.with_(end_s=scenario.begin_s + 360)
    cells = [Cell(scenario, name, 1, trace=True) for name in ("fixed_time", "greedy")]
    with SweepProgress(quiet=True) as progress:
        assert not matrix.run(cells, out, 1, progress).failed
    (out / "forecasts.csv").write_text(TABLE)
    return out


@pytest.fixture(scope="module")
def group(folder: Path) -> Group:
    return group_runs(results.read_folder(folder)[0], folder)["cologne3"]


@pytest.fixture(scope="module")
def trace(group: Group) -> Trace:
    return choice.traced(group, Choice(controllers=("fixed_time",)), 1)["fixed_time"]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def drawn(draw: Callable[[], Figure]) -> Figure:
    with style.style():
        return draw()


@pytest.mark.parametrize("name", plots.REGISTRY)
def test_every_figure_of_the_registry_is_drawn_from_real_runs(folder: Path, tmp_path: Path, name: str) -> None:
    what, open_before = Choice(table=folder / "forecasts.csv"), plt.get_fignums()
    (path,) = plots.draw(folder, tmp_path, [name], choice=what, formats=["svg"])
    assert path.name.endswith(f"_{name}.svg")
    assert 5_000 < path.stat().st_size < 1_000_000
    assert plt.get_fignums() == open_before


def test_without_a_name_all_are_drawn_that_can_be_and_the_others_told(tmp_path: Path) -> None:
    told: list[str] = []
    results.write(make_result(), tmp_path / "r" / "a.result.json")
    written = plots.draw(tmp_path / "r", tmp_path, tell=told.append, formats=["svg"])
    assert {path.stem for path in written} == {
        f"cologne1_incidents_60min_{name}" for name in ("delay", "waits", "over_time")
    }
    names = [sentence.split(": ")[1] for sentence in told]
    assert names == ["profile", "congestion", "congestion_over_time", "time_space", "phases"]
    assert told[3] == "Left out: time_space: There is no trace in these results of cologne1; run it again with --trace."


def test_every_figure_has_one_line_in_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["plot", "--list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(plots.REGISTRY)
    assert all(len(line) < 110 for line in lines)


def test_the_arterial_of_a_corridor_passes_all_its_signals(trace: Trace) -> None:
    found = arterial.choose(trace)
    assert len({stop.signal for stop in found.stops}) == 3
    assert all(a < b for a, b in zip(found.begin_m, found.begin_m[1:], strict=False))
    for stop in found.stops:
        links = {link.link: link for link in trace.about.signals[stop.signal].links}
        assert {links[link].from_road for link in stop.links} <= set(found.roads)
    whole_s = found.travel_s(0.0, found.begin_m[-1] + found.length_m[-1])
    assert whole_s == pytest.approx(found.travel_s(0.0, 300.0) + found.travel_s(300.0, 1e9))
    assert arterial.choose(trace, found.roads[1]).roads == found.roads


def test_trajectories_on_the_arterial_never_go_backwards_and_stop_at_red(trace: Trace) -> None:
    found = arterial.choose(trace)
    pieces = arterial.pieces(trace, found, trace.about.begin_s, trace.about.end_s)
    assert len(pieces) > 50
    for vehicle, times_s, distances_m in pieces:
        assert (np.diff(distances_m) > -0.2).all(), trace.vehicles.ids[vehicle]  # decimetres
        assert (np.diff(times_s) >= 1).all()
    crossings = 0
    for stop in found.stops:
        shown = stop.shows(trace.signals[stop.signal], int(trace.about.begin_s), int(trace.about.end_s))
        for _, times_s, distances_m in pieces:
            before = np.flatnonzero((distances_m[:-1] < stop.distance_m) & (distances_m[1:] > stop.distance_m))
            for k in before:  # the front passes the line in one of the seconds between two samples
                seconds = range(int(times_s[k]), int(times_s[k + 1]) + 1)
                crossings += 1
                assert any(shown[s - int(trace.about.begin_s)] != "r" for s in seconds)
    assert crossings > 30


def test_flows_count_vehicles_from_road_to_road(trace: Trace) -> None:
    vehicles, found = trace.vehicles, arterial.flows(trace)
    expected: dict[tuple[str, str], int] = {}
    for vehicle in range(len(vehicles.ids)):
        lanes = [trace.lanes[lane] for lane in vehicles.lane[vehicles.of(vehicle)]]
        roads = [lane.rpartition("_")[0] for lane in lanes if not lane.startswith(":")]
        for pair in itertools.pairwise(roads):
            if pair[0] != pair[1]:
                expected[pair] = expected.get(pair, 0) + 1
    assert dict(found) == expected


def test_stretches_and_bands() -> None:
    assert time_space.runs(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
    assert time_space.runs(np.zeros(3, bool)) == []
    stop = arterial.StopLine("a", 0.0, (0, 2))
    states = SignalStates(np.array([10, 13, 15]), ("Grr", "yry", "rGr"))
    assert "".join(stop.shows(states, 9, 17)) == "GGGGyyrr"


def test_the_phase_timeline_shows_every_link_and_the_phases(group: Group, trace: Trace) -> None:
    for name in trace.about.signals:
        rows = phases._rows([trace], name)
        letters = {link: [state[link] for state in trace.signals[name].states] for link in rows.values()}
        for link in trace.about.signals[name].links:  # each link looks like one of the rows
            own = [state[link.link].upper() for state in trace.signals[name].states]
            assert any([letter.upper() for letter in shown] == own for shown in letters.values())
    figure = drawn(lambda: phases.phases(group, Choice(signal=next(iter(trace.about.signals)), minutes=2)))
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()][-1] == "phase"
    assert len(figure.axes) == 2


def test_roads_come_from_the_side_where_they_arrive() -> None:
    road = Road(name="x", length_m=1, speed_mps=1, lanes=1, shape=((0, 100), (0, 0)), successors=())
    assert phases._side(road) == "N"
    assert phases._side(road.model_copy(update={"shape": ((-100, -100), (0, 0))})) == "SW"


def test_shares_above_follow_the_quantiles() -> None:
    uniform = tuple(float(k) for k in range(101))
    run = make_result(distribution=Distribution(delay_s=uniform, waiting_s=(0.0,) * 51 + tuple(range(1, 51))))
    seconds, percent = distribution.exceeded([run], "delay_s")
    assert percent == pytest.approx(100 - seconds)
    seconds, percent = distribution.exceeded([run, run], "waiting_s")
    assert percent[0] == pytest.approx(50)  # half never stood
    assert (np.diff(percent) <= 1e-9).all()


def test_a_distribution_stands_in_each_result(group: Group) -> None:
    for run in group.runs:
        assert run.distribution is not None
        delay_s = np.array(run.distribution.delay_s)
        assert delay_s.size == 101
        assert (np.diff(delay_s) >= 0).all()
        assert delay_s[50] == pytest.approx(run.metrics["delay_median_s"], abs=0.051)
        assert run.distribution.waiting_s[-1] == pytest.approx(run.metrics["waiting_max_s"], abs=0.051)


def test_the_forecast_says_how_often_its_band_held(folder: Path) -> None:
    figure = drawn(lambda: forecast.forecast(None, Choice(table=folder / "forecasts.csv")))
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "the 80 % band held what came 100 % of the time (20 forecasts)" in words


PHASES, ROAD = Choice(signal="36008"), Choice(road="-31800061#1")
REFUSED: dict[str, tuple[str, Choice, str]] = {
    "unknown figure": ("time_spce", Choice(), r"no figure 'time_spce'; did you mean 'time_space'\?"),
    "unknown signal": ("phases", PHASES, r"cologne3 has no signal '36008'; did you mean '3600\d\d'\?"),
    "unknown road": ("time_space", ROAD, r"cologne3 has no road '-31800061#1'; did you mean"),
    "unknown controller": ("delay", Choice(controllers=("gredy",)), r"'gredy' has no results .* mean 'greedy'\?"),
    "no such seed": ("phases", Choice(seed=9), r"no trace in these results of cologne3 with seed 9"),
    "time outside": ("phases", Choice(begin_s=0.0), r"runs from 07:00 to 07:06; 00:00 lies outside"),
    "no minutes": ("phases", Choice(minutes=-1), r"-1 minutes make no sense"),
    "no table": ("forecast", Choice(), r"give it with --table"),
    "unknown baseline": ("profile", Choice(baseline="sotl"), r"'sotl' has no results"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_drawn_gets_a_sentence(folder: Path, tmp_path: Path, name: str) -> None:
    figure, what, says = REFUSED[name]
    with pytest.raises(ValueError, match=says) as caught:
        plots.draw(folder, tmp_path, [figure], choice=what, formats=["svg"])
    assert type(caught.value).__module__.startswith("benchmarks")
    assert "\n" not in str(caught.value)


def test_results_without_a_trace_or_a_distribution_say_so(folder: Path, group: Group, tmp_path: Path) -> None:
    bare = replace(group, runs=tuple(run.model_copy(update={"trace": None}) for run in group.runs))
    with pytest.raises(FigureError, match="no trace in these results of cologne3; run it again with --trace"):
        phases.phases(bare)
    with pytest.raises(FigureError, match="is not beside its result"):
        time_space.time_space(replace(group, folder=tmp_path))
    old = tuple(run.model_copy(update={"distribution": None}) for run in group.runs)
    with pytest.raises(FigureError, match="do not say how waits are spread"):
        distribution.waits(replace(group, runs=old))
    with pytest.raises(FigureError, match="cannot be written as 'gif'; choose pdf, svg, png"):
        plots.draw(folder, tmp_path, formats=["gif"])


TABLES = {
    "missing": (None, "cannot be read"),
    "no column": ("time_s,horizon_min,q10,q50,q90\n1,1,1,1,1\n", "has no column 'came'"),
    "words": (TABLE.splitlines()[0] + "\n1,1,a,1,1,1\n", "no number in column 'q10' on line 2"),
    "empty": (TABLE.splitlines()[0] + "\n", "holds no forecast"),
    "nothing": ("", "is no CSV table"),
    "crossing": (TABLE.splitlines()[0] + "\n1,1,3,2,4,1\n", "crossing quantiles on line 2"),
    "twice": (TABLE.splitlines()[0] + "\n1,1,1,2,4,1\n1,1,1,2,4,2\n", "two forecasts made at 1 s for 1 min ahead"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_does_not_fit_gets_a_sentence(tmp_path: Path, name: str) -> None:
    text, says = TABLES[name]
    path = tmp_path / "t.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FigureError, match=says) as caught:
        forecast.read(path)
    assert str(path) in str(caught.value)


def test_places_of_a_table_are_told_apart(tmp_path: Path) -> None:
    lines = TABLE.splitlines()
    rows = [lines[0] + ",place,unit", *(f"{line},{place},veh/h" for place in ("north", "south") for line in lines[1:])]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    figure = drawn(lambda: forecast.forecast(None, Choice(table=tmp_path / "t.csv", road="south")))
    assert figure.axes[0].get_ylabel() == "south (veh/h)"
    with pytest.raises(FigureError, match=r"no place 'soth'; did you mean 'south'\?"):
        forecast.forecast(None, Choice(table=tmp_path / "t.csv", road="soth"))


@pytest.mark.parametrize(("text", "seconds"), [("7:30", 27000), ("07:30:15", 27015), ("25:00", 90000), ("60.5", 60.5)])
def test_times_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert math.isclose(clock_s(text), seconds)


@pytest.mark.parametrize("text", ["7h", "7:99", "", "-3"])
def test_a_time_that_makes_no_sense_gets_a_sentence(text: str) -> None:
    with pytest.raises(FigureError, match="makes no sense; write 7:30"):
        clock_s(text)


def test_the_command_draws_in_the_format_asked_for(folder: Path, tmp_path: Path) -> None:
    arguments = [
        "plot",
        str(folder),
        "--figure",
        "phases",
        "--signal",
        "360082",
        "--format",
        "pdf",
        "--out",
        str(tmp_path),
    ]
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    with pytest.raises(SystemExit, match="0"):
        main(
            [
                "plot",
                "--figure",
                "forecast",
                "--table",
                str(folder / "forecasts.csv"),
                "--out",
                str(tmp_path),
                "--format",
                "svg",
            ]
        )
    assert {path.name for path in tmp_path.iterdir()} == {"cologne3_6min_phases.pdf", "forecasts_forecast.svg"}
