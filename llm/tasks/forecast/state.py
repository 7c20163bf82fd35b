"""What a forecast is made from: each approach's recent counts and queues, the clock and the reports.

An approach is an incoming road of a signal, its lanes summed. All forecasters get the same facts: those that read no
text have them as ``FIELDS``, the language model as the prompt of ``llm.tasks.forecast.prompt``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm.tasks.decide.prompt import MAX_REPORTS, phase_letters, reached_roads
from llm.tasks.forecast.prompt import Place, forecast_prompt, without_reports_text
from llm.tasks.questions import Question
from scenarios.incidents.incident import BLOCKING
from sim.network import Network, Signal
from sim.observation import Observation, Report

Floats = NDArray[np.float64]

#: How far a forecast looks, minutes.
HORIZONS_MIN = (1, 5, 15)
#: What is forecast: the mean flow from now to the horizon (veh/h), and the halted vehicles at the horizon.
TARGETS = ("flow_veh_h", "queue_veh")
QUANTILES = (0.1, 0.5, 0.9)
#: Minutes whose counts are told one by one.
COUNTS_MIN = 5
#: Reports that an incident is over still count for so long, s.
CLEARED_S = 900.0
TRAFFIC_FIELDS = (
    *(f"count_{minute}_veh" for minute in range(COUNTS_MIN, 0, -1)),  # in the minute so many minutes ago
    "flow_15_veh_h",
    "flow_run_veh_h",
    "queue_veh",
    "queue_5_veh",  # mean of the last five minutes
    "queue_run_veh",
    "clock_h",
)
REPORT_FIELDS = (
    "blocked_on",  # share of the lanes called blocked: of the approach itself,
    "blocked_before",  # of a road upstream,
    "blocked_after",  # of a road downstream
    "closed_on",
    "closed_before",
    "closed_after",
    "blocked_min",  # since the newest of these began, as reported
    "surge_veh",
    "surge_min",
    "cleared_on",
    "cleared_before",
    "cleared_after",
)
#: Columns of ``ForecastState.fields``; NaN where detectors do not tell.
FIELDS = TRAFFIC_FIELDS + REPORT_FIELDS
_SIDES = ("on", "before", "after")


@dataclass(frozen=True)
class ForecastState:
    """What is known of one signal's approaches at a full minute.

    Attributes:
        signal: its id.
        time_s: SUMO's clock.
        approaches: ids of the incoming roads, in the order of the prompt's letters.
        prompt: the text that the language model reads.
        fields: (approaches, len(FIELDS)) the same as numbers.
    """

    signal: str
    time_s: float
    approaches: tuple[str, ...]
    prompt: str
    fields: Floats

    @property
    def question(self) -> Question:
        """The same as a question; each approach is read at its marker in the last line."""
        first = len(self.prompt) - 2 * len(self.approaches)
        marks = tuple(first + 2 * (number + 1) for number in range(len(self.approaches)))
        return Question(self.prompt, self.fields, self.approaches, self.signal, self.time_s, marks)

    def without_reports(self) -> ForecastState:
        """The same as if no report had come."""
        fields = self.fields.copy()
        fields[:, len(TRAFFIC_FIELDS) :] = 0.0
        return replace(self, prompt=without_reports_text(self.prompt), fields=fields)


def state_of(question: Question) -> ForecastState:
    """The state that a question tells of."""
    return ForecastState(question.place, question.time_s, question.rows, question.text, question.numbers)


def stacked(states: Sequence[ForecastState]) -> Floats:
    """The fields of all approaches of all states, (A, len(FIELDS))."""
    return np.concatenate([state.fields for state in states]) if states else np.empty((0, len(FIELDS)))


def column(fields: Floats, name: str) -> Floats:
    """One field by name, (A,)."""
    found: Floats = fields[:, FIELDS.index(name)]
    return found


class ForecastWatch:
    """Follows a run and tells at each full minute what a forecast may be made from.

    Call ``see`` with every observation; ``states`` describes the signals then. Minutes are counted from the scenario's
    ``begin_s``, as the detectors count them.
    """

    def __init__(self, network: Network, begin_s: float) -> None:
        self.network, self.begin_s = network, begin_s
        self._views = {signal.index: _View.of(network, signal) for signal in network.controllable}
        self._counts: deque[Floats] = deque([np.full(len(network.lanes), np.nan)] * COUNTS_MIN, maxlen=COUNTS_MIN)
        self._queues: deque[Floats] = deque(maxlen=COUNTS_MIN)  # mean of each minute
        self._seen: list[Floats] = []  # queues of this minute so far
        lanes = len(network.lanes)
        self._sum, self._minutes = np.zeros(lanes), np.zeros(lanes)  # vehicles and minutes counted so far
        self._queue_sum, self._queue_minutes = np.zeros(lanes), np.zeros(lanes)
        self._minute: int | None = None

    def see(self, observation: Observation) -> bool:
        """Note an observation; True when it is the first of a new minute, the time to forecast."""
        minute = int((observation.time_s - self.begin_s) // 60)
        self._seen.append(observation.queue_veh)
        if minute == self._minute:
            return False
        if self._minute is None:  # what the detectors counted before the first look
            known = min(minute, 15)
            self._add(observation.flow_veh_h[:, 2] / 60, known)
        else:
            for _ in range(minute - self._minute - 1):  # minutes that nobody looked at
                self._counts.append(np.full(len(self.network.lanes), np.nan))
            self._add(observation.flow_veh_h[:, 0] / 60, 1)
        if minute:
            self._counts.append(observation.flow_veh_h[:, 0] / 60)
        queue = _mean(np.array(self._seen))
        self._queues.append(queue)
        self._queue_sum += np.nan_to_num(queue)
        self._queue_minutes += ~np.isnan(queue)
        self._seen, self._minute = [], minute
        self._observation = observation
        return True

    def questions(self) -> list[Question]:
        """What is to be forecast now."""
        return [state.question for state in self.states(self._observation)]

    def _add(self, per_minute_veh: Floats, minutes: int) -> None:
        known = ~np.isnan(per_minute_veh)
        self._sum[known] += per_minute_veh[known] * minutes
        self._minutes[known] += minutes

    def states(self, observation: Observation, signals: Sequence[Signal] | None = None) -> list[ForecastState]:
        """Describe some signals, or all that can be controlled.

        Raises:
            PromptError: a signal has more than 26 approaches.
        """
        lanes = self._lane_fields(observation)
        wanted = self.network.controllable if signals is None else signals
        return [self._state(signal, lanes, observation) for signal in wanted]

    def lane_arrivals(self, states: Sequence[ForecastState], forecast: Floats) -> Floats:
        """(L,) vehicles expected on each lane in the next minute, as ``llm.tasks.decide.prompt.signal_prompt`` takes.

        An approach's median is split among its lanes as its vehicles came so far, evenly where none came.

        Args:
            states: of the signals that were forecast.
            forecast: (A, horizons, targets, quantiles) of all their approaches, in order.
        """
        arrivals, row = np.full(len(self.network.lanes), np.nan), 0
        for state in states:
            for lanes in self._views[self.network.signal(state.signal).index].lanes:
                share = self._sum[lanes] + 1e-6
                arrivals[lanes] = forecast[row, 0, 0, QUANTILES.index(0.5)] / 60 * share / share.sum()
                row += 1
        return arrivals

    def _lane_fields(self, observation: Observation) -> Floats:
        """(L, 10) the traffic fields of each lane but the clock."""
        run = _share(60 * self._sum, self._minutes)
        recent = observation.flow_veh_h[:, 2] if self._minute else np.full(len(run), np.nan)  # nothing counted yet
        columns = [*self._counts, recent, run, observation.queue_veh]
        queues = (_mean(np.array(self._queues)), _share(self._queue_sum, self._queue_minutes))
        return np.stack([*columns, *queues], axis=1)

    def _state(self, signal: Signal, lanes: Floats, observation: Observation) -> ForecastState:
        view = self._views[signal.index]
        traffic = np.array([lanes[list(own)].sum(axis=0) for own in view.lanes])
        clock_h = observation.time_s / 3600 % 24
        places = view.places(observation)
        reports = _report_fields(places, len(view.edges), observation.time_s)
        fields = np.concatenate([traffic, np.full((len(view.edges), 1), clock_h), reports], axis=1)
        return ForecastState(
            signal=signal.id,
            time_s=observation.time_s,
            approaches=view.edges,
            prompt=forecast_prompt(observation.time_s, traffic, places),
            fields=fields,
        )


# --- where reports are


@dataclass(frozen=True)
class _View:
    """A signal's approaches, and by road within two junctions: on which side of which approaches it lies."""

    edges: tuple[str, ...]
    lanes: tuple[list[int], ...]
    surroundings: dict[str, tuple[str, tuple[int, ...]]]

    @classmethod
    def of(cls, network: Network, signal: Signal) -> _View:
        by_edge: dict[str, list[int]] = {}
        for lane in signal.lanes:
            by_edge.setdefault(network.lane_edge[lane], []).append(lane)
        phase_letters(len(by_edge))  # approaches are named by letters as well
        return cls(tuple(by_edge), tuple(by_edge.values()), _surroundings(network, signal, tuple(by_edge)))

    def places(self, observation: Observation) -> list[Place]:
        """The newest reports near the signal, oldest first; those that an incident is over count for a while."""
        latest: dict[str, Report] = {}
        for report in observation.reports:
            latest.pop(report.incident_id, None)
            latest[report.incident_id] = report
        near = [
            Place(report, *self.surroundings[report.edge])
            for report in latest.values()
            if report.edge in self.surroundings
            and not (report.cleared and observation.time_s - report.time_s > CLEARED_S)
        ]
        return near[-MAX_REPORTS:]


def _surroundings(network: Network, signal: Signal, edges: tuple[str, ...]) -> dict[str, tuple[str, tuple[int, ...]]]:
    nearest: dict[str, tuple[int, int, list[int]]] = {}  # road -> junctions between, place in _SIDES, approaches
    for number, edge in enumerate(edges):
        exits = {
            network.exits[m.exit].rpartition("_")[0] for m in signal.movements if network.lane_edge[m.lane] == edge
        }
        for forward, start in ((False, {edge}), (True, exits)):
            for road, junctions in reached_roads(network, start, forward=forward).items():
                found = (junctions, 2 if forward else int(junctions > 0))
                best = nearest.get(road)
                if best is None or found < best[:2]:
                    nearest[road] = (*found, [number])
                elif found == best[:2]:
                    best[2].append(number)
    return {road: (_SIDES[side], tuple(numbers)) for road, (_, side, numbers) in nearest.items()}


def _report_fields(places: Sequence[Place], approaches: int, now_s: float) -> Floats:
    """(approaches, len(REPORT_FIELDS)) what the reports say, 0 where they say nothing."""
    fields = np.zeros((approaches, len(REPORT_FIELDS)))
    for place in places:
        report = place.report
        since_min = min(max((now_s - report.clock_s) / 60, 0.0), 60.0)
        values: dict[str, float] = {}
        if report.type in BLOCKING:
            values["blocked_min"] = since_min
            if report.cleared:
                values[f"cleared_{place.side}"] = 1.0
            else:
                known = report.blocked_lanes and report.total_lanes
                values[f"blocked_{place.side}"] = report.blocked_lanes / report.total_lanes if known else 0.5
                values[f"closed_{place.side}"] = float(report.type == "road_closure")
        elif report.type == "demand_surge" and not report.cleared:
            values = {"surge_veh": float(report.vehicles), "surge_min": since_min}
        for number in place.approaches:
            for name, value in values.items():
                fields[number, REPORT_FIELDS.index(name)] = value
    return fields


def _mean(rows: Floats) -> Floats:
    """Mean over the first axis of what is known."""
    known = ~np.isnan(rows)
    return _share(np.where(known, rows, 0.0).sum(axis=0), known.sum(axis=0))


def _share(total: Floats, count: NDArray[Any]) -> Floats:
    """The quotient, NaN where nothing was counted."""
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
