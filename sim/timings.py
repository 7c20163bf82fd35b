"""The clearance and service times that every controller must keep, by name."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Timings:
    """Signal timings.

    ``yellow_s`` None means: as the network's own program of each signal has it. ``own_programs``: fixed time
    keeps the network's own clearance, whatever the others pay.
    """

    name: str
    yellow_s: int | None = None
    all_red_s: int = 0
    min_green_s: int = 5
    max_red_s: int = 120
    decision_interval_s: int = 5
    own_programs: bool = False

    def as_dict(self) -> dict[str, object]:
        """Plain fields, for provenance."""
        return asdict(self)


NATIVE = Timings("native")
CLEARANCE = Timings("clearance", yellow_s=3, all_red_s=2)
#: RESCO decides every 10 s on most networks, with 3 s of yellow inside that interval and no maximum red; its fixed time
#: is the network's program as it stands.
RESCO = Timings("resco", yellow_s=3, min_green_s=5, max_red_s=3600, decision_interval_s=10, own_programs=True)

TIMINGS = {timings.name: timings for timings in (NATIVE, CLEARANCE, RESCO)}
