"""Actions, checked before anything is simulated: each mistake is one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from scenarios.common.names import close_names
from sim.network import Signal
from sim.observation import Observation


class ActionError(gymnasium.error.InvalidAction, ValueError):
    """An action that makes no sense; nothing has been simulated."""


def phases_in_order(signals: Sequence[Signal], action: Any) -> dict[int, int]:
    """Phase by index of the signal, of an action with one phase for each signal in order.

    With one signal a lone number does.

    Raises:
        ActionError: wrong length, or an entry that is no phase of its signal.
    """
    if isinstance(action, Mapping):
        raise ActionError("The action is a mapping; SignalEnv takes a phase for each signal in order, as in [0, 2].")
    entries = _entries(action)
    if len(entries) != len(signals):
        raise ActionError(
            f"The action {_short_repr(action)} has {len(entries)} {'entry' if len(entries) == 1 else 'entries'} for "
            f"{_count(signals)}; give one phase for each, in the order of network.controllable."
        )
    return {signal.index: _phase(signal, entry) for signal, entry in zip(signals, entries, strict=True)}


def phases_by_agent(signals: Mapping[str, Signal], actions: Any) -> dict[int, int]:
    """Phase by index of the signal, of one action per agent. An agent without an action keeps its phase.

    Args:
        signals: by agent.
        actions: phase by agent.

    Raises:
        ActionError: an unknown agent, or an action that is no phase of its signal.
    """
    if not isinstance(actions, Mapping):
        raise ActionError(f"The actions are {_short_repr(actions)}; give a mapping from agent to phase.")
    for name in actions:
        if name not in signals:
            near = close_names(str(name), signals, least_likeness=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"there are such as '{next(iter(signals))}'."
            raise ActionError(f"There is no agent {_short_repr(name)}; {hint}")
    return {signals[name].index: _phase(signals[name], action) for name, action in actions.items()}


def ignored(phases: Mapping[int, int], before: Observation) -> NDArray[np.bool_]:
    """(S,) where another phase than the present one was asked for of a signal that was not due."""
    result = np.zeros(len(before.due), bool)
    for index, phase in phases.items():
        result[index] = not before.due[index] and phase != before.phase[index]
    return result


def mask(signal: Signal, observation: Observation) -> NDArray[np.bool_]:
    """(phases,) which phases take effect if they are asked for now: all when due, otherwise the present one only."""
    phase, phases = int(observation.phase[signal.index]), len(signal.phases)
    if observation.due[signal.index] or phase < 0:
        phase = -1
    taken: NDArray[np.bool_] = (np.arange(phases) == phase) | (phase < 0)
    return taken


def _phase(signal: Signal, value: Any) -> int:
    entries, phases = _entries(value), len(signal.phases)
    asked = f"give an integer from 0 to {phases - 1}"
    entry = entries[0] if len(entries) == 1 else value
    if isinstance(entry, bool) or not isinstance(entry, int):
        raise ActionError(f"The action for signal '{signal.id}' is {_short_repr(entry)}, no integer; {asked}.")
    if not 0 <= entry < phases:
        raise ActionError(f"The action for signal '{signal.id}' is {entry}, but it has {phases} phases; {asked}.")
    return entry


def _entries(value: Any) -> list[Any]:
    """Plain values of a number, a list or a vector; several dimensions are no entries."""
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    plain = _plain(value)
    return plain if isinstance(plain, list) else [plain]


def _plain(value: Any) -> Any:
    """A Python number or list of an array's or a tensor's."""
    try:
        return value.tolist() if hasattr(value, "tolist") else value
    except (ValueError, TypeError, RuntimeError) as error:  # tensors that hold no values here
        raise ActionError(f"The action {_short_repr(value)} cannot be read as numbers ({str(error)[:80]}).") from error


def _count(signals: Sequence[Signal]) -> str:
    return f"{len(signals)} signal{'' if len(signals) == 1 else 's'}"


def _short_repr(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
