"""What one synced append costs in a folder: no receiver answers sooner."""

import os
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import NamedTuple

APPENDS = 400


class Floor(NamedTuple):
    """Milliseconds of an append and its sync, and how many of them fit a second."""

    appends_s: float
    p50_ms: float
    p99_ms: float


def floor(folder: Path, record: bytes) -> Floor:
    """Append a record, sync, again and again."""
    path = folder / "floor"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        times = [_append(fd, record) for _ in range(APPENDS)]
    finally:
        os.close(fd)
        path.unlink()
    return Floor(1 / (sum(times) / APPENDS), median(times) * 1e3, quantiles(times, n=100)[98] * 1e3)


def _append(fd: int, record: bytes) -> float:
    began = perf_counter()
    os.write(fd, record)
    os.fdatasync(fd)
    return perf_counter() - began


def filesystem(folder: Path) -> str:
    """The type of file system that a folder is on."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    holding = [(at, kind) for _, at, kind, *_ in mounts if folder.resolve().is_relative_to(at)]
    return max(holding, key=lambda mount: len(mount[0]))[1]
