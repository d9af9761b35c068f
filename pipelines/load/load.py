"""Append what waits to schema landed: exactly once in effect, whatever is cut short.

A load never looks at what is there. Its rows count once dlt has noted in `landed._dlt_loads` that it completed: the
models read no others, and the next load removes them.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.contract import LANDED
from pipelines.environment import replaced
from pipelines.errors import FaultError
from pipelines.load import crash_guard
from pipelines.load.segments import Seen
from pipelines.warehouse import database
from pipelines.warehouse.home import LOADING, Home
from receiver import rawstore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from pipelines.load.batches import Chunk, Segment

log = logging.getLogger(__name__)

COMPLETED = "_dlt_load_id in (select load_id from landed._dlt_loads where status = 0)"


class MisplacedError(FaultError):
    """Rows that were loaded are not where they belong."""


class Loaded(NamedTuple):
    """What a load did: deliveries, those among them that are no visits, segments taken, damaged records skipped."""

    deliveries: int = 0
    rejected: int = 0
    segments: int = 0
    damaged: int = 0

    def plus(self, other: "Loaded") -> "Loaded":
        return Loaded(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


# Of the working file, as long as dlt and documents are in memory, too. Two threads at once would need twice the
# memory for rows of long texts, and are no faster.
_MEMORY_LIMIT, _THREADS = "500MB", 1
Progress = Callable[[Loaded], None]


def taken(connection: "DuckDBPyConnection") -> dict[rawstore.Key, str]:
    """The segments of loads that completed, and how they are called in the tables."""
    if not database.has(connection, "landed", "_dlt_loads"):
        return {}
    rows = connection.execute(f"select segment, received_date from landed.segments where {COMPLETED}")
    return {rawstore.key_of(segment, day): segment for segment, day in rows.fetchall()}


def is_loaded(connection: "DuckDBPyConnection") -> bool:
    """Whether a load ever completed, so that every table is there."""
    return bool(
        database.has(connection, "landed", "_dlt_loads")
        and connection.execute("select count(*) from landed._dlt_loads where status = 0").fetchone() != (0,)
    )


def load(
    home: Home,
    connection: "DuckDBPyConnection",
    segments: Iterable["Segment"],
    region_of: Callable[[str], str],
    progress: Progress = lambda _: None,
) -> Loaded:
    """Append the deliveries of segments, in loads of bounded size. Hold the lock, and have nothing to clean up.

    `region_of` a source: in which country its phone numbers stand without a country code.
    """
    from pipelines.load import batches  # noqa: PLC0415 - a run with nothing to do never gets here

    total = Loaded()
    crashing = crash_guard.quarantined(home.warehouse)
    with crash_guard.Note(home.warehouse) as note, _loader(home, connection, region_of) as append:
        for together in batches.loads(segments):
            chunks = batches.chunks(together, crashing, note.begin)
            for loaded in append(_noted(batches.ahead(chunks), note)):
                total = total.plus(loaded)
                progress(total)
    return total


def reload_rejects(
    home: Home, connection: "DuckDBPyConnection", seen: Seen, region_of: Callable[[str], str]
) -> Loaded:
    """Read the rejected deliveries again: what this load says of them counts. Hold the lock."""
    from pipelines.load.batches import Chunk, documents_of  # noqa: PLC0415

    crash_guard.release(home.warehouse)
    if not is_loaded(connection):
        return Loaded()
    rejected = connection.execute(_REJECTED).fetchall()
    holders = {segment: seen.holder(segment) for segment, _ in rejected}
    if gone := sum(path is None for path in holders.values()):
        log.warning("%d segment(s) with rejects are gone from the raw store: those stay rejected", gone)
    found = [(segment, path) for segment, path in holders.items() if path is not None]
    total = Loaded()
    with crash_guard.Note(home.warehouse) as note, _loader(home, connection, region_of) as append:
        documents = documents_of(_deliveries(found, {each for _, each in rejected}, note.begin))
        for loaded in append(iter([Chunk(documents, [], [], [])])):
            total = total.plus(loaded)
    return total


# Those apart that were read again since, as visits.
_REJECTED = f"""
select segment, delivery_id from landed.rejects where {COMPLETED}
    and delivery_id not in (
        select later.delivery_id from landed.deliveries as later
        where later.visit_id is not null and later.{COMPLETED} and later._dlt_load_id > rejects._dlt_load_id
    )
order by all
"""


def _deliveries(
    segments: Iterable["Segment"], ids: Collection[str], begin: Callable[[Path], object]
) -> Iterator[tuple[str, int, rawstore.Delivery]]:
    for segment, path in segments:
        begin(path)
        for found in rawstore.read_segment(path):
            if isinstance(found, rawstore.Landed) and found.delivery.delivery_id in ids:
                yield segment, found.line, found.delivery


def _noted(chunks: Iterator["Chunk"], note: crash_guard.Note) -> Iterator["Chunk"]:
    """The chunks, and notes when the files that end in one are read."""
    for chunk in chunks:
        for stretch in chunk.damage:
            log.warning("segment %s: damage at offset %d, %d record(s) skipped", *stretch)
        yield chunk
        note.end(chunk.paths)


_Append = Callable[[Iterator["Chunk"]], Iterator[Loaded]]


@contextmanager
def _loader(home: Home, connection: "DuckDBPyConnection", region_of: Callable[[str], str]) -> Iterator[_Append]:
    """A function that appends the chunks of one load, and says of each what it had.

    dlt works in a folder that is made fresh, and that goes when all is done.
    """
    scratch = Path(tempfile.mkdtemp(prefix=LOADING, dir=home.warehouse)).absolute()
    rawstore.sync_folder(home.warehouse)  # it has to outlast what the load writes
    with ExitStack() as settings:
        # What dlt does where it is imported, it does by the environment: no variable may be there, and no home.
        settings.enter_context(replaced({"HOME": str(scratch), "RUNTIME__DLTHUB_TELEMETRY": "false"}))
        import dlt  # noqa: PLC0415

        from pipelines.load.dlt_settings import own_settings  # noqa: PLC0415
        from pipelines.load.flatten import flattener  # noqa: PLC0415
        from pipelines.load.source import kobra  # noqa: PLC0415

        settings.enter_context(own_settings(scratch))
        flatten = settings.enter_context(flattener(region_of))
        pipeline = dlt.pipeline(
            "kobra",
            pipelines_dir=str(scratch / "dlt"),
            destination=dlt.destinations.duckdb(connection),
            dataset_name="landed",
        )
        connection.execute(f"set memory_limit = '{_MEMORY_LIMIT}'; set threads = {_THREADS}")
        limit = database.config(home)["memory_limit"]
        settings.callback(connection.execute, f"set memory_limit = '{limit}'; reset threads")

        def append(chunks: Iterator["Chunk"]) -> Iterator[Loaded]:
            seen = list[Loaded]()
            info = pipeline.run(kobra(_counted(chunks, seen), flatten, datetime.now(UTC)))
            _check_arrived(connection, info.loads_ids)
            database.settle(home, connection)
            yield from seen

        yield append
    shutil.rmtree(scratch)


def _counted(chunks: Iterable["Chunk"], seen: list[Loaded]) -> Iterator["Chunk"]:
    for chunk in chunks:
        seen.append(counted(chunk))
        yield chunk


def counted(chunk: "Chunk") -> Loaded:
    """What a chunk brings."""
    rejected = chunk.documents.num_rows - chunk.documents["reason"].null_count
    damaged = sum(segment.damaged for segment in chunk.taken)
    return Loaded(chunk.documents.num_rows, rejected, len(chunk.taken), damaged)


def _check_arrived(connection: "DuckDBPyConnection", loads: Collection[str]) -> None:
    """Raise MisplacedError when what was loaded is not where it belongs."""
    there = connection.execute(
        "select count(*) from landed._dlt_loads where status = 0 and load_id in (select unnest(?))", [list(loads)]
    ).fetchone() if database.has(connection, "landed", "_dlt_loads") else (0,)  # fmt: skip
    if there != (len(loads),):
        raise MisplacedError(
            "dlt loaded, and the rows are not in schema landed of the working file: something diverts dlt; run "
            "`kobra doctor`"
        )


# ---------------------------------------------------------------- what a load leaves that is cut short


def clean_up(home: Home, connection: "DuckDBPyConnection") -> None:
    """Remove the rows of loads that did not complete. Nobody else may load meanwhile."""
    scratches = leftovers(home)
    if not scratches:
        return
    is_known = COMPLETED if database.has(connection, "landed", "_dlt_loads") else "false"
    for name in LANDED:
        if database.has(connection, "landed", name):
            connection.execute(f"delete from landed.{name} where not {is_known}")
    database.settle(home, connection)
    for scratch in scratches:
        shutil.rmtree(scratch)


def leftovers(home: Home) -> list[Path]:
    """The folders of loads that were cut short."""
    try:
        return [Path(found.path) for found in os.scandir(home.warehouse) if found.name.startswith(LOADING)]
    except FileNotFoundError:
        return []
