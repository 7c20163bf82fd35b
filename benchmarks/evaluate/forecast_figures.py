"""The figures of a forecast comparison: every forecaster's error by horizon, and the fan of one approach."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.evaluate.forecast_scores import PLACES, Score
from benchmarks.figures.forecast_fan import forecast
from benchmarks.figures.selection import Choice
from benchmarks.figures.style import WIDTH_IN, colours, label, save, style
from benchmarks.results.run_result import ResultError
from llm.tasks.forecast.state import HORIZONS_MIN

_TITLES = {"overall": "Overall", "around_incidents": "Around incidents"}


def draw(scores: Sequence[Score], fan: Path, out: Path) -> list[Path]:
    """Draw the flow's errors, and the fan of one approach from its table, into ``out`` as PDF, SVG and PNG.

    Raises:
        ResultError: they cannot be written.
    """
    with style():
        try:
            written = save(errors(scores), out, "forecast_errors")
            return written + save(forecast(choice=Choice(table=fan)), out, "forecast_fan")
        except OSError as error:
            raise ResultError(
                f"Figures cannot be written to {out} ({error.strerror}); choose another folder."
            ) from error


def errors(scores: Sequence[Score]) -> Figure:
    """MAE of the flow at each horizon with 95 % intervals, one dot for each forecaster."""
    places = [place for place in PLACES[:2] if any(row.place == place for row in scores)]
    figure, panels = plt.subplots(1, len(places), figsize=(WIDTH_IN, 3.4), sharey=True, squeeze=False)
    figure.subplots_adjust(wspace=0.06, bottom=0.33)
    for axes, place in zip(panels[0], places, strict=True):
        _panel(axes, [row for row in scores if row.place == place and row.target == "flow_veh_h"])
        axes.set_title(_TITLES[place])
    panels[0][0].set_ylabel("Mean absolute error of the flow (veh/h)")
    handles, labels = panels[0][0].get_legend_handles_labels()
    title = "Lines: 95 % intervals over blocks of network and seed"
    figure.legend(
        handles, labels, title=title, title_fontsize=8, loc="lower center", ncols=4, frameon=False, fontsize=8
    )
    return figure


def _panel(axes: Axes, rows: Sequence[Score]) -> None:
    looks = colours(list(dict.fromkeys(row.forecaster for row in rows)))
    width = 0.8 / max(len(looks), 1)
    for number, (name, (colour, _)) in enumerate(looks.items()):
        own = {row.horizon_min: row for row in rows if row.forecaster == name}
        for place, horizon_min in enumerate(HORIZONS_MIN):
            row = own.get(horizon_min)
            if row is None:
                continue
            x = place - 0.4 + (number + 0.5) * width
            low, high = row.mae_interval or (row.mae, row.mae)
            axes.plot([x, x], [low, high], color=colour, lw=1)
            marker = "D" if name.startswith("language_model") else "o"
            kind = name.partition(":")[0]
            inside = "none" if kind.startswith("language_model_") else colour  # its variants are hollow
            axes.plot(x, row.mae, marker, color=colour, mfc=inside, ms=4, label=label(kind) if not place else None)
    axes.set_xticks(np.arange(len(HORIZONS_MIN)), [f"{minutes} min" for minutes in HORIZONS_MIN])
    axes.set_xlabel("Forecast horizon")
    axes.set_ylim(bottom=0)
    axes.grid(visible=False, axis="x")
