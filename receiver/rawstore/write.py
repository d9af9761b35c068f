"""Write segments: when append returns, the bytes are on disk."""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Self

from receiver.rawstore.disk import lock, make_folder, rename_new, still_named, sync_folder, write_new, write_synced
from receiver.rawstore.read import Landed, read_segment
from receiver.rawstore.segments import (
    ADDING,
    CLOSED,
    COMPRESSED,
    OPEN,
    PARTITION,
    TORN,
    clock_after,
    identity,
    new_name,
    newest_clock,
    opened,
    received_date,
)

_MAX_BUFFERS = 1024  # IOV_MAX on every system we know
_COPIED_BYTES = 1 << 20


class Segment:
    """A segment that this process alone appends to, from its creation to its closing."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.date = received_date(path)
        self.began = monotonic()
        self.size = 0
        self._fd = fd

    @classmethod
    def create(cls, raw: Path, day: date, name: str) -> Self | None:
        """A new, locked segment whose directory entry is on disk; None when the name is taken."""
        partition = raw / f"{PARTITION}{day.isoformat()}"
        make_folder(partition)
        path = partition / f"{name}{OPEN}"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return None
        try:
            # Between creation and lock a sibling's recovery may have taken the empty file for an orphan.
            if not lock(fd) or not still_named(path, fd):
                os.close(fd)
                return None
            sync_folder(partition)
        except OSError:
            with suppress(OSError):
                path.unlink()
            os.close(fd)
            raise
        return cls(path, fd)

    def append(self, lines: Sequence[bytes]) -> None:
        """Write the lines and sync them. Raises OSError when that failed: then nothing of them may be
        acknowledged, and the segment takes no more."""
        total = 0
        for start in range(0, len(lines), _MAX_BUFFERS):
            chunk = lines[start : start + _MAX_BUFFERS]
            length = sum(map(len, chunk))
            if write_synced(self._fd, chunk) != length:
                raise OSError(errno.ENOSPC, "short write", str(self.path))
            total += length
        self.size += total

    def close(self) -> Path | None:
        """Close the segment under its final name; an empty one is removed. Raises OSError."""
        return _close(self.path, self._fd, self.size)

    def abandon(self) -> None:
        """Cut off what was never acknowledged and let go; the next start-up or load closes the segment.

        After a failed sync the kernel may have forgotten pages that it still shows: they are not trusted.
        """
        with suppress(OSError):
            os.ftruncate(self._fd, self.size)
        if self.size == 0:  # a disk that refuses for hours must not fill up with empty segments
            with suppress(OSError):
                self.path.unlink()
        with suppress(OSError):
            os.close(self._fd)


class Landing:
    """The writing side of a store for one process: which segment is open, and when it closes.

    Not for several threads at once. A segment closes by size, by age in seconds, at the change of the UTC day
    and at `close()`.
    """

    def __init__(self, raw: Path, *, max_bytes: int = 64 << 20, max_age_s: float = 60.0) -> None:
        self.raw = raw
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._segment: Segment | None = None
        self._clock = newest_clock(raw)

    def append(self, day: date, lines: Sequence[bytes]) -> None:
        """Land records of one UTC day: on return they are synced. Raises OSError, and then none of them may
        be acknowledged; the next call begins a new segment."""
        segment = self._segment
        if segment is not None and (segment.date != day or segment.size >= self._max_bytes):
            self.close()
            segment = None
        if segment is None:
            segment = self._segment = self._begin(day)
        try:
            segment.append(lines)
        except OSError:
            self._segment = None
            segment.abandon()
            raise

    def _begin(self, day: date) -> Segment:
        while True:
            self._clock = clock_after(self._clock)
            if segment := Segment.create(self.raw, day, new_name(self._clock)):
                return segment

    @property
    def open_age_s(self) -> float:
        """Seconds since the open segment began; 0 when there is none."""
        return monotonic() - self._segment.began if self._segment else 0.0

    def close_if_due(self) -> None:
        """Close the open segment when it has reached its age. Raises OSError."""
        if self.open_age_s >= self._max_age_s:
            self.close()

    def close(self) -> None:
        """Close the open segment, if there is one. Raises OSError; the segment then waits for a recovery."""
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()


def _close(path: Path, fd: int, size: int) -> Path | None:
    """Give a locked segment its final name, then let go of the lock: nobody sees a closed segment change."""
    try:
        if size == 0:
            path.unlink()
            return None
        final = path.with_name(identity(path) + CLOSED)
        rename_new(path, final)
        sync_folder(path.parent)
        return final
    finally:
        os.close(fd)


def add_segment(partition: Path, lines: Iterable[bytes]) -> Path:
    """Put records into a partition as a closed segment of their own: on return they are synced. Raises OSError."""
    name = new_name(clock_after(""))
    aside = partition / f"{name}{ADDING}"
    write_new(aside, lines)
    path = partition / f"{name}{CLOSED}"
    rename_new(aside, path)
    sync_folder(partition)
    return path


class Recovered(NamedTuple):
    """An orphaned segment that was closed: `torn` bytes behind its last whole record were set aside."""

    segment: str
    torn: int


def recover(raw: Path) -> list[Recovered]:
    """Close every segment whose writer is gone, cut after its last whole record. What was cut is kept beside
    it as `<segment>.torn`. Segments that are being written are left alone, and so are those that are there in
    another form as well: see `copies`.

    Raises OSError when one could not be closed, once all the others are.
    """
    recovered, failure = [], None
    for path in opened(raw):
        try:
            recovered.append(_recover(path))
        except OSError as why:
            failure = why
    if failure:
        raise failure
    return [each for each in recovered if each]


def is_orphan(path: Path) -> bool:
    """Whether the writer of an open segment is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return lock(fd)
    finally:
        os.close(fd)


def _recover(path: Path) -> Recovered | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # closed meanwhile
        return None
    if not lock(fd) or not still_named(path, fd):
        os.close(fd)
        return None
    if any(path.with_name(identity(path) + ending).exists() for ending in (CLOSED, COMPRESSED)):
        os.close(fd)
        return None
    try:
        whole = _whole_length(path)
        torn = os.fstat(fd).st_size - whole
        if torn:
            _keep_torn(path, fd, whole)
            os.ftruncate(fd, whole)
        os.fsync(fd)
    except OSError:
        os.close(fd)
        raise
    _close(path, fd, whole)
    return Recovered(identity(path), torn)


def _keep_torn(path: Path, fd: int, whole: int) -> None:
    """Keep what stands behind the last whole record, unless a recovery that was cut short has done so."""
    for number in range(1, 1000):
        place = path.with_name(f"{identity(path)}{f'.{number}' if number > 1 else ''}{TORN}")
        try:
            write_new(place, _parts(fd, whole))
        except FileExistsError:
            if _holds(place, _parts(fd, whole)):
                return
            continue
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place))


def _parts(fd: int, at: int) -> Iterator[bytes]:
    while part := os.pread(fd, _COPIED_BYTES, at):
        yield part
        at += len(part)


def _holds(path: Path, parts: Iterable[bytes]) -> bool:
    with path.open("rb") as file:
        return all(file.read(len(part)) == part for part in parts) and not file.read(1)


def _whole_length(path: Path) -> int:
    """Bytes up to the end of the last whole record."""
    last = max((found.offset for found in read_segment(path) if isinstance(found, Landed)), default=None)
    if last is None:
        return 0
    with path.open("rb") as file:
        file.seek(last)
        return last + len(file.readline())
