"""Cut the waiting segments into pages: deliveries in columns, small enough for memory, large enough for speed."""

import gc
import json
import subprocess
import sys
from array import array
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa

from pipelines.reading import Visit, read_body
from receiver.landing import Damage, Delivery, Landed, identity, read, received_date

PAGE_DELIVERIES = 80_000
PAGE_BYTES = 240 << 20
_ONE_PROCESS_BYTES = 8 << 20  # up to here a second process costs more than it gains
_BATCH_ROWS = 2048  # DuckDB reads Arrow batches in parallel; larger ones leave the processor's cache
_PART_BATCHES = 4

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


class ReadingError(RuntimeError):
    """The process that reads the segments did not come to its end."""


class Taken(NamedTuple):
    """What was read of one segment."""

    segment: str
    received_date: date
    lines: int
    bytes: int
    damaged: int


class Page(NamedTuple):
    """Some whole segments whose deliveries came, as LINES in parts: how many, the segments, the damage met."""

    deliveries: int
    segments: list[Taken]
    damage: list[Damage]


class _Columns:
    """Deliveries on their way into Arrow. The body stands only with the first delivery of a content."""

    def __init__(self) -> None:
        self.rows, self.bytes = 0, 0
        self._pending: list[tuple[object, ...]] = []
        self._batches: list[pa.RecordBatch] = []
        self._ids: set[str] = set()
        self._contents: set[tuple[str, str, str]] = set()

    @property
    def is_full(self) -> bool:
        return len(self._batches) >= _PART_BATCHES

    def add(self, segment: str, line: int, delivery: Delivery) -> None:
        if delivery.delivery_id in self._ids:  # the same record, in a copy of its segment
            return
        self._ids.add(delivery.delivery_id)
        head = (segment, line, delivery.delivery_id, delivery.source, delivery.received_at, delivery.size)
        visit = read_body(delivery)
        if isinstance(visit, Visit):
            content = (delivery.source, visit.visit_id, visit.content_hash)
            body = None if content in self._contents else visit.body
            self._contents.add(content)
            self._pending.append((*head, visit.visit_id, visit.content_hash, body, visit.extra, None, None))
        else:
            self._pending.append((*head, None, None, None, None, *visit))
        self.rows += 1
        self.bytes += delivery.size
        if len(self._pending) == _BATCH_ROWS:
            self._end_batch()

    def part(self) -> pa.Table:
        """What was added since the last part, as LINES."""
        if self._pending:
            self._end_batch()
        batches, self._batches = self._batches, []
        return pa.Table.from_batches(batches, LINES)

    def _end_batch(self) -> None:
        columns = zip(*self._pending, strict=True)
        arrays = [_array(column, field.type) for column, field in zip(columns, LINES, strict=True)]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=LINES))
        self._pending.clear()


def _array(column: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    """What `pa.array` makes of a column of LINES, which imports all of pandas before it makes its first one."""
    if kind == pa.int64():
        return pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(array("q", column))])
    builder = pa.lib.StringBuilder()
    builder.append_values(column)
    return builder.finish()


def pages(segments: Iterable[Path]) -> Iterator[pa.Table | Page]:
    """Pages of whole segments, in order: of each its parts, at least one, and then itself. There is at least one
    page, so that a first load makes every table."""
    columns, taken, damage = _Columns(), list[Taken](), list[Damage]()
    empty = True
    for path in segments:
        taken.append((yield from _take(path, columns, damage)))
        # The first page is one segment, so that loading begins while the next segments are being read.
        if empty or columns.rows >= PAGE_DELIVERIES or columns.bytes >= PAGE_BYTES:
            yield columns.part()
            yield Page(columns.rows, taken, damage)
            columns, taken, damage, empty = _Columns(), [], [], False
    if taken or empty:
        yield columns.part()
        yield Page(columns.rows, taken, damage)


def _take(path: Path, columns: _Columns, damage: list[Damage]) -> Generator[pa.Table, None, Taken]:
    segment, lines, size, damaged = identity(path), 0, 0, 0
    for found in read(path):
        if isinstance(found, Damage):
            damage.append(found)
            damaged += found.records
        elif isinstance(found, Landed):  # what was erased is no delivery any more
            columns.add(segment, found.line, found.delivery)
            lines += 1
            size += found.delivery.size
            if columns.is_full:
                yield columns.part()
    return Taken(segment, received_date(path), lines, size, damaged)


def lines_of(deliveries: Iterable[tuple[str, int, Delivery]]) -> pa.Table:
    """Chosen deliveries as LINES."""
    columns = _Columns()
    for segment, line, delivery in deliveries:
        columns.add(segment, line, delivery)
    return columns.part()


# ---------------------------------------------------------------- in another process


@contextmanager
def read_ahead(segments: list[Path]) -> Iterator[Iterator[pa.Table | Page]]:
    """The same pages; more than a little is read by a process of its own, while what came before is loaded.

    Reading holds Python's lock nearly all the time, as does dlt: side by side they would wait for each other.
    """
    if sum(path.stat().st_size for path in segments) <= _ONE_PROCESS_BYTES:
        yield pages(segments)
        return
    # -P: a folder called pipelines where somebody happens to stand is not ours.
    command = [sys.executable, "-P", "-m", "pipelines.pages"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        try:
            # Not as arguments: a year of segments is more than a command line holds.
            try:
                with reader.stdin as names:
                    names.write(json.dumps([str(path) for path in segments]).encode())
            except BrokenPipeError:
                raise ReadingError("the process that reads the segments did not start") from None
            yield _received(reader, reader.stdout)
        except BaseException:
            reader.kill()
            raise


def _received(reader: subprocess.Popen[bytes], stream: IO[bytes]) -> Iterator[pa.Table | Page]:
    while head := stream.readline():
        match json.loads(head):
            case int(rows):
                lines = pa.ipc.open_stream(stream).read_all()
                if lines.num_rows != rows:  # Arrow takes an end between two batches for the end of the stream
                    raise ReadingError("the process that reads the segments broke off")
                yield lines
            case [deliveries, segments, damage]:
                yield Page(deliveries, [_taken(*each) for each in segments], [Damage(*each) for each in damage])
    if reader.wait():
        raise ReadingError("the process that reads the segments failed")


def _taken(segment: str, day: str, *figures: int) -> Taken:
    return Taken(segment, date.fromisoformat(day), *figures)


def _send(part: pa.Table | Page, stream: IO[bytes]) -> None:
    if isinstance(part, Page):
        stream.write(json.dumps(part, default=str).encode() + b"\n")
    else:
        stream.write(b"%d\n" % part.num_rows)
        with pa.ipc.new_stream(stream, LINES) as writer:
            writer.write_table(part)
    stream.flush()


if __name__ == "__main__":
    gc.disable()  # nothing here refers to itself
    for _part in pages(map(Path, json.load(sys.stdin))):
        _send(_part, sys.stdout.buffer)
