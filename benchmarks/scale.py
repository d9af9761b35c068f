"""What a lake takes, of what a file takes: to load, to build from nothing, and to run again after 1000 more.

python -m benchmarks.scale [--large]: print the table; exit 1 when a target was not reached. Needs PostgreSQL.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import table
from benchmarks.load import store
from benchmarks.load.contestants import fresh
from benchmarks.runs import CHANGED, Took, kobra
from benchmarks.table import Row, verdict

sys.path.append(str(Path(__file__).parents[1] / "tests" / "scale"))
import postgres
import s3

TIMES = 1.3  # of the file
_ROOM = store.KEPT / "scale"
_PHASES = ("load", "build", f"run after {CHANGED:,} more")


class Contestant(NamedTuple):
    """A home, and the settings by which commands find its tables."""

    name: str
    home: Path
    settings: dict[str, str]


def rows(rounds: int, sizes: tuple[int, ...]) -> Iterator[Row]:
    """The whole table, measured while it is read."""
    if postgres.programs() is None:
        yield Row("a lake", "not measured: PostgreSQL is not installed (apt-get install postgresql)", "", "")
        return
    for size in sizes:
        shutil.rmtree(_ROOM, ignore_errors=True)
        with ExitStack() as running:
            file, *lakes = [*_contestants(running, size)]
            took = {each.name: _phases(each, size, rounds) for each in (file, *lakes)}
        for phase, told in zip(_PHASES, took[file.name], strict=True):
            yield Row(
                f"{phase}, {size:,} deliveries, a file", f"{told.wall_s:.1f} s, {told.peak_gib:.2f} GiB", "", ""
            )
            for lake in lakes:
                theirs = took[lake.name][_PHASES.index(phase)]
                ratio = theirs.wall_s / told.wall_s
                figure = f"{ratio:.2f} × ({theirs.wall_s:.1f} s, {theirs.peak_gib:.2f} GiB)"
                yield Row(f"  {lake.name}", figure, f"≤ {TIMES} ×", verdict(ratio <= TIMES))


def _phases(contestant: Contestant, size: int, rounds: int) -> list[Took]:
    _, home, settings = contestant
    load, build = (kobra(home, command, **settings) for command in ("load", "build"))
    kobra(home, "publish", **settings)
    later = []
    for number in range(rounds):
        store.land(home / "raw", size + number * CHANGED, CHANGED)
        later.append(kobra(home, "run", **settings))
    return [load, build, Took(*map(median, zip(*later, strict=True)))]


def _contestants(running: ExitStack, size: int) -> Iterator[Contestant]:
    server = running.enter_context(postgres.serving(postgres.programs()))
    far = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="kobra-s3-")))
    bucket = s3.Bucket(running.enter_context(s3.serving(far)), "bench")
    yield Contestant("a file", _home("file", size), {})
    for name, files, more in (
        ("a lake, Parquet in a folder", str((_ROOM / "files").absolute()), {}),
        ("a lake, Parquet on S3 (on the same cores)", "s3://kobra/bench/lake", bucket.environ),
    ):
        database = f"lake_{len(more)}"
        settings = {
            "KOBRA_WAREHOUSE": f"ducklake:postgres:{server.make(database)}", "KOBRA_WAREHOUSE_FILES": files,
        }  # fmt: skip
        yield Contestant(name, _home(database, size), settings | more)


def _home(name: str, size: int) -> Path:
    home = fresh(_ROOM / name)
    store.link(size, home)
    return home


if __name__ == "__main__":
    sys.exit(table.program("benchmarks.scale", rows))
