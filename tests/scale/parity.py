"""Whether two engines hold the same tables: row for row, doubles within 1e-9 of each other."""

from math import isclose
from typing import Any

import duckdb

from pipelines import quoting

SCHEMAS = ("kobra", "marts", "wide")
_NOT_COMPARED = {"loaded_at"}  # when a load ran


def apart(connection: duckdb.DuckDBPyConnection, one: str, other: str) -> dict[str, Any]:
    """By table, in what two attached databases differ; nothing where they say the same."""
    names = [_tables(connection, database) for database in (one, other)]
    if names[0] != names[1]:
        return {"tables": sorted(set(names[0]) ^ set(names[1]))}
    found = {name: _difference(connection, f"{one}.{name}", f"{other}.{name}") for name in names[0]}
    return {name: difference for name, difference in found.items() if difference}


def _tables(connection: duckdb.DuckDBPyConnection, database: str) -> list[str]:
    rows = connection.execute(
        """
        select distinct schema_name || '.' || table_name from duckdb_columns()
        where database_name = ? and schema_name in (select unnest(?)) order by all
        """,
        [database, list(SCHEMAS)],
    ).fetchall()
    return [name for (name,) in rows]


def _difference(connection: duckdb.DuckDBPyConnection, one: str, other: str) -> Any:
    """In what two tables differ; nothing where they say the same."""
    ours, theirs = _types(connection, one), _types(connection, other)
    if ours != theirs:
        return sorted(set(ours.items()) ^ set(theirs.items()))
    columns = sorted(ours.keys() - _NOT_COMPARED, key=lambda name: (ours[name] == "DOUBLE", name))
    listed = ", ".join(map(quoting.name, columns))
    rows = [connection.execute(f"select {listed} from {table} order by all").fetchall() for table in (one, other)]
    if len(rows[0]) != len(rows[1]):
        return f"{len(rows[0])} rows and {len(rows[1])}"
    return [pair for pair in zip(*rows, strict=True) if not all(map(_is_same, *pair))][:3]


def _types(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Columns by name. JSON is text in a file of Parquet."""
    found = connection.execute(f"describe {table}").fetchall()
    return {name: "VARCHAR" if kind == "JSON" else kind for name, kind, *_ in found}


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(one == other)
