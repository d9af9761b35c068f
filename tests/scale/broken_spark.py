"""`kobra spark` with one thing broken on purpose, named by the first argument: the tests must catch it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep
from typing import Any
from uuid import uuid4

from pipelines import cli
from pipelines.spark import functions, land, models, place
from pipelines.spark.place import Place

_build, _land = models.build, land.land
_NOTHING = {"kobra": [], "marts": [], "wide": [], "inputs": [], "mappings": [], "meta": []}


def published_first(tables: Any, *others: Any) -> None:
    """People read a run before it is built."""
    note = {"run": tables.run, "fingerprint": "", "marks": None, "file_format": "parquet", "tables": _NOTHING}
    tables.place.publish(note)
    _build(tables, *others)


class SegmentsFirst(Place):
    """Which segments a task read is there some time before what it read."""

    @contextmanager
    def written(self, *parts: str) -> Iterator[Any]:
        with super().written(*parts) as stream:
            yield stream
            if "segments" not in parts:
                sleep(5)


def counted_first(spark: Any, landing: Any, due: Any) -> Any:
    """Loads count before their rows are written."""
    land.note_completed(landing.place, due)
    return _land(spark, landing._replace(place=SegmentsFirst(landing.place.url)), due)


class Hasty(Place):
    """Every attempt of a task writes under a name of its own, straight away."""

    @contextmanager
    def written(self, *parts: str) -> Iterator[Any]:
        *folder, name = parts
        files, path = self._files(*folder, f"part-{uuid4().hex}.parquet" if "landed" in folder else name)
        files.create_dir(path.rpartition("/")[0])
        with files.open_output_stream(path) as stream:
            yield stream
            if "deliveries" in parts:
                sleep(3)  # so that whichever executor is killed is writing


def written_by_each_attempt(url: str) -> Place:
    return Hasty(url)


match sys.argv[1]:
    case "another rule":
        functions._OF_ONE["normalised_text"] = ("lower(a)", "string")
    case "published first":
        models.build = published_first
    case "counted first":
        land.land = counted_first
    case "written by each attempt":
        place.place = written_by_each_attempt
sys.exit(cli.main(sys.argv[2:]))
