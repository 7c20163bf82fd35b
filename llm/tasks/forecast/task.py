"""The task ``forecast``: flow and queue of every approach 1, 5 and 15 minutes ahead, in runs under greedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from llm.tasks.base import Floats, Lesson, LiveRun, Measure, Question, Run, Settings, Task
from llm.tasks.decide.prompt import near_roads
from llm.tasks.forecast.fan import fan_table
from llm.tasks.forecast.forecasters import PLACES as FORECASTERS
from llm.tasks.forecast.prompt import FORECAST_PROMPT_VERSION
from llm.tasks.forecast.records import ANSWER, FORMAT, ForecastLesson, ForecastRecord, from_row, to_row
from llm.tasks.forecast.scaled_space import FACTS_VERSION, anchors, facts, pinball
from llm.tasks.forecast.state import FIELDS, HORIZONS_MIN, QUANTILES, TARGETS, ForecastState, ForecastWatch, state_of
from llm.tasks.mixture import Mixture, drawn_run
from scenarios.spec import IncidentRates, Scenario
from sim.network import Network
from sim.observation import Observation

#: An incident still counts for so long after its end, s: the queues that it left.
AFTERMATH_S = 900.0
#: Incidents an hour in the runs that are learnt from: more of those that change a flow upstream.
RATES = IncidentRates(
    crash_per_h=1.0,
    roadworks_per_h=0.5,
    road_closure_per_h=1.5,
    demand_surge_per_h=1.5,
    detector_outage_per_h=0.5,
    emergency_vehicle_per_h=0.2,
)
AROUND, ELSEWHERE = "around_incidents", "elsewhere"
_LOW, _MEDIAN, _HIGH = (QUANTILES.index(level) for level in (0.1, 0.5, 0.9))


class ForecastSettings(Settings):
    """Settings of the records.

    Attributes:
        waves: the strongest waves of departures (``Demand.waves``) in what is learnt from. About half of the runs have
            some, as a real hour does; a generated city's own is steady.
    """

    waves: float = Field(default=1.0, ge=0)


class ForecastTask(Task[ForecastRecord]):
    """Flow and queue of every approach, one, five and fifteen minutes ahead."""

    name = "forecast"
    answer = ANSWER
    prompt_version = FORECAST_PROMPT_VERSION
    record_format = FORMAT
    settings = ForecastSettings
    training = {"method": "frozen", "layers": 6, "train_limit": 4000, "validation_limit": 1500, "learning_rate": 1e-3}  # noqa: RUF012
    least = 0.0

    # records

    def plan(self, split: str, number: int, settings: Any, names: Sequence[str] = ()) -> Run:
        """The usual mixture, with more of the incidents that change a flow."""
        return drawn_run(split, number, settings, names, Mixture(rates=RATES))

    def watch(self, network: Network, scenario: Scenario) -> ForecastWatch:
        """Tells at each full minute what a forecast may be made from."""
        return ForecastWatch(network, scenario.begin_s)

    def records(self, live: LiveRun, watch: ForecastWatch) -> Iterator[ForecastRecord]:
        """A record for each signal and full minute."""
        truth = _Truth(live.network, live.scenario.begin_s)
        states: list[tuple[ForecastState, tuple[str, ...]]] = []
        for moment in live.moments():
            if watch.see(moment.observation):
                truth.see(moment.observation)
                states += [(state, _near_types(live, state)) for state in watch.states(moment.observation)]
        run = live.run
        about = (run.scenario, live.network_sha256, run.seed, run.timings, run.demand_scale)
        for state, types in states:
            came = truth.came(state)
            if not np.isnan(came).all():
                yield ForecastRecord(*about, state, came, types)

    def question(self, record: ForecastRecord) -> Question:
        """What a forecast may be made from."""
        return record.state.question

    def target(self, record: ForecastRecord) -> Floats:
        """What came: (approaches, horizons, targets)."""
        return record.came

    def plain(self, record: ForecastRecord) -> Lesson:
        """A lesson that knows its state, for forecasters."""
        return ForecastLesson(record.state.question, record.came)

    def view(self, record: ForecastRecord, rng: np.random.Generator, epoch: int) -> Lesson:  # noqa: ARG002
        """Always the same."""
        return self.plain(record)

    def slices(self, record: ForecastRecord) -> frozenset[str]:
        """Around incidents or not, and by type near: those that block a lane hardly change the flow upstream."""
        return frozenset((AROUND, *record.incidents)) if record.incidents else frozenset((ELSEWHERE,))

    def row(self, record: ForecastRecord) -> dict[str, Any]:
        """A record as JSON."""
        return to_row(record)

    def record(self, row: dict[str, Any]) -> ForecastRecord:
        """The same back."""
        return from_row(row)

    def about(self) -> Mapping[str, Any]:
        """The names of the numbers."""
        return {"fields": list(FIELDS), "controller": "greedy"}

    def counts(self, records: Sequence[ForecastRecord]) -> Mapping[str, int]:
        """Approaches, signals with reports, and signals near incidents."""
        return {
            "approaches": sum(len(record.state.approaches) for record in records),
            "reported": sum("\nReport " in record.state.prompt for record in records),
            "near_incidents": sum(bool(record.incidents) for record in records),
        }

    # learning and scoring

    def features(self, question: Question) -> Floats:
        """All that the text says, as numbers around zero."""
        return facts([state_of(question)])

    def versions(self) -> dict[str, int]:
        """Of prompts and facts."""
        return {"prompt_version": self.prompt_version, "facts_version": FACTS_VERSION}

    def scale(self, question: Question) -> tuple[Floats, Floats]:
        """The anchor and the noise of a count."""
        return anchors(question.numbers)

    def baselines(self) -> Mapping[str, str]:
        """The forecasters."""
        return FORECASTERS

    def measures(self, records: Sequence[ForecastRecord], answers: Sequence[Floats]) -> Mapping[str, Measure]:
        """For each target and horizon: MAE and RMSE of the median, pinball loss, and the share within the band."""
        sizes = [len(record.state.approaches) for record in records]
        of_record = np.repeat(np.arange(len(records)), sizes)
        arrived = np.concatenate([record.came for record in records])
        said = np.concatenate(answers)
        error = arrived - said[..., _MEDIAN]
        inside = (said[..., _LOW] - 1e-9 <= arrived) & (arrived <= said[..., _HIGH] + 1e-9)
        values = {
            "mae": np.abs(error),
            "rmse": error**2,
            "pinball": pinball(arrived, said, QUANTILES).mean(axis=-1),
            "in_band": np.where(np.isnan(arrived), np.nan, inside),
        }
        found = {}
        for t, target in enumerate(TARGETS):
            for name, value in values.items():
                for h, horizon_min in enumerate(HORIZONS_MIN):
                    column = value[:, h, t]
                    known = ~np.isnan(column)
                    total = np.bincount(of_record, np.nan_to_num(column), len(records)).astype(np.float64)
                    count = np.bincount(of_record, known, len(records)).astype(np.float64)
                    about = {"group": target, "name": name, "step": f"{horizon_min} min"}
                    found[f"{target} {name} {horizon_min} min"] = Measure(total, count, name == "rmse", **about)
        return found

    def tables(self, records: Sequence[ForecastRecord], answers: Mapping[str, Floats]) -> Mapping[str, str]:
        """The flow forecasts of one approach over one run, for a figure."""
        shown = next((spec for spec in answers if spec.startswith("language_model")), next(iter(answers)))
        return {"fan.csv": fan_table(records, answers[shown])}


def _near_types(live: LiveRun, state: ForecastState) -> tuple[str, ...]:
    """Types of the incidents within two junctions of a state's signal, from their start to a while after their end."""
    near = near_roads(live.network, live.network.signal(state.signal))
    now_s = state.time_s
    found = {i.type for i in live.incidents if i.start_s <= now_s < i.end_s + AFTERMATH_S and i.edge in near}
    return tuple(sorted(found))


class _Truth:
    """What the loops counted in every full minute and the queues at its end, per lane."""

    def __init__(self, network: Network, begin_s: float) -> None:
        self.network, self.begin_s = network, begin_s
        self._flow: dict[int, Floats] = {}
        self._queue: dict[int, Floats] = {}
        self._unknown = np.full(len(network.lanes), np.nan)

    def see(self, observation: Observation) -> None:
        minute = self._minute(observation.time_s)
        self._flow[minute], self._queue[minute] = observation.flow_veh_h[:, 0], observation.queue_veh

    def came(self, state: ForecastState) -> Floats:
        """(approaches, horizons, targets) after a state, NaN where it is not known."""
        now = self._minute(state.time_s)
        per_lane = np.stack([self._after(now, horizon) for horizon in HORIZONS_MIN], axis=1)  # (L, horizons, targets)
        lanes = self.network.signal(state.signal).lanes
        own = [[lane for lane in lanes if self.network.lane_edge[lane] == edge] for edge in state.approaches]
        return np.stack([per_lane[rows].sum(axis=0) for rows in own])

    def _after(self, now: int, minutes: int) -> Floats:
        flows = [self._flow.get(now + k, self._unknown) for k in range(1, minutes + 1)]
        return np.stack([np.mean(flows, axis=0), self._queue.get(now + minutes, self._unknown)], axis=1)

    def _minute(self, time_s: float) -> int:
        return int((time_s - self.begin_s) // 60)
