"""Checks lights against a network file that it reads by itself, with nothing of greenloop's: no shared mistakes.

What it knows of a signal: the states of its program (the last one in the file), which links people walk on, which
links are foes (the junction's request table), and, from the program alone, how long each link stays yellow and how
long after a link's green its first foe starts.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

YELLOW_WHERE_NONE_S = 3.0


class LightChecker:
    """Looks at one state a second and counts what is wrong, by kind."""

    def __init__(self, net_file: Path, signal: str, min_green_s: int = 5) -> None:
        root = ElementTree.parse(net_file).getroot()
        logic = [e for e in root.iter("tlLogic") if e.get("id") == signal][-1]
        rows = [(float(p.get("duration", "0")), p.get("state", "")) for p in logic.iter("phase")]
        self.links = len(rows[0][1])
        self.min_green_s = min_green_s
        self.walks, self.foes = self._read_links(root, signal)
        self.together = {
            (a, b, state[a], state[b])
            for _, state in rows
            for a, b in self.foes
            if state[a] in "Gg" and state[b] in "Gg"
        }
        self.pairs = {(a, b) for a, b, _, _ in self.together}
        self.has_yellow = any("y" in state for _, state in rows)
        self.yellow_s = [self._least_yellow(rows, link) for link in range(self.links)]
        self.clear_s = [self._least_clearance(rows, link) for link in range(self.links)]
        self.walk_s = [self._walk_alone(rows, link) for link in range(self.links)]
        self.wrong: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.history: list[str] = []
        self.since = [-1000] * self.links  # second at which each link's present kind of light began
        self.green_end = [-1000] * self.links
        self.free_since = [False] * self.links
        self.free_end = [False] * self.links

    def _read_links(self, root: ElementTree.Element, signal: str) -> tuple[set[int], set[tuple[int, int]]]:
        connections = [c for c in root.iter("connection") if c.get("tl") == signal]
        crossings = {e.get("id") for e in root.iter("edge") if e.get("function") == "crossing"}
        walks = {int(c.get("linkIndex", "-1")) for c in connections if c.get("to") in crossings}
        # Here a signal's links are numbered as the one junction's requests are.
        request = {int(r.get("index", "-1")): r.get("foes", "") for r in root.iter("request")}
        foes = {
            (a, b)
            for a, bits in request.items()
            for b in range(len(bits))
            if a < b and (bits[-1 - b] == "1" or request[b][-1 - a] == "1")
        }
        return walks, foes

    def _least_yellow(self, rows: list[tuple[float, str]], link: int) -> int:
        """Whole seconds of the shortest yellow that the program ever gives to the link."""
        if link in self.walks:
            return 0
        shown = []
        for start, (_, state) in enumerate(rows):
            if state[link] == "y" and rows[start - 1][1][link] != "y":
                seconds = 0.0
                for place in range(start, start + len(rows)):
                    if rows[place % len(rows)][1][link] != "y":
                        break
                    seconds += rows[place % len(rows)][0]
                shown.append(seconds)
        return math.floor(min(shown, default=YELLOW_WHERE_NONE_S if not self.has_yellow else 0.0))

    def _least_clearance(self, rows: list[tuple[float, str]], link: int) -> int:
        """Whole seconds from the end of the link's green to the first green of a foe, where that comes at once."""
        found = []
        for start, (_, state) in enumerate(rows):
            if state[link] in "Gg" or rows[start - 1][1][link] not in "Gg":
                continue
            seconds = 0.0
            for place in range(start, start + len(rows)):
                before, now = rows[place % len(rows) - 1][1], rows[place % len(rows)][1]
                starts = [i for i in range(self.links) if now[i] in "Gg" and before[i] not in "Gg"]
                if any(self._must_wait(i, link) for i in starts):
                    found.append(seconds)
                if starts:
                    break
                seconds += rows[place % len(rows)][0]
        native = min(found, default=0.0)
        return math.floor(native) if self.has_yellow or link in self.walks else 3

    def _walk_alone(self, rows: list[tuple[float, str]], link: int) -> int:
        """The least walk of a link that people use in a stage of their own; 0 for all others."""
        alone = [
            seconds
            for seconds, state in rows
            if link in self.walks
            and state[link] in "Gg"
            and all(state[i] not in "Gg" or i in self.walks for i in range(self.links))
        ]
        return math.floor(min(alone, default=0.0))

    def see(self, state: str, free: bool = False) -> None:
        """Look at the next second; ``free`` says that an installed program runs, whose times are its own."""
        now = len(self.history)
        before = self.history[-1] if self.history else state
        for link, (a, b) in enumerate(zip(before, state, strict=True)):
            if a == b or {a, b} <= {"G", "g"}:
                continue
            shown_s = now - self.since[link]
            ran_free = free and self.free_since[link]
            if a in "Gg":
                self.green_end[link], self.free_end[link] = now, free
                self._note(b != "y" and link not in self.walks, "no yellow", now, link)
                self._note(not ran_free and shown_s < self.min_green_s, "green too short", now, link)
                alone = self.walk_s[link]
                self._note(not ran_free and shown_s < alone and self.since[link] >= 0, "walk too short", now, link)
            elif a == "y" and b not in "Gg":
                self._note(not ran_free and shown_s < self.yellow_s[link], "yellow too short", now, link)
            if b in "Gg":
                self._check_start(link, now, free)
            self.since[link], self.free_since[link] = now, free
        for a, b in self.foes:
            if state[a] in "Gg" and state[b] in "Gg":
                allowed = any(
                    (a, b, x, y) in self.together
                    for x in ("Gg" if state[a] == "g" else "G")
                    for y in ("Gg" if state[b] == "g" else "G")
                )
                self._note(not allowed, "foes together", now, a)
        self.history.append(state)

    def _check_start(self, link: int, now: int, free: bool) -> None:
        for other in range(self.links):
            if self._must_wait(link, other) and self.green_end[other] > self.since_green(other):
                waited_s = now - self.green_end[other]
                own = free and self.free_end[other]
                self._note(not own and waited_s < self.clear_s[other], "clearance too short", now, link)

    def _must_wait(self, a: int, b: int) -> bool:
        """Foes that are never green together; others find their way between one another."""
        pair = (min(a, b), max(a, b))
        return pair in self.foes and pair not in self.pairs

    def since_green(self, link: int) -> int:
        """-1 where a link is not green now, a second after all others where it is."""
        return 10**9 if self.history and self.history[-1][link] in "Gg" else -1

    def _note(self, wrong: bool, kind: str, second: int, link: int) -> None:
        if wrong:
            self.wrong[kind] += 1
            self.first.setdefault(kind, f"second {second}, link {link}: {self.history[-8:]}")
