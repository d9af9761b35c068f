"""The dlt source: a resource for each landed table, which appends Arrow tables to any destination."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import dlt
import pyarrow as pa
from dlt.extract import DltResource

from pipelines.contract import LANDED, Table, Type
from pipelines.load.batches import Chunk, segment_rows
from pipelines.load.flatten import Flatten, Rows

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
def kobra(chunks: Iterable[Chunk], flatten: Flatten, loaded_at: datetime) -> Iterator[DltResource]:
    """The deliveries of one load. dlt adds to every row the id of the load: a row counts once dlt has noted in
    `_dlt_loads` that this load completed."""

    def rows() -> Iterator[Rows]:
        for chunk in chunks:
            yield from flatten(chunk.documents)
            yield {"segments": segment_rows(chunk.taken, loaded_at)}

    read = dlt.resource(rows, name="chunks", selected=False)
    for table in LANDED.values():
        yield read | _table(table)


def _table(table: Table) -> Any:
    @dlt.transformer(
        name=table.name,
        columns={column.name: {"nullable": True, **_TYPES[column.type]} for column in table.columns},
        write_disposition="append",
    )
    def rows_of(rows: Rows) -> pa.Table | None:
        return rows.get(table.name)

    return rows_of
