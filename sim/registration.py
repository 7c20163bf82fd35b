"""Gymnasium ids of the environments; light, because ``import greenloop`` runs it."""

from __future__ import annotations

import gymnasium

from scenarios.resco import RESCO

#: Registered id -> scenario name. The text ids give prompts instead of numbers.
ENVIRONMENTS = {f"greenloop/{name.capitalize()}-v0": name for name in RESCO}
TEXT_ENVIRONMENTS = {f"greenloop/{name.capitalize()}Text-v0": name for name in RESCO}


def register() -> None:
    """Register the environments with Gymnasium; ``import greenloop`` does it, twice does no harm."""
    for ids, entry_point in ((ENVIRONMENTS, "sim.env:SignalEnv"), (TEXT_ENVIRONMENTS, "llm.text_env:make_text_env")):
        for env_id, scenario in ids.items():
            if env_id not in gymnasium.registry:
                gymnasium.register(env_id, entry_point=entry_point, kwargs={"scenario": scenario})
