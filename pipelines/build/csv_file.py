"""A customer's CSV file, however it was saved: every row with the line that a text editor shows, or its fault."""

import codecs
import csv
import re
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from pipelines.blanks import trimmed
from pipelines.errors import FaultError

_LONGEST_LINE = 1 << 16  # characters; twice what Excel lets stand in a cell
_LONGEST_ROW = 200  # lines: a quotation mark that nothing closes must not swallow the file

_NOT_TEXT = f"the line is no text, or longer than {_LONGEST_LINE:,} characters: write it anew"
_QUOTE = (
    "a quotation mark is out of place: a cell in quotation marks ends with one, and one within it is written twice"
)
_TOO_MANY = "there are more cells than columns: put text that holds the delimiter in quotation marks"

_declared = re.compile(r'\s*"?sep=(.)"?\s*', re.I).fullmatch  # Excel's own first line
_text_of_formula = re.compile(r'="(.*)"').fullmatch  # ="00110" keeps Excel from making a number of it


class CsvError(FaultError):
    """A file that cannot be read as a whole. Its text has the file, the line and the remedy, and no cell."""


class Row(NamedTuple):
    """The line on which a row begins, and its trimmed cells, one for each column asked for, or its fault."""

    line: int
    cells: Sequence[str]
    fault: str | None = None


class Sheet(NamedTuple):
    """An opened file: the line of its header, the columns that nobody asked for, its rows without blank ones."""

    line: int
    unknown: list[str]
    rows: Iterator[Row]


@contextmanager
def opened(path: Path, columns: Sequence[str], needed: Collection[str]) -> Iterator[Sheet]:
    """The file, with its cells in the order of `columns`; those of absent columns are blank.

    Columns are found by the letters and digits of their names: "External ID" is external_id. The text is UTF-8,
    Windows-1252, both in one file, or UTF-16. Raises CsvError and FileNotFoundError.
    """
    codecs.register_error("kobra.windows-1252", _as_windows_1252)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise
    except OSError as why:
        raise CsvError(f"{path.name} cannot be opened ({why.strerror}): let kobra read it, or move it away") from why
    with TextIOWrapper(file, _encoding(file.peek(4)), "kobra.windows-1252") as text:
        yield _sheet(path.name, _lines(text), columns, needed)


def _encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if head[:1] == b"\0" else "utf-8-sig"


def _as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    """What is no UTF-8 is read as Excel saves a plain CSV; what that does not know either becomes NUL."""
    assert isinstance(error, UnicodeDecodeError)
    is_utf8 = error.encoding == "utf-8"
    text = error.object[error.start : error.end].decode("cp1252" if is_utf8 else "ascii", "replace")
    return text.replace("\ufffd", "\0"), error.end


def _lines(text: TextIOWrapper) -> Iterator[str]:
    """The lines; NUL in place of one that is too long."""
    while line := text.readline(_LONGEST_LINE):
        is_whole = line.endswith("\n") or len(line) < _LONGEST_LINE
        yield line if is_whole else "\0"
        while not is_whole:
            rest = text.readline(_LONGEST_LINE)
            is_whole = rest.endswith("\n") or not rest


# ---------------------------------------------------------------- header


def _sheet(name: str, lines: Iterator[str], columns: Sequence[str], needed: Collection[str]) -> Sheet:
    number, text, delimiter = _header(lines)
    rows = _split(chain([text], lines), number, delimiter)
    cells = next(rows, Row(number, ())).cells
    names = [_letters(cell) for cell in cells]
    asked = {_letters(column): column for column in columns}
    if fault := _header_fault(text, names, asked, needed):
        raise CsvError(f"{name} line {number}: {fault}")
    unknown = [cell for cell, letters in zip(cells, names, strict=True) if letters and letters not in asked]
    places = [names.index(letters) if letters in names else len(names) for letters in asked]
    return Sheet(number, unknown, _aligned(rows, len(names), places))


def _header(lines: Iterator[str]) -> tuple[int, str, str]:
    """The number and the text of the header's line, and the delimiter."""
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    number, text = next(numbered, (1, ""))
    declared = _declared(text)
    if declared:
        number, text = next(numbered, (number, ""))
    return number, text, declared[1] if declared else max(",;\t", key=text.count)


def _header_fault(text: str, names: list[str], asked: dict[str, str], needed: Collection[str]) -> str | None:
    columns = ", ".join(asked.values())
    if re.search(r"[\x00-\x08\x0e-\x1f]", text):
        return 'this is not text: in Excel save it as "CSV UTF-8 (comma delimited)"'
    if not asked.keys() & set(names):
        return f"this is no header: put a line before it with the columns {columns}"
    if twice := [column for letters, column in asked.items() if names.count(letters) > 1]:
        return f"the column {twice[0]} is there twice: leave one, and give the other another name"
    missing = [column for letters, column in asked.items() if column in needed and letters not in names]
    return f"missing here: {', '.join(missing)}; the columns are {columns}" if missing else None


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


# ---------------------------------------------------------------- rows


def _aligned(rows: Iterator[Row], width: int, places: Sequence[int]) -> Iterator[Row]:
    """The rows that are not blank, cells in place. Excel leaves out blank cells at the end of a row, or adds some."""
    pick = itemgetter(*places)
    for line, cells, fault in rows:
        if fault or any(cells[width:]):
            yield Row(line, (), fault or _TOO_MANY)
        elif any(cells):
            yield Row(line, pick([*cells, *[""] * (width + 1 - len(cells))]))


def _split(lines: Iterator[str], line: int, delimiter: str) -> Iterator[Row]:
    """The rows from this line on. The first is the header: a row over several lines has as many cells."""
    closing = re.compile(rf'" +(?={re.escape(delimiter)}|$)')
    row = list[str]()  # the lines of this row
    ahead = deque[str]()
    width = 0

    def following() -> Iterator[str]:
        while text := ahead.popleft() if ahead else next(lines, ""):
            row.append(text)
            if "\0" in text or len(row) > _LONGEST_ROW:
                raise csv.Error
            yield closing.sub('"', text) if '"' in text else text

    while True:
        try:
            for cells in csv.reader(following(), delimiter=delimiter, skipinitialspace=True, strict=True):
                if len(row) > 1 and width and (len(cells) < width or any(cells[width:])):
                    raise csv.Error
                width = width or len(cells)
                yield Row(line, [*map(_plain if '="' in row[0] else trimmed, cells)])
                line += len(row)
                row.clear()
            return
        except csv.Error:  # what follows are rows of their own
            yield Row(line, (), _NOT_TEXT if "\0" in row[0] else _QUOTE)
            line += 1
            ahead.extendleft(reversed(row[1:]))
            row.clear()


def _plain(cell: str) -> str:
    formula = _text_of_formula(trimmed(cell))
    return trimmed(formula[1] if formula else cell)
