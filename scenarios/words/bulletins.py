"""Draws bulletins with their truth: everything follows from the seed, the places and the split of the wordings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from scenarios.common.randomness import generator
from scenarios.words.fillers import Filler
from scenarios.words.gazetteer import Gazetteer
from scenarios.words.grammar import tags
from scenarios.words.noise import roughen
from scenarios.words.truth import ALL_LANES, Bulletin, Labelled, Truth
from scenarios.words.wordings import ASIDES, CHANGES, EVENTS, HEDGES, IRRELEVANT, ORDERS

#: Who tells of what.
TELLERS = {
    "crash": ("police", "fire_dispatch", "road_authority", "transit", "radio", "public_post"),
    "breakdown": ("police", "road_authority", "transit", "contractor", "radio", "public_post"),
    "roadworks": ("road_authority", "contractor", "technician", "radio", "public_post"),
    "road_closure": ("police", "fire_dispatch", "road_authority", "event_organiser", "radio", "public_post"),
    "demand_surge": ("event_organiser", "police", "transit", "contractor", "radio"),
    "detector_outage": ("technician", "road_authority", "contractor"),
    "signal_fault": ("technician", "police", "road_authority", "public_post", "radio"),
    "emergency_vehicle": ("fire_dispatch", "police", "transit", "public_post"),
    "weather": ("weather_service", "radio", "road_authority", "public_post", "technician"),
    "none": ("police", "road_authority", "contractor", "event_organiser", "transit", "radio", "public_post"),
}
#: Shares of kinds: what is new or announced, the three that change it, and what is irrelevant (orders among it).
KIND_SHARES = {"event": 0.6, "update": 0.08, "over": 0.07, "retraction": 0.06, "irrelevant": 0.19}
ORDER_SHARE, UNSURE_SHARE, ASIDE_SHARE = 0.25, 0.07, 0.15
#: Of what is said for certain, and of what is not, so much is not so.
FALSE_SHARE, FALSE_RUMOUR_SHARE = 0.03, 0.5
#: Bulletins come by day, min from midnight.
FROM_MIN, TO_MIN = 6 * 60, 21 * 60


def bulletins(places: Gazetteer, split: str, seed: int, count: int) -> list[Labelled]:
    """Draw bulletins of all kinds and types, one by one.

    Args:
        places: that they tell of.
        split: of the wordings: ``train``, ``validation`` or ``held_out``.
        seed: draws others.
        count: how many.
    """
    return [_drawn(places, split, generator(seed, f"bulletin/{split}/{number}")) for number in range(count)]


def _drawn(places: Gazetteer, split: str, rng: np.random.Generator) -> Labelled:
    group = str(rng.choice(list(KIND_SHARES), p=list(KIND_SHARES.values())))
    now_min = int(rng.integers(FROM_MIN, TO_MIN))
    if group == "irrelevant":
        return irrelevant(places, split, rng, now_min)
    kind_of_event = str(rng.choice(list(EVENTS)))
    if group != "event":
        return _written(places, split, rng, Truth(group, kind_of_event), now_min)
    kinds = list(EVENTS[kind_of_event])
    kind = kinds[int(rng.integers(len(kinds)))]
    return _written(places, split, rng, Truth(kind, kind_of_event), now_min)


def event(places: Gazetteer, split: str, rng: np.random.Generator, truth: Truth, now_min: int) -> Labelled:
    """Draw a bulletin of a given kind and type; all else that ``truth`` says is drawn anew."""
    return _written(places, split, rng, Truth(truth.kind, truth.type), now_min)


def irrelevant(places: Gazetteer, split: str, rng: np.random.Generator, now_min: int) -> Labelled:
    """Draw one that tells nothing of this network now, or tries to give an order."""
    templates = ORDERS[split] if rng.random() < ORDER_SHARE else IRRELEVANT[split]
    template = templates[int(rng.integers(len(templates)))]
    truth = Truth("irrelevant", "none", happens=False)
    filler = Filler(rng, places, now_min, split, truth)
    return _labelled(filler.write(template), _source(template, "none", rng), now_min, truth, rng)


def _written(places: Gazetteer, split: str, rng: np.random.Generator, truth: Truth, now_min: int) -> Labelled:
    templates = templates_of(truth.kind, truth.type, split)
    template = templates[int(rng.integers(len(templates)))]
    filler = Filler(rng, places, now_min, split, truth)
    text = filler.write(template).strip()
    said = filler.concluded()
    if truth.type == "road_closure" and truth.kind == "update" and said.lanes_blocked is None:
        said = replace(said, lanes_blocked=ALL_LANES)
    if truth.kind in ("new", "announcement") and rng.random() < UNSURE_SHARE:
        hedge = HEDGES[split][int(rng.integers(len(HEDGES[split])))]
        text = hedge.replace("%s", text if text.endswith((".", "?")) else f"{text}.")
        said = replace(said, certain=False)
    elif rng.random() < ASIDE_SHARE:
        aside = ASIDES[split][int(rng.integers(len(ASIDES[split])))]
        text = f"{text if text.endswith('.') else text + '.'} {aside}"
    wrong = FALSE_SHARE if said.certain else FALSE_RUMOUR_SHARE
    said = replace(said, happens=truth.kind != "retraction" and rng.random() >= wrong)
    return _labelled(text, _source(template, truth.type, rng), now_min, said, rng)


def _labelled(text: str, source: str, now_min: int, truth: Truth, rng: np.random.Generator) -> Labelled:
    text = re.sub(r"\s+(?=[.;,:?])", "", " ".join(text.split()))  # a choice that fell on nothing leaves a gap
    return Labelled(Bulletin(now_min * 60.0, source, roughen(text[:1].upper() + text[1:], source, rng)), truth)


def _source(template: str, kind_of_event: str, rng: np.random.Generator) -> str:
    sources = tags(template, "by") or TELLERS[kind_of_event]
    return sources[int(rng.integers(len(sources)))]


def templates_of(kind: str, kind_of_event: str, split: str) -> tuple[str, ...]:
    """The templates of a kind and type in a split."""
    return CHANGES[kind][split] if kind in CHANGES else EVENTS[kind_of_event][kind][split]


def every_template(split: str) -> Iterator[str]:
    """All templates of a split, those of asides and hedges too."""
    for kinds in EVENTS.values():
        for of_split in kinds.values():
            yield from of_split[split]
    for of_split in CHANGES.values():
        yield from of_split[split]
    yield from (*IRRELEVANT[split], *ORDERS[split], *ASIDES[split], *HEDGES[split])
