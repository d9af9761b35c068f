"""Payments and accounts, where the customer has such files: every row is used, or listed with line and reason."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.build import csv_file
from pipelines.build.cells import read_amount, read_date, read_degrees, read_whole
from pipelines.build.csv_file import Row
from pipelines.ids import read_id
from pipelines.stamps import stamps
from pipelines.warehouse import transaction

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BATCH = 10_000  # rows

_BLANK = "{} is blank: fill it in"
# One payment_id may stand for several rows: a payment and its reversal, one receipt for two accounts.
_PAYMENT = "source, payment_id, external_id, paid_date, amount"
_REPEATED = f"{_PAYMENT} are those of an earlier row: delete one of the two"


class Kind(NamedTuple):
    """What a column holds: its SQL type, what reads a cell, and what is said where that gives None."""

    type: str
    read: Callable[[str], Any]
    fault: str = ""


class _Reject(NamedTuple):
    """What is wrong with a row, and whether it is used nevertheless."""

    line: int
    reason: str
    is_row_used: bool = False


_ID = Kind(
    "varchar",
    read_id,
    "{} is 1.10105E+11, ##### or the like, in which Excel hid or lost digits: format the column as text in Excel, and"
    " fill in its ids anew",
)
_TEXT = Kind("varchar", str)
_DATE = Kind("date", read_date, "{} is no date from 1900 to 2199: write it as 2026-11-21 or 21/11/2026")
_MONEY = Kind("decimal(18,2)", read_amount, "{} is no amount, or could mean two: write it as 1500.50 or 1,500.50")
_WHOLE = Kind("bigint", read_whole, "{} is no whole number: write it as 45")
_NO_DEGREES = "{} is no coordinate: write degrees with a decimal point, such as 19.4326"

COLUMNS = {
    "payments": {
        "payment_id": _ID,
        "external_id": _ID,
        "paid_date": _DATE,
        "amount": _MONEY,
        "source": _TEXT,
        "currency": _TEXT,
        "channel": _TEXT,
    },
    "accounts": {
        "external_id": _ID,
        "as_of_date": _DATE,
        "source": _TEXT,
        "product_id": _WHOLE._replace(type="integer"),
        "portfolio": _TEXT,
        "balance": _MONEY,
        "past_due": _MONEY,
        "days_past_due": _WHOLE,
        "lat": Kind("double", partial(read_degrees, most=90), _NO_DEGREES),
        "lng": Kind("double", partial(read_degrees, most=180), _NO_DEGREES),
        "agent_id": _ID,
        "assigned_on": _DATE,
        "currency": _TEXT,
    },
}
_NEEDED = {"external_id", "paid_date", "amount", "as_of_date"}  # by every row


def files(folder: Path) -> dict[str, Path]:
    """The files by name, whether they are there or not."""
    return {name: folder / f"{name}.csv" for name in COLUMNS}


def fingerprint(folder: Path) -> str:
    """Tells whether a file came, went or changed since; looks at no content."""
    return json.dumps(stamps(files(folder).values()))


def write(connection: "DuckDBPyConnection", folder: Path, *, only: str | None = None) -> None:
    """Make schema `inputs` anew from the files in `folder` (KOBRA_HOME/inputs), all of it or nothing.
    `only` takes the file of one name, and leaves the other's table out.

    A row is used where every cell that it needs reads; any other cell that does not read is listed and becomes NULL.
    A position that is half there, or 0/0, is none. Blank rows are no rows; `files.rows` counts the others, used or
    not. Raises CsvError.
    """
    with transaction.whole(connection):
        connection.execute(
            "create schema if not exists inputs;"
            "create or replace table inputs.files(name varchar, is_present boolean, rows bigint);"
            "create or replace table inputs.rejects(file varchar, line bigint, reason varchar)"
        )
        for name, path in files(folder).items():
            if only in (None, name):
                rows = _write_file(connection, name, path)
                connection.execute("insert into inputs.files values (?, ?, ?)", [name, rows is not None, rows or 0])


def _write_file(connection: "DuckDBPyConnection", name: str, path: Path) -> int | None:
    """Answers with the number of rows, used or not; None where there is no file."""
    columns = COLUMNS[name]
    types = ", ".join(f"{column} {kind.type}" for column, kind in columns.items())
    connection.execute(f"create or replace table inputs.{name}(line bigint, {types})")
    number = 0
    try:
        with csv_file.opened(path, [*columns], columns.keys() & {"payment_id", *_NEEDED}) as sheet:
            while rows := list(islice(sheet.rows, _BATCH)):
                number += len(rows)
                _insert(connection, name, rows)
    except FileNotFoundError:
        return None
    if name == "payments":
        _set_repeated_aside(connection)
    return number


def _insert(connection: "DuckDBPyConnection", name: str, rows: list[Row]) -> None:
    import pyarrow as pa  # noqa: PLC0415

    whole = [row for row in rows if not row.fault]
    rejects = [_Reject(row.line, row.fault) for row in rows if row.fault]
    texts = {column: [row.cells[at] for row in whole] for at, column in enumerate(COLUMNS[name])}
    values: dict[str, list[Any]] = {"line": [row.line for row in whole]}
    for column, kind in COLUMNS[name].items():
        values[column] = [kind.read(text) if text else None for text in texts[column]]
        if kind.fault and None in values[column]:
            rejects += _unread(column, kind, texts[column], values)
    if "lat" in values:
        rejects += _settle_positions(texts, values)
    unusable = {reject.line for reject in rejects if not reject.is_row_used}
    # Names that no table has: tables go before variables.
    input_rows = pa.table(values).filter(pa.array([line not in unusable for line in values["line"]], pa.bool_()))
    connection.execute(f"insert into inputs.{name} by name from input_rows")
    if rejects:
        input_rejects = pa.Table.from_pylist([reject._asdict() for reject in rejects])
        connection.execute("insert into inputs.rejects select ?, line, reason from input_rejects", [name])
        del input_rejects
    del input_rows


def _unread(column: str, kind: Kind, texts: list[str], values: dict[str, list[Any]]) -> Iterator[_Reject]:
    """The cells of a column that do not read, and those that are needed and blank."""
    for line, text, value in zip(values["line"], texts, values[column], strict=True):
        if value is None and (text or column in _NEEDED):
            reason = kind.fault if text else _BLANK
            yield _Reject(line, reason.format(column), is_row_used=column not in _NEEDED)


def _settle_positions(texts: dict[str, list[str]], values: dict[str, list[Any]]) -> Iterator[_Reject]:
    """Make none of a position that is half there, or 0/0. The blank half is listed."""
    latitudes, longitudes = values["lat"], values["lng"]
    for at, (lat, lng) in enumerate(zip(texts["lat"], texts["lng"], strict=True)):
        if bool(lat) != bool(lng):
            yield _Reject(values["line"][at], _BLANK.format("lng" if lat else "lat"), is_row_used=True)
        if None in (latitudes[at], longitudes[at]) or latitudes[at] == longitudes[at] == 0:
            latitudes[at] = longitudes[at] = None


def _set_repeated_aside(connection: "DuckDBPyConnection") -> None:
    """Leave of payments that say the same the first. Those without an id are not compared."""
    connection.execute(
        f"insert into inputs.rejects select 'payments', line, ? from inputs.payments where payment_id is not null"
        f" qualify row_number() over (partition by {_PAYMENT} order by line) > 1",
        [_REPEATED],
    )
    connection.execute(
        "delete from inputs.payments where line in"
        " (select line from inputs.rejects where file = 'payments' and reason = ?)",
        [_REPEATED],
    )
