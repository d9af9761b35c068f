"""The warehouse: one writer at a time, every segment counted once, a published file only replaced whole."""

import fcntl
import gc
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.build import inputs, mappings
from pipelines.environment import replaced
from pipelines.errors import FaultError, UsageError
from pipelines.load import crash_guard
from pipelines.load.segments import Ledger, Seen, look, stamps
from pipelines.operate import verify
from pipelines.privacy import retention, sweep
from pipelines.privacy.sweep import Erasure
from pipelines.quoting import literal
from pipelines.warehouse import damage
from pipelines.warehouse import state as meta
from pipelines.warehouse.damage import DamagedError, HeldError
from receiver import rawstore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from pipelines.load.batches import Batch

log = logging.getLogger(__name__)

# The oldest DuckDB that can open the file: its form of text is written faster and is a third smaller, which makes the
# file a quarter smaller. (That of 1.3 has it, too, but reads NULL where there is text.)
_READABLE_SINCE = "v1.4.0"
# How the working file is opened. DuckDB opens a file again in a process only in the same way: `sql/profiles.yml` says
# the same.
_CONFIG: dict[str, Any] = {
    # A table's rows stay in memory uncompressed, 16 bytes a text, until 122 880 of them are together: the widest of
    # schema `wide` take half a GiB each, common ones a tenth of it.
    "memory_limit": "1GB",
    # Memory that was used is used again: to get it from the system anew takes a twentieth of a build.
    "block_allocator_memory": "700MB",
    "allocator_flush_threshold": "1TB",
    "allocator_bulk_deallocation_flush_threshold": "1TB",
    "preserve_insertion_order": False,
    "storage_compatibility_version": _READABLE_SINCE,
}
# While loading there are dlt and the processes that read beside it.
_LOADING = {"memory_limit": "700MB", "block_allocator_memory": "300MB"}
_FAULT = "last-fault"  # why the last run failed
_PAGES = "loading-"  # the folder of a load; one that is still there was left by a load that was cut short
_PUBLISHING, _REWRITING, _DAMAGED = ".publishing.duckdb", ".rewriting.duckdb", "damaged"
# What stands in the warehouse's folder only while a run is under way.
LEFTOVERS = (f"{_PAGES}*", f"{_PUBLISHING}*", f"{_REWRITING}*", f"{_DAMAGED}*", "taken.new")


class BusyError(Exception):
    """Another run holds the lock."""


class UnfinishedError(UsageError):
    """The working file is not fit to be published; the text says what makes it so."""


class PublishError(FaultError):
    """The copy that was to be published did not become whole; the text has the system's reason."""


class MisplacedError(FaultError):
    """Rows that were loaded are not where they belong."""


class LessThanBeforeError(UsageError):
    """A warehouse made anew would have less than the published one, as raw segments are gone."""


class Loaded(NamedTuple):
    """What a load did: deliveries by outcome, segments taken, damaged records skipped."""

    deliveries: int = 0
    new: int = 0
    duplicates: int = 0
    rejected: int = 0
    segments: int = 0
    damaged: int = 0

    def plus(self, other: "Loaded") -> "Loaded":
        return Loaded(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class Warehouse:
    """The files of the warehouse under KOBRA_HOME. People open `published`; only the pipeline opens `working`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.raw = home / "raw"
        self.folder = home / "warehouse"
        self.working = self.folder / "working.duckdb"
        self.published = self.folder / "kobra.duckdb"
        edited = [home / "mappings" / name for name in mappings.FILES]
        self._edited = [*edited, *inputs.files(home / "inputs").values()]
        self._ledger = Ledger(
            self.folder / "taken.json", self.working, self.published, *self._edited, *sweep.files(home)
        )

    @contextmanager
    def lock(self, told_to_wait: Callable[[], None] | None = None) -> Iterator[None]:
        """Keep every other run out; the kernel lets go when this process dies.

        Where another run holds the lock, raises BusyError at once, or calls `told_to_wait` and waits for its turn.
        """
        rawstore.make_folder(self.folder)
        fd = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if told_to_wait is None:
                    raise BusyError("another run holds the lock; this one changed nothing") from None
                told_to_wait()
                fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def is_current(self) -> bool:
        """Whether all that landed is loaded and published already. Takes a few milliseconds and no lock."""
        return self._ledger.holds(self.raw) and not self.wals()

    def run(self, build: Callable[[Loaded], float], progress: Callable[[Loaded], None] = lambda _: None) -> Loaded:
        """Load what waits, build on it, publish, and compress the raw segments of past days. Hold the lock.

        `build` makes in the working file what is to be published beside schema `kobra`, and answers with the time
        until which that holds, in seconds since 1970.
        """
        before = stamps(self._edited)
        self._warn_of_missing()
        with self.open(**_LOADING) as connection:
            seen = self._look()
            loaded = self._load(connection, seen, progress)
        holds_until = build(loaded)
        self.publish()
        for path in self.folder.glob(f"{_DAMAGED}*"):
            path.unlink()
        taken = self.taken()
        rawstore.compress_before(self.raw, datetime.now(UTC).date(), lambda path: rawstore.key(path) in taken)
        Erasure(self.home).note_swept()
        now = look(self.raw)
        if now.closed.keys() == seen.closed.keys() and stamps(self._edited) == before:
            self._ledger.write(now, holds_until)
        return loaded

    def _warn_of_missing(self) -> None:
        try:
            gone = self.missing()
        except (DamagedError, HeldError) as why:
            log.warning("%s", why)
            return
        for each in gone:
            log.warning("the raw store has less than was loaded: %s", each)

    def load(self, progress: Callable[[Loaded], None] = lambda _: None, *, retry_rejects: bool = False) -> Loaded:
        """Load what waits into the working file; with `retry_rejects`, read the rejected deliveries again.
        Hold the lock."""
        with self.open(**_LOADING) as connection:
            seen = self._look()
            if retry_rejects:
                crash_guard.release(self.folder)
                _forget(connection, seen)
            return self._load(connection, seen, progress)

    def wals(self) -> list[Path]:
        """What a program left beside the published file that opened it to write and died."""
        return [wal for wal in _wals(self.published) if wal.exists()]

    def note_fault(self, told: str | None) -> None:
        """Remember for `kobra status` why the last run failed, or that it did not."""
        if told is not None:
            rawstore.make_folder(self.folder)
            rawstore.put(self.folder / _FAULT, told)
        else:
            (self.folder / _FAULT).unlink(missing_ok=True)

    def last_fault(self) -> str | None:
        """Why the last run failed, in a sentence; None when it did not."""
        try:
            return (self.folder / _FAULT).read_text()
        except FileNotFoundError:
            return None

    def taken(self) -> set[rawstore.Key]:
        """The segments that are loaded. Hold the lock."""
        with self.open() as connection:
            return set(_taken(connection))

    def publish(self) -> None:
        """Put a finished copy of the working file under its public name. Hold the lock.

        Raises UnfinishedError when there is nothing to publish, or not yet.
        """
        if not self.working.exists():
            raise UnfinishedError("there is nothing to publish yet: run `kobra load` first")
        self.check_load()
        with self.open() as connection:
            if meta.is_outdated(connection):
                raise UnfinishedError("the marts do not hold what is loaded: run `kobra build` first")
            if retention.read(self.home).pii_days and not meta.is_built(connection):
                raise UnfinishedError("personal data has to be blanked first: run `kobra build`, which knows it")
            if not (erasure := Erasure(self.home)).wants_rewrite:
                self._publish(connection)
                return
            erasure.clean(connection)
        self._rewrite()
        with self.open() as connection:
            self._publish(connection)
        if erasure.is_unfinished:
            self._export_again()
        erasure.end()

    def check_load(self) -> None:
        """Raise UnfinishedError when the working file holds but a part of what a load was to bring."""
        if _cut_short(self.folder):
            raise UnfinishedError("a load was cut short: run `kobra load` first, it makes that good")

    @contextmanager
    def open(self, **settings: str) -> Iterator["DuckDBPyConnection"]:
        """The working file, with every table of the contract in it. Hold the lock. Raises DamagedError.

        `settings` of DuckDB go before those by which models are built.
        """
        import duckdb  # noqa: PLC0415 - a run with nothing to do never gets here

        from pipelines.load.flatten import make_tables  # noqa: PLC0415

        config = {**_CONFIG, "temp_directory": str(self.folder.absolute() / ".spill"), **settings}
        try:
            with duckdb.connect(str(self.working), config=config) as connection:
                connection.execute("set timezone = 'UTC'")
                make_tables(connection)
                yield connection
        except Exception as why:
            if damage.is_told(why) and not isinstance(why, DamagedError):
                raise DamagedError(self.working) from why
            raise

    def missing(self, *, with_removed: bool = False) -> list[verify.Missing]:
        """What the published file holds and the raw store does not any more. Raises DamagedError."""
        from pipelines.publish.published import attached  # noqa: PLC0415

        if not self.published.exists():
            return []
        with attached(self.published) as connection:
            return verify.missing(self.home, verify.loaded(connection, "w."), with_removed=with_removed)

    def set_aside(self) -> None:
        """Put a damaged working file aside: it goes once another one is published."""
        for path in (self.working, _wal(self.working)):
            if path.exists():
                path.replace(path.with_name(path.name.replace(self.working.stem, _DAMAGED)))

    def check_rebuild(self, *, accept_loss: bool) -> None:
        """Raise LessThanBeforeError when there is no working file, and a new one would have less than is published.

        A published file that is damaged says nothing of that.
        """
        if accept_loss or self.working.exists():
            return
        try:
            gone = self.missing(with_removed=True)
        except DamagedError:
            log.warning("the published file is damaged: nobody can tell whether the raw store has all that it had")
            return
        if gone:
            told = "\n".join(f"  {each}" for each in gone)
            raise LessThanBeforeError(
                "the working file is to be made anew, and the raw store has less than what is published:\n"
                f"{told}\nput those days back from a backup, or say --accept-loss, and what people read has less"
            )

    def tidy(self) -> None:
        """Finish what processes left that died: deliveries of which one died, half-open segments, copies of segments.
        Hold the lock."""
        crash_guard.examine(self.folder)
        for segment, torn in rawstore.recover(self.raw):
            if torn:
                log.warning("segment %s: %d bytes behind its last whole record set aside", segment, torn)
        for copy, aside, saved in rawstore.settle(self.raw):
            log.warning("%s differs from another file of its segment: set aside as %s, %d record(s) of it saved",
                        copy, aside.name, saved)  # fmt: skip

    def _look(self) -> Seen:
        self.tidy()
        return look(self.raw)

    def _load(self, connection: "DuckDBPyConnection", seen: Seen, progress: Callable[[Loaded], None]) -> Loaded:
        from pipelines.load import flatten  # noqa: PLC0415
        from pipelines.load.batches import batches  # noqa: PLC0415

        taken = _taken(connection)
        waiting = {segment: path for segment, path in seen.closed.items() if not rawstore.is_among(path, taken)}
        total = Loaded()
        Erasure(self.home).keep_out(connection, waiting.values())
        if taken and not waiting:
            _remove(_cut_short(self.folder))  # what it was to load is loaded
            return total
        meta.outdate(connection)
        _drop_unfinished(connection)
        crashing = crash_guard.quarantined(self.folder)
        with (
            flatten.inbox(connection),
            _Loads(self.folder, connection, mappings.region_of(self.home / "mappings")) as loads,
            crash_guard.Note(self.folder) as note,
        ):
            for batch in batches(waiting, crashing, note.begin):
                total = total.plus(loads.load(batch, seen))
                note.end()
                progress(total)
        return total

    def _rewrite(self) -> None:
        """Write the working file anew: a deleted row leaves its bytes in the file, and in every copy of it."""
        aside = self.folder / _REWRITING
        with _replaced(self.working, aside):
            with self.open() as connection:
                connection.execute(f"attach {literal(str(aside))} as rewritten")
                connection.execute(f'copy from database "{self.working.stem}" to rewritten')
                connection.execute("checkpoint rewritten; detach rewritten; checkpoint")
            if _wal(self.working).exists():  # it would be replayed into the new file
                raise UnfinishedError(f"something else has {self.working} open: close it, then run this again")
        shutil.rmtree(self.folder / ".spill", ignore_errors=True)

    def _export_again(self) -> None:
        """Write anew what `kobra export` wrote to its usual folder before somebody was forgotten."""
        from pipelines.publish.export import ExportBusyError, export_again  # noqa: PLC0415

        try:
            export_again(self.published, self.home / "exports")
        except ExportBusyError as why:
            raise BusyError(str(why)) from why

    def _publish(self, connection: "DuckDBPyConnection") -> None:
        """Replace the published file by rename. Nothing beside it is left that DuckDB would take for part of it."""
        connection.execute("checkpoint")
        place = self.published.resolve()  # a symbolic link stays one
        with _replaced(place, place.with_name(_PUBLISHING)) as aside:
            # By another process: closing a copy of the file in this one would drop DuckDB's lock on it (POSIX).
            copied = subprocess.run(
                ["cp", "--", str(self.working), str(aside)], stderr=subprocess.PIPE, text=True, check=False
            )
            if copied.returncode:
                raise PublishError(f"the warehouse was not copied for publishing: {copied.stderr.strip()}")
            aside.chmod(0o400)
            _remove_files(_wals(self.published))  # of a tool that died; it would be replayed into the new file
        _remove_files(_wals(self.published))


@contextmanager
def _replaced(database: Path, aside: Path) -> Iterator[Path]:
    """What is written to `aside` takes the place of the database when it is whole and on disk, or goes."""
    _remove_files([aside, _wal(aside)])
    try:
        yield aside
        _sync(aside)
        aside.rename(database)
    finally:
        aside.unlink(missing_ok=True)  # half a copy on a full disk would keep the receiver out
    rawstore.sync_folder(database.parent)


def _wal(database: Path) -> Path:
    return database.with_suffix(".duckdb.wal")


def _wals(database: Path) -> list[Path]:
    """Where DuckDB looks for what was not checkpointed: beside the name by which a file is opened."""
    return list(dict.fromkeys([_wal(database), _wal(database.resolve())]))


def _remove_files(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


class _Loads:
    """dlt loads, one a batch, in a folder of their own that is made fresh and goes when all are done."""

    def __init__(self, folder: Path, connection: "DuckDBPyConnection", region_of: Callable[[str], str]) -> None:
        self._region_of = region_of
        self._leftovers = _cut_short(folder)
        self._is_clean = not self._leftovers
        self._connection = connection
        self._folder = Path(tempfile.mkdtemp(prefix=_PAGES, dir=folder)).absolute()
        rawstore.sync_folder(folder)  # it has to outlast what the load writes
        self._settings = ExitStack()

    def __enter__(self) -> "_Loads":
        # What dlt does where it is imported, it does by the environment: no variable may be there, and no home.
        self._settings.enter_context(replaced({"HOME": str(self._folder), "RUNTIME__DLTHUB_TELEMETRY": "false"}))
        import dlt  # noqa: PLC0415
        import pandas  # noqa: F401, PLC0415 - DuckDB does, for dlt; dlt must not meet it half imported

        from pipelines.load.dlt_settings import own_settings  # noqa: PLC0415

        self._settings.enter_context(own_settings(self._folder))
        self._pipeline = dlt.pipeline(
            "kobra",
            pipelines_dir=str(self._folder / "dlt"),
            destination=dlt.destinations.duckdb(self._connection),
            dataset_name="kobra",
        )
        gc.freeze()  # else all of dlt's modules are looked through for garbage, again and again
        gc.disable()  # once a batch is enough
        return self

    def __exit__(self, *failure: object) -> None:
        gc.enable()
        gc.unfreeze()
        self._settings.close()
        if failure == (None, None, None):
            _remove([*self._leftovers, self._folder])

    def load(self, batch: "Batch", seen: Seen) -> Loaded:
        """Load a batch, all of it or, as far as anybody may tell, nothing."""
        from pipelines.load import flatten  # noqa: PLC0415

        for stretch in batch.damage:
            log.warning("segment %s: damage at offset %d, %d record(s) skipped", *stretch)
        taken = _taken(self._connection).values()
        with flatten.attached(self._connection, batch.lines, taken), ThreadPoolExecutor(max_workers=1) as beside:
            packed = beside.submit(self._pack, batch)  # Python's work, while DuckDB does its own
            missing = flatten.compare(self._connection, is_clean=self._is_clean)
            if missing:
                from pipelines.load.batches import lines_of  # noqa: PLC0415

                flatten.receive_again(self._connection, lines_of(_read_again(seen, missing)))
            flatten.stage(self._connection, self._region_of, is_clean=self._is_clean)
            packed.result()
            self._pipeline.load(raise_on_failed_jobs=True)
            outcomes = flatten.outcomes(self._connection)
        self._check_place(batch)
        self._connection.execute("checkpoint")  # else the log grows beside the file, and all in it stays in memory
        gc.collect()
        return Loaded(
            sum(outcomes.values()),
            outcomes.get("new", 0),
            outcomes.get("duplicate", 0),
            outcomes.get("rejected", 0),
            len(batch.taken),
            sum(segment.damaged for segment in batch.taken),
        )

    def _check_place(self, batch: "Batch") -> None:
        """Raise MisplacedError when what was loaded is not where it belongs."""
        there = set(_taken(self._connection).values())
        if missing := [segment.segment for segment in batch.taken if segment.segment not in there]:
            raise MisplacedError(
                f"dlt loaded {len(missing)} segment(s), and they are not in schema kobra of the working file: "
                "something diverts dlt; run `kobra doctor`"
            )

    def _pack(self, batch: "Batch") -> None:
        from pipelines.load.source import kobra  # noqa: PLC0415

        self._pipeline.extract(kobra(batch.taken, datetime.now(UTC), self._folder))
        self._pipeline.normalize()


def _cut_short(folder: Path) -> list[Path]:
    """What loads left behind that did not come to their end."""
    return [path for path in folder.iterdir() if path.name.startswith(_PAGES)]


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder)


_COMPLETED = "_dlt_load_id in (select load_id from kobra._dlt_loads where status = 0)"


def _was_loaded(connection: "DuckDBPyConnection") -> bool:
    """Whether dlt made its tables: not before the first load."""
    tables = "select count(*) from duckdb_tables() where schema_name = 'kobra' and table_name = '_dlt_loads'"
    return connection.execute(tables).fetchone() == (1,)


def _taken(connection: "DuckDBPyConnection") -> dict[rawstore.Key, str]:
    """The segments of loads that completed, and how they are called in the tables. Tables commit one after the other:
    a load that was cut short may have written its segments and not its visits."""
    if not _was_loaded(connection):
        return {}
    rows = connection.execute(f"select segment, received_date from kobra.segments where {_COMPLETED}")
    return {rawstore.key_of(segment, day): segment for segment, day in rows.fetchall()}


def _drop_unfinished(connection: "DuckDBPyConnection") -> None:
    """Drop the segments of a load that was cut short: they come again."""
    if _was_loaded(connection):
        connection.execute(f"delete from kobra.segments where not {_COMPLETED}")


def _forget(connection: "DuckDBPyConnection", seen: Seen) -> None:
    """Make the segments that hold rejected deliveries wait again. A load of them that is cut short leaves them
    waiting, so the next one makes it good like any other."""
    found = connection.execute("select distinct segment from kobra.rejects").fetchall()
    rejected = {segment for (segment,) in found} & set(_taken(connection).values())
    holders = {segment: _holder(seen, segment) for segment in rejected}
    if gone := [segment for segment, path in holders.items() if path is None]:
        log.warning("%d segment(s) with rejects are gone from the raw store: those stay rejected", len(gone))
    if again := sorted({segment for segment, path in holders.items() if path is not None}):
        names = [rawstore.identity(path) for path in holders.values() if path is not None]
        connection.execute("delete from kobra.segments where segment in (select unnest(?))", [again + names])


def _holder(seen: Seen, segment: str) -> Path | None:
    """The file that holds a segment, which may have been put together with others since; None when it is gone."""
    if segment in seen.closed:
        return seen.closed[segment]
    compacted = filter(rawstore.is_compacted, seen.closed.values())
    return next((path for path in compacted if segment in {part.name for part in rawstore.parts_of(path)}), None)


def _read_again(seen: Seen, wanted: Iterable[tuple[str, str]]) -> Iterator[tuple[str, int, rawstore.Delivery]]:
    """Single deliveries, wanted by segment and id, from the raw store."""
    by_segment: dict[str, set[str]] = {}
    for segment, delivery_id in wanted:
        by_segment.setdefault(segment, set()).add(delivery_id)
    for segment, ids in by_segment.items():
        path = _holder(seen, segment)
        if path is None:
            log.warning("segment %s is gone from the raw store: %d deliveries stay as they are", segment, len(ids))
            continue
        for found in rawstore.read_segment(path):
            if isinstance(found, rawstore.Landed) and found.delivery.delivery_id in ids:
                yield segment, found.line, found.delivery


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
