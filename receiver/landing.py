"""Land what Kobra sends: when append returns, the bytes are on disk.

Both sides of the raw-store format. A store is a folder `raw/` of partitions `received_date=YYYY-MM-DD/`
of segments. A segment is UTF-8 text, one record a line, only ever appended, by one process that holds a
lock on it. Its name ends in `.jsonl.open` while it is written, `.jsonl` once closed, `.jsonl.zst` once
compressed; the name without endings is its identity. A record is

    {"crc32":"1c291ca3","delivery_id":…,"received_at":…,"source":…,"bytes":2855,"body":"{\\"visitID\\":…"}

where `crc32` covers every byte between the comma behind it and the end of the line, `bytes` is the length of
the body as received, and a body that is not UTF-8 stands as base64 with `"body_encoding":"base64"`.

Closed segments never change, except through erasure: in place of a record whose body had to go stands
`{"crc32":…,"delivery_id":…,"received_at":…,"source":…,"bytes":0,"body":"","erased":true}`. It says that something
came, when, from whom and under which id, and nothing of what it was; no other byte and no line number changes.
Readers tell it apart from deliveries. A damaged stretch that was erased leaves such a record without an id.
"""

import base64
import errno
import fcntl
import os
import re
import shutil
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from io import BufferedReader, BytesIO
from pathlib import Path
from time import monotonic, time_ns
from typing import Literal, NamedTuple, Self

import msgspec
import zstandard

OPEN, CLOSED, COMPRESSED, TORN = ".jsonl.open", ".jsonl", ".jsonl.zst", ".torn"
HALF_WRITTEN = _COMPRESSING, _ERASING = ".zst.new", ".erasing"  # half a segment aside; found later, it was cut short
PARTITION = "received_date="
MARKER = b'{"crc32":"'  # a body's quotes are escaped, so this can only begin a record
_PAYLOAD_AT = len(MARKER) + 8 + len('",')
_IS_PARTITION = re.compile(re.escape(PARTITION) + r"\d{4}-\d\d-\d\d").fullmatch  # others put their files here too
_SEGMENT_NAME = "%Y%m%dT%H%M%S%fZ"
_IS_SEGMENT_NAME = re.compile(r"\d{8}T\d{12}Z").fullmatch
_MAX_BUFFERS = 1024  # IOV_MAX on every system we know
_READ_BYTES = 1 << 18
_FRAME_BYTES = 1 << 20  # a compressed segment is cut into frames, so that damage stays in one of them
_FRAME_MAGIC = b"\x28\xb5\x2f\xfd"


# ---------------------------------------------------------------- records


class Delivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """One accepted POST: `received_at` is UTC with microseconds, `size` the length of the exact body."""

    delivery_id: str
    received_at: str
    source: str
    size: int = msgspec.field(name="bytes")
    body: str
    body_encoding: Literal["base64"] | None = None
    erased: bool = False

    def exact_body(self) -> bytes:
        """The bytes that Kobra sent."""
        return base64.b64decode(self.body) if self.body_encoding else self.body.encode()


class Landed(NamedTuple):
    """A record read back: `line` counts from 1, `offset` in bytes from the segment's uncompressed start."""

    line: int
    offset: int
    delivery: Delivery


class Erased(NamedTuple):
    """A record whose body was erased: where it stands, and the id that its delivery had ("" of what was damaged)."""

    line: int
    offset: int
    delivery_id: str


class Damage(NamedTuple):
    """A stretch of a segment that fails its checksums, and how many records it held at least.

    Of a compressed segment a whole frame may be lost; `offset` is then that of the frame in the file.
    """

    segment: str
    offset: int
    records: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Delivery).decode


def delivery(delivery_id: str, received_at: str, source: str, body: bytes) -> Delivery:
    """The record of a body, whatever bytes it is made of."""
    try:
        return Delivery(delivery_id, received_at, source, len(body), body.decode())
    except UnicodeDecodeError:
        return Delivery(delivery_id, received_at, source, len(body), base64.b64encode(body).decode(), "base64")


def encode(record: Delivery) -> bytes:
    """A record as the line that stands in a segment, newline included."""
    payload = _encode(record)[1:]
    return b'%b%08x",%b\n' % (MARKER, zlib.crc32(payload), payload)


def decode(line: bytes) -> Delivery | None:
    """The record on a line (without its newline), or None when the line is damaged."""
    if not line.startswith(MARKER) or line[_PAYLOAD_AT - 2 : _PAYLOAD_AT] != b'",':
        return None
    payload = line[_PAYLOAD_AT:]
    if line[len(MARKER) : _PAYLOAD_AT - 2] != b"%08x" % zlib.crc32(payload):
        return None
    try:
        return _decode(b"{" + payload)
    except msgspec.DecodeError:  # sound, but no record of ours
        return None


class Stamps:
    """When a delivery came and what it is called. Names never run backwards, even when the clock does.

    A `delivery_id` is a UUIDv7 (RFC 9562) whose 12 bits behind the version hold the microsecond: ids of one
    process sort in the order of arrival.
    """

    def __init__(self) -> None:
        self._last = 0
        self._second, self._prefix = -1, ""
        self._tails: list[int] = []

    def next(self) -> tuple[str, str]:
        """(`delivery_id`, `received_at`) for a delivery that arrives now."""
        now = time_ns() // 1000
        self._last = max(now, self._last + 1)
        second, micros = divmod(now, 1_000_000)
        if second != self._second:
            self._second = second
            self._prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return delivery_id(self._last, self._tail()), f"{self._prefix}.{micros:06d}Z"

    def _tail(self) -> int:
        if not self._tails:  # a system call for every delivery would cost more than all the rest of its stamp
            self._tails = list(struct.unpack("512Q", os.urandom(4096)))
        return self._tails.pop()


def delivery_id(micros: int, tail: int) -> str:
    """A UUIDv7 of a time in microseconds since 1970; 62 bits of `tail` tell apart what came together."""
    millis, rest = divmod(micros, 1000)
    return (
        f"{millis >> 16:08x}-{millis & 0xFFFF:04x}-7{rest * 4096 // 1000:03x}"
        f"-{0x8000 | (tail >> 48 & 0x3FFF):04x}-{tail & 0xFFFFFFFFFFFF:012x}"
    )


# ---------------------------------------------------------------- reading


def identity(path: Path) -> str:
    """A segment's name without endings: compressing it does not make it new."""
    return path.name.partition(".jsonl")[0]


def received_date(path: Path) -> date:
    """The UTC day of a segment's partition."""
    return date.fromisoformat(path.parent.name.removeprefix(PARTITION))


def began(path: Path) -> datetime | None:
    """When a segment began, by its name; None when that is no name of a landing's."""
    try:
        return datetime.strptime(identity(path) + "+0000", _SEGMENT_NAME + "%z")
    except ValueError:
        return None


def partitions(raw: Path) -> list[Path]:
    """The partitions of a store, oldest first."""
    if not raw.is_dir():
        return []
    return sorted(Path(e.path) for e in os.scandir(raw) if _IS_PARTITION(e.name) and e.is_dir())


def closed_in(partition: Path) -> dict[str, Path]:
    """The closed segments of one partition by identity, in the order of creation.

    While a segment is being compressed both forms stand there for a moment: the compressed one counts.
    """
    names = sorted(e.name for e in os.scandir(partition) if e.name.endswith((CLOSED, COMPRESSED)))
    return {identity(path): path for path in (partition / name for name in names)}


def open_in(partition: Path) -> list[Path]:
    """The segments of one partition that are being written, or whose writer died."""
    return sorted(Path(e.path) for e in os.scandir(partition) if e.name.endswith(OPEN))


def closed(raw: Path) -> dict[str, Path]:
    """All closed segments by identity, oldest partition first."""
    return {name: path for partition in partitions(raw) for name, path in closed_in(partition).items()}


def opened(raw: Path) -> list[Path]:
    """All segments that are being written, or whose writer died, oldest partition first."""
    return [path for partition in partitions(raw) for path in open_in(partition)]


Found = Landed | Erased | Damage


def read(path: Path) -> Iterator[Found]:
    """Every record of a segment in order; what fails its checksum is skipped and told as Damage."""
    segment = identity(path)
    if path.name.endswith(CLOSED) and not path.exists():  # compressed since it was listed
        path = path.with_name(segment + COMPRESSED)
    if path.name.endswith(COMPRESSED):
        yield from _read_compressed(segment, path.read_bytes())
        return
    with path.open("rb", buffering=_READ_BYTES) as file:
        yield from _read_lines(segment, file, first_line=1, first_offset=0)


def _read_lines(segment: str, lines: Iterable[bytes], first_line: int, first_offset: int) -> Iterator[Found]:
    offset, damage_at, damaged = first_offset, -1, 0
    for number, line in enumerate(lines, first_line):
        record = decode(line[:-1]) if line.endswith(b"\n") else None
        if record is not None:
            if damaged:
                yield Damage(segment, damage_at, damaged)
                damaged = 0
            yield Erased(number, offset, record.delivery_id) if record.erased else Landed(number, offset, record)
        else:
            for piece_at, piece in _pieces(line):
                record = decode(piece.removesuffix(b"\n")) if piece.endswith(b"\n") else None
                if record is not None:
                    if damaged:
                        yield Damage(segment, damage_at, damaged)
                        damaged = 0
                    found_at = offset + piece_at
                    yield (
                        Erased(number, found_at, record.delivery_id)
                        if record.erased
                        else Landed(number, found_at, record)
                    )
                elif not damaged:
                    damage_at, damaged = offset + piece_at, 1
                else:
                    damaged += piece.startswith(MARKER)
        offset += len(line)
    if damaged:
        yield Damage(segment, damage_at, damaged)


def _pieces(line: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut a damaged line where records begin: the newline between two of them may be what was damaged."""
    start = 0
    while (cut := line.find(MARKER, start + 1)) != -1:
        yield start, line[start:cut]
        start = cut
    yield start, line[start:]


def _read_compressed(segment: str, data: bytes) -> Iterator[Found]:
    line, offset = 1, 0
    for frame_at, text in _frames(data):
        if text is None:
            yield Damage(segment, frame_at, 1)
            continue
        yield from _read_lines(segment, BytesIO(text), line, offset)
        line += text.count(b"\n")
        offset += len(text)


def _frames(data: bytes) -> Iterator[tuple[int, bytes | None]]:
    """(offset, text) of every frame; one that does not decompress has no text, and the next one is sought.

    A frame that the end of the file cuts off comes twice: with the lines that are left of it, and without text.
    """
    at = 0
    while at < len(data):
        frame = zstandard.ZstdDecompressor().decompressobj()
        text: bytes | None
        try:
            text = frame.decompress(memoryview(data)[at:])
            stop = len(data) - len(frame.unused_data)
        except zstandard.ZstdError:
            text, stop = None, data.find(_FRAME_MAGIC, at + 1)
        if text is not None and not frame.eof:  # the file ends within this frame: whole lines may be left of it
            yield at, text[: text.rfind(b"\n") + 1]
            text = None
        yield at, text
        at = stop if stop != -1 else len(data)


# ---------------------------------------------------------------- writing


class Segment:
    """A segment that this process alone appends to, from its creation to its closing."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.date = received_date(path)
        self.began = monotonic()
        self.size = 0
        self._fd = fd

    @classmethod
    def create(cls, raw: Path, day: date, name: str) -> Self | None:
        """A new, locked segment whose directory entry is on disk; None when the name is taken."""
        partition = raw / f"{PARTITION}{day.isoformat()}"
        make_folder(partition)
        path = partition / f"{name}{OPEN}"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return None
        try:
            # Between creation and lock a sibling's recovery may have taken the empty file for an orphan.
            if not _lock(fd) or not _still_named(path, fd):
                os.close(fd)
                return None
            if any((partition / f"{name}{ending}").exists() for ending in (CLOSED, COMPRESSED)):
                path.unlink()
                os.close(fd)
                return None
            sync_folder(partition)
        except OSError:
            with suppress(OSError):
                path.unlink()
            os.close(fd)
            raise
        return cls(path, fd)

    def append(self, lines: Sequence[bytes]) -> None:
        """Write the lines and sync them. Raises OSError when that failed: then nothing of them may be
        acknowledged, and the segment takes no more."""
        total = 0
        for start in range(0, len(lines), _MAX_BUFFERS):
            chunk = lines[start : start + _MAX_BUFFERS]
            length = sum(map(len, chunk))
            if write_synced(self._fd, chunk) != length:
                raise OSError(errno.ENOSPC, "short write", str(self.path))
            total += length
        self.size += total

    def close(self) -> Path | None:
        """Close the segment under its final name; an empty one is removed. Raises OSError."""
        return _close(self.path, self._fd, self.size)

    def abandon(self) -> None:
        """Cut off what was never acknowledged and let go; the next start-up or load closes the segment.

        After a failed sync the kernel may have forgotten pages that it still shows: they are not trusted.
        """
        with suppress(OSError):
            os.ftruncate(self._fd, self.size)
        if self.size == 0:  # a disk that refuses for hours must not fill up with empty segments
            with suppress(OSError):
                self.path.unlink()
        with suppress(OSError):
            os.close(self._fd)


class Landing:
    """The writing side of a store for one process: which segment is open, and when it closes.

    Not for several threads at once. A segment closes by size, by age in seconds, at the change of the UTC day
    and at `close()`.
    """

    def __init__(self, raw: Path, *, max_bytes: int = 64 << 20, max_age_s: float = 60.0) -> None:
        self.raw = raw
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._segment: Segment | None = None
        self._last_name = self._newest_name()

    def _newest_name(self) -> str:
        names = (identity(Path(entry.name)) for folder in partitions(self.raw)[-1:] for entry in os.scandir(folder))
        return max(filter(_IS_SEGMENT_NAME, names), default="")

    def append(self, day: date, lines: Sequence[bytes]) -> None:
        """Land records of one UTC day: on return they are synced. Raises OSError, and then none of them may
        be acknowledged; the next call begins a new segment."""
        segment = self._segment
        if segment is not None and (segment.date != day or segment.size >= self._max_bytes):
            self.close()
            segment = None
        if segment is None:
            segment = self._segment = self._begin(day)
        try:
            segment.append(lines)
        except OSError:
            self._segment = None
            segment.abandon()
            raise

    def _begin(self, day: date) -> Segment:
        while True:
            # Names sort in the order of creation even when the clock runs backwards.
            now = datetime.now(UTC)
            name = now.strftime(_SEGMENT_NAME)
            if name <= self._last_name:
                name = _name_after(self._last_name)
            self._last_name = name
            if segment := Segment.create(self.raw, day, name):
                return segment

    @property
    def open_age_s(self) -> float:
        """Seconds since the open segment began; 0 when there is none."""
        return monotonic() - self._segment.began if self._segment else 0.0

    def close_if_due(self) -> None:
        """Close the open segment when it has reached its age. Raises OSError."""
        if self.open_age_s >= self._max_age_s:
            self.close()

    def close(self) -> None:
        """Close the open segment, if there is one. Raises OSError; the segment then waits for a recovery."""
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()


def _name_after(name: str) -> str:
    return (datetime.strptime(name, _SEGMENT_NAME) + timedelta(microseconds=1)).strftime(_SEGMENT_NAME)


def _close(path: Path, fd: int, size: int) -> Path | None:
    """Give a locked segment its final name, then let go of the lock: nobody sees a closed segment change."""
    try:
        if size == 0:
            path.unlink()
            return None
        final = path.with_name(identity(path) + CLOSED)
        path.rename(final)
        sync_folder(path.parent)
        return final
    finally:
        os.close(fd)


# ---------------------------------------------------------------- keeping


class Recovered(NamedTuple):
    """An orphaned segment that was closed: `torn` bytes behind its last whole record were set aside."""

    segment: str
    torn: int


def recover(raw: Path) -> list[Recovered]:
    """Close every segment whose writer is gone, cut after its last whole record. What was cut is kept beside
    it as `<segment>.torn`. Segments that are being written are left alone.

    Raises OSError when one could not be closed, once all the others are.
    """
    recovered, failure = [], None
    for path in opened(raw):
        try:
            recovered.append(_recover(path))
        except OSError as why:
            failure = why
    if failure:
        raise failure
    return [each for each in recovered if each]


def is_orphan(path: Path) -> bool:
    """Whether the writer of an open segment is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return _lock(fd)
    finally:
        os.close(fd)


def _recover(path: Path) -> Recovered | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # closed meanwhile
        return None
    if not _lock(fd) or not _still_named(path, fd):
        os.close(fd)
        return None
    if any(path.with_name(identity(path) + ending).exists() for ending in (CLOSED, COMPRESSED)):
        # An older copy of what was closed since, brought back by a backup: it holds nothing more.
        torn = os.fstat(fd).st_size
        path.rename(path.with_name(identity(path) + TORN))
        sync_folder(path.parent)
        os.close(fd)
        return Recovered(identity(path), torn)
    try:
        whole = _whole_length(path)
        torn = os.fstat(fd).st_size - whole
        if torn:
            aside = path.with_name(identity(path) + TORN)
            aside.unlink(missing_ok=True)  # of a recovery that was cut short
            _write_new(aside, [os.pread(fd, torn, whole)])
            os.ftruncate(fd, whole)
        os.fsync(fd)
    except OSError:
        os.close(fd)
        raise
    _close(path, fd, whole)
    return Recovered(identity(path), torn)


def _whole_length(path: Path) -> int:
    """Bytes up to the end of the last whole record."""
    last = max((found.offset for found in read(path) if isinstance(found, Landed)), default=None)
    if last is None:
        return 0
    with path.open("rb") as file:
        file.seek(last)
        return last + len(file.readline())


def compress_before(raw: Path, day: date) -> None:
    """Compress the closed segments of all days before one. Raises what `compress` raises."""
    for partition in partitions(raw):
        if received_date(partition / "any") < day:
            for entry in sorted(os.scandir(partition), key=lambda entry: entry.name):
                if entry.name.endswith(CLOSED):
                    compress(Path(entry.path))


def compress(path: Path) -> Path:
    """Compress a closed segment to `.jsonl.zst`, read it back, and only then drop the original.

    Frames end where records end. Raises OSError, or ValueError when what was written does not read back.
    """
    target = path.with_name(identity(path) + COMPRESSED)
    aside = path.with_name(identity(path) + _COMPRESSING)
    aside.unlink(missing_ok=True)
    with path.open("rb") as file:
        _write_new(aside, map(zstandard.ZstdCompressor(level=6, write_checksum=True).compress, _blocks(file)))
    with path.open("rb") as original:
        if any(text != original.read(len(text or b"")) for _, text in _frames(aside.read_bytes())) or original.read(
            1
        ):
            raise ValueError(f"{aside} does not read back as {path}; the original stays")
    aside.rename(target)
    sync_folder(path.parent)
    path.unlink()
    return target


def _blocks(file: BufferedReader) -> Iterator[bytes]:
    while block := file.read(_FRAME_BYTES):
        yield block + file.readline()


class Verdict(NamedTuple):
    """What a check of one segment found. `records` are sound, those that were erased among them."""

    path: Path
    records: int
    damage: list[Damage]
    erased: int


def verify(raw: Path) -> Iterator[Verdict]:
    """Check every checksum of every closed segment."""
    for path in closed(raw).values():
        records, damage, erased = 0, [], 0
        for item in read(path):
            if isinstance(item, Damage):
                damage.append(item)
            else:
                records += 1
                erased += isinstance(item, Erased)
        yield Verdict(path, records, damage, erased)


# ---------------------------------------------------------------- erasing


def files_of(path: Path) -> list[Path]:
    """The files that hold a closed segment: both, when its compression was cut short before the plain one went."""
    files = (path.with_name(identity(path) + ending) for ending in (CLOSED, COMPRESSED))
    return [file for file in files if file.exists()]


def remove_leftovers(raw: Path) -> int:
    """Remove torn ends, and what a compression or an erasure that was cut short left beside segments; how many."""
    removed = 0
    for partition in partitions(raw):
        for path in list(partition.iterdir()):
            if path.name.endswith((TORN, _COMPRESSING, _ERASING)):
                path.unlink()
                removed += 1
        sync_folder(partition)
    return removed


def remove(partition: Path) -> None:
    """Remove a partition whole."""
    shutil.rmtree(partition)
    sync_folder(partition.parent)


def erase(
    path: Path, record_goes: Callable[[Delivery], bool], damage_goes: Callable[[bytes], bool] = lambda _: False
) -> int:
    """Put records without a body in place of those that have to go from the file of a closed segment; how many
    they were. Every other byte stays.

    The file is written aside, synced and renamed: at every moment the old or the new one is there. `damage_goes`
    is asked of stretches that fail their checksum; a compressed frame that does not decompress stays as it is.
    """
    aside = path.with_name(identity(path) + _ERASING)
    aside.unlink(missing_ok=True)
    erased = 0

    def kept(lines: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal erased
        for line in lines:
            for _, piece in _pieces(line):
                after = _after_erasure(piece, record_goes, damage_goes)
                erased += after is not None
                yield piece if after is None else after

    if path.name.endswith(COMPRESSED):
        _write_new(aside, _erased_frames(path.read_bytes(), kept))
    else:
        with path.open("rb") as file:
            _write_new(aside, kept(file))
    if erased:
        aside.rename(path)
        sync_folder(path.parent)
    else:
        aside.unlink()
    return erased


def _after_erasure(
    piece: bytes, record_goes: Callable[[Delivery], bool], damage_goes: Callable[[bytes], bool]
) -> bytes | None:
    """What takes the place of a piece of a segment; None when it stays."""
    end = b"\n" if piece.endswith(b"\n") else b""
    record = decode(piece[:-1]) if end else None
    if record is None:
        return encode(_without_body(Delivery("", "", "", 0, "")))[:-1] + end if damage_goes(piece) else None
    return encode(_without_body(record)) if not record.erased and record_goes(record) else None


def _without_body(record: Delivery) -> Delivery:
    return Delivery(record.delivery_id, record.received_at, record.source, 0, "", erased=True)


def _erased_frames(data: bytes, kept: Callable[[Iterable[bytes]], Iterator[bytes]]) -> Iterator[bytes]:
    """The frames of a compressed segment, those in which something was erased written anew."""
    frames: dict[int, bytes | None] = {}
    is_cut_off = False
    for at, text in _frames(data):
        is_cut_off = at in frames
        frames.setdefault(at, text)
    stops = [*list(frames)[1:], len(data)]
    for (at, text), stop in zip(frames.items(), stops, strict=True):
        after = None if text is None else b"".join(kept(BytesIO(text)))
        if after is None or after == text:
            yield data[at:stop]
            continue
        yield zstandard.ZstdCompressor(level=6, write_checksum=True).compress(after)
        if is_cut_off and stop == len(data):
            yield _FRAME_MAGIC  # what is lost of it is still told as damage


# ---------------------------------------------------------------- disk


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, so that a power loss cannot take them away again."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    sync_folder(folder.parent)


def free_floor(folder: Path, told: int | None = None) -> int:
    """Free bytes below which nothing more is accepted: as told, else the smaller of 64 MiB and 5 % of the file
    system. Raises OSError when the folder cannot be looked at."""
    if told is not None:
        return told
    disk = os.statvfs(folder)
    return min(64 << 20, disk.f_blocks * disk.f_frsize // 20)


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_data(fd: int) -> None:
    """Put a file's data, and what is needed to read them back, on the disk itself."""
    if sys.platform == "darwin":
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # there fsync stops at the drive's own cache
    else:
        os.fdatasync(fd)


def write_synced(fd: int, buffers: Sequence[bytes]) -> int:
    """Append buffers to a file and put them on the disk itself; how many bytes were taken. Raises OSError."""
    if sys.platform == "linux":
        try:
            # One system call instead of two: the caller's thread has to win Python's lock back only once.
            return os.pwritev(fd, buffers, 0, os.RWF_DSYNC)  # O_APPEND: the offset does not count
        except OSError as why:
            if why.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise
    written = os.writev(fd, buffers)
    sync_data(fd)
    return written


def _write_new(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a file that did not exist, synced, with its directory entry."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.writelines(blocks)
        file.flush()
        os.fsync(fd)
    sync_folder(path.parent)


def put(path: Path, text: str) -> None:
    """Put a small file in its place, whole and synced."""
    aside = path.with_name(f"{path.name}.new")
    aside.unlink(missing_ok=True)
    _write_new(aside, [text.encode()])
    aside.rename(path)
    sync_folder(path.parent)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _still_named(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
