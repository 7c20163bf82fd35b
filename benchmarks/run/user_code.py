"""Code that is not greenloop's runs in processes of its own, from the first import on.

It may change arrays, modules or the working folder, or end its process: nothing else is to feel that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.results import provenance
from controllers import registry
from controllers.base import ControllerError
from controllers.time_limit import guarded
from sim.workers.local import AloneError, run_alone

#: Starting a process and importing what a controller needs may take so much longer than making it, s.
START_S = 120.0


def check(spec: str, limit_s: float) -> None:
    """Make a user's controller once.

    Args:
        spec: the controller.
        limit_s: longest time to import and make it, s; 0 for no limit.

    Raises:
        ControllerError: its parameters cannot be read, or it cannot be made.
    """
    problem = _looked_at(spec, limit_s).problem
    if problem is not None:
        raise ControllerError(problem)


def depends_on(spec: str, limit_s: float) -> dict[str, str | Path]:
    """What decides besides a controller's parameters; see ``Controller.depends_on``.

    Nothing for a user's controller that cannot be made: its run will fail, and tell.

    Raises:
        ControllerError: its parameters cannot be read, or one of ours cannot be made.
    """
    if registry.is_users(spec):
        return _looked_at(spec, limit_s).depends_on
    return guarded(spec, limit_s, registry.depends_on, spec)


@dataclass(frozen=True)
class _Look:
    """What came of making a controller."""

    depends_on: dict[str, str | Path] = field(default_factory=dict)
    problem: str | None = None


#: By spec and content of its file; failures are tried again.
_LOOKS: dict[tuple[str, str | None], _Look] = {}


def _looked_at(spec: str, limit_s: float) -> _Look:
    code = registry.files(spec).get("code")
    key = spec, None if code is None else provenance.content_sha256(code)
    if key not in _LOOKS:
        try:
            _LOOKS[key] = _Look(run_alone(_make_controller, (spec, limit_s), limit_s + START_S if limit_s else None))
        except AloneError as error:
            said = str(error)
            return _Look(problem=said if spec in said else f"Controller '{spec}' cannot be made: {said}")
    return _LOOKS[key]


def _make_controller(asked: tuple[str, float]) -> dict[str, str | Path]:
    spec, limit_s = asked
    controller = guarded(spec, limit_s, registry.make, spec)
    named = guarded(spec, limit_s, controller.depends_on)
    try:
        return {str(name): value if isinstance(value, Path) else str(value) for name, value in named.items()}
    except AttributeError as error:
        raise ControllerError(f"Controller '{spec}' returned no mapping from depends_on().") from error
