"""Erase bodies from segments; no other byte and no line number changes."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from receiver.rawstore.disk import sync_folder, write_new
from receiver.rawstore.read import FRAME_MAGIC, Frame, blocks, frames, lines, pieces, texts
from receiver.rawstore.record import Delivery, decode, encode
from receiver.rawstore.segments import ASIDE, CLOSED, COMPRESSED, ERASING, HALF_WRITTEN, TORN, identity, partitions

_COPIED_BYTES = 1 << 20


def files_of(path: Path) -> list[Path]:
    """The files that hold a closed segment: both, when its compression was cut short before the plain one went."""
    files = (path.with_name(identity(path) + ending) for ending in (CLOSED, COMPRESSED))
    return [file for file in files if file.exists()]


def set_aside_in(raw: Path) -> list[Path]:
    """The copies of segments that were set aside."""
    return sorted(path for partition in partitions(raw) for path in partition.iterdir() if path.name.endswith(ASIDE))


def remove_leftovers(raw: Path) -> int:
    """Remove torn ends, and what was cut short beside segments; how many."""
    removed = 0
    for partition in partitions(raw):
        for path in list(partition.iterdir()):
            if path.name.endswith((TORN, *HALF_WRITTEN)):
                path.unlink()
                removed += 1
        sync_folder(partition)
    return removed


def remove(partition: Path) -> None:
    """Remove a partition whole, also one behind a symbolic link."""
    if partition.is_symlink():
        shutil.rmtree(partition.resolve())
        partition.unlink()
    else:
        shutil.rmtree(partition)
    sync_folder(partition.parent)


class _Erasure:
    """What has to go, and how much went."""

    def __init__(self, record_goes: Callable[[Delivery], bool], damage_goes: Callable[[bytes], bool]) -> None:
        self._record_goes = record_goes
        self._damage_goes = damage_goes
        self.erased = 0

    def after(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The lines once everything is gone that has to go."""
        for line in lines:
            for _, piece in pieces(line):
                instead = self._instead(piece)
                self.erased += instead is not None
                yield piece if instead is None else instead

    def _instead(self, piece: bytes) -> bytes | None:
        """What takes the place of a piece of a segment; None when it stays."""
        end = b"\n" if piece.endswith(b"\n") else b""
        record = decode(piece[:-1]) if end else None
        if record is None:
            gone = encode(_without_body(Delivery("", "", "", 0, "")))[:-1] + end
            return gone if self._damage_goes(piece) else None
        return encode(_without_body(record)) if not record.erased and self._record_goes(record) else None


def erase_records(
    path: Path, record_goes: Callable[[Delivery], bool], damage_goes: Callable[[bytes], bool] = lambda _: False
) -> int:
    """Put records without a body in place of those that have to go from the file of a closed segment; how many
    they were. Every other byte stays. A symbolic link stays one: the file behind it is rewritten.

    The file is written aside, synced and renamed: at every moment the old or the new one is there. `damage_goes`
    is asked of stretches that fail their checksum; a compressed frame that does not decompress stays as it is.
    Both may be asked more than once of the same.
    """
    path = path.resolve()
    aside = path.with_name(identity(path) + ERASING)
    aside.unlink(missing_ok=True)
    erasure = _Erasure(record_goes, damage_goes)
    with path.open("rb") as file:
        if path.name.endswith(COMPRESSED):
            write_new(aside, _frames_after(file, erasure))
        else:
            write_new(aside, erasure.after(lines(texts(file))))
    if erasure.erased:
        aside.rename(path)
        sync_folder(path.parent)
    else:
        aside.unlink()
    return erasure.erased


def _frames_after(file: BinaryIO, erasure: _Erasure) -> Iterator[bytes]:
    """The frames of a compressed segment, those in which something was erased written anew."""
    for frame in frames(file):
        before = erasure.erased
        for _ in erasure.after(lines(frame.texts())):
            pass
        if erasure.erased == before:
            yield from _bytes(file, frame)
            continue
        erasure.erased = before
        compress = zstandard.ZstdCompressor(level=6, write_checksum=True).compress
        again = lines(Frame(file, frame.at).texts())
        whole = (line for line in again if frame.is_whole or line.endswith(b"\n"))
        yield from map(compress, blocks(erasure.after(whole)))
        if not frame.is_whole:
            yield FRAME_MAGIC  # what is lost of it is still told as damage


def _bytes(file: BinaryIO, frame: Frame) -> Iterator[bytes]:
    at = frame.at
    while at < frame.stop:
        file.seek(at)
        part = file.read(min(_COPIED_BYTES, frame.stop - at))
        at += len(part)
        yield part


def _without_body(record: Delivery) -> Delivery:
    return Delivery(record.delivery_id, record.received_at, record.source, 0, "", erased=True)
