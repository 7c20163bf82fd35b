"""What a report's page is made of: plain values that the template prints."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.results.metrics import GridlockRule

MISSING = "–"


@dataclass(frozen=True)
class Head:
    """A column: its name, the unit below it, and whether it holds numbers."""

    text: str
    unit: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """What a cell shows, by what it sorts ("" sorts last), a quieter line below, and where it leads."""

    text: str
    sort: str = ""
    note: str = ""
    href: str = ""


@dataclass(frozen=True)
class Row:
    """Cells of one row; the first names it."""

    cells: tuple[Cell, ...]
    id: str = ""
    emphasis: bool = False


@dataclass(frozen=True)
class Table:
    """A table with its caption above and a note below."""

    id: str
    caption: str
    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    note: str = ""


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG; ``themed`` ones take the page's colours, the others stand on white paper."""

    id: str
    title: str
    svg: str
    caption: str
    themed: bool


@dataclass(frozen=True)
class Part:
    """Some sentences, tables and figures under an optional heading."""

    heading: str = ""
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Drawing, ...] = ()


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    id: str
    title: str
    lead: tuple[str, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Download:
    """A file inside the page."""

    name: str
    uri: str
    text: str


@dataclass(frozen=True)
class Page:
    """The whole page, in its order."""

    title: str
    answer: tuple[str, ...]
    details: tuple[str, ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    baseline: str
    gridlock: GridlockRule
    has_incidents: bool
    has_resco: bool
    notes: tuple[str, ...]
    provenance: tuple[str, ...]
    provenance_tables: tuple[Table, ...]
    downloads: tuple[Download, ...]
    sources: str
    made: str
    version: str
    contents: tuple[Section, ...] = field(init=False)

    def __post_init__(self) -> None:
        """The contents: every section of scenarios, and those that follow them."""
        rest = (("meaning", "What the numbers mean"), ("provenance", "Provenance"), ("data", "The data"))
        object.__setattr__(self, "contents", (*self.sections, *(Section(name, title, (), ()) for name, title in rest)))


def number(value: float | None, form: str = ".1f", note: str = "", factor: float = 1.0) -> Cell:
    """A number with a real minus; missing and not finite ones are a dash that sorts last."""
    if value is None or not math.isfinite(value):
        return Cell(MISSING, note=note)
    return Cell(minus(format(factor * value, form)), repr(float(value)), note)


def interval(bounds: tuple[float, float] | None, form: str = ".1f", factor: float = 1.0) -> str:
    """``[low, high]``, or nothing."""
    return "" if bounds is None else minus(f"[{factor * bounds[0]:{form}}, {factor * bounds[1]:{form}}]")


def text(words: str, note: str = "", href: str = "") -> Cell:
    """Words that sort as they read."""
    return Cell(words, words, note, href)


def controller(name: str) -> Cell:
    """A controller's name as it was given; of a file only the class, with the file below."""
    shown = name.rpartition(".py:")[2]
    return Cell(shown, shown, "" if name == shown else name)


def slug(name: str) -> str:
    """A name as an id of the page: other names have other ids."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda sign: f"x{ord(sign[0]):x}", name)


def minus(words: str) -> str:
    """Hyphens before digits as minus signs."""
    return words.replace("-", "−")


def listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; nothing for none."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))


def some(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    return listed([*names[:3], f"{len(names) - 3} more"] if len(names) > 4 else list(names))


def plural(count: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
