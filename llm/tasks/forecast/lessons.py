"""What networks learn from: all approaches of all records as tensors, in the scaled space."""

from __future__ import annotations

from collections.abc import Sequence

from llm.engine.fit import Rows
from llm.engine.heads import tensor
from llm.tasks.forecast.records import ANSWER, Known, came, states
from llm.tasks.forecast.scaled_space import anchors, facts, scaled
from llm.tasks.forecast.state import stacked

__all__ = ["ANSWER", "rows_of"]


def rows_of(records: Sequence[Known]) -> Rows:
    """Facts (A, K), what came, and weights: the noise, so that errors count as in veh/h and vehicles."""
    known = states(records)
    fields = stacked(known)
    noise = anchors(fields)[1]
    return Rows((tensor(facts(known)),), tensor(scaled(came(records), fields)), tensor(noise / noise.mean(axis=0)))
