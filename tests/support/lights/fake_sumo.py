"""The part of libsumo that moves traffic lights, in Python: fast enough for a million decisions."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


@dataclass
class Phase:
    """As libsumo's."""

    duration: float
    state: str
    minDur: float = -1  # noqa: N815 - SUMO's spelling
    maxDur: float = -1  # noqa: N815


@dataclass
class Logic:
    """As libsumo's."""

    programID: str  # noqa: N815
    type: int
    currentPhaseIndex: int  # noqa: N815
    phases: list[Phase]
    subParameter: dict[str, str] = field(default_factory=dict)  # noqa: N815


class FakeLights:
    """One signal. Static programs run by their durations, adaptive ones take any time between their bounds."""

    Phase, Logic = Phase, Logic

    def __init__(self, rows: list[tuple[float, str]], rng: random.Random) -> None:
        self.rng, self.time_s = rng, 0.0
        self.logics = {"0": Logic("0", 0, 0, [Phase(seconds, state) for seconds, state in rows])}
        self.active, self.next_s = "0", rows[0][0]
        self.set_state: str | None = None
        self.state = rows[0][1]

    def step(self) -> None:
        """Simulate a second."""
        if self.set_state is None:
            logic = self.logics[self.active]
            while self.next_s <= self.time_s:
                logic.currentPhaseIndex = (logic.currentPhaseIndex + 1) % len(logic.phases)
                self.next_s = self.time_s + self._lasts(logic)
            self.state = logic.phases[logic.currentPhaseIndex].state
        else:
            self.state = self.set_state
        self.time_s += 1

    def _lasts(self, logic: Logic) -> float:
        phase = logic.phases[logic.currentPhaseIndex]
        return phase.duration if logic.type == 0 else float(self.rng.randint(int(phase.minDur), int(phase.maxDur)))

    def conn(self) -> Any:
        """What takes the place of libsumo."""
        return SimpleNamespace(trafficlight=self)

    # SUMO's names
    def getRedYellowGreenState(self, _: str) -> str:  # noqa: N802
        return self.state

    def setRedYellowGreenState(self, _: str, state: str) -> None:  # noqa: N802
        self.set_state = self.state = state

    def getNextSwitch(self, _: str) -> float:  # noqa: N802
        return self.next_s if self.set_state is None else self.time_s

    def setProgramLogic(self, _: str, logic: Logic) -> None:  # noqa: N802
        assert logic.programID not in self.logics, "SUMO would keep the old type"
        self.logics[logic.programID] = logic

    def setProgram(self, _: str, program: str) -> None:  # noqa: N802
        self.active, self.set_state = program, None
        logic = self.logics[program]
        self.next_s = self.time_s + self._lasts(logic)
        self.state = logic.phases[logic.currentPhaseIndex].state

    def setPhaseDuration(self, _: str, seconds: float) -> None:  # noqa: N802
        self.next_s = self.time_s + seconds
