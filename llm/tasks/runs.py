"""The runs that are recorded for a task: as planned, as they go on, and the plain record that comes out of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from llm.tasks.questions import Floats, Question
from scenarios.incidents.incident import ScheduledIncident
from scenarios.spec import IncidentRates, Scenario
from sim.engine.moments import Decisions, Moment, moments
from sim.engine.session import Session
from sim.network import Network
from sim.observation import Observation


class Settings(BaseModel):
    """What the records of a folder have in common; other settings need another folder. Tasks add fields of their own.

    Attributes:
        minutes: simulated minutes of a run.
        jitter_s: by which each departure moves at most, s.
        draw_seed: draws other runs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    minutes: float = Field(default=60.0, gt=0)
    jitter_s: float = Field(default=60.0, ge=0)
    draw_seed: int = Field(default=0, ge=0)


class Recorded(Protocol):
    """What every record of every task says of its run."""

    @property
    def scenario(self) -> str:
        """The scenario's name."""

    @property
    def network_sha256(self) -> str:
        """Hash of the network file."""

    @property
    def seed(self) -> int:
        """Of the run."""


@dataclass(frozen=True)
class Example:
    """The plain record: a question with its right answer. Most tasks need no other.

    Attributes:
        scenario: its name.
        network_sha256: hash of the network file.
        seed: of the run.
        question: what was known.
        target: what was right.
        slices: groups that it is counted in besides ``overall``.
    """

    scenario: str
    network_sha256: str
    seed: int
    question: Question
    target: Floats
    slices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """One run to record; everything follows from it.

    Attributes:
        split: ``train``, ``validation`` or ``held_out``.
        number: of the run in its split.
        scenario: its name.
        seed: of the run.
        minutes: simulated and measured, at most.
        timings: name of the signal timings.
        driver: spec of the controller that drives.
        random_share: share of its decisions that are drawn at random instead.
        demand_scale: factor on the number of vehicles.
        jitter_s: by which each departure moves at most, s.
        waves: of the traffic (``Demand.waves``), where the scenario's own are not stronger.
        rates: of incidents per hour; None for none but those that the scenario lists.
        policies: specs of more controllers that ``Task.records`` asks, by the name that it uses for them.
        notes: what else the task wants to know of the run.
    """

    split: str
    number: int
    scenario: str
    seed: int
    minutes: float = 60.0
    timings: str = "native"
    driver: str = "greedy"
    random_share: float = 0.0
    demand_scale: float = 1.0
    jitter_s: float = 60.0
    waves: float = 0.0
    rates: IncidentRates | None = None
    policies: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """Where its records go, within their folder."""
        return f"{self.split}/{self.number:05d}-{self.scenario}.jsonl.gz"


class Policy(Protocol):
    """What decides; a controller that has been reset."""

    def act(self, observation: Observation) -> Decisions:
        """What each signal shall do."""


@dataclass(frozen=True)
class LiveRun:
    """A run that has been started, as a task follows it.

    Attributes:
        run: what was planned.
        scenario: with the run's demand, incidents and length.
        network_sha256: hash of the network file.
        session: for ``branch``, the network and the timings.
        observation: the first.
        driver: who drives.
        policies: those of ``Run.policies``, made and reset.
        incidents: as they are, reported or not: for labels, never for questions.
    """

    run: Run
    scenario: Scenario
    network_sha256: str
    session: Session
    observation: Observation
    driver: Policy
    policies: Mapping[str, Policy]
    incidents: tuple[ScheduledIncident, ...]

    @property
    def network(self) -> Network:
        """The network."""
        return self.session.network

    def moments(self) -> Iterator[Moment]:
        """Drive the run to its end."""
        return moments(self.session, self.observation, self.driver.act)

    def example(self, question: Question, target: Floats, slices: Sequence[str] = ()) -> Example:
        """A record of this run."""
        about = (self.run.scenario, self.network_sha256, self.run.seed)
        return Example(*about, question, np.asarray(target, np.float64), tuple(slices))
