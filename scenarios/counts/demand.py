"""Traffic that passes detectors as they counted it: SUMO's routeSampler picks from candidate routes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from scenarios.common.sumo_tools import run_tool
from scenarios.counts.geh import Fit, drive
from scenarios.counts.table import Count, Detector, read_counts
from scenarios.demand.car_streets import Street, read_streets
from scenarios.demand.scheduled_trips import write_routes
from scenarios.spec import Scenario

#: Candidate routes per counted road, and their least and largest number.
_PER_COUNT, _FEWEST, _MOST = 15, 1000, 5000
#: Ways through each counted road that are asked for by name, so that none is without candidates.
_VIA = 12
#: Counts alone leave open how far people drive: as many short trips would fit as well. As few vehicles as possible
#: came within 1 % of the true number on cologne1 and ingolstadt1; without this there were twice as many.
_FEWEST_VEHICLES = ["--optimize", "full", "--minimize-vehicles", "0.9"]
_ROUTER = ["--xml-validation", "never", "--no-step-log", "--no-warnings", "--ignore-errors"]
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

    Candidate routes come from randomTrips and duarouter; routeSampler draws as many of each as fit the counts. The
    result is driven once under the network's own programs, and compared with the counts again.

    Raises:
        ScenarioError: the counts or the network cannot be used; the sentence names the file and the line.
    """
    streets = read_streets(net)
    lanes = {street.id: street.lanes for street in streets.values()}
    counts = read_counts(wanted.counts, lanes, wanted.detectors)
    sampler = _Sampler(net, streets, counts, wanted.seed, folder)
    first_s, end_s = counts[0].begin_s, max(count.end_s for count in counts)
    warmup_s = float(math.floor(min(wanted.warmup_s, first_s)))
    vehicles = sampler.vehicles(warmup_s)
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
        description=f"traffic from {len(counts)} counts on {len({c.edge for c in counts})} roads",
    )
    scenario.to_yaml(folder / f"{name}.yaml")
    return Counted(scenario, drive(scenario, counts, folder), len(vehicles), sampler.notes)


class _Sampler:
    """Candidates for all counts, and one run of routeSampler per interval."""

    def __init__(self, net: Path, streets: dict[str, Street], counts: Sequence[Count], seed: int, folder: Path) -> None:
        self.net, self.streets, self.counts, self.seed, self.folder = net, streets, counts, seed, folder
        self.notes: tuple[str, ...] = ()

    def vehicles(self, warmup_s: float) -> list[ElementTree.Element]:
        """Vehicles in whole seconds, drawn per interval; before the first as many as in it, in proportion."""
        candidates = self._candidates()
        found = []
        intervals = sorted({(count.begin_s, count.end_s) for count in self.counts})
        for number, (begin_s, end_s) in enumerate(intervals):
            counts = [count for count in self.counts if count.begin_s == begin_s]
            found += self._drawn(candidates, counts, begin_s, end_s, f"{number}.")
        if warmup_s:
            begin_s, end_s = intervals[0]
            counts = [
                replace(count, vehicles=count.vehicles * warmup_s / (end_s - begin_s))
                for count in self.counts
                if count.begin_s == begin_s
            ]
            found += self._drawn(candidates, counts, begin_s - warmup_s, begin_s, "w.")
        candidates.unlink()
        return found

    def _candidates(self) -> Path:
        """Routes between random roads, and through each counted one; each way once."""
        edges = sorted({count.edge for count in self.counts})
        number = min(max(_PER_COUNT * len(edges), _FEWEST), _MOST)
        trips, routed = self.folder / "random.trips.xml", self.folder / "random.rou.xml"
        arguments: list[object] = ["-n", self.net, "-o", trips, "-r", routed, "-b", 0, "-e", number, "-p", 1]
        arguments += ["--seed", self.seed, "--edge-permission", "passenger", "--fringe-factor", 10, "--lanes"]
        arguments += ["--remove-loops", "--random-routing-factor", 1.5, "--min-success-rate", 0.01, "--threads", 1]
        run_tool("randomTrips.py", arguments, f"Drawing routes on {self.net}")
        routes = _routes(routed)
        bare = sorted(set(edges) - {edge for route in routes for edge in route})
        routes += self._through(bare) if bare else []
        for file in (trips, routed, routed.with_suffix(".alt.xml"), routed.with_name("random.rou.alt.xml")):
            file.unlink(missing_ok=True)
        passed = {edge for route in routes for edge in route}
        if lost := [edge for edge in edges if edge not in passed]:
            count = next(count for count in self.counts if count.edge == lost[0])
            self.notes += (
                f"No route passes {len(lost)} of the {len(edges)} counted roads, such as '{lost[0]}' (line "
                f"{count.line}); their counts are missed.",
            )
        candidates = self.folder / "candidates.rou.xml"
        rows = "".join(f'<route id="{k}" edges="{" ".join(route)}"/>\n' for k, route in enumerate(routes))
        candidates.write_text(f"<routes>\n{rows}</routes>\n", encoding="utf-8")
        return candidates

    def _through(self, edges: Sequence[str]) -> list[tuple[str, ...]]:
        """Ways from random roads over each counted one to random roads."""
        rng = np.random.default_rng([self.seed, 2])
        ids = sorted(self.streets)
        weights = np.array([self.streets[edge].lanes * (10.0 if self.streets[edge].is_end else 1.0) for edge in ids])
        ends = rng.choice(ids, size=(len(edges), _VIA, 2), p=weights / weights.sum())
        asked, routed = self.folder / "via.trips.xml", self.folder / "via.rou.xml"
        rows = [
            f'<trip id="{i}.{k}" depart="{i}" from="{start}" to="{goal}" via="{edge}"/>'
            for i, edge in enumerate(edges)
            for k, (start, goal) in enumerate(ends[i])
        ]
        asked.write_text("<routes>\n" + "\n".join(rows) + "\n</routes>\n", encoding="utf-8")
        arguments = ["-n", self.net, "-r", asked, "-o", routed, "--seed", self.seed, "--alternatives-output", "NUL"]
        run_tool("duarouter", [*arguments, "--unsorted-input", *_ROUTER], f"Finding ways on {self.net}")
        routes = _routes(routed)
        for file in (asked, routed):
            file.unlink()
        # a way that meets a road twice is no way that people drive
        return [route for route in routes if len(set(route)) == len(route)]

    def _drawn(
        self, candidates: Path, counts: Sequence[Count], begin_s: float, end_s: float, prefix: str
    ) -> list[ElementTree.Element]:
        if not any(round(count.vehicles) for count in counts):
            return []
        asked, drawn = self.folder / "counts.xml", self.folder / "drawn.rou.xml"
        rows = "".join(f'<edge id="{count.edge}" entered="{round(count.vehicles)}"/>' for count in counts)
        head = f'<interval id="counts" begin="{begin_s:g}" end="{end_s:g}">'
        asked.write_text(f"<data>{head}{rows}</interval></data>", encoding="utf-8")
        arguments: list[object] = ["-r", candidates, "-d", asked, "-o", drawn, "-b", begin_s, "-e", end_s]
        arguments += ["-i", end_s - begin_s, "--seed", self.seed, "--prefix", prefix, *_FEWEST_VEHICLES]
        run_tool("routeSampler.py", arguments, "Choosing routes for the counts")
        vehicles = [_tidy(v, begin_s, end_s) for v in ElementTree.parse(drawn).getroot().iter("vehicle")]
        for file in (asked, drawn):
            file.unlink()
        return vehicles


def _routes(file: Path) -> list[tuple[str, ...]]:
    found: dict[tuple[str, ...], None] = {}
    for element in ElementTree.parse(file).getroot().iter("route"):
        if edges := tuple(element.get("edges", "").split()):
            found[edges] = None
    return list(found)


def _tidy(vehicle: ElementTree.Element, begin_s: float, end_s: float) -> ElementTree.Element:
    depart_s = min(max(math.floor(float(vehicle.get("depart", begin_s))), math.ceil(begin_s)), math.ceil(end_s) - 1)
    vehicle.attrib |= {"type": "car", "depart": f"{depart_s}", "departLane": "best", "departSpeed": "max"}
    return vehicle
