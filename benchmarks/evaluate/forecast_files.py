"""The files of a forecast comparison: forecasts kept so that it can go on, scores as CSV, the fan of one approach."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluate.forecast_scores import Score
from benchmarks.results import provenance
from llm.backbone import cards
from llm.records.shards import write_bytes
from llm.tasks.forecast import records as forecast_data
from llm.tasks.forecast.records import ForecastRecord
from llm.tasks.forecast.state import HORIZONS_MIN, QUANTILES, TARGETS

Floats = NDArray[np.float64]

JSON_FILE, CSV_FILE, FAN_FILE, KEPT = "forecast.json", "forecast.csv", "fan.csv", "forecasts"


class Kept:
    """What forecasters said, one file each below a folder, so that a comparison that was stopped goes on.

    Args:
        folder: of the comparison's results.
        about: hashes of the records: of those that forecasters learn from, and of those that are scored.
    """

    def __init__(self, folder: Path, about: Sequence[str]) -> None:
        self.folder, self.about = folder / KEPT, tuple(about)

    def check_writable(self) -> None:
        """Find out before anything is fitted.

        Raises:
            RecordError: the folder cannot be written.
        """
        probe = self.folder / f".probe-{os.getpid()}"
        write_bytes(probe, b"")
        probe.unlink()

    def read(self, spec: str, approaches: int) -> Floats | None:
        """What this forecaster said of so many approaches, None where it was not asked yet or the file is damaged."""
        try:
            data = io.BytesIO(self._file(spec).read_bytes())
            found: Floats = np.load(data, allow_pickle=False)["said"].astype(np.float64)
        except Exception:  # a flipped byte can raise almost anything in zipfile, zlib and NumPy
            return None
        whole = found.shape == (approaches, len(HORIZONS_MIN), len(TARGETS), len(QUANTILES))
        return found if whole and np.isfinite(found).all() else None

    def write(self, spec: str, said: Floats) -> Floats:
        """Keep it, to a hundredth of a vehicle; returns what ``read`` will.

        Raises:
            RecordError: the folder cannot be written.
        """
        short, data = np.round(said, 2).astype(np.float32), io.BytesIO()
        np.savez_compressed(data, said=short)
        write_bytes(self._file(spec), data.getvalue())
        return short.astype(np.float64)

    def _file(self, spec: str) -> Path:
        """Named by the forecaster, the records and what the forecaster is made from."""
        made_of = [provenance.content_sha256(path) for path in _sources(spec)]
        digest = hashlib.sha256(json.dumps([spec, *self.about, *made_of]).encode()).hexdigest()[:12]
        name = "".join(c if c.isalnum() else "-" for c in spec.partition(":")[0])
        return self.folder / f"{name}-{digest}.npz"


def _sources(spec: str) -> list[Path]:
    """A user's own file, and the folder of a head; the shipped one where a language model names none."""
    name, _, options = spec.partition(":")
    own = [Path(name)] if name.endswith(".py") else []
    heads = [Path(part[len("head=") :]).expanduser() for part in options.split(",") if part.startswith("head=")]
    if name.startswith("language_model") and not heads:
        heads = [cards.SHIPPED]
    return [path for path in own + heads if path.exists()]


def write_scores(path: Path, scores: Sequence[Score]) -> None:
    """Write a row for each forecaster, place, target and horizon; intervals in two columns."""
    text = io.StringIO()
    rows = [_flat(score.as_dict()) for score in scores]
    table = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        if name.endswith("_interval"):
            low, high = value or ("", "")
            found |= {name.replace("interval", "low"): _short(low), name.replace("interval", "high"): _short(high)}
        else:
            found[name] = _short(value)
    return found


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def write_fan(path: Path, records: Sequence[ForecastRecord], said: Floats) -> None:
    """Write the flow forecasts of one approach over one run: the busiest one that saw an incident, if any did.

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
    arrived = forecast_data.came(records)
    chosen = max(busy, key=lambda key: busy[key])
    lines = ["time_s,horizon_min,q10,q50,q90,came,unit"]
    for time_s, row in sorted(found[chosen]):
        for h, horizon_min in enumerate(HORIZONS_MIN):
            values = [*said[row, h, 0], arrived[row, h, 0]]
            shown = ["" if v != v else f"{v:.1f}" for v in values]
            lines.append(",".join([f"{time_s:g}", str(horizon_min), *shown, "veh/h"]))
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def _runs(records: Sequence[ForecastRecord]) -> list[int]:
    """The number of each record's run: a new one begins with another block, or where the clock is set back."""
    number, found = 0, []
    for before, record in zip([records[0], *records[:-1]], records, strict=True):
        number += record.block != before.block or record.state.time_s < before.state.time_s
        found.append(number)
    return found
