"""Bulletins: no template in two splits, truth as the text says it, the same for the same seed."""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz import fuzz, process

from scenarios.words import grammar
from scenarios.words.bulletins import TELLERS, bulletins, every_template, templates_of
from scenarios.words.gazetteer import invented
from scenarios.words.noise import roughen
from scenarios.words.phrases import length_class
from scenarios.words.truth import KINDS, LENGTHS, SOURCES, SPLITS, TYPES, Labelled
from scenarios.words.wordings import EVENTS

PLACES = invented(5)


def plain(template: str) -> str:
    """A template without marks and places, in small letters."""
    return " ".join(re.sub(r"<\w+=[\w,]+>|\{\w+\}|[^a-z]", " ", template.lower()).split())


def skeleton(label: Labelled) -> str:
    """A text without its places and numbers."""
    text = label.bulletin.text.lower()
    for name in PLACES.names:
        text = text.replace(name.lower(), "@")
    return " ".join(re.sub(r"\d+", "#", text).split())


@pytest.mark.parametrize(("one", "other"), list(combinations(SPLITS, 2)))
def test_splits_share_no_template(one: str, other: str) -> None:
    mine, theirs = ([plain(template) for template in every_template(split)] for split in (one, other))
    assert set(mine) & set(theirs) == set()
    long = [text for text in theirs if len(text) > 30]
    alike = [(text, *found[:2]) for text in mine if (found := process.extractOne(text, long, scorer=fuzz.ratio))]
    assert [pair for pair in alike if pair[2] > 90] == []


@pytest.mark.parametrize(("one", "other"), list(combinations(SPLITS, 2)))
def test_no_bulletin_of_one_split_reads_as_one_of_another(one: str, other: str) -> None:
    mine, theirs = ({skeleton(label) for label in bulletins(PLACES, split, 1, 600)} for split in (one, other))
    assert mine & theirs == set()


def test_every_type_has_wordings_in_every_split_and_training_has_the_most() -> None:
    assert set(EVENTS) | {"none"} == set(TYPES) == set(TELLERS)
    assert {source for sources in TELLERS.values() for source in sources} == set(SOURCES)
    for kind_of_event, kinds in EVENTS.items():
        for kind in kinds:
            counts = [len(templates_of(kind, kind_of_event, split)) for split in SPLITS]
            assert min(counts) >= 1, (kind_of_event, kind)
    ways = {split: sum(map(grammar.ways, every_template(split))) for split in SPLITS}
    assert ways["train"] > 5000 < 50 * ways["held_out"]


def test_every_template_can_be_read() -> None:
    for split in SPLITS:
        for template in every_template(split):
            assert grammar.parse(template)
    with pytest.raises(grammar.GrammarError):
        grammar.parse("a [b|c")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), split=st.sampled_from(SPLITS))
def test_truth_is_consistent_with_the_text(seed: int, split: str) -> None:
    for label in bulletins(PLACES, split, seed, 8):
        truth, text = label.truth, label.bulletin.text
        assert truth.kind in KINDS
        assert truth.type in TYPES
        assert label.bulletin.source in SOURCES
        assert not re.search(r"[\[\]{}|<>%]|  | [.,;]", text), text
        assert (truth.kind == "irrelevant") == (truth.type == "none")
        if truth.kind == "irrelevant":
            assert (truth.streets, truth.starts_in_min, truth.lasts_min) == ((), None, None)
            continue
        for place in truth.streets:  # abbreviated or mistyped perhaps, but there
            assert fuzz.partial_ratio(place.lower(), text.lower()) > 60, (place, text)
        if truth.vehicles is not None and truth.vehicles >= 100:
            assert str(truth.vehicles) in text.replace(",", "")
        if truth.lasts_min is not None:
            assert truth.lasts_min > 0
            assert truth.length_class == length_class(truth.lasts_min)
        if truth.kind == "announcement":
            assert truth.starts_in_min is None or truth.starts_in_min > 0, text
        if truth.kind == "new":
            assert truth.starts_in_min is None or truth.starts_in_min <= 0, text
        if truth.kind in ("over", "retraction"):
            assert truth.starts_in_min is None
            assert truth.lasts_min is None


def test_what_is_said_of_the_length_goes_with_what_is_true() -> None:
    longest = {"short": 0.0, "medium": 0.0, "long": 0.0}
    for label in bulletins(PLACES, "train", 11, 1500):
        truth = label.truth
        if truth.kind in ("new", "announcement") and truth.length_class:
            assert truth.true_lasts_min is not None
            if truth.lasts_min is None:
                assert length_class(truth.true_lasts_min - 1e-6) in (truth.length_class, "medium")
            else:
                assert 0.75 < truth.true_lasts_min / truth.lasts_min < 1.35
            longest[truth.length_class] = max(longest[truth.length_class], truth.true_lasts_min)
    assert longest["short"] < longest["medium"] < longest["long"]


def test_draws_are_reproducible_varied_and_of_all_kinds() -> None:
    drawn = bulletins(PLACES, "train", 2, 1000)
    assert drawn == bulletins(PLACES, "train", 2, 1000)
    assert drawn[:10] == bulletins(PLACES, "train", 2, 10)
    assert drawn != bulletins(PLACES, "train", 3, 1000)
    assert {label.truth.kind for label in drawn} == set(KINDS)
    assert {label.truth.type for label in drawn} == set(TYPES)
    assert {label.truth.length_class for label in drawn} == {*LENGTHS, None}
    assert Counter(label.truth.certain for label in drawn)[False] > 10
    assert sum(not label.truth.happens for label in drawn if label.truth.kind == "new") > 5
    assert len({skeleton(label) for label in drawn}) > 700


def test_noise_leaves_numbers_and_times_alone() -> None:
    import numpy as np

    text = "About forty vehicles in half an hour on Meadow Street, closing at 17:45 for twenty minutes"
    for seed in range(60):
        rough = roughen(text, "public_post", np.random.default_rng(seed)).lower()
        assert "17:45" in rough
        assert "forty" in rough
        assert "half an hour" in rough
        assert "twenty min" in rough
