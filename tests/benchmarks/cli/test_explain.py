"""Explanations: each fact is found and taken out, and the one that decided is named."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cli import explain as explain_cli
from benchmarks.cli.explain import ExplainError
from benchmarks.networks.prompt_legend import LEGEND, legend, served
from controllers.base import ControllerError
from controllers.learnt.language_model import LanguageModel
from llm.backbone import cards
from llm.backbone.loading import load
from llm.tasks.decide.attribution import explain, facts
from llm.tasks.decide.prompt import CUE, PromptError, signal_prompt
from llm.tasks.decide.scorer import PhaseScorer, letter_ids
from scenarios import registry
from sim.network import Network
from sim.timings import NATIVE
from tests.support.helpers import corridor, make_observation
from tests.support.llm_tiny import write_model

PROMPT = """change5
Report before A: 07:12 crash on queue9 Strasse, one of two lanes blocked
green12 go2 give1 queue3 wait35 near5 mid3 far4 room9 next7 A
red go1 queue12 wait0 near1 mid0 far2 room0 next? B
Best phase:"""


def scorer(**weights: float) -> object:
    """Scores phases by their own facts; ``blocked`` is what a report before a phase costs it."""

    def score(prompts: Sequence[str], phases: Sequence[int]) -> list[np.ndarray]:
        found = []
        for prompt, count in zip(prompts, phases, strict=True):
            logits = np.zeros(count)
            for i, line in enumerate(prompt.split("\n")[-1 - count : -1]):
                words = {**dict(re.findall(r"([a-z]+)(\d+)", line)), "green": line.startswith("green")}
                logits[i] = sum(weights.get(k, 0) * float(v or 0) for k, v in words.items())
                logits[i] -= weights.get("blocked", 0) * prompt.count(f"Report before {chr(65 + i)}")
            found.append(logits - np.log(np.exp(logits).sum()))
        return found

    return score


def test_every_fact_is_taken_out_alone() -> None:
    found = facts(PROMPT)
    told = [(fact.kind, fact.phase, fact.value) for fact in found]
    assert told == [
        ("report", "", "crash on queue9 Strasse, one of two lanes blocked"),
        ("green", "A", "A"),
        ("age", "A", "12"),
        *(("queue", "A", "3"), ("wait", "A", "35"), ("near", "A", "5")),
        *(("mid", "A", "3"), ("far", "A", "4"), ("next", "A", "7")),
        ("traffic", "A", ""),
        *(("queue", "B", "12"), ("near", "B", "1"), ("far", "B", "2"), ("room", "B", "0"), ("next", "B", "?")),
        ("traffic", "B", ""),
    ]
    for fact in found:
        lines, before = fact.without.split("\n"), PROMPT.split("\n")
        if fact.kind == "report":
            assert lines == [before[0], *before[2:]]
            continue
        assert len(lines) == len(before)
        changed = [(a.split(), b.split()) for a, b in zip(before, lines, strict=True) if a != b]
        assert len(changed) == 1
        words = sum(a != b for a, b in zip(*changed[0], strict=True))
        assert words == (1 if fact.kind != "traffic" else 6 if fact.phase == "A" else 4)


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({"queue": 0.5}, "B, because 12 vehicles queue for it; without its queue it would have stayed at A."),
        (
            {"wait": 0.1, "queue": 0.01},
            "A, because a vehicle has waited 35 s for it; without its wait it would have chosen B.",
        ),
        (
            {"queue": 0.1, "blocked": 2.0, "near": 0.5},
            "B, because a report says 'crash on queue9 Strasse, one of two lanes blocked' and 12 vehicles queue for it"
            "; without the report it would have stayed at A.",
        ),
        (
            {"green": 1.0, "queue": 0.01},
            "A, because it is green already; without its being green it would have chosen B.",
        ),
        ({"room": -0.5}, "B, because the road behind it is full; without its want of room it would have stayed at A."),
        ({}, "A, though no single fact speaks for it."),
        (
            {"near": 1.0, "far": 1.0},
            "A, because 5 vehicles are within 50 m of it and 4 vehicles are 100 to 200 m before it; "
            "without all of its traffic it would have chosen B.",
        ),
    ],
    ids=["queue", "wait", "report", "green", "room", "nothing", "together"],
)
def test_the_planted_fact_is_named(weights: dict[str, float], sentence: str) -> None:
    score = scorer(**weights)
    found = explain(PROMPT, score([PROMPT], [2])[0], score)
    assert found.sentence == sentence


def test_effects_are_what_the_facts_are_worth() -> None:
    score = scorer(queue=0.5, wait=0.01)
    found = explain(PROMPT, score([PROMPT], [2])[0], score)
    worth = {(e.fact.kind, e.fact.phase): e.nats for e in found.effects}
    assert worth["queue", "B"] == pytest.approx(6.0)
    assert worth["queue", "A"] == pytest.approx(-1.5)
    assert worth["wait", "A"] == pytest.approx(-0.35)
    assert worth["report", ""] == 0
    assert {(e.fact.kind, e.fact.phase) for e in found.deciding} == {("queue", "B"), ("traffic", "B")}


def test_answers_that_are_not_finite_are_left_out() -> None:
    def score(prompts: Sequence[str], phases: Sequence[int]) -> list[np.ndarray]:
        return [np.full(2, np.nan) if "queue0" in prompt else np.log([0.4, 0.6]) for prompt in prompts]

    found = explain(PROMPT, np.log([0.4, 0.6]), score)
    assert "queue" not in {effect.fact.kind for effect in found.effects}
    assert found.sentence == "B, though no single fact speaks for it."


def test_a_single_phase() -> None:
    prompt = "change3\ngreen9 go1 queue3 wait5 near1 mid0 far0 room9 A\nBest phase:"
    assert explain(prompt, np.zeros(1), lambda p, n: [np.zeros(1) for _ in p]).sentence.startswith("A, though")


@pytest.mark.parametrize("text", ["", "hello", "change3", "change3\nred go1 A\nBest"])
def test_texts_that_are_no_prompts(text: str) -> None:
    with pytest.raises(PromptError, match="can be explained"):
        facts(text)


@given(st.integers(0, 2**32 - 1))
def test_prompts_as_they_are_written(seed: int) -> None:
    rng, network = np.random.default_rng(seed), corridor()
    lanes = len(network.lanes)
    observation = make_observation(
        network,
        queue_veh=rng.integers(0, 3, lanes).astype(float),
        zone_veh=rng.integers(0, 3, (lanes, 3)).astype(float),
        wait_s=np.where(rng.random(lanes) < 0.2, np.nan, 3.0),
    )
    prompt = signal_prompt(network, network.controllable[0], observation, np.ones(lanes))
    for fact in facts(prompt):
        assert fact.without != prompt
        if fact.kind not in ("green", "traffic"):
            assert (fact.kind, fact.phase) not in {(f.kind, f.phase) for f in facts(fact.without)}


# --- a real model


#: Queues and waits of A and B, all that the taught model goes by.
CASES = list(itertools.product((0, 9), (0, 9), (0, 8), (0, 8)))
STATES = (("green5", "red"), ("red", "green5"), ("red", "red"))


def rule(queue_a: int, queue_b: int, wait_a: int, wait_b: int) -> int:
    """The longer queue wins, then the longer wait."""
    return int(queue_b > queue_a if queue_a != queue_b else wait_b > wait_a)


def taught_prompt(case: tuple[int, ...], rng: np.random.Generator) -> str:
    """A prompt in which the state and the far vehicles do not matter."""
    states, far = STATES[rng.integers(3)], rng.integers(0, 10, 2)
    rows = [f"{states[i]} queue{case[i]} wait{case[2 + i]} far{far[i]} {'AB'[i]}" for i in range(2)]
    return "\n".join(["change3", *rows, CUE])


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that has learnt the rule, and nothing else."""
    import torch

    folder = write_model(tmp_path_factory.mktemp("explain") / "llama", width=32, layers=2)
    backbone, rng = load(str(folder)), np.random.default_rng(0)
    letters, wanted = letter_ids(backbone.tokenizer, 2), torch.tensor([rule(*case) for case in CASES])
    weights = list(backbone.model.parameters())
    for weight in weights:
        weight.data *= 0.1 if weight.dim() > 1 else 1.0
    optimizer = torch.optim.Adam(weights, lr=3e-3)
    for _ in range(300):
        ids = [backbone.tokenizer(taught_prompt(case, rng))["input_ids"] for case in CASES]
        ends = torch.tensor([len(row) - 1 for row in ids])
        padded = torch.tensor([row + [0] * (int(ends.max()) + 1 - len(row)) for row in ids])
        logits = backbone.model(input_ids=padded).logits[torch.arange(len(ids)), ends][:, letters]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, wanted).backward()
        optimizer.step()
    backbone.model.save_pretrained(folder)
    return folder


def test_a_real_model_names_what_it_was_taught(taught: Path) -> None:
    judge, rng = PhaseScorer(load(str(taught))), np.random.default_rng(1)
    right = 0
    for case in CASES * 3:
        prompt = taught_prompt(case, rng)
        scores = judge.score([prompt], [2])[0]
        must = {
            (("queue", "queue", "wait", "wait")[k], "ABAB"[k])
            for k in range(4)
            if rule(*(0 if i == k else value for i, value in enumerate(case))) != rule(*case)
        }
        found = explain(prompt, scores, judge.score)
        named = {(e.fact.kind, e.fact.phase) for e in found.deciding if e.fact.kind != "traffic"}
        if must and named == must:
            first = next(e.fact for e in found.deciding if e.fact.kind != "traffic")
            assert f"without its {first.kind} it would have" in found.sentence
        right += int(scores.argmax()) == rule(*case) and named == must
    assert right >= 40  # of 48


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_model_that_ships_names_the_planted_fact() -> None:
    """One phase has seven vehicles before it, the others none; so these vehicles must be the reason."""
    judge = PhaseScorer(load(adapter=cards.shipped()), "fp32")
    idle = "queue0 wait0 near0 mid0 far0 room9"
    for count, planted in ((2, 1), (3, 1), (3, 2), (4, 1), (4, 2), (4, 3)):
        rows = [f"{'red' if place else 'green20'} go2 {idle} {chr(65 + place)}" for place in range(count)]
        rows[planted] = rows[planted].replace("queue0 wait0 near0", "queue7 wait40 near7")
        prompt = "\n".join(["change5", *rows, CUE])
        found = explain(prompt, judge.score([prompt], [count])[0], judge.score)
        named = next(effect.fact for effect in found.deciding if effect.fact.kind != "traffic")
        assert (named.kind, named.phase) == ("near", chr(65 + planted))
        assert found.sentence == (
            f"{chr(65 + planted)}, because 7 vehicles are within 50 m of it; "
            "without its vehicles within 50 m it would have stayed at A."
        )


def test_in_the_loop_and_in_the_log(taught: Path, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "decisions.jsonl"
    controller = LanguageModel(str(taught), precision="fp32", log=log, explain=True)
    network = corridor()
    controller.reset(network, 0)
    queues = make_observation(network, queue_veh=[9.0, 0.0, 0.0, 0.0, 0.0], phase_age_s=[30.0, 30.0])
    decisions = controller.act(queues)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["signal"]: line["chosen"] for line in lines} == decisions
    for line in lines:
        assert line["prompt"].endswith("Best phase:")
        assert int(np.argmax(line["scores"])) == line["chosen"]
        assert line["why"].startswith(chr(65 + line["chosen"]) + ", ")
        assert "fallback" not in line
    assert controller.why(lines[0]["signal"]).sentence == lines[0]["why"]
    with pytest.raises(ControllerError, match=r"to explain at 'nowhere': it has decided nothing there\.$"):
        controller.why("nowhere")


def test_a_fallback_is_logged_as_one(taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    controller = LanguageModel(str(taught), log=tmp_path / "log.jsonl", explain=True)
    controller.reset(corridor(), 0)
    monkeypatch.setattr(controller._scorer, "score", lambda p, n: [np.full(k, np.nan) for k in n])
    controller.act(make_observation(corridor()))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["fallback"], line["scores"]) for line in lines] == [("nan", [None, None])] * 2
    assert all("why" not in line for line in lines)
    with pytest.raises(ControllerError, match=r"Greedy decided in the model's place \(nan\)\.$"):
        controller.why("A")


# --- the command


def test_a_moment_of_a_real_run(taught: Path) -> None:
    scenario, spec = registry.load("cologne3"), f"language_model:model={taught},precision=fp32"
    answers = explain_cli.explained(scenario, 1, 30, (), spec, NATIVE)
    assert answers
    assert all(30 <= answer.time_s < 60 for answer in answers)
    one = answers[-1]
    again = explain_cli.explained(scenario, 1, 30, (one.signal,), spec, NATIVE)[0]
    assert again.as_dict() == one.as_dict()
    assert json.loads(json.dumps(again.as_dict()))["sentence"] == one.explanation.sentence
    explain_cli._print(one)


@pytest.mark.parametrize(
    ("spec", "signals", "time_s", "match"),
    [
        ("greedy", (), 0, r"'greedy' reads no prompt"),
        ("{lm}", ("nowhere",), 0, r"no controllable signal 'nowhere'; did you mean \S+"),
        ("{lm}", (), 20, r"no decision at any signal from second 20 to the end \(20\)"),
    ],
    ids=["classical", "signal", "late"],
)
def test_questions_without_answers(
    spec: str, signals: tuple[str, ...], time_s: float, match: str, taught: Path
) -> None:
    scenario = registry.load("cologne1")
    scenario = scenario.with_(end_s=scenario.begin_s + 20)
    with pytest.raises(ExplainError, match=match) as error:
        explain_cli.explained(scenario, 1, time_s, signals, spec.format(lm=f"language_model:model={taught}"), NATIVE)
    assert str(error.value).endswith((".", "?"))


@pytest.mark.parametrize(
    ("seed", "time_s", "match"),
    [
        (1, 999999, r"no decision at any signal from second 999999 to the end \(3600\); give an earlier --time\.$"),
        (1, float("inf"), r"from second inf to the end"),
        (99999999999, 600, r"^Seed 99999999999 is too large; SUMO takes 0 to 2147483647\.$"),
    ],
)
def test_what_no_run_answers_starts_none(seed: int, time_s: float, match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.engine.session.Session", None)
    with pytest.raises(ExplainError, match=match):
        explain_cli.explained(registry.load("cologne1"), seed, time_s, (), "language_model:model=nowhere", NATIVE)


# --- legend


def test_the_legend_explains_each_word_of_a_prompt_and_no_other() -> None:
    words = {example for example, _ in legend(PROMPT)}
    assert words == {example for example, _ in LEGEND.values()}
    assert {example for example, _ in legend("change5\nred go1 room9 A")} == {"change5", "red", "go5", "room9"}


def test_the_glossary_has_the_legend() -> None:
    glossary = (Path(__file__).parents[3] / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert [word for word, meaning in LEGEND.values() if f"| `{word}` | {meaning} |" not in glossary] == []


def test_each_letter_has_its_roads_and_turns() -> None:
    network = Network.of(registry.load("cologne3"))
    told = served(network, network.signal("360086"))
    assert told == (
        "-241660955#10 from the north-east: ahead, right; left, around give way"
        " | 241660955#7 from the south-west: ahead, right; left, around give way",
        "-241660955#10 from the north-east: left, around | 241660955#7 from the south-west: left, around",
        "-41910185#2 from the south: ahead, right; left, around give way"
        " | 4045329#5 from the north: ahead, right; left, around give way",
        "-41910185#2 from the south: left, around | 4045329#5 from the north: left, around",
    )
