"""Commands of earlier versions: they still work, and say once how the same is asked for today."""

from __future__ import annotations

from collections.abc import Sequence

import typer

#: Verbs that had no task: the command that stands for them.
_OLD = {"collect": "collect-decisions", "train": "train-decisions"}


def translated(arguments: Sequence[str]) -> list[str]:
    """The arguments with an old verb in its present form."""
    verb, *rest = arguments or [""]
    if verb not in _OLD or rest[:1] in (["--help"], ["-h"]) or (rest and not rest[0].startswith("-")):
        return list(arguments)
    typer.echo(f"greenloop {verb} now takes a task; this is understood as 'greenloop {verb} decide'.", err=True)
    return [_OLD[verb], *rest]
