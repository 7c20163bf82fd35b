"""Which controllers are classical."""

from __future__ import annotations

#: What the baseline "best" is chosen from: no training, no look into the future, nobody's own file.
CLASSICAL = frozenset(
    {
        "fixed_time", "webster", "green_wave", "actuated", "delay_based", "greedy", "holding", "longest_queue",
        "max_pressure", "max_pressure_normalised", "cyclic_max_pressure", "flexible_max_pressure", "scats", "sotl",
        "random_phase",
    }
)  # fmt: skip


def is_classical(name: str) -> bool:
    """Whether a controller is one of those that come with greenloop, learn nothing and see no future."""
    return name.partition(":")[0] in CLASSICAL
