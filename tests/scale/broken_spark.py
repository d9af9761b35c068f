"""`kobra spark` with one thing broken on purpose, named by the first argument: the tests must catch it."""

import sys
from typing import Any

from pipelines import cli
from pipelines.spark import land, models, place, run

_build, _clean_up = models.build, land.clean_up


def published_first(tables: Any, *others: Any) -> None:
    """People read a run before it is built."""
    made = {"kobra": [], "marts": ["visits"], "wide": [], "inputs": [], "mappings": [], "meta": []}
    tables.place.publish({"run": tables.run, "fingerprint": "", "file_format": "parquet", "tables": made})
    _build(tables, *others)


def counted_first(spark: Any, landing: Any, due: Any) -> Any:
    """Loads count before their rows are written."""
    write_table, noted = place.Place.write_table, list[Any]()

    def note(where: Any, table: Any, *parts: str) -> None:
        noted.append(parts)
        write_table(where, table, *parts)

    place.Place.write_table = note  # type: ignore[method-assign]
    note(landing.place, land.completed_rows(due), "landed", land.LOADS, f"{due[0].load_id}.parquet")
    return _land(spark, landing, due)


_land = land.land
BROKEN = {
    "published first": lambda: setattr(models, "build", published_first),
    "counted first": lambda: setattr(run.land, "land", counted_first),
}

BROKEN[sys.argv[1]]()
sys.exit(cli.main(sys.argv[2:]))
