"""Raw stores of invented visits to measure on; made once, kept under build/bench."""

import os
import shutil
from collections.abc import Iterator
from datetime import date
from itertools import islice
from pathlib import Path

from pipelines.sample import visits as sample
from receiver import rawstore

KEPT = Path("build/bench")
_CLEAN = {"visit", "redelivery", "update"}
_TAILS = 1 << 62


def bodies(start: int, count: int) -> Iterator[sample.Sent]:
    """Deliveries that every contestant can read: the sample without its messes, from a place on."""
    clean = (sent for sent in sample.deliveries(10_000_000) if sent.kind in _CLEAN)
    return islice(clean, start, start + count)


def records(start: int, count: int) -> Iterator[rawstore.Delivery]:
    """The same as they are landed, with the times at which they come."""
    for number, sent in enumerate(bodies(start, count), start):
        micros = int(sent.at.timestamp()) * 1_000_000 + sent.at.microsecond
        came = sent.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        yield rawstore.delivery(
            rawstore.delivery_id(micros, number * 0x9E3779B97F4A7C15 % _TAILS), came, "bench", sent.body
        )


def land(raw: Path, start: int, count: int) -> None:
    """Land deliveries in segments of full size, as a busy receiver would, all on one day."""
    writer = rawstore.Landing(raw)
    waiting = records(start, count)
    day = next(records(start, 1)).received_at[:10]
    while lines := [rawstore.encode(record) for record in islice(waiting, 1000)]:
        writer.append(date.fromisoformat(day), lines)
    writer.close()


def store(count: int) -> Path:
    """The folder `raw` of the first `count` deliveries."""
    home = KEPT / f"store-{count}"
    if not (home / "done").exists():
        shutil.rmtree(home, ignore_errors=True)
        land(home / "raw", 0, count)
        (home / "done").touch()
    return home / "raw"


def link(count: int, home: Path) -> None:
    """Have these deliveries in the raw store of a home as well."""
    shutil.copytree(store(count), home / "raw", copy_function=os.link)
