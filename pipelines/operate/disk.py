"""Whether the disk has room: for visits to come in, and for publishing, which writes the warehouse once more."""

import os
from typing import NamedTuple

from pipelines.settings import Settings
from pipelines.warehouse.home import Home
from receiver import rawstore


class Disk(NamedTuple):
    """In bytes: what is free, below what the receiver refuses visits, what publishing takes for a while.

    `files_left`: how many more files it can hold; None where that is not limited.
    """

    free: int
    floor: int
    copy: int
    files_left: int | None

    @property
    def is_full(self) -> bool:
        """Whether the receiver refuses visits."""
        return self.free < self.floor

    @property
    def is_full_once_copied(self) -> bool:
        """Whether it would refuse them while the warehouse is published."""
        return self.free < self.floor + self.copy


def look(home: Home, settings: Settings) -> Disk:
    """The disk on which the raw store is or would be."""
    place = next(path for path in (home.raw, *home.raw.absolute().parents) if path.is_dir())
    seen = os.statvfs(place)
    return Disk(
        seen.f_bavail * seen.f_frsize,
        rawstore.free_floor(place, settings.min_free_bytes),
        home.working.stat().st_size if home.working.exists() else 0,
        seen.f_favail if seen.f_files else None,  # some file systems do not count them
    )
