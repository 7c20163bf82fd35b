"""Experiment files: a small YAML file plus ``--set key=value``, checked against a model of what may be in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from scenarios.common.files import FileError, read_bytes
from scenarios.common.names import close_names

#: Largest experiment file, bytes.
MOST_BYTES = 1_000_000
ModelT = TypeVar("ModelT", bound=BaseModel)


class ExperimentError(ValueError):
    """An experiment file or a setting that cannot be used; the message is one sentence."""


def read_experiment(kind: type[ModelT], file: Path | None, settings: Sequence[str] = ()) -> ModelT:
    """Read settings: the defaults, what the file says, and last what is set on the command line.

    Args:
        kind: what there may be.
        file: a YAML file with a mapping; None for the defaults.
        settings: ``key=value`` each, with dots for what lies below; values are read as YAML.

    Raises:
        ExperimentError: the file cannot be read, or a key or value cannot be used; the sentence names it.
    """
    values = _values(file) if file is not None else {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not all(part.isidentifier() for part in key.split(".")):
            raise ExperimentError(
                f"The setting '{setting}' is none; write --set key=value, with dots for what lies below."
            )
        _put(values, key, _parsed(value, setting))
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"Experiment file {file}" if file is not None else "The settings"
        raise ExperimentError(_sentence(where, kind, first)) from error


def write_experiment(settings: BaseModel, file: Path) -> None:
    """Write the whole configuration, defaults included, as YAML."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


def _values(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(read_bytes(file, MOST_BYTES))
    except FileError as error:
        raise ExperimentError(f"Experiment file {file} {error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ExperimentError(f"Experiment file {file} is no YAML: {' '.join(str(error).split())}.") from error
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ExperimentError(f"Experiment file {file} holds no mapping; write one 'key: value' on each line.")
    return found


def _parsed(value: str, setting: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ExperimentError(f"The value of the setting '{setting}' is no YAML; put it into quotes.") from error


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *above, last = key.split(".")
    inner = values
    for part in above:
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ExperimentError(f"The setting '{key}' lies below '{part}', which has a value of its own.")
    inner[last] = value


def _sentence(where: str, kind: type[BaseModel], error: Any) -> str:
    """One of pydantic's errors in a sentence."""
    path = [part for part in error["loc"] if isinstance(part, str)]
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        known = _keys(kind, path[:-1])
        near = close_names(path[-1], known, least_likeness=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known) or 'none'}."
        return f"{where}: there is no key '{key}'; {hint}"
    said = error["msg"].rstrip(".")
    if not key:
        return f"{where}: {said.removeprefix('Value error, ')}."
    said = said.removeprefix("Value error, ")
    return f"{where}: the value {error['input']!r} of '{key}' cannot be used: {said}."


def _keys(kind: type[BaseModel], path: Sequence[str]) -> list[str]:
    """What keys there are at a place."""
    for part in path:
        field = kind.model_fields.get(part)
        inner = None if field is None else field.annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        kind = inner
    return list(kind.model_fields)
