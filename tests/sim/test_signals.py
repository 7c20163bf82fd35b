"""Signal safety: no sequence of decisions, however wild, breaks a rule."""

from __future__ import annotations

from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios import registry
from sim.network import Network, Signal
from sim.signals import (
    Auditor,
    Decision,
    DecisionError,
    Program,
    ProgramRow,
    SignalMachine,
    check_decisions,
    green_foes,
    intergreen,
    native_pairs,
)
from sim.timings import CLEARANCE, NATIVE, Timings

ALL_RED = Timings("tight", yellow_s=4, all_red_s=1, min_green_s=7, max_red_s=60)
NETWORKS = ("cologne1", "cologne8", "ingolstadt7", "grid4x4", "arterial4x4")


@lru_cache
def network(name: str) -> Network:
    return Network.read(registry.load(name).net_file)


SIGNALS = [(name, signal.id) for name in NETWORKS for signal in network(name).controllable]


class Oracle:
    """Checks shown states against the rules on its own, with none of the machine's code."""

    def __init__(self, signal: Signal, machine: SignalMachine, timings: Timings) -> None:
        self.signal, self.timings = signal, timings
        self.yellow_s = signal.yellow_s if timings.yellow_s is None else timings.yellow_s
        self.max_red_s = machine.max_red_s
        self.history: list[str] = []
        self.red_s = [0] * signal.links
        self.native = [row.state for row in signal.program]
        self.served = {m.link for phase in signal.phases for m in phase.movements}

    def see(self, state: str, called: set[int]) -> None:
        self.history.append(state)
        for link, letter in enumerate(state):
            runs = self._run(link)
            if letter in "rs" and len(runs) > 1 and runs[1][0] in "Gg":
                pytest.fail(f"link {link} went from green to red without yellow")
            if letter in "rs" and len(runs) > 1 and runs[1][0] == "y" and runs[0][1] == 1:
                assert runs[1][1] >= self.yellow_s, "yellow was cut short"
            if letter == "y" and runs[0][1] == 1 and len(runs) > 2:
                assert runs[1][1] >= self.timings.min_green_s, "green was cut short"
            waits = letter not in "Gg" and link in called
            self.red_s[link] = self.red_s[link] + 1 if waits else 0
            if link in self.served:
                assert self.red_s[link] <= self.max_red_s, "red was too long"
        self._check_foes(state)
        self._check_all_red(state)

    def _run(self, link: int) -> list[tuple[str, int]]:
        """The last kinds of light of one link, newest first, with their lengths."""
        runs: list[tuple[str, int]] = []
        for state in reversed(self.history[-200:]):
            kind = {"G": "G", "g": "G", "s": "r"}.get(state[link], state[link])
            if runs and runs[-1][0] == kind:
                runs[-1] = (kind, runs[-1][1] + 1)
            elif len(runs) == 3:
                break
            else:
                runs.append((kind, 1))
        return runs

    def _check_foes(self, state: str) -> None:
        for a, b in self.signal.foes:
            if state[a] in "Gg" and state[b] in "Gg":
                assert any(row[a] in "Gg" and row[b] in "Gg" for row in self.native), f"foes {a}, {b} green together"

    def _check_all_red(self, state: str) -> None:
        """Between the end of a yellow and the start of another link's green lies the all-red time."""
        if len(self.history) < 2:
            return
        before = self.history[-2]
        starts = [i for i, (a, b) in enumerate(zip(before, state, strict=True)) if a not in "Gg" and b in "Gg"]
        if not starts:
            return
        recent = self.history[-1 - self.timings.all_red_s : -1]
        assert all("y" not in shown for shown in recent), "a green began within the all-red time"


wild = st.lists(
    st.tuples(
        st.integers(0, 12),  # seconds until the next wish
        st.integers(-2, 9),  # phase, possible or not
        st.sampled_from([None, 0.5, 3, 30, 500]),  # hold
        st.integers(0, 2**40 - 1),  # which links have demand
    ),
    min_size=1,
    max_size=80,
)


@settings(max_examples=120, deadline=None)
@given(which=st.sampled_from(SIGNALS), timings=st.sampled_from([NATIVE, CLEARANCE, ALL_RED]), wishes=wild)
def test_wild_decisions_never_break_a_rule(
    which: tuple[str, str], timings: Timings, wishes: list[tuple[int, int, float | None, int]]
) -> None:
    signal = network(which[0]).signal(which[1])
    machine = SignalMachine(signal, timings, signal.program[0].state, timings.min_green_s)
    oracle = Oracle(signal, machine, timings)
    called = set(range(signal.links))
    for wait_s, phase, hold_s, demand in wishes:
        called = {link for link in range(signal.links) if demand >> link & 1}
        machine.call(called)
        machine.request(phase, hold_s)
        for _ in range(wait_s):
            oracle.see(machine.tick(), called)


@settings(max_examples=60, deadline=None)
@given(
    which=st.sampled_from(SIGNALS), seed=st.randoms(use_true_random=False), timings=st.sampled_from([NATIVE, ALL_RED])
)
def test_long_stubborn_runs_serve_every_call(which: tuple[str, str], seed: object, timings: Timings) -> None:
    """Long enough that the maximum red matters: two favourite phases, everybody calling all the time."""
    signal = network(which[0]).signal(which[1])
    machine = SignalMachine(signal, timings, signal.program[0].state, timings.min_green_s)
    auditor = Auditor(signal, timings)
    red_s = dict.fromkeys({m.link for phase in signal.phases for m in phase.movements}, 0)
    for second in range(900):
        if second % timings.decision_interval_s == 0:
            machine.request(seed.choice([0, 1]), seed.choice([None, 60]))  # type: ignore[attr-defined]
        state = machine.tick()
        auditor.see(state, second)
        for link in red_s:
            red_s[link] = 0 if state[link] in "Gg" else red_s[link] + 1
            assert red_s[link] <= machine.max_red_s
    assert not +auditor.violations
    if len(signal.phases) > 2:
        assert machine.repairs["max_red"] > 0


def test_intergreen_by_hand() -> None:
    assert intergreen("GGrr", "rrGG", 3, 0) == ["yyrr"] * 3
    assert intergreen("GGrr", "rrGG", 3, 2) == ["yyrr"] * 3 + ["rrrr"] * 2
    # A link green before and after stays green; the weaker right of way holds until the change is over.
    assert intergreen("GgrG", "rGGg", 2, 1) == ["ygrg"] * 2 + ["rgrg"]
    # Nobody loses green: nothing to wait for.
    assert intergreen("Grr", "GGr", 3, 2) == []
    # A turn arrow ("s") is no green and needs no yellow.
    assert intergreen("sGr", "Grs", 3, 0) == ["syr"] * 3


def test_minimum_green_is_counted_not_obeyed() -> None:
    signal = network("cologne1").signals[0]
    machine = SignalMachine(signal, NATIVE, signal.phases[0].state, 0)
    machine.request(1)
    assert machine.repairs["min_green"] == 1
    assert machine.tick() == signal.phases[0].state
    machine.request(0)  # what is shown anyway needs no repair
    assert machine.repairs["min_green"] == 1
    machine.request(99)
    assert machine.repairs["unknown_phase"] == 1


def test_hold_keeps_the_phase_until_it_ends() -> None:
    signal = network("cologne1").signals[0]
    machine = SignalMachine(signal, NATIVE, signal.phases[0].state, 5)
    machine.call([])
    machine.request(0, hold_s=20)
    assert not machine.due
    for _ in range(20):
        machine.tick()
    assert machine.due


def test_taking_over_in_the_middle_of_a_yellow_gives_the_whole_yellow() -> None:
    signal = network("cologne1").signals[0]
    yellow = signal.program[1].state
    machine = SignalMachine(signal, NATIVE, yellow, 1)
    assert machine.phase == -1
    assert machine.due
    machine.request(2)
    shown = [machine.tick() for _ in range(6)]
    ending = [link for link, letter in enumerate(yellow) if letter == "y" and signal.phases[2].state[link] == "r"]
    assert all(state[link] == "y" for state in shown[:5] for link in ending)
    assert shown[5] == signal.phases[2].state


@pytest.mark.parametrize(
    ("states", "violation"),
    [
        (["G", "G", "G", "G", "G", "r"], "no_yellow"),
        (["r"] * 3 + ["G", "G", "y", "y", "y", "y", "y", "r"], "min_green"),
        (["G"] * 6 + ["y", "y", "r"], "no_yellow"),
    ],
)
def test_auditor_finds_what_is_wrong(states: list[str], violation: str) -> None:
    signal = network("cologne1").signals[0]
    auditor = Auditor(signal, NATIVE)
    for second, letter in enumerate(states):
        auditor.see(letter + "r" * (signal.links - 1), second)
    assert auditor.violations[violation] == 1


def test_a_green_may_change_to_a_light_that_is_off() -> None:
    signal = network("cologne1").signals[0]
    auditor = Auditor(signal, NATIVE)
    for second, letter in enumerate("GGGGGGoo"):
        auditor.see(letter + "r" * (signal.links - 1), second)
    assert not +auditor.violations


def test_auditor_finds_foes() -> None:
    signal = network("cologne1").signals[0]
    auditor = Auditor(signal, NATIVE)
    auditor.see("G" * signal.links, 0)
    assert auditor.violations["foes"] == len(signal.foes - native_pairs(signal)) > 0


def test_every_native_program_passes_the_foe_audit() -> None:
    for name, signal_id in SIGNALS:
        signal = network(name).signal(signal_id)
        assert all(green_foes(signal, row.state) <= native_pairs(signal) for row in signal.program)


BAD = [
    (3, "must return a mapping"),
    ({"nowhere": 0}, "'nowhere', which is not in the network"),
    ({"SIGNAL": 9}, "asked for phase 9; it has phases 0 to 3"),
    ({"SIGNAL": -1}, "asked for phase -1"),
    ({"SIGNAL": 1.5}, "returned 1.5"),
    ({"SIGNAL": True}, "returned True"),
    ({"SIGNAL": "A"}, "returned 'A'"),
    ({"SIGNAL": Decision()}, "asked for phase None"),
    ({"SIGNAL": Decision(phase=0, hold_s=float("nan"))}, "hold for nan"),
    ({"SIGNAL": Decision(phase=0, hold_s=-1)}, "hold for -1"),
    ({"SIGNAL": Decision(program=Program(()))}, "has no rows"),
    ({"SIGNAL": Decision(program=Program((ProgramRow("GG", 10),)))}, "a row of 2 links; the signal has 20"),
    ({"SIGNAL": Decision(program=Program((ProgramRow("G" * 20, 10),)))}, "green to crossing links"),
    ({"SIGNAL": Decision(program=Program((ProgramRow("r" * 20, 0),)))}, "a row of 0 s"),
    ({"SIGNAL": Decision(program=Program((ProgramRow("r" * 20, float("inf")),)))}, "a row of inf s"),
    ({"SIGNAL": Decision(program=Program((ProgramRow("r" * 20, 9, 1, float("nan")),)))}, "bounded by nan s"),
    ({"SIGNAL": Decision(program=Program((ProgramRow("r" * 20, 9),), offset_s=float("nan")))}, "offset of nan s"),
    ({"SIGNAL": Decision(program=Program((ProgramRow("r" * 19 + "x", 9),)))}, "' shows 'x'; SUMO knows"),
    ({"SIGNAL": Decision(program=Program((ProgramRow("r" * 20, 9),), type="clever"))}, "' is of type 'clever'"),
    (
        {"SIGNAL": Decision(program=Program((ProgramRow("r" * 19 + "G", 9), ProgramRow("r" * 20, 9))))},
        "' takes green from link 19 without yellow",
    ),
]


@pytest.mark.parametrize(("decisions", "sentence"), BAD)
def test_nonsense_is_refused_in_a_sentence_that_names_the_signal(decisions: object, sentence: str) -> None:
    cologne1 = network("cologne1")
    name = cologne1.signals[0].id
    if isinstance(decisions, dict):
        decisions = {name if key == "SIGNAL" else key: value for key, value in decisions.items()}
    with pytest.raises(DecisionError) as error:
        check_decisions(cologne1, decisions)
    assert sentence in str(error.value)
    if isinstance(decisions, dict) and name in decisions:
        assert f"'{name}'" in str(error.value)
    assert "\n" not in str(error.value)
