"""Bring in history: deliveries from files, through the same landing, none of them twice.

A file is looked at as a whole before anything of it lands, as the raw store only ever grows: what is plainly meant is
read (compressed by whatever name, in UTF-16, in Windows-1252), what holds no visit is refused with one sentence. A
single delivery that nobody can read stops no file: it lands and is rejected like any other.
"""

import codecs
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import msgspec
import zstandard

from pipelines.contract import VISIT_ID
from pipelines.errors import UsageError
from pipelines.load.parse import Reject, read_body
from receiver import rawstore
from receiver.rawstore import Delivery, Landed

_BATCH, _SYNCED_TOGETHER = 20_000, 500
_LONGEST_LINE = 64 << 20
_LARGEST_DOCUMENT = 512 << 20  # an array, or one document over several lines, is read whole
_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class HistoryError(UsageError):
    """A file that cannot be brought in as it is; nothing of any file was landed."""


class Odd(NamedTuple):
    """A delivery that lands and cannot become a visit: where it stands, and why, as a code of `contract.REJECTS`."""

    place: str
    reason: str


class Imported(NamedTuple):
    """What an import did, or would do."""

    read: int
    landed: int
    known: int
    odd: tuple[Odd, ...] = ()


class Item(NamedTuple):
    """One delivery of a file; a bare payload says neither when it came nor from whom. `reason`: why it is no visit;
    `is_plain`: it is what a file of deliveries holds, whatever is to be said of its body."""

    place: str
    body: bytes
    received_at: datetime | None = None
    source: str | None = None
    reason: str | None = None
    is_plain: bool = True


def bring_in(
    raw: Path,
    files: Iterable[Path],
    source: str | None,
    leave_out: Callable[[str, bytes], bool] = lambda _source, _body: False,
    *,
    reads: bool = True,
    dry_run: bool = False,
) -> Imported:
    """Land what is in the files and not in the raw store yet. `source` is for what does not name its own.

    What `leave_out` is true of (source, body) is passed by as if it were not there. Unless it `reads` bodies, nothing
    is said of what cannot become a visit. Raises HistoryError before
    anything is landed, with the place in words and without any content.
    """
    known, stamps = _Known(raw), rawstore.Stamps()
    landed = read = 0
    reason_of = _reason if reads else _no_reason
    forms = [(file, _look(file, source, reason_of)) for file in files]
    items = (
        item
        for file, form in forms
        for item in _items(file, form, reason_of)
        if not leave_out(item.source or source or "", item.body)
    )
    odd = list[Odd]()
    while batch := list(islice(items, _BATCH)):
        read += len(batch)
        new = [item for item in batch if known.is_new(item, item.source or source)]
        odd += [Odd(item.place, item.reason) for item in new if item.reason]
        if not dry_run:
            _land(raw, [_record(item, source, stamps) for item in new])
        landed += len(new)
    return Imported(read, landed, read - landed, tuple(odd))


def _record(item: Item, source: str | None, stamps: rawstore.Stamps) -> Delivery:
    owner = item.source or source or ""
    if item.received_at is None:
        return rawstore.delivery(*stamps.next(), owner, item.body)
    tail = int.from_bytes(_identity(owner, item.body)[:8])
    name = rawstore.delivery_id(_micros(item.received_at), tail)
    return rawstore.delivery(name, _instant(item.received_at), owner, item.body)


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


# ---------------------------------------------------------------- looking


class _Form(NamedTuple):
    """How a file is read: its text is in UTF-8 unless it `is_windows`; it is one JSON array, or one document over
    several lines, or else a document a line."""

    is_windows: bool
    is_array: bool
    is_one: bool


def _look(file: Path, source: str | None, reason_of: "_ReasonOf") -> _Form:
    """Read a whole file and keep nothing. Raises HistoryError when nothing in it is a visit, or one is nobody's."""
    form = _form(file)
    plain, first_odd, first_nobodys = 0, None, None
    for item in _items(file, form, reason_of):
        plain += item.is_plain
        if not item.is_plain:
            first_odd = first_odd or item
        if item.source is None and source is None:
            first_nobodys = first_nobodys or item
    if first_odd and not plain:
        raise HistoryError(_refusal(file, first_odd))
    if first_nobodys:
        raise HistoryError(f"{first_nobodys.place} does not say whose it is: name the source with --source")
    return form


def _refusal(file: Path, odd: Item) -> str:
    if odd.reason == "faulty_envelope":
        return (
            f"{odd.place} is an envelope with a fault: received_at must be an ISO 8601 instant since 1970, source a "
            "name as in the receiver's keys, and body text or an object"
        )
    beginning = odd.body[:1000]
    if beginning[:1] not in (b"{", b"[", b'"') and any(mark in beginning for mark in (b",", b";", b"\t")):
        return (
            f"{file} cannot be read as visits, and looks like a table: visits are JSON, one a line; payments and "
            "accounts belong into KOBRA_HOME/inputs"
        )
    return f"{file} cannot be read as visits: nothing in it is a JSON object ({odd.reason})"


def _form(file: Path) -> _Form:
    first, others, damaged, is_one_line = b"", False, False, True
    for number, line in enumerate(_lines(file)):
        first = first or line.strip()
        is_one_line = number == 0
        if not line.isascii():
            is_utf8 = _is_utf8(line)
            others |= is_utf8
            damaged |= not is_utf8
    is_windows = damaged and not others
    is_array = first.startswith(b"[")
    return _Form(is_windows, is_array, not is_array and not is_one_line and not _is_json(_text(first, is_windows))
                 and _is_one(file, is_windows=is_windows))  # fmt: skip


def _is_one(file: Path, *, is_windows: bool) -> bool:
    """Whether a file is one document over several lines."""
    whole = _whole(file)
    return whole is not None and _is_json(_text(whole, is_windows))


def _whole(file: Path) -> bytes | None:
    """All of a file; None when it is too large."""
    with _reading(file) as stream:
        content = stream.read(_LARGEST_DOCUMENT + 1)
    return content.removeprefix(codecs.BOM_UTF8) if len(content) <= _LARGEST_DOCUMENT else None


# ---------------------------------------------------------------- items


_ReasonOf = Callable[[bytes], str | None]


def _items(file: Path, form: _Form, reason_of: _ReasonOf) -> Iterator[Item]:
    for number, text in enumerate(_documents(file, form), 1):
        yield _item(f"{file}, delivery {number}", text, reason_of)


def _documents(file: Path, form: _Form) -> Iterator[bytes]:
    """The JSON documents of a file."""
    if form.is_array or form.is_one:
        whole = _whole(file)
        if whole is None:
            raise HistoryError(f"{file} is one JSON array of more than 512 MiB: write one visit a line")
        text = _text(whole, form.is_windows)
        yield from map(bytes, _array(file, text)) if form.is_array else (text.strip(),)
        return
    for line in _lines(file):
        if line.strip():
            yield _text(line, form.is_windows).strip()


def _array(file: Path, text: bytes) -> list[msgspec.Raw]:
    try:
        return _raws(text)
    except (msgspec.DecodeError, RecursionError) as why:
        raise HistoryError(f"{file} begins as a JSON array and is none: is it whole?") from why


def _item(place: str, text: bytes, reason_of: _ReasonOf) -> Item:
    """A payload as it stands, or the delivery that an envelope {received_at, source, body} holds."""
    fields = _envelope(text)
    if fields is None:
        reason = reason_of(text)
        return Item(place, text, reason=reason, is_plain=reason is None)
    try:
        body, received_at, source = _body(fields), _received_at(fields), _source(fields)
    except (ValueError, OverflowError, TypeError, msgspec.DecodeError):
        return Item(place, text, reason="faulty_envelope", is_plain=False)
    return Item(place, body, received_at, source, reason_of(body))


def _reason(body: bytes) -> str | None:
    """Why a body cannot become a visit, as a code; None when it can."""
    found = read_body(rawstore.delivery("", "", "", body))
    return next((each.reason for each in found if isinstance(each, Reject)), None)


def _no_reason(_body: bytes) -> None:
    return None


def _envelope(text: bytes) -> dict[str, msgspec.Raw] | None:
    """The fields of an envelope, each as its JSON; None for anything else."""
    try:
        fields = _fields(text)
    except (msgspec.DecodeError, RecursionError):
        fields = _lenient_fields(text)
    return fields if "body" in fields and not any(name in fields for name in VISIT_ID) else None


def _lenient_fields(text: bytes) -> dict[str, msgspec.Raw]:
    """The same of a text in which half a character stands; nothing of what is no JSON object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    fields = found.items() if isinstance(found, dict) else ()
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in fields}


def _body(fields: dict[str, msgspec.Raw]) -> bytes:
    raw = bytes(fields["body"])
    if not raw.startswith(b'"'):
        return raw
    encoding: Any = msgspec.json.decode(fields["body_encoding"]) if "body_encoding" in fields else None
    text = json.loads(raw)  # which takes half a character, too
    return Delivery("", "", "", 0, text, encoding).exact_body() if encoding else text.encode("utf-8", "surrogatepass")


def _received_at(fields: dict[str, msgspec.Raw]) -> datetime | None:
    if "received_at" not in fields or bytes(fields["received_at"]) == b"null":
        return None
    instant = datetime.fromisoformat(msgspec.json.decode(fields["received_at"], type=str).strip())
    instant = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    if instant.year < 1970:
        raise ValueError("delivery ids count from 1970")
    return instant


def _source(fields: dict[str, msgspec.Raw]) -> str | None:
    if "source" not in fields:
        return None
    source = msgspec.json.decode(fields["source"], type=str)
    if not rawstore.is_source(source):
        raise ValueError("no name that a key could have")
    return source


# ---------------------------------------------------------------- bytes


def _lines(file: Path) -> Iterator[bytes]:
    """The lines of a file, unpacked and in UTF-8 where it was in UTF-16. Raises HistoryError."""
    with _reading(file) as stream:
        number = 0
        while line := stream.readline(_LONGEST_LINE + 1):
            number += 1
            if len(line) > _LONGEST_LINE:
                raise HistoryError(f"{file} line {number} is longer than any visit: write one visit a line")
            yield line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


_UNREADABLE = (OSError, EOFError, zlib.error, zstandard.ZstdError, UnicodeError, zipfile.BadZipFile)


class _reading:  # noqa: N801 - reads like a function
    """A file's content, opened for reading; whatever goes wrong with it is a HistoryError."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> BinaryIO:
        try:
            self._stream = _unpacked(self._file)
            return self._stream
        except _UNREADABLE as why:
            raise self._fault(why) from why

    def __exit__(self, _kind: object, why: BaseException | None, _at: object) -> None:
        self._stream.close()
        if isinstance(why, _UNREADABLE):
            raise self._fault(why) from why

    def _fault(self, why: BaseException) -> HistoryError:
        reason = f"{why.strerror}" if isinstance(why, OSError) and why.strerror else type(why).__name__
        return HistoryError(f"{self._file} cannot be read: {reason}; is it there, and whole?")


def _unpacked(file: Path) -> BinaryIO:
    """What a file holds, by its content and not by its name."""
    with file.open("rb") as beginning:
        head = beginning.read(4)
    stream: BinaryIO
    if head.startswith(b"\x1f\x8b"):
        stream = cast(BinaryIO, gzip.GzipFile(file))
    elif head == b"\x28\xb5\x2f\xfd":
        stream = cast(BinaryIO, io.BufferedReader(_Frames(file)))
    elif head.startswith(b"PK\x03\x04"):
        stream = _only_member(file)
    else:
        stream = file.open("rb")
    return _in_utf8(stream)


def _only_member(file: Path) -> BinaryIO:
    archive = zipfile.ZipFile(file)
    members = [each for each in archive.infolist() if not each.is_dir() and not each.filename.startswith("__MACOSX")]
    if len(members) != 1:
        raise HistoryError(f"{file} is an archive of {len(members)} files: unpack it, and import those with visits")
    return cast(BinaryIO, archive.open(members[0]))


def _in_utf8(stream: BinaryIO) -> BinaryIO:
    """The same content; what begins as UTF-16 is turned into UTF-8."""
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stream))
    head = buffered.peek(4)[:4]
    encoding = next((name for name, begins in _UTF_16.items() if begins(head)), None)
    if encoding:
        buffered = io.BufferedReader(_Transcoded(cast(BinaryIO, buffered), encoding))
    return cast(BinaryIO, buffered)


_UTF_16: dict[str, Callable[[bytes], bool]] = {
    "utf-16": lambda head: head.startswith((b"\xff\xfe", b"\xfe\xff")),
    "utf-16-le": lambda head: head[1:2] == b"\0" and head[:1] in b"{[ \r\n",
    "utf-16-be": lambda head: head[:1] == b"\0" and head[1:2] in b"{[ \r\n",
}


class _Transcoded(io.RawIOBase):
    """A stream in another encoding, as UTF-8."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._text = io.TextIOWrapper(stream, encoding=encoding, newline="")
        self._coming = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._coming:
            self._coming = memoryview(self._text.read(1 << 16).encode("utf-8", "surrogatepass"))
        room = memoryview(buffer)
        length = min(len(room), len(self._coming))
        room[:length] = self._coming[:length]
        self._coming = self._coming[length:]
        return length

    def close(self) -> None:
        self._text.close()
        super().close()


class _Frames(io.RawIOBase):
    """The text of all frames of a .zst file. Raises EOFError when it breaks off within one, as gzip does."""

    _FED = 256  # zstd makes at most some 8 MiB of them

    def __init__(self, file: Path) -> None:
        self._file = file.open("rb")
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._coming, self._text = b"", memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
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
        self._coming = self._file.read(self._FED)
        return bool(self._coming)

    def close(self) -> None:
        self._file.close()
        super().close()


def _text(line: bytes, is_windows: bool) -> bytes:
    """A line in UTF-8."""
    if not is_windows or line.isascii():
        return line
    try:
        return line.decode("cp1252").encode()
    except UnicodeDecodeError:  # five bytes mean nothing there
        return line.decode("latin-1").encode()


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
