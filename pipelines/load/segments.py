"""Which segments wait to be loaded: a look at the folders, without a database."""

import json
import logging
import zlib
from pathlib import Path
from time import time, time_ns
from typing import NamedTuple

from pipelines.load import crash_guard
from pipelines.warehouse.home import Home
from receiver import rawstore

log = logging.getLogger(__name__)

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

    def holder(self, segment: str) -> Path | None:
        """The file that holds a segment, which may have been put together with others since; None when it is gone."""
        if segment in self.closed:
            return self.closed[segment]
        compacted = filter(rawstore.is_compacted, self.closed.values())
        return next((path for path in compacted if segment in {part.name for part in rawstore.parts_of(path)}), None)


def tidy(home: Home) -> None:
    """Finish what processes left that died: deliveries of which one died, half-open segments, copies of segments.
    Hold the lock."""
    crash_guard.examine(home.warehouse)
    for segment, torn in rawstore.recover(home.raw):
        if torn:
            log.warning("segment %s: %d bytes behind its last whole record set aside", segment, torn)
    for copy, aside, saved in rawstore.settle(home.raw):
        log.warning("%s differs from another file of its segment: set aside as %s, %d record(s) of it saved",
                    copy, aside.name, saved)  # fmt: skip


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

    def __init__(self, path: Path, state: object) -> None:
        """`state`: what the warehouse and all that it goes with are like now, as JSON has it."""
        self._path = path
        self._state = json.loads(json.dumps(state))

    def write(self, seen: Seen, holds_until: float) -> None:
        """Note that all closed segments of `seen` are in the warehouse as it is now.

        `holds_until`: when what it says of today is outdated, in seconds since 1970.
        """
        aside = self._path.with_suffix(".new")
        aside.write_text(json.dumps([self._state, seen.partitions, holds_until]))
        aside.rename(self._path)

    def holds(self, raw: Path) -> bool:
        """Whether nothing can have come since, and nothing that it goes with has changed."""
        try:
            state, noted, holds_until = json.loads(self._path.read_text())
            partitions = {day: Partition(*partition) for day, partition in noted.items()}
        except (FileNotFoundError, ValueError, TypeError, AttributeError):  # none, or another version's
            return False
        folders = rawstore.partitions(raw)
        return (
            time() < holds_until
            and state == self._state
            and {folder.name for folder in folders} == partitions.keys()
            and all(_is_settled(folder, partitions[folder.name]) for folder in folders)
        )


def _is_settled(folder: Path, noted: Partition) -> bool:
    if noted.is_quiet and folder.stat().st_mtime_ns == noted.changed_ns:
        return True
    now, _ = _look_into(folder)
    return now.digest == noted.digest and not any(map(rawstore.is_orphan, rawstore.open_in(folder)))
