"""The run that people read, to be read by DuckDB and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.publish.published import confine
from pipelines.quoting import literal
from pipelines.spark.place import Place
from pipelines.spark.views import statements

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@contextmanager
def attached(where: Place, writing_to: Path | None = None) -> Iterator["DuckDBPyConnection"]:
    """Its tables as those of `w`, in a connection that opens no other file, except in the folder `writing_to`.
    Raises NothingPublishedError, FormError, PlaceError."""
    import duckdb  # noqa: PLC0415

    with duckdb.connect() as connection:
        where.let_read(connection)
        connection.execute("attach ':memory:' as w; use w")
        for statement in statements(where, for_duckdb=True):
            connection.execute(statement)
        connection.execute(f"use memory; set allowed_directories = [{literal(where.of(''))}]")
        confine(connection, writing_to)
        yield connection
