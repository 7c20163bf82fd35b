"""Classes that a user names in a spec: found by name or in a file, and made from parameters.

A spec is one of::

    greedy                                       a known name
    greedy:detection_m=50,switch_margin_veh=2    the same with parameters
    my_file.py:MyController                      a class in a file of one's own
    my_file.py:MyController:gain=2               the same with parameters

What stands before the first colon decides: if it ends in ``.py`` it is a file, otherwise a name.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from scenarios.common.errors import shorten
from scenarios.common.names import close_names

Kind = TypeVar("Kind")
#: Letters of an error of a plug-in's own.
MOST_SAID = 300


@dataclass(frozen=True)
class Plugin(Generic[Kind]):
    """One sort of classes that a user may bring, and how messages speak of it.

    Attributes:
        noun: ``controller``, say.
        base: what such a class derives from; ``greenloop`` has it under the same name.
        error: what is raised, always with one sentence.
    """

    noun: str
    base: type[Kind]
    error: type[Exception]

    def split(self, spec: str) -> tuple[str, str, str]:
        """Name or file, class (of a file), parameters."""
        head, _, rest = spec.partition(":")
        if not head.endswith(".py"):
            return head, "", rest
        class_name, _, options = rest.partition(":")
        return head, class_name, options

    def unknown(self, name: str, known: Iterable[str]) -> Exception:
        """The error for a name that none of the known ones is."""
        known = list(known)
        near = close_names(name, known, least_likeness=0.4)
        hint = f"did you mean '{near[0]}'?" if near else f"choose one of {', '.join(known)}."
        return self.error(
            f"There is no {self.noun} '{name}'; {hint} A file of your own is my_file.py:My{self.base.__name__}."
        )

    def from_module(self, target: str, name: str) -> type[Kind]:
        """The class of an installed module, ``module:Class``, that a spec calls ``name``."""
        module_name, _, class_name = target.partition(":")
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise self.error(f"{self._Noun} '{name}' cannot be loaded: {error}.") from error
        except (Exception, SystemExit) as error:
            raise self.error(f"{self._Noun} '{name}' cannot be loaded: {_where(error, module_name)}") from error
        return self._class_in(module, class_name, f"module {module_name} of {self.noun} '{name}'")

    def from_file(self, file: Path, class_name: str) -> type[Kind]:
        """The class in a user's file."""
        if not file.is_file():
            raise self.error(f"{self._Noun} file {file} does not exist; check the path.")
        module = self._load(file.resolve(), file)
        if not class_name:
            hint = next(iter(self._classes_in(module)), f"My{self.base.__name__}")
            raise self.error(f"Name the {self.noun}'s class in {file} after a colon: {file}:{hint}.")
        return self._class_in(module, class_name, str(file))

    def parameters(self, spec: str) -> dict[str, Any]:
        """The parameters of a spec by name."""
        found: dict[str, Any] = {}
        _, _, options = self.split(spec)
        for part in options.split(",") if options else ():
            name, equals, value = part.partition("=")
            if not equals or not name.strip().isidentifier():
                raise self.error(f"'{part}' in '{spec}' is no parameter; write name:key=value,key=value.")
            found[name.strip()] = _value(value.strip())
        return found

    def construct(self, kind: type[Kind], spec: str) -> Kind:
        """Make one from the parameters of its spec."""
        parameters = self.parameters(spec)
        accepted = inspect.signature(kind).parameters
        free = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
        unknown = [] if free else [name for name in parameters if name not in accepted]
        if unknown:
            raise self.error(
                f"{self._Noun} '{spec}' has no parameter '{unknown[0]}'; it has {', '.join(accepted) or 'none'}."
            )
        try:
            return kind(**parameters)
        except self.error:
            raise
        except (Exception, SystemExit) as error:
            file = inspect.getsourcefile(kind) or kind.__module__
            raise self.error(f"{self._Noun} '{spec}' cannot be made: {_where(error, file)}") from error

    @property
    def _Noun(self) -> str:  # noqa: N802 - at the head of a sentence
        return self.noun.capitalize()

    def _load(self, path: Path, shown: Path) -> ModuleType:
        """Import a user's file under a name that depends on its place and text, so that an edited one is read again."""
        digest = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:12]
        name = f"greenloop_user_{path.stem}_{digest}"
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise self.error(f"{self._Noun} file {shown} cannot be imported.")
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
            raise self.error(f"{self._Noun} file {shown} cannot be imported: {_where(error, str(path))}") from error
        return module

    def _class_in(self, module: ModuleType, class_name: str, where: str) -> type[Kind]:
        kind = getattr(module, class_name, None)
        if kind is None:
            there = self._classes_in(module)
            near = close_names(class_name, there, least_likeness=0.0) or there
            hint = f"did you mean '{near[0]}'?" if near else f"it holds no {self.noun}."
            raise self.error(f"There is no class '{class_name}' in {where}; {hint}")
        if not (isinstance(kind, type) and issubclass(kind, self.base)):
            raise self.error(
                f"'{class_name}' in {where} is no {self.noun}; derive it from greenloop.{self.base.__name__}."
            )
        if missing := sorted(getattr(kind, "__abstractmethods__", ())):
            raise self.error(f"'{class_name}' in {where} does not define {', '.join(missing)}().")
        return kind

    def _classes_in(self, module: ModuleType) -> list[str]:
        return [
            name
            for name, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, self.base) and value.__module__ == module.__name__
        ]


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


def _where(error: BaseException, file: str) -> str:
    """The error in one line, with the last line of ``file`` that it passed."""
    if isinstance(error, SyntaxError):
        line, file = error.lineno, error.filename or file
    else:
        passed = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        line = passed[-1] if passed else None
    place = f" ({Path(file).name}, line {line})" if line else ""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {shorten(text, MOST_SAID).rstrip('.: ')}{place}."
