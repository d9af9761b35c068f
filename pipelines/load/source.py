"""The dlt source: one resource per table of schema `kobra`, fed with Arrow from a page."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination.client import SqlModel
from dlt.extract import DltResource

from pipelines.contract import TABLES, Table, Type
from pipelines.load.batches import Taken
from pipelines.load.flatten import WRITTEN, query

_TYPES: dict[Type, dict[str, Any]] = {
    Type.TEXT: {"data_type": "text"},
    Type.INT: {"data_type": "bigint", "precision": 32},
    Type.COUNT: {"data_type": "bigint"},
    Type.DOUBLE: {"data_type": "double"},
    Type.BOOL: {"data_type": "bool"},
    Type.NUMBER: {"data_type": "decimal", "precision": 18, "scale": 4},
    Type.DATE: {"data_type": "date"},
    Type.TIME: {"data_type": "time"},
    Type.LOCAL: {"data_type": "timestamp", "timezone": False},
    Type.INSTANT: {"data_type": "timestamp", "timezone": True},
    Type.JSON: {"data_type": "json"},
}


@dlt.source(name="kobra", max_table_nesting=0)
def kobra(segments: Sequence[Taken], loaded_at: datetime, folder: Path) -> Iterator[DltResource]:
    """The page that is attached to the destination's connection, read from these segments.

    dlt is handed SQL models, written to `folder`: the rows go from the page's views into the tables inside
    DuckDB, without a way through Python or Parquet. The segments are the cursor. As plain rows they get dlt's
    `_dlt_load_id`: a segment counts as taken when dlt has noted in `_dlt_loads` that this load completed.
    """
    taken = [{**segment._asdict(), "loaded_at": loaded_at} for segment in segments]
    yield _resource(TABLES["segments"], taken or [dlt.mark.materialize_table_schema()])
    for name in WRITTEN:
        yield _resource(TABLES[name], _model(TABLES[name], folder))


def _model(table: Table, folder: Path) -> Iterator[Any]:
    path = folder / f"{table.name}.model"
    path.write_text(str(SqlModel(query(table), "duckdb")))
    yield dlt.mark.with_file_import(str(path), "model")


def _resource(table: Table, rows: Iterable[Any]) -> DltResource:
    return dlt.resource(
        rows,
        name=table.name,
        columns={
            column.name: {"name": column.name, "nullable": True, **_TYPES[column.type]}
            for column in table.columns
            if not column.name.startswith("_dlt")
        },
        write_disposition="append",
    )
