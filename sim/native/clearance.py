"""What a signal's own programs pay between two phases, link by link: yellow, red clearance, red-amber.

A link's *yellow* is the whole time that it shows yellow after its green, over as many rows as it takes. Its *red
clearance* is the time from there to the start of the next phase. For a pedestrian crossing it is the time from the end
of the walk to the first green of traffic that crosses it. Red-amber ("u") announces a green; it is no yellow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from sim.native.timetables import ProgramStep, SignalProgram

GREEN = frozenset("Gg")
YELLOW = frozenset("yY")
RED_AMBER = "u"
#: Rows with one of these are part of a change, no phase.
CHANGING = YELLOW | {RED_AMBER}
#: Where a program shows no yellow at all.
ASSUMED_YELLOW_S = 3.0
#: A longer all-red that only some changes of a program have is an empty stage (netconvert writes them for left turns
#: that are not there), no red clearance: that is hardly ever longer (MUTCD 2009, section 4D.26: at most 6 s).
LONGEST_ALL_RED_S = 6.0


@dataclass(frozen=True)
class LinkClearance:
    """Of one link that loses green: seconds of yellow, then of red until the next phase."""

    yellow_s: float
    red_s: float

    @property
    def total_s(self) -> float:
        """From the end of the green to the start of the next phase."""
        return self.yellow_s + self.red_s


@dataclass(frozen=True)
class NativeChange:
    """A change from one phase to the next that a program makes, ``total_s`` long; ``links`` are those that lose green.

    The clearance of a crossing may go on in the next phase, until traffic that crosses it starts.
    """

    before: str
    after: str
    total_s: float
    links: Mapping[int, LinkClearance]
    red_amber_s: Mapping[int, float]

    def starting(self) -> frozenset[int]:
        """The links that gain green."""
        return greens(self.after) - greens(self.before)


@dataclass(frozen=True)
class Layout:
    """What clearance depends on beside programs. ``crossings``: links that people walk on; ``foes``: pairs i < j."""

    phases: frozenset[str]
    used: frozenset[int]
    crossings: frozenset[int] = frozenset()
    foes: frozenset[tuple[int, int]] = frozenset()

    def are_foes(self, a: int, b: int) -> bool:
        """Whether the ways of two links cross or merge."""
        return (min(a, b), max(a, b)) in self.foes


@dataclass(frozen=True)
class NativeClearance:
    """All changes of a signal's programs, and what holds where they show none.

    ``yellow_s`` is the yellow that they mostly show, ``red_s`` what most changes take beyond it; ``has_yellow`` is
    False where no program shows any, and ``yellow_s`` then an assumption. ``empty_stages_s`` are the long all-red rows
    that count as stages without traffic.
    """

    layout: Layout
    changes: tuple[NativeChange, ...]
    yellow_s: float
    red_s: float
    has_yellow: bool
    empty_stages_s: tuple[float, ...] = ()
    _nearest: dict[tuple[str, str, int], LinkClearance] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, programs: Sequence[SignalProgram], layout: Layout) -> NativeClearance:
        """Read the changes of static and actuated programs, row by row."""
        changes: list[NativeChange] = []
        empty: list[float] = []
        for program in programs:
            found = [_Change(program.steps, path, layout) for path in _paths(program.steps, layout)]
            long_s = {
                change.all_red_s
                for change in found
                if change.all_red_s > LONGEST_ALL_RED_S
                and not change.ends_walk
                and any(other.all_red_s == 0 for other in found)
            }
            empty += sorted(long_s)
            changes += [change.read(without_all_red=change.all_red_s in long_s) for change in found]
        shown = [program.steps for program in programs]
        has_yellow = any(set(step.state) & YELLOW for steps in shown for step in steps)
        driven = [c for change in changes for link, c in change.links.items() if link not in layout.crossings]
        yellow_s = _most([c.yellow_s for c in driven if c.yellow_s > 0])
        if not yellow_s:
            yellow_s = _most([step.duration_s for steps in shown for step in steps if set(step.state) & YELLOW])
        yellow_s = yellow_s or ASSUMED_YELLOW_S
        usual_s = _most([change.total_s for change in changes if set(change.links) - layout.crossings])
        return cls(layout, tuple(changes), yellow_s, max(0.0, usual_s - yellow_s), has_yellow, tuple(empty))

    def of_link(self, before: str, after: str, link: int) -> LinkClearance:
        """The clearance of a link that loses green between two phases: at that change, or at the nearest native one."""
        key = (before, after, link)
        if key not in self._nearest:
            self._nearest[key] = self._look_up(before, after, link)
        return self._nearest[key]

    def _look_up(self, before: str, after: str, link: int) -> LinkClearance:
        ends = [change for change in self.changes if link in change.links]
        starting = greens(after) - greens(before)

        def nearness(change: NativeChange) -> tuple[bool, bool, bool, int, float]:
            same = (change.before == before and change.after == after, change.before == before, change.after == after)
            return *same, len(starting & change.starting()), change.links[link].total_s

        walks = link in self.layout.crossings
        found = max(ends, key=nearness).links[link] if ends else LinkClearance(0.0, 0.0)
        if walks:
            waits = any(self.layout.are_foes(link, other) for other in starting)
            return found if waits else LinkClearance(found.yellow_s, 0.0)
        return found if found.yellow_s > 0 else LinkClearance(self.yellow_s, found.red_s)

    def red_amber_s(self, before: str, after: str, link: int) -> float:
        """Seconds of red-amber before the green of a link that starts."""
        said = [
            (change.before == before and change.after == after, change.before == before, change.red_amber_s[link])
            for change in self.changes
            if link in change.red_amber_s
        ]
        return max(said)[2] if said else 0.0


def _most(values: Sequence[float]) -> float:
    """The most frequent value, the longest of several; 0 of none."""
    counted = Counter(values)
    return max(counted, key=lambda value: (counted[value], value)) if counted else 0.0


@lru_cache(maxsize=4096)
def greens(state: str) -> frozenset[int]:
    """The links that are green in a state."""
    return frozenset(link for link, letter in enumerate(state) if letter in GREEN)


def _paths(steps: Sequence[ProgramStep], layout: Layout) -> Iterator[list[int]]:
    """Indices of rows from each phase over what lies between to the next phase (another one)."""
    for first, step in enumerate(steps):
        if step.state not in layout.phases:
            continue
        todo = [[first]]
        while todo:
            path = todo.pop()
            for following in steps[path[-1]].next or ((path[-1] + 1) % len(steps),):
                if not 0 <= following < len(steps) or following in path:
                    continue
                longer = [*path, following]
                if steps[following].state not in layout.phases:
                    if len(longer) <= 32 and len(todo) < 64:
                        todo.append(longer)
                elif steps[following].state != step.state:
                    yield longer


class _Change:
    """Reads one change from the rows on its path."""

    def __init__(self, steps: Sequence[ProgramStep], path: Sequence[int], layout: Layout) -> None:
        self.steps, self.layout = steps, layout
        self.before, self.after = steps[path[0]].state, steps[path[-1]].state
        self.second_last, self.last = path[-2], path[-1]
        between = [steps[index] for index in path[1:-1]]
        # Green for links that lead nowhere is a stage of others: what comes from there on is no clearance.
        stage = next((i for i, s in enumerate(between) if greens(s.state) and not greens(s.state) & layout.used), None)
        self.rows = between if stage is None else between[:stage]
        self.all_red_s = sum(row.duration_s for row in self.rows if _is_all_red(row.state))
        self.ends_walk = bool((greens(self.before) - greens(self.after)) & layout.crossings)

    def read(self, without_all_red: bool) -> NativeChange:
        rows = [row for row in self.rows if not (without_all_red and _is_all_red(row.state))]
        ending = (greens(self.before) - greens(self.after)) & self.layout.used
        links = {link: self._link(link, rows) for link in sorted(ending)}
        starting = greens(self.after) - greens(self.before)
        announced = {link: sum(r.duration_s for r in rows if r.state[link] == RED_AMBER) for link in sorted(starting)}
        total_s = sum(row.duration_s for row in rows)
        return NativeChange(self.before, self.after, total_s, links, {k: v for k, v in announced.items() if v > 0})

    def _link(self, link: int, rows: Sequence[ProgramStep]) -> LinkClearance:
        ended = max((i + 1 for i, row in enumerate(rows) if row.state[link] in GREEN), default=0)
        yellow_s = 0.0
        for row in rows[ended:]:
            if row.state[link] not in YELLOW:
                break
            yellow_s += row.duration_s
        red_s = sum(row.duration_s for row in rows[ended:]) - yellow_s
        if link in self.layout.crossings:
            red_s += self._walk_on(link)
        return LinkClearance(yellow_s, red_s)

    def _walk_on(self, link: int) -> float:
        """How long after the next phase's start the first traffic that crosses a crossing gets green.

        A walk often ends while the cars beside it drive on: that time clears the crossing, too.
        """
        waited_s, shown, index = 0.0, greens(self.steps[self.second_last].state), self.last
        for _ in self.steps:
            step = self.steps[index]
            now = greens(step.state)
            crosses = any(self.layout.are_foes(link, other) for other in now - shown)
            if crosses or link in now or not now <= greens(self.before):
                return waited_s
            waited_s, shown = waited_s + step.duration_s, now
            index = step.next[0] if step.next and 0 <= step.next[0] < len(self.steps) else (index + 1) % len(self.steps)
        return 0.0


def _is_all_red(state: str) -> bool:
    return not set(state) & (GREEN | YELLOW)
