"""The sentences that report incidents, in many wordings; those under ``held_out`` are never trained on.

``{lanes}`` says which lanes are blocked ("one of two lanes"); a template without it is a report without that detail.
``{clock}`` is the time as reported ("07:12", "about 07:10"), ``{street}`` the street, ``{to}`` the street that an
emergency vehicle drives to, ``{vehicles}`` a number of cars. The first letter of a sentence is made a capital.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """Templates for when an incident becomes known and for when it is over."""

    opened: tuple[str, ...]
    cleared: tuple[str, ...]


_TRAIN = {
    "crash": Wording(
        opened=(
            "{clock} crash on {street}, {lanes} blocked",
            "{clock} collision on {street}; {lanes} not passable",
            "accident on {street} at {clock}, {lanes} blocked",
            "{street}: two cars have collided ({clock}), {lanes} blocked until they are towed away",
            "police report an accident on {street}, {lanes} closed since {clock}",
            "{clock} traffic accident, {street}, {lanes} affected",
            "caller says cars crashed on {street} at {clock}, {lanes} obstructed",
            "{clock} accident on {street}, drivers must pass slowly",
            "crash on {street} at {clock}, no details yet",
            "{street}: accident reported at {clock}",
        ),
        cleared=(
            "{clock} crash on {street} cleared, all lanes open",
            "{street}: the accident has been cleared at {clock}",
            "wrecks towed away from {street}, traffic flows again since {clock}",
            "{clock} accident on {street} is over",
        ),
    ),
    "roadworks": Wording(
        opened=(
            "{clock} roadworks on {street}, {lanes} closed",
            "road crew at work on {street} from {clock}, {lanes} closed",
            "{street}: construction since {clock}, {lanes} coned off",
            "{clock} maintenance work begins on {street}; {lanes} unavailable, lower speed limit",
            "works on {street} as of {clock}: {lanes} shut, please slow down",
            "{clock} resurfacing on {street}, {lanes} closed to traffic",
            "building site on {street} since {clock}, {lanes} taken out of use",
            "{clock} roadworks on {street}, expect a bottleneck",
            "{street}: road crew on site since {clock}, reduced speed",
        ),
        cleared=(
            "{clock} roadworks on {street} finished",
            "{street}: construction ended at {clock}, all lanes open again",
            "road crew has left {street} at {clock}",
            "{clock} cones removed on {street}, normal speed limit",
        ),
    ),
    "road_closure": Wording(
        opened=(
            "{clock} {street} closed to all traffic",
            "road closed: {street}, from {clock}",
            "{street} is fully closed since {clock}, please use other roads",
            "{clock} full closure of {street}, traffic is diverted",
            "police have closed {street} at {clock}",
            "no entry into {street} from {clock} on, follow the diversion",
            "{clock} burst water main, {street} closed",
            "{street}: closed for all vehicles ({clock})",
        ),
        cleared=(
            "{clock} {street} open again",
            "closure of {street} lifted at {clock}",
            "{street}: police have reopened the road at {clock}",
            "{clock} diversion around {street} ended",
        ),
    ),
    "demand_surge": Wording(
        opened=(
            "{clock} concert at {street} lets out, about {vehicles} cars leave",
            "match at the stadium on {street} has ended at {clock}, some {vehicles} cars are on their way",
            "{clock} event on {street} is over, expect {vehicles} extra cars",
            "visitors leave the fair on {street} since {clock}, roughly {vehicles} vehicles",
            "{street}: car park emptying from {clock}, about {vehicles} cars",
            "{clock} end of the show on {street}, {vehicles} cars about to leave",
            "heavy outflow from {street} since {clock}, an event has ended, {vehicles} cars",
            "organisers on {street} announce that {vehicles} cars leave from {clock}",
        ),
        cleared=(
            "{clock} car park on {street} is empty",
            "{street}: visitors of the event have left by {clock}",
            "outflow from {street} ended at {clock}",
            "{clock} traffic from the event on {street} is back to normal",
        ),
    ),
    "detector_outage": Wording(
        opened=(
            "{clock} detectors on {street} not responding",
            "maintenance log: loops on {street} out of order since {clock}",
            "{street}: no detector data since {clock}",
            "{clock} detector failure on {street}, counts are missing",
            "sensors on {street} offline from {clock}",
            "fault at {clock}: all detectors on {street} silent",
            "{clock} connection to the sensors on {street} lost",
            "technician called for dead loops on {street} ({clock})",
        ),
        cleared=(
            "{clock} detectors on {street} back in service",
            "maintenance log: loops on {street} repaired at {clock}",
            "{street}: detector data available again since {clock}",
            "{clock} sensors on {street} online",
        ),
    ),
    "emergency_vehicle": Wording(
        opened=(
            "{clock} ambulance dispatched from {street} to {to}",
            "fire engine on its way from {street} to {to} since {clock}",
            "{clock} emergency vehicle with blue light leaves {street} for {to}",
            "dispatch {clock}: ambulance from {street}, destination {to}",
            "emergency run from {street} to {to}, started {clock}, give way",
            "{clock} rescue service crosses the area from {street} towards {to}",
            "police car with siren from {street} to {to} ({clock})",
            "ambulance called to {to}, starting on {street} at {clock}",
        ),
        cleared=(
            "{clock} emergency run to {to} is over",
            "dispatch {clock}: run from {street} to {to} closed",
            "{to}: emergency vehicle no longer under way ({clock})",
            "no more priority needed between {street} and {to} since {clock}",
        ),
    ),
}

_HELD_OUT = {
    "crash": Wording(
        opened=(
            "rear-end shunt on {street}, {lanes} out of action, {clock}",
            "{clock} fender bender in {street} takes up {lanes}",
            "vehicles wrecked on {street}; motorists can no longer use {lanes} ({clock})",
            "pile-up along {street} noticed {clock}, {lanes} covered in debris",
            "stranded vehicles after an impact on {street}, {clock}, {lanes} jammed shut",
            "something happened on {street}, cars standing across the roadway, {clock}",
            "{clock} smash on {street}, help is under way",
            "broken glass and damaged cars, {street}, as of {clock}, {lanes} unusable",
        ),
        cleared=(
            "{street} has been swept after the smash, {clock}",
            "recovery truck done on {street} by {clock}",
        ),
    ),
    "roadworks": Wording(
        opened=(
            "workers dig up {street}; {lanes} lost from {clock}",
            "{clock} pavement repair along {street} occupies {lanes}",
            "temporary work zone, {street}, {lanes} fenced off ({clock})",
            "{street} narrowed by utility works, {lanes} gone since {clock}",
            "asphalt paver on {street}, {clock}, {lanes} off limits",
            "pothole team now on {street}, {clock}, pass with care",
            "{clock} line painting in {street}, you cannot drive on {lanes}",
            "excavator standing on {street} ({clock}), space is tight",
        ),
        cleared=(
            "work zone in {street} dismantled {clock}",
            "{street} has its full width back, {clock}",
        ),
    ),
    "road_closure": Wording(
        opened=(
            "barriers are up at {street}, nobody gets through ({clock})",
            "{clock} {street} shut in full",
            "avoid {street}: impassable from {clock}",
            "gas leak, {street} sealed off, {clock}",
            "{street} out of bounds for vehicles as of {clock}",
            "fire brigade blocks access to {street}, {clock}",
            "you cannot drive into {street} any more ({clock}), detour signposted",
            "{clock} demonstration occupies the whole of {street}",
        ),
        cleared=(
            "barriers taken down at {street}, {clock}",
            "{street} passable once more, {clock}",
        ),
    ),
    "demand_surge": Wording(
        opened=(
            "crowds head home from {street}, {clock}, count on {vehicles} more cars",
            "{clock} final whistle, {vehicles} cars pour out of {street}",
            "theatre on {street} just finished, {vehicles} vehicles join the traffic ({clock})",
            "shift change at the plant in {street}, {vehicles} cars, {clock}",
            "church service in {street} done by {clock}, up to {vehicles} drivers set off",
            "{vehicles} guests depart by car from {street} starting {clock}",
            "trade show closes its doors, {street}, {clock}, {vehicles} cars",
            "unusually many departures at {street}, {clock}, {vehicles} cars in all",
        ),
        cleared=(
            "last guests gone from {street}, {clock}",
            "rush out of {street} is behind us, {clock}",
        ),
    ),
    "detector_outage": Wording(
        opened=(
            "blind spot: nothing measured along {street} after {clock}",
            "{clock} power cut in the cabinet for {street}, readings void",
            "{street} loops frozen, {clock}",
            "do not trust counts for {street}, equipment dead ({clock})",
            "monitoring lost its view of {street}, {clock}",
            "cable damage on {street}, sensing interrupted {clock}",
            "telemetry gap on {street} beginning {clock}",
            "{clock} {street} measuring points have dropped out",
        ),
        cleared=(
            "we can see {street} again, {clock}",
            "cabinet for {street} repowered, {clock}",
        ),
    ),
    "emergency_vehicle": Wording(
        opened=(
            "siren on {street}, heading for {to}, {clock}",
            "{clock} paramedics rush to {to} coming from {street}",
            "blue light convoy: {street} then {to}, {clock}",
            "clear the way between {street} and {to}, alarm at {clock}",
            "engine 4 responding, {street} to {to}, {clock}",
            "urgent patient transport {street} - {to}, {clock}",
            "{clock} first responders set off in {street}, they need to reach {to}",
            "alarm {clock}, unit leaves {street}, goes to {to}",
        ),
        cleared=(
            "unit has reported in, {street} to {to} done, {clock}",
            "sirens off, {to}, {clock}",
        ),
    ),
}

#: Split -> incident type -> wordings. A scenario tagged ``held_out`` is reported in the held-out ones.
WORDINGS: dict[str, dict[str, Wording]] = {"train": _TRAIN, "held_out": _HELD_OUT}
