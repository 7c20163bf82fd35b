"""Checks of constructor parameters; each failure is one sentence that names controller, parameter and value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from controllers.base import ControllerError


def check_number(controller: str, name: str, value: Any, minimum: float = 0.0, above: bool = False) -> Any:
    """Return ``value`` if it is a finite number of at least ``minimum`` (or above it).

    Raises:
        ControllerError: it is not.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < minimum or (above and value == minimum):
        wanted = f"above {minimum:g}" if above else f"of at least {minimum:g}"
        raise ControllerError(f"{controller}: {name} is {value!r}; give a number {wanted}.")
    return value


def check_choice(controller: str, name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return ``value`` if it is one of ``choices``.

    Raises:
        ControllerError: it is not.
    """
    if isinstance(value, bool) != isinstance(choices[0], bool) or value not in choices:
        listed = ", ".join(f"{choice:g}" if isinstance(choice, float) else str(choice) for choice in choices)
        raise ControllerError(f"{controller}: {name} is {value!r}; choose one of {listed}.")
    return value


def check_flag(controller: str, name: str, value: Any) -> bool:
    """Return ``value`` if it is true or false.

    Raises:
        ControllerError: it is not.
    """
    return bool(check_choice(controller, name, value, (True, False)))
