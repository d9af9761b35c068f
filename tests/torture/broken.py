"""python -m tests.torture.broken MUTANT …: a receiver broken on purpose. A proof that it passes proves nothing."""

import errno
import os
import sys
from collections import deque
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import time_ns
from typing import Any

import receiver.app
from receiver import group_commit, http_guard
from receiver.__main__ import main
from receiver.rawstore import Landing, disk, record, segments, write

KEPT_BACK = 5
# By the deliveries that came before; a step of a day leads to another partition.
STEPS_BACK = {100: timedelta(hours=1), 150: timedelta(days=1)}


class LateLanding(Landing):
    """Acknowledges at once and always writes five batches later."""

    def __init__(self, raw: Path, **options: Any) -> None:
        super().__init__(raw, **options)
        self._kept_back: deque[Sequence[bytes]] = deque()

    def append(self, day: date, lines: Sequence[bytes]) -> None:
        self._kept_back.append(lines)
        if len(self._kept_back) > KEPT_BACK:
            super().append(day, self._kept_back.popleft())


def write_unsynced(fd: int, buffers: Sequence[bytes]) -> int:
    """Leaves it to the kernel when the bytes reach the disk."""
    return os.writev(fd, buffers)


_write: Any = write
_record: Any = record
_segments: Any = segments
_app: Any = receiver.app
_commit: Any = group_commit
_guard: Any = http_guard
_honest_write = disk.write_synced


def write_again(fd: int, buffers: Sequence[bytes]) -> int:
    """Takes a failed sync for a hiccup."""
    length = sum(map(len, buffers))
    try:
        written = _honest_write(fd, buffers)
    except OSError as why:
        if why.errno != errno.EIO:
            raise
        written = 0
    if written != length:
        os.fdatasync(fd)
    return length


class SteppingClock:
    """The wall clock, set back in mid-work as STEPS_BACK says."""

    def __init__(self) -> None:
        self._deliveries = 0

    def time_ns(self) -> int:
        self._deliveries += 1
        return time_ns() - int(self._behind().total_seconds()) * 1_000_000_000

    def _behind(self) -> timedelta:
        return sum((by for after, by in STEPS_BACK.items() if self._deliveries > after), timedelta())

    def datetime(self) -> type[datetime]:
        outer = self

        class Stepping(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz or UTC) - outer._behind()

        return Stepping


def step_back() -> None:
    """No mutant: the product, on a machine whose clock is set back while it runs."""
    clock = SteppingClock()
    _record.time_ns = clock.time_ns
    _segments.datetime = clock.datetime()


def trust_the_clock() -> None:
    """The same machine, and names and ids that are whatever the clock says."""
    step_back()
    _record.Stamps._last = property(lambda _: 0, lambda *_: None)
    _write.Landing._clock = property(lambda _: "", lambda *_: None)


def late() -> None:
    """Answers that do not wait for the disk."""
    _app.Landing = LateLanding


def unsynced() -> None:
    """Answers that wait for the kernel alone."""
    _write.write_synced = write_unsynced


def retrying() -> None:
    """Answers after a second try at what failed."""
    _write.write_synced = write_again


def unlocked() -> None:
    """Segments that nobody can tell from those of a dead writer."""
    _write.lock = lambda _fd: True


def ascii_keys() -> None:
    """Answers that take it for granted that a key is ASCII."""
    honest = _app.Keyring.source_of
    _app.Keyring.source_of = lambda keyring, key: honest(keyring, key.decode("ascii").encode())


def tried_elsewhere() -> None:
    """Readiness that is found out in another folder than that of the deliveries."""
    _commit.PARTITION = "elsewhere="


def pipelined() -> None:
    """Any number of requests behind one that is not answered yet."""
    _guard._MOST_PIPELINED = _guard._MOST_WAITING = sys.maxsize


MUTANTS = {
    "acknowledge-before-write": late,
    "no-sync": unsynced,
    "retry-a-failed-sync": retrying,
    "no-lock": unlocked,
    "ready-by-another-folder": tried_elsewhere,
    "no-limit-on-pipelining": pipelined,
    "every-key-is-ascii": ascii_keys,
    "clock-steps-back": step_back,
    "trust-the-clock": trust_the_clock,
}


if __name__ == "__main__":
    MUTANTS[sys.argv.pop(1)]()
    sys.exit(main())
