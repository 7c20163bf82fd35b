"""A replay in a real browser: it plays, scrubs, keeps in step, shows the clicked signal, and logs no error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.replay import build as replay
from benchmarks.replay import choice as replay_choice
from benchmarks.replay.choice import Chosen, Wish
from benchmarks.replay.data import Frame
from benchmarks.results import run_result as results
from benchmarks.run import matrix
from benchmarks.run.cell import Cell
from benchmarks.run.progress import SweepProgress
from benchmarks.trace import trace_file as trace
from scenarios import registry
from scenarios.osm import importer as osm
from scenarios.spec import Crash
from tests.support.browser import needs_browser, started

pytestmark = [pytest.mark.slow, needs_browser]
CRASH = Crash(edge="23429231#1", lanes=(0,), start_s=60, duration_s=120)
BEGIN_S, END_S = 25200, 25200 + 240
NOTE = {
    "why": "Phase B, because <b>many</b> wait there.",
    "scores": [0.0, 2.0],
    "prompt": "change5\nred go2 queue12 next7 A\ngreen12 go1 queue0 next3 B\nBest phase:",
    "forecast": {"A": 7, "B": 3},
}


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with started(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> list[Chosen]:
    """Greedy, whose decisions got notes, beside fixed time; past a crash, on a map that asks for a credit."""
    out = tmp_path_factory.mktemp("results")
    incidents = [CRASH.model_dump()]
    scenario = registry.load("cologne1").with_(end_s=END_S, incidents=incidents, licence=osm.LICENCE)
    with SweepProgress(quiet=True) as progress:
        cells = [Cell(scenario, name, 1, trace=True) for name in ("greedy", "fixed_time")]
        assert not matrix.run(cells, out, 1, progress).failed
    greedy, fixed = replay_choice.choose([out], Wish())[0]
    decisions = greedy.trace.decisions
    noted = trace.Decisions(**{**vars(decisions), "notes": (NOTE,) * len(decisions.time_s)})
    return [Chosen(greedy.run, trace.Trace(**{**vars(greedy.trace), "decisions": noted})), fixed]


@pytest.fixture(scope="module")
def page(chosen: list[Chosen], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "replay.html"
    results.write_text(path, replay.render(chosen))
    return path


def until(asked: Callable[[], object], seconds: float = 30.0) -> Any:
    """What ``asked`` gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := asked()):
        assert time.monotonic() < end, "the page did not get there"
        time.sleep(0.05)
    return found


def opened(driver: Any, page: Path, address: str = "", width: int = 1200, dark: bool = False) -> Any:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    driver.get("about:blank")  # else only the part after # changes
    driver.get(page.as_uri() + address)
    until(lambda: driver.execute_script("return !!window.replay && !replay.dirty"))
    return driver


def text(driver: Any, selector: str) -> str:
    return str(driver.find_element("css selector", selector).get_property("textContent"))


def seek(driver: Any, time_s: float) -> None:
    driver.execute_script("replay.seek(arguments[0])", time_s)
    until(lambda: driver.execute_script("return !replay.dirty"))


def press(driver: Any, keys: str) -> None:
    driver.find_element("tag name", "body").send_keys(keys)


def ink(driver: Any, canvas: int, colour: str) -> int:
    """Pixels of one of the page's colours on a canvas."""
    script = """
        const canvas = document.querySelectorAll("canvas")[arguments[0]];
        const probe = document.createElement("canvas").getContext("2d");
        probe.fillStyle = replay.colours[arguments[1]]; probe.fillRect(0, 0, 1, 1);
        const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let found = 0;
        for (let k = 0; k < data.length; k += 4)
            found += data[k + 3] > 250 && data[k] === r && data[k + 1] === g && data[k + 2] === b;
        return found;"""
    return int(driver.execute_script(script, canvas, colour))


def test_no_error_and_no_request_leaves_the_page(driver: Any, page: Path) -> None:
    import json

    driver.get_log("performance")
    opened(driver, page, "#t=07:02:00")
    assert driver.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    inside = ("data:", "blob:", "chrome:", "about:")
    assert any(url.startswith(page.as_uri()) for url in asked)  # the log works
    assert [url for url in asked if not url.startswith((*inside, page.as_uri()))] == []


def test_it_plays_and_pauses_and_ends(driver: Any, page: Path) -> None:
    opened(driver, page)
    assert text(driver, "#clock") == "07:00:00"
    driver.find_element("id", "play").click()
    until(lambda: driver.execute_script("return replay.time_s") > BEGIN_S + 5)
    driver.find_element("id", "play").click()
    stopped = driver.execute_script("return replay.time_s")
    time.sleep(0.3)
    assert driver.execute_script("return replay.time_s") == stopped
    seek(driver, END_S - 2)
    press(driver, " ")
    until(lambda: not driver.execute_script("return replay.playing"))
    assert driver.execute_script("return replay.time_s") == END_S
    assert text(driver, "#clock") == "07:04:00"


def test_speeds_change_how_fast_it_plays(driver: Any, page: Path) -> None:
    opened(driver, page)
    assert driver.execute_script("return replay.speed") == 10
    press(driver, ".")
    assert driver.execute_script("return [replay.speed, document.getElementById('speed').value]") == [30, "30"]
    press(driver, ",,")
    assert driver.execute_script("return replay.speed") == 5


def test_the_slider_and_keys_scrub(driver: Any, page: Path) -> None:
    opened(driver, page)
    script = "const s = document.getElementById('scrub'); s.value = 25300; s.dispatchEvent(new Event('input'))"
    driver.execute_script(script)
    until(lambda: text(driver, "#clock") == "07:01:40")
    press(driver, "\ue014")  # right
    until(lambda: text(driver, "#clock") == "07:01:50")
    press(driver, "\ue012")  # left
    until(lambda: text(driver, "#clock") == "07:01:40")


@pytest.mark.parametrize("second", [25230, 25300, 25411])
def test_both_runs_are_shown_at_the_same_second_as_traced(
    driver: Any, page: Path, chosen: list[Chosen], second: int
) -> None:
    opened(driver, page)
    seek(driver, second)
    for number, one in enumerate(chosen):
        vehicles = one.trace.vehicles
        rows = vehicles.at(second)
        traffic = [k for k in rows if vehicles.types[vehicles.vehicle[k]] != "greenloop.prop"]
        assert int(text(driver, f".run-{number} .driving b")) == len(traffic)
        standing = sum(vehicles.speed_mps[k] < 0.1 for k in traffic)
        assert int(text(driver, f".run-{number} .standing b")) == standing
        delay_s = one.trace.journeys.delay_s(second)
        assert float(text(driver, f".run-{number} .delay b")) == pytest.approx(delay_s, abs=2.0)  # every 5 s
        (name,) = one.trace.about.signals
        shown = driver.execute_script("return replay.runs[arguments[0]].light(0, arguments[1]).state", number, second)
        assert shown == one.trace.signals[name].at(second)
        places = driver.execute_script(
            "const run = replay.runs[arguments[0]]; return [...run.at(arguments[1])].map((k) => [run.x[k], run.y[k]])",
            number,
            second,
        )
        frame = Frame(chosen[0].trace)
        mine = zip(frame.x_dm(vehicles.x_m[rows]).tolist(), frame.y_dm(vehicles.y_m[rows]).tolist(), strict=True)
        assert sorted(map(tuple, places)) == sorted(mine)


def test_two_runs_stay_in_step_while_playing(driver: Any, page: Path) -> None:
    opened(driver, page)
    driver.find_element("id", "play").click()
    for _ in range(5):
        time.sleep(0.2)
        drawn = driver.execute_script(
            "return [...replay.maps.map((map) => map.drawnSecond), Math.floor(replay.time_s)]"
        )
        assert len(set(drawn)) == 1
    assert driver.execute_script("return replay.time_s") > BEGIN_S


def test_vehicles_lights_queues_and_the_crash_are_drawn(driver: Any, page: Path) -> None:
    opened(driver, page, "#t=07:02:10")
    assert ink(driver, 0, "street") > 500
    for canvas in (1, 3):
        assert ink(driver, canvas, "moving") + ink(driver, canvas, "standing") > 30
        assert ink(driver, canvas, "red") > 5
        assert ink(driver, canvas, "incident") > 20
    seek(driver, 25210)
    assert ink(driver, 1, "incident") == 0  # not yet


def test_vehicles_move_between_two_seconds(driver: Any, page: Path) -> None:
    opened(driver, page)
    pictures = []
    for moment in (25300.0, 25300.5):
        seek(driver, moment)
        pictures.append(driver.execute_script("return document.querySelectorAll('canvas')[1].toDataURL()"))
    assert pictures[0] != pictures[1]


def click_signal(driver: Any) -> None:
    from selenium.webdriver import ActionChains

    script = """
        const map = replay.maps[0], box = map.element.getBoundingClientRect();
        const [x, y] = replay.view.toScreen(...replay.header.signals[0].at, map.width, map.height);
        return [x - box.width / 2, y - box.height / 2];"""
    x, y = driver.execute_script(script)
    element = driver.find_elements("css selector", ".map")[0]
    ActionChains(driver).move_to_element_with_offset(element, round(x), round(y)).click().perform()


def test_a_click_on_a_signal_shows_what_it_does_and_why(driver: Any, page: Path, chosen: list[Chosen]) -> None:
    driver.get_log("browser")  # the tests themselves read pixels, which earns a warning
    opened(driver, page, "#t=07:02:11")
    assert not driver.find_element("id", "side").is_displayed()
    click_signal(driver)
    assert driver.find_element("id", "side").is_displayed()
    (name,) = chosen[0].trace.about.signals
    said = driver.find_element("id", "side").text
    assert name in said
    assert NOTE["why"] in said  # as text: its tags are no tags
    assert "Forecast: A 7; B 3" in said
    assert "forecast: 7 vehicles within a minute" in said
    assert "88 %" in said  # softmax of 2 and 0
    assert "the signal's own program runs" in said  # fixed time decides nothing
    decisions = chosen[0].trace.decisions
    row = np.flatnonzero(decisions.time_s <= 25331)[-1]
    moment = time.strftime("%H:%M:%S", time.gmtime(int(decisions.time_s[row])))
    assert f"Decision at {moment}: phase {'ABCDEF'[decisions.phase[row]]}" in said
    phases = driver.find_elements("css selector", "#side li.phase")
    assert len(phases) == len(chosen[0].trace.about.signals[name].phases)
    waits = driver.find_elements("css selector", "#side tbody tr")
    assert len(waits) == len({link.from_road for link in chosen[0].trace.about.signals[name].links})
    press(driver, "\ue00c")  # escape
    assert not driver.find_element("id", "side").is_displayed()
    assert driver.get_log("browser") == []


def test_waits_are_those_of_the_trace(driver: Any, page: Path, chosen: list[Chosen]) -> None:
    opened(driver, page)
    vehicles = chosen[1].trace.vehicles
    for second in (25290, 25380):
        longest = 0
        for k in vehicles.at(second):
            if vehicles.types[vehicles.vehicle[k]].startswith("greenloop.prop") or vehicles.speed_mps[k] >= 0.1:
                continue
            part = vehicles.of(int(vehicles.vehicle[k]))
            moving = np.flatnonzero(vehicles.speed_mps[part.start : k + 1] >= 0.1)
            longest = max(longest, k - part.start - (int(moving[-1]) if moving.size else -1))
        script = "return replay.runs[1].waits(replay.streets, arguments[0]).longest_s"
        every = "replay.streets = [...Array(replay.maps[0].streets.lanes.length).keys()];"
        assert driver.execute_script(every + script, second) == longest


def test_signals_can_be_reached_by_keyboard(driver: Any, page: Path) -> None:
    opened(driver, page)
    press(driver, "n")
    assert driver.find_element("id", "side").is_displayed()
    press(driver, "?")
    assert driver.find_element("id", "help").is_displayed()
    press(driver, "\ue00c")


def test_zoom_and_pan_move_both_maps(driver: Any, page: Path) -> None:
    opened(driver, page)
    before = driver.execute_script("return [replay.view.scale, replay.view.x]")
    press(driver, "+")
    driver.find_elements("css selector", ".map")[1].send_keys("\ue014")  # right
    after = driver.execute_script("return [replay.view.scale, replay.view.x]")
    assert after[0] == pytest.approx(1.5 * before[0])
    assert after[1] > before[1]
    driver.find_element("id", "fit").click()
    assert driver.execute_script("return [replay.view.scale, replay.view.x]") == pytest.approx(before)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_cut_off_on_any_screen(driver: Any, page: Path, width: int, dark: bool) -> None:
    driver.get_log("browser")
    opened(driver, page, "#t=07:02:00", width, dark)
    wide = driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]
    for map_ in driver.find_elements("css selector", ".map"):
        assert map_.size["height"] > 120
        assert osm.CREDIT in map_.find_element("class name", "credit").text
    for control in driver.find_elements("css selector", "footer button, footer select, header button"):
        box = control.rect
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= 800
    press(driver, "n")
    side = driver.find_element("id", "side").rect
    assert side["x"] >= 0
    assert side["x"] + side["width"] <= width
    assert side["height"] > 200
    assert driver.get_log("browser") == []


def test_an_old_browser_gets_a_sentence(driver: Any, page: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.html"
    old.write_text(page.read_text().replace("<head>", "<head><script>delete window.DecompressionStream</script>", 1))
    driver.get(old.as_uri())
    until(lambda: "too old" in driver.find_element("id", "failed").text)
    cut = tmp_path / "cut.html"
    whole = page.read_text()
    at = whole.index('id="data">') + 10
    cut.write_text(whole[: at + 4000] + whole[whole.index("</script>", at) :])
    driver.get(cut.as_uri())
    until(lambda: "cannot be read" in driver.find_element("id", "failed").text)
    driver.get_log("browser")


def test_a_thousand_vehicles_are_drawn_fast(driver: Any, chosen: list[Chosen], tmp_path: Path) -> None:
    """In the page's processor time, which other load does not change: 60 frames a second leave 16 ms for each."""
    (one,) = chosen[:1]
    results.write_text(tmp_path / "many.html", replay.render([Chosen(one.run, crowded(one.trace, 1000))]))
    opened(driver, tmp_path / "many.html", "#t=07:02:00")
    assert int(text(driver, ".driving b")) == 1000
    driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})

    def spent_s() -> float:
        found = driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return float({metric["name"]: metric["value"] for metric in found}["ThreadTime"])

    before_s = spent_s()
    driver.execute_script("for (let k = 0; k < 100; k++) { replay.time_s += 0.1; replay.draw(); }")
    assert 0.005 < spent_s() - before_s < 100 * 0.016


def crowded(run: trace.Trace, count: int) -> trace.Trace:
    """The run's first vehicle so many times, each a little apart, for four minutes."""
    vehicles, seconds = run.vehicles, np.arange(BEGIN_S, END_S)
    x_m, y_m = vehicles.x_m[vehicles.of(0)], vehicles.y_m[vehicles.of(0)]
    step = np.abs((np.arange(count)[:, None] + np.arange(len(seconds))) % (2 * len(x_m) - 2) - len(x_m) + 1)
    moved = np.arange(count)[:, None] % 40 * 3.0
    many = trace.Vehicles(
        ids=tuple(f"v{k}" for k in range(count)),
        types=(vehicles.types[0],) * count,
        first=np.arange(count + 1) * len(seconds),
        time_s=np.tile(seconds, count),
        lane=np.zeros(count * len(seconds), np.int64),
        position_m=np.zeros(count * len(seconds)),
        speed_mps=np.full(count * len(seconds), 5.0),
        x_m=(x_m[step] + moved).ravel(),
        y_m=(y_m[step] + moved).ravel(),
    )
    return trace.Trace(**{**vars(run), "vehicles": many})
