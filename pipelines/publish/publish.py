"""Put a finished copy of the working file under its public name, or note which snapshot of a lake is whole: people
see the old one or the new one, never a mixture."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import FaultError, UsageError
from pipelines.quoting import literal
from pipelines.warehouse import database
from pipelines.warehouse.home import PUBLISHING, REWRITING, Home, wal
from receiver import rawstore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class UnfinishedError(UsageError):
    """The working file is not fit to be published; the text says what makes it so."""


class PublishError(FaultError):
    """The copy that was to be published did not become whole; the text has the system's reason."""


def publish(home: Home) -> None:
    """Show what was built. Hold the lock. Raises PublishError."""
    with database.working(home) as connection:  # open while it is copied: nobody else may write to it
        if home.lake:
            home.lake.tend(connection)
            home.lake.publish(connection)
        else:
            _replace_published(home, connection)


def _replace_published(home: Home, connection: "DuckDBPyConnection") -> None:
    """Replace the published file by rename, and leave nothing beside it that DuckDB would take for part of it."""
    connection.execute("checkpoint")
    place = home.published.resolve()  # a symbolic link stays one
    with _replaced(place, place.with_name(PUBLISHING)) as aside:
        # By another process: closing a copy of the file in this one would drop DuckDB's lock on it (POSIX).
        copied = subprocess.run(
            ["cp", "--", str(home.working), str(aside)], stderr=subprocess.PIPE, text=True, check=False
        )
        if copied.returncode:
            raise PublishError(f"the warehouse was not copied for publishing: {copied.stderr.strip()}")
        aside.chmod(0o400)
        _remove(_wals(home.published))  # of a tool that died; it would be replayed into the new file
    _remove([*_wals(home.published), home.published_before, wal(home.published_before)])


def rewrite(home: Home) -> None:
    """Write all tables anew: a deleted row leaves its bytes in the file, and in every copy of it. Hold the lock.
    Raises UnfinishedError."""
    if home.lake:
        with database.working(home) as connection:
            home.lake.rewrite(connection)
    else:
        _rewrite_file(home)


def _rewrite_file(home: Home) -> None:
    aside = home.warehouse / REWRITING
    with _replaced(home.working, aside):
        with database.working(home) as connection:
            connection.execute(f"attach {literal(str(aside))} as rewritten")
            connection.execute(f'copy from database "{home.working.stem}" to rewritten')
            connection.execute("checkpoint rewritten; detach rewritten; checkpoint")
        if wal(home.working).exists():  # it would be replayed into the new file
            raise UnfinishedError(f"something else has {home.working} open: close it, then run this again")
    shutil.rmtree(home.warehouse / ".spill", ignore_errors=True)


def purge(home: Home) -> None:
    """Leave nothing in a lake but what is published now: its older snapshots have what was erased."""
    if home.lake:
        with database.working(home) as connection:
            home.lake.purge(connection)


def wals(home: Home) -> list[Path]:
    """What a program left beside the published file that opened it to write and died."""
    return [path for path in _wals(home.published) if path.exists()]


def _wals(published: Path) -> list[Path]:
    """Where DuckDB looks for what was not checkpointed: beside the name by which a file is opened."""
    return list(dict.fromkeys([wal(published), wal(published.resolve())]))


@contextmanager
def _replaced(place: Path, aside: Path) -> Iterator[Path]:
    """What is written to `aside` takes the place of a database when it is whole and on disk, or goes."""
    _remove([aside, wal(aside)])
    try:
        yield aside
        _sync(aside)
        aside.rename(place)
    finally:
        aside.unlink(missing_ok=True)  # half a copy on a full disk would keep the receiver out
    rawstore.sync_folder(place.parent)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
