"""Arrow tables into DuckDB and out of it, the fast ways."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


def execute(connection: "DuckDBPyConnection", statement: str, table: "pa.Table") -> None:
    """Execute a statement that reads `lines`: as a bare stream, for which DuckDB need not import pyarrow.dataset."""
    lines = table.__arrow_c_stream__()  # noqa: F841 - a name that no table has, or that would go first
    connection.execute(statement)


def rows(connection: "DuckDBPyConnection", query: str) -> "pa.Table":
    """What a query finds."""
    return connection.sql(query).to_arrow_table()  # what `execute` gives is turned into Arrow by one thread alone
