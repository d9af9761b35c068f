"""Compress closed segments; a segment keeps its identity."""

import os
from collections.abc import Iterator
from datetime import date
from io import BufferedReader
from pathlib import Path

import zstandard

from receiver.rawstore.disk import sync_folder, write_new
from receiver.rawstore.read import frames
from receiver.rawstore.segments import CLOSED, COMPRESSED, COMPRESSING, identity, partitions, received_date

_FRAME_BYTES = 1 << 20  # a compressed segment is cut into frames, so that damage stays in one of them


def compress_before(raw: Path, day: date) -> None:
    """Compress the closed segments of all days before one. Raises what `compress_segment` raises."""
    for partition in partitions(raw):
        if received_date(partition / "any") < day:
            for entry in sorted(os.scandir(partition), key=lambda entry: entry.name):
                if entry.name.endswith(CLOSED):
                    compress_segment(Path(entry.path))


def compress_segment(path: Path) -> Path:
    """Compress a closed segment to `.jsonl.zst`, read it back, and only then drop the original.

    Frames end where records end. Raises OSError, or ValueError when what was written does not read back.
    """
    target = path.with_name(identity(path) + COMPRESSED)
    aside = path.with_name(identity(path) + COMPRESSING)
    aside.unlink(missing_ok=True)
    with path.open("rb") as file:
        write_new(aside, map(zstandard.ZstdCompressor(level=6, write_checksum=True).compress, _blocks(file)))
    with path.open("rb") as original:
        if any(text != original.read(len(text or b"")) for _, text in frames(aside.read_bytes())) or original.read(1):
            raise ValueError(f"{aside} does not read back as {path}; the original stays")
    aside.rename(target)
    sync_folder(path.parent)
    path.unlink()
    return target


def _blocks(file: BufferedReader) -> Iterator[bytes]:
    while block := file.read(_FRAME_BYTES):
        yield block + file.readline()
