"""SQL that gives the published tables their names, in Spark SQL or DuckDB: views, over files that change."""

from collections.abc import Iterator

from pipelines.errors import UsageError
from pipelines.publish.published import NothingPublishedError
from pipelines.quoting import literal
from pipelines.spark.place import Place

_MADE_BY_DBT = ("kobra", "marts")


class FormError(UsageError):
    """DuckDB does not read the form that tables are published in."""


def statements(where: Place, *, for_duckdb: bool) -> Iterator[str]:
    """A statement a line. Run them after each `kobra spark run`. Raises NothingPublishedError, FormError."""
    note = where.published()
    if note is None:
        raise NothingPublishedError("kobra spark run")
    for schema, tables in note["tables"].items():
        file_format = note["file_format"] if schema in _MADE_BY_DBT else "parquet"
        if for_duckdb and file_format != "parquet":
            raise FormError(f"the tables are published as {file_format}, which DuckDB does not read as files")
        yield f"create schema if not exists {schema};"
        for table in tables:
            at = where.table(note["run"], schema, table)
            rows = f"read_parquet({literal(f'{at}/*.parquet')})" if for_duckdb else f"{file_format}.`{at}`"
            yield f"create or replace view {schema}.{table} as select * from {rows};"
