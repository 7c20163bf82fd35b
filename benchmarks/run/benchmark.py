"""A whole benchmark from a request: what ``greenloop run`` and ``greenloop.run`` have in common."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.compare.comparison import BEST
from benchmarks.results.metrics import GRIDLOCK, GridlockRule
from benchmarks.run import matrix
from benchmarks.run.cell import Cell
from benchmarks.run.drawn_run import possible_rates
from benchmarks.suite import Suite, Variant
from benchmarks.suite import load as load_suite
from controllers import registry
from scenarios import registry as scenario_registry
from scenarios.common.names import close_names
from scenarios.spec import DEFAULT_RATES, Incident, Scenario, ScenarioError
from sim.timings import TIMINGS, Timings
from sim.workers.local import usable_cores

if TYPE_CHECKING:
    import pandas as pd

CONTROLLERS = ("fixed_time", "greedy", "max_pressure")
BACKENDS = ("libsumo", "traci")
#: So many can show a difference for a handful of controllers; fewer by choice.
SEEDS = tuple(range(1, 11))
#: More processes than this give nothing: each cell keeps one core busy and its SUMO another for part of the time.
MAX_WORKERS = 64
#: SUMO's seeds are 32-bit integers.
MAX_SEED = 2**31 - 1
MAX_SEEDS = 10_000
#: Importing and making a controller before anything runs may take this long when decisions have no limit, s.
MAKE_LIMIT_S = 60.0
#: A day; far longer ones overflow the system's timer.
MAX_LIMIT_S = 86_400.0


class RequestError(ValueError):
    """A request that makes no sense; the message is one sentence."""


@dataclass(frozen=True)
class Request:
    """What to run; None means: as the suite has it, or the default.

    ``incidents`` True draws incidents at the default rates, False leaves the scenarios' own, a tuple replaces them.
    """

    scenarios: tuple[str | Path | Scenario, ...] = ()
    net: Path | None = None
    routes: tuple[Path, ...] = ()
    controllers: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    suite: str | None = None
    timings: str | None = None
    minutes: float | None = None
    incidents: bool | tuple[Incident, ...] = False
    demand_scale: float | None = None
    jitter_s: float | None = None
    out: Path = Path("results")
    workers: int | None = None
    backend: str = "libsumo"
    gui: bool = False
    baseline: str | None = None
    decision_limit_s: float = 60.0
    cell_limit_s: float | None = None
    trace: bool = False
    decision_log: bool = False
    charge_latency: bool = False


@dataclass(frozen=True)
class Plan:
    """A request made concrete."""

    cells: list[Cell]
    out: Path
    workers: int
    baseline: str | None
    gridlock: GridlockRule = field(default=GRIDLOCK)
    cell_limit_s: float | None = None
    description: str = ""
    notes: tuple[str, ...] = ()


def plan(request: Request) -> Plan:
    """Check a request and turn it into cells.

    Raises:
        RequestError, SuiteError, ScenarioError, NetworkError, ControllerError, ResultError: one sentence each.
    """
    suite = load_suite(request.suite) if request.suite else None
    cases = _cases(request, suite)
    scenarios = [scenario for scenario, _ in cases]
    controllers = tuple(dict.fromkeys(request.controllers or (suite.controllers if suite else CONTROLLERS)))
    seeds = request.seeds or (suite.seeds if suite else SEEDS)
    if request.backend not in BACKENDS:
        raise RequestError(f"There is no backend '{request.backend}'; choose {' or '.join(BACKENDS)}.")
    if not 0 <= request.decision_limit_s <= MAX_LIMIT_S:
        raise RequestError(
            f"A decision limit of {request.decision_limit_s:g} s makes no sense; give 0 (no limit) to {MAX_LIMIT_S:g}."
        )
    keeps = suite is not None and _keeps_to(suite, request)
    baseline = request.baseline or (suite.baseline if suite and keeps else None)
    if baseline is not None and baseline not in (*controllers, BEST):
        raise RequestError(f"The baseline '{baseline}' is not among the controllers: {', '.join(controllers)}.")
    notes = matrix.check(scenarios, controllers, seeds[0], request.out, request.decision_limit_s or MAKE_LIMIT_S)
    like = Cell(
        scenarios[0],
        controllers[0],
        seeds[0],
        backend="traci" if request.gui else request.backend,
        gui=request.gui,
        suite=suite.record if suite and keeps else None,
        decision_limit_s=0.0 if request.gui else request.decision_limit_s,
        trace=request.trace,
        decision_log=request.decision_log,
        charge_latency=request.charge_latency,
    )
    timings = {id(scenario): timings for scenario, timings in cases}
    cells = matrix.make_cells(scenarios, controllers, seeds, like)
    return Plan(
        [replace(cell, timings=timings[id(cell.scenario)]) for cell in cells],
        request.out,
        1 if request.gui else _workers(request.workers),
        baseline,
        suite.gridlock if suite else GRIDLOCK,
        request.cell_limit_s or None,
        f"Suite {suite.name} {suite.version}: {suite.description}" if suite else "",
        notes,
    )


def run(
    scenarios: str | Path | Scenario | Sequence[str | Path | Scenario],
    controllers: str | Sequence[str] = CONTROLLERS,
    seeds: int | Sequence[int] = len(SEEDS),
    out: str | Path = "results",
    **options: object,
) -> pd.DataFrame:
    """Run scenarios x controllers x seeds and return one row per run.

    Args:
        scenarios: names, ``.yaml`` paths, folders of these or Scenario objects, one or several.
        controllers: specs such as ``greedy`` or ``my_file.py:MyController``, one or several.
        seeds: how many (from 1), or which.
        out: folder of the results; finished runs found there are kept and not repeated.
        **options: any other field of ``benchmarks.run.benchmark.Request``, such as ``minutes``,
            ``timings`` or ``workers``.

    Raises:
        RequestError, ScenarioError, NetworkError, ControllerError, ResultError: one sentence each. Runs that fail are
            left out of the table; their sentences are on stderr and in ``*.failed.json`` files.
    """
    from benchmarks.results.run_result import flat, read
    from benchmarks.run.progress import SweepProgress

    request = Request(
        scenarios=(scenarios,) if isinstance(scenarios, (str, Path, Scenario)) else tuple(scenarios),
        controllers=(controllers,) if isinstance(controllers, str) else tuple(controllers),
        seeds=parse_seeds(str(seeds)) if isinstance(seeds, int) else tuple(seeds),
        out=Path(out),
        **options,  # type: ignore[arg-type]
    )
    planned = plan(request)
    fetch_model(planned)
    with SweepProgress() as progress:
        sweep = matrix.run(planned.cells, planned.out, planned.workers, progress, planned.cell_limit_s)
    import pandas as pd

    return pd.DataFrame([flat(read(path)) for path in sweep.paths])


def fetch_model(planned: Plan) -> None:
    """Fetch the default model now, with its progress bar, if a controller will ask for it.

    Raises:
        BackboneError: it cannot be had.
    """
    entries = registry.entries()
    for spec in dict.fromkeys(cell.controller for cell in planned.cells):
        entry = entries.get(spec.partition(":")[0])
        if entry is not None and entry.needs_model and not re.search(r"[:,]model=(?!default)", spec):
            from llm.backbone import loading as backbone

            backbone.fetch()


def parse_seeds(text: str) -> tuple[int, ...]:
    """``5`` is the seeds 1 to 5; ``1,2,7`` and ``0-9`` name them.

    Raises:
        RequestError: the text is none of these, or asks for a seed above 2**31 - 1 or more than 10,000 seeds.
    """
    seeds: list[int] = []
    for part in text.replace(" ", "").strip(",").split(","):
        found = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?", part)
        if found is None or (found[2] and int(found[2]) < int(found[1])):
            raise RequestError(f"Seeds '{text}' make no sense; write 5 (for 1 to 5), 1,2,7 or 0-9.")
        counted = text.strip() == found[1]  # a lone number says how many
        first, last = 1 if counted else int(found[1]), int(found[2] or found[1])
        if len(seeds) + last - first >= MAX_SEEDS:
            raise RequestError(f"Seeds '{text}' are more than {MAX_SEEDS:,}; ask for fewer.")
        if last > MAX_SEED:
            raise RequestError(f"Seed {last} is too large; SUMO takes 0 to {MAX_SEED}.")
        seeds += range(first, last + 1)
    if not seeds:
        raise RequestError("Give at least one seed, such as --seeds 1.")
    return tuple(dict.fromkeys(seeds))


def unknown_tag(tag: str, known: Collection[str]) -> RequestError:
    """What to say about a tag that no scenario has."""
    near = close_names(tag, known, most=3, least_likeness=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(sorted(known))}."
    return RequestError(f"No scenario has the tag '{tag}'; {hint}")


def _scenarios(request: Request, suite: Suite | None) -> list[Scenario]:
    named = [one for entry in request.scenarios for one in _expanded(entry)]
    found = [entry if isinstance(entry, Scenario) else scenario_registry.load(entry) for entry in named]
    if request.net is not None:
        if not request.routes:
            raise RequestError(f"Say which traffic drives on {request.net}: --routes my.rou.xml.")
        found.append(scenario_registry.from_files(request.net, request.routes))
    elif request.routes:
        raise RequestError("Routes need the network that they are for: --net my.net.xml.")
    if not found and suite is not None:
        found = [scenario_registry.load(name) for name in suite.scenarios]
    if not found and suite is not None:
        raise RequestError(
            f"Suite {suite.name} runs on scenarios that you bring: --scenario with a .yaml file or a folder of them."
        )
    if not found:
        raise RequestError("Say what to run: --scenario cologne1, --net with --routes, or --suite quick.")
    return found


def _expanded(entry: str | Path | Scenario) -> list[str | Path | Scenario]:
    """The scenario files of a folder, in order of their names; anything else as it is."""
    if isinstance(entry, Scenario) or scenario_registry.is_registered(str(entry)) or not Path(entry).is_dir():
        return [entry]
    files = sorted((*Path(entry).glob("*.yaml"), *Path(entry).glob("*.yml")))
    if not files:
        raise RequestError(f"Folder {entry} holds no scenario (.yaml); give a folder that 'greenloop import' wrote.")
    return [str(file) for file in files]


def _cases(request: Request, suite: Suite | None) -> list[tuple[Scenario, Timings]]:
    """Every scenario in every variant, with its timings; what the request asks for goes before the suite."""
    found: list[tuple[Scenario, Timings]] = []
    for scenario in _scenarios(request, suite):
        for variant in (suite and suite.variants) or (None,):
            name = request.timings or (variant and variant.timings) or (suite.timings if suite else "native")
            if name not in TIMINGS:
                raise RequestError(f"There are no timings '{name}'; choose {', '.join(TIMINGS)}.")
            found.append((_changed(scenario, request, suite, variant), TIMINGS[name]))
    return found


def _keeps_to(suite: Suite, request: Request) -> bool:
    """Whether each run is one of the suite's, maybe with other controllers or seeds; else it must not bear its name."""
    changed = (request.net, request.timings, request.minutes, request.demand_scale, request.jitter_s)
    return (
        all(value is None for value in changed)
        and not request.incidents
        and (not suite.scenarios or all(name in suite.scenarios for name in request.scenarios))
    )


def _changed(scenario: Scenario, request: Request, suite: Suite | None, variant: Variant | None) -> Scenario:
    """The scenario with the horizon, demand, incidents, drivers and detectors asked for."""
    changes: dict[str, object] = variant.changes(scenario) if variant else {}
    minutes = request.minutes if request.minutes is not None else suite.minutes if suite else None
    if minutes is not None:
        if not minutes > 0:
            raise RequestError(f"The measured time is {minutes:g} min; give more than 0.")
        changes["end_s"] = min(scenario.end_s, scenario.begin_s + scenario.warmup_s + 60.0 * minutes)
    scale = request.demand_scale if request.demand_scale is not None else variant.demand_scale if variant else None
    jitter_s = request.jitter_s if request.jitter_s is not None else suite.jitter_s if suite else None
    asked = {"scale": scale, "departure_jitter_s": jitter_s}
    if any(value is not None for value in asked.values()):
        changes["demand"] = {**scenario.demand.model_dump(), **{k: v for k, v in asked.items() if v is not None}}
    incidents = request.incidents or (variant and variant.incidents) or (suite.incidents if suite else False)
    if incidents is True or incidents == "default":
        changes["incident_rates"] = possible_rates(DEFAULT_RATES.model_dump(), scenario, surely=True)
    elif isinstance(incidents, tuple):
        changes["incidents"] = [incident.model_dump() for incident in incidents]
    try:
        return scenario.with_(**changes) if changes else scenario
    except ScenarioError as error:
        raise RequestError(f"{scenario.name} cannot be changed so: {error}") from error


def _workers(asked: int | None) -> int:
    if asked is None:
        return usable_cores()
    if not 1 <= asked <= MAX_WORKERS:
        raise RequestError(f"{asked} workers make no sense; give 1 to {MAX_WORKERS}.")
    return asked
