"""What a bulletin is, and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

KINDS = ("new", "announcement", "update", "over", "retraction", "irrelevant")
TYPES = (
    "crash", "breakdown", "roadworks", "road_closure", "demand_surge", "detector_outage", "signal_fault",
    "emergency_vehicle", "weather", "none",
)  # fmt: skip
SOURCES = (
    "police", "fire_dispatch", "road_authority", "contractor", "event_organiser", "weather_service", "transit", "radio",
    "technician", "public_post",
)  # fmt: skip
LENGTHS = ("short", "medium", "long")
SPLITS = ("train", "validation", "held_out")
ALL_LANES = "all"


@dataclass(frozen=True)
class Bulletin:
    """What is said; nothing else reaches those who read it.

    Attributes:
        time_s: when it was received, SUMO's clock or seconds of the day.
        source: one of ``SOURCES``, or a user's own.
        text: as it came.
    """

    time_s: float
    source: str
    text: str


@dataclass(frozen=True)
class Truth:
    """What a bulletin says, for scoring and for the oracle; None where it does not say.

    Attributes:
        kind: one of ``KINDS``.
        type: one of ``TYPES``; ``none`` for what is irrelevant.
        streets: names of streets and landmarks, the main one first; an emergency vehicle's from and to.
        direction: street or landmark that the affected traffic heads for.
        starts_in_min: from the time of receipt; negative: has begun; 0: now.
        lasts_min: from the start; the middle of a range.
        length_class: one of ``LENGTHS``, said or implied.
        lanes_blocked: a number or ``all``.
        vehicles: how many come.
        certain: it is not said as a rumour.
        happens: it is so; a false bulletin tells of nothing. Not said.
        true_lasts_min: how long it really lasts, drawn with what is said. Not said.
    """

    kind: str
    type: str
    streets: tuple[str, ...] = ()
    direction: str | None = None
    starts_in_min: float | None = None
    lasts_min: float | None = None
    length_class: str | None = None
    lanes_blocked: int | str | None = None
    vehicles: int | None = None
    certain: bool = True
    happens: bool = True
    true_lasts_min: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields of the labelled format, for JSON; what is not said is left out."""
        return {
            "kind": self.kind,
            "type": self.type,
            "streets": list(self.streets),
            "direction": self.direction,
            "starts_in_min": self.starts_in_min,
            "lasts_min": self.lasts_min,
            "length_class": self.length_class,
            "lanes_blocked": self.lanes_blocked,
            "vehicles": self.vehicles,
            "certain": self.certain,
        }


@dataclass(frozen=True)
class Labelled:
    """A bulletin with its truth."""

    bulletin: Bulletin
    truth: Truth
