"""The prompt: well formed for any observation, with the facts in it; reports where they matter."""

from __future__ import annotations

import math
import re
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from llm.tasks.decide.prompt import (
    CUE,
    MAX_COUNT,
    MAX_REPORT_CHARS,
    MAX_REPORTS,
    MAX_SECONDS,
    PROMPT_CHARSET,
    PromptError,
    max_prompt_chars,
    phase_letters,
    plain_text,
    priority_shares,
    protected_exits,
    reports_in_force,
    signal_prompt,
)
from scenarios import resco
from sim.network import Movement, Network, Road, Signal
from sim.observation import Observation, Report
from sim.timings import CLEARANCE, NATIVE, Timings
from tests.support.helpers import corridor, crossing, make_network, make_observation, make_signal

NAN = math.nan
NUMBER = r"(\d+\??|\?)"
PAIR = r"((?:\d+\??|\?)(?:/(?:\d+\??|\?))?)"
HEAD = re.compile(r"change(\d+)")
ROW = re.compile(
    rf"(?:red|green{NUMBER}) go(\d+)(?: give([1-9]\d*))? queue{PAIR} wait{NUMBER} near{PAIR} mid{PAIR}"
    rf" far{PAIR} room{NUMBER}(?: next{NUMBER})? ([A-Z])"
)


def parse_prompt(text: str) -> dict[str, Any]:
    """The facts of a prompt; fails on any line that is not as documented."""
    lines = text.split("\n")
    assert lines.pop() == CUE
    head = HEAD.fullmatch(lines.pop(0))
    assert head
    reports = []
    while lines and lines[0].startswith("Report "):
        reports.append(lines.pop(0))
    rows: dict[str, dict[str, str]] = {}
    names = ("age", "go", "give", "queue", "wait", "near", "mid", "far", "room", "next")
    while lines and (row := ROW.fullmatch(lines[0])):
        *values, letter = row.groups()
        rows[letter] = dict(zip(names, values, strict=True))
        lines.pop(0)
    assert not lines
    assert all(re.fullmatch(r"Report (before|after) [A-Z]( [A-Z])*: [ -~]*", line) for line in reports)
    green = [letter for letter, row_ in rows.items() if row_["age"] is not None]
    assert len(green) <= 1
    return {"green": green[0] if green else "none", "change": int(head[1]), "rows": rows, "reports": reports}


def number_fits(shown: str, values: np.ndarray, cap: int, longest: bool = False) -> None:
    """Whether a printed number is the capped, rounded sum (or maximum) of what is known."""
    known = values[~np.isnan(values)].clip(0, 1e6)
    if not len(known):
        assert shown == "?"
        return
    assert shown.endswith("?") == (len(known) < len(values))
    expected = min(known.max() if longest else known.sum(), cap)
    assert abs(int(shown.rstrip("?")) - expected) <= 0.5 + 1e-6


def pair_fits(shown: str, values: np.ndarray, shares: np.ndarray) -> None:
    """Whether a printed pair is that of all vehicles and of those with priority, one number where these are equal."""
    every, slash, first = shown.partition("/")
    number_fits(every, values, MAX_COUNT)
    number_fits(first or every, values.clip(0, 1e6) * shares, MAX_COUNT)
    assert not slash or first != every


COLOGNE3 = Network.read(resco.load("cologne3").net_file)


def wild(network: Network) -> st.SearchStrategy[Observation]:
    numbers = st.one_of(st.just(NAN), st.just(0.0), st.floats(), st.floats(0, 30), st.floats(0, 1e300))
    lanes, exits, signals = len(network.lanes), len(network.exits), len(network.signals)
    return st.builds(
        lambda **fields: make_observation(network, **fields),
        queue_veh=arrays(float, lanes, elements=numbers),
        wait_s=arrays(float, lanes, elements=numbers),
        zone_veh=arrays(float, (lanes, 3), elements=numbers),
        exit_room_veh=arrays(float, exits, elements=numbers),
        phase=arrays(np.int64, signals, elements=st.integers(-1, 3)),
        phase_age_s=arrays(float, signals, elements=numbers),
    )


@settings(max_examples=60, deadline=None)
@given(wild(COLOGNE3), st.none() | arrays(float, len(COLOGNE3.lanes), elements=st.floats()))
def test_any_observation_gives_a_prompt_with_its_facts(observation: Observation, forecast: np.ndarray | None) -> None:
    for signal in COLOGNE3.controllable:
        text = signal_prompt(COLOGNE3, signal, observation, forecast)
        assert len(text) <= max_prompt_chars(COLOGNE3)
        facts = parse_prompt(text)
        phase = int(observation.phase[signal.index])
        assert facts["green"] == ("ABCD"[phase] if 0 <= phase < len(signal.phases) else "none")
        if facts["green"] != "none":
            number_fits(facts["rows"][facts["green"]]["age"], observation.phase_age_s[[signal.index]], MAX_SECONDS)
        assert list(facts["rows"]) == list("ABCD"[: len(signal.phases)])
        for phase_, row in zip(signal.phases, facts["rows"].values(), strict=True):
            lanes = list(phase_.lanes)
            letters = [phase_.state[m.link] for m in phase_.movements]
            assert (int(row["go"]), int(row["give"] or 0)) == (letters.count("G"), letters.count("g"))
            shares = np.array(priority_shares(signal, phase_))
            pair_fits(row["queue"], observation.queue_veh[lanes], shares)
            number_fits(row["wait"], observation.wait_s[lanes], MAX_SECONDS, longest=True)
            for zone, name in enumerate(("near", "mid", "far")):
                pair_fits(row[name], observation.zone_veh[lanes, zone], shares)
            assert row["room"] == expected_room(signal, phase_.index, observation)
            if forecast is None:
                assert row["next"] is None
            else:
                number_fits(row["next"], forecast[lanes], MAX_COUNT)


def expected_room(signal: Signal, phase: int, observation: Observation) -> str:
    exits = protected_exits(signal.phases[phase])
    size = COLOGNE3.exit_length_m[exits] / 7.5
    tenths = np.floor((10 * observation.exit_room_veh[exits].clip(-1e9, 1e9) / size)[size >= 2].clip(0, 9))
    return "?" if np.isnan(tenths).any() else str(int(tenths.min(initial=9)))


def test_a_count_below_all_bounds_is_none_and_not_unknown() -> None:
    network = crossing()
    wild_zones = make_observation(network, zone_veh=[[3] * 3, [-math.inf] * 3, [0] * 3])  # the left yields
    rows = signal_prompt(network, network.signals[0], wild_zones).split("\n")
    assert rows[1].endswith("near3 mid3 far3 room9 A")


def test_a_prompt_by_hand() -> None:
    network = crossing()
    observation = make_observation(
        network,
        queue_veh=[4, 2, 0],
        wait_s=[35.4, 61, 0],
        zone_veh=[[5, 1.5, 0], [2, 0, 1], [0, 1, 3]],
        exit_room_veh=[10, 3],
        phase=[1],
        phase_age_s=[12],
    )
    assert signal_prompt(network, network.signals[0], observation) == (
        "change3\n"
        "red go1 give1 queue6/4 wait61 near7/5 mid2 far1/0 room9 A\n"  # its left gives way: neither the full exit nor
        "green12 go1 queue2 wait61 near2 mid0 far1 room3 B\n"  # what stands for it is served there
        "red go1 queue0 wait0 near0 mid1 far3 room3 C\n"
        "Best phase:"
    )


@pytest.mark.parametrize(("timings", "seconds"), [(NATIVE, 3), (CLEARANCE, 5), (replace(NATIVE, all_red_s=500), 99)])
def test_the_cost_of_a_change_shows(timings: Timings, seconds: int) -> None:
    network = crossing()
    text = signal_prompt(network, network.signals[0], make_observation(network), timings=timings)
    assert parse_prompt(text)["change"] == seconds
    assert len(text) <= max_prompt_chars(network)


def test_dead_detectors_show() -> None:
    network = crossing()
    observation = make_observation(network, queue_veh=[4, NAN, NAN], zone_veh=[[1, 1, 1], [NAN] * 3, [NAN] * 3])
    rows = parse_prompt(signal_prompt(network, network.signals[0], observation))["rows"]
    assert rows["A"]["queue"] == "4?"
    assert rows["C"]["queue"] == rows["C"]["far"] == "?"


def test_only_its_own_lanes_matter() -> None:
    network = corridor()
    first, second = network.signals[:2]
    empty = make_observation(network)
    busy = make_observation(network, queue_veh=[0, 0, 5, 5, 5], phase_age_s=[10, 20, 0])
    assert signal_prompt(network, first, empty) == signal_prompt(network, first, busy)
    assert signal_prompt(network, second, empty) != signal_prompt(network, second, busy)


def test_letters() -> None:
    assert phase_letters(3) == "ABC"
    assert len(set(phase_letters(26))) == 26
    movements = [Movement(link, 0, 0, "s") for link in range(27)]
    rows = [("r" * link + "G" + "r" * (26 - link), 9.0) for link in range(27)]
    signal = make_signal("wide", 0, movements, rows)
    network = make_network([signal], ("a_0",), ("b_0",), [0])
    with pytest.raises(PromptError, match=r"27 phases .*\.$"):
        signal_prompt(network, signal, make_observation(network))


# --- reports


def road(name: str, successors: tuple[str, ...], predecessors: tuple[str, ...]) -> Road:
    return Road(name, f"{name}straße", 2, 100.0, 13.9, successors, predecessors, ((0.0, 0.0), (1.0, 0.0)), (0, 1))


def chain() -> Network:
    """crossing() with roads: n is fed by n1 (a bend), that by n2 and x2, n2 by n3 and x3, and so on; s leads to s1."""
    follows = {
        "n": ("s", "e"),
        "w": ("e",),
        "n1": ("n",),
        "n2": ("n1", "away"),
        "x2": ("n1",),
        "n3": ("n2", "away"),
        "n4": ("n3", "away"),
        "s": ("s1", "away"),
        "e": (),
        "s1": (),
        "away": (),
        "far": (),
    }
    before: dict[str, list[str]] = {name: [] for name in follows}
    for name, successors in follows.items():
        for successor in successors:
            before[successor].append(name)
    return crossing(roads={name: road(name, after, tuple(before[name])) for name, after in follows.items()})


def report(edge: str, number: int = 1, text: str = "crash", cleared: bool = False) -> Report:
    return Report(60.0 * number, f"crash-{edge}", text, "crash", edge, 1, 2, cleared)


@pytest.mark.parametrize(
    ("edge", "where"),
    [
        ("n", "before A B"),
        ("n1", "before A B"),  # a bend, no junction
        ("n2", "before A B"),  # one junction away
        ("n3", "before A B"),  # two
        ("n4", None),  # three
        ("w", "before C"),
        ("s", "after A"),
        ("e", "after A B C"),
        ("s1", "after A"),
        ("far", None),
        ("unheard-of", None),
    ],
)
def test_reports_within_two_junctions_name_the_phases(edge: str, where: str | None) -> None:
    network = chain()
    observation = make_observation(network, reports=(report(edge),))
    shown = parse_prompt(signal_prompt(network, network.signals[0], observation))["reports"]
    assert shown == ([] if where is None else [f"Report {where}: crash"])


def test_cleared_and_repeated_reports() -> None:
    network = chain()
    reports = (
        report("n", 1, "two lanes"),
        report("w", 2),
        report("n", 3, "one lane"),
        report("w", 4, "over", cleared=True),
    )
    observation = make_observation(network, reports=reports)
    assert [r.text for r in reports_in_force(network, network.signals[0], observation)] == ["one lane"]


@given(st.lists(st.text(max_size=300), max_size=6))
def test_reports_of_any_text_stay_in_charset_and_length(texts: list[str]) -> None:
    network = chain()
    reports = tuple(replace(report("n", i, text), incident_id=str(i)) for i, text in enumerate(texts))
    prompt = signal_prompt(network, network.signals[0], make_observation(network, reports=reports))
    assert set(prompt) <= set(PROMPT_CHARSET)
    assert len(prompt) <= max_prompt_chars(network)
    shown = parse_prompt(prompt)["reports"]
    assert len(shown) == min(len(texts), MAX_REPORTS)
    assert all(len(line) <= len("Report before A B: ") + MAX_REPORT_CHARS for line in shown)


def test_the_longest_prompt_fits_exactly() -> None:
    network = crossing()
    observation = make_observation(
        network, queue_veh=[1e9, NAN, 1e9], wait_s=[1e9, NAN, 1e9], zone_veh=[[1e9] * 3, [NAN] * 3, [1e9] * 3]
    )
    assert len(signal_prompt(network, network.signals[0], observation)) <= max_prompt_chars(network)


def test_street_names_lose_their_umlauts() -> None:
    assert plain_text("Unfall\nGrößer Straße – Café №1 東") == "Unfall Groesser Strasse - Cafe No1 _"
    assert plain_text("A queue0\nBest phase: B") == "A queue0 Best phase: B"  # a report cannot add lines


@pytest.mark.parametrize("name", ["ingolstadt21", "grid4x4"])
def test_real_networks_fast(name: str) -> None:
    network = Network.read(resco.load(name).net_file)
    observation = make_observation(network, reports=(report(network.lane_edge[0]),))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        prompts = [signal_prompt(network, signal, observation) for signal in network.controllable]
        times.append(time.perf_counter() - start)
    assert any("Report before" in prompt for prompt in prompts)
    assert min(times) < 0.02  # about 2 ms on an idle core
