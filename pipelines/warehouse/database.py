"""The working file, or the lake in its place: how DuckDB opens it, for the load, the build and everybody else."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipelines.errors import UsageError
from pipelines.warehouse import damage
from pipelines.warehouse.damage import DamagedError
from pipelines.warehouse.home import Home

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# The oldest DuckDB that can open the file: its form of text is written faster and is a third smaller, which makes the
# file a quarter smaller. (That of 1.3 has it, too, but reads NULL where there is text.)
_READABLE_SINCE = "v1.4.0"


class OldFormError(UsageError):
    """The working file is of an earlier release, which kept its tables otherwise."""


def config(home: Home) -> dict[str, Any]:
    """The settings of DuckDB for what it works on."""
    of_kind: dict[str, Any] = {"storage_compatibility_version": _READABLE_SINCE}
    if home.lake:
        of_kind = {"extension_directory": str(home.extensions.absolute()), "autoinstall_known_extensions": False}
    return of_kind | {
        # A table's rows stay in memory uncompressed, 16 bytes a text, until 122 880 of them are together: the widest
        # of schema `wide` take half a GiB each, common ones a tenth of it.
        "memory_limit": "1GB",
        "preserve_insertion_order": False,
        "temp_directory": str(home.warehouse.absolute() / ".spill"),
    }


@contextmanager
def working(home: Home) -> Iterator["DuckDBPyConnection"]:
    """The working file, or the lake. Hold the lock. Raises DamagedError, OldFormError, LakeError."""
    with home.lake.working(config(home), home.extensions) if home.lake else _file(home) as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


@contextmanager
def _file(home: Home) -> Iterator["DuckDBPyConnection"]:
    import duckdb  # noqa: PLC0415 - a run with nothing to do never gets here

    try:
        with duckdb.connect(str(home.working), config=config(home)) as connection:
            _check_form(connection, home)
            yield connection
    except Exception as why:
        if damage.is_told(why) and not isinstance(why, DamagedError):
            raise DamagedError(home.working) from why
        raise


def exists(home: Home) -> bool:
    """Whether anything was ever loaded, or a load begun."""
    return home.lake.is_begun() if home.lake else home.working.exists()


def settle(home: Home, connection: "DuckDBPyConnection") -> None:
    """Bring what was committed into the file: else the log grows beside it, and all in it stays in memory. A lake has
    no log."""
    if home.lake is None:
        connection.execute("checkpoint")


def _check_form(connection: "DuckDBPyConnection", home: Home) -> None:
    if has(connection, "kobra", "_dlt_loads"):
        raise OldFormError(
            f"{home.working} was made by an earlier release: delete it, and `kobra run` makes it again from the raw "
            "store (README, Rebuilding the warehouse)"
        )


def has(connection: "DuckDBPyConnection", schema: str, table: str) -> bool:
    """Whether the file has a table of this name."""
    found = connection.execute(
        "select count(*) from duckdb_tables()"
        " where database_name = current_database() and schema_name = ? and table_name = ?",
        [schema, table],
    ).fetchone()
    return found == (1,)
