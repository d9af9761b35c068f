"""Schema `meta`: how the tables came about, and which loads the last build knew."""

from datetime import UTC, date, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from pipelines import rules
from pipelines.warehouse import database, transaction

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_KEPT = 1000  # runs
_MADE_WITH = ("kobra-visits", "dlt", "dbt-core", "duckdb")
_TABLES = """
create schema if not exists meta;
create table if not exists meta.build (as_of date, is_finished boolean, fingerprint varchar, inputs varchar);
create table if not exists meta.loads_built (load_id varchar);
create table if not exists meta.visits_changed (source varchar, visit_id varchar);
create table if not exists meta.blanked (until timestamp with time zone);
create table if not exists meta.runs (
    started_at timestamp with time zone, finished_at timestamp with time zone, duration_s double, as_of date,
    is_full boolean, visits_changed bigint, deliveries bigint, new_versions bigint, duplicates bigint,
    rejected bigint, segments bigint, damaged bigint, versions varchar, fingerprint varchar
);
"""
# What the loads brought of which the last build knew nothing.
_BROUGHT = """
select count(*), count(*) filter (outcome = 'new'), count(*) filter (outcome = 'duplicate'),
    count(*) filter (outcome = 'rejected'), (select count(*) from landed.segments where NEW),
    (select coalesce(sum(damaged), 0)::bigint from landed.segments where NEW)
from kobra.deliveries
where (delivery_id, item) in (select (delivery_id, item) from staging.stg_deliveries where is_new)
""".replace("NEW", "_dlt_load_id in (select load_id from staging.stg_loads where is_new)")
_LEARN = """
delete from meta.visits_changed;
insert into meta.loads_built select load_id from staging.stg_loads where is_new;
update meta.build set is_finished = true, fingerprint = ?;
"""


class Brought(NamedTuple):
    """What loads brought: deliveries by outcome, segments, damaged records in them that were skipped."""

    deliveries: int = 0
    new: int = 0
    duplicates: int = 0
    rejected: int = 0
    segments: int = 0
    damaged: int = 0


class Run(NamedTuple):
    """What is noted of a run: when it began, what it built as of which day, and what its loads brought."""

    started_at: datetime
    as_of: date
    is_full: bool
    visits_changed: int
    brought: Brought
    fingerprint: str


def prepare(connection: "DuckDBPyConnection", as_of: date) -> None:
    """Make what is missing of schema `meta`, and what the models call, and set the day as of which they speak."""
    with transaction.whole(connection):
        connection.execute(_TABLES)
        connection.execute("create schema if not exists kobra")
        connection.execute(rules.macros("kobra"))
        connection.execute(
            "insert into meta.build by name select false as is_finished where not exists (from meta.build)"
        )
        connection.execute("update meta.build set as_of = ?, is_finished = false", [as_of])


def is_built(connection: "DuckDBPyConnection") -> bool:
    """Whether a build was ever begun."""
    return database.has(connection, "meta", "build")


def is_outdated(connection: "DuckDBPyConnection") -> bool:
    """Whether there are marts that do not hold everything that is loaded, or did not pass their tests."""
    return is_built(connection) and connection.execute(_OUTDATED).fetchone() == (True,)


_OUTDATED = """
select exists (from meta.build where not is_finished)
    or exists (from landed._dlt_loads where status = 0 and load_id not in (select load_id from meta.loads_built))
    or exists (from meta.visits_changed)
"""


def built_as(connection: "DuckDBPyConnection") -> str | None:
    """The fingerprint of what history was built with; None when all of it is to be built."""
    found = connection.execute("select fingerprint from meta.build").fetchone()
    return found[0] if found else None


def inputs_as(connection: "DuckDBPyConnection") -> str | None:
    """The fingerprint of the customer's files that schema `inputs` holds."""
    found = connection.execute("select inputs from meta.build").fetchone()
    return found[0] if found else None


def note_inputs(connection: "DuckDBPyConnection", fingerprint: str) -> None:
    """Note which files schema `inputs` holds now."""
    connection.execute("update meta.build set inputs = ?", [fingerprint])


def note_changed(connection: "DuckDBPyConnection", visits: str) -> None:
    """Note that visits are to be computed again: by (source, visit_id) in the query `visits`."""
    connection.execute(f"insert into meta.visits_changed select source, visit_id from ({visits})")


def forget_build(connection: "DuckDBPyConnection") -> None:
    """Have the next build compute all of history."""
    if is_built(connection):
        connection.execute("update meta.build set is_finished = false, fingerprint = null")


def settle(connection: "DuckDBPyConnection", fingerprint: str) -> Brought:
    """Note that a build came to its end, all of it or nothing: the next one starts from here. Answers with what the
    loads brought of which the models have just learnt."""
    with transaction.whole(connection):
        found = connection.execute(_BROUGHT).fetchone()
        connection.execute(_LEARN, [fingerprint])
    assert found is not None
    return Brought(*found)


def note_run(connection: "DuckDBPyConnection", run: Run) -> None:
    """Add a run that came to its end to `meta.runs`."""
    now = datetime.now(UTC)
    made_with = ", ".join(f"{name} {version(name)}" for name in _MADE_WITH)
    row = (
        run.started_at, now, (now - run.started_at).total_seconds(), run.as_of, run.is_full, run.visits_changed,
        *run.brought, made_with, run.fingerprint,
    )  # fmt: skip
    connection.execute(f"insert into meta.runs values ({', '.join('?' * len(row))})", row)
    connection.execute(
        "delete from meta.runs where finished_at not in"
        f" (select finished_at from meta.runs order by finished_at desc limit {_KEPT})"
    )
