"""Named suites: which scenarios, controllers and seeds make a benchmark that others can repeat."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.metrics import GRIDLOCK, GridlockRule
from benchmarks.results import SuiteRecord
from scenarios.spec import Incident, IncidentRates

FOLDER = Path(__file__).parent / "suites"
#: What ``--incidents`` and ``incidents: default`` draw from the seed.
DEFAULT_RATES = IncidentRates(
    crash_per_h=1.0,
    roadworks_per_h=0.5,
    road_closure_per_h=0.5,
    demand_surge_per_h=0.5,
    detector_outage_per_h=0.5,
    emergency_vehicle_per_h=1.0,
)


class SuiteError(ValueError):
    """A suite that cannot be used; the message is one sentence."""


class Suite(BaseModel):
    """A benchmark by name. Whoever changes one raises its version: results carry both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: int = Field(ge=1)
    description: str = ""
    scenarios: tuple[str, ...] = Field(min_length=1)
    controllers: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    timings: Literal["native", "clearance", "resco"] = "native"
    minutes: float | None = Field(None, gt=0, description="measured minutes; the scenario's own horizon when missing")
    incidents: Literal["as_in_scenario", "default"] | tuple[Incident, ...] = "as_in_scenario"
    baseline: str | None = None
    gridlock: GridlockRule = GRIDLOCK

    @property
    def record(self) -> SuiteRecord:
        """What results carry of the suite."""
        return SuiteRecord(name=self.name, version=self.version, gridlock=self.gridlock)


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
        data = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.3)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(names())}."
        raise SuiteError(f"There is no suite '{name}'; {hint}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SuiteError(f"Suite {path} cannot be read: {' '.join(str(error).split())}.") from error
    try:
        return Suite.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SuiteError(f"Suite {path}: {key}: {first['msg']}.") from error
