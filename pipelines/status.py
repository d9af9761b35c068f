"""Say how things stand: what landed, what waits, what is loaded, what was rejected, what is wrong."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.forgotten import Forgotten
from pipelines.warehouse import Warehouse
from receiver import landing

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_STALE_S = 3600  # a closed segment should not wait longer than this
_FREE_FLOOR = 64 << 20
_SHOWN = 8  # of many; --json has them all


class NothingPublishedError(Exception):
    """There is no published file yet."""


class Status(NamedTuple):
    """Figures by name, and in sentences what a person should look at."""

    figures: dict[str, Any]
    faults: list[str]

    def text(self) -> str:
        """One screen."""
        lines = [f"{name.replace('_', ' '):28} {_shown(value)}" for name, value in self.figures.items()]
        return "\n".join([*lines, *(f"! {fault}" for fault in self.faults)])


def look(warehouse: Warehouse) -> Status:
    """How the store and the published file stand. Opens neither lock nor working file."""
    closed = landing.closed(warehouse.raw)
    figures: dict[str, Any] = {"segments_closed": len(closed)}
    try:
        with _published(warehouse) as connection:
            taken = {name for (name,) in connection.execute("select segment from w.kobra.segments").fetchall()}
            figures |= _loaded(connection) | _built(connection)
    except NothingPublishedError:
        taken = set()
    waiting = [path for segment, path in closed.items() if segment not in taken]
    oldest = min((stat.st_mtime for stat in _stats(waiting)), default=None)
    disk = os.statvfs(next(path for path in (warehouse.raw, warehouse.folder, Path()) if path.exists()))
    figures |= {
        "segments_open": sum(len(landing.open_in(folder)) for folder in landing.partitions(warehouse.raw)),
        "segments_waiting": len(waiting),
        "waiting_bytes": sum(stat.st_size for stat in _stats(waiting)),
        "waiting_since_s": None if oldest is None else round(datetime.now(UTC).timestamp() - oldest),
        "raw_bytes": sum(stat.st_size for stat in _stats(closed.values())),
        "torn_files": len(list(warehouse.raw.glob(f"*/*{landing.TORN}"))),
        "published_at": _changed(warehouse.published),
        "free_bytes": disk.f_bavail * disk.f_frsize,
        "erasure_unfinished": Forgotten(warehouse.home).is_unfinished,
    }
    figures["faults"] = faults = list(_faults(figures))
    return Status({name: value for name, value in figures.items() if name != "faults"} | {"faults": faults}, faults)


def _stats(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    for path in paths:
        with suppress(FileNotFoundError):  # compressed since it was listed
            yield path.stat()


def _loaded(connection: "DuckDBPyConnection") -> dict[str, Any]:
    row = connection.execute("""
        select count(*), count(*) filter (outcome = 'new'), count(*) filter (outcome = 'duplicate'),
            count(*) filter (outcome = 'rejected'), max(received_at)::varchar,
            (select count(*) from w.kobra.visits), (select coalesce(sum(damaged), 0)::bigint from w.kobra.segments)
        from w.kobra.deliveries
    """).fetchone()
    assert row is not None
    names = ("deliveries", "new_versions", "duplicates", "rejected", "last_received_at", "visits", "damaged_records")
    reasons = connection.execute("select reason, count(*) from w.kobra.rejects group by all order by all").fetchall()
    return dict(zip(names, row, strict=True)) | {"rejected_by_reason": dict(reasons)}


def _built(connection: "DuckDBPyConnection") -> dict[str, Any]:
    """What the last run built, and what of it wants a person's eye. Nothing before the first build."""
    if connection.execute("select count(*) from duckdb_tables() where schema_name = 'marts'").fetchone() == (0,):
        return {}
    row = connection.execute("""
        select (select as_of::varchar from w.meta.build),
            (select max(finished_at)::varchar from w.meta.runs),
            (select count(*) from w.marts.reconciliation where not is_balanced)
    """).fetchone()
    assert row is not None
    refused = connection.execute(
        "select file || ' ' || reason, count(*) from w.inputs.rejects group by all order by all"
    ).fetchall()
    return dict(zip(("as_of", "last_run_at", "unbalanced_days"), row, strict=True)) | {
        "unusable_input_rows": dict(refused),
        "unmapped_questions": _told(connection, _UNMAPPED_QUESTIONS),
        "unmapped_labels": _told(connection, _UNMAPPED_LABELS),
    }


_UNMAPPED_QUESTIONS = """
    select coalesce(question_name, '') || coalesce(' / ' || answer_name, '') || ' (product ' ||
            coalesce(product_id::varchar, '?') || coalesce(', id ' || question_id, '') || ')',
        sum(answered)::bigint as times
    from w.marts.questions where matched_by = 'unmapped'
    group by 1 order by times desc, 1
"""
_UNMAPPED_LABELS = """
    select any_value(label) || ' (product ' || coalesce(product_id::varchar, '?') || ')', sum(visits)::bigint as times
    from w.marts.label_mix where outcome = 'unmapped' and label_key is not null
    group by product_id, label_key order by times desc, 1
"""


def _told(connection: "DuckDBPyConnection", query: str) -> dict[str, int]:
    return dict(connection.execute(query).fetchall())


def _faults(figures: dict[str, Any]) -> Iterator[str]:
    if figures["segments_closed"] and figures["published_at"] is None:
        yield "nothing is published yet: run `kobra run`"
    if (figures["waiting_since_s"] or 0) > _STALE_S:
        yield "segments have been waiting for over an hour: is `kobra run` scheduled, and does it succeed?"
    if figures.get("unbalanced_days"):
        yield "deliveries are not all accounted for: see marts.reconciliation where not is_balanced"
    if figures.get("damaged_records"):
        yield "records in the raw store are damaged: `kobra verify` names file and offset"
    if figures["erasure_unfinished"]:
        yield "a person is erased from the raw store and not yet from what people read: `kobra run` goes on with it"
    if figures["free_bytes"] < _FREE_FLOOR:
        yield "the disk is nearly full: the receiver refuses visits below its floor; make room"


def rejects(warehouse: Warehouse) -> list[dict[str, Any]]:
    """The rejected deliveries as of the last publish. Raises NothingPublishedError."""
    with _published(warehouse) as connection:
        found = connection.execute("""
            select received_at::varchar as received_at, source, reason, detail, delivery_id, segment, line
            from w.kobra.rejects order by delivery_id
        """)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@contextmanager
def _published(warehouse: Warehouse) -> Iterator["DuckDBPyConnection"]:
    import duckdb  # noqa: PLC0415

    if not warehouse.published.exists():
        raise NothingPublishedError("nothing is published yet: run `kobra run` first")
    # Attached under another name: the catalog of kobra.duckdb would be called like its schema.
    with duckdb.connect() as connection:
        quoted = str(warehouse.published).replace("'", "''")
        connection.execute(f"attach '{quoted}' as w (read_only)")
        connection.execute("set timezone = 'UTC'; set enable_external_access = false")
        yield connection


def _changed(path: Path) -> str | None:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(" ", "seconds") if path.exists() else None


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        first = [f"{name} {number}" for name, number in islice(value.items(), _SHOWN)]
        return ", ".join(first + ["…"] * (len(value) > _SHOWN)) or "-"
    if isinstance(value, list):
        return f"{len(value)}"
    return f"{value:,}" if isinstance(value, int) else "-" if value is None else str(value)
