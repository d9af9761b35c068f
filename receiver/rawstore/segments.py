"""Segments: their names, their endings, and which of them a store holds."""

import os
import re
from datetime import date, datetime
from pathlib import Path

OPEN, CLOSED, COMPRESSED, TORN = ".jsonl.open", ".jsonl", ".jsonl.zst", ".torn"
HALF_WRITTEN = COMPRESSING, ERASING = ".zst.new", ".erasing"  # half a segment aside; found later, it was cut short
PARTITION = "received_date="
_is_partition = re.compile(re.escape(PARTITION) + r"\d{4}-\d\d-\d\d").fullmatch  # others put their files here too
SEGMENT_NAME = "%Y%m%dT%H%M%S%fZ"
is_segment_name = re.compile(r"\d{8}T\d{12}Z").fullmatch


def identity(path: Path) -> str:
    """A segment's name without endings: compressing it does not make it new."""
    return path.name.partition(".jsonl")[0]


def received_date(path: Path) -> date:
    """The UTC day of a segment's partition."""
    return date.fromisoformat(path.parent.name.removeprefix(PARTITION))


def began(path: Path) -> datetime | None:
    """When a segment began, by its name; None when that is no name of a landing's."""
    try:
        return datetime.strptime(identity(path) + "+0000", SEGMENT_NAME + "%z")
    except ValueError:
        return None


def partitions(raw: Path) -> list[Path]:
    """The partitions of a store, oldest first."""
    if not raw.is_dir():
        return []
    return sorted(Path(e.path) for e in os.scandir(raw) if _is_partition(e.name) and e.is_dir())


def closed_in(partition: Path) -> dict[str, Path]:
    """The closed segments of one partition by identity, in the order of creation.

    While a segment is being compressed both forms stand there for a moment: the compressed one counts.
    """
    names = sorted(e.name for e in os.scandir(partition) if e.name.endswith((CLOSED, COMPRESSED)))
    return {identity(path): path for path in (partition / name for name in names)}


def open_in(partition: Path) -> list[Path]:
    """The segments of one partition that are being written, or whose writer died."""
    return sorted(Path(e.path) for e in os.scandir(partition) if e.name.endswith(OPEN))


def closed(raw: Path) -> dict[str, Path]:
    """All closed segments by identity, oldest partition first."""
    return {name: path for partition in partitions(raw) for name, path in closed_in(partition).items()}


def opened(raw: Path) -> list[Path]:
    """All segments that are being written, or whose writer died, oldest partition first."""
    return [path for partition in partitions(raw) for path in open_in(partition)]
