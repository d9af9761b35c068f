"""Erase what is marked: from the raw store, from the rows of the working file, and from whatever comes later.

    KOBRA_HOME/erasure/unfinished   there while an erasure is not in the published file yet: the next run goes on.
                                    Holds the word `erased` once only building and publishing is left
    KOBRA_HOME/erasure/rewrite      there while the working file holds remains of what was blanked
    KOBRA_HOME/erasure/swept        the partitions that hold nothing that is marked, as their files were then: what a
                                    backup brings back is other files, and is swept again

Marks go to disk first, then segments are rewritten, then rows go, then the database file is written anew: whatever
is cut short, a later run finds what is left to do by the marks alone.
"""

import json
import logging
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines import quoting
from pipelines.build import mappings
from pipelines.contract import EMAILS, LANDED, PHONES
from pipelines.load import crash_guard
from pipelines.privacy.marks import Identifier, Marks, account
from pipelines.warehouse import state, transaction
from pipelines.warehouse.home import Home
from receiver import rawstore
from receiver.rawstore import Delivery, Erased, Landed

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

log = logging.getLogger(__name__)

Visits = set[tuple[str, str]]
_VISIT_TABLES = [
    name for name, table in LANDED.items() if {"source", "visit_id"} <= {column.name for column in table.columns}
]
_ROWS_AT_ONCE = 50_000


class Found(NamedTuple):
    """What was found of erased persons in files of the raw store: the files, the visits, how many deliveries, and how
    many of them have no visit id."""

    files: list[Path]
    visits: Visits
    deliveries: int
    without_visit: int


class Swept(NamedTuple):
    """What was erased: deliveries and in how many files, visits, files that were left beside segments."""

    deliveries: int = 0
    segments: int = 0
    visits: int = 0
    leftovers: int = 0


def marks_of(home: Home) -> Marks:
    """The marks of a home, asked by its settings."""
    return Marks(home.path, mappings.region_of(home.mappings), crash_guard.quarantined(home.warehouse))


def files(home: Home) -> list[Path]:
    """The files that say whether there is something to do."""
    return [home.erasure / name for name in ("key", "marks", "unfinished", "rewrite", "swept", "retention.json")]


def digest(home: Home) -> str | None:
    """A digest of the marks of erased persons; None where there are none."""
    try:
        return sha256((home.erasure / "marks").read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


class Erasure:
    """What has to be done because of the marks of a home, and how far it is. Hold the lock of the warehouse."""

    def __init__(self, home: Home) -> None:
        folder = home.erasure
        self.marks = marks_of(home)
        self._raw = home.raw
        self._warehouse = home.warehouse
        self._unfinished, self._rewrite, self._swept = folder / "unfinished", folder / "rewrite", folder / "swept"

    # ------------------------------------------------------------ the raw store

    def find(self, paths: Iterable[Path], marks: Marks | None = None) -> Found:
        """Find their deliveries; all versions of their visits are theirs, also those that do not say so."""
        marks, paths = marks or self.marks, list(paths)
        with crash_guard.Note(self._warehouse) as note:
            found, fresh = self._look(paths, marks, note)
            if fresh:
                marks.add(Identifier("visit", *visit) for visit in fresh)
                found, _ = self._look(paths, marks, note)
        return found

    def _look(self, paths: Iterable[Path], marks: Marks, note: crash_guard.Note) -> tuple[Found, Visits]:
        """What is found by the marks as they are, and the visits among it that have none of their own yet."""
        with_some, visits, deliveries, without_visit = list[Path](), Visits(), 0, 0
        for path in paths:
            note.begin(path)
            before = deliveries
            for delivery in deliveries_in(path):
                if theirs := marks.theirs(delivery):
                    deliveries += 1
                    without_visit += not theirs.visit_ids
                    visits |= {(theirs.source, visit_id) for visit_id in theirs.visit_ids}
            if deliveries > before:
                with_some.append(path)
            note.end([path])
        fresh = {visit for visit in visits if not marks.has_visit(*visit)}
        return Found(with_some, visits, deliveries, without_visit), fresh

    def _sweep(self, paths: Iterable[Path]) -> Counter[Path]:
        """Erase their deliveries from files of closed segments; how many, by file."""
        swept = Counter[Path]()
        for path in paths:
            if erased := rawstore.erase_records(path, lambda delivery: self.marks.theirs(delivery) is not None):
                swept[path] = erased
        return swept

    def keep_out(self, connection: "DuckDBPyConnection", waiting: Iterable[Path]) -> None:
        """Erase what came of erased persons before it is loaded, or go on with an erasure that was cut short."""
        if not self.marks:
            return
        if self.is_unfinished and not self.is_erased:
            self.erase(connection)
            return
        waiting = {file for path in waiting for file in rawstore.files_of(path)}
        returned = {file for file in unswept(self._raw, self._swept) if file not in waiting}
        found = self.find(sorted(waiting | returned))
        if found.visits and _are_loaded(connection, found.visits):  # other versions, that did not say whose they are
            self.begin()
            self.erase(connection)
            return
        swept = self._sweep(found.files)
        if back := sum(count for path, count in swept.items() if path in returned):
            log.warning("%d deliveries of erased persons had come back, and were erased again", back)
        if new := swept.total() - back:
            log.warning("%d deliveries of erased persons were erased before they were loaded", new)
        self.note_swept()

    def keeps_out(self, source: str, body: bytes) -> bool:
        """Whether a body that is to be landed is an erased person's. Its visit is, too, from now on."""
        theirs = self.marks.theirs(rawstore.delivery("", "", source, body))
        if theirs:
            self.marks.add(Identifier("visit", source, visit_id) for visit_id in theirs.visit_ids)
        return theirs is not None

    def erase(self, connection: "DuckDBPyConnection") -> Swept:
        """Erase all that is theirs, and can be attributed to them, from the raw store and the working file's rows."""
        visits = loaded_visits(connection, self.marks)
        self.marks.add(Identifier("visit", *visit) for visit in visits)
        found = self.find([*closed_files(self._raw), *rawstore.opened(self._raw)])
        swept = self._sweep(path for path in found.files if not path.name.endswith(rawstore.OPEN))
        leftovers = rawstore.remove_leftovers(self._raw)
        self.note_swept()
        self._remove(connection, visits | found.visits)
        rawstore.put(self._unfinished, "erased")
        return Swept(swept.total(), len(swept), len(visits | found.visits), leftovers)

    def note_swept(self) -> None:
        """Note that the closed files hold nothing that is marked, those apart that wait to be loaded."""
        if self.marks:
            rawstore.put(self._swept, json.dumps(_digests(self._raw)))

    # ------------------------------------------------------------ the working file

    def _remove(self, connection: "DuckDBPyConnection", visits: Visits) -> None:
        """Remove the rows of visits and of erased deliveries, and let nothing hold that was built of them."""
        erased, segments = _erased(self._raw)
        there = _landed(connection)
        with transaction.whole(connection):
            for schema in diverted(connection):
                connection.execute(f"drop schema {quoting.name(schema)} cascade")
            _list(connection, "gone", ("source", "visit_id"), visits)
            _list(connection, "erased", ("delivery_id",), [(each,) for each in erased])
            for name in there.intersection(_VISIT_TABLES):
                connection.execute(f"delete from landed.{name} where (source, visit_id) in (from temp.gone)")
            for name in there - {"segments"}:
                connection.execute(f"delete from landed.{name} where delivery_id in (from temp.erased)")
            if "segments" in there:
                for name, figures in segments.items():
                    connection.execute(
                        "update landed.segments set lines = ?, bytes = ?, damaged = ? where segment = ?",
                        [*figures, name],
                    )
            if visits or erased:
                state.forget_build(connection)
            connection.execute("drop table temp.gone; drop table temp.erased")

    def clean(self, connection: "DuckDBPyConnection") -> None:
        """Remove what a finished build leaves of visits that are gone."""
        if self.is_unfinished and ("wide", "columns") in tables(connection):  # a question that nobody else was asked
            connection.execute("delete from wide.columns where not is_present")

    # ------------------------------------------------------------ how far it is

    @property
    def is_unfinished(self) -> bool:
        """Whether an erasure has begun that is not in the published file yet."""
        return self._unfinished.exists()

    @property
    def is_erased(self) -> bool:
        """Whether of an unfinished erasure only building and publishing is left."""
        return self.is_unfinished and self._unfinished.read_text() == "erased"

    @property
    def wants_rewrite(self) -> bool:
        """Whether the working file holds bytes of what is gone from its tables."""
        return self.is_unfinished or self._rewrite.exists()

    def begin(self) -> None:
        """Note that an erasure has begun: until it is finished, every run goes on with it."""
        self._note(self._unfinished)

    def begin_rewrite(self) -> None:
        """Note that the working file has to be written anew before it is published."""
        self._note(self._rewrite)

    def _note(self, path: Path) -> None:
        rawstore.make_folder(path.parent)
        rawstore.put(path, "")

    def end(self) -> None:
        """Note that all is done."""
        for path in (self._rewrite, self._unfinished):
            path.unlink(missing_ok=True)
        rawstore.sync_folder(self._unfinished.parent)


# ---------------------------------------------------------------- files of the raw store


def closed_files(raw: Path) -> list[Path]:
    """Every file of every closed segment, and the copies that were set aside."""
    closed = [file for path in rawstore.closed(raw).values() for file in rawstore.files_of(path)]
    return closed + rawstore.set_aside_in(raw)


def deliveries_in(path: Path) -> Iterator[Delivery]:
    """The deliveries of a segment, which may be closed while this begins."""
    if path.name.endswith(rawstore.OPEN) and not path.exists():
        path = path.with_name(rawstore.identity(path) + rawstore.CLOSED)
    return (found.delivery for found in rawstore.read_segment(path) if isinstance(found, Landed))


def unswept(raw: Path, note: Path) -> list[Path]:
    """The closed files of partitions that are not as they were when they were swept."""
    try:
        known = json.loads(note.read_text())
    except (FileNotFoundError, ValueError):
        known = {}
    now = _digests(raw)
    return [path for path in closed_files(raw) if known.get(path.parent.name) != now.get(path.parent.name)]


def _digests(raw: Path) -> dict[str, int]:
    """What changes for a partition when one of its closed files does: erasing makes a file shorter, and newer."""
    digests = dict[str, int]()
    for path in sorted(closed_files(raw)):
        stat = path.stat()
        told = f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n"
        digests[path.parent.name] = zlib.crc32(told.encode(), digests.get(path.parent.name, 0))
    return digests


def _erased(raw: Path) -> tuple[list[str], dict[str, tuple[int, int, int]]]:
    """Ids of all erased deliveries; of the segments that held them, what the load counts: lines, bytes, damaged."""
    ids, segments = list[str](), dict[str, tuple[int, int, int]]()
    for name, path in rawstore.closed(raw).items():
        here, lines, size, damaged = list[str](), 0, 0, 0
        for found in rawstore.read_segment(path):
            if isinstance(found, Erased):
                here.append(found.delivery_id)
            elif isinstance(found, Landed):
                lines += 1
                size += found.delivery.size
            else:
                damaged += found.records
        if here:
            ids += here
            segments[name] = lines, size, damaged
    return ids, segments


# ---------------------------------------------------------------- rows of the working file


def loaded_visits(connection: "DuckDBPyConnection", marks: Marks) -> Visits:
    """The visits of erased persons of which anything is loaded, known by whatever is loaded of them."""
    asked: dict[tuple[str, str], _IsMarked] = {
        ("visits", "account_id"): lambda value, source: marks.has(account(value, source)),
        (PHONES, "value"): marks.has_phone,
        (EMAILS, "value"): marks.has_email,
    }
    # All tables: a load that was cut short may have written the answers of a visit and not the visit.
    for table in _VISIT_TABLES:
        asked[table, "visit_id"] = lambda value, source: marks.has_visit(source, value)
    there = _landed(connection)
    return {
        visit
        for (table, column), is_marked in asked.items()
        if table in there
        for visit in _marked(connection, table, column, is_marked)
    }


_IsMarked = Callable[[str, str], bool]


def _marked(
    connection: "DuckDBPyConnection", table: str, column: str, is_marked: _IsMarked
) -> Iterator[tuple[str, str]]:
    """The visits of a landed table in which a value of a column is marked."""
    connection.execute(
        f"select distinct source, visit_id, {column} from landed.{table}"
        f" where visit_id is not null and {column} is not null"
    )
    while batch := connection.fetchmany(_ROWS_AT_ONCE):
        yield from ((source, visit_id) for source, visit_id, value in batch if is_marked(value, source))


def rows_of(connection: "DuckDBPyConnection", visits: Visits) -> dict[str, int]:
    """How many rows each public table of the working file has of these visits; tables without any are left out."""
    _list(connection, "gone", ("source", "visit_id"), visits)
    counted = {}
    found = connection.execute(
        "select schema_name, table_name from duckdb_columns() where database_name = current_database()"
        " and column_name in ('source', 'visit_id') and schema_name in ('landed', 'kobra', 'marts', 'wide')"
        " group by all having count(*) = 2 order by all"
    ).fetchall()
    for schema, name in found:
        place = f"{quoting.name(schema)}.{quoting.name(name)}"
        row = connection.execute(
            f"select count(*) from {place} where (source, visit_id) in (select (source, visit_id) from temp.gone)"
        ).fetchone()
        if row and row[0]:
            counted[f"{schema}.{name}"] = int(row[0])
    connection.execute("drop table temp.gone")
    return counted


def diverted(connection: "DuckDBPyConnection") -> list[str]:
    """The schemas that dlt wrote by other settings than ours: copies of what was loaded, where nobody looks."""
    found = connection.execute(
        "select distinct schema_name from duckdb_tables() where database_name = current_database()"
        " and table_name like '\\_dlt\\_%' escape '\\' and schema_name <> 'landed' order by all"
    ).fetchall()
    return [schema for (schema,) in found]


def _are_loaded(connection: "DuckDBPyConnection", visits: Visits) -> bool:
    if "deliveries" not in _landed(connection):
        return False
    _list(connection, "gone", ("source", "visit_id"), visits)
    query = "select count(*) from landed.deliveries semi join temp.gone using (source, visit_id)"
    found = connection.execute(query).fetchone()
    connection.execute("drop table temp.gone")
    return found != (0,)


def _list(
    connection: "DuckDBPyConnection", name: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]
) -> None:
    rows = list(rows)
    connection.execute(
        f"create or replace temp table {name} ({', '.join(f'{column} varchar' for column in columns)})"
    )
    if rows:
        connection.execute(
            f"insert into temp.{name} select {', '.join(['unnest(?)'] * len(columns))}",
            [list(column) for column in zip(*rows, strict=True)],
        )


def _landed(connection: "DuckDBPyConnection") -> set[str]:
    """The landed tables that are there: none before the first load."""
    return {name for schema, name in tables(connection) if schema == "landed"}.intersection(LANDED)


def tables(connection: "DuckDBPyConnection") -> list[tuple[str, str]]:
    """Schema and name of every table of the working file."""
    return connection.execute(
        "select schema_name, table_name from duckdb_tables() where database_name = current_database()"
    ).fetchall()
