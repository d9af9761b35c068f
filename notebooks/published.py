"""The published file, read-only: opened, asked, and opened again when a new one has taken its place."""

import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from weakref import ref

import duckdb

_NAMED = re.compile(r"\$([a-z_]\w*)")
_SETTINGS: dict[str, Any] = {"memory_limit": "1GB", "threads": 2}


class NothingPublishedError(Exception):
    """There is no published file yet."""


def path() -> Path:
    """Where the file lies: under KOBRA_HOME, or ./kobra-data."""
    home = Path(os.environ.get("KOBRA_HOME", "").strip() or "kobra-data").expanduser()
    return home / "warehouse" / "analytics.duckdb"


def connect(file: Path) -> duckdb.DuckDBPyConnection:
    """The file attached read-only as `w`, in a connection that opens nothing else."""
    if not file.exists():
        raise NothingPublishedError(f"there is no {file} yet: run `kobra run`, or set KOBRA_HOME")
    connection = duckdb.connect(config=_SETTINGS)
    quoted = str(file).replace("'", "''")
    connection.execute(f"attach '{quoted}' as w (read_only)")
    connection.execute("set timezone = 'UTC'; set temp_directory = ''; set enable_external_access = false")
    connection.execute("set lock_configuration = true; use w.marts")
    return connection


class Stamp(NamedTuple):
    """What tells one published file from the next: they are replaced by rename, never written to."""

    inode: int
    changed_ns: int
    bytes: int

    @property
    def published_at(self) -> datetime:
        return datetime.fromtimestamp(self.changed_ns / 1e9, UTC)


class Snapshot:
    """One published file as it was opened: all questions to it get answers of the same moment."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, stamp: Stamp) -> None:
        self.stamp = stamp
        self._connection = connection

    def rows(self, query: str, values: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """What a query answers; of `values` it gets those that it names with a `$`."""
        named = {name: value for name, value in (values or {}).items() if name in set(_NAMED.findall(query))}
        with self._connection.cursor() as cursor:  # cursors are what threads may share a connection by
            cursor.execute("use w.marts")
            found = cursor.execute(query, named or None)
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def row(self, query: str, values: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The only row of an answer."""
        (row,) = self.rows(query, values)
        return row

    @cached_property
    def definitions(self) -> dict[tuple[str, str], str]:
        """What a column means, by table of marts and name, as the file itself says."""
        found = self.rows("""
            select table_name, column_name, comment from duckdb_columns()
            where database_name = 'w' and schema_name = 'marts' and comment is not null
        """)
        return {(row["table_name"], row["column_name"]): row["comment"] for row in found}


class Published:
    """The place where the file is put. Threads may share it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = Lock()
        # Nobody's look, nothing open: a file that was replaced, to erase somebody, must not live on in here.
        self._open: Callable[[], Snapshot | None] = lambda: None

    def stamp(self) -> Stamp | None:
        """The file that is there now; None before the first."""
        try:
            found = self.file.stat()
        except FileNotFoundError:
            return None
        return Stamp(found.st_ino, found.st_mtime_ns, found.st_size)

    def now(self) -> Snapshot:
        """The newest file, opened once. An older one is closed when nobody holds it any more.

        Raises NothingPublishedError.
        """
        with self._lock:
            stamp = self.stamp()
            snapshot = self._open()
            if snapshot is None or stamp != snapshot.stamp:
                # Replaced in between, its stamp is that of the older file: the next look opens it again.
                snapshot = Snapshot(connect(self.file), stamp or Stamp(0, 0, 0))
                self._open = ref(snapshot)
            return snapshot


class _Shared:
    """One `Published` a file for the whole process, however many readers there are."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._places: dict[Path, Published] = {}

    def at(self, file: Path) -> Published:
        with self._lock:
            return self._places.setdefault(file.absolute(), Published(file.absolute()))


SHARED = _Shared()
