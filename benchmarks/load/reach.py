"""The load's ratios, each within a round and its median over the rounds, and what they have to reach."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from benchmarks.load import store
from benchmarks.load.contestants import CONTESTANTS, fresh
from benchmarks.processes import Run, in_a_process, report
from benchmarks.table import Row, verdict

OF_LIMIT = 0.55
TIMES_DLT, TIMES_DLT_PARQUET = 30.0, 10.0
IDLE_S = 0.005
PEAK_GIB = 1.5
PUBLISH_S_PER_GB, _LARGE_GB = 1.5, 0.2
DLT_DELIVERIES = 3_000

_ROOM = store.KEPT / "run"


def rows(rounds: int, sizes: tuple[int, ...]) -> Iterator[Row]:
    """The whole table, measured while it is read."""
    for size in sizes:
        yield from _throughput(size, rounds if size <= 100_000 else 1)
    yield from _peers(rounds)
    for size in sizes:
        yield from _standing(size)


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


def _standing(size: int) -> Iterator[Row]:
    """An idle tick and a publish, of a home that is loaded and built."""
    home = fresh(_ROOM) / "home"
    (home / "raw").parent.mkdir()
    (home / "raw").symlink_to(store.store(size).absolute())
    told = in_a_process("-c", f"from benchmarks.load.reach import standing; standing({str(home)!r})").told
    idle, gigabytes, seconds = map(float, told.split())
    yield Row(f"an idle tick, {size:,} loaded", f"{idle * 1000:.2f} ms", f"≤ {IDLE_S * 1000:.0f} ms",
              verdict(idle <= IDLE_S))  # fmt: skip
    if gigabytes < _LARGE_GB:  # its fixed tenth of a second is all there is to see
        yield Row(f"publish {size:,} visits ({gigabytes:.2f} GB)", f"{seconds:.2f} s", "", "")
    else:
        yield Row(f"publish {size:,} visits ({gigabytes:.2f} GB)", f"{seconds / gigabytes:.2f} s per GB",
                  f"≤ {PUBLISH_S_PER_GB} s per GB", verdict(seconds / gigabytes <= PUBLISH_S_PER_GB))  # fmt: skip


def standing(home: str) -> None:
    """In a process of its own: seconds of an idle tick, gigabytes of the working file, seconds of a publish."""
    from pipelines import run  # noqa: PLC0415
    from pipelines.warehouse.home import Home  # noqa: PLC0415
    from pipelines.warehouse.lock import lock  # noqa: PLC0415

    files = Home(Path(home))
    with lock(files):
        run.run(files)
        idle = median(_timed(lambda: run.is_current(files)) for _ in range(20))
        publishing = median(_timed(lambda: run.publish(files)) for _ in range(3))
    report(f"{idle} {files.working.stat().st_size / 1e9} {publishing}")


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
