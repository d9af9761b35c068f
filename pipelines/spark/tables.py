"""The tables of a run while they are made: in a folder of its own, under names that one session alone knows."""

from typing import TYPE_CHECKING, NamedTuple

from pipelines.spark.place import Place

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession


class RunTables(NamedTuple):
    """Where the tables of a run are made, and the session that knows them."""

    spark: "SparkSession"
    place: Place
    run: str

    def make_schema(self, name: str) -> None:
        """Have the session put the tables of a schema into the run's folder."""
        self.spark.sql(f"create database {name} location '{self.place.of('runs', self.run, name)}'")

    def bring(self, schema: str, table: str, rows: "pa.Table") -> None:
        """Write a small table that was made here, and have the session know it."""
        self.place.write_table(rows, "runs", self.run, schema, table, "part-0.parquet")
        at = self.place.table(self.run, schema, table)
        self.spark.sql(f"create table {schema}.{table} using parquet location '{at}'")

    def names(self, schema: str) -> list[str]:
        """The tables of a schema."""
        return sorted(table.name for table in self.spark.catalog.listTables(schema) if not table.isTemporary)
