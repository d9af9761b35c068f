"""Append what waits to schema landed, by many executors: each task reads segments and writes its rows itself.

A task is a load of its own, with an id of its own: the models count a delivery or a content that several loads bring
once, so no task has to know of another. It writes one file a table under a name that its id alone decides: a task
that is tried again, or twice at once, puts the same rows in the same place. All loads of a run count together, once
the driver has noted that they completed.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.contract import LANDED, LOAD_ID, Type
from pipelines.errors import FaultError
from pipelines.load import batches
from pipelines.load.flatten import Rows, flattener
from pipelines.load.load import Loaded, counted
from pipelines.spark import raw
from pipelines.spark.place import Place
from pipelines.spark.raw import Waiting
from receiver import rawstore

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOADS = "_dlt_loads"
TASK_BYTES = "spark.kobra.taskBytes"  # a setting of Spark, by which an operator decides it
# A task should last some seconds at least, and leave enough tasks for all cores to end at about the same time.
_LEAST_BYTES, _MOST_BYTES, _TASKS_PER_CORE = 16 << 20, 256 << 20, 8
_AT_ONCE = 500  # partitions in one statement

TYPES = {
    Type.TEXT: "string",
    Type.INT: "int",
    Type.COUNT: "bigint",
    Type.DOUBLE: "double",
    Type.BOOL: "boolean",
    Type.NUMBER: "decimal(18,4)",
    Type.DATE: "date",
    Type.TIME: "time(6)",
    Type.LOCAL: "timestamp_ntz",
    Type.INSTANT: "timestamp_ltz",
    Type.JSON: "string",
}
_LOADS = pa.schema(
    [
        ("load_id", pa.string()),
        ("schema_name", pa.string()),
        ("status", pa.int64()),
        ("inserted_at", pa.timestamp("us", "UTC")),
    ]
)
_COUNTS = pa.schema([("load_id", pa.string()), *((name, pa.int64()) for name in Loaded._fields)])

_FAILED = (
    "a task that reads segments failed again and again, and nothing of this load counts: --conf spark.log.level=ERROR"
    " shows why. If a delivery ends the process that reads it, `kobra load` on this home finds it and puts it into"
    " quarantine, for Spark as well"
)


_DAMAGED = (
    "what was loaded before cannot be read: `kobra spark run --reload --accept-loss` makes all of it anew from the"
    " raw store"
)


class LandError(FaultError):
    """What waits could not be loaded, or what was loaded not be read."""


class Task(NamedTuple):
    """The segments that one executor reads, and the load that their rows belong to."""

    load_id: str
    segments: Sequence[Waiting]


class Landing(NamedTuple):
    """What every task is told: where the raw store is, where tables stand, when this is, which deliveries nobody is
    to read, and in which country a source's phone numbers stand."""

    raw: str
    place: Place
    loaded_at: datetime
    crashing: Collection[str]
    region_of: Callable[[str], str]


# ---------------------------------------------------------------- the driver


def task_bytes(spark: "SparkSession", waiting: Sequence[Waiting]) -> int:
    """How many bytes of deliveries a task should read."""
    if told := spark.conf.get(TASK_BYTES, None):
        return int(told)
    tasks = int(spark.sparkContext.defaultParallelism) * _TASKS_PER_CORE
    return min(max(sum(each.size for each in waiting) // tasks, _LEAST_BYTES), _MOST_BYTES)


def tasks(waiting: Sequence[Waiting], most: int, after: str) -> list[Task]:
    """The segments in tasks of so many bytes, in their order; ids of loads are greater than `after`."""
    first = max(int(time() * 1e6), int(float(after or 0) * 1e6) + 1)
    return [Task(f"{(first + number) / 1e6:.6f}", some) for number, some in enumerate(_together(waiting, most))]


def _together(waiting: Iterable[Waiting], most: int) -> Iterator[list[Waiting]]:
    together, size = list[Waiting](), 0
    for each in waiting:
        if together and size + each.size > most:
            yield together
            together, size = [], 0
        together.append(each)
        size += each.size
    yield together  # of nothing, too: so a first run makes every table


def land(spark: "SparkSession", landing: Landing, due: Sequence[Task]) -> Loaded:
    """Write the rows of these tasks, and note that they completed: before that, they count for nobody.
    Raises LandError."""
    from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415

    def run(numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in numbers:
            done = [(due[n].load_id, *_load(landing, due[n])) for n in batch.column(0).to_pylist()]
            yield pa.RecordBatch.from_pylist(
                [dict(zip(_COUNTS.names, row, strict=True)) for row in done], schema=_COUNTS
            )

    numbers = spark.range(0, len(due), 1, len(due))  # each in a partition of its own
    with _told(_FAILED):
        counts = numbers.mapInArrow(run, from_arrow_schema(_COUNTS)).toArrow()
    note_completed(landing.place, due)
    return Loaded(*(sum(counts[name].to_pylist()) for name in Loaded._fields))


def note_completed(place: Place, due: Sequence[Task]) -> None:
    """Have the rows of these tasks count, all at once."""
    now = datetime.now(UTC)
    loads = [{"load_id": task.load_id, "schema_name": "kobra", "status": 0, "inserted_at": now} for task in due]
    place.write_table(pa.Table.from_pylist(loads, _LOADS), "landed", LOADS, f"{due[0].load_id}.parquet")


def begin_anew(place: Place) -> None:
    """Have no load count any more."""
    place.remove("landed", LOADS)
    clean_up(place, ())


def clean_up(place: Place, completed: Collection[str]) -> None:
    """Remove the rows of loads that did not complete."""
    for table in LANDED:
        for folder in place.names("landed", table):
            if folder.partition("=")[2] not in completed:
                place.remove("landed", table, folder)


def completed(spark: "SparkSession", place: Place) -> set[str]:
    """The loads that completed. Raises LandError."""
    if not place.names("landed", LOADS):
        return set()
    with _told(_DAMAGED):
        found = spark.read.parquet(place.of("landed", LOADS)).where("status = 0").select("load_id").toArrow()
    return set(found["load_id"].to_pylist())


@contextmanager
def _told(fault: str) -> Iterator[None]:
    """Raise LandError with this text where Spark fails."""
    from py4j.protocol import Py4JJavaError  # noqa: PLC0415
    from pyspark.errors import PySparkException  # noqa: PLC0415

    try:
        yield
    except (PySparkException, Py4JJavaError) as why:
        raise LandError(fault) from why


def declare(spark: "SparkSession", place: Place, loads: Collection[str]) -> None:
    """Have the session know schema landed, with the rows of these loads."""
    spark.sql(f"create database if not exists landed location '{place.of('landed')}'")
    spark.sql(
        f"create table landed.{LOADS} (load_id string, schema_name string, status bigint, inserted_at timestamp_ltz)"
        f" using parquet location '{place.of('landed', LOADS)}'"
    )
    for table in LANDED.values():
        columns = ", ".join(f"{column.name} {TYPES[column.type]}" for column in (*table.columns, LOAD_ID))
        spark.sql(
            f"create table landed.{table.name} ({columns}) using parquet partitioned by ({LOAD_ID.name})"
            f" location '{place.of('landed', table.name)}'"
        )
    know(spark, loads)


def know(spark: "SparkSession", loads: Collection[str]) -> None:
    """Have schema landed show the rows of further loads."""
    _alter(spark, "add", loads)


def forget(spark: "SparkSession", loads: Collection[str]) -> None:
    """Have schema landed show the rows of these loads no more."""
    _alter(spark, "drop", loads)


def _alter(spark: "SparkSession", verb: str, loads: Collection[str]) -> None:
    named = sorted(loads)
    between = " " if verb == "add" else ", "
    for start in range(0, len(named), _AT_ONCE):
        those = between.join(f"partition ({LOAD_ID.name}='{each}')" for each in named[start : start + _AT_ONCE])
        for name in LANDED:
            spark.sql(f"alter table landed.{name} {verb} {those}")
    spark.sql(f"refresh table landed.{LOADS}")


def taken(spark: "SparkSession") -> set[rawstore.Key]:
    """The segments of loads that completed. Raises LandError."""
    with _told(_DAMAGED):
        found = spark.sql("select distinct segment, received_date from landed.segments").toArrow()
    return {rawstore.key_of(row["segment"], row["received_date"]) for row in found.to_pylist()}


# ---------------------------------------------------------------- an executor


def _load(landing: Landing, task: Task) -> Loaded:
    """Check and flatten the segments of a task, and write their rows."""
    total = Loaded()
    with ExitStack() as held:
        flatten = held.enter_context(flattener(landing.region_of))
        files = _Files(landing.place, task.load_id, held)
        for chunk in batches.chunks(raw.files(landing.raw, task.segments), landing.crashing):
            for rows in flatten(chunk.documents):
                files.write(rows)
            files.write({"segments": batches.segment_rows(chunk.taken, landing.loaded_at)})
            total = total.plus(counted(chunk))
    return total


class _Files:
    """The files of one load, one a table, begun with the first rows of each: every table has some, be it none."""

    def __init__(self, place: Place, load_id: str, held: ExitStack) -> None:
        self._place, self._load_id, self._held = place, load_id, held
        self._writers = dict[str, pq.ParquetWriter]()

    def write(self, rows: Rows) -> None:
        for name, table in rows.items():
            if name not in self._writers:
                self._writers[name] = self._begun(name, table.schema)
            self._writers[name].write_table(table)

    def _begun(self, name: str, schema: pa.Schema) -> pq.ParquetWriter:
        parts = "landed", name, f"{LOAD_ID.name}={self._load_id}", "part-0.parquet"
        stream = self._held.enter_context(self._place.written(*parts))
        return self._held.enter_context(pq.ParquetWriter(stream, schema, compression="zstd"))
