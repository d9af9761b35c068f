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

from pipelines.build import build, inputs, mappings
from pipelines.load import crash_guard, segments
from pipelines.load.load import Loaded
from pipelines.spark import erasure, functions, land, models, raw, small_tables, wide
from pipelines.spark.place import Place
from pipelines.spark.session import session
from pipelines.spark.tables import RunTables
from pipelines.warehouse.home import Home

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PUBLIC = ("kobra", "marts", "wide", "inputs", "mappings", "meta")


class Options(NamedTuple):
    """How to run: on which master, with which settings of Spark, and in which form dbt writes tables. `reload`: read
    the whole raw store again. `accept_loss`: also where it has less than is loaded."""

    master: str | None = None
    settings: Mapping[str, str] = {}
    file_format: str = "parquet"
    reload: bool = False
    accept_loss: bool = False


class Ran(NamedTuple):
    """What a run loaded, and whether it made tables: it makes none where they would say the same."""

    loaded: Loaded
    is_built: bool


def run(home: Home, where: Place, options: Options, as_of: date | None = None) -> Ran:
    """Load what waits, build on it, and publish. Hold the lock of the home, and let no other run use `where`.

    `as_of` is today in the default zone unless told. Raises MappingError, CsvError, ChecksFailedError, PlaceError,
    MissingSparkError, ErasureError, LostError, LandError: then people read what they read before.
    """
    erasure.check(home)
    known = mappings.read(home.mappings)
    day = as_of or build.today(known)[0]
    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    with session(options.master, options.settings, where.of(".default")) as spark:
        functions.register(spark)
        loads, loaded = load(spark, home, where, options)
        published = where.published() or {"run": None, "fingerprint": None, "marks": None}
        _remove_runs(where, but=published["run"])
        rules = build.fingerprint(known)
        fingerprint = _fingerprint(home, rules, day, options, loads)
        if published["fingerprint"] == fingerprint:
            return Ran(loaded, is_built=False)
        tables = RunTables(spark, where, name)
        small_tables.write(tables, home, known, day)
        models.build(tables, home.warehouse.absolute() / "dbt-spark", options.file_format)
        marks = erasure.noted(where)
        keeps = rules == published.get("rules")
        wide.build(tables, published["run"], keeps=keeps, forgets=marks != published["marks"])
        made = {schema: tables.names(schema) for schema in PUBLIC}
    where.publish({
        "run": name, "as_of": day.isoformat(), "fingerprint": fingerprint, "rules": rules,
        "file_format": options.file_format, "marks": marks, "tables": made,
    })  # fmt: skip
    where.remove("runs", name, "staging")
    if marks != published["marks"]:
        _remove_runs(where, but=name)
    return Ran(loaded, is_built=True)


def load(spark: "SparkSession", home: Home, where: Place, options: Options) -> tuple[set[str], Loaded]:
    """Append what waits to schema landed, and have the session know it. Hold the lock. Answers with the ids of all
    loads that completed, and what this one brought. Raises LostError, LandError."""
    if not home.store:
        segments.tidy(home)
    if options.reload and options.accept_loss:  # whatever is damaged there
        land.begin_anew(where)
    completed = land.completed(spark, where)
    land.clean_up(where, completed)
    land.declare(spark, where, completed)
    taken = land.taken(spark)
    marks = erasure.marks(home)  # before the listing: the next run learns of whom another home erases meanwhile
    listed = raw.in_store(home.store) if home.store else raw.in_folder(home.raw)
    waiting = raw.not_taken(_raw(home), listed, taken)
    if not home.store:
        erasure.sweep(home, where, (home.raw / each.place for each in waiting))
        marks = erasure.marks(home)
    if completed and (options.reload or erasure.noted(where) != marks):
        waiting = listed  # and nothing that came since, which was not swept
        if not options.accept_loss:
            raw.check_all_there(_raw(home), waiting, taken)
        land.forget(spark, completed)
        land.begin_anew(where)
        completed = set()
    if completed and not waiting:
        return completed, Loaded()
    landing = land.Landing(
        _raw(home),
        where,
        datetime.now(UTC),
        crash_guard.quarantined(home.warehouse),
        mappings.region_of(home.mappings),
    )
    due = land.tasks(waiting, land.task_bytes(spark, waiting), max(completed, default="0"))
    loaded = land.land(spark, landing, due)
    erasure.note(where, marks)
    new = {task.load_id for task in due}
    land.know(spark, new)
    return completed | new, loaded


def _raw(home: Home) -> str:
    return home.store or str(home.raw.absolute())


def _fingerprint(home: Home, rules: str, day: date, options: Options, loads: Collection[str]) -> str:
    """A digest of all that the tables are made of: with another one they say something else."""
    made_of = [
        rules, inputs.fingerprint(home.inputs), day.isoformat(),
        options.file_format, sorted(loads),
    ]  # fmt: skip
    return sha256(json.dumps(made_of).encode()).hexdigest()


def _remove_runs(where: Place, but: str | None) -> None:
    """Remove all runs but one: those that were cut short, and those that were read before the published one. That one
    stays when another is published, until the next run has loaded: whoever is reading it can read on."""
    for name in where.names("runs"):
        if name != but:
            where.remove("runs", name)
