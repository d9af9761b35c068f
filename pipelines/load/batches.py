"""Cut waiting segments into loads, and the deliveries of a load into chunks of documents: memory is bounded."""

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa

from pipelines.contract import LANDED, REJECTS, Type
from pipelines.load.flatten import DOCUMENTS
from pipelines.load.parse import Reject, Visit, read_body
from receiver.rawstore import Damage, Delivery, Landed, read_segment, received_date

# A load that is cut short is read again: it should not be long, nor so short that its fixed costs count.
LOAD_BYTES, LOAD_SEGMENTS = 512 << 20, 100_000
_COMPRESSED = 8  # times smaller
CHUNK_DELIVERIES, CHUNK_BYTES = 8_192, 32 << 20

_CRASHED = Reject("crashed_reader", REJECTS["crashed_reader"])
_ARROW = {
    Type.TEXT: pa.string(),
    Type.DATE: pa.date32(),
    Type.COUNT: pa.int64(),
    Type.INSTANT: pa.timestamp("us", "UTC"),
}
_SEGMENTS = pa.schema([(column.name, _ARROW[column.type]) for column in LANDED["segments"].columns])
_T = TypeVar("_T")


class Taken(NamedTuple):
    """What was read of one segment."""

    segment: str
    received_date: date
    lines: int
    bytes: int
    damaged: int


class Chunk(NamedTuple):
    """Documents as flatten.DOCUMENTS; what was taken of each segment that ends in it, and where; the damage met."""

    documents: pa.Table
    taken: list[Taken]
    paths: list[Path]
    damage: list[Damage]


Segment = tuple[str, Path]
"""A waiting segment: its identity, and its file."""


def loads(segments: Iterable[Segment]) -> Iterator[list[Segment]]:
    """The segments that are loaded together. There is at least one load, so that a first one makes every table."""
    together, size = list[Segment](), 0
    for segment in segments:
        together.append(segment)
        size += segment[1].stat().st_size * (_COMPRESSED if segment[1].suffix == ".zst" else 1)
        if size >= LOAD_BYTES or len(together) >= LOAD_SEGMENTS:
            yield together
            together, size = [], 0
    yield together


def chunks(
    segments: Iterable[Segment],
    crashing: Collection[str] = (),
    begin: Callable[[Path], object] = lambda _: None,
) -> Iterator[Chunk]:
    """The deliveries of one load. Each delivery counts once, and of each content the first one has the body.

    `crashing`: ids of deliveries whose bodies nobody is to read. `begin` hears of each file before it is read.
    """
    documents, damage = _Documents(crashing), list[Damage]()
    taken, paths = list[Taken](), list[Path]()
    for segment, path in segments:
        begin(path)
        lines, size, damaged = 0, 0, 0
        for found in read_segment(path):
            if isinstance(found, Landed):  # what was erased is no delivery any more
                documents.add(segment, found.line, found.delivery)
                lines += 1
                size += found.delivery.size
                if documents.are_enough:
                    yield Chunk(documents.table(), taken, paths, damage)
                    taken, paths, damage = [], [], []
            elif isinstance(found, Damage):
                damage.append(found)
                damaged += found.records
        taken.append(Taken(segment, received_date(path), lines, size, damaged))
        paths.append(path)
        if len(taken) >= CHUNK_DELIVERIES:
            yield Chunk(documents.table(), taken, paths, damage)
            taken, paths, damage = [], [], []
    yield Chunk(documents.table(), taken, paths, damage)


def documents_of(deliveries: Iterable[tuple[str, int, Delivery]]) -> pa.Table:
    """The documents of chosen deliveries, given with their segments and lines."""
    documents = _Documents()
    for segment, line, delivery in deliveries:
        documents.add(segment, line, delivery)
    return documents.table()


def segment_rows(taken: Iterable[Taken], loaded_at: datetime) -> pa.Table:
    """The rows of `landed.segments`."""
    return pa.Table.from_pylist([{**segment._asdict(), "loaded_at": loaded_at} for segment in taken], _SEGMENTS)


def ahead(items: Iterator[_T]) -> Iterator[_T]:
    """The same items, each made in another thread while the one before it is used."""
    with ThreadPoolExecutor(1) as beside:
        item = beside.submit(next, items, None)
        while (here := item.result()) is not None:
            item = beside.submit(next, items, None)
            yield here


class _Documents:
    """Documents on their way into Arrow. Remembers for a whole load which deliveries and contents it has seen."""

    def __init__(self, crashing: Collection[str] = ()) -> None:
        self._crashing = crashing
        self._deliveries, self._contents = set[str](), set[tuple[str, str]]()
        self._rows = list[tuple[object, ...]]()
        self._size = 0

    def add(self, segment: str, line: int, delivery: Delivery) -> None:
        """Take a delivery, unless it was taken already: a segment may have copies."""
        if delivery.delivery_id in self._deliveries:
            return
        self._deliveries.add(delivery.delivery_id)
        visits = [_CRASHED] if delivery.delivery_id in self._crashing else read_body(delivery)
        of_delivery = delivery.source, delivery.received_at
        for item, visit in enumerate(visits, 1):
            size = delivery.size if item == 1 else 0
            head = (segment, line, delivery.delivery_id, item, *of_delivery, size)
            self._rows.append((*head, *self._read(delivery.source, visit)))
        self._size += delivery.size

    def _read(self, source: str, visit: Visit | Reject) -> tuple[object, ...]:
        if isinstance(visit, Reject):
            return None, None, None, None, visit.reason, visit.detail
        content = source, visit.content_hash
        is_first = content not in self._contents
        self._contents.add(content)
        body, extra = (visit.body, visit.extra) if is_first else (None, None)
        return visit.visit_id, visit.content_hash, body, extra, None, None

    @property
    def are_enough(self) -> bool:
        return len(self._rows) >= CHUNK_DELIVERIES or self._size >= CHUNK_BYTES

    def table(self) -> pa.Table:
        """What was added since the last table, as DOCUMENTS."""
        columns = zip(*self._rows, strict=True) if self._rows else [()] * len(DOCUMENTS)
        arrays = [_array(column, field.type) for column, field in zip(columns, DOCUMENTS, strict=True)]
        self._rows, self._size = [], 0
        return pa.Table.from_arrays(arrays, schema=DOCUMENTS)


def _array(column: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    """What `pa.array` makes, which is slower by far and imports all of pandas before it makes its first array."""
    if kind == pa.int64():
        return pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(array("q", column))])
    builder = pa.lib.StringBuilder()
    builder.append_values(column)
    return builder.finish()
