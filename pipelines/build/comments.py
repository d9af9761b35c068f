"""What tables and columns mean, in the file itself: any SQL client shows it, and the view `tables` lists the tables.
dbt's manifest has it for every schema."""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipelines import quoting
from pipelines.build import wide
from pipelines.warehouse import transaction

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest
    from duckdb import DuckDBPyConnection

# What people query, in the order in which they look. What is in schema staging may change with any release.
PUBLIC = ("marts", "wide", "kobra", "landed", "inputs", "mappings", "meta")

_KEY = re.compile(r"\((`\w+`(?:, `\w+`)*)\)")

# In schema main, so that `show tables` shows it. It reads no table: the file may be called or attached as anything.
_LIST = 'create or replace view main.tables as from (values {}) as listed("schema", name, grain, description)'
_OF_LIST: dict[str | None, str] = {
    None: "One row per public table of this file (`schema`, `name`).",
    "schema": "Schema of the table.",
    "name": "Name of the table or view.",
    "grain": "Columns that tell its rows apart; NULL where there is a single row.",
    "description": "What its rows are. What its columns are, their comments say: duckdb_columns().",
}


class _Place(NamedTuple):
    """What a comment is on: a column, or with None the table itself."""

    schema: str
    table: str
    column: str | None = None


def write(connection: "DuckDBPyConnection", manifest: "Manifest") -> None:
    """Comment on every table and column where there is no comment, or another one, and list the public tables."""
    kinds = _kinds(connection)
    wanted = dict(_wanted(manifest, kinds))
    there = _there(connection)
    with transaction.whole(connection):  # one commit, not hundreds
        _comment(connection, kinds, {place: text for place, text in wanted.items() if there.get(place, text) != text})
        _list(connection, there | wanted, kinds)


def key(description: str) -> str | None:
    """The columns that tell rows apart, as a description names them: One row per visit (`source`, `visit_id`)."""
    found = _KEY.search(description)
    return found[1].replace("`", "") if found else None


def _comment(connection: "DuckDBPyConnection", kinds: dict[_Place, str], wanted: dict[_Place, str]) -> None:
    bare = {"view"} if _is_lake(connection) else set()  # kinds whose columns cannot have comments
    for place, text in wanted.items():
        of_table = kinds[place._replace(column=None)]
        if place.column and of_table in bare:
            continue
        kind = "column" if place.column else of_table
        name = ".".join(quoting.name(part) for part in place if part is not None)
        connection.execute(f"comment on {kind} {name} is {quoting.literal(text)}")


def _wanted(manifest: "Manifest", tables: Iterable[_Place]) -> Iterator[tuple[_Place, str]]:
    models = {node.name: node for node in manifest.nodes.values() if node.resource_type == "model"}
    for node in (*models.values(), *manifest.sources.values()):
        yield _Place(node.schema, node.identifier), node.description
        for column in node.columns.values():
            yield _Place(node.schema, node.identifier, column.name), column.description
    for table in tables:
        if table.schema == "wide":
            for name in wide.LEADING:
                yield table._replace(column=name), models["visits"].columns[name].description


def _kinds(connection: "DuckDBPyConnection") -> dict[_Place, str]:
    """What is a table and what a view."""
    rows = connection.execute("""
        select schema_name, table_name, 'table' from duckdb_tables() where database_name = current_database()
        union all
        select schema_name, view_name, 'view' from duckdb_views()
        where database_name = current_database() and not internal
    """).fetchall()
    return {_Place(schema, table): kind for schema, table, kind in rows}


def _there(connection: "DuckDBPyConnection") -> dict[_Place, str]:
    """The comments, empty where there is none."""
    rows = connection.execute("""
        select schema_name, table_name, null, comment from duckdb_tables()
        where database_name = current_database()
        union all
        select schema_name, view_name, null, comment from duckdb_views()
        where database_name = current_database() and not internal
        union all
        select schema_name, table_name, column_name, comment from duckdb_columns()
        where database_name = current_database() and not internal
    """).fetchall()
    return {_Place(schema, table, column): comment or "" for schema, table, column, comment in rows}


def _is_lake(connection: "DuckDBPyConnection") -> bool:
    found = connection.execute("select type from duckdb_databases() where database_name = current_database()")
    return found.fetchone() == ("ducklake",)


def _list(connection: "DuckDBPyConnection", texts: dict[_Place, str], kinds: dict[_Place, str]) -> None:
    """Make the view `tables`."""
    public = sorted(
        (table for table in kinds if table.schema in PUBLIC), key=lambda table: (PUBLIC.index(table.schema), table)
    )
    rows = ([table.schema, table.table, key(texts[table]), texts[table]] for table in public)
    values = (", ".join("null" if cell is None else quoting.literal(cell) for cell in row) for row in rows)
    connection.execute(_LIST.format(", ".join(f"({row})" for row in values)))
    listed = _Place("main", "tables")
    _comment(
        connection, {listed: "view"}, {listed._replace(column=column): text for column, text in _OF_LIST.items()}
    )
