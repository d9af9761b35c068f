"""From loaded visits to the tables that people open: mappings, models, tests, wide tables, comments."""

from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from pipelines.build import comments, dbt, inputs, mappings, wide
from pipelines.warehouse import state, transaction
from pipelines.warehouse.home import Home
from pipelines.warehouse.state import Run

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from pipelines.build.mappings import Mappings


class Built(NamedTuple):
    """What is noted of a build, and until when it says what holds today (seconds since 1970; 0: its day was told)."""

    run: Run
    holds_until: float


def build(home: Home, connection: "DuckDBPyConnection", as_of: date | None = None, *, full: bool = False) -> Built:
    """Build and test the models and the wide tables in the working file, which `connection` has open. Hold the lock.

    `as_of` is today in the default zone unless told. History is computed afresh where `full` says so, and where the
    mappings, the code or the libraries are not those of the last build; else what belongs to visits that changed.
    Raises MappingError, CsvError, ChecksFailedError: then the next build starts from where this one did.
    """
    started = datetime.now(UTC)
    known = mappings.read(home.mappings)
    day, holds_until = (as_of, 0.0) if as_of else today(known)
    rules = fingerprint(known)
    state.prepare(connection, day)
    full = full or state.built_as(connection) != rules
    if full:
        state.forget_build(connection)  # cut short, it leaves tables of which some are made in another way
    mappings.write(connection, known)
    _write_inputs(home, connection, full=full)
    manifest = dbt.build(home, full=full)
    wide.build(connection, None if full else _CHANGED)
    comments.write(connection, manifest)
    (visits,) = connection.execute(f"select count(*) from {'marts.visits' if full else _CHANGED}").fetchone() or (0,)
    brought = state.settle(connection, rules)
    return Built(Run(started, day, full, visits, brought, rules), holds_until)


def fingerprint(known: "Mappings") -> str:
    """A digest of the rules by which tables are made: mappings, code and libraries."""
    return sha256(f"{known.fingerprint} {dbt.fingerprint()}".encode()).hexdigest()


_CHANGED = "staging.int_changed_visits"


def _write_inputs(home: Home, connection: "DuckDBPyConnection", *, full: bool) -> None:
    """Read the customer's files where one of them is another than last time, and note whose visits that changes."""
    now = inputs.fingerprint(home.inputs)
    if not full and state.inputs_as(connection) == now:
        return
    if not full:
        # No temporary table, and never replaced: a run that is cut short leaves the comparison to the next.
        connection.execute(
            "create table if not exists staging.places_before as"
            " select source, account_id, lat, lng from staging.stg_accounts"
        )
    inputs.write(connection, home.inputs)
    with transaction.whole(connection):
        state.note_inputs(connection, now)
        if not full:
            state.note_changed(connection, _OF_MOVED_ACCOUNTS)
        connection.execute("drop table if exists staging.places_before")


_OF_MOVED_ACCOUNTS = """
with moved as (
    (select source, account_id, lat, lng from staging.stg_accounts except
        select source, account_id, lat, lng from staging.places_before)
    union all
    (select source, account_id, lat, lng from staging.places_before except
        select source, account_id, lat, lng from staging.stg_accounts)
)
select source, visit_id from staging.int_visits semi join moved using (source, account_id)
"""


def today(known: "Mappings") -> tuple[date, float]:
    """Today in the default zone, and until when that is so."""
    zone = ZoneInfo(next(row.value for row in known.settings if row.key == "default_time_zone" and not row.source))
    day = datetime.now(zone).date()
    tomorrow = datetime.combine(day + timedelta(days=1), time(), zone)
    return day, tomorrow.timestamp()
