"""The reading rules as functions of Spark SQL: the very macros of DuckDB, over a batch of Arrow in the executor.

So a text reads alike in both engines, whatever regular expressions and Unicode tables each has of its own.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines import rules

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyspark.sql import SparkSession

# By name: what DuckDB evaluates over the columns a, b, and the type of that in Spark.
_OF_ONE = {
    "read_bool": ("read_bool(a)", "boolean"),
    "read_number": ("read_number(a)", "decimal(18,4)"),
    "read_time": ("read_time(a)", "time(6)"),
    "normalised_text": ("normalised_text(a)", "string"),
    "lower_case": ("lower(a)", "string"),
}
_OF_TWO = {
    "read_date": ("read_date(a, b)", "date"),
    "has_json_key": ("list_contains(json_keys(a), b)", "boolean"),
    "utc_offset_s": ("date_diff('second', b, timezone(a, timezone('UTC', b)))", "bigint"),
}


def register(spark: "SparkSession") -> None:
    """Have Spark SQL know the functions by their names."""
    from pyspark.sql.functions import arrow_udf  # noqa: PLC0415

    for name, (expression, kind) in _OF_ONE.items():
        spark.udf.register(name, arrow_udf(_of_one(expression), kind))
    for name, (expression, kind) in _OF_TWO.items():
        spark.udf.register(name, arrow_udf(_of_two(expression), kind))


def _of_one(expression: str) -> Callable[[pa.Array], pa.Array]:
    def evaluate(texts: pa.Array) -> pa.Array:
        distinct = texts.dictionary_encode()  # answers repeat themselves
        return _evaluate(expression, {"a": distinct.dictionary}).take(distinct.indices)

    return evaluate


def _of_two(expression: str) -> Callable[[pa.Array, pa.Array], pa.Array]:
    def evaluate(ones: pa.Array, others: pa.Array) -> pa.Array:
        return _evaluate(expression, {"a": ones, "b": others})

    return evaluate


def _evaluate(expression: str, columns: dict[str, Any]) -> pa.Array:
    database = _database()
    database.register("batch", pa.table(columns))
    found = database.sql(f"select {expression} as found from batch").to_arrow_table()["found"]
    return found.combine_chunks()


@cache
def _database() -> "DuckDBPyConnection":
    """One for each worker of Python. A single thread, which keeps the order of rows."""
    import duckdb  # noqa: PLC0415

    database = duckdb.connect(config={"threads": 1})
    database.execute("set timezone = 'UTC'")
    database.execute(rules.macros("main"))
    return database
