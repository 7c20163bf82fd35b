"""The learning curve of a training: loss and validation regret over its records."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def draw(metrics: dict[str, Any], path: Path) -> None:
    """Draw the losses, and where regret is measured that on validation beside the rivals'.

    On the way it is measured on some records, before and after on all, like the rivals'.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = 2 if "regret_veh_s" in metrics else 1
    figure, axes = plt.subplots(1, panels, figsize=(4.5 * panels, 3.4), layout="constrained", squeeze=False)
    left = axes[0][0]
    for key, label in (("loss", "training"), ("eval_loss", "validation")):
        left.plot(*_curve(metrics["history"], key), marker="o", markersize=3, label=label)
    left.set(xlabel="epoch", ylabel="loss", title="Loss")
    left.legend(frameon=False)
    if panels > 1:
        _draw_regret(axes[0][1], metrics)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _draw_regret(right: Any, metrics: dict[str, Any]) -> None:
    epochs, regrets = _curve(metrics["history"], "eval_regret_veh_s")
    right.plot(epochs, regrets, marker="o", markersize=3, label="language model, some records")
    ends = [metrics.get("start_regret_veh_s", metrics.get("untuned_regret_veh_s")), metrics["regret_veh_s"]]
    right.plot([0, max(epochs, default=0)], ends, "D", color="C0", label="before and after, all records")
    for number, (name, value) in enumerate(sorted(metrics["rivals_regret_veh_s"].items())):
        if name != "random":
            right.axhline(value, linestyle="--", linewidth=1, color=f"C{number + 1}", label=name)
    right.set(xlabel="epoch", ylabel="regret (veh-s)", title="Validation regret")
    right.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))


def _curve(history: list[dict[str, Any]], key: str) -> tuple[list[float], list[float]]:
    points = [(row["epoch"], row[key]) for row in history if key in row and "train_runtime" not in row]
    return [epoch for epoch, _ in points], [value for _, value in points]
