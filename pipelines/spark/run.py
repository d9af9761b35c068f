"""Load, build and publish on Spark, step by step: nothing that is half done is ever seen."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.build import build, mappings
from pipelines.load import crash_guard, segments
from pipelines.load.load import Loaded
from pipelines.spark import functions, land, models, raw, small_tables
from pipelines.spark.place import Place, place
from pipelines.spark.session import session
from pipelines.warehouse.home import Home

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Options(NamedTuple):
    """How to run: where the tables stand (default KOBRA_HOME/spark), on which master, with which settings of Spark,
    in which form dbt writes tables."""

    tables: str | None = None
    master: str | None = None
    settings: Mapping[str, str] = {}
    file_format: str = "parquet"


def run(home: Home, options: Options, as_of: date | None = None) -> Loaded:
    """Load what waits, and build on it. Hold the lock."""
    where = place(options.tables or str(home.path / "spark"))
    known = mappings.read(home.mappings)
    today = as_of or build.today(known)[0]
    run = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    with session(options.master, options.settings, where.of(".default")) as spark:
        functions.register(spark)
        loaded = _load(spark, home, where)
        print("loaded", loaded)
        small_tables.write(spark, where, run, home, known, today)
        models.build(spark, where, run, home.warehouse.absolute() / "dbt-spark", options.file_format)
        return loaded


def _load(spark: "SparkSession", home: Home, where: Place) -> Loaded:
    """Append what waits to schema landed, and have the session know it."""
    completed = land.completed(spark, where)
    land.clean_up(where, completed)
    land.declare(spark, where, completed)
    taken = land.taken(spark)
    if home.store:
        waiting = raw.in_store(home.store, taken)
    else:
        segments.tidy(home)
        waiting = raw.in_folder(home.raw, taken)
    if completed and not waiting:
        return Loaded()
    landing = land.Landing(
        home.store or str(Path(home.raw).absolute()),
        where,
        datetime.now(UTC),
        crash_guard.quarantined(home.warehouse),
        mappings.region_of(home.mappings),
    )
    due = land.tasks(waiting, spark.sparkContext.defaultParallelism, max(completed, default=""))
    loaded = land.land(spark, landing, due)
    land.know(spark, {task.load_id for task in due})
    return loaded
