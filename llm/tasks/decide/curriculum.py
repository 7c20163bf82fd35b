"""How decisions become lessons: soft targets from costs, mixed with what a plain network says on the same records.

Every epoch shows each record with its phases in another order and, after the first, the forecast from another source or
none, so that one adapter reads them all. In the first epoch the plain network's shares are the targets: a model begins
to read the facts far sooner when the targets are clean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llm.tasks.base import Curriculum, Floats, Lesson, Schooling, TaskError
from llm.tasks.decide.phase_net import ABOUT, SHIPPED, PhaseNet, PhaseNetError
from llm.tasks.decide.prompt import with_arrivals
from llm.tasks.decide.questions import question_of
from llm.tasks.decide.records import Record, regret_veh_s, reordered, soft_targets
from llm.tasks.decide.teaching import Teaching

#: Where the forecast in a training prompt comes from; "none" leaves it out.
FORECAST_SOURCES = ("none", "persistence", "reference", "own")
#: Cost of the phases of a record without costs, in a batch; all others count from 0.
UNKNOWN = -1.0


class DecideCurriculum(Curriculum):
    """Lessons from decisions.

    Raises:
        TaskError: the records teach nothing, or cannot be measured on.
    """

    how: Teaching

    def __init__(
        self,
        schooling: Schooling,
        view: Callable[[Any, np.random.Generator, int], Lesson],
        plain: Callable[[Any], Lesson],
    ) -> None:
        super().__init__(schooling, view, plain)
        self.how = schooling.how
        self.train = self._teaching(list(schooling.train))
        self.priced = [record for record in schooling.validation if record.horizons_s]
        if not self.priced:
            raise TaskError("No validation record has costs to measure regret by; collect some without branches=false.")
        for record in self.priced[:1]:
            record.cost(self.how.horizon_s)
        self.teacher: PhaseNet | None = None if self.how.teacher is None else self._teacher()
        self.teacher_regret_veh_s = float("nan")

    def begin(self) -> None:
        """Fit the plain network that teaches, if none is named, and measure it."""
        how, folder = self.how, self.schooling.folder / "phase_net"
        if how.teacher is None and not (folder / ABOUT).is_file():
            from llm.tasks.decide.phase_net_training import fit

            priced = [record for record in self.train if record.horizons_s]
            if not priced:
                raise TaskError("No training record has costs to fit a plain network on; name one as task.teacher.")
            net, regret = fit(priced, self.priced, how.horizon_s, how.temperature_veh_s)
            net.save(folder, {"horizon_s": how.horizon_s, "regret_veh_s": regret, "records": len(priced)})
        self.teacher = self._teacher()
        chosen = self.teacher.choose([np.array(record.facts) for record in self.priced])
        self.teacher_regret_veh_s = regret_veh_s(self.priced, chosen, how.horizon_s)

    def _teaching(self, records: list[Record]) -> list[Record]:
        """The records that teach something."""
        how = self.how
        if not how.distil and not all(record.horizons_s for record in records):
            raise TaskError("Some training records have no costs and can only be learnt with task.distil above 0.")
        kept = [
            record
            for record in records
            if not record.horizons_s or np.ptp(record.cost(how.horizon_s)) >= how.min_spread_veh_s
        ]
        if not kept:
            raise TaskError("No training record has phases of different costs; collect more.")
        return kept

    def _teacher(self) -> PhaseNet:
        """The plain network that is named, or the one that was fitted in the run folder."""
        named = self.how.teacher
        folder = SHIPPED if named == "shipped" else Path(named or self.schooling.folder / "phase_net").expanduser()
        try:
            return PhaseNet.load(folder)
        except PhaseNetError as error:
            raise TaskError(str(error)) from error

    # --- lessons

    def lesson(self, record: Record, rng: np.random.Generator, epoch: int) -> Lesson:
        """The phases in another order and, after the first epoch, the forecast from another source."""
        begins = epoch == 0 and self.schooling.fresh
        known = [name for name in FORECAST_SOURCES if name == "none" or name in record.next_veh]
        source = "none" if begins else known[rng.integers(len(known))]
        prompt = with_arrivals(record.prompt, record.next_veh.get(source, ()))
        order = rng.permutation(record.phases).tolist()
        question = question_of(reordered(prompt, order), np.array(record.facts)[order], record.signal, record.time_s)
        return Lesson(question, self._target(record, begins)[order], self._costs(record)[order])

    def plain(self, record: Record) -> Lesson:
        """The record as it is."""
        question = question_of(record.prompt, np.array(record.facts), record.signal, record.time_s)
        return Lesson(question, self._target(record, False), self._costs(record))

    def _target(self, record: Record, begins: bool) -> Floats:
        how = self.how
        if not how.distil or self.teacher is None:
            return soft_targets(record.cost(how.horizon_s), how.temperature_veh_s)
        scores = how.sharpen * self.teacher.scores(np.array(record.facts))
        taught: Floats = np.exp(scores - scores.max())
        taught /= taught.sum()
        if not record.horizons_s or begins:
            return taught
        own = soft_targets(record.cost(how.horizon_s), how.temperature_veh_s)
        return (1 - how.distil) * own + how.distil * taught

    def _costs(self, record: Record) -> Floats:
        """Each phase's cost above the cheapest one's; ``UNKNOWN`` where the record has none."""
        if not record.horizons_s:
            return np.full(record.phases, UNKNOWN)
        costs = record.cost(self.how.horizon_s)
        above: Floats = costs - costs.min()
        return above

    # --- measures

    def metrics(self, answers: Floats, labels: Floats) -> Mapping[str, float]:
        """Mean cost of the chosen phase above the cheapest (veh-s), and the share of decisions that are the cheapest.

        Over the records with costs; empty if none has any.
        """
        chosen = answers.argmax(axis=1)
        costs = labels[np.arange(len(chosen)), chosen]
        costs = costs[costs != UNKNOWN]
        if not len(costs):
            return {}
        return {"regret_veh_s": float(costs.mean()), "cheapest_share": float((costs <= 1e-9).mean())}

    def report(self, before: Mapping[str, float], after: Mapping[str, float]) -> Mapping[str, Any]:
        """The regret before and after, and that of others on the same records."""
        horizon_s, priced = self.how.horizon_s, self.priced
        names = sorted(set.intersection(*(set(record.choices) for record in priced)))
        rivals = {name: regret_veh_s(priced, [r.choices[name] for r in priced], horizon_s) for name in names}
        rivals["random"] = float(np.mean([(r.cost(horizon_s) - r.cost(horizon_s).min()).mean() for r in priced]))
        rivals["phase_net"] = self.teacher_regret_veh_s
        name = "untuned_regret_veh_s" if self.schooling.fresh else "start_regret_veh_s"
        return {
            "priced_validation_records": len(priced),
            name: before.get("regret_veh_s"),
            "regret_veh_s": after["regret_veh_s"],
            "cheapest_share": after["cheapest_share"],
            "rivals_regret_veh_s": rivals,
        }
