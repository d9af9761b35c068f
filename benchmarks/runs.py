"""What `kobra run` takes, from nothing and after 1000 more; also in another checkout, where one is given.

python -m benchmarks.runs [--large] [--against CHECKOUT]: print the table; exit 1 when a target was not reached.
"""

import os
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import table
from benchmarks.load import store
from benchmarks.load.contestants import fresh
from benchmarks.table import Row, verdict

TIMES, MEMORY_TIMES = 1.1, 1.2  # of the other checkout
GROWTH = 1.5
CHANGED = 1_000

_HERE = Path(__file__).parents[1]
_ROOM = store.KEPT / "runs"


class Took(NamedTuple):
    """What a process took: wall clock and processor time in seconds, the most memory in GiB."""

    wall_s: float
    cpu_s: float
    peak_gib: float


class Contest(NamedTuple):
    """What runs took with so many visits: from nothing, and the median of those after 1000 more."""

    first: Took
    later: Took


def rows(rounds: int, sizes: tuple[int, ...], against: Path | None = None) -> Iterator[Row]:
    """The whole table, measured while it is read."""
    later = {}
    for size in sizes:
        ours, *other = _contests(size, rounds, [_HERE, *([against] if against else [])])
        later[size] = ours.later
        for what, took, before in (
            (f"`kobra run` of {size:,} deliveries from nothing", ours.first, other and other[0].first),
            (f"the same after {CHANGED:,} more", ours.later, other and other[0].later),
        ):
            yield Row(what, _told(took), "", "")
            if before:
                yield _compared("  its time, of the other checkout's", took.wall_s / before.wall_s, TIMES)
                yield _compared("  its processor time", took.cpu_s / before.cpu_s, TIMES)
                yield _compared("  its memory", took.peak_gib / before.peak_gib, MEMORY_TIMES)
    if len(sizes) == 2:
        growth = later[sizes[1]].wall_s / later[sizes[0]].wall_s
        yield _compared(f"after {CHANGED:,} more, {sizes[1]:,} visits against {sizes[0]:,}", growth, GROWTH)


def _told(took: Took) -> str:
    return f"{took.wall_s:.1f} s, {took.cpu_s:.1f} s of processor time, {took.peak_gib:.2f} GiB"


def _compared(what: str, ratio: float, most: float) -> Row:
    return Row(what, f"{ratio:.2f} ×", f"≤ {most} ×", verdict(ratio <= most))


def _contests(size: int, rounds: int, checkouts: Sequence[Path]) -> list[Contest]:
    """The checkouts take turns, so that what else the machine does meets all of them alike."""
    homes = [fresh(_ROOM / str(number)) for number, _ in enumerate(checkouts)]
    for home in homes:
        store.link(size, home)
    firsts = [_run(checkout, home) for checkout, home in zip(checkouts, homes, strict=True)]
    laters = []
    for number in range(rounds):
        for home in homes:
            store.land(home / "raw", size + number * CHANGED, CHANGED)
        laters.append([_run(checkout, home) for checkout, home in zip(checkouts, homes, strict=True)])
    return [
        Contest(first, Took(*map(median, zip(*took, strict=True))))
        for first, took in zip(firsts, zip(*laters, strict=True), strict=True)
    ]


def _run(checkout: Path, home: Path) -> Took:
    return kobra(home, "run", checkout=checkout)


def kobra(home: Path, *arguments: str, checkout: Path = _HERE, **settings: str) -> Took:
    """What a command takes."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    with subprocess.Popen(
        [checkout / ".venv/bin/kobra", *arguments],
        env=environ | {"KOBRA_HOME": str(home.absolute())} | settings,
        cwd=checkout,
        stdout=subprocess.DEVNULL,
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"kobra {arguments[0]} failed in {checkout}")
    return Took(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / (1 << 20))


def main() -> int:
    """Measure, print, judge."""
    parser = ArgumentParser(prog="python -m benchmarks.runs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="a million visits too: some minutes more")
    parser.add_argument("--against", type=Path, help="another checkout, set up")
    options = parser.parse_args()
    sizes = (table.SIZE, table.LARGE) if options.large else (table.SIZE,)
    found = list(rows(options.rounds, sizes, options.against and options.against.absolute()))
    print(table.markdown(found))
    return 1 if any(row.verdict == table.SHORT for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
