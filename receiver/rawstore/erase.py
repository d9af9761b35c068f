"""Erase bodies from closed segments; no other byte and no line number changes."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path

import zstandard

from receiver.rawstore.disk import sync_folder, write_new
from receiver.rawstore.read import FRAME_MAGIC, frames, pieces
from receiver.rawstore.record import Delivery, decode, encode
from receiver.rawstore.segments import CLOSED, COMPRESSED, COMPRESSING, ERASING, TORN, identity, partitions


def files_of(path: Path) -> list[Path]:
    """The files that hold a closed segment: both, when its compression was cut short before the plain one went."""
    files = (path.with_name(identity(path) + ending) for ending in (CLOSED, COMPRESSED))
    return [file for file in files if file.exists()]


def remove_leftovers(raw: Path) -> int:
    """Remove torn ends, and what a compression or an erasure that was cut short left beside segments; how many."""
    removed = 0
    for partition in partitions(raw):
        for path in list(partition.iterdir()):
            if path.name.endswith((TORN, COMPRESSING, ERASING)):
                path.unlink()
                removed += 1
        sync_folder(partition)
    return removed


def remove(partition: Path) -> None:
    """Remove a partition whole."""
    shutil.rmtree(partition)
    sync_folder(partition.parent)


def erase_records(
    path: Path, record_goes: Callable[[Delivery], bool], damage_goes: Callable[[bytes], bool] = lambda _: False
) -> int:
    """Put records without a body in place of those that have to go from the file of a closed segment; how many
    they were. Every other byte stays.

    The file is written aside, synced and renamed: at every moment the old or the new one is there. `damage_goes`
    is asked of stretches that fail their checksum; a compressed frame that does not decompress stays as it is.
    """
    aside = path.with_name(identity(path) + ERASING)
    aside.unlink(missing_ok=True)
    erased = 0

    def kept(lines: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal erased
        for line in lines:
            for _, piece in pieces(line):
                after = _after_erasure(piece, record_goes, damage_goes)
                erased += after is not None
                yield piece if after is None else after

    if path.name.endswith(COMPRESSED):
        write_new(aside, _erased_frames(path.read_bytes(), kept))
    else:
        with path.open("rb") as file:
            write_new(aside, kept(file))
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
    texts: dict[int, bytes | None] = {}
    is_cut_off = False
    for at, text in frames(data):
        is_cut_off = at in texts
        texts.setdefault(at, text)
    stops = [*list(texts)[1:], len(data)]
    for (at, text), stop in zip(texts.items(), stops, strict=True):
        after = None if text is None else b"".join(kept(BytesIO(text)))
        if after is None or after == text:
            yield data[at:stop]
            continue
        yield zstandard.ZstdCompressor(level=6, write_checksum=True).compress(after)
        if is_cut_off and stop == len(data):
            yield FRAME_MAGIC  # what is lost of it is still told as damage
