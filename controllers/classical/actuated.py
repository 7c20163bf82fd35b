"""SUMO's own vehicle-actuated signals: the gap-based and the delay-based type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from controllers.base import ControllerError
from controllers.classical.fixed_time import ProgramController
from controllers.classical.timed_programs import retimed
from controllers.parameters import check_number
from sim.network import Network, Signal
from sim.signals import Decision, Program
from sim.timings import NATIVE, Timings


class _SumoActuated(ProgramController):
    """The native phase sequence; SUMO ends each green between a minimum and a maximum by what its detectors see."""

    type: ClassVar[str]

    def __init__(self, max_green_s: float = 50.0, min_green_s: float | None = None) -> None:
        self.max_green_s = check_number(self.type, "max_green_s", max_green_s, above=True)
        self.min_green_s = min_green_s
        if min_green_s is not None and check_number(self.type, "min_green_s", min_green_s, above=True) > max_green_s:
            raise ControllerError(
                f"{self.type}: min_green_s is {min_green_s:g}; give at most max_green_s ({max_green_s:g})."
            )

    def params(self) -> Mapping[str, str]:
        """Parameters of the SUMO program."""
        return {}

    def reset(self, network: Network, seed: int) -> None:
        """Prepare one program per signal."""
        super().reset(network, seed)
        timings = self.context.timings if self.context else NATIVE
        self.planned = {s.id: Decision(program=self._program(s, timings)) for s in network.controllable}

    def _program(self, signal: Signal, timings: Timings) -> Program:
        minimum_s = max(float(timings.min_green_s), self.min_green_s or 0.0)
        maximum_s = max(minimum_s, self.max_green_s)
        served = {phase.state: max(minimum_s, phase.min_green_s) for phase in signal.phases}
        base = retimed(signal, timings)
        rows = tuple(
            replace(row, min_s=served[row.state], max_s=max(maximum_s, served[row.state]))
            if row.state in served
            else row
            for row in base.rows
        )
        return Program(rows, type=self.type, params=self.params())


class Actuated(_SumoActuated):
    """SUMO's actuated type: a green ends when the time gap between vehicles at its detectors exceeds a limit.

    Source: https://sumo.dlr.de/docs/Simulation/Traffic_Lights.html (time-gap based control). The defaults are
    SUMO's, but the detectors lie one second of driving before the stop line instead of two: a minimum green of 5 s
    cannot empty the lane between a farther detector and the line, so a short queue would be cut.
    """

    type = "actuated"

    def __init__(
        self,
        max_gap_s: float = 3.0,
        detector_gap_s: float = 1.0,
        max_green_s: float = 50.0,
        min_green_s: float | None = None,
    ) -> None:
        super().__init__(max_green_s, min_green_s)
        self.max_gap_s = check_number(self.type, "max_gap_s", max_gap_s, above=True)
        self.detector_gap_s = check_number(self.type, "detector_gap_s", detector_gap_s, above=True)

    def params(self) -> Mapping[str, str]:
        """Gap limit, and the detectors' distance from the stop line as a travel time."""
        return {"max-gap": f"{self.max_gap_s:g}", "detector-gap": f"{self.detector_gap_s:g}"}


class DelayBased(_SumoActuated):
    """SUMO's delay_based type: a green goes on while vehicles with accumulated time loss are in its detectors' range.

    Defaults are SUMO's own. Its detectors are there from the start of the simulation, because SUMO crashes when they
    are added while vehicles drive there.

    Source: https://sumo.dlr.de/docs/Simulation/Traffic_Lights.html (time-loss based control).
    """

    type = "delay_based"

    def __init__(
        self,
        detector_range_m: float = 100.0,
        min_time_loss_s: float = 1.0,
        max_green_s: float = 50.0,
        min_green_s: float | None = None,
    ) -> None:
        super().__init__(max_green_s, min_green_s)
        self.detector_range_m = check_number(self.type, "detector_range_m", detector_range_m, above=True)
        self.lane_areas_m = self.detector_range_m
        self.min_time_loss_s = check_number(self.type, "min_time_loss_s", min_time_loss_s)

    def params(self) -> Mapping[str, str]:
        """Range of the lane-area detectors, and the time loss that counts; SUMO reads no other spelling."""
        return {"detectorRange": f"{self.detector_range_m:g}", "minTimeloss": f"{self.min_time_loss_s:g}"}
