"""Tasks by name, and a check that a task fulfils the contract.

A task is one line here, an entry point in the group ``greenloop.tasks`` of another package, or ``my_file.py:MyTask``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from llm.tasks.base import Answerer, Binary, Choice, Quantiles, Settings, Task, TaskError
from scenarios.common.plugin import Plugin
from sim.engine.session import SessionOptions

ENTRY_POINT_GROUP = "greenloop.tasks"
_PLUGIN = Plugin("task", Task, TaskError)  # type: ignore[type-abstract]
_ANSWERERS = Plugin("answerer", Answerer, TaskError)  # type: ignore[type-abstract]

TASKS: dict[str, str] = {
    "detect": "llm.tasks.detect.task:Detect",
    "decide": "llm.tasks.decide.task:DecideTask",
    "forecast": "llm.tasks.forecast.task:ForecastTask",
    "read": "llm.tasks.read.task:ReadTask",
}

#: Answerers that every task has: those of its own come first.
ANSWERERS = {
    "constant": "llm.tasks.learners:Constant",
    "linear": "llm.tasks.learners:Linear",
    "trees": "llm.tasks.learners:Trees",
    "model": "llm.engine.model_answerer:ModelAnswerer",
}


def names() -> dict[str, str]:
    """All tasks as "module:Class" by name, installed entry points included; a name of this file wins."""
    points = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    return {**TASKS, **{name: target for name, target in sorted(points.items()) if name not in TASKS}}


def make(spec: str) -> Task[Any]:
    """Make a task from its name or its file, checked.

    Raises:
        TaskError: there is no such task, it cannot be imported, or it breaks the contract.
    """
    head, class_name, rest = _PLUGIN.split(spec)
    if head.endswith(".py"):
        kind = _PLUGIN.from_file(Path(head), class_name)
    else:
        known = names()
        if head not in known:
            raise _PLUGIN.unknown(head, known)
        kind = _PLUGIN.from_module(known[head], head)
    if rest:
        raise TaskError(f"A task has no parameters, so '{rest}' in '{spec}' means nothing; leave it out.")
    task: Task[Any] = _PLUGIN.construct(kind, spec)
    check(task)
    return task


@cache
def made(spec: str) -> Task[Any]:
    """The same, made once in a process; tasks keep nothing between calls."""
    return make(spec)


# --- the contract, checked


def check(task: Task[Any]) -> None:
    """Make sure that a task fulfils the contract as far as can be seen without running it.

    Raises:
        TaskError: it does not; the sentence names the attribute or method.
    """
    kind = type(task)
    if not isinstance(getattr(task, "name", None), str) or not task.name.isidentifier():
        raise _breach(task, "attribute name", "is no name; give letters, digits and underscores, such as 'decide'")
    for attribute, wanted, advice in _ATTRIBUTES:
        value = getattr(task, attribute, None)
        if not wanted(value):
            raise _breach(task, f"attribute {attribute}", f"is {value!r}; give {advice}")
    for method, count in _methods().items():
        _check_method(task, kind, method, count)
    _check_baselines(task)


def _check_baselines(task: Task[Any]) -> None:
    baselines = task.baselines()
    if not isinstance(baselines, Mapping):
        raise _breach(task, "method baselines()", "returns no mapping of names to 'module:Class'")
    for name, target in baselines.items():
        if not isinstance(target, str) or target.count(":") != 1:
            raise _breach(task, "method baselines()", f"gives {target!r} for '{name}'; give 'module:Class'")


def _is_whole(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_splits(value: Any) -> bool:
    return isinstance(value, tuple) and {"train", "validation"} <= set(value) <= {"train", "validation", "held_out"}


def _is_class(base: type) -> Any:
    return lambda value: isinstance(value, type) and issubclass(value, base)


_ATTRIBUTES = (
    ("answer", lambda value: isinstance(value, (Choice, Quantiles, Binary)), "Choice(), Quantiles(...) or Binary(...)"),
    ("prompt_version", _is_whole, "a whole number from 1"),
    ("record_format", _is_whole, "a whole number from 1"),
    ("options", lambda value: isinstance(value, SessionOptions), "SessionOptions(...)"),
    ("settings", _is_class(Settings), "a class that is derived from Settings"),
    ("teaching", _is_class(BaseModel), "a class that is derived from pydantic's BaseModel"),
    ("splits", _is_splits, "a tuple of 'train', 'validation' and perhaps 'held_out'"),
)


def _methods() -> dict[str, int]:
    """The public methods of the contract, and how many arguments each is called with at most."""
    return {
        name: len(inspect.signature(method).parameters) - 1
        for name, method in vars(Task).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }


def _check_method(task: Task[Any], kind: type, name: str, count: int) -> None:
    method = getattr(kind, name, None)
    if not callable(method):
        raise _breach(task, f"method {name}()", "is no method")
    try:
        inspect.signature(getattr(task, name)).bind(*range(count))
    except TypeError as error:
        wanted = ", ".join(list(inspect.signature(getattr(Task, name)).parameters)[1:])
        raise _breach(task, f"method {name}()", f"takes other arguments than ({wanted}): {error}") from error


def _breach(task: Task[Any], what: str, how: str) -> TaskError:
    called = getattr(task, "name", None)
    called = called if isinstance(called, str) else type(task).__name__
    return TaskError(f"Task '{called}' breaks the contract: its {what} {how}.")


def check_record(task: Task[Any], record: Any) -> None:
    """Make sure that a record, its question and its target are what the contract says.

    Raises:
        TaskError: they are not; the sentence names the method.
    """
    for attribute, wanted in (("scenario", str), ("network_sha256", str), ("seed", int)):
        if not isinstance(getattr(record, attribute, None), wanted):
            raise _breach(task, "method records()", f"yields a record without a proper '{attribute}'")
    question = task.question(record)
    shape, expected = task.target(record).shape, task.answer.target_shape(len(question.rows))
    if shape != expected:
        raise _breach(task, "method target()", f"gives an array of shape {shape}; {expected} was expected")
    if task.row(task.record(task.row(record))) != task.row(record):
        raise _breach(task, "method record()", "does not give back what row() wrote")


# --- answerers


def answerers(task: Task[Any]) -> dict[str, str]:
    """Answerers of a task as "module:Class" by name: its own and those that every task has."""
    return {**ANSWERERS, **task.baselines()}


def answerer(task: Task[Any], spec: str) -> Answerer:
    """Make an answerer for a task from a spec, such as ``trees:leaves=31`` or ``my_file.py:MyAnswerer``.

    Raises:
        TaskError: there is none, or it cannot be imported or made.
    """
    head, class_name, _ = _ANSWERERS.split(spec)
    known = answerers(task)
    if head.endswith(".py"):
        kind = _ANSWERERS.from_file(Path(head), class_name)
    elif head in known:
        kind = _ANSWERERS.from_module(known[head], head)
    else:
        raise _ANSWERERS.unknown(head, known)
    found: Answerer = _ANSWERERS.construct(kind, spec)
    found.task = task
    return found


def with_folder(task: Task[Any], spec: str, folder: Path) -> str:
    """A spec that reads what was trained, from this folder, where it reads any and names none itself.

    Raises:
        TaskError: there is no such answerer.
    """
    head, _, options = _ANSWERERS.split(spec)
    known = answerers(task)
    if head.endswith(".py") or head not in known:
        return spec
    accepted = inspect.signature(_ANSWERERS.from_module(known[head], head)).parameters
    reads = next((name for name in ("head", "adapter") if name in accepted), None)
    if reads is None or reads in _ANSWERERS.parameters(spec):
        return spec
    return f"{spec}{',' if options else ':'}{reads}={folder}"
