"""Write published tables for others to open: Parquet, CSV or XLSX, whole files only.

CSV is UTF-8 with a byte order mark, because Excel takes a file without one for Windows-1252 and spoils every accent;
it separates with commas, as Excel in Mexico does. Local times are spelt 2026-02-16 08:00:00, instants
2026-02-16 14:00:00Z; NULL is nothing at all, an empty text is "". In XLSX an instant is a date of Excel's on the
clock of UTC, and its column says so.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, assert_never

from pipelines import quoting
from pipelines.errors import UsageError
from pipelines.publish.published import Attach, NothingPublishedError
from receiver import rawstore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Form = Literal["parquet", "csv", "xlsx"]
FORMS: tuple[Form, ...] = ("parquet", "csv", "xlsx")

_ASIDE = ".exporting"  # in the folder of the export; what is found there was left by one that was cut short
_PARTITIONS_MAX, _PARTITION_NAME_MAX = 10_000, 200
_XLSX_ROWS, _XLSX_COLUMNS, _XLSX_CELL = 1_048_575, 16_384, 32_767  # below the header; cells in UTF-16 units
_EXCEL_DIGITS = 15  # more of them than a spreadsheet's numbers can hold
_EXCEL_EPOCH = date(1900, 1, 1)
_BOM = "\ufeff"

# What a spreadsheet may take for a formula (OWASP, CSV injection; ASVS 1.2.10): also behind white space, which some
# programs skip, in full width, which some fold, and control characters that make some start a new cell.
_RISKY = r"^([\s\p{Z}\p{Cc}\x{FEFF}]*[=+\-@＝＋－＠]|[\t\r\n\x00])"
_RISKY_PYTHON = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ufeff]*[=+\-@＝＋－＠]|[\t\r\n\x00]")
# Types whose cells no text can get into; everything else is written as text and made safe.
_PLAIN = re.compile(
    r"BOOLEAN|U?(TINY|SMALL|BIG|HUGE)?INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*\)|DATE|TIME|TIMESTAMP.*", re.IGNORECASE
)
_INSTANT = "TIMESTAMP WITH TIME ZONE"


class ExportError(UsageError):
    """What was asked for cannot be exported; its text says what can."""


class ExportBusyError(ExportError):
    """Another export is writing to the folder."""


class Exported(NamedTuple):
    """One table written: the file, or the folder of its partitions. `cut`: cells too long for XLSX."""

    path: Path
    table: str
    rows: int
    cut: int = 0


class _Column(NamedTuple):
    name: str
    type: str


class _Table(NamedTuple):
    schema: str
    name: str
    columns: tuple[_Column, ...]

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def source(self) -> str:
        return f"w.{quoting.name(self.schema)}.{quoting.name(self.name)}"

    @property
    def file(self) -> str:
        """Name of its file without ending: tables of marts go by their own name."""
        return re.sub(r"[^\w.-]", "_", self.name if self.schema == "marts" else self.label)


def export(
    attach: Attach, tables: Sequence[str], to: Path, form: Form, partition_by: Sequence[str] = ()
) -> list[Exported]:
    """Write `tables` (`schema.table`, or `table` of marts; none: all of marts) into the folder `to`.

    All are written aside first and then take the place of those of an earlier export of the same name and form;
    nothing else in the folder is touched. With `partition_by`, a table becomes a folder `table/column=value/…`.
    Raises NothingPublishedError, and ExportError before anything is replaced.
    """
    if form == "xlsx" and partition_by:
        raise ExportError("XLSX has one file per table: for partitions export CSV or Parquet")
    to = to.resolve()
    with attach(to / _ASIDE) as connection, _only_one(to) as aside:
        chosen = _chosen(connection, tables)
        for table in chosen:
            _check_partitions(connection, table, partition_by)
        written = [_write(connection, table, aside, form, partition_by) for table in chosen]
        for each in written:
            _check_place(to / each.path.name, form, is_folder=bool(partition_by))
        for each in written:
            _settle(each.path)
            _replace(each.path, to / each.path.name, aside)
        rawstore.sync_folder(to)
    return [each._replace(path=to / each.path.name) for each in written]


class Earlier(NamedTuple):
    """What an earlier export wrote: the table's file or folder, in which form, by what it is partitioned."""

    path: Path
    label: str
    form: Form
    partition_by: tuple[str, ...]


def earlier(attach: Attach, folder: Path) -> list[Earlier]:
    """What earlier exports wrote to a folder, as the names of files and folders say."""
    if not folder.is_dir():
        return []
    try:
        with attach(None) as connection:
            found = connection.execute(
                "select distinct schema_name, table_name from duckdb_columns()"
                " where database_name = 'w' and not internal"
            ).fetchall()
    except NothingPublishedError:
        return []
    known = {f"{schema}.{name}" for schema, name in found}
    ours = tuple(f"{schema}." for schema in {schema for schema, _ in found} - {"marts"})
    named = (each for path in folder.iterdir() if (each := _by_name(path)))
    return sorted(each for each in named if each.label in known or each.label.startswith(ours))


def _by_name(path: Path) -> Earlier | None:
    files = [path] if path.is_file() else sorted(below for below in path.rglob("*") if below.is_file())
    name = path.stem if path.is_file() else path.name
    for form in FORMS:
        if path.name != _ASIDE and files and files[0].suffix == f".{form}":
            parts = files[0].relative_to(path).parts[:-1]
            label = name if "." in name else f"marts.{name}"
            return Earlier(path, label, form, tuple(part.partition("=")[0] for part in parts))
    return None


def export_again(attach: Attach, folder: Path) -> None:
    """Write anew, from what is published now, all that earlier exports wrote to a folder; what cannot be written any
    more goes. Raises ExportBusyError."""
    if not folder.is_dir():
        return
    with _only_one(folder):  # clears away what an export left that was cut short
        pass
    for path, label, form, partition_by in earlier(attach, folder):
        try:
            export(attach, [label], folder, form, partition_by)
        except ExportBusyError:
            raise
        except ExportError:  # its table is gone, or has other columns
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            rawstore.sync_folder(folder)


@contextmanager
def _only_one(to: Path) -> Iterator[Path]:
    """A place aside, on the same disk; the kernel lets go of the lock when this process dies."""
    rawstore.make_folder(to)
    fd = os.open(to, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportBusyError(
                f"another export is writing to {to}: wait for it, or choose another folder"
            ) from None
        aside = to / _ASIDE
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
        try:
            yield aside
        finally:
            shutil.rmtree(aside)
    finally:
        os.close(fd)


def _chosen(connection: "DuckDBPyConnection", names: Sequence[str]) -> list[_Table]:
    rows = connection.execute("""
        select schema_name, table_name, list((column_name, data_type) order by column_index)
        from duckdb_columns() where database_name = 'w' and not internal
        group by schema_name, table_name order by schema_name <> 'marts', schema_name, table_name
    """).fetchall()
    known = {
        f"{schema}.{name}": _Table(schema, name, tuple(_Column(*column) for column in columns))
        for schema, name, columns in rows
    }
    wanted = [name if "." in name else f"marts.{name}" for name in names]
    if not names:
        wanted = [label for label, table in known.items() if table.schema == "marts"]
        if not wanted:
            raise ExportError("there are no marts in the published file yet: run `kobra run` first")
    if strange := [name for name in wanted if name not in known]:
        raise ExportError(f"there is no table {', '.join(strange)}; there are: {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(wanted)]


# ---------------------------------------------------------------- partitions


def _check_partitions(connection: "DuckDBPyConnection", table: _Table, partition_by: Sequence[str]) -> None:
    names = [column.name for column in table.columns]
    if strange := [name for name in partition_by if name not in names]:
        raise ExportError(f"{table.label} has no column {', '.join(strange)}; its columns: {', '.join(names)}")
    if not partition_by:
        return
    if len(set(partition_by)) != len(partition_by) or set(partition_by) == set(names):
        raise ExportError("partition by some of the columns, each once: the others are what the files hold")
    parts = ", ".join(map(quoting.name, partition_by))
    longest = ", ".join(f"length(url_encode({quoting.name(name)}::varchar))" for name in partition_by)
    found = connection.execute(f"""
        select count(*), max(greatest({longest}, 0)) from (select distinct {parts} from {table.source})
    """).fetchone()
    assert found is not None
    if found[0] > _PARTITIONS_MAX:
        raise ExportError(
            f"{table.label} would fall into {found[0]:,} partitions, more than {_PARTITIONS_MAX:,}: "
            "partition by a column with fewer values"
        )
    if (found[1] or 0) > _PARTITION_NAME_MAX:
        raise ExportError(f"{table.label} has values too long for the name of a folder: partition by another column")


# ---------------------------------------------------------------- writing aside


def _write(
    connection: "DuckDBPyConnection", table: _Table, aside: Path, form: Form, partition_by: Sequence[str]
) -> Exported:
    path = aside / (table.file if partition_by else f"{table.file}.{form}")
    match form:
        case "parquet":
            columns = ", ".join(quoting.name(column.name) for column in table.columns)
            rows = _copy(connection, f"select {columns} from {table.source}", path, form, partition_by)
        case "csv":
            rows = _copy(connection, _csv_query(table, partition_by), path, form, partition_by)
        case "xlsx":
            return _write_xlsx(connection, table, path)
        case _:
            assert_never(form)
    return Exported(path, table.label, rows)


def _copy(
    connection: "DuckDBPyConnection", query: str, path: Path, form: Literal["parquet", "csv"], parts: Sequence[str]
) -> int:
    options = {"parquet": "format parquet, compression zstd", "csv": "format csv, header"}[form]
    if parts:
        options += f", partition_by ({', '.join(map(quoting.name, parts))})"
        path.mkdir()  # a table without rows has no partition
    done = connection.execute(f"copy ({query}) to {quoting.literal(str(path))} ({options})").fetchone()
    assert done is not None
    return int(done[0])


def _csv_query(table: _Table, partition_by: Sequence[str]) -> str:
    """What to write: text made safe, and the mark at the very beginning of the first header."""
    first = next(column for column in table.columns if column.name not in partition_by)
    columns = []
    for column in table.columns:
        name = quoting.name(column.name)
        if column.name in partition_by:  # goes into the path, where DuckDB encodes it
            columns.append(name)
            continue
        header = (_BOM if column is first else "") + _safe(column.name)
        columns.append(f"{_csv_cell(name, column.type)} as {quoting.name(header)}")
    return f"select {', '.join(columns)} from {table.source}"


def _csv_cell(name: str, kind: str) -> str:
    if kind == _INSTANT:
        return f"timezone('UTC', {name})::varchar || 'Z'"
    return name if _PLAIN.fullmatch(kind) else _safe_sql(name)


def _safe_sql(name: str) -> str:
    text = f"{name}::varchar"
    return f"case when regexp_matches({text}, {quoting.literal(_RISKY)}) then '''' || {text} else {text} end"


def _safe(text: str) -> str:
    return f"'{text}" if _RISKY_PYTHON.match(text) else text


def _write_xlsx(connection: "DuckDBPyConnection", table: _Table, path: Path) -> Exported:
    import xlsxwriter  # noqa: PLC0415

    counted = connection.execute(f"select count(*) from {table.source}").fetchone()
    assert counted is not None
    rows = int(counted[0])
    if rows > _XLSX_ROWS or len(table.columns) > _XLSX_COLUMNS:
        raise ExportError(
            f"{table.label} has {rows:,} rows and {len(table.columns):,} columns; a sheet of XLSX holds "
            f"{_XLSX_ROWS:,} and {_XLSX_COLUMNS:,}: export CSV or Parquet, or filter it with SQL first"
        )
    (tmpdir := path.with_suffix(".tmp")).mkdir()
    options = {
        "constant_memory": True,
        "tmpdir": str(tmpdir),
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    with xlsxwriter.Workbook(str(path), options) as book:
        sheet = book.add_worksheet(_sheet_name(table.name))
        bold = book.add_format({"bold": True})
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, rows, len(table.columns) - 1)
        sheet.set_column(0, len(table.columns) - 1, 18)
        cells = _Cells(sheet, *(book.add_format({"num_format": form}) for form in _Cells.FORMATS))
        for at, column in enumerate(table.columns):
            name = f"{column.name} (UTC)" if column.type == _INSTANT else column.name
            cells.text(0, at, name, bold)
        writers = [cells.writer(column.type) for column in table.columns]
        connection.execute(f"select {', '.join(map(_xlsx_cell, table.columns))} from {table.source}")
        for number, row in enumerate(_rows(connection), 1):
            for at, value in enumerate(row):
                if value is not None:
                    writers[at](number, at, value)
    shutil.rmtree(tmpdir)
    return Exported(path, table.label, rows, cells.cut)


def _xlsx_cell(column: _Column) -> str:
    name = quoting.name(column.name)
    if column.type == _INSTANT:
        return f"timezone('UTC', {name})"
    return name if _PLAIN.fullmatch(column.type) else f"{name}::varchar"


def _rows(connection: "DuckDBPyConnection") -> Iterator[tuple[Any, ...]]:
    while batch := connection.fetchmany(5_000):
        yield from batch


def _sheet_name(name: str) -> str:
    """At most 31 characters, without those that Excel forbids, and not the one name that it keeps for itself."""
    cleaned = re.sub(r"[\[\]:*?/\\]", "_", name).strip("'")[:31].rstrip("'") or "table"
    return f"{cleaned}_"[-31:] if cleaned.lower() == "history" else cleaned


class _Cells:
    """The cells of one sheet. Text is never anything but text; what Excel cannot hold is written as text."""

    FORMATS = ("yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss", "hh:mm:ss")

    def __init__(self, sheet: Any, day: Any, moment: Any, clock: Any) -> None:  # XlsxWriter is not typed
        self.cut = 0
        self._sheet, self._day, self._moment, self._clock = sheet, day, moment, clock

    def writer(self, kind: str) -> Callable[[int, int, Any], object]:
        if kind == "BOOLEAN":
            return self._switch
        if kind.startswith(("DATE", "TIME")):
            return self._when
        return self._number if _PLAIN.fullmatch(kind) else self.text

    def text(self, row: int, at: int, value: str, style: Any = None) -> None:
        text = _safe(value)
        if text.startswith("<r>") and text.endswith("</r>"):  # XlsxWriter puts such a text into the XML as it stands
            text = f"'{text}"
        if len(text) * 2 > _XLSX_CELL and (units := len(encoded := text.encode("utf-16-le")) // 2) > _XLSX_CELL:
            note = f" [cut: {units:,} characters]"
            text = encoded[: 2 * (_XLSX_CELL - len(note))].decode("utf-16-le", "ignore") + note
            self.cut += 1
        self._sheet.write_string(row, at, text, style)

    def _switch(self, row: int, at: int, value: bool) -> None:
        self._sheet.write_boolean(row, at, value)

    def _number(self, row: int, at: int, value: int | float | Decimal) -> None:
        number = Decimal(value) if isinstance(value, int) else value
        fits = number == number and abs(number) != float("inf")  # noqa: PLR0124 - not a number is not itself
        if fits and isinstance(number, Decimal):
            fits = len(number.normalize().as_tuple().digits) <= _EXCEL_DIGITS
        if fits:
            self._sheet.write_number(row, at, value)
        else:
            self._sheet.write_string(row, at, str(value))

    def _when(self, row: int, at: int, value: datetime | date | time | str) -> None:
        """DuckDB gives a date outside of years 1 to 9999 as text; Excel begins in 1900."""
        if isinstance(value, time):
            self._sheet.write_datetime(row, at, value, self._clock)
        elif isinstance(value, datetime) and value.date() >= _EXCEL_EPOCH:
            self._sheet.write_datetime(row, at, value.replace(tzinfo=None), self._moment)
        elif isinstance(value, date) and not isinstance(value, datetime) and value >= _EXCEL_EPOCH:
            self._sheet.write_datetime(row, at, value, self._day)
        else:
            self._sheet.write_string(row, at, str(value))


# ---------------------------------------------------------------- into place


def _check_place(place: Path, form: Form, *, is_folder: bool) -> None:
    """Only an earlier export of the same form is ever replaced."""
    if not place.exists():
        return
    if not is_folder and place.is_dir():
        raise ExportError(f"{place} is a folder: move it away, the export writes a file of that name")
    if is_folder and not _is_partitioned(place, form):
        raise ExportError(f"{place} holds other things than such an export: move it away, or choose another folder")


def _is_partitioned(place: Path, form: Form) -> bool:
    return place.is_dir() and all(
        "=" in path.relative_to(place).parts[0] and (path.is_dir() or path.suffix == f".{form}")
        for path in place.rglob("*")
    )


def _settle(path: Path) -> None:
    """Put what was written on disk, and let nobody but its owner read it."""
    for each in [*(path.rglob("*") if path.is_dir() else ()), path]:
        each.chmod(0o700 if each.is_dir() else 0o600)
        fd = os.open(each, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _replace(new: Path, place: Path, aside: Path) -> None:
    if place.is_dir():
        place.rename(aside / f"{place.name}.old")  # goes with the rest of what is aside
    new.rename(place)
