"""The models' ratios. python -m benchmarks.models: print the table; exit 1 when a target was not reached."""

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks import table
from benchmarks.load import store
from benchmarks.load.contestants import fresh
from benchmarks.processes import in_a_process, peak_gib, report
from benchmarks.table import Row, verdict

OF_LOAD = 0.5
GROWTH = 1.5
CHANGED = 1_000

_ROOM = store.KEPT / "models"


class Built(NamedTuple):
    """A build: wall clock, and how much of it dbt took to be imported and to come to its first model."""

    seconds: float
    startup_s: float

    @property
    def work_s(self) -> float:
        return self.seconds - self.startup_s


class Begun(NamedTuple):
    """A load into a new home, the full build after it, and the most memory that both took."""

    load_s: float
    built: Built
    peak_gib: float

    @property
    def share(self) -> float:
        return self.built.seconds / self.load_s


def rows(rounds: int, sizes: tuple[int, ...]) -> Iterator[Row]:
    """The whole table, measured while it is read."""
    work = {}
    for size in sizes:
        begun = sorted((_first(size) for _ in range(rounds)), key=lambda each: each.share)
        load_s, whole, _ = usual = begun[rounds // 2]
        yield Row(f"full build of {size:,} visits, tests and wide tables included, of loading them",
                  f"{usual.share:.2f} ({whole.seconds:.1f} s of {load_s:.1f} s)", f"≤ {OF_LOAD}",
                  verdict(usual.share <= OF_LOAD))  # fmt: skip
        yield Row("  of it, dbt before its first model", f"{whole.startup_s / whole.seconds:.0%}"
                  f" ({whole.startup_s:.1f} s)", "", "")  # fmt: skip
        yield Row(f"peak memory while loading and building {size:,}",
                  f"{max(each.peak_gib for each in begun):.2f} GiB", "", "")  # fmt: skip
        again = [_later(size) for _ in range(rounds)]
        work[size] = median(each.work_s for each in again)
        yield Row(f"build after {CHANGED:,} more visits in {size:,}, warm",
                  f"{median(each.seconds for each in again):.1f} s, of it dbt's start"
                  f" {median(each.startup_s for each in again):.1f} s", "", "")  # fmt: skip
    if len(sizes) == 2:
        growth = work[sizes[1]] / work[sizes[0]]
        yield Row(f"the same, dbt's start apart, in {sizes[1]:,} against in {sizes[0]:,}",
                  f"{growth:.2f} × ({work[sizes[1]]:.1f} s, {work[sizes[0]]:.1f} s)", f"≤ {GROWTH} ×",
                  verdict(growth <= GROWTH))  # fmt: skip


def _first(size: int) -> Begun:
    """Load and build a store in a home that stays for `_later`."""
    home = fresh(_ROOM / f"home-{size}")
    shutil.copytree(store.store(size), home / "raw")
    run = in_a_process("-c", f"from benchmarks.models import first; first({str(home)!r})")
    load_s, *built = json.loads(run.told)
    return Begun(load_s, Built(*built), run.peak_gib)


def first(home: str) -> None:
    """In a process of its own: load, build, and print what both took."""
    from pipelines.warehouse.warehouse import Loaded, Warehouse  # noqa: PLC0415

    warehouse = Warehouse(Path(home))
    with warehouse.lock():
        began = time.perf_counter()
        warehouse.load()
        load_s = time.perf_counter() - began
        loading = peak_gib()
        built = _build(warehouse, Loaded())
        warehouse.publish()
    report(json.dumps([load_s, *built]), max(loading, peak_gib(alone=True)))


def _later(size: int) -> Built:
    home = fresh(_ROOM / "later")
    shutil.copytree(_ROOM / f"home-{size}", home, dirs_exist_ok=True)
    run = in_a_process("-c", f"from benchmarks.models import later; later({str(home)!r}, {size})")
    return Built(*json.loads(run.told))


def later(home: str, size: int) -> None:
    """In a process of its own: a few visits more to warm up, then `CHANGED` more, built."""
    from pipelines.warehouse.warehouse import Warehouse  # noqa: PLC0415

    warehouse = Warehouse(Path(home))
    with warehouse.lock():
        for start, count in ((size, 100), (size + 100, CHANGED)):
            store.land(warehouse.raw, start, count)
            built = _build(warehouse, warehouse.load())
    report(json.dumps(built))


def _build(warehouse: Any, loaded: Any) -> Built:
    from pipelines.build import build as marts  # noqa: PLC0415
    from pipelines.build import dbt as models  # noqa: PLC0415
    from pipelines.build import project  # noqa: PLC0415

    answers, took = [], []
    parsed, build = project.parsed, models.build

    def heard(target: Path) -> Any:
        """Nothing before this may import dbt: that is part of its start."""
        from dbt.cli.main import dbtRunner  # noqa: PLC0415

        invoke = dbtRunner.invoke

        def invoked(*arguments: Any, **more: Any) -> Any:
            dbtRunner.invoke = invoke
            answers.append(invoke(*arguments, **more))
            return answers[-1]

        manifest = parsed(target)
        dbtRunner.invoke = invoked
        return manifest

    def built(*arguments: Any, **more: Any) -> None:
        began = time.perf_counter()
        build(*arguments, **more)
        took.append(time.perf_counter() - began)

    project.parsed, models.build = heard, built
    began = time.perf_counter()
    marts.build(warehouse, loaded)
    seconds = time.perf_counter() - began
    project.parsed, models.build = parsed, build
    return Built(seconds, took[-1] - answers[-1].result.elapsed_time)


if __name__ == "__main__":
    sys.exit(table.program("benchmarks.models", rows))
