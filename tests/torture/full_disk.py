"""A disk that fills up while a run is at work: people go on reading what was published before, and once there is
space again the next run makes everything good."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import duckdb

from benchmarks.load.store import land
from tests.torture.mounts import require_root, small
from tests.torture.table import Row, Trial

EACH = 20  # deliveries that come before a run
ENOUGH_BYTES = 48 << 20  # for a run; what is left grows to this from one to the next
_FULL = "no space is left on the disk"
MUTANT = "publish-half-a-copy"
_TABLES = """select format('"{}"."{}"."{}"', database_name, schema_name, table_name) from duckdb_tables()"""
_KOBRA = (str(Path(sys.executable).with_name("kobra")),)
_BROKEN = (sys.executable, "-m", "tests.torture.broken_load", MUTANT)


def prove(times: int, folder: Path) -> Row:
    """So many runs on a tmpfs, each with a little more space left."""
    require_root("mount")
    with small(folder / "disk", "100m") as disk:
        honest, full = _run_often(disk / "sound", times, _KOBRA)
    with small(folder / "again", "100m") as disk:
        mutant, _ = _run_often(disk / "mutant", times, _BROKEN)
    honest.expect(0 < full < times, f"the disk was full in {full} of {times} runs: that shows nothing")
    return Row("disk full during load and build", f"{times} runs with ever more space, {full} of which ran out of it",
               honest, {MUTANT: mutant})  # fmt: skip


def _run_often(home: Path, times: int, program: tuple[str, ...]) -> tuple[Trial, int]:
    """The trial, and how many runs failed for want of space."""
    trial, full = Trial(), 0
    published = home / "warehouse" / "analytics.duckdb"
    land(home / "raw", 0, EACH)
    trial.expect(not _run(home, program), "a run with all the space it wants fails")
    for number in range(1, times + 1):
        land(home / "raw", number * EACH, EACH)
        before = sha256(published.read_bytes()).digest()
        with _left(home, number * ENOUGH_BYTES // times):
            failed = _run(home, program)
        full += bool(failed)
        is_same = sha256(published.read_bytes()).digest() == before
        trial.expect(not failed or is_same, "a run that failed changed what people read")
        trial.expect(not failed or _FULL in failed, "a run that failed does not say that the disk is full")
        trial.expect(bool(failed) or _readable(published) == (number + 1) * EACH, "a run that says it is done is not")
    trial.expect(not _run(home, program), "does not recover when there is space again")
    trial.acknowledged = (times + 1) * EACH
    trial.lost = trial.acknowledged - _readable(published)
    return trial, full


def _run(home: Path, program: tuple[str, ...]) -> str:
    """What a run says that fails; nothing when it does not."""
    command = [*program, "run"]
    environ = os.environ | {"KOBRA_HOME": str(home)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    return (done.stderr or "no word") if done.returncode else ""


@contextmanager
def _left(home: Path, size: int) -> Iterator[None]:
    """Something else takes all of the disk but so many bytes."""
    filler = home.parent / "filler"
    disk = os.statvfs(home)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(disk.f_bavail * disk.f_frsize - size, 1))
    try:
        yield
    finally:
        filler.unlink()


def _readable(published: Path) -> int:
    """How many deliveries somebody finds in the file who reads all of it; none when any of it cannot be read."""
    try:
        with duckdb.connect(str(published), read_only=True) as connection:
            for (table,) in connection.execute(_TABLES).fetchall():
                connection.execute(f"select sum(hash(t)) from {table} as t")
            found = connection.execute("select count(*) from kobra.kobra.deliveries").fetchone()
    except duckdb.Error:
        return 0
    return int(found[0]) if found else 0
