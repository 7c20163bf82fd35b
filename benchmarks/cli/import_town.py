"""The commands that bring a town of one's own: ``greenloop import`` and ``greenloop demand``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from scenarios.counts.demand import Wanted
    from scenarios.counts.geh import Fit
    from scenarios.osm.reader import Box
    from scenarios.spec import Scenario

Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout, for machines.")]
Counts = Annotated[Path | None, typer.Option(help="Detector counts (CSV: edge,begin_s,end_s,vehicles).")]
Detectors = Annotated[Path | None, typer.Option(help="Where detectors lie (SUMO's .add.xml), for a detector column.")]
Seed = Annotated[int, typer.Option(min=0, help="Draws the traffic.")]
NoFigures = Annotated[bool, typer.Option("--no-figures", help="Leave the pictures out.")]


class Side(StrEnum):
    """Of the road that traffic keeps to."""

    auto = "auto"
    left = "left"
    right = "right"


class Demand(StrEnum):
    """Where trips begin and end."""

    districts = "districts"
    random = "random"


def register(app: typer.Typer) -> None:
    """Add the commands to the ``greenloop`` command."""
    app.command("import")(import_files)
    app.command("demand")(demand)


def import_files(
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(help="An OpenStreetMap extract (.osm.pbf, .osm, .osm.gz, .xml), or roadnet.json and flow.json."),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the scenario.  [default: named like the map]")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the scenario.  [default: the file's]")] = None,
    cityflow: Annotated[
        bool, typer.Option("--cityflow", help="The files are CityFlow's: roadnet.json and flow.json, or .json.gz.")
    ] = False,
    phases: Annotated[
        str | None, typer.Option(help="CityFlow: light phases to choose from, such as 1-4.  [default: all]")
    ] = None,
    bbox: Annotated[str | None, typer.Option(help="Only this part: west,south,east,north in degrees.")] = None,
    demand: Annotated[Demand, typer.Option(help="Trips between districts of the map, or random.")] = Demand.districts,
    veh_per_h: Annotated[float | None, typer.Option(help="Vehicles an hour.  [default: as many as flow]")] = None,
    counts: Counts = None,
    detectors: Detectors = None,
    minutes: Annotated[float, typer.Option(help="Measured time, where there are no counts.")] = 60.0,
    side: Annotated[Side, typer.Option(help="Of the road; auto looks at the map.")] = Side.auto,
    guess_signals: Annotated[
        bool, typer.Option("--guess-signals", help="Place signals at larger junctions that have none in the map.")
    ] = False,
    seed: Seed = 1,
    no_figures: NoFigures = False,
    as_json: Json = False,
) -> None:
    """Make a scenario of any OpenStreetMap extract, or of any CityFlow set.

    Writes a network, traffic, a scenario file and a picture. The map's licence (ODbL) asks you to say
    "© OpenStreetMap contributors" wherever you show it or what you made of it.

    \b
    Examples:
      greenloop import town.osm.pbf
      greenloop import region.osm.pbf --bbox 24.935,60.164,24.953,60.179 --name centre
      greenloop import town.osm.gz --demand random --veh-per-h 3000 --out mine
      greenloop import town.osm.pbf --counts counts.csv
      greenloop import --cityflow roadnet.json flow.json --phases 1-4 --out mine
    """
    if cityflow:
        raise typer.Exit(_import_cityflow(context, files, phases, _Output(out, name, no_figures, as_json)))
    from scenarios.osm import importer as osm

    file = _one_map(files, phases)

    wish = osm.Wish(
        name=name or osm.name_of(file),
        box=_box(bbox),
        side=side.value,
        guess_signals=guess_signals,
        demand=demand.value,
        veh_per_h=veh_per_h,
        counts=_counts_request(counts, detectors, seed),
        minutes=minutes,
        seed=seed,
    )
    made = osm.import_map(file, out or Path(wish.name), wish)
    told = (*made.sentences, *_fit_words(made.fit), f"{osm.CREDIT}: say so wherever you show it.")
    raise typer.Exit(_finish(made.scenario, made.yaml_file, told, made.fit, osm.CREDIT, no_figures, as_json))


def demand(
    net: Annotated[Path, typer.Option(help="A SUMO network (.net.xml).")],
    counts: Annotated[Path, typer.Option(help="Detector counts (CSV: edge,begin_s,end_s,vehicles).")],
    detectors: Detectors = None,
    out: Annotated[Path, typer.Option(help="Folder of the scenario.")] = Path("demand"),
    name: Annotated[str | None, typer.Option(help="Name of the scenario.  [default: the network's]")] = None,
    warmup_s: Annotated[float, typer.Option(min=0, help="Traffic before the first interval, not measured.")] = 300.0,
    seed: Seed = 1,
    no_figures: NoFigures = False,
    as_json: Json = False,
) -> None:
    """Make traffic that passes detectors as they counted it, and say how well it fits (GEH).

    Counts are a CSV table with the columns edge (or detector), begin_s, end_s, vehicles and, if you have
    it, speed_mps. Times are seconds or HH:MM:SS.

    \b
    Examples:
      greenloop demand --net my.net.xml --counts counts.csv --out mine
      greenloop demand --net my.net.xml --counts loops.csv --detectors loops.add.xml --out mine
    """
    from scenarios.counts import demand as counts_demand

    wanted = _counts_request(counts, detectors, seed, warmup_s)
    assert wanted is not None
    called = name or net.name.removesuffix(".gz").removesuffix(".xml").removesuffix(".net")
    out.mkdir(parents=True, exist_ok=True)
    made = counts_demand.from_counts(net, wanted, out, called)
    told = (f"{made.vehicles} vehicles were made from {len(made.fit.points)} counts.", *made.notes)
    yaml_file = out / f"{called}.yaml"
    raise typer.Exit(
        _finish(made.scenario, yaml_file, (*told, *_fit_words(made.fit)), made.fit, "", no_figures, as_json)
    )


# --- CityFlow ------------------------------------------------------------------------------------------------------

_CITYFLOW_OPTIONS = frozenset({"files", "out", "name", "cityflow", "phases", "minutes", "no_figures", "as_json"})


@dataclass(frozen=True)
class _Output:
    out: Path | None
    name: str | None
    no_figures: bool
    as_json: bool


def _import_cityflow(context: typer.Context, files: list[Path], phases: str | None, output: _Output) -> int:
    from scenarios.cityflow import importer
    from scenarios.spec import ScenarioError

    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = (name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")
    if misplaced := sorted(set(given) - _CITYFLOW_OPTIONS):
        raise ScenarioError(f"--{misplaced[0].replace('_', '-')} is for maps; leave it out with --cityflow.")
    if len(files) != 2:
        raise ScenarioError(f"--cityflow takes two files, roadnet.json and flow.json, not {len(files)}.")
    name = output.name or importer.name_of(files[1])
    wish = importer.Wish(name, _phases(phases), context.params["minutes"])
    made = importer.import_set(files[0], files[1], output.out or Path(name), wish)
    return _finish(made.scenario, made.yaml_file, made.sentences, None, "", output.no_figures, output.as_json)


def _phases(text: str | None) -> tuple[int, ...] | None:
    """``1-4`` or ``1,2,5``: places of light phases in the file, counted from 0."""
    if text is None:
        return None
    from scenarios.spec import ScenarioError

    chosen: list[int] = []
    for part in text.replace(" ", "").split(","):
        given = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part)
        if given is None or int(given[2] or given[1]) < int(given[1]):
            raise ScenarioError(f"--phases is '{text}'; write 1-4 or 1,2,5, counted from 0 as in the file.")
        chosen += range(int(given[1]), int(given[2] or given[1]) + 1)
    return tuple(dict.fromkeys(chosen))


def _one_map(files: list[Path], phases: str | None) -> Path:
    from scenarios.spec import ScenarioError

    if len(files) > 1:
        raise ScenarioError("Give one map at a time; for CityFlow's roadnet.json and flow.json add --cityflow.")
    if phases is not None:
        raise ScenarioError("--phases chooses among CityFlow's light phases; add --cityflow, or leave it out.")
    return files[0]


# --- options -------------------------------------------------------------------------------------------------------


def _box(text: str | None) -> Box | None:
    if text is None:
        return None
    from scenarios.spec import ScenarioError

    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise ScenarioError(f"--bbox is '{text}'; give west,south,east,north in degrees.") from None
    return west, south, east, north


def _counts_request(counts: Path | None, detectors: Path | None, seed: int, warmup_s: float = 300.0) -> Wanted | None:
    from scenarios.counts.demand import Wanted
    from scenarios.counts.table import read_detectors
    from scenarios.spec import ScenarioError

    if counts is None:
        if detectors is not None:
            raise ScenarioError("--detectors says where counts were taken; give the counts as well, with --counts.")
        return None
    return Wanted(counts, read_detectors(detectors) if detectors else None, warmup_s, seed)


# --- what is said --------------------------------------------------------------------------------------------------


def _fit_words(fit: Fit | None) -> tuple[str, ...]:
    if fit is None:
        return ()
    from scenarios.common.clock import format_seconds
    from scenarios.counts.geh import GEH_FITS, SHARE_FITS

    enough = "enough" if fit.share >= SHARE_FITS else "too few"
    told = [
        f"Driven in SUMO, {fit.share:.1%} of {len(fit.points)} counts have GEH under {GEH_FITS:g} ({enough}: "
        f"{SHARE_FITS:.0%} is usual); the routes alone {fit.share_routed:.1%}. Counted {fit.counted_veh:,.0f}, "
        f"driven {fit.driven_veh:,.0f} ({fit.driven_veh / fit.counted_veh - 1:+.1%})."
    ]
    worst = sorted(fit.points, key=lambda point: -point.geh)[:3]
    told += [
        f"Worst: road '{point.count.edge}' from {format_seconds(point.count.begin_s)} s, counted "
        f"{point.count.vehicles:g}, driven {point.driven_veh:g}, GEH {point.geh:.1f}."
        for point in worst
        if point.geh >= GEH_FITS
    ]
    routes = sorted(point.routes for point in fit.points if point.count.vehicles)
    told.append(f"Routes per count: {routes[len(routes) // 2]} in the middle, {routes[0]} at least.")
    told += fit.plausibility.sentences if fit.plausibility else ()
    if fit.speeds_mps:
        counted, driven = fit.speeds_mps
        told.append(f"Mean speed at the counts: measured {counted:.1f} m/s, simulated {driven:.1f} m/s.")
    return tuple(told)


def _finish(
    scenario: Scenario,
    yaml_file: Path,
    told: Sequence[str],
    fit: Fit | None,
    credit: str,
    no_figures: bool,
    as_json: bool,
) -> int:
    """Validate, draw, write the fit, and print; return the exit code: 1 if the scenario cannot be used."""
    from benchmarks.cli.validate import examine
    from sim.network import Network

    network = Network.of(scenario)
    findings = examine(network, scenario)
    folder = yaml_file.parent
    drawn = [] if no_figures else _draw(scenario, network, fit, credit, folder)
    if fit is not None:
        fit_file = folder / f"{scenario.name}_fit.json"
        fit_file.write_text(json.dumps(fit.as_dict(), indent=1), encoding="utf-8")
    usable = sum(signal.problem is None for signal in findings.signals)
    facts = (
        f"{scenario.name}: {len(findings.signals)} signal{'' if len(findings.signals) == 1 else 's'} ({usable} "
        f"controllable), {findings.roads} roads, {findings.vehicles} vehicles in {scenario.horizon_s / 60:g} min."
    )
    if as_json:
        shown: dict[str, Any] = {"scenario": str(yaml_file), "sentences": [facts, *told], **findings.as_dict()}
        shown |= {"figures": [str(path) for path in drawn], "fit": fit.as_dict() if fit else None}
        typer.echo(json.dumps(shown, indent=1))
    else:
        notes = [f"Note: {text}" for text in findings.notes] + [f"Problem: {text}" for text in findings.problems]
        pictures = [f"Picture: {path} (also .pdf and .svg)" for path in drawn if path.suffix == ".png"]
        run_it = f"Run it: greenloop run --scenario {yaml_file} --controller fixed_time --controller greedy"
        typer.echo("\n".join([facts, *told, *notes, *pictures, run_it]))
    return 1 if findings.problems else 0


def _draw(scenario: Scenario, network: Any, fit: Fit | None, credit: str, folder: Path) -> list[Path]:
    from benchmarks.figures import count_fit as fit_figure
    from benchmarks.figures.maps import town as town_map

    drawn = town_map.draw(scenario, network, credit, folder)
    return drawn if fit is None else drawn + fit_figure.draw(fit, scenario.name, folder, credit)
