"""The small tables that models read besides the visits: the customer's mappings and files, the day they speak of.

They are made by the code of the embedded warehouse, in a DuckDB in memory, and written down as they are.
"""

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING

from pipelines.build import inputs, mappings
from pipelines.build.mappings import Mappings
from pipelines.spark.tables import RunTables
from pipelines.warehouse import state
from pipelines.warehouse.home import Home

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SCHEMAS = ("inputs", "mappings", "meta")
# Spark and DuckDB have zones by other names: those that DuckDB knows hold, as in the load.
_ZONES = "create table meta.time_zone_names as select distinct name from pg_timezone_names()"


def write(tables: RunTables, home: Home, known: Mappings, as_of: date) -> None:
    """Make schemas `inputs`, `mappings` and `meta` of a run. Raises CsvError."""
    import duckdb  # noqa: PLC0415

    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        state.prepare(connection, as_of)
        mappings.write(connection, known)
        inputs.write(connection, home.inputs)
        connection.execute(_ZONES)
        for schema in _SCHEMAS:
            tables.make_schema(schema)
        for schema, table in _tables(connection):
            tables.bring(schema, table, connection.table(f"{schema}.{table}").to_arrow_table())


def _tables(connection: "DuckDBPyConnection") -> Iterator[tuple[str, str]]:
    """Every table of these schemas, with its schema."""
    found = connection.execute("select schema_name, table_name from duckdb_tables() order by all").fetchall()
    yield from ((schema, table) for schema, table in found if schema in _SCHEMAS)
