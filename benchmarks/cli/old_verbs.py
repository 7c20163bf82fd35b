"""Commands of earlier versions: they still work, and say once how the same is asked for today."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

import typer

_TRAINING = (
    *("model", "layers", "start", "method", "rank", "precision", "epochs", "learning_rate", "batch", "train_limit"),
    *("eval_limit", "patience", "seed"),
)
_TEACHING = ("teacher", "horizon_s", "temperature_veh_s", "distil", "sharpen")
#: By old verb: the verb and task of today, and what its options are called. ``=key`` is a setting, ``key=value`` one
#: that an option without a value means, None what an option with a value meant and nobody needs.
_OLD: dict[str, tuple[list[str], dict[str, str | None]]] = {
    "collect": (
        ["collect", "decide"],
        {
            "--episodes": "--runs",
            "--minutes": "=minutes",
            "--per-episode": "=records_per_episode",
            "--then": "=then",
            "--branches": "branches=true",
            "--no-branches": "branches=false",
            "--imagined": "=imagined_share",
            "--draw-seed": "=draw_seed",
            "--forecast-head": "=forecast_head",
        },
    ),
    "train": (
        ["train", "decide"],
        {
            **{f"--{name.replace('_', '-')}": f"={name}" for name in _TRAINING},
            **{f"--{name.replace('_', '-')}": f"=task.{name}" for name in _TEACHING},
        },
    ),
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
_DEFAULTS: dict[str, dict[str, str]] = {
    "collect": {"--runs": "250"},
    "train": {},
    "collect-forecasts": {"--out": "forecasts"},
    "train-forecast": {"--records": "forecasts", "--out": "runs/forecast"},
    "forecast": {"--records": "forecasts", "--out": "results/forecast"},
}


def translated(arguments: Sequence[str]) -> list[str]:
    """The arguments in their present form; what is of today stays as it is."""
    verb, *rest = arguments or [""]
    if verb not in _OLD or (verb in ("collect", "train") and _has_task(rest)):
        return list(arguments)
    start, names = _OLD[verb]
    if verb == "train-forecast" and "--tune" in rest:
        names = {**names, "--epochs": "=epochs"}
    present = [*start, *_options(_words(verb, rest), names)]
    for option, value in _DEFAULTS[verb].items():
        if option not in present:
            present += [option, value]
    typer.echo(f"greenloop {verb} is now: greenloop {shlex.join(present)}", err=True)
    return present


def _has_task(rest: Sequence[str]) -> bool:
    return bool(rest) and (not rest[0].startswith("-") or rest[0] in ("-h", "--help"))


def _words(verb: str, rest: Sequence[str]) -> list[str]:
    """The words of ``collect`` with what one option alone did not say: --scenarios named a split or scenarios."""
    words = [part for word in rest for part in ((word.split("=", 1)) if word.startswith("--") else (word,))]
    if verb != "collect":
        return words
    found: list[str] = []
    drivers: list[str] = []
    left = iter(words)
    for word in left:
        if word == "--drive":
            drivers.append(next(left, ""))
        elif word == "--demand-scales":
            found += ["--set", f"demand_scales=[{next(left, '')}, {next(left, '')}]"]
        elif word == "--scenarios" and (value := next(left, "")) in ("train", "validation"):
            found += ["--split", value]
        elif word == "--scenarios":
            found += ["--scenarios", value]
        else:
            found.append(word)
    return [*found, "--set", f"drive={json.dumps(drivers)}"] if drivers else found


def _options(words: Sequence[str], names: dict[str, str | None]) -> list[str]:
    found: list[str] = []
    left = iter(words)
    for word in left:
        name = names.get(word, word)
        if name is None:
            next(left, "")
        elif name.startswith("="):
            value = next(left, "")
            found += ["--set", f"{name[1:]}={'null' if (name, value) == ('=layers', '0') else value}"]
        elif "=" in name and name != word:
            found += ["--set", name]
        else:
            found.append(name)
    return found
