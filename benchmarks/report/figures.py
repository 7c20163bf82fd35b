"""The figures of a report as SVG that stands in the page: text stays text, ids are unique, colours follow the theme."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from html import escape

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.figures import registry as plots
from benchmarks.figures.selection import Choice
from benchmarks.figures.style import INCIDENT, INK, QUIET, WIDTH_IN, clock_axis, colours, label, style
from benchmarks.report.incidents import NEVER, RECOVERED, Recovery
from benchmarks.report.parts import Drawing, slug
from benchmarks.results.cases import Group

#: Colours of the style that become the page's own, so that a figure is readable on a dark page.
THEME = {
    INK.lower(): "--ink", QUIET.lower(): "--quiet", INCIDENT.lower(): "--warm", "#e4e4e4": "--grid", "#000000": "--ink",
    "#7f7f7f": "--grey-line", "#ffffff": "--paper",
}  # fmt: skip
#: Figures whose colours carry no meaning of their own against the paper; maps and lights stay on white.
THEMED = ("delay", "over_time", "waits", "profile")
#: Width of a point of a figure on the page: text of 8.5 points is as large as the page's small print.
SCALE_REM = 0.1
#: More rows than this on a timeline cannot be read; the table below it holds them all.
MAX_INCIDENTS = 24


def of_group(group: Group, name: str) -> list[Drawing]:
    """Every figure that the results of a case allow."""
    kinds = [kind for kind, entry in plots.REGISTRY.items() if entry.needs in ("results", "trace")]
    return [drawn for kind in kinds for drawn in _drawn(kind, group, name, Choice())]


def of_comparison(group: Group, baseline: str) -> list[Drawing]:
    """Every figure over all cases; ``group`` holds all runs."""
    kinds = [kind for kind, entry in plots.REGISTRY.items() if entry.needs == "scenarios"]
    return [drawn for kind in kinds for drawn in _drawn(kind, group, "all", Choice(baseline=baseline))]


def _drawn(kind: str, group: Group, name: str, choice: Choice) -> list[Drawing]:
    """One figure, or none where these results do not hold what it needs."""
    entry = plots.REGISTRY[kind]
    with style(), mpl.rc_context({"svg.fonttype": "none"}):
        try:
            figure = entry.draw(group, choice)
        except plots.REFUSALS:
            return []
        text = re.sub(r" \(--\w+\)", "", entry.text)  # options of greenloop plot
        caption = text[0].upper() + text[1:] + "."
        return [inline(figure, slug(f"figure-{name}-{kind}"), f"{name}: {text}.", caption, kind in THEMED)]


def timeline(found: Sequence[Recovery], group: Group, name: str) -> Drawing:
    """Incidents as bars on the run's time, one row each; a mark per controller where its queue was back."""
    rows = list(
        dict.fromkeys((entry.seed, entry.start_s, entry.end_s, entry.kind) for entry in sorted(found, key=_order))
    )
    shown, left_out = rows[:MAX_INCIDENTS], len(rows) - MAX_INCIDENTS
    with style(), mpl.rc_context({"svg.fonttype": "none"}):
        figure = _timeline(found, group, shown)
        caption = (
            "Bars: incidents. Marks: when the queue was back at its reference; a line leads from the incident's end. "
            "Arrows at the edge: not within the run."
        )
        if left_out > 0:
            caption += f" The first {MAX_INCIDENTS} incidents; the table holds {left_out} more."
        return inline(
            figure, slug(f"figure-{name}-incidents"), f"{name}: incidents and recovery.", caption, themed=True
        )


def inline(figure: Figure, name: str, said: str, caption: str, themed: bool) -> Drawing:
    """A figure as an SVG element with a text for those who do not see it; closes the figure."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", bbox_inches="tight", pad_inches=0.06, transparent=True, metadata={"Date": None}
    )
    plt.close(figure)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.S)  # a style would act on the page
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), svg)
    if themed:
        svg = re.sub(r"<text[^>]*>", lambda text: re.sub(r"fill: (#[0-9a-fA-F]{6})", _legible, text[0]), svg)
        svg = re.sub(r"#[0-9a-fA-F]{6}\b", _themed, svg)
    width = re.search(r'width="([\d.]+)pt"', svg)
    assert width is not None
    svg = re.sub(
        r'width="[\d.]+pt" height="[\d.]+pt"', f'style="width: {SCALE_REM * float(width[1]):.1f}rem"', svg, count=1
    )
    svg = re.sub(r"<svg ", f'<svg role="img" aria-label="{escape(said)}" ', svg, count=1)
    return Drawing(name, said, svg, caption, themed)


def _timeline(found: Sequence[Recovery], group: Group, shown: Sequence[tuple[int, float, float, str]]) -> Figure:
    looks = colours(group.controllers)
    scenario = group.runs[0].scenario
    begin_s, end_s = scenario.begin_s + scenario.warmup_s, scenario.end_s
    figure, axes = plt.subplots(figsize=(WIDTH_IN, 0.9 + 0.3 * len(shown)))
    axes.barh(
        range(len(shown)), [min(end, end_s) - start for _, start, end, _ in shown],
        left=[start for _, start, _, _ in shown], height=0.8, color=INCIDENT,
    )  # fmt: skip
    steps = np.linspace(-0.27, 0.27, len(group.controllers)) if len(group.controllers) > 1 else np.zeros(1)
    for entry in found:
        key = (entry.seed, entry.start_s, entry.end_s, entry.kind)
        if key in shown and entry.state in (RECOVERED, NEVER):
            row = shown.index(key) + float(steps[group.controllers.index(entry.controller)])
            _mark(axes, entry, row, end_s, looks[entry.controller][0])
    axes.set_yticks(range(len(shown)), [f"seed {seed}: {kind.replace('_', ' ')}" for seed, _, _, kind in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    clock_axis(axes, begin_s, end_s)
    axes.set_xlabel("Time of day (h:min)")
    keys = [Line2D([], [], marker="o", ls="-", lw=1.2, ms=4, color=looks[name][0]) for name in group.controllers]
    figure.legend(
        keys, [label(name) for name in group.controllers], ncols=4, frameon=False, loc="lower left",
        bbox_to_anchor=(0.12, 0.89), handlelength=1.4,
    )  # fmt: skip
    return figure


def _mark(axes: Axes, entry: Recovery, row: float, end_s: float, colour: str) -> None:
    """A line from the incident's end to the mark where the queue was back, or to an arrow at the edge."""
    until_s = end_s if entry.recovery_s is None else entry.end_s + entry.recovery_s
    axes.plot([entry.end_s, until_s], [row, row], color=colour, lw=1.2, clip_on=False)
    axes.plot(until_s, row, marker=">" if entry.recovery_s is None else "o", color=colour, ms=4, mew=0, clip_on=False)


def _order(entry: Recovery) -> tuple[int, float]:
    return entry.seed, entry.start_s


def _legible(colour: re.Match[str]) -> str:
    """Names in a series' colour need more contrast than its line, on light and on dark paper."""
    return colour[0] if colour[1].lower() in THEME else f"fill: color-mix(in srgb, {colour[1]} 60%, var(--ink))"


def _themed(colour: re.Match[str]) -> str:
    name = THEME.get(colour[0].lower())
    return f"var({name})" if name else colour[0]
