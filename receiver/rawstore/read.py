"""Read segments: every record whose checksum is right, and where there is damage. Memory is bounded by the longest
record, whatever stands in a file."""

import os
import re
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import zstandard

from receiver.rawstore.record import LONGEST_BODY, MARKER, Delivery, decode, longest_line
from receiver.rawstore.segments import CLOSED, COMPRESSED, closed, identity

FRAME_MAGIC = b"\x28\xb5\x2f\xfd"
_FRAME_BYTES = 1 << 20  # a compressed segment is cut into frames, so that damage stays in one of them
_READ_BYTES = 1 << 18
_FEED_BYTES = 1 << 8  # zstd makes at most some 8 MiB of them
_LONGEST_DAMAGE = 1 << 20  # a stretch that no record begins is told in pieces of this length
_BODY_BYTES = re.compile(rb'.{0,400}?"bytes":(\d{1,9}),', re.S).match


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
    position = _Position()
    with path.open("rb") as file:
        if not path.name.endswith(COMPRESSED):
            yield from _read_lines(segment, lines(texts(file)), position)
            return
        for frame in frames(file):
            damage = list[Damage]()
            for found in _read_lines(segment, lines(frame.texts()), position):
                if isinstance(found, Damage):
                    damage.append(found)
                else:
                    yield found
            if frame.is_whole:
                yield from damage
            else:
                yield Damage(segment, frame.at, max(1, sum(each.records for each in damage)))


class _Position:
    """Where in a segment the next line begins: its number and its offset."""

    line = 1
    offset = 0


def _read_lines(segment: str, lines: Iterable[bytes], position: _Position) -> Iterator[Found]:
    number, offset, damage_at, damaged = position.line, position.offset, -1, 0
    for line in lines:
        record = decode(line[:-1]) if line.endswith(b"\n") else None
        if record is not None:
            if damaged:
                yield Damage(segment, damage_at, damaged)
                damaged = 0
            yield Erased(number, offset, record.delivery_id) if record.erased else Landed(number, offset, record)
        else:
            for piece_at, piece in pieces(line):
                record = decode(piece[:-1]) if piece.endswith(b"\n") else None
                if record is not None:
                    if damaged:
                        yield Damage(segment, damage_at, damaged)
                        damaged = 0
                    at = offset + piece_at
                    yield Erased(number, at, record.delivery_id) if record.erased else Landed(number, at, record)
                elif not damaged:
                    damage_at, damaged = offset + piece_at, 1
                else:
                    damaged += piece.startswith(MARKER)
        offset += len(line)
        number += line.endswith(b"\n")
    if damaged:
        yield Damage(segment, damage_at, damaged)
    position.line, position.offset = number, offset


# ---------------------------------------------------------------- lines


def lines(texts: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a text that comes in parts. One that is longer than any record comes in pieces; none parts a
    record."""
    held = bytearray()  # a line that is not complete yet
    for text in texts:
        for part in BytesIO(text):
            if not held and part.endswith(b"\n"):
                yield part
                continue
            held += part
            if part.endswith(b"\n"):
                yield bytes(held)
                held.clear()
            elif len(held) > _longest(held):
                cut = _cut(held)
                yield bytes(held[:cut])
                del held[:cut]
    if held:
        yield bytes(held)


def _longest(held: bytearray) -> int:
    """How long the line may be that begins like this."""
    if not held.startswith(MARKER):
        return _LONGEST_DAMAGE
    told = _BODY_BYTES(held)
    return longest_line(min(int(told[1]), LONGEST_BODY)) if told else _LONGEST_DAMAGE


def _cut(held: bytearray) -> int:
    """Where to part a line that is too long: where the last record in it may begin."""
    last = held.rfind(MARKER, 1)
    return last if last != -1 else len(held) - len(MARKER)


def pieces(line: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut a damaged line where records begin: the newline between two of them may be what was damaged."""
    start = 0
    while (cut := line.find(MARKER, start + 1)) != -1:
        yield start, line[start:cut]
        start = cut
    yield start, line[start:]


def blocks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines together, about a frame of a compressed segment at a time."""
    block, size = list[bytes](), 0
    for line in lines:
        block.append(line)
        size += len(line)
        if size >= _FRAME_BYTES:
            yield b"".join(block)
            block, size = [], 0
    if block:
        yield b"".join(block)


def texts(file: BinaryIO) -> Iterator[bytes]:
    while text := file.read(_READ_BYTES):
        yield text


# ---------------------------------------------------------------- frames


class Frame:
    """A frame of a compressed segment: its offset in the file and, once its texts were read, its end, and whether
    it was whole."""

    def __init__(self, file: BinaryIO, at: int) -> None:
        self._file = file
        self.at = at
        self.stop = at
        self.is_whole = False

    def texts(self) -> Iterator[bytes]:
        """What the frame holds, a little at a time; it ends where the frame does, or is damaged."""
        stream = zstandard.ZstdDecompressor().decompressobj()
        at = self.at
        try:
            while not stream.eof:
                self._file.seek(at)
                if not (part := self._file.read(_FEED_BYTES)):
                    self.stop = at  # the file ends within this frame
                    return
                at += len(part)
                if text := stream.decompress(part):
                    yield text
        except zstandard.ZstdError:
            self.stop = _next_frame(self._file, self.at + 1)
        else:
            self.stop = at - len(stream.unused_data)
            self.is_whole = True


def frames(file: BinaryIO) -> Iterator[Frame]:
    """The frames of a compressed segment; behind one that is damaged the next is sought. Each is to be read to its
    end before the next is asked for."""
    at, size = 0, file.seek(0, os.SEEK_END)
    while at < size:
        frame = Frame(file, at)
        yield frame
        at = frame.stop


def _next_frame(file: BinaryIO, at: int) -> int:
    """Where the next frame begins; the end of the file where there is none."""
    file.seek(at)
    before = b""
    while text := file.read(_READ_BYTES):
        if (found := (before + text).find(FRAME_MAGIC)) != -1:
            return at - len(before) + found
        before = (before + text)[-len(FRAME_MAGIC) + 1 :]
        at += len(text)
    return at


# ---------------------------------------------------------------- checking


class Verdict(NamedTuple):
    """What a check of one segment found. `records` are sound, those that were erased among them."""

    path: Path
    records: int
    damage: list[Damage]
    erased: int


def verify(raw: Path) -> Iterator[Verdict]:
    """Check every checksum of every closed segment."""
    return map(verify_segment, closed(raw).values())


def verify_segment(path: Path) -> Verdict:
    """Check every checksum of a segment."""
    records, damage, erased = 0, [], 0
    for found in read_segment(path):
        if isinstance(found, Damage):
            damage.append(found)
        else:
            records += 1
            erased += isinstance(found, Erased)
    return Verdict(path, records, damage, erased)
