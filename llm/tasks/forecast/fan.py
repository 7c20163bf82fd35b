"""The flow forecasts of one approach over one run as CSV, for a figure of quantiles over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from llm.tasks.base import Floats
from llm.tasks.forecast.records import ForecastRecord, came
from llm.tasks.forecast.state import HORIZONS_MIN


def fan_table(records: Sequence[ForecastRecord], said: Floats) -> str:
    """The flow forecasts of one approach over one run: the busiest one that saw an incident, if any did.

    The columns are those that ``benchmarks.figures.forecast_fan`` draws.
    """
    starts = np.cumsum([0, *(len(record.state.approaches) for record in records)])
    found: dict[tuple[Any, ...], list[tuple[float, int]]] = {}
    busy: dict[tuple[Any, ...], tuple[bool, float]] = {}
    for record, run, start in zip(records, _runs(records), starts[:-1].tolist(), strict=True):
        for row, edge in enumerate(record.state.approaches):
            key = (run, record.state.signal, edge)
            found.setdefault(key, []).append((record.state.time_s, start + row))
            near, flow = busy.get(key, (False, 0.0))
            busy[key] = near or bool(record.incidents), flow + float(np.nan_to_num(record.came[row, -1, 0]))
    arrived = came(records)
    chosen = max(busy, key=lambda key: busy[key])
    lines = ["time_s,horizon_min,q10,q50,q90,came,unit"]
    for time_s, row in sorted(found[chosen]):
        for h, horizon_min in enumerate(HORIZONS_MIN):
            values = [*said[row, h, 0], arrived[row, h, 0]]
            shown = ["" if v != v else f"{v:.1f}" for v in values]
            lines.append(",".join([f"{time_s:g}", str(horizon_min), *shown, "veh/h"]))
    return "\n".join(lines) + "\n"


def _runs(records: Sequence[ForecastRecord]) -> list[int]:
    """The number of each record's run: a new one begins with another block, or where the clock is set back."""
    number, found = 0, []
    for before, record in zip([records[0], *records[:-1]], records, strict=True):
        number += record.block != before.block or record.state.time_s < before.state.time_s
        found.append(number)
    return found
