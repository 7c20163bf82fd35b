"""The decision log: one line of JSON for each decision, with all that the controller can tell of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controllers.base import ControllerError, RunContext
from sim.signals import Decision

Notes = Mapping[str, Mapping[str, object]]


def append(
    file: Path, context: RunContext | None, time_s: float, decisions: Mapping[str, Decision | int], notes: Notes
) -> None:
    """Add the decisions of one moment: scenario, seed, SUMO's clock, signal, chosen phase (by index), and the notes.

    Raises:
        ControllerError: the file cannot be written.
    """
    run = {"scenario": context.scenario.name, "seed": context.seed} if context is not None else {}
    lines = [
        json.dumps({**run, "time_s": time_s, "signal": signal, **_chosen(decision), **notes.get(signal, {})})
        for signal, decision in decisions.items()
    ]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write("".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise ControllerError(f"The decision log {file} cannot be written ({error.strerror}); name another.") from error


def _chosen(decision: Decision | int) -> dict[str, Any]:
    if isinstance(decision, Decision):
        kept = {"hold_s": decision.hold_s} if decision.hold_s else {}
        return {"chosen": decision.phase, **({"program": True} if decision.program is not None else {}), **kept}
    return {"chosen": int(decision)}
