"""Detections, false alarms and delays of detection, from probabilities step by step.

An alarm begins where an approach's probability reaches the threshold after five quiet minutes. It is false where no
incident blocks a road within two junctions or did so in the last ten minutes: a queue that one left is no false alarm.
An incident is detected by any of its approaches while it lasts. Rates are given at the threshold where false alarms
come to one per junction and day, and along the curve, since published definitions of a false alarm rate differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from llm.tasks.base import Floats, Measure, Question

#: False alarms per junction and day at which curves are read; the second is the one that measures stand at.
RATES_PER_DAY = (0.3, 1.0, 3.0, 10.0)
OPERATING_PER_DAY = 1.0
QUIET_S = 300.0
STEPS_PER_DAY = 2880
#: A queue of this many halted vehicles is one at red or of an overload.
LONG_QUEUE_VEH = 8.0


class Scored(Protocol):
    """What scores need of a record."""

    scenario: str
    seed: int
    question: Question
    target: Floats
    slices: tuple[str, ...]
    incident: tuple[str, ...]
    began_s: tuple[float, ...]
    near: bool


class AlarmScores:
    """Scores of one answerer's probabilities; records of a run in order of time."""

    def __init__(self, records: Sequence[Any], answers: Sequence[Floats]) -> None:
        self.records = records
        self.said = [np.asarray(answer, float) for answer in answers]
        self._rows: dict[tuple[str, int, str, str], list[tuple[int, int]]] = defaultdict(list)
        self._incidents: dict[tuple[str, int, str], list[tuple[int, int]]] = defaultdict(list)
        for index, record in enumerate(records):
            run = (record.scenario, record.seed)
            for row, edge in enumerate(record.question.rows):
                self._rows[(*run, record.question.place, edge)].append((index, row))
                if record.incident[row]:
                    self._incidents[(*run, record.incident[row])].append((index, row))
        self.junction_days = len(records) / STEPS_PER_DAY

    # at a threshold

    def false_alarms(self, threshold: float) -> list[tuple[int, int]]:
        """(record, row) where a false alarm begins."""
        found = []
        for places in self._rows.values():
            last_s = -np.inf
            for index, row in places:
                record = self.records[index]
                if self.said[index][row] < threshold:
                    continue
                time_s = record.question.time_s
                free = not record.near
                if free and not 0 <= time_s - last_s <= QUIET_S:
                    found.append((index, row))
                last_s = time_s
        return found

    def detections(self, threshold: float, types: Sequence[str] = ("crash", "road_closure")) -> dict[int, float]:
        """By the record at which an incident is first to be seen: seconds from its start to the alarm, or NaN."""
        found = {}
        for (_, _, name), places in self._incidents.items():
            if name.rpartition("-")[0] in types:
                hits = [self.records[i].began_s[row] for i, row in places if self.said[i][row] >= threshold]
                found[min(index for index, _ in places)] = min(hits, default=np.nan)
        return found

    def threshold(self, per_day: float) -> float:
        """The least threshold with no more false alarms than that."""
        levels = np.unique(np.concatenate(self.said)) if self.said else np.array([1.0])
        low, high = 0, len(levels)
        while low < high:
            middle = (low + high) // 2
            many = len(self.false_alarms(levels[middle])) > per_day * self.junction_days
            low, high = (middle + 1, high) if many else (low, middle)
        return float(levels[low]) if low < len(levels) else float(np.nextafter(levels[-1], np.inf))

    @cached_property
    def operating(self) -> float:
        """The threshold that measures stand at."""
        return self.threshold(OPERATING_PER_DAY)

    # what comes out

    def measures(self) -> dict[str, Measure]:
        """Quotients of sums over records, so that runs can be drawn again."""
        size = len(self.records)
        alarms, incidents, hits, delays = (np.zeros(size) for _ in range(4))
        for index, _ in self.false_alarms(self.operating):
            alarms[index] += 1
        for index, delay_s in self.detections(self.operating).items():
            incidents[index] += 1
            if not np.isnan(delay_s):
                hits[index] += 1
                delays[index] += delay_s
        days = np.full(size, 1 / STEPS_PER_DAY)
        return {
            "detection_rate": Measure(hits, incidents),
            "false_alarms_per_junction_day": Measure(alarms, days),
            "mean_time_to_detect_s": Measure(delays, hits),
        }

    def details(self) -> dict[str, Any]:
        """The curve, the median delay, and how often what fools the answerer."""
        curve = []
        for per_day in RATES_PER_DAY:
            threshold = self.threshold(per_day)
            delays = np.array(list(self.detections(threshold).values()))
            hits = delays[~np.isnan(delays)]
            curve.append({
                "false_alarms_per_junction_day": round(len(self.false_alarms(threshold)) / self.junction_days, 3),
                "detection_rate": round(len(hits) / len(delays), 4) if len(delays) else None,
                "median_time_to_detect_s": float(np.median(hits)) if len(hits) else None,
                "incidents": len(delays),
                "threshold": threshold,
            })  # fmt: skip
        return {"curve": curve, "fooled_by": self._fooled_by(), "junction_days": round(self.junction_days, 2)}

    def _fooled_by(self) -> dict[str, int]:
        found: dict[str, int] = dict.fromkeys(("surge", "dead_detectors", "long_queue", "other"), 0)
        for index, row in self.false_alarms(self.operating):
            record = self.records[index]
            causes = [name for name in ("surge", "dead_detectors") if name in record.slices]
            if record.question.numbers[row].reshape(-1, 12)[-1, 3] >= LONG_QUEUE_VEH:
                causes.append("long_queue")
            for cause in causes or ["other"]:
                found[cause] += 1
        return found
