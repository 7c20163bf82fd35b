"""Controllers by name. Names are cheap: a controller's module is imported only when it is made.

A spec is one of::

    greedy                                   a registered name, or an entry point in the group greenloop.controllers
    greedy:detection_m=50,switch_margin_veh=2    the same with parameters
    my_file.py:MyController                  a class in a file of one's own
    my_file.py:MyController:gain=2           the same with parameters

What stands before the first colon decides: if it ends in ``.py`` it is a file, otherwise a name.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from controllers.base import Controller, ControllerError

ENTRY_POINT_GROUP = "greenloop.controllers"


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
    "fixed_time": Entry("controllers.fixed_time:FixedTime", "The network's own signal programs."),
    "webster": Entry("controllers.webster:Webster", "Fixed time, Webster's cycle and greens (tlsCycleAdaptation)."),
    "green_wave": Entry("controllers.green_wave:GreenWave", "Fixed time, coordinated offsets (tlsCoordinator)."),
    "actuated": Entry("controllers.actuated:Actuated", "SUMO's actuated type: a gap in the traffic ends a green."),
    "delay_based": Entry("controllers.actuated:DelayBased", "SUMO's delay_based type: delayed vehicles hold a green."),
    "greedy": Entry("controllers.greedy:Greedy", "The phase with most vehicles near the stop line. The one to beat."),
    "holding": Entry("controllers.holding:Holding", "Greedy that finishes what it serves while its queue flows."),
    "longest_queue": Entry("controllers.greedy:LongestQueue", "The phase with most halted vehicles."),
    "max_pressure": Entry("controllers.max_pressure:MaxPressure", "Vehicles upstream minus downstream (Varaiya 2013)."),
    "max_pressure_normalised": Entry(
        "controllers.max_pressure:MaxPressureNormalised", "Max pressure on shares of each lane's capacity."
    ),
    "sotl": Entry("controllers.sotl:Sotl", "Self-organising: vehicle-seconds at red end a green (Gershenson 2005)."),
    "random_phase": Entry("controllers.random_phase:RandomPhase", "A random phase each time, fixed by the seed."),
    "lookahead": Entry(
        "controllers.lookahead:Lookahead", "The teacher: simulates every phase, keeps the cheapest.", looks_ahead=True
    ),
    "phase_net": Entry(
        "controllers.phase_net:PhaseNetController", "A plain neural network on the model's records: folder=..."
    ),
    "reinforcement": Entry(
        "controllers.reinforcement:Reinforcement", "A policy of 'greenloop train-rl': folder=...", needs_options=True
    ),
    "endpoint": Entry(
        "controllers.endpoint:Endpoint",
        "Any model behind an OpenAI-compatible server: url=..., model=...",
        needs_options=True,
        writes=("record", "ledger"),
    ),
    "language_model": Entry(
        "controllers.language_model:LanguageModel",
        "A language model scores the phases.",
        needs_model=True,
        writes=("log",),
    ),
    "language_model_untuned": Entry(
        "controllers.language_model:UntunedLanguageModel", "The same without its adapter.", needs_model=True
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
    """Make a controller from a spec; see the module's head for its forms.

    Raises:
        ControllerError: there is no such controller, or it cannot be imported or made.
    """
    head, class_name, options = _split(spec)
    kind = _from_file(Path(head), class_name) if head.endswith(".py") else _from_name(head)
    return _construct(kind, _parse(spec, options), spec)


def files(spec: str) -> dict[str, Path]:
    """Files and folders that a spec reads: the controller's own (``code``) and parameters such as ``adapter``.

    Raises:
        ControllerError: its parameters cannot be read.
    """
    head, _, options = _split(spec)
    named = {"code": head} if head.endswith(".py") else {}
    written = _ENTRIES[head].writes if head in _ENTRIES else ()
    read = {name: value for name, value in _parse(spec, options).items() if name not in written}
    named |= {f"parameter {name}": value for name, value in read.items() if isinstance(value, str)}
    return {name: Path(value) for name, value in named.items() if value and Path(value).exists()}


def depends_on(spec: str) -> dict[str, str | Path]:
    """What decides besides a spec's parameters; see ``Controller.depends_on``. Makes only controllers that have it.

    Raises:
        ControllerError: the controller cannot be imported or made.
    """
    head, class_name, _ = _split(spec)
    kind = _from_file(Path(head), class_name) if head.endswith(".py") else _from_name(head)
    return {} if kind.depends_on is Controller.depends_on else dict(make(spec).depends_on())


def _split(spec: str) -> tuple[str, str, str]:
    """Name or file, class (of a file), parameters."""
    head, _, rest = spec.partition(":")
    if not head.endswith(".py"):
        return head, "", rest
    class_name, _, options = rest.partition(":")
    return head, class_name, options


def _from_name(name: str) -> type[Controller]:
    known = entries()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'?" if near else f"choose one of {', '.join(known)}."
        raise ControllerError(f"There is no controller '{name}'; {hint} A file of your own is my_file.py:MyController.")
    module_name, _, class_name = known[name].target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ControllerError(f"Controller '{name}' cannot be loaded: {error}.") from error
    except (Exception, SystemExit) as error:
        raise ControllerError(f"Controller '{name}' cannot be loaded: {_where(error, module_name)}") from error
    return _class_in(module, class_name, f"module {module_name} of controller '{name}'")


def _from_file(file: Path, class_name: str) -> type[Controller]:
    if not file.is_file():
        raise ControllerError(f"Controller file {file} does not exist; check the path.")
    module = _load(file.resolve(), file)
    if not class_name:
        hint = next(iter(_controllers_in(module)), "MyController")
        raise ControllerError(f"Name the controller's class in {file} after a colon: {file}:{hint}.")
    return _class_in(module, class_name, str(file))


def _load(path: Path, shown: Path) -> ModuleType:
    """Import a user's file under a name that depends on its place and text, so that an edited file is read again."""
    digest = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:12]
    name = f"greenloop_user_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ControllerError(f"Controller file {shown} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # for imports of neighbouring files; last, so that it hides nothing
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]  # also when a time limit or Ctrl-C ends the import half-way
        if not isinstance(error, (Exception, SystemExit)):
            raise
        raise ControllerError(f"Controller file {shown} cannot be imported: {_where(error, str(path))}") from error
    return module


def _class_in(module: ModuleType, class_name: str, where: str) -> type[Controller]:
    kind = getattr(module, class_name, None)
    if kind is None:
        there = _controllers_in(module)
        near = difflib.get_close_matches(class_name, there, n=1, cutoff=0.0) or there
        hint = f"did you mean '{near[0]}'?" if near else "it holds no controller."
        raise ControllerError(f"There is no class '{class_name}' in {where}; {hint}")
    if not (isinstance(kind, type) and issubclass(kind, Controller)):
        raise ControllerError(f"'{class_name}' in {where} is no controller; derive it from greenloop.Controller.")
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        raise ControllerError(f"'{class_name}' in {where} does not define {', '.join(missing)}().")
    return kind


def _controllers_in(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Controller) and value.__module__ == module.__name__
    ]


def _parse(spec: str, options: str) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for part in options.split(",") if options else ():
        name, equals, value = part.partition("=")
        if not equals or not name.strip().isidentifier():
            raise ControllerError(f"'{part}' in '{spec}' is no parameter; write name:key=value,key=value.")
        parameters[name.strip()] = _value(value.strip())
    return parameters


def _value(text: str) -> Any:
    """Numbers, true, false and none as what they are; anything else is text."""
    words: Mapping[str, Any] = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _construct(kind: type[Controller], parameters: dict[str, Any], spec: str) -> Controller:
    accepted = inspect.signature(kind).parameters
    free = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
    unknown = [] if free else [name for name in parameters if name not in accepted]
    if unknown:
        raise ControllerError(
            f"Controller '{spec}' has no parameter '{unknown[0]}'; it has {', '.join(accepted) or 'none'}."
        )
    try:
        return kind(**parameters)
    except ControllerError:
        raise
    except (Exception, SystemExit) as error:
        file = inspect.getsourcefile(kind) or kind.__module__
        raise ControllerError(f"Controller '{spec}' cannot be made: {_where(error, file)}") from error


def _where(error: BaseException, file: str) -> str:
    """The error in one line, with the last line of ``file`` that it passed."""
    if isinstance(error, SyntaxError):
        line, file = error.lineno, error.filename or file
    else:
        passed = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        line = passed[-1] if passed else None
    place = f" ({Path(file).name}, line {line})" if line else ""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {' '.join(text.split())}{place}."
