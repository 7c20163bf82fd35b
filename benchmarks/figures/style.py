"""How every figure looks: one style, safe for colour-blind readers, sized for a paper's text width."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Lines: 3 to 1 or more on white and on the report's dark paper, apart for colour-blind readers (tests measure both).
#: Blue, green, purple and black are Okabe and Ito's; their orange, sky blue and yellow are too pale for lines on white.
PALETTE = ("#0072B2", "#8A33F0", "#009E73", "#CC79A7", "#CC0033", "#000000")
#: The same controller has the same colour in every figure: fixed time is grey, the language model vermillion.
FIXED = {"fixed_time": "#6F6F6F", "greedy": "#0072B2", "max_pressure": "#009E73", "lookahead": "#000000"}
MODEL_COLOUR = "#D55E00"
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1)))
PATTERNS = ("-", (0, (6, 1.5)), (0, (1.5, 1)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1)), (0, (6, 1.5, 1.5, 1.5, 1.5, 1.5)))
INK, QUIET, INCIDENT = "#222222", "#6B6B6B", "#F2D5A7"
#: Lights: in grey print red is darkest and yellow palest. A green band, like an incident, is an area behind the lines.
RED, YELLOW, GREEN, BAND = "#B2182B", "#B58A00", "#1F7A63", "#D8EFE6"
WIDTH_IN = 7.0
FORMATS = ("pdf", "svg", "png")

SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 8.5,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "figure.dpi": 100,
    "savefig.dpi": 220,
    "pdf.fonttype": 42,
    "svg.hashsalt": "greenloop",
    "path.simplify_threshold": 0.3,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in greenloop's style without changing the user's."""
    with mpl.rc_context(SETTINGS):
        yield


def colours(names: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """Colour and dash of each controller: known ones always the same, others in the order given."""
    taken = {FIXED[name] for name in names if name in FIXED}
    free = [colour for colour in PALETTE if colour not in taken] or list(PALETTE)
    found: dict[str, tuple[str, Any]] = {}
    others = models = 0
    for name in names:
        if name in FIXED:
            found[name] = FIXED[name], DASHES[0]
        elif name.startswith("language_model"):
            found[name] = MODEL_COLOUR, DASHES[models % len(DASHES)]
            models += 1
        else:
            found[name] = free[others % len(free)], DASHES[others // len(free) % len(DASHES)]
            others += 1
    return found


def patterns(names: Sequence[str]) -> dict[str, Any]:
    """A dash for each name in turn, for lines that a legend must tell apart in grey print."""
    return {name: PATTERNS[row % len(PATTERNS)] for row, name in enumerate(names)}


def label(name: str) -> str:
    """A controller's name for readers: ``my/file.py:Mine`` becomes ``Mine``, underscores become spaces.

    Of a folder among its parameters the last two parts are shown.
    """
    short = re.sub(r"=[^,]*/([^/,]+/[^/,]+)", r"=\1", name.rpartition(".py:")[2])
    return short.replace("_", " ")


def count(things: Sequence[object], noun: str) -> str:
    """``5 seeds``, ``1 seed``."""
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


#: Least distance between a title and the line beside it, points.
TITLE_GAP_PT = 10.0


def note(axes: Axes, text: str) -> None:
    """A quiet line at the right above an axis: how the figure was made; below its title where both are long."""
    where: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right"}
    quiet = axes.annotate(text, (1, 1), (0, 8), fontsize=7.5, color=QUIET, **where)
    title = axes.get_title(loc="left")
    if not title:
        return
    figure = quiet.get_figure(root=True)
    assert figure is not None
    room = axes.get_position().width * figure.bbox.width - quiet.get_window_extent().width
    if room < axes.set_title(title, loc="left").get_window_extent().width + TITLE_GAP_PT * figure.dpi / 72:
        quiet.xyann = (0, 5)
        axes.set_title(title, loc="left", pad=17)


def clock(seconds: float) -> str:
    """SUMO's clock as hours and minutes."""
    return f"{int(seconds // 3600) % 24:02d}:{int(seconds % 3600 // 60):02d}"


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move labels apart, in their order, so that neighbours are ``gap`` away and stay within bounds where they fit."""
    order = sorted(range(len(positions)), key=lambda k: positions[k])
    placed = list(positions)
    at = -math.inf
    for k in order:
        at = placed[k] = max(placed[k], at + gap, low)
    at = math.inf
    for k in reversed(order):
        at = placed[k] = min(placed[k], at - gap, high)
    return placed


def clock_axis(axes: Axes, begin_s: float, end_s: float) -> None:
    """Label an axis in seconds with the time of day, about every sixth of the span."""
    steps_s = (60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
    step_s = next((step for step in steps_s if (end_s - begin_s) / step <= 8), steps_s[-1])
    ticks = [step_s * k for k in range(math.ceil(begin_s / step_s), math.floor(end_s / step_s) + 1)]
    axes.set_xlim(begin_s, end_s)
    axes.set_xticks(ticks, [clock(tick) for tick in ticks])


def short(text: str, most: int) -> str:
    """A text that may be cut in the middle to fit."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write a figure in each format; the same figure gives the same bytes.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{ending}" for ending in formats]
    for path in paths:
        dated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(path.suffix[1:], {})
        figure.savefig(path, metadata=dated, bbox_inches="tight", pad_inches=0.06)
        if path.suffix == ".svg":  # a hundredth of a point is enough, and halves the file; scales make letters, though
            text = path.read_text(encoding="utf-8")
            text = re.sub(r"(scale\([^)]*\))|(\.\d\d)\d+", lambda found: found[1] or found[2], text)
            path.write_text(text, encoding="utf-8")
    plt.close(figure)
    return paths
