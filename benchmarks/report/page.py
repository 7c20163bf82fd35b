"""The page of a report: what it says, in which order, and its HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from benchmarks.compare.comparison import BEST, Case, Comparison
from benchmarks.report import data as report_data
from benchmarks.report import figures as report_figures
from benchmarks.report import resco_published as report_published
from benchmarks.report import tables as report_tables
from benchmarks.report.data import Sources
from benchmarks.report.incidents import BEFORE, RUN_WITHOUT, Recovery
from benchmarks.report.parts import Page, Part, Section, listed, plural, slug, some
from benchmarks.results import provenance
from benchmarks.results.cases import Group
from benchmarks.results.run_result import RunResult

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Chapter:
    """One case with its runs: those of the statistics, all that were found, and the recoveries of the former."""

    case: Case
    group: Group
    every: Group
    recoveries: tuple[Recovery, ...]


def render(page: Page) -> str:
    """The page as HTML; everything that comes from results is escaped."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["breakable"] = _breakable
    own = {kind: Markup((FOLDER / f"page.{kind}").read_text(encoding="utf-8")) for kind in ("css", "js")}
    return environment.get_template("page.html").render(page=page, **own)


def _breakable(words: str) -> Markup:
    """Text that may break after the signs inside names and specifications."""
    return Markup(re.sub(r"(__|_(?=[a-z])|[:,=/](?=[^\W\d]))", r"\1<wbr>", str(escape(words))))


def build(sources: Sources, compared: Comparison, chapters: Sequence[Chapter]) -> Page:
    """Everything that the page says."""
    runs = [run for chapter in chapters for run in chapter.group.runs]
    used = {id(run) for run in runs}
    recoveries = [entry for chapter in chapters for entry in chapter.recoveries]
    return Page(
        title=_title(compared),
        answer=compared.sentences[:2],
        details=compared.sentences[2:],
        warnings=(*_cautions(compared, chapters), *compared.problems, *sources.problems),
        sections=(*_overall(compared, runs), *(_section(compared, chapter) for chapter in chapters)),
        baseline=_baseline(compared),
        gridlock=compared.gridlock,
        has_incidents=bool(recoveries),
        has_resco=any(chapter.case.timings == "resco" for chapter in chapters),
        notes=compared.notes,
        provenance=report_data.provenance(sources),
        provenance_tables=(
            report_data.controllers_table(sources),
            *(report_data.provenance_table(sources, chapter.every, chapter.case.name, used) for chapter in chapters),
        ),
        downloads=report_data.downloads(sources, compared, recoveries),
        sources=f"{plural(len(sources.found), 'result file')} in {listed([place.name for place in sources.places])}",
        made=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        version=provenance.versions().get("greenloop", "?"),
    )


def _title(compared: Comparison) -> str:
    controllers = list(dict.fromkeys(row.controller for row in compared.rows))
    scenarios = list(dict.fromkeys(case.scenario for case in compared.cases))
    where = listed(scenarios) if len(scenarios) <= 3 else plural(len(scenarios), "scenario")
    return f"Delay at traffic signals: {plural(len(controllers), 'controller')} on {where}"


def _cautions(compared: Comparison, chapters: Sequence[Chapter]) -> list[str]:
    """What a reader must know about these runs before believing a difference."""
    every = [case.name for case in compared.cases]

    def where(names: Sequence[str]) -> str:
        return "everywhere" if len(names) == len(every) > 1 else f"on {some(names)}"

    short = [case.name for case in compared.cases if case.minutes < 60]
    few = [case.name for case in compared.cases if len(case.seeds) < 5]
    said = []
    if short:
        said.append(f"Less than an hour was measured {where(short)}: such runs are a demonstration, not a benchmark.")
    if few:
        said.append(f"Fewer than five seeds {where(few)}: intervals are wide, and one jammed run moves every mean.")
    if any(run.git and run.git.dirty for chapter in chapters for run in chapter.group.runs):
        said.append("Some runs come from a checkout with changes that were not committed.")
    return said


def _overall(compared: Comparison, runs: Sequence[RunResult]) -> tuple[Section, ...]:
    if not compared.overall:
        return ()
    inside = [case.name for case in compared.cases if case.in_overall]
    lead = (
        f"Over {listed(inside)}. A score of 0.8 means 0.8 times the delay of {_baseline(compared)} on the same "
        "scenario and seed. The middle half of the runs counts, so one jam neither makes nor breaks a controller.",
    )
    drawings = report_figures.of_comparison(Group("all scenarios", "", tuple(runs)), compared.baseline)
    part = Part("", (), (report_tables.overall(compared),), tuple(drawings))
    return (Section("overall", "Over all scenarios" if len(inside) > 1 else "Overall", lead, (part,)),)


def _baseline(compared: Comparison) -> str:
    return "the best classical controller" if compared.baseline == BEST else compared.baseline


def _section(compared: Comparison, chapter: Chapter) -> Section:
    case, group = chapter.case, chapter.group
    links = {
        (case.name, who): f"#{report_data.run_anchor(case.name, place)}"
        for place, who in enumerate(chapter.every.controllers)
    }
    resco = report_published.part(group, case.name)
    drawings = tuple(report_figures.of_group(group, case.name))
    tables = (report_tables.ranking(compared, case, links), *report_tables.road_users(compared, case))
    parts = [Part("", (), tables, drawings)]
    parts += [resco] if resco is not None else []
    parts += _incidents(chapter) if chapter.recoveries else ()
    parts.append(Part("Further measures", (), report_tables.measures(group, case.name, compared.of(case.name))))
    return Section(slug(f"case-{case.name}"), title(case, compared, group), _lead(case, group), tuple(parts))


def title(case: Case, compared: Comparison, group: Group) -> str:
    """The name of a case, its minutes and whether it has incidents; where two read alike, how many it has."""
    twins = [other for other in compared.cases if other.title == case.title]
    return case.title if len(twins) == 1 else f"{case.title}: {_incident_words(group)}"


def _lead(case: Case, group: Group) -> tuple[str, ...]:
    scenario = group.runs[0].scenario
    description = str(scenario.spec.get("description", "")).strip()
    what = f"{description[0].upper()}{description[1:]}. " if description else ""
    said = (
        f"{what}{case.minutes:g} minutes measured, {plural(len(case.seeds), 'seed')} "
        f"({listed([str(seed) for seed in case.seeds])}), demand × {scenario.demand_scale:g}, "
        f"{_incident_words(group)}; {case.versions}."
    )
    apart = () if case.in_overall else ("This case is not in the overall ranking.",)
    return (said, f"Signal timings: {case.timings_text}.", *apart)


def _incident_words(group: Group) -> str:
    counts = sorted({len(run.scenario.incidents) for run in group.runs})
    if counts == [0]:
        return "no incidents"
    between = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{between} incident{'' if counts == [1] else 's'} a run"


def _incidents(chapter: Chapter) -> tuple[Part, Part]:
    case, group, found = chapter.case, chapter.group, chapter.recoveries
    known = {
        RUN_WITHOUT: "the queue of the run without incidents",
        BEFORE: "the mean queue of the ten minutes before the incident",
    }
    kinds = listed([words for kind, words in known.items() if any(entry.reference == kind for entry in found)])
    text = (
        "Recovery time runs from an incident's end until the network's queue (halted and waiting outside, mean over "
        f"five minutes) is back at its reference: here {kinds}, same seed, same controller.",
    )
    summary = report_tables.recovery_summary(found, group.controllers, case.name)
    drawing = report_figures.timeline(found, group, case.name)
    return (
        Part("Incidents and recovery", text, (summary,), (drawing,)),
        Part("", (), (report_tables.incidents(found, group.controllers, case.name),)),
    )
