"""Files and folders that are on the disk itself when a call returns."""

import errno
import fcntl
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, so that a power loss cannot take them away again."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    sync_folder(folder.parent)


def free_floor(folder: Path, told: int | None = None) -> int:
    """Free bytes below which nothing more is accepted: as told, else the smaller of 64 MiB and 5 % of the file
    system. Raises OSError when the folder cannot be looked at."""
    if told is not None:
        return told
    disk = os.statvfs(folder)
    return min(64 << 20, disk.f_blocks * disk.f_frsize // 20)


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_data(fd: int) -> None:
    """Put a file's data, and what is needed to read them back, on the disk itself."""
    if sys.platform == "darwin":
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # there fsync stops at the drive's own cache
    else:
        os.fdatasync(fd)


def write_synced(fd: int, buffers: Sequence[bytes]) -> int:
    """Append buffers to a file and put them on the disk itself; how many bytes were taken. Raises OSError."""
    if sys.platform == "linux":
        try:
            # One system call instead of two: the caller's thread has to win Python's lock back only once.
            return os.pwritev(fd, buffers, 0, os.RWF_DSYNC)  # O_APPEND: the offset does not count
        except OSError as why:
            if why.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise
    written = os.writev(fd, buffers)
    sync_data(fd)
    return written


def write_new(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a file that did not exist, synced, with its directory entry."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.writelines(blocks)
        file.flush()
        os.fsync(fd)
    sync_folder(path.parent)


def rename_new(path: Path, place: Path) -> None:
    """Give a file another name that nothing has; the caller syncs the folder. Raises FileExistsError."""
    try:
        os.link(path, place)
    except OSError as why:
        if why.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        if place.exists():  # this file system has no links; who writes here holds a lock
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place)) from None
        path.rename(place)
    else:
        path.unlink()


def set_aside(path: Path, ending: str) -> Path:
    """Give a file a name that ends in `ending` and that nothing has: `name.aside`, `name.2.aside` …; the caller
    syncs the folder."""
    for number in count(1):
        place = path.with_name(f"{path.name}{f'.{number}' if number > 1 else ''}{ending}")
        try:
            rename_new(path, place)
        except FileExistsError:
            continue
        return place
    raise AssertionError  # count has no end


def put(path: Path, content: str | bytes) -> None:
    """Put a file in its place, whole and synced."""
    aside = path.with_name(f"{path.name}.new")
    aside.unlink(missing_ok=True)
    write_new(aside, [content.encode() if isinstance(content, str) else content])
    aside.rename(path)
    sync_folder(path.parent)


def lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def still_named(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def misread_in(home: Path) -> str:
    """The characters in the absolute path of a home that DuckDB, dlt or dbt misread, with blanks between."""
    return " ".join(sorted(set("?#%*[]{}'\"") & set(str(home.absolute()))))
