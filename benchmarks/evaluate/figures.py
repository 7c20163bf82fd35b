"""The figures of an evaluation: every answerer's first measure with its interval, and a fan where a task wrote one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.evaluate import block_bootstrap
from benchmarks.figures.forecast_fan import forecast
from benchmarks.figures.selection import Choice
from benchmarks.figures.style import WIDTH_IN, colours, label, save, style
from benchmarks.results.run_result import ResultError

FAN_FILE = "fan.csv"
#: Slices that are drawn side by side, at most.
MOST_PANELS = 2


def draw(rows: Sequence[block_bootstrap.Figure], out: Path) -> list[Path]:
    """Draw the first measure of the first group, and the fan of its table, into ``out`` as PDF, SVG and PNG.

    Raises:
        ResultError: they cannot be written.
    """
    with style():
        try:
            written = save(measured(rows), out, "evaluation") if rows else []
            if (out / FAN_FILE).is_file():
                written += save(forecast(choice=Choice(table=out / FAN_FILE)), out, "fan")
            return written
        except OSError as error:
            raise ResultError(
                f"Figures cannot be written to {out} ({error.strerror}); choose another folder."
            ) from error


def measured(rows: Sequence[block_bootstrap.Figure]) -> Figure:
    """The first measure at each step with 95 % intervals, one dot for each answerer and panel for each slice."""
    first = rows[0]
    shown = [row for row in rows if (row.group, row.measure) == (first.group, first.measure)]
    slices = list(dict.fromkeys(row.slice for row in shown))[:MOST_PANELS]
    figure, panels = plt.subplots(1, len(slices), figsize=(WIDTH_IN, 3.4), sharey=True, squeeze=False)
    figure.subplots_adjust(wspace=0.06, bottom=0.33)
    for axes, name in zip(panels[0], slices, strict=True):
        _panel(axes, [row for row in shown if row.slice == name])
        axes.set_title(name.replace("_", " ").capitalize())
    panels[0][0].set_ylabel(" ".join(part for part in (first.group, first.measure) if part).replace("_", " "))
    handles, labels = panels[0][0].get_legend_handles_labels()
    title = "Lines: 95 % intervals over blocks of network and seed"
    figure.legend(
        handles, labels, title=title, title_fontsize=8, loc="lower center", ncols=4, frameon=False, fontsize=8
    )
    return figure


def _panel(axes: Axes, rows: Sequence[block_bootstrap.Figure]) -> None:
    looks = colours(list(dict.fromkeys(row.answerer for row in rows)))
    steps = list(dict.fromkeys(row.step for row in rows))
    width = 0.8 / max(len(looks), 1)
    for number, (name, (colour, _)) in enumerate(looks.items()):
        own = {row.step: row for row in rows if row.answerer == name}
        for place, step in enumerate(steps):
            row = own.get(step)
            if row is None:
                continue
            x = place - 0.4 + (number + 0.5) * width
            low, high = row.interval or (row.value, row.value)
            axes.plot([x, x], [low, high], color=colour, lw=1)
            kind = name.partition(":")[0]
            marker = "D" if kind.startswith(("language_model", "model")) else "o"
            inside = "none" if kind.startswith("language_model_") else colour  # its variants are hollow
            axes.plot(x, row.value, marker, color=colour, mfc=inside, ms=4, label=label(kind) if not place else None)
    axes.set_xticks(np.arange(len(steps)), steps)
    axes.set_ylim(bottom=min(0.0, *(row.value for row in rows)))
    axes.grid(visible=False, axis="x")
