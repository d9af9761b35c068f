"""Forget a person: in the raw store, the tables, the exports, and whatever comes later.

A person is every delivery of every visit of which some version has the account, or has the phone or the e-mail
address among its phones or e-mails, and every delivery that cannot be read as a visit and holds the phone, the
address, or the account under its name. Other texts are not searched: a name in a comment on somebody else's visit
stays. Where only the bare id of an account stands in what cannot be read, it is counted, and erased on demand.

What is promised once `forget` has come to its end, or the run that went on with it: no file of ours under KOBRA_HOME
holds a byte of what was sent of the person, in a segment, in a database file, in what `kobra export` wrote to its
usual folder, or in what was left beside them; and nothing of it comes back by a rebuild, a restore, an import, a
redelivery or another visit of that account. A segment that the receiver is still writing is rewritten by the run
that loads it.

What is not: backups and copies elsewhere, exports in other folders, readers that have the old file open, the disk's
own free blocks, the customer's files in inputs/ and mappings/.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pipelines import identity
from pipelines.build import inputs
from pipelines.load import crash_guard, segments
from pipelines.load.parse import Reject, read_body
from pipelines.privacy import sweep
from pipelines.privacy.marks import ANY_SOURCE, Identifier, Marks, account, emails, phones
from pipelines.privacy.sweep import Erasure, Found, Swept
from pipelines.privacy.texts import forms
from pipelines.publish import export
from pipelines.publish.export import Earlier
from pipelines.publish.published import attached
from pipelines.warehouse import database
from pipelines.warehouse.home import Home
from receiver import rawstore
from receiver.rawstore import Damage, Delivery

log = logging.getLogger(__name__)


class Persons(NamedTuple):
    """Who is to be forgotten, as asked: `source` is whose accounts they are, and whose phones and addresses; None:
    those of every source."""

    accounts: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    source: str | None = None


@dataclass
class Search:
    """What was searched, what was found by place, and what could not be looked into. Figures and names of our own
    files alone: they say nothing of the person."""

    segments: int = 0
    asides: int = 0
    torn: int = 0
    tables: int = 0
    raw: Found = field(default_factory=lambda: Found([], set(), 0, 0))
    rows: dict[str, int] = field(default_factory=dict)
    exports: list[str] = field(default_factory=list)
    diverted: list[str] = field(default_factory=list)
    being_written: int = 0  # deliveries in segments that the receiver is still writing
    mentioned: int = 0  # unreadable deliveries and damaged stretches in which the bare id of an account stands
    damaged: list[Damage] = field(default_factory=list)
    unread: int = 0  # deliveries in quarantine
    input_rows: dict[str, int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found that an erasure would change."""
        return not (self.raw.deliveries or self.rows or self.diverted or self.being_written)

    def lines(self) -> Iterator[str]:
        """For the screen."""
        yield (
            f"searched: {self.segments:,} segment(s), {self.asides} copies set aside, {self.torn} torn end(s), "
            f"{self.tables} table(s) of the working file, {len(self.exports)} export(s), inputs/"
        )
        visits = len(self.raw.visits)
        yield f"found: {self.raw.deliveries} deliveries of {visits} visit(s) in {len(self.raw.files)} raw file(s)"
        if self.raw.without_visit:
            yield f"found: {self.raw.without_visit} of these have no visit id, or cannot be read as a visit"
        for table, rows in self.rows.items():
            yield f"found: {rows} row(s) of {table}"
        if self.diverted:
            yield f"found: {len(self.diverted)} schema(s) that a load wrote by settings of another program"
        if self.being_written:
            yield (
                f"found: {self.being_written} deliveries in segments that are still being written: "
                "the kobra run that loads them erases them"
            )
        if self.exports:
            yield f"exports are written anew: {', '.join(self.exports)}"
        yield from self._not_looked_into()

    def _not_looked_into(self) -> Iterator[str]:
        if self.mentioned:
            yield (
                f"not sure: {self.mentioned} rejected or damaged deliveries have the id of the account in them "
                "and may be of somebody else: --rejects erases them as well"
            )
        for damage in self.damaged:
            yield f"not looked into: {damage.segment} is damaged at offset {damage.offset}"
        if self.unread:
            yield f"not looked into: {self.unread} deliveries in quarantine, of which a reader died"
        for name, rows in self.input_rows.items():
            yield (f"not ours: inputs/{name} has {rows} row(s) of the account: remove them, then run this again")


class Forgot(NamedTuple):
    """What was erased. Figures alone: they say nothing of the person."""

    swept: Swept
    exports: int  # written anew
    mentioned: int  # unreadable deliveries with a bare id, erased on demand

    def line(self) -> str:
        """For the screen."""
        also = f" and {self.mentioned} rejected or damaged ones" if self.mentioned else ""
        return (
            f"erased: {self.swept.deliveries} deliveries of {self.swept.visits} visit(s){also} in "
            f"{self.swept.segments} segment(s), {self.swept.leftovers} file(s) left beside segments; "
            f"{self.exports} export(s) written anew"
        )


# ---------------------------------------------------------------- searching


def search(home: Home, persons: Persons) -> Search:
    """Look for persons everywhere and change nothing but what every run does with what others left. Hold the lock."""
    segments.tidy(home)
    erasure = Erasure(home)
    marks = erasure.marks.imagined(_identifiers(erasure.marks, persons))
    raw = home.raw
    found = Search(
        segments=len(rawstore.closed(raw)) + len(rawstore.opened(raw)),
        asides=len(rawstore.set_aside_in(raw)),
        torn=len(list(raw.glob(f"*/*{rawstore.TORN}"))),
        exports=[each.path.name for each in _exports(home)],
        unread=len(crash_guard.quarantined(home.warehouse)),
    )
    visits = sweep.Visits()
    if database.exists(home):
        with database.working(home) as connection:
            visits = sweep.loaded_visits(connection, marks)
            marks.add(Identifier("visit", *visit) for visit in visits)
            found.tables = len(sweep.tables(connection))
            found.diverted = sweep.diverted(connection)
    found.raw = erasure.find(sweep.closed_files(raw), marks)
    if database.exists(home):
        with database.working(home) as connection:
            found.rows = sweep.rows_of(connection, visits | found.raw.visits)
    found.being_written = erasure.find(rawstore.opened(raw), marks).deliveries
    mentions = _Mentions(marks, persons)
    with crash_guard.Note(home.warehouse) as note:
        for path in sweep.closed_files(raw):
            note.begin(path)
            mentions.look_into(path)
            note.end([path])
    found.mentioned, found.damaged = mentions.found, mentions.damaged
    found.input_rows = _input_rows(home.inputs, persons)
    return found


def _identifiers(marks: Marks, persons: Persons) -> set[Identifier]:
    source = persons.source or ANY_SOURCE
    region = marks.region_of(source)
    found = {account(text, source) for text in persons.accounts}
    for text in persons.phones:
        found |= phones(text, source, region)
    for text in persons.emails:
        found |= emails(text, source)
    return found


class _Mentions:
    """What nobody can read and has the bare id of an account in it."""

    def __init__(self, marks: Marks, persons: Persons) -> None:
        self._marks = marks
        self._source = persons.source
        self._patterns = [
            re.compile(rf"(?<![0-9A-Za-z]){re.escape(account_id)}(?![0-9A-Za-z])")
            for account_id in map(identity.account, persons.accounts)
        ]
        self.found = 0
        self.damaged = list[Damage]()

    def look_into(self, path: Path) -> None:
        """Count the mentions in a file, and note what cannot be looked into."""
        has_damage = False
        for found in rawstore.read_segment(path):
            if isinstance(found, rawstore.Landed):
                self.found += self.record_goes(found.delivery)
            elif isinstance(found, Damage):
                has_damage = True
                self.damaged.append(found)
        if has_damage:
            rawstore.erase_records(path, lambda _: False, self._count_stretch)

    def _count_stretch(self, stretch: bytes) -> bool:
        self.found += self.damage_goes(stretch)
        return False

    def record_goes(self, delivery: Delivery) -> bool:
        """Whether a delivery cannot be read as a visit, and mentions the id."""
        return (
            bool(self._patterns)
            and self._source in (None, delivery.source)
            and (
                delivery.delivery_id in self._marks.unread
                or any(isinstance(found, Reject) for found in read_body(delivery))
            )
            and self._is_mentioned(delivery.exact_body())
            and self._marks.theirs(delivery) is None
        )

    def damage_goes(self, stretch: bytes) -> bool:
        """Whether a damaged stretch mentions the id."""
        return self._is_mentioned(stretch)

    def _is_mentioned(self, content: bytes) -> bool:
        return any(pattern.search(text) for text in forms(content) for pattern in self._patterns)


def _input_rows(folder: Path, persons: Persons) -> dict[str, int]:
    """Rows of the account in the customer's files, by file."""
    import duckdb  # noqa: PLC0415

    if not persons.accounts or not folder.is_dir():
        return {}
    with duckdb.connect() as connection:
        inputs.write(connection, folder)
        counts = {
            path.name: sum(
                int(row[0])
                for text in persons.accounts
                for row in connection.execute(
                    f"select count(*) from inputs.{name} where external_id = ? and (source is null or source = ?)",
                    [identity.account(text), persons.source],
                ).fetchall()
            )
            for name, path in inputs.files(folder).items()
        }
    return {name: count for name, count in counts.items() if count}


# ---------------------------------------------------------------- erasing


def erase(home: Home, persons: Persons, *, rejects: bool = False) -> Forgot:
    """Erase persons from the raw store and the rows of the working file, and let nothing of them in again: what is
    left to do is a run. Hold the lock.

    `rejects`: erase also what nobody can read and has the bare id of an account in it.
    """
    segments.tidy(home)
    erasure = Erasure(home)
    erasure.begin()
    erasure.marks.add(_identifiers(erasure.marks, persons))
    mentioned = _erase_mentions(sweep.closed_files(home.raw), erasure.marks, persons) if rejects else 0
    if not (database.exists(home) or rawstore.partitions(home.raw)):
        return Forgot(Swept(), 0, mentioned)
    with database.working(home) as connection:
        swept = erasure.erase(connection)
    return Forgot(swept, len(_exports(home)), mentioned)


def _exports(home: Home) -> list[Earlier]:
    return export.earlier(partial(attached, home), home.exports)


def _erase_mentions(paths: Iterable[Path], marks: Marks, persons: Persons) -> int:
    mentions = _Mentions(marks, persons)
    erased = 0
    for path in paths:
        mentions.found, mentions.damaged = 0, []
        mentions.look_into(path)
        if mentions.found:
            erased += rawstore.erase_records(path, mentions.record_goes, mentions.damage_goes)
    return erased
