"""Load, build and publish on Spark, step by step: nothing that is half done is ever seen.

A run makes all its tables in a folder of its own. When every model is built and every test has passed, one note says
that people read that run. Whatever ends a run before that, wherever, people read the one before; the next run removes
what was left, and goes on with the loads that completed.
"""

import json
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from pipelines.build import build, dbt, inputs, mappings
from pipelines.build.mappings import Mappings
from pipelines.errors import UsageError
from pipelines.load import crash_guard, segments
from pipelines.load.load import Loaded
from pipelines.privacy import retention, sweep
from pipelines.spark import functions, land, models, raw, small_tables, wide
from pipelines.spark.place import Place
from pipelines.spark.session import session
from pipelines.spark.tables import RunTables
from pipelines.warehouse.home import Home

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PUBLIC = ("kobra", "marts", "wide", "inputs", "mappings", "meta")


class ErasureError(UsageError):
    """Persons are to be kept out of the tables, or blanked in them, which this run cannot do."""


class Options(NamedTuple):
    """How to run: on which master, with which settings of Spark, and in which form dbt writes tables. `reload`: read
    the whole raw store again."""

    master: str | None = None
    settings: Mapping[str, str] = {}
    file_format: str = "parquet"
    reload: bool = False


class Ran(NamedTuple):
    """What a run loaded, and whether it made tables: it makes none where they would say the same."""

    loaded: Loaded
    is_built: bool


def run(home: Home, where: Place, options: Options, as_of: date | None = None) -> Ran:
    """Load what waits, build on it, and publish. Hold the lock of the home, and let no other run use `where`.

    `as_of` is today in the default zone unless told. Raises MappingError, CsvError, ChecksFailedError, PlaceError,
    MissingSparkError, ErasureError, LandError: then people read what they read before.
    """
    _check_privacy(home)
    known = mappings.read(home.mappings)
    day = as_of or build.today(known)[0]
    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    with session(options.master, options.settings, where.of(".default")) as spark:
        functions.register(spark)
        loads, loaded = _load(spark, home, where, reload=options.reload)
        published = where.published()
        fingerprint = _fingerprint(home, known, day, options, loads)
        if published and published["fingerprint"] == fingerprint:
            return Ran(loaded, is_built=False)
        _remove_runs(where, {published["run"]} if published else set())
        tables = RunTables(spark, where, name)
        small_tables.write(tables, home, known, day)
        models.build(tables, home.warehouse.absolute() / "dbt-spark", options.file_format)
        wide.build(tables, published["run"] if published else None)
        made = {schema: tables.names(schema) for schema in PUBLIC}
    where.publish({
        "run": name, "as_of": day.isoformat(), "fingerprint": fingerprint,
        "file_format": options.file_format, "tables": made,
    })  # fmt: skip
    where.remove("runs", name, "staging")
    return Ran(loaded, is_built=True)


def _load(spark: "SparkSession", home: Home, where: Place, *, reload: bool) -> tuple[set[str], Loaded]:
    """Append what waits to schema landed, and have the session know it. Answers with all loads that completed."""
    if reload:
        where.remove("landed", land.LOADS)
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
        return completed, Loaded()
    landing = land.Landing(
        home.store or str(home.raw.absolute()),
        where,
        datetime.now(UTC),
        crash_guard.quarantined(home.warehouse),
        mappings.region_of(home.mappings),
    )
    due = land.tasks(waiting, land.task_bytes(spark, waiting), max(completed, default="0"))
    loaded = land.land(spark, landing, due)
    new = {task.load_id for task in due}
    land.know(spark, new)
    return completed | new, loaded


def _fingerprint(home: Home, known: Mappings, day: date, options: Options, loads: Collection[str]) -> str:
    """A digest of all that the tables are made of: with another one they say something else."""
    made_of = [
        known.fingerprint, dbt.fingerprint(), inputs.fingerprint(home.inputs), day.isoformat(),
        options.file_format, sorted(loads),
    ]  # fmt: skip
    return sha256(json.dumps(made_of).encode()).hexdigest()


def _remove_runs(where: Place, but: Collection[str]) -> None:
    """Remove all runs but these: those that were cut short, and those that were read before the published one. That
    one stays when another is published, until the next run begins: whoever is reading it can read on."""
    for name in where.names("runs"):
        if name not in but:
            where.remove("runs", name)


def _check_privacy(home: Home) -> None:
    """Raise ErasureError where a table would hold what has to be gone."""
    if sweep.marks_of(home) or retention.read(home).pii_days is not None:
        raise ErasureError(
            "persons were erased here (kobra forget), or their data is kept for some days alone (kobra retain"
            " --pii-days): tables on Spark would hold what has to be gone, so nothing was done"
        )
