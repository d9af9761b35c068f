"""Bring in history: deliveries from files, through the same landing, none of them twice."""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from hashlib import sha256
from io import BufferedReader, RawIOBase
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

import msgspec
import zstandard

from pipelines.contract import VISIT_ID
from pipelines.faults import UsageError
from receiver import rawstore
from receiver.rawstore import Delivery, Landed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BATCH, _SYNCED_TOGETHER = 20_000, 500
_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode


class HistoryError(UsageError):
    """A file that cannot be brought in as it is; nothing from the faulty place on was landed."""


class Imported(NamedTuple):
    """What an import did."""

    read: int
    landed: int
    known: int


class Item(NamedTuple):
    """One delivery of a file; a bare payload says neither when it came nor from whom."""

    place: str
    body: bytes
    received_at: datetime | None
    source: str | None


def bring_in(
    raw: Path,
    files: Iterable[Path],
    source: str | None,
    leave_out: Callable[[str, bytes], bool] = lambda _source, _body: False,
) -> Imported:
    """Land what is in the files and not in the raw store yet. `source` is for what does not name its own.

    What `leave_out` is true of (source, body) is passed by as if it were not there. Raises HistoryError, with the
    place in words and without any content.
    """
    known = _Known(raw)
    landed = read = 0
    items = (item for file in files for item in _items(file) if not leave_out(item.source or source or "", item.body))
    stamps = rawstore.Stamps()
    while batch := list(islice(items, _BATCH)):
        read += len(batch)
        records = [_record(item, source, stamps) for item in batch if known.is_new(item, item.source or source)]
        _land(raw, records)
        landed += len(records)
    return Imported(read, landed, read - landed)


def _record(item: Item, source: str | None, stamps: rawstore.Stamps) -> Delivery:
    owner = item.source or source
    if owner is None:
        raise HistoryError(f"{item.place} does not say whose it is: name the source with --source")
    if item.received_at is None:
        return rawstore.delivery(*stamps.next(), owner, item.body)
    micros = _micros(item.received_at)
    tail = int.from_bytes(_identity(owner, item.body)[:8])
    return rawstore.delivery(rawstore.delivery_id(micros, tail), _instant(item.received_at), owner, item.body)


def _land(raw: Path, records: Iterable[Delivery]) -> None:
    """Land records in the partitions of the days on which they came."""
    by_day: dict[date, list[bytes]] = {}
    for record in records:
        by_day.setdefault(date.fromisoformat(record.received_at[:10]), []).append(rawstore.encode(record))
    writer = rawstore.Landing(raw)
    for day, lines in sorted(by_day.items()):
        for start in range(0, len(lines), _SYNCED_TOGETHER):  # segments keep to their size
            writer.append(day, lines[start : start + _SYNCED_TOGETHER])
    writer.close()


class _Known:
    """Which deliveries the raw store holds already, one day at a time as they are asked for."""

    def __init__(self, raw: Path) -> None:
        self._raw = raw
        self._days: dict[date, set[bytes]] = {}
        self._bodies: set[bytes] | None = None

    def is_new(self, item: Item, source: str | None) -> bool:
        """Whether it is not there yet; from now on it is."""
        identity = _identity(source or "", item.body)
        if item.received_at is None:
            seen = self._all_bodies()
        else:
            seen = self._on(item.received_at.date())
            identity += _instant(item.received_at).encode()
        if identity in seen:
            return False
        seen.add(identity)
        return True

    def _on(self, day: date) -> set[bytes]:
        if day not in self._days:
            folder = self._raw / f"{rawstore.PARTITION}{day.isoformat()}"
            self._days[day] = {
                _identity(d.source, d.exact_body()) + d.received_at.encode() for d in _deliveries([folder])
            }
        return self._days[day]

    def _all_bodies(self) -> set[bytes]:
        if self._bodies is None:
            partitions = rawstore.partitions(self._raw)
            self._bodies = {_identity(d.source, d.exact_body()) for d in _deliveries(partitions)}
        return self._bodies


def _deliveries(partitions: Iterable[Path]) -> Iterator[Delivery]:
    for folder in partitions:
        if folder.is_dir():
            for path in (*rawstore.closed_in(folder).values(), *rawstore.open_in(folder)):
                yield from (found.delivery for found in rawstore.read_segment(path) if isinstance(found, Landed))


def _identity(source: str, body: bytes) -> bytes:
    return sha256(source.encode() + b"\0" + body).digest()[:16]


def _micros(instant: datetime) -> int:
    since = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _instant(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# ---------------------------------------------------------------- files


def _items(file: Path) -> Iterator[Item]:
    for number, text in _documents(file):
        yield _item(f"{file}, delivery {number}", text)


def _documents(file: Path) -> Iterator[tuple[int, bytes]]:
    """The JSON documents of a file, numbered: a line each, the items of one array, or one document over lines."""
    try:
        with _open(file) as stream:
            first = stream.readline()
            while first and not first.strip():
                first = stream.readline()
            first = first.removeprefix(b"\xef\xbb\xbf")
            if first.lstrip().startswith(b"["):
                yield from enumerate(map(bytes, _array(file, first + stream.read())), 1)
            elif _is_json(first):
                yield 1, first.strip()
                yield from enumerate(filter(None, map(bytes.strip, stream)), 2)
            else:
                yield from _lines_or_one(first, stream.read())
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as why:
        raise HistoryError(f"{file} cannot be read: {why.__class__.__name__}; is it whole?") from why


def _array(file: Path, text: bytes) -> list[msgspec.Raw]:
    try:
        return _raws(text)
    except msgspec.DecodeError as why:
        raise HistoryError(f"{file} begins as a JSON array and is none: is it whole?") from why


def _lines_or_one(first: bytes, rest: bytes) -> Iterator[tuple[int, bytes]]:
    whole = first + rest
    if _is_json(whole):
        yield 1, whole.strip()
    else:  # lines, the first of which is damaged: it is landed as it is, and shows among the rejects
        yield from enumerate(filter(None, (line.strip() for line in whole.split(b"\n"))), 1)


def _open(file: Path) -> IO[bytes]:
    if file.name.endswith(".gz"):
        return cast(IO[bytes], gzip.open(file, "rb"))
    if file.name.endswith(".zst"):
        return BufferedReader(_Frames(file))
    return file.open("rb")


class _Frames(RawIOBase):
    """The text of all frames of a .zst file. Raises EOFError when it breaks off within one, as gzip does."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("rb")
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._coming, self._text = b"", memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        while not self._text and (self._coming or self._fill()):
            frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            self._text = memoryview(frame.decompress(self._coming))
            self._coming = frame.unused_data
            self._frame = None if frame.eof else frame
        if not self._text and self._frame:
            raise EOFError("a frame breaks off")
        room = memoryview(buffer)
        length = min(len(room), len(self._text))
        room[:length] = self._text[:length]
        self._text = self._text[length:]
        return length

    def _fill(self) -> bool:
        self._coming = self._file.read(1 << 16)
        return bool(self._coming)

    def close(self) -> None:
        self._file.close()
        super().close()


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _item(place: str, text: bytes) -> Item:
    """A payload as it stands, or the delivery that an envelope {received_at, source, body} holds."""
    try:
        fields = _fields(text)
    except (msgspec.DecodeError, RecursionError):
        return Item(place, text, None, None)  # no object: it is landed all the same, and shows among the rejects
    if "body" not in fields or any(name in fields for name in VISIT_ID):
        return Item(place, text, None, None)
    try:
        return Item(
            place, _body(fields), _received_at(fields), _text(fields["source"]) if "source" in fields else None
        )
    except (ValueError, OverflowError, msgspec.DecodeError) as why:
        raise HistoryError(
            f"{place} is an envelope with a fault: received_at must be an ISO 8601 instant since 1970, source and "
            "body text"
        ) from why


def _body(fields: dict[str, msgspec.Raw]) -> bytes:
    raw = bytes(fields["body"])
    if not raw.startswith(b'"'):
        return raw
    encoding: Any = msgspec.json.decode(fields["body_encoding"]) if "body_encoding" in fields else None
    return Delivery("", "", "", 0, _text(raw), encoding).exact_body()


def _received_at(fields: dict[str, msgspec.Raw]) -> datetime | None:
    if "received_at" not in fields or bytes(fields["received_at"]) == b"null":
        return None
    instant = datetime.fromisoformat(_text(fields["received_at"]))
    instant = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    if instant.year < 1970:
        raise ValueError("delivery ids count from 1970")
    return instant
