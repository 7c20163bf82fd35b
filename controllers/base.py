"""The one contract of every controller: ``reset(network, seed)``, then ``act(observation)`` at each decision time."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scenarios.common.errors import shorten
from sim.network import Network
from sim.observation import Observation
from sim.signals import Decision

if TYPE_CHECKING:
    from scenarios.spec import Scenario
    from sim.engine.session import Session
    from sim.timings import Timings


class ControllerError(RuntimeError):
    """A controller that cannot do its work; the message is one sentence that says why and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(shorten(message))


@dataclass(frozen=True)
class RunContext:
    """What a run knows beyond the network: for controllers that plan offline or look ahead."""

    scenario: Scenario
    seed: int
    timings: Timings
    session: Session | None = None


class Controller(ABC):
    """Decides which phase each signal shows.

    A subclass needs ``act`` only. ``reset`` is called once before each run, ``context`` is set before it.

    Attributes:
        observes: False if ``act`` reads nothing but the clock; the run then skips detectors and is faster.
        looks_ahead: True if ``act`` calls ``context.session.branch``.
        deterministic: True if the same seed gives bit-identical results.
        lane_areas_m: length of the lane-area detectors that its programs of SUMO's type delay_based need; None for
            none (``sim.engine.session.SessionOptions``).
    """

    observes: bool = True
    looks_ahead: bool = False
    deterministic: bool = True
    lane_areas_m: float | None = None
    context: RunContext | None = None

    def reset(self, network: Network, seed: int) -> None:
        """Prepare for a run on ``network``; keep no state of an earlier run."""
        self.network = network
        self.seed = seed

    @abstractmethod
    def act(self, observation: Observation) -> Mapping[str, Decision | int]:
        """Return decisions by signal id; a plain int is a phase index.

        Signals that are not named keep what they show (or their installed program). Only signals whose
        ``observation.due`` is True can change now; other requests are repaired and counted.
        """

    def parameters(self) -> dict[str, object]:
        """The constructor's parameters with their values, for the run's result.

        By default those that ``__init__`` keeps under their own names.
        """
        names = inspect.signature(type(self).__init__).parameters
        return {name: getattr(self, name) for name in list(names)[1:] if hasattr(self, name)}

    def counters(self) -> Mapping[str, float]:
        """What this controller counted since ``reset`` (fallbacks, decisions, ...), for the run's result."""
        return {}

    def provenance(self) -> Mapping[str, str | int | None]:
        """What this controller loaded (model and adapter hashes, ...), for the run's result."""
        return {}

    def depends_on(self) -> Mapping[str, str | Path]:
        """What decides besides its parameters: files that it loads unasked, and what it chooses by itself here.

        Known before ``reset``. Part of a run's identity: another file or another choice makes another run.
        """
        return {}

    def notes(self) -> Mapping[str, Mapping[str, object]]:
        """What it can tell of the decisions that ``act`` has just returned, by signal, for the decision log."""
        return {}

    def close(self) -> None:  # noqa: B027 - most controllers hold nothing
        """Release what the controller holds; called once after the run."""
