"""What a report is made from: result files with the place and hash of each, and the data that the page hands out."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.compare.comparison import Comparison
from benchmarks.report.incidents import Recovery
from benchmarks.report.parts import Cell, Download, Head, Row, Table, controller, listed, number, plural, slug, text
from benchmarks.results import run_result as results
from benchmarks.results.cases import Group, network_file
from benchmarks.results.run_result import FAILED_SUFFIX, RESULT_SUFFIX, ResultError, RunResult
from scenarios.common.files import read_json

#: So many digits of a hash identify a file or a commit here; the download holds all of them.
DIGITS = 12


@dataclass(frozen=True)
class Source:
    """One result file: its name below the folder that was given, its SHA-256, and what it holds."""

    file: str
    sha256: str
    run: RunResult


@dataclass(frozen=True)
class Sources:
    """Everything found in the places given; ``problems`` names what could not be used."""

    places: tuple[Path, ...]
    found: tuple[Source, ...]
    problems: tuple[str, ...]

    @property
    def runs(self) -> list[RunResult]:
        """The runs alone."""
        return [source.run for source in self.found]

    def with_network(self, group: Group) -> Group:
        """The group with the drawing of its network, wherever one of the places keeps it."""
        for place in self.places:
            folder = place if place.is_dir() else place.parent
            path = network_file(folder, group.runs[0].scenario.network_sha256)
            if path.exists():
                return replace(group, network=results.read_network(path), folder=folder)
        return group


def gather(places: Sequence[Path]) -> Sources:
    """Read every result below some folders, or given as files.

    Raises:
        ResultError: a place does not exist, or nothing in them can be read.
    """
    found: list[Source] = []
    problems: list[str] = []
    paths = list(dict.fromkeys(path for place in places for path in _files(place)))
    for path in paths:
        try:
            run = results.read(path)
        except ResultError as error:
            problems.append(f"Left out: {error}")
            continue
        found.append(Source(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), run))
    if not found:
        raise _nothing(places, problems)
    return Sources(tuple(places), tuple(found), (*problems, *_failures(places)))


def _files(place: Path) -> list[Path]:
    if place.is_dir():
        return sorted(place.rglob(f"*{RESULT_SUFFIX}"))
    if not place.exists():
        raise ResultError(f"{place} does not exist; give the folder of 'greenloop run --out'.")
    return [place]


def _nothing(places: Sequence[Path], problems: Sequence[str]) -> ResultError:
    where = listed([str(place) for place in places])
    if not problems:
        return ResultError(f"{where} holds no results (*{RESULT_SUFFIX}); give the folder of 'greenloop run --out'.")
    first = problems[0].removeprefix("Left out: ")
    return ResultError(
        first if len(problems) == 1 else f"None of {len(problems)} results in {where} can be used: {first}"
    )


def _failures(places: Sequence[Path]) -> list[str]:
    """A sentence for each cell that failed; its file says why."""
    said = []
    for path in sorted(path for place in places if place.is_dir() for path in place.rglob(f"*{FAILED_SUFFIX}")):
        try:
            note = read_json(path)
            said.append(f"Failed: {note['scenario']}, {note['controller']}, seed {note['seed']}: {note['problem']}")
        except (OSError, ValueError, KeyError, TypeError):
            said.append(f"A run failed, and its note {path.name} cannot be read.")
    return said


def provenance(sources: Sources) -> tuple[str, ...]:
    """What all runs share, in sentences: versions, commits, machines, and when they ran."""
    runs = sources.runs
    versions = listed(sorted({_versions(run) for run in runs}))
    machines = listed(sorted({f"{run.machine.get('cpu', '?')} ({run.machine.get('platform', '?')})" for run in runs}))
    commits = sorted({_commit(run) for run in runs})
    days = sorted({run.created_utc[:10] for run in runs})
    between = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return (
        f"{plural(len(runs), 'result file')} of {between}, made by {versions} at {listed(commits)} on {machines}.",
        "Each row of a ranking leads to the rows of its runs below; its numbers are computed from these files alone. "
        f"Hashes are the first {DIGITS} digits of SHA-256; the downloads hold them in full.",
    )


def _versions(run: RunResult) -> str:
    names = ("greenloop", "sumo", "python")
    return "greenloop {}, SUMO {} and Python {}".format(*(run.versions.get(name, "?") for name in names))


def _commit(run: RunResult) -> str:
    if run.git is None:
        return "no commit known"
    return f"commit {run.git.commit[:DIGITS]}{' with changes not committed' if run.git.dirty else ''}"


def provenance_table(sources: Sources, group: Group, name: str, used: set[int]) -> Table:
    """The files of a case, a row a run; ``used`` holds the ``id`` of every run that the statistics rest on."""
    heads = (
        Head("Controller", numeric=False), Head("Seed"), Head("Delay", "s/veh"), Head("Result file", "", False),
        Head("File's hash", "", False), Head("Commit", "", False), Head("Ran", "UTC", False),
        Head("In the statistics", "", False),
    )  # fmt: skip
    rows = []
    seen: set[str] = set()
    first = {id(source.run): source for source in sources.found}
    for who in group.controllers:
        for run in group.of(who):
            anchor = "" if who in seen else run_anchor(name, group.controllers.index(who))
            seen.add(who)
            rows.append(Row(_provenance_cells(first[id(run)], id(run) in used), anchor))
    scenario = group.runs[0].scenario
    note = f"Scenario {scenario.sha256[:DIGITS]}, network {scenario.network_sha256[:DIGITS]}."
    return Table(slug(f"files-{name}"), f"{name}: result files", heads, tuple(rows), note)


def controllers_table(sources: Sources) -> Table:
    """Each make of each controller: its parameters, and the hashes of what it loaded."""
    heads = (
        Head("Controller", numeric=False), Head("Parameters", numeric=False), Head("Loaded files", numeric=False),
        Head("Runs"),
    )  # fmt: skip
    makes = Counter(
        (run.controller.name, _pairs(run.controller.params), _pairs(run.controller.loaded)) for run in sources.runs
    )
    rows = tuple(
        Row((controller(name), text(params), text(loaded), number(count, ".0f")))
        for (name, params, loaded), count in sorted(makes.items())
    )
    return Table("controllers", "What stood behind each controller's name", heads, rows)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_short(value)}" for key, value in values.items()) or "none"


def run_anchor(case: str, place: int) -> str:
    """The id of the first row with a controller's runs on a case."""
    return slug(f"runs-{case}-{place}")


def _provenance_cells(source: Source, used: bool) -> tuple[Cell, ...]:
    run = source.run
    commit = "none" if run.git is None else run.git.commit[:DIGITS]
    return (
        controller(run.controller.name),
        number(run.seed, ".0f"),
        number(run.metrics.get("delay_s"), ".2f"),
        text(source.file),
        text(source.sha256[:DIGITS]),
        text(commit, "changed" if run.git and run.git.dirty else ""),
        text(run.created_utc[:16].replace("T", " ")),
        text("yes" if used else "no"),
    )


def _short(value: object) -> str:
    words = str(value)
    return words[:DIGITS] if len(words) == 64 and words.isalnum() else words


def downloads(sources: Sources, compared: Comparison, recoveries: Sequence[Recovery]) -> tuple[Download, ...]:
    """The data of the page: a table of all runs, and everything that the page says with the runs' series."""
    everything = {
        "comparison": compared.as_dict(),
        "recoveries": [vars(entry) for entry in recoveries],
        "problems": list(sources.problems),
        "runs": [
            {"file": s.file, "file_sha256": s.sha256, **s.run.model_dump(exclude={"roads"})} for s in sources.found
        ],
    }
    listing = "a row a run with every metric, file, hash, version and commit"
    whole = "the comparison, the recovery times, and each run with its provenance and its series by minute"
    return (
        _download("greenloop-runs.csv", "text/csv", _csv(sources), listing),
        _download("greenloop-report.json", "application/json", json.dumps(_finite(everything), allow_nan=False), whole),
    )


def _download(name: str, kind: str, content: str, said: str) -> Download:
    data = content.encode()
    uri = f"data:{kind};charset=utf-8;base64,{base64.b64encode(data).decode()}"
    return Download(name, uri, f"{said} ({max(len(data) // 1000, 1):,} kB).")


def _csv(sources: Sources) -> str:
    rows = [_flat(source) for source in sources.found]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _flat(source: Source) -> dict[str, Any]:
    run = source.run
    row: dict[str, Any] = _finite(
        results.flat(run)
        | {
            "network_sha256": run.scenario.network_sha256,
            "commit_dirty": run.git.dirty if run.git else None,
            "python_version": run.versions.get("python"),
            "created_utc": run.created_utc,
            "controller_params": json.dumps(run.controller.params, sort_keys=True),
            "controller_loaded": json.dumps(run.controller.loaded, sort_keys=True),
            "file": source.file,
            "file_sha256": source.sha256,
        }
    )
    return row


def _finite(value: Any) -> Any:
    """NaN and infinity as None, which JSON and CSV show as missing."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
