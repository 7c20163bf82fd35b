"""The report in a real browser: no error, no request, tables that sort by click and key, data that can be saved."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.report import build as report
from tests.benchmarks.report.test_build import BASES, written
from tests.support.browser import needs_browser, started
from tests.support.synthetic_results import make_result

pytestmark = [pytest.mark.slow, needs_browser]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the browser saves downloads."""
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory, saved: Path) -> Iterator[Any]:
    with started(tmp_path_factory.mktemp("profile")) as driver:
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(saved)})
        yield driver


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    names = {**BASES, "mine.py:Mine": 12.0, "greedy:detection_m=50,switch_margin_veh=0": 101.0}
    runs = [make_result(name, seed, base, roads=None) for name, base in names.items() for seed in (1, 2)]
    report.write([written(folder, runs)], folder / "report.html")
    return folder / "report.html"


def opened(driver: Any, page: Path, width: int = 1200, **features: str) -> Any:
    """The page at some width and with some media features, freshly loaded."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wanted = {"prefers_reduced_motion": "reduce", **features}  # else clicks hit a page that is still scrolling
    media = [{"name": name.replace("_", "-"), "value": value} for name, value in wanted.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    driver.get(page.as_uri())
    return driver


def column(driver: Any, table: str, place: int) -> list[str]:
    script = (
        "return [...document.getElementById(arguments[0]).tBodies[0].rows].map(r => r.cells[arguments[1]].innerText)"
    )
    found: list[str] = driver.execute_script(script, table, place)
    return found


def head(driver: Any, table: str, place: int) -> Any:
    return driver.find_elements("css selector", f"#{table} thead th")[place]


def test_no_error_and_no_request_leaves_the_page(driver: Any, page: Path) -> None:
    driver.get_log("performance")
    opened(driver, page)
    assert driver.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in asked  # the log works
    assert [url for url in asked if not url.startswith(("data:", "chrome:")) and url != page.as_uri()] == []


def test_tables_sort_by_click(driver: Any, page: Path) -> None:
    opened(driver, page)
    delays = [float(text.split()[0]) for text in column(driver, "ranking-cologne1", 2)]
    assert delays == sorted(delays)
    button = head(driver, "ranking-cologne1", 2).find_element("tag name", "button")
    button.click()
    assert head(driver, "ranking-cologne1", 2).get_attribute("aria-sort") == "ascending"
    button.click()
    assert head(driver, "ranking-cologne1", 2).get_attribute("aria-sort") == "descending"
    turned = [float(text.split()[0]) for text in column(driver, "ranking-cologne1", 2)]
    assert turned == sorted(delays, reverse=True)  # as numbers: 101 before 43
    assert turned[0] > 100


def test_tables_sort_by_key_and_say_so(driver: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    opened(driver, page)
    button = head(driver, "ranking-cologne1", 0).find_element("tag name", "button")
    button.send_keys(Keys.ENTER)
    names = column(driver, "ranking-cologne1", 0)
    assert names == sorted(names, key=str.lower)
    button.send_keys(Keys.SPACE)
    assert column(driver, "ranking-cologne1", 0) == names[::-1]
    told = driver.find_element("id", "told").get_attribute("textContent")
    assert told == "Sorted by Controller, descending."
    other = head(driver, "ranking-cologne1", 1).find_element("tag name", "button")
    other.send_keys(Keys.ENTER)
    assert head(driver, "ranking-cologne1", 0).get_attribute("aria-sort") is None  # one column at a time


def test_what_is_missing_stays_last(driver: Any, page: Path) -> None:
    opened(driver, page)
    button = head(driver, "ranking-cologne1", 3).find_element("tag name", "button")
    for _ in range(2):
        button.click()
        assert column(driver, "ranking-cologne1", 3)[-1] == "–"  # the baseline has no difference to itself


def test_links_lead_to_their_sections_and_runs(driver: Any, page: Path) -> None:
    opened(driver, page)
    for link in driver.find_elements("css selector", "main a[href^='#'], nav a"):
        target = driver.execute_script("return document.getElementById(arguments[0].hash.slice(1)) !== null", link)
        assert target, link.get_attribute("href")
    driver.find_element("css selector", "#ranking-cologne1 tbody a").click()
    row = driver.execute_script("return document.querySelector(':target').innerText")
    assert "Mine" in row  # the first of the ranking


def test_the_first_key_reaches_the_skip_link(driver: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    opened(driver, page)
    driver.find_element("tag name", "body").send_keys(Keys.TAB)
    assert driver.execute_script("return document.activeElement.innerText") == "Skip to the results"
    assert driver.execute_script("return document.activeElement.getBoundingClientRect().left") >= 0


def test_downloads_hold_the_data(driver: Any, page: Path, saved: Path) -> None:
    opened(driver, page)
    for link in driver.find_elements("css selector", ".downloads a"):
        link.click()
    files = [saved / "greenloop-runs.csv", saved / "greenloop-report.json"]
    until_s = time.monotonic() + 20
    while not all(path.exists() for path in files) and time.monotonic() < until_s:
        time.sleep(0.1)
    assert files[0].read_text(encoding="utf-8").count("\n") == 1 + 10
    assert len(json.loads(files[1].read_text(encoding="utf-8"))["runs"]) == 10
    assert driver.get_log("browser") == []


@pytest.mark.parametrize("width", [320, 375, 768, 1200])
def test_no_width_scrolls_sideways(driver: Any, page: Path, width: int) -> None:
    opened(driver, page, width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width


def test_dark_and_light_follow_the_reader(driver: Any, page: Path) -> None:
    script = "return getComputedStyle(document.body).backgroundColor"
    assert opened(driver, page, prefers_color_scheme="light").execute_script(script) == "rgb(255, 255, 255)"
    assert opened(driver, page, prefers_color_scheme="dark").execute_script(script) == "rgb(20, 24, 28)"


def test_print_hides_what_only_a_screen_needs(driver: Any, page: Path) -> None:
    opened(driver, page)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    shown = driver.execute_script("return getComputedStyle(document.querySelector('nav')).display")
    wide = driver.execute_script("return getComputedStyle(document.querySelector('.scroll')).overflowX")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert (shown, wide) == ("none", "visible")
