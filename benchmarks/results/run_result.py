"""One run's result: enough to reproduce it, its metrics and its series, in one JSON file.

Files are written to a temporary name and renamed, so a reader never sees half a result and a killed run loses none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from benchmarks.results.metrics import GRIDLOCK, GridlockRule
from scenarios.common.errors import shorten
from scenarios.common.files import MOST_BYTES, FileError, read_json

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
#: Name endings inside a results folder.
RESULT_SUFFIX, FAILED_SUFFIX = ".result.json", ".failed.json"
#: Of files that are being written.
DRAFT_SUFFIX = ".part"


class ResultError(ValueError):
    """A result that cannot be read or written; the message is one sentence that names the file."""

    def __init__(self, message: str) -> None:
        super().__init__(shorten(message))


def _number(value: object) -> object:
    return math.nan if value is None else value  # JSON has no NaN


Number = Annotated[float, BeforeValidator(_number)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScenarioRecord(_Record):
    """What was simulated. ``spec`` is the scenario without its paths, ``incidents`` the ground truth of this run."""

    name: str
    sha256: str
    network_sha256: str
    tags: tuple[str, ...]
    begin_s: float
    end_s: float
    warmup_s: float
    demand_scale: float
    departure_jitter_s: float
    files: tuple[str, ...]
    spec: dict[str, Any]
    incidents: tuple[dict[str, Any], ...]

    @field_validator("incidents")
    @classmethod
    def _dated(cls, found: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        for incident in found:
            times = (incident.get("start_s"), incident.get("end_s"))
            if "type" not in incident or not all(isinstance(time_s, (int, float)) for time_s in times):
                raise ValueError("an incident lacks type, start_s or end_s")
        return found


class ControllerRecord(_Record):
    """Who decided: the name as given on the command line, its parameters, and what it loaded (models, with hashes)."""

    name: str
    params: dict[str, Any]
    deterministic: bool
    observes: bool
    loaded: dict[str, str | int | None]


class SuiteRecord(_Record):
    """The suite that this run belongs to, and when it calls a run gridlocked; a changed suite has another version.

    ``baseline`` is what its controllers are compared with; None for the usual one.
    """

    name: str
    version: int
    gridlock: GridlockRule = GRIDLOCK
    baseline: str | None = None


class GitRecord(_Record):
    """The checkout that ran."""

    commit: str
    dirty: bool


class Series(_Record):
    """The network once a minute; lists of one length."""

    time_s: tuple[Number, ...]
    running_veh: tuple[Number, ...]
    halted_veh: tuple[Number, ...]
    outside_veh: tuple[Number, ...]
    speed_mps: tuple[Number, ...]
    inserted_veh_min: tuple[Number, ...]
    arrived_veh_min: tuple[Number, ...]

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if {len(column) for _, column in self} != {len(self.time_s) or 1}:
            raise ValueError("its lists are empty or differ in length")
        return self


class RoadSeries(_Record):
    """Mean speed over speed limit by interval (rows) and road (columns); NaN where nobody drove."""

    interval_s: float
    begin_s: tuple[float, ...]
    ids: tuple[str, ...]
    speed_relative: tuple[tuple[Number, ...], ...]

    @model_validator(mode="after")
    def _rows_and_columns(self) -> Self:
        rows = self.speed_relative
        if not rows or len(rows) != len(self.begin_s) or any(len(row) != len(self.ids) for row in rows):
            raise ValueError("speed_relative is empty or no row for each begin_s and column for each id")
        return self


class Distribution(_Record):
    """Quantiles over vehicles at 0, 1, ..., 100 %, s; empty where there was no vehicle.

    ``delay_s`` is of every scheduled vehicle (the definition of the metric), ``waiting_s`` of every inserted one:
    the time that it stood (speed below 0.1 m/s, stops on purpose left out). ``users_delay_s`` holds the delay of
    persons, cyclists, buses and trams by kind, where there were any.
    """

    delay_s: tuple[Number, ...]
    waiting_s: tuple[Number, ...]
    users_delay_s: dict[str, tuple[Number, ...]] = {}

    @model_validator(mode="after")
    def _percents(self) -> Self:
        if not {len(self.delay_s), len(self.waiting_s)} <= {0, 101}:
            raise ValueError("delay_s and waiting_s need 101 quantiles or none")
        if any(len(quantiles) != 101 for quantiles in self.users_delay_s.values()):
            raise ValueError("users_delay_s needs 101 quantiles of each kind")
        return self


class RunResult(_Record):
    """One cell of a benchmark: one scenario under one controller with one seed.

    ``distribution`` is None in results older than it; ``trace`` names the file of ``--trace`` beside the result.
    """

    schema_version: int = SCHEMA_VERSION
    suite: SuiteRecord | None
    scenario: ScenarioRecord
    controller: ControllerRecord
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)]
    timings: dict[str, Any]
    backend: str
    versions: dict[str, str]
    git: GitRecord | None
    machine: dict[str, str | int]
    created_utc: str
    metrics: dict[str, Number]
    series: Series
    roads: RoadSeries | None
    wall: dict[str, Number]
    distribution: Distribution | None = None
    trace: str | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not isinstance(self.timings.get("name"), str):
            raise ValueError("timings.name is missing")
        if "delay_s" not in self.metrics:
            raise ValueError("metrics.delay_s is missing")
        return self


class RoadShape(_Record):
    """Where a road lies, for maps, m."""

    shape: tuple[tuple[float, float], ...]
    lanes: int


class NetworkShape(_Record):
    """The drawing of a network that belongs to the results of a scenario."""

    schema_version: int = SCHEMA_VERSION
    roads: dict[str, RoadShape]
    signals: dict[str, tuple[float, float]]


RecordT = TypeVar("RecordT", RunResult, NetworkShape)


def cell_stem(scenario: str, controller: str, timings: str, seed: int, parameters: object) -> str:
    """A stable file name for a cell: readable parts and a hash of all that changes its outcome."""
    digest = hashlib.sha256(json.dumps([scenario, controller, timings, seed, parameters], sort_keys=True).encode())
    parts = [re.sub(r"[^A-Za-z0-9.+=-]+", "-", part).strip("-.")[:60] for part in (scenario, controller, timings)]
    return "__".join([*parts, f"seed{seed}", digest.hexdigest()[:10]])


def write(record: RunResult | NetworkShape, path: Path) -> None:
    """Write atomically; the file is either complete or absent.

    Raises:
        ResultError: the folder cannot be written or the disk is full.
    """
    text = json.dumps(plain(record.model_dump(mode="python")), separators=(",", ":"), allow_nan=False)
    if len(text) > MOST_BYTES:
        raise ResultError(
            f"{path} would have {len(text) / 1e6:.0f} MB, and {MOST_BYTES / 1e6:g} MB are the most that is read; "
            "shorten the run."
        )
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write any text atomically; see ``write_bytes``."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write anything atomically.

    Raises:
        ResultError: the folder cannot be written or the disk is full.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=DRAFT_SUFFIX, dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise ResultError(
            f"{path} cannot be written ({error.strerror}); make room or choose another folder, then repeat the "
            "command: finished cells are kept."
        ) from error


def read(path: Path) -> RunResult:
    """Read one result.

    Raises:
        ResultError: the file is missing, truncated, of another schema version, or has wrong keys.
    """
    return _read(path, RunResult, "a greenloop result")


def read_network(path: Path) -> NetworkShape:
    """Read the drawing of a network.

    Raises:
        ResultError: the file is missing, truncated, of another schema version, or has wrong keys.
    """
    return _read(path, NetworkShape, "a greenloop network drawing")


def read_folder(folder: Path) -> tuple[list[RunResult], list[ResultError]]:
    """Read every result below ``folder`` in the order of their names, and what was wrong with the others."""
    results: list[RunResult] = []
    problems: list[ResultError] = []
    for path in sorted(folder.rglob(f"*{RESULT_SUFFIX}")):
        try:
            results.append(read(path))
        except ResultError as error:
            problems.append(error)
    return results, problems


def newest(results: Sequence[RunResult]) -> tuple[list[RunResult], str]:
    """Keep the newest result of each cell, and say in one line how many older ones were left out ("" for none).

    A folder holds several of one cell after greenloop, SUMO, the controller's file or its adapter has changed.
    """
    kept: dict[str, RunResult] = {}
    for result in sorted(results, key=lambda result: result.created_utc):
        suite = (result.suite.name, result.suite.version) if result.suite else None
        scenario = (result.scenario.name, result.scenario.sha256)
        kept[json.dumps([scenario, result.controller.name, result.seed, result.timings, suite], sort_keys=True)] = (
            result
        )
    chosen = {id(result) for result in kept.values()}
    older = len(results) - len(chosen)
    note = f"Left out: {older} older result{'' if older == 1 else 's'} of runs that were repeated." if older else ""
    return [result for result in results if id(result) in chosen], note


def load(folder: Path | str) -> pd.DataFrame:
    """Read every result below a folder into one table: a row a run, metrics and settings as flat columns.

    Of several results of one cell the newest counts; a warning says how many were left out.

    Raises:
        ResultError: there is no result, or one cannot be read.
    """
    import pandas as pd

    results, problems = read_folder(Path(folder))
    if problems:
        raise problems[0]
    if not results:
        raise ResultError(f"{folder} holds no results (*{RESULT_SUFFIX}); give the folder of 'greenloop run --out'.")
    results, note = newest(results)
    if note:
        warnings.warn(note, stacklevel=2)
    return pd.DataFrame([flat(result) for result in results])


def flat(result: RunResult) -> dict[str, Any]:
    """One run as one row."""
    return {
        "scenario": result.scenario.name,
        "controller": result.controller.name,
        "seed": result.seed,
        "timings": result.timings["name"],
        "suite": result.suite.name if result.suite else None,
        "suite_version": result.suite.version if result.suite else None,
        "scenario_sha256": result.scenario.sha256,
        "begin_s": result.scenario.begin_s,
        "end_s": result.scenario.end_s,
        "demand_scale": result.scenario.demand_scale,
        "incidents": len(result.scenario.incidents),
        "greenloop_version": result.versions.get("greenloop"),
        "sumo_version": result.versions.get("sumo"),
        "commit": result.git.commit if result.git else None,
        **result.metrics,
        **result.wall,
    }


def _read(path: Path, kind: type[RecordT], what: str) -> RecordT:
    try:
        data = read_json(path)
    except FileError as error:
        hint = "check the path" if isinstance(error.__cause__, OSError) else "delete it and run its cell again"
        raise ResultError(f"Result file {path} {error}; {hint}.") from error
    if not isinstance(data, dict) or "schema_version" not in data:
        raise ResultError(f"Result file {path} is not {what}: it has no schema_version.")
    if data["schema_version"] != SCHEMA_VERSION:
        raise ResultError(
            f"Result file {path} has schema version {data['schema_version']!r}, this greenloop reads {SCHEMA_VERSION}; "
            "run its cell again or use the greenloop that wrote it."
        )
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        said = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, "))))
        raise ResultError(
            f"Result file {path} is damaged or not {what}: {said}; delete it and run its cell again."
        ) from error


def plain(value: Any) -> Any:
    """Turn NaN and infinity into null, which is all that JSON has for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
