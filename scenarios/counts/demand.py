"""Traffic that passes detectors as they counted it, and is otherwise as a plain guess has it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from scenarios.counts.candidates import CandidateDraw, Candidates
from scenarios.counts.geh import Fit, drive
from scenarios.counts.route_flows import RouteFlows
from scenarios.counts.table import Count, Detector, read_counts
from scenarios.counts.turn_shares import Plausibility, TurnCounter
from scenarios.demand.car_streets import Street, read_streets
from scenarios.demand.route_files import write_routes
from scenarios.spec import Scenario

_CAR = '<vType id="car" vClass="passenger" speedDev="0.1"/>'


@dataclass(frozen=True)
class Counted:
    """A scenario made from counts, how well it fits, and what is worth knowing."""

    scenario: Scenario
    fit: Fit
    vehicles: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What traffic to make from counts.

    Attributes:
        counts: the table.
        detectors: where its detectors lie, for a table with a ``detector`` column.
        warmup_s: traffic like that of the first interval before it, not measured, so that the roads are not empty.
        seed: draws candidate routes and departures.
    """

    counts: Path
    detectors: dict[str, Detector] | None = None
    warmup_s: float = 300.0
    seed: int = 1


def from_counts(net: Path, wanted: Wanted, folder: Path, name: str, licence: str = "") -> Counted:
    """Write routes that pass the detectors as counted, and a scenario with them, into ``folder``.

    Candidate routes come from a plain guess of who drives where; as many vehicles take each as fit the counts, and
    where these leave freedom, as in the guess. Traffic that passes no counted road is not made. The result is driven
    once under the network's own programs, and compared with the counts again.

    Raises:
        ScenarioError: the counts or the network cannot be used; the sentence names the file and the line.
    """
    streets = read_streets(net)
    lanes = {street.id: street.lanes for street in streets.values()}
    table = read_counts(wanted.counts, lanes, wanted.detectors)
    counts = table.counts
    edges = sorted({count.edge for count in counts})
    maker = _Maker(streets, counts, CandidateDraw(net, streets, wanted.seed, folder).candidates(edges), wanted.seed)
    first_s, end_s = counts[0].begin_s, max(count.end_s for count in counts)
    warmup_s = float(math.floor(min(wanted.warmup_s, first_s)))
    vehicles = maker.vehicles(warmup_s)
    routes = folder / f"{name}.rou.xml"
    write_routes([ElementTree.fromstring(_CAR), *vehicles], routes)
    scenario = Scenario(
        name=name,
        net_file=net.resolve(),
        route_files=(routes.resolve(),),
        begin_s=first_s - warmup_s,
        end_s=end_s,
        warmup_s=warmup_s,
        tags=("counts",),
        licence=licence,
        description=f"traffic from {len(counts)} counts on {len(edges)} roads",
    )
    scenario.to_yaml(folder / f"{name}.yaml")
    fit = replace(drive(scenario, counts, folder), plausibility=maker.plausibility())
    return Counted(scenario, fit, len(vehicles), (*table.notes, *maker.notes))


class _Maker:
    """Makes vehicles interval by interval from one set of candidates."""

    def __init__(
        self, streets: Mapping[str, Street], counts: Sequence[Count], candidates: Candidates, seed: int
    ) -> None:
        self.counts, self.candidates, self.seed = counts, candidates, seed
        self.intervals = sorted({(count.begin_s, count.end_s) for count in counts})
        self.turns = TurnCounter(streets, candidates)
        self.rows = {edge: row for row, edge in enumerate(sorted({count.edge for count in counts}))}
        pairs = [
            (self.rows[edge], number)
            for number, route in enumerate(candidates.routes)
            for edge in route
            if edge in self.rows
        ]
        rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
        shape = (len(self.rows), len(candidates.routes))
        self.passes = sparse.csr_matrix((np.ones(len(pairs)), (rows, columns)), shape=shape)
        self.measured = np.zeros(len(candidates.routes))

    def vehicles(self, warmup_s: float) -> list[ElementTree.Element]:
        """Vehicles in whole seconds; before the first interval as many as in it, in proportion."""
        found = []
        if warmup_s:
            (begin_s, end_s), share = self.intervals[0], warmup_s / (self.intervals[0][1] - self.intervals[0][0])
            warming = [replace(c, vehicles=c.vehicles * share) for c in self.counts if c.begin_s == begin_s]
            found += self._spread(self._whole(warming), begin_s - warmup_s, begin_s, "w.")
        for number, (begin_s, end_s) in enumerate(self.intervals):
            whole = self._whole([count for count in self.counts if count.begin_s == begin_s])
            self.measured += whole
            found += self._spread(whole, begin_s, end_s, f"{number}.")
        return found

    def plausibility(self) -> Plausibility:
        """Of all measured vehicles; what is fixed, by the counts of the interval that has most of them."""
        most = max(self.intervals, key=lambda interval: sum(count.begin_s == interval[0] for count in self.counts))
        flows = self._flows([count for count in self.counts if count.begin_s == most[0]])
        everyone = sparse.csr_matrix(np.ones((1, len(self.measured))))
        fixed = flows.fixed(sparse.vstack([self.turns.takes, everyone]).tocsr())
        passed = np.asarray(self.passes.sum(axis=0)).ravel() > 0
        return self.turns.plausibility(self.measured, self.candidates.weights * passed, fixed)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence where no route passes a counted road."""
        passed = np.asarray(self.passes.sum(axis=1)).ravel() > 0
        lost = [edge for edge, row in self.rows.items() if not passed[row]]
        if not lost:
            return ()
        line = next(count.line for count in self.counts if count.edge == lost[0])
        return (
            f"No route passes {len(lost)} of the {len(self.rows)} counted roads, such as '{lost[0]}' (line {line}); "
            "their counts are missed.",
        )

    def _flows(self, counts: Sequence[Count]) -> RouteFlows:
        return RouteFlows(self.passes[[self.rows[count.edge] for count in counts]], self.candidates.weights)

    def _whole(self, counts: Sequence[Count]) -> NDArray[np.int64]:
        flows, counted = self._flows(counts), np.array([count.vehicles for count in counts])
        rng = np.random.default_rng([self.seed, 3, int(counts[0].begin_s)])
        return flows.whole(flows.fitted(counted), counted, rng)

    def _spread(
        self, vehicles: NDArray[np.int64], begin_s: float, end_s: float, prefix: str
    ) -> list[ElementTree.Element]:
        """Vehicles that depart at random whole seconds of an interval."""
        rng = np.random.default_rng([self.seed, 4, int(begin_s)])
        routes = np.repeat(np.arange(len(vehicles)), vehicles)
        first_s, last_s = math.ceil(begin_s), max(math.ceil(end_s) - 1, math.ceil(begin_s))
        departs_s = np.sort(rng.integers(first_s, last_s, len(routes), endpoint=True))
        made = []
        for number, (route, depart_s) in enumerate(zip(rng.permutation(routes), departs_s, strict=True)):
            attributes = {"id": f"{prefix}{number}", "type": "car", "depart": f"{depart_s}"}
            vehicle = ElementTree.Element("vehicle", attributes | {"departLane": "best", "departSpeed": "max"})
            ElementTree.SubElement(vehicle, "route", {"edges": " ".join(self.candidates.routes[route])})
            made.append(vehicle)
        return made
