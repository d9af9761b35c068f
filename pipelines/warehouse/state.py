"""Schema `meta`: how the tables came about, and what the last build that came to its end knew."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pipelines.warehouse import transaction

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_KEPT = 1000  # runs
_MADE_WITH = ("kobra-visits", "dlt", "dbt-core", "duckdb")

_LOADED = "create table if not exists meta.visits_loaded (source varchar, visit_id varchar);"
_TABLES = f"""
create schema if not exists meta;
create table if not exists meta.build (
    as_of date, is_finished boolean, inputs varchar,
    made_as varchar, is_begun boolean
);
alter table meta.build add column if not exists built_as_of date;
alter table meta.build add column if not exists is_edited boolean;
create or replace macro meta.visit_state(delivery_id, versions, lat, lng) as hash(delivery_id, versions, lat, lng);
create table if not exists meta.visits_built (
    source varchar, visit_id varchar, state ubigint, agent_key varchar, account_id varchar, local_date date
);
{_LOADED}
create table if not exists meta.blanked (until timestamp with time zone);
create table if not exists meta.runs (
    started_at timestamp with time zone, finished_at timestamp with time zone, duration_s double, as_of date,
    is_full boolean, visits_touched bigint, deliveries bigint, new_versions bigint, duplicates bigint,
    rejected bigint, segments bigint, damaged bigint, versions varchar, fingerprint varchar
);
"""

_REMEMBER = """
begin;
delete from meta.visits_built where WHICH;
insert into meta.visits_built by name
select visits.source, visit_id, agent_key, account_id, local_date,
    meta.visit_state(delivery_id, versions, file.lat, file.lng) as state
from (from marts.visits where NEAR) as visits
left join staging.accounts_on_file as file using (source, account_id);
commit;
"""


def prepare(connection: "DuckDBPyConnection", as_of: date) -> None:
    """Make what is missing of schema `meta`, and set the day as of which the models speak."""
    connection.execute(_TABLES)
    connection.execute("insert into meta.build by name select false as is_begun where not exists (from meta.build)")
    connection.execute("update meta.build set as_of = ?, is_finished = false", [as_of])


def inputs_as(connection: "DuckDBPyConnection") -> str | None:
    """The fingerprint of the customer's files that schema `inputs` holds."""
    found = connection.execute("select inputs from meta.build").fetchone()
    return found[0] if found else None


def note_inputs(connection: "DuckDBPyConnection", fingerprint: str) -> None:
    """Note which files schema `inputs` holds now."""
    connection.execute("update meta.build set inputs = ?", [fingerprint])


def outdate(connection: "DuckDBPyConnection", *, anew: bool = False) -> None:
    """Note, where marts are, that they do not hold everything that is loaded; `anew`: that nothing of them holds."""
    if is_built(connection):
        connection.execute("update meta.build set is_finished = false" + ", made_as = null" * anew)


def note_loaded(connection: "DuckDBPyConnection", visits: str) -> None:
    """Note, where marts are, that visits may be other than at the last build: by (source, visit_id) in `visits`."""
    if is_built(connection):
        connection.execute(f"{_LOADED} insert into meta.visits_loaded select source, visit_id from {visits}")


def is_outdated(connection: "DuckDBPyConnection") -> bool:
    """Whether there are marts that do not hold everything that is loaded, or did not pass their tests."""
    return is_built(connection) and connection.execute(
        "select count(*) from meta.build where not is_finished"
    ).fetchone() != (0,)


def is_built(connection: "DuckDBPyConnection") -> bool:
    """Whether a build was ever begun."""
    found = "select count(*) from duckdb_tables() where schema_name = 'meta' and table_name = 'build'"
    return connection.execute(found).fetchone() == (1,)


def built_as(connection: "DuckDBPyConnection") -> str | None:
    """The fingerprint of what history was built with; None when all of it is to be built, for the first time or
    because that was begun and did not come to its end."""
    found = connection.execute("select made_as from meta.build").fetchone()
    return found[0] if found else None


def is_cut_short(connection: "DuckDBPyConnection") -> bool:
    """Whether the last build began and did not come to its end."""
    return connection.execute("select count(*) from meta.build where is_begun").fetchone() != (0,)


def begin(connection: "DuckDBPyConnection", *, is_full: bool, is_edited: bool) -> None:
    """Note that from here on tables may be neither as the last build left them nor as this one does; `is_edited`:
    that a file of the customer is another than in the last build."""
    connection.execute(
        "update meta.build set is_begun = true, is_edited = ?" + ", made_as = null" * is_full, [is_edited]
    )
    if is_full:  # nothing that was built counts, nor the form in which it was noted
        connection.execute("drop table meta.visits_built; delete from meta.blanked;" + _TABLES)


def among(touched: str | None) -> str:
    """The condition that a visit is in this table; without one, that it is any visit."""
    return "true" if touched is None else f"(source, visit_id) in (select source, visit_id from {touched})"


def remember(connection: "DuckDBPyConnection", touched: str | None) -> None:
    """Note that everything made of single visits stands as they are now: the next build starts from here.

    `touched`: a table with those that may be other than at the last build; None: any of them.
    """
    which = among(touched)
    near = which if touched is None else f"rowid in (select rowid from marts.visits where {which})"
    connection.execute(_REMEMBER.replace("WHICH", which).replace("NEAR", near))


def remembers_all(connection: "DuckDBPyConnection") -> bool:
    """Whether the visits that are remembered are as many as there are."""
    counts = "select (select count(*) from meta.visits_built) = (select count(*) from kobra.visits)"
    return connection.execute(counts).fetchone() == (True,)


def settle(connection: "DuckDBPyConnection", fingerprint: str) -> None:
    """Note that a build came to its end, as of which day, and what history was built with."""
    connection.execute("update meta.build set is_begun = false, built_as_of = as_of, made_as = ?", [fingerprint])


def record(
    connection: "DuckDBPyConnection",
    started: datetime,
    as_of: date,
    loaded: Sequence[int],
    fingerprint: str,
    *,
    touched: str | None,
) -> None:
    """Note a run, all of it or nothing: its marts hold what is loaded. `loaded`: deliveries, new, duplicates,
    rejected, segments, damaged; `touched`: as for `remember`."""
    now = datetime.now(UTC)
    made_with = ", ".join(f"{name} {version(name)}" for name in _MADE_WITH)
    visits = connection.execute(
        f"select count(distinct (source, visit_id)) from {touched}"
        if touched
        else "select count(*) from marts.visits"
    ).fetchone()
    assert visits is not None
    row: list[Any] = [started, now, (now - started).total_seconds(), as_of, touched is None, visits[0], *loaded]
    with transaction.whole(connection):
        connection.execute(
            f"insert into meta.runs values ({', '.join('?' * (len(row) + 2))})", [*row, made_with, fingerprint]
        )
        connection.execute(
            "delete from meta.runs where finished_at not in"
            f" (select finished_at from meta.runs order by finished_at desc limit {_KEPT})"
        )
        settle(connection, fingerprint)
        connection.execute("update meta.build set is_finished = true; delete from meta.visits_loaded")
