"""One cell of a benchmark: one scenario under one controller with one seed, from the scenario to the result.

Scenario -> Session -> Observation -> Controller.act -> Decision -> SUMO -> trips -> metrics -> RunResult. Fixed time, a
user's own controller and the language model take exactly this road.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import metrics, provenance, road_users
from benchmarks.results import run_result as results
from benchmarks.results import sumo_outputs as outputs
from benchmarks.results.metrics import Horizon, Plan
from benchmarks.results.road_users import Served
from benchmarks.run import user_code
from benchmarks.run.latency_charge import late_step
from benchmarks.trace import recorder as tracing
from benchmarks.trace import trace_file as trace
from controllers import decision_log, registry
from controllers.base import Controller, ControllerError, RunContext
from controllers.time_limit import guarded
from scenarios.demand.footways import footways
from scenarios.incidents.incident import BLOCKING
from scenarios.road_users import PERSON
from scenarios.spec import Scenario
from sim.engine.moments import Decisions, moments
from sim.engine.session import Outcome, Session, SessionOptions
from sim.network import Network
from sim.observation import Observation
from sim.signals import DecisionError, check_decisions
from sim.timings import NATIVE, Timings

#: Period of the road output: five minutes, the usual aggregation of traffic counts.
ROAD_INTERVAL_S = 300.0
#: Planning before a run, or loading a model, may take this long, s.
RESET_LIMIT_S = 600.0
#: A simulation is given at least this much processor time for a step, however short a decision may be, s.
LEAST_STEP_LIMIT_S = 10.0


@dataclass(frozen=True)
class Cell:
    """What to run.

    One decision of all signals may take ``decision_limit_s`` (0: no limit), and a step of SUMO as much processor time,
    but at least ``LEAST_STEP_LIMIT_S``. ``work_dir`` holds SUMO's files while it
    runs; a temporary folder when None. ``trace`` asks for a trace beside the result, ``decision_log`` for every
    decision with what the controller can tell of it. With ``charge_latency`` decisions come as late as they are made.
    """

    scenario: Scenario
    controller: str
    seed: int
    timings: Timings = NATIVE
    backend: str = "libsumo"
    gui: bool = False
    suite: results.SuiteRecord | None = None
    decision_limit_s: float = 60.0
    work_dir: Path | None = None
    trace: bool = False
    decision_log: bool = False
    charge_latency: bool = False

    @property
    def rules(self) -> dict[str, object]:
        """The timings, and whether latency is charged: what runs must share to be compared."""
        timings = self.timings.as_dict()
        if not self.charge_latency:
            return timings
        return {**timings, "name": f"{self.timings.name}, latency charged", "charge_latency": True}

    @property
    def name(self) -> str:
        """The cell in words."""
        return f"{self.scenario.name}, {self.controller}, seed {self.seed}"


def stem(cell: Cell, scenario_sha256: str) -> str:
    """The stable file name of a cell.

    An edited controller file, a retrained adapter (also the one that ships), another precision, another greenloop or
    another SUMO make another cell.

    Raises:
        ControllerError: the controller's parameters cannot be read, or it cannot be made.
    """
    versions, rules = provenance.versions(), cell.rules
    depends_on = user_code.depends_on(cell.controller, RESET_LIMIT_S)
    parameters = {
        "scenario": scenario_sha256,
        "timings": rules,
        "depends_on": {name: _content(value) for name, value in depends_on.items()},
        "files": {name: provenance.content_sha256(path) for name, path in registry.files(cell.controller).items()},
        "versions": {name: versions.get(name) for name in ("greenloop", "sumo")},
    }
    return results.cell_stem(cell.scenario.name, cell.controller, str(rules["name"]), cell.seed, parameters)


def _content(value: str | Path) -> str:
    if isinstance(value, str):
        return value
    return provenance.content_sha256(value) if value.exists() else f"{value} is missing"


def run_cell(cell: Cell, trace_file: Path | None = None, log_file: Path | None = None) -> results.RunResult:
    """Run one cell, and write its trace and its decision log if files are named for them.

    Raises:
        ControllerError: the controller cannot be made, raised, hung, or returned nonsense.
        SessionError: SUMO refused its input or died.
        ScenarioError, NetworkError: the scenario or its network cannot be used.
        ResultError: the trace or the log cannot be written.
    """
    controller = guarded(cell.controller, RESET_LIMIT_S, registry.make, cell.controller)
    options = SessionOptions(
        backend=cell.backend,
        gui=cell.gui,
        observing=controller.observes,
        emissions=True,
        edge_interval_s=ROAD_INTERVAL_S,
        trace=trace_file is not None,
        lane_areas_m=controller.lane_areas_m,
        road_users=True,
        work_dir=cell.work_dir,
        step_limit_s=max(cell.decision_limit_s, LEAST_STEP_LIMIT_S) if cell.decision_limit_s else 0.0,
    )
    with Session(cell.scenario, cell.seed, cell.timings, options) as session:
        log = None if trace_file is None else tracing.DecisionLog(session.network)
        try:
            clock = _drive(cell, controller, session, log, log_file)
        finally:
            guarded(cell.controller, cell.decision_limit_s, controller.close)
        outcome = session.finish()
        left = _Left.read(outcome, cell.scenario)
        if trace_file is not None and log is not None:
            scheduled = metrics.match(left.trips, left.plans, _horizon(cell.scenario), ("vehicle", "surge"))
            about = _about(cell, session.network, outcome)
            trace.save(tracing.make(about, outcome, log, scheduled, session.network), trace_file)
        found = _result(cell, controller, outcome, left, clock, session.network)
        return found if trace_file is None else found.model_copy(update={"trace": trace_file.name})


@dataclass(frozen=True)
class _Clock:
    """Wall times of a run, s: start of SUMO and reset, the horizon, and each decision in it."""

    setup_s: float
    drive_s: float
    decisions_s: list[float]
    charged_s: list[float]


def _drive(
    cell: Cell, controller: Controller, session: Session, log: tracing.DecisionLog | None, log_file: Path | None
) -> _Clock:
    """Start, then decide and step until the horizon ends."""
    name, looks_ahead = cell.controller, controller.looks_ahead
    begin_s = time.perf_counter()
    observation = session.start()
    controller.context = RunContext(cell.scenario, cell.seed, cell.timings, session if looks_ahead else None)
    guarded(name, RESET_LIMIT_S, controller.reset, session.network, cell.seed)
    ready_s = time.perf_counter()
    latencies_s: list[float] = []
    charged_s: list[float] = []
    if log_file is not None:
        results.write_text(log_file, "")

    def decide(seen: Observation) -> Decisions:
        before_s = time.perf_counter()
        decisions: Decisions = guarded(name, cell.decision_limit_s, controller.act, seen)
        latencies_s.append(time.perf_counter() - before_s)
        return decisions

    def step(decisions: Decisions) -> Observation:
        if not cell.charge_latency:
            return session.step(decisions)
        later, late_s = late_step(session, decisions, latencies_s[-1])
        charged_s.extend([late_s] if decisions else [])
        return later

    told = log is not None or log_file is not None
    try:
        for moment in moments(session, observation, decide, step):
            if moment.ended or not told:
                continue
            now_s, decisions = moment.observation.time_s, moment.decisions
            check_decisions(session.network, decisions)  # so that no nonsense is logged
            notes = guarded(name, RESET_LIMIT_S, controller.notes)
            if log is not None:
                log.add(now_s, decisions, notes)
            if log_file is not None:
                decision_log.append(log_file, controller.context, now_s, decisions, notes)
    except DecisionError as error:
        raise ControllerError(f"Controller '{name}': {error}") from error
    return _Clock(ready_s - begin_s, time.perf_counter() - ready_s, latencies_s, charged_s)


@dataclass(frozen=True)
class _Left:
    """What SUMO's files say of a run; ``origins`` is empty where every vehicle got in."""

    trips: outputs.Trips
    origins: dict[str, outputs.Origin]
    plans: dict[str, Plan]
    summary: outputs.Summary
    roads: outputs.Roads
    served: dict[str, Served]

    @classmethod
    def read(cls, outcome: Outcome, scenario: Scenario) -> _Left:
        """Read them."""
        trips = outputs.read_trips(outcome.files.trips)
        # Only a vehicle that never got in is missing from the trips' roads; the route files are long.
        origins = {} if trips.inserted.all() else outputs.read_origins(outcome.demand.route_files)
        summary, roads = outputs.read_summary(outcome.files.summary), outputs.read_roads(outcome.files.roads)
        kinds = road_users.kinds_of(trips, outcome.road_users)
        plans = road_users.with_emergency(_plans(outcome, origins), kinds)
        horizon = _horizon(scenario)
        served = road_users.vehicles_served(trips, plans, horizon, kinds, outcome.road_users)
        if outcome.road_users.walks:
            on_foot = _persons_served(outcome, scenario.net_file, horizon)
            served |= {} if on_foot is None else {PERSON: on_foot}
        return cls(trips, origins, plans, summary, roads, served)


def _persons_served(outcome: Outcome, net_file: Path, horizon: Horizon) -> Served | None:
    ways = footways(net_file, net_file.stat().st_mtime_ns)
    persons = outputs.read_persons(outcome.files.trips)
    return road_users.persons_served(
        persons,
        horizon,
        outcome.road_users,
        lambda walk: ways.walk_m(walk.edges, walk.depart_m, walk.arrival_m),
    )


def _result(
    cell: Cell, controller: Controller, outcome: Outcome, left: _Left, clock: _Clock, network: Network
) -> results.RunResult:
    scenario = cell.scenario
    measured = _metrics(scenario, outcome, left) | metrics.latency_metrics(clock.decisions_s)
    if cell.charge_latency:
        measured |= metrics.charge_metrics(clock.charged_s)
    measured |= _counters(cell, controller)
    if without_yellow := sum(not signal.clearance.has_yellow for signal in network.controllable):
        measured["no_yellow_signals"] = without_yellow
    decisions_s = math.fsum(clock.decisions_s)
    return results.RunResult(
        suite=cell.suite,
        scenario=_scenario_record(scenario, outcome),
        controller=_controller_record(cell, controller),
        seed=cell.seed,
        timings=cell.rules,
        backend=cell.backend,
        versions=provenance.versions(),
        git=provenance.git(),
        machine=provenance.machine(),
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        metrics=measured,
        series=_series(left.summary),
        roads=_road_series(left.roads),
        wall={
            "wall_setup_s": clock.setup_s,
            "wall_decisions_s": decisions_s,
            "wall_simulation_s": clock.drive_s - decisions_s,
            "real_time_factor": scenario.horizon_s / clock.drive_s,
        },
        distribution=_distribution(left, _horizon(scenario)),
    )


def _about(cell: Cell, network: Network, outcome: Outcome) -> trace.About:
    scenario = cell.scenario
    versions = provenance.versions()
    return trace.About(
        scenario=scenario.name,
        controller=cell.controller,
        seed=cell.seed,
        timings=cell.timings.as_dict(),
        begin_s=scenario.begin_s,
        warmup_s=scenario.warmup_s,
        end_s=scenario.end_s,
        network_sha256=network_sha256(scenario),
        versions={name: versions[name] for name in ("greenloop", "sumo") if name in versions},
        incidents=outcome.incidents,
        licence=scenario.licence,
        **tracing.network_parts(network),
    )


def _horizon(scenario: Scenario) -> Horizon:
    return Horizon(scenario.begin_s + scenario.warmup_s, scenario.end_s)


def _distribution(left: _Left, horizon: Horizon) -> results.Distribution:
    def rounded(quantiles: Mapping[str, metrics.Floats]) -> dict[str, Any]:
        return {name: tuple(np.round(values, 1).tolist()) for name, values in quantiles.items()}

    vehicles = rounded(metrics.distribution(left.trips, left.plans, horizon))
    return results.Distribution(**vehicles, users_delay_s=rounded(road_users.user_distribution(left.served)))


def _counters(cell: Cell, controller: Controller) -> metrics.Metrics:
    counted = guarded(cell.controller, cell.decision_limit_s, controller.counters)
    try:
        return {f"controller_{key}": float(value) for key, value in counted.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ControllerError(
            f"Controller '{cell.controller}' returned no mapping of names to numbers from counters(); return for "
            "example {'fallbacks': 0}."
        ) from error


def _metrics(scenario: Scenario, outcome: Outcome, left: _Left) -> metrics.Metrics:
    trips, plans, horizon = left.trips, left.plans, _horizon(scenario)
    blocked = {str(i["edge"]) for i in outcome.incidents if i["type"] in BLOCKING}
    elements = {name for name, origin in left.origins.items() if origin.is_vehicle}
    return {
        **metrics.trip_metrics(trips, plans, horizon),
        **road_users.user_metrics(left.served),
        "delay_resco_s": metrics.resco_delay(trips, plans, horizon, elements),
        **metrics.network_metrics(left.summary, horizon),
        **metrics.safety_metrics(outputs.read_statistics(outcome.files.statistics)),
        # Gridlock is judged by roads, which are measured under every controller; detectors see single lanes, and only
        # controllers that observe have them (else NaN).
        "standing_queue_s": metrics.standing_road_s(left.roads, blocked),
        "standing_lane_s": outcome.standing_queue_s,
        "worst_wait_s": outcome.worst_wait_s,
        "switches": outcome.switches,
        **{f"repairs_{kind}": count for kind, count in sorted(outcome.repairs.items())},
        **{f"audit_{kind}": count for kind, count in sorted(outcome.audit.items())},
    }


def _plans(outcome: Outcome, origins: Mapping[str, outputs.Origin]) -> dict[str, Plan]:
    demand = outcome.demand
    columns = (demand.ids.tolist(), demand.depart_s.tolist(), demand.free_flow_s.tolist())
    nowhere = outputs.Origin("", is_vehicle=False)
    plans = {
        name: Plan(depart_s, free_flow_s, origins.get(name, nowhere).edge)
        for name, depart_s, free_flow_s in zip(*columns, strict=True)
    }
    for name, vehicle in outcome.inserted.items():
        if vehicle.kind != "prop":
            plans[name] = Plan(vehicle.depart_s, vehicle.free_flow_s, kind=vehicle.kind)
    return plans


def _scenario_record(scenario: Scenario, outcome: Outcome) -> results.ScenarioRecord:
    files = (scenario.net_file, *scenario.route_files, *scenario.additional_files)
    spec = scenario.model_dump(mode="json", exclude={"net_file", "route_files", "additional_files"})
    return results.ScenarioRecord(
        name=scenario.name,
        sha256=scenario.sha256(),
        network_sha256=network_sha256(scenario),
        tags=scenario.tags,
        begin_s=scenario.begin_s,
        end_s=scenario.end_s,
        warmup_s=scenario.warmup_s,
        demand_scale=scenario.demand.scale,
        departure_jitter_s=scenario.demand.departure_jitter_s,
        files=tuple(file.name for file in files),
        spec=spec,
        incidents=outcome.incidents,
    )


def _controller_record(cell: Cell, controller: Controller) -> results.ControllerRecord:
    return results.ControllerRecord(
        name=cell.controller,
        params=_params(controller),
        deterministic=controller.deterministic and not cell.charge_latency,
        observes=controller.observes,
        loaded={**_controller_file_hash(cell.controller), **controller.provenance()},
    )


def _controller_file_hash(spec: str) -> dict[str, str]:
    """The hash of a user's own controller file: an edited one is another controller under the same name."""
    code = registry.files(spec).get("code")
    return {} if code is None else {"code_sha256": provenance.content_sha256(code)}


def _params(controller: Controller) -> dict[str, Any]:
    """What the controller says of its parameters; defaults stand for those that it does not keep."""
    accepted = inspect.signature(type(controller)).parameters
    defaults = {name: one.default for name, one in accepted.items() if one.default is not inspect.Parameter.empty}
    return {name: _plain(value) for name, value in {**defaults, **controller.parameters()}.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, (bool, int, float, str, type(None))):
        return value
    return str(value) if isinstance(value, Path) else type(value).__name__


def _series(summary: outputs.Summary) -> results.Series:
    def listed(values: outputs.Floats) -> tuple[float, ...]:
        return tuple(np.round(values, 3).tolist())

    return results.Series(
        time_s=listed(summary.time_s),
        running_veh=listed(summary.running_veh),
        halted_veh=listed(summary.halted_veh),
        outside_veh=listed(summary.outside_veh),
        speed_mps=listed(summary.speed_mps),
        inserted_veh_min=listed(np.diff(summary.inserted_veh, prepend=0.0)),
        arrived_veh_min=listed(np.diff(summary.arrived_veh, prepend=0.0)),
    )


def _road_series(roads: outputs.Roads) -> results.RoadSeries:
    return results.RoadSeries(
        interval_s=roads.interval_s,
        begin_s=roads.begin_s,
        ids=roads.ids,
        speed_relative=tuple(tuple(row) for row in np.round(roads.speed_relative, 3).tolist()),
    )


def network_sha256(scenario: Scenario) -> str:
    """Hash of the network file."""
    return hashlib.sha256(scenario.net_file.read_bytes()).hexdigest()


def network_shape(network: Network) -> results.NetworkShape:
    """The drawing of a network, for the results folder; decimetres are enough."""
    roads = {
        road.id: results.RoadShape(shape=tuple((round(x, 1), round(y, 1)) for x, y in road.shape), lanes=road.lanes)
        for road in network.roads.values()
    }
    signals = {
        signal.id: (round(signal.position_m[0], 1), round(signal.position_m[1], 1)) for signal in network.signals
    }
    return results.NetworkShape(roads=roads, signals=signals)
