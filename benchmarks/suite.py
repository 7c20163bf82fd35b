"""Named suites: which scenarios, controllers and seeds make a benchmark that others can repeat."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.results.metrics import GRIDLOCK, GridlockRule
from benchmarks.results.run_result import SuiteRecord
from scenarios.common.errors import shorten
from scenarios.common.files import FileError, read_bytes
from scenarios.common.names import close_names
from scenarios.demand.drivers import ATTRIBUTES as DRIVERS
from scenarios.demand.drivers import Drivers
from scenarios.spec import DEFAULT_RATES, DetectorErrors, Incident, Scenario
from sim.timings import TIMINGS

#: Largest file of a suite.
MOST_SUITE_BYTES = 1_000_000
FOLDER = Path(__file__).parent / "suites"


class SuiteError(ValueError):
    """A suite that cannot be used; the message is one sentence."""


Incidents = Literal["as_in_scenario", "default"] | tuple[Incident, ...]
TimingsName = Literal["native", "clearance", "resco"]


class Variant(BaseModel):
    """Every scenario of a suite once more with something changed; results call it ``scenario@name``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9_.]+$")
    demand_scale: float | None = Field(None, gt=0, le=10)
    drivers: Drivers = "as_in_files"
    detectors: DetectorErrors = DetectorErrors()
    timings: TimingsName | None = None
    incidents: Incidents | None = None

    def changes(self, scenario: Scenario) -> dict[str, object]:
        """The fields of the scenario that only a variant can change."""
        return {
            "name": f"{scenario.name}@{self.name}",
            "drivers": self.drivers,
            "detectors": self.detectors.model_dump(),
        }


class Suite(BaseModel):
    """A benchmark by name. Whoever changes one raises its version: results carry both.

    A suite without ``scenarios`` runs on those that the user brings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: int = Field(ge=1)
    description: str = ""
    scenarios: tuple[str, ...] = ()
    controllers: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    variants: tuple[Variant, ...] = ()
    timings: TimingsName = "native"
    minutes: float | None = Field(None, gt=0, description="measured minutes; the scenario's own horizon when missing")
    jitter_s: float | None = Field(None, ge=0, description="each departure moves by up to this, from the seed")
    incidents: Incidents = "as_in_scenario"
    baseline: str | None = None
    gridlock: GridlockRule = GRIDLOCK

    @property
    def record(self) -> SuiteRecord:
        """What results carry of the suite."""
        return SuiteRecord(name=self.name, version=self.version, gridlock=self.gridlock, baseline=self.baseline)

    def sha256(self) -> str:
        """Hash of all that its results depend on, and of what the names in it stand for; not of its description."""
        used = {self.timings, *(variant.timings for variant in self.variants if variant.timings)}
        incidents = [one for one in (self.incidents, *(variant.incidents for variant in self.variants)) if one]
        meaning = {
            # What is left at its default does not count, so that a key that comes later changes no hash.
            "suite": self.model_dump(mode="json", exclude={"description", "version"}, exclude_defaults=True),
            "timings": {name: TIMINGS[name].as_dict() for name in sorted(used)},
            "drivers": {variant.drivers: DRIVERS[variant.drivers] for variant in self.variants},
            "rates": DEFAULT_RATES.model_dump() if "default" in incidents else None,
            "types": [incident.type for listed in incidents if isinstance(listed, tuple) for incident in listed],
        }
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()

    @model_validator(mode="after")
    def _unique(self) -> Suite:
        variants = [variant.name for variant in self.variants]
        for what, values in (("scenarios", self.scenarios), ("seeds", self.seeds), ("variants", variants)):
            twice = [value for value in values if list(values).count(value) > 1]
            if twice:
                raise ValueError(f"{what} has {twice[0]!r} twice")
        return self


def names() -> tuple[str, ...]:
    """The suites that ship with greenloop."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load(name: str) -> Suite:
    """Load a suite by name, or from a YAML file.

    Raises:
        SuiteError: there is none of that name, or the file does not fit.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    try:
        data = yaml.safe_load(read_bytes(path, MOST_SUITE_BYTES)) if path.exists() else None
    except FileError as error:
        raise SuiteError(f"Suite {path} {error}.") from error
    except RecursionError as error:
        raise SuiteError(f"Suite {path} is nested too deep.") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise SuiteError(f"Suite {path} cannot be read: {shorten(str(error), 300)}.") from error
    if not path.exists():
        near = close_names(name, names(), least_likeness=0.3)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(names())}."
        raise SuiteError(f"There is no suite '{name}'; {hint}")
    try:
        return Suite.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SuiteError(f"Suite {path}: {key}: {first['msg'].removeprefix('Value error, ')}.") from error
