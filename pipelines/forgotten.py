"""Who is forgotten: marks that name nobody, by which what landed, lands or is brought in again is known and erased.

A mark is an HMAC-SHA256 of an account, a phone, an e-mail address or a visit, under a random key of this home:

    KOBRA_HOME/erasure/key          the key, readable for the owner alone; without it the marks say nothing
    KOBRA_HOME/erasure/marks        one mark a line; they stay for good, or what is sent again would come back
    KOBRA_HOME/erasure/unfinished   there while an erasure is not in the published file yet: the next run goes on.
                                    Holds the word `erased` once only building and publishing is left
    KOBRA_HOME/erasure/rewrite      there while the working file holds remains of what was blanked

Whoever has key and marks can ask whether a given person was forgotten, and nothing else.

Marks go to disk first, then segments are rewritten, then rows go, then the database file is written anew: whatever
is cut short, a later run finds what is left to do by the marks alone.
"""

import hmac
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from pipelines import meta, quoting, transaction
from pipelines.contract import EMAILS, PHONES, TABLES
from pipelines.faults import FaultError
from pipelines.reading import Visit, read_body
from receiver import rawstore
from receiver.rawstore import Delivery, Erased, Landed

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

log = logging.getLogger(__name__)

Kind = Literal["account", "phone", "email", "visit"]
ANY_SOURCE = ""
_VISIT_TABLES = [
    name for name, table in TABLES.items() if {"source", "visit_id"} <= {column.name for column in table.columns}
]
_ROWS_AT_ONCE = 50_000


class MarksError(FaultError):
    """The marks cannot be read: nothing is loaded, or who was forgotten would come back."""


class Known(NamedTuple):
    """Something by which a person is known. Phones and e-mail addresses may be of any source."""

    kind: Kind
    source: str
    value: str


def phone(text: str, source: str = ANY_SOURCE) -> Known:
    """A phone is its digits: spelt with or without + and punctuation it is the same."""
    return Known("phone", source, re.sub("[^0-9]", "", text))


def email(text: str, source: str = ANY_SOURCE) -> Known:
    """An address in any case is the same."""
    return Known("email", source, text.strip().lower())


class Found(NamedTuple):
    """What was found of forgotten persons in some segments: the files, the visits, how many deliveries."""

    files: list[Path]
    visits: set[tuple[str, str]]
    deliveries: int


class Swept(NamedTuple):
    """What was erased: deliveries and in how many segments, visits, files left beside the segments."""

    deliveries: int = 0
    segments: int = 0
    visits: int = 0
    leftovers: int = 0


class _Person(msgspec.Struct):
    """What a visit, straightened as the load reads it, says of whom it concerns."""

    account: msgspec.Raw = msgspec.field(name="externalID", default=msgspec.Raw(b"null"))
    phones: Any = None
    emails: Any = None


assert (PHONES, EMAILS) == ("phones", "emails")
_person = msgspec.json.Decoder(_Person, float_hook=str).decode
_text = msgspec.json.Decoder(str).decode


def concerned(source: str, visit: Visit) -> Iterator[Known]:
    """All by which the person is known whom a visit concerns."""
    person = _person(visit.body)
    account = bytes(person.account)
    if account != b"null":
        yield Known("account", source, _text(account) if account.startswith(b'"') else account.decode())
    for text in _texts(person.phones):
        yield phone(text, source)
    for text in _texts(person.emails):
        yield email(text, source)


def _texts(value: Any) -> Iterator[str]:
    """Every text and number within: an item may be an object with the text under some key."""
    within = [value]
    while within:
        match within.pop():
            case str(text):
                yield text
            case dict(fields):
                within += fields.values()
            case list(items):
                within += items
            case bool() | None:
                pass
            case number:
                yield str(number)


class Forgotten:
    """The marks of a home, and what has to be done because of them. All but reading is done under the lock."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "erasure"
        self._key_file, self._file = self._folder / "key", self._folder / "marks"
        self._unfinished, self._rewrite = self._folder / "unfinished", self._folder / "rewrite"
        self._marks = _read_marks(self._file)
        self._kinds = {mark.partition(" ")[0] for mark in self._marks}
        self._key = self._read_key() if self._marks else b""

    def __bool__(self) -> bool:
        """Whether anybody is forgotten."""
        return bool(self._marks)

    def _read_key(self) -> bytes:
        try:
            key = bytes.fromhex(self._key_file.read_text())
        except (FileNotFoundError, ValueError):
            key = b""
        if len(key) != 32:
            raise MarksError(
                f"{self._key_file} is not what it was: put it back from a backup. Without it nobody who was "
                "forgotten can be told from others, so nothing is loaded."
            )
        return key

    # ------------------------------------------------------------ marks

    def add(self, known: Iterable[Known]) -> None:
        """Forget these for good: on return their marks are on disk."""
        rawstore.make_folder(self._folder)
        if not self._key:
            if not self._key_file.exists():
                rawstore.put(self._key_file, os.urandom(32).hex())
            self._key = self._read_key()
        marks = {self._mark(each) for each in known}
        if marks <= self._marks:
            return
        self._marks |= marks
        self._kinds |= {mark.partition(" ")[0] for mark in marks}
        rawstore.put(self._file, "".join(f"{mark}\n" for mark in sorted(self._marks)))

    def _mark(self, known: Known) -> str:
        return f"{known.kind} {hmac.digest(self._key, json.dumps(known).encode(), 'sha256').hex()}"

    def has(self, known: Known) -> bool:
        """Whether this is forgotten."""
        if known.kind not in self._kinds:
            return False
        return self._mark(known) in self._marks or (
            known.kind in ("phone", "email") and self._mark(known._replace(source=ANY_SOURCE)) in self._marks
        )

    def visit_of(self, delivery: Delivery) -> tuple[str, str] | None:
        """The visit (source, visit_id) that a delivery of a forgotten person brings; None for any other."""
        visit = read_body(delivery)
        if not isinstance(visit, Visit):  # nobody can say whose it is
            return None
        key = delivery.source, visit.visit_id
        try:
            is_theirs = self.has(Known("visit", *key)) or any(map(self.has, concerned(delivery.source, visit)))
        except RecursionError:  # nested as deep as can just be read
            is_theirs = False
        return key if is_theirs else None

    def keeps_out(self, source: str, body: bytes) -> bool:
        """Whether a body that is to be landed is a forgotten person's. Its visit is, too, from now on."""
        visit = self.visit_of(rawstore.delivery("", "", source, body))
        if visit:
            self.add([Known("visit", *visit)])
        return visit is not None

    # ------------------------------------------------------------ raw segments

    def find(self, files: Iterable[Path]) -> Found:
        """Find their deliveries; all versions of their visits are theirs, also those that do not say so."""
        files = list(files)
        found, fresh = self._look(files)
        if not fresh:
            return found
        self.add(Known("visit", *visit) for visit in fresh)
        return self._look(files)[0]

    def _look(self, files: Iterable[Path]) -> tuple[Found, set[tuple[str, str]]]:
        """What is found by the marks as they are, and the visits among it that have none of their own yet."""
        theirs, visits, fresh, deliveries = list[Path](), set[tuple[str, str]](), set[tuple[str, str]](), 0
        for path in files:
            before = deliveries
            for delivery in deliveries_in(path):
                visit = self.visit_of(delivery)
                if visit is None:
                    continue
                deliveries += 1
                if visit not in visits and not self.has(Known("visit", *visit)):
                    fresh.add(visit)
                visits.add(visit)
            if deliveries > before:
                theirs.append(path)
        return Found(theirs, visits, deliveries), fresh

    def keep_out(self, connection: "DuckDBPyConnection", raw: Path, waiting: Iterable[Path]) -> None:
        """Erase what came of forgotten persons before it is loaded, or go on with an erasure that was cut short."""
        if not self:
            return
        if self.is_unfinished and not self.is_erased:
            self.erase(connection, raw)
            return
        found = self.find(file for path in waiting for file in rawstore.files_of(path))
        if found.visits and _are_loaded(connection, found.visits):  # other versions, that did not say whose they are
            self.begin()
            self.erase(connection, raw)
            return
        if swept := self._sweep(found.files):
            log.warning("%d deliveries of forgotten persons were erased before they were loaded", swept.total())

    def _sweep(self, files: Iterable[Path]) -> Counter[str]:
        """Erase their deliveries from files of closed segments; how many, by segment."""
        swept = Counter[str]()
        for path in files:
            if erased := rawstore.erase_records(path, lambda delivery: self.visit_of(delivery) is not None):
                swept[rawstore.identity(path)] = erased
        return swept

    def erase(self, connection: "DuckDBPyConnection", raw: Path) -> Swept:
        """Erase all that is theirs, and can be attributed to them, from the raw store and the working file's rows."""
        visits = self._loaded(connection)
        self.add(Known("visit", *visit) for visit in visits)
        found = self.find([*closed_files(raw), *rawstore.opened(raw)])
        swept = self._sweep(path for path in found.files if not path.name.endswith(rawstore.OPEN))
        leftovers = rawstore.remove_leftovers(raw)
        self._remove(connection, visits | found.visits, raw)
        rawstore.put(self._unfinished, "erased")
        return Swept(swept.total(), len(swept), len(visits | found.visits), leftovers)

    # ------------------------------------------------------------ the working file

    def _loaded(self, connection: "DuckDBPyConnection") -> set[tuple[str, str]]:
        """The forgotten visits of which anything is loaded, known by whatever is loaded of them."""
        # All tables: a load that was cut short may have written the answers of a visit and not the visit.
        every = " union ".join(f"select source, visit_id from kobra.{name}" for name in _visit_tables(connection))
        queries: dict[Kind, str] = {
            "visit": f"select source, visit_id, visit_id from ({every}) where visit_id is not null",
            "account": "select source, visit_id, account_id from kobra.visits where account_id is not null",
            "phone": f"select source, visit_id, normalised from kobra.{PHONES} where normalised is not null",
            "email": f"select source, visit_id, normalised from kobra.{EMAILS} where normalised is not null",
        }
        found = set[tuple[str, str]]()
        for kind, query in queries.items():
            if kind not in self._kinds:
                continue
            connection.execute(query)
            while batch := connection.fetchmany(_ROWS_AT_ONCE):
                for source, visit_id, value in batch:
                    if self.has(phone(value, source) if kind == "phone" else Known(kind, source, value)):
                        found.add((source, visit_id))
        return found

    def _remove(self, connection: "DuckDBPyConnection", visits: set[tuple[str, str]], raw: Path) -> None:
        """Remove the rows of visits and of erased deliveries, and let nothing hold that was built of them."""
        erased, segments = _erased(raw)
        names = {name for schema, name in _tables(connection) if schema == "kobra"}
        with transaction.whole(connection):
            _list(connection, "gone", ("source", "visit_id"), visits)
            _list(connection, "erased", ("delivery_id",), [(each,) for each in erased])
            for name in _visit_tables(connection):
                connection.execute(f"delete from kobra.{name} where (source, visit_id) in (from temp.gone)")
            for name in ("deliveries", "rejects"):
                connection.execute(f"delete from kobra.{name} where delivery_id in (from temp.erased)")
            if "segments" in names:
                for name, figures in segments.items():
                    connection.execute(
                        "update kobra.segments set lines = ?, bytes = ?, damaged = ? where segment = ?",
                        [*figures, name],
                    )
            if visits or erased:
                meta.outdate(connection, anew=True)
            connection.execute("drop table temp.gone; drop table temp.erased")

    def clean(self, connection: "DuckDBPyConnection") -> None:
        """Remove what a finished build leaves of visits that are gone."""
        there = _tables(connection)
        if self.is_unfinished and ("meta", "visits_built") in there:
            connection.execute(
                "delete from meta.visits_built where (source, visit_id) not in"
                " (select (source, visit_id) from kobra.visits)"
            )
        if self.is_unfinished and ("wide", "columns") in there:  # a question that nobody else was asked
            connection.execute("delete from wide.columns where not is_present")
        for schema, name in there:
            if schema == "kobra_staging" and not name.startswith("_dlt"):
                connection.execute(f"delete from kobra_staging.{quoting.name(name)}")

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
        rawstore.make_folder(self._folder)
        rawstore.put(path, "")

    def end(self) -> None:
        """Note that all is done."""
        for path in (self._rewrite, self._unfinished):
            path.unlink(missing_ok=True)
        rawstore.sync_folder(self._folder)


def files(home: Path) -> list[Path]:
    """The files that say whether there is something to do."""
    return [home / "erasure" / name for name in ("key", "marks", "unfinished", "rewrite", "retention.json")]


def closed_files(raw: Path) -> list[Path]:
    """Every file of every closed segment."""
    return [file for path in rawstore.closed(raw).values() for file in rawstore.files_of(path)]


def deliveries_in(path: Path) -> Iterator[Delivery]:
    """The deliveries of a segment, which may be closed while this begins."""
    if path.name.endswith(rawstore.OPEN) and not path.exists():
        path = path.with_name(rawstore.identity(path) + rawstore.CLOSED)
    return (found.delivery for found in rawstore.read_segment(path) if isinstance(found, Landed))


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


def _are_loaded(connection: "DuckDBPyConnection", visits: set[tuple[str, str]]) -> bool:
    _list(connection, "gone", ("source", "visit_id"), visits)
    query = "select count(*) from kobra.deliveries semi join temp.gone using (source, visit_id)"
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


def _visit_tables(connection: "DuckDBPyConnection") -> list[str]:
    there = {name for schema, name in _tables(connection) if schema == "kobra"}
    return [name for name in _VISIT_TABLES if name in there]


def _tables(connection: "DuckDBPyConnection") -> list[tuple[str, str]]:
    return connection.execute(
        "select schema_name, table_name from duckdb_tables() where database_name = current_database()"
    ).fetchall()


def _read_marks(path: Path) -> set[str]:
    try:
        return set(path.read_text().split("\n")) - {""}
    except FileNotFoundError:
        return set()
