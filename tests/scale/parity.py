"""Whether two engines hold the same tables: row for row, doubles within 1e-9 of each other."""

from math import isclose
from pathlib import Path
from typing import Any

import duckdb
from built_home import differences

_Row = tuple[Any, ...]


def apart(one: Path, other: Path) -> dict[str, Any]:
    """By table what differs between two database files in schemas kobra, marts and wide; nothing when they agree."""
    found = differences(one, other)
    if "tables" in found:
        return found
    with duckdb.connect() as connection:
        for name, path in (("one", one), ("other", other)):
            connection.execute(f"attach '{path}' as {name} (read_only)")
        connection.execute("set timezone = 'UTC'")
        pairs = {table: (_only_in(connection, table, "one", "other"), _only_in(connection, table, "other", "one"))
                 for table in found}  # fmt: skip
    return {table: rows for table, rows in pairs.items() if not _are_near(*rows)}


def _only_in(connection: duckdb.DuckDBPyConnection, table: str, this: str, that: str) -> list[_Row]:
    columns = ", ".join(
        f'"{name}"'
        for name, *_ in connection.execute(f"describe {this}.{table}").fetchall()
        if not name.startswith("_dlt") and name != "loaded_at"
    )
    query = f"select {columns} from {this}.{table} except all select {columns} from {that}.{table}"
    return sorted(connection.execute(query).fetchall(), key=_without_doubles)


def _without_doubles(row: _Row) -> str:
    return repr([None if isinstance(value, float) else value for value in row])


def _are_near(one: list[_Row], other: list[_Row]) -> bool:
    return list(map(_without_doubles, one)) == list(map(_without_doubles, other)) and all(
        isclose(mine, theirs, rel_tol=1e-9, abs_tol=1e-9)
        for rows in zip(one, other, strict=True)
        for mine, theirs in zip(*rows, strict=True)
        if isinstance(mine, float)
    )
