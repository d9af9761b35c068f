"""Cut the waiting segments into batches: deliveries in columns, small enough for memory, large enough for speed."""

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines.contract import REJECTS
from pipelines.load.parse import Reject, Visit, read_body
from receiver.rawstore import Damage, Delivery, Landed, read_segment, received_date

BATCH_DELIVERIES = 100_000
BATCH_BYTES = 300 << 20
_ARROW_ROWS = 2048  # DuckDB reads Arrow batches in parallel; larger ones leave the processor's cache

LINES = pa.schema(
    [
        ("segment", pa.string()),
        ("line", pa.int64()),
        ("delivery_id", pa.string()),
        ("source", pa.string()),
        ("received_at", pa.string()),
        ("bytes", pa.int64()),
        ("visit_id", pa.string()),
        ("content_hash", pa.string()),
        ("body", pa.string()),
        ("extra", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)


class Taken(NamedTuple):
    """What was read of one segment."""

    segment: str
    received_date: date
    lines: int
    bytes: int
    damaged: int


class Batch(NamedTuple):
    """Deliveries of whole segments as LINES, what was taken of each segment, and the damage met."""

    lines: pa.Table
    taken: list[Taken]
    damage: list[Damage]


class _Columns:
    """Deliveries on their way into Arrow."""

    def __init__(self, crashing: Collection[str] = ()) -> None:
        self._crashing = crashing
        self._pending: list[tuple[object, ...]] = []
        self._batches: list[pa.RecordBatch] = []

    def add(self, segment: str, line: int, delivery: Delivery) -> None:
        head = (segment, line, delivery.delivery_id, delivery.source, delivery.received_at, delivery.size)
        visit = _CRASHED if delivery.delivery_id in self._crashing else read_body(delivery)
        if isinstance(visit, Visit):
            self._pending.append((*head, *visit, None, None))
        else:
            self._pending.append((*head, None, None, None, None, visit.reason, visit.detail))
        if len(self._pending) == _ARROW_ROWS:
            self._end_batch()

    def table(self) -> pa.Table:
        """What was added since the last table, as LINES."""
        if self._pending:
            self._end_batch()
        batches, self._batches = self._batches, []
        return pa.Table.from_batches(batches, LINES)

    def _end_batch(self) -> None:
        columns = zip(*self._pending, strict=True)
        arrays = [_array(column, field.type) for column, field in zip(columns, LINES, strict=True)]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=LINES))
        self._pending.clear()


_CRASHED = Reject("crashed_reader", REJECTS["crashed_reader"])


def texts(values: Iterable[Any]) -> pa.Array:
    """What `pa.array` makes of texts, which imports all of pandas before it makes its first array."""
    builder = pa.lib.StringBuilder()
    builder.append_values(values)
    return builder.finish()


def _array(column: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    if kind == pa.int64():
        return pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(array("q", column))])
    return texts(column)


def lines_of(deliveries: Iterable[tuple[str, int, Delivery]]) -> pa.Table:
    """Chosen deliveries as LINES."""
    columns = _Columns()
    for segment, line, delivery in deliveries:
        columns.add(segment, line, delivery)
    return columns.table()


def batches(
    segments: Mapping[str, Path],
    crashing: Collection[str] = (),
    begin: Callable[[Path], object] = lambda _: None,
) -> Iterator[Batch]:
    """The deliveries of segments, given by identity, in batches of whole segments.

    `crashing`: ids of deliveries whose bodies nobody is to read. `begin` hears of each file before it is read. There
    is at least one batch, so that a first load makes every table.
    """
    columns, taken, damage, size = _Columns(crashing), list[Taken](), list[Damage](), 0
    deliveries = 0
    for segment, path in segments.items():
        begin(path)
        lines, bytes_, damaged = 0, 0, 0
        for found in read_segment(path):
            if isinstance(found, Landed):  # what was erased is no delivery any more
                columns.add(segment, found.line, found.delivery)
                lines += 1
                bytes_ += found.delivery.size
            elif isinstance(found, Damage):
                damage.append(found)
                damaged += found.records
        taken.append(Taken(segment, received_date(path), lines, bytes_, damaged))
        deliveries += lines
        size += bytes_
        if deliveries >= BATCH_DELIVERIES or size >= BATCH_BYTES:
            yield Batch(columns.table(), taken, damage)
            taken, damage, size, deliveries = [], [], 0, 0
    if taken or not segments:
        yield Batch(columns.table(), taken, damage)
