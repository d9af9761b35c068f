"""A backlog of a million deliveries, loaded under a cap of 2 GiB that the kernel keeps: with more, it is ended."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import duckdb

from benchmarks.load.store import land
from tests.torture.clients import until
from tests.torture.running import PROJECT
from tests.torture.table import CannotRunHereError, Row, Trial

CAP_BYTES = 2 << 30
MUTANT = "let-go-of-nothing"
_KOBRA = (str(Path(sys.executable).with_name("kobra")),)
_BROKEN = (sys.executable, "-m", "tests.torture.broken_load", MUTANT)
_CGROUPS = Path("/sys/fs/cgroup")


def prove(deliveries: int, folder: Path) -> Row:
    """One load of so many deliveries, and one by a loader that keeps all that it read."""
    trials, peaks = {}, {}
    with capped(CAP_BYTES) as group:
        land(folder / "raw", 0, deliveries)
        for name, program in (("sound", _KOBRA), (MUTANT, _BROKEN)):
            code, loaded, peaks[name] = _load(folder / name, folder / "raw", group, *program)
            trials[name] = Trial(deliveries, deliveries - loaded)
            trials[name].expect(code == 0, f"ended with exit code {code}")
    tried = f"{deliveries:,} under {CAP_BYTES >> 30} GiB, of which {peaks['sound'] >> 20:,} MiB were used"
    return Row("a backlog of a million deliveries", tried, trials["sound"], {MUTANT: trials[MUTANT]})


class Group:
    """A control group whose processes share a cap on memory; what they read from disk makes way by itself."""

    def __init__(self, folder: Path, limit: str, used: str) -> None:
        self.folder = folder
        self._limit = limit
        self._used = used

    def cap(self, size: int) -> None:
        (self.folder / self._limit).write_text(str(size))

    def is_empty(self) -> bool:
        return not (self.folder / "cgroup.procs").read_text()

    def used(self) -> int:
        """Bytes that its processes hold of their own at this moment."""
        figures = dict(line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        return int(figures[self._used])


@contextmanager
def capped(size: int) -> Iterator[Group]:
    """A group with a cap, gone afterwards. Raises CannotRunHereError when none can be made."""
    name = f"kobra-{os.getpid()}"
    if (_CGROUPS / "cgroup.controllers").exists():
        group = Group(_CGROUPS / name, "memory.max", "anon")
    else:
        group = Group(_CGROUPS / "memory" / name, "memory.limit_in_bytes", "total_rss")
    try:
        group.folder.mkdir()
        group.cap(size)
    except OSError as why:
        raise CannotRunHereError(f"needs a control group of its own: {os.strerror(why.errno or 0)}") from why
    try:
        yield group
    finally:
        until(group.is_empty)
        group.folder.rmdir()


def _load(home: Path, raw: Path, group: Group, *program: str) -> tuple[int, int, int]:
    """Load within the group: the exit code, how many deliveries are then in the tables, the most memory it took."""
    home.mkdir()
    (home / "raw").symlink_to(raw)
    enter = ("sh", "-c", f'echo $$ >{group.folder}/cgroup.procs && exec "$0" "$@"')
    environ = os.environ | {"KOBRA_HOME": str(home)}
    peak = 0
    with subprocess.Popen(
        [*enter, *program, "load"], cwd=PROJECT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            peak = max(peak, group.used())
            sleep(0.1)
    return process.returncode, _loaded(home), peak


def _loaded(home: Path) -> int:
    with duckdb.connect(str(home / "warehouse" / "working.duckdb"), read_only=True) as connection:
        found = connection.execute("select count(*) from landed.deliveries").fetchone()
    return int(found[0]) if found else 0
