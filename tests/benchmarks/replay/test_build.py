"""A replay's page and film from real runs: they carry what was traced, and say in a sentence why they cannot."""

from __future__ import annotations

import base64
import json
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks.cli import main as cli
from benchmarks.figures import registry as plots
from benchmarks.figures.maps.credit import address, credit
from benchmarks.replay import build as replay
from benchmarks.replay import choice as replay_choice
from benchmarks.replay import data as replay_data
from benchmarks.replay import film as replay_film
from benchmarks.replay.build import ReplayError, Wish
from benchmarks.replay.film import Span
from benchmarks.results import run_result as results
from benchmarks.results.run_result import ResultError, RunResult
from benchmarks.run import matrix
from benchmarks.run.cell import Cell
from benchmarks.run.progress import SweepProgress
from benchmarks.trace import trace_file as trace
from benchmarks.trace.trace_file import TraceError
from scenarios import registry
from scenarios.osm import importer as osm
from scenarios.spec import Crash

CRASH = Crash(edge="23429231#1", lanes=(0,), start_s=60, duration_s=120)
MINUTES = 4


def sweep(out: Path, cells: list[Cell]) -> None:
    with SweepProgress(quiet=True) as progress:
        assert not matrix.run(cells, out, 1, progress).failed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Greedy and fixed time past a crash on a map that asks for a credit, traced; max_pressure without a trace."""
    out = tmp_path_factory.mktemp("results")
    scenario = registry.load("cologne1")
    scenario = scenario.with_(
        end_s=scenario.begin_s + 60 * MINUTES, incidents=[CRASH.model_dump()], licence=osm.LICENCE
    )
    sweep(
        out,
        [Cell(scenario, name, 1, trace=name != "max_pressure") for name in ("greedy", "fixed_time", "max_pressure")],
    )
    return out


def chosen(folder: Path, *controllers: str) -> list[replay_choice.Chosen]:
    return replay_choice.choose([folder], Wish(controllers=controllers))[0]


def unpacked(text: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the browser reads: the header and the arrays, added up where they are differences."""
    data = zlib.decompress(base64.b64decode(text))
    length = int.from_bytes(data[:4], "little")
    header, at, arrays = json.loads(data[4 : 4 + length]), 4 + length, {}
    for name, kind, count in header["arrays"]:
        values = np.frombuffer(data, f"<{kind[:2]}", count, at).astype(np.int64)
        arrays[name] = np.cumsum(values) if kind.endswith("+") else values
        at += values.size * int(kind[1])
    assert at == len(data)
    return header, arrays


# --- what the page carries


def test_the_page_carries_every_place_to_the_decimetre(folder: Path) -> None:
    runs = chosen(folder, "greedy", "fixed_time")
    header, arrays = unpacked(replay_data.packed(runs, ["greedy", "fixed time"]))
    frame = replay_data.Frame(runs[0].trace)
    for number, one in enumerate(runs):
        vehicles, first = one.trace.vehicles, arrays[f"{number}.first"]
        assert first.tolist() == vehicles.first.tolist()
        for axis, places in (("x", frame.x_dm(vehicles.x_m)), ("y", frame.y_dm(vehicles.y_m))):
            start, changes = arrays[f"{number}.{axis}.start"], arrays[f"{number}.{axis}"]
            for v in range(len(start)):
                part = slice(first[v], first[v + 1])
                assert (start[v] + np.cumsum(np.cumsum(changes[part])) == places[part]).all()
        lanes = arrays[f"{number}.place"] // 2 - 1
        driven = [one.trace.lanes[lane] for lane in vehicles.lane]
        known = one.trace.map.lanes
        assert [known[lane] if lane >= 0 else ":" for lane in lanes] == [n if n[0] != ":" else ":" for n in driven]
        assert ((arrays[f"{number}.place"] % 2 == 1) == (vehicles.speed_mps < 0.1)).all()
    assert header["names"] == ["greedy", "fixed time"]
    assert (header["begin_s"], header["end_s"]) == (25200, 25200 + 60 * MINUTES)


def test_the_last_running_delay_is_the_metric(folder: Path) -> None:
    for one in chosen(folder, "greedy", "fixed_time"):
        figures = replay_data.running(one.trace)
        assert figures["delay"][-1] / 10 == pytest.approx(one.run.metrics["delay_s"], abs=0.051)
        assert figures["arrived"][-1] == one.run.metrics["arrived_veh"]
        inserted = one.run.metrics["scheduled_veh"] - figures["outside"][-1]
        assert inserted == pytest.approx(one.run.metrics["inserted_veh"], abs=1)
        assert (np.diff(figures["arrived"]) >= 0).all()


def test_signals_are_told_in_words(folder: Path) -> None:
    (one,) = chosen(folder, "greedy")
    (signal,) = replay_data.signals(one.trace, replay_data.Frame(one.trace))
    assert len(signal["phases"]) == len(next(iter(one.trace.about.signals.values())).phases)
    assert len({approach["name"] for approach in signal["approaches"]}) == len(signal["approaches"]) >= 3
    for phase in signal["phases"]:
        assert phase["serves"]
        assert all(re.search(r"from the [a-z-]+: .*(ahead|left|right)", line) for line in phase["serves"])
    assert {lane for _, lane, _ in signal["links"]} == {n for a in signal["approaches"] for n in a["lanes"]}


def test_a_crash_is_where_its_wreck_stands(folder: Path) -> None:
    (one,) = chosen(folder, "greedy")
    (incident,) = replay_data.incidents(one.trace)
    assert (incident["what"], incident["begin_s"], incident["blocks"]) == ("crash", 25260, True)
    assert [one.trace.map.lanes[lane] for lane in incident["lanes"]] == ["23429231#1_0"]
    line = one.trace.map.lines.of(incident["lanes"][0])
    place = replay_data.place_of(one.trace, incident)
    assert np.hypot(*(line - place).T).min() < 100
    vehicles = one.trace.vehicles
    wreck = next(v for v, kind in enumerate(vehicles.types) if replay_data.vehicle_kind(kind) == replay_data.WRECK)
    assert np.hypot(*(place - [vehicles.x_m[vehicles.first[wreck]], vehicles.y_m[vehicles.first[wreck]]])) < 0.1


def test_the_page_is_one_file_that_asks_nobody(folder: Path, tmp_path: Path) -> None:
    made = replay.write([folder], tmp_path / "page.html")
    page = made.path.read_text(encoding="utf-8")
    assert made.controllers == ("greedy", "fixed_time")
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=(?!\"data:)", page)
    assert "default-src 'none'" in page
    assert page.count(osm.CREDIT) == 2  # on each map
    assert "https://www.openstreetmap.org/copyright" in page
    assert made.size_mb < 1


def test_names_of_controllers_and_scenarios_cannot_break_the_page(folder: Path) -> None:
    (one,) = chosen(folder, "greedy")
    nasty = "</script><script>alert(1)</script>"
    about = one.trace.about.model_copy(update={"scenario": nasty, "controller": nasty, "licence": f"© {nasty}"})
    record = one.run.controller.model_copy(update={"name": nasty})
    changed = replay_choice.Chosen(
        one.run.model_copy(update={"controller": record}), trace.Trace(**{**vars(one.trace), "about": about})
    )
    assert nasty not in replay.render([changed])


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=50))
def test_any_whole_numbers_survive_packing(values: list[int]) -> None:
    packer = replay_data.Packer()
    packer.add("plain", np.array(values, np.int64), 0)
    packer.add("summed", np.array(values, np.int64) // 2)
    _, arrays = unpacked(packer.pack({}))
    assert arrays["plain"].tolist() == values
    assert arrays["summed"].tolist() == [value // 2 for value in values]


def test_controllers_are_named_for_readers() -> None:
    names = ["max_pressure", "my/file.py:Mine", "my/file.py:Mine:a=1", "language_model:adapter=runs/a_b,layers=6"]
    shown = ["max pressure", "Mine", "Mine (a=1)", "language model (adapter=runs/a_b,layers=6)"]
    assert [replay._label(name) for name in names] == shown


# --- which runs


def test_the_best_run_plays_beside_fixed_time_unless_told_otherwise(folder: Path) -> None:
    assert [one.run.controller.name for one in chosen(folder)] == ["greedy", "fixed_time"]
    assert [one.run.controller.name for one in chosen(folder, "fixed_time")] == ["fixed_time"]
    files = [next(folder.glob(f"*{name}*.result.json")) for name in ("fixed-time", "greedy")]
    named, _ = replay_choice.choose(files, Wish())
    assert {one.run.controller.name for one in named} == {"greedy", "fixed_time"}


def copied(folder: Path, to: Path, change: Callable[[RunResult], RunResult] = lambda run: run) -> Path:
    """The greedy run's files, its result changed."""
    (path,) = folder.glob("*greedy*.result.json")
    results.write(change(results.read(path)), to / path.name)
    shutil.copy(folder / path.name.replace(".result.json", ".trace.npz"), to)
    return to / path.name


def other_scenario(run: RunResult) -> RunResult:
    return run.model_copy(update={"scenario": run.scenario.model_copy(update={"name": "elsewhere"})})


BAD: dict[str, tuple[Wish, str]] = {
    "untraced": (
        Wish(controllers=("max_pressure",)),
        "No run of max_pressure on cologne1 has a trace; record one with",
    ),
    "unknown controller": (Wish(controllers=("greedyy",)), "no results for cologne1; did you mean 'greedy'"),
    "unknown scenario": (Wish(scenario="cologne8"), "Scenario 'cologne8' has no results here"),
    "unknown seed": (Wish(seed=7), "has no run with seed 7; choose one of 1"),
    "three": (Wish(controllers=("greedy", "fixed_time", "max_pressure")), "one or two runs, not 3"),
    "untraced of a seed": (Wish(seed=1, controllers=("max_pressure",)), "has no trace; record one with"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_choice_that_cannot_be_gets_a_sentence(folder: Path, name: str) -> None:
    wish, says = BAD[name]
    with pytest.raises(ReplayError, match=re.escape(says)):
        replay_choice.choose([folder], wish)


def test_results_without_any_trace_say_how_to_record_one(folder: Path, tmp_path: Path) -> None:
    shutil.copy(next(folder.glob("*max-pressure*.result.json")), tmp_path)
    with pytest.raises(ReplayError, match="None of these 1 runs has a trace; record one with 'greenloop run --trace'"):
        replay_choice.choose([tmp_path], Wish())
    assert run_cli("replay", str(tmp_path)) == 2


def test_empty_and_missing_folders_get_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ResultError, match="holds no results"):
        replay_choice.choose([tmp_path], Wish())
    with pytest.raises(ResultError, match="does not exist"):
        replay_choice.choose([tmp_path / "none"], Wish())
    assert run_cli("replay", str(tmp_path)) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("greenloop: ")
    assert "\n" not in said


def test_runs_of_two_seeds_or_scenarios_do_not_go_side_by_side(folder: Path, tmp_path: Path) -> None:
    one = next(folder.glob("*greedy*.result.json"))
    other = copied(folder, tmp_path, lambda run: run.model_copy(update={"seed": 2}))
    with pytest.raises(
        ReplayError, match="one scenario and one seed, not cologne1 with seed 1 and cologne1 with seed 2"
    ):
        replay_choice.choose([one, other], Wish())
    other = copied(folder, tmp_path, other_scenario)
    with pytest.raises(ReplayError, match="not cologne1 with seed 1 and elsewhere with seed 1"):
        replay_choice.choose([one, other], Wish())
    with pytest.raises(ReplayError, match="are of cologne1, elsewhere; choose one with --scenario"):
        replay_choice.choose([folder, tmp_path], Wish())


def test_controllers_without_a_common_seed_get_a_sentence(folder: Path, tmp_path: Path) -> None:
    def renamed(run: RunResult) -> RunResult:
        controller = run.controller.model_copy(update={"name": "sotl"})
        return run.model_copy(update={"seed": 2, "controller": controller})

    copied(folder, tmp_path, renamed)
    with pytest.raises(ReplayError, match=r"share no traced seed.*greedy: 1; sotl: 2"):
        replay_choice.choose([folder, tmp_path], Wish(controllers=("greedy", "sotl")))


def test_a_trace_of_another_run_is_told(folder: Path, tmp_path: Path) -> None:
    copied(folder, tmp_path, lambda run: run.model_copy(update={"seed": 2}))
    with pytest.raises(ReplayError, match="is of greedy on cologne1, seed 1, and not of its result"):
        replay_choice.choose([tmp_path], Wish())


def test_broken_and_lost_traces_get_a_sentence(folder: Path, tmp_path: Path) -> None:
    copied(folder, tmp_path)
    (path,) = tmp_path.glob("*.trace.npz")
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"hello"):
        path.write_bytes(content)
        with pytest.raises(TraceError, match=r"is truncated.* delete it and run its cell again with --trace"):
            replay_choice.choose([tmp_path], Wish())
    path.unlink()
    with pytest.raises(ReplayError, match="is not beside its result"):
        replay_choice.choose([tmp_path], Wish())


# --- films


def test_a_gif_shows_the_time_asked_for_and_moves(folder: Path, tmp_path: Path) -> None:
    made = replay.write_film([folder], tmp_path / "a.gif", span=Span(25260.0, 0.3))
    with Image.open(made.path) as film:
        assert film.n_frames == 9
        assert film.size[0] == replay_film.WIDTH_PX
        frames = []
        for number in (0, 8):
            film.seek(number)
            frames.append(np.array(film.convert("RGB")))
    assert (frames[0] != frames[1]).any(-1).mean() > 0.0005


def test_the_film_gives_the_credit(folder: Path) -> None:
    runs = chosen(folder, "greedy")
    drawn = []
    for licence in (osm.LICENCE, ""):
        about = runs[0].trace.about.model_copy(update={"licence": licence})
        one = replay_choice.Chosen(runs[0].run, trace.Trace(**{**vars(runs[0].trace), "about": about}))
        drawn.append(np.array(replay_film.Film([one], ["greedy"]).frame(25300)))
    differs = (drawn[0] != drawn[1]).any(-1)
    assert differs.any()
    assert differs[: -replay_film.FOOT_PX].sum() == 0  # only in the foot


def test_vehicles_point_where_they_drive(folder: Path) -> None:
    (one,) = chosen(folder, "greedy")
    vehicles, turn = one.trace.vehicles, replay_film.headings(one.trace)
    for v in range(len(vehicles.ids)):
        part = vehicles.of(v)
        x_m, y_m = np.diff(vehicles.x_m[part]), np.diff(vehicles.y_m[part])
        far = np.hypot(x_m, y_m) > 2
        assert np.allclose(np.cos(turn[part][:-1][far]), (x_m / np.hypot(x_m, y_m + 1e-12))[far], atol=1e-6)
        if far.any():
            still = turn[part]
            assert set(np.round(still, 6)) <= set(np.round(np.arctan2(y_m, x_m)[np.hypot(x_m, y_m) > 0.5], 6))


def test_an_mp4_is_written_where_its_library_is(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed")
    made = replay.write_film([folder], tmp_path / "a.mp4", Wish(controllers=("greedy",)), Span(25260.0, 0.2))
    assert made.path.read_bytes()[4:8] == b"ftyp"


FILMS: dict[str, tuple[list[str], str]] = {
    "ending": (["--gif", "a.mp4"], "--gif is a.mp4; give it a name that ends in .gif"),
    "no film": (["--minutes", "3"], "add --gif film.gif"),
    "time": (["--gif", "a.gif", "--begin", "12:00"], "lies outside"),
    "words": (["--gif", "a.gif", "--begin", "noon"], "The time 'noon' makes no sense"),
}


@pytest.mark.parametrize("name", FILMS)
def test_bad_films_get_a_sentence(
    folder: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, says = FILMS[name]
    assert run_cli("replay", str(folder), *arguments) == 2
    said = capsys.readouterr().err.strip()
    assert says in said
    assert "\n" not in said
    assert not list(tmp_path.iterdir())


def run_cli(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    return int(ended.value.code or 0)


def test_the_command_says_what_it_wrote(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("replay", str(folder), "--out", str(tmp_path / "p.html")) == 0
    assert re.search(r"p\.html \(0\.\d MB\): cologne1, seed 1, greedy beside fixed_time", capsys.readouterr().out)
    assert run_cli("replay", str(folder), "--controller", "greedy", "--json", "--out", str(tmp_path / "p.html")) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["controllers"] == ["greedy"]
    assert run_cli("replay", str(folder), "--out", str(tmp_path)) == 2
    assert "is a folder" in capsys.readouterr().err


# --- who made the map


def test_credits_of_licences() -> None:
    assert credit(osm.LICENCE) == f"{osm.CREDIT} 1.0"
    assert address(osm.LICENCE) == "https://www.openstreetmap.org/copyright"
    assert credit(registry.load("cologne1").licence) == osm.CREDIT
    assert credit("© Somebody, CC BY 4.0") == "© Somebody, CC BY 4.0"
    for plain in ("", "mine", "generated by greenloop; CC0"):
        assert credit(plain) == ""


def test_run_figures_of_such_a_map_show_the_credit(folder: Path, tmp_path: Path) -> None:
    drawn = plots.draw(folder, tmp_path, ["delay", "congestion"], formats=["pdf", "svg"])
    assert len(drawn) == 4
    runs = [results.read(path) for path in folder.glob("*.result.json")]
    figure = plots.REGISTRY["delay"].draw(plots.group_runs(runs, folder)["cologne1"], plots.Choice())
    plots._give_credit(figure, plots.group_runs(runs, folder)["cologne1"])
    assert f"{osm.CREDIT} 1.0" in [text.get_text() for text in figure.texts]
