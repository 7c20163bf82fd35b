"""Tasks that raise alarms: a probability for each row and step, scored event by event.

An alarm begins where a row's probability reaches the threshold after five quiet minutes. It is false where the record
says that no event is near. An event is detected by any of its rows while it lasts. Rates are given at the threshold
where false alarms come to one per place (such as a junction) and day, and along the curve, since published definitions
of a false alarm rate differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from llm.tasks.base import Answer, Binary, Example, Floats, Measure, Task
from llm.tasks.example_rows import from_row, to_row

#: False alarms per place and day at which curves are read.
RATES_PER_DAY = (0.3, 1.0, 3.0, 10.0)
#: The one that measures stand at.
OPERATING_PER_DAY = 1.0
QUIET_S = 300.0
DAY_S = 86400.0
_KEYS = ("event", "began_s", "near", "lookalikes")


@dataclass(frozen=True)
class EventExample(Example):
    """A place at one step, with what scores need beside the target.

    Attributes:
        event: by row, the id of the event (type and number, as in ``crash-1``) that holds there; empty for none.
        began_s: by row, how long ago that event began, s.
        near: whether an event holds close by, or did in the last minutes: alarms are then not false.
        lookalikes: by row, what might be taken for an event: names, joined by spaces.
    """

    event: tuple[str, ...] = ()
    began_s: tuple[float, ...] = ()
    near: bool = False
    lookalikes: tuple[str, ...] = ()


class EventTask(Task[EventExample]):
    """A task whose answers are alarms.

    Attributes:
        step_s: seconds between two questions about the same place.
        counted: types of events that the detection rate counts; empty for all.
    """

    answer: ClassVar[Answer] = Binary()
    step_s: ClassVar[float]
    counted: ClassVar[tuple[str, ...]] = ()

    def row(self, record: EventExample) -> dict[str, Any]:
        """A record as JSON."""
        return {**to_row(record), **{key: getattr(record, key) for key in _KEYS}}

    def record(self, row: dict[str, Any]) -> EventExample:
        """The same back."""
        plain = from_row({name: value for name, value in row.items() if name not in _KEYS})
        lists = (tuple(row["event"]), tuple(row["began_s"]), bool(row["near"]), tuple(row["lookalikes"]))
        about = (plain.scenario, plain.network_sha256, plain.seed, plain.question, plain.target, plain.slices)
        return EventExample(*about, *lists)

    def measures(self, records: Sequence[Any], answers: Sequence[Floats]) -> Mapping[str, Measure]:
        """Detection rate, false alarms and time to detect at one false alarm per place and day, and the plain ones."""
        return {**super().measures(records, answers), **Alarms(self, records, answers).measures()}

    def details(self, records: Sequence[Any], answers: Sequence[Floats]) -> Mapping[str, Any]:
        """The curve of detections against false alarms, and what false alarms were raised by."""
        return Alarms(self, records, answers).details()


class Alarms:
    """Scores of one answerer's probabilities; records of a run in order of time."""

    def __init__(self, task: EventTask, records: Sequence[EventExample], answers: Sequence[Floats]) -> None:
        self.task, self.records = task, records
        self.said = [np.asarray(answer, float) for answer in answers]
        self._rows: dict[tuple[str, int, str, str], list[tuple[int, int]]] = defaultdict(list)
        self._events: dict[tuple[str, int, str], list[tuple[int, int]]] = defaultdict(list)
        for index, record in enumerate(records):
            run = (record.scenario, record.seed)
            for row, name in enumerate(record.question.rows):
                self._rows[(*run, record.question.place, name)].append((index, row))
                if record.event[row] and self._counts(record.event[row]):
                    self._events[(*run, record.event[row])].append((index, row))
        self.days = len(records) * task.step_s / DAY_S

    def _counts(self, event: str) -> bool:
        return not self.task.counted or event.rpartition("-")[0] in self.task.counted

    @cached_property
    def _free(self) -> list[tuple[Floats, Floats, NDArray[np.bool_], list[tuple[int, int]]]]:
        """By row of a place: times, probabilities, where alarms are false, and its records."""
        found = []
        for places in self._rows.values():
            times = np.array([self.records[i].question.time_s for i, _ in places])
            values = np.array([self.said[i][row] for i, row in places])
            found.append((times, values, np.array([not self.records[i].near for i, _ in places]), places))
        return found

    def false_alarms(self, threshold: float) -> Iterator[tuple[int, int]]:
        """(record, row) where a false alarm begins."""
        for times, values, free, places in self._free:
            raised = np.flatnonzero(values >= threshold)
            gaps_s = np.diff(times[raised], prepend=-np.inf)
            for step in raised[(gaps_s > QUIET_S) & free[raised]]:
                yield places[step]

    def detections(self, threshold: float) -> dict[int, float]:
        """By the record at which an event is first to be seen: seconds from its start to the alarm, or NaN."""
        found = {}
        for places in self._events.values():
            delays_s = [self.records[i].began_s[row] for i, row in places if self.said[i][row] >= threshold]
            found[min(index for index, _ in places)] = min(delays_s, default=np.nan)
        return found

    def threshold(self, per_day: float) -> float:
        """The least threshold with no more false alarms than that."""
        levels = np.unique(np.concatenate(self.said))
        low, high = 0, len(levels)
        while low < high:
            middle = (low + high) // 2
            many = sum(1 for _ in self.false_alarms(levels[middle])) > per_day * self.days
            low, high = (middle + 1, high) if many else (low, middle)
        return float(levels[low]) if low < len(levels) else float(np.nextafter(levels[-1], np.inf))

    @cached_property
    def operating(self) -> float:
        """The threshold that measures stand at."""
        return self.threshold(OPERATING_PER_DAY)

    def measures(self) -> dict[str, Measure]:
        """Quotients of sums over records, so that runs can be drawn again."""
        alarms, events, hits, delays_s = (np.zeros(len(self.records)) for _ in range(4))
        for index, _ in self.false_alarms(self.operating):
            alarms[index] += 1
        for index, delay_s in self.detections(self.operating).items():
            events[index] += 1
            if not np.isnan(delay_s):
                hits[index] += 1
                delays_s[index] += delay_s
        days = np.full(len(self.records), self.task.step_s / DAY_S)
        return {
            "detection_rate": Measure(hits, events),
            "false_alarms_per_day": Measure(alarms, days),
            "mean_time_to_detect_s": Measure(delays_s, hits),
        }

    def details(self) -> dict[str, Any]:
        """The curve, the median delay, and how often what fools the answerer."""
        curve = []
        for per_day in RATES_PER_DAY:
            threshold = self.threshold(per_day)
            delays_s = np.array(list(self.detections(threshold).values()))
            hits = delays_s[~np.isnan(delays_s)]
            curve.append(
                {
                    "false_alarms_per_day": round(sum(1 for _ in self.false_alarms(threshold)) / self.days, 3),
                    "detection_rate": round(len(hits) / len(delays_s), 4) if len(delays_s) else None,
                    "median_time_to_detect_s": float(np.median(hits)) if len(hits) else None,
                    "events": len(delays_s),
                    "threshold": threshold,
                }
            )
        fooled: dict[str, int] = defaultdict(int)
        for index, row in self.false_alarms(self.operating):
            for cause in self.records[index].lookalikes[row].split() or ["other"]:
                fooled[cause] += 1
        return {"curve": curve, "fooled_by": dict(sorted(fooled.items())), "place_days": round(self.days, 2)}
