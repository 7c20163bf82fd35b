"""What every controller that asks a model needs: another that stands in, counted by reason, each said once a run."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from controllers.base import Controller, ControllerError, RunContext
from controllers.registry import make
from sim.network import Network, Signal
from sim.observation import Observation
from sim.signals import Decision

LOGGER = logging.getLogger("greenloop")


class Fallback:
    """Decides for the signals for which a model has no answer.

    Args:
        spec: the controller that stands in.
        owner: name of the controller that it stands in for.
        kind: class of the owner, which cannot stand in for itself.
        reasons: all reasons that ``count`` knows.
        called: the owner at the beginning of a sentence; its name when missing.

    Raises:
        ControllerError: there is no such controller, or it cannot stand in.
    """

    def __init__(
        self, spec: str, owner: str, kind: type[Controller], reasons: Collection[str], called: str = ""
    ) -> None:
        self.controller, self.called, self.reasons = make(spec), called or owner, tuple(reasons)
        if isinstance(self.controller, kind):
            raise ControllerError(f"{owner}: the fallback must be another kind of controller, such as 'greedy'.")
        if self.controller.looks_ahead:
            raise ControllerError(f"{owner}: '{spec}' looks ahead, so it is no fallback; choose 'greedy'.")

    @property
    def name(self) -> str:
        """The class of the controller that stands in."""
        return type(self.controller).__name__

    def reset(self, network: Network, seed: int, context: RunContext | None) -> None:
        """Prepare for a run, with all counts at 0."""
        self.controller.context = context
        self.controller.reset(network, seed)
        self._counts: Counter[str] = Counter()

    def act(self, signals: Sequence[Signal], observation: Observation) -> dict[str, Decision | int]:
        """The decisions of these signals."""
        instead = self.controller.act(observation)
        return {signal.id: instead[signal.id] for signal in signals if signal.id in instead}

    def count(self, reason: str, detail: str, decisions: int = 1) -> None:
        """Count decisions that had to come from the fallback; the first of a reason is logged."""
        self._counts[reason] += decisions
        if self._counts[reason] == decisions:
            LOGGER.warning(
                "%s failed (%s: %s); %s decides instead, counted as fallback_%s.",
                self.called,
                reason,
                " ".join(detail.split())[:200],
                self.name,
                reason,
            )

    def counters(self) -> Mapping[str, float]:
        """Decisions by the fallback, in all and by reason."""
        by_reason = {f"fallback_{reason}": self._counts[reason] for reason in self.reasons}
        return {"fallbacks": sum(by_reason.values()), **by_reason}

    def close(self) -> None:
        """Release what the controller holds."""
        self.controller.close()
