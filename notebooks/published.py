"""What is published, read-only: opened, asked, and opened again when something newer has taken its place."""

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

from pipelines.settings import Settings
from pipelines.warehouse.lake import Lake

_NAMED = re.compile(r"\$([a-z_]\w*)")
_SETTINGS: dict[str, Any] = {"memory_limit": "1GB", "threads": 2}


Place = Path | Lake
"""Where it is: a file, or a lake of which a snapshot is published."""


class NothingPublishedError(Exception):
    """Nothing is published there yet."""


def place() -> Place:
    """The lake that KOBRA_WAREHOUSE names; else the file under KOBRA_HOME, or ./kobra-data."""
    settings = Settings.from_environ(os.environ)
    return Lake.of(settings) or settings.home / "warehouse" / "analytics.duckdb"


def connect(place: Place) -> duckdb.DuckDBPyConnection:
    """What is published as `w`, read-only, in a connection that opens nothing else."""
    connection = _of_lake(place) if isinstance(place, Lake) else _of_file(place)
    connection.execute("".join(f"set {name} = '{value}';" for name, value in _SETTINGS.items()))
    connection.execute("set timezone = 'UTC'; set temp_directory = ''; set enable_external_access = false")
    connection.execute("set lock_configuration = true; use w.marts")
    return connection


def _of_file(file: Path) -> duckdb.DuckDBPyConnection:
    if not file.exists():
        raise NothingPublishedError(f"there is no {file} yet: run `kobra run`, or set KOBRA_HOME")
    connection = duckdb.connect()
    quoted = str(file).replace("'", "''")
    connection.execute(f"attach '{quoted}' as w (read_only)")
    return connection


def _of_lake(lake: Lake) -> duckdb.DuckDBPyConnection:
    published = lake.published()
    if published is None:
        raise NothingPublishedError("nothing is published on the lake yet: run `kobra run`")
    return lake.read(published.snapshot, "w")


class Stamp(NamedTuple):
    """What tells one published file from the next, which takes its place by rename, or one snapshot from the next."""

    number: int
    published_at: datetime
    bytes: int = 0


class Snapshot:
    """What was published when it was opened: all questions to it get answers of the same moment."""

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
    """What is published at a place, now and later. Threads may share it."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = Lock()
        # Nobody's look, nothing open: a file that was replaced, to erase somebody, must not live on in here.
        self._open: Callable[[], Snapshot | None] = lambda: None

    def stamp(self) -> Stamp | None:
        """Of what is there now; None before the first."""
        if isinstance(self._place, Lake):
            published = self._place.published()
            return Stamp(published.snapshot, published.at) if published else None
        try:
            found = self._place.stat()
        except FileNotFoundError:
            return None
        return Stamp(found.st_ino, datetime.fromtimestamp(found.st_mtime_ns / 1e9, UTC), found.st_size)

    def now(self) -> Snapshot:
        """The newest file, opened once. An older one is closed when nobody holds it any more.

        Raises NothingPublishedError.
        """
        with self._lock:
            stamp = self.stamp()
            snapshot = self._open()
            if snapshot is None or stamp != snapshot.stamp:
                # Replaced in between, its stamp is that of the older file: the next look opens it again.
                snapshot = Snapshot(connect(self._place), stamp or Stamp(0, datetime.fromtimestamp(0, UTC)))
                self._open = ref(snapshot)
            return snapshot


class _Shared:
    """One `Published` a place for the whole process, however many readers there are."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._places: dict[Place, Published] = {}

    def at(self, place: Place) -> Published:
        place = place if isinstance(place, Lake) else place.absolute()
        with self._lock:
            return self._places.setdefault(place, Published(place))


SHARED = _Shared()
