"""Times on SUMO's clock as text: seconds, or HH:MM:SS with days before them; written without losing a digit."""

from __future__ import annotations

import math

#: SUMO counts milliseconds; three thousand years are enough.
LATEST_S = 1e11
_UNITS_S = (1, 60, 3600, 86400)


def parse_seconds(text: str) -> float:
    """Seconds of a time such as ``75.5``, ``0:01:15.5`` or ``2:00:01:15``.

    Raises:
        ValueError: it is no such time, or is not finite.
    """
    parts = text.split(":")
    if len(parts) > len(_UNITS_S):
        raise ValueError(f"'{text}' is no time")
    seconds = sum(float(part) * unit for part, unit in zip(reversed(parts), _UNITS_S, strict=False))
    if not math.isfinite(seconds) or abs(seconds) > LATEST_S:
        raise ValueError(f"'{text}' is no time")
    return float(seconds)


def format_seconds(seconds: float) -> str:
    """Plain decimals to the millisecond, without trailing zeros: ``:g`` would keep six digits."""
    text = f"{seconds:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
