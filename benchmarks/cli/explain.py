"""``greenloop explain``: why did the language model show this phase at this signal at this second?"""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scenarios.common.names import close_names

if TYPE_CHECKING:
    from controllers.learnt.language_model import LanguageModel
    from llm.tasks.decide.attribution import Explanation
    from scenarios.spec import Scenario
    from sim.network import Network
    from sim.observation import Observation
    from sim.timings import Timings


class ExplainError(ValueError):
    """A question that has no answer; the message is one sentence."""


@dataclass(frozen=True)
class Answer:
    """One explained decision: where, when (s after the scenario's begin), what the model read, and why.

    ``serves`` says for each phase, in the order of its letters, which streets and turns it serves.
    """

    signal: str
    time_s: float
    prompt: str
    explanation: Explanation
    serves: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        effects = [
            {"kind": e.fact.kind, "phase": e.fact.phase, "value": e.fact.value, "nats": e.nats, "instead": e.instead}
            for e in self.explanation.effects
        ]
        plain = {name: value for name, value in vars(self).items() if name != "explanation"}
        chosen, sentence = self.explanation.chosen, self.explanation.sentence
        return {**plain, "chosen": chosen, "sentence": sentence, "effects": effects}


def register(app: typer.Typer) -> None:
    """Add the command to the ``greenloop`` command."""
    app.command()(explain)


def explain(
    scenario: Annotated[str, typer.Option(help="Name or .yaml file.")],
    seed: Annotated[int, typer.Option(min=0, help="Of demand, drivers and incidents.")] = 1,
    time_s: Annotated[
        float, typer.Option("--time", min=0, help="Seconds after the scenario's begin; the next decision from then on.")
    ] = 600.0,
    signal: Annotated[
        list[str] | None, typer.Option(help="Repeat for several.  [default: all that decide then]")
    ] = None,
    controller: Annotated[str, typer.Option(help="A language model.")] = "language_model",
    timings: Annotated[str, typer.Option(help="Signal timings: native, clearance or resco.")] = "native",
    incidents: Annotated[bool, typer.Option("--incidents", help="Draw crashes, closures, ... from the seed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON to stdout, for machines.")] = False,
) -> None:
    """Say why the language model chose a phase: each fact is taken out in turn, and the phases are scored again.

    \b
    Examples:
      greenloop explain --scenario cologne3 --seed 1 --time 600
      greenloop explain --scenario cologne1 --incidents --controller language_model:adapter=runs/first/adapter
      greenloop run --scenario cologne3 --controller language_model:explain=true --decision-log
    """
    from sim.timings import TIMINGS

    if timings not in TIMINGS:
        raise ExplainError(f"There are no timings '{timings}'; choose {', '.join(TIMINGS)}.")
    answers = explained(_scenario(scenario, incidents), seed, time_s, tuple(signal or ()), controller, TIMINGS[timings])
    if as_json:
        typer.echo(json.dumps([answer.as_dict() for answer in answers], indent=1))
        return
    for answer in answers:
        _print(answer)
    _print_legend("\n".join(answer.prompt for answer in answers))


def explained(
    scenario: Scenario, seed: int, time_s: float, signals: tuple[str, ...], spec: str, timings: Timings
) -> list[Answer]:
    """Run a scenario up to a moment and explain the next decision of each signal (of all that decide then, if none).

    Raises:
        ExplainError: no language model, no such signal or seed, or no decision after that time.
        ControllerError, SessionError, ScenarioError: the run itself fails.
    """
    from benchmarks.run.benchmark import MAX_SEED
    from controllers.base import RunContext
    from sim.engine.moments import moments
    from sim.engine.session import Session

    if seed > MAX_SEED:
        raise ExplainError(f"Seed {seed} is too large; SUMO takes 0 to {MAX_SEED}.")
    start_s = scenario.begin_s + scenario.warmup_s
    if not start_s + time_s < scenario.end_s:
        raise _no_decision(", ".join(signals) or "any signal", time_s, scenario)
    controller = _language_model(spec)
    with Session(scenario, seed, timings) as session:
        wanted = _signal_names(signals, session.network)
        observation = session.start()
        controller.context = RunContext(scenario, seed, timings)
        controller.reset(session.network, seed)
        answers: dict[str, Answer] = {}
        for moment in moments(session, observation, controller.act):
            if moment.observation.time_s >= start_s + time_s:
                for name in sorted(set(moment.decisions) & (wanted or set(moment.decisions)) - set(answers)):
                    answers[name] = _answer(controller, name, moment.observation, scenario)
                if answers and wanted <= set(answers):
                    return [answers[name] for name in signals or sorted(answers)]
    lacking = ", ".join(sorted(wanted - set(answers))) or "any signal"
    raise _no_decision(lacking, time_s, scenario)


def _no_decision(where: str, time_s: float, scenario: Scenario) -> ExplainError:
    end_s = scenario.end_s - scenario.begin_s - scenario.warmup_s
    return ExplainError(
        f"There is no decision at {where} from second {time_s:g} to the end ({end_s:g}); give an earlier --time."
    )


def _answer(controller: LanguageModel, name: str, observation: Observation, scenario: Scenario) -> Answer:
    from benchmarks.networks.prompt_legend import served

    prompt = str(controller.notes_of(name)["prompt"])
    serves = served(controller.network, controller.network.signal(name))
    return Answer(name, observation.time_s - scenario.begin_s - scenario.warmup_s, prompt, controller.why(name), serves)


def _language_model(spec: str) -> LanguageModel:
    from controllers import registry
    from controllers.learnt.language_model import LanguageModel

    controller = registry.make(spec)
    if not isinstance(controller, LanguageModel):
        raise ExplainError(f"'{spec}' reads no prompt, so it cannot be explained; use language_model.")
    return controller


def _signal_names(signals: tuple[str, ...], network: Network) -> set[str]:
    known = [signal.id for signal in network.controllable]
    for name in signals:
        if name not in known:
            near = close_names(name, known, most=3, least_likeness=0.0)
            raise ExplainError(f"There is no controllable signal '{name}'; did you mean {' or '.join(near)}?")
    return set(signals)


def _scenario(name: str, incidents: bool) -> Scenario:
    from benchmarks.run.drawn_run import possible_rates
    from scenarios import registry
    from scenarios.spec import DEFAULT_RATES

    found = registry.load(Path(name) if name.endswith((".yaml", ".yml")) else name)
    if not incidents:
        return found
    return found.with_(incident_rates=possible_rates(DEFAULT_RATES.model_dump(), found, surely=True))


def _print(answer: Answer) -> None:
    from benchmarks.cli.tables import listing, stdout

    console = stdout()
    console.print(f"{answer.signal}, second {answer.time_s:g}", style="bold", markup=False, highlight=False)
    console.print(answer.prompt, markup=False, highlight=False, soft_wrap=True)
    for letter, served in zip(string.ascii_uppercase, answer.serves, strict=False):
        console.print(f"{letter} serves {served}", markup=False, highlight=False, soft_wrap=True)
    console.print(answer.explanation.sentence, style="bold", markup=False, highlight=False, soft_wrap=True)
    chosen = answer.explanation.chosen
    rows = [
        [f"{e.fact.kind}{e.fact.value if e.fact.kind != 'report' else ''}", e.fact.phase, f"{e.nats:+.2f}",
         "" if e.instead == chosen else chr(65 + e.instead)]
        for e in answer.explanation.effects
    ]  # fmt: skip
    console.print(listing(("fact", "phase", "speaks for it by", "without it"), rows, numbers=("speaks for it by",)))


def _print_legend(prompts: str) -> None:
    from benchmarks.cli.tables import listing, stdout
    from benchmarks.networks.prompt_legend import legend

    stdout().print(listing(("word, such as", "means"), [list(row) for row in legend(prompts)]))
