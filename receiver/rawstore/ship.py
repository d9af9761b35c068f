"""Ship closed segments to an object store: created exclusively under their identity, so that doing it twice, or from
two processes, is doing it once. What is there is noted in the partition, in `.shipped`, one name a line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from receiver.rawstore.compress import packed
from receiver.rawstore.disk import lock, sync_folder, write_synced
from receiver.rawstore.objects import ObjectStore
from receiver.rawstore.segments import COMPRESSED, closed_in, identity, partitions, received_date

_NOTE, _LOCK = ".shipped", ".shipping"


def place_of(path: Path) -> str:
    """Where a closed segment stands in an object store."""
    return f"{path.parent.name}/{identity(path)}{COMPRESSED}"


class Shipper:
    """Ships the closed segments of a raw folder. Not for several threads at once."""

    def __init__(self, raw: Path, store: ObjectStore) -> None:
        self._raw = raw
        self._store = store

    def ship(self) -> Iterator[Path]:
        """Ship what waits, and tell of each segment that is there now. While another process ships from the same
        folder, nothing happens. Raises StoreError; OSError or ValueError when a segment cannot be read, once all
        the others are shipped."""
        failure = None
        with self._alone() as alone:
            for path in waiting(self._raw) if alone else ():
                try:
                    content = packed(path)
                except FileNotFoundError:  # compressed, or put together with others, meanwhile
                    continue
                except (OSError, ValueError) as why:
                    failure = why
                    continue
                self._store.create(place_of(path), content)
                _note(path)
                yield path
        if failure:
            raise failure

    def expire(self, days: int, today: date) -> None:
        """Remove shipped segments of days that are longer ago, in UTC. Raises OSError."""
        with self._alone() as alone:
            for partition in partitions(self._raw) if alone else ():
                if received_date(partition / "any") >= today - timedelta(days=days):
                    break
                there = shipped(partition)
                for name, path in closed_in(partition).items():
                    if name in there:
                        path.unlink()
                sync_folder(partition)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        fd = os.open(self._raw / _LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield lock(fd)
        finally:
            os.close(fd)


def waiting(raw: Path) -> list[Path]:
    """The closed segments of a raw folder that are not known to be in the store, oldest first."""
    found = list[Path]()
    for partition in partitions(raw):
        there = shipped(partition)
        found += (path for name, path in closed_in(partition).items() if name not in there)
    return found


def shipped(partition: Path) -> set[str]:
    """The names of a partition's segments that are noted to be in the store."""
    try:
        noted = (partition / _NOTE).read_text()
    except FileNotFoundError:
        return set()
    return set(noted.split("\n")[:-1])  # a line without an end was cut short


def _note(path: Path) -> None:
    fd = os.open(path.parent / _NOTE, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        torn = size and os.pread(fd, 1, size - 1) != b"\n"
        write_synced(fd, [b"\n" * bool(torn) + f"{identity(path)}\n".encode()])
    finally:
        os.close(fd)
