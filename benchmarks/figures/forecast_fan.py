"""Forecast fan: quantile bands beside what came, from a plain table.

The table is a CSV file with a row for each forecast and these columns, in any order:

    time_s        when the forecast was made, SUMO's clock, s
    horizon_min   how far ahead it looks, min; it is about the time ``time_s + 60 * horizon_min``
    q10, q50, q90 quantiles of the forecast, in the unit of ``came``, q10 <= q50 <= q90
    came          what the forecast should have said; empty where it is not known
    place         optional: which approach or road; one figure shows one place
    unit          optional: of the values, for the axis, such as "veh/h"
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.figures.selection import Choice, FigureError, hint
from benchmarks.figures.style import DASHES, INK, MODEL_COLOUR, QUIET, WIDTH_IN, clock_axis, note, short
from benchmarks.results.cases import Group

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("time_s", "horizon_min", "q10", "q50", "q90", "came")
#: The band holds what came so often if the forecast is honest, %.
NOMINAL_PERCENT = 80


def forecast(group: Group | None = None, choice: Choice | None = None) -> Figure:  # noqa: ARG001 - drawn from the table
    """Above: fans that leave some moments; below: the longest horizon at every moment, with the band's coverage.

    ``choice.table`` is the table, ``choice.road`` the place (the one with most traffic when None).

    Raises:
        FigureError: there is no table, or it lacks a column, or the place is unknown.
    """
    choice = choice or Choice()
    if choice.table is None:
        raise FigureError("The forecast figure is drawn from a table of forecasts; give it with --table forecasts.csv.")
    rows, place = _of_place(read(choice.table), choice.road)
    horizons = sorted(rows["horizon_min"].unique())
    figure, panels = plt.subplots(
        min(len(horizons), 2), 1, figsize=(WIDTH_IN, 1.0 + 2.1 * min(len(horizons), 2)), sharex=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    if len(horizons) > 1:
        _fans(panels[0, 0], rows, horizons[-1])
        panels[0, 0].set_title("Fans that leave every " + f"{horizons[-1]:g} min")
    _track(panels[-1, 0], rows[rows["horizon_min"] == horizons[-1]], horizons[-1])
    unit = str(rows["unit"].iloc[0]) if "unit" in rows else "value"
    known = rows if rows["came"].isna().all() else rows.dropna(subset=["came"])
    end_s = float((known["time_s"] + 60 * known["horizon_min"]).max())
    for axes in panels[:, 0]:
        clock_axis(axes, float(rows["time_s"].min()), end_s)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.set_ylabel(f"{short(place, 18) + ' ' if place else ''}({unit})")
    panels[-1, 0].set_xlabel("Time of day (h:min)")
    handles, texts = panels[-1, 0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=3, frameon=False, fontsize=7.5)
    return figure


def read(path: Path) -> pd.DataFrame:
    """Read a table of forecasts; see the top of this file.

    Raises:
        FigureError: it cannot be read, is empty, lacks a column, holds words for numbers, or its quantiles cross.
    """
    import pandas as pd

    try:
        rows = pd.read_csv(path)
    except OSError as error:
        raise FigureError(f"The table {path} cannot be read ({error.strerror}); check the path.") from error
    except ValueError as error:
        raise FigureError(f"{path} is no CSV table ({' '.join(str(error).split())}).") from error
    if missing := [name for name in COLUMNS if name not in rows]:
        raise FigureError(f"The table {path} has no column '{missing[0]}'; it needs {', '.join(COLUMNS)}.")
    for name in COLUMNS:
        rows[name] = pd.to_numeric(rows[name], errors="coerce").astype("float64")
        if name != "came" and rows[name].isna().any():
            line = int(np.flatnonzero(rows[name].isna())[0]) + 2
            raise FigureError(f"The table {path} has no number in column '{name}' on line {line}.")
    if rows.empty:
        raise FigureError(f"The table {path} holds no forecast.")
    crossed = (rows["q10"] > rows["q50"]) | (rows["q50"] > rows["q90"])
    if crossed.any():
        line = int(np.flatnonzero(crossed)[0]) + 2
        raise FigureError(f"The table {path} has crossing quantiles on line {line}; q10 <= q50 <= q90 must hold.")
    keys = [name for name in ("place", "time_s", "horizon_min") if name in rows]
    if (again := rows.duplicated(keys)).any():
        row = rows[again].iloc[0]
        raise FigureError(
            f"The table {path} has two forecasts made at {row['time_s']:g} s for {row['horizon_min']:g} min ahead; "
            "tell runs and roads apart in a column 'place'."
        )
    return rows.sort_values(["time_s", "horizon_min"], kind="stable", ignore_index=True)


def _of_place(rows: pd.DataFrame, asked: str | None) -> tuple[pd.DataFrame, str]:
    if "place" not in rows:
        return rows, ""
    rows = rows.assign(place=rows["place"].astype(str))
    known = list(rows["place"].unique())
    if asked is not None and asked not in known:
        raise FigureError(f"The table has no place '{asked}'; {hint(asked, known)}")
    place = asked or str(rows.groupby("place")["came"].sum().idxmax())
    return rows[rows["place"] == place], place


def _fans(axes: Axes, rows: pd.DataFrame, longest_min: float) -> None:
    """One fan for each origin that is the longest horizon after the one before, and what came of each forecast."""
    next_s = -np.inf
    for origin_s in rows["time_s"].unique().tolist():
        if origin_s < next_s:
            continue
        next_s = origin_s + 60 * longest_min
        fan = rows[rows["time_s"] == origin_s]
        _band(axes, fan)
        _came(axes, fan)
        axes.axvline(origin_s, color=QUIET, lw=0.6, ls=(0, (2, 2)), zorder=0)


def _track(axes: Axes, rows: pd.DataFrame, horizon_min: float) -> None:
    _band(axes, rows)
    _came(axes, rows)
    axes.set_title(f"{horizon_min:g} min ahead")
    known = rows.dropna(subset=["came"])
    inside = ((known["q10"] <= known["came"]) & (known["came"] <= known["q90"])).mean()
    if len(known):
        held = f"held what came {100 * inside:.0f} % of the time ({len(known)} forecasts)"
        note(axes, f"the {NOMINAL_PERCENT} % band {held}")


def _band(axes: Axes, rows: pd.DataFrame) -> None:
    about_s = rows["time_s"] + 60 * rows["horizon_min"]
    axes.fill_between(
        about_s, rows["q10"], rows["q90"], color=MODEL_COLOUR, alpha=0.22, lw=0, label="forecast, 10 % to 90 %"
    )
    axes.plot(about_s, rows["q50"], color=MODEL_COLOUR, lw=1.4, ls=DASHES[1], label="forecast, median")


def _came(axes: Axes, rows: pd.DataFrame) -> None:
    """Each forecast's own outcome: a mean up to the horizon differs from one horizon to the next."""
    known = rows.dropna(subset=["came"])
    about_s = known["time_s"] + 60 * known["horizon_min"]
    axes.plot(about_s, known["came"], color=INK, lw=0.9, marker="o", ms=2.2, mew=0, label="what came")
