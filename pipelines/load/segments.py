"""Which segments wait to be loaded: a look at the folders, without a database."""

import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from time import time, time_ns
from typing import Any, NamedTuple

from receiver import rawstore

# A folder that changed this recently may change again without its time of change showing it.
_UNSURE_NS = 3_000_000_000


class Partition(NamedTuple):
    """One day of the raw store as it was seen: when its folder changed, and a digest of its closed segments."""

    changed_ns: int
    digest: int
    is_quiet: bool  # nothing is being written in it, and its time of change can be trusted


class Seen(NamedTuple):
    """The raw store at one moment."""

    partitions: dict[str, Partition]
    closed: dict[str, Path]  # by identity


def look(raw: Path) -> Seen:
    """List the closed segments, and what it takes to tell later that nothing came."""
    partitions, closed = {}, list[Path]()
    for folder in rawstore.partitions(raw):
        partitions[folder.name], segments = _look_into(folder)
        closed += segments.values()
    return Seen(partitions, rawstore.labelled(closed))


def _look_into(folder: Path) -> tuple[Partition, dict[str, Path]]:
    changed = folder.stat().st_mtime_ns
    segments = rawstore.closed_in(folder)
    is_quiet = not rawstore.open_in(folder) and time_ns() - changed > _UNSURE_NS
    return Partition(changed, zlib.crc32("\n".join(segments).encode()), is_quiet), segments


class Ledger:
    """A note beside the warehouse that everything seen was taken. It may be deleted: then one run looks itself."""

    def __init__(self, path: Path, *companions: Path) -> None:
        self._path = path
        self._companions = companions

    def write(self, seen: Seen, holds_until: float) -> None:
        """Note that all closed segments of `seen` are in the warehouse as its files stand now.

        `holds_until`: when what it says of today is outdated, in seconds since 1970.
        """
        aside = self._path.with_suffix(".new")
        aside.write_text(json.dumps([stamps(self._companions), seen.partitions, holds_until]))
        aside.rename(self._path)

    def holds(self, raw: Path) -> bool:
        """Whether nothing can have come since, and nobody touched the files that it goes with."""
        try:
            state, noted, holds_until = json.loads(self._path.read_text())
            partitions = {day: Partition(*partition) for day, partition in noted.items()}
        except (FileNotFoundError, ValueError, TypeError, AttributeError):  # none, or another version's
            return False
        folders = rawstore.partitions(raw)
        return (
            time() < holds_until
            and state == stamps(self._companions)
            and {folder.name for folder in folders} == partitions.keys()
            and all(_is_settled(folder, partitions[folder.name]) for folder in folders)
        )


def stamps(paths: Iterable[Path]) -> list[Any]:
    """What changes for a file when somebody touches it; None for one that is not there."""
    return [_stamp(path) for path in paths]


def _stamp(path: Path) -> list[int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns]


def _is_settled(folder: Path, noted: Partition) -> bool:
    if noted.is_quiet and folder.stat().st_mtime_ns == noted.changed_ns:
        return True
    now, _ = _look_into(folder)
    return now.digest == noted.digest and not any(map(rawstore.is_orphan, rawstore.open_in(folder)))
