"""The load's ratios, each within a round and its median over the rounds, and what they have to reach."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.load import store
from benchmarks.load.contestants import CONTESTANTS, fresh
from benchmarks.processes import Run, in_a_process, report
from benchmarks.table import Row, verdict

if TYPE_CHECKING:
    from pipelines.warehouse.warehouse import Warehouse

OF_LIMIT = 0.55
TIMES_DLT, TIMES_DLT_PARQUET = 30.0, 10.0
GROWTH = 1.8
WARM_S = {100_000: 1.0, 1_000_000: 1.5}
FRESH_S = 3.5
IDLE_S = 0.005
PEAK_GIB = 1.5
PUBLISH_S_PER_GB, _LARGE_GB = 1.5, 0.2
SMALL, MIDDLE = 100, 10_000
DLT_DELIVERIES = 3_000

_ROOM = store.KEPT / "run"


def rows(rounds: int, sizes: tuple[int, ...]) -> Iterator[Row]:
    """The whole table, measured while it is read."""
    for size in sizes:
        yield from _throughput(size, rounds if size <= 100_000 else 1)
    yield from _peers(rounds)
    yield from _increments(rounds, sizes)


def _throughput(size: int, rounds: int) -> Iterator[Row]:
    raw = store.store(size)
    runs = [{name: _contest(name, raw) for name in ("limit", "ours")} for _ in range(rounds)]
    ratio = median(each["limit"].seconds / each["ours"].seconds for each in runs)
    speed = {name: size / median(each[name].seconds for each in runs) for name in ("limit", "ours")}
    yield Row(f"load {size:,} deliveries, of the limit (DuckDB SQL alone)",
              f"{ratio:.2f} ({speed['ours']:,.0f} against {speed['limit']:,.0f} a second)",
              f"≥ {OF_LIMIT}", verdict(ratio >= OF_LIMIT))  # fmt: skip
    peak = max(each["ours"].peak_gib for each in runs)
    yield Row(f"peak memory while loading {size:,}", f"{peak:.2f} GiB", f"≤ {PEAK_GIB}", verdict(peak <= PEAK_GIB))


def _peers(rounds: int) -> Iterator[Row]:
    few, many = store.store(DLT_DELIVERIES), store.store(100_000)
    for name, times in (("dlt_plain", TIMES_DLT), ("dlt_parquet", TIMES_DLT_PARQUET)):
        ratios = []
        for _ in range(min(rounds, 2)):
            peer = DLT_DELIVERIES / _contest(name, few).seconds
            ratios.append(100_000 / _contest("ours", many).seconds / peer)
        ratio = median(ratios)
        yield Row(f"against {name.replace('_', ', ')}: visits a second (of {DLT_DELIVERIES:,}, ours of 100,000)",
                  f"{ratio:.0f} ×", f"≥ {times:.0f} ×",
                  verdict(ratio >= times))  # fmt: skip


def _increments(rounds: int, sizes: tuple[int, ...]) -> Iterator[Row]:
    middles = {}
    for size in sizes:
        home = _loaded(size)
        middles[size] = median(_again(home, size, MIDDLE, "load") for _ in range(rounds))
        warm = median(_again(home, size, SMALL, "run") for _ in range(rounds))
        yield Row(f"{SMALL} visits into {size:,}, loaded and published, warm", f"{warm:.2f} s", f"≤ {WARM_S[size]} s",
                  verdict(warm <= WARM_S[size]))  # fmt: skip
        first = median(_in_a_fresh_process(home, size) for _ in range(rounds))
        yield Row(f"the same in a fresh process, into {size:,}", f"{first:.2f} s", f"≤ {FRESH_S} s",
                  verdict(first <= FRESH_S))  # fmt: skip
        yield from _standing(home, size)
    if len(sizes) == 2:
        growth = middles[sizes[1]] / middles[sizes[0]]
        yield Row(f"load {MIDDLE:,} into {sizes[1]:,} against into {sizes[0]:,}",
                  f"{growth:.2f} × ({middles[sizes[1]]:.2f} s, {middles[sizes[0]]:.2f} s)", f"≤ {GROWTH} ×",
                  verdict(growth <= GROWTH))  # fmt: skip


def _standing(home: Path, size: int) -> Iterator[Row]:
    from pipelines.build import build as marts  # noqa: PLC0415
    from pipelines.warehouse.warehouse import Warehouse  # noqa: PLC0415

    warehouse = Warehouse(_copy(home))
    with warehouse.lock():
        marts.run(warehouse, lambda _: None)
    idle = median(_timed(warehouse.is_current) for _ in range(20))
    yield Row(f"an idle tick, {size:,} loaded", f"{idle * 1000:.2f} ms", f"≤ {IDLE_S * 1000:.0f} ms",
              verdict(idle <= IDLE_S))  # fmt: skip
    gigabytes = warehouse.working.stat().st_size / 1e9
    seconds = median(_published(warehouse) for _ in range(3))
    if gigabytes < _LARGE_GB:  # its fixed tenth of a second is all there is to see
        yield Row(f"publish {size:,} visits ({gigabytes:.2f} GB)", f"{seconds:.2f} s", "", "")
    else:
        yield Row(f"publish {size:,} visits ({gigabytes:.2f} GB)", f"{seconds / gigabytes:.2f} s per GB",
                  f"≤ {PUBLISH_S_PER_GB} s per GB", verdict(seconds / gigabytes <= PUBLISH_S_PER_GB))  # fmt: skip


def _published(warehouse: object) -> float:
    with warehouse.lock():  # type: ignore[attr-defined]
        return _timed(warehouse.publish)  # type: ignore[attr-defined]


def _timed(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


# ---------------------------------------------------------------- processes


def _contest(name: str, raw: Path) -> Run:
    return in_a_process("-c", f"from benchmarks.load.reach import contest; contest({name!r}, {str(raw)!r})")


def contest(name: str, raw: str) -> None:
    """In a process of its own: let one contestant run, and print what it took."""
    report(CONTESTANTS[name](Path(raw), fresh(_ROOM)))


def _loaded(size: int) -> Path:
    """A home whose warehouse holds so many deliveries; made once."""
    home = store.KEPT / f"home-{size}"
    if not (home / "done").exists():
        fresh(home)
        shutil.copytree(store.store(size), home / "raw", copy_function=os.link)
        in_a_process("-c", f"from benchmarks.load.reach import run; run({str(home)!r})")
        (home / "done").touch()
    return home


def run(home: str) -> None:
    """In a process of its own: load and publish, and print what it took."""
    from pipelines.warehouse.warehouse import Warehouse  # noqa: PLC0415

    warehouse = Warehouse(Path(home))
    with warehouse.lock():
        report(_timed(partial(_load_and_publish, warehouse)))


def _load_and_publish(warehouse: "Warehouse") -> None:
    """A run without models: those are measured in benchmarks.models."""
    warehouse.run(lambda _: 0.0)


def _copy(home: Path) -> Path:
    copy = fresh(_ROOM) / "home"
    shutil.copytree(home / "raw", copy / "raw", copy_function=os.link)
    shutil.copytree(home / "warehouse", copy / "warehouse")
    return copy


def _again(home: Path, size: int, count: int, what: str) -> float:
    copy = _copy(home)
    return in_a_process(
        "-c", f"from benchmarks.load.reach import again; again({str(copy)!r}, {size}, {count}, {what!r})"
    ).seconds


def again(home: str, size: int, count: int, what: str) -> None:
    """In a process of its own: something small once to warm up, then `count` more, timed."""
    from pipelines.warehouse.warehouse import Warehouse  # noqa: PLC0415

    warehouse = Warehouse(Path(home))
    do = warehouse.load if what == "load" else partial(_load_and_publish, warehouse)
    with warehouse.lock():
        store.land(warehouse.raw, size, SMALL)
        do()
        store.land(warehouse.raw, size + SMALL, count)
        report(_timed(do))


def _in_a_fresh_process(home: Path, size: int) -> float:
    copy = _copy(home)
    store.land(copy / "raw", size, SMALL)
    return in_a_process("-c", f"from benchmarks.load.reach import run; run({str(copy)!r})").wall_s
