"""Whether somebody touched a file."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any


def stamps(paths: Iterable[Path]) -> list[Any]:
    """What changes for a file when somebody touches it; None for one that is not there."""
    return [_stamp(path) for path in paths]


def _stamp(path: Path) -> list[int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns]
