"""Whose turn it is: one run at a time. On a lake, loads of several homes go on beside each other, and all else waits
for its turn."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING

from pipelines.warehouse.home import Home

if TYPE_CHECKING:
    import psycopg

    from pipelines.warehouse.lake import Lake

_ToldToWait = Callable[[], None]


class BusyError(Exception):
    """Another run holds the lock."""


_BUSY = "another run holds the lock; this one changed nothing"


@contextmanager
def lock(home: Home, told_to_wait: _ToldToWait | None = None, *, only_loads: bool = False) -> Iterator[None]:
    """Keep every other run of this home out, and every other run on its lake, unless this one `only_loads`. The
    kernel and PostgreSQL let go when this process dies.

    Where another run holds the lock, raises BusyError at once, or calls `told_to_wait` and waits for its turn.
    """
    home.make_warehouse()
    fd = os.open(home.warehouse / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if told_to_wait is None:
                raise BusyError(_BUSY) from None
            told_to_wait()
            fcntl.flock(fd, fcntl.LOCK_EX)
        if home.lake and not only_loads:
            with _of_lake(home.lake, told_to_wait):
                yield
        else:
            yield
    finally:
        os.close(fd)


# ---------------------------------------------------------------- on a lake: advisory locks, pairs of numbers

_TURN, _DAY = 0x6B6F6272, 0x6B6F6264  # what the locks of others in the same database hardly begin with
_RUN, _LOAD = 1, 2
# PostgreSQL keeps a lock as long as its session: for as long as a run takes, whatever is idle, and no longer than two
# minutes after a machine or a line died. Servers before 14 have no idle_session_timeout.
_STAY = """
select set_config(name, value, false)
from pg_settings join (values
    ('idle_session_timeout', '0'), ('statement_timeout', '0'), ('lock_timeout', '0'),
    ('tcp_keepalives_idle', '60'), ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '6')
) as wanted (name, value) using (name)
"""


@contextmanager
def _session(lake: "Lake") -> Iterator["psycopg.Connection"]:
    with lake.postgres() as connection:
        connection.execute(_STAY)
        yield connection


@contextmanager
def _of_lake(lake: "Lake", told_to_wait: _ToldToWait | None) -> Iterator[None]:
    with _session(lake) as connection:
        if not _is_taken(connection, _TURN, _RUN):
            if told_to_wait is None:
                raise BusyError(f"on another machine, {_BUSY}")
            told_to_wait()
            connection.execute("select pg_advisory_lock(%s, %s)", [_TURN, _RUN])
        yield


@contextmanager
def loading(home: Home, *, alone: bool) -> Iterator[Callable[[date], bool]]:
    """Load, on a lake beside others, or `alone`. Answers with a function that says whether a day of the raw store is
    this load's: then no other load has it until this one ends."""
    if home.lake is None:
        yield lambda _: True
        return
    with _session(home.lake) as connection:
        connection.execute(f"select pg_advisory_lock{'' if alone else '_shared'}(%s, %s)", [_TURN, _LOAD])
        yield lambda day: _is_taken(connection, _DAY, day.toordinal())


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Wait until nobody loads into the lake, and let nobody begin. A file has a single run anyway."""
    if home.lake is None:
        yield
        return
    with _session(home.lake) as connection:
        connection.execute("select pg_advisory_lock(%s, %s)", [_TURN, _LOAD])
        yield


def _is_taken(connection: "psycopg.Connection", *key: int) -> bool:
    return connection.execute("select pg_try_advisory_lock(%s, %s)", key).fetchone() == (True,)
