"""Where the numbers of vehicles that will arrive come from, which a language model's prompts say on request.

``persistence`` says the last minute's flow again; ``reference`` what came in a run of the same scenario and seed under
greedy, in the 60 s after this time; ``own`` what the forecast head beside the adapter says every 60 s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from controllers.base import ControllerError, RunContext
from controllers.classical.greedy import Greedy
from llm.tasks.forecast.arrivals import MinuteCounts, last
from llm.tasks.forecast.state import ForecastWatch
from sim.network import Network
from sim.observation import Observation

if TYPE_CHECKING:
    from llm.backbone.loading import Backbone
    from llm.tasks.forecast.language_model import LanguageModelForecaster

Floats = NDArray[np.float64]

NAMES = ("none", "persistence", "reference", "own")
_REFERENCES: OrderedDict[tuple[object, ...], MinuteCounts] = OrderedDict()
_MAX_REFERENCES = 4


class ForecastSource(ABC):
    """Says how many vehicles will arrive on each lane within a minute."""

    def see(self, observation: Observation) -> None:  # noqa: B027 - not every source remembers
        """Note an observation; called with every one of a run, before ``arrivals``."""

    @abstractmethod
    def arrivals(self, observation: Observation) -> Floats | None:
        """(L,) vehicles within the next minute, NaN where unknown; None where prompts shall say nothing of it."""


def make(
    name: str, network: Network, context: RunContext | None, backbone: Backbone, adapter: Path | None
) -> ForecastSource:
    """Prepare a source for a run.

    Args:
        name: one of ``NAMES``.
        network: of the run.
        context: of the run; ``none`` and ``persistence`` need none.
        backbone: the model that decides, with its adapter; ``own`` reads through the same layers.
        adapter: its folder, where the forecast head lies.

    Raises:
        ControllerError: the source cannot be had here.
    """
    if name == "none":
        return _Nothing()
    if name == "persistence":
        return _Persistence()
    if context is None:
        raise ControllerError(
            f"language_model: forecast={name} needs the run's scenario; set the controller's context before reset, or "
            "use greenloop run."
        )
    return _Reference(context) if name == "reference" else _Own(network, context, head_of(adapter, backbone))


class _Nothing(ForecastSource):
    def arrivals(self, observation: Observation) -> Floats | None:  # noqa: ARG002
        return None


class _Persistence(ForecastSource):
    def arrivals(self, observation: Observation) -> Floats | None:
        return last(observation)


# --- a reference run


class _Reference(ForecastSource):
    def __init__(self, context: RunContext) -> None:
        self._counts = reference_counts(context)

    def arrivals(self, observation: Observation) -> Floats | None:
        return self._counts.within_a_minute(observation.time_s)


def reference_counts(context: RunContext) -> MinuteCounts:
    """What the loops counted in the whole of this run under greedy; driven once, the last few are kept."""
    key = (context.scenario.model_dump_json(), context.seed, context.timings)
    if key not in _REFERENCES:
        _REFERENCES[key] = _drive(context)
        while len(_REFERENCES) > _MAX_REFERENCES:
            _REFERENCES.popitem(last=False)
    _REFERENCES.move_to_end(key)
    return _REFERENCES[key]


def _drive(context: RunContext) -> MinuteCounts:
    from sim.engine.moments import moments
    from sim.engine.session import Session

    greedy = Greedy()
    greedy.context = context
    with Session(context.scenario, context.seed, context.timings) as session:
        counts = MinuteCounts(len(session.network.lanes), context.scenario.begin_s)
        greedy.reset(session.network, context.seed)
        for moment in moments(session, session.start(), greedy.act):
            counts.see(moment.observation)
    return counts


# --- the model's own


class _Own(ForecastSource):
    """The forecast head's median of the next minute, asked at each full minute and split among an approach's lanes."""

    def __init__(self, network: Network, context: RunContext, head: LanguageModelForecaster) -> None:
        self._watch, self._head = ForecastWatch(network, context.scenario.begin_s), head
        self._next_veh = np.full(len(network.lanes), np.nan)

    def see(self, observation: Observation) -> None:
        if not self._watch.see(observation):
            return
        self._next_veh = np.full_like(self._next_veh, np.nan)  # unknown, should the head fail
        states = self._watch.states(observation)
        if states:
            self._next_veh = self._watch.lane_arrivals(states, self._head.forecast(states))

    def arrivals(self, observation: Observation) -> Floats | None:  # noqa: ARG002
        return self._next_veh


def head_of(adapter: Path | None, backbone: Backbone) -> LanguageModelForecaster:
    """The forecast head that reads through an adapter's layers.

    Raises:
        ControllerError: there is no adapter, no head beside it, or one of another adapter.
    """
    from llm.tasks.forecast.forecasters import ForecastError
    from llm.tasks.forecast.language_model import LanguageModelForecaster, has_head

    if adapter is None or not has_head(adapter):
        where = f"adapter {adapter} has" if adapter is not None else "a model without an adapter has"
        raise ControllerError(
            f"language_model: forecast=own needs a forecast head, and {where} none; run 'greenloop train forecast "
            "--set start=FOLDER', or choose none, persistence or reference."
        )
    try:
        return LanguageModelForecaster(str(adapter), backbone=backbone)
    except ForecastError as error:
        raise ControllerError(f"language_model: forecast=own: {error}") from error
