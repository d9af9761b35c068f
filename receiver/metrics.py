"""What an operator watches; never a key, a name or a payload."""

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from receiver import rawstore
from receiver.json_check import REASONS

_SYNC_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_OUTCOMES = (
    *("stored", *REASONS, "not_stored", "disconnected", "unexpected"),
    *("unauthorized", "too_large", "overloaded", "method_not_allowed"),
)
_HANG_UPS = ("too_slow", "evicted")


class Metrics:
    """The figures of one receiver."""

    def __init__(self, raw: Path) -> None:
        self._registry = registry = CollectorRegistry()
        self._outcomes: dict[str, Counter] = {}
        self._deliveries = Counter(
            "kobra_deliveries", "Deliveries by what became of them.", ["outcome"], registry=registry
        )
        self._hang_ups = Counter(
            "kobra_hang_ups", "Connections that the receiver ended, by reason.", ["reason"], registry=registry
        )
        # From 0 on: what first appears as 1 is, to Prometheus, no increase.
        for outcome in _OUTCOMES:
            self._deliveries.labels(outcome)
        for reason in _HANG_UPS:
            self._hang_ups.labels(reason)
        self.received_bytes = Counter("kobra_received_bytes", "Bytes of bodies stored.", registry=registry)
        self.sync_seconds = Histogram(
            "kobra_sync_seconds", "Seconds to write and sync a batch.", buckets=_SYNC_SECONDS, registry=registry
        )
        self.batch_size = Histogram(
            "kobra_batch_size", "Deliveries that shared one sync.", buckets=_BATCH_SIZES, registry=registry
        )
        self.ready = Gauge(
            "kobra_ready", "1 when deliveries can be stored, as /readyz says, else 0.", registry=registry
        )
        registry.register(_Disk(raw))

    def count(self, outcome: str, number: int = 1) -> None:
        """Count deliveries under what became of them."""
        counter = self._outcomes.get(outcome)
        if counter is None:
            counter = self._outcomes[outcome] = self._deliveries.labels(outcome)
        counter.inc(number)

    def register(self, collector: Collector) -> None:
        """Show what another part of the receiver tells of itself."""
        self._registry.register(collector)

    def hang_up(self, reason: str) -> None:
        """Count a client that was let go."""
        self._hang_ups.labels(reason).inc()

    def render(self) -> bytes:
        """The figures in Prometheus' text format."""
        return generate_latest(self._registry)


class _Disk(Collector):
    """What the disk itself says at the moment of asking."""

    def __init__(self, raw: Path) -> None:
        self._raw = raw

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "kobra_open_segment_age_seconds",
            "Seconds since the oldest segment that is not yet closed began; 0 when there is none.",
            value=_oldest_open_age_s(self._raw),
        )
        with suppress(OSError):
            disk = os.statvfs(self._raw)
            yield GaugeMetricFamily(
                "kobra_free_bytes", "Bytes that may still be written.", value=disk.f_bavail * disk.f_frsize
            )


def _oldest_open_age_s(raw: Path) -> float:
    oldest = min(filter(None, map(rawstore.began, rawstore.opened(raw))), default=None)
    return max(0.0, (datetime.now(UTC) - oldest).total_seconds()) if oldest else 0.0
