"""Check the raw store: every checksum, and whether all that was loaded is still there."""

from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.load.mirror import Mirror
from pipelines.privacy import retention
from pipelines.publish.published import NothingPublishedError, attached
from pipelines.warehouse.home import Home
from receiver import rawstore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Segment(NamedTuple):
    """A segment that was loaded: its identity, the day of its partition, how many deliveries it held."""

    label: str
    received_date: date
    lines: int

    @property
    def key(self) -> rawstore.Key:
        return rawstore.key_of(self.label, self.received_date)


class Missing(NamedTuple):
    """Segments of one day that were loaded and are not in the raw store any more."""

    day: date
    segments: list[str]
    deliveries: int

    def __str__(self) -> str:
        shown = ", ".join(self.segments[:_SHOWN])
        more = f" and {len(self.segments) - _SHOWN} more" if len(self.segments) > _SHOWN else ""
        return f"{self.day}: {len(self.segments)} segment(s) with {self.deliveries} deliveries ({shown}{more})"


_SHOWN = 3


def published(connection: "DuckDBPyConnection") -> list[Segment]:
    """The segments that the published file, attached as `w`, says were loaded."""
    found = connection.execute("select segment, received_date, lines from w.kobra.segments order by all")
    return [Segment(*row) for row in found.fetchall()]


def missing(home: Home, *, with_removed: bool = False) -> list[Missing]:
    """What the published file holds and the raw store does not any more, by day. Raises DamagedError, HeldError.

    Days that `kobra retain` removed are expected to be gone: they count only `with_removed`.
    """
    try:
        with attached(home, also_earlier=True) as connection:
            return gone(home, published(connection), with_removed=with_removed)
    except NothingPublishedError:
        return []


def lost(home: Home) -> list[str]:
    """What this home has had of its object store and that is not there any more. Raises UnreachableError."""
    return Mirror(home, home.store).missing() if home.store else []


def gone(home: Home, segments: Iterable[Segment], *, with_removed: bool = False) -> list[Missing]:
    """Which of these segments are gone from the raw store, by day."""
    there = set(_there(home.raw))
    expected = set() if with_removed else retention.removed_days(home)
    by_day: dict[date, list[Segment]] = {}
    for segment in segments:
        if segment.key not in there and segment.received_date not in expected:
            by_day.setdefault(segment.received_date, []).append(segment)
    return [
        Missing(day, [each.label for each in of_day], sum(each.lines for each in of_day))
        for day, of_day in sorted(by_day.items())
    ]


def _there(raw: Path) -> Iterator[rawstore.Key]:
    """All closed segments of a store, also those that were put together with others."""
    for path in rawstore.closed(raw).values():
        yield rawstore.key(path)
        day = rawstore.received_date(path)
        yield from (rawstore.Key(part.name, day) for part in rawstore.parts_of(path))


def namesakes(raw: Path) -> Iterator[str]:
    """Sentences on segments that share a name, and on files that stand for one segment."""
    for group in rawstore.namesakes(rawstore.closed(raw).values()):
        days = " and ".join(str(rawstore.received_date(path)) for path in group)
        yield f"{rawstore.identity(group[0])} is the name of segments of {days}: all of them count"
    for partition in rawstore.partitions(raw):
        for files in rawstore.copies_in(partition):
            names = ", ".join(path.name for path in files)
            yield f"{partition.name}: {names} are files of one segment: kobra run takes what each holds"
