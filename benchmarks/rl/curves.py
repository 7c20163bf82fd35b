"""The learning curves of a training: delay of each round, one thin line per seed and their mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.rl.training_folder import Episode, Training

#: Rounds that the mean line is smoothed over, as a share of all.
SMOOTHED = 0.1


def by_seed(episodes: Sequence[Episode]) -> dict[int, dict[int, float]]:
    """Policy seed -> steps -> delay, s/veh, averaged over the scenarios of the round."""
    found: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in episodes:
        found[row.policy_seed][row.steps].append(row.delay_s)
    return {
        seed: {steps: float(np.mean(values)) for steps, values in sorted(curve.items())}
        for seed, curve in sorted(found.items())
    }


def draw(training: Training, episodes: Sequence[Episode], out: Path) -> list[Path]:
    """Draw ``curves`` as PDF, SVG and PNG; returns their paths, none without episodes."""
    curves = by_seed(episodes)
    if not curves:
        return []
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    from benchmarks.figures import style

    with style.style():
        figure, axes = plt.subplots(figsize=(style.WIDTH_IN, 2.8))
        for curve in curves.values():
            axes.plot(list(curve), list(curve.values()), color=style.QUIET, linewidth=0.7, alpha=0.6)
        steps, mean = _mean(curves)
        axes.plot(steps, mean, color=style.PALETTE[0], label="mean of the seeds, smoothed")
        axes.set(xlabel="decisions", ylabel="delay, s/veh", yscale="log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        names = training.scenarios
        where = names[0] if len(names) == 1 else f"{len(names)} scenarios"
        axes.set_title(f"{training.algorithm.upper()} on {where}")
        axes.legend(frameon=False)
        style.note(axes, f"{style.count(list(curves), 'seed')}, exploration included")
        return style.save(figure, out, "curves")


def _mean(curves: dict[int, dict[int, float]]) -> tuple[list[int], list[float]]:
    """Mean over the seeds that got that far, then over a trailing window."""
    steps = sorted(set().union(*curves.values()))
    mean = [float(np.mean([curve[at] for curve in curves.values() if at in curve])) for at in steps]
    window = max(1, round(SMOOTHED * len(steps)))
    return steps, [float(np.mean(mean[max(0, k + 1 - window) : k + 1])) for k in range(len(mean))]
