"""One run at a time."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipelines.warehouse.home import Home


class BusyError(Exception):
    """Another run holds the lock."""


@contextmanager
def lock(home: Home, told_to_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Keep every other run out; the kernel lets go when this process dies.

    Where another run holds the lock, raises BusyError at once, or calls `told_to_wait` and waits for its turn.
    """
    home.make_warehouse()
    fd = os.open(home.warehouse / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
