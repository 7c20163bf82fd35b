"""The SUMO command line of a run and the files that it writes; both backends get exactly the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from scenarios.common.clock import format_seconds
from sim.network import REACH_M, Network
from sim.timings import Timings

DETECTOR_PREFIX = "greenloop."
AREA_PREFIX = "greenloop.area."


@dataclass(frozen=True)
class SessionOptions:
    """How a session runs. None of these changes what happens in the simulation.

    Attributes:
        backend: ``libsumo`` (fast) or ``traci`` (SUMO behind its socket).
        gui: show SUMO's window; needs ``backend="traci"``.
        observing: False leaves the detectors out; observations then hold NaN.
        outputs: False leaves out the files that a run is measured by (trips, statistics, summary), which costs a tenth
            of SUMO's time.
        delays: count vehicle-seconds of delay in each interval (``sim.engine.delays.DelayByInterval``, for rewards).
        delays_by_second: count them second by second, as branches do, at ten times the cost.
        emissions: CO2 and fuel in the trip output.
        edge_interval_s: period of the road output (mean speed and density per road), None for none.
        trace: write where every vehicle is and what every signal shows, second by second.
        lane_areas_m: length of the lane-area detectors before each stop line that programs of SUMO's type delay_based
            need from the start (its own, added while vehicles drive there, make SUMO crash); None for none.
        road_users: watch persons, cyclists and public transport, where the traffic has any; for results.
        work_dir: where SUMO writes; a temporary folder, removed by ``close``, when None.
        step_limit_s: processor time that a few simulated seconds may take before the simulation counts as hung and is
            ended, s; 0 for no limit. Loading may take ``LOADING_FACTOR`` times as long.
        silence_limit_s: wall time without any sign of life after which the same happens, s; 0 for no limit.
    """

    backend: str = "libsumo"
    gui: bool = False
    observing: bool = True
    outputs: bool = True
    delays: bool = False
    delays_by_second: bool = False
    emissions: bool = False
    edge_interval_s: float | None = None
    trace: bool = False
    lane_areas_m: float | None = None
    road_users: bool = False
    work_dir: Path | None = None
    step_limit_s: float = 60.0
    silence_limit_s: float = 900.0


@dataclass(frozen=True)
class OutputFiles:
    """What SUMO writes in ``folder``."""

    folder: Path

    @property
    def trips(self) -> Path:
        """Trip output, with vehicles that are still driving and that never got in."""
        return self.folder / "trips.xml"

    @property
    def statistics(self) -> Path:
        """SUMO's own statistics: safety, teleports, trip means."""
        return self.folder / "statistics.xml"

    @property
    def summary(self) -> Path:
        """State of the whole network once a minute."""
        return self.folder / "summary.xml"

    @property
    def roads(self) -> Path:
        """Mean speed and density per road and interval."""
        return self.folder / "roads.xml"

    @property
    def vehicles(self) -> Path:
        """Every vehicle's place and speed in every second (``SessionOptions.trace``)."""
        return self.folder / "vehicles.csv"

    @property
    def lights(self) -> Path:
        """Every signal's state in every second (``SessionOptions.trace``)."""
        return self.folder / "lights.csv"

    @property
    def detectors(self) -> Path:
        """The additional file that holds the generated induction loops."""
        return self.folder / "detectors.add.xml"

    @property
    def log(self) -> Path:
        """What SUMO and the session process print."""
        return self.folder / "session.log"


def sumo_arguments(
    network: Network,
    route_files: tuple[Path, ...],
    additional_files: tuple[Path, ...],
    begin_s: float,
    end_s: float,
    seed: int,
    timings: Timings,
    options: SessionOptions,
    files: OutputFiles,
) -> list[str]:
    """Return SUMO's arguments, without the program's name, and write the additional file that they name."""
    additional = [*additional_files, *_write_additional(network, options, files)]
    arguments = {
        "--net-file": network.net_file,
        "--route-files": ",".join(map(str, route_files)),
        "--begin": format_seconds(begin_s),
        "--end": format_seconds(end_s),
        "--step-length": "1",
        "--seed": seed,
        # Jams must show: a teleported vehicle would make a gridlock look like progress.
        "--time-to-teleport": "-1",
        "--no-step-log": "true",
        "--no-warnings": "true",
        "--duration-log.disable": "true",
    }
    if options.outputs:
        arguments |= {
            "--tripinfo-output": files.trips,
            "--tripinfo-output.write-unfinished": "true",
            "--tripinfo-output.write-undeparted": "true",
            "--statistic-output": files.statistics,
            "--summary-output": files.summary,
            "--summary-output.period": "60",
            # Counts each braking beyond the comfortable deceleration, not only the emergency.
            "--emergencydecel.warning-threshold": "0",
        }
    if timings.blocker_s is not None:
        arguments["--ignore-junction-blocker"] = timings.blocker_s
    if additional:
        arguments["--additional-files"] = ",".join(map(str, additional))
    if options.emissions:
        arguments["--device.emissions.probability"] = "1"
    if options.trace:
        arguments["--fcd-output"] = files.vehicles
        arguments["--fcd-output.attributes"] = "id,type,lane,pos,speed,x,y"
        arguments["--fcd-output.skip-empty"] = "true"
        arguments["--person-fcd-output"] = "NUL"  # else the columns have the names of whoever comes first
    return [str(part) for pair in arguments.items() for part in pair]


def _write_additional(network: Network, options: SessionOptions, files: OutputFiles) -> list[Path]:
    rows = []
    if options.observing:
        for lane, length_m in zip(network.lanes, network.lane_length_m, strict=True):
            position_m = max(length_m - REACH_M, min(10.0, length_m / 2))
            rows.append(
                f'<inductionLoop id={quoteattr(DETECTOR_PREFIX + lane)} lane={quoteattr(lane)} pos="{position_m:.2f}" '
                'period="60" file="NUL"/>'
            )
    if options.lane_areas_m is not None:
        for lane, length_m in zip(network.lanes, network.lane_length_m, strict=True):
            rows.append(
                f'<laneAreaDetector id={quoteattr(AREA_PREFIX + lane)} lane={quoteattr(lane)} endPos="{length_m:.2f}" '
                f'length="{options.lane_areas_m:g}" period="300" friendlyPos="true" file="NUL"/>'
            )
    if options.edge_interval_s is not None:
        rows.append(
            f'<edgeData id="greenloop.roads" period="{options.edge_interval_s:g}" '
            f'file={quoteattr(str(files.roads))} excludeEmpty="true"/>'
        )
    if options.trace:  # without a source it covers every signal
        rows.append(f'<timedEvent type="SaveTLSStates" dest={quoteattr(str(files.lights))}/>')
    if not rows:
        return []
    files.detectors.write_text("<additional>\n" + "\n".join(rows) + "\n</additional>\n")
    return [files.detectors]
