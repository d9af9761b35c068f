"""Payments and accounts, where the customer has such files: every row is used, or listed with the reason.

A file is read line by line, so that a row with a fault costs that row alone and is listed under the number that
its line has in a text editor; the cells are taken apart, read as their types and judged in bulk, in DuckDB.
"""

import csv
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from pipelines.errors import FaultError
from pipelines.load.segments import stamps
from pipelines.warehouse import transaction

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


class InputError(FaultError):
    """A file that cannot be read as a whole; its text has the place and the remedy, and nothing of its content."""


class Column(NamedTuple):
    """A column of a file and of its table: its SQL type, what reads it ({} is the text), whether rows need it."""

    name: str
    type: str = "VARCHAR"
    reader: str = "{}"
    is_needed: bool = False


_DAY = "case when contains({0}, ':') then kobra.read_local_time({0})::date else kobra.read_date({0}, 'UTC') end"
# Below zero it is a reversal, or money that the lender owes.
_MONEY = (
    "(case when starts_with({0}, '-') then -kobra.read_number({0}[2:]) else kobra.read_number({0}) end)"
    "::decimal(18,2)"
)
_DAYS = "case when regexp_full_match({0}, '-?[0-9]{{1,6}}(\\.0+)?') then {0}::double::bigint end"
_AXIS = "case when abs(kobra.read_double({{0}})) <= {limit} then kobra.read_double({{0}}) end"
_EXTERNAL_ID = Column("external_id", is_needed=True)

COLUMNS = {
    "payments": (
        Column("payment_id"),
        _EXTERNAL_ID,
        Column("paid_date", "DATE", _DAY, is_needed=True),
        Column("amount", "DECIMAL(18,2)", _MONEY, is_needed=True),
        Column("source"),
        Column("currency"),
        Column("channel"),
    ),
    "accounts": (
        _EXTERNAL_ID,
        Column("as_of_date", "DATE", _DAY, is_needed=True),
        Column("source"),
        Column("product_id", "INTEGER", "kobra.read_integer({0})"),
        Column("portfolio"),
        Column("balance", "DECIMAL(18,2)", _MONEY),
        Column("past_due", "DECIMAL(18,2)", _MONEY),
        Column("days_past_due", "BIGINT", _DAYS),
        Column("lat", "DOUBLE", _AXIS.format(limit=90)),
        Column("lng", "DOUBLE", _AXIS.format(limit=180)),
        Column("agent_id"),
        Column("assigned_on", "DATE", _DAY),
        Column("currency"),
    ),
}
_HEADER_NEEDS = {
    "payments": ("payment_id", "external_id", "paid_date", "amount"),
    "accounts": ("external_id", "as_of_date"),
}

REASONS = {
    "too_few_cells": "There are fewer cells than columns: the row is torn, or a cell was left out.",
    "too_many_cells": "There are more cells than columns: text with the delimiter in it needs quotation marks.",
    "unclosed_quote": "A quotation mark opens a cell that does not end where the row does.",
    "unreadable_text": "The line holds bytes that are no text.",
    "missing_<column>": "A cell that the row needs is blank; of lat and lng, one is there without the other.",
    "unreadable_<column>": "The cell does not read as its type, or is out of range.",
    "rounded_external_id": "A spreadsheet has made a number such as 1.10106E+11 of the id: its digits are lost.",
    "duplicate_payment": "An earlier row says the same: source, payment_id, account, day and amount.",
}

_CELL_END = "\x1f"  # cells in memory: a delimiter that no text holds
_HEAD, _CHUNK = 1 << 12, 1 << 20
_KINDS = ("missing", "unreadable")
_BLANKS = "chr(9) || chr(10) || chr(13) || chr(32) || chr(160) || chr(65279)"


def files(folder: Path) -> dict[str, Path]:
    """The files by name, whether they are there or not."""
    return {name: folder / f"{name}.csv" for name in COLUMNS}


def fingerprint(folder: Path) -> str:
    """Tells whether a file came, went or changed since; looks at no content."""
    return json.dumps(stamps(files(folder).values()))


def write(connection: "DuckDBPyConnection", folder: Path, *, only: str | None = None) -> None:
    """Make schema `inputs` anew from the files in `folder` (KOBRA_HOME/inputs), all of it or nothing.
    `only` takes the file of one name, and leaves the other's table out.

    A row of payments is used whole or not at all. A row of accounts needs external_id and as_of_date; any other
    cell that does not read is listed and becomes NULL, and the row is used. A position at 0/0 is none. Blank rows
    are no rows; `files.rows` counts the others, used or not. Raises InputError.
    """
    with transaction.whole(connection):
        connection.execute(
            "create schema if not exists inputs;"
            "create or replace table inputs.files(name varchar, is_present boolean, rows bigint);"
            "create or replace table inputs.rejects(file varchar, line bigint, reason varchar)"
        )
        for name, path in files(folder).items():
            if only in (None, name):
                _write_file(connection, name, path)


def _write_file(connection: "DuckDBPyConnection", name: str, path: Path) -> None:
    columns = ", ".join(f"{column.name} {column.type}" for column in COLUMNS[name])
    connection.execute(f"create or replace table inputs.{name}(line bigint, {columns})")
    try:
        file = path.open("rb")
    except FileNotFoundError:
        connection.execute("insert into inputs.files values (?, false, 0)", [name])
        return
    except OSError as why:
        raise InputError(
            f"{path.name} cannot be opened ({why.strerror}): let kobra read it, or move it away"
        ) from why
    with file:
        _take_apart(connection, name, file)
    connection.execute(_judge(name))
    connection.execute("insert into inputs.files select ?, true, count(*) from temp.input_rows", [name])
    connection.execute("drop table temp.input_read; drop table temp.input_rows")


def _take_apart(connection: "DuckDBPyConnection", name: str, file: IO[bytes]) -> None:
    """Put the rows of a file into `input_rows`: line, fault in form, and a trimmed text for every column."""
    chunks = _chunks(file)
    header, lines = _header(name, chunks)
    places = {
        column.name: header.names.index(column.name) + 1 for column in COLUMNS[name] if column.name in header.names
    }
    cells = ", ".join(
        f"nullif(trim(cells[{places[column.name]}], {_BLANKS}), '') as {column.name}"
        if column.name in places
        else f"null::varchar as {column.name}"
        for column in COLUMNS[name]
    )
    width = len(header.names)
    input_lines = _arrow(_batches(header, lines, chunks))  # a name that no table has: tables go before variables
    connection.execute(f"""
        create or replace temp table input_rows as
        with split as (
            select line, fault, string_split(text, chr(31)) as cells from input_lines
            where fault is not null or trim(text, chr(31) || {_BLANKS}) <> ''
        )
        select line, case when fault is not null then fault when len(cells) < {width} then 'too_few_cells'
            when len(cells) > {width} then 'too_many_cells' end as fault, {cells}
        from split
    """)
    del input_lines


def _judge(name: str) -> str:
    """SQL that puts the rows of `input_rows` into their table, and what is wrong with them into the rejects."""
    columns = COLUMNS[name]
    read = {column.name: column.reader.format(column.name) for column in columns}
    faults = [
        *(
            f"case when {column.name} is null then 'missing_{column.name}' end"
            for column in columns
            if column.is_needed
        ),
        *(
            f"case when {column.name} is not null and read_{column.name} is null then 'unreadable_{column.name}' end"
            for column in columns
            if column.type != "VARCHAR"
        ),
        "case when regexp_full_match(external_id, '[0-9][.,][0-9]+[eE][+][0-9]+') then 'rounded_external_id' end",
    ]
    value = {column.name: f"read_{column.name}" for column in columns}
    if "lat" in value:
        for axis, other in (("lat", "lng"), ("lng", "lat")):
            faults.append(f"case when {axis} is null and {other} is not null then 'missing_{axis}' end")
            # A position that is half there, or 0/0, is none.
            value[axis] = (
                f"case when read_{other} is not null and (read_lat, read_lng) <> (0, 0) then read_{axis} end"
            )
    optional = [f"'{kind}_{column.name}'" for column in columns if not column.is_needed for kind in _KINDS]
    # One payment_id may stand for more than one row: a payment and its reversal, one receipt for two accounts.
    same = "is_usable, source, payment_id, external_id, read_paid_date, read_amount"
    repeats = f"is_usable and payment_id is not null and row_number() over (partition by {same} order by line) > 1"
    return f"""
        create or replace temp table input_read as
        with typed as (
            select *, {", ".join(f"{sql} as read_{column}" for column, sql in read.items())} from temp.input_rows
        ),
        judged as (
            select *, case when fault is not null then [fault]
                else list_filter([{", ".join(faults)}], lambda reason: reason is not null) end as reasons,
                len(list_filter(reasons, lambda reason: reason not in ({", ".join(optional)}))) = 0 as is_usable
            from typed
        ),
        compared as (
            select *, {repeats if "payment_id" in value else "false"} as is_duplicate from judged
        )
        select line, {", ".join(f"{sql} as {column}" for column, sql in value.items())},
            is_usable and not is_duplicate as is_used,
            case when is_duplicate then ['duplicate_payment'] else reasons end as reasons
        from compared;

        insert into inputs.{name} by name
            select * exclude (is_used, reasons) from temp.input_read where is_used order by line;
        insert into inputs.rejects
            select '{name}', line, unnest(reasons) as reason from temp.input_read order by all;
    """


# ---------------------------------------------------------------- lines


class _Header(NamedTuple):
    """The names of a file's columns, in small letters, what stands between them, and the line they are on."""

    names: list[str]
    delimiter: str
    line: int


class _Batch(NamedTuple):
    """Rows of a file: the line on which each begins, its cells with _CELL_END between them, or its fault."""

    lines: list[int]
    texts: list[str | None]
    faults: list[str | None]


def _header(name: str, chunks: Iterator[bytes]) -> tuple[_Header, list[str]]:
    """The header of a file, and the lines of the first chunk that come after it."""
    first = next(chunks, b"")
    if first.startswith((b"\xff\xfe", b"\xfe\xff", b"PK\x03\x04")) or b"\0" in first[:_HEAD]:
        raise InputError(f'{name}.csv line 1: this is not text: in Excel save it as "CSV UTF-8 (comma delimited)"')
    lines = _decoded(first.removeprefix(b"\xef\xbb\xbf"))
    at = next((at for at, text in enumerate(lines) if text.strip()), 0)
    delimiter = max(",;\t", key=lines[at].count)
    names = [cell.strip().lower() for cell in _quoted(lines, at, delimiter)[0]]
    place = f"{name}.csv line {at + 1}"
    known = [column.name for column in COLUMNS[name]]
    if not set(known) & set(names):
        raise InputError(f"{place}: this is no header: put a line before it with the columns {', '.join(known)}")
    for column in known:
        if names.count(column) > 1:
            raise InputError(
                f"{place}: the column {column} is there twice: leave one, and give the other another name"
            )
    if missing := [column for column in _HEADER_NEEDS[name] if column not in names]:
        raise InputError(f"{place}: missing here: {', '.join(missing)}; the columns are {', '.join(known)}")
    return _Header(names, delimiter, at + 1), lines[at + 1 :]


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The file in pieces of whole lines."""
    rest = b""
    while chunk := file.read(_CHUNK):
        rest += chunk
        if end := rest.rfind(b"\n") + 1:
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def _decoded(chunk: bytes) -> list[str]:
    """The lines of a chunk. A line that is no UTF-8 is read as cp1252, in which Excel saves a plain CSV."""
    chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n")
    try:
        return chunk.decode().split("\n")
    except UnicodeDecodeError:
        return [_decoded_line(line) for line in chunk.split(b"\n")]


def _decoded_line(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("cp1252", "replace").replace("\ufffd", "\0")  # NUL: no text


def _batches(header: _Header, lines: list[str], chunks: Iterator[bytes]) -> Iterator[_Batch]:
    """The rows after the header. Only a cell in quotation marks goes on over several lines."""
    number = header.line + 1
    while True:
        chunk = next(chunks, None)
        batch, taken = _taken_apart(lines, number, header, is_last=chunk is None)
        yield batch
        if chunk is None:
            return
        number += taken
        lines = lines[taken:] + _decoded(chunk)


def _taken_apart(lines: list[str], number: int, header: _Header, *, is_last: bool) -> tuple[_Batch, int]:
    """The rows in these lines, the first of which has this number, and how many lines they are.

    Unless these are the last lines, a row that goes on after them is left for later.
    """
    batch, at = _Batch([], [], []), 0
    while at < len(lines):
        text, after, fault = lines[at], at + 1, None
        if '"' not in text:
            is_text = "\0" not in text and _CELL_END not in text
            text = text.replace(header.delimiter, _CELL_END)
        else:
            cells, end = _quoted(lines, at, header.delimiter)
            if end == _OPEN and not is_last:
                break
            text = _CELL_END.join(cells)
            is_text = "\0" not in text and text.count(_CELL_END) < max(len(cells), 1)
            if end == after or (end > after and len(cells) == len(header.names)):
                after = end
            else:  # no row over several lines was meant: what follows are rows of their own
                fault = "unclosed_quote"
        fault = fault or (None if is_text else "unreadable_text")
        batch.lines.append(number + at)
        batch.texts.append(None if fault else text)
        batch.faults.append(fault)
        at = after
    return batch, at


_OPEN, _ASTRAY = -1, -2


def _quoted(lines: list[str], start: int, delimiter: str) -> tuple[list[str], int]:
    """The cells of the row that begins on a line, and the line after it.

    _OPEN in its place: these lines do not end it. _ASTRAY: a quotation mark that no cell ends with was taken for
    the end of one, or the row is longer than any row.
    """
    with suppress(csv.Error):  # as almost every row is: on one line, and nothing wrong with it
        return next(csv.reader((lines[start],), delimiter=delimiter, skipinitialspace=True, strict=True)), start + 1
    end = start

    def following() -> Iterator[str]:
        nonlocal end
        while end < len(lines):
            end += 1
            yield lines[end - 1] + "\n"
        end = _OPEN

    try:
        cells = next(csv.reader(following(), delimiter=delimiter, skipinitialspace=True))
        if end > start + 1:  # only whole cells may go on over lines
            whole = (text + "\n" for text in lines[start:end])
            cells = next(csv.reader(whole, delimiter=delimiter, skipinitialspace=True, strict=True))
    except csv.Error:  # also a cell of more than 128 KiB
        return [], _ASTRAY
    return cells, end


def _arrow(batches: Iterator[_Batch]) -> "pa.RecordBatchReader":
    """The rows as DuckDB takes them in, some at a time."""
    import pyarrow as pa  # noqa: PLC0415

    schema = pa.schema([("line", pa.int64()), ("text", pa.string()), ("fault", pa.string())])
    return pa.RecordBatchReader.from_batches(
        schema, (pa.record_batch(list(map(pa.array, batch, schema.types)), schema) for batch in batches)
    )
