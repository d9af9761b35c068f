"""Segments: their names, their endings, and which of them a store holds."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

OPEN, CLOSED, COMPRESSED = ".jsonl.open", ".jsonl", ".jsonl.zst"
TORN, ASIDE = ".torn", ".aside"  # what was cut off a segment; a copy of a segment that is not used
HALF_WRITTEN = COMPRESSING, ERASING, ADDING = ".zst.new", ".erasing", ".adding"  # found later, it was cut short
PARTITION = "received_date="
COMPACTED = "-c"
"""The end of the name of a segment that was put together of others."""
_is_partition = re.compile(re.escape(PARTITION) + r"\d{4}-\d\d-\d\d").fullmatch  # others put their files here too
_CLOCK = "%Y%m%dT%H%M%S%fZ"
_CLOCK_LENGTH = len("20261130T080255123456Z")
_is_name = re.compile(r"\d{8}T\d{12}Z(-[0-9a-f]{1,8}-[0-9a-f]{8})?(-c)?").fullmatch


class Key(NamedTuple):
    """What tells a segment from all others of a store, also from those of before names were unique."""

    name: str
    date: date


# ---------------------------------------------------------------- names


def new_name(clock: str) -> str:
    """A name that no other segment of any store has: the clock, the process, and 32 bits drawn at random."""
    return f"{clock}-{os.getpid() & 0xFFFFFFFF:x}-{os.urandom(4).hex()}"


def clock_after(clock: str) -> str:
    """How a segment's name begins that is created now, after one that begins with `clock`: names of one process sort
    in the order of creation, even when the clock runs backwards."""
    now = datetime.now(UTC).strftime(_CLOCK)
    if now > clock:
        return now
    return (datetime.strptime(clock, _CLOCK) + timedelta(microseconds=1)).strftime(_CLOCK)


def newest_clock(raw: Path) -> str:
    """How the last segment's name begins in the last partition of a store; blank when there is none."""
    names = (path_name(entry.name) for folder in partitions(raw)[-1:] for entry in os.scandir(folder))
    return max((name[:_CLOCK_LENGTH] for name in names if _is_name(name)), default="")


def path_name(file: str) -> str:
    """A segment's name, from the name of its file."""
    return file.partition(".jsonl")[0]


def identity(path: Path) -> str:
    """A segment's name, without endings: compressing it does not make it new."""
    return path_name(path.name)


def key(path: Path) -> Key:
    """What tells a segment apart, from its path."""
    return Key(identity(path), received_date(path))


def received_date(path: Path) -> date:
    """The UTC day of a segment's partition."""
    return date.fromisoformat(path.parent.name.removeprefix(PARTITION))


def began(path: Path) -> datetime | None:
    """When a segment began, by its name; None when that is no name of a landing's."""
    try:
        return datetime.strptime(identity(path)[:_CLOCK_LENGTH] + "+0000", _CLOCK + "%z")
    except ValueError:
        return None


# ---------------------------------------------------------------- listing


def partitions(raw: Path) -> list[Path]:
    """The partitions of a store, oldest first."""
    if not raw.is_dir():
        return []
    return sorted(Path(e.path) for e in os.scandir(raw) if _is_partition(e.name) and e.is_dir())


def is_compacted(path: Path) -> bool:
    """Whether a segment was put together of others."""
    return identity(path).endswith(COMPACTED)


def closed_in(partition: Path) -> dict[str, Path]:
    """The closed segments of one partition by name, in the order of creation.

    While a segment is being compressed both forms stand there for a moment: the compressed one counts.
    """
    files = sorted(e.name for e in os.scandir(partition) if e.name.endswith((CLOSED, COMPRESSED)))
    return {path_name(file): partition / file for file in files}


def open_in(partition: Path) -> list[Path]:
    """The segments of one partition that are being written, or whose writer died."""
    return sorted(Path(e.path) for e in os.scandir(partition) if e.name.endswith(OPEN))


def closed(raw: Path) -> dict[str, Path]:
    """All closed segments by identity, oldest partition first: the name, and behind an @ the day of the partition
    where an older version of this program gave one name to segments of two days."""
    return labelled(path for partition in partitions(raw) for path in closed_in(partition).values())


def labelled(paths: Iterable[Path]) -> dict[str, Path]:
    """Segments by their identity in the store that they make up together."""
    paths = list(paths)
    times = Counter(map(identity, paths))
    return {identity(path) if times[identity(path)] == 1 else _with_day(key(path)): path for path in paths}


def _with_day(key: Key) -> str:
    is_of_its_day = key.name.startswith(key.date.strftime("%Y%m%d"))
    return key.name if is_of_its_day else f"{key.name}@{key.date}"


def key_of(label: str, received_date: date) -> Key:
    """What tells a segment apart, from its identity and the day of its partition."""
    return Key(label.partition("@")[0], received_date)


def opened(raw: Path) -> list[Path]:
    """All segments that are being written, or whose writer died, oldest partition first."""
    return [path for partition in partitions(raw) for path in open_in(partition)]


def copies_in(partition: Path) -> Iterator[list[Path]]:
    """The files of each segment of a partition that has several: compressed, closed, open, in this order."""
    files: dict[str, list[str]] = {}
    for entry in os.scandir(partition):
        if entry.name.endswith((OPEN, CLOSED, COMPRESSED)):
            files.setdefault(path_name(entry.name), []).append(entry.name)
    for name, group in files.items():
        if len(group) > 1:
            order = [f"{name}{ending}" for ending in (COMPRESSED, CLOSED, OPEN)]
            yield [partition / file for file in sorted(group, key=order.index)]


def namesakes(paths: Iterable[Path]) -> list[list[Path]]:
    """Closed segments that have their name in common, each in a partition of its own."""
    by_name: dict[str, list[Path]] = {}
    for path in paths:
        by_name.setdefault(identity(path), []).append(path)
    return [group for group in by_name.values() if len(group) > 1]
