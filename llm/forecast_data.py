"""Records of forecasts: what was known of a signal's approaches at a full minute, and the flows and queues that came.

A folder holds one gzipped JSON-lines file for each run, below ``train/``, ``validation/`` and ``held_out/``, and
``manifest.json`` with versions, hashes and counts. What lies in ``held_out`` is for scoring and is never trained on.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm.dataset import MANIFEST, RecordError, check_split, check_wording, write_bytes
from llm.forecast_prompt import FORECAST_PROMPT_VERSION
from llm.forecast_state import FIELDS, HORIZONS_MIN, TARGETS, ForecastState
from scenarios.spec import Scenario

Floats = NDArray[np.float64]

#: Raise with every change of the fields of a record.
FORMAT = 1
KIND = "forecast"
HELD_OUT = "held_out"
SPLITS = ("train", "validation", HELD_OUT)
_KEYS = {
    "scenario",
    "network_sha256",
    "seed",
    "timings",
    "demand_scale",
    "signal",
    "time_s",
    "approaches",
    "prompt",
} | {
    "fields",
    "came",
    "incidents",
}


@dataclass(frozen=True)
class ForecastRecord:
    """One signal at one full minute of a run under greedy, with what came.

    Attributes:
        scenario: its name.
        network_sha256: hash of the network file.
        seed: of the run.
        timings: name of the signal timings.
        demand_scale: factor on the scenario's number of vehicles.
        state: what a forecast may be made from.
        came: (approaches, horizons, targets) mean flow until the horizon (veh/h) and halted vehicles at it; NaN after
            the run's end and where the detectors were out.
        incidents: types near the signal, within two junctions, from the start to 15 min after the end; as it is and
            not as reported, so for scoring only.
    """

    scenario: str
    network_sha256: str
    seed: int
    timings: str
    demand_scale: float
    state: ForecastState
    came: Floats
    incidents: tuple[str, ...]

    @property
    def block(self) -> tuple[str, int]:
        """Network and seed: the unit that a bootstrap draws."""
        return self.network_sha256, self.seed


def came(records: Sequence[ForecastRecord]) -> Floats:
    """What came, for all approaches of all records: (A, horizons, targets)."""
    return np.concatenate([record.came for record in records])


def states(records: Sequence[ForecastRecord]) -> list[ForecastState]:
    """What forecasters may see of the records."""
    return [record.state for record in records]


def check(scenario: Scenario, split: str, seed: int) -> None:
    """Make sure that a run may be recorded for a split.

    Raises:
        RecordError: a held-out scenario or a seed that results use would get into training, or the other way round.
    """
    if split != HELD_OUT:
        check_split(scenario, split, seed)
    elif HELD_OUT not in scenario.tags:
        raise RecordError(
            f"Scenario {scenario.name} is not held out, so no forecast may be scored on it as if it were."
        )


# --- files


def write_shard(path: Path, split: str, records: Sequence[ForecastRecord]) -> None:
    """Write the records of one run, all or none.

    Raises:
        RecordError: held-out wording in a prompt that may be trained on, or the folder cannot be written.
    """
    if split != HELD_OUT:
        for record in records:
            check_wording(record.state.prompt)
    lines = "".join(json.dumps(_row(record), separators=(",", ":"), allow_nan=False) + "\n" for record in records)
    write_bytes(path, gzip.compress(lines.encode(), mtime=0))


def read_shard(path: Path) -> list[ForecastRecord]:
    """Read the records of one run.

    Raises:
        RecordError: the file is damaged, or of another format.
    """
    try:
        rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    except (OSError, EOFError, ValueError) as error:
        raise RecordError(f"Records {path} are damaged ({error}); delete the file and collect again.") from error
    if any(not isinstance(row, dict) or set(row) != _KEYS for row in rows):
        raise RecordError(f"Records {path} are no forecast records of this version of greenloop; collect again.")
    return [_record(row, path) for row in rows]


def _row(record: ForecastRecord) -> dict[str, Any]:
    state = record.state
    return {
        "scenario": record.scenario,
        "network_sha256": record.network_sha256,
        "seed": record.seed,
        "timings": record.timings,
        "demand_scale": record.demand_scale,
        "signal": state.signal,
        "time_s": state.time_s,
        "approaches": list(state.approaches),
        "prompt": state.prompt,
        "fields": _plain(state.fields),
        "came": _plain(record.came),
        "incidents": list(record.incidents),
    }


def _record(row: dict[str, Any], path: Path) -> ForecastRecord:
    fields, arrived = (np.array(row[key], np.float64) for key in ("fields", "came"))
    approaches = len(row["approaches"])
    if fields.shape != (approaches, len(FIELDS)) or arrived.shape != (approaches, len(HORIZONS_MIN), len(TARGETS)):
        raise RecordError(
            f"Records {path} hold other fields or horizons than this version of greenloop; collect again."
        )
    state = ForecastState(row["signal"], row["time_s"], tuple(row["approaches"]), row["prompt"], fields)
    about = {name: row[name] for name in ("scenario", "network_sha256", "seed", "timings", "demand_scale")}
    return ForecastRecord(**about, state=state, came=arrived, incidents=tuple(row["incidents"]))


def _plain(values: Floats) -> Any:
    """Nested lists to three decimals, None for NaN, which JSON does not know."""
    return np.where(np.isnan(values), None, np.round(values, 3)).tolist()  # type: ignore[call-overload]


def write_manifest(folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """List every shard with its hash and counts, beside what is known about how they were made.

    Raises:
        RecordError: a shard is damaged, or the folder cannot be written.
    """
    shards = {}
    counts: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for split, path in shard_files(folder):
        records = read_shard(path)
        shards[path.relative_to(folder).as_posix()] = {"sha256": _file_sha256(path), "records": len(records)}
        counts[split].update(
            runs=1,
            records=len(records),
            approaches=sum(len(record.state.approaches) for record in records),
            reported=sum("\nReport " in record.state.prompt for record in records),
            near_incidents=sum(bool(record.incidents) for record in records),
        )
    manifest = {
        "kind": KIND,
        "format": FORMAT,
        "prompt_version": FORECAST_PROMPT_VERSION,
        "fields": list(FIELDS),
        **about,
        "counts": counts,
        "shards": shards,
    }
    write_bytes(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    return manifest


def shard_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every shard with its split, in a fixed order."""
    for split in SPLITS:
        for path in sorted((folder / split).glob("*.jsonl.gz")):
            yield split, path


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest and check that these are forecast records for this version.

    Raises:
        RecordError: there is none, it is damaged, or the records are of another kind or version.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        kind = manifest.get("kind")
        version, form = manifest["prompt_version"], manifest["format"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"Folder {folder} holds no readable {MANIFEST}; run 'greenloop collect-forecasts' first."
        ) from error
    if kind != KIND:
        raise RecordError(
            f"Folder {folder} holds records of decisions, not of forecasts; give that of 'greenloop collect-forecasts'."
        )
    if version != FORECAST_PROMPT_VERSION or form != FORMAT:
        raise RecordError(
            f"The records in {folder} hold forecast prompts of version {version} (format {form}); this greenloop "
            f"writes version {FORECAST_PROMPT_VERSION} (format {FORMAT}): collect again."
        )
    return dict(manifest)


def read_split(folder: Path, split: str) -> list[ForecastRecord]:
    """All records of a split that the manifest lists.

    Raises:
        RecordError: there are none, or a file is not the one that the manifest lists.
    """
    records: list[ForecastRecord] = []
    for name, entry in read_manifest(folder)["shards"].items():
        if not name.startswith(f"{split}/"):
            continue
        path = folder / name
        if not path.is_file() or _file_sha256(path) != entry["sha256"]:
            raise RecordError(
                f"Records {path} are not those that {MANIFEST} lists; run 'greenloop collect-forecasts' again."
            )
        records += read_shard(path)
    if not records:
        raise RecordError(
            f"Folder {folder} holds no {split} forecasts; run 'greenloop collect-forecasts --split {split}'."
        )
    return records


def learnt_sha256(folder: Path) -> str:
    """Hash of the records that may be learnt from: it stays when held-out ones are added.

    Raises:
        RecordError: the manifest is missing or of another kind.
    """
    shards = read_manifest(folder)["shards"]
    learnt = {name: entry["sha256"] for name, entry in shards.items() if not name.startswith(f"{HELD_OUT}/")}
    return hashlib.sha256(json.dumps(learnt, sort_keys=True).encode()).hexdigest()


def _file_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
