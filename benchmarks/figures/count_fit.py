"""The figure of a fit: simulated beside counted volumes, and how GEH is spread over the counts."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.figures.style import INK, MODEL_COLOUR, PALETTE, QUIET, WIDTH_IN, note, save, style
from scenarios.counts.geh import GEH_FITS, SHARE_FITS, Fit


def draw(fit: Fit, name: str, folder: Path, credit: str = "") -> list[Path]:
    """Draw a fit as PDF, SVG and PNG in ``folder``.

    Raises:
        OSError: the folder cannot be written.
    """
    with style():
        return save(figure(fit, name, credit), folder, f"{name}_fit")


def figure(fit: Fit, name: str, credit: str = "") -> Figure:
    """Each count as a point between the lines where GEH is 5; beside it the share of counts below each GEH."""
    drawn, (left, right) = plt.subplots(1, 2, figsize=(WIDTH_IN, 3.1), layout="constrained")
    _volumes(left, fit)
    _spread(right, fit)
    left.set_title(name)
    right.set_title("How well it fits")
    note(right, f"{len(fit.points)} counts; {credit}" if credit else f"{len(fit.points)} counts")
    return drawn


def _volumes(axes: Axes, fit: Fit) -> None:
    counted = np.array([point.count.veh_per_h for point in fit.points])
    hours = np.array([(point.count.end_s - point.count.begin_s) / 3600 for point in fit.points])
    driven = np.array([point.driven_veh for point in fit.points]) / hours
    fits = np.array([point.geh < GEH_FITS for point in fit.points])
    top = 1.05 * max(float(counted.max()), float(driven.max()), 1.0)
    line = np.linspace(0, top, 200)
    away = (GEH_FITS**2 + GEH_FITS * np.sqrt(GEH_FITS**2 + 16 * line)) / 4  # where GEH is 5 above the diagonal
    axes.plot(line, line, color=INK, lw=0.8)
    axes.plot(line, line + away, color=QUIET, lw=0.8, ls=(0, (4, 2)))
    axes.plot(line + away, line, color=QUIET, lw=0.8, ls=(0, (4, 2)), label=f"GEH = {GEH_FITS:g}")
    axes.scatter(counted[fits], driven[fits], s=12, color=PALETTE[0], alpha=0.6, lw=0, label="fits", zorder=3)
    if not fits.all():
        axes.scatter(counted[~fits], driven[~fits], s=12, color=MODEL_COLOUR, lw=0, label="does not fit", zorder=4)
    axes.set(xlim=(0, top), ylim=(0, top), xlabel="Counted, veh/h", ylabel="Simulated, veh/h", aspect="equal")
    axes.legend(loc="upper left", fontsize=7.5, frameon=False)


def _spread(axes: Axes, fit: Fit) -> None:
    found = np.sort([point.geh for point in fit.points])
    shares = np.arange(1, len(found) + 1) / len(found)
    right = max(10.0, float(found[-1]))
    axes.step([0, *found, right], [0, *shares, 1], where="post", color=PALETTE[0])
    axes.axvline(GEH_FITS, color=QUIET, lw=0.8, ls=(0, (4, 2)))
    axes.plot(GEH_FITS, SHARE_FITS, marker="o", ms=5, mfc="white", mec=INK, zorder=4)
    asked, shown = f"{SHARE_FITS:.0%} asked for", f"{fit.share:.1%} under {GEH_FITS:g}"
    axes.annotate(asked, (GEH_FITS, SHARE_FITS), (7, -3), textcoords="offset points", fontsize=7.5, va="top")
    axes.annotate(shown, (0.98, 0.06), xycoords="axes fraction", ha="right", fontsize=8.5, color=INK)
    axes.set(xlim=(0, right), ylim=(0, 1.02), xlabel="GEH", ylabel="Share of counts at or below")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
