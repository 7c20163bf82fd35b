"""The report's contents: recovery from incidents, published figures, provenance, data, and bad input."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cli import main as cli
from benchmarks.compare.pipeline import CompareError
from benchmarks.report import build as report
from benchmarks.report import incidents as report_incidents
from benchmarks.report import resco_published as report_published
from benchmarks.report.incidents import NEVER, RECOVERED, RUN_WITHOUT, STILL_ON, UNKNOWN, recovery
from benchmarks.results import run_result as results
from benchmarks.results.cases import Group, network_file
from benchmarks.results.run_result import RESULT_SUFFIX, ResultError, RunResult, Series
from tests.support.synthetic_results import make_network, make_result

BEGIN_S, END_S = 25200.0, 28800.0
INCIDENT = {"id": "crash-1", "type": "crash", "edge": "r1", "start_s": BEGIN_S + 900, "end_s": BEGIN_S + 1800}
BASES = {"greedy": 15.0, "max_pressure": 19.0, "fixed_time": 43.0}


def with_queue(queue_veh: list[float], incidents: tuple[dict[str, object], ...] = (INCIDENT,)) -> RunResult:
    """A run whose queue (halted vehicles) is given minute by minute."""
    run = make_result()
    time_s = tuple(BEGIN_S + 60 * minute for minute in range(len(queue_veh)))
    flat = tuple(0.0 for _ in time_s)
    series = {**dict.fromkeys(Series.model_fields, flat), "time_s": time_s, "halted_veh": tuple(queue_veh)}
    scenario = run.scenario.model_copy(update={"incidents": incidents})
    return run.model_copy(update={"series": Series(**series), "scenario": scenario})


def calm(run: RunResult) -> RunResult:
    """The run without incidents."""
    return run.model_copy(update={"scenario": run.scenario.model_copy(update={"incidents": ()})})


def written(folder: Path, runs: list[RunResult]) -> Path:
    for number, run in enumerate(runs):
        results.write(run, folder / f"{number}{RESULT_SUFFIX}")
    results.write(make_network(), network_file(folder, "b" * 64))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = [make_result(name, seed, base) for name, base in BASES.items() for seed in range(1, 7)]
    return written(tmp_path_factory.mktemp("results"), runs)


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    report.write([folder], folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


class Seen(HTMLParser):
    """Tags with their attributes in order, and whether every tag is closed in its place."""

    VOID = ("meta", "link", "br", "img", "wbr", "input", "hr")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, *names: str) -> list[tuple[str, dict[str, str | None]]]:
        return [(tag, attributes) for tag, attributes in self.tags if tag in names]


def download(page: str, name: str) -> str:
    found = re.search(rf'download="{name}" href="data:[^;]+;charset=utf-8;base64,([^"]+)"', page)
    assert found
    return base64.b64decode(found[1]).decode()


# Recovery from incidents


def test_a_queue_that_falls_back_after_the_incident_recovers_then() -> None:
    queue = [10.0] * 15 + [40.0] * 25 + [5.0] * 20  # incident in minutes 15 to 30, back at minute 40
    found = recovery(with_queue(queue), INCIDENT)
    assert found.state == RECOVERED
    assert found.reference == report_incidents.BEFORE
    # The mean over five minutes is below 10 only when all of its minutes are low: at minute 42.
    assert found.recovery_s == 60.0 * (42 - 30)
    assert found.extra_queue_veh == pytest.approx(30.0)


def test_the_run_without_incidents_is_the_reference_where_there_is_one() -> None:
    rising = [float(minute) for minute in range(60)]
    hit = with_queue([value + 20 * (15 <= minute < 35) for minute, value in enumerate(rising)])
    calm = with_queue(rising, incidents=())
    (alone,) = report_incidents.recoveries([hit])
    assert alone.state == NEVER  # the peak rises, so the level before the incident never comes back
    (found,) = report_incidents.recoveries([hit], [hit, calm])
    assert (found.state, found.reference) == (RECOVERED, RUN_WITHOUT)
    assert found.recovery_s == 60.0 * (37 - 30)


def test_the_run_without_incidents_must_be_the_same_run() -> None:
    hit, calm = with_queue([10.0] * 60), with_queue([10.0] * 60, incidents=())
    for other in (
        calm.model_copy(update={"seed": 2}),
        calm.model_copy(update={"timings": {"name": "clearance"}}),
        calm.model_copy(update={"controller": calm.controller.model_copy(update={"name": "sotl"})}),
        calm.model_copy(update={"scenario": calm.scenario.model_copy(update={"spec": {"demand": {"scale": 1.2}}})}),
    ):
        assert report_incidents.recoveries([hit], [other])[0].reference == report_incidents.BEFORE


def test_what_cannot_recover_says_so() -> None:
    late = {**INCIDENT, "end_s": END_S + 600}
    assert recovery(with_queue([10.0] * 60), late).state == STILL_ON
    assert recovery(with_queue([10.0] * 20 + [50.0] * 40), INCIDENT).state == NEVER
    first = {**INCIDENT, "start_s": BEGIN_S + 100}
    found = recovery(with_queue([10.0] * 60), first)
    assert found.state == UNKNOWN
    assert math.isnan(found.extra_queue_veh)


def test_a_queue_that_was_never_above_recovers_at_once() -> None:
    found = recovery(with_queue([10.0] * 60), INCIDENT)
    assert (found.recovery_s, found.extra_queue_veh) == (0.0, 0.0)


def test_incidents_after_the_run_are_not_counted() -> None:
    after = {**INCIDENT, "start_s": END_S + 60, "end_s": END_S + 120}
    assert report_incidents.recoveries([with_queue([1.0] * 60, incidents=(after,))]) == []


@given(
    st.lists(st.floats(0, 500), min_size=1, max_size=70),
    st.floats(BEGIN_S, END_S),
    st.floats(1, 4000),
)
def test_recoveries_hold_for_any_series(queue: list[float], start_s: float, lasts_s: float) -> None:
    incident = {**INCIDENT, "start_s": start_s, "end_s": start_s + lasts_s}
    found = recovery(with_queue(queue), incident)
    assert (found.recovery_s is not None) == (found.state == RECOVERED)
    if found.recovery_s is not None:
        assert 0 <= found.recovery_s <= 60 * len(queue)
    if not math.isnan(found.extra_queue_veh):
        assert 0 <= found.extra_queue_veh <= 500
        assert found.state != UNKNOWN
    lower = recovery(with_queue([min(value, 10.0) for value in queue]), incident)
    assert not lower.extra_queue_veh > max(max(queue), 0)


# RESCO


def test_published_figures_are_those_of_the_paper() -> None:
    found = report_published.published()
    assert len(found) == 8
    assert found["cologne1"]["fixed"] == 56.8
    assert found["ingolstadt21"]["idqn"] == 59.6
    assert "fixed" not in found["grid4x4"]  # RESCO publishes none
    assert "Ault" in report_published.FILE.read_text(encoding="utf-8")


def test_resco_runs_stand_beside_the_published_figures(tmp_path: Path) -> None:
    resco = {"name": "resco", "yellow_s": 3}
    runs = [
        calm(make_result(name, seed, base, timings=resco, metrics={"delay_resco_s": base + seed}, roads=None))
        for name, base in {"fixed_time": 43.0, "greedy:detection_m=50": 18.0, "mine.py:Mine": 30.0}.items()
        for seed in (1, 2, 3)
    ]
    report.write([written(tmp_path, runs)], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    table = page[page.index('id="resco-cologne1_resco"') :]
    table = re.sub("<[^>]+>", " ", table[: table.index("</table>")])
    words = " ".join(table.split())
    assert "18.5" in words  # our delay
    assert "20.0" in words  # its median by RESCO's definition
    assert "27.9 max wave" in words  # beside greedy
    assert "56.8 fixed time" in words
    assert "IDQN (published) SUMO 1.9 – – 26.1" in words
    assert "SUMO 1.9" in page
    assert "Ault and G. Sharon" in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"end_s": BEGIN_S + 600}, "measure 10 minutes and not an hour"),
        ({"demand_scale": 1.2}, "have 1.2 times the demand"),
        ({"incidents": (INCIDENT,)}, "have incidents"),
    ],
    ids=["short", "demand", "incidents"],
)
def test_runs_unlike_those_of_resco_have_no_published_figures_beside_them(
    changes: dict[str, object], words: str
) -> None:
    run = calm(make_result("greedy", timings={"name": "resco"}))
    assert report_published.part(Group("cologne1", "resco", (run,)), "cologne1") is not None
    other = run.model_copy(update={"scenario": run.scenario.model_copy(update=changes)})
    part = report_published.part(Group("cologne1", "resco", (other,)), "cologne1")
    assert part is not None
    assert not part.tables
    assert words in part.text[0]


def test_native_timings_have_no_published_figures_beside_them(page: str) -> None:
    assert "Ault and G. Sharon" not in page


# The page


def test_the_page_opens_with_the_answer_and_shows_every_part(page: str) -> None:
    order = [
        page.index(text) for text in ("The answer", "ranks first", 'id="overall-ranking"', 'id="ranking-cologne1"')
    ]
    assert order == sorted(order)
    for part in ("recovery-cologne1", "incidents-cologne1", "signals-cologne1", "files-cologne1", "controllers"):
        assert f'id="{part}"' in page
    for kind in ("delay", "over_time", "congestion", "incidents"):
        assert f'id="figure-cologne1-{kind}"' in page


def test_the_page_is_sound_html_with_unique_ids_and_links_that_lead_somewhere(page: str) -> None:
    seen = Seen(page)
    assert not seen.open
    ids = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [str(attributes["href"]) for _, attributes in seen.all("a") if attributes["href"]]
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert all(link.startswith(("#", "data:")) for link in links)
    used = re.findall(r'(?:url\(#|href="#)([^)"]+)', page)
    assert set(used) <= set(ids)


def test_nothing_is_fetched(page: str) -> None:
    fetching = [a for _, a in Seen(page).tags for key in ("src", "href", "xlink:href", "srcset") if a.get(key)]
    assert all(str(a.get("href") or a.get("xlink:href") or a.get("src")).startswith(("#", "data:")) for a in fetching)
    assert not re.search(r"@import|url\((?!#)", page)
    assert "default-src 'none'" in page


def test_headings_captions_and_texts_for_those_who_do_not_see(page: str) -> None:
    seen = Seen(page)
    levels = [int(tag[1]) for tag, _ in seen.all("h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    assert len(seen.all("caption")) == len(seen.all("table")) > 5
    svgs = [attributes for tag, attributes in seen.all("svg")]
    assert svgs
    assert all(a.get("role") == "img" and a.get("aria-label") for a in svgs)
    heads = seen.all("th")
    assert all(attributes.get("scope") in ("col", "row") for _, attributes in heads)


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2.2, 1.4.3)."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
        return float(
            np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
        )

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_contrast(page: str, theme: int) -> None:
    rules = re.findall(r":root \{(.*?)\}", page, re.S)[theme]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", rules))
    for paper in ("paper", "soft", "warm-soft"):
        for ink in ("ink", "quiet", "accent"):
            assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)


def test_names_are_shown_as_text_and_never_as_markup(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>.py:\"><script>alert('&')</script>"
    runs = [make_result(evil, seed, scenario_name="a <b> & 'c'", roads=None) for seed in (1, 2)]
    runs += [make_result("fixed_time", seed, 40.0, scenario_name="a <b> & 'c'", roads=None) for seed in (1, 2)]
    report.write([written(tmp_path, runs)], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    seen = Seen(page)
    assert not seen.open
    assert len(seen.all("script")) == 1
    assert not seen.all("img", "b")
    assert "</script><" not in download(page, "greenloop-runs.csv").replace(evil, "").replace('""', '"')


# Provenance and data


def test_every_number_leads_to_its_files_and_every_file_is_named_with_its_hash(page: str, folder: Path) -> None:
    files = sorted(folder.glob(f"*{RESULT_SUFFIX}"))
    assert len(files) == 18
    plain = page.replace("<wbr>", "")
    for path in files:
        assert path.name in plain
        assert hashlib.sha256(path.read_bytes()).hexdigest()[:12] in page
    assert "greenloop 0.1.0, SUMO 1.28.0 and Python 3.11.7" in page
    assert len(re.findall(r'<a href="#runs-cologne1-\d">6 runs</a>', page)) == 3


def test_the_downloads_hold_every_run_with_its_provenance(page: str, folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(download(page, "greenloop-runs.csv"))))
    assert len(rows) == 18
    by_file = {row["file"]: row for row in rows}
    path = folder / f"0{RESULT_SUFFIX}"
    assert by_file[path.name]["file_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert float(by_file[path.name]["delay_s"]) == results.read(path).metrics["delay_s"]
    assert by_file[path.name]["emergency_delay_s"] == ""  # unknown, not 0
    whole = json.loads(download(page, "greenloop-report.json"))
    assert len(whole["runs"]) == 18
    assert whole["runs"][0]["series"]["halted_veh"]
    assert len(whole["recoveries"]) == 36
    assert whole["comparison"]["baseline"] == "fixed_time"


def test_runs_that_the_statistics_leave_out_are_shown_as_such(tmp_path: Path) -> None:
    runs = [make_result(name, seed, base, roads=None) for name, base in BASES.items() for seed in (1, 2, 3)]
    folder = written(tmp_path, [*runs, make_result("greedy", 4, 15.0, roads=None)])
    made = report.write([folder], tmp_path / "report.html")
    assert any("seeds are missing" in problem for problem in made.problems)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    table = page[page.index('id="files-cologne1"') :]
    table = table[: table.index("</table>")]
    assert table.count(">no</td>") == 1
    assert table.count(">yes</td>") == 9


def test_the_baseline_can_be_chosen(folder: Path, tmp_path: Path) -> None:
    report.write([folder], tmp_path / "report.html", "greedy")
    assert "Against greedy" in (tmp_path / "report.html").read_text(encoding="utf-8").replace("<wbr>", "")


def test_one_run_alone_makes_a_page(tmp_path: Path) -> None:
    run = make_result("mine.py:Mine", roads=None)
    scenario = run.scenario.model_copy(update={"incidents": ()})
    written(tmp_path, [run.model_copy(update={"scenario": scenario, "suite": None, "git": None})])
    report.write([tmp_path / f"0{RESULT_SUFFIX}"], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "only one controller" in page
    assert "Incidents and recovery" not in page
    assert not Seen(page).open


# Bad input: one sentence each


def bad_places(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    places = {name: tmp_path / name for name in ("empty", "foreign", "version", "cut", "none")}
    for name in ("empty", "foreign", "version", "cut"):
        places[name].mkdir()
    (places["foreign"] / "notes.json").write_text("{}")
    (places["foreign"] / f"x{RESULT_SUFFIX}").write_text('{"a": 1}')
    data = json.loads(written(tmp_path / "good", [make_result()]).joinpath(f"0{RESULT_SUFFIX}").read_text())
    (places["version"] / f"x{RESULT_SUFFIX}").write_text(json.dumps({**data, "schema_version": 99}))
    (places["cut"] / f"x{RESULT_SUFFIX}").write_text(json.dumps(data)[:300])
    (places["cut"] / f"y{RESULT_SUFFIX}").write_text("")
    return {
        "empty": (places["empty"], r"empty holds no results \(\*\.result\.json\); give the folder"),
        "foreign": (places["foreign"], r"x\.result\.json is not a greenloop result: it has no schema_version"),
        "version": (places["version"], r"x\.result\.json has schema version 99, this greenloop reads 1"),
        "cut": (places["cut"], r"None of 2 results in .*cut can be used: .*x\.result\.json is truncated"),
        "none": (places["none"], r"none does not exist; give the folder"),
    }


@pytest.mark.parametrize("case", ["empty", "foreign", "version", "cut", "none"])
def test_unusable_places_get_one_sentence(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, sentence = bad_places(tmp_path)[case]
    with pytest.raises(SystemExit) as left:
        cli.main(["report", str(place), "--out", str(tmp_path / "report.html")])
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert re.search(sentence, said)
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "report.html").exists()


def test_a_bad_file_among_good_ones_is_named_on_the_page(tmp_path: Path) -> None:
    folder = written(tmp_path, [make_result(name, 1, base, roads=None) for name, base in BASES.items()])
    (folder / f"bad{RESULT_SUFFIX}").write_text("{")
    (folder / "x.failed.json").write_text(
        json.dumps({"scenario": "cologne1", "controller": "sotl", "seed": 3, "problem": "It raised ValueError."})
    )
    (folder / "y.failed.json").write_text("[")
    made = report.write([folder], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8").replace("<wbr>", "")
    for told in (page, " ".join(made.problems)):
        assert "bad.result.json is truncated" in told
        assert "cologne1, sotl, seed 3: It raised ValueError." in told
        assert "y.failed.json cannot be read" in told


def test_places_for_the_page_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultError, match=r"cannot be written to .*file.*choose another --out"):
        report.write([folder], tmp_path / "file" / "report.html")
    with pytest.raises(ResultError, match=r"is a folder; give --out a file"):
        report.write([folder], tmp_path)


def test_a_baseline_without_results_gets_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CompareError, match="'greddy' has no results; did you mean 'greedy'"):
        report.write([folder], tmp_path / "report.html", "greddy")


def test_the_command_tells_the_answer_and_the_page(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["report", str(folder), "--out", str(tmp_path / "page.html"), "--json"])
    assert left.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert "ranks first" in said["answer"][0]
    assert Path(said["report"]).stat().st_size > 50_000
