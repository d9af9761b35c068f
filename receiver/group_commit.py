"""Group commit: all that came while the event loop was busy shares one write and one sync, then is answered."""

import asyncio
import errno
import logging
import os
from collections import Counter
from contextlib import suppress
from datetime import UTC, date, datetime
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic, perf_counter

from receiver.metrics import Metrics
from receiver.rawstore import PARTITION, Delivery, Landing, encode, free_floor, make_folder, sync_folder
from receiver.rawstore.disk import write_synced

log = logging.getLogger(__name__)

_TRY_EVERY_S = 1.0  # while storing does not work; what was found out holds for as long
_PATIENCE_S = 2.0  # for a disk that does not say whether it works
_PROBE = bytes(4096)  # a whole block: less may find room where no record does, such as beside the file's own entry
_LOOK_EVERY_S = 0.1  # at free space, as long as all is well
_QUIET_TURNS = 2  # of the event loop: what is read in one turn is stored in the next
_MOST_TURNS = 16  # of the event loop for one batch

Answer = asyncio.Future[bool]


def _answer(waiting: Answer, stored: bool) -> None:
    if not waiting.done():  # somebody gave up waiting
        waiting.set_result(stored)


class Batch:
    """Deliveries that will share one sync, as lines of one or, across midnight, two UTC days.

    All that can be prepared is prepared in the event loop: while the thread runs Python, the loop cannot.
    """

    __slots__ = ("answers", "days", "loop", "outcomes", "size")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.days: list[tuple[str, list[bytes]]] = []
        self.answers: list[Answer] = []
        self.outcomes: list[str] = []
        self.size = 0

    def add(self, delivery: Delivery, outcome: str) -> Answer:
        """Take a delivery in; what comes back is True once it is synced, False when it must not be acknowledged."""
        day = delivery.received_at[:10]
        if not self.days or self.days[-1][0] != day:
            self.days.append((day, []))
        self.days[-1][1].append(encode(delivery))
        self.outcomes.append(outcome)
        self.size += delivery.size
        answer: Answer = self.loop.create_future()
        self.answers.append(answer)
        return answer


class GroupCommit:
    """Owns the landing: one thread writes, closes segments that are due, and finds out whether storing works.

    At most one batch is being written. What arrives meanwhile forms the next one, so batches grow with the load and
    nobody ever waits for a timer. The thread starts when it is first asked for anything.
    """

    def __init__(self, landing: Landing, metrics: Metrics, *, min_free_bytes: int | None, max_age_s: float) -> None:
        self._landing = landing
        self._metrics = metrics
        self._min_free_bytes = min_free_bytes
        self._max_age_s = max_age_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._work: SimpleQueue[Batch | Answer | None] = SimpleQueue()
        self._is_busy = False  # gathering a batch, or writing one
        self._failures = 0
        self._look_at = 0.0
        self._known_at = float("-inf")
        self._fault: str | None = "not_tried"

    def store(self, delivery: Delivery, outcome: str) -> Answer:
        """Store a delivery with the next batch; see Batch.add. `outcome` is what it counts as once it is stored."""
        if self._loop is None or self._loop.is_closed():
            self._begin()
        if not self._is_busy:
            self._gather()
        return self._next.add(delivery, outcome)

    async def why_not_ready(self) -> str | None:
        """Why nothing can be stored now, as a code; None when it can.

        It is tried again when nothing was stored or tried within the last second.
        """
        if monotonic() - self._known_at > _TRY_EVERY_S:
            if self._loop is None or self._loop.is_closed():
                self._begin()
            tried: Answer = asyncio.get_running_loop().create_future()
            self._work.put(tried)
            try:
                await asyncio.wait_for(tried, _PATIENCE_S)
            except TimeoutError:
                return "ETIMEDOUT"
        return self._fault

    async def close(self) -> None:
        """Store what has come, close the open segment and end the thread."""
        while self._is_busy and self._loop is asyncio.get_running_loop():
            await asyncio.sleep(0.01)
        if self._thread is not None:
            self._work.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = self._loop = None

    # ------------------------------------------------------------ in the event loop

    def _begin(self) -> None:
        """Work for the event loop that runs now; an earlier one is closed."""
        self._loop = asyncio.get_running_loop()
        self._next = Batch(self._loop)
        self._is_busy = False
        if self._thread is None:
            self._thread = Thread(target=self._run, name="group-commit", daemon=True)
            self._thread.start()

    def _gather(self) -> None:
        self._is_busy = True
        self._next.loop.call_soon(self._commit, 0, 0, _MOST_TURNS)

    def _commit(self, seen: int, quiet: int, turns: int) -> None:
        """Hand over what waits as soon as a turn of the event loop has brought nothing new.

        As long as there is something to do in the loop, the thread would not get hold of the interpreter anyway:
        a batch handed over early gains nothing, and splits the clients into groups that wait for each other.
        """
        waiting = len(self._next.answers)
        quiet = 0 if waiting > seen else quiet + 1
        if quiet < _QUIET_TURNS and turns:
            self._next.loop.call_soon(self._commit, waiting, quiet, turns - 1)
            return
        batch, self._next = self._next, Batch(self._next.loop)
        self._work.put(batch)

    def _answer_all(self, batch: Batch, why: Exception | None, seconds: float) -> None:
        self._count(batch, why, seconds)
        for answer in batch.answers:
            _answer(answer, why is None)
        self._is_busy = False
        if self._next.answers:
            self._gather()

    def _count(self, batch: Batch, why: Exception | None, seconds: float) -> None:
        metrics = self._metrics
        if why is not None:
            metrics.count("not_stored", len(batch.answers))
            return
        for outcome, number in Counter(batch.outcomes).items():
            metrics.count(outcome, number)
        metrics.received_bytes.inc(batch.size)
        metrics.sync_seconds.observe(seconds)
        metrics.batch_size.observe(len(batch.answers))

    # ------------------------------------------------------------ in the thread

    def _run(self) -> None:
        self._try()
        while self._go_on():
            pass
        self._close_segment()

    def _go_on(self) -> bool:
        """Do what is to be done next; False when the work is over."""
        try:
            work = self._work.get(timeout=self._patience())
        except Empty:
            self._keep()
            return True
        if isinstance(work, Batch):
            self._store(work)
        elif work is not None:
            self._try_for(work)
        return work is not None

    def _store(self, batch: Batch) -> None:
        began = perf_counter()
        failure = None
        try:
            self._require_space()
            for day, lines in batch.days:
                self._landing.append(date.fromisoformat(day), lines)
        except Exception as why:  # noqa: BLE001 - whatever it was, its batch is not stored and must hear so
            self._note_failure(why)
            failure = why
        else:
            self._note_success()
        with suppress(RuntimeError):  # the event loop is gone, and all who waited with it
            batch.loop.call_soon_threadsafe(self._answer_all, batch, failure, perf_counter() - began)
        if self._landing.open_age_s >= self._max_age_s:
            self._keep()

    def _try_for(self, waiting: Answer) -> None:
        """Find out whether storing works for somebody who asks; many may have asked at once."""
        if monotonic() - self._known_at > _TRY_EVERY_S:
            self._try()
        with suppress(RuntimeError):  # the event loop is gone
            waiting.get_loop().call_soon_threadsafe(_answer, waiting, True)

    def _try(self) -> None:
        try:
            self._probe()
        except OSError as why:
            self._note_failure(why)
        else:
            self._note_success()

    def _probe(self) -> None:
        """Do what storing does, in the partition of today, with a file of no meaning. Raises OSError."""
        partition = self._landing.raw / f"{PARTITION}{datetime.now(UTC).date()}"
        make_folder(partition)
        self._require_space()
        path = partition / ".probe.open"  # backups leave out what ends so
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            sync_folder(partition)
            if write_synced(fd, [_PROBE]) != len(_PROBE):
                raise OSError(errno.ENOSPC, "short write", str(path))
        finally:
            os.close(fd)
            path.unlink(missing_ok=True)  # another receiver's probe has the same name

    def _require_space(self) -> None:
        if not self._failures and monotonic() < self._look_at:
            return
        self._look_at = monotonic() + _LOOK_EVERY_S
        disk = os.statvfs(self._landing.raw)
        if disk.f_bavail * disk.f_frsize < free_floor(self._landing.raw, self._min_free_bytes):
            raise OSError(errno.ENOSPC, "below the floor of free space", str(self._landing.raw))

    def _patience(self) -> float | None:
        """Seconds until the thread has something to do unasked; None when it has nothing."""
        if self._failures:
            return _TRY_EVERY_S
        age = self._landing.open_age_s
        return max(0.0, self._max_age_s - age) if age else None

    def _keep(self) -> None:
        """What must happen without any delivery coming in."""
        try:
            self._landing.close_if_due()
        except Exception as why:  # noqa: BLE001 - the thread has to live on
            self._note_failure(why)
        if self._failures:
            self._try()

    def _close_segment(self) -> None:
        try:
            self._landing.close()
        except OSError as why:
            self._note_failure(why)

    def _note_failure(self, why: Exception) -> None:
        self._failures += 1
        self._known_at = monotonic()
        self._fault = errno.errorcode.get(getattr(why, "errno", None) or 0, type(why).__name__)
        if self._failures & (self._failures - 1) == 0:  # the 1st, 2nd, 4th, 8th … in a row
            log.error("not_stored", extra={"fields": {"fault": self._fault, "failures": self._failures}})

    def _note_success(self) -> None:
        if self._failures:
            log.warning("storing_again", extra={"fields": {"failures": self._failures}})
        self._failures = 0
        self._known_at = monotonic()
        self._fault = None
