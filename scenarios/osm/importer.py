"""A scenario of any OpenStreetMap extract: its network, its signals, traffic that flows, and who made the map."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scenarios.counts import demand as counts_demand
from scenarios.counts.geh import Fit
from scenarios.demand.car_streets import read_streets
from scenarios.osm import demand as osm_demand
from scenarios.osm import network as osm_net
from scenarios.osm import reader as osm_read
from scenarios.osm.reader import Box, Extract
from scenarios.osm.source import FORMATS, Source
from scenarios.spec import Scenario, ScenarioError

#: What the licence asks to be shown wherever the map or what was made of it is.
CREDIT = "Map data © OpenStreetMap contributors, ODbL"
LICENCE = f"{CREDIT} 1.0, https://www.openstreetmap.org/copyright"

Side = Literal["auto", "left", "right"]


@dataclass(frozen=True)
class Wish:
    """How to make a scenario of a map.

    Attributes:
        name: of the scenario and its files.
        box: west, south, east, north (degrees); only what lies in it.
        side: of the road that traffic keeps to; ``auto`` looks at the map's roundabouts and dual carriageways.
        guess_signals: let netconvert place signals at larger junctions as well.
        demand: between districts or at random, where there are no counts.
        veh_per_h: vehicles an hour; as many as flow when missing.
        counts: detector counts instead.
        minutes: measured time, where there are no counts.
        seed: draws the traffic.
    """

    name: str
    box: Box | None = None
    side: Side = "auto"
    guess_signals: bool = False
    demand: Literal["districts", "random"] = "districts"
    veh_per_h: float | None = None
    counts: counts_demand.Wanted | None = None
    minutes: float = 60.0
    seed: int = 1


@dataclass(frozen=True)
class Imported:
    """A scenario that was made, what was found on the way, in sentences, and the fit to counts where there are any."""

    scenario: Scenario
    yaml_file: Path
    sentences: tuple[str, ...]
    fit: Fit | None = None


def name_of(file: Path) -> str:
    """A scenario's name after its map: ``town.osm.pbf`` gives ``town``."""
    ending = max((ending for ending in FORMATS if file.name.lower().endswith(ending)), key=len, default="")
    return file.name[: len(file.name) - len(ending)] or "map"


def import_map(file: Path, folder: Path, wish: Wish) -> Imported:
    """Make a scenario of an OpenStreetMap extract; write its YAML, network and routes into ``folder``.

    Args:
        file: ``.osm.pbf``, ``.osm``, ``.osm.gz``, ``.osm.bz2`` or ``.xml``.
        folder: is made if it is not there.
        wish: how.

    Raises:
        ScenarioError: the map, the counts or the wish cannot be used; one sentence says why.
    """
    _check(wish)
    source = Source.of(file)
    with tempfile.TemporaryDirectory(prefix="greenloop-map-") as scratch:
        roads_file = Path(scratch) / "roads.osm"
        extract = osm_read.read(source, wish.box, roads_file)
        if not extract.signals and not wish.guess_signals:
            raise ScenarioError(
                f"Map {file} marks no traffic signals on its {extract.roads} roads, so there is nothing to control; "
                "add --guess-signals to have them placed at the larger junctions."
            )
        left_hand, how = _side(extract, wish.side)
        folder.mkdir(parents=True, exist_ok=True)
        net = folder / f"{wish.name}.net.xml"
        signals = osm_net.build(roads_file, net, osm_net.NetWish(left_hand, wish.guess_signals, wish.box))
    if not signals:
        raise ScenarioError(_no_signals(file, extract, wish))
    sentences = (_signals(extract, signals, wish), how)
    return _with_traffic(net, extract, folder, wish, sentences)


def _check(wish: Wish) -> None:
    if wish.box is not None:
        west, south, east, north = wish.box
        if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
            given = ",".join(f"{value:g}" for value in wish.box)
            raise ScenarioError(f"--bbox {given} is no box; give west,south,east,north in degrees.")
    if wish.veh_per_h is not None and not 0 < wish.veh_per_h <= 200_000:
        raise ScenarioError(f"--veh-per-h is {wish.veh_per_h:g}; give vehicles an hour, above 0.")
    if not 1 <= wish.minutes <= 24 * 60:
        raise ScenarioError(f"--minutes is {wish.minutes:g}; give 1 to 1440.")


# --- what is said --------------------------------------------------------------------------------------------------


def _side(extract: Extract, side: Side) -> tuple[bool, str]:
    right, left = extract.right_votes, extract.left_votes
    if side != "auto":
        return side == "left", f"Traffic keeps {side}, as asked for."
    if right == left:
        return (
            False,
            "No roundabout or dual carriageway shows the side of the road, so traffic keeps right; see --side.",
        )
    kept, votes = ("left", left) if left > right else ("right", right)
    return left > right, f"Traffic keeps {kept}, as {votes} of {left + right} roundabouts and dual carriageways show."


def _signals(extract: Extract, signals: int, wish: Wish) -> str:
    guessed = "; signals at other large junctions were guessed" if wish.guess_signals else ""
    return (
        f"The map marks {extract.signals} signal heads on {extract.roads} roads; the network has {signals} signals: "
        f"one governs a whole junction, and lone pedestrian crossings have none{guessed}. The map does not know their "
        "timing: fixed_time runs a plain 90 s program here, not the town's own."
    )


def _no_signals(file: Path, extract: Extract, wish: Wish) -> str:
    if wish.guess_signals:
        return f"Map {file} has no junction large enough for a signal; give a larger extract or --bbox."
    return (
        f"Map {file} marks {extract.signals} signals, but only at lone crossings or outside the largest connected "
        "part, so there is nothing to control; add --guess-signals or give a larger extract."
    )


# --- traffic -------------------------------------------------------------------------------------------------------


def _with_traffic(net: Path, extract: Extract, folder: Path, wish: Wish, sentences: tuple[str, ...]) -> Imported:
    yaml_file = folder / f"{wish.name}.yaml"
    if wish.counts is not None:
        made = counts_demand.from_counts(net, wish.counts, folder, wish.name, LICENCE)
        scenario, fit = made.scenario.with_(tags=("map", "counts")), made.fit
        told = (f"{made.vehicles} vehicles were made from {len(made.fit.points)} counts.", *made.notes)
    else:
        scenario, sentence = _free_traffic(net, extract, folder, wish)
        told, fit = (sentence,), None
    scenario.to_yaml(yaml_file)
    return Imported(scenario, yaml_file, (*sentences, *told), fit)


def _free_traffic(net: Path, extract: Extract, folder: Path, wish: Wish) -> tuple[Scenario, str]:
    begin_s = osm_demand.HOUR * 3600.0
    end_s = begin_s + osm_demand.WARMUP_S + 60 * wish.minutes
    town = osm_demand.Town(net, read_streets(net), folder, wish.seed, begin_s, end_s)
    if wish.demand == "random":
        draw = osm_demand.random_trips(town)
    else:
        draw = osm_demand.district_trips(town, extract.places, osm_net.to_metres(net, extract.ends))
    routes = folder / f"{wish.name}.rou.xml"
    traffic = osm_demand.write(town, draw, wish.veh_per_h, routes)
    between = "between random roads" if wish.demand == "random" else "between districts"
    scenario = Scenario(
        name=wish.name,
        net_file=net.resolve(),
        route_files=(routes.resolve(),),
        begin_s=begin_s,
        end_s=end_s,
        warmup_s=osm_demand.WARMUP_S,
        tags=("map",),
        licence=LICENCE,
        description=f"an OpenStreetMap extract; {traffic.veh_per_h:,.0f} vehicles an hour {between}, guessed",
    )
    return scenario, _traffic(traffic, between)


def _traffic(traffic: osm_demand.Traffic, between: str) -> str:
    amount = f"{traffic.veh_per_h:,.0f} vehicles an hour drive {between}"
    delay = f"{traffic.trial.delay_s:.0f} s of delay a vehicle"
    if traffic.trial.jammed:
        return f"{amount}, but jam in a trial of 35 min ({delay}); ask for less with --veh-per-h."
    return f"{amount}; a trial of 35 min under the network's own programs flows ({delay})."
