"""Why this phase? Each fact of a prompt is taken out in turn and the phases are scored again.

This is occlusion, or leave-one-out attribution (Zeiler and Fergus, 2014; Li, Monroe and Jurafsky, 2016), on facts
instead of pixels or words. A fact is taken out by what the prompt says where there is nothing: no vehicles, no wait,
all room, a green just old enough to change, no report. So the model reads words that training showed it, though not
always together: a lane with a long queue and no vehicle near it, say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from llm.tasks.decide.prompt import CUE, PromptError

Floats = NDArray[np.float64]
#: Scores prompts with so many phases each: ``PhaseScorer.score``.
Score = Callable[[Sequence[str], Sequence[int]], list[Floats]]
#: What a prompt says where there is nothing, by fact.
NOTHING = {"queue": 0, "wait": 0, "near": 0, "mid": 0, "far": 0, "room": 9, "next": 0, "age": 5}
#: Several facts that tell of the same vehicles, for decisions that no single one made.
GROUPS = {"traffic": ("queue", "wait", "near", "mid", "far", "next")}
#: A second reason is told if it weighs at least this share of the first; nothing is, below so much log-odds.
SHARE, LEAST_NATS = 0.5, 0.05
_FACT = re.compile(r"([a-z]+)((?:\d+\??|\?)(?:/(?:\d+\??|\?))?)")
_REPORT = re.compile(r"Report ([^:]*): (?:\d\d:\d\d )?(.*)")


@dataclass(frozen=True)
class Fact:
    """One thing that a prompt says.

    Attributes:
        kind: ``queue``, ``wait``, ..., ``age``, ``green`` (which phase is green), ``report`` or a key of ``GROUPS``.
        phase: letter of the phase that it is about; empty for a report.
        value: as the prompt has it: a number, maybe with ``?``, or two with a slash, or a report's words.
        without: the prompt without it.
    """

    kind: str
    phase: str
    value: str
    without: str


@dataclass(frozen=True)
class Effect:
    """What became of a decision without one fact.

    Attributes:
        fact: the fact.
        nats: by how much the fact raises the chosen phase's log-probability above the best other one's.
        instead: the phase that is chosen without it.
    """

    fact: Fact
    nats: float
    instead: int


@dataclass(frozen=True)
class Explanation:
    """Why a phase was chosen: the effects, strongest support first, and a sentence."""

    chosen: int
    effects: tuple[Effect, ...]
    sentence: str

    @property
    def deciding(self) -> tuple[Effect, ...]:
        """The facts without which another phase would have been chosen."""
        return tuple(effect for effect in self.effects if effect.instead != self.chosen)


def explain(prompt: str, scores: Floats, score: Score) -> Explanation:
    """Find the facts that made a decision.

    Args:
        prompt: what the model read, as ``llm.tasks.decide.prompt.signal_prompt`` writes it.
        scores: (phases,) what it answered, finite.
        score: scores other prompts with the same model.

    Raises:
        PromptError: the text is no such prompt.
    """
    found = facts(prompt)
    again = score([fact.without for fact in found], [len(scores)] * len(found))
    chosen = int(scores.argmax())
    lead = _lead(scores, chosen)
    effects = [
        Effect(fact, lead - _lead(without, chosen), int(without.argmax()))
        for fact, without in zip(found, again, strict=True)
        if np.isfinite(without).all()
    ]
    effects.sort(key=lambda effect: -effect.nats)
    return Explanation(chosen, tuple(effects), _sentence(prompt, chosen, effects))


def facts(prompt: str) -> list[Fact]:
    """Every fact of a prompt that says something, with the prompt without it.

    Raises:
        PromptError: the text is no prompt of ours.
    """
    lines = prompt.split("\n")
    if len(lines) < 2 or not lines[0].startswith("change") or lines[-1] != CUE:
        raise PromptError(f"Only prompts from 'change...' to '{CUE}' can be explained, not '{lines[0][:40]}...'.")
    found: list[Fact] = []
    for number, line in enumerate(lines[:-1]):
        before, after = lines[:number], lines[number + 1 :]
        if (report := _REPORT.match(line)) is not None:
            found.append(Fact("report", "", report[2], "\n".join(before + after)))
        else:
            found += [replace(fact, without="\n".join([*before, fact.without, *after])) for fact in _line_facts(line)]
    return found


def _line_facts(line: str) -> list[Fact]:
    """The facts of one line, each with the line without it; where several tell of a phase's traffic, also together."""
    phase = line[-1]
    words = [match.groups() for word in line.split(" ") if (match := _FACT.fullmatch(word))]
    said = [(_kind(name), value) for name, value in words if _says(_kind(name), value)]
    found = [Fact("green", phase, phase, f"red {line.partition(' ')[2]}")] if line.startswith("green") else []
    found += [Fact(kind, phase, value, _without(line, {kind})) for kind, value in said]
    for group, kinds in GROUPS.items():
        members = {kind for kind, _ in said if kind in kinds}
        if len(members) > 1:
            found.append(Fact(group, phase, "", _without(line, members)))
    return found


def _without(line: str, kinds: Collection[str]) -> str:
    words = [(word, _FACT.fullmatch(word)) for word in line.split(" ")]
    return " ".join(
        f"{found[1]}{NOTHING[_kind(found[1])]}" if found and _kind(found[1]) in kinds else word for word, found in words
    )


def _kind(word: str) -> str:
    """What the number after a word tells; that after ``green`` is the green's age."""
    return "age" if word == "green" else word


def _says(kind: str, value: str) -> bool:
    return kind in NOTHING and value != str(NOTHING[kind])


def _green_letter(prompt: str) -> str:
    """The letter of the phase that is green, or ``none``."""
    return next((line[-1] for line in prompt.split("\n") if line.startswith("green")), "none")


def _lead(scores: Floats, phase: int) -> float:
    """Log-probability of a phase above the best other one's."""
    others = np.delete(scores, phase)
    return float(scores[phase] - others.max()) if len(others) else float("inf")


# --- in words


def _sentence(prompt: str, chosen: int, effects: Sequence[Effect]) -> str:
    letter = chr(65 + chosen)
    single = [effect for effect in effects if effect.fact.kind not in GROUPS]
    support = [effect for effect in single if effect.nats >= LEAST_NATS]
    deciding = [effect for effect in single if effect.instead != chosen]
    deciding = deciding or [effect for effect in effects if effect.instead != chosen]
    told = [effect for effect in support[:2] if effect.nats >= SHARE * support[0].nats]
    if not told:
        return f"{letter}, though no single fact speaks for it."
    because = " and ".join(_reason(effect.fact, letter) for effect in told)
    if not deciding:
        return f"{letter}, because {because}; no single fact decided it."
    first = deciding[0]
    other = chr(65 + first.instead)
    instead = f"stayed at {other}" if other == _green_letter(prompt) else f"chosen {other}"
    return f"{letter}, because {because}; without {_name(first.fact, letter)} it would have {instead}."


def _reason(fact: Fact, chosen: str) -> str:
    """The fact as a clause after "because"."""
    to, number = (
        "it" if fact.phase == chosen else fact.phase,
        fact.value.partition("/")[0].rstrip("?") or "an unknown number of",
    )
    plural = number != "1"
    vehicles = f"{number} vehicle{'s' if plural else ''}"
    full = "full" if number == "0" else f"only {number} tenths free" if number.isdigit() else "of unknown room"
    return {
        "queue": f"{vehicles} queue{'' if plural else 's'} for {to}",
        "wait": f"a vehicle has waited {number} s for {to}",
        "near": f"{vehicles} {'are' if plural else 'is'} within 50 m of {to}",
        "mid": f"{vehicles} {'are' if plural else 'is'} 50 to 100 m before {to}",
        "far": f"{vehicles} {'are' if plural else 'is'} 100 to 200 m before {to}",
        "room": f"the road behind {to} is {full}",
        "next": f"{vehicles} will arrive for {to} within a minute",
        "age": f"{fact.phase} has been green for {number} s",
        "green": f"{to} is green already" if fact.phase == chosen else f"{to} is the green that would end",
        "report": f"a report says '{fact.value}'",
    }[fact.kind]


def _name(fact: Fact, chosen: str) -> str:
    """The fact as a noun after "without"."""
    to = "its" if fact.phase == chosen else f"{fact.phase}'s"
    return {
        "queue": f"{to} queue",
        "wait": f"{to} wait",
        "near": f"{to} vehicles within 50 m",
        "mid": f"{to} vehicles at 50 to 100 m",
        "far": f"{to} vehicles at 100 to 200 m",
        "room": f"{to} want of room",
        "next": f"{to} expected arrivals",
        "age": f"{to} age",
        "green": f"{to} being green",
        "report": "the report",
        "traffic": f"all of {to} traffic",
    }[fact.kind]
