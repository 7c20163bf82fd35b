"""Observations as vectors, by name or by a function, and which number is what."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from scenarios.spec import ScenarioError
from sim.environment.options import ObservationFunction, blank_observation
from sim.features import AGE_S, CLIP, FLOW_VEH_H, PERSONS, QUEUE_VEH, ROOM_VEH, UNSEEN, WAIT_S, ZONE_VEH, Features
from sim.network import Network, Phase, Signal
from sim.observation import FLOW_WINDOWS_MIN, ZONES_M, Observation

_DIRECTIONS = {"s": "straight", "l": "left", "L": "left", "r": "right", "R": "right", "t": "round"}


@dataclass(frozen=True)
class Number:
    """One entry of an observation vector: what it says, of what, and in which unit."""

    index: int
    quantity: str
    place: str
    unit: str


class View(ABC):
    """Turns an observation into a vector over some signals; ``size`` is its length."""

    size: int

    @abstractmethod
    def vector(self, observation: Observation) -> NDArray[np.float32]:
        """The (size,) vector."""

    @abstractmethod
    def numbers(self) -> tuple[Number, ...]:
        """What each entry is."""

    @property
    def space(self) -> Any:
        """Its Gymnasium space."""
        return spaces.Box(UNSEEN, CLIP, (self.size,), np.float32)


class FullView(Features, View):
    """Everything that detectors and signals tell (``sim.features.Features``)."""

    def numbers(self) -> tuple[Number, ...]:
        """Lanes, exits, then signals."""
        return _numbered(self._entries())

    def _entries(self) -> Iterator[tuple[str, str, str]]:
        zones = [f"vehicles {near:g}-{far:g} m" for near, far in pairwise(ZONES_M)]
        flows = [f"flow over {window} min" for window in FLOW_WINDOWS_MIN]
        for lane in self.lanes:
            place = lane_words(self.network, int(lane))
            yield "queue", place, f"veh / {QUEUE_VEH:g}"
            yield "longest wait", place, f"s / {WAIT_S:g}"
            for zone in zones:
                yield zone, place, f"veh / {ZONE_VEH:g}"
            yield "mean speed", place, f"m/s / {self.network.lane_speed_mps[lane]:g}"
            for flow in flows:
                yield flow, place, f"veh/h / {FLOW_VEH_H:g}"
            yield "detector works", place, "0 or 1"
        for exit_ in self.exits:
            for quantity in ("vehicles", "room"):
                yield quantity, f"exit lane {self.network.exits[exit_]}", f"veh / {ROOM_VEH:g}"
        yield from _signal_entries(self.network, self.signals)
        for crossing in self.crossings:
            yield "people who wait", f"crossing {self.network.crossings[crossing].id}", f"persons / {PERSONS:g}"


class QueueView(View):
    """The queue of each incoming lane, and each signal's phase, age and whether it is due: small and quick to learn."""

    def __init__(self, network: Network, signals: tuple[int, ...]) -> None:
        self.network, self.signals = network, signals
        self.full = Features(network, signals)
        self.lanes = self.full.lanes
        self.size = len(self.lanes) + sum(self.full.phases) + 2 * len(signals)

    def vector(self, observation: Observation) -> NDArray[np.float32]:
        """The (size,) vector; every entry lies in [-1, 5]."""
        parts = [observation.queue_veh[self.lanes] / QUEUE_VEH]
        for index, phases in zip(self.signals, self.full.phases, strict=True):
            active = np.arange(phases) == observation.phase[index]
            parts.append(np.array([*active, observation.phase_age_s[index] / AGE_S, observation.due[index]], float))
        vector = np.nan_to_num(np.concatenate(parts), nan=UNSEEN)
        return np.clip(vector, UNSEEN, CLIP).astype(np.float32)

    def numbers(self) -> tuple[Number, ...]:
        """Lanes, then signals."""
        queues = [("queue", lane_words(self.network, int(lane)), f"veh / {QUEUE_VEH:g}") for lane in self.lanes]
        return _numbered(iter([*queues, *_signal_entries(self.network, self.signals)]))


class OwnView(View):
    """A user's function; its length is that of what it gives for an empty network."""

    def __init__(self, function: ObservationFunction, network: Network, signals: tuple[int, ...]) -> None:
        self.function, self.network = function, network
        self.chosen = tuple(network.signals[index] for index in signals)
        self.size = 0
        self.size = len(self.vector(blank_observation(network)))

    def vector(self, observation: Observation) -> NDArray[np.float32]:
        """What the function gives."""
        vector = np.asarray(self.function(observation, self.network, self.chosen), np.float32)
        if vector.ndim != 1 or (self.size and len(vector) != self.size) or np.isnan(vector).any():
            expected = f"({self.size},)" if self.size else "(n,)"
            raise ScenarioError(
                f"The observation function gave the shape {vector.shape}{_with_nan(vector)}; it must give {expected} "
                "numbers, and none that is not a number."
            )
        return vector

    def numbers(self) -> tuple[Number, ...]:
        """Numbered only: the function alone knows what they are."""
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return _numbered(iter([("entry", f"of {name}", "its own")] * self.size))

    @property
    def space(self) -> Any:
        """Unbounded."""
        return spaces.Box(-np.inf, np.inf, (self.size,), np.float32)


VIEWS = {"full": FullView, "queue": QueueView}


def make_view(observation: str | ObservationFunction, network: Network, signals: tuple[int, ...]) -> View:
    """The view of that name, or of a function.

    Raises:
        ScenarioError: there is none.
    """
    if isinstance(observation, str):
        if observation not in VIEWS:
            raise ScenarioError(
                f"Unknown observation '{observation}'; choose one of {', '.join(VIEWS)}, or give a function."
            )
        made: View = VIEWS[observation](network, signals)
        return made
    if not callable(observation):
        raise ScenarioError(f"The observation is a {type(observation).__name__}; give a name or a function.")
    return OwnView(observation, network, signals)


def describe(view: View, network: Network, signals: tuple[Signal, ...]) -> str:
    """Which number of the observation is what, and what each action shows, as a table."""
    rows = [(f"{number.index}", number.quantity, number.place, number.unit) for number in view.numbers()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    told = [f"Observation: {view.size} numbers"]
    told += [f"  {a:>{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d}" for a, b, c, d in rows]
    told.append(f"Actions: one phase for each of {len(signals)} signal{'' if len(signals) == 1 else 's'}")
    for signal in signals:
        told.append(f"  signal {signal.id}")
        for phase in signal.phases:
            told.append(f"    {phase.index}  green for {_green(network, phase)}")
    return "\n".join(told)


def lane_words(network: Network, lane: int) -> str:
    """A lane with its street, where the network names it, and its signal."""
    street = _road_words(network, network.lane_edge[lane]).removeprefix(network.lane_edge[lane])
    return f"lane {network.lanes[lane]}{street} at {network.signals[network.lane_signal[lane]].id}"


def _green(network: Network, phase: Phase) -> str:
    """Roads that have green, and for which directions."""
    directions: dict[str, list[str]] = {}
    for movement in phase.movements:
        road = network.lane_edge[movement.lane]
        name = _DIRECTIONS.get(movement.direction, movement.direction)
        if name not in directions.setdefault(_road_words(network, road), []):
            directions[_road_words(network, road)].append(name)
    told = [f"{road} {', '.join(names)}" for road, names in directions.items()]
    if phase.crossings:
        told.append(f"people on {len(phase.crossings)} crossing{'' if len(phase.crossings) == 1 else 's'}")
    return "; ".join(told)


def _road_words(network: Network, name: str) -> str:
    road = network.roads.get(name)
    return f"{name} ({road.name})" if road is not None and road.name != name else name


def _signal_entries(network: Network, signals: tuple[int, ...]) -> Iterator[tuple[str, str, str]]:
    for index in signals:
        signal = network.signals[index]
        for phase in signal.phases:
            yield f"phase {phase.index} is active", f"signal {signal.id}", "0 or 1"
        yield "age of the phase", f"signal {signal.id}", f"s / {AGE_S:g}"
        yield "due: may change now", f"signal {signal.id}", "0 or 1"


def _numbered(entries: Iterator[tuple[str, str, str]]) -> tuple[Number, ...]:
    return tuple(Number(index, *entry) for index, entry in enumerate(entries))


def _with_nan(vector: NDArray[np.float32]) -> str:
    return " with entries that are not a number" if np.isnan(vector).any() else ""
