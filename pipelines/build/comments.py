"""What tables and columns mean, in the file itself: any SQL client shows it. Those of the marts dbt writes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipelines import quoting
from pipelines.contract import TABLES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_OURS = {
    ("meta", "build"): "One row: as of which day the marts speak, whether they hold what was loaded.",
    ("meta", "visits_built"): "One row per visit (source, visit_id), as the last build knew it.",
    ("meta", "visits_loaded"): "One row or more per visit (source, visit_id) that was written since the last build.",
    ("meta", "blanked"): "One row where personal data is kept for a while only: up to when it is blanked.",
    ("meta", "runs"): "One row per run that came to its end: when, what was loaded and built, made with what.",
    ("mappings", "question_roles"): "One row per line of question_roles.csv: which question plays which role.",
    ("mappings", "answer_codes"): "One row per line of answer_codes.csv: which answer or label means which code.",
    ("mappings", "settings"): "One row per line of settings.csv: thresholds.",
    ("inputs", "payments"): "One row per usable line of payments.csv.",
    ("inputs", "accounts"): "One row per usable line of accounts.csv.",
    ("inputs", "files"): "One row per optional file: whether it is there, and how many rows it has.",
    ("inputs", "rejects"): "One row per fault in a line of an optional file: file, line, reason.",
}


class _Place(NamedTuple):
    schema: str
    table: str
    column: str | None = None

    def sql(self) -> str:
        parts = ".".join(quoting.name(part) for part in self if part is not None)
        return f"{'table' if self.column is None else 'column'} {parts}"


def write(connection: "DuckDBPyConnection") -> None:
    """Comment on what has no comment, or another one."""
    there = dict(_there(connection))
    for place, text in _wanted():
        if there.get(place, text) != text:
            connection.execute(f"comment on {place.sql()} is {quoting.literal(text)}")


def _wanted() -> Iterator[tuple[_Place, str]]:
    for table in TABLES.values():
        yield _Place("kobra", table.name), f"{table.grain[0].upper()}{table.grain[1:]}: {', '.join(table.key)}."
        for column in table.columns:
            yield _Place("kobra", table.name, column.name), column.meaning
    for (schema, name), text in _OURS.items():
        yield _Place(schema, name), text


def _there(connection: "DuckDBPyConnection") -> Iterator[tuple[_Place, str]]:
    """Comments by place; empty where there is none."""
    found = connection.execute("""
        select schema_name, table_name, null as column_name, comment from duckdb_tables()
        where database_name = current_database()
        union all
        select schema_name, table_name, column_name, comment from duckdb_columns()
        where database_name = current_database()
    """).fetchall()
    for schema, table, column, comment in found:
        yield _Place(schema, table, column), comment or ""
