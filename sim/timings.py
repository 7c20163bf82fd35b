"""The times that hold for every controller, by name: clearance, service, and how long a junction may stay blocked."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Timings:
    """Signal timings.

    ``yellow_s`` None means: as the network's own program of each signal has it. ``own_programs``: fixed time
    keeps the network's own clearance, whatever the others pay. Who has stood inside a junction for ``blocker_s`` no
    longer stops crossing traffic (SUMO's ``ignore-junction-blocker``; None: for ever): vehicles that turn through gaps
    can lock each other in for good, which drivers would sort out. It is longer than any red: where a junction of
    several parts has its stop line inside, a queue at red stands inside as well, and must not be driven through.
    """

    name: str
    yellow_s: int | None = None
    all_red_s: int = 0
    min_green_s: int = 5
    max_red_s: int = 120
    decision_interval_s: int = 5
    own_programs: bool = False
    blocker_s: int | None = 180

    def as_dict(self) -> dict[str, object]:
        """Plain fields, for provenance; a lock that never dissolves is no field, as in results from before the rule."""
        return {name: value for name, value in asdict(self).items() if name != "blocker_s" or value is not None}


NATIVE = Timings("native")
CLEARANCE = Timings("clearance", yellow_s=3, all_red_s=2)
#: RESCO decides every 10 s on most networks, with 3 s of yellow inside that interval and no maximum red; its fixed time
#: is the network's program as it stands, and a locked junction stays locked.
RESCO = Timings(
    "resco", yellow_s=3, min_green_s=5, max_red_s=3600, decision_interval_s=10, own_programs=True, blocker_s=None
)

TIMINGS = {timings.name: timings for timings in (NATIVE, CLEARANCE, RESCO)}
