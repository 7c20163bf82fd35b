"""Commands of earlier versions: they still work, and say once how the same is asked for today."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import typer

#: By old verb: the verb and task of today, and what its options are called. ``=key`` is a setting, ``key=value`` one
#: that an option without a value means, None what an option with a value meant and nobody needs.
_OLD: dict[str, tuple[list[str], dict[str, str | None]]] = {
    "collect-forecasts": (
        ["collect", "forecast"],
        {"--minutes": "=minutes", "--draw-seed": "=draw_seed"},
    ),
    "train-forecast": (
        ["train", "forecast"],
        {
            "--model": "=model",
            "--adapter": "=start",
            "--layers": "=layers",
            "--train-limit": "=train_limit",
            "--validation-limit": "=validation_limit",
            "--epochs": "=head.text.epochs",
            "--no-facts": "head.numbers=false",
            "--tune": "method=lora",
        },
    ),
    "forecast": (["evaluate", "forecast"], {"--forecaster": "--answerer", "--head": "--head"}),
}
#: Where the old commands looked and wrote unless they were told.
_DEFAULTS = {
    "collect-forecasts": {"--out": "forecasts"},
    "train-forecast": {"--records": "forecasts", "--out": "runs/forecast"},
    "forecast": {"--records": "forecasts", "--out": "results/forecast"},
}
_NO_VALUE = ("--json", "--no-figures", "-h", "--help")


def translated(arguments: Sequence[str]) -> list[str]:
    """The arguments in their present form; what is of today stays as it is."""
    verb, *rest = arguments or [""]
    if verb in ("collect", "train") and not _has_task(rest):
        said = f"greenloop {verb} now takes a task; this is understood as 'greenloop {verb} decide'."
        typer.echo(said, err=True)
        return [f"{verb}-decisions", *rest]
    if verb not in _OLD:
        return list(arguments)
    start, names = _OLD[verb]
    present = [*start, *_options(rest, names)]
    for option, value in _DEFAULTS[verb].items():
        if option not in present:
            present += [option, value]
    typer.echo(f"greenloop {verb} is now: greenloop {shlex.join(present)}", err=True)
    return present


def _has_task(rest: Sequence[str]) -> bool:
    return bool(rest) and (not rest[0].startswith("-") or rest[0] in ("-h", "--help"))


def _options(rest: Sequence[str], names: dict[str, str | None]) -> list[str]:
    found: list[str] = []
    words = iter(rest)
    for word in words:
        option, equals, value = word.partition("=")
        name = names.get(option, option)
        if name is None:
            continue
        if name.startswith("="):
            found += ["--set", f"{name[1:]}={value if equals else next(words, '')}"]
        elif "=" in name:
            found += ["--set", name]
        else:
            found += [name + equals + value]
    return found
