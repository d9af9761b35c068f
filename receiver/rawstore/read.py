"""Read segments: every record whose checksum is right, and where there is damage."""

from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import zstandard

from receiver.rawstore.record import MARKER, Delivery, decode
from receiver.rawstore.segments import CLOSED, COMPRESSED, closed, identity

_READ_BYTES = 1 << 18
FRAME_MAGIC = b"\x28\xb5\x2f\xfd"


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


Found = Landed | Erased | Damage


def read_segment(path: Path) -> Iterator[Found]:
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
            for piece_at, piece in pieces(line):
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


def pieces(line: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut a damaged line where records begin: the newline between two of them may be what was damaged."""
    start = 0
    while (cut := line.find(MARKER, start + 1)) != -1:
        yield start, line[start:cut]
        start = cut
    yield start, line[start:]


def _read_compressed(segment: str, data: bytes) -> Iterator[Found]:
    line, offset = 1, 0
    for frame_at, text in frames(data):
        if text is None:
            yield Damage(segment, frame_at, 1)
            continue
        yield from _read_lines(segment, BytesIO(text), line, offset)
        line += text.count(b"\n")
        offset += len(text)


def frames(data: bytes) -> Iterator[tuple[int, bytes | None]]:
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
            text, stop = None, data.find(FRAME_MAGIC, at + 1)
        if text is not None and not frame.eof:  # the file ends within this frame: whole lines may be left of it
            yield at, text[: text.rfind(b"\n") + 1]
            text = None
        yield at, text
        at = stop if stop != -1 else len(data)


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
        for item in read_segment(path):
            if isinstance(item, Damage):
                damage.append(item)
            else:
                records += 1
                erased += isinstance(item, Erased)
        yield Verdict(path, records, damage, erased)
