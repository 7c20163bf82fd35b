"""Controllers by name. Names are cheap: a controller's module is imported only when it is made.

Specs are those of ``scenarios.common.plugin``; a name may also be an entry point in the group greenloop.controllers.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from controllers.base import Controller, ControllerError
from scenarios.common.plugin import Plugin

ENTRY_POINT_GROUP = "greenloop.controllers"
_PLUGIN = Plugin("controller", Controller, ControllerError)  # type: ignore[type-abstract]


@dataclass(frozen=True)
class Entry:
    """One registered controller: where it is, and one line about it for lists."""

    target: str  # "module:Class"
    summary: str
    looks_ahead: bool = False
    needs_model: bool = False
    needs_options: bool = False  # cannot be made by its name alone
    writes: tuple[str, ...] = ()  # parameters that name files which it writes: what these hold is no part of a run


_ENTRIES: dict[str, Entry] = {
    "fixed_time": Entry("controllers.classical.fixed_time:FixedTime", "The network's own signal programs."),
    "webster": Entry(
        "controllers.classical.webster:Webster", "Fixed time, Webster's cycle and greens (tlsCycleAdaptation)."
    ),
    "green_wave": Entry(
        "controllers.classical.green_wave:GreenWave", "Fixed time, coordinated offsets (tlsCoordinator)."
    ),
    "actuated": Entry(
        "controllers.classical.actuated:Actuated", "SUMO's actuated type: a gap in the traffic ends a green."
    ),
    "delay_based": Entry(
        "controllers.classical.actuated:DelayBased", "SUMO's delay_based type: delayed vehicles hold a green."
    ),
    "greedy": Entry(
        "controllers.classical.greedy:Greedy", "The phase with most vehicles near the stop line. The one to beat."
    ),
    "holding": Entry(
        "controllers.classical.holding:Holding", "Greedy that finishes what it serves while its queue flows."
    ),
    "longest_queue": Entry("controllers.classical.greedy:LongestQueue", "The phase with most halted vehicles."),
    "max_pressure": Entry(
        "controllers.classical.max_pressure:MaxPressure", "Vehicles upstream minus downstream (Varaiya 2013)."
    ),
    "max_pressure_normalised": Entry(
        "controllers.classical.max_pressure:MaxPressureNormalised", "Max pressure on shares of each lane's capacity."
    ),
    "flexible_max_pressure": Entry(
        "controllers.classical.flexible_max_pressure:FlexibleMaxPressure",
        "Max pressure with bounded greens that stay while nobody else's pressure is higher.",
    ),
    "cyclic_max_pressure": Entry(
        "controllers.classical.cyclic.max_pressure:CyclicMaxPressure",
        "A fixed cycle shared out by pressure (Kouvelas 2014).",
    ),
    "scats": Entry(
        "controllers.classical.cyclic.scats:Scats", "Splits, cycle and offsets adapt as in SCATS and SCOOT."
    ),
    "sotl": Entry(
        "controllers.classical.sotl:Sotl", "Self-organising: vehicle-seconds at red end a green (Gershenson 2005)."
    ),
    "random_phase": Entry(
        "controllers.classical.random_phase:RandomPhase", "A random phase each time, fixed by the seed."
    ),
    "lookahead": Entry(
        "controllers.classical.lookahead:Lookahead",
        "The teacher: simulates every phase, keeps the cheapest.",
        looks_ahead=True,
    ),
    "phase_net": Entry(
        "controllers.learnt.phase_net:PhaseNetController", "A plain neural network on the model's records: folder=..."
    ),
    "reinforcement": Entry(
        "controllers.learnt.reinforcement:Reinforcement",
        "A policy of 'greenloop train-rl': folder=...",
        needs_options=True,
    ),
    "endpoint": Entry(
        "controllers.learnt.endpoint:Endpoint",
        "Any model behind an OpenAI-compatible server: url=..., model=...",
        needs_options=True,
        writes=("record", "ledger"),
    ),
    "language_model": Entry(
        "controllers.learnt.language_model:LanguageModel",
        "A language model scores the phases.",
        needs_model=True,
        writes=("log",),
    ),
    "language_model_untuned": Entry(
        "controllers.learnt.language_model:UntunedLanguageModel", "The same without its adapter.", needs_model=True
    ),
}


def register(name: str, target: str, summary: str) -> None:
    """Add a controller under ``name``; ``target`` is "module:Class"."""
    _ENTRIES[name] = Entry(target, summary)


def entries() -> dict[str, Entry]:
    """All registered controllers and installed entry points, by name; a registered name wins."""
    found = {
        point.name: Entry(point.value, f"Installed by {point.dist.name if point.dist else 'another package'}.")
        for point in entry_points(group=ENTRY_POINT_GROUP)
    }
    return {**_ENTRIES, **{name: entry for name, entry in sorted(found.items()) if name not in _ENTRIES}}


def names() -> tuple[str, ...]:
    """Names that ``make`` knows, in the order in which lists show them."""
    return tuple(entries())


def describe() -> dict[str, str]:
    """One line about each controller, by name."""
    return {name: entry.summary for name, entry in entries().items()}


def make(spec: str) -> Controller:
    """Make a controller from a spec.

    Raises:
        ControllerError: there is no such controller, or it cannot be imported or made.
    """
    return _PLUGIN.construct(_kind(spec), spec)


def files(spec: str) -> dict[str, Path]:
    """Files and folders that a spec reads: the controller's own (``code``) and parameters such as ``adapter``.

    Raises:
        ControllerError: its parameters cannot be read.
    """
    head, _, _ = _PLUGIN.split(spec)
    named = {"code": head} if head.endswith(".py") else {}
    written = _ENTRIES[head].writes if head in _ENTRIES else ()
    read = {name: value for name, value in _PLUGIN.parameters(spec).items() if name not in written}
    named |= {f"parameter {name}": value for name, value in read.items() if isinstance(value, str)}
    paths = {name: Path(value).expanduser() for name, value in named.items() if value}
    return {name: path for name, path in paths.items() if path.exists()}


def depends_on(spec: str) -> dict[str, str | Path]:
    """What decides besides a spec's parameters; see ``Controller.depends_on``. Makes only controllers that have it.

    Raises:
        ControllerError: the controller cannot be imported or made.
    """
    return {} if _kind(spec).depends_on is Controller.depends_on else dict(make(spec).depends_on())


def is_users(spec: str) -> bool:
    """Whether a spec runs code that is not greenloop's: a file, another package's entry point, or one as a parameter.

    What such code does to its process, other controllers there would feel.

    Raises:
        ControllerError: its parameters cannot be read.
    """
    head, _, _ = _PLUGIN.split(spec)
    installed = entries().keys() - _ENTRIES.keys()
    named = [value.partition(":")[0] for value in _PLUGIN.parameters(spec).values() if isinstance(value, str)]
    return any(name.endswith(".py") or name in installed for name in (head, *named))


def _kind(spec: str) -> type[Controller]:
    head, class_name, _ = _PLUGIN.split(spec)
    if head.endswith(".py"):
        return _PLUGIN.from_file(Path(head), class_name)
    known = entries()
    if head not in known:
        raise _PLUGIN.unknown(head, known)
    return _PLUGIN.from_module(known[head].target, head)
