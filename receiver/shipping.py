"""A thread that ships what is closed to an object store, and goes on trying while the store is away."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic import BaseModel

from receiver import rawstore
from receiver.rawstore.objects import ObjectStore, StoreError
from receiver.rawstore.ship import Shipper, waiting

log = logging.getLogger(__name__)

_EVERY_S, _SLOWEST_S = 1.0, 60.0
_DOUBLINGS = 6  # after which it is as slow as it gets
_EXPIRES_EVERY_S = 600.0
_LAST_S = 20.0  # for what was closed when the receiver stopped


class ShippingDetail(BaseModel):
    """How shipping to the object store goes: closed segments that wait, since when the oldest does, and why the last
    attempt failed. Deliveries are stored all the same."""

    waiting_segments: int
    oldest_waiting: datetime | None
    fault: str | None


class Shipping(Collector):
    """Ships from the raw folder of a home. `keep_days`: how long local segments stay once they are in the store.
    Where a warehouse stands beside them, they stay for good."""

    def __init__(self, home: Path, url: str, keep_days: int) -> None:
        self._raw, self._warehouse = home / "raw", home / "warehouse"
        self._url = url
        self._keep_days = keep_days
        self._shipper: Shipper | None = None
        self._stopped = Event()
        self._thread: Thread | None = None
        self._shipped = self._failures = self._in_a_row = 0
        self._fault: str | None = None

    def start(self) -> None:
        """Begin."""
        self._stopped.clear()
        self._thread = Thread(target=self._run, name="shipping", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ship what is closed by now, if the store is there, and end."""
        self._stopped.set()
        if self._thread:
            self._thread.join(_LAST_S)

    def detail(self) -> ShippingDetail:
        """How it goes. Reads folders: not for the event loop."""
        found = waiting(self._raw)
        oldest = rawstore.began(found[0]) if found else None
        return ShippingDetail(waiting_segments=len(found), oldest_waiting=oldest, fault=self._fault)

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """The same for Prometheus."""
        yield GaugeMetricFamily(
            "kobra_waiting_segments",
            "Closed segments that are not in the object store yet.",
            value=len(waiting(self._raw)),
        )
        yield CounterMetricFamily("kobra_shipped_segments", "Segments shipped.", value=self._shipped)
        yield CounterMetricFamily("kobra_shipping_failures", "Attempts to ship that failed.", value=self._failures)

    # ------------------------------------------------------------ in the thread

    def _run(self) -> None:
        pause, rounds = 0.0, 0
        while not self._stopped.wait(pause):
            self._round(expires=rounds % int(_EXPIRES_EVERY_S / _EVERY_S) == 0)
            rounds += 1
            pause = min(_EVERY_S * 2 ** min(self._in_a_row, _DOUBLINGS), _SLOWEST_S)
        self._round(expires=False)

    def _round(self, *, expires: bool) -> None:
        try:
            if self._shipper is None:
                self._shipper = Shipper(self._raw, ObjectStore(self._url))
            for _ in self._shipper.ship():
                self._shipped += 1
                self._note_success()
            if expires and not self._warehouse.exists():
                self._shipper.expire(self._keep_days, datetime.now(UTC).date())
        except Exception as why:  # noqa: BLE001 - the thread has to live on, and the receiver goes on receiving
            self._note_failure(why)
        else:
            self._note_success()

    def _note_failure(self, why: Exception) -> None:
        self._failures += 1
        self._in_a_row += 1
        self._fault = str(why) if isinstance(why, StoreError) else type(why).__name__
        if self._in_a_row & (self._in_a_row - 1) == 0:  # the 1st, 2nd, 4th, 8th … in a row
            log.error("not_shipped", extra={"fields": {"fault": self._fault, "failures": self._in_a_row}})

    def _note_success(self) -> None:
        if self._in_a_row:
            log.warning("shipping_again", extra={"fields": {"failures": self._in_a_row}})
        self._in_a_row = 0
        self._fault = None
