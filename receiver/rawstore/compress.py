"""Compress closed segments, and put small ones of a day that is over together. Records stay as they are."""

import json
import struct
from collections.abc import Callable, Container, Iterable, Iterator
from datetime import date
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import zstandard

from receiver.rawstore.copies import drop, unpacks_to
from receiver.rawstore.disk import rename_new, sync_folder, write_new
from receiver.rawstore.read import blocks, frames, lines, texts
from receiver.rawstore.segments import (
    COMPACTED,
    COMPRESSED,
    COMPRESSING,
    Key,
    clock_after,
    closed_in,
    identity,
    is_compacted,
    key,
    new_name,
    partitions,
    received_date,
)

_TOGETHER_BYTES = 64 << 20  # of text, as large as a receiver's segments
_COMPRESSED_BY = 10  # about
_SMALL_BYTES = 256 << 10  # of a compressed segment
_FEW = 16  # segments of a day that keep their names
_LIST_MAGIC = 0x184D2A5B  # a frame that decompressors skip (RFC 8878, 3.1.2): which segments a compacted one holds
_LIST_HEAD = struct.Struct("<II")


class DamagedFrameError(ValueError):
    """A frame of a compressed segment does not decompress; the argument is its offset."""


class Part(NamedTuple):
    """A segment within a compacted one: its name, and how many lines it has."""

    name: str
    lines: int


def compress_before(raw: Path, day: date, is_taken: Callable[[Path], bool] = lambda _: True) -> None:
    """Compress the closed segments of all days before one that are `is_taken`; where there are many, they are put
    together and get another name. Raises OSError, or ValueError when what was written does not read back.

    Hold the lock of the warehouse. A segment behind a symbolic link stays as it is.
    """
    for partition in partitions(raw):
        if received_date(partition / "any") < day:
            _compress_in(partition, is_taken)


def _compress_in(partition: Path, is_taken: Callable[[Path], bool]) -> None:
    segments = [path for path in closed_in(partition).values() if not path.is_symlink()]
    small = [path for path in segments if _is_small(path)]
    plain = [path for path in segments if not path.name.endswith(COMPRESSED)]
    if not small and not plain:
        return
    _drop_parts([path for path in segments if is_compacted(path)], {identity(path): path for path in small + plain})
    waiting = [path for path in sorted(plain + small) if path.exists() and is_taken(path)]
    for group in _groups(waiting) if len(waiting) > _FEW else ([path] for path in waiting):
        if len(group) > 1:
            compact(group)
        elif not group[0].name.endswith(COMPRESSED):
            compress_segment(group[0])


def _is_small(path: Path) -> bool:
    return path.name.endswith(COMPRESSED) and not is_compacted(path) and path.stat().st_size < _SMALL_BYTES


def _groups(paths: Iterable[Path]) -> Iterator[list[Path]]:
    """Neighbours that make up a segment of full size together."""
    group, size = list[Path](), 0
    for path in paths:
        own = path.stat().st_size * (_COMPRESSED_BY if path.name.endswith(COMPRESSED) else 1)
        if group and size + own > _TOGETHER_BYTES:
            yield group
            group, size = [], 0
        group.append(path)
        size += own
    if group:
        yield group


# ---------------------------------------------------------------- one


def compress_segment(path: Path) -> Path:
    """Compress a closed segment to `.jsonl.zst`, read it back, and only then drop the original.

    Frames end where records end. Raises OSError, also where there is a compressed form already, or ValueError when
    what was written does not read back.
    """
    target = path.with_name(identity(path) + COMPRESSED)
    aside = path.with_name(identity(path) + COMPRESSING)
    aside.unlink(missing_ok=True)
    with path.open("rb") as file:
        write_new(aside, map(_compress(), blocks(lines(texts(file)))))
    with aside.open("rb") as written, path.open("rb") as original:
        if not unpacks_to(written, original):
            raise ValueError(f"{aside} does not read back as {path}; the original stays")
    rename_new(aside, target)
    sync_folder(path.parent)
    path.unlink()
    return target


def packed(path: Path) -> bytes:
    """The content of a closed segment, compressed as `compress_segment` does it. Raises OSError, or ValueError when
    it does not read back."""
    if path.name.endswith(COMPRESSED):
        return path.read_bytes()
    with path.open("rb") as file:
        content = b"".join(map(_compress(), blocks(lines(texts(file)))))
        file.seek(0)
        if not unpacks_to(BytesIO(content), file):
            raise ValueError(f"{path} does not read back when it is compressed")
    return content


def _compress() -> Callable[[bytes], bytes]:
    return zstandard.ZstdCompressor(level=6, write_checksum=True).compress


# ---------------------------------------------------------------- several


def compact(paths: Iterable[Path]) -> Path | None:
    """Put closed segments of one partition together into a compressed one that lists them, read it back, and only
    then drop them: their records stay as they are. Compressed ones that are damaged are left alone; None when there
    is nothing to be put together. Raises OSError, or ValueError when what was written does not read back."""
    parts = {path: count for path in paths if (count := _count_lines(path)) is not None}
    if len(parts) < 2:
        return None
    partition = next(iter(parts)).parent
    name = new_name(clock_after("")) + COMPACTED
    aside, target = partition / f"{name}{COMPRESSING}", partition / f"{name}{COMPRESSED}"
    head = _list_frame([Part(identity(path), count) for path, count in parts.items()])
    write_new(aside, chain([head], map(_compress(), blocks(lines(chain.from_iterable(map(_text, parts)))))))
    if not _is_same(_text(aside), chain.from_iterable(map(_text, parts))):
        raise ValueError(f"{aside} does not read back as what it was made of; that stays")
    rename_new(aside, target)
    sync_folder(partition)
    for path in parts:
        path.unlink()
    return target


def _count_lines(path: Path) -> int | None:
    try:
        return sum(text.count(b"\n") for text in _text(path))
    except DamagedFrameError:
        return None


def parts_of(path: Path) -> list[Part]:
    """The segments that a compacted one was put together of, in order; none of any other segment."""
    if not is_compacted(path):
        return []
    with path.open("rb") as file:
        head = file.read(_LIST_HEAD.size)
        if len(head) < _LIST_HEAD.size or (found := _LIST_HEAD.unpack(head))[0] != _LIST_MAGIC:
            return []
        packed = file.read(found[1])
    try:
        return [Part(*part) for part in json.loads(zstandard.ZstdDecompressor().decompress(packed))]
    except (zstandard.ZstdError, ValueError, TypeError):  # damaged: then it is a segment like any other
        return []


def is_among(path: Path, keys: Container[Key]) -> bool:
    """Whether a segment is one of these, or was put together of some of them alone."""
    if key(path) in keys:
        return True
    parts, day = parts_of(path), received_date(path)
    return bool(parts) and all(Key(part.name, day) in keys for part in parts)


def _list_frame(parts: list[Part]) -> bytes:
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(json.dumps(parts).encode())
    return _LIST_HEAD.pack(_LIST_MAGIC, len(packed)) + packed


def _text(path: Path) -> Iterator[bytes]:
    """The text of a segment; one that does not end with a line's end gets it. Raises DamagedFrameError: what is left
    of a damaged frame has no place in another."""
    last = b""
    with path.open("rb") as file:
        for last in _unpacked(file) if COMPRESSED[-4:] in path.suffixes else texts(file):
            yield last
    if last and not last.endswith(b"\n"):
        yield b"\n"


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    for frame in frames(file):
        yield from frame.texts()
        if not frame.is_whole:
            raise DamagedFrameError(frame.at)


def _is_same(one: Iterator[bytes], two: Iterator[bytes]) -> bool:
    """Whether two texts are the same, however they are cut."""
    mine, other = b"", b""
    while True:
        mine, other = mine or next(one, b""), other or next(two, b"")
        if not mine or not other:
            return mine == other
        length = min(len(mine), len(other))
        if mine[:length] != other[:length]:
            return False
        mine, other = mine[length:], other[length:]


def _drop_parts(compacted: Iterable[Path], others: dict[str, Path]) -> None:
    """Let segments go that a compacted one holds: compacting them was cut short, or a backup brought them back."""
    for path in compacted:
        for part in parts_of(path):
            if part.name in others:
                drop(others[part.name])
