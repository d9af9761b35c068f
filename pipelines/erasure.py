"""Forget a person, and keep personal data no longer than told: in the raw store, the tables and the exports.

A person is every delivery of every visit of which some version has the account, or has the phone or the e-mail
address among its phones or e-mails. Other texts are not searched: a name in a comment on somebody else's visit stays.
A delivery that cannot be read as a visit is nobody's; those in which an id that was asked for stands as a word are
counted, and erased with them on demand.

What is promised once `forget` has come to its end, or the run that went on with it: no file of ours under KOBRA_HOME
holds a byte of what was sent of the person, in a segment, in a database file, in what `kobra export` wrote to its
usual folder, or in what was left beside them; and nothing of it comes back by a rebuild, an import, a redelivery or
another visit of that account. A segment that the receiver is still writing is rewritten by the run that loads it.

What is not: backups and copies elsewhere, exports in other folders, readers that have the old file open, the disk's
own free blocks, the customer's files in inputs/ and mappings/. Whoever puts an old `raw/` back has to run it again.
"""

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines import export, inputs, marts, retention, rules
from pipelines.faults import FaultError, UsageError
from pipelines.forgotten import ANY_SOURCE, Forgotten, Known, Swept, closed_files
from pipelines.reading import Reject, read_body
from pipelines.retention import Policy
from pipelines.warehouse import Loaded, Warehouse
from receiver import rawstore
from receiver.rawstore import Damage, Delivery

log = logging.getLogger(__name__)


class UnfinishedErasureError(FaultError):
    """The raw store is done, the warehouse is not."""


class ContradictionError(UsageError):
    """A policy that makes no sense."""


class Forgot(NamedTuple):
    """What was erased, and what was not. Figures alone: they say nothing of the person."""

    swept: Swept
    exports: int  # written anew
    waiting: int  # deliveries in segments that the receiver is still writing
    unreadable: int  # rejected or damaged records with an id in them
    unreadable_erased: int
    input_rows: dict[str, int]  # rows of the account in the customer's own files


class Retained(NamedTuple):
    """What a policy removed."""

    partitions: list[str]
    policy: Policy


def forget(
    warehouse: Warehouse,
    persons: Sequence[Known],
    progress: Callable[[Loaded], None] = lambda _: None,
    *,
    rejects: bool = False,
) -> Forgot:
    """Erase persons everywhere, publish without them, and let nothing of them in again. Hold the lock.

    May be run again at any time, and does what is left to do. Raises UnfinishedErasureError when the marts cannot be
    built: then the raw store is done, and the next run that comes to its end does the rest.
    """
    raw, forgotten = warehouse.raw, Forgotten(warehouse.home)
    for segment, torn in rawstore.recover(raw):
        if torn:
            log.warning("segment %s: %d bytes behind its last whole record cut off", segment, torn)
    forgotten.begin()
    forgotten.add(persons)
    unreadable = _unreadable(raw, persons, erase=rejects)
    swept, exports = Swept(), 0
    if warehouse.working.exists() or rawstore.partitions(raw):
        with warehouse.open() as connection:
            swept = forgotten.erase(connection, raw)
        exports = len(export.earlier(warehouse.published, warehouse.home / "exports"))
        try:
            marts.run(warehouse, progress)
        except FaultError as why:
            raise UnfinishedErasureError(
                f"{why}\nThe raw store holds nothing of them any more; what is published still does. Mend this, and "
                "the next kobra run finishes the erasure."
            ) from why
    else:
        forgotten.end()
    return Forgot(
        swept,
        exports,
        waiting=sum(Forgotten(warehouse.home).find([path]).deliveries for path in rawstore.opened(raw)),
        unreadable=unreadable,
        unreadable_erased=unreadable if rejects else 0,
        input_rows=_input_rows(warehouse.home / "inputs", persons),
    )


def _unreadable(raw: Path, persons: Iterable[Known], *, erase: bool) -> int:
    """How many records of closed segments that nobody can attribute hold an id of these persons as a word."""
    patterns = [(known.source, _as_a_word(known)) for known in persons]
    held = 0

    def is_held(source: str | None, text: bytes) -> bool:
        return any(
            (source is None or of in (ANY_SOURCE, source)) and pattern.search(text) for of, pattern in patterns
        )

    def record_goes(delivery: Delivery) -> bool:
        nonlocal held
        if not is_held(delivery.source, delivery.exact_body()) or not isinstance(read_body(delivery), Reject):
            return False
        held += 1
        return erase

    def damage_goes(stretch: bytes) -> bool:
        nonlocal held
        if not is_held(None, stretch):
            return False
        held += 1
        return erase

    for path in closed_files(raw):
        before, damaged = held, False
        for found in rawstore.read_segment(path):
            if isinstance(found, rawstore.Landed):
                record_goes(found.delivery)
            damaged |= isinstance(found, Damage)
        if damaged or (erase and held > before):
            held = before
            rawstore.erase_records(path, record_goes, damage_goes)
    return held


def _as_a_word(known: Known) -> re.Pattern[bytes]:
    """The pattern of an id that stands alone. Of a phone the digits count, whatever is between them."""
    if known.kind == "phone":
        digits = b"[^0-9A-Za-z]{0,3}".join(digit.encode() for digit in known.value)
        return re.compile(rb"(?<![0-9])" + digits + rb"(?![0-9])")
    flags = re.IGNORECASE if known.kind == "email" else 0
    return re.compile(rb"(?<![0-9A-Za-z])" + re.escape(known.value.encode()) + rb"(?![0-9A-Za-z])", flags)


def _input_rows(folder: Path, persons: Iterable[Known]) -> dict[str, int]:
    """Rows of the account in the customer's files, by file."""
    import duckdb  # noqa: PLC0415

    accounts = [known for known in persons if known.kind == "account"]
    if not accounts or not folder.is_dir():
        return {}
    with duckdb.connect() as connection:
        connection.execute("create schema kobra")
        connection.execute(rules.macros("kobra"))
        inputs.write(connection, folder)
        counts = {
            path.name: sum(
                int(row[0])
                for known in accounts
                for row in connection.execute(
                    f"select count(*) from inputs.{name} where external_id = ? and (source is null or source = ?)",
                    [known.value, known.source],
                ).fetchall()
            )
            for name, path in inputs.files(folder).items()
        }
    return {name: count for name, count in counts.items() if count}


def retain(warehouse: Warehouse, told: Policy, progress: Callable[[Loaded], None] = lambda _: None) -> Retained:
    """Keep no more than the policy says, and remember it: what it does not say stays as it was told before. Hold the
    lock.

    Raises ContradictionError. Partitions go last, when everything in them is loaded and published.
    """
    before = retention.read(warehouse.home)
    policy = Policy(told.raw_days or before.raw_days, told.pii_days or before.pii_days)
    if policy.raw_days and policy.pii_days and policy.pii_days > policy.raw_days:
        raise ContradictionError(
            f"personal data kept for {policy.pii_days} days would outlive the raw records, kept for "
            f"{policy.raw_days}, of which alone it can be checked and made again: give --pii-days of at most "
            "--raw-days, or --raw-days of at least that"
        )
    retention.write(warehouse.home, policy)
    if not warehouse.working.exists() and not rawstore.partitions(warehouse.raw):
        return Retained([], policy)
    Forgotten(warehouse.home).begin_rewrite()
    marts.run(warehouse, progress)
    if told.raw_days is None:
        return Retained([], policy)
    return Retained(retention.remove_partitions(warehouse.raw, told.raw_days, warehouse.taken()), policy)
