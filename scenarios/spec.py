"""What happens in a run: the typed, validated description of a scenario, in YAML and in Python.

Every quantity carries its unit in its name. Incident times are seconds after ``begin_s``, so that the same
incident fits any hour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from scenarios.common.errors import ScenarioError as ScenarioError
from scenarios.common.errors import shorten
from scenarios.common.input_files import check_xml, read_raw
from scenarios.common.names import close_names
from scenarios.common.net_values import check_network
from scenarios.demand.drivers import Drivers
from scenarios.demand.route_files import included_files

_MOST_YAML_BYTES = 5_000_000
INCIDENT_TYPES = ("crash", "roadworks", "road_closure", "demand_surge", "detector_outage", "emergency_vehicle")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


LaneIndices = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...],
    Field(min_length=1, description="lane indices, 0 is the rightmost"),
]


class Demand(_Strict):
    """How the route files are turned into traffic."""

    scale: float = Field(default=1.0, gt=0, le=10, description="factor on the number of vehicles")
    departure_jitter_s: float = Field(
        default=0.0, ge=0, description="each departure moves by up to this, drawn from the seed"
    )
    waves: float = Field(
        default=0.0,
        ge=0,
        le=3,
        description="how strongly traffic swells and ebbs: standard deviation of the logarithm of each road's "
        "departure rate, drawn from the seed",
    )


class DetectorErrors(_Strict):
    """How wrong the detectors are; what controllers read, never what is measured (``sim.engine.detector_errors``)."""

    noise: float = Field(default=0.0, ge=0, le=2, description="relative standard deviation of each count and speed")
    outage_share: float = Field(default=0.0, ge=0, le=1, description="share of the lanes whose detectors are dead")


class _Timed(_Strict):
    start_s: float = Field(ge=0, description="seconds after the scenario's begin_s")
    duration_s: float = Field(gt=0, description="seconds until the incident is cleared")

    @property
    def end_s(self) -> float:
        """When the incident is cleared, in seconds after the scenario's ``begin_s``."""
        return self.start_s + self.duration_s


class Crash(_Timed):
    """Standing vehicles block some lanes of a road at one spot."""

    type: Literal["crash"] = "crash"
    edge: str
    lanes: LaneIndices
    position_m: float | None = Field(
        default=None, ge=0, description="from the start of the road; the middle when missing"
    )


class Roadworks(_Timed):
    """Some lanes of a road are closed and the rest is driven slowly."""

    type: Literal["roadworks"] = "roadworks"
    edge: str
    lanes: LaneIndices
    speed_limit_mps: float = Field(default=8.33, gt=0, description="speed limit beside the works")


class RoadClosure(_Timed):
    """A road is closed; a share of the drivers reroutes at once, the others at the last junction before it."""

    type: Literal["road_closure"] = "road_closure"
    edge: str
    reroute_share: float = Field(default=0.5, ge=0, le=1)


class DemandSurge(_Timed):
    """An event lets out: extra vehicles leave from one road."""

    type: Literal["demand_surge"] = "demand_surge"
    edge: str
    vehicles: int = Field(gt=0)


class DetectorOutage(_Timed):
    """The detectors on all lanes of a road see nothing."""

    type: Literal["detector_outage"] = "detector_outage"
    edge: str


class EmergencyVehicle(_Timed):
    """A vehicle crosses the network with its blue light on; ``duration_s`` bounds the report, not the drive."""

    type: Literal["emergency_vehicle"] = "emergency_vehicle"
    from_edge: str
    to_edge: str


Incident = Annotated[
    Crash | Roadworks | RoadClosure | DemandSurge | DetectorOutage | EmergencyVehicle, Field(discriminator="type")
]


class IncidentRates(_Strict):
    """Incidents drawn from the run's seed: how many of each type are expected in an hour."""

    crash_per_h: float = Field(default=0.0, ge=0)
    roadworks_per_h: float = Field(default=0.0, ge=0)
    road_closure_per_h: float = Field(default=0.0, ge=0)
    demand_surge_per_h: float = Field(default=0.0, ge=0)
    detector_outage_per_h: float = Field(default=0.0, ge=0)
    emergency_vehicle_per_h: float = Field(default=0.0, ge=0)


#: What ``--incidents`` and a suite's ``incidents: default`` draw from the seed, and what models are scored on.
DEFAULT_RATES = IncidentRates(
    crash_per_h=1.0,
    roadworks_per_h=0.5,
    road_closure_per_h=0.5,
    demand_surge_per_h=0.5,
    detector_outage_per_h=0.5,
    emergency_vehicle_per_h=1.0,
)


class Scenario(_Strict):
    """A network, its traffic, its hour and its incidents.

    ``begin_s`` and ``end_s`` are SUMO's clock. The first ``warmup_s`` run under the network's own programs and are
    not measured. Relative paths are relative to the YAML file.
    """

    name: str = Field(min_length=1)
    net_file: Path
    route_files: tuple[Path, ...] = Field(min_length=1)
    additional_files: tuple[Path, ...] = ()
    begin_s: float = Field(default=0.0, ge=0)
    end_s: float = Field(default=3600.0, gt=0)
    warmup_s: float = Field(default=0.0, ge=0)
    demand: Demand = Demand()
    incidents: tuple[Incident, ...] = ()
    incident_rates: IncidentRates = IncidentRates()
    drivers: Drivers = "as_in_files"
    detectors: DetectorErrors = DetectorErrors()
    tags: tuple[str, ...] = ()
    licence: str = ""
    description: str = ""

    @model_validator(mode="after")
    def _horizon(self) -> Scenario:
        if self.end_s <= self.begin_s + self.warmup_s:
            raise ValueError(
                f"end_s ({self.end_s:g}) must be later than begin_s + warmup_s ({self.begin_s + self.warmup_s:g})"
            )
        return self

    @property
    def horizon_s(self) -> float:
        """Measured time in seconds: from the end of the warm-up to ``end_s``."""
        return self.end_s - self.begin_s - self.warmup_s

    @property
    def has_incidents(self) -> bool:
        """Whether incidents are listed or can be drawn."""
        return bool(self.incidents) or any(rate > 0 for rate in self.incident_rates.model_dump().values())

    def with_(self, **changes: Any) -> Scenario:
        """Return a validated copy with some fields replaced."""
        return _validated({**self.model_dump(), **changes}, source=self.name)

    @property
    def files(self) -> Iterator[Path]:
        """Every file that the scenario names: the network, the routes, the additional files."""
        yield from (self.net_file, *self.route_files, *self.additional_files)

    def inputs(self) -> Iterator[tuple[Path, str]]:
        """Every file that a run reads, with what it is for messages: ``files`` and those that they include.

        Raises:
            ScenarioError: one of them cannot be read.
        """
        yield self.net_file, "Network file"
        for files, what in ((self.route_files, "Routes file"), (self.additional_files, "Additional file")):
            for file in files:
                yield file, what
            for file in included_files(files, what):
                yield file, "Included file"

    def check_files(self) -> None:
        """Make sure that every file can be read, and is of a size and kind that SUMO's files have.

        Raises:
            ScenarioError: one of them cannot, or is not.
        """
        check_network(self.net_file)
        for file, what in self.inputs():
            check_xml(file, what)

    def to_yaml(self, path: Path) -> None:
        """Write the scenario to ``path``: defaults left out, files relative to its folder where they lie below it."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        for incident, spec in zip(data.get("incidents", []), self.incidents, strict=True):
            incident["type"] = spec.type  # the discriminator is a default and would be left out
        data["net_file"] = _relative(self.net_file, path)
        data["route_files"] = [_relative(file, path) for file in self.route_files]
        if self.additional_files:
            data["additional_files"] = [_relative(file, path) for file in self.additional_files]
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        if yaml.safe_load(text) != data:  # some letters that PyYAML writes as they are, it reads as line breaks
            text = yaml.safe_dump(data, sort_keys=False)
        path.write_text(text, encoding="utf-8")

    def sha256(self) -> str:
        """Hash of the description and of the contents of every file it names (not of their paths).

        Raises:
            ScenarioError: a file cannot be read.
        """
        digest = hashlib.sha256()
        left_out: dict[str, Any] = dict.fromkeys(("net_file", "route_files", "additional_files"), True)
        # Fields that came later count only where they say something, so that older hashes stay true.
        left_out |= {key: True for key in ("drivers", "detectors") if getattr(self, key) == _default(key)}
        if not self.demand.waves:
            left_out["demand"] = {"waves"}
        digest.update(self.model_dump_json(exclude=left_out).encode())
        for file, what in self.inputs():
            digest.update(read_raw(file, what))
        return digest.hexdigest()


def _default(key: str) -> object:
    return Scenario.model_fields[key].default


def _relative(file: Path, yaml_file: Path) -> str:
    file, folder = file.resolve(), yaml_file.resolve().parent
    return str(file.relative_to(folder) if file.is_relative_to(folder) else file)


def read_yaml(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        ScenarioError: the file is missing, is no YAML mapping, or has a key that does not fit.
    """
    content = read_raw(path, "Scenario file", _MOST_YAML_BYTES)
    try:
        data = yaml.safe_load(content.decode())
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise ScenarioError(f"Scenario file {path} is not valid YAML: {shorten(str(error), 300)}.") from error
    except RecursionError as error:
        raise ScenarioError(f"Scenario file {path} nests too deep to be a scenario.") from error
    if not isinstance(data, dict):
        raise ScenarioError(
            f"Scenario file {path} must hold a mapping such as 'name: my_city', not a {type(data).__name__}."
        )

    def absolute(value: object) -> object:
        return path.parent / value if isinstance(value, str) else value

    if "net_file" in data:
        data["net_file"] = absolute(data["net_file"])
    for key in ("route_files", "additional_files"):
        if isinstance(data.get(key), list):
            data[key] = [absolute(value) for value in data[key]]
    return _validated(data, source=str(path))


def _validated(data: dict[str, Any], source: str) -> Scenario:
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "scenario"
        count = error.error_count() - 1
        more = f" ({count} more problem{'s' if count > 1 else ''} after it)" if count else ""
        what = f"{source}: {key}: {_what_is_wrong(dict(first))}{more}"
        raise ScenarioError(what if what.endswith("?") else f"{what}.") from error


def _what_is_wrong(problem: dict[str, Any]) -> str:
    if problem["type"] == "path_type":
        return "must be a path (text)"
    if problem["type"] == "union_tag_invalid":
        tag = str(problem["ctx"]["tag"])
        near = close_names(tag, INCIDENT_TYPES)
        hint = f"did you mean '{near[0]}'?" if near else f"choose {', '.join(INCIDENT_TYPES)}"
        return f"incident type '{tag}' is not known; {hint}"
    if problem["type"] != "extra_forbidden":
        return str(problem["msg"]).removeprefix("Value error, ")
    key = str(problem["loc"][-1])
    parts = ((name, field.annotation) for name, field in Scenario.model_fields.items())
    homes = [name for name, part in parts if key in getattr(part, "model_fields", ())]
    if homes and homes[0] not in problem["loc"]:
        return f"this key is not known here; it belongs under '{homes[0]}'"
    near = close_names(key, _keys())
    return "this key is not known" + (f"; did you mean '{near[0]}'?" if near else "; remove it")


def _keys() -> set[str]:
    models = (Scenario, Demand, DetectorErrors, IncidentRates, Crash, Roadworks, RoadClosure, DemandSurge)
    return {key for model in (*models, DetectorOutage, EmergencyVehicle) for key in model.model_fields}
