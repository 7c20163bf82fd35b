"""CSV files as spreadsheets write them: every cell is read, or one sentence says which is not and why."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scenarios.common.errors import ScenarioError
from scenarios.common.input_files import read_raw

#: Larger files and cells are refused. A week of quarter hours on 500 roads has 336,000 rows.
MOST_BYTES, MOST_ROWS = 32_000_000, 500_000
MOST_CELL_CHARACTERS = 500
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BINARY = {
    b"PK\x03\x04": "a zip archive or a spreadsheet (.xlsx)",
    b"\x1f\x8b": "compressed",
    b"\xd0\xcf\x11\xe0": "an .xls",
}
#: A leading zero is refused: 0700 may be meant as a time, and 023 as the end of 1,023.
_NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
#: What separates thousands beside a comma or a point: an apostrophe or a space, plain, no-break or narrow.
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:(['’ \u00a0\u202f])\d{3})(?:\1\d{3})*(?:[.,]\d*)?", re.ASCII)


def cell_text(text: str) -> str:
    """A text of the file in a message: cut, and without characters that break a line."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= 60 else f"{plain[:57]}..."


@dataclass(frozen=True)
class Table:
    """The rows of a file.

    Attributes:
        columns: their names, in small letters.
        delimiter: what stands between cells.
        cells: per row the number of its line, and its cells in the order of ``columns``.
    """

    columns: tuple[str, ...]
    delimiter: str
    cells: tuple[tuple[int, tuple[str, ...]], ...]

    @property
    def rows(self) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Number of the line and cells by column, row by row."""
        for line, cells in self.cells:
            yield line, dict(zip(self.columns, cells, strict=True))


def read_table(file: Path, what: str) -> Table:
    """Read a CSV file with a header, separated by commas, semicolons or tabs.

    Every row must have as many cells as the header: a row with one cell more mostly holds a number that was written
    with the delimiter in it, and reading on would give another number.

    Args:
        file: in UTF-8 or, with its mark, UTF-16.
        what: how messages call it, as in "Counts file".

    Raises:
        ScenarioError: the file cannot be read, or a row has not the header's cells.
    """
    where = f"{what} {file}"
    text = _text(file, what)
    first, _, rest = text.partition("\n")
    told = re.fullmatch(r"sep=(.)\s*", first)  # Excel's own way to name the delimiter
    text, skipped = (rest, 1) if told else (text, 0)
    head = next((line for line in text.split("\n") if line.strip()), "")
    delimiter = told.group(1) if told else max(_DELIMITERS, key=head.count)
    rows = _rows(text, delimiter, where, skipped)
    _, names = next(rows, (0, []))
    columns = tuple(name.casefold() for name in names)
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        raise ScenarioError(f"{where} names the column '{cell_text(twice[0])}' twice; keep one of the two.")
    found = []
    for line, cells in rows:
        _check_cells(f"{where}, line {line}", cells, columns, delimiter)
        found.append((line, tuple(cells)))
        if len(found) > MOST_ROWS:
            raise ScenarioError(f"{where} has more than {MOST_ROWS:,} rows; keep the roads and the time you need.")
    return Table(columns, delimiter, tuple(found))


def _check_cells(where: str, cells: Sequence[str], columns: Sequence[str], delimiter: str) -> None:
    if len(cells) != len(columns):
        raise ScenarioError(f"{where}: {_misfit(cells, columns, delimiter)}")
    for name, cell in zip(columns, cells, strict=True):
        if cell and not name:
            raise ScenarioError(f"{where}: '{cell_text(cell)}' stands in a column without a name; name or remove it.")


def _misfit(cells: Sequence[str], columns: Sequence[str], delimiter: str) -> str:
    said = f"the row has {len(cells)} cells, but the header has {len(columns)} columns, separated by "
    said += _DELIMITERS.get(delimiter, f"'{delimiter}'")
    if len(cells) < len(columns):
        return f"{said}; leave an unknown cell empty, but write its delimiter."
    example = "a comma, such as 1,234," if delimiter == "," else "this character"
    return f"{said}; put a cell that holds {example} in quotation marks."


def _text(file: Path, what: str) -> str:
    where = f"{what} {file}"
    raw = read_raw(file, what, MOST_BYTES)
    for head, sort in _BINARY.items():
        if raw.startswith(head):
            raise ScenarioError(f"{where} is not text but {sort}; export the table as CSV (UTF-8).")
    encoding = "utf-16" if raw.startswith(_UTF16) else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ScenarioError(
            f"{where} is not text in UTF-8 (line {line} holds the byte 0x{raw[error.start]:02x}); export the table as "
            "CSV (UTF-8)."
        ) from error
    if "\0" in text:
        raise ScenarioError(f"{where} is not text in UTF-8 (it holds zero bytes); export the table as CSV (UTF-8).")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _rows(text: str, delimiter: str, where: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Number of the line and stripped cells of each row that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + skipped + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if "field larger" in str(error):
                raise ScenarioError(f"{where}, line {line}: {_TOO_LONG}") from error
            raise ScenarioError(f"{where}, line {line}: a quotation mark is missing or too many.") from error
        if cells is None:
            return
        for cell in cells:
            if len(cell) > MOST_CELL_CHARACTERS:
                raise ScenarioError(f"{where}, line {line}: {_TOO_LONG}")
            if "\n" in cell:
                raise ScenarioError(f"{where}, line {line}: a quoted cell goes on in the next line; close it before.")
        if any(cell.strip() for cell in cells):
            yield line, [cell.strip() for cell in cells]


_TOO_LONG = f"a cell has more than {MOST_CELL_CHARACTERS} characters; is this the table, and are its line ends right?"


# --- numbers -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Marks:
    """How a file writes numbers: its decimal mark, or None where the numbers do not tell."""

    decimal: str | None

    def number(self, text: str) -> float | None:
        """The value, or None where the text is no number.

        Raises:
            AmbiguousError: it may be a decimal or thousands, and the file does not tell.
        """
        if _THOUSANDS.fullmatch(text):
            text = re.sub(r"['’\s]", "", text)
        if mark := _ambiguous(text):
            if self.decimal is None:
                raise AmbiguousError(text)
            text = text.replace(mark, "." if mark == self.decimal else "")
        elif decimal := _decimal_mark(text):
            other = "," if decimal == "." else "."
            text = text.replace(other, "").replace(decimal, ".")
        elif _is_grouped(text):
            text = re.sub("[.,]", "", text)
        return float(text) if _NUMBER.fullmatch(text) else None


class AmbiguousError(Exception):
    """A number such as ``1.234``, in a file that does not tell whether the point separates decimals or thousands."""


def _ambiguous(text: str) -> str | None:
    """The one mark of ``1.234``; its number has one more meaning where the mark separates thousands."""
    match = re.fullmatch(r"[+-]?[1-9]\d{0,2}([.,])\d{3}", text, re.ASCII)
    return match.group(1) if match else None


def _is_grouped(text: str) -> bool:
    """Whether a mark stands more than once, at thousands: ``1.234.567``."""
    return bool(re.fullmatch(r"[+-]?[1-9]\d{0,2}(?:(?:\.\d{3}){2,}|(?:,\d{3}){2,})", text, re.ASCII))


def _decimal_mark(text: str) -> str | None:
    """The mark that can only separate decimals: ``9,5`` or ``1.234,5``; None where there is no such."""
    if _ambiguous(text):
        return None
    for decimal, other in ((".", r"\,"), (",", r"\.")):
        point = re.escape(decimal)
        if re.fullmatch(rf"[+-]?(?:\d*|\d{{1,3}}(?:{other}\d{{3}})+){point}\d*(?:[eE][+-]?\d+)?", text, re.ASCII):
            return decimal if re.search(r"\d", text) else None
    return None


def marks_of(table: Table, columns: Sequence[str], where: str) -> Marks:
    """How a table writes numbers in some columns.

    A comma-separated file has decimal points unless its numbers show otherwise; in others, commas are as frequent.

    Raises:
        ScenarioError: its numbers show a decimal comma here and a decimal point there.
    """
    lines: dict[str, tuple[int, str]] = {}
    for line, row in table.rows:
        for column in columns:
            text = row.get(column, "")
            if mark := _decimal_mark(text):
                lines.setdefault(mark, (line, text))
            elif _is_grouped(text):
                lines.setdefault("." if "," in text else ",", (line, text))
    if len(lines) == 2:
        (first, one), (second, other) = sorted(lines.values())
        raise ScenarioError(
            f"{where} writes numbers in two ways, as '{cell_text(one)}' in line {first} and '{cell_text(other)}' in "
            f"line {second}; write all with the same decimal mark."
        )
    return Marks(next(iter(lines), "." if table.delimiter == "," else None))
