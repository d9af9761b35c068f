"""Copies of a segment: nothing hides or replaces anything. The union of their sound records counts.

A backup that was put back, or a compression that was cut short, leaves one segment in several forms. The compressed
one stays, else the closed one. Records of the others that the partition does not hold become a segment of their own;
a record that was erased stays erased. What differs is set aside as `<file>.aside`, and told.
"""

import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, NamedTuple

from receiver.rawstore.disk import lock, set_aside, still_named, sync_folder
from receiver.rawstore.erase import erase_records
from receiver.rawstore.read import Erased, Landed, frames, read_segment
from receiver.rawstore.record import Delivery, encode
from receiver.rawstore.segments import ASIDE, COMPRESSED, OPEN, closed_in, copies_in, partitions
from receiver.rawstore.write import add_segment

_COMPARED_BYTES = 1 << 18


class Settled(NamedTuple):
    """A copy that differed: what it was called, where it is now, and how many records of it were saved."""

    copy: Path
    aside: Path
    saved: int


def settle(raw: Path) -> Iterator[Settled]:
    """Leave one form of every segment. Hold the lock of the warehouse: nobody else may compress or erase."""
    for partition in partitions(raw):
        for first, *others in copies_in(partition):
            for other in others:
                if settled := _settle(first, other):
                    yield settled


def drop(copy: Path) -> None:
    """Let a copy go whose records another segment of its partition holds; one that differs is set aside."""
    held = _held(copy.parent, copy)
    if all(isinstance(found, Landed) and held.get(found.delivery.delivery_id) == _digest(found.delivery)
           for found in read_segment(copy)):  # fmt: skip
        copy.unlink()
        sync_folder(copy.parent)
    else:
        _retire(copy, held)


def _retire(copy: Path, held: dict[str, int | None]) -> Settled:
    """Set a copy aside, once the partition holds all of its sound records."""
    missing = [encode(record) for record in _records(copy) if record.delivery_id not in held]
    if missing:
        add_segment(copy.parent, missing)
    erased = {delivery_id for delivery_id, digest in held.items() if digest is None}
    if erased:
        erase_records(copy, lambda record: record.delivery_id in erased)
    aside = set_aside(copy, ASIDE)
    sync_folder(copy.parent)
    return Settled(copy, aside, len(missing))


def _settle(first: Path, other: Path) -> Settled | None:
    """Let a copy go that says the same, or set it aside; a segment that is being written is left alone."""
    try:
        fd = os.open(other, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if other.name.endswith(OPEN) and not (lock(fd) and still_named(other, fd)):
            return None
        if _says_the_same(first, other):
            other.unlink()
            sync_folder(other.parent)
            return None
        return _retire(other, _held(other.parent, other))
    finally:
        os.close(fd)


def _says_the_same(first: Path, other: Path) -> bool:
    """Whether two forms of a segment hold the same bytes, once the first is unpacked."""
    with suppress(FileNotFoundError), first.open("rb") as one, other.open("rb") as two:
        if first.name.endswith(COMPRESSED):
            return unpacks_to(one, two)
        return os.path.sameopenfile(one.fileno(), two.fileno()) or _same(one, two)
    return False


def unpacks_to(compressed: BinaryIO, plain: BinaryIO) -> bool:
    """Whether a compressed segment is whole and holds just the bytes of a plain one."""
    for frame in frames(compressed):
        for text in frame.texts():
            if plain.read(len(text)) != text:
                return False
        if not frame.is_whole:
            return False
    return not plain.read(1)


def _same(one: BufferedReader, two: BufferedReader) -> bool:
    while text := one.read(_COMPARED_BYTES):
        if two.read(len(text)) != text:
            return False
    return not two.read(1)


def _held(partition: Path, copy: Path) -> dict[str, int | None]:
    """What the closed segments of a partition hold but for one file: digests by id, None of what was erased."""
    held: dict[str, int | None] = {}
    for path in closed_in(partition).values():
        if path == copy:
            continue
        for found in read_segment(path):
            if isinstance(found, Erased):
                held[found.delivery_id] = None
            elif isinstance(found, Landed):
                held.setdefault(found.delivery.delivery_id, _digest(found.delivery))
    return held


def _digest(record: Delivery) -> int:
    return zlib.crc32(encode(record))


def _records(path: Path) -> Iterator[Delivery]:
    return (found.delivery for found in read_segment(path) if isinstance(found, Landed))
