"""Cut the waiting segments into pages: deliveries in columns, small enough for memory, large enough for speed."""

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from threading import Condition
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines.reading import Visit, read_body
from receiver.rawstore import COMPRESSED, Damage, Delivery, Landed, identity, read_segment, received_date

PAGE_DELIVERIES = 100_000
PAGE_BYTES = 300 << 20
AHEAD = 2  # pages that may be under way: one that is loaded, and one that is read
_COMPRESSED_BY = 10  # about; a page whose segments hold more takes fewer of them
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


class Taken(NamedTuple):
    """What was read of one segment."""

    segment: str
    received_date: date
    lines: int
    bytes: int
    damaged: int


class Segment(NamedTuple):
    """A segment whose deliveries came, as LINES in parts: what was taken of it, and the damage met."""

    taken: Taken
    damage: list[Damage]


class Page(NamedTuple):
    """Whole segments whose deliveries came, as LINES in parts that bore the page's number."""

    number: int
    segments: list[Segment]


class _Columns:
    """Deliveries on their way into Arrow."""

    def __init__(self) -> None:
        self._pending: list[tuple[object, ...]] = []
        self._batches: list[pa.RecordBatch] = []

    @property
    def is_full(self) -> bool:
        return len(self._batches) >= _PART_BATCHES

    def add(self, segment: str, line: int, delivery: Delivery) -> None:
        head = (segment, line, delivery.delivery_id, delivery.source, delivery.received_at, delivery.size)
        visit = read_body(delivery)
        if isinstance(visit, Visit):
            self._pending.append((*head, *visit, None, None))
        else:
            self._pending.append((*head, None, None, None, None, *visit))
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
    return columns.part()


def parts(path: Path) -> Iterator[pa.Table | Segment]:
    """The deliveries of a segment in parts, and then what it was."""
    segment, columns, damage, lines, size = identity(path), _Columns(), list[Damage](), 0, 0
    for found in read_segment(path):
        if isinstance(found, Damage):
            damage.append(found)
        elif isinstance(found, Landed):  # what was erased is no delivery any more
            columns.add(segment, found.line, found.delivery)
            lines += 1
            size += found.delivery.size
            if columns.is_full:
                yield columns.part()
    yield columns.part()
    yield Segment(Taken(segment, received_date(path), lines, size, sum(each.records for each in damage)), damage)


# ---------------------------------------------------------------- pages


class Plan:
    """Which page a segment goes to, when a page may be begun, and when it is whole. Threads may share it."""

    def __init__(self, segments: Iterable[Path]) -> None:
        self._changed = Condition()
        self._waiting = deque(segments)
        self._wanted = set(range(AHEAD))
        self._number, self._fullness = 0, 0.0  # of the page that is being filled
        self._guessed: dict[int, dict[Path, float]] = {}
        self._read: dict[int, list[Segment]] = {}

    def next(self) -> tuple[int, Path] | None:
        """A segment that is to be read, and the number of its page, as soon as that may be begun."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._number in self._wanted)
            if not self._waiting:
                return None
            path, number = self._waiting.popleft(), self._number
            guess = self._guessed.setdefault(number, {})[path] = _bytes(path) / PAGE_BYTES
            self._fill(guess)
            return number, path

    def add(self, number: int, path: Path, segment: Segment) -> Page | None:
        """Note that a segment was read; answers with its page when that is whole."""
        with self._changed:
            self._read.setdefault(number, []).append(segment)
            guess = self._guessed[number].pop(path)
            if number == self._number:
                self._fill(max(segment.taken.lines / PAGE_DELIVERIES, segment.taken.bytes / PAGE_BYTES) - guess)
            if self._guessed[number] or (number == self._number and self._waiting):
                return None
            return Page(number, self._read.pop(number))

    def loaded(self, number: int) -> None:
        """Note that a page was loaded: another one may be begun."""
        with self._changed:
            self._wanted.add(number + AHEAD)
            self._changed.notify_all()

    def stop(self) -> None:
        """Hand out no segment any more."""
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()

    def _fill(self, fullness: float) -> None:
        self._fullness += fullness
        if self._fullness >= 1:
            self._number, self._fullness = self._number + 1, 0.0


def _bytes(path: Path) -> int:
    """About how much there is to be read in a segment."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:  # compressed since it was listed
        return 0
    return size * _COMPRESSED_BY if path.name.endswith(COMPRESSED) else size
