"""What a load on Spark takes, of what the embedded one takes, and how much faster two executors are than one.

python -m benchmarks.spark [--large]: print the table; exit 1 when a target was not reached. Needs pyspark and Java.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import processes, table
from benchmarks.load import store
from benchmarks.load.contestants import fresh
from benchmarks.runs import kobra
from benchmarks.table import Row, verdict
from pipelines.spark import functions, run
from pipelines.spark.place import place
from pipelines.spark.session import session
from pipelines.warehouse.home import Home

sys.path.append(str(Path(__file__).parents[1] / "tests" / "scale"))
import spark_cluster

COST, SPEED_UP = 1.3, 1.7
_ROOM = store.KEPT / "spark"


def rows(rounds: int, sizes: tuple[int, ...]) -> Iterator[Row]:
    """The whole table, measured while it is read."""
    if why := spark_cluster.missing():
        yield Row("Spark", f"not measured: {why}", "", "")
        return
    for size in sizes:
        embedded, on_spark = _costs(size)
        yield Row(f"load, {size:,} deliveries, `kobra load`", f"{embedded:.1f} s of processor time", "", "")
        cost = on_spark / embedded
        figure = f"{cost:.2f} × ({on_spark:.1f} s)"
        yield Row("  on Spark, with its start", figure, f"≤ {COST} ×", verdict(cost <= COST))
        one, two = _times(size, rounds)
        figure = f"{one / two:.2f} × as fast ({one:.1f} s and {two:.1f} s, without its start)"
        yield Row("  two executors against one", figure, f"≥ {SPEED_UP} ×", verdict(one / two >= SPEED_UP))


def _costs(size: int) -> tuple[float, float]:
    """Processor time in seconds: of the embedded load, and of one on Spark with all its processes. What else the
    machine does meanwhile counts as well."""
    home = _home(size)
    before = processes.machine_cpu_s()
    kobra(home, "load")
    embedded = processes.machine_cpu_s() - before
    home = _home(size)
    before = processes.machine_cpu_s()
    processes.in_a_process("-m", "benchmarks.spark", "load", str(home), "local[2]")
    return embedded, processes.machine_cpu_s() - before


def _times(size: int, rounds: int) -> tuple[float, float]:
    """Wall clock in seconds of a load by one executor, and by two, of one core each."""
    took: list[list[float]] = [[], []]
    with tempfile.TemporaryDirectory() as folder, spark_cluster.cluster(Path(folder) / "cluster") as cluster:
        for _ in range(rounds):
            for cores, times in enumerate(took, 1):
                loaded = processes.in_a_process(
                    "-m", "benchmarks.spark", "load", str(_home(size)), cluster.url, f"spark.cores.max={cores}"
                )
                times.append(loaded.seconds)
    one, two = map(median, took)
    return one, two


def _home(size: int) -> Path:
    home = fresh(_ROOM)
    store.link(size, home)
    return home


def _load(path: str, master: str, *settings: str) -> None:
    """In a process of its own: load on a cluster, and report how long it took."""
    told = dict(setting.split("=") for setting in settings)
    home, where = Home(Path(path)), place(f"{path}/spark")
    home.make_warehouse()
    with session(master, told, where.of(".default")) as spark:
        functions.register(spark)
        began = time.perf_counter()
        _, loaded = run.load(spark, home, where, run.Options())
        took = time.perf_counter() - began
    assert loaded.deliveries
    processes.report(took)


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"]:
        _load(*sys.argv[2:])
    else:
        sys.exit(table.program("benchmarks.spark", rows))
