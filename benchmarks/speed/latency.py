"""What a decision of the language model costs, beside the plain transformers call in the same run.

Prompts are those of a real run. Ways alternate prompt batch by prompt batch, so that a machine that is busy for a while
is busy for all, and both the wall clock and the thread's own time are taken. The plain call is what one would write
first: the tokenizer with padding, then the whole model in fp32 with the logits of all tokens.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import provenance
from benchmarks.run.cell import Cell, run_cell
from controllers import registry as controllers
from controllers.base import ControllerError, RunContext
from controllers.learnt.language_model import AUTO, MAX_REMEMBERED, LanguageModel
from llm.backbone.loading import Backbone, BackboneError, load
from llm.backbone.precision import BF16, FP32
from llm.engine.rows import CLOSE_NATS
from llm.tasks.decide.prompt import signal_prompt
from llm.tasks.decide.scorer import PhaseScorer
from scenarios import registry
from scenarios.spec import Scenario, ScenarioError
from sim.engine.moments import moments
from sim.engine.session import Session
from sim.timings import NATIVE

BATCHES = (1, 8, 32)
LAYERS = (2, 4, 6, 8, 10, 30)


@dataclass(frozen=True)
class Asked:
    """Prompts in the order of a run, each with its number of phases."""

    prompts: list[str]
    phases: list[int]

    def sample(self, count: int) -> Asked:
        """So many of them, evenly spread and without repeats."""
        unique = list(dict(zip(self.prompts, self.phases, strict=True)).items())
        chosen = [unique[i] for i in np.linspace(0, len(unique) - 1, min(count, len(unique))).astype(int)]
        return Asked([prompt for prompt, _ in chosen], [phases for _, phases in chosen])


def asked(scenario: Scenario, driver: str = "greedy", seed: int = 1) -> Asked:
    """The prompts of all due signals in a run that a classical controller drives."""
    prompts: list[str] = []
    phases: list[int] = []
    with Session(scenario, seed) as session:
        observation = session.start()
        controller = controllers.make(driver)
        controller.context = RunContext(scenario, seed, NATIVE)
        controller.reset(session.network, seed)
        for moment in moments(session, observation, controller.act):
            for signal in () if moment.ended else session.network.controllable:
                if moment.observation.due[signal.index]:
                    prompts.append(signal_prompt(session.network, signal, moment.observation))
                    phases.append(len(signal.phases))
    return Asked(prompts, phases)


def repeats(prompts: Sequence[str], remembered: int = MAX_REMEMBERED) -> float:
    """The share of prompts that a memory of the last so many distinct ones would have known."""
    known: dict[str, None] = {}
    hits = 0
    for prompt in prompts:
        hits += prompt in known
        known.pop(prompt, None)
        known[prompt] = None
        if len(known) > remembered:
            del known[next(iter(known))]
    return hits / max(len(prompts), 1)


def plain_call(backbone: Backbone, prompts: Sequence[str]) -> None:
    """The call that one would write first: all in one padded batch, the logits of every token."""
    import torch

    encoded = backbone.tokenizer(list(prompts), return_tensors="pt", padding=True).to(backbone.device)
    with torch.inference_mode():
        backbone.model(**encoded).logits[:, -1].cpu()


Way = Callable[[list[str], list[int]], object]


def ways(backbone: Backbone) -> dict[str, Way]:
    """The plain call, and our scorer in fp32 and (where the model can) bf16."""
    exact = PhaseScorer(backbone, FP32)
    found: dict[str, Way] = {"plain": lambda prompts, _: plain_call(backbone, prompts), "fp32": exact.score}
    try:
        found[BF16] = PhaseScorer(backbone, BF16).score
    except BackboneError as error:
        print(f"bf16 left out: {error}", file=sys.stderr)
    return found


def times(backbone: Backbone, sample: Asked, batch: int, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds a signal's decision for each way at one batch size, and how often the plain call's time holds it."""
    measured = ways(backbone)
    wall: dict[str, list[float]] = {name: [] for name in measured}
    thread: dict[str, list[float]] = {name: [] for name in measured}
    starts = [i * batch % (len(sample.prompts) - batch + 1) for i in range(rounds + 1)]
    for number, start in enumerate(starts):
        part = slice(start, start + batch)
        for name, way in measured.items():
            before = time.perf_counter(), time.thread_time()
            way(sample.prompts[part], sample.phases[part])
            _wait(backbone.device)
            if number:  # the first warms up
                wall[name].append(1e3 * (time.perf_counter() - before[0]) / batch)
                thread[name].append(1e3 * (time.thread_time() - before[1]) / batch)
    return {name: _summary(wall[name], thread[name], thread["plain"], wall["plain"]) for name in measured}


def _summary(
    wall: list[float], thread: list[float], plain_thread: list[float], plain_wall: list[float]
) -> dict[str, float]:
    return {
        "ms_p50": _round(np.median(wall)),
        "ms_p95": _round(np.quantile(wall, 0.95)),
        "thread_ms_p50": _round(np.median(thread)),
        "plain_over_this_wall": _round(np.median(np.divide(plain_wall, wall))),
        "plain_over_this_thread": _round(np.median(np.divide(plain_thread, thread))),
    }


def agreement(backbone: Backbone, sample: Asked, batch: int = 8) -> dict[str, float]:
    """What bf16 gains over fp32, and the share of decisions that stay as they were: with and without a second look.

    The rule by which bf16 stays: at least 1.5 times faster with at least 99 % of decisions unchanged.
    """
    exact, fast = PhaseScorer(backbone, FP32), PhaseScorer(backbone, BF16)
    rough = PhaseScorer(backbone, BF16, close_nats=-math.inf)
    chosen: dict[str, list[int]] = {"exact": [], "fast": [], "rough": []}
    seconds = dict.fromkeys(chosen, 0.0)
    for start in range(0, len(sample.prompts), batch):
        part = slice(start, start + batch)
        for name, scorer in (("exact", exact), ("fast", fast), ("rough", rough)):
            before_s = time.thread_time()
            scores = scorer.score(sample.prompts[part], sample.phases[part])
            seconds[name] += time.thread_time() - before_s
            chosen[name] += [int(score.argmax()) for score in scores]
    same = {name: float(np.mean(np.equal(chosen[name], chosen["exact"]))) for name in chosen}
    return {
        "decisions": len(sample.prompts),
        "close_nats": CLOSE_NATS,
        "fp32_over_bf16_thread": _round(seconds["exact"] / seconds["fast"]),
        "unchanged_share": same["fast"],
        "read_again_share": fast.close / len(sample.prompts),
        "unchanged_share_without_second_look": same["rough"],
        "keep": float(seconds["exact"] >= 1.5 * seconds["fast"] and same["fast"] >= 0.99),
    }


def hour(spec: str, name: str = "cologne8", minutes: float = 60.0) -> dict[str, float]:
    """A whole run under a controller, simulation included: how many times faster than real time."""
    scenario = shortened(name, minutes)
    result = run_cell(Cell(scenario, spec, 1, decision_limit_s=0.0))
    told = ("controller_decisions", "controller_remembered", "controller_close", "controller_fallbacks")
    return {
        "times_real_time": _round(result.wall["real_time_factor"]),
        "simulated_s": scenario.horizon_s,
        "decisions_wall_s": _round(result.wall["wall_decisions_s"]),
        "simulation_wall_s": _round(result.wall["wall_simulation_s"]),
        "delay_s": _round(result.metrics["delay_s"]),
        **{key: float(result.metrics[key]) for key in told if key in result.metrics},
    }


def shortened(name: str, minutes: float) -> Scenario:
    """A scenario by name, cut to so many measured minutes."""
    scenario = registry.load(name)
    return scenario.with_(end_s=min(scenario.end_s, scenario.begin_s + scenario.warmup_s + 60.0 * minutes))


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def _round(value: float | np.floating[Any]) -> float:
    return round(float(value), 3)


def _spec(chosen: argparse.Namespace, adapter: Path | None, layers: int) -> str:
    """The controller of the real-time measurement."""
    options: dict[str, object] = {"model": chosen.model, "adapter": adapter, "layers": layers, "device": chosen.device}
    options["threads"] = chosen.threads
    return "language_model:" + ",".join(f"{name}={value}" for name, value in options.items())


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """All measurements that the options ask for."""
    drawn = asked(shortened(chosen.scenario, chosen.minutes))
    sample = drawn.sample(chosen.prompts)
    unasked = AUTO if not chosen.layers else None  # the adapter that ships is for its own layers only
    adapter = LanguageModel(chosen.model, chosen.adapter or unasked).adapter
    batches = [batch for batch in BATCHES if batch <= len(sample.prompts)]
    if left_out := sorted(set(BATCHES) - set(batches)):
        counts = ", ".join(map(str, left_out))
        print(f"Batches of {counts} left out: there are {len(sample.prompts)} different prompts.", file=sys.stderr)
    curve: dict[str, Any] = {}
    for layers in chosen.layers or (None,):
        backbone = load(chosen.model, adapter, layers, chosen.threads, chosen.device)
        print(f"{backbone.layers} layers", file=sys.stderr)
        found: dict[str, Any] = {
            f"batch_{batch}": times(backbone, sample, batch, _rounds(chosen, batch)) for batch in batches
        }
        found["tokens_per_prompt"] = _round(
            np.mean([len(row) for row in backbone.tokenizer(sample.prompts)["input_ids"]])
        )
        if chosen.agreement:
            found["bf16"] = agreement(backbone, sample)
        if chosen.hour:
            found["hour"] = hour(_spec(chosen, adapter, backbone.layers), chosen.scenario, chosen.minutes)
        curve[str(backbone.layers)] = found
    return {
        "prompts": {"scenario": chosen.scenario, "minutes": chosen.minutes, "asked": len(drawn.prompts),
                    "repeated_share": _round(repeats(drawn.prompts)), "sampled": len(sample.prompts)},
        "model": chosen.model,
        "adapter": None if adapter is None else Path(adapter).name,
        "device": _device(chosen.device),
        "threads": chosen.threads,
        "layers": curve,
    }  # fmt: skip


def _rounds(chosen: argparse.Namespace, batch: int) -> int:
    return max(3, min(int(chosen.prompts) // batch, 40))


def _device(device: str) -> str:
    if not device.startswith("cuda"):
        return device
    import torch

    return f"{device}: {torch.cuda.get_device_name()}"


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number above 0")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the measurements and print (or write) them as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.latency", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--model", default="default")
    parser.add_argument("--adapter", help="folder; the one that ships when this and --layers are missing")
    parser.add_argument(
        "--layers", type=_positive, nargs="*", default=None, help=f"such as {' '.join(map(str, LAYERS))}"
    )
    parser.add_argument("--scenario", default="cologne8")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--prompts", type=_positive, default=96, help="sampled of the scenario's")
    parser.add_argument("--threads", type=_positive, default=1)
    parser.add_argument("--device", default=None, help="cpu or cuda; cuda where there is one")
    parser.add_argument("--no-hour", dest="hour", action="store_false", help="leave the whole run out")
    parser.add_argument("--no-agreement", dest="agreement", action="store_false", help="leave bf16's decisions out")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", str(chosen.threads))
    if chosen.device is None:
        import torch

        chosen.device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        measured = measure(chosen)
    except (BackboneError, ControllerError, ScenarioError) as error:
        sys.exit(f"greenloop: {error}")
    report = {
        "what": "milliseconds a signal's decision, beside the plain transformers call (fp32, all logits)",
        **measured,
        "versions": provenance.versions(),
        "machine": provenance.machine(),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if chosen.out is not None:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
