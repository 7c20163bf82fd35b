"""Scenarios by name: RESCO's networks, generated cities, files of the user's own, other people's packages."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from scenarios import resco
from scenarios.city import generator as city
from scenarios.common.clock import format_seconds
from scenarios.common.input_files import read_input
from scenarios.common.names import close_names
from scenarios.common.net_values import WHAT, check_network
from scenarios.demand.route_files import joined, read_departures
from scenarios.spec import Scenario, ScenarioError, read_yaml

#: Packages add scenarios under this group; the value is a callable without arguments, or a path: either gives a
#: Scenario or the path of a YAML file.
GROUP = "greenloop.scenarios"
#: Cities that are listed; every other name of the form city-<signals>-<seed> works as well.
LISTED_CITIES = ("city-10-0", "city-50-1", "city-10-500", "city-50-501", "city-10-900", "city-50-901", "city-300-902")
_CITY = re.compile(r"city-(\d+)-(\d+)")
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Row:
    """What ``greenloop scenarios`` lists; None is what is known only after a city has been generated."""

    name: str
    signals: int | None
    vehicles_per_h: float | None
    horizon_s: float | None
    tags: tuple[str, ...]
    licence: str
    description: str


def load(name: str | Path) -> Scenario:
    """Load a scenario by its registered name, as ``city-<signals>-<seed>``, or from a ``.yaml`` file.

    Raises:
        ScenarioError: there is none of that name (the nearest are suggested), or it cannot be used.
    """
    text = str(name)
    if text in resco.RESCO:
        return resco.load(text)
    if parsed := _CITY.fullmatch(text):
        return city.generate(seed=int(parsed[2]), signals=int(parsed[1]))
    if text.endswith((".yaml", ".yml")):
        scenario = read_yaml(Path(name))
        scenario.check_files()
        return scenario
    if text in (plugins := _plugins()):
        return _load_plugin(plugins[text])
    near = close_names(text, names(), most=3, least_likeness=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else "see 'greenloop scenarios'."
    raise ScenarioError(f"There is no scenario '{text}'; {hint}")


def is_registered(name: str) -> bool:
    """Whether a name stands for a scenario by itself: RESCO's, a generated city's or a package's."""
    return name in resco.RESCO or _CITY.fullmatch(name) is not None or name in _plugins()


def names(tag: str | None = None) -> tuple[str, ...]:
    """The registered names, or those with a tag such as ``train``, ``held_out``, ``real`` or ``oversaturated``."""
    plugins = _plugins()
    known = (*resco.RESCO, *LISTED_CITIES, *plugins)
    return known if tag is None else tuple(name for name in known if tag in _tags(name, plugins))


def city_names(tag: str, signals: int, count: int | None = None) -> tuple[str, ...]:
    """Generated cities of one size in a split, in order of their seeds; all of them unless ``count`` is given."""
    seeds = city.SPLITS.get(tag)
    if seeds is None:
        raise ScenarioError(f"Generated cities have the splits {', '.join(city.SPLITS)}, not '{tag}'.")
    return tuple(f"city-{signals}-{seed}" for seed in seeds[:count])


def describe(tag: str | None = None) -> tuple[Row, ...]:
    """One row per registered scenario; nothing is generated for it."""
    return tuple(_row(name) for name in names(tag))


def from_files(
    net: Path,
    routes: Path | Sequence[Path],
    begin_s: float | None = None,
    end_s: float | None = None,
    name: str | None = None,
    additional: Sequence[Path] = (),
) -> Scenario:
    """Make a scenario of a user's own files, without further configuration.

    The hour begins with the minute of the first departure and ends with that of the last, after an hour at most.

    Raises:
        ScenarioError: a file is missing or broken, or no vehicle departs.
    """
    route_files = (Path(routes),) if isinstance(routes, str | Path) else tuple(Path(file) for file in routes)
    check_network(Path(net))
    departures = read_departures(route_files)
    if not departures:
        raise ScenarioError(
            f"Routes file {joined(route_files)} holds no vehicle, trip or flow, so there is nothing to simulate."
        )
    begin_s = 60.0 * math.floor(departures[0] / 60) if begin_s is None else begin_s
    end_s = min(begin_s + _HOUR_S, 60.0 * math.floor(departures[-1] / 60 + 1)) if end_s is None else end_s
    try:
        return Scenario(
            name=name or Path(net).name.removesuffix(".gz").removesuffix(".xml").removesuffix(".net") or "network",
            net_file=Path(net).resolve(),
            route_files=tuple(file.resolve() for file in route_files),
            additional_files=tuple(Path(file).resolve() for file in additional),
            begin_s=begin_s,
            end_s=end_s,
        )
    except ValueError as error:
        raise ScenarioError(
            f"Begin {format_seconds(begin_s)} s and end {format_seconds(end_s)} s do not make a horizon; departures "
            f"run from {format_seconds(departures[0])} s to {format_seconds(departures[-1])} s."
        ) from error


def count_signals(net_file: Path) -> int:
    """The number of traffic signals in a network file."""
    return len(set(re.findall(rb'<tlLogic id="([^"]*)"', read_input(net_file, WHAT))))


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _load_plugin(point: EntryPoint) -> Scenario:
    try:
        value = point.load()
        value = value() if callable(value) else value
    except ScenarioError:
        raise
    except Exception as error:
        raise ScenarioError(
            f"Scenario {point.name}: {point.value} of its package failed with {type(error).__name__}: {error}."
        ) from error
    if isinstance(value, str | Path):
        value = read_yaml(Path(value))
    if not isinstance(value, Scenario):
        raise ScenarioError(
            f"Scenario {point.name}: {point.value} gave {type(value).__name__}; it must give a Scenario or a YAML path."
        )
    value.check_files()
    return value


def _tags(name: str, plugins: dict[str, EntryPoint]) -> tuple[str, ...]:
    if name in resco.RESCO:
        return resco.RESCO[name][0]
    if parsed := _CITY.fullmatch(name):
        return city.tags(int(parsed[2]))
    return _load_plugin(plugins[name]).tags


def _row(name: str) -> Row:
    parsed = _CITY.fullmatch(name)
    if parsed and not city.is_generated(seed=int(parsed[2]), signals=int(parsed[1])):
        licence, text = city.LICENCE, "generated on first use"
        return Row(name, int(parsed[1]), None, _HOUR_S, city.tags(int(parsed[2])), licence, text)
    try:
        scenario = load(name)
        first_s = scenario.begin_s + scenario.warmup_s
        departures = read_departures(scenario.route_files)
    except ScenarioError as error:  # one broken package must not hide the others
        return Row(name, None, None, None, (), "", str(error))
    vehicles = sum(first_s <= time < scenario.end_s for time in departures) * scenario.demand.scale
    return Row(
        name=name,
        signals=count_signals(scenario.net_file),
        vehicles_per_h=vehicles * _HOUR_S / scenario.horizon_s,
        horizon_s=scenario.horizon_s,
        tags=scenario.tags,
        licence=scenario.licence,
        description=scenario.description,
    )
