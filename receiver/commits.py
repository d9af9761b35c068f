"""Group commit: all that came while the event loop was busy shares one write and one sync, then is answered."""

import asyncio
import errno
import logging
import os
from collections import Counter
from collections.abc import Callable
from datetime import date
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic, perf_counter

from receiver.metrics import Metrics
from receiver.rawstore import Delivery, Landing, encode, make_folder

log = logging.getLogger(__name__)

_FAILURES_UNTIL_NOT_READY = 2
_PROBE_EVERY_S = 1.0
_PROBE = bytes(4096)  # a whole block: less may find room where no record does, such as beside the file's own entry
_LOOK_EVERY_S = 0.1  # at free space, as long as all is well
_MOST_TURNS = 8  # of the event loop for one batch


class Batch:
    """Deliveries that will share one sync, as lines of one or, across midnight, two UTC days.

    All that can be prepared is prepared in the event loop: while the thread runs Python, the loop cannot.
    """

    __slots__ = ("days", "done", "outcomes", "size")

    def __init__(self) -> None:
        self.days: list[tuple[str, list[bytes]]] = []
        self.done: list[Callable[[bool], None]] = []
        self.outcomes: list[str] = []
        self.size = 0

    def add(self, delivery: Delivery, outcome: str, done: Callable[[bool], None]) -> None:
        day = delivery.received_at[:10]
        if not self.days or self.days[-1][0] != day:
            self.days.append((day, []))
        self.days[-1][1].append(encode(delivery))
        self.done.append(done)
        self.outcomes.append(outcome)
        self.size += delivery.size


class Commits:
    """Owns the landing: one thread writes, closes segments that are due, and finds out whether storing works.

    At most one commit is in flight. What arrives meanwhile forms the next batch, so batches grow with the
    load and nobody ever waits for a timer.
    """

    def __init__(self, landing: Landing, metrics: Metrics, *, free_floor: int, max_age_s: float) -> None:
        self._landing = landing
        self._max_age_s = max_age_s
        self._metrics = metrics
        self._free_floor = free_floor
        self._loop = asyncio.get_running_loop()
        self._waiting = Batch()
        self._busy = False  # gathering a batch, or one is in flight
        self._work: SimpleQueue[Batch | None] = SimpleQueue()
        self._failures = 0
        self._look_at = 0.0
        self.trouble: str | None = "not_tried"
        """Why storing does not work at present, as a code; None when it does."""
        self._tried: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = Thread(target=self._run, name="commits", daemon=True)
        self._thread.start()

    def land(self, delivery: Delivery, outcome: str, done: Callable[[bool], None]) -> None:
        """Call `done` when the delivery is synced, with True, or is not stored and must not be acknowledged, with
        False. `outcome` is for counting."""
        if not self._busy:
            self._gather()
        self._waiting.add(delivery, outcome, done)

    async def tried(self) -> None:
        """Wait until it is known whether the disk takes data."""
        await self._tried

    def why_not_ready(self) -> str | None:
        """Why nothing can be stored now, as a code; None when it can."""
        try:
            return self.trouble or (None if self._has_space() else "ENOSPC")
        except OSError as why:
            return errno.errorcode.get(why.errno or 0, "EIO")

    async def close(self) -> None:
        """Finish what is in flight, close the open segment and end the thread."""
        while self._busy:
            await asyncio.sleep(0.01)
        self._work.put(None)
        await self._ended

    # ------------------------------------------------------------ in the event loop

    def _gather(self) -> None:
        self._busy = True
        self._loop.call_soon(self._commit, 0, _MOST_TURNS)

    def _commit(self, seen: int, turns: int) -> None:
        """Hand over what waits as soon as a turn of the event loop has brought nothing new.

        As long as there is something to do in the loop, the thread would not get hold of the interpreter anyway:
        a batch handed over early gains nothing, and splits the clients into groups that wait for each other.
        """
        waiting = len(self._waiting.done)
        if waiting > seen and turns:
            self._loop.call_soon(self._commit, waiting, turns - 1)
            return
        batch, self._waiting = self._waiting, Batch()
        self._work.put(batch)

    def _answer(self, batch: Batch, why: Exception | None, seconds: float) -> None:
        self._count(batch, why, seconds)
        for done in batch.done:
            try:
                done(why is None)
            except Exception:  # the outermost edge: the others in the batch must hear, whatever happened to one
                log.exception("unexpected")
        self._busy = False
        if self._waiting.done:
            self._gather()

    def _count(self, batch: Batch, why: Exception | None, seconds: float) -> None:
        metrics = self._metrics
        if why is not None:
            metrics.count("not_stored", len(batch.done))
            return
        for outcome, number in Counter(batch.outcomes).items():
            metrics.count(outcome, number)
        metrics.received_bytes.inc(batch.size)
        metrics.sync_seconds.observe(seconds)
        metrics.batch_size.observe(len(batch.done))

    # ------------------------------------------------------------ in the thread

    def _run(self) -> None:
        self._try_the_disk()
        while True:
            try:
                batch = self._work.get(timeout=self._patience())
            except Empty:
                self._keep()
                continue
            if batch is None:
                break
            began = perf_counter()
            why = self._store(batch)
            self._loop.call_soon_threadsafe(self._answer, batch, why, perf_counter() - began)
            if self._landing.open_age_s >= self._max_age_s:
                self._keep()
        self._close_segment()
        self._loop.call_soon_threadsafe(self._ended.set_result, None)

    def _try_the_disk(self) -> None:
        """Before anybody relies on it: a store that cannot be written is not ready."""
        try:
            self._probe()
        except OSError as why:
            self._failures = _FAILURES_UNTIL_NOT_READY - 1
            self._note_failure(why)
        else:
            self.trouble = None
        self._loop.call_soon_threadsafe(self._tried.set_result, None)

    def _store(self, batch: Batch) -> Exception | None:
        try:
            self._require_space()
            for day, lines in batch.days:
                self._landing.append(date.fromisoformat(day), lines)
        except Exception as why:  # noqa: BLE001 - whatever it was, its batch is not stored and must hear so
            self._note_failure(why)
            return why
        self._note_success()
        return None

    def _require_space(self) -> None:
        if not self._failures and monotonic() < self._look_at:
            return
        self._look_at = monotonic() + _LOOK_EVERY_S
        if not self._has_space():
            raise OSError(errno.ENOSPC, "below the floor of free space", str(self._landing.raw))

    def _has_space(self) -> bool:
        disk = os.statvfs(self._landing.raw)
        return disk.f_bavail * disk.f_frsize >= self._free_floor

    def _patience(self) -> float | None:
        """Seconds until the thread has something to do unasked; None when it has nothing."""
        if self._failures:
            return _PROBE_EVERY_S
        age = self._landing.open_age_s
        return max(0.0, self._max_age_s - age) if age else None

    def _keep(self) -> None:
        """What must happen without any delivery coming in."""
        try:
            self._landing.close_if_due()
            if self._failures:
                self._probe()
                self._note_success()
        except OSError as why:
            self._note_failure(why)

    def _probe(self) -> None:
        """Find out whether the disk takes data again. Raises OSError when it does not."""
        make_folder(self._landing.raw)
        self._require_space()
        path = self._landing.raw / f".probe-{os.getpid()}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.write(fd, _PROBE) != len(_PROBE):
                raise OSError(errno.ENOSPC, "short write", str(path))
            os.fsync(fd)
        finally:
            os.close(fd)
            path.unlink()

    def _close_segment(self) -> None:
        try:
            self._landing.close()
        except OSError as why:
            self._note_failure(why)

    def _note_failure(self, why: Exception) -> None:
        self._failures += 1
        fault = errno.errorcode.get(getattr(why, "errno", None) or 0, type(why).__name__)
        if self._failures >= _FAILURES_UNTIL_NOT_READY or fault == "ENOSPC":
            self.trouble = fault
        if self._failures & (self._failures - 1) == 0:  # the 1st, 2nd, 4th, 8th … in a row
            log.error("not_stored", extra={"fields": {"fault": fault, "failures": self._failures}})

    def _note_success(self) -> None:
        if self._failures:
            log.warning("storing_again", extra={"fields": {"failures": self._failures}})
        self._failures = 0
        self.trouble = None
