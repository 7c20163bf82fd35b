"""A page that plays runs in the browser: vehicles on their streets, lights, queues, incidents, and a signal's reasons.

results with traces -> which runs (``replay_choice``) -> numbers (``replay_data``) -> one HTML file that fetches
nothing, made of ``benchmarks/replay/``. The page draws on two plain canvases. A library such as PixiJS would bring half
a megabyte and need WebGL; here 1,000 vehicles are three filled paths, and a frame with them takes a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.figures.maps.credit import address, credit
from benchmarks.replay import data as replay_data
from benchmarks.replay.choice import Chosen, ReplayError, Wish, choose
from benchmarks.results import provenance
from benchmarks.results import run_result as results

if TYPE_CHECKING:
    from benchmarks.replay.film import Span

__all__ = ["ReplayError", "Wish", "Written", "write", "write_film"]

FOLDER = Path(__file__).parent
#: In this order: each may use what those before it define.
SCRIPTS = ("data.js", "map.js", "side.js", "page.js")


@dataclass(frozen=True)
class Written:
    """A page or a film that was written: where, how large, which run, and what was left out, in sentences."""

    path: Path
    size_mb: float
    scenario: str
    seed: int
    controllers: tuple[str, ...]
    problems: tuple[str, ...]


def write(places: Sequence[Path], out: Path, wish: Wish | None = None) -> Written:
    """Write the page of one run, or of two side by side.

    Args:
        places: folders of ``greenloop run --trace``, or one or two result files.
        out: the page.
        wish: what to play.

    Raises:
        ReplayError, ResultError, TraceError: there is nothing to play, or the page cannot be written; one sentence.
    """
    _check_file(out, "replay.html")
    chosen, problems = choose(places, wish or Wish())
    results.write_text(out, render(chosen))
    return _written(out, chosen, problems)


def write_film(places: Sequence[Path], out: Path, wish: Wish | None = None, span: Span | None = None) -> Written:
    """Write a GIF or an MP4, by the ending of ``out``, of some minutes of one run or two side by side.

    Raises:
        ReplayError, ResultError, TraceError: as ``write``; or there is no such kind of film.
    """
    from benchmarks.replay import film as replay_film

    _check_file(out, "replay.gif")
    chosen, problems = choose(places, wish or Wish())
    replay_film.write(chosen, labels(chosen), out, span)
    return _written(out, chosen, problems)


def _check_file(out: Path, example: str) -> None:
    if out.is_dir():
        raise ReplayError(f"{out} is a folder; name a file, such as {out / example}.")


def _written(out: Path, chosen: Sequence[Chosen], problems: Sequence[str]) -> Written:
    about = chosen[0].trace.about
    names = tuple(one.run.controller.name for one in chosen)
    return Written(out, out.stat().st_size / 1e6, about.scenario, about.seed, names, tuple(problems))


def render(chosen: Sequence[Chosen]) -> str:
    """The page as HTML; everything that comes from results is escaped or packed."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    about, names = chosen[0].trace.about, labels(chosen)
    return environment.get_template("page.html").render(
        title=f"{about.scenario}: {' and '.join(names)}, replayed",
        scenario=about.scenario,
        seed=about.seed,
        timings=about.timings.get("name", ""),
        runs=names,
        credit=credit(about.licence),
        credit_url=address(about.licence),
        version=provenance.versions().get("greenloop", "?"),
        css=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        js=Markup("\n".join((FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS)),
        data=Markup(replay_data.packed(chosen, names)),
    )


def labels(chosen: Sequence[Chosen]) -> list[str]:
    """Controllers' names for readers: ``my/file.py:Mine`` gives ``Mine``, ``sotl:a=1`` gives ``sotl (a=1)``."""
    return [_label(one.run.controller.name) for one in chosen]


def _label(name: str) -> str:
    kind, _, parameters = name.rpartition(".py:")[2].partition(":")
    return kind.replace("_", " ") + (f" ({parameters})" if parameters else "")
